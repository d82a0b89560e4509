//! Networks from files.

use crate::failure::{Failure, Result, say};
use kernels::Isa;
use model::weights::{Checkpoint, WeightsError};
use model::{Error, Network};
use std::path::Path;

/// Loads the network that the file holds, and warns of weights that are no numbers.
pub(crate) fn load(path: &Path, isa: Isa) -> Result<Network> {
    let load = || {
        let checkpoint = Checkpoint::open(path)?;
        let network = Network::load(&checkpoint, isa)?;
        Ok((checkpoint, network))
    };
    let (checkpoint, network) = load().map_err(|error| of(path, &error))?;
    let broken = checkpoint.non_finite();
    if let Some(first) = broken.first() {
        let others = match broken.len() {
            1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        say("warning", &format!("{}: NaN or infinity in tensor {first:?}{others}", path.display()));
    }
    Ok(network)
}

/// The error with the name of the file before it, unless it has it already.
pub(crate) fn of(path: &Path, error: &Error) -> Failure {
    match error {
        Error::Weights(WeightsError::Io { path: Some(_), .. }) => Failure::Other(error.to_string()),
        _ => Failure::Other(format!("{}: {error}", path.display())),
    }
}

/// Refuses to write over a file that is read.
pub(crate) fn refuse_same(output: &Path, input: &Path) -> Result {
    if model::atomic_file::is_same_file(output, input) {
        return Err(Failure::Usage(format!("{}: would overwrite an input file", output.display())));
    }
    Ok(())
}
