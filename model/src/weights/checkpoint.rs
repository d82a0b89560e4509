//! A file of weights, whatever its format.

use super::contents::{Contents, Named};
use super::dtype::DType;
use super::error::{Format, WeightsError, quoted};
#[cfg(feature = "hdf5")]
use super::hdf5;
use super::source::Source;
use super::tensor::Tensor;
#[cfg(feature = "torch")]
use super::torch;
#[cfg(any(feature = "torch", feature = "hdf5"))]
use super::zip;
use super::{foreign, safetensors};
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

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
    pub(super) fn read_raw(&self, name: &str) -> Result<Vec<u8>, WeightsError> {
        self.tensor(name)?.to_bytes().map_err(|e| self.unreadable(name, e))
    }

    pub(super) fn tensor(&self, name: &str) -> Result<&Tensor, WeightsError> {
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
    let archive =
        zip::Archive::open(source).map_err(|reason| WeightsError::Invalid { format: Format::Zip, reason })?;
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
