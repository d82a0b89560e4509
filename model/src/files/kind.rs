//! What a file is that is not what was expected.

/// Says what a file is that begins with `start`, a hundred bytes or more where it has them, for a sentence such as
/// "expected an array, found ...".
pub(crate) fn of(start: &[u8]) -> Option<&'static str> {
    if start.is_empty() {
        return Some("an empty file");
    }
    // Photos of phones: a box of four bytes' length, whose brand says how they are compressed.
    if let [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] = start {
        return Some(match brand.get(..4) {
            Some(b"avif" | b"avis") => "an AVIF image",
            Some(b"heic" | b"heix" | b"heim" | b"heis" | b"mif1" | b"msf1") => "a HEIC image",
            _ => "an MP4 or QuickTime file",
        });
    }
    if start.starts_with(b"RIFF") && start.get(8..12) == Some(b"WEBP") {
        return Some("a WebP image");
    }
    // The length of a header in JSON.
    if let [_, _, _, _, 0, 0, 0, 0, b'{', ..] = start {
        return Some("a .safetensors file");
    }
    let text = start.trim_ascii_start();
    let known = KNOWN.iter().find(|(known, _)| {
        let start = if known[0].is_ascii_graphic() && known.is_ascii() { text } else { start };
        start.get(..known.len()).is_some_and(|start| start.eq_ignore_ascii_case(known))
    });
    known.map(|&(_, what)| what)
}

/// First bytes; letters in either case, and after white space.
const KNOWN: [(&[u8], &str); 20] = [
    (b"\x93NUMPY", "a .npy array"),
    (b"PK\x03\x04", "a zip archive (as .npz, .pth and .keras are)"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF file"),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the file it stands for (`git lfs pull` fetches that)",
    ),
    (b"<!doctype html", "a web page (HTML)"),
    (b"<html", "a web page (HTML)"),
    (b"<?xml", "an XML file"),
];
