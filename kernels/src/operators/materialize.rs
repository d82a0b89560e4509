//! Channels really moved into the order that a [`ChannelOrder`] describes.

use crate::backend::Kernels;
use crate::error::{Error, expect_fit, invalid};
use crate::micro::shuffle as micro;
use crate::operators::call::{Call, output_shape, runs};
use crate::operators::options::{Options, setters};
use crate::simd::Pick;
use crate::tensor::order::ChannelOrder;
use crate::tensor::shape::{BLOCK, Shape};
use crate::tensor::view::{View, ViewMut};
use crate::threads::share::{Target, grid};
use alloc::{format, vec, vec::Vec};

/// Pixels at a time: neighbouring blocks of the destination often gather from the same blocks, whose pixels are then
/// still in the first-level cache.
const STEP: usize = 64;

/// Copies a value so that channel `c` lies in slot `c`: what a network does that cannot read through an order, and
/// what the benchmarks compare the zero-copy shuffle against.
///
/// ```
/// use kernels::{ChannelOrder, Materialize, Shape, Tensor};
///
/// let op = Materialize::builder(&ChannelOrder::identity(4).shuffle(2)?).build()?;
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

/// Collects what a [`Materialize`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct MaterializeBuilder<'a> {
    order: &'a ChannelOrder,
    options: Options<'static>,
}

impl MaterializeBuilder<'_> {
    setters!(isa);

    /// Prepares to gather the channels of the order.
    ///
    /// # Errors
    /// Where the order has no channel, or `KERNELS_ISA` is wrong.
    pub fn build(self) -> Result<Materialize, Error> {
        let order = self.order;
        if order.channels() == 0 {
            return Err(invalid("order", "no channels"));
        }
        let kernels = self.options.kernels()?;
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
        Ok(Materialize { kernels, picks, channels: order.channels(), src_slots: order.width() })
    }
}

runs!(Materialize(src: View<'_>, dst: ViewMut<'_>));
output_shape!(Materialize);

impl Materialize {
    /// Begins to gather the channels of `order`.
    pub fn builder(order: &ChannelOrder) -> MaterializeBuilder<'_> {
        MaterializeBuilder { order, options: Options::default() }
    }

    /// The shape of the destination: the order's channels.
    ///
    /// # Errors
    /// Where `src` has fewer slots than the order names.
    pub fn try_output_shape(&self, src: Shape) -> Result<Shape, Error> {
        let shape = Shape { c: self.channels, ..src };
        self.check(src, shape)?;
        src.try_len()?;
        shape.try_len().map(|_| shape)
    }

    /// Whether the operator runs from `src` to `dst`.
    ///
    /// # Errors
    /// Where `src` has fewer slots than the order names, `dst` not exactly its channels, or the two differ in height or
    /// width.
    pub fn check(&self, src: Shape, dst: Shape) -> Result<(), Error> {
        let Self { channels, src_slots, .. } = self;
        expect_fit((src.h, src.w) == (dst.h, dst.w) && src.c >= *src_slots && dst.c == *channels, || {
            format!("shuffle of {channels} channels from {src_slots} slots: cannot run from {src} to {dst}")
        })
    }

    fn compute(call: Call<'_, Self>, src: View<'_>, mut dst: ViewMut<'_>) -> Result<(), Error> {
        let (op, to) = (call.op, dst.shape());
        op.check(src.shape(), to)?;
        let registers = BLOCK / op.kernels.lanes;
        let target = Target::new(&mut dst);
        grid(call.parallel, to.blocks(), to.pixels(), &|blocks, pixels| {
            for start in pixels.clone().step_by(STEP) {
                for block in blocks.clone() {
                    // SAFETY: every block that a pick names exists (slots were checked); pixels and block of the
                    // destination belong to this task alone.
                    unsafe {
                        (op.kernels.shuffle)(&micro::Shuffle {
                            src: src.at(0, start),
                            block_stride: src.block_stride(),
                            dst: target.at(block, start),
                            pixels: (pixels.end - start).min(STEP),
                            picks: &op.picks[block * registers..][..registers],
                        });
                    }
                }
            }
        });
        Ok(())
    }
}
