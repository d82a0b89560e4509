//! What follows a sum: bounds while it is in registers, then perhaps a curve.
//!
//! Bounds are two instructions, in every kernel's own epilogue. A curve takes up to twenty per register; written into every
//! tile it would make the code many times as long. It is therefore one function of its own, which a kernel calls for the
//! lines that it has just stored: they are still in the first-level cache.

use crate::activation::Activation;
use crate::micro::unroll;
use crate::simd::{ROUND, Simd};
use core::ops::Range;

/// What becomes of sums.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epilogue {
    pub(crate) bounds: Bounds,
    pub(crate) curve: Option<Curve>,
}

/// What a kernel keeps its sums between; infinite where there is no bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) low: f32,
    pub(crate) high: f32,
    /// Whether they are finite: one comparison per tile.
    pub(crate) has_low: bool,
    pub(crate) has_high: bool,
}

/// A curve, with the function of the instruction set that applies it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Curve {
    pub(crate) activation: Activation,
    pub(crate) apply: unsafe fn(&Lines),
    /// Registers of a block.
    pub(crate) registers: usize,
}

/// Stored sums that a curve is applied to, in place.
///
/// Contract: for each `pixel < pixels` and each register of `nv` (and, where `half`, one more of half the lanes), its lanes
/// lie at `at + pixel * step`, as many blocks further on as its lane, counted from `lane`, is beyond a block.
pub(crate) struct Lines {
    pub(crate) activation: Activation,
    /// The block of the first register, at its first pixel.
    pub(crate) at: *mut f32,
    pub(crate) pixels: usize,
    /// Elements from one pixel to the next.
    pub(crate) step: usize,
    pub(crate) block_stride: usize,
    /// The lane of that block at which the first register begins.
    pub(crate) lane: usize,
    pub(crate) nv: usize,
    pub(crate) half: bool,
}

impl Bounds {
    pub(crate) fn new((low, high): (f32, f32)) -> Self {
        Self { low, high, has_low: low > f32::NEG_INFINITY, has_high: high < f32::INFINITY }
    }

    /// The lower bound, if there is one. (Volatile, or LLVM reads it before all loops, into registers that the sums need.)
    ///
    /// # Safety
    /// Bounds are readable at `bounds`.
    #[inline(always)]
    pub(crate) unsafe fn low(bounds: *const Self) -> Option<f32> {
        // SAFETY: the caller's.
        unsafe {
            (&raw const (*bounds).has_low).read_volatile().then(|| (&raw const (*bounds).low).read_volatile())
        }
    }

    /// The upper bound, as [`low`](Self::low).
    ///
    /// # Safety
    /// Bounds are readable at `bounds`.
    #[inline(always)]
    pub(crate) unsafe fn high(bounds: *const Self) -> Option<f32> {
        // SAFETY: the caller's.
        unsafe {
            (&raw const (*bounds).has_high)
                .read_volatile()
                .then(|| (&raw const (*bounds).high).read_volatile())
        }
    }
}

impl Epilogue {
    /// Cuts pixels into runs, each to be stored by a kernel and then [`finish`](Self::finish)ed.
    pub(crate) fn runs(&self, pixels: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
        let most = if self.curve.is_some() { 64 } else { pixels.len().max(1) };
        pixels.clone().step_by(most).map(move |start| start..pixels.end.min(start.saturating_add(most)))
    }

    /// Applies the curve, if there is one, to `pixels` whole blocks of sixteen floats that were just stored at `at`.
    ///
    /// # Safety
    /// They are writable.
    pub(crate) unsafe fn finish(&self, at: *mut f32, pixels: usize) {
        if let Some(Curve { activation, apply, registers: nv }) = self.curve {
            let lines = Lines { activation, at, pixels, step: 16, block_stride: 0, lane: 0, nv, half: false };
            // SAFETY: these are the registers of the blocks; whoever has a `Curve` may use its instruction set.
            unsafe { apply(&lines) };
        }
    }
}

impl Bounds {
    /// `v` between the bounds; NaN stays.
    #[inline(always)]
    pub(crate) fn clamp<S: Simd>(self, s: S, v: S::F32) -> S::F32 {
        s.min(s.splat(self.high), s.max(s.splat(self.low), v))
    }
}

