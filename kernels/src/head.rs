//! The end of a classifier in one operator: 1x1 convolution, global average, fully connected layer.

use crate::depthwise::Target;
use crate::error::{Error, expect_len, invalid};
use crate::micro::activation::Epilogue;
use crate::micro::gemm::{Gemm, PixelStep, Upcoming};
use crate::micro::pool::GlobalAverage;
use crate::pack::{Width, panel_widths};
use crate::parallel::{Parallel, Serial, each_once};
use crate::pointwise::{Pointwise, part};
use crate::view::{BLOCK, Buffer, Shape, View};
use alloc::{format, vec::Vec};
use core::ops::Range;

/// Channels of the convolution that are averaged and handed to the fully connected layer at a time.
const CHUNK: usize = 48;

/// Parts that may run at the same time. Each adds up outputs of its own, and the parts are added in order at the end, so
/// that results do not depend on the number of threads.
const PARTS: usize = 8;

/// `dst = weights * mean over the pixels of conv(src) + bias`.
///
/// The map between convolution and average (1024 or 2048 channels) is never stored: a few channels at a time stay in the
/// first-level cache, and while they are computed the rows of the fully connected layer's weights that they will need
/// are fetched. Those weights are several megabytes, read once; by itself that layer would wait for memory.
///
/// ```
/// use kernels::{Head, Pointwise, Shape, Tensor};
///
/// let conv = Pointwise::builder(16, 32).build(&[0.5; 32 * 16])?;
/// let head = Head::new(conv, 10, &[0.25; 10 * 32], None)?;
/// let src = Tensor::from_nchw(&[1.0; 16 * 49], Shape::new(16, 7, 7))?;
/// let (mut scratch, mut logits) = (vec![0.0; head.scratch(7, 7)], [0.0; 10]);
/// head.run(src.view(), &mut scratch, &mut logits);
/// assert!(logits.iter().all(|logit| (logit - 64.0).abs() < 1e-3));
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct Head {
    conv: Pointwise,
    chunks: Vec<Chunk>,
    classes: usize,
    /// First output and width of each panel of the fully connected layer.
    panels: Vec<(usize, Width)>,
    bias: Buffer,
    zeros: Buffer,
    /// Chunk by chunk, panel by panel, input by input.
    packed: Buffer,
    offsets: Vec<u32>,
    /// Lanes of one row of weights.
    row: usize,
}

#[derive(Clone, Debug)]
struct Chunk {
    panels: Range<usize>,
    channels: Range<usize>,
}

impl Head {
    /// Appends an average and `classes` outputs to `conv`; `weights` are `classes` rows of `conv.oc()` numbers.
    ///
    /// # Errors
    /// Where there is no class, a slice has the wrong length, or `conv` has an output order.
    pub fn new(
        conv: Pointwise,
        classes: usize,
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<Self, Error> {
        let (oc, kernels) = (conv.oc(), conv.kernels());
        if classes == 0 || !conv.is_dense() {
            return Err(invalid(
                "head",
                format!("{classes} classes behind {oc} channels, which must be in order"),
            ));
        }
        expect_len("weights", oc.saturating_mul(classes), weights.len())?;
        if let Some(bias) = bias {
            expect_len("bias", classes, bias.len())?;
        }
        let registers = classes.div_ceil(kernels.lanes);
        let row = registers * kernels.lanes;
        let mut panels = Vec::new();
        let mut first = 0;
        for width in panel_widths(registers, false, kernels) {
            panels.push((first, width));
            first += width.lanes(kernels);
        }
        let starts = conv.chunks(CHUNK);
        let chunks: Vec<Chunk> = starts
            .iter()
            .enumerate()
            .map(|(i, (panels, first))| {
                let end = starts.get(i + 1).map_or(oc, |(_, next)| *next);
                Chunk { panels: panels.clone(), channels: *first..end }
            })
            .collect();
        let mut packed = Buffer::zeros(oc * row);
        let mut at = 0;
        for chunk in &chunks {
            for &(first, width) in &panels {
                let nr = width.lanes(kernels);
                for channel in chunk.channels.clone() {
                    let to = &mut packed.as_mut_slice()[at..at + nr];
                    for (lane, to) in to.iter_mut().enumerate().take(classes - first) {
                        *to = weights[(first + lane) * oc + channel];
                    }
                    at += nr;
                }
            }
        }
        let mut padded = Buffer::zeros(row);
        if let Some(bias) = bias {
            padded.as_mut_slice()[..classes].copy_from_slice(bias);
        }
        let longest = chunks.iter().map(|chunk| chunk.channels.len()).max().unwrap_or(0);
        let offsets = (0..longest as u32).collect();
        Ok(Self {
            conv,
            chunks,
            classes,
            panels,
            bias: padded,
            zeros: Buffer::zeros(row),
            packed,
            offsets,
            row,
        })
    }

    /// The convolution.
    pub fn conv(&self) -> &Pointwise {
        &self.conv
    }

    /// Outputs.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Elements of scratch that [`run`](Self::run) needs for a map of `h` x `w`.
    ///
    /// # Panics
    /// Where a side is zero, or so much does not fit into memory.
    pub fn scratch(&self, h: usize, w: usize) -> usize {
        PARTS * self.part_scratch(h, w)
    }

    fn part_scratch(&self, h: usize, w: usize) -> usize {
        let longest = self.offsets.len().next_multiple_of(BLOCK);
        let map = Shape::new(longest, h, w).checked_len().unwrap_or_else(|error| panic!("{error}"));
        let each = map + longest + self.row.next_multiple_of(BLOCK);
        // `run_with` relies on it: a product that wrapped would let a short scratch pass.
        assert!(
            each <= isize::MAX as usize / (4 * PARTS),
            "scratch for a map of {h}x{w} does not fit into memory"
        );
        each
    }

    /// Computes `dst` from `src`, on this thread.
    ///
    /// # Panics
    /// Where `src` has fewer slots than the convolution reads, `scratch` is shorter than [`scratch`](Self::scratch), or
    /// `dst` has not exactly [`classes`](Self::classes) elements.
    pub fn run(&self, src: View<'_>, scratch: &mut [f32], dst: &mut [f32]) {
        self.run_with(&Serial, src, scratch, dst);
    }

    /// As [`run`](Self::run), on the threads of `parallel`.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn run_with(&self, parallel: &dyn Parallel, src: View<'_>, scratch: &mut [f32], dst: &mut [f32]) {
        let Shape { h, w, .. } = src.shape();
        let each = self.part_scratch(h, w);
        assert!(dst.len() == self.classes, "{} outputs for {} classes", dst.len(), self.classes);
        assert!(
            scratch.len() >= PARTS * each,
            "{} elements of scratch, {} needed",
            scratch.len(),
            PARTS * each
        );
        let target = Target(scratch.as_mut_ptr());
        each_once(parallel, PARTS, &|index| {
            // SAFETY: part by part, the scratch is cut into disjoint pieces of checked length.
            let scratch = unsafe { core::slice::from_raw_parts_mut(target.at(index * each), each) };
            self.part(index, src, scratch);
        });
        for (i, dst) in dst.iter_mut().enumerate() {
            *dst = (0..PARTS).map(|part| scratch[part * each + i]).sum();
        }
    }

