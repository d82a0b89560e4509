//! Which way up a photo is.

use super::Picture;

/// An orientation as EXIF numbers them: 1 is upright, 2 to 8 say how the stored picture must be mirrored and turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orientation(u8);

/// A tag of EXIF's first directory, and the types of value that it may have.
const ORIENTATION: u16 = 0x0112;
const SHORT: u16 = 3;
const LONG: u16 = 4;
const SIGNED_SHORT: u16 = 8;
const SIGNED_LONG: u16 = 9;

impl Orientation {
    pub(super) const UPRIGHT: Self = Self(1);

    /// What a file's EXIF says, or else its XMP, as Pillow looks for it. Where both say nothing, or nonsense: upright.
    pub(super) fn of(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Self {
        let number = exif.and_then(in_exif).or_else(|| xmp.and_then(in_xmp).map(u32::from));
        match number {
            Some(number @ 1..=8) => Self(number as u8),
            _ => Self::UPRIGHT,
        }
    }

    /// The picture as it should be seen.
    pub(super) fn turn(self, stored: Picture) -> Picture {
        if self == Self::UPRIGHT {
            return stored;
        }
        let transposed = self.0 >= 5;
        let (mirrored_x, mirrored_y) = (matches!(self.0, 2 | 3 | 7 | 8), matches!(self.0, 3 | 4 | 6 | 7));
        let (from_width, from_height) = (stored.width, stored.height);
        let (width, height) = if transposed { (from_height, from_width) } else { (from_width, from_height) };
        let source = stored.pixels.as_chunks::<3>().0;
        let mut pixels = Vec::with_capacity(stored.pixels.len());
        for y in 0..height {
            for x in 0..width {
                let (x, y) = if transposed { (y, x) } else { (x, y) };
                let x = if mirrored_x { from_width - 1 - x } else { x };
                let y = if mirrored_y { from_height - 1 - y } else { y };
                pixels.extend(source[y * from_width + x]);
            }
        }
        Picture { width, height, pixels }
    }
}

/// The orientation in EXIF data, a TIFF header and its first directory. Nothing where the data is damaged or says nothing.
fn in_exif(data: &[u8]) -> Option<u32> {
    let tiff = data.strip_prefix(b"Exif\0\0").unwrap_or(data);
    let big_endian = match tiff.get(..4)? {
        b"MM\0*" => true,
        b"II*\0" => false,
        _ => return None,
    };
    let short = |bytes: &[u8], at: usize| {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let long = |bytes: &[u8], at: usize| {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let directory = tiff.get(long(tiff, 4)? as usize..)?;
    let count = short(directory, 0)?;
    // Tag, type, number of values, and four bytes for as many of them as fit.
    let mut entries = directory[2..].chunks_exact(12).take(count.into());
    let entry = entries.find(|entry| short(entry, 0) == Some(ORIENTATION))?;
    match (short(entry, 2)?, long(entry, 4)?) {
        (SHORT | SIGNED_SHORT, 1..=2) => short(entry, 8).map(u32::from),
        (LONG | SIGNED_LONG, 1) => long(entry, 8),
        _ => None,
    }
}

/// The orientation in an XMP packet: `tiff:Orientation="6"` or `<tiff:Orientation>6<`.
fn in_xmp(packet: &[u8]) -> Option<u8> {
    const NAME: &[u8] = b"tiff:Orientation";
    let behind = packet.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME);
    let mut digits = behind.filter_map(|(at, _)| {
        let value = &packet[at + NAME.len()..];
        let digit = value.strip_prefix(b"=\"").or_else(|| value.strip_prefix(b">"))?.first()?;
        digit.is_ascii_digit().then(|| digit - b'0')
    });
    digits.next()
}
