//! PNG files.
//!
//! The crate `png` decodes; this file chooses what it is given: header, palette and pixels, and nothing else, so that
//! nothing else in a file can do harm. What is refused is what Pillow refuses: the checksum of a chunk before the pixels
//! must be right, and that of the pixels themselves; those of the pixels' chunks are not compared, and what lies behind
//! the pixels may be damaged or missing, the last chunk too. Transparency would be dropped, and so is not even read.

use super::decoded::{Decoded, MAX_BYTES, check_size, to_rgb};
use super::orientation::Orientation;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;
use png::{DecodeOptions, Decoder, DecodingError, Limits, Transformations};
use std::io::Cursor;

/// Decodes a PNG file; of an animation the picture for programs that show none.
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, String> {
    let parts = Parts::read(bytes)?;
    // The decoder has limits of its own, and says less when it meets them.
    if let Some((&width, rest)) = parts.header.split_first_chunk()
        && let Some(&height) = rest.first_chunk()
    {
        check_size(u32::from_be_bytes(width) as usize, u32::from_be_bytes(height) as usize, 3)?;
    }
    let mut options = DecodeOptions::default();
    // `Parts` has compared those that count.
    options.set_ignore_crc(true);
    options.set_ignore_adler32(false);
    let mut decoder = Decoder::new_with_options(Cursor::new(parts.without_the_rest()), options);
    decoder.set_limits(Limits { bytes: MAX_BYTES });
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let damaged = |e: DecodingError| {
        if parts.ended { format!("a PNG file that is damaged: {e}") } else { CUT_OFF.into() }
    };
    let mut reader = decoder.read_info().map_err(damaged)?;
    let (width, height) = reader.info().size();
    let (width, height) = (width as usize, height as usize);
    let (colour, _) = reader.output_color_type();
    let channels = colour.samples();
    check_size(width, height, channels.max(3))?;
    let mut samples = vec![0; width * height * channels];
    reader.next_frame(&mut samples).map_err(damaged)?;
    let profile = parts.profile.and_then(|(text, compressed)| in_digits(text, compressed));
    let orientation = Orientation::of(parts.exif.or(profile.as_deref()), parts.xmp);
    Ok(Decoded { width, height, pixels: to_rgb(samples, channels), orientation })
}

/// What of a file is used: the content of its chunks.
#[derive(Default)]
struct Parts<'a> {
    header: &'a [u8],
    palette: Option<&'a [u8]>,
    pixels: Vec<&'a [u8]>,
    exif: Option<&'a [u8]>,
    /// The same as programs wrote it before there was a chunk for it: a text of digits, and whether that is compressed.
    profile: Option<(&'a [u8], bool)>,
    xmp: Option<&'a [u8]>,
    /// Whether the chunk is there that says so.
    ended: bool,
}

const CUT_OFF: &str = "a PNG file that is cut off";

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// How the text begins that holds EXIF.
const PROFILE: &[u8] = b"Raw profile type exif\0";

/// EXIF from a text: a line of its kind and one of its length, then hexadecimal digits. Nothing where it is damaged.
fn in_digits(text: &[u8], compressed: bool) -> Option<Vec<u8>> {
    // EXIF has 64 KiB at most.
    const MAX_TEXT: usize = 1 << 18;
    let text = match (compressed, text) {
        (false, text) => text.get(..text.len().min(MAX_TEXT))?.to_vec(),
        // The method of compression; there is but one.
        (true, [0, stream @ ..]) => decompress_to_vec_zlib_with_limit(stream, MAX_TEXT).ok()?,
        _ => return None,
    };
    let digits = text.splitn(4, |&byte| byte == b'\n').nth(3)?;
    let digits: Option<Vec<u8>> = digits
        .iter()
        .filter(|digit| !digit.is_ascii_whitespace())
        .map(|&digit| char::from(digit).to_digit(16).map(|value| value as u8))
        .collect();
    Some(digits?.as_chunks().0.iter().map(|&[high, low]| high << 4 | low).collect())
}

impl<'a> Parts<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut parts = Self::default();
        let mut rest = bytes.strip_prefix(SIGNATURE).unwrap_or_default();
        let mut behind_pixels = false;
        while let Some(chunk) = Chunk::first(rest) {
            rest = chunk.rest;
            let before_pixels = parts.pixels.is_empty();
            if chunk.kind == b"IDAT" {
                // Those that do not follow each other are not of one picture.
                if !behind_pixels {
                    parts.pixels.push(chunk.data);
                }
                continue;
            }
            behind_pixels = !before_pixels;
            if before_pixels {
                chunk.check()?;
            }
            match chunk.kind {
                b"IHDR" if before_pixels => parts.header = chunk.data,
                b"PLTE" if before_pixels => parts.palette = Some(chunk.data),
                b"eXIf" => parts.exif = Some(chunk.data),
                b"tEXt" | b"zTXt" if chunk.data.starts_with(PROFILE) => {
                    parts.profile = Some((&chunk.data[PROFILE.len()..], chunk.kind == b"zTXt"));
                }
                b"iTXt" if chunk.data.starts_with(b"XML:com.adobe.xmp\0") => parts.xmp = Some(chunk.data),
                b"CgBI" => {
                    return Err(String::from("a PNG file as iOS programs are built with, not a real one"));
                }
                b"IEND" => {
                    parts.ended = true;
                    break;
                }
                _ => {}
            }
        }
        if parts.pixels.is_empty() {
            let why = if parts.ended { "a PNG file without pixels" } else { CUT_OFF };
            return Err(why.into());
        }
        Ok(parts)
    }

    /// A file of these parts, with zeros for checksums.
    fn without_the_rest(&self) -> Vec<u8> {
        let mut file = SIGNATURE.to_vec();
        let mut write = |kind: &[u8], contents: &[&[u8]]| {
            let length: usize = contents.iter().map(|content| content.len()).sum();
            file.extend((length as u32).to_be_bytes());
            file.extend(kind);
            contents.iter().for_each(|content| file.extend(*content));
            file.extend([0; 4]);
        };
        write(b"IHDR", &[self.header]);
        if let Some(palette) = self.palette {
            write(b"PLTE", &[&palette[..palette.len() / 3 * 3]]);
        }
        write(b"IDAT", &self.pixels);
        write(b"IEND", &[]);
        file
    }
}

/// A chunk, as much of it as there is.
struct Chunk<'a> {
    kind: &'a [u8; 4],
    data: &'a [u8],
    checksum: Option<u32>,
    rest: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// The first chunk of `bytes`, if at least its kind is there.
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk()?;
        let (kind, rest) = rest.split_first_chunk()?;
        let (data, rest) = rest.split_at(rest.len().min(u32::from_be_bytes(*length) as usize));
        let (checksum, rest) = match rest.split_first_chunk() {
            Some((checksum, rest)) => (Some(u32::from_be_bytes(*checksum)), rest),
            None => (None, &[][..]),
        };
        Some(Self { kind, data, checksum, rest })
    }

    fn check(&self) -> Result<(), String> {
        let mut found = crc32fast::Hasher::new();
        found.update(self.kind);
        found.update(self.data);
        match self.checksum {
            None => Err(CUT_OFF.into()),
            Some(expected) if expected == found.finalize() => Ok(()),
            Some(_) => {
                let kind = self.kind.escape_ascii();
                Err(format!("a PNG file that is damaged: the checksum of its chunk {kind} is wrong"))
            }
        }
    }
}
