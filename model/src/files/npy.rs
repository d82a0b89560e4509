//! NumPy's `.npy` files: one array of numbers.
//!
//! Read are floats (`f2 f4 f8`), integers (`i1 i2 i4 i8 u1 u2 u4 u8`) and truth values (`b1`), little- and big-endian,
//! in C and Fortran order, in files of format version 1, 2 and 3. All become float32, the value that is nearest: a
//! `uint8` of 200 becomes 200.0, `True` 1.0, a float64 beyond float32's range infinity, and NaN stays NaN. Nothing is scaled.
//! Written are little-endian float32 arrays in C order, as `numpy.save` writes them.

use super::atomic::AtomicFile;
use super::kind::{self, Class, Kind};
use std::collections::TryReserveError;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// An array of float32.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Extent of each dimension.
    pub shape: Vec<usize>,
    /// Values in C order; as many as the product of the shape.
    pub values: Vec<f32>,
}

/// Why an array cannot be read or written. Displays as one line.
#[derive(Debug)]
#[non_exhaustive]
pub enum NpyError {
    /// The file system said no.
    Io {
        /// The file, if there is one.
        path: Option<PathBuf>,
        /// What it said.
        source: io::Error,
    },
    /// It is no `.npy` file, a damaged one, or one of another type of array.
    Invalid {
        /// The file, if there is one.
        path: Option<PathBuf>,
        /// What is wrong with it.
        reason: String,
    },
}

impl fmt::Display for NpyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Io { path, .. } | Self::Invalid { path, .. }) = self;
        if let Some(path) = path {
            write!(f, "{}: ", path.display())?;
        }
        match self {
            Self::Io { source, .. } => write!(f, "{source}"),
            Self::Invalid { reason, .. } => write!(f, "{reason}"),
        }
    }
}

impl std::error::Error for NpyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Invalid { .. } => None,
        }
    }
}

impl NpyError {
    /// The same, of this file.
    fn of(self, path: &Path) -> Self {
        let path = Some(path.to_owned());
        match self {
            Self::Io { source, .. } => Self::Io { path, source },
            Self::Invalid { reason, .. } => Self::Invalid { path, reason },
        }
    }
}

impl From<io::Error> for NpyError {
    fn from(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => invalid("a truncated .npy file"),
            _ => Self::Io { path: None, source },
        }
    }
}

fn invalid(reason: impl Into<String>) -> NpyError {
    NpyError::Invalid { path: None, reason: reason.into() }
}

const MAGIC: &[u8] = b"\x93NUMPY";

/// Headers of more bytes are refused: that of a plain array has 128.
const MAX_HEADER: usize = 1 << 16;

/// More dimensions than NumPy allows.
const MAX_DIMENSIONS: usize = 64;

/// Reads the file at `path`: a regular one, of which every size is checked before memory is taken, or a FIFO or device
/// as [`read_from`] does.
///
/// # Errors
/// Where it cannot be read, or is not such an array.
pub fn read(path: &Path) -> Result<Array, NpyError> {
    let read = || {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let len = metadata.is_file().then_some(metadata.len());
        parse(file, len)
    };
    read().map_err(|e| e.of(path))
}

/// Reads an array from a stream, to its end. Takes memory as values arrive, not as the header announces.
///
/// # Errors
/// As [`read`].
pub fn read_from(stream: impl Read) -> Result<Array, NpyError> {
    parse(stream, None)
}

/// Reads a file in memory.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(bytes: &[u8]) -> Result<Array, NpyError> {
    parse(bytes, Some(bytes.len() as u64))
}

/// What a file is that is no array, and what to do.
fn what_else(start: &[u8]) -> String {
    let Some(Kind { what, class }) = kind::of(start) else { return String::new() };
    let advice = class.advice().or(match class {
        Class::Zip => Some("take one array out of it: numpy.save('X.npy', numpy.load(IN)['NAME'])"),
        Class::Jpeg | Class::Png | Class::WebP => Some("`shufflenet classify` reads photos"),
        _ => None,
    });
    format!(", but {what}{}", advice.map_or(String::new(), |advice| format!(": {advice}")))
}

