//! NumPy's `.npy` files: one float32 array in C order.

use crate::atomic_file::AtomicFile;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A float32 array.
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

/// Headers of more bytes are refused: that of a plain array has 128.
const MAX_HEADER: usize = 1 << 16;

/// More dimensions than NumPy allows.
const MAX_DIMENSIONS: usize = 64;

/// Reads a file of format version 1, 2 or 3.
pub fn read(path: &Path) -> Result<Array, NpyError> {
    let io_error = |source| NpyError::Io { path: Some(path.to_owned()), source };
    let file = File::open(path).map_err(io_error)?;
    let metadata = file.metadata().map_err(io_error)?;
    if !metadata.is_file() {
        return Err(io_error(io::Error::other("not a regular file")));
    }
    parse(file, metadata.len()).map_err(|e| match e {
        NpyError::Io { source, .. } => io_error(source),
        NpyError::Invalid { reason, .. } => NpyError::Invalid { path: Some(path.to_owned()), reason },
    })
}

/// The same for a file in memory.
pub fn from_bytes(bytes: &[u8]) -> Result<Array, NpyError> {
    parse(bytes, bytes.len() as u64)
}

fn parse(mut file: impl Read, file_len: u64) -> Result<Array, NpyError> {
    let invalid = |reason: String| NpyError::Invalid { path: None, reason };
    let io_error = |source: io::Error| match source.kind() {
        io::ErrorKind::UnexpectedEof => invalid(String::from("not a .npy file, or a truncated one")),
        _ => NpyError::Io { path: None, source },
    };
    let mut start = [0; 8];
    file.read_exact(&mut start).map_err(io_error)?;
    let (b"\x93NUMPY", [version, _]) = (&start[..6], [start[6], start[7]]) else {
        return Err(invalid(String::from("not a .npy file")));
    };
    let mut len = [0; 4];
    let len_size = match version {
        1 => 2,
        2 | 3 => 4,
        other => {
            return Err(invalid(format!(".npy format version {other} is not known (expected 1, 2 or 3)")));
        }
    };
    file.read_exact(&mut len[..len_size]).map_err(io_error)?;
    let header_len = u32::from_le_bytes(len) as usize;
    if header_len > MAX_HEADER {
        return Err(invalid(format!("the header claims to have {header_len} bytes, more than {MAX_HEADER}")));
    }
    let mut header = vec![0; header_len];
    file.read_exact(&mut header).map_err(io_error)?;
    let shape = Header::parse(&header).and_then(Header::float32_shape).map_err(invalid)?;

    let start = (8 + len_size + header_len) as u64;
    let elements = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    let bytes = elements.and_then(|n| n.checked_mul(4)).map(|n| n as u64);
    let found = file_len.saturating_sub(start);
    let (Some(elements), true) = (elements, bytes == Some(found)) else {
        let expected = bytes.map_or(String::from("far more"), |bytes| bytes.to_string());
        return Err(invalid(format!("shape {shape:?} of float32 takes {expected} bytes, found {found}")));
    };
    let mut values = vec![0f32; elements];
    file.read_exact(bytemuck::cast_slice_mut(&mut values)).map_err(io_error)?;
    // Files are little endian; on such machines this is nothing.
    values.iter_mut().for_each(|v| *v = f32::from_bits(u32::from_le(v.to_bits())));
    Ok(Array { shape, values })
}

/// Writes a file that `numpy.load` reads; it appears under its name only when it is complete.
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
    let write = || {
        let mut file = AtomicFile::create(path)?;
        file.write_all(b"\x93NUMPY\x01\0")?;
        file.write_all(&(header.len() as u16).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        for values in values.chunks(1 << 14) {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            file.write_all(&bytes)?;
        }
        file.commit()
    };
    write().map_err(|source| NpyError::Io { path: Some(path.to_owned()), source })
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
                    return Err(String::from("a structured array, expected float32"));
                }
                "descr" => descr = Some(text.string()?.to_owned()),
                "fortran_order" => fortran_order = Some(text.bool()?),
                "shape" => shape = Some(text.tuple()?),
                other => return Err(format!("unknown key {other:?} in the header")),
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

    fn float32_shape(self) -> Result<Vec<usize>, String> {
        match self.descr.as_str() {
            "<f4" if self.fortran_order => Err(String::from(
                "the array is in Fortran order, expected C order (numpy.ascontiguousarray makes it so)",
            )),
            "<f4" => Ok(self.shape),
            ">f4" => Err(String::from("big-endian float32, expected little-endian ('<f4')")),
            other => {
                let shown: String = other.chars().take(20).collect();
                Err(format!(
                    "element type {shown:?}, expected float32 ('<f4'; in NumPy: .astype(\"float32\"))"
                ))
            }
        }
    }
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
