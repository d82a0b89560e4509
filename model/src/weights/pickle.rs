//! A reader for pickles that runs nothing.
//!
//! A pickle is a program for a stack machine, and Python's machine will call any function it names. This
//! one knows dictionaries, lists, tuples, strings and integers, and the few calls that rebuild tensors.
//! Whatever else the pickle asks to call becomes an [`Instance`]: a note of what was named, with the items
//! and attributes that it was given. Objects live in an arena and refer to each other by index, so that
//! sharing and cycles cost nothing, nothing recurses, and memory grows by a constant per byte of pickle.

use super::tensor::{MAX_DIMENSIONS, dense_strides};
use super::{DType, quoted};
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

/// An object is an index into the arena.
pub(super) type Id = u32;

/// More objects than any checkpoint's directory needs; some tens of megabytes at worst.
const MAX_OBJECTS: usize = 1 << 19;

/// Longest name of a class or a storage. A name that the pickle spells once it can use a million times.
const MAX_NAME: usize = 256;

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
pub(super) struct Array {
    pub(super) dtype: DType,
    pub(super) big_endian: bool,
    pub(super) shape: Vec<usize>,
    /// In elements.
    pub(super) strides: Vec<usize>,
    /// Its bytes within the pickle.
    pub(super) bytes: Range<usize>,
}

/// What a call of an unknown function or class would have made.
#[derive(Default)]
pub(super) struct Instance {
    /// Items, where it behaves like a dictionary.
    pub(super) items: Vec<(Id, Id)>,
    /// Where its attributes are: dictionaries, if all is well.
    pub(super) state: Vec<Id>,
}

/// A flat array of elements, kept outside of the pickle under `key`, or within.
pub(super) struct Storage {
    pub(super) key: String,
    /// Where the elements lie in the pickle, if they do.
    pub(super) within: Option<Range<usize>>,
    pub(super) element: Element,
    pub(super) elements: u64,
    /// Elements to skip in the storage: files of PyTorch before 0.4 have storages inside storages.
    pub(super) skip: u64,
}

/// What a storage is made of.
#[derive(Clone, Debug)]
pub(super) enum Element {
    Known(DType),
    /// Bytes, of which the tensor says what they mean.
    Untyped,
    /// Of this many bytes, if that is known, and nothing that weights could be made of.
    Other(Option<u64>, String),
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

/// Modules and functions that no checkpoint has an honest use for.
const DANGEROUS: &[&str] = &[
    "os.",
    "posix.",
    "nt.",
    "subprocess.",
    "socket.",
    "shutil.",
    "pty.",
    "runpy.",
    "ctypes.",
    "webbrowser.",
    "importlib.",
    "builtins.eval",
    "builtins.exec",
    "builtins.compile",
    "builtins.open",
    "builtins.__import__",
    "__builtin__.eval",
    "__builtin__.exec",
    "__builtin__.execfile",
    "__builtin__.compile",
    "__builtin__.open",
    "__builtin__.__import__",
    "torch.hub.",
    "torch.load",
];

/// How many of them are remembered.
const MAX_WARNINGS: usize = 3;

/// The finished objects of one pickle.
pub(super) struct Pickle {
    arena: Vec<Object>,
    root: Id,
    /// Bytes that the pickle took up.
    pub(super) len: usize,
    /// Functions that the pickle names and an honest one would not.
    pub(super) dangerous: BTreeSet<String>,
}

impl Pickle {
    pub(super) fn root_id(&self) -> Id {
        self.root
    }

    pub(super) fn root(&self) -> &Object {
        self.get(self.root)
    }

