//! Where the bytes of a checkpoint lie: a file that is read piece by piece, memory, or a part of either.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
#[cfg(feature = "hdf5")]
use std::sync::Arc;
use std::sync::Mutex;

/// Random access to a file or to bytes in memory. Reading never goes past [`Source::len`], and nothing is
/// allocated before the range asked for is known to lie inside.
pub(crate) struct Source {
    place: Place,
    len: u64,
}

enum Place {
    File(Mutex<File>),
    Memory(Vec<u8>),
    /// What lies in another source from this offset on.
    #[cfg(feature = "hdf5")]
    Part(Arc<Source>, u64),
}

impl Source {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        // A pipe or a device has no size to check anything against, and opening one may block.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { place: Place::File(Mutex::new(file)), len })
    }

    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Self {
        let len = bytes.len() as u64;
        Self { place: Place::Memory(bytes), len }
    }

    /// The bytes of `whole` in `range`.
    #[cfg(feature = "hdf5")]
    pub(crate) fn part(whole: &Arc<Self>, range: Range<u64>) -> io::Result<Self> {
        if range.start > range.end || range.end > whole.len {
            return Err(early());
        }
        Ok(Self { len: range.end - range.start, place: Place::Part(whole.clone(), range.start) })
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buf` from `offset` on.
    pub(crate) fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.len) {
            return Err(early());
        }
        match &self.place {
            Place::File(file) => {
                let mut file = file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                file.seek(SeekFrom::Start(offset))?;
                file.read_exact(buf)
            }
            Place::Memory(bytes) => {
                // `len` fits usize here and bounds the offset.
                let offset = offset as usize;
                buf.copy_from_slice(&bytes[offset..offset + buf.len()]);
                Ok(())
            }
            #[cfg(feature = "hdf5")]
            Place::Part(whole, start) => whole.read_at(start + offset, buf),
        }
    }

    /// The bytes in `range`, which is checked against the length first.
    pub(crate) fn read_range(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        if range.start > range.end || range.end > self.len {
            return Err(early());
        }
        let len = usize::try_from(range.end - range.start).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = vec![0; len];
        self.read_at(range.start, &mut bytes)?;
        Ok(bytes)
    }
}

fn early() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends early")
}
