//! Pooling of one block of sixteen channels.

use crate::simd::Simd;

/// One block of channels, some of its output rows.
///
/// Contract: `src` is the block's `ih` x `iw` pixels of sixteen floats, `dst` its rows `y0..y1` of `ow` pixels (the
/// pointer stands at row 0); every window holds at least one pixel of the image. Pairs are rows and columns.
pub(crate) struct Pool {
    pub(crate) src: *const f32,
    pub(crate) ih: usize,
    pub(crate) iw: usize,
    pub(crate) dst: *mut f32,
    pub(crate) ow: usize,
    pub(crate) y0: usize,
    pub(crate) y1: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) pad_top: usize,
    pub(crate) pad_left: usize,
    /// For averages: the rows and columns of the padded image, where what a window has of that is counted; else, its pixels in
    /// the image are.
    pub(crate) padded: Option<[usize; 2]>,
}

/// The part of a window that lies inside the image.
#[inline(always)]
fn clip(o: usize, stride: usize, pad: usize, kernel: usize, len: usize) -> (usize, usize) {
    let from = o * stride;
    (from.saturating_sub(pad), (from + kernel).saturating_sub(pad).min(len))
}

/// The greatest of each window; NaN where the window holds one.
///
/// # Safety
/// The contract of [`Pool`].
#[inline(always)]
pub(crate) unsafe fn max<S: Simd>(s: S, args: &Pool) {
    if (args.kernel, args.stride) == ([3, 3], [2, 2]) {
        for oy in args.y0..args.y1 {
            let row = |i: usize| (2 * oy + i).saturating_sub(args.pad_top).min(args.ih - 1) * args.iw * 16;
            // SAFETY: the contract of `Pool`; rows are clamped to the image, which repeats one of the window's own.
            unsafe {
                let rows = [args.src.add(row(0)), args.src.add(row(1)), args.src.add(row(2))];
                let dst = args.dst.add(oy * args.ow * 16);
                max_row(
                    s,
                    &MaxRow { rows, iw: args.iw, dst, ow: args.ow, pad_left: args.pad_left, lanes: 16 },
                );
            }
        }
        return;
    }
    // SAFETY: handed on.
    unsafe {
        windows(
            s,
            args,
            |s, row, pixels, acc| match acc {
                None => (1..pixels).fold(s.load(row), |acc, i| s.max_or_nan(acc, s.load(row.add(i * 16)))),
                Some(acc) => (0..pixels).fold(acc, |acc, i| s.max_or_nan(acc, s.load(row.add(i * 16)))),
            },
            |_, acc, _, _| acc,
        );
    }
}

/// One output row of the 3x3 stride-2 maximum, the window of ShuffleNet's stem.
///
/// Contract: each of `rows` is a row of `iw` > 0 pixels of sixteen floats (a row may stand for one that lies outside the
/// image: the same row twice does not change a maximum); `dst` holds `ow` pixels; every window holds a pixel.
pub(crate) struct MaxRow {
    pub(crate) rows: [*const f32; 3],
    pub(crate) iw: usize,
    pub(crate) dst: *mut f32,
    pub(crate) ow: usize,
    pub(crate) pad_left: usize,
    /// Channels of the sixteen that count; the others of `dst` become anything.
    pub(crate) lanes: usize,
}

/// Greatest of three rows, column by column; a window's last column is the next window's first.
///
/// # Safety
/// The contract of [`MaxRow`].
#[inline(always)]
pub(crate) unsafe fn max_row<S: Simd>(s: S, args: &MaxRow) {
    let mut lane = 0;
    while lane < args.lanes {
        // SAFETY: handed on; registers begin below sixteen and divide it.
        unsafe {
            if args.lanes - lane <= <S::Half as Simd>::LANES {
                register_of_max_row(s.half(), args, lane);
            } else {
                register_of_max_row(s, args, lane);
            }
        }
        lane += S::LANES;
    }
}

/// # Safety
/// The contract of [`MaxRow`], for the register's lanes from `lane` on.
#[inline(always)]
unsafe fn register_of_max_row<S: Simd>(s: S, args: &MaxRow, lane: usize) {
    // SAFETY: the caller's.
    unsafe {
        let mut left = column(s, args, lane, 0);
        for ox in 0..args.ow {
            let (middle, right) = (column(s, args, lane, 2 * ox + 1), column(s, args, lane, 2 * ox + 2));
            s.store(s.max3_or_nan(left, middle, right), args.dst.add(ox * 16 + lane));
            left = right;
        }
    }
}

