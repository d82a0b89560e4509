//! Pickles and the containers of `torch.save`, written byte by byte.

#![allow(dead_code, reason = "each test binary that includes this module uses a part of it")]

/// A class or function.
pub(crate) fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

pub(crate) fn int(value: i64) -> Vec<u8> {
    [&[0x8a, 8][..], &value.to_le_bytes()].concat()
}

pub(crate) fn string(value: &str) -> Vec<u8> {
    [&b"X"[..], &(value.len() as u32).to_le_bytes(), value.as_bytes()].concat()
}

pub(crate) fn byte_string(value: &[u8]) -> Vec<u8> {
    [&b"B"[..], &(value.len() as u32).to_le_bytes(), value].concat()
}

pub(crate) fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(", &items.concat()[..], b"t"].concat()
}

pub(crate) fn list(items: &[Vec<u8>]) -> Vec<u8> {
    [b"](", &items.concat()[..], b"e"].concat()
}

/// `module.name(*args)`
pub(crate) fn call(module: &str, name: &str, args: &[Vec<u8>]) -> Vec<u8> {
    [&global(module, name)[..], &tuple(args), b"R"].concat()
}

/// An object of a class, with attributes.
pub(crate) fn object(module: &str, name: &str, attributes: &[(&str, Vec<u8>)]) -> Vec<u8> {
    [&global(module, name)[..], b")\x81", &dict(attributes), b"b"].concat()
}

/// `{name: value, ...}`
pub(crate) fn dict<S: AsRef<str>>(entries: &[(S, Vec<u8>)]) -> Vec<u8> {
    let entries = entries.iter().flat_map(|(name, value)| [string(name.as_ref()), value.clone()].concat());
    [b"}(", &entries.collect::<Vec<u8>>()[..], b"u"].concat()
}

/// `collections.OrderedDict`, as a `state_dict()` is.
pub(crate) fn ordered_dict<S: AsRef<str>>(entries: &[(S, Vec<u8>)]) -> Vec<u8> {
    let entries = entries.iter().flat_map(|(name, value)| [string(name.as_ref()), value.clone()].concat());
    [&call("collections", "OrderedDict", &[])[..], b"(", &entries.collect::<Vec<u8>>(), b"u"].concat()
}

/// The storages of a file, as tensors are pickled.
#[derive(Default)]
pub(crate) struct Storages(Vec<(usize, Vec<u8>)>);

impl Storages {
    /// A storage of a class of `torch`, of elements of `size` bytes.
    pub(crate) fn storage(&mut self, class: &str, size: usize, bytes: Vec<u8>) -> Vec<u8> {
        let elements = (bytes.len() / size) as i64;
        let key = self.0.len().to_string();
        self.0.push((size, bytes));
        let fields = [string("storage"), global("torch", class), string(&key), string("cpu"), int(elements)];
        [&tuple(&fields)[..], b"Q"].concat()
    }

    /// A tensor in C order of any element type.
    pub(crate) fn tensor_of(&mut self, class: &str, size: usize, shape: &[usize], bytes: Vec<u8>) -> Vec<u8> {
        let strides: Vec<usize> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
        let ints = |values: &[usize]| tuple(&values.iter().map(|&v| int(v as i64)).collect::<Vec<_>>());
        let storage = self.storage(class, size, bytes);
        let args = [storage, int(0), ints(shape), ints(&strides), b"\x89".to_vec(), b"}".to_vec()];
        call("torch._utils", "_rebuild_tensor_v2", &args)
    }

    pub(crate) fn tensor(&mut self, shape: &[usize], values: &[f32]) -> Vec<u8> {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor_of("FloatStorage", 4, shape, bytes)
    }

    /// The object in a zip container.
    pub(crate) fn zip(&self, object: &[u8]) -> Vec<u8> {
        self.zip_with(object, &[])
    }

    /// The same with other entries.
    pub(crate) fn zip_with(&self, object: &[u8], more: &[(&str, &[u8])]) -> Vec<u8> {
        let names: Vec<String> = (0..self.0.len()).map(|key| format!("a/data/{key}")).collect();
        let pickle = [b"\x80\x02", object, b"."].concat();
        let mut entries: Vec<(&str, &[u8])> = vec![("a/data.pkl", &pickle)];
        entries.extend(names.iter().zip(&self.0).map(|(name, (_, bytes))| (&**name, &**bytes)));
        entries.extend(more);
        zip(&entries)
    }

    /// The object in a legacy container.
    pub(crate) fn legacy(&self, object: &[u8]) -> Vec<u8> {
        let keys: Vec<Vec<u8>> = (0..self.0.len()).map(|key| string(&key.to_string())).collect();
        let mut file = legacy(object, &keys, b"\x88");
        for (size, bytes) in &self.0 {
            file.extend(((bytes.len() / size) as u64).to_le_bytes());
            file.extend(bytes);
        }
        file
    }
}

/// The five pickles of a legacy container.
pub(crate) fn legacy(object: &[u8], keys: &[Vec<u8>], little_endian: &[u8]) -> Vec<u8> {
    let pickles = [
        b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19".to_vec(),
        int(1001),
        dict(&[("little_endian", little_endian.to_vec())]),
        object.to_vec(),
        list(keys),
    ];
    pickles.iter().flat_map(|pickle| [b"\x80\x02", &pickle[..], b"."].concat()).collect()
}

/// A zip archive of uncompressed entries, good apart from missing checksums, which nobody asks for.
pub(crate) fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let offset = (file.len() as u32).to_le_bytes();
        let size = (data.len() as u32).to_le_bytes();
        let name_len = (name.len() as u16).to_le_bytes();
        // Version, flags, method, time, date, checksum; sizes; lengths of the name and of the extra field.
        let common = [&[20, 0][..], &[0; 12], &size, &size, &name_len, &[0; 2]].concat();
        file.extend([b"PK\x03\x04", &common[..], name.as_bytes(), data].concat());
        directory.extend([b"PK\x01\x02\x14\0", &common[..], &[0; 10], &offset, name.as_bytes()].concat());
    }
    let count = (entries.len() as u16).to_le_bytes();
    let (offset, size) = ((file.len() as u32).to_le_bytes(), (directory.len() as u32).to_le_bytes());
    [&file[..], &directory, b"PK\x05\x06\0\0\0\0", &count, &count, &size, &offset, &[0; 2]].concat()
}
