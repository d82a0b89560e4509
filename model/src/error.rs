//! What can be wrong with a network's description or its weights.

use crate::weights::{WeightsError, quoted};
use std::fmt;

/// Why a network could not be built. Displays as one line.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The description of the network contradicts itself.
    Config(String),
    /// A tensor is not shaped as the network needs it.
    Shape {
        /// Its name.
        tensor: String,
        /// What the network needs, as the checkpoint's framework would write it.
        expected: Vec<usize>,
        /// What the checkpoint has.
        found: Vec<usize>,
    },
    /// A tensor that the network needs is not there.
    Missing {
        /// Its name.
        tensor: String,
        /// What the network needs.
        expected: Vec<usize>,
    },
    /// A tensor is there that the network has no place for.
    Unexpected {
        /// Its name.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// What the rest of the checkpoint looks like.
        network: String,
    },
    /// The names fit none of the wirings.
    Unrecognised {
        /// The first tensor of the file, if there is one.
        first: Option<(String, Vec<usize>)>,
    },
    /// Nothing in the checkpoint is a network; this comes nearest.
    Nearest {
        /// What its tensors' names have before the network's own; empty at the top of the file.
        key: String,
        /// Whose names they are.
        wiring: &'static str,
        /// How many tensors fit, and of how many that the network has; none where not even its size is known.
        fit: Option<(usize, usize)>,
        /// The first tensor in the way.
        why: Box<Error>,
    },
    /// A tensor could be one thing or another.
    Ambiguous(String),
    /// What was asked for is not in the checkpoint.
    NotThere(String),
    /// A node of a graph cannot do what is asked of it.
    Graph {
        /// Its name.
        node: String,
        /// What was expected, and what was found.
        why: String,
    },
    /// The checkpoint could not be read.
    Weights(WeightsError),
    /// An operator refused its parameters.
    Kernel {
        /// Which layer.
        layer: String,
        /// What it said.
        source: kernels::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(why) => f.write_str(why),
            Self::Shape { tensor, expected, found } => {
                write!(f, "tensor {}: expected shape {expected:?}, found {found:?}", quoted(tensor))
            }
            Self::Missing { tensor, expected } => {
                let shape =
                    if expected.is_empty() { String::new() } else { format!(" of shape {expected:?}") };
                write!(f, "tensor {}{shape} is missing from the checkpoint", quoted(tensor))
            }
            Self::Unexpected { tensor, found, network } => {
                write!(f, "tensor {} of shape {found:?} has no place in {network}", quoted(tensor))
            }
            Self::Unrecognised { first: None } => f.write_str("the checkpoint holds no tensor"),
            Self::Unrecognised { first: Some((name, shape)) } => write!(
                f,
                "not a ShuffleNetV2: expected \"conv1.0.weight\" (torchvision), \"first_conv.0.weight\" (megvii) or \
                 \"conv1/kernel:0\" (keras), found {} of shape {shape:?} first",
                quoted(name)
            ),
            Self::Nearest { key, wiring, fit, why } => {
                let place = if key.is_empty() { "the top level".to_owned() } else { quoted(key) };
                write!(f, "no ShuffleNetV2 fits; nearest is {place}, named as {wiring}'s")?;
                if let Some((fit, of)) = fit {
                    write!(f, ", where {fit} of {of} tensors fit")?;
                }
                write!(f, ": {why}")
            }
            Self::Ambiguous(why) | Self::NotThere(why) => f.write_str(why),
            Self::Graph { node, why } => write!(f, "{node}: {why}"),
            Self::Weights(error) => error.fmt(f),
            Self::Kernel { layer, source } => write!(f, "{layer}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Weights(error) => Some(error),
            Self::Nearest { why, .. } => Some(why),
            Self::Kernel { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<WeightsError> for Error {
    fn from(error: WeightsError) -> Self {
        Self::Weights(error)
    }
}
