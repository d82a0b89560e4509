//! The `wide` crate: whatever instruction set the compiler was told it may use.

use crate::simd::{Pick, Simd};

// The widest vector that is one register, and the largest tile whose accumulators, weights and one broadcast
// pixel stay in registers (docs/kernels.md, register budgets).
#[cfg(target_feature = "avx512f")]
mod width {
    pub(super) type Vector = wide::f32x16;
    pub(super) type Bits = wide::i32x16;
    macro_rules! tile {
        ($with:ident) => {
            $with! { 7, 3, 0, 16 }
        };
    }
    pub(super) use tile;
}
#[cfg(all(target_feature = "avx", not(target_feature = "avx512f")))]
mod width {
    pub(super) type Vector = wide::f32x8;
    pub(super) type Bits = wide::i32x8;
    macro_rules! tile {
        ($with:ident) => {
            $with! { 6, 2, 3, 12 }
        };
    }
    pub(super) use tile;
}
#[cfg(target_arch = "aarch64")]
mod width {
    pub(super) type Vector = wide::f32x4;
    pub(super) type Bits = wide::i32x4;
    macro_rules! tile {
        ($with:ident) => {
            $with! { 6, 4, 0, 24 }
        };
    }
    pub(super) use tile;
}
#[cfg(not(any(target_feature = "avx", target_arch = "aarch64")))]
mod width {
    pub(super) type Vector = wide::f32x4;
    pub(super) type Bits = wide::i32x4;
    macro_rules! tile {
        ($with:ident) => {
            $with! { 3, 3, 0, 12 }
        };
    }
    pub(super) use tile;
}
use width::{Bits, Vector};

const LANES: usize = size_of::<Vector>() / 4;

#[cfg(not(all(target_arch = "wasm32", target_feature = "relaxed-simd")))]
mod arithmetic {
    use super::Vector;

    /// Which of two operands, neither the greater, `wide` returns as the greater: x86's instructions the second,
    /// WebAssembly's the first. (NEON's make NaN of any NaN.)
    const SECOND_OF_EQUALS: bool = cfg!(any(target_feature = "sse", target_arch = "aarch64"));

    #[inline(always)]
    pub(super) fn mul_add(a: Vector, b: Vector, c: Vector) -> Vector {
        a.mul_add(b, c)
    }
    #[inline(always)]
    pub(super) fn max(a: Vector, b: Vector) -> Vector {
        if SECOND_OF_EQUALS { a.fast_max(b) } else { b.fast_max(a) }
    }
    #[inline(always)]
    pub(super) fn min(a: Vector, b: Vector) -> Vector {
        if SECOND_OF_EQUALS { a.fast_min(b) } else { b.fast_min(a) }
    }
}

/// What `wide` does not use: one instruction for a multiply-add, fused or not as the machine has it. Allowed to, LLVM makes
/// relaxed instructions of `wide`'s minimum and maximum too, and NaN is lost; so they are spelt out.
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
mod arithmetic {
    use super::Vector;
    use core::arch::wasm32::{f32x4_lt, f32x4_relaxed_madd, v128, v128_bitselect};
    use core::mem::transmute;

    #[inline(always)]
    fn raw(v: Vector) -> v128 {
        // SAFETY: four lanes of `f32` either way.
        unsafe { transmute(v) }
    }
    #[inline(always)]
    fn vector(v: v128) -> Vector {
        // SAFETY: as in `raw`.
        unsafe { transmute(v) }
    }
    #[inline(always)]
    pub(super) fn mul_add(a: Vector, b: Vector, c: Vector) -> Vector {
        vector(f32x4_relaxed_madd(raw(a), raw(b), raw(c)))
    }
    #[inline(always)]
    pub(super) fn max(a: Vector, b: Vector) -> Vector {
        let (a, b) = (raw(a), raw(b));
        vector(v128_bitselect(a, b, f32x4_lt(b, a)))
    }
    #[inline(always)]
    pub(super) fn min(a: Vector, b: Vector) -> Vector {
        let (a, b) = (raw(a), raw(b));
        vector(v128_bitselect(a, b, f32x4_lt(a, b)))
    }
}

/// No proof needed: the compiler emits only what the target has.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Simd for Portable {
    type F32 = Vector;
    type Pick = ();
    const LANES: usize = LANES;
    const PERMUTES: bool = false;
    const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));
    type Half = Self;

    #[inline(always)]
    fn half(self) -> Self {
        self
    }
    #[inline(always)]
    fn low(self, v: Vector) -> Vector {
        v
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Vector {
        Vector::splat(x)
    }
    #[inline(always)]
    unsafe fn splat_half(self, x: *const f32) -> Vector {
        // SAFETY: the caller's.
        self.splat(unsafe { *x })
    }
    #[inline(always)]
    fn add(self, a: Vector, b: Vector) -> Vector {
        a + b
    }
    #[inline(always)]
    fn mul(self, a: Vector, b: Vector) -> Vector {
        a * b
    }
    #[inline(always)]
    fn mul_add(self, a: Vector, b: Vector, c: Vector) -> Vector {
        arithmetic::mul_add(a, b, c)
    }
    #[inline(always)]
    fn div(self, a: Vector, b: Vector) -> Vector {
        a / b
    }
    #[inline(always)]
    fn scale_by_power(self, v: Vector, rounded: Vector) -> Vector {
        // The result is a normal number: its exponent is the sum of both.
        let (v, n): (Bits, Bits) = (bytemuck::cast(v), bytemuck::cast(rounded));
        bytemuck::cast(v + (n << 23))
    }
    #[inline(always)]
    fn max(self, a: Vector, b: Vector) -> Vector {
        arithmetic::max(a, b)
    }
    #[inline(always)]
    fn min(self, a: Vector, b: Vector) -> Vector {
        arithmetic::min(a, b)
    }
    #[inline(always)]
    fn max_or_nan(self, a: Vector, b: Vector) -> Vector {
        a.is_nan().select(a, self.max(a, b))
    }
    #[inline(always)]
    unsafe fn load(self, src: *const f32) -> Vector {
        // SAFETY: the caller vouches for `LANES` floats; an array of floats may be read at any float's address.
        Vector::new(unsafe { src.cast::<[f32; LANES]>().read() })
    }
    #[inline(always)]
    unsafe fn store(self, v: Vector, dst: *mut f32) {
        // SAFETY: as in `load`.
        unsafe { dst.cast::<[f32; LANES]>().write(v.to_array()) }
    }
    #[inline(always)]
    fn pick(self, _pick: &Pick) {}
    #[inline(always)]
    fn merge(self, _v: Vector, _src: Vector, _pick: ()) -> Vector {
        unreachable!("`PERMUTES` is false")
    }
    #[inline(always)]
    fn prefetch(self, _src: *const f32) {}
}

macro_rules! table {
    ($mr:literal, $nv:literal, $mr3:literal, $burst:literal) => {
        super::kernels! {
            Portable, token Portable, simd Portable, supported || true, mr $mr, nv $nv, mr3 $mr3, burst $burst
        }
    };
}
width::tile!(table);