/// The greatest of three rows in the `x`-th column, the left padding's first. (As a closure it was not inlined.)
///
/// # Safety
/// The contract of [`MaxRow`].
#[inline(always)]
unsafe fn column<S: Simd>(s: S, args: &MaxRow, lane: usize, x: usize) -> S::F32 {
    // Columns are clamped to the row, which repeats one of the window's own.
    let at = x.saturating_sub(args.pad_left).min(args.iw - 1) * 16 + lane;
    let [a, b, c] = args.rows;
    // SAFETY: the contract of `MaxRow`.
    unsafe { s.max3_or_nan(s.load(a.add(at)), s.load(b.add(at)), s.load(c.add(at))) }
}

/// The mean of each window.
///
/// # Safety
/// The contract of [`Pool`].
#[inline(always)]
pub(crate) unsafe fn average<S: Simd>(s: S, args: &Pool) {
    // SAFETY: handed on.
    unsafe {
        windows(
            s,
            args,
            |s, row, pixels, acc| {
                let acc = acc.unwrap_or(s.splat(0.0));
                (0..pixels).fold(acc, |acc, i| s.add(acc, s.load(row.add(i * 16))))
            },
            |s, acc, at, pixels| {
                let counted = |[h, w]: [usize; 2]| {
                    // (The last window may hang over the padding.)
                    let part = |axis: usize, len| args.kernel[axis].min(len - at[axis] * args.stride[axis]);
                    part(0, h) * part(1, w)
                };
                s.mul(acc, s.splat(1.0 / args.padded.map_or(pixels, counted) as f32))
            },
        );
    }
}

#[inline(always)]
unsafe fn windows<S: Simd>(
    s: S,
    args: &Pool,
    row: impl Fn(S, *const f32, usize, Option<S::F32>) -> S::F32,
    finish: impl Fn(S, S::F32, [usize; 2], usize) -> S::F32,
) {
    for oy in args.y0..args.y1 {
        let (top, bottom) = clip(oy, args.stride[0], args.pad_top, args.kernel[0], args.ih);
        for ox in 0..args.ow {
            let (left, right) = clip(ox, args.stride[1], args.pad_left, args.kernel[1], args.iw);
            for lane in (0..16).step_by(S::LANES) {
                // SAFETY: the contract of `Pool`; the window was clipped to the image.
                unsafe {
                    let mut acc = None;
                    for y in top..bottom {
                        let src = args.src.add((y * args.iw + left) * 16 + lane);
                        acc = Some(row(s, src, right - left, acc));
                    }
                    if let Some(acc) = acc {
                        let value = finish(s, acc, [oy, ox], (bottom - top) * (right - left));
                        s.store(value, args.dst.add((oy * args.ow + ox) * 16 + lane));
                    }
                }
            }
        }
    }
}

/// The mean over all pixels of one block.
///
/// Contract: `src` holds `pixels` > 0 pixels of sixteen floats, `dst` sixteen floats.
pub(crate) struct GlobalAverage {
    pub(crate) src: *const f32,
    pub(crate) pixels: usize,
    pub(crate) dst: *mut f32,
}

/// # Safety
/// The contract of [`GlobalAverage`].
#[inline(always)]
pub(crate) unsafe fn global_average<S: Simd>(s: S, args: &GlobalAverage) {
    const CHAINS: usize = 8;
    for lane in (0..16).step_by(S::LANES) {
        // SAFETY: the contract of `GlobalAverage`.
        unsafe {
            let mut acc = [s.splat(0.0); CHAINS];
            let src = args.src.add(lane);
            let whole = args.pixels / CHAINS * CHAINS;
            for pixel in (0..whole).step_by(CHAINS) {
                for (chain, sum) in acc.iter_mut().enumerate() {
                    *sum = s.add(*sum, s.load(src.add((pixel + chain) * 16)));
                }
            }
            for pixel in whole..args.pixels {
                acc[0] = s.add(acc[0], s.load(src.add(pixel * 16)));
            }
            let mut width = CHAINS / 2;
            while width > 0 {
                for chain in 0..width {
                    acc[chain] = s.add(acc[chain], acc[chain + width]);
                }
                width /= 2;
            }
            s.store(s.mul(acc[0], s.splat(1.0 / args.pixels as f32)), args.dst.add(lane));
        }
    }
}
