//! The matrix product behind 1x1, dense and fully connected layers.
//!
//! ```text
//! for each tile of MR pixels:                          src: one float per pixel and k, found through a table
//!     acc[MR][NV] = bias (or what dst holds)
//!     for k in 0..kc:
//!         x = src + offsets[k]                         one table entry per k: any channel order, any tap
//!         w[NV] = panel[k]                             NV registers of output channels, packed in this order
//!         for m in 0..MR: acc[m][..] += x[m * STEP] * w[..]
//!     dst[pixel][channel] = clamp(acc + residual)
//! ```
//!
//! 1. `STEP`, the distance between pixels, is a constant, so the MR broadcasts of one k are one base register and
//!    MR displacements; with a run-time step LLVM hoists addresses until the accumulators spill.
//! 2. The table makes split, concat and shuffle free: the k-th input channel may lie anywhere.
//! 3. Weights are packed per panel in the order they are read and zero-padded to whole registers: loads have no tails.
//!    A panel may end in a register half as wide, so that 24 or 232 channels do not pay for 32 or 240.
//!    Loops over registers are unrolled by macro (`unroll!`): left to LLVM, some tiles kept their sums in memory.
//! 4. Pixels are dealt to tiles evenly (36 pixels are six tiles of 6, not five of 7 and one of 1).
//! 5. Each output is one chain of multiply-adds over k in order, whatever the tile: results do not depend on how
//!    the work is cut.
//! 6. While the first tiles of a panel run, a line or two per k of what will be read next (the next panel) are fetched
//!    into the second-level cache.

use crate::micro::activation::Bounds;
use crate::micro::unroll;
use crate::simd::Simd;

/// Elements from one pixel of the source to the next, among those the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PixelStep {
    /// Blocked, every pixel: 16.
    Blocked,
    /// Blocked, every other pixel: 32.
    Blocked2,
    /// Planar, every pixel: 1.
    Planar,
    /// Planar, every other pixel: 2.
    Planar2,
    /// Blocked, every fourth pixel: 64.
    Blocked4,
    /// Planar, every fourth pixel: 4.
    Planar4,
    /// As many as [`Gemm::src_step`] says, and pixels of the destination as far apart as `dst_step` says.
    Any,
}

impl PixelStep {
    pub(crate) const COUNT: usize = 7;

    /// The constant for pixels `step` apart, if there is one. Of these, only `Blocked` has tiles of every height; the others
    /// are used where `fills`: where full tiles leave (nearly) no pixel.
    pub(crate) fn of(step: usize, fills: bool) -> Self {
        match step {
            16 => Self::Blocked,
            32 if fills => Self::Blocked2,
            1 if fills => Self::Planar,
            2 if fills => Self::Planar2,
            64 if fills => Self::Blocked4,
            4 if fills => Self::Planar4,
            _ => Self::Any,
        }
    }
}

/// One panel of output channels over a run of pixels.
///
/// Contract: for each `k < kc` and `pixel < pixels`, `src + offsets[k] + pixel * STEP` is readable; a row of the panel
/// is the registers of the tile; `weights` holds `kc` rows and `bias` one; `dst` (and `residual`, unless null) hold, for
/// each register of the panel and each pixel, its lanes where `place` says; `bounds` are readable.
pub(crate) struct Gemm {
    pub(crate) src: *const f32,
    pub(crate) offsets: *const u32,
    pub(crate) kc: usize,
    pub(crate) pixels: usize,
    pub(crate) weights: *const f32,
    pub(crate) bias: *const f32,
    /// Null, or laid out like `dst`.
    pub(crate) residual: *const f32,
    pub(crate) residual_block_stride: usize,
    /// The block in which the panel begins, at its first pixel.
    pub(crate) dst: *mut f32,
    pub(crate) dst_block_stride: usize,
    /// The lane of that block at which it begins, a multiple of the lanes of a register.
    pub(crate) lane: usize,
    /// Elements from one pixel to the next, of the source and of `dst` and `residual`; constants stand in for them unless `STEP`
    /// is 0.
    pub(crate) src_step: usize,
    pub(crate) dst_step: usize,
    /// Whether sums begin at `bias`, or at what `dst` holds.
    pub(crate) first: bool,
    /// Whether `residual` and `bounds` apply.
    pub(crate) last: bool,
    pub(crate) bounds: *const Bounds,
    /// What will be read next.
    pub(crate) prefetch: [Upcoming; 2],
}

/// Lines that will be read soon; never dereferenced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upcoming {
    pub(crate) at: *const f32,
    pub(crate) lines: usize,
}

impl Upcoming {
    pub(crate) const NOTHING: Self = Self { at: core::ptr::null(), lines: 0 };

