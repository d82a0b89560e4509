//! 1x1 convolution.
//!
//! Each output pixel is a matrix times the channels of one input pixel. Registers of output channels that read the same
//! inputs form panels; the panels' inputs are sorted by where they lie, and found through a table of offsets, so that the
//! source may be split, concatenated and shuffled without having been moved. Work is cut into panels and runs of pixels.

use crate::activation::Activation;
use crate::error::{Error, expect_fit, expect_len, invalid};
use crate::micro::gemm::{PixelStep, Upcoming};
use crate::operators::call::{Call, output_shape, runs};
use crate::operators::options::{Options, setters};
use crate::pack::{Packed, Packer, Product};
use crate::tensor::extent;
use crate::tensor::order::ChannelOrder;
use crate::tensor::shape::{BLOCK, Shape};
use crate::tensor::view::{View, ViewMut};
use crate::threads::parallel::Serial;
use crate::threads::share::{Target, grid, part};
use alloc::{format, string::String, vec::Vec};
use core::fmt;
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
    packed: Packed,
    /// Where the inputs of the panels lie, in memory order.
    slots: Vec<u32>,
    activation: Activation,
    ic: usize,
    oc: usize,
    src_slots: usize,
    dst_slots: usize,
    /// Whether channel `o` lies in slot `o` of the destination.
    dense: bool,
}

/// Collects what a [`Pointwise`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct PointwiseBuilder<'a> {
    ic: usize,
    oc: usize,
    groups: usize,
    input_order: Option<&'a ChannelOrder>,
    output_order: Option<&'a ChannelOrder>,
    options: Options<'a>,
}

impl<'a> PointwiseBuilder<'a> {
    setters!(bias batch_norm activation isa);

    /// Groups of channels that do not see each other. Default: 1.
    ///
    /// Groups whose outputs share a block of sixteen slots are computed together, with weights of zero in each other's
    /// places: there, a NaN or an infinity of one group's input makes the other's output NaN.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// The slot of the source in which each input channel lies. Default: channel `i` in slot `i`.
    pub fn input_order(mut self, order: &'a ChannelOrder) -> Self {
        self.input_order = Some(order);
        self
    }

    /// The slot of the destination into which each output channel is written. Default: channel `o` in slot `o`.
    /// Slots of no channel hold unspecified values afterwards.
    pub fn output_order(mut self, order: &'a ChannelOrder) -> Self {
        self.output_order = Some(order);
        self
    }

