//! Channels really moved into the order that a [`ChannelOrder`] describes.

use crate::backend::Kernels;
use crate::error::{Error, invalid};
use crate::isa::Isa;
use crate::micro::shuffle as micro;
use crate::order::ChannelOrder;
use crate::parallel::{Parallel, Serial, each_once, threads};
use crate::pointwise::{part, split};
use crate::simd::Pick;
use crate::view::{BLOCK, View, ViewMut};
use alloc::{vec, vec::Vec};

/// Pixels at a time: neighbouring blocks of the destination often gather from the same blocks, whose pixels are then
/// still in the first-level cache.
const STEP: usize = 64;

/// Copies a value so that channel `c` lies in slot `c`: what a network does that cannot read through an order, and
/// what the benchmarks compare the zero-copy shuffle against.
///
/// ```
/// use kernels::{ChannelOrder, Isa, Materialize, Shape, Tensor};
///
/// let op = Materialize::new(&ChannelOrder::identity(4).shuffle(2)?, Isa::best())?;
/// let src = Tensor::from_nchw(&[0.0, 1.0, 2.0, 3.0], Shape::new(4, 1, 1))?;
/// let mut dst = Tensor::zeros(src.shape());
/// op.run(src.view(), dst.view_mut());
/// assert_eq!(dst.to_nchw(), [0.0, 2.0, 1.0, 3.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct Materialize {
    kernels: &'static Kernels,
    /// Per destination register, what each source register gives.
    picks: Vec<Vec<Pick>>,
    channels: usize,
    src_slots: usize,
}

impl Materialize {
    /// Prepares to gather the channels of `order`.
    ///
    /// # Errors
    /// Where the order has no channel or the instruction set is not available.
    pub fn new(order: &ChannelOrder, isa: Isa) -> Result<Self, Error> {
        if order.channels() == 0 {
            return Err(invalid("order", "no channels"));
        }
        let kernels = crate::pack::Common { isa: Some(isa), ..Default::default() }.kernels()?;
        let lanes = kernels.lanes;
        let mut picks = vec![Vec::new(); order.channels().div_ceil(BLOCK) * BLOCK / lanes];
        for (picks, slots) in picks.iter_mut().zip(order.slots().chunks(lanes)) {
            for (lane, &slot) in slots.iter().enumerate() {
                let (first, index) = (slot as usize / lanes * lanes, slot % lanes as u32);
                let at = picks.iter().position(|pick: &Pick| pick.slot == first).unwrap_or_else(|| {
                    picks.push(Pick { index: [0; BLOCK], mask: [0; BLOCK], slot: first });
                    picks.len() - 1
                });
                picks[at].index[lane] = index;
                picks[at].mask[lane] = u32::MAX;
            }
        }
        Ok(Self { kernels, picks, channels: order.channels(), src_slots: order.width() })
    }

    /// Gathers `dst` from `src`, on this thread.
    ///
    /// # Panics
    /// Where `src` has fewer slots than the order needs, `dst` not exactly its channels, or the maps differ in size.
    pub fn run(&self, src: View<'_>, dst: ViewMut<'_>) {
        self.run_with(&Serial, src, dst);
    }

    /// As [`run`](Self::run), on the threads of `parallel`.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn run_with(&self, parallel: &dyn Parallel, src: View<'_>, mut dst: ViewMut<'_>) {
        let (from, to) = (src.shape(), dst.shape());
        assert!(
            (from.h, from.w) == (to.h, to.w) && from.c >= self.src_slots && to.c == self.channels,
            "shuffle of {} channels from {} slots: cannot run from {from} to {to}",
            self.channels,
            self.src_slots
        );
        let (registers, dst_block_stride) = (BLOCK / self.kernels.lanes, dst.block_stride());
        let target = crate::depthwise::Target(dst.data_mut().as_mut_ptr());
        let (across, along) = split(threads(parallel), to.blocks(), to.pixels());
        each_once(parallel, across * along, &|task| {
            let pixels = part(to.pixels(), along, task % along);
            for start in pixels.clone().step_by(STEP) {
                for block in part(to.blocks(), across, task / along) {
                    // SAFETY: every block that a pick names exists (slots were checked); pixels and block of the
                    // destination belong to this task alone.
                    unsafe {
                        (self.kernels.shuffle)(&micro::Shuffle {
                            src: src.data().as_ptr().add(start * BLOCK),
                            block_stride: src.block_stride(),
                            dst: target.at(block * dst_block_stride + start * BLOCK),
                            pixels: (pixels.end - start).min(STEP),
                            picks: &self.picks[block * registers..][..registers],
                        });
                    }
                }
            }
        });
    }
}
