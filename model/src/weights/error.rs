//! What can be wrong with a checkpoint, and what kind of file it is.

use super::dtype::DType;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a checkpoint, or one tensor of it, cannot be used. Displays as one line.
#[derive(Debug)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file system said no.
    Io {
        /// The file, if there is one.
        path: Option<PathBuf>,
        /// What it said.
        source: io::Error,
    },
    /// The file is of none of the formats that are understood (or that were compiled in).
    UnknownFormat,
    /// The file is something else, which is known.
    Foreign {
        /// What it is.
        what: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// The file is damaged, hostile, or uses what this reader does not know.
    Invalid {
        /// What the file looked like.
        format: Format,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no tensor of this name.
    NoSuchTensor(String),
    /// The tensor holds integers or truth values where weights were asked for.
    NotFloat {
        /// Name of the tensor.
        name: String,
        /// What it holds.
        dtype: DType,
    },
}

impl fmt::Display for WeightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path: Some(path), source } => write!(f, "{}: {source}", path.display()),
            Self::Io { path: None, source } => write!(f, "{source}"),
            Self::UnknownFormat => {
                let known = [
                    "safetensors",
                    if cfg!(feature = "torch") { ", PyTorch .pth" } else { "" },
                    if cfg!(feature = "hdf5") { ", Keras .h5 or .keras" } else { "" },
                ];
                write!(f, "not a checkpoint in a known format ({})", known.concat())
            }
            Self::Foreign { what, advice } => write!(f, "{what} and not a checkpoint: {advice}"),
            Self::Invalid { format, reason } => write!(f, "bad {format} file: {reason}"),
            Self::NoSuchTensor(name) => write!(f, "the checkpoint has no tensor {}", quoted(name)),
            Self::NotFloat { name, dtype } => {
                write!(f, "tensor {} holds {dtype} values, expected floating point", quoted(name))
            }
        }
    }
}

impl std::error::Error for WeightsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A name out of a file, fit for an error message: quoted, escaped, of bounded length.
pub(crate) fn quoted(name: &str) -> String {
    const SHOWN: usize = 100;
    let mut quoted = format!("{:?}", name.chars().take(SHOWN).collect::<String>());
    if name.chars().nth(SHOWN).is_some() {
        quoted.push('…');
    }
    quoted
}

/// The container that a checkpoint came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Hugging Face safetensors.
    Safetensors,
    /// A zip archive of which no more is known, because it is damaged.
    Zip,
    /// `torch.save` since PyTorch 1.6: a zip archive.
    TorchZip,
    /// A zip archive of TorchScript (`torch.jit.save`), of which the parameters are read and no code.
    TorchScript,
    /// `torch.save` before PyTorch 1.6: a sequence of pickles.
    TorchLegacy,
    /// A pickle with tensors or NumPy's arrays in it.
    Pickle,
    /// Tensors in HDF5, as Keras writes them.
    KerasHdf5,
    /// Keras 3's zip archive of a description and HDF5.
    KerasZip,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::Zip => "zip",
            Self::TorchZip => "PyTorch",
            Self::TorchScript => "TorchScript",
            Self::TorchLegacy => "PyTorch (legacy)",
            Self::Pickle => "pickle",
            Self::KerasHdf5 => "HDF5",
            Self::KerasZip => "Keras",
        })
    }
}