/// Reads a file of `file_len` bytes, if that is known.
fn parse(mut file: impl Read, file_len: Option<u64>) -> Result<Array, NpyError> {
    let mut start = Vec::new();
    file.by_ref().take(6).read_to_end(&mut start)?;
    if start != MAGIC {
        file.take(1018).read_to_end(&mut start)?;
        return Err(invalid(format!("not a .npy file{}", what_else(&start))));
    }
    let mut version = [0; 2];
    file.read_exact(&mut version)?;
    let mut len = [0; 4];
    let len_size = match version[0] {
        1 => 2,
        2 | 3 => 4,
        other => {
            return Err(invalid(format!(".npy format version {other} is not known (expected 1, 2 or 3)")));
        }
    };
    file.read_exact(&mut len[..len_size])?;
    let header_len = u32::from_le_bytes(len) as usize;
    if header_len > MAX_HEADER {
        return Err(invalid(format!("the header claims to have {header_len} bytes, more than {MAX_HEADER}")));
    }
    let mut header = vec![0; header_len];
    file.read_exact(&mut header)?;
    let Header { descr, fortran_order, shape } = Header::parse(&header).map_err(invalid)?;
    let (element, big_endian) = Element::parse(&descr).map_err(invalid)?;

    let elements = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    let bytes = elements.and_then(|n| n.checked_mul(element.size));
    let found = file_len.map(|len| len.saturating_sub((8 + len_size + header_len) as u64));
    let (Some(elements), Some(bytes)) = (elements, bytes) else {
        return Err(invalid(format!("shape {shape:?} has more values than memory can hold")));
    };
    let expected = || format!("shape {shape:?} of {} takes {bytes} bytes", element.name);
    if let Some(found) = found.filter(|&found| found != bytes as u64) {
        return Err(invalid(format!("{}, found {found}", expected())));
    }
    let no_memory = |_| invalid(format!("shape {shape:?} has more values than memory can hold"));
    let mut values = Vec::new();
    if found.is_some() {
        values.try_reserve_exact(elements).map_err(no_memory)?;
    }
    let mut rest = bytes;
    // A multiple of every element's size.
    let mut buffer = vec![0; rest.min(1 << 16)];
    while rest > 0 {
        let part = &mut buffer[..rest.min(1 << 16)];
        file.read_exact(part).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => invalid(format!("{}, found less", expected())),
            _ => e.into(),
        })?;
        values.try_reserve(part.len() / element.size).map_err(no_memory)?;
        (element.decode)(part, big_endian, &mut values);
        rest -= part.len();
    }
    if file.take(1).read_to_end(&mut Vec::new())? > 0 {
        return Err(invalid(format!("{}, found more", expected())));
    }
    if fortran_order {
        values = c_order(&values, &shape).map_err(no_memory)?;
    }
    Ok(Array { shape, values })
}

/// Writes a file that `numpy.load` reads; it appears under its name only when it is complete
/// ([`AtomicFile`]).
///
/// # Errors
/// Where it cannot be written.
///
/// # Panics
/// When the number of values is not the product of the shape.
///
/// ```
/// use model::npy;
///
/// let path = std::env::temp_dir().join("npy_example.npy");
/// npy::write(&path, &[2, 2], &[1.0, 2.0, 3.0, 4.0])?;
/// assert_eq!(npy::read(&path)?.shape, [2, 2]);
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), npy::NpyError>(())
/// ```
pub fn write(path: &Path, shape: &[usize], values: &[f32]) -> Result<(), NpyError> {
    let write = || {
        let mut file = AtomicFile::create(path)?;
        write_to(&mut file, shape, values)?;
        file.commit()
    };
    write().map_err(|source| NpyError::Io { path: Some(path.to_owned()), source })
}

/// Writes the same to a stream.
///
/// # Errors
/// Those of the stream.
///
/// # Panics
/// As [`write()`].
pub fn write_to(mut stream: impl Write, shape: &[usize], values: &[f32]) -> io::Result<()> {
    assert_eq!(shape.iter().product::<usize>(), values.len(), "values for shape {shape:?}");
    let mut tuple: String = shape.iter().map(|n| format!("{n}, ")).collect();
    if shape.len() > 1 {
        tuple.truncate(tuple.len() - 2);
    }
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", tuple.trim_end());
    // The values start at a multiple of 64, after ten bytes of preamble and a newline.
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    stream.write_all(MAGIC)?;
    stream.write_all(&[1, 0])?;
    stream.write_all(&(header.len() as u16).to_le_bytes())?;
    stream.write_all(header.as_bytes())?;
    for values in values.chunks(1 << 14) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        stream.write_all(&bytes)?;
    }
    Ok(())
}

/// The dictionary at the head of a file, a Python literal:
/// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "the header is not text")?;
        let mut text = Literal(text.trim_end());
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        text.expect('{')?;
        while !text.skip('}') {
            let key = text.string()?;
            text.expect(':')?;
            match key {
                "descr" if text.peeks('[') => {
                    return Err(String::from("a structured array, expected one of numbers"));
                }
                "descr" => descr = Some(text.string()?.to_owned()),
                "fortran_order" => fortran_order = Some(text.bool()?),
                "shape" => shape = Some(text.tuple()?),
                other => return Err(format!("unknown key {:?} in the header", shortened(other))),
            }
            if !text.skip(',') {
                text.expect('}')?;
                break;
            }
        }
        match (descr, fortran_order, shape) {
            (Some(descr), Some(fortran_order), Some(shape)) if text.0.trim().is_empty() => {
                Ok(Self { descr, fortran_order, shape })
            }
            _ => Err(String::from("the header lacks a key, or goes on after its end")),
        }
    }
}

/// A type of elements.
struct Element {
    /// Its code in a header.
    code: &'static str,
    name: &'static str,
    /// Bytes of one.
    size: usize,
    /// Appends the elements that these bytes hold, big-endian or little-endian, as float32.
    decode: fn(&[u8], bool, &mut Vec<f32>),
}

