//! What a pickle can build here.

use crate::weights::dtype::DType;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

/// An object is an index into the arena.
pub(crate) type Id = u32;

/// What a pickle can build here.
pub(crate) enum Object {
    None,
    Bool(bool),
    Int(i64),
    Str(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or function, as `module.name`.
    Global(String),
    Storage(Box<Storage>),
    Tensor(Box<Tensor>),
    /// A tensor of a kind that is not read, and why.
    Unreadable(String),
    Instance(Box<Instance>),
    /// A byte string: where it lies in the pickle.
    Bytes(Range<usize>),
    /// What NumPy's elements are: a type and whether its most significant byte comes first.
    NumpyType(String, bool),
    /// An array of NumPy, with its values in the pickle; none before they have come.
    Array(Option<Box<Array>>),
    /// A value of no interest: floats, sets, dates.
    Opaque,
}

/// An array of NumPy.
pub(crate) struct Array {
    pub(crate) dtype: DType,
    pub(crate) big_endian: bool,
    pub(crate) shape: Vec<usize>,
    /// In elements.
    pub(crate) strides: Vec<usize>,
    /// Its bytes within the pickle.
    pub(crate) bytes: Range<usize>,
}

/// What a call of an unknown function or class would have made.
#[derive(Default)]
pub(crate) struct Instance {
    /// Items, where it behaves like a dictionary.
    pub(crate) items: Vec<(Id, Id)>,
    /// Where its attributes are: dictionaries, if all is well.
    pub(crate) state: Vec<Id>,
}

/// A flat array of elements, kept outside of the pickle under `key`, or within.
pub(crate) struct Storage {
    pub(crate) key: String,
    /// Where the elements lie in the pickle, if they do.
    pub(crate) within: Option<Range<usize>>,
    pub(crate) element: Element,
    pub(crate) elements: u64,
    /// Elements to skip in the storage: files of PyTorch before 0.4 have storages inside storages.
    pub(crate) skip: u64,
}

/// What a storage is made of.
#[derive(Clone, Debug)]
pub(crate) enum Element {
    Known(DType),
    /// Bytes, of which the tensor says what they mean.
    Untyped,
    /// Of this many bytes, if that is known, and nothing that weights could be made of.
    Other(Option<u64>, String),
}

/// A tensor: a strided view of a storage, all numbers in elements.
pub(crate) struct Tensor {
    pub(crate) storage: Id,
    pub(crate) dtype: DType,
    pub(crate) offset: u64,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
}

/// Why a pickle was not understood.
pub(crate) enum Error {
    /// The bytes end before the pickle does.
    Truncated,
    /// Anything else.
    Refused(String),
}

/// The finished objects of one pickle.
pub(crate) struct Pickle {
    pub(crate) arena: Vec<Object>,
    pub(crate) root: Id,
    /// Bytes that the pickle took up.
    pub(crate) len: usize,
    /// Functions that the pickle names and an honest one would not.
    pub(crate) dangerous: BTreeSet<String>,
}

impl Pickle {
    pub(crate) fn root_id(&self) -> Id {
        self.root
    }

    pub(crate) fn root(&self) -> &Object {
        self.get(self.root)
    }

    /// How many objects there are: one more than the greatest id.
    pub(crate) fn objects(&self) -> usize {
        self.arena.len()
    }

    pub(crate) fn get(&self, id: Id) -> &Object {
        &self.arena[id as usize]
    }

    pub(crate) fn storage_of(&self, tensor: &Tensor) -> &Storage {
        match self.get(tensor.storage) {
            Object::Storage(storage) => storage,
            _ => unreachable!("tensors are built from storages only"),
        }
    }

    /// All storages that the pickle mentions, by key.
    pub(crate) fn storages(&self) -> HashMap<&str, &Storage> {
        let storages = self.arena.iter().filter_map(|object| match object {
            Object::Storage(storage) if storage.within.is_none() => Some((storage.key.as_str(), &**storage)),
            _ => None,
        });
        storages.collect()
    }

    /// The value under a string key of a dictionary.
    pub(crate) fn entry<'a>(&'a self, dict: &'a Object, key: &str) -> Option<&'a Object> {
        self.entries(dict).find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The string-keyed entries of a dictionary; none if it is not one. Later entries of one key win in
    /// Python, so they come first.
    pub(crate) fn entries<'a>(&'a self, dict: &'a Object) -> impl Iterator<Item = (&'a str, &'a Object)> {
        let pairs = if let Object::Dict(pairs) = dict { &pairs[..] } else { &[] };
        pairs.iter().rev().filter_map(|&(key, value)| match self.get(key) {
            Object::Str(key) => Some((key.as_str(), self.get(value))),
            _ => None,
        })
    }
}
