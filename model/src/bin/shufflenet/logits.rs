//! `shufflenet logits`: arrays in, arrays out.

use crate::failure::{Failure, Result};
use crate::{Context, checkpoint, threads};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use model::{Images, Layout, npy};
use std::path::PathBuf;

/// Run a checkpoint on preprocessed images in a .npy file
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  shufflenet logits --weights shufflenetv2_x1.pth --input x.npy --output y.npy
  shufflenet logits --weights w.h5 --input x.npy --layout nhwc --output y.npy --softmax

In Python, an input is made and the output read by
  numpy.save('x.npy', batch.numpy())      # float32, (batch, 3, height, width)
  numpy.load('y.npy')                     # float32, (batch, classes)

Images are run as they are: any batch, any height and width from 32 on.")]
pub(crate) struct Args {
    /// Checkpoint: PyTorch's .pth, .safetensors, or HDF5 from Keras 2; wiring, width and classes are recognised
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,

    /// Images: float32, 4-dimensional
    #[arg(long, value_name = "X.npy")]
    input: PathBuf,

    /// Where to put the logits
    #[arg(long, value_name = "Y.npy")]
    output: PathBuf,

    /// Order of the input's dimensions: PyTorch's or TensorFlow's
    #[arg(long, default_value = "nchw", value_parser = layouts())]
    layout: Layout,

    /// Write probabilities instead of logits
    #[arg(long)]
    softmax: bool,
}

fn layouts() -> impl TypedValueParser<Value = Layout> {
    PossibleValuesParser::new(["nchw", "nhwc"])
        .map(|name| if name == "nhwc" { Layout::Nhwc } else { Layout::Nchw })
}

pub(crate) fn run(context: &Context, args: &Args) -> Result {
    checkpoint::refuse_same(&args.output, &args.input)?;
    checkpoint::refuse_same(&args.output, &args.weights)?;
    let other = |error: npy::NpyError| Failure::Other(error.to_string());
    let input = npy::read(&args.input).map_err(other)?;
    let images = images(&input, args.layout)
        .map_err(|why| Failure::Other(format!("{}: {why}", args.input.display())))?;

    let network = checkpoint::load(&args.weights, context.isa)?;
    let classes = network.config().outputs();
    let mut logits = vec![0.0; images.n * classes];
    threads::run(context.threads, None, |parallel| {
        if images.n > 0 {
            network.run(parallel, images, &mut network.workspace(), &mut logits);
        }
    })?;
    if args.softmax {
        logits.chunks_exact_mut(classes).for_each(kernels::softmax);
    }
    npy::write(&args.output, &[images.n, classes], &logits).map_err(other)
}

/// The array as a batch of images.
fn images(array: &npy::Array, layout: Layout) -> std::result::Result<Images<'_>, String> {
    let (n, h, w) = match (layout, &array.shape[..]) {
        (Layout::Nchw, &[n, 3, h, w]) | (Layout::Nhwc, &[n, h, w, 3]) => (n, h, w),
        (_, found) => {
            let expected = match layout {
                Layout::Nchw => "(batch, 3, height, width)",
                Layout::Nhwc => "(batch, height, width, 3)",
            };
            let hint = match found {
                [_, _, _, 3] => "; is it --layout nhwc?",
                [_, 3, _, _] => "; is it --layout nchw?",
                _ => "",
            };
            return Err(format!("expected shape {expected}, found {found:?}{hint}"));
        }
    };
    if h.min(w) < Images::MIN_SIDE {
        let least = Images::MIN_SIDE;
        return Err(format!("expected a height and width of at least {least}, found {h} and {w}"));
    }
    Ok(Images { data: &array.values, n, h, w, layout })
}
