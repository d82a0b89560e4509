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
//!
//! That is for squares of 3, 5 and 7 taps with strides of 1 and 2, which are constants. Any other window goes tap by tap, and
//! loads a register for each multiply-add.

use crate::micro::activation::Bounds;
use crate::micro::unroll;
use crate::simd::Simd;

/// Widest tile: seven accumulators, seven weights and an input fit sixteen registers.
const TILE: usize = 7;

/// One block of channels, some of its output rows.
///
/// Contract: `src` is the block's `ih` x `iw` pixels of sixteen floats, `dst` its rows `y0..y1` of `ow` pixels (the
/// pointer stands at row 0), `weights` sixteen floats per tap, row by row, `bias` sixteen.
pub(crate) struct Depthwise {
    pub(crate) src: *const f32,
    pub(crate) ih: usize,
    pub(crate) iw: usize,
    pub(crate) dst: *mut f32,
    pub(crate) ow: usize,
    pub(crate) y0: usize,
    pub(crate) y1: usize,
    /// Rows and columns of taps; windows and taps are so far apart.
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
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
        match (args.kernel, args.stride, args.dilation) {
            ([3, 3], [1, 1], [1, 1]) => rows::<S, 3, 1>(s, args),
            ([3, 3], [2, 2], [1, 1]) => rows::<S, 3, 2>(s, args),
            ([5, 5], [1, 1], [1, 1]) => rows::<S, 5, 1>(s, args),
            ([5, 5], [2, 2], [1, 1]) => rows::<S, 5, 2>(s, args),
            ([7, 7], [1, 1], [1, 1]) => rows::<S, 7, 1>(s, args),
            ([7, 7], [2, 2], [1, 1]) => rows::<S, 7, 2>(s, args),
            _ => any_rows(s, args),
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
    // Seven weights beside seven sums leave no register for a product that is not fused with its sum.
    let wide = const { K < 7 || S::FUSED };
    let tiles = args.ow.div_ceil(if wide { TILE } else { 4 });
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
                        (5, false) if wide => tile::<S, K, STRIDE, 5, true>(s, args, at),
                        (5, true) if wide => tile::<S, K, STRIDE, 5, false>(s, args, at),
                        (6, false) if wide => tile::<S, K, STRIDE, 6, true>(s, args, at),
                        (6, true) if wide => tile::<S, K, STRIDE, 6, false>(s, args, at),
                        (7, false) if wide => tile::<S, K, STRIDE, 7, true>(s, args, at),
                        (7, true) if wide => tile::<S, K, STRIDE, 7, false>(s, args, at),
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
        if let Some(low) = Bounds::low(&args.bounds) {
            unroll!(t < T, { acc[t] = s.max(s.splat(low), acc[t]) });
        }
        if let Some(high) = Bounds::high(&args.bounds) {
            unroll!(t < T, { acc[t] = s.min(s.splat(high), acc[t]) });
        }
        let dst = args.dst.add((at.oy * args.ow + at.ox) * 16 + at.lane);
        unroll!(t < T, { s.store(acc[t], dst.add(t * 16)) });
    }
}

/// Windows of any kind: tiles go tap by tap.
///
/// # Safety
/// The contract of [`Depthwise`].
#[inline(always)]
unsafe fn any_rows<S: Simd>(s: S, args: &Depthwise) {
    let ([_, kernel], [_, stride], [_, dilation]) = (args.kernel, args.stride, args.dilation);
    let reach = (kernel - 1) * dilation;
    for oy in args.y0..args.y1 {
        let mut ox = 0;
        while ox < args.ow {
            // A whole tile where all its taps lie inside the image's columns, else a pixel.
            let inside = ox * stride >= args.pad_left
                && ox + TILE <= args.ow
                && (ox + TILE - 1) * stride + reach < args.iw + args.pad_left;
            for lane in (0..16).step_by(S::LANES) {
                let at = Place { oy, ox, lane };
                // SAFETY: handed on; `ox + TILE` does not exceed `ow` where there is a whole tile.
                unsafe {
                    if inside {
                        any_tile::<S, TILE>(s, args, at);
                    } else {
                        any_tile::<S, 1>(s, args, at);
                    }
                }
            }
            ox += if inside { TILE } else { 1 };
        }
    }
}

/// The taps `first..end` of a window that lie inside the image, whose first tap lies at `at`.
#[inline(always)]
fn taps(at: isize, len: usize, kernel: usize, dilation: usize) -> (usize, usize) {
    let until = |pixel: isize| (pixel.max(0) as usize).div_ceil(dilation).min(kernel);
    (until(-at), until(len as isize - at))
}

/// # Safety
/// The contract of [`Depthwise`]; where `T` is not 1, all columns of taps lie inside the image.
#[inline(always)]
unsafe fn any_tile<S: Simd, const T: usize>(s: S, args: &Depthwise, at: Place) {
    // SAFETY: the caller's; taps outside the image are left out. Registers may be zeroed: `Simd` demands it.
    unsafe {
        let y = (at.oy * args.stride[0]) as isize - args.pad_top as isize;
        let x = (at.ox * args.stride[1]) as isize - args.pad_left as isize;
        let (kh0, kh1) = taps(y, args.ih, args.kernel[0], args.dilation[0]);
        let (kw0, kw1) =
            if T > 1 { (0, args.kernel[1]) } else { taps(x, args.iw, args.kernel[1], args.dilation[1]) };
        let bias = s.load(args.bias.add(at.lane));
        let mut acc: [S::F32; T] = core::mem::zeroed();
        unroll!(t < T, { acc[t] = bias });
        for kh in kh0..kh1 {
            let row = (y + (kh * args.dilation[0]) as isize) * args.iw as isize + x;
            let row = args.src.wrapping_offset(row * 16 + at.lane as isize);
            for kw in kw0..kw1 {
                let w = s.load(args.weights.add((kh * args.kernel[1] + kw) * 16 + at.lane));
                let tap = row.wrapping_add(kw * args.dilation[1] * 16);
                unroll!(t < T, {
                    acc[t] = s.mul_add(s.load(tap.wrapping_add(t * args.stride[1] * 16)), w, acc[t]);
                });
            }
        }
        let Bounds { low, high, .. } = core::ptr::read_volatile(&args.bounds);
        let dst = args.dst.add((at.oy * args.ow + at.ox) * 16 + at.lane);
        unroll!(t < T, { s.store(s.min(s.splat(high), s.max(s.splat(low), acc[t])), dst.add(t * 16)) });
    }
}
