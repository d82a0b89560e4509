//! `shufflenet convert`: any checkpoint as safetensors.

use crate::checkpoint;
use crate::failure::{Failure, Output, Result, printable};
use model::Config;
use model::weights::{self, Checkpoint};
use std::path::PathBuf;

/// Rewrite a checkpoint as .safetensors
///
/// Names, shapes and element types stay as they are. Of all formats this is the fastest to load, and the safest.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  shufflenet convert shufflenetv2_x1-5666bf0f80.pth shufflenetv2_x1.safetensors
  shufflenet convert keras.h5 keras.safetensors")]
pub(crate) struct Args {
    /// PyTorch's .pth, HDF5 from Keras 2, or .safetensors
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// The file to write
    #[arg(value_name = "OUT.safetensors")]
    output: PathBuf,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result {
    let Args { input, output } = args;
    if output.extension().is_none_or(|extension| extension != "safetensors") {
        let found = output.display();
        return Err(Failure::Usage(format!("expected an output file *.safetensors, found {found}")));
    }
    checkpoint::refuse_same(output, input)?;
    weights::convert(input, output).map_err(|error| checkpoint::of(input, &error.into()))?;
    let written = Checkpoint::open(output).map_err(|error| checkpoint::of(output, &error.into()))?;
    let network = match Config::recognise(&written) {
        Ok(config) => config.to_string(),
        Err(_) => "not a ShuffleNetV2".to_owned(),
    };
    writeln!(
        out,
        "{}: {} tensors, {network}",
        printable(&output.to_string_lossy()),
        written.names().count()
    )?;
    Ok(())
}
