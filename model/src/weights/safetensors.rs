//! The safetensors format: the length of a JSON header, the header, and the tensors one after another.
//!
//! The header is parsed and checked by the `safetensors` crate (no gaps, no overlaps, sizes that fit
//! shapes); the tensors are read and written here, one at a time.

use super::contents::{Contents, Named};
use super::dtype::DType;
use super::error::WeightsError;
use super::source::Source;
use super::tensor::Tensor;

use crate::atomic_file::AtomicFile;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// Headers of more bytes are refused: a ShuffleNetV2's has 30 KB.
const MAX_HEADER: u64 = 16 << 20;

/// Reads the header.
pub(super) fn read(source: &Arc<Source>) -> Result<Contents, String> {
    let mut len = [0; 8];
    source.read_at(0, &mut len).map_err(|e| e.to_string())?;
    let len = u64::from_le_bytes(len);
    if len > MAX_HEADER {
        return Err(format!("the header claims to have {len} bytes, more than the {MAX_HEADER} allowed"));
    }
    let data = 8 + len;
    let header = source.read_range(8..data).map_err(|e| format!("header: {e}"))?;
    let header: Metadata = serde_json::from_slice(&header).map_err(|e| format!("header: {e}"))?;
    let declared = data.checked_add(header.data_len() as u64);
    if declared != Some(source.len()) {
        return Err(format!(
            "the header describes {} bytes of tensors, the file has {}",
            header.data_len(),
            source.len() - data
        ));
    }
    let tensors = header.offset_keys().into_iter().filter_map(|name| {
        let info = header.info(&name)?;
        let tensor = match from_safetensors(info.dtype) {
            Some(dtype) => {
                Tensor::dense(dtype, info.shape.clone(), false, source, data + info.data_offsets.0 as u64)
                    .ok_or("it lies outside of the file".into())
            }
            None => Err(format!("it holds {} values, which are not supported", info.dtype)),
        };
        Some(Named { name, tensor: tensor.map(Arc::new).map_err(Arc::from) })
    });
    let tensors = tensors.collect();
    let written = header.metadata().as_ref().and_then(|metadata| metadata.get(EPSILONS));
    let epsilons = written.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    Ok(Contents { tensors, epsilons, ..Contents::default() })
}

/// Where the metadata of a file say what batch normalisations add to their variance: a JSON object, by layer.
const EPSILONS: &str = "batch_norm_epsilon";

/// Writes tensors, given as name, type and shape; `bytes` gets the elements of one, little endian, in C order.
pub(super) fn write<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (&'a str, DType, &'a [usize])>,
    epsilons: &BTreeMap<&str, f32>,
    bytes: impl Fn(&str) -> Result<Vec<u8>, WeightsError>,
) -> Result<(), WeightsError> {
    // Wide elements first, so that each tensor is aligned to its type; then by name.
    let mut tensors: Vec<_> = tensors.collect();
    tensors.sort_by_key(|&(name, dtype, _)| (std::cmp::Reverse(dtype.size()), name));
    let mut end = 0;
    let infos = tensors.iter().map(|&(name, dtype, shape)| {
        let start = end;
        end += shape.iter().product::<usize>() * dtype.size();
        let info =
            TensorInfo { dtype: to_safetensors(dtype), shape: shape.to_vec(), data_offsets: (start, end) };
        (name.to_owned(), info)
    });
    let infos = infos.collect();
    let generator = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));
    let mut metadata = vec![("format", "pt".to_owned()), ("generator", generator.to_owned())];
    let io_error = |source| WeightsError::Io { path: Some(path.to_owned()), source };
    if !epsilons.is_empty() {
        let json = serde_json::to_string(epsilons).map_err(|e| io_error(e.into()))?;
        metadata.push((EPSILONS, json));
    }
    let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let header =
        Metadata::new(Some(metadata), infos).map_err(|e| io_error(io::Error::other(e.to_string())))?;
    let mut header = serde_json::to_vec(&header).map_err(|e| io_error(e.into()))?;
    header.resize(header.len().next_multiple_of(8), b' ');

    let mut file = AtomicFile::create(path).map_err(io_error)?;
    file.write_all(&(header.len() as u64).to_le_bytes()).map_err(io_error)?;
    file.write_all(&header).map_err(io_error)?;
    for (name, ..) in tensors {
        file.write_all(&bytes(name)?).map_err(io_error)?;
    }
    file.commit().map_err(io_error)
}

fn from_safetensors(dtype: Dtype) -> Option<DType> {
    DTYPES.into_iter().find(|&(theirs, _)| theirs == dtype).map(|(_, ours)| ours)
}

fn to_safetensors(dtype: DType) -> Dtype {
    DTYPES.into_iter().find(|&(_, ours)| ours == dtype).expect("the table has every type").0
}

const DTYPES: [(Dtype, DType); 13] = [
    (Dtype::F64, DType::F64),
    (Dtype::F32, DType::F32),
    (Dtype::F16, DType::F16),
    (Dtype::BF16, DType::BF16),
    (Dtype::I64, DType::I64),
    (Dtype::I32, DType::I32),
    (Dtype::I16, DType::I16),
    (Dtype::I8, DType::I8),
    (Dtype::U64, DType::U64),
    (Dtype::U32, DType::U32),
    (Dtype::U16, DType::U16),
    (Dtype::U8, DType::U8),
    (Dtype::BOOL, DType::Bool),
];
