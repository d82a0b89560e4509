//! The vector vocabulary that the inner loops are written in.
//!
//! A type that implements [`Simd`] is a token: whoever holds one has proven that the instructions it stands for may
//! run. Arithmetic is therefore safe, and only access through pointers is not. Every method, and every generic
//! function between a backend's wrapper and these methods, must be `#[inline(always)]`: otherwise its body is
//! compiled without the instruction set's features, and each operation becomes a call.

/// One instruction set's vectors of `f32`.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// A register of [`LANES`](Self::LANES) floats; zero in every bit is a valid one.
    type F32: Copy;
    /// Floats per register; divides 16.
    const LANES: usize;
    /// Whether [`mul_add`](Self::mul_add) rounds once.
    const FUSED: bool;
    /// The token of registers half as wide, for the last few channels; `Self` where there is nothing to gain.
    type Half: Simd;

    fn half(self) -> Self::Half;
    fn splat(self, x: f32) -> Self::F32;
    /// The number at `x` in every lane of a register and of half a register, fetched once.
    ///
    /// # Safety
    /// A float readable at `x`.
    #[inline(always)]
    unsafe fn splat_pair(self, x: *const f32) -> (Self::F32, <Self::Half as Simd>::F32) {
        // SAFETY: the caller's.
        let x = unsafe { *x };
        (self.splat(x), self.half().splat(x))
    }
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b + c`, rounded once where the instruction set can.
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `v * 2^n` for `v` in `[0.5, 2)` and whole `n` in `[-125, 126]`, given as `n + ROUND`.
    fn scale_by_power(self, v: Self::F32, rounded: Self::F32) -> Self::F32;
    fn sqrt(self, v: Self::F32) -> Self::F32;
    /// The sum of all lanes, in every lane; the order depends on the instruction set alone.
    fn sum_lanes(self, v: Self::F32) -> Self::F32;
    /// The bits of `v` that are set in `mask`.
    fn keep(self, v: Self::F32, mask: Self::F32) -> Self::F32;
    /// The greater; `b` where `b` is NaN.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The lesser; `b` where `b` is NaN.
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The greater; NaN where either is.
    fn max_or_nan(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The greatest; NaN where any is.
    #[inline(always)]
    fn max3_or_nan(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        self.max_or_nan(self.max_or_nan(a, b), c)
    }

    /// # Safety
    /// `LANES` floats readable at `src`.
    unsafe fn load(self, src: *const f32) -> Self::F32;
    /// # Safety
    /// `LANES` floats writable at `dst`.
    unsafe fn store(self, v: Self::F32, dst: *mut f32);
    /// Fetches the line at `src` towards the second-level cache; a hint that may point anywhere.
    fn prefetch(self, src: *const f32);
}

/// `1.5 * 2^23`. Added to a small number, it rounds it to a whole one, which then lies in the last bits.
pub(crate) const ROUND: f32 = 12_582_912.0;

/// Registers as rows of quads (four neighbouring floats), of which quads from several places are put together: what turns
/// planes of pixels into lines of channels and back.
pub(crate) trait Quads: Simd {
    /// Quad `i` from `src + i * stride`.
    ///
    /// # Safety
    /// Four floats readable at each.
    unsafe fn gather(self, src: *const f32, stride: usize) -> Self::F32;
    /// Quad `i` to `dst + i * stride`.
    ///
    /// # Safety
    /// Four floats writable at each.
    unsafe fn scatter(self, v: Self::F32, dst: *mut f32, stride: usize);
    /// In each quad, float `j` of register `i` becomes float `i` of register `j`.
    fn transpose(self, rows: [Self::F32; 4]) -> [Self::F32; 4];
}

/// Lanes moved at will, where the instruction set can.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(crate) trait Permute: Simd {
    /// A [`Pick`] in registers.
    type Pick: Copy;

    fn pick(self, pick: &Pick) -> Self::Pick;
    /// Lane `l` becomes `src[pick.index[l]]` where `pick.mask[l]` is set, and keeps its value elsewhere.
    fn merge(self, v: Self::F32, src: Self::F32, pick: Self::Pick) -> Self::F32;
}

/// What one register of the source gives to one register of the destination.
#[derive(Clone, Debug)]
pub(crate) struct Pick {
    /// For each lane of the destination, the lane of the source; of either, the first `LANES` count.
    pub(crate) index: [u32; 16],
    /// All bits set for the lanes of the destination that this register fills, and none for others.
    pub(crate) mask: [u32; 16],
    /// The first slot of the source register.
    pub(crate) slot: usize,
}
