//! AVX-512 F: sixteen lanes, thirty-two registers.

use super::avx2::Avx2;
use crate::simd::{Permute, Pick, Quads, ROUND, Simd};
use core::arch::x86_64::*;

/// Proof that AVX-512 F may run: made only where the feature is switched on.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    #[inline]
    #[target_feature(enable = "avx512f")]
    const fn proven() -> Self {
        Self(())
    }
}

/// The same, hidden from the optimiser.
#[inline]
#[target_feature(enable = "avx512f")]
fn opaque(mut v: __m512) -> __m512 {
    // SAFETY: no instruction at all.
    unsafe { core::arch::asm!("/* {0} */", inout(zmm_reg) v, options(pure, nomem, nostack, preserves_flags)) }
    v
}

/// An intrinsic under the token's proof.
macro_rules! proven {
    ($intrinsic:expr) => {
        // SAFETY: `self` is a token, and tokens are made only under the feature the intrinsic needs.
        unsafe { $intrinsic }
    };
}

impl Simd for Avx512 {
    type F32 = __m512;
    const LANES: usize = 16;
    const FUSED: bool = true;
    type Half = Avx2;

    #[inline(always)]
    fn half(self) -> Avx2 {
        proven!(Avx2::proven())
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        proven!(_mm512_set1_ps(x))
    }
    #[inline(always)]
    unsafe fn splat_pair(self, x: *const f32) -> (__m512, __m256) {
        // A number used in whole and in half registers would otherwise be broadcast twice, the second time by a shuffle.
        // SAFETY: as the token's, and the caller's for the pointer.
        unsafe {
            let v = opaque(_mm512_set1_ps(*x));
            (v, _mm512_castps512_ps256(v))
        }
    }
    super::arithmetic! { proven __m512:
        add(a, b) = _mm512_add_ps(a, b);
        mul(a, b) = _mm512_mul_ps(a, b);
        mul_add(a, b, c) = _mm512_fmadd_ps(a, b, c);
        // (`rcp14` and a step of Newton's take as long.)
        div(a, b) = _mm512_div_ps(a, b);
        sqrt(v) = _mm512_sqrt_ps(v);
        keep(v, mask) = _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(v), _mm512_castps_si512(mask)));
        max(a, b) = _mm512_max_ps(a, b);
        min(a, b) = _mm512_min_ps(a, b);
        max_or_nan(a, b) = _mm512_mask_mov_ps(_mm512_max_ps(a, b), _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a), a);
        // The outer maximum hands on a NaN in `c`; one comparison finds those in `a` and `b`, and their sum is NaN.
        max3_or_nan(a, b, c) = {
            let max = _mm512_max_ps(_mm512_max_ps(a, b), c);
            _mm512_mask_add_ps(max, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, b), a, b)
        };
        scale_by_power(v, rounded) = _mm512_scalef_ps(v, _mm512_add_ps(rounded, _mm512_set1_ps(-ROUND)));
        sum_lanes(v) = {
            let v = _mm512_add_ps(v, _mm512_shuffle_f32x4(v, v, 0b01_00_11_10));
            let v = _mm512_add_ps(v, _mm512_shuffle_f32x4(v, v, 0b10_11_00_01));
            let v = _mm512_add_ps(v, _mm512_permute_ps(v, 0b01_00_11_10));
            _mm512_add_ps(v, _mm512_permute_ps(v, 0b10_11_00_01))
        };
    }

    #[inline(always)]
    unsafe fn load(self, src: *const f32) -> __m512 {
        // SAFETY: as the token's, and the caller's for the pointer.
        unsafe { _mm512_loadu_ps(src) }
    }
    #[inline(always)]
    unsafe fn store(self, v: __m512, dst: *mut f32) {
        // SAFETY: as the token's, and the caller's for the pointer.
        unsafe { _mm512_storeu_ps(dst, v) }
    }
    #[inline(always)]
    fn prefetch(self, src: *const f32) {
        proven!(_mm_prefetch::<_MM_HINT_T1>(src.cast()))
    }
}

impl Quads for Avx512 {
    #[inline(always)]
    unsafe fn gather(self, src: *const f32, stride: usize) -> __m512 {
        // SAFETY: as the token's, and the caller's for the pointers.
        unsafe {
            let v = _mm512_castps128_ps512(_mm_loadu_ps(src));
            let v = _mm512_insertf32x4(v, _mm_loadu_ps(src.add(stride)), 1);
            let v = _mm512_insertf32x4(v, _mm_loadu_ps(src.add(2 * stride)), 2);
            _mm512_insertf32x4(v, _mm_loadu_ps(src.add(3 * stride)), 3)
        }
    }
    #[inline(always)]
    unsafe fn scatter(self, v: __m512, dst: *mut f32, stride: usize) {
        // SAFETY: as the token's, and the caller's for the pointers.
        unsafe {
            // Otherwise LLVM would take quarters out before they are shuffled, and shuffle each.
            let v = opaque(v);
            _mm_storeu_ps(dst, _mm512_castps512_ps128(v));
            _mm_storeu_ps(dst.add(stride), _mm512_extractf32x4_ps(v, 1));
            _mm_storeu_ps(dst.add(2 * stride), _mm512_extractf32x4_ps(v, 2));
            _mm_storeu_ps(dst.add(3 * stride), _mm512_extractf32x4_ps(v, 3));
        }
    }
    #[inline(always)]
    fn transpose(self, [a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
        proven!({
            let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
            let (ab2, cd2) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
            [
                _mm512_shuffle_ps(ab, cd, 0x44),
                _mm512_shuffle_ps(ab, cd, 0xee),
                _mm512_shuffle_ps(ab2, cd2, 0x44),
                _mm512_shuffle_ps(ab2, cd2, 0xee),
            ]
        })
    }
}

impl Permute for Avx512 {
    type Pick = (__m512i, __mmask16);

    #[inline(always)]
    fn pick(self, pick: &Pick) -> (__m512i, __mmask16) {
        // Both are arrays of sixteen numbers.
        proven!({
            let mask = _mm512_loadu_si512(pick.mask.as_ptr().cast());
            (_mm512_loadu_si512(pick.index.as_ptr().cast()), _mm512_test_epi32_mask(mask, mask))
        })
    }
    #[inline(always)]
    fn merge(self, v: __m512, src: __m512, (index, mask): (__m512i, __mmask16)) -> __m512 {
        proven!(_mm512_mask_permutexvar_ps(v, mask, index, src))
    }
}

#[cfg(feature = "std")]
fn supported() -> bool {
    // The half-wide token is AVX2's, which stands for FMA too.
    std::is_x86_feature_detected!("avx512f")
        && std::is_x86_feature_detected!("avx2")
        && std::is_x86_feature_detected!("fma")
}
#[cfg(not(feature = "std"))]
fn supported() -> bool {
    cfg!(all(target_feature = "avx512f", target_feature = "avx2", target_feature = "fma"))
}

super::kernels! {
    #[target_feature(enable = "avx512f")]
    name "avx512", supported supported, token Avx512::proven(), simd Avx512,
    tiles &[
        tile::<7, 3, 0>(), tile::<7, 2, 0>(), tile::<7, 1, 0>(),
        tile::<7, 2, 1>(), tile::<7, 1, 1>(), tile::<7, 0, 1>(),
    ],
    shuffle shuffle::registers::<Avx512>, burst 16
}
