//! `shufflenet run`: any network in an .onnx file, arrays in, arrays out.

use crate::failure::{Failure, Result};
use crate::{Context, checkpoint, threads};
use model::atomic_file::AtomicFile;
use model::npy::{self, Array};
use model::onnx::{Network, OnnxError};
use std::io;
use std::path::{Path, PathBuf};

/// Run a network in an .onnx file on arrays in .npy files
///
/// Sizes are those that the file leaves open; a batch may be of any number of images.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  shufflenet run mobilenet_v2.onnx --input x.npy --output y.npy
  shufflenet run detector.onnx --input x.npy --output scores=s.npy --output boxes=b.npy

`shufflenet check MODEL.onnx` tells the names and shapes of a network's inputs and outputs.
In Python, an input is made and the output read by
  numpy.save('x.npy', batch.numpy())      # float32, shaped as the file says
  numpy.load('y.npy')")]
pub(crate) struct Args {
    /// The network, as torch.onnx.export and others write it
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,

    /// An input: the file alone where the network has one, else with the input's name before it
    #[arg(long, required = true, value_name = "[NAME=]X.npy")]
    input: Vec<String>,

    /// Where to put an output; only those that are named are written
    #[arg(long, required = true, value_name = "[NAME=]Y.npy")]
    output: Vec<String>,
}

/// The error with the name of the file before it, unless it has it already.
pub(crate) fn of(path: &Path, error: &OnnxError) -> Failure {
    match error {
        OnnxError::Io { .. } => Failure::Other(error.to_string()),
        _ => Failure::Other(format!("{}: {error}", path.display())),
    }
}

/// Which of `names` each of `texts` is for, and the file that it names.
fn assign(option: &str, what: &str, texts: &[String], names: &[&str]) -> Result<Vec<(usize, PathBuf)>> {
    let mut assigned: Vec<(usize, PathBuf)> = Vec::with_capacity(texts.len());
    for text in texts {
        let named = |(index, name): (usize, &&str)| {
            let file = text.strip_prefix(name)?.strip_prefix('=')?;
            Some((index, PathBuf::from(file)))
        };
        // A name may itself have an equals sign in it: the longest that fits.
        let found = names.iter().enumerate().filter(|(_, name)| !name.is_empty()).filter_map(named);
        let (index, file) = match found.max_by_key(|(index, _)| names[*index].len()) {
            Some(found) => found,
            None if names.len() == 1 => (0, PathBuf::from(text)),
            None => {
                let list: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
                return Err(Failure::Usage(format!(
                    "{option} {text}: expected NAME=FILE with one of the network's {what}s, {}",
                    list.join(", ")
                )));
            }
        };
        if assigned.iter().any(|(other, _)| *other == index) {
            return Err(Failure::Usage(format!("{option}: {what} {:?} is given twice", names[index])));
        }
        assigned.push((index, file));
    }
    Ok(assigned)
}

pub(crate) fn run(context: &Context, args: &Args) -> Result {
    let network = Network::open(&args.model, context.isa).map_err(|error| of(&args.model, &error))?;
    let names: Vec<&str> = network.inputs().iter().map(|input| input.name.as_str()).collect();
    let mut inputs = assign("--input", "input", &args.input, &names)?;
    inputs.sort_by_key(|(index, _)| *index);
    if let Some(missing) = (0..names.len()).find(|index| inputs.iter().all(|(given, _)| given != index)) {
        return Err(Failure::Usage(format!("--input: nothing is given for input {:?}", names[missing])));
    }
    let names: Vec<&str> = network.outputs().iter().map(String::as_str).collect();
    let outputs = assign("--output", "output", &args.output, &names)?;
    for (at, (_, output)) in outputs.iter().enumerate() {
        checkpoint::refuse_same(output, &args.model)?;
        inputs.iter().try_for_each(|(_, input)| checkpoint::refuse_same(output, input))?;
        if outputs[..at].iter().any(|(_, other)| other == output) {
            return Err(Failure::Usage(format!("--output: two outputs would go to {}", output.display())));
        }
    }

    // What cannot be written is known before the work is done.
    let of_output = |path: &Path, error: &io::Error| Failure::Other(format!("{}: {error}", path.display()));
    let create = |(_, path): &(usize, PathBuf)| AtomicFile::create(path).map_err(|e| of_output(path, &e));
    let files = outputs.iter().map(create).collect::<Result<Vec<AtomicFile>>>()?;

    let other = |error: npy::NpyError| Failure::Other(error.to_string());
    let arrays =
        inputs.iter().map(|(_, path)| npy::read(path).map_err(other)).collect::<Result<Vec<Array>>>()?;
    let arrays: Vec<&Array> = arrays.iter().collect();
    let made = threads::run(context.threads, None, |parallel| {
        network.run(parallel, &arrays, &mut network.workspace())
    })?
    .map_err(|error| of(&args.model, &error))?;
    for ((index, path), mut file) in outputs.iter().zip(files) {
        let Array { shape, values } = &made[*index];
        npy::write_to(&mut file, shape, values)
            .and_then(|()| file.commit())
            .map_err(|e| of_output(path, &e))?;
    }
    Ok(())
}
