//! Keras 2's HDF5 layout: `layer_names` at the root (or at `model_weights`, where a whole model was
//! saved), a group per layer with `weight_names`, and datasets under these names.

use super::source::Source;
use super::{DType, Place, Tensor, quoted, value_limit};
use hdf5_pure::{Dataset, Datatype, DatatypeByteOrder, Error, FormatError, Group, Layout};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An HDF5 file, for reading datasets by path.
pub(super) struct File {
    file: hdf5_pure::File,
    /// Size in bytes.
    len: u64,
}

struct SharedSource(Arc<Source>);

impl hdf5_pure::Source for SharedSource {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), FormatError> {
        self.0.read_at(offset, buf).map_err(|e| FormatError::Source(e.to_string()))
    }
}

impl File {
    pub(super) fn open(source: &Arc<Source>) -> Result<Self, String> {
        let file = hdf5_pure::File::from_source(SharedSource(source.clone())).map_err(one_line)?;
        Ok(Self { file, len: source.len() })
    }

    /// The weights that the names lead to. Datasets without a name (an optimiser's state) are left out.
    pub(super) fn tensors(&self) -> Result<BTreeMap<String, Tensor>, String> {
        let (base, group, layers) = self.layers()?;
        let mut tensors = BTreeMap::new();
        for layer in layers {
            let in_layer = |e: Error| format!("layer {}: {}", quoted(&layer), one_line(e));
            let weights =
                strings(&group.group(&layer).map_err(in_layer)?, "weight_names").map_err(in_layer)?;
            for name in weights.unwrap_or_default() {
                let path = format!("{base}{layer}/{name}");
                let tensor = self.describe(path).map_err(|e| format!("tensor {}: {e}", quoted(&name)))?;
                tensors.insert(name, tensor);
            }
        }
        if tensors.is_empty() {
            return Err(String::from("no layer has weights"));
        }
        Ok(tensors)
    }

    /// The group that has `layer_names`, its path as a prefix, and the names.
    fn layers(&self) -> Result<(&'static str, Group, Vec<String>), String> {
        let root = self.file.root();
        if let Some(layers) = strings(&root, "layer_names").map_err(one_line)? {
            return Ok(("", root, layers));
        }
        if let Ok(group) = self.file.group("model_weights")
            && let Some(layers) = strings(&group, "layer_names").map_err(one_line)?
        {
            return Ok(("model_weights/", group, layers));
        }
        Err(String::from(
            "no layer_names, so these are not weights saved by Keras 2 (Keras 3's .weights.h5 is another layout)",
        ))
    }

    fn describe(&self, path: String) -> Result<Tensor, String> {
        let dataset = self.file.dataset(&path).map_err(one_line)?;
        self.check_storage(&dataset)?;
        let shape = dataset.shape().map_err(one_line)?;
        let shape = shape.into_iter().map(usize::try_from).collect::<Result<_, _>>();
        let datatype = dataset.datatype().map_err(one_line)?;
        let dtype =
            dtype(&datatype).ok_or_else(|| format!("elements of type {datatype} are not supported"))?;
        Ok(Tensor { dtype, shape: shape.map_err(|e| e.to_string())?, place: Place::Dataset(path) })
    }

    /// Refuses chunks outside of the file, or of a size that no honest file of this length has: `hdf5-pure`
    /// makes room for a chunk before it looks.
    fn check_storage(&self, dataset: &Dataset) -> Result<(), String> {
        let Layout::Chunked { chunk_shape, .. } = dataset.layout().map_err(one_line)? else {
            return Ok(());
        };
        let elements = chunk_shape.iter().try_fold(1u64, |product, &n| product.checked_mul(n));
        if elements.is_none_or(|n| n > value_limit(self.len)) {
            return Err(format!("chunks of shape {chunk_shape:?} in a file of {} bytes", self.len));
        }
        let outside = |address: u64, size: u64| address.checked_add(size).is_none_or(|end| end > self.len);
        let chunks = dataset.chunks().map_err(one_line)?;
        if chunks.iter().any(|chunk| outside(chunk.address, chunk.storage_size)) {
            return Err(String::from("a chunk lies outside of the file"));
        }
        Ok(())
    }

    /// The elements of a dataset in C order, little endian.
    pub(super) fn read_raw(&self, path: &str) -> Result<Vec<u8>, String> {
        let dataset = self.file.dataset(path).map_err(one_line)?;
        let mut bytes = dataset.read_raw().map_err(one_line)?;
        if let Datatype::FixedPoint { byte_order, size, .. }
        | Datatype::FloatingPoint { byte_order, size, .. } = dataset.datatype().map_err(one_line)?
            && byte_order == DatatypeByteOrder::BigEndian
        {
            bytes.chunks_exact_mut(size as usize).for_each(<[u8]>::reverse);
        }
        Ok(bytes)
    }
}

/// A list of strings in an attribute. Keras cuts one that is too long for HDF5 into `name0`, `name1`, ...
fn strings(group: &Group, name: &str) -> Result<Option<Vec<String>>, Error> {
    let attributes = group.attrs()?;
    let list = |name: &str| attributes.get(name).map(|value| value.as_strings().unwrap_or_default().to_vec());
    if let Some(whole) = list(name) {
        return Ok(Some(whole));
    }
    let parts: Vec<_> = (0..).map_while(|part| list(&format!("{name}{part}"))).collect();
    Ok((!parts.is_empty()).then(|| parts.concat()))
}

/// The plain IEEE and integer types that NumPy writes.
fn dtype(datatype: &Datatype) -> Option<DType> {
    match datatype {
        Datatype::FloatingPoint { size, byte_order, layout } if *byte_order != DatatypeByteOrder::Vax => {
            match (size, layout.exponent_size, layout.mantissa_size) {
                (8, 11, 52) => Some(DType::F64),
                (4, 8, 23) => Some(DType::F32),
                (2, 5, 10) => Some(DType::F16),
                (2, 8, 7) => Some(DType::BF16),
                _ => None,
            }
        }
        Datatype::FixedPoint { size, layout, .. } => match (size, layout.signed) {
            (8, true) => Some(DType::I64),
            (4, true) => Some(DType::I32),
            (2, true) => Some(DType::I16),
            (1, true) => Some(DType::I8),
            (8, false) => Some(DType::U64),
            (4, false) => Some(DType::U32),
            (2, false) => Some(DType::U16),
            (1, false) => Some(DType::U8),
            _ => None,
        },
        _ => None,
    }
}

fn one_line(error: Error) -> String {
    error.to_string().replace('\n', " ")
}
