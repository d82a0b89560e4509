//! 1x1 convolution.
//!
//! Each output pixel is a matrix times the channels of one input pixel. Registers of output channels that read the same
//! inputs form panels; the panels' inputs are sorted by where they lie, and found through a table of offsets, so that the
//! source may be split, concatenated and shuffled without having been moved. Work is cut into panels and runs of pixels.

use crate::activation::Activation;
use crate::error::Error;
use crate::micro::gemm::{PixelStep, Upcoming};
use crate::operators::call::{Call, maps, residual, runs};
use crate::operators::filters::{Channels, Filters};
use crate::operators::options::builder;
use crate::pack::{Packed, Product};
use crate::tensor::{BLOCK, ChannelOrder, Shape, View, ViewMut, extent};
use crate::threads::share::{Target, grid, part};
use alloc::vec::Vec;
use core::ops::Range;

/// Input channels per pass over the pixels; longer sums are parked in `dst` between passes. It bounds the table of
/// offsets, which lives on the stack, and the panel of weights, which should stay in the first two cache levels.
const KC: usize = 512;

/// 1x1 convolution with bias, folded batch normalisation, activation and an optional residual in its epilogue.
///
/// `dst[o] = activation(sum over i of weights[o][i] * src[i] + bias[o] (+ residual[o]))`, where `i` runs over the
/// input channels of `o`'s group. Input channels are read through a [`ChannelOrder`], so the source may be split,
/// concatenated and shuffled without having been moved; outputs are written through another.
///
/// ```
/// use kernels::{Activation, ChannelOrder, Pointwise, Shape, Tensor};
///
/// // Two groups of two channels each, read from the odd channels of a buffer, ReLU behind.
/// let odd = ChannelOrder::from_slots(vec![1, 3, 5, 7]);
/// let weights = [1.0, 1.0, 1.0, -1.0]; // two rows of two inputs
/// let op = Pointwise::builder(4, 2).groups(2).input_order(&odd).activation(Activation::Relu).build(&weights)?;
/// let src = Tensor::from_nchw(&[0.0, 1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 4.0], Shape::new(8, 1, 1))?;
/// let mut dst = Tensor::zeros(Shape::new(2, 1, 1));
/// op.run(src.view(), dst.view_mut());
/// assert_eq!(dst.to_nchw(), [3.0, 0.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct Pointwise {
    filters: Filters,
    activation: Activation,
    ic: usize,
    oc: usize,
    src_slots: usize,
    dst_slots: usize,
    /// Whether channel `o` lies in slot `o` of the destination.
    dense: bool,
}

builder!(
    Pointwise,
    PointwiseBuilder<'a>(ic: usize, oc: usize),
    bias batch_norm activation isa groups input_order output_order
);

impl PointwiseBuilder<'_> {
    /// Packs `weights`, `oc` rows of `ic / groups` numbers.
    ///
    /// # Errors
    /// Where channels, groups or orders do not fit each other, a slice has the wrong length, or `KERNELS_ISA` is wrong.
    pub fn build(self, weights: &[f32]) -> Result<Pointwise, Error> {
        let Self { ic, oc, options } = self;
        let channels = Channels::new(ic, oc, &options, 1, weights.len())?;
        let row = channels.ic / channels.groups;
        Ok(Pointwise {
            filters: Filters::pack(&channels, 1, &options, |o, i, _| weights[o * row + i])?,
            activation: options.activation,
            ic,
            oc,
            src_slots: channels.src_slots(),
            dst_slots: channels.dst_slots(),
            dense: channels.output.is_none_or(ChannelOrder::is_identity),
        })
    }
}

runs!(Pointwise(src: View<'_>, dst: ViewMut<'_>));
maps!(Pointwise, at_least, "pointwise from {} to {} slots", src_slots, dst_slots);
residual!(Pointwise);

impl Pointwise {
    /// Input channels.
    pub fn ic(&self) -> usize {
        self.ic
    }

    /// Output channels.
    pub fn oc(&self) -> usize {
        self.oc
    }

    /// Slots, height and width of the destination; it may have more slots.
    ///
    /// # Errors
    /// Where `src` has fewer slots than the input order names, a side of zero, or 2^32 elements or more.
    pub fn try_output_shape(&self, src: Shape) -> Result<Shape, Error> {
        src.try_len()?;
        extent::expect_offsets(src.reach(src.block_stride()), src)?;
        match src.c >= self.src_slots {
            true => Ok(Shape { c: self.dst_slots, ..src }),
            false => Err(self.misfit(format_args!("{src}"))),
        }
    }

    fn compute(call: Call<'_, Self>, src: View<'_>, mut dst: ViewMut<'_>) -> Result<(), Error> {
        let (op, to) = (call.op, dst.shape());
        op.check(src.shape(), to)?;
        extent::expect_offsets(src.shape().reach(src.block_stride()), src.shape())?;
        call.expect_residual(to)?;
        let (pixels, mr) = (to.pixels(), op.filters.packed.kernels.tiles[0].mr);
        let job = Job { op, src, residual: call.residual, dst: Target::new(&mut dst), first_block: 0 };
        grid(call.parallel, op.filters.packed.panels.len(), pixels.div_ceil(mr), &|panels, tiles| {
            let run = (tiles.start * mr).min(pixels)..(tiles.end * mr).min(pixels);
            // SAFETY: shapes were checked above; tasks write disjoint panels or disjoint pixels.
            unsafe { job.run(panels, run, Upcoming::NOTHING) };
        });
        Ok(())
    }

