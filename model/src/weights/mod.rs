//! Trained weights from files: PyTorch's `.pth`, `.safetensors`, HDF5 (Keras 2's `.h5`, Keras 3's `.weights.h5`) and
//! Keras 3's `.keras`.
//!
//! [`Checkpoint::open`] recognises the format by content, reads names and shapes, and checks every
//! declared size against the file's real one. Values are read tensor by tensor, when asked for:
//!
//! ```no_run
//! # fn main() -> Result<(), model::weights::WeightsError> {
//! let checkpoint = model::weights::Checkpoint::open("shufflenetv2_x1-5666bf0f80.pth".as_ref())?;
//! for name in checkpoint.names() {
//!     println!("{name} {:?}", checkpoint.shape(name));
//! }
//! let fc: Vec<f32> = checkpoint.read("fc.weight")?;
//! # Ok(()) }
//! ```
//!
//! A checkpoint lists every tensor of its file, those of an optimiser as well as the weights. Which of them are a
//! network's is for [`find`](crate::find) to say.
//!
//! A checkpoint is data from a stranger. No code in it runs: the pickle inside a `.pth` is interpreted by
//! a reader that knows how tensors and dictionaries are spelt, and takes every other call for a thing without meaning.

#[cfg(feature = "hdf5")]
mod chunks;
mod dtype;
mod foreign;
#[cfg(feature = "hdf5")]
mod hdf5;
#[cfg(any(feature = "torch", feature = "hdf5"))]
mod inflate;
#[cfg(feature = "hdf5")]
mod keras;
#[cfg(feature = "torch")]
mod names;
#[cfg(feature = "torch")]
mod pickle;
mod safetensors;
mod source;
mod tensor;
#[cfg(feature = "torch")]
mod torch;
#[cfg(any(feature = "torch", feature = "hdf5"))]
mod zip;

pub use dtype::DType;
pub use safetensors::{convert, save_safetensors};

use source::Source;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tensor::Tensor;

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
            Self::TorchZip => "PyTorch",
            Self::TorchScript => "TorchScript",
            Self::TorchLegacy => "PyTorch (legacy)",
            Self::Pickle => "pickle",
            Self::KerasHdf5 => "HDF5",
            Self::KerasZip => "Keras",
        })
    }
}

/// What a reader makes of a file.
#[derive(Default)]
struct Contents {
    /// In the order of the file.
    tensors: Vec<Named>,
    /// What batch normalisations add to their variance, where the file says so: by the name of a layer, which its
    /// tensors have before their own.
    epsilons: HashMap<String, f32>,
    /// What whoever opens the file should know.
    warnings: Vec<String>,
}

/// A tensor and its name.
struct Named {
    name: String,
    /// The tensor, or why it cannot be read.
    tensor: Result<Arc<Tensor>, Arc<str>>,
}

/// Names and shapes of a file's tensors, with the values within reach.
pub struct Checkpoint {
    format: Format,
    contents: Contents,
    /// Places in `contents.tensors` in the order of the names.
    sorted: Vec<usize>,
    non_finite: Mutex<BTreeSet<String>>,
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint")
            .field("format", &self.format)
            .field("tensors", &self.contents.tensors.len())
            .finish_non_exhaustive()
    }
}

