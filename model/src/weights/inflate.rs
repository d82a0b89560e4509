//! Decompression into a buffer whose size is known before.

use miniz_oxide::inflate::decompress_slice_iter_to_slice;
use std::io;

/// What a stream decompresses to, which must be at most `limit` bytes.
pub(super) fn inflate(stream: &[u8], limit: usize, zlib: bool) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; limit];
    let len = decompress_slice_iter_to_slice(&mut bytes, std::iter::once(stream), zlib, false)
        .map_err(|_| invalid("compressed data are damaged, or longer than they say"))?;
    bytes.truncate(len);
    Ok(bytes)
}

/// What is wrong with the bytes themselves.
pub(super) fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
