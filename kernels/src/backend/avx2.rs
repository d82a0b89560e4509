//! AVX2 with FMA: eight lanes, sixteen registers.

use crate::simd::{Permute, Pick, Quads, Simd};
use core::arch::x86_64::*;

/// Proof that AVX2 and FMA may run: made only where the features are switched on.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) const fn proven() -> Self {
        Self(())
    }
}

/// An intrinsic under the token's proof.
macro_rules! proven {
    ($intrinsic:expr) => {
        // SAFETY: `self` is a token, and tokens are made only under the features the intrinsic needs.
        unsafe { $intrinsic }
    };
}

impl Simd for Avx2 {
    type F32 = __m256;
    const LANES: usize = 8;
    const FUSED: bool = true;
    type Half = Self;

    #[inline(always)]
    fn half(self) -> Self {
        self
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        proven!(_mm256_set1_ps(x))
    }
    super::arithmetic! { proven __m256:
        add(a, b) = _mm256_add_ps(a, b);
        mul(a, b) = _mm256_mul_ps(a, b);
        mul_add(a, b, c) = _mm256_fmadd_ps(a, b, c);
        div(a, b) = _mm256_div_ps(a, b);
        sqrt(v) = _mm256_sqrt_ps(v);
        keep(v, mask) = _mm256_and_ps(v, mask);
        max(a, b) = _mm256_max_ps(a, b);
        min(a, b) = _mm256_min_ps(a, b);
        max_or_nan(a, b) = _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a));
        // The result is a normal number: its exponent is the sum of both.
        scale_by_power(v, rounded) = {
            let n = _mm256_slli_epi32::<23>(_mm256_castps_si256(rounded));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(v), n))
        };
        sum_lanes(v) = {
            let v = _mm256_add_ps(v, _mm256_permute2f128_ps(v, v, 1));
            let v = _mm256_add_ps(v, _mm256_permute_ps(v, 0b01_00_11_10));
            _mm256_add_ps(v, _mm256_permute_ps(v, 0b10_11_00_01))
        };
    }

    #[inline(always)]
    unsafe fn load(self, src: *const f32) -> __m256 {
        // SAFETY: as the token's, and the caller's for the pointer.
        unsafe { _mm256_loadu_ps(src) }
    }
    #[inline(always)]
    unsafe fn store(self, v: __m256, dst: *mut f32) {
        // SAFETY: as the token's, and the caller's for the pointer.
        unsafe { _mm256_storeu_ps(dst, v) }
    }
    #[inline(always)]
    fn prefetch(self, src: *const f32) {
        proven!(_mm_prefetch::<_MM_HINT_T1>(src.cast()))
    }
}

impl Quads for Avx2 {
    #[inline(always)]
    unsafe fn gather(self, src: *const f32, stride: usize) -> __m256 {
        // SAFETY: as the token's, and the caller's for the pointers.
        unsafe {
            let v = _mm256_castps128_ps256(_mm_loadu_ps(src));
            _mm256_insertf128_ps(v, _mm_loadu_ps(src.add(stride)), 1)
        }
    }
    #[inline(always)]
    unsafe fn scatter(self, v: __m256, dst: *mut f32, stride: usize) {
        // SAFETY: as the token's, and the caller's for the pointers.
        unsafe {
            _mm_storeu_ps(dst, _mm256_castps256_ps128(v));
            _mm_storeu_ps(dst.add(stride), _mm256_extractf128_ps(v, 1));
        }
    }
    #[inline(always)]
    fn transpose(self, [a, b, c, d]: [__m256; 4]) -> [__m256; 4] {
        proven!({
            let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
            let (ab2, cd2) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
            [
                _mm256_shuffle_ps(ab, cd, 0x44),
                _mm256_shuffle_ps(ab, cd, 0xee),
                _mm256_shuffle_ps(ab2, cd2, 0x44),
                _mm256_shuffle_ps(ab2, cd2, 0xee),
            ]
        })
    }
}

impl Permute for Avx2 {
    type Pick = (__m256i, __m256);

    #[inline(always)]
    fn pick(self, pick: &Pick) -> (__m256i, __m256) {
        // Both are arrays of sixteen numbers, of which eight are read.
        proven!((
            _mm256_loadu_si256(pick.index.as_ptr().cast()),
            _mm256_castsi256_ps(_mm256_loadu_si256(pick.mask.as_ptr().cast()))
        ))
    }
    #[inline(always)]
    fn merge(self, v: __m256, src: __m256, (index, mask): (__m256i, __m256)) -> __m256 {
        proven!(_mm256_blendv_ps(v, _mm256_permutevar8x32_ps(src, index), mask))
    }
}

#[cfg(feature = "std")]
fn supported() -> bool {
    std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma")
}
#[cfg(not(feature = "std"))]
fn supported() -> bool {
    cfg!(all(target_feature = "avx2", target_feature = "fma"))
}

super::kernels! {
    #[target_feature(enable = "avx2,fma")]
    name "avx2", supported supported, token Avx2::proven(), simd Avx2,
    tiles &[tile::<6, 2, 0>(), tile::<3, 3, 0>(), tile::<6, 1, 0>()], shuffle shuffle::registers::<Avx2>, burst 12
}
