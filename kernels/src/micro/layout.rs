//! Planes of pixels to lines of channels, and back: four channels by four pixels at a time, transposed in registers.
//!
//! ```text
//!              quads of four pixels, of planes four channels apart, in one register
//!   rows[0]    c0: p0 p1 p2 p3 | c4: p0 p1 p2 p3 | ..          c0 c1 c2 c3 | c4 c5 c6 c7 | ..  of p0
//!   rows[1]    c1: p0 p1 p2 p3 | c5: p0 p1 p2 p3 | ..    ->    c0 c1 c2 c3 | c4 c5 c6 c7 | ..  of p1
//!   rows[2]    c2: ..                                          ..                              of p2
//!   rows[3]    c3: ..                                          ..                              of p3
//! ```

use crate::micro::unroll;
use crate::simd::{Quads, Simd};

/// A block of sixteen channels as planes: `pixels` floats, at least four, each `stride` behind the one before.
/// And as lines: `pixels` pixels of sixteen floats.
///
/// Contract: `planes` and `lines` hold that.
pub(crate) struct Planes<P, L> {
    pub(crate) planes: P,
    pub(crate) stride: usize,
    pub(crate) lines: L,
    pub(crate) pixels: usize,
}

pub(crate) type FromPlanes = Planes<*const f32, *mut f32>;
pub(crate) type ToPlanes = Planes<*mut f32, *const f32>;

/// # Safety
/// The contract of [`Planes`].
#[inline(always)]
pub(crate) unsafe fn from_planes<S: Quads>(s: S, args: &FromPlanes) {
    for pixel in (0..args.pixels).step_by(4) {
        // Where fewer than four are left, some are done again.
        let pixel = pixel.min(args.pixels - 4);
        for lane in (0..16).step_by(S::LANES) {
            // SAFETY: the contract of `Planes`, for four pixels. Registers may be zeroed: `Simd` demands it.
            unsafe {
                let planes = args.planes.add(lane * args.stride + pixel);
                let lines = args.lines.add(pixel * 16 + lane);
                let mut rows: [S::F32; 4] = core::mem::zeroed();
                unroll!(r < 4, { rows[r] = s.gather(planes.add(r * args.stride), 4 * args.stride) });
                let rows = s.transpose(rows);
                unroll!(p < 4, { s.store(rows[p], lines.add(p * 16)) });
            }
        }
    }
}

/// # Safety
/// The contract of [`Planes`].
#[inline(always)]
pub(crate) unsafe fn to_planes<S: Quads>(s: S, args: &ToPlanes) {
    for pixel in (0..args.pixels).step_by(4) {
        let pixel = pixel.min(args.pixels - 4);
        for lane in (0..16).step_by(S::LANES) {
            // SAFETY: as in `from_planes`.
            unsafe {
                let planes = args.planes.add(lane * args.stride + pixel);
                let lines = args.lines.add(pixel * 16 + lane);
                let mut rows: [S::F32; 4] = core::mem::zeroed();
                unroll!(p < 4, { rows[p] = s.load(lines.add(p * 16)) });
                let rows = s.transpose(rows);
                unroll!(r < 4, { s.scatter(rows[r], planes.add(r * args.stride), 4 * args.stride) });
            }
        }
    }
}

/// Sixteen floats from each pixel to each pixel, first to last: what is between an interleaved image and lines of channels.
///
/// Contract: `src` and `dst` hold sixteen floats at each of `pixels` pixels, `src_step` and `dst_step` apart.
pub(crate) struct Lines {
    pub(crate) src: *const f32,
    pub(crate) src_step: usize,
    pub(crate) dst: *mut f32,
    pub(crate) dst_step: usize,
    pub(crate) pixels: usize,
}

/// # Safety
/// The contract of [`Lines`].
#[inline(always)]
pub(crate) unsafe fn lines<S: Simd>(s: S, args: &Lines) {
    for pixel in 0..args.pixels {
        for lane in (0..16).step_by(S::LANES) {
            // SAFETY: the contract of `Lines`.
            unsafe {
                let v = s.load(args.src.add(pixel * args.src_step + lane));
                s.store(v, args.dst.add(pixel * args.dst_step + lane));
            }
        }
    }
}
