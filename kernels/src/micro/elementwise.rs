//! Operators that touch every element once.

use crate::micro::activation::Bounds;
use crate::simd::Simd;

/// `dst = clamp(src * scale + shift)` for one block of sixteen channels.
///
/// Contract: `src` and `dst` (perhaps the same) hold `pixels` pixels of sixteen floats, `scale` and `shift` sixteen.
pub(crate) struct Affine {
    pub(crate) src: *const f32,
    pub(crate) dst: *mut f32,
    pub(crate) pixels: usize,
    pub(crate) scale: *const f32,
    pub(crate) shift: *const f32,
    pub(crate) bounds: Bounds,
}

/// # Safety
/// The contract of [`Affine`].
#[inline(always)]
pub(crate) unsafe fn affine<S: Simd>(s: S, args: &Affine) {
    for lane in (0..16).step_by(S::LANES) {
        // SAFETY: the contract of `Affine`.
        unsafe {
            let (scale, shift) = (s.load(args.scale.add(lane)), s.load(args.shift.add(lane)));
            for pixel in 0..args.pixels {
                let v = s.mul_add(s.load(args.src.add(pixel * 16 + lane)), scale, shift);
                s.store(args.bounds.clamp(s, v), args.dst.add(pixel * 16 + lane));
            }
        }
    }
}

/// `dst = clamp(a + b)` for a run of whole pixels.
///
/// Contract: `a`, `b` and `dst` (perhaps one of them) hold `len` floats, a multiple of sixteen.
pub(crate) struct Add {
    pub(crate) a: *const f32,
    pub(crate) b: *const f32,
    pub(crate) dst: *mut f32,
    pub(crate) len: usize,
    pub(crate) bounds: Bounds,
}

/// # Safety
/// The contract of [`Add`].
#[inline(always)]
pub(crate) unsafe fn add<S: Simd>(s: S, args: &Add) {
    for i in (0..args.len).step_by(S::LANES) {
        // SAFETY: the contract of `Add`.
        unsafe {
            let v = s.add(s.load(args.a.add(i)), s.load(args.b.add(i)));
            s.store(args.bounds.clamp(s, v), args.dst.add(i));
        }
    }
}

/// `dst = clamp(src)` for a run of whole pixels.
///
/// Contract: `src` and `dst` (perhaps the same) hold `len` floats, a multiple of sixteen.
pub(crate) struct Activate {
    pub(crate) src: *const f32,
    pub(crate) dst: *mut f32,
    pub(crate) len: usize,
    pub(crate) bounds: Bounds,
}

/// # Safety
/// The contract of [`Activate`].
#[inline(always)]
pub(crate) unsafe fn activate<S: Simd>(s: S, args: &Activate) {
    for i in (0..args.len).step_by(S::LANES) {
        // SAFETY: the contract of `Activate`.
        unsafe { s.store(args.bounds.clamp(s, s.load(args.src.add(i))), args.dst.add(i)) }
    }
}
