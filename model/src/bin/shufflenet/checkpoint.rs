//! Networks from files.

use crate::failure::{Failure, Result, say};
use crate::options::WeightsArgs;
use kernels::Isa;
use model::weights::{Checkpoint, WeightsError};
use model::{Error, Found, Network, find};
use std::path::Path;

/// Loads the network that the file holds, and says what there is to know of the file.
pub(crate) fn load(args: &WeightsArgs, isa: Isa) -> Result<Network> {
    let path = &args.file;
    let checkpoint = Checkpoint::open(path).map_err(|error| of(path, &error.into()))?;
    let found = find(&checkpoint, &args.choice.choice()).map_err(|error| of(path, &error))?;
    tell(path, &checkpoint, &found);
    let network = Network::new(&found.config, &found.weights, isa).map_err(|error| of(path, &error))?;
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

/// Says what the user should know of a file and of the network that was found in it.
pub(crate) fn tell(path: &Path, checkpoint: &Checkpoint, found: &Found<'_>) {
    let path = path.display();
    for warning in checkpoint.warnings() {
        say("warning", &format!("{path}: {warning}"));
    }
    if !found.others.is_empty() {
        let called =
            |key: &String| if key.is_empty() { "the top level".to_owned() } else { format!("{key:?}") };
        let others: Vec<String> = found.others.iter().map(called).collect();
        let taken = called(&found.key);
        say(
            "note",
            &format!("{path}: took {taken}; {} would fit, too (--key PATH chooses)", others.join(", ")),
        );
    }
    for note in &found.notes {
        say("note", &format!("{path}: {note}"));
    }
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
