//! `shufflenet logits`: arrays in, arrays out.

use crate::failure::{Failure, Output, Result};
use crate::options::WeightsArgs;
use crate::{Context, checkpoint, threads};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use model::atomic_file::AtomicFile;
use model::{Images, Layout, npy};
use std::borrow::Cow;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

/// Run a checkpoint on preprocessed images in a .npy array
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  shufflenet logits --weights shufflenetv2_x1.pth --input x.npy --output y.npy
  shufflenet logits --weights w.h5 --input x.npy --layout nhwc --output y.npy --softmax
  python batch.py | shufflenet logits --weights w.pth --input - --output - > y.npy

In Python, an input is made and the output read by
  numpy.save('x.npy', batch)      # (batch, 3, height, width), any float, integer or bool
  numpy.load('y.npy')             # float32, (batch, classes)

Images are run as they are: any batch, any height and width from 32 on. Nothing is scaled
or normalised: the uint8 value 200 is the number 200.0. For torchvision's weights,
  batch = (photos / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]    # nhwc, RGB
One image without a batch dimension is a batch of one. Images of one channel (grey) are
run as three equal channels. An image with NaN has NaN logits; the others of its batch
are as they would be without it.")]
pub(crate) struct Args {
    #[command(flatten)]
    weights: WeightsArgs,

    /// Images: numbers of any type, 4-dimensional; `-` is standard input
    #[arg(long, value_name = "X.npy")]
    input: PathBuf,

    /// Where to put the logits; `-` is standard output. A file that is there keeps its owner, mode and links
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

pub(crate) fn run(context: &Context, args: &Args, out: &mut Output) -> Result {
    let (from_stdin, to_stdout) = (is_dash(&args.input), is_dash(&args.output));
    let not_a_terminal = |option: &str| {
        Err(Failure::Usage(format!("{option} -: a .npy array cannot be typed or shown on a terminal")))
    };
    if from_stdin && io::stdin().is_terminal() {
        return not_a_terminal("--input");
    }
    if to_stdout && io::stdout().is_terminal() {
        return not_a_terminal("--output");
    }
    let of_output = |error: io::Error| match error.kind() {
        // The pipe may be standard output under another name.
        io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
        _ => Failure::Other(format!("{}: {error}", args.output.display())),
    };
    let mut file = None;
    if !to_stdout {
        checkpoint::refuse_same(&args.output, &args.input)?;
        checkpoint::refuse_same(&args.output, &args.weights.file)?;
        // What cannot be written is known before the work is done.
        file = Some(AtomicFile::create(&args.output).map_err(of_output)?);
    }
    let (name, array) = if from_stdin {
        ("standard input".into(), npy::read_from(io::stdin().lock()))
    } else {
        (args.input.display().to_string(), npy::read(&args.input))
    };
    let array = array.map_err(|error| match from_stdin {
        true => Failure::Other(format!("{name}: {error}")),
        false => Failure::Other(error.to_string()),
    })?;
    let batch = Batch::of(&array, args.layout).map_err(|why| Failure::Other(format!("{name}: {why}")))?;

    let network = checkpoint::load(&args.weights, context.isa)?;
    let classes = network.config().outputs();
    let mut logits = vec![0.0; batch.n * classes];
    threads::run(context.threads, None, |parallel| {
        if batch.n > 0 {
            network.run(parallel, batch.images(), &mut network.workspace(), &mut logits);
        }
    })?;
    if args.softmax {
        logits.chunks_exact_mut(classes).for_each(model::probabilities);
    }
    let shape = [batch.n, classes];
    match file {
        None => Ok(npy::write_to(out, &shape, &logits)?),
        Some(mut file) => {
            npy::write_to(&mut file, &shape, &logits).and_then(|()| file.commit()).map_err(of_output)
        }
    }
}

fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Images of three channels.
struct Batch<'a> {
    data: Cow<'a, [f32]>,
    n: usize,
    h: usize,
    w: usize,
    layout: Layout,
}

impl<'a> Batch<'a> {
    /// The images of an array.
    fn of(array: &'a npy::Array, layout: Layout) -> std::result::Result<Self, String> {
        let dimensions = match array.shape[..] {
            [n, a, b, c] => Some([n, a, b, c]),
            [a, b, c] => Some([1, a, b, c]),
            _ => None,
        };
        let arranged = dimensions.map(|[n, a, b, c]| match layout {
            Layout::Nchw => (n, a, [b, c]),
            Layout::Nhwc => (n, c, [a, b]),
        });
        let Some((n, channels @ (1 | 3), [h, w])) = arranged else {
            let (expected, other) = match layout {
                Layout::Nchw => ("(batch, 3, height, width)", "nhwc"),
                Layout::Nhwc => ("(batch, height, width, 3)", "nchw"),
            };
            let hint = match (layout, dimensions) {
                (Layout::Nchw, Some([.., 1 | 3])) | (Layout::Nhwc, Some([_, 1 | 3, ..])) => {
                    format!("; is it --layout {other}?")
                }
                _ => String::new(),
            };
            return Err(format!("expected shape {expected}, found {:?}{hint}", array.shape));
        };
        if h.min(w) < Images::MIN_SIDE {
            let least = Images::MIN_SIDE;
            return Err(format!("expected a height and width of at least {least}, found {h} and {w}"));
        }
        let data = if channels == 3 {
            Cow::Borrowed(&array.values[..])
        } else {
            Cow::Owned(grey(array, h * w, layout)?)
        };
        Ok(Self { data, n, h, w, layout })
    }

    fn images(&self) -> Images<'_> {
        let Self { n, h, w, layout, .. } = *self;
        Images { data: &self.data, n, h, w, layout }
    }
}

/// Every value three times: images of one channel, of `pixels` each, as those of three.
fn grey(array: &npy::Array, pixels: usize, layout: Layout) -> std::result::Result<Vec<f32>, String> {
    let mut data = Vec::new();
    let len = array.values.len().checked_mul(3);
    len.and_then(|len| data.try_reserve_exact(len).ok()).ok_or("more values than memory can hold")?;
    match layout {
        Layout::Nchw => array.values.chunks(pixels).for_each(|plane| data.extend([plane; 3].concat())),
        Layout::Nhwc => data.extend(array.values.iter().flat_map(|&value| [value; 3])),
    }
    Ok(data)
}