    /// The first `lines` of them, which are no longer among these.
    pub(crate) fn take(&mut self, lines: usize) -> Self {
        let taken = Self { at: self.at, lines: lines.min(self.lines) };
        *self = Self { at: self.at.wrapping_add(16 * taken.lines), lines: self.lines - taken.lines };
        taken
    }
}

/// Lines fetched per k at most: a k takes some twenty cycles, in which three lines can come from the third-level cache.
/// As few as are enough spread the load on memory.
const LINES_PER_K: usize = 3;

/// Where the register at lane `lane`, counted from the beginning of a block, lies for the `m`-th of pixels `step` apart.
#[inline(always)]
fn place((m, step): (usize, usize), lane: usize, block_stride: usize) -> usize {
    m * step + lane / 16 * block_stride + lane % 16
}

/// The product by tiles of `MR` pixels and `NV` registers, behind which `H` (none or one) of half the lanes may follow.
///
/// # Safety
/// The contract of [`Gemm`].
#[inline(always)]
pub(crate) unsafe fn run<S: Simd, const MR: usize, const NV: usize, const H: usize, const STEP: usize>(
    s: S,
    args: &Gemm,
) {
    let tiles = args.pixels.div_ceil(MR);
    if tiles == 0 {
        return;
    }
    // Only the blocked layout, where nearly all the work is, and any step have a tile for every height. The others end in a tile that
    // does pixels of the one before again, or, where sums were begun elsewhere, take their last pixels one by one.
    let every_height = const { STEP == 16 || STEP == 0 };
    let (least, longer) = (args.pixels / tiles, args.pixels % tiles);
    let mut pixel = 0;
    let mut tile_index = 0;
    let [mut upcoming, mut later] = args.prefetch;
    let per_k = (upcoming.lines + later.lines).div_ceil((tiles * args.kc).max(1)).clamp(1, LINES_PER_K);
    while pixel < args.pixels {
        let rows = if every_height {
            least + usize::from(tile_index < longer)
        } else if args.pixels - pixel >= MR {
            MR
        } else if args.first && args.pixels >= MR {
            pixel = args.pixels - MR;
            MR
        } else {
            1
        };
        if upcoming.lines == 0 {
            (upcoming, later) = (later, Upcoming::NOTHING);
        }
        let fetch = if upcoming.lines > 0 { upcoming.at } else { core::ptr::null() };
        let fetched = upcoming.lines.min(per_k * args.kc);
        upcoming = Upcoming { at: upcoming.at.wrapping_add(16 * fetched), lines: upcoming.lines - fetched };
        // SAFETY: handed on; `pixel + rows` never exceeds `pixels`.
        unsafe {
            match rows {
                1 => tile::<S, 1, NV, H, STEP>(s, args, pixel, (fetch, per_k)),
                2 if every_height => tile::<S, 2, NV, H, STEP>(s, args, pixel, (fetch, per_k)),
                3 if MR == 3 || MR > 3 && every_height => {
                    tile::<S, 3, NV, H, STEP>(s, args, pixel, (fetch, per_k))
                }
                4 if MR == 4 || MR > 4 && every_height => {
                    tile::<S, 4, NV, H, STEP>(s, args, pixel, (fetch, per_k))
                }
                5 if MR == 5 || MR > 5 && every_height => {
                    tile::<S, 5, NV, H, STEP>(s, args, pixel, (fetch, per_k))
                }
                6 if MR == 6 || MR > 6 && every_height => {
                    tile::<S, 6, NV, H, STEP>(s, args, pixel, (fetch, per_k))
                }
                7 if MR == 7 => tile::<S, 7, NV, H, STEP>(s, args, pixel, (fetch, per_k)),
                _ => unreachable!("tiles are at most the table's height"),
            }
        }
        pixel += rows;
        tile_index += 1;
    }
}

/// Where a tile is stored: its first pixel, the step from pixel to pixel and from block to block.
///
/// # Safety
/// The contract of [`Gemm`].
#[inline(always)]
unsafe fn destination<const STEP: usize>(args: &Gemm, pixel: usize) -> (*mut f32, usize, usize) {
    // (Volatile, or LLVM computes the addresses of all pixels before the loop, and keeps them in registers that it needs.)
    // SAFETY: `args` is a reference.
    let step = if STEP == 0 { unsafe { core::ptr::read_volatile(&args.dst_step) } } else { 16 };
    (args.dst.wrapping_add(pixel * step), step, args.dst_block_stride)
}

