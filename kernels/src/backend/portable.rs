//! The `wide` crate: whatever instruction set the compiler was told it may use.

use super::Tile;
use crate::simd::{Quads, Simd};

// The widest vector that is one register.
#[cfg(target_feature = "avx512f")]
type Vector = wide::f32x16;
#[cfg(target_feature = "avx512f")]
type Bits = wide::i32x16;
#[cfg(all(target_feature = "avx", not(target_feature = "avx512f")))]
type Vector = wide::f32x8;
#[cfg(all(target_feature = "avx", not(target_feature = "avx512f")))]
type Bits = wide::i32x8;
#[cfg(not(target_feature = "avx"))]
type Vector = wide::f32x4;
#[cfg(not(target_feature = "avx"))]
type Bits = wide::i32x4;

const LANES: usize = size_of::<Vector>() / 4;
const QUADS: usize = LANES / 4;

/// The instruction set that `wide` uses, where it has one name.
const NAME: &str = if cfg!(target_arch = "aarch64") {
    "neon"
} else if cfg!(all(target_arch = "wasm32", target_feature = "simd128")) {
    "simd128"
} else if cfg!(all(target_feature = "sse2", not(target_feature = "avx"))) {
    "sse2"
} else {
    "portable"
};

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

/// A safe expression needs nothing around it.
macro_rules! identity {
    ($value:expr) => {
        $value
    };
}

/// No proof needed: the compiler emits only what the target has.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Simd for Portable {
    type F32 = Vector;
    const LANES: usize = LANES;
    const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));
    type Half = Self;

    #[inline(always)]
    fn half(self) -> Self {
        self
    }
    #[inline(always)]
    fn splat(self, x: f32) -> Vector {
        Vector::splat(x)
    }
    super::arithmetic! { identity Vector:
        add(a, b) = a + b;
        mul(a, b) = a * b;
        mul_add(a, b, c) = arithmetic::mul_add(a, b, c);
        div(a, b) = a / b;
        sqrt(v) = v.sqrt();
        keep(v, mask) = v & mask;
        max(a, b) = arithmetic::max(a, b);
        min(a, b) = arithmetic::min(a, b);
        max_or_nan(a, b) = a.is_nan().select(a, arithmetic::max(a, b));
        // The result is a normal number: its exponent is the sum of both.
        scale_by_power(v, rounded) = {
            let (v, n): (Bits, Bits) = (bytemuck::cast(v), bytemuck::cast(rounded));
            bytemuck::cast(v + (n << 23))
        };
        sum_lanes(v) = Vector::splat(v.reduce_add());
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
    fn prefetch(self, _src: *const f32) {}
}

impl Quads for Portable {
    #[inline(always)]
    unsafe fn gather(self, src: *const f32, stride: usize) -> Vector {
        let mut quads = [[0.0; 4]; QUADS];
        for (i, quad) in quads.iter_mut().enumerate() {
            // SAFETY: the caller vouches for four floats.
            *quad = unsafe { src.add(i * stride).cast::<[f32; 4]>().read() };
        }
        bytemuck::cast(quads)
    }
    #[inline(always)]
    unsafe fn scatter(self, v: Vector, dst: *mut f32, stride: usize) {
        let quads: [[f32; 4]; QUADS] = bytemuck::cast(v);
        for (i, quad) in quads.iter().enumerate() {
            // SAFETY: as in `gather`.
            unsafe { dst.add(i * stride).cast::<[f32; 4]>().write(*quad) };
        }
    }
    #[inline(always)]
    fn transpose(self, rows: [Vector; 4]) -> [Vector; 4] {
        let mut rows: [[wide::f32x4; QUADS]; 4] = bytemuck::cast(rows);
        #[expect(clippy::needless_range_loop, reason = "the index is that of a column of four rows")]
        for i in 0..QUADS {
            let [a, b, c, d] = wide::f32x4::transpose([rows[0][i], rows[1][i], rows[2][i], rows[3][i]]);
            (rows[0][i], rows[1][i], rows[2][i], rows[3][i]) = (a, b, c, d);
        }
        bytemuck::cast(rows)
    }
}

/// Tiles whose accumulators, weights and one broadcast pixel stay in registers (docs/kernels.md, register budgets).
const TILES: &[Tile] = if LANES == 16 {
    &[tile::<7, 3, 0>(), tile::<7, 2, 0>(), tile::<7, 1, 0>()]
} else if LANES == 8 {
    &[tile::<6, 2, 0>(), tile::<3, 3, 0>(), tile::<6, 1, 0>()]
} else if cfg!(target_arch = "aarch64") {
    &[tile::<6, 4, 0>(), tile::<6, 3, 0>(), tile::<6, 2, 0>(), tile::<6, 1, 0>()]
} else {
    &[tile::<3, 3, 0>(), tile::<3, 2, 0>(), tile::<3, 1, 0>()]
};

super::kernels! {
    name NAME, supported || true, token Portable, simd Portable,
    tiles TILES, shuffle shuffle::lanes::<Portable>,
    // Chains of multiply-adds that hide their latency.
    burst if LANES == 16 { 16 } else if cfg!(target_arch = "aarch64") { 24 } else { 12 }
}