/// Applies a curve.
///
/// # Safety
/// The contract of [`Lines`].
#[inline(always)]
pub(crate) unsafe fn run<S: Simd>(s: S, args: &Lines) {
    // SAFETY: handed on.
    unsafe {
        match args.activation {
            Activation::LeakyRelu { slope } if slope <= 1.0 => each(s, args, LeakyRelu { slope }),
            Activation::LeakyRelu { slope } => each(s, args, SteepRelu { slope }),
            Activation::HardSigmoid { slope, offset } => each(s, args, HardSigmoid { slope, offset }),
            Activation::HardSwish => each(s, args, HardSwish),
            Activation::Sigmoid => each(s, args, Sigmoid),
            Activation::Silu => each(s, args, Silu),
            Activation::Tanh => each(s, args, Tanh),
            Activation::Elu { alpha } => each(s, args, Elu { alpha }),
            Activation::Gelu => each(s, args, Gelu),
            Activation::GeluTanh => each(s, args, GeluTanh),
            Activation::None | Activation::Relu | Activation::Relu6 | Activation::Clamp { .. } => {
                unreachable!("a clamp is no curve")
            }
        }
    }
}

/// # Safety
/// The contract of [`Lines`].
#[inline(always)]
unsafe fn each<S: Simd>(s: S, args: &Lines, f: impl Function) {
    for v in 0..args.nv {
        // SAFETY: the contract of `Lines`.
        unsafe { column(s, args, v * S::LANES, f) };
    }
    if const { <S::Half as Simd>::LANES < S::LANES } && args.half {
        // SAFETY: as above.
        unsafe { column(s.half(), args, args.nv * S::LANES, f) };
    }
}

/// # Safety
/// The contract of [`Lines`], for the register that begins `lane` lanes behind the first.
#[inline(always)]
unsafe fn column<S: Simd>(s: S, args: &Lines, lane: usize, f: impl Function) {
    let lane = args.lane + lane;
    // SAFETY: the caller's.
    unsafe {
        let at = args.at.add(lane / 16 * args.block_stride + lane % 16);
        for pixel in 0..args.pixels {
            let at = at.add(pixel * args.step);
            s.store(f.of(s, s.load(at)), at);
        }
    }
}

/// A function of one number, on registers.
trait Function: Copy {
    fn of<S: Simd>(self, s: S, x: S::F32) -> S::F32;
}

#[derive(Clone, Copy)]
struct LeakyRelu {
    slope: f32,
}

impl Function for LeakyRelu {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        s.max(s.mul(x, s.splat(self.slope)), x)
    }
}

/// [`LeakyRelu`] whose slope is greater than one.
#[derive(Clone, Copy)]
struct SteepRelu {
    slope: f32,
}

impl Function for SteepRelu {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        s.min(s.mul(x, s.splat(self.slope)), x)
    }
}

#[derive(Clone, Copy)]
struct HardSigmoid {
    slope: f32,
    offset: f32,
}

impl Function for HardSigmoid {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        let line = s.mul_add(x, s.splat(self.slope), s.splat(self.offset));
        s.min(s.splat(1.0), s.max(s.splat(0.0), line))
    }
}

#[derive(Clone, Copy)]
struct HardSwish;

impl Function for HardSwish {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        let gate = s.min(s.splat(6.0), s.max(s.splat(0.0), s.add(x, s.splat(3.0))));
        s.mul(x, s.mul(gate, s.splat(1.0 / 6.0)))
    }
}

#[derive(Clone, Copy)]
struct Sigmoid;

impl Function for Sigmoid {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        let (one, x) = (s.splat(1.0), s.max(s.splat(-FAR), x));
        s.div(one, s.add(one, exp_minus(s, x)))
    }
}

#[derive(Clone, Copy)]
struct Silu;

impl Function for Silu {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        // Bounded above the line too: zero, not NaN, at negative infinity.
        let x = s.max(s.splat(-FAR), x);
        s.div(x, s.add(s.splat(1.0), exp_minus(s, x)))
    }
}

#[derive(Clone, Copy)]
struct Tanh;

