//! The two containers of `torch.save`: a pickle that describes tensors, and their raw storages.
//!
//! Since PyTorch 1.6 both lie in a zip archive, `NAME/data.pkl` and `NAME/data/KEY`, uncompressed. Before
//! (and with `_use_new_zipfile_serialization=False` today) a file is five pickles (a magic number, the
//! protocol, facts about the machine, the object, the storages' keys) and then each storage in the order
//! of the keys, its element count as 64 bits before it.

use super::pickle::{self, Error, Object, Pickle};
use super::source::Source;
use super::{Tensor, dense_strides, quoted};
use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ReaderAt, ZipArchiveEntryWayfinder, ZipLocator};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// Pickles of more bytes are refused. A ShuffleNetV2's is 50 KB, and that of a whole training state with
/// its optimiser a few hundred.
const MAX_PICKLE: u64 = 16 << 20;

/// A storage's bytes within the file.
type Storages = HashMap<String, Range<u64>>;

impl ReaderAt for &Source {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<usize> {
        let len = self.len().saturating_sub(offset).min(buf.len() as u64) as usize;
        Source::read_at(self, offset, &mut buf[..len])?;
        Ok(len)
    }
}

/// Reads the directory of a zip container.
pub(super) fn read_zip(source: &Source) -> Result<BTreeMap<String, Tensor>, String> {
    let bad_zip = |e: rawzip::Error| format!("damaged zip archive: {e}");
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive =
        ZipLocator::new().locate_in_reader(source, &mut buffer, source.len()).map_err(|(_, e)| bad_zip(e))?;
    let mut entries: HashMap<String, (ZipArchiveEntryWayfinder, bool)> = HashMap::new();
    let mut directory = archive.entries(&mut buffer);
    while let Some(entry) = directory.next_entry().map_err(bad_zip)? {
        let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
        let plain = entry.compression_method() == CompressionMethod::STORE && !entry.flags().is_encrypted();
        if entries.insert(name, (entry.wayfinder(), plain)).is_some() {
            return Err(String::from("two entries of the zip archive have one name"));
        }
    }
    let find = |name: &str| -> Result<Option<Range<u64>>, String> {
        let Some(&(wayfinder, plain)) = entries.get(name) else { return Ok(None) };
        if !plain {
            // What is not compressed cannot blow up, and torch.save never compresses.
            return Err(format!("entry {} of the zip archive is compressed or encrypted", quoted(name)));
        }
        let (start, end) = archive.get_entry(wayfinder).map_err(bad_zip)?.compressed_data_range();
        if start > end || end > source.len() {
            return Err(format!("entry {} lies outside of the file", quoted(name)));
        }
        Ok(Some(start..end))
    };

    let prefix = entries
        .keys()
        .filter_map(|name| name.strip_suffix("data.pkl"))
        .min_by_key(|prefix| prefix.len())
        .ok_or("the zip archive has no data.pkl, so it is no PyTorch checkpoint")?;
    if let Some(range) = find(&format!("{prefix}byteorder"))?
        && bytes(source, range.start..range.end.min(range.start + 16))? != b"little"
    {
        return Err(String::from("the file was written on a big-endian machine, which is not supported"));
    }
    let pickle = find(&format!("{prefix}data.pkl"))?.unwrap_or(0..0);
    if pickle.end - pickle.start > MAX_PICKLE {
        return Err(format!("data.pkl has more than {MAX_PICKLE} bytes"));
    }
    let pickle = pickle::read(&bytes(source, pickle)?).map_err(reason)?;

    let tensors = state_dict(&pickle)?;
    let mut storages = Storages::new();
    for tensor in tensors.values() {
        let key = &pickle.storage_of(tensor).key;
        if !storages.contains_key(key)
            && let Some(range) = find(&format!("{prefix}data/{key}"))?
        {
            storages.insert(key.clone(), range);
        }
    }
    place(&pickle, tensors, &storages)
}

/// The magic number 0x1950a86a20f9469cfc6c as protocols 2 and up write it.
const LEGACY_MAGIC: [u8; 12] = [0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Whether a file that starts with `head` is a legacy container.
pub(super) fn is_legacy(head: &[u8]) -> bool {
    head.first() == Some(&0x80) && head.windows(LEGACY_MAGIC.len()).any(|window| window == LEGACY_MAGIC)
}

/// Reads the directory of a legacy container.
pub(super) fn read_legacy(source: &Source) -> Result<BTreeMap<String, Tensor>, String> {
    // Nothing says how long the pickles are. Nearly always they fit the first window.
    let mut window = 128 << 10;
    let (pickles, mut at) = loop {
        let head = bytes(source, 0..source.len().min(window))?;
        match five_pickles(&head) {
            Ok(found) => break found,
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
    let mut storages = Storages::new();
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
        let size = storage.dtype.map_or(1, |dtype| dtype.size() as u64);
        let end = elements
            .checked_mul(size)
            .and_then(|len| len.checked_add(at + 8))
            .filter(|&end| end <= source.len());
        let end = end.ok_or_else(|| format!("storage {}: the file ends early", quoted(key)))?;
        storages.insert(key.clone(), at + 8..end);
        at = end;
    }
    place(object, state_dict(object)?, &storages)
}

fn five_pickles(bytes: &[u8]) -> Result<([Pickle; 5], u64), Error> {
    let mut at = 0;
    let mut next = || {
        let pickle = pickle::read(&bytes[at..])?;
        at += pickle.len;
        Ok(pickle)
    };
    let pickles = [next()?, next()?, next()?, next()?, next()?];
    Ok((pickles, at as u64))
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

/// The tensors of the dictionary of weights, which may be wrapped in a dictionary of other things.
fn state_dict(pickle: &Pickle) -> Result<BTreeMap<&str, &pickle::Tensor>, String> {
    let tensors = |dict| {
        let mut found = BTreeMap::new();
        for (name, value) in pickle.entries(dict) {
            if let Object::Tensor(tensor) = value {
                found.entry(name).or_insert(&**tensor);
            }
        }
        found
    };
    let mut dict = pickle.root();
    // The bound is for dictionaries that contain themselves.
    for _ in 0..4 {
        let wrapped = ["state_dict", "model_state_dict", "model"]
            .into_iter()
            .find_map(|key| pickle.entry(dict, key).filter(|value| matches!(value, Object::Dict(_))));
        let Some(wrapped) = wrapped else { break };
        dict = wrapped;
    }
    let found = tensors(dict);
    if found.is_empty() {
        let keys: Vec<String> = pickle.entries(dict).take(8).map(|(key, _)| quoted(key)).collect();
        return Err(format!("no tensors by name at the top level (its keys: [{}])", keys.join(", ")));
    }
    Ok(found)
}

/// Turns views of storages into places in the file, after checking that they lie inside.
fn place(
    pickle: &Pickle,
    tensors: BTreeMap<&str, &pickle::Tensor>,
    storages: &Storages,
) -> Result<BTreeMap<String, Tensor>, String> {
    let mut placed = BTreeMap::new();
    for (name, tensor) in tensors {
        let storage = pickle.storage_of(tensor);
        let key = &storage.key;
        let range = storages.get(key).ok_or_else(|| {
            format!("tensor {}: its storage {} is not in the file", quoted(name), quoted(key))
        })?;
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
                "tensor {} of shape {:?} reaches outside of its storage, which has {} bytes",
                quoted(name),
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
        placed.insert(
            name.to_owned(),
            Tensor { dtype: tensor.dtype, shape: tensor.shape.clone(), offset, strides },
        );
    }
    Ok(placed)
}
