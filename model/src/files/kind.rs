//! What a file is, by its first bytes: the one list, for whoever reads photos, checkpoints, arrays or names.

/// What somebody may give by mistake, named for a sentence such as "expected an array, found ...".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) what: &'static str,
    pub(crate) class: Class,
}

/// Kinds about which there is the same advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Empty,
    Jpeg,
    Png,
    WebP,
    /// A picture of another format.
    Picture,
    /// What a camera's or a drawing program must export.
    Document,
    Video,
    /// What a server sends in place of a file.
    Page,
    /// What Git keeps in place of a large file.
    Pointer,
    Archive,
    Zip,
    Array,
    Weights,
    /// A pickle of a protocol that nothing reads here.
    OldPickle,
    Onnx,
    /// The file of another engine.
    Network,
}

impl Class {
    /// What to do about it, where that does not depend on what was expected.
    pub(crate) fn advice(self) -> Option<&'static str> {
        match self {
            Self::Pointer => Some("`git lfs pull` fetches the file that it stands for"),
            Self::Archive => Some("unpack it first, with `tar xf`, `gunzip` or the like"),
            Self::Empty => Some("was the download cut off?"),
            _ => None,
        }
    }
}

/// Says what a file is that begins with `start`: a thousand bytes, where it has them. Nothing of text and JSON.
pub(crate) fn of(start: &[u8]) -> Option<Kind> {
    let start = &start[..start.len().min(1024)];
    if start.is_empty() {
        return Some(Kind { what: "an empty file", class: Class::Empty });
    }
    let at = |offset: usize, magic: &[u8]| start.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    let (what, class) = if let [_, _, _, _, 0, 0, 0, 0, b'{', ..] = start {
        // The length of a header in JSON.
        ("a .safetensors file", Class::Weights)
    } else if at(0, b"RIFF") && at(8, b"WEBP") {
        ("a WebP picture", Class::WebP)
    } else if at(0, b"BM") && at(6, &[0; 4]) {
        ("a BMP picture", Class::Picture)
    } else if at(4, b"ftyp") {
        boxes(start)
    } else if at(4, b"TFL3") {
        ("a TensorFlow Lite model", Class::Network)
    } else if is_pnm(start) {
        ("a PNM picture", Class::Picture)
    } else if is_onnx(start) {
        ("an ONNX network", Class::Onnx)
    } else if at(257, b"ustar") || has_tar_checksum(start) {
        ("a tar archive", Class::Archive)
    } else if let Some(&(_, what, class)) = KNOWN.iter().find(|(magic, ..)| at(0, magic)) {
        (what, class)
    } else {
        markup(start)?
    };
    Some(Kind { what, class })
}

/// First bytes, none of which are those of a likely text.
const KNOWN: [(&[u8], &str, Class); 43] = [
    (b"\xff\xd8\xff", "a JPEG picture", Class::Jpeg),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture", Class::Png),
    (b"GIF87a", "a GIF picture", Class::Picture),
    (b"GIF89a", "a GIF picture", Class::Picture),
    (b"II*\0", "a TIFF picture or a camera's raw file", Class::Picture),
    (b"MM\0*", "a TIFF picture or a camera's raw file", Class::Picture),
    (b"II+\0", "a BigTIFF picture", Class::Picture),
    (b"MM\0+", "a BigTIFF picture", Class::Picture),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture", Class::Picture),
    (b"\xff\x0a", "a JPEG XL picture", Class::Picture),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture", Class::Picture),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture", Class::Picture),
    (b"\0\0\x01\0", "an icon (ICO)", Class::Picture),
    (b"qoif\0", "a QOI picture", Class::Picture),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture", Class::Picture),
    (b"DDS \x7c\0\0\0", "a DirectDraw picture (DDS)", Class::Picture),
    (b"FUJIFILMCCD-RAW", "a camera's raw file", Class::Document),
    (b"8BPS\0", "a Photoshop document", Class::Document),
    (b"%PDF-", "a PDF document", Class::Document),
    (b"%!PS", "a PostScript document", Class::Document),
    (b"\x1a\x45\xdf\xa3", "a video (Matroska)", Class::Video),
    (b"version https://git-lfs", "a Git LFS pointer", Class::Pointer),
    (b"PK\x03\x04", "a zip archive (as .npz, .pth and .keras are)", Class::Zip),
    (b"PK\x05\x06", "an empty zip archive", Class::Zip),
    (b"\x1f\x8b", "a gzip file", Class::Archive),
    (b"BZh91AY&SY", "a bzip2 file", Class::Archive),
    (b"\xfd7zXZ\0", "an xz file", Class::Archive),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", Class::Archive),
    (b"\x04\x22\x4d\x18", "an LZ4 file", Class::Archive),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", Class::Archive),
    (b"Rar!\x1a", "a RAR archive", Class::Archive),
    (b"\x93NUMPY", "a NumPy array (.npy)", Class::Array),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", Class::Weights),
    (b"\x80\x02", "a Python pickle", Class::Weights),
    (b"\x80\x03", "a Python pickle", Class::Weights),
    (b"\x80\x04", "a Python pickle", Class::Weights),
    (b"\x80\x05", "a Python pickle", Class::Weights),
    (b"(dp0\n", "a Python pickle of protocol 0", Class::OldPickle),
    (b"}q\0", "a Python pickle of protocol 1", Class::OldPickle),
    (b"GGUF\x02\0", "a GGUF file", Class::Network),
    (b"GGUF\x03\0", "a GGUF file", Class::Network),
    (b"7767517\n", "an ncnn network", Class::Network),
    (b"7767517\r\n", "an ncnn network", Class::Network),
];

