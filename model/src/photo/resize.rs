//! Bilinear resampling of 8-bit RGB images, bit for bit as Pillow does it.
//!
//! Each axis is resampled by itself: an output pixel is a weighted mean of input pixels under a triangle
//! whose half-width is one input pixel, or, where the image shrinks, one output pixel (that is the
//! antialiasing). Weights are fixed-point numbers of 22 bits, and the result of the first axis is rounded
//! to 8 bits before the second. The rows come first only where Pillow 13 finds that faster; older versions
//! never, which changes some pixels by 1 in images more than twice as high as wide.
//!
//! Only the window of the output that is asked for is computed, so that a sliver of an image, which grows
//! beyond all bounds when its short side is brought to 256, costs no more than any other.

use std::ops::Range;

/// Bits behind the point of a weight. With 8 bits of pixel and 2 of headroom that makes an `i32`.
const PRECISION: u32 = 32 - 8 - 2;

/// One axis of a resampling.
pub(crate) struct Axis {
    /// Extent of the input.
    pub(crate) from: usize,
    /// Extent of the whole output.
    pub(crate) to: usize,
    /// The part of the output that is wanted.
    pub(crate) window: Range<usize>,
}

/// Resamples `src`, rows of RGB pixels, into the window of the two axes.
///
/// Without `antialias` the triangle stays one input pixel wide at any scale, as in OpenCV's `INTER_LINEAR`.
pub(crate) fn bilinear(src: &[u8], x: &Axis, y: &Axis, antialias: bool) -> Vec<u8> {
    assert_eq!(src.len(), 3 * x.from * y.from, "an RGB image of {} by {}", x.from, y.from);
    let columns = taps(x, antialias);
    let rows = taps(y, antialias);
    let (dx, dy) = (x.from as i64 - x.to as i64, y.from as i64 - y.to as i64);
    if dy > 0 && dy > 2 * dx {
        let squeezed = vertical(src, x.from, 0, &rows);
        horizontal(&squeezed, x.from, &columns)
    } else {
        // Only those rows that the second pass will look at.
        let first = rows.iter().map(|tap| tap.first).min().unwrap_or(0);
        let end = rows.iter().map(|tap| tap.first + tap.weights.len()).max().unwrap_or(0);
        let squeezed = horizontal(&src[3 * x.from * first..3 * x.from * end], x.from, &columns);
        vertical(&squeezed, columns.len(), first, &rows)
    }
}

/// The input pixels that make up one output pixel.
struct Tap {
    first: usize,
    weights: Vec<i32>,
}

fn taps(axis: &Axis, antialias: bool) -> Vec<Tap> {
    let scale = axis.from as f64 / axis.to as f64;
    let half_width = if antialias { scale.max(1.0) } else { 1.0 };
    let tap = |out: usize| {
        let center = (out as f64 + 0.5) * scale;
        // Casts cut off the fraction, and what is below zero.
        let first = (center - half_width + 0.5) as usize;
        let end = ((center + half_width + 0.5) as usize).min(axis.from);
        let weight = |at: usize| {
            let distance = ((at as f64 - center + 0.5) * (1.0 / half_width)).abs();
            if distance < 1.0 { 1.0 - distance } else { 0.0 }
        };
        let weights: Vec<f64> = (first..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |weight: f64| (0.5 + weight / sum * f64::from(1 << PRECISION)) as i32;
        Tap { first, weights: weights.into_iter().map(fixed).collect() }
    };
    axis.window.clone().map(tap).collect()
}

const HALF: i32 = 1 << (PRECISION - 1);

fn rounded(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

fn horizontal(src: &[u8], width: usize, columns: &[Tap]) -> Vec<u8> {
    let mut dst = Vec::with_capacity(src.len() / width * columns.len());
    for row in src.chunks_exact(3 * width) {
        for tap in columns {
            let mut sums = [HALF; 3];
            for (pixel, &weight) in row[3 * tap.first..].as_chunks::<3>().0.iter().zip(&tap.weights) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(value) * weight;
                }
            }
            dst.extend(sums.map(rounded));
        }
    }
    dst
}

/// `src` starts at row `top` of the image that the taps count from.
fn vertical(src: &[u8], width: usize, top: usize, rows: &[Tap]) -> Vec<u8> {
    let mut dst = Vec::with_capacity(3 * width * rows.len());
    let mut sums = vec![0; 3 * width];
    for tap in rows {
        sums.fill(HALF);
        for (row, &weight) in src[3 * width * (tap.first - top)..].chunks_exact(3 * width).zip(&tap.weights) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += i32::from(value) * weight;
            }
        }
        dst.extend(sums.iter().copied().map(rounded));
    }
    dst
}
