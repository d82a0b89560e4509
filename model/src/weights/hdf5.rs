//! Tensors in HDF5 files, wherever they lie: the datasets of all groups, and what Keras's attributes say of them.
//!
//! The structure of the file is read by the crate `hdf5-pure`; the values are read and decompressed here.

use super::chunks::{Chunk, Chunks, Filter};
use super::contents::{Contents, Named};
use super::dtype::DType;
use super::error::quoted;
use super::keras::Layers;
use super::shape::MAX_DIMENSIONS;
use super::source::Source;
use super::tensor::{Store, Tensor};
use hdf5_pure::{Dataset, Datatype, DatatypeByteOrder, Error, File, FormatError, Group, Layout};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";

/// How deep groups may lie in groups, and how many objects are looked at.
const MAX_DEPTH: usize = 16;
const MAX_OBJECTS: usize = 1 << 16;

/// Where the file proper starts: behind a user block of 512 bytes times a power of two, or at once.
pub(super) fn starts(source: &Source) -> Option<u64> {
    let offsets = std::iter::successors(Some(0u64), |&offset| Some((2 * offset).max(512)));
    let mut head = [0; SIGNATURE.len()];
    offsets.take(16).find(|&offset| source.read_at(offset, &mut head).is_ok() && head == SIGNATURE)
}

/// What `hdf5-pure` reads from. A damaged file can lead it through the same few bytes over and over, so that all
/// reading together has a bound. Values do not go this way.
struct Metered {
    source: Arc<Source>,
    left: AtomicU64,
}

impl hdf5_pure::Source for Metered {
    fn len(&self) -> u64 {
        self.source.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), FormatError> {
        // An empty read is not free either.
        let cost = buf.len() as u64 + 16;
        let left = self.left.load(Ordering::Relaxed);
        let Some(rest) = left.checked_sub(cost) else {
            return Err(FormatError::Source("its structure is read over and over".into()));
        };
        self.left.store(rest, Ordering::Relaxed);
        self.source.read_at(offset, buf).map_err(|e| FormatError::Source(e.to_string()))
    }
}

/// Reads a file. `config` is the description of the model, where it lies beside the file and not in it.
pub(super) fn read(source: &Arc<Source>, config: Option<&str>) -> Result<Contents, String> {
    // Files of Keras cost up to three times their length.
    let left = AtomicU64::new(source.len().saturating_mul(16).saturating_add(4 << 20));
    let file = File::from_source(Metered { source: source.clone(), left }).map_err(one_line)?;
    let root = file.root();
    let attributes = root.attrs().map_err(one_line)?;
    let written = attributes.get("model_config").and_then(|value| value.as_str().map(str::to_owned));
    let layers = Layers::parse(config.or(written.as_deref()))?;

    let mut reader = Reader { source, contents: Contents::default(), taken: HashSet::new(), objects: 0 };
    if let Some(names) = strings(&root, "layer_names").map_err(one_line)? {
        reader.keras_2(&root, &names)?;
    } else if let Ok(group) = root.group("model_weights")
        && let Some(names) = strings(&group, "layer_names").map_err(one_line)?
    {
        reader.keras_2(&group, &names)?;
    } else {
        reader.walk(&root, "", &layers, 0)?;
    }
    let mut contents = reader.contents;
    if contents.tensors.is_empty() {
        return Err(String::from("there is no dataset in it"));
    }
    contents.epsilons = layers.epsilons();
    Ok(contents)
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    contents: Contents,
    /// Names that tensors have.
    taken: HashSet<String>,
    objects: usize,
}

