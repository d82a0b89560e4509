//! The containers of `torch.save`: a pickle that describes tensors, and their raw storages.
//!
//! Since PyTorch 1.6 both lie in a zip archive, `NAME/data.pkl` and `NAME/data/KEY`, uncompressed. Before
//! (and with `_use_new_zipfile_serialization=False` today) a file is five pickles (a magic number, the
//! protocol, facts about the machine, the object, the storages' keys) and then each storage in the order
//! of the keys, its element count as 64 bits before it. An archive of TorchScript is a zip archive of the first
//! kind, whose object is the module.

use super::contents::{Contents, Named};
use super::error::quoted;
use super::names;
use super::pickle::{self, Element, Error, Id, Object, Pickle};
use super::shape::dense_strides;
use super::source::Source;
use super::tensor::{Store, Tensor};
use super::zip::{Archive, Place};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Pickles of more bytes are refused. A ShuffleNetV2's is 50 KB, and that of a whole training state with
/// its optimiser a few hundred.
const MAX_PICKLE: u64 = 16 << 20;

/// Reads the directory of a zip container.
pub(super) fn read_zip(archive: &Archive, script: bool) -> Result<Contents, String> {
    let prefix = archive
        .names()
        .filter_map(|name| name.strip_suffix("data.pkl"))
        .min_by_key(|prefix| prefix.len())
        .ok_or("the zip archive has no data.pkl, so it is no PyTorch checkpoint")?
        .to_owned();
    let find = |name: &str| archive.find(&format!("{prefix}{name}"));
    if let Some((source, range)) = find("byteorder")?
        && bytes(&source, range.start..range.end.min(range.start + 16))? != b"little"
    {
        return Err(String::from("the file was written on a big-endian machine, which is not supported"));
    }
    let Some((source, range)) = find("data.pkl")? else { return Err("the archive has no data.pkl".into()) };
    if range.end - range.start > MAX_PICKLE {
        return Err(format!("data.pkl has more than {MAX_PICKLE} bytes"));
    }
    let start = range.start;
    let pickle = pickle::read(&bytes(&source, range)?).map_err(reason)?;

    if script && names::tensors(&pickle)?.is_empty() {
        return Err(
            "its parameters were frozen into its code and have no names: save its state_dict()".into()
        );
    }
    let mut storages: HashMap<String, Result<Option<Place>, String>> = HashMap::new();
    contents(&pickle, (&source, start), |key| {
        let place = storages.entry(key.to_owned()).or_insert_with(|| find(&format!("data/{key}")));
        place.clone()
    })
}

