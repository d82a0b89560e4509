//! A reader for the pickles in PyTorch checkpoints that runs nothing.
//!
//! A pickle is a program for a stack machine, and Python's machine will call any function it names. This
//! one knows dictionaries, lists, tuples, strings and integers, and the few calls that rebuild tensors; a
//! short list of other classes ([`INERT`]) becomes an opaque value; every other call is an error that names
//! it. Objects live in an arena and refer to each other by index, so that sharing and cycles cost nothing,
//! nothing recurses, and memory grows by a constant per byte of pickle.

use super::{DType, quoted};
use std::collections::HashMap;

/// An object is an index into the arena.
pub(super) type Id = u32;

/// More objects than any checkpoint's directory needs; some tens of megabytes at worst.
const MAX_OBJECTS: usize = 1 << 19;

/// Longest name of a class or a storage. A name that the pickle spells once it can use a million times.
const MAX_NAME: usize = 256;

/// Most dimensions of a tensor.
const MAX_DIMENSIONS: usize = 16;

/// What a pickle can build here.
pub(super) enum Object {
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
    /// A value of no interest: floats, byte strings, sets, the makings of [`INERT`].
    Opaque,
}

/// A flat array of elements, kept outside of the pickle under `key`.
pub(super) struct Storage {
    pub(super) key: String,
    /// `None` where the storage counts bytes and the tensor says what they mean.
    pub(super) dtype: Option<DType>,
    pub(super) elements: u64,
    /// Elements to skip in the storage: files of PyTorch before 0.4 have storages inside storages.
    pub(super) skip: u64,
}

/// A tensor: a strided view of a storage, all numbers in elements.
pub(super) struct Tensor {
    storage: Id,
    pub(super) dtype: DType,
    pub(super) offset: u64,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// Why a pickle was not understood.
pub(super) enum Error {
    /// The bytes end before the pickle does.
    Truncated,
    /// Anything else.
    Refused(String),
}

/// Classes whose making has no effect and whose values do not matter: what people keep beside weights.
const INERT: &[&str] = &[
    "__builtin__.set",
    "_codecs.encode",
    "argparse.Namespace",
    "builtins.set",
    "collections.Counter",
    "collections.defaultdict",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "torch.Size",
    "torch.device",
    "torch.torch_version.TorchVersion",
];

/// The finished objects of one pickle.
pub(super) struct Pickle {
    arena: Vec<Object>,
    root: Id,
    /// Bytes that the pickle took up.
    pub(super) len: usize,
}

impl Pickle {
    pub(super) fn root(&self) -> &Object {
        self.get(self.root)
    }

    pub(super) fn get(&self, id: Id) -> &Object {
        &self.arena[id as usize]
    }

    pub(super) fn storage_of(&self, tensor: &Tensor) -> &Storage {
        match self.get(tensor.storage) {
            Object::Storage(storage) => storage,
            _ => unreachable!("tensors are built from storages only"),
        }
    }

    /// All storages that the pickle mentions, by key.
    pub(super) fn storages(&self) -> HashMap<&str, &Storage> {
        let storages = self.arena.iter().filter_map(|object| match object {
            Object::Storage(storage) => Some((storage.key.as_str(), &**storage)),
            _ => None,
        });
        storages.collect()
    }

    /// The value under a string key of a dictionary.
    pub(super) fn entry<'a>(&'a self, dict: &'a Object, key: &str) -> Option<&'a Object> {
        self.entries(dict).find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The string-keyed entries of a dictionary; none if it is not one. Later entries of one key win in
    /// Python, so they come first.
    pub(super) fn entries<'a>(&'a self, dict: &'a Object) -> impl Iterator<Item = (&'a str, &'a Object)> {
        let pairs = if let Object::Dict(pairs) = dict { &pairs[..] } else { &[] };
        pairs.iter().rev().filter_map(|&(key, value)| match self.get(key) {
            Object::Str(key) => Some((key.as_str(), self.get(value))),
            _ => None,
        })
    }
}

/// Reads the pickle at the start of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Result<Pickle, Error> {
    let mut machine = Machine {
        bytes,
        at: 0,
        arena: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        copied: 0,
    };
    let root = machine.run()?;
    Ok(Pickle { arena: machine.arena, root, len: machine.at })
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    arena: Vec<Object>,
    stack: Vec<Id>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Items copied from one object to another: the only work that is not paid for byte by byte.
    copied: usize,
}

