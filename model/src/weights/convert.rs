//! Weights into files.

use super::checkpoint::Checkpoint;
use super::dtype::DType;
use super::error::WeightsError;
use super::safetensors::write;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Writes `f32` tensors, given as name, shape and values in C order, into a safetensors file.
///
/// The tensors are sorted by name, the file says which library wrote it, and it appears under its name only
/// when it is complete.
///
/// # Panics
/// When the number of values is not the product of the shape.
pub fn save_safetensors<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a [usize], &'a [f32])>,
) -> Result<(), WeightsError> {
    let tensors: BTreeMap<&str, (&[usize], &[f32])> =
        tensors.into_iter().map(|(name, shape, values)| (name, (shape, values))).collect();
    for (name, (shape, values)) in &tensors {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "values of {name} for shape {shape:?}");
    }
    let infos = tensors.iter().map(|(&name, (shape, _))| (name, DType::F32, *shape));
    write(path, infos, &BTreeMap::new(), |name| {
        Ok(tensors[name].1.iter().flat_map(|value| value.to_le_bytes()).collect())
    })
}

/// Rewrites tensors of a checkpoint as safetensors, element types kept, one tensor in memory at a time. `tensors` are
/// their new names and those in the checkpoint; what a batch normalisation adds to its variance is kept, too, where the
/// checkpoint says so.
///
/// ```no_run
/// # fn main() -> Result<(), model::weights::WeightsError> {
/// use model::weights::{Checkpoint, convert};
///
/// let checkpoint = Checkpoint::open("shufflenetv2_x1-5666bf0f80.pth".as_ref())?;
/// convert(&checkpoint, checkpoint.names().map(|name| (name, name)), "x1.safetensors".as_ref())?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// Where a tensor is not there or cannot be read, or the file not be written.
pub fn convert<'a>(
    checkpoint: &Checkpoint,
    tensors: impl IntoIterator<Item = (&'a str, &'a str)>,
    output: &Path,
) -> Result<(), WeightsError> {
    let (mut infos, mut old_names, mut epsilons) = (Vec::new(), HashMap::new(), BTreeMap::new());
    for (new, old) in tensors {
        let tensor = checkpoint.tensor(old)?;
        infos.push((new, tensor.dtype, &tensor.shape[..]));
        old_names.insert(new, old);
        if let (Some(epsilon), Some((layer, _))) = (checkpoint.epsilon(old), new.rsplit_once(['/', '.'])) {
            epsilons.insert(layer, epsilon);
        }
    }
    write(output, infos.into_iter(), &epsilons, |name| checkpoint.read_raw(old_names[name]))
}
