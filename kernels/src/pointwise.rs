//! 1x1 convolution.

use crate::Activation;
use crate::backend::Kernels;
use crate::error::{Error, expect_len, invalid};
use crate::micro::gemm::{Gemm, PixelStep, Upcoming};
use crate::order::ChannelOrder;
use crate::pack::{Common, Width, common_setters, panel_widths};
use crate::parallel::{Parallel, Serial, each_once};
use crate::view::{BLOCK, Buffer, View, ViewMut};
use alloc::{format, vec::Vec};
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
    kernels: &'static Kernels,
    panels: Vec<Panel>,
    /// Input slots of every panel's sums, in memory order.
    k_slots: Vec<u32>,
    /// Bias, then weights by k, panel after panel.
    packed: Buffer,
    activation: Activation,
    ic: usize,
    oc: usize,
    src_slots: usize,
    dst_slots: usize,
    /// Whether channel `o` lies in slot `o` of the destination.
    dense: bool,
}

/// A few registers of neighbouring output slots that read the same inputs.
#[derive(Clone, Debug)]
struct Panel {
    slot: usize,
    width: Width,
    k: Range<usize>,
    /// Where bias and weights begin in `packed`.
    at: usize,
}

/// Collects what a [`Pointwise`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct PointwiseBuilder<'a> {
    ic: usize,
    oc: usize,
    groups: usize,
    input_order: Option<&'a ChannelOrder>,
    output_order: Option<&'a ChannelOrder>,
    common: Common<'a>,
}

impl<'a> PointwiseBuilder<'a> {
    common_setters!();

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
    /// Where channels, groups or orders do not fit each other, a slice has the wrong length, or the instruction set is
    /// not available.
    pub fn build(self, weights: &[f32]) -> Result<Pointwise, Error> {
        let Self { ic, oc, groups, .. } = self;
        if ic == 0 || oc == 0 {
            return Err(invalid("channels", format!("{ic} to {oc}: both must be at least 1")));
        }
        if groups == 0 || !ic.is_multiple_of(groups) || !oc.is_multiple_of(groups) {
            return Err(invalid(
                "groups",
                format!("{ic} to {oc} channels do not divide into {groups} groups"),
            ));
        }
        let (group_ic, group_oc) = (ic / groups, oc / groups);
        let weights_len = group_ic.checked_mul(oc).ok_or_else(|| invalid("channels", "too many"))?;
        expect_len("weights", weights_len, weights.len())?;
        let identity =
            |order: Option<&ChannelOrder>, n| order.cloned().unwrap_or_else(|| ChannelOrder::identity(n));
        let (input, output) = (identity(self.input_order, ic), identity(self.output_order, oc));
        expect_len("input order", ic, input.channels())?;
        expect_len("output order", oc, output.channels())?;
        let kernels = self.common.kernels()?;
        let (scale, bias) = self.common.fold(oc)?;

        // Which channel lies in each slot of the destination, in whole blocks.
        const NONE: u32 = u32::MAX;
        let dst_slots = output.width();
        if dst_slots > oc.saturating_mul(64).saturating_add(1 << 20) {
            return Err(invalid("output order", format!("{oc} channels spread over {dst_slots} slots")));
        }
        let mut channel_of = alloc::vec![NONE; dst_slots.next_multiple_of(BLOCK)];
        for (channel, &slot) in output.slots().iter().enumerate() {
            let free = &mut channel_of[slot as usize];
            if *free != NONE {
                return Err(invalid("output order", format!("slot {slot} is named twice")));
            }
            *free = channel as u32;
        }

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
        let registers: Vec<Vec<usize>> = channel_of.chunks(lanes).map(groups_of).collect();
        let mut panels = Vec::new();
        let mut k_slots: Vec<u32> = Vec::new();
        // Per panel, the input channel of each k (the same order as `k_slots`).
        let mut k_channels: Vec<u32> = Vec::new();
        let mut previous: Option<(&[usize], Range<usize>)> = None;
        let mut at = 0;
        let mut register = 0;
        while register < registers.len() {
            let needs = &registers[register];
            let alike = registers[register..].iter().take_while(|other| *other == needs).count();
            if needs.is_empty() {
                register += alike;
                continue;
            }
            let k = match &previous {
                Some((same, k)) if *same == needs.as_slice() => k.clone(),
                _ => {
                    let start = k_slots.len();
                    let mut inputs: Vec<(u32, u32)> = needs
                        .iter()
                        .flat_map(|group| group * group_ic..(group + 1) * group_ic)
                        .map(|channel| (input.slots()[channel], channel as u32))
                        .collect();
                    inputs.sort_unstable();
                    k_slots.extend(inputs.iter().map(|(slot, _)| slot));
                    k_channels.extend(inputs.iter().map(|(_, channel)| channel));
                    start..k_slots.len()
                }
            };
            previous = Some((needs, k.clone()));
            let last = &channel_of[(register + alike - 1) * lanes..][..lanes];
            let ragged = last[lanes / 2..].iter().all(|&channel| channel == NONE);
            for width in panel_widths(alike, ragged, kernels) {
                panels.push(Panel { slot: register * lanes, width, k: k.clone(), at });
                at += (1 + k.len()) * width.lanes(kernels);
                register += width.registers();
            }
        }

        let mut packed = Buffer::zeros(at);
        for panel in &panels {
            let nr = panel.width.lanes(kernels);
            let (head, rows) = packed.as_mut_slice()[panel.at..][..(1 + panel.k.len()) * nr].split_at_mut(nr);
            let channels = channel_of[panel.slot..][..nr].iter().enumerate();
            let channels =
                channels.filter(|&(_, &channel)| channel != NONE).map(|(lane, &c)| (lane, c as usize));
            for (lane, o) in channels.clone() {
                head[lane] = bias[o];
            }
            // A few k at a time, so that the lines written to stay in cache while every lane visits them.
            for (rows, inputs) in rows.chunks_mut(16 * nr).zip(k_channels[panel.k.clone()].chunks(16)) {
                for (lane, o) in channels.clone() {
                    let (row, first) = (&weights[o * group_ic..][..group_ic], o / group_oc * group_ic);
                    for (to, &i) in rows[lane..].iter_mut().step_by(nr).zip(inputs) {
                        // Inputs of another group that shares the register stay zero.
                        if let Some(&weight) = row.get((i as usize).wrapping_sub(first)) {
                            *to = (f64::from(weight) * scale[o]) as f32;
                        }
                    }
                }
            }
        }
        Ok(Pointwise {
            kernels,
            panels,
            k_slots,
            packed,
            activation: self.common.activation,
            ic,
            oc,
            src_slots: input.width(),
            dst_slots,
            dense: output.is_identity(),
        })
    }
}

