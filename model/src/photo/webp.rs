//! WebP files, lossy or lossless.

use super::decoded::{Decoded, check_size, to_rgb};
use super::orientation::Orientation;
use image_webp::{DecodingError, WebPDecoder};
use std::io::Cursor;

/// Decodes a WebP file; of an animation the first frame.
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, String> {
    // "RIFF", the number of bytes behind itself, "WEBP".
    let length =
        bytes.get(4..).and_then(|rest| rest.first_chunk()).map_or(0, |&size| u32::from_le_bytes(size));
    let end = (length as usize).saturating_add(8);
    let Some(file) = bytes.get(..end) else {
        return Err(format!("a WebP file that is cut off: {} bytes of {end}", bytes.len()));
    };
    let damaged = |e: DecodingError| format!("a WebP file that is damaged: {e}");
    let mut decoder = WebPDecoder::new(Cursor::new(file)).map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    // Lossless pictures are decoded with their transparency, whether there is any or not.
    check_size(width, height, 4)?;
    decoder.set_memory_limit(file.len());
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut samples = vec![0; width * height * channels];
    if decoder.is_animated() {
        decoder.read_frame(&mut samples).map_err(damaged)?;
    } else {
        decoder.read_image(&mut samples).map_err(damaged)?;
    }
    // Whatever is wrong with them does not make the picture wrong.
    let exif = decoder.exif_metadata().ok().flatten();
    let xmp = decoder.xmp_metadata().ok().flatten();
    let orientation = Orientation::of(exif.as_deref(), xmp.as_deref());
    Ok(Decoded { width, height, pixels: to_rgb(samples, channels), orientation })
}
