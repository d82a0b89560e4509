//! Normalisation over the channels of each pixel.
//!
//! ```text
//! for each tile of T pixels:
//!     mean = sum over blocks of x, then over lanes, / channels
//!     variance = sum over blocks of (x - mean)^2, then over lanes, / channels
//!     dst = (x - mean) / sqrt(variance + eps) * gamma + beta
//! ```
//!
//! The tile's lines are read three times, from the first-level cache after the first. Lanes of no channel are masked.

use crate::micro::unroll;
use crate::simd::Simd;

/// Pixels of a tile: enough chains of additions to hide their latency.
const TILE: usize = 4;

/// Some pixels of all channels.
///
/// Contract: for each of `blocks`, `src` holds `pixels` pixels of sixteen floats so many block strides on, `dst` as many in its
/// next block, and `packed` 48 floats: a mask of all bits for each lane of a channel and none for the others, gamma, beta.
pub(crate) struct LayerNorm<'a> {
    pub(crate) src: *const f32,
    pub(crate) src_block_stride: usize,
    pub(crate) blocks: &'a [u32],
    pub(crate) dst: *mut f32,
    pub(crate) dst_block_stride: usize,
    pub(crate) pixels: usize,
    pub(crate) packed: *const f32,
    pub(crate) channels: f32,
    pub(crate) eps: f32,
}

/// # Safety
/// The contract of [`LayerNorm`].
#[inline(always)]
pub(crate) unsafe fn layer_norm<S: Simd>(s: S, args: &LayerNorm<'_>) {
    let mut pixel = 0;
    // SAFETY: handed on.
    unsafe {
        while pixel + TILE <= args.pixels {
            tile::<S, TILE>(s, args, pixel);
            pixel += TILE;
        }
        while pixel < args.pixels {
            tile::<S, 1>(s, args, pixel);
            pixel += 1;
        }
    }
}

/// # Safety
/// The contract of [`LayerNorm`], for the `T` pixels from `pixel` on.
#[inline(always)]
unsafe fn tile<S: Simd, const T: usize>(s: S, args: &LayerNorm<'_>, pixel: usize) {
    // SAFETY: the contract of `LayerNorm`. Registers may be zeroed: `Simd` demands it.
    unsafe {
        let (src, share) = (args.src.add(pixel * 16), s.splat(1.0 / args.channels));
        let mut sums: [S::F32; T] = core::mem::zeroed();
        for (i, &block) in args.blocks.iter().enumerate() {
            let src = src.add(block as usize * args.src_block_stride);
            for lane in (0..16).step_by(S::LANES) {
                let mask = s.load(args.packed.add(i * 48 + lane));
                unroll!(t < T, { sums[t] = s.add(sums[t], s.keep(s.load(src.add(t * 16 + lane)), mask)) });
            }
        }
        // Its negative, to be added.
        let mut mean: [S::F32; T] = core::mem::zeroed();
        unroll!(t < T, { mean[t] = s.mul(s.sum_lanes(sums[t]), s.mul(share, s.splat(-1.0))) });
        let mut squares: [S::F32; T] = core::mem::zeroed();
        for (i, &block) in args.blocks.iter().enumerate() {
            let src = src.add(block as usize * args.src_block_stride);
            for lane in (0..16).step_by(S::LANES) {
                let mask = s.load(args.packed.add(i * 48 + lane));
                unroll!(t < T, {
                    let x = s.keep(s.add(s.load(src.add(t * 16 + lane)), mean[t]), mask);
                    squares[t] = s.mul_add(x, x, squares[t]);
                });
            }
        }
        let mut scale: [S::F32; T] = core::mem::zeroed();
        unroll!(t < T, {
            let variance = s.mul_add(s.sum_lanes(squares[t]), share, s.splat(args.eps));
            scale[t] = s.div(s.splat(1.0), s.sqrt(variance));
        });
        for (i, &block) in args.blocks.iter().enumerate() {
            let src = src.add(block as usize * args.src_block_stride);
            let dst = args.dst.add(i * args.dst_block_stride + pixel * 16);
            for lane in (0..16).step_by(S::LANES) {
                let gamma = s.load(args.packed.add(i * 48 + 16 + lane));
                let beta = s.load(args.packed.add(i * 48 + 32 + lane));
                unroll!(t < T, {
                    let x = s.mul(s.add(s.load(src.add(t * 16 + lane)), mean[t]), scale[t]);
                    s.store(s.mul_add(x, gamma, beta), dst.add(t * 16 + lane));
                });
            }
        }
    }
}
