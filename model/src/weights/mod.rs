//! Trained weights from files: PyTorch `.pth`, `.safetensors`, Keras 2 HDF5.
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
//! A checkpoint is data from a stranger. No code in it runs: the pickle inside a `.pth` is interpreted by
//! a reader that knows how tensors and dictionaries are spelt, and refuses every other call by name.

mod dtype;
#[cfg(feature = "hdf5")]
mod hdf5;
#[cfg(feature = "torch")]
mod pickle;
mod safetensors;
mod source;
#[cfg(feature = "torch")]
mod torch;

pub use dtype::DType;
pub use safetensors::{convert, save_safetensors};

use source::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

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
                    if cfg!(feature = "hdf5") { ", Keras 2 HDF5" } else { "" },
                ];
                write!(f, "not a checkpoint in a known format ({})", known.concat())
            }
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
fn quoted(name: &str) -> String {
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
    /// `torch.save` before PyTorch 1.6: a sequence of pickles.
    TorchLegacy,
    /// Weights as Keras 2 writes them into HDF5.
    KerasHdf5,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::TorchZip => "PyTorch",
            Self::TorchLegacy => "PyTorch (legacy)",
            Self::KerasHdf5 => "Keras HDF5",
        })
    }
}

/// What is known of a tensor without reading it. Whoever makes one has checked that every element lies
/// inside of the file.
struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    /// Where in the file the first element is, in bytes.
    offset: u64,
    /// In elements.
    strides: Vec<usize>,
}

/// Strides of a C-ordered tensor.
fn dense_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis].max(1));
    }
    strides
}

/// Names and shapes of a file's tensors, with the values within reach.
pub struct Checkpoint {
    format: Format,
    source: Arc<Source>,
    tensors: BTreeMap<String, Tensor>,
    non_finite: Mutex<BTreeSet<String>>,
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint")
            .field("format", &self.format)
            .field("tensors", &self.tensors.len())
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
            [b'P', b'K', ..] => {
                #[cfg(not(feature = "torch"))]
                return Err(WeightsError::UnknownFormat);
                #[cfg(feature = "torch")]
                (Format::TorchZip, torch::read_zip(&source))
            }
            #[cfg(feature = "hdf5")]
            [0x89, b'H', b'D', b'F', b'\r', b'\n', 0x1a, b'\n', ..] => {
                (Format::KerasHdf5, hdf5::read(&source))
            }
            #[cfg(feature = "torch")]
            head if torch::is_legacy(head) => (Format::TorchLegacy, torch::read_legacy(&source)),
            [_, _, _, _, _, _, _, _, b'{', ..] => (Format::Safetensors, safetensors::read(&source)),
            _ => return Err(WeightsError::UnknownFormat),
        };
        let invalid = |reason| WeightsError::Invalid { format, reason };
        let tensors = strip_prefixes(read.map_err(invalid)?);
        check_total(&tensors, source.len()).map_err(invalid)?;
        Ok(Self { format, source, tensors, non_finite: Mutex::default() })
    }

    /// The container the tensors came in.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Names of all tensors, sorted. The prefixes `module.` and `_orig_mod.`, which PyTorch's wrappers put
    /// before every name, are gone.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Shape of a tensor, if there is one of this name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|tensor| &tensor.shape[..])
    }

    /// Element type of a tensor in the file, if there is one of this name.
    pub fn dtype(&self, name: &str) -> Option<DType> {
        self.tensors.get(name).map(|tensor| tensor.dtype)
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
        let io_error = |source| WeightsError::Io { path: None, source };
        let values = if tensor.dtype == DType::F32 && tensor.strides == dense_strides(&tensor.shape) {
            let mut values = vec![0f32; tensor.shape.iter().product()];
            self.source.read_at(tensor.offset, bytemuck::cast_slice_mut(&mut values)).map_err(io_error)?;
            // Files are little endian; on such machines this is nothing.
            values.iter_mut().for_each(|v| *v = f32::from_bits(u32::from_le(v.to_bits())));
            values
        } else {
            tensor.dtype.to_f32(&self.read_raw(name)?)
        };
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
        read_strided(&self.source, self.tensor(name)?)
            .map_err(|source| WeightsError::Io { path: None, source })
    }

    fn tensor(&self, name: &str) -> Result<&Tensor, WeightsError> {
        self.tensors.get(name).ok_or_else(|| WeightsError::NoSuchTensor(name.to_owned()))
    }
}

/// Takes off what `DataParallel` and `torch.compile` put before every name.
fn strip_prefixes(mut tensors: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let wrapper = |tensors: &BTreeMap<String, Tensor>| {
        let prefixes = ["module.", "_orig_mod."];
        prefixes.into_iter().find(|prefix| tensors.keys().all(|name| name.starts_with(prefix)))
    };
    while !tensors.is_empty()
        && let Some(prefix) = wrapper(&tensors)
    {
        tensors =
            tensors.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)).collect();
    }
    tensors
}

/// Tensors may share bytes or repeat them (stride 0), so that a small file can declare far more values than
/// it holds. What honest files do stays well below this bound.
fn check_total(tensors: &BTreeMap<String, Tensor>, file_len: u64) -> Result<(), String> {
    let limit = file_len.saturating_mul(4).saturating_add(1 << 20).min(isize::MAX as u64 / 8);
    let mut total: u64 = 0;
    for (name, tensor) in tensors {
        let elements = tensor.shape.iter().try_fold(1u64, |product, &n| product.checked_mul(n as u64));
        total = elements.and_then(|n| total.checked_add(n)).unwrap_or(u64::MAX);
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

/// Gathers the elements of a strided tensor in C order. Only the part of the file between its first and
/// its last element is read.
fn read_strided(source: &Source, tensor: &Tensor) -> io::Result<Vec<u8>> {
    let Tensor { dtype, shape, offset, strides } = tensor;
    let size = dtype.size();
    let elements: usize = shape.iter().product();
    if elements == 0 {
        return Ok(Vec::new());
    }
    let last: usize = shape.iter().zip(strides).map(|(&n, &stride)| (n - 1) * stride).sum();
    let stored = source.read_range(*offset..offset + ((last + 1) * size) as u64)?;
    if *strides == dense_strides(shape) {
        return Ok(stored);
    }
    let mut dense = Vec::with_capacity(elements * size);
    let mut index = vec![0; shape.len()];
    loop {
        let at: usize = index.iter().zip(strides).map(|(&i, &stride)| i * stride).sum();
        dense.extend_from_slice(&stored[at * size..(at + 1) * size]);
        // Count up like an odometer, the last axis fastest.
        let Some(axis) = (0..shape.len()).rev().find(|&axis| index[axis] + 1 < shape[axis]) else {
            return Ok(dense);
        };
        index[axis] += 1;
        index[axis + 1..].fill(0);
    }
}