/// `fetch` is where to fetch from (null: nothing), and lines per k.
#[inline(always)]
unsafe fn tile<S: Simd, const MR: usize, const NV: usize, const H: usize, const STEP: usize>(
    s: S,
    args: &Gemm,
    pixel: usize,
    (mut fetch, per_k): (*const f32, usize),
) {
    let h = s.half();
    let row = NV * S::LANES + H * <S::Half as Simd>::LANES;
    // A register that is a block begins where the block does.
    let first = if S::LANES == 16 { 0 } else { args.lane };
    // SAFETY: the contract of `Gemm`, for the MR pixels from `pixel` on. Registers may be zeroed: `Simd` demands it.
    unsafe {
        // Before the image where the first tap is padding; only what is read has to exist.
        let step = if STEP == 0 { args.src_step } else { STEP };
        let src = args.src.wrapping_add(pixel * step);
        let mut acc: [[S::F32; NV]; MR] = core::mem::zeroed();
        let mut tail: [[<S::Half as Simd>::F32; H]; MR] = core::mem::zeroed();
        if args.first {
            unroll!(v < NV, {
                let bias = s.load(args.bias.add(v * S::LANES));
                unroll!(m < MR, { acc[m][v] = bias });
            });
            unroll!(v < H, {
                let bias = h.load(args.bias.add(NV * S::LANES));
                unroll!(m < MR, { tail[m][v] = bias });
            });
        } else {
            let (dst, step, stride) = destination::<STEP>(args, pixel);
            unroll!(m < MR, {
                unroll!(v < NV, {
                    acc[m][v] = s.load(dst.add(place((m, step), first + v * S::LANES, stride)))
                });
                unroll!(v < H, {
                    tail[m][v] = h.load(dst.add(place((m, step), first + NV * S::LANES, stride)))
                });
            });
        }
        let mut weights = args.weights;
        let mut offsets = args.offsets;
        let end = offsets.add(args.kc);
        let mut w: [S::F32; NV] = core::mem::zeroed();
        let mut w_tail: [<S::Half as Simd>::F32; H] = core::mem::zeroed();
        while offsets != end {
            let x = src.wrapping_add(*offsets as usize);
            offsets = offsets.add(1);
            unroll!(v < NV, { w[v] = s.load(weights.add(v * S::LANES)) });
            unroll!(v < H, { w_tail[v] = h.load(weights.add(NV * S::LANES)) });
            weights = weights.add(row);
            if !fetch.is_null() {
                // Where fewer are enough, some of them more than once.
                s.prefetch(fetch);
                s.prefetch(fetch.wrapping_add(16));
                fetch = fetch.wrapping_add(16 * per_k);
                s.prefetch(fetch.wrapping_sub(16));
            }
            unroll!(m < MR, {
                let x = x.add(m * step);
                let (x, x_tail) = if H > 0 { s.splat_pair(x) } else { (s.splat(*x), h.splat(*x)) };
                unroll!(v < NV, { acc[m][v] = s.mul_add(x, w[v], acc[m][v]) });
                unroll!(v < H, { tail[m][v] = h.mul_add(x_tail, w_tail[v], tail[m][v]) });
            });
        }
        let (dst, step, stride) = destination::<STEP>(args, pixel);
        if args.last {
            if !args.residual.is_null() {
                let (residual, stride) = (args.residual.add(pixel * step), args.residual_block_stride);
                unroll!(m < MR, {
                    unroll!(v < NV, {
                        let at = place((m, step), first + v * S::LANES, stride);
                        acc[m][v] = s.add(acc[m][v], s.load(residual.add(at)));
                    });
                    unroll!(v < H, {
                        let at = place((m, step), first + NV * S::LANES, stride);
                        tail[m][v] = h.add(tail[m][v], h.load(residual.add(at)));
                    });
                });
            }
            if let Some(low) = Bounds::low(args.bounds) {
                unroll!(m < MR, {
                    unroll!(v < NV, { acc[m][v] = s.max(s.splat(low), acc[m][v]) });
                    unroll!(v < H, { tail[m][v] = h.max(h.splat(low), tail[m][v]) });
                });
            }
            if let Some(high) = Bounds::high(args.bounds) {
                unroll!(m < MR, {
                    unroll!(v < NV, { acc[m][v] = s.min(s.splat(high), acc[m][v]) });
                    unroll!(v < H, { tail[m][v] = h.min(h.splat(high), tail[m][v]) });
                });
            }
        }
        unroll!(m < MR, {
            unroll!(v < NV, { s.store(acc[m][v], dst.add(place((m, step), first + v * S::LANES, stride))) });
            unroll!(v < H, { h.store(tail[m][v], dst.add(place((m, step), first + NV * S::LANES, stride))) });
        });
    }
}
