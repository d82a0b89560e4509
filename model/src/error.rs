//! What can be wrong with a network's description or its weights.

use crate::weights::WeightsError;
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
                write!(f, "tensor {tensor:?}: expected shape {expected:?}, found {found:?}")
            }
            Self::Missing { tensor, expected } => {
                write!(f, "tensor {tensor:?} of shape {expected:?} is missing from the checkpoint")
            }
            Self::Unexpected { tensor, found, network } => {
                write!(f, "tensor {tensor:?} of shape {found:?} has no place in {network}")
            }
            Self::Unrecognised { first: None } => f.write_str("the checkpoint holds no tensor"),
            Self::Unrecognised { first: Some((name, shape)) } => write!(
                f,
                "not a ShuffleNetV2: expected \"conv1.0.weight\" (torchvision), \"first_conv.0.weight\" (megvii) or \
                 \"conv1/kernel:0\" (keras), found {name:?} of shape {shape:?} first"
            ),
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