    /// Adds the contributions of one part's chunks up, at the head of `scratch`.
    fn part(&self, index: usize, src: View<'_>, scratch: &mut [f32]) {
        let kernels = self.conv.kernels();
        let Shape { h, w, .. } = src.shape();
        let longest = self.offsets.len().next_multiple_of(BLOCK);
        let (sums, rest) = scratch.split_at_mut(self.row.next_multiple_of(BLOCK));
        let (mean, map) = rest.split_at_mut(longest);
        let block_stride = Shape::new(BLOCK, h, w).block_stride();
        sums[..self.row].copy_from_slice(if index == 0 { &self.bias } else { &self.zeros }.as_slice());
        for chunk in &self.chunks[part(self.chunks.len(), PARTS, index)] {
            let weights =
                &self.packed.as_slice()[chunk.channels.start * self.row..][..chunk.channels.len() * self.row];
            let after = Upcoming { at: weights.as_ptr(), lines: weights.len() / BLOCK };
            self.conv.run_chunk(src, (chunk.panels.clone(), chunk.channels.start), map, after);
            for (block, mean) in
                mean.chunks_exact_mut(BLOCK).enumerate().take(chunk.channels.len().div_ceil(BLOCK))
            {
                // SAFETY: the block was just computed, and `mean` is sixteen floats.
                unsafe {
                    (kernels.global_average)(&GlobalAverage {
                        src: map[block * block_stride..].as_ptr(),
                        pixels: h * w,
                        dst: mean.as_mut_ptr(),
                    });
                }
            }
            for &(first, width) in &self.panels {
                // SAFETY: `packed` was laid out by `new`: per chunk, panel after panel; a panel's registers lie side by
                // side in `sums`, whose "blocks" are a pixel apart.
                unsafe {
                    (kernels.gemm[PixelStep::Blocked as usize])(&Gemm {
                        src: mean.as_ptr(),
                        offsets: self.offsets.as_ptr(),
                        kc: chunk.channels.len(),
                        pixels: 1,
                        weights: weights.as_ptr().add(first * chunk.channels.len()),
                        bias: core::ptr::null(),
                        residual: core::ptr::null(),
                        residual_block_stride: 0,
                        dst: sums.as_mut_ptr().add(first / BLOCK * BLOCK),
                        dst_block_stride: BLOCK,
                        lane: first % BLOCK,
                        nv: width.nv,
                        half: width.half,
                        first: false,
                        last: true,
                        epilogue: Epilogue::NONE,
                        prefetch: [Upcoming::NOTHING; 2],
                    });
                }
            }
        }
    }
}
