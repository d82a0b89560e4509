//! What a file is, by its first bytes.

/// A kind of file that is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Png,
    WebP,
}

impl Format {
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"\xff\xd8\xff") {
            Some(Self::Jpeg)
        } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            Some(Self::WebP)
        } else {
            None
        }
    }
}

const CONVERT: &str = "convert it to JPEG, PNG or WebP first, for example with `magick IN OUT.png`";
const EXPORT: &str = "export it as JPEG, PNG or WebP first";
const FRAME: &str = "take a frame out of it first, for example with `ffmpeg -i IN -frames:v 1 OUT.png`";
const DOWNLOAD: &str = "was the photo's address a page about it?";

/// First bytes, what a file that begins so is, and what to do about it.
const OTHERS: [(&[u8], &str, &str); 30] = [
    (b"GIF8", "a GIF picture", CONVERT),
    (b"BM", "a BMP picture", CONVERT),
    (b"II*\0", "a TIFF picture or a camera's raw file", CONVERT),
    (b"MM\0*", "a TIFF picture or a camera's raw file", CONVERT),
    (b"II+\0", "a BigTIFF picture", CONVERT),
    (b"MM\0+", "a BigTIFF picture", CONVERT),
    (b"FUJIFILMCCD-RAW", "a camera's raw file", EXPORT),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture", CONVERT),
    (b"\xff\x0a", "a JPEG XL picture", CONVERT),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture", CONVERT),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture", CONVERT),
    (b"\0\0\x01\0", "an icon (ICO)", CONVERT),
    (b"8BPS", "a Photoshop document", EXPORT),
    (b"%PDF", "a PDF document", EXPORT),
    (b"%!PS", "a PostScript document", EXPORT),
    (b"P1", "a PNM picture", CONVERT),
    (b"P2", "a PNM picture", CONVERT),
    (b"P3", "a PNM picture", CONVERT),
    (b"P4", "a PNM picture", CONVERT),
    (b"P5", "a PNM picture", CONVERT),
    (b"P6", "a PNM picture", CONVERT),
    (b"qoif", "a QOI picture", CONVERT),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture", CONVERT),
    (b"DDS ", "a DirectDraw picture (DDS)", CONVERT),
    (
        b"version https://git-lfs",
        "a Git LFS pointer in the photo's place",
        "`git lfs pull` fetches the photo",
    ),
    (b"PK\x03\x04", "a zip archive", "unpack it first"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"\x93NUMPY", "a NumPy array", "`shufflenet logits` reads those"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "is it the checkpoint?"),
    (b"\x1a\x45\xdf\xa3", "a video (Matroska)", FRAME),
];

/// What a file is that is none of the formats, and what can be done about it.
pub(super) fn what_else(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return String::from("the file is empty");
    }
    let start = &bytes[..bytes.len().min(1024)];
    let named =
        OTHERS.iter().find(|(first, ..)| start.starts_with(first)).map(|&(_, what, advice)| (what, advice));
    let (what, advice) = named.or_else(|| boxes(start)).or_else(|| markup(start)).unwrap_or_else(|| {
        let text = start.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~'));
        if text {
            ("a text file", "is the name right?")
        } else {
            ("a file of unknown kind", "is it damaged?")
        }
    });
    format!("{what}, neither JPEG nor PNG nor WebP: {advice}")
}

/// Files made of the boxes that MP4 introduced. The first box, `ftyp`, lists what the file is compatible with.
fn boxes(start: &[u8]) -> Option<(&'static str, &'static str)> {
    if start.get(4..8)? != b"ftyp" {
        return None;
    }
    let length = u32::from_be_bytes(*start.first_chunk()?) as usize;
    let brands = &start[8..start.len().min(length.max(12))];
    let is = |names: &[&[u8; 4]]| brands.chunks(4).any(|brand| names.iter().any(|name| brand == *name));
    Some(if is(&[b"avif", b"avis"]) {
        ("an AVIF picture", CONVERT)
    } else if is(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]) {
        ("a HEIC picture, as iPhones take them", CONVERT)
    } else if is(&[b"crx "]) {
        ("a camera's raw file", EXPORT)
    } else {
        ("a video (MP4 or QuickTime)", FRAME)
    })
}

/// Web pages and drawings.
fn markup(start: &[u8]) -> Option<(&'static str, &'static str)> {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start().to_ascii_lowercase();
    let has = |tag: &[u8]| text.windows(tag.len()).any(|window| window == tag);
    if text.first() != Some(&b'<') {
        None
    } else if has(b"<svg") {
        Some(("an SVG drawing", CONVERT))
    } else if has(b"<html") || text.starts_with(b"<!doctype html") || has(b"<head") || has(b"<body") {
        Some(("a web page (HTML)", DOWNLOAD))
    } else {
        Some(("an XML document", DOWNLOAD))
    }
}