    /// Packs `weights`, `oc` rows of `ic / groups` numbers.
    ///
    /// # Errors
    /// Where channels, groups or orders do not fit each other, a slice has the wrong length, or `KERNELS_ISA` is wrong.
    pub fn build(self, weights: &[f32]) -> Result<Pointwise, Error> {
        let Self { ic, oc, groups, .. } = self;
        if ic == 0 || oc == 0 {
            return Err(invalid("channels", format_args!("{ic} to {oc}: both must be at least 1")));
        }
        if groups == 0 || !ic.is_multiple_of(groups) || !oc.is_multiple_of(groups) {
            let why = format_args!("{ic} to {oc} channels do not divide into {groups} groups");
            return Err(invalid("groups", why));
        }
        let (group_ic, group_oc) = (ic / groups, oc / groups);
        let weights_len = group_ic.checked_mul(oc).ok_or_else(|| invalid("channels", "too many"))?;
        expect_len("weights", weights_len, weights.len())?;
        let identity =
            |order: Option<&ChannelOrder>, n| order.cloned().unwrap_or_else(|| ChannelOrder::identity(n));
        let (input, output) = (identity(self.input_order, ic), identity(self.output_order, oc));
        expect_len("input order", ic, input.channels())?;
        expect_len("output order", oc, output.channels())?;
        let kernels = self.options.kernels()?;
        let (scale, bias) = self.options.fold(oc)?;
        let channels = channels_by_slot(&output)?;

        // Registers of slots, with the groups that each needs; neighbours with the same needs form panels.
        let lanes = kernels.lanes;
        let groups_of = |register: &[u32]| {
            let mut groups: Vec<usize> =
                register.iter().filter(|&&c| c != NONE).map(|&c| c as usize / group_oc).collect();
            groups.dedup();
            groups.sort_unstable();
            groups.dedup();
            groups
        };
        let registers: Vec<Vec<usize>> = channels.chunks(lanes).map(groups_of).collect();
        let mut packer = Packer::new(kernels, true);
        // Slot and channel of each input, panels with the same needs one after the other.
        let mut inputs: Vec<(u32, u32)> = Vec::new();
        let mut previous: &[usize] = &[];
        let mut start = 0;
        let mut register = 0;
        for alike in registers.chunk_by(|a, b| a == b) {
            let (needs, end) = (&alike[0], register + alike.len());
            if !needs.is_empty() {
                if previous != needs.as_slice() {
                    start = inputs.len();
                    let channels = needs.iter().flat_map(|group| group * group_ic..(group + 1) * group_ic);
                    inputs.extend(channels.map(|channel| (input.slots()[channel], channel as u32)));
                    inputs[start..].sort_unstable();
                    previous = needs;
                }
                let last = &channels[(end - 1) * lanes..][..lanes];
                let ragged = last[lanes / 2..].iter().all(|&channel| channel == NONE);
                packer.cut(register..end, ragged, start..inputs.len())?;
            }
            register = end;
        }
        let channel = |slot: usize| channels.get(slot).filter(|&&c| c != NONE).map(|&c| c as usize);
        let packed = packer.pack(channel, &bias, |o| {
            let (row, first, scale) =
                (&weights[o * group_ic..][..group_ic], o / group_oc * group_ic, scale[o]);
            let inputs = &inputs;
            // Inputs of another group that shares the register are zero.
            move |k| match row.get((inputs[k].1 as usize).wrapping_sub(first)) {
                Some(&weight) => (f64::from(weight) * scale) as f32,
                None => 0.0,
            }
        });
        Ok(Pointwise {
            packed,
            slots: inputs.into_iter().map(|(slot, _)| slot).collect(),
            activation: self.options.activation,
            ic,
            oc,
            src_slots: input.width(),
            dst_slots: output.width(),
            dense: output.is_identity(),
        })
    }
}

/// No channel.
const NONE: u32 = u32::MAX;

/// Which channel lies in each slot of `order`, in whole blocks.
fn channels_by_slot(order: &ChannelOrder) -> Result<Vec<u32>, Error> {
    let (oc, slots) = (order.channels(), order.width());
    if slots > oc.saturating_mul(64).saturating_add(1 << 20) {
        return Err(invalid("output order", format_args!("{oc} channels spread over {slots} slots")));
    }
    let len = extent::expect("output order", extent::product([slots.div_ceil(BLOCK), BLOCK]))?;
    let mut channels = alloc::vec![NONE; len];
    for (channel, &slot) in order.slots().iter().enumerate() {
        let free = &mut channels[slot as usize];
        if *free != NONE {
            return Err(invalid("output order", format_args!("slot {slot} is named twice")));
        }
        *free = channel as u32;
    }
    Ok(channels)
}

runs!(Pointwise(src: View<'_>, dst: ViewMut<'_>));
output_shape!(Pointwise);

impl<'a> Call<'a, Pointwise> {
    /// Adds `residual`, shaped and ordered like `dst`, before the activation.
    pub fn residual(self, residual: View<'a>) -> Self {
        Self { residual: Some(residual), ..self }
    }
}

impl Pointwise {
    /// Begins a convolution from `ic` to `oc` channels.
    pub fn builder<'a>(ic: usize, oc: usize) -> PointwiseBuilder<'a> {
        let options = Options::default();
        PointwiseBuilder { ic, oc, groups: 1, input_order: None, output_order: None, options }
    }

