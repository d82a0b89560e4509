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

/// `dst = clamp(a + b)` or `clamp(a * b)` for some pixels of one block.
///
/// Contract: `a` and `dst` (perhaps the same) hold `pixels` pixels of sixteen floats, `b` (perhaps the same, if it is whole)
/// what `Other` says.
pub(crate) struct Binary {
    pub(crate) a: *const f32,
    pub(crate) b: *const f32,
    pub(crate) other: Other,
    pub(crate) dst: *mut f32,
    pub(crate) pixels: usize,
    pub(crate) bounds: Bounds,
}

/// What `b` has for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Other {
    /// As many floats as `a`.
    Whole,
    /// One float per channel: sixteen.
    Channel,
    /// One float per pixel: the first of sixteen.
    Pixel,
}

/// # Safety
/// The contract of [`Binary`].
#[inline(always)]
pub(crate) unsafe fn add<S: Simd>(s: S, args: &Binary) {
    // SAFETY: handed on.
    unsafe { binary::<S, false>(s, args) };
}

/// # Safety
/// The contract of [`Binary`].
#[inline(always)]
pub(crate) unsafe fn mul<S: Simd>(s: S, args: &Binary) {
    // SAFETY: handed on.
    unsafe { binary::<S, true>(s, args) };
}

/// # Safety
/// The contract of [`Binary`].
#[inline(always)]
unsafe fn binary<S: Simd, const MUL: bool>(s: S, args: &Binary) {
    for lane in (0..16).step_by(S::LANES) {
        // SAFETY: the contract of `Binary`.
        unsafe {
            match args.other {
                Other::Whole => {
                    for i in (0..args.pixels).map(|pixel| pixel * 16 + lane) {
                        let v = apply::<S, MUL>(s, s.load(args.a.add(i)), s.load(args.b.add(i)));
                        s.store(args.bounds.clamp(s, v), args.dst.add(i));
                    }
                }
                Other::Channel => {
                    let b = s.load(args.b.add(lane));
                    for i in (0..args.pixels).map(|pixel| pixel * 16 + lane) {
                        let v = apply::<S, MUL>(s, s.load(args.a.add(i)), b);
                        s.store(args.bounds.clamp(s, v), args.dst.add(i));
                    }
                }
                Other::Pixel => {
                    for pixel in 0..args.pixels {
                        let b = s.splat(*args.b.add(pixel * 16));
                        let v = apply::<S, MUL>(s, s.load(args.a.add(pixel * 16 + lane)), b);
                        s.store(args.bounds.clamp(s, v), args.dst.add(pixel * 16 + lane));
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn apply<S: Simd, const MUL: bool>(s: S, a: S::F32, b: S::F32) -> S::F32 {
    if MUL { s.mul(a, b) } else { s.add(a, b) }
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

/// `dst = src` where that is positive, `src * slope` elsewhere, for one block of sixteen channels.
///
/// Contract: `src` and `dst` (perhaps the same) hold `pixels` pixels of sixteen floats, `slope` sixteen.
pub(crate) struct PRelu {
    pub(crate) src: *const f32,
    pub(crate) dst: *mut f32,
    pub(crate) pixels: usize,
    pub(crate) slope: *const f32,
}

/// # Safety
/// The contract of [`PRelu`].
#[inline(always)]
pub(crate) unsafe fn prelu<S: Simd>(s: S, args: &PRelu) {
    let zero = s.splat(0.0);
    for lane in (0..16).step_by(S::LANES) {
        // SAFETY: the contract of `PRelu`.
        unsafe {
            let slope = s.load(args.slope.add(lane));
            for pixel in 0..args.pixels {
                let x = s.load(args.src.add(pixel * 16 + lane));
                // The positive part, and the negative one times the slope. (NaN is both.)
                let v = s.mul_add(s.min(zero, x), slope, s.max(zero, x));
                s.store(v, args.dst.add(pixel * 16 + lane));
            }
        }
    }
}
