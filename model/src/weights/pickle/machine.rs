//! The stack machine: opcodes, named as in Python's `pickletools`.

use super::object::{Error, Id, Object, Pickle};
use std::collections::{BTreeSet, HashMap};

/// More objects than any checkpoint's directory needs; some tens of megabytes at worst.
pub(super) const MAX_OBJECTS: usize = 1 << 19;

/// Longest name of a class or a storage. A name that the pickle spells once it can use a million times.
pub(super) const MAX_NAME: usize = 256;

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

/// Reads the pickle at the start of `bytes`.
pub(crate) fn read(bytes: &[u8]) -> Result<Pickle, Error> {
    read_within(bytes, false)
}

/// Reads the five pickles of a legacy container; the second number is where they end.
pub(crate) fn read_five(bytes: &[u8], within: bool) -> Result<([Pickle; 5], usize), Error> {
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

pub(super) struct Machine<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) arena: Vec<Object>,
    pub(super) stack: Vec<Id>,
    /// Heights of the stack at the open marks.
    pub(super) marks: Vec<usize>,
    pub(super) memo: HashMap<u32, Id>,
    /// Items copied from one object to another: the only work that is not paid for byte by byte.
    pub(super) copied: usize,
    pub(super) dangerous: BTreeSet<String>,
    /// Whether this pickle lies in another one; nothing is looked for in it then.
    pub(super) within: bool,
    /// Bytes of pickles in this one that were read.
    pub(super) read_within: usize,
}

pub(super) type Result<T, E = Error> = std::result::Result<T, E>;

pub(super) fn refuse<T>(reason: impl Into<String>) -> Result<T> {
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

    pub(super) fn push(&mut self, object: Object) -> Result<()> {
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

    pub(super) fn get(&self, id: Id) -> &Object {
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
}
