//! Tensors that HDF5 stores in chunks: rectangles of one size, each compressed on its own.
//!
//! Where the chunks lie is known before anything is read; what they decompress to has a size that is known
//! before, too. A stream that wants to become more than its chunk is an error, not a larger buffer.

use super::inflate::{inflate, invalid};
use super::shape::{MAX_DIMENSIONS, advance};
use super::source::Source;
use std::io;
use std::sync::Arc;

/// What was done to a chunk's bytes when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// zlib.
    Deflate,
    /// First bytes of all elements, then all second ones, and so on.
    Shuffle,
    /// Four bytes of checksum at the end.
    Fletcher32,
}

/// One chunk.
pub(super) struct Chunk {
    /// Index of its first element.
    pub(super) origin: Vec<usize>,
    /// Where its bytes start in the source, and how many there are.
    pub(super) offset: u64,
    pub(super) len: u64,
    /// Bit `i` says that filter `i` was left out.
    pub(super) left_out: u32,
}

/// The chunks of a tensor.
pub(super) struct Chunks {
    source: Arc<Source>,
    shape: Vec<usize>,
    filters: Vec<Filter>,
    chunks: Vec<Chunk>,
}

impl Chunks {
    /// Chunks of `shape`, in the order of `filters` written, that make up a tensor of shape `whole`.
    pub(super) fn new(
        source: &Arc<Source>,
        shape: Vec<usize>,
        filters: Vec<Filter>,
        chunks: Vec<Chunk>,
        whole: &[usize],
    ) -> Result<Self, String> {
        let rank = whole.len();
        if shape.len() != rank || rank > MAX_DIMENSIONS || shape.contains(&0) {
            return Err(format!("its chunks have the shape {shape:?}, the whole {whole:?}"));
        }
        let mut origins: Vec<&[usize]> = chunks.iter().map(|chunk| &chunk.origin[..]).collect();
        origins.sort_unstable();
        origins.dedup();
        let inside = |origin: &&[usize]| {
            origin.len() == rank
                && (0..rank)
                    .all(|axis| origin[axis].is_multiple_of(shape[axis]) && origin[axis] < whole[axis])
        };
        if origins.len() != chunks.len() || !origins.iter().all(inside) {
            return Err(String::from("its chunks overlap or lie outside of it"));
        }
        let wanted = whole.iter().zip(&shape).try_fold(1usize, |n, (&w, &c)| n.checked_mul(w.div_ceil(c)));
        if wanted != Some(chunks.len()) {
            return Err(String::from("its values were never written, or not all of them"));
        }
        Ok(Self { source: source.clone(), shape, filters, chunks })
    }

    /// The whole in C order; `size` is that of an element in bytes.
    pub(super) fn read(&self, whole: &[usize], size: usize) -> io::Result<Vec<u8>> {
        let bytes = |shape: &[usize]| {
            let bytes = shape.iter().try_fold(size, |product, &n| product.checked_mul(n));
            bytes.ok_or_else(|| invalid("it is larger than memory"))
        };
        let mut dense = vec![0; bytes(whole)?];
        if dense.is_empty() {
            return Ok(dense);
        }
        let chunk_bytes = bytes(&self.shape)?;
        // A chunk sticks out by less than itself, and writers cut them to the tensor.
        if chunk_bytes as u64 > 4 * dense.len() as u64 + 4096 {
            return Err(invalid("its chunks are far larger than the tensor"));
        }
        for chunk in &self.chunks {
            let stored = self.source.read_range(chunk.offset..chunk.offset.saturating_add(chunk.len))?;
            let decoded = self.decode(stored, chunk.left_out, chunk_bytes, size)?;
            self.copy(&decoded, &chunk.origin, whole, size, &mut dense);
        }
        Ok(dense)
    }

    /// Undoes the filters, the last one first.
    fn decode(&self, mut bytes: Vec<u8>, left_out: u32, len: usize, size: usize) -> io::Result<Vec<u8>> {
        for (at, filter) in self.filters.iter().enumerate().rev() {
            if left_out.checked_shr(at as u32).is_some_and(|mask| mask & 1 == 1) {
                continue;
            }
            bytes = match filter {
                // Filters that ran before may have put a checksum below.
                Filter::Deflate => inflate(&bytes, len + 4 * at, true)?,
                Filter::Shuffle => unshuffle(&bytes, size),
                Filter::Fletcher32 => verify(bytes)?,
            };
        }
        if bytes.len() != len {
            return Err(invalid(&format!("a chunk of {len} bytes has {}", bytes.len())));
        }
        Ok(bytes)
    }

    /// Copies the part of a chunk that lies inside of the whole, row by row.
    fn copy(&self, chunk: &[u8], origin: &[usize], whole: &[usize], size: usize, dense: &mut [u8]) {
        let Some((&across, outer)) = whole.split_last() else {
            dense.copy_from_slice(chunk);
            return;
        };
        let last = outer.len();
        let row = self.shape[last].min(across - origin[last]) * size;
        let rows: Vec<usize> =
            (0..last).map(|axis| self.shape[axis].min(whole[axis] - origin[axis])).collect();
        let mut index = vec![0; last];
        loop {
            let (mut from, mut to) = (0, 0);
            for axis in 0..last {
                from = from * self.shape[axis] + index[axis];
                to = to * whole[axis] + origin[axis] + index[axis];
            }
            let (from, to) = (from * self.shape[last] * size, (to * across + origin[last]) * size);
            dense[to..to + row].copy_from_slice(&chunk[from..from + row]);
            if !advance(&mut index, &rows) {
                return;
            }
        }
    }
}

fn unshuffle(bytes: &[u8], size: usize) -> Vec<u8> {
    let elements = bytes.len() / size.max(1);
    let mut plain = Vec::with_capacity(bytes.len());
    for element in 0..elements {
        plain.extend((0..size).map(|byte| bytes[byte * elements + element]));
    }
    // What is left of an element stays where it is.
    plain.extend_from_slice(&bytes[elements * size..]);
    plain
}

/// Checks and takes off the checksum.
fn verify(mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let end = bytes.len().checked_sub(4).ok_or_else(|| invalid("a chunk is shorter than its checksum"))?;
    let stored = u32::from_le_bytes([bytes[end], bytes[end + 1], bytes[end + 2], bytes[end + 3]]);
    bytes.truncate(end);
    let sum = fletcher32(&bytes);
    // HDF5 before 1.6.3 wrote the halves of each sum the other way round.
    let swapped = ((sum & 0x00ff_00ff) << 8) | ((sum >> 8) & 0x00ff_00ff);
    if stored != sum && stored != swapped {
        return Err(invalid("a chunk's checksum does not fit its bytes"));
    }
    Ok(bytes)
}

/// Fletcher's checksum over big-endian 16-bit words, as HDF5 computes it.
pub(super) fn fletcher32(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (0u32, 0u32);
    let fold = |sum: u32| (sum & 0xffff) + (sum >> 16);
    let (words, odd) = bytes.as_chunks::<2>();
    // 360 words are as many as the sums have room for.
    for block in words.chunks(360) {
        for &word in block {
            low += u32::from(u16::from_be_bytes(word));
            high += low;
        }
        (low, high) = (fold(low), fold(high));
    }
    if let [byte] = odd {
        low += u32::from(*byte) << 8;
        high += low;
        (low, high) = (fold(low), fold(high));
    }
    (fold(high) << 16) | fold(low)
}