impl Function for Tanh {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        // 2 / (1 + e^-2x) - 1
        let twice = s.max(s.splat(-FAR), s.add(x, x));
        s.add(s.div(s.splat(2.0), s.add(s.splat(1.0), exp_minus(s, twice))), s.splat(-1.0))
    }
}

#[derive(Clone, Copy)]
struct Elu {
    alpha: f32,
}

impl Function for Elu {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        // The positive part, and the curve of the negative one, which is zero at zero.
        let (zero, minus) = (s.splat(0.0), s.mul(x, s.splat(-1.0)));
        let curve = s.add(exp_minus(s, s.max(zero, minus)), s.splat(-1.0));
        s.mul_add(curve, s.splat(self.alpha), s.max(zero, x))
    }
}

#[derive(Clone, Copy)]
struct GeluTanh;

impl Function for GeluTanh {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        // x / (1 + e^-2u), u = sqrt(2 / pi) * (x + 0.044715 x^3). At -9.9 the result is 1e-36.
        let x = s.max(s.splat(-9.9), x);
        const TWICE: f64 = 1.595_769_121_605_731; // 2 * sqrt(2 / pi)
        let (first, third) = (s.splat(TWICE as f32), s.splat((TWICE * 0.044715) as f32));
        let u = s.mul(x, s.mul_add(s.mul(x, x), third, first));
        s.div(x, s.add(s.splat(1.0), exp_minus(s, u)))
    }
}

#[derive(Clone, Copy)]
struct Gelu;

impl Function for Gelu {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        // x * (1/2 + z * P(z^2) / Q(z^2)), the odd part of the normal distribution as a rational function that was fitted
        // for |z| <= 5.5, where the distribution is 2e-8 from 0 and 1.
        const P: [f32; 6] =
            [0.398_942_23, 0.033_852_69, 4.677_263_6e-3, 1.688_261_5e-4, 6.352_125_6e-6, 2.274_939_7e-8];
        const Q: [f32; 6] = [1.0, 0.251_522_03, 0.028_645_897, 1.884_447_5e-3, 7.364_768e-5, 1.197_505_4e-6];
        let x = s.max(s.splat(-5.5), x);
        let z = s.min(s.splat(5.5), x);
        let t = s.mul(z, z);
        let odd = s.div(s.mul(z, polynomial(s, t, P)), polynomial(s, t, Q));
        s.mul(x, s.add(s.splat(0.5), odd))
    }
}

/// Beyond, an exponential is taken as if it were there: 2^125.4.
const FAR: f32 = 86.9;

/// `e^-x` for `x >= -FAR`, within 3 units in the last place; beyond `FAR`, as there. NaN stays.
///
/// `e^-x = 2^n * e^-r` with `r = x + n * ln(2)` in `[-ln(2)/2, ln(2)/2]`.
#[inline(always)]
fn exp_minus<S: Simd>(s: S, x: S::F32) -> S::F32 {
    use core::f32::consts::{LN_2, LOG2_E};
    let x = s.min(s.splat(FAR), x);
    let rounded = s.mul_add(x, s.splat(-LOG2_E), s.splat(ROUND));
    let n = s.add(rounded, s.splat(-ROUND));
    let r = if S::FUSED {
        // (`LN_2` is within 2e-9 of what it stands for.)
        s.mul_add(n, s.splat(LN_2), x)
    } else {
        // In two parts, of which the first has few enough bits for `n * HIGH` to be exact.
        const HIGH: f32 = 355.0 / 512.0;
        const LOW: f32 = (core::f64::consts::LN_2 - HIGH as f64) as f32;
        s.mul_add(n, s.splat(LOW), s.mul_add(n, s.splat(HIGH), x))
    };
    // Fitted for the least relative error, 9.3e-8.
    const E: [f32; 6] = [1.0, -0.999_999_7, 0.499_991_42, -0.166_676_5, 0.041_898_966, -0.008_289_683];
    s.scale_by_power(polynomial(s, r, E), rounded)
}

/// `c[0] + c[1] x + c[2] x^2 ..`
#[inline(always)]
fn polynomial<S: Simd>(s: S, x: S::F32, c: [f32; 6]) -> S::F32 {
    let mut sum = s.splat(c[5]);
    unroll!(i < 5, { sum = s.mul_add(sum, x, s.splat(c[4 - i])) });
    sum
}