impl Pointwise {
    /// Begins a convolution from `ic` to `oc` channels.
    pub fn builder<'a>(ic: usize, oc: usize) -> PointwiseBuilder<'a> {
        PointwiseBuilder {
            ic,
            oc,
            groups: 1,
            input_order: None,
            output_order: None,
            common: Common::default(),
        }
    }

    /// Input channels.
    pub fn ic(&self) -> usize {
        self.ic
    }

    /// Output channels.
    pub fn oc(&self) -> usize {
        self.oc
    }

    /// Elements of packed weights and bias.
    pub fn packed_len(&self) -> usize {
        self.packed.as_slice().len()
    }

    /// Cuts the panels into runs of at least `slots` output slots, whole blocks each; with the first slot of each.
    pub(crate) fn chunks(&self, slots: usize) -> Vec<(Range<usize>, usize)> {
        let mut chunks: Vec<(Range<usize>, usize)> = Vec::new();
        for (index, panel) in self.panels.iter().enumerate() {
            match chunks.last_mut() {
                Some((panels, first)) if panel.slot < *first + slots || panel.slot % BLOCK != 0 => {
                    panels.end = index + 1;
                }
                _ => chunks.push((index..index + 1, panel.slot)),
            }
        }
        chunks
    }

    pub(crate) fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    /// Whether channels are written in order, without gaps.
    pub(crate) fn is_dense(&self) -> bool {
        self.dense
    }

