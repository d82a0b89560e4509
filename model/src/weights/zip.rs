//! Zip archives: where the bytes of an entry lie, and those of a compressed one within limits.

use super::error::quoted;
use super::inflate::inflate;
use super::source::Source;
use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ReaderAt, ZipLocator};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// The directory of an archive.
pub(super) struct Archive {
    source: Arc<Source>,
    entries: BTreeMap<String, Entry>,
    /// Bytes that compressed entries may still become, all together.
    allowance: Cell<u64>,
}

/// Bytes, and where they are.
pub(super) type Place = (Arc<Source>, Range<u64>);

struct Entry {
    range: Result<Range<u64>, String>,
    /// How large it becomes, where it is compressed.
    inflated: Option<u64>,
    known: bool,
}

impl ReaderAt for &Source {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<usize> {
        let len = self.len().saturating_sub(offset).min(buf.len() as u64) as usize;
        Source::read_at(self, offset, &mut buf[..len])?;
        Ok(len)
    }
}

impl Archive {
    pub(super) fn open(source: &Arc<Source>) -> Result<Self, String> {
        let bad_zip = |e: rawzip::Error| format!("it is cut off or damaged: {e}");
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let archive = ZipLocator::new()
            .locate_in_reader(&**source, &mut buffer, source.len())
            .map_err(|(_, e)| bad_zip(e))?;
        let mut entries = BTreeMap::new();
        let mut directory = archive.entries(&mut buffer);
        while let Some(entry) = directory.next_entry().map_err(bad_zip)? {
            let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
            let method = entry.compression_method();
            let plain = method == CompressionMethod::STORE;
            let known = (plain || method == CompressionMethod::DEFLATE) && !entry.flags().is_encrypted();
            let inflated = (!plain).then(|| entry.uncompressed_size_hint());
            let range = match archive.get_entry(entry.wayfinder()).map_err(bad_zip) {
                Ok(found) => {
                    let (start, end) = found.compressed_data_range();
                    let inside = start <= end && end <= source.len();
                    let outside = || format!("entry {} lies outside of the file", quoted(&name));
                    if inside { Ok(start..end) } else { Err(outside()) }
                }
                Err(reason) => Err(reason),
            };
            if entries.insert(name, Entry { range, inflated, known }).is_some() {
                return Err(String::from("two entries of the zip archive have one name"));
            }
        }
        // Weights hardly compress at all; what grows more than this is no file of weights.
        let allowance = Cell::new(source.len().saturating_mul(16).saturating_add(1 << 20));
        Ok(Self { source: source.clone(), entries, allowance })
    }

    /// The names of all entries, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.entries.keys().map(String::as_str)
    }

    /// The bytes of an entry, if there is one of that name: where they lie, or what they decompress to.
    pub(super) fn find(&self, name: &str) -> Result<Option<Place>, String> {
        let Some(entry) = self.entries.get(name) else { return Ok(None) };
        let range = entry.range.clone()?;
        if !entry.known {
            return Err(format!(
                "entry {} of the zip archive is encrypted, or compressed in an unknown way",
                quoted(name)
            ));
        }
        let Some(size) = entry.inflated else { return Ok(Some((self.source.clone(), range))) };
        let Some(left) = self.allowance.get().checked_sub(size) else {
            return Err(format!("entry {} of the zip archive claims to become {size} bytes", quoted(name)));
        };
        self.allowance.set(left);
        let bad = |e: std::io::Error| format!("entry {}: {e}", quoted(name));
        let stream = self.source.read_range(range).map_err(bad)?;
        let limit = usize::try_from(size).map_err(|e| e.to_string())?;
        let bytes = inflate(&stream, limit, false).map_err(bad)?;
        let len = bytes.len() as u64;
        Ok(Some((Arc::new(Source::from_bytes(bytes)), 0..len)))
    }
}