impl Checkpoint {
    /// Opens a file, reads its names and shapes, and keeps it open for [`read`](Self::read).
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let io_error = |source| WeightsError::Io { path: Some(path.to_owned()), source };
        Self::from_source(Source::open(path).map_err(io_error)?)
    }

    /// The same for a file that is in memory, where there is no file system.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, WeightsError> {
        Self::from_source(Source::from_bytes(bytes))
    }

    fn from_source(source: Source) -> Result<Self, WeightsError> {
        let mut head = [0; 64];
        let head_len = source.len().min(64) as usize;
        let head = &mut head[..head_len];
        source.read_at(0, head).map_err(|source| WeightsError::Io { path: None, source })?;

        let source = Arc::new(source);
        let (format, read) = match head {
            [b'P', b'K', 3 | 5 | 6, ..] => read_zip(&source)?,
            #[cfg(feature = "torch")]
            head if torch::is_legacy(head) => (Format::TorchLegacy, torch::read_legacy(&source)),
            #[cfg(feature = "torch")]
            head if torch::is_pickle(head) => (Format::Pickle, torch::read_pickle(&source)),
            #[cfg(feature = "hdf5")]
            _ if hdf5::starts(&source).is_some() => (Format::KerasHdf5, hdf5::read(&source, None)),
            [_, _, _, _, _, _, _, _, b'{' | b' ', ..] => (Format::Safetensors, safetensors::read(&source)),
            _ => {
                return Err(match foreign::name(&source) {
                    Some((what, advice)) => WeightsError::Foreign { what, advice },
                    None => WeightsError::UnknownFormat,
                });
            }
        };
        let invalid = |reason| WeightsError::Invalid { format, reason };
        let mut contents = read.map_err(invalid)?;
        check_total(&contents.tensors, source.len()).map_err(invalid)?;
        let mut sorted: Vec<usize> = (0..contents.tensors.len()).collect();
        sorted.sort_by(|&a, &b| contents.tensors[a].name.cmp(&contents.tensors[b].name));
        if format == Format::TorchScript {
            contents.warnings.push("a TorchScript archive: its parameters are read, its code is not".into());
        }
        Ok(Self { format, contents, sorted, non_finite: Mutex::default() })
    }

    /// The container the tensors came in.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Names of all tensors that the file holds, in its order: the keys of dictionaries, the indices of lists and the
    /// attributes of objects that lead to a tensor, joined by dots (in HDF5: groups, joined by slashes).
    ///
    /// Some may be of a kind that is not read; they have no [`shape`](Self::shape), and [`read`](Self::read) says why.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.contents.tensors.iter().map(|named| &*named.name)
    }

    /// What whoever opens the file should know: code in it that Python would run, for example.
    pub fn warnings(&self) -> &[String] {
        &self.contents.warnings
    }

    /// Shape of a tensor, if there is one of this name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensor(name).ok().map(|tensor| &tensor.shape[..])
    }

    /// Element type of a tensor in the file, if there is one of this name.
    pub fn dtype(&self, name: &str) -> Option<DType> {
        self.tensor(name).ok().map(|tensor| tensor.dtype)
    }

    /// What the batch normalisation that this tensor belongs to adds to its variance, where the file says so.
    pub fn epsilon(&self, name: &str) -> Option<f32> {
        let (layer, _) = name.rsplit_once(['/', '.'])?;
        self.contents.epsilons.get(layer).copied()
    }

    /// Values of a floating point tensor in C order, converted to `f32`. Only this tensor is read, straight
    /// into the vector that is returned where the file holds it as dense `f32`.
    ///
    /// NaN and infinity pass; see [`non_finite`](Self::non_finite).
    pub fn read(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let tensor = self.tensor(name)?;
        if !tensor.dtype.is_float() {
            return Err(WeightsError::NotFloat { name: name.to_owned(), dtype: tensor.dtype });
        }
        let values = tensor.to_f32().map_err(|e| self.unreadable(name, e))?;
        if values.iter().fold(false, |found, v| found | !v.is_finite()) {
            self.non_finite.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(name.to_owned());
        }
        Ok(values)
    }

    /// Names of the tensors read so far in which there was a NaN or an infinity. Such weights are allowed,
    /// but whoever trained them will want to know.
    pub fn non_finite(&self) -> Vec<String> {
        self.non_finite.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).iter().cloned().collect()
    }

    /// The elements of a tensor in C order, little endian, in the file's element type.
    fn read_raw(&self, name: &str) -> Result<Vec<u8>, WeightsError> {
        self.tensor(name)?.to_bytes().map_err(|e| self.unreadable(name, e))
    }

    fn tensor(&self, name: &str) -> Result<&Tensor, WeightsError> {
        let tensors = &self.contents.tensors;
        let place = self.sorted.binary_search_by(|&place| (*tensors[place].name).cmp(name));
        let Ok(place) = place else { return Err(WeightsError::NoSuchTensor(name.to_owned())) };
        match &tensors[self.sorted[place]].tensor {
            Ok(tensor) => Ok(tensor),
            Err(reason) => Err(self.invalid(name, reason)),
        }
    }

    /// Why a tensor could not be read: its bytes, or the disk.
    fn unreadable(&self, name: &str, error: io::Error) -> WeightsError {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                self.invalid(name, &error.to_string())
            }
            _ => WeightsError::Io { path: None, source: error },
        }
    }

    fn invalid(&self, name: &str, reason: &str) -> WeightsError {
        WeightsError::Invalid { format: self.format, reason: format!("tensor {}: {reason}", quoted(name)) }
    }
}

