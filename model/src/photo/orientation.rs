//! Which way up a photo is.

use super::Picture;

/// An orientation as EXIF numbers them: 1 is upright, 2 to 8 say how the stored picture must be mirrored and turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orientation(u8);

/// A tag of EXIF's first directory.
const ORIENTATION: u16 = 0x0112;

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
        // The number 42, which some write in the other byte order.
        b"MM\0*" | b"MM*\0" => true,
        b"II*\0" | b"II\0*" => false,
        _ => return None,
    };
    // A number of one to eight bytes.
    let number = |bytes: &[u8], at: usize, size: usize| {
        let bytes = bytes.get(at..)?.get(..size)?;
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) })
    };
    let directory = tiff.get(number(tiff, 4, 4)? as usize..)?;
    let count = number(directory, 0, 2)?;
    // Tag, type, number of values, and four bytes for as many of them as fit, or for their place.
    let mut entries = directory[2..].chunks_exact(12).take(count as usize);
    let entry = entries.find(|entry| number(entry, 0, 2) == Some(ORIENTATION.into()))?;
    let (kind, values) = (number(entry, 2, 2)?, number(entry, 4, 4)?);
    let size = match kind {
        SIGNED_BYTE => 1,
        SHORT | SIGNED_SHORT => 2,
        LONG | SIGNED_LONG | FLOAT => 4,
        RATIONAL | SIGNED_RATIONAL | DOUBLE => 8,
        // Bytes and text are no numbers.
        _ => return None,
    };
    let len = values.checked_mul(size)?;
    let place = if len <= 4 { &entry[8..] } else { tiff.get(number(entry, 8, 4)? as usize..)? };
    // All of them must be there; the first counts.
    let first = |size| number(place.get(..usize::try_from(len).ok()?)?, 0, size);
    match kind {
        RATIONAL | SIGNED_RATIONAL => {
            let (above, below) = (first(4)?, number(place, 4, 4)?);
            (below != 0 && above % below == 0).then(|| (above / below) as u32)
        }
        FLOAT => whole(f64::from(f32::from_bits(first(4)? as u32))),
        DOUBLE => whole(f64::from_bits(first(8)?)),
        _ => u32::try_from(first(size as usize)?).ok(),
    }
}

fn whole(number: f64) -> Option<u32> {
    (number.fract() == 0.0).then_some(number as u32)
}

/// Types of values in EXIF.
const SHORT: u64 = 3;
const LONG: u64 = 4;
const RATIONAL: u64 = 5;
const SIGNED_BYTE: u64 = 6;
const SIGNED_SHORT: u64 = 8;
const SIGNED_LONG: u64 = 9;
const SIGNED_RATIONAL: u64 = 10;
const FLOAT: u64 = 11;
const DOUBLE: u64 = 12;

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
