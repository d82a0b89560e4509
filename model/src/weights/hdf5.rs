//! Keras 2's HDF5 layout: `layer_names` at the root (or at `model_weights`, where a whole model was
//! saved), a group per layer with `weight_names`, and datasets under these names.

use super::source::Source;
use super::{DType, Tensor, dense_strides, quoted};
use hdf5_pure::{Dataset, Datatype, DatatypeByteOrder, Error, File, FormatError, Group, Layout};
use std::collections::BTreeMap;
use std::sync::Arc;

struct SharedSource(Arc<Source>);

impl hdf5_pure::Source for SharedSource {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), FormatError> {
        self.0.read_at(offset, buf).map_err(|e| FormatError::Source(e.to_string()))
    }
}

/// The weights that the names lead to. Datasets without a name (an optimiser's state) are left out.
pub(super) fn read(source: &Arc<Source>) -> Result<BTreeMap<String, Tensor>, String> {
    let file = File::from_source(SharedSource(source.clone())).map_err(one_line)?;
    let (base, group, layers) = layers(&file)?;
    let mut tensors = BTreeMap::new();
    for layer in layers {
        let in_layer = |e: Error| format!("layer {}: {}", quoted(&layer), one_line(e));
        let weights = strings(&group.group(&layer).map_err(in_layer)?, "weight_names").map_err(in_layer)?;
        for name in weights.unwrap_or_default() {
            let path = format!("{base}{layer}/{name}");
            let tensor =
                file.dataset(&path).map_err(one_line).and_then(|dataset| place(&dataset, source.len()));
            let tensor = tensor.map_err(|e| format!("tensor {}: {e}", quoted(&name)))?;
            tensors.insert(name, tensor);
        }
    }
    if tensors.is_empty() {
        return Err(String::from("no layer has weights"));
    }
    Ok(tensors)
}

/// The group that has `layer_names`, its path as a prefix, and the names.
fn layers(file: &File) -> Result<(&'static str, Group, Vec<String>), String> {
    let root = file.root();
    if let Some(layers) = strings(&root, "layer_names").map_err(one_line)? {
        return Ok(("", root, layers));
    }
    if let Ok(group) = file.group("model_weights")
        && let Some(layers) = strings(&group, "layer_names").map_err(one_line)?
    {
        return Ok(("model_weights/", group, layers));
    }
    Err(String::from(
        "no layer_names, so these are not weights saved by Keras 2 (Keras 3's .weights.h5 is another layout)",
    ))
}

/// Where in the file a dataset lies. Keras writes datasets in one piece; those in chunks, which may be
/// compressed, are refused, and with them all that a few bytes can blow up to.
fn place(dataset: &Dataset, file_len: u64) -> Result<Tensor, String> {
    let datatype = dataset.datatype().map_err(one_line)?;
    let dtype = dtype(&datatype).ok_or_else(|| format!("elements of type {datatype} are not supported"))?;
    let shape: Vec<u64> = dataset.shape().map_err(one_line)?;
    let bytes = shape.iter().try_fold(dtype.size() as u64, |product, &n| product.checked_mul(n));
    let shape =
        shape.into_iter().map(usize::try_from).collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    let offset = match dataset.layout().map_err(one_line)? {
        Layout::Contiguous { address: Some(address), .. } => address,
        Layout::Contiguous { address: None, .. } if bytes == Some(0) => 0,
        Layout::Contiguous { address: None, .. } => {
            return Err(String::from("its values were never written"));
        }
        _ => {
            return Err(String::from(
                "it is stored in chunks or compressed, which is not supported (h5repack -l CONTI undoes it)",
            ));
        }
    };
    if bytes.and_then(|bytes| offset.checked_add(bytes)).is_none_or(|end| end > file_len) {
        return Err(format!("its values, of shape {shape:?}, lie outside of the file"));
    }
    Ok(Tensor { dtype, offset, strides: dense_strides(&shape), shape })
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

/// The plain little-endian IEEE and integer types.
fn dtype(datatype: &Datatype) -> Option<DType> {
    match datatype {
        Datatype::FloatingPoint { size, byte_order: DatatypeByteOrder::LittleEndian, layout } => {
            match (size, layout.exponent_size, layout.mantissa_size) {
                (8, 11, 52) => Some(DType::F64),
                (4, 8, 23) => Some(DType::F32),
                (2, 5, 10) => Some(DType::F16),
                (2, 8, 7) => Some(DType::BF16),
                _ => None,
            }
        }
        Datatype::FixedPoint { size, byte_order: DatatypeByteOrder::LittleEndian, layout } => {
            match (size, layout.signed) {
                (8, true) => Some(DType::I64),
                (4, true) => Some(DType::I32),
                (2, true) => Some(DType::I16),
                (1, true) => Some(DType::I8),
                (8, false) => Some(DType::U64),
                (4, false) => Some(DType::U32),
                (2, false) => Some(DType::U16),
                (1, false) => Some(DType::U8),
                _ => None,
            }
        }
        _ => None,
    }
}

fn one_line(error: Error) -> String {
    error.to_string().replace('\n', " ")
}
