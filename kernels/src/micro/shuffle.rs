//! Channels really moved: one block of the destination, gathered from the registers that hold its channels.

use crate::micro::unroll;
use crate::simd::{Permute, Pick, Simd};
use alloc::vec::Vec;

/// One destination block.
///
/// Contract: `picks` hold, for each register of the block, what each register of the source gives to it; `src` holds
/// every register that they name, in blocks `block_stride` apart of `pixels` pixels of sixteen floats each; `dst` holds
/// `pixels` pixels.
pub(crate) struct Shuffle<'a> {
    pub(crate) src: *const f32,
    pub(crate) block_stride: usize,
    pub(crate) dst: *mut f32,
    pub(crate) pixels: usize,
    pub(crate) picks: &'a [Vec<Pick>],
}

/// By permutations of registers.
///
/// # Safety
/// The contract of [`Shuffle`].
#[inline(always)]
pub(crate) unsafe fn registers<S: Permute>(s: S, args: &Shuffle<'_>) {
    for (index, picks) in args.picks.iter().enumerate() {
        // SAFETY: the contract of `Shuffle`; a block has as many registers as there are lists of picks.
        unsafe {
            let dst = args.dst.add(index * S::LANES);
            match picks.len() {
                0 => register::<S, 0>(s, args, picks, dst),
                1 => register::<S, 1>(s, args, picks, dst),
                2 => register::<S, 2>(s, args, picks, dst),
                3 => register::<S, 3>(s, args, picks, dst),
                4 => register::<S, 4>(s, args, picks, dst),
                _ => lanes_of_register(args, picks, dst, S::LANES),
            }
        }
    }
}

/// Lane by lane: the fastest there is without a permutation.
///
/// # Safety
/// The contract of [`Shuffle`].
#[inline(always)]
pub(crate) unsafe fn lanes<S: Simd>(_: S, args: &Shuffle<'_>) {
    for (index, picks) in args.picks.iter().enumerate() {
        // SAFETY: as in `registers`.
        unsafe { lanes_of_register(args, picks, args.dst.add(index * S::LANES), S::LANES) };
    }
}

/// Gathers one register per pixel from `N` others.
///
/// # Safety
/// The contract of [`Shuffle`] for the register at `dst`, which has `N` picks.
#[inline(always)]
unsafe fn register<S: Permute, const N: usize>(s: S, args: &Shuffle<'_>, picks: &[Pick], dst: *mut f32) {
    // SAFETY: the caller's. The picks are in registers before the first store, which might overwrite them for all that
    // the compiler knows. (Zero in every bit is a valid vector or mask.)
    unsafe {
        let mut src = [args.src; N];
        let mut pick: [S::Pick; N] = core::mem::zeroed();
        unroll!(i < N, {
            src[i] = args.src.add(picks[i].slot / 16 * args.block_stride + picks[i].slot % 16);
            pick[i] = s.pick(&picks[i]);
        });
        for pixel in 0..args.pixels {
            let mut v = s.splat(0.0);
            unroll!(i < N, { v = s.merge(v, s.load(src[i].add(pixel * 16)), pick[i]) });
            s.store(v, dst.add(pixel * 16));
        }
    }
}

/// Copies lane by lane, also for orders that scatter wildly.
///
/// # Safety
/// As [`register`].
#[inline(always)]
unsafe fn lanes_of_register(args: &Shuffle<'_>, picks: &[Pick], dst: *mut f32, lanes: usize) {
    // Lanes behind the last channel get copies of the first slot: nobody reads them.
    let mut offsets = [0; 16];
    for pick in picks {
        for lane in (0..lanes).filter(|&lane| pick.mask[lane] != 0) {
            offsets[lane] = pick.slot / 16 * args.block_stride + pick.slot % 16 + pick.index[lane] as usize;
        }
    }
    for pixel in 0..args.pixels {
        for (lane, offset) in offsets[..lanes].iter().enumerate() {
            // SAFETY: the caller's.
            unsafe { *dst.add(pixel * 16 + lane) = *args.src.add(pixel * 16 + offset) };
        }
    }
}