macro_rules! element {
    ($code:literal, $name:literal, $type:ty, $to_f32:expr) => {
        Element {
            code: $code,
            name: $name,
            size: size_of::<$type>(),
            decode: |bytes, big_endian, values| {
                let from = if big_endian { <$type>::from_be_bytes } else { <$type>::from_le_bytes };
                values.extend(bytes.as_chunks().0.iter().map(|&bytes| $to_f32(from(bytes))));
            },
        }
    };
}

const ELEMENTS: [Element; 12] = [
    element!("f4", "float32", f32, |x| x),
    element!("f8", "float64", f64, |x| x as f32),
    element!("f2", "float16", half::f16, half::f16::to_f32),
    element!("u1", "uint8", u8, f32::from),
    element!("i1", "int8", i8, f32::from),
    element!("u2", "uint16", u16, f32::from),
    element!("i2", "int16", i16, f32::from),
    element!("u4", "uint32", u32, |x| x as f32),
    element!("i4", "int32", i32, |x| x as f32),
    element!("u8", "uint64", u64, |x| x as f32),
    element!("i8", "int64", i64, |x| x as f32),
    element!("b1", "bool", u8, |x| f32::from(x != 0)),
];

impl Element {
    /// The type that a header names, and whether it is big-endian.
    fn parse(descr: &str) -> Result<(&'static Self, bool), String> {
        let (big_endian, code) = match descr.split_at_checked(1) {
            Some((">", code)) => (true, code),
            // The machine's own order, which NumPy writes only for single bytes.
            Some(("=" | "|", code)) => (cfg!(target_endian = "big"), code),
            Some(("<", code)) => (false, code),
            _ => (cfg!(target_endian = "big"), descr),
        };
        if let Some(element) = ELEMENTS.iter().find(|element| element.code == code) {
            return Ok((element, big_endian));
        }
        let what = match code.chars().next() {
            Some('c') => " (complex numbers)",
            Some('f') => " (long double)",
            Some('O') => " (Python objects)",
            Some('S' | 'U' | 'a') => " (text)",
            Some('M' | 'm') => " (dates or times)",
            Some('V') => " (no numbers to NumPy; bfloat16?)",
            _ => "",
        };
        let shown = shortened(descr);
        Err(format!(
            "element type {shown:?}{what}, expected numbers of up to 64 bits (in NumPy: .astype(\"float32\"))"
        ))
    }
}

/// Values in Fortran order put into C order.
fn c_order(values: &[f32], shape: &[usize]) -> Result<Vec<f32>, TryReserveError> {
    let mut sorted = Vec::new();
    sorted.try_reserve_exact(values.len())?;
    // The step of each dimension in `values`, and where we are.
    let mut steps = vec![1; shape.len()];
    for axis in 1..steps.len() {
        // No product overflows: none is larger than the number of values, unless there are no values.
        steps[axis] = steps[axis - 1] * if values.is_empty() { 0 } else { shape[axis - 1] };
    }
    let (mut index, mut at) = (vec![0; shape.len()], 0);
    for _ in values {
        sorted.push(values[at]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += steps[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= steps[axis] * index[axis];
            index[axis] = 0;
        }
    }
    Ok(sorted)
}

/// As much of a name in a file as a message has room for.
fn shortened(name: &str) -> String {
    name.chars().take(20).collect()
}

/// The rest of a Python literal.
struct Literal<'a>(&'a str);

impl<'a> Literal<'a> {
    fn peeks(&mut self, c: char) -> bool {
        self.0 = self.0.trim_start();
        self.0.starts_with(c)
    }

    fn skip(&mut self, c: char) -> bool {
        let found = self.peeks(c);
        if found {
            self.0 = &self.0[c.len_utf8()..];
        }
        found
    }

    fn expect(&mut self, c: char) -> Result<(), String> {
        if self.skip(c) { Ok(()) } else { Err(format!("the header is not understood: expected {c:?}")) }
    }

    /// A string without escapes, which the strings here never have.
    fn string(&mut self) -> Result<&'a str, String> {
        let quote = if self.skip('\'') {
            '\''
        } else {
            self.expect('"')?;
            '"'
        };
        let (string, rest) = self.0.split_once(quote).ok_or("a string in the header does not end")?;
        self.0 = rest;
        Ok(string)
    }

    fn bool(&mut self) -> Result<bool, String> {
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.0.trim_start().strip_prefix(word) {
                self.0 = rest;
                return Ok(value);
            }
        }
        Err(String::from("fortran_order is neither True nor False"))
    }

    fn tuple(&mut self) -> Result<Vec<usize>, String> {
        let mut numbers = Vec::new();
        self.expect('(')?;
        while !self.skip(')') {
            self.0 = self.0.trim_start();
            let digits = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
            let (number, rest) = self.0.split_at(digits);
            numbers.push(number.parse().map_err(|_| "the shape is not a tuple of sizes")?);
            if numbers.len() > MAX_DIMENSIONS {
                return Err(format!("more than {MAX_DIMENSIONS} dimensions"));
            }
            // Python 2 wrote long integers as 3L.
            self.0 = rest.strip_prefix('L').unwrap_or(rest);
            if !self.skip(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(numbers)
    }
}
