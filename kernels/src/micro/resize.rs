//! Rows of a map in another size.

use crate::simd::Simd;

/// Where a pixel of the result comes from, along one side.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Between {
    /// The pixel before it, and the one behind.
    pub(crate) pixels: [u32; 2],
    /// What each counts for.
    pub(crate) weights: [f32; 2],
}

/// One row of the result, for one block of channels.
///
/// Contract: each of `rows` is a row of pixels of sixteen floats that has all that `columns` name; `dst` has a pixel for each
/// of `columns`.
pub(crate) struct Row<'a> {
    pub(crate) rows: [*const f32; 2],
    /// What each row counts for.
    pub(crate) weights: [f32; 2],
    pub(crate) columns: &'a [Between],
    pub(crate) dst: *mut f32,
}

/// Copies: of each column, the first pixel of the first row.
///
/// # Safety
/// The contract of [`Row`].
#[inline(always)]
pub(crate) unsafe fn nearest<S: Simd>(s: S, args: &Row<'_>) {
    for (i, column) in args.columns.iter().enumerate() {
        for lane in (0..16).step_by(S::LANES) {
            // SAFETY: the contract of `Row`.
            unsafe {
                let v = s.load(args.rows[0].add(column.pixels[0] as usize * 16 + lane));
                s.store(v, args.dst.add(i * 16 + lane));
            }
        }
    }
}

/// Interpolates between two pixels of each of two rows.
///
/// # Safety
/// The contract of [`Row`].
#[inline(always)]
pub(crate) unsafe fn bilinear<S: Simd>(s: S, args: &Row<'_>) {
    let [upper, lower] = args.rows;
    let down = args.weights.map(|weight| s.splat(weight));
    for (i, column) in args.columns.iter().enumerate() {
        let along = column.weights.map(|weight| s.splat(weight));
        let [left, right] = column.pixels.map(|pixel| pixel as usize * 16);
        for lane in (0..16).step_by(S::LANES) {
            // SAFETY: the contract of `Row`.
            unsafe {
                let (a, b) = (s.load(upper.add(left + lane)), s.load(lower.add(left + lane)));
                let (c, d) = (s.load(upper.add(right + lane)), s.load(lower.add(right + lane)));
                let left = s.mul_add(b, down[1], s.mul(a, down[0]));
                let right = s.mul_add(d, down[1], s.mul(c, down[0]));
                let v = s.mul_add(right, along[1], s.mul(left, along[0]));
                s.store(v, args.dst.add(i * 16 + lane));
            }
        }
    }
}