/// The magic number 0x1950a86a20f9469cfc6c as protocols 2 and up write it.
const LEGACY_MAGIC: [u8; 12] = [0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Whether a file that starts with `head` is a legacy container: its first pickle is the magic number and nothing else.
pub(super) fn is_legacy(head: &[u8]) -> bool {
    let [0x80, _protocol, rest @ ..] = head else { return false };
    // From protocol 4 on a frame comes first, with its length.
    let framed = rest.strip_prefix(b"\x95").and_then(|rest| rest.get(8..));
    framed.unwrap_or(rest).starts_with(&LEGACY_MAGIC)
}

/// Reads the directory of a legacy container.
pub(super) fn read_legacy(source: &Arc<Source>) -> Result<Contents, String> {
    // Nothing says how long the pickles are. Nearly always they fit the first window.
    let mut window = 128 << 10;
    let (pickles, mut at) = loop {
        let head = bytes(source, 0..source.len().min(window))?;
        match pickle::read_five(&head, false) {
            Ok((pickles, end)) => break (pickles, end as u64),
            Err(Error::Truncated) if (head.len() as u64) < source.len() && window < MAX_PICKLE => window *= 4,
            Err(e) => return Err(reason(e)),
        }
    };
    let [_magic, _protocol, machine, object, keys] = &pickles;
    if !matches!(machine.entry(machine.root(), "little_endian"), Some(Object::Bool(true))) {
        return Err(String::from(
            "the file was not written on a little-endian machine, which is not supported",
        ));
    }
    let Object::List(keys_list) = keys.root() else {
        return Err(String::from("the list of storages is missing"));
    };

    // Keys say nothing of sizes; the tensors that use a storage do. One that only other entries of the file
    // use (an optimiser's state) is as good.
    let declared = object.storages();
    let mut storages: HashMap<&str, Range<u64>> = HashMap::new();
    for &key in keys_list {
        let Object::Str(key) = keys.get(key) else {
            return Err(String::from("a storage's key is not a string"));
        };
        let storage =
            declared.get(key.as_str()).ok_or_else(|| format!("nothing uses storage {}", quoted(key)))?;
        let mut count = [0; 8];
        source.read_at(at, &mut count).map_err(|e| format!("storage {}: {e}", quoted(key)))?;
        let elements = u64::from_le_bytes(count);
        if elements != storage.elements {
            return Err(format!(
                "storage {}: expected {} elements, found {elements}",
                quoted(key),
                storage.elements
            ));
        }
        let size = match &storage.element {
            Element::Known(dtype) => dtype.size() as u64,
            Element::Untyped => 1,
            Element::Other(Some(size), _) => *size,
            Element::Other(None, name) => {
                return Err(format!("storage {} is a {}, which is not supported", quoted(key), quoted(name)));
            }
        };
        let end = elements
            .checked_mul(size)
            .and_then(|len| len.checked_add(at + 8))
            .filter(|&end| end <= source.len());
        let end = end.ok_or_else(|| format!("storage {}: the file ends early", quoted(key)))?;
        storages.insert(key, at + 8..end);
        at = end;
    }
    let start = pickles[..3].iter().map(|pickle| pickle.len as u64).sum();
    contents(object, (source, start), |key| {
        Ok(storages.get(key).map(|range| (source.clone(), range.clone())))
    })
}

/// Longest pickle of another kind, which may have the values in it.
const MAX_PLAIN: u64 = 1 << 28;

/// Whether a file that starts with `head` is a pickle of a protocol that starts with its number.
pub(super) fn is_pickle(head: &[u8]) -> bool {
    matches!(head, [0x80, 2..=5, ..])
}

/// Reads what Python's own `pickle` made of a dictionary of tensors or arrays: the values lie in the pickle.
pub(super) fn read_pickle(source: &Arc<Source>) -> Result<Contents, String> {
    if source.len() > MAX_PLAIN {
        return Err(format!("it has more than {MAX_PLAIN} bytes"));
    }
    let pickle = pickle::read(&bytes(source, 0..source.len())?).map_err(reason)?;
    contents(&pickle, (source, 0), |_| Ok(None))
}

fn bytes(source: &Source, range: Range<u64>) -> Result<Vec<u8>, String> {
    source.read_range(range).map_err(|e| e.to_string())
}

fn reason(error: Error) -> String {
    match error {
        Error::Truncated => String::from("the file ends early"),
        Error::Refused(reason) => reason,
    }
}

/// Every tensor of the pickle under its name. The pickle lies at `own`; `storage` finds the bytes of a storage by its
/// key.
fn contents(
    pickle: &Pickle,
    own: (&Arc<Source>, u64),
    mut storage: impl FnMut(&str) -> Result<Option<Place>, String>,
) -> Result<Contents, String> {
    let found = names::tensors(pickle)?;
    if found.is_empty() {
        return Err(format!("there is no tensor in it (the keys at its top: [{}])", names::top(pickle)));
    }
    let mut placed: HashMap<Id, Result<Arc<Tensor>, Arc<str>>> = HashMap::new();
    let tensors = found.into_iter().map(|(name, id)| {
        let place_one = || match pickle.get(id) {
            Object::Tensor(tensor) => {
                place(pickle, tensor, own, &mut storage).map(Arc::new).map_err(Arc::from)
            }
            Object::Array(Some(array)) => Ok(Arc::new(Tensor {
                dtype: array.dtype,
                shape: array.shape.clone(),
                big_endian: array.big_endian,
                store: Store::Strided {
                    source: own.0.clone(),
                    offset: own.1 + array.bytes.start as u64,
                    strides: array.strides.clone(),
                },
            })),
            Object::Unreadable(reason) => Err(Arc::from(reason.as_str())),
            _ => Err(Arc::from("it is no tensor")),
        };
        let tensor = placed.entry(id).or_insert_with(place_one).clone();
        Named { name, tensor }
    });
    let tensors = tensors.collect();
    let warnings = pickle.dangerous.iter().map(|function| {
        format!(
            "the pickle names {}, which Python would run on opening this file; nothing of it was run here",
            quoted(function)
        )
    });
    Ok(Contents { tensors, warnings: warnings.collect(), ..Contents::default() })
}

/// Turns a view of a storage into places in the file, after checking that they lie inside.
fn place(
    pickle: &Pickle,
    tensor: &pickle::Tensor,
    own: (&Arc<Source>, u64),
    find: &mut impl FnMut(&str) -> Result<Option<Place>, String>,
) -> Result<Tensor, String> {
    let storage = pickle.storage_of(tensor);
    let found = match &storage.within {
        Some(within) => Some((own.0.clone(), own.1 + within.start as u64..own.1 + within.end as u64)),
        None => find(&storage.key)?,
    };
    let absent = || format!("its storage {} is not in the file", quoted(&storage.key));
    let (source, range) = found.ok_or_else(absent)?;
    let size = tensor.dtype.size() as u64;
    let skipped = tensor.offset.checked_add(storage.skip);
    // One past the last element, in bytes.
    let end = skipped.and_then(|first| {
        let mut last = first;
        for (&n, &stride) in tensor.shape.iter().zip(&tensor.strides) {
            let Some(steps) = n.checked_sub(1) else { return Some(first) };
            last = last.checked_add((steps as u64).checked_mul(stride as u64)?)?;
        }
        last.checked_add(1)
    });
    let end = end.and_then(|end| end.checked_mul(size)).filter(|&end| end <= range.end - range.start);
    if end.is_none() {
        return Err(format!(
            "its shape {:?} reaches outside of its storage, which has {} bytes",
            tensor.shape,
            range.end - range.start
        ));
    }
    let mut strides = dense_strides(&tensor.shape);
    for ((dense, &stride), &n) in strides.iter_mut().zip(&tensor.strides).zip(&tensor.shape) {
        // The stride of an axis of one element means nothing and may be anything.
        if n > 1 {
            *dense = stride;
        }
    }
    let offset = range.start + skipped.unwrap_or(0) * size;
    let store = Store::Strided { source, offset, strides };
    Ok(Tensor { dtype: tensor.dtype, shape: tensor.shape.clone(), big_endian: false, store })
}