    /// How many objects there are: one more than the greatest id.
    pub(super) fn objects(&self) -> usize {
        self.arena.len()
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
            Object::Storage(storage) if storage.within.is_none() => Some((storage.key.as_str(), &**storage)),
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
    read_within(bytes, false)
}

/// Reads the five pickles of a legacy container; the second number is where they end.
pub(super) fn read_five(bytes: &[u8], within: bool) -> Result<([Pickle; 5], usize), Error> {
    let mut at = 0;
    let mut next = || {
        let pickle = read_within(&bytes[at..], within)?;
        at += pickle.len;
        Ok(pickle)
    };
    let pickles = [next()?, next()?, next()?, next()?, next()?];
    Ok((pickles, at))
}

/// `within` says that the pickle lies in another one.
fn read_within(bytes: &[u8], within: bool) -> Result<Pickle, Error> {
    let mut machine = Machine {
        bytes,
        at: 0,
        arena: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        copied: 0,
        dangerous: BTreeSet::new(),
        within,
        read_within: 0,
    };
    let root = machine.run()?;
    Ok(Pickle { arena: machine.arena, root, len: machine.at, dangerous: machine.dangerous })
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
    dangerous: BTreeSet<String>,
    /// Whether this pickle lies in another one; nothing is looked for in it then.
    within: bool,
    /// Bytes of pickles in this one that were read.
    read_within: usize,
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
                // INT, LONG: in text, and the truth values of protocol 0.
                b'I' | b'L' => {
                    let line = self.line()?;
                    let object = match line.trim_end_matches('L') {
                        "00" => Object::Bool(false),
                        "01" => Object::Bool(true),
                        digits => digits.parse().map_or(Object::Opaque, Object::Int),
                    };
                    self.push(object)?;
                }
                // FLOAT, BINFLOAT
                b'F' => {
                    self.line()?;
                    self.push(Object::Opaque)?;
                }
                b'G' => {
                    self.take::<8>()?;
                    self.push(Object::Opaque)?;
                }
                // STRING, UNICODE
                b'S' | b'V' => {
                    let line = self.line()?;
                    let text = if opcode == b'S' { line.trim_matches(['\'', '"']) } else { &line };
                    self.push(Object::Str(text.to_owned()))?;
                }
                // SHORT_BINSTRING: of Python 2; SHORT_BINUNICODE, BINUNICODE, BINUNICODE8; BINSTRING
                b'U' | 0x8c => {
                    let len = self.len1()?;
                    self.string(len)?;
                }
                b'X' => {
                    let len = self.len4()?;
                    self.string(len)?;
                }
                // Python 2 knew no byte strings; one of this length is no name.
                b'T' => {
                    let len = self.len4()?;
                    self.byte_string(len)?;
                }
                0x8d => {
                    let len = self.len8()?;
                    self.string(len)?;
                }
                // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
                b'C' => {
                    let len = self.len1()?;
                    self.byte_string(len)?;
                }
                b'B' => {
                    let len = self.len4()?;
                    self.byte_string(len)?;
                }
                0x8e | 0x96 => {
                    let len = self.len8()?;
                    self.byte_string(len)?;
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
                // PUT, BINPUT, LONG_BINPUT, MEMOIZE, GET, BINGET, LONG_BINGET
                b'p' => {
                    let index = self.index()?;
                    self.remember(index)?;
                }
                b'g' => {
                    let index = self.index()?;
                    self.recall(index)?;
                }
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
                    if module.len() + name.len() > MAX_NAME {
                        self.push(Object::Opaque)?;
                    } else {
                        let (module, name) = (module.clone(), name.clone());
                        self.global(&module, &name)?;
                    }
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
                // INST, OBJ: how Python 2 made objects of its first kind of classes.
                b'i' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.global(&module, &name)?;
                    self.pop()?;
                    self.pop_mark()?;
                    self.push(Object::Instance(Box::default()))?;
                }
                b'o' => {
                    self.pop_mark()?;
                    self.push(Object::Instance(Box::default()))?;
                }
                b'b' => {
                    let state = self.pop()?;
                    let top = self.top()?;
                    // Attributes of a dictionary (`_metadata`) or of a tensor are not needed.
                    match &mut self.arena[top as usize] {
                        Object::Instance(instance) => instance.state.push(state),
                        Object::Array(None) => self.arena[top as usize] = self.array_state(state),
                        Object::NumpyType(..) => self.set_byte_order(top, state),
                        _ => {}
                    }
                }
                // PERSID, BINPERSID
                b'P' => {
                    self.line()?;
                    self.push(Object::Opaque)?;
                }
                b'Q' => {
                    let id = self.pop()?;
                    self.persistent(id)?;
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

    /// A place in the memo, in text.
    fn index(&mut self) -> Result<u32> {
        self.line()?
            .parse()
            .or_else(|_| refuse("the pickle refers to an object by something other than a number"))
    }

    fn string(&mut self, len: u64) -> Result<()> {
        let string = String::from_utf8_lossy(self.take_len(len)?).into_owned();
        self.push(Object::Str(string))
    }

    fn byte_string(&mut self, len: u64) -> Result<()> {
        let len = self.take_len(len)?.len();
        self.push(Object::Bytes(self.at - len..self.at))
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
        // What takes items without being a list is of no interest.
        if let Object::List(list) = &mut self.arena[list as usize] {
            list.extend(items);
        }
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Id>) -> Result<()> {
        let dict = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return refuse("the pickle sets a key without a value");
        }
        let pairs = pairs.iter().map(|&[key, value]| (key, value));
        match &mut self.arena[dict as usize] {
            Object::Dict(dict) => dict.extend(pairs),
            Object::Instance(instance) => instance.items.extend(pairs),
            _ => {}
        }
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        if module.len() + name.len() > MAX_NAME {
            return self.push(Object::Opaque);
        }
        let name = format!("{module}.{name}");
        if DANGEROUS.iter().any(|bad| name.starts_with(bad)) && self.dangerous.len() < MAX_WARNINGS {
            self.dangerous.insert(name.clone());
        }
        self.push(Object::Global(name))
    }

    /// What stands in for calling `callee(*args)`. Nothing is called.
    fn call(&mut self, callee: Id, args: Id) -> Result<()> {
        let (Object::Global(name), Object::Tuple(args)) = (self.get(callee), self.get(args)) else {
            // Python may have got the function from an object; what it would do is no more known than before.
            return self.push(Object::Instance(Box::default()));
        };
        let object = match name.as_str() {
            "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => {
                self.tensor(args, None).unwrap_or_else(Object::Unreadable)
            }
            "torch._utils._rebuild_tensor_v3" => {
                let element = match args.get(6).map(|&id| self.get(id)) {
                    Some(Object::Global(name)) => element(name),
                    _ => Element::Untyped,
                };
                self.tensor(args, Some(element)).unwrap_or_else(Object::Unreadable)
            }
            "torch._utils._rebuild_parameter"
            | "torch._utils._rebuild_parameter_with_state"
            | "torch._utils._rebuild_device_tensor_from_cpu_tensor" => {
                // A parameter is its tensor.
                let Some(&tensor) = args.first() else {
                    return refuse("a parameter without a tensor");
                };
                self.stack.push(tensor);
                return Ok(());
            }
            "torch._tensor._rebuild_from_type_v2" => {
                // A tensor of a subclass: the function that makes the tensor, the class, the arguments, attributes.
                let &[function, _class, args, ..] = &args[..] else {
                    return self.push(Object::Instance(Box::default()));
                };
                // One of these inside of another would be no tensor, and a loop.
                return match self.get(function) {
                    Object::Global(inner) if inner != name => self.call(function, args),
                    _ => self.push(Object::Opaque),
                };
            }
            "collections.OrderedDict" => {
                let dict = self.ordered_dict(args)?;
                self.copied += dict.len();
                if self.copied > MAX_OBJECTS {
                    return refuse(format!("the pickle builds more than {MAX_OBJECTS} objects"));
                }
                Object::Dict(dict)
            }
            "collections.defaultdict" => Object::Dict(Vec::new()),
            "torch.storage._load_from_bytes" if !self.within => {
                let Some(&Object::Bytes(ref bytes)) = args.first().map(|&id| self.get(id)) else {
                    return self.push(Object::Opaque);
                };
                let bytes = bytes.clone();
                self.storage_within(bytes)?
            }
            "numpy.core.multiarray._reconstruct" | "numpy._core.multiarray._reconstruct" => {
                Object::Array(None)
            }
            "numpy.core.numeric._frombuffer" | "numpy._core.numeric._frombuffer" => {
                // (bytes, type, shape, order)
                let &[bytes, dtype, shape, order] = &args[..] else { return self.push(Object::Opaque) };
                let fortran = matches!(self.get(order), Object::Str(order) if order == "F");
                self.array(shape, dtype, fortran, bytes)
            }
            "numpy.dtype" => match args.first().map(|&id| self.get(id)) {
                Some(Object::Str(code)) if code.len() <= 8 => Object::NumpyType(code.clone(), false),
                _ => Object::Opaque,
            },
            "torch._utils._rebuild_qtensor" => Object::Unreadable(QUANTISED.into()),
            "torch._utils._rebuild_sparse_tensor" | "torch._utils._rebuild_sparse_csr_tensor" => {
                Object::Unreadable("it is sparse, which is not supported".into())
            }
            "torch._utils._rebuild_meta_tensor_no_storage" => {
                Object::Unreadable("it was saved without values (device \"meta\")".into())
            }
            "torch._utils._rebuild_nested_tensor" | "torch._utils._rebuild_wrapper_subclass" => {
                Object::Unreadable("it is a tensor of a kind that is not supported".into())
            }
            _ => Object::Instance(Box::default()),
        };
        self.push(object)
    }