    /// Whether channels are written in order, without gaps.
    pub(crate) fn is_dense(&self) -> bool {
        self.dense
    }

    /// The packed weights.
    pub(crate) fn packed(&self) -> &Packed {
        &self.filters.packed
    }

    /// Cuts the panels into runs of at least `slots` output slots, whole blocks each; with the first slot of each.
    pub(crate) fn chunks(&self, slots: usize) -> Vec<(Range<usize>, usize)> {
        let mut chunks: Vec<(Range<usize>, usize)> = Vec::new();
        for (index, panel) in self.filters.packed.panels.iter().enumerate() {
            match chunks.last_mut() {
                Some((panels, first)) if panel.slot < *first + slots || panel.slot % BLOCK != 0 => {
                    panels.end = index + 1;
                }
                _ => chunks.push((index..index + 1, panel.slot)),
            }
        }
        chunks
    }

    /// Computes some panels, which begin with a block, into the first blocks of `dst`, and fetches `after` meanwhile.
    ///
    /// # Panics
    /// Where `dst` is too short or the source does not fit.
    pub(crate) fn run_chunk(&self, src: View<'_>, panels: Range<usize>, dst: &mut [f32], after: Upcoming) {
        let (from, stride) = (src.shape(), src.shape().block_stride());
        let first = self.filters.packed.panels[panels.start].slot;
        let end = self.filters.packed.panels.get(panels.end).map_or(self.dst_slots, |panel| panel.slot);
        let needed = extent::product([(end - first).div_ceil(BLOCK), stride]);
        assert!(needed.is_some_and(|needed| dst.len() >= needed), "{} elements for a chunk", dst.len());
        self.try_output_shape(from)
            .and_then(|_| extent::expect_offsets(from.reach(src.block_stride()), from))
            .unwrap_or_else(|error| panic!("{error}"));
        let dst = Target::of(dst, stride);
        let job = Job { op: self, src, residual: None, dst, first_block: first / BLOCK };
        // SAFETY: the source's slots and the destination's blocks from `first` on were checked; only they are touched.
        unsafe { job.run(panels, 0..from.pixels(), after) };
    }
}

/// One call's memory, shared by its tasks.
struct Job<'a> {
    op: &'a Pointwise,
    src: View<'a>,
    residual: Option<View<'a>>,
    dst: Target<'a>,
    /// The block of the output with which `dst` begins.
    first_block: usize,
}

impl Job<'_> {
    /// # Safety
    /// Source and destination were checked to hold the slots of these panels and these pixels, and no one else touches
    /// these panels' pixels of the destination.
    unsafe fn run(&self, panels: Range<usize>, pixels: Range<usize>, after: Upcoming) {
        let Self { op, src, dst, .. } = self;
        let packed = &op.filters.packed;
        let block_stride = src.block_stride();
        let (residual, residual_block_stride) = match &self.residual {
            None => (core::ptr::null(), 0),
            Some(view) => (view.at(0, pixels.start), view.block_stride()),
        };
        let to = dst.at(0, pixels.start).wrapping_sub(self.first_block * dst.block_stride());
        let epilogue = packed.kernels.epilogue(op.activation);
        let mut offsets = [0u32; KC];
        let mut filled = 0..0;
        for panel in panels.clone() {
            let next = packed.upcoming(panel + 1..panel + 2);
            // This panel's share of what comes after all of them.
            let lines = part(after.lines, panels.len(), panel - panels.start);
            let also = Upcoming { at: after.at.wrapping_add(lines.start * BLOCK), lines: lines.len() };
            let inputs = packed.panels[panel].k.clone();
            for start in inputs.clone().step_by(KC) {
                let k = start..inputs.end.min(start + KC);
                if filled != k {
                    let slots = &op.filters.slots(panel)[start - inputs.start..];
                    for (offset, &slot) in offsets[..k.len()].iter_mut().zip(slots) {
                        let slot = slot as usize;
                        *offset = (slot / BLOCK * block_stride + slot % BLOCK) as u32;
                    }
                    filled = k.clone();
                }
                let (first, last) = (k.start == inputs.start, k.end == inputs.end);
                // SAFETY: the slots of the inputs lie in the source; slots of the panel in the destination and in the
                // residual, which has its shape; all three have these pixels.
                unsafe {
                    packed.multiply(&Product {
                        panel,
                        offsets: &offsets[..k.len()],
                        k,
                        src: src.at(0, pixels.start),
                        step: PixelStep::Blocked,
                        src_step: BLOCK,
                        dst_step: BLOCK,
                        pixels: pixels.len(),
                        dst: to,
                        dst_block_stride: dst.block_stride(),
                        residual,
                        residual_block_stride,
                        first,
                        last,
                        epilogue: &epilogue,
                        prefetch: if last { [next, also] } else { [Upcoming::NOTHING; 2] },
                    });
                }
            }
        }
    }
}