/// Files made of the boxes that MP4 introduced. The first box, `ftyp`, lists what the file is compatible with.
fn boxes(start: &[u8]) -> (&'static str, Class) {
    let length = start.first_chunk().map_or(0, |&length| u32::from_be_bytes(length) as usize);
    let brands = &start[8..start.len().min(length.max(12))];
    let is = |names: &[&[u8; 4]]| brands.chunks(4).any(|brand| names.iter().any(|name| brand == *name));
    if is(&[b"avif", b"avis"]) {
        ("an AVIF picture", Class::Picture)
    } else if is(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]) {
        ("a HEIC picture, as iPhones take them", Class::Picture)
    } else if is(&[b"crx "]) {
        ("a camera's raw file", Class::Document)
    } else {
        ("a video (MP4 or QuickTime)", Class::Video)
    }
}

/// `P1` to `P7` alone on a line, or before a number or a comment.
fn is_pnm(start: &[u8]) -> bool {
    let [b'P', b'1'..=b'7', gap, next, ..] = start else { return false };
    gap.is_ascii_whitespace() && (next.is_ascii_digit() || *next == b'#' || start[1] == b'7')
}

/// Web pages, drawings and other XML.
fn markup(start: &[u8]) -> Option<(&'static str, Class)> {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start().to_ascii_lowercase();
    let has = |tag: &[u8]| text.windows(tag.len()).any(|window| window == tag);
    if text.first() != Some(&b'<') {
        None
    } else if has(b"<svg") {
        Some(("an SVG drawing", Class::Picture))
    } else if has(b"<html") || text.starts_with(b"<!doctype html") || has(b"<head") || has(b"<body") {
        Some(("a web page (HTML)", Class::Page))
    } else if has(b"<net ") {
        Some(("an OpenVINO network", Class::Network))
    } else {
        let name = text[1..].split(|c| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        let is_xml = text.starts_with(b"<?xml") || (!name.is_empty() && has(&[b"</", name, b">"].concat()));
        is_xml.then_some(("an XML document", Class::Page))
    }
}

/// The version of the format as the first field, then who made it (or one of its other first fields).
fn is_onnx(start: &[u8]) -> bool {
    let [0x08, 1..=20, field, rest @ ..] = start else { return false };
    match field {
        // The producer's name: its length, and text.
        0x12 => rest.split_first().is_some_and(|(&len, name)| {
            name.len() >= len.into() && name[..len.into()].iter().all(|c| c.is_ascii_graphic() || *c == b' ')
        }),
        0x3a | 0x42 => true,
        _ => false,
    }
}

/// The tar archives that PyTorch wrote before 0.1.3, whose first entry is a folder or `sys_info`.
fn has_tar_checksum(start: &[u8]) -> bool {
    // The sum of the header's bytes in octal digits, as if its own digits were blanks.
    let Some(header) = start.first_chunk::<512>() else { return false };
    let digits = String::from_utf8_lossy(&header[148..156]);
    let declared = u32::from_str_radix(digits.trim_matches([' ', '\0']), 8);
    let sum: u32 =
        header.iter().enumerate().map(|(at, &b)| if (148..156).contains(&at) { 32 } else { b.into() }).sum();
    declared == Ok(sum)
}