    /// The storage in a whole legacy container that lies in this pickle, as Python's own `pickle` stores it.
    fn storage_within(&mut self, bytes: Range<usize>) -> Result<Object> {
        // Each lies there once, unless somebody wants it to be read over and over.
        self.read_within += bytes.len();
        if self.read_within > self.bytes.len() {
            return refuse("the pickle has one storage read over and over");
        }
        let start = bytes.start;
        let whole = &self.bytes[bytes];
        let Ok((pickles, end)) = read_five(whole, true) else { return Ok(Object::Opaque) };
        let [.., object, _keys] = &pickles;
        let Object::Storage(storage) = object.root() else { return Ok(Object::Opaque) };
        let Element::Known(dtype) = storage.element else { return Ok(Object::Opaque) };
        // The number of elements comes first.
        let elements = whole.get(end..).and_then(|rest| rest.first_chunk()).map(|n| u64::from_le_bytes(*n));
        let len = usize::try_from(storage.elements).ok().and_then(|n| n.checked_mul(dtype.size()));
        let within = len.and_then(|len| Some(end + 8..(end + 8).checked_add(len)?));
        match within.filter(|within| elements == Some(storage.elements) && within.end <= whole.len()) {
            None => Ok(Object::Opaque),
            Some(within) => Ok(Object::Storage(Box::new(Storage {
                key: storage.key.clone(),
                within: Some(start + within.start..start + within.end),
                element: storage.element.clone(),
                elements: storage.elements,
                skip: 0,
            }))),
        }
    }