/// Reads a zip archive: PyTorch's, or Keras's.
#[cfg(any(feature = "torch", feature = "hdf5"))]
fn read_zip(source: &Arc<Source>) -> Result<(Format, Result<Contents, String>), WeightsError> {
    let archive = zip::Archive::open(source)
        .map_err(|reason| WeightsError::Invalid { format: Format::TorchZip, reason })?;
    #[cfg(feature = "torch")]
    if let Some(pickle) = archive.names().find(|name| name.ends_with("data.pkl")) {
        let folder = pickle.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        let script = archive.names().any(|name| name.strip_prefix(&*folder) == Some("constants.pkl"));
        let format = if script { Format::TorchScript } else { Format::TorchZip };
        return Ok((format, torch::read_zip(&archive, script)));
    }
    #[cfg(feature = "hdf5")]
    if archive.names().any(|name| name == "model.weights.h5") {
        return Ok((Format::KerasZip, read_keras(&archive)));
    }
    let (what, advice) = foreign::name_zip(archive.names());
    Err(WeightsError::Foreign { what, advice })
}

#[cfg(not(any(feature = "torch", feature = "hdf5")))]
fn read_zip(_: &Arc<Source>) -> Result<(Format, Result<Contents, String>), WeightsError> {
    Err(WeightsError::UnknownFormat)
}

/// Keras 3's archive.
#[cfg(feature = "hdf5")]
fn read_keras(archive: &zip::Archive) -> Result<Contents, String> {
    /// Descriptions of more bytes are not read. That of a ShuffleNetV2 has 200 KB.
    const MAX_CONFIG: u64 = 16 << 20;
    let part = |name: &str| -> Result<Option<Arc<Source>>, String> {
        let Some((source, range)) = archive.find(name)? else { return Ok(None) };
        Source::part(&source, range).map(Arc::new).map(Some).map_err(|e| e.to_string())
    };
    let config = match part("config.json")? {
        Some(config) if config.len() <= MAX_CONFIG => {
            String::from_utf8(config.read_range(0..config.len()).map_err(|e| e.to_string())?).ok()
        }
        _ => None,
    };
    let weights = part("model.weights.h5")?.ok_or("there is no model.weights.h5 in it")?;
    hdf5::read(&weights, config.as_deref())
}

/// Tensors may share bytes or repeat them (stride 0) or be compressed, so that a small file can declare far more values
/// than it holds. What honest files do stays well below this bound.
fn check_total(tensors: &[Named], file_len: u64) -> Result<(), String> {
    let limit = file_len.saturating_mul(4).saturating_add(1 << 20).min(isize::MAX as u64 / 8);
    let mut total: u64 = 0;
    for Named { name, tensor } in tensors {
        let Ok(tensor) = tensor else { continue };
        total = tensor.elements().and_then(|n| total.checked_add(n)).unwrap_or(u64::MAX);
        if total > limit {
            return Err(format!(
                "the file has {file_len} bytes, but its tensors up to {} of shape {:?} are declared to hold \
                 more than {limit} values",
                quoted(name),
                tensor.shape
            ));
        }
    }
    Ok(())
}