    /// Computes the blocks of `chunk` alone, into the first blocks of `dst`, and fetches `after` meanwhile.
    ///
    /// # Panics
    /// Where `dst` is too short or the source does not fit.
    pub(crate) fn run_chunk(
        &self,
        src: View<'_>,
        chunk: (Range<usize>, usize),
        dst: &mut [f32],
        after: Upcoming,
    ) {
        let (panels, first) = chunk;
        let (from, stride) = (src.shape(), src.shape().block_stride());
        let end = self.panels.get(panels.end).map_or(self.dst_slots, |panel| panel.slot);
        assert!(
            from.c >= self.src_slots && dst.len() >= (end - first).div_ceil(BLOCK) * stride,
            "pointwise from {} slots: cannot run from {from} to {} elements",
            self.src_slots,
            dst.len()
        );
        assert!(src.data().len() <= u32::MAX as usize, "a tensor of 2^32 elements or more");
        let dst = dst.as_mut_ptr().wrapping_sub(first / BLOCK * stride);
        let job = Job { op: self, src, residual: None, dst_block_stride: stride, dst };
        // SAFETY: the source's slots and the destination's blocks from `first` on were checked; only they are touched.
        unsafe { job.run(panels, 0..from.pixels(), after) };
    }

    /// Computes `dst` from `src`, on this thread.
    ///
    /// # Panics
    /// Where the two maps differ in height or width, `src` has fewer slots than the input order needs, or `dst` fewer
    /// than the output order needs.
    pub fn run(&self, src: View<'_>, dst: ViewMut<'_>) {
        self.run_with(&Serial, src, None, dst);
    }

    /// As [`run`](Self::run), with `residual` (shaped and ordered like `dst`) added before the activation.
    ///
    /// # Panics
    /// As [`run_with`](Self::run_with).
    pub fn run_add(&self, src: View<'_>, residual: View<'_>, dst: ViewMut<'_>) {
        self.run_with(&Serial, src, Some(residual), dst);
    }

    /// As [`run`](Self::run) or [`run_add`](Self::run_add), on the threads of `parallel`.
    ///
    /// # Panics
    /// As [`run`](Self::run), and where `residual` is not shaped like `dst`.
    pub fn run_with(
        &self,
        parallel: &dyn Parallel,
        src: View<'_>,
        residual: Option<View<'_>>,
        mut dst: ViewMut<'_>,
    ) {
        let (from, to) = (src.shape(), dst.shape());
        assert!(
            (from.h, from.w) == (to.h, to.w) && from.c >= self.src_slots && to.c >= self.dst_slots,
            "pointwise from {} to {} slots: cannot run from {from} to {to}",
            self.src_slots,
            self.dst_slots
        );
        assert!(src.data().len() <= u32::MAX as usize, "a tensor of 2^32 elements or more");
        if let Some(residual) = &residual {
            assert!(residual.shape() == to, "residual is {}, dst is {to}", residual.shape());
        }
        let job = Job {
            op: self,
            src,
            residual,
            dst_block_stride: dst.block_stride(),
            dst: dst.data_mut().as_mut_ptr(),
        };
        let pixels = to.pixels();
        if parallel.threads() <= 1 {
            // SAFETY: shapes were checked above, and `dst` is borrowed for the whole call.
            unsafe { job.run(0..self.panels.len(), 0..pixels, Upcoming::NOTHING) };
            return;
        }
        let (across, along) = split(parallel.threads(), self.panels.len(), pixels.div_ceil(self.kernels.mr));
        each_once(parallel, across * along, &|task| {
            let panels = part(self.panels.len(), across, task / along);
            let tiles = part(pixels.div_ceil(self.kernels.mr), along, task % along);
            let run = (tiles.start * self.kernels.mr).min(pixels)..(tiles.end * self.kernels.mr).min(pixels);
            // SAFETY: as above; tasks write disjoint panels or disjoint pixels.
            unsafe { job.run(panels, run, Upcoming::NOTHING) };
        });
    }
}