    /// `(version, shape, type, Fortran's order, bytes)`
    fn array_state(&self, state: Id) -> Object {
        match self.get(state) {
            Object::Tuple(fields) => match fields[..] {
                [_version, shape, dtype, fortran, bytes] => {
                    let fortran = matches!(self.get(fortran), Object::Bool(true) | Object::Int(1));
                    self.array(shape, dtype, fortran, bytes)
                }
                _ => Object::Opaque,
            },
            _ => Object::Opaque,
        }
    }

    fn array(&self, shape: Id, dtype: Id, fortran: bool, bytes: Id) -> Object {
        let unreadable = |reason: &str| Object::Unreadable(reason.to_owned());
        let (Object::NumpyType(code, big_endian), Ok(shape)) = (self.get(dtype), self.numbers(shape)) else {
            return Object::Opaque;
        };
        let Object::Bytes(bytes) = self.get(bytes) else {
            return unreadable("its values were pickled as text (protocol 2 or before)");
        };
        let Some(dtype) = numpy_type(code) else {
            return unreadable("it is an array of elements that are not supported");
        };
        let len = shape.iter().try_fold(dtype.size(), |product, &n| product.checked_mul(n));
        if len != Some(bytes.len()) {
            return unreadable("its shape does not fit its bytes");
        }
        let strides = if fortran {
            let reversed: Vec<usize> = shape.iter().rev().copied().collect();
            dense_strides(&reversed).into_iter().rev().collect()
        } else {
            dense_strides(&shape)
        };
        let array = Array { dtype, big_endian: *big_endian, shape, strides, bytes: bytes.clone() };
        Object::Array(Some(Box::new(array)))
    }