impl Reader<'_> {
    /// Keras 2, and what newer versions still write into `.h5`: a group per layer, which lists its weights by name.
    fn keras_2(&mut self, group: &Group, layers: &[String]) -> Result<(), String> {
        for layer in layers {
            let in_layer = |e: Error| format!("layer {}: {}", quoted(layer), one_line(e));
            let group = group.group(layer).map_err(in_layer)?;
            let weights = strings(&group, "weight_names").map_err(in_layer)?.unwrap_or_default();
            // A model made twice in one session has weights `conv1_1/kernel:0` in a layer `conv1`. Where the group
            // is a model of its own, its weights have the names of its layers before them.
            let scope = |weight: &str| weight.rsplit_once('/').map(|(scope, _)| scope.to_owned());
            let single = weights.iter().all(|weight| scope(weight) == scope(&weights[0]));
            for weight in &weights {
                self.count()?;
                let own = weight.rsplit('/').next().unwrap_or(weight);
                let name = if single { format!("{layer}/{own}") } else { weight.clone() };
                let dataset = group.dataset(weight).map_err(one_line);
                let tensor = dataset.and_then(|dataset| place(&dataset, self.source));
                self.push(name, tensor);
            }
        }
        Ok(())
    }

    /// Any other file: all datasets of all groups. Keras 3 numbers the variables of a layer in a group `vars`.
    fn walk(&mut self, group: &Group, path: &str, layers: &Layers, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("groups lie in groups more than {MAX_DEPTH} deep"));
        }
        for (name, dataset) in group.iter_datasets().map_err(one_line)? {
            self.count()?;
            self.push(joined(path, &name), place(&dataset, self.source));
        }
        let mut groups: Vec<(String, Group)> = group.iter_groups().map_err(one_line)?.collect();
        groups.sort_by(|(a, _), (b, _)| numbered(a).cmp(&numbered(b)));
        for (name, inner) in groups {
            self.count()?;
            if name == "vars" {
                self.variables(&inner, path, layers)?;
            } else {
                self.walk(&inner, &joined(path, &name), layers, depth + 1)?;
            }
        }
        Ok(())
    }

    /// The variables of a layer of Keras 3. Only their number and shapes tell what they are.
    fn variables(&mut self, vars: &Group, path: &str, layers: &Layers) -> Result<(), String> {
        let mut datasets: Vec<(String, Dataset)> = vars.iter_datasets().map_err(one_line)?.collect();
        datasets.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
        let first = datasets.first().map_or(0, |(_, dataset)| dataset.shape().map_or(0, |shape| shape.len()));
        let meanings: &[&str] = match (first, datasets.len()) {
            (2.., 1 | 2) => &["kernel", "bias"],
            (1, 4) => &["gamma", "beta", "moving_mean", "moving_variance"],
            (1, 2) => &["moving_mean", "moving_variance"],
            _ => &[],
        };
        let attributes = vars.attrs().map_err(one_line)?;
        let written = attributes.get("name").and_then(|name| name.as_str());
        let layer = layers.name(path).or(written).unwrap_or(path).to_owned();
        for (index, (number, dataset)) in datasets.into_iter().enumerate() {
            self.count()?;
            let name = joined(&layer, meanings.get(index).unwrap_or(&&*number));
            self.push(name, place(&dataset, self.source));
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), String> {
        self.objects += 1;
        if self.objects > MAX_OBJECTS {
            return Err(format!("there are more than {MAX_OBJECTS} groups and datasets in it"));
        }
        Ok(())
    }

    fn push(&mut self, mut name: String, tensor: Result<Tensor, String>) {
        if !self.taken.insert(name.clone()) {
            name = format!("{name}#{}", self.objects);
            self.taken.insert(name.clone());
        }
        let tensor = tensor.map(Arc::new).map_err(Arc::from);
        self.contents.tensors.push(Named { name, tensor });
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

/// Sorts `conv2d_10` behind `conv2d_9`.
fn numbered(name: &str) -> (&str, u64) {
    let number = |(base, digits): (&'_ str, &str)| Some((base.len(), digits.parse().ok()?));
    match name.rsplit_once('_').and_then(number) {
        Some((base, number)) => (&name[..base], number),
        None => (name, 0),
    }
}

/// Where in the file a dataset lies.
fn place(dataset: &Dataset, source: &Arc<Source>) -> Result<Tensor, String> {
    let datatype = dataset.datatype().map_err(one_line)?;
    let (dtype, big_endian) =
        dtype(&datatype).ok_or_else(|| format!("elements of type {datatype} are not supported"))?;
    let sizes = |sizes: Vec<u64>| -> Result<Vec<usize>, String> {
        sizes.into_iter().map(|n| usize::try_from(n).map_err(|e| e.to_string())).collect()
    };
    let shape = sizes(dataset.shape().map_err(one_line)?)?;
    if shape.len() > MAX_DIMENSIONS {
        return Err(format!("it has more than {MAX_DIMENSIONS} dimensions"));
    }
    let outside = || format!("its values, of shape {shape:?}, lie outside of the file");
    let offset = match dataset.layout().map_err(one_line)? {
        Layout::Contiguous { address: Some(address), .. } => address,
        _ if shape.contains(&0) => 0,
        Layout::Contiguous { address: None, .. } => {
            return Err(String::from("its values were never written"));
        }
        Layout::Chunked { chunk_shape, .. } => {
            let chunks = sizes(chunk_shape).and_then(|size| chunks(dataset, source, size, &shape))?;
            return Ok(Tensor { dtype, shape, big_endian, store: Store::Chunked(Box::new(chunks)) });
        }
        layout => {
            return Err(format!("its layout, {layout}, is not supported (h5repack -l CONTI undoes it)"));
        }
    };
    Tensor::dense(dtype, shape.clone(), big_endian, source, offset).ok_or_else(outside)
}

/// The chunks of a dataset, and what undoes their filters.
fn chunks(
    dataset: &Dataset,
    source: &Arc<Source>,
    shape: Vec<usize>,
    whole: &[usize],
) -> Result<Chunks, String> {
    let filters = dataset.filters().into_iter().map(|id| match id {
        1 => Ok(Filter::Deflate),
        2 => Ok(Filter::Shuffle),
        3 => Ok(Filter::Fletcher32),
        id => Err(format!("its filter {id} is not supported (h5repack -f NONE undoes it)")),
    });
    let filters = filters.collect::<Result<Vec<_>, _>>()?;
    let chunks = dataset.chunks().map_err(one_line)?.into_iter().map(|chunk| {
        // (What no address reaches lies outside of every array.)
        let origin = chunk.offset.iter().map(|&n| usize::try_from(n).unwrap_or(usize::MAX));
        Ok(Chunk {
            origin: origin.collect(),
            offset: chunk.address,
            len: chunk.storage_size,
            left_out: chunk.filter_mask,
        })
    });
    Chunks::new(source, shape, filters, chunks.collect::<Result<_, String>>()?, whole)
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

/// The IEEE and integer types, and whether the most significant byte comes first.
fn dtype(datatype: &Datatype) -> Option<(DType, bool)> {
    let (dtype, order) = match datatype {
        Datatype::FloatingPoint { size, byte_order, layout } => {
            let dtype = match (size, layout.exponent_size, layout.mantissa_size) {
                (8, 11, 52) => DType::F64,
                (4, 8, 23) => DType::F32,
                (2, 5, 10) => DType::F16,
                (2, 8, 7) => DType::BF16,
                _ => return None,
            };
            (dtype, byte_order)
        }
        Datatype::FixedPoint { size, byte_order, layout } => {
            let dtype = match (size, layout.signed) {
                (8, true) => DType::I64,
                (4, true) => DType::I32,
                (2, true) => DType::I16,
                (1, true) => DType::I8,
                (8, false) => DType::U64,
                (4, false) => DType::U32,
                (2, false) => DType::U16,
                (1, false) => DType::U8,
                _ => return None,
            };
            (dtype, byte_order)
        }
        _ => return None,
    };
    match order {
        DatatypeByteOrder::LittleEndian => Some((dtype, false)),
        DatatypeByteOrder::BigEndian => Some((dtype, true)),
        _ => None,
    }
}

fn one_line(error: Error) -> String {
    error.to_string().replace('\n', " ")
}
