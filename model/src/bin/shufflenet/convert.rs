//! `shufflenet convert`: any checkpoint as safetensors.

use crate::checkpoint;
use crate::failure::{Failure, Output, Result, printable, say};
use crate::options::ChoiceArgs;
use model::weights::{Checkpoint, convert};
use model::{Error, find};
use std::path::PathBuf;

/// Rewrite a checkpoint as .safetensors
///
/// A network is written under the names of its own code, without prefixes, optimisers and averages; element types stay
/// as they are. A file without a network is written as it is. Of all formats this is the fastest to load, and the
/// safest.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  shufflenet convert shufflenetv2_x1-5666bf0f80.pth shufflenetv2_x1.safetensors
  shufflenet convert training.ckpt averaged.safetensors --ema
  shufflenet convert keras.h5 keras.safetensors")]
pub(crate) struct Args {
    /// PyTorch's .pth, Keras's .h5, .weights.h5 or .keras, or .safetensors
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// The file to write
    #[arg(value_name = "OUT.safetensors")]
    output: PathBuf,

    #[command(flatten)]
    choice: ChoiceArgs,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result {
    let Args { input, output, choice } = args;
    if output.extension().is_none_or(|extension| extension != "safetensors") {
        let found = output.display();
        return Err(Failure::Usage(format!("expected an output file *.safetensors, found {found}")));
    }
    checkpoint::refuse_same(output, input)?;
    let failed = |error: Error| checkpoint::of(input, &error);
    let checkpoint = Checkpoint::open(input).map_err(|error| failed(error.into()))?;
    let (count, network) = match find(&checkpoint, &choice.choice()) {
        Ok(found) => {
            checkpoint::tell(input, &checkpoint, &found);
            let stored = found.weights.stored();
            let count = stored.len();
            convert(&checkpoint, stored, output).map_err(|error| failed(error.into()))?;
            (count, found.config.to_string())
        }
        Err(error) if choice.is_default() => {
            // Whatever can be read, under the names that it has.
            let readable: Vec<&str> =
                checkpoint.names().filter(|name| checkpoint.shape(name).is_some()).collect();
            let count = readable.len();
            convert(&checkpoint, readable.into_iter().map(|name| (name, name)), output)
                .map_err(|error| failed(error.into()))?;
            say("note", &format!("{}: {error}", input.display()));
            (count, "not a ShuffleNetV2".to_owned())
        }
        Err(error) => return Err(failed(error)),
    };
    writeln!(out, "{}: {count} tensors, {network}", printable(&output.to_string_lossy()))?;
    Ok(())
}