    /// `(version, order of bytes, ...)`
    fn set_byte_order(&mut self, dtype: Id, state: Id) {
        let Object::Tuple(fields) = self.get(state) else { return };
        let order = fields.get(1).map(|&id| self.get(id));
        let big = matches!(order, Some(Object::Str(order)) if order == ">");
        if let Object::NumpyType(_, big_endian) = &mut self.arena[dtype as usize] {
            *big_endian = big;
        }
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

    /// `(storage, offset, shape, strides, ...)`, or what is wrong with it.
    fn tensor(&self, args: &[Id], element: Option<Element>) -> Result<Object, String> {
        let [storage, offset, shape, strides, rest @ ..] = args else {
            return Err("it is built from too few arguments".into());
        };
        // The last of seven (v2) or eight (v3) arguments tells of lazily conjugated or negated values.
        let lazy = rest.get(if element.is_some() { 3 } else { 2 }).map(|&id| self.get(id));
        if matches!(lazy, Some(Object::Dict(entries)) if !entries.is_empty()) {
            return Err("its values are lazily conjugated or negated, which is not supported".into());
        }
        let Object::Storage(declared) = self.get(*storage) else {
            return Err("it is built from something other than a storage".into());
        };
        let dtype = match element.as_ref().unwrap_or(&declared.element) {
            &Element::Known(dtype) => dtype,
            Element::Untyped => return Err("it has no element type".into()),
            Element::Other(_, name) if name.starts_with("torch.Q") => return Err(QUANTISED.into()),
            Element::Other(_, name) => {
                return Err(format!("its elements, {}, are not supported", quoted(name)));
            }
        };
        let (shape, strides) = (self.numbers(*shape)?, self.numbers(*strides)?);
        if shape.len() != strides.len() {
            return Err(format!("it has {} dimensions and {} strides", shape.len(), strides.len()));
        }
        let offset = self.non_negative(*offset)?;
        Ok(Object::Tensor(Box::new(Tensor { storage: *storage, dtype, offset, shape, strides })))
    }

    /// A shape, or strides.
    fn numbers(&self, id: Id) -> Result<Vec<usize>, String> {
        match self.get(id) {
            Object::Tuple(items) | Object::List(items) if items.len() <= MAX_DIMENSIONS => {
                items.iter().map(|&id| Ok(self.non_negative(id)? as usize)).collect()
            }
            _ => Err("its shape or strides are not a short tuple".into()),
        }
    }

    fn non_negative(&self, id: Id) -> Result<u64, String> {
        match self.get(id) {
            // What fits 63 bits may still be too much for a 32-bit machine.
            &Object::Int(value) if usize::try_from(value).is_ok() => Ok(value as u64),
            _ => Err("a size or an offset is not a non-negative integer".into()),
        }
    }

    /// `("storage", class, key, location, elements[, view])`, or `("module", class, file, source)` where a whole
    /// module was saved before PyTorch 1.6.
    fn persistent(&mut self, id: Id) -> Result<()> {
        let Object::Tuple(fields) = self.get(id) else { return self.push(Object::Opaque) };
        let objects: Vec<&Object> = fields.iter().take(8).map(|&id| self.get(id)).collect();
        let storage = match objects[..] {
            [
                Object::Str(tag),
                Object::Global(class),
                Object::Str(key),
                _,
                Object::Int(elements),
                ref view @ ..,
            ] if tag == "storage" && key.len() <= MAX_NAME => {
                let skip = match view.first() {
                    Some(Object::Tuple(view)) if view.len() == 3 => self.non_negative(view[1]).ok(),
                    _ => Some(0),
                };
                let (Ok(elements), Some(skip)) = (u64::try_from(*elements), skip) else {
                    return refuse("a storage of negative size");
                };
                Storage { key: key.clone(), within: None, element: element(class), elements, skip }
            }
            [Object::Str(tag), Object::Global(_), ..] if tag == "module" => {
                let class = fields[1];
                self.stack.push(class);
                return Ok(());
            }
            _ => return self.push(Object::Opaque),
        };
        self.push(Object::Storage(Box::new(storage)))
    }
}

const QUANTISED: &str = "it is quantised, which is not supported: save the float model's state_dict()";

/// What `torch.FloatStorage` or `torch.float32` stands for.
fn element(name: &str) -> Element {
    let other = |size| Element::Other(Some(size), name.to_owned());
    Element::Known(match name {
        "torch.storage.UntypedStorage" | "torch.UntypedStorage" => return Element::Untyped,
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
        "torch.QInt8Storage" | "torch.QUInt8Storage" | "torch.QUInt4x2Storage" | "torch.QUInt2x4Storage" => {
            return other(1);
        }
        "torch.QInt32Storage" => return other(4),
        "torch.ComplexFloatStorage" | "torch.complex64" => return other(8),
        "torch.ComplexDoubleStorage" | "torch.complex128" => return other(16),
        name if name.starts_with("torch.float8") => return other(1),
        _ => return Element::Other(None, name.to_owned()),
    })
}

/// What NumPy calls `f4`.
fn numpy_type(code: &str) -> Option<DType> {
    Some(match code {
        "f8" => DType::F64,
        "f4" => DType::F32,
        "f2" => DType::F16,
        "i8" => DType::I64,
        "i4" => DType::I32,
        "i2" => DType::I16,
        "i1" => DType::I8,
        "u8" => DType::U64,
        "u4" => DType::U32,
        "u2" => DType::U16,
        "u1" => DType::U8,
        "b1" => DType::Bool,
        _ => return None,
    })
}