/// How many parts across panels and along pixels make the longest task of at least `threads` tasks shortest.
pub(crate) fn split(threads: usize, panels: usize, tiles: usize) -> (usize, usize) {
    let mut best = (usize::MAX, (1, 1));
    for across in 1..=threads.min(panels.max(1)) {
        let along = threads.div_ceil(across).min(tiles.max(1));
        let longest = panels.div_ceil(across) * tiles.div_ceil(along);
        if longest < best.0 {
            best = (longest, (across, along));
        }
    }
    best.1
}

/// The `index`-th of `parts` nearly equal parts of `0..len`.
pub(crate) fn part(len: usize, parts: usize, index: usize) -> Range<usize> {
    // 64 bits: somebody's `Parallel` may speak of more threads than a product of 32 bits bears.
    let start = |index| (len as u64 * index as u64 / parts as u64) as usize;
    start(index)..start(index + 1)
}

/// One call's pointers, shared by its tasks.
struct Job<'a> {
    op: &'a Pointwise,
    src: View<'a>,
    residual: Option<View<'a>>,
    dst: *mut f32,
    dst_block_stride: usize,
}

// SAFETY: tasks write through `dst` to disjoint elements (see `run_with`); everything else is shared reading.
unsafe impl Sync for Job<'_> {}

impl Job<'_> {
    /// # Safety
    /// Shapes were checked by `run_with`, and no one else touches these panels' pixels of `dst`.
    unsafe fn run(&self, panels: Range<usize>, pixels: Range<usize>, after: Upcoming) {
        let op = self.op;
        let block_stride = self.src.block_stride();
        let mut offsets = [0u32; KC];
        let mut filled = 0..0;
        for index in panels.clone() {
            let panel = &op.panels[index];
            let nr = panel.width.lanes(op.kernels);
            let block = panel.slot / BLOCK;
            let next = match op.panels.get(index + 1) {
                None => Upcoming::NOTHING,
                Some(next) => Upcoming {
                    at: op.packed.as_slice()[next.at..].as_ptr(),
                    lines: (1 + next.k.len()) * next.width.lanes(op.kernels) / BLOCK,
                },
            };
            // This panel's share of what comes after all of them.
            let lines = part(after.lines, panels.len(), index - panels.start);
            let also = Upcoming { at: after.at.wrapping_add(lines.start * BLOCK), lines: lines.len() };
            for start in panel.k.clone().step_by(KC) {
                let k = start..panel.k.end.min(start + KC);
                if filled != k {
                    for (offset, &slot) in offsets.iter_mut().zip(&op.k_slots[k.clone()]) {
                        let slot = slot as usize;
                        *offset = (slot / BLOCK * block_stride + slot % BLOCK) as u32;
                    }
                    filled = k.clone();
                }
                // SAFETY: offsets stay within `src` (its slots were checked), `packed` was laid out by `build` with
                // bias and k rows per panel, and the panel's registers lie within `dst` (its slots were checked; a
                // ragged last register ends within its block).
                unsafe {
                    let packed = op.packed.as_slice().as_ptr().add(panel.at);
                    let to = block * self.dst_block_stride + pixels.start * BLOCK;
                    let (residual, residual_block_stride) = match &self.residual {
                        None => (core::ptr::null(), 0),
                        Some(view) => {
                            let stride = view.block_stride();
                            let at = block * stride + pixels.start * BLOCK;
                            (view.data().as_ptr().add(at), stride)
                        }
                    };
                    (op.kernels.gemm[PixelStep::Blocked as usize])(&Gemm {
                        src: self.src.data().as_ptr().add(pixels.start * BLOCK),
                        offsets: offsets.as_ptr(),
                        kc: k.len(),
                        pixels: pixels.len(),
                        weights: packed.add((1 + k.start - panel.k.start) * nr),
                        bias: packed,
                        residual,
                        residual_block_stride,
                        dst: self.dst.wrapping_add(to),
                        dst_block_stride: self.dst_block_stride,
                        lane: panel.slot % BLOCK,
                        nv: panel.width.nv,
                        half: panel.width.half,
                        first: k.start == panel.k.start,
                        last: k.end == panel.k.end,
                        epilogue: op.kernels.epilogue(op.activation),
                        prefetch: if k.end == panel.k.end { [next, also] } else { [Upcoming::NOTHING; 2] },
                    });
                }
            }
        }
    }
}