type Result<T, E = Error> = std::result::Result<T, E>;

fn refuse<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::Refused(reason.into()))
}

impl Machine<'_> {
    /// Opcodes are named as in Python's `pickletools`.
    fn run(&mut self) -> Result<Id> {
        loop {
            let opcode = self.take::<1>()?[0];
            match opcode {
                // PROTO, FRAME: nothing depends on them.
                0x80 => drop(self.take::<1>()?),
                0x95 => drop(self.take::<8>()?),
                // STOP
                b'.' => return self.pop(),
                // MARK, POP, POP_MARK, DUP
                b'(' => self.marks.push(self.stack.len()),
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_mark()?),
                b'2' => {
                    let top = self.top()?;
                    self.stack.push(top);
                }
                // NONE, NEWTRUE, NEWFALSE
                b'N' => self.push(Object::None)?,
                0x88 => self.push(Object::Bool(true))?,
                0x89 => self.push(Object::Bool(false))?,
                // BININT, BININT1, BININT2, LONG1, LONG4
                b'J' => {
                    let value = i32::from_le_bytes(self.take()?);
                    self.push(Object::Int(value.into()))?;
                }
                b'K' => {
                    let value = self.take::<1>()?[0];
                    self.push(Object::Int(value.into()))?;
                }
                b'M' => {
                    let value = u16::from_le_bytes(self.take()?);
                    self.push(Object::Int(value.into()))?;
                }
                0x8a => {
                    let len = self.len1()?;
                    self.long(len)?;
                }
                0x8b => {
                    let len = self.len4()?;
                    self.long(len)?;
                }
                // BINFLOAT
                b'G' => {
                    self.take::<8>()?;
                    self.push(Object::Opaque)?;
                }
                // SHORT_BINSTRING, BINSTRING: strings of Python 2; SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
                b'U' | 0x8c => {
                    let len = self.len1()?;
                    self.string(len)?;
                }
                b'T' | b'X' => {
                    let len = self.len4()?;
                    self.string(len)?;
                }
                0x8d => {
                    let len = self.len8()?;
                    self.string(len)?;
                }
                // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
                b'C' => {
                    let len = self.len1()?;
                    self.opaque_bytes(len)?;
                }
                b'B' => {
                    let len = self.len4()?;
                    self.opaque_bytes(len)?;
                }
                0x8e | 0x96 => {
                    let len = self.len8()?;
                    self.opaque_bytes(len)?;
                }
                // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
                b')' => self.push(Object::Tuple(Vec::new()))?,
                0x85..=0x87 => {
                    let len = usize::from(opcode - 0x84);
                    let items = self.pop_many(len)?;
                    self.push(Object::Tuple(items))?;
                }
                b't' => {
                    let items = self.pop_mark()?;
                    self.push(Object::Tuple(items))?;
                }
                // EMPTY_LIST, LIST, APPEND, APPENDS
                b']' => self.push(Object::List(Vec::new()))?,
                b'l' => {
                    let items = self.pop_mark()?;
                    self.push(Object::List(items))?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                b'e' => {
                    let items = self.pop_mark()?;
                    self.append(items)?;
                }
                // EMPTY_SET, ADDITEMS, FROZENSET
                0x8f => self.push(Object::Opaque)?,
                0x90 => drop(self.pop_mark()?),
                0x91 => {
                    self.pop_mark()?;
                    self.push(Object::Opaque)?;
                }
                // EMPTY_DICT, DICT, SETITEM, SETITEMS
                b'}' => self.push(Object::Dict(Vec::new()))?,
                b'd' => {
                    let items = self.pop_mark()?;
                    self.push(Object::Dict(Vec::new()))?;
                    self.set_items(items)?;
                }
                b's' => {
                    let items = self.pop_many(2)?;
                    self.set_items(items)?;
                }
                b'u' => {
                    let items = self.pop_mark()?;
                    self.set_items(items)?;
                }
                // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
                b'q' => {
                    let index = self.take::<1>()?[0].into();
                    self.remember(index)?;
                }
                b'r' => {
                    let index = u32::from_le_bytes(self.take()?);
                    self.remember(index)?;
                }
                0x94 => self.remember(self.memo.len() as u32)?,
                b'h' => {
                    let index = self.take::<1>()?[0].into();
                    self.recall(index)?;
                }
                b'j' => {
                    let index = u32::from_le_bytes(self.take()?);
                    self.recall(index)?;
                }
                // GLOBAL, STACK_GLOBAL
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.global(&module, &name)?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (Object::Str(module), Object::Str(name)) = (self.get(module), self.get(name)) else {
                        return refuse("the pickle names a class by something other than strings");
                    };
                    let (module, name) = (module.clone(), name.clone());
                    self.global(&module, &name)?;
                }
                // REDUCE, NEWOBJ, NEWOBJ_EX, BUILD
                b'R' | 0x81 => {
                    let (args, callee) = (self.pop()?, self.pop()?);
                    self.call(callee, args)?;
                }
                0x92 => {
                    let (_kwargs, args, callee) = (self.pop()?, self.pop()?, self.pop()?);
                    self.call(callee, args)?;
                }
                b'b' => {
                    self.pop()?;
                    // Attributes of a dictionary (`_metadata`) or of something opaque: not needed.
                    let top = self.top()?;
                    if !matches!(self.get(top), Object::Dict(_) | Object::Opaque | Object::Tensor(_)) {
                        return refuse("the pickle sets attributes of an object that has none");
                    }
                }
                // BINPERSID
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(id)?;
                    self.push(Object::Storage(Box::new(storage)))?;
                }
                _ => return refuse(format!("pickle opcode {opcode:#04x} is not understood")),
            }
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.bytes[self.at..].first_chunk().ok_or(Error::Truncated)?;
        self.at += N;
        Ok(*bytes)
    }

    fn len1(&mut self) -> Result<u64> {
        Ok(self.take::<1>()?[0].into())
    }

    fn len4(&mut self) -> Result<u64> {
        Ok(u32::from_le_bytes(self.take()?).into())
    }

    fn len8(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    /// The next `len` bytes, a length that nobody has vouched for.
    fn take_len(&mut self, len: u64) -> Result<&[u8]> {
        let rest = &self.bytes[self.at..];
        let len = usize::try_from(len).ok().filter(|&len| len <= rest.len()).ok_or(Error::Truncated)?;
        self.at += len;
        Ok(&rest[..len])
    }

    /// The rest of a text line.
    fn line(&mut self) -> Result<String> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|&b| b == b'\n').ok_or(Error::Truncated)?;
        self.at += len + 1;
        Ok(String::from_utf8_lossy(&rest[..len]).into_owned())
    }

    fn string(&mut self, len: u64) -> Result<()> {
        let string = String::from_utf8_lossy(self.take_len(len)?).into_owned();
        self.push(Object::Str(string))
    }

    fn opaque_bytes(&mut self, len: u64) -> Result<()> {
        self.take_len(len)?;
        self.push(Object::Opaque)
    }

    fn long(&mut self, len: u64) -> Result<()> {
        let bytes = self.take_len(len)?;
        let object = if bytes.len() <= 8 {
            let sign = if bytes.last().is_some_and(|&b| b >= 0x80) { 0xff } else { 0 };
            let mut wide = [sign; 8];
            wide[..bytes.len()].copy_from_slice(bytes);
            Object::Int(i64::from_le_bytes(wide))
        } else {
            Object::Opaque
        };
        self.push(object)
    }

    fn push(&mut self, object: Object) -> Result<()> {
        if self.arena.len() >= MAX_OBJECTS {
            return refuse(format!("the pickle builds more than {MAX_OBJECTS} objects"));
        }
        self.stack.push(self.arena.len() as Id);
        self.arena.push(object);
        Ok(())
    }

    /// The lowest place in the stack that may be taken away.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id> {
        if self.stack.len() <= self.floor() {
            return refuse("the pickle takes more from its stack than it put there");
        }
        Ok(self.stack[self.stack.len() - 1])
    }

    fn pop(&mut self) -> Result<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_many(&mut self, len: usize) -> Result<Vec<Id>> {
        match self.stack.len().checked_sub(len) {
            Some(start) if start >= self.floor() => Ok(self.stack.split_off(start)),
            _ => refuse("the pickle takes more from its stack than it put there"),
        }
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => refuse("the pickle closes a mark that it did not set"),
        }
    }

    fn get(&self, id: Id) -> &Object {
        &self.arena[id as usize]
    }

    fn remember(&mut self, index: u32) -> Result<()> {
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<()> {
        let Some(&id) = self.memo.get(&index) else {
            return refuse("the pickle refers to an object that it did not build");
        };
        self.stack.push(id);
        Ok(())
    }

    fn append(&mut self, items: Vec<Id>) -> Result<()> {
        let list = self.top()?;
        match &mut self.arena[list as usize] {
            Object::List(list) => list.extend(items),
            Object::Opaque => {}
            _ => return refuse("the pickle appends to something other than a list"),
        }
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Id>) -> Result<()> {
        let dict = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return refuse("the pickle sets a key without a value");
        }
        match &mut self.arena[dict as usize] {
            Object::Dict(dict) => dict.extend(pairs.iter().map(|&[key, value]| (key, value))),
            Object::Opaque => {}
            _ => return refuse("the pickle sets items of something other than a dictionary"),
        }
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        if module.len() + name.len() > MAX_NAME {
            return refuse("the name of a class is too long");
        }
        self.push(Object::Global(format!("{module}.{name}")))
    }

    /// What stands in for calling `callee(*args)`.
    fn call(&mut self, callee: Id, args: Id) -> Result<()> {
        let Object::Global(name) = self.get(callee) else {
            return refuse("the pickle calls something other than a named function");
        };
        let Object::Tuple(args) = self.get(args) else {
            return refuse(format!("the pickle calls {} with something other than a tuple", quoted(name)));
        };
        let object = match name.as_str() {
            "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => self.tensor(args, None)?,
            "torch._utils._rebuild_tensor_v3" => {
                let dtype = match args.get(6).map(|&id| self.get(id)) {
                    Some(Object::Global(name)) => dtype_by_name(name)?,
                    _ => return refuse("a tensor without element type"),
                };
                self.tensor(args, Some(dtype))?
            }
            "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" => {
                // A parameter is its tensor.
                let Some(&tensor) = args.first() else {
                    return refuse("a parameter without a tensor");
                };
                self.stack.push(tensor);
                return Ok(());
            }
            "collections.OrderedDict" => {
                let dict = self.ordered_dict(args)?;
                self.copied += dict.len();
                if self.copied > MAX_OBJECTS {
                    return refuse(format!("the pickle builds more than {MAX_OBJECTS} objects"));
                }
                Object::Dict(dict)
            }
            "torch._utils._rebuild_qtensor" => {
                return refuse("quantised tensors are not supported: save the float model's state_dict()");
            }
            name if INERT.contains(&name) => Object::Opaque,
            name => {
                return refuse(format!(
                    "the pickle asks to run {}, which is refused: only tensors and dictionaries are read \
                     (save a model's state_dict(), not the model)",
                    quoted(name)
                ));
            }
        };
        self.push(object)
    }

    /// `OrderedDict()` or, as Python 2 wrote it, `OrderedDict([[key, value], ...])`.
    fn ordered_dict(&self, args: &[Id]) -> Result<Vec<(Id, Id)>> {
        let items: &[Id] = match args.first().map(|&id| self.get(id)) {
            Some(Object::List(items) | Object::Tuple(items)) => items,
            _ => &[],
        };
        let pair = |&id: &Id| match self.get(id) {
            Object::List(pair) | Object::Tuple(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            _ => refuse("a dictionary is built from something other than pairs"),
        };
        items.iter().map(pair).collect()
    }

    /// `(storage, offset, shape, strides, ...)`
    fn tensor(&self, args: &[Id], dtype: Option<DType>) -> Result<Object> {
        let [storage, offset, shape, strides, rest @ ..] = args else {
            return refuse("a tensor is built from too few arguments");
        };
        // The last of seven (v2) or eight (v3) arguments tells of lazily conjugated or negated values.
        let lazy = rest.get(if dtype.is_some() { 3 } else { 2 }).map(|&id| self.get(id));
        if matches!(lazy, Some(Object::Dict(entries)) if !entries.is_empty()) {
            return refuse("a tensor with lazy conjugation or negation is not supported");
        }
        let Object::Storage(declared) = self.get(*storage) else {
            return refuse("a tensor is built from something other than a storage");
        };
        let Some(dtype) = dtype.or(declared.dtype) else {
            return refuse("a tensor without element type");
        };
        let numbers = |id: &Id| match self.get(*id) {
            Object::Tuple(items) | Object::List(items) if items.len() <= MAX_DIMENSIONS => {
                items.iter().map(|&id| Ok(self.non_negative(id)? as usize)).collect::<Result<Vec<_>>>()
            }
            _ => refuse("a tensor's shape or strides are not a short tuple"),
        };
        let tensor = Tensor {
            storage: *storage,
            dtype,
            offset: self.non_negative(*offset)?,
            shape: numbers(shape)?,
            strides: numbers(strides)?,
        };
        if tensor.shape.len() != tensor.strides.len() {
            return refuse(format!(
                "a tensor has {} dimensions and {} strides",
                tensor.shape.len(),
                tensor.strides.len()
            ));
        }
        Ok(Object::Tensor(Box::new(tensor)))
    }

    fn non_negative(&self, id: Id) -> Result<u64> {
        match self.get(id) {
            // What fits 63 bits may still be too much for a 32-bit machine.
            &Object::Int(value) if usize::try_from(value).is_ok() => Ok(value as u64),
            _ => refuse("a size or an offset is not a non-negative integer"),
        }
    }

    /// `("storage", class, key, location, elements[, view])`
    fn storage(&self, id: Id) -> Result<Storage> {
        let Object::Tuple(fields) = self.get(id) else {
            return refuse("a storage is named by something other than a tuple");
        };
        let fields: Vec<&Object> = fields.iter().map(|&id| self.get(id)).collect();
        match fields[..] {
            [
                Object::Str(tag),
                Object::Global(class),
                Object::Str(key),
                _,
                Object::Int(elements),
                ref view @ ..,
            ] if tag == "storage" && key.len() <= MAX_NAME => {
                let dtype = match class.as_str() {
                    "torch.storage.UntypedStorage" | "torch.UntypedStorage" => None,
                    class => Some(dtype_by_name(class)?),
                };
                let skip = match view.first() {
                    Some(Object::Tuple(view)) if view.len() == 3 => self.non_negative(view[1])?,
                    _ => 0,
                };
                let Ok(elements) = u64::try_from(*elements) else {
                    return refuse("a storage of negative size");
                };
                Ok(Storage { key: key.clone(), dtype, elements, skip })
            }
            [Object::Str(tag), ..] if tag == "module" => {
                refuse("the file holds a whole model with its code: save its state_dict() instead")
            }
            _ => refuse("a storage is not described as PyTorch does"),
        }
    }
}

/// Element type of `torch.FloatStorage` or `torch.float32`.
fn dtype_by_name(name: &str) -> Result<DType> {
    Ok(match name {
        "torch.DoubleStorage" | "torch.float64" => DType::F64,
        "torch.FloatStorage" | "torch.float32" => DType::F32,
        "torch.HalfStorage" | "torch.float16" => DType::F16,
        "torch.BFloat16Storage" | "torch.bfloat16" => DType::BF16,
        "torch.LongStorage" | "torch.int64" => DType::I64,
        "torch.IntStorage" | "torch.int32" => DType::I32,
        "torch.ShortStorage" | "torch.int16" => DType::I16,
        "torch.CharStorage" | "torch.int8" => DType::I8,
        "torch.ByteStorage" | "torch.uint8" => DType::U8,
        "torch.BoolStorage" | "torch.bool" => DType::Bool,
        "torch.uint64" => DType::U64,
        "torch.uint32" => DType::U32,
        "torch.uint16" => DType::U16,
        "torch.QInt8Storage" | "torch.QUInt8Storage" | "torch.QInt32Storage" => {
            return refuse("quantised tensors are not supported: save the float model's state_dict()");
        }
        other => return refuse(format!("storage of type {} is not supported", quoted(other))),
    })
}