    /// Input channels.
    pub fn ic(&self) -> usize {
        self.ic
    }

    /// Output channels.
    pub fn oc(&self) -> usize {
        self.oc
    }

    /// To run with `residual`, shaped and ordered like `dst`, added before the activation.
    pub fn residual<'a>(&'a self, residual: View<'a>) -> Call<'a, Self> {
        self.on(&Serial).residual(residual)
    }

    /// Slots, height and width of the destination; it may have more slots.
    ///
    /// # Errors
    /// Where `src` has fewer slots than the input order names, a side of zero, or too many elements.
    pub fn try_output_shape(&self, src: Shape) -> Result<Shape, Error> {
        src.try_len()?;
        expect_fit(src.c >= self.src_slots, || self.misfit(format_args!("{src}")))?;
        extent::expect_offsets(src.reach(src.block_stride()), src)?;
        Ok(Shape { c: self.dst_slots, ..src })
    }

    /// Whether the operator runs from `src` to `dst`.
    ///
    /// # Errors
    /// Where it does not: the two differ in height or width, or have too few slots for the orders. Of a run, also where
    /// the residual is not shaped like `dst`.
    pub fn check(&self, src: Shape, dst: Shape) -> Result<(), Error> {
        let fits = (src.h, src.w) == (dst.h, dst.w) && src.c >= self.src_slots && dst.c >= self.dst_slots;
        expect_fit(fits, || self.misfit(format_args!("{src} to {dst}")))?;
        self.try_output_shape(src).map(drop)
    }

    fn misfit(&self, from: fmt::Arguments<'_>) -> String {
        format!("pointwise from {} to {} slots: cannot run from {from}", self.src_slots, self.dst_slots)
    }

    fn compute(call: Call<'_, Self>, src: View<'_>, mut dst: ViewMut<'_>) -> Result<(), Error> {
        let (op, to) = (call.op, dst.shape());
        op.check(src.shape(), to)?;
        extent::expect_offsets(src.shape().reach(src.block_stride()), src.shape())?;
        if let Some(residual) = &call.residual {
            expect_fit(residual.shape() == to, || format!("residual is {}, dst is {to}", residual.shape()))?;
        }
        let (pixels, mr) = (to.pixels(), op.packed.kernels.tiles[0].mr);
        let job = Job { op, src, residual: call.residual, dst: Target::new(&mut dst), first_block: 0 };
        grid(call.parallel, op.packed.panels.len(), pixels.div_ceil(mr), &|panels, tiles| {
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
        &self.packed
    }

    /// Cuts the panels into runs of at least `slots` output slots, whole blocks each; with the first slot of each.
    pub(crate) fn chunks(&self, slots: usize) -> Vec<(Range<usize>, usize)> {
        let mut chunks: Vec<(Range<usize>, usize)> = Vec::new();
        for (index, panel) in self.packed.panels.iter().enumerate() {
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
        let first = self.packed.panels[panels.start].slot;
        let end = self.packed.panels.get(panels.end).map_or(self.dst_slots, |panel| panel.slot);
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
        let packed = &op.packed;
        let block_stride = src.block_stride();
        let (residual, residual_block_stride) = match &self.residual {
            None => (core::ptr::null(), 0),
            Some(view) => (view.at(0, pixels.start), view.block_stride()),
        };
        let to = dst.at(0, pixels.start).wrapping_sub(self.first_block * dst.block_stride());
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
                    for (offset, &slot) in offsets.iter_mut().zip(&op.slots[k.clone()]) {
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
                        pixels: pixels.len(),
                        dst: to,
                        dst_block_stride: dst.block_stride(),
                        residual,
                        residual_block_stride,
                        first,
                        last,
                        activation: op.activation,
                        prefetch: if last { [next, also] } else { [Upcoming::NOTHING; 2] },
                    });
                }
            }
        }
    }
}
