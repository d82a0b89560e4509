//! Channels really moved: one block of the destination, gathered from the blocks that hold its channels.

use crate::simd::{Pick, Simd};

/// One destination block.
///
/// Contract: `src` holds every block that `picks` name, `block_stride` apart, `pixels` pixels of sixteen floats
/// each; `offsets` are elements from a pixel of block 0 to each lane's source; `dst` holds `pixels` pixels.
pub(crate) struct Shuffle<'a> {
    pub(crate) src: *const f32,
    pub(crate) block_stride: usize,
    pub(crate) dst: *mut f32,
    pub(crate) pixels: usize,
    pub(crate) picks: &'a [Pick],
}

/// # Safety
/// The contract of [`Shuffle`].
#[inline(always)]
pub(crate) unsafe fn run<S: Simd>(s: S, args: &Shuffle<'_>) {
    // SAFETY: the contract of `Shuffle`.
    unsafe {
        if S::PERMUTES {
            for pixel in 0..args.pixels {
                let mut block = s.zero_block();
                for pick in args.picks {
                    block = s.merge(block, args.src.add(pick.block * args.block_stride + pixel * 16), pick);
                }
                s.store_block(block, args.dst.add(pixel * 16));
            }
        } else {
            // Without a permutation a scalar copy per lane is the fastest there is.
            let mut offsets = [0; 16];
            for pick in args.picks {
                for (lane, offset) in offsets.iter_mut().enumerate() {
                    if pick.mask >> lane & 1 == 1 {
                        *offset = pick.block * args.block_stride + pick.index[lane] as usize;
                    }
                }
            }
            for pixel in 0..args.pixels {
                for (lane, offset) in offsets.iter().enumerate() {
                    *args.dst.add(pixel * 16 + lane) = *args.src.add(pixel * 16 + offset);
                }
            }
        }
    }
}
