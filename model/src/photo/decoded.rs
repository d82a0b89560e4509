//! What every decoder shares: its limits, and what it returns.

use super::orientation::Orientation;

/// The longest buffer that a decoder may ask for, and the longest file that is read: 512 MiB, which is a picture of 178
/// megapixels in RGB. Pillow draws the line at the same size.
pub(super) const MAX_BYTES: usize = 512 << 20;

/// What a decoder returns: RGB as stored, and how to turn it.
pub(super) struct Decoded {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) pixels: Vec<u8>,
    pub(super) orientation: Orientation,
}

/// An error where `width` x `height` pixels of at most `bytes` bytes each are more than a decoder may hold.
pub(super) fn check_size(width: usize, height: usize, bytes: usize) -> Result<(), String> {
    let size = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(bytes));
    if size.is_some_and(|size| size <= MAX_BYTES) {
        return Ok(());
    }
    Err(format!("{width} x {height} pixels are beyond the limit of {} MiB", MAX_BYTES >> 20))
}

/// RGB from pixels of one sample (grey), two (grey, alpha), three (RGB) or four (RGB, alpha).
pub(super) fn to_rgb(samples: Vec<u8>, channels: usize) -> Vec<u8> {
    if channels == 3 {
        return samples;
    }
    let mut rgb = Vec::with_capacity(samples.len() / channels * 3);
    for pixel in samples.chunks_exact(channels) {
        rgb.extend(if channels < 3 { [pixel[0]; 3] } else { [pixel[0], pixel[1], pixel[2]] });
    }
    rgb
}
