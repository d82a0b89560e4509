//! Depthwise convolution of one block of sixteen channels.
//!
//! ```text
//! for each output row, for each tile of up to 7 pixels:
//!     acc[7] = bias
//!     for kh (those whose row exists):
//!         w[K] = weights[kh]
//!         for each input pixel j under the tile: v = src[j], acc[(j - kw) / STRIDE] += v * w[kw] for every kw it meets
//!     dst = clamp(acc)
//! ```
//!
//! Every input pixel of a row is loaded once per tile and used up to K times from the register. Taps outside the
//! image are left out (not multiplied by zero), so a weight that is not finite does not reach the border through
//! them. Tiles that touch the left or right border test each pixel; those between do not.

use crate::micro::activation::Bounds;
use crate::micro::unroll;
use crate::simd::Simd;

/// Widest tile: seven accumulators, five weights and an input fit sixteen registers.
const TILE: usize = 7;

/// One block of channels, some of its output rows.
///
/// Contract: `src` is the block's `ih` x `iw` pixels of sixteen floats, `dst` its rows `y0..y1` of `ow` pixels (the
/// pointer stands at row 0), `weights` `kernel * kernel * 16` floats by tap, `bias` sixteen.
pub(crate) struct Depthwise {
    pub(crate) src: *const f32,
    pub(crate) ih: usize,
    pub(crate) iw: usize,
    pub(crate) dst: *mut f32,
    pub(crate) ow: usize,
    pub(crate) y0: usize,
    pub(crate) y1: usize,
    /// 3 or 5.
    pub(crate) kernel: usize,
    /// 1 or 2.
    pub(crate) stride: usize,
    pub(crate) pad_top: usize,
    pub(crate) pad_left: usize,
    pub(crate) weights: *const f32,
    pub(crate) bias: *const f32,
    pub(crate) bounds: Bounds,
}

/// # Safety
/// The contract of [`Depthwise`].
#[inline(always)]
pub(crate) unsafe fn run<S: Simd>(s: S, args: &Depthwise) {
    // SAFETY: handed on.
    unsafe {
        match (args.kernel, args.stride) {
            (3, 1) => rows::<S, 3, 1>(s, args),
            (3, 2) => rows::<S, 3, 2>(s, args),
            (5, 1) => rows::<S, 5, 1>(s, args),
            (5, 2) => rows::<S, 5, 2>(s, args),
            _ => unreachable!("kernels of 3 and 5, strides of 1 and 2"),
        }
    }
}

/// A tile's place: the output row and column it begins at.
#[derive(Clone, Copy)]
struct Place {
    oy: usize,
    ox: usize,
    lane: usize,
}

#[inline(always)]
unsafe fn rows<S: Simd, const K: usize, const STRIDE: usize>(s: S, args: &Depthwise) {
    let tiles = args.ow.div_ceil(TILE);
    let (least, longer) = (args.ow / tiles, args.ow % tiles);
    for oy in args.y0..args.y1 {
        let mut ox = 0;
        for tile_index in 0..tiles {
            let width = least + usize::from(tile_index < longer);
            let inside =
                ox * STRIDE >= args.pad_left && (ox + width - 1) * STRIDE + K <= args.iw + args.pad_left;
            for lane in (0..16).step_by(S::LANES) {
                let at = Place { oy, ox, lane };
                // SAFETY: handed on; `ox + width` never exceeds `ow`.
                unsafe {
                    match (width, inside) {
                        (1, _) => tile::<S, K, STRIDE, 1, true>(s, args, at),
                        (2, _) => tile::<S, K, STRIDE, 2, true>(s, args, at),
                        (3, _) => tile::<S, K, STRIDE, 3, true>(s, args, at),
                        (4, false) => tile::<S, K, STRIDE, 4, true>(s, args, at),
                        (4, true) => tile::<S, K, STRIDE, 4, false>(s, args, at),
                        (5, false) => tile::<S, K, STRIDE, 5, true>(s, args, at),
                        (5, true) => tile::<S, K, STRIDE, 5, false>(s, args, at),
                        (6, false) => tile::<S, K, STRIDE, 6, true>(s, args, at),
                        (6, true) => tile::<S, K, STRIDE, 6, false>(s, args, at),
                        (7, false) => tile::<S, K, STRIDE, 7, true>(s, args, at),
                        (7, true) => tile::<S, K, STRIDE, 7, false>(s, args, at),
                        _ => unreachable!("tiles are at most TILE wide"),
                    }
                }
            }
            ox += width;
        }
    }
}

#[inline(always)]
unsafe fn tile<S: Simd, const K: usize, const STRIDE: usize, const T: usize, const EDGE: bool>(
    s: S,
    args: &Depthwise,
    at: Place,
) {
    // SAFETY: the contract of `Depthwise`; rows and columns outside the image are left out below. Registers may be
    // zeroed: `Simd` demands it.
    unsafe {
        // Row and column of the tile's first tap, both perhaps before the image.
        let y = (at.oy * STRIDE) as isize - args.pad_top as isize;
        let x = (at.ox * STRIDE) as isize - args.pad_left as isize;
        let (kh0, kh1) = (-y, args.ih as isize - y);
        let (kh0, kh1) = (kh0.clamp(0, K as isize) as usize, kh1.clamp(0, K as isize) as usize);
        let (j0, j1) = (-x, args.iw as isize - x);

        let bias = s.load(args.bias.add(at.lane));
        let mut acc: [S::F32; T] = core::mem::zeroed();
        unroll!(t < T, { acc[t] = bias });
        for kh in kh0..kh1 {
            let row =
                args.src.wrapping_offset(((y + kh as isize) * args.iw as isize + x) * 16 + at.lane as isize);
            let taps = args.weights.add(kh * K * 16 + at.lane);
            let mut w: [S::F32; K] = core::mem::zeroed();
            unroll!(kw < K, { w[kw] = s.load(taps.add(kw * 16)) });
            unroll!(long j < const { (T - 1) * STRIDE + K }, {
                if !EDGE || (j as isize >= j0 && (j as isize) < j1) {
                    let v = s.load(row.wrapping_add(j * 16));
                    unroll!(kw < K, {
                        // The pixel that meets this input with tap `kw`, if the tile has it.
                        if j >= kw && (j - kw).is_multiple_of(STRIDE) && (j - kw) / STRIDE < T {
                            let t = (j - kw) / STRIDE;
                            acc[t] = s.mul_add(v, w[kw], acc[t]);
                        }
                    });
                }
            });
        }
        // (Volatile, or LLVM loads them before all loops, into registers that the sums need.)
        let Bounds { low, high } = core::ptr::read_volatile(&args.bounds);
        if low > f32::NEG_INFINITY {
            unroll!(t < T, { acc[t] = s.max(s.splat(low), acc[t]) });
        }
        if high < f32::INFINITY {
            unroll!(t < T, { acc[t] = s.min(s.splat(high), acc[t]) });
        }
        let dst = args.dst.add((at.oy * args.ow + at.ox) * 16 + at.lane);
        unroll!(t < T, { s.store(acc[t], dst.add(t * 16)) });
    }
}
