//! The end of a classifier in one operator: 1x1 convolution, global average, fully connected layer.

use crate::activation::Activation;
use crate::error::{Error, expect_fit, expect_len, invalid};
use crate::micro::pool::GlobalAverage;
use crate::operators::call::{Call, runs};
use crate::operators::options::{Options, setters};
use crate::operators::pointwise::Pointwise;
use crate::pack::{Packed, Packer};
use crate::tensor::extent;
use crate::tensor::owned::Buffer;
use crate::tensor::shape::{BLOCK, Shape};
use crate::tensor::view::View;
use crate::threads::share::{Target, each_once, part};
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
/// let head = Head::builder(conv, 10).build(&[0.25; 10 * 32])?;
/// let src = Tensor::from_nchw(&[1.0; 16 * 49], Shape::new(16, 7, 7))?;
/// let (mut scratch, mut logits) = (vec![0.0; head.scratch(src.shape())], [0.0; 10]);
/// head.run(src.view(), &mut scratch, &mut logits);
/// assert!(logits.iter().all(|logit| (logit - 64.0).abs() < 1e-3));
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct Head {
    conv: Pointwise,
    chunks: Vec<Chunk>,
    classes: usize,
    /// Bias by class, zeros in whole blocks behind.
    bias: Buffer,
    /// The fully connected layer: chunk by chunk, its panels for those channels.
    packed: Packed,
    /// Channels of the longest chunk, in whole blocks.
    longest: usize,
}

#[derive(Clone, Debug)]
struct Chunk {
    /// Of the convolution.
    panels: Range<usize>,
    channels: Range<usize>,
    /// Of the fully connected layer.
    rows: Range<usize>,
}

/// Collects what a [`Head`] is made of.
#[derive(Debug)]
pub struct HeadBuilder<'a> {
    conv: Pointwise,
    classes: usize,
    options: Options<'a>,
}

impl<'a> HeadBuilder<'a> {
    setters!(bias);

    /// Packs `weights`, `classes` rows of `conv.oc()` numbers, for the convolution's instruction set.
    ///
    /// # Errors
    /// Where there is no class, a slice has the wrong length, or the convolution has an output order.
    pub fn build(self, weights: &[f32]) -> Result<Head, Error> {
        let Self { conv, classes, options } = self;
        let (oc, kernels) = (conv.oc(), conv.packed().kernels);
        if classes == 0 || !conv.is_dense() {
            let why = format_args!("{classes} classes behind {oc} channels, which must be in order");
            return Err(invalid("head", why));
        }
        expect_len("weights", oc.saturating_mul(classes), weights.len())?;
        let (_, bias) = options.fold(classes)?;
        let mut padded = Buffer::zeros(classes.next_multiple_of(BLOCK));
        padded.as_mut_slice()[..classes].copy_from_slice(&bias);

        let starts = conv.chunks(CHUNK);
        let mut packer = Packer::new(kernels, false);
        let mut chunks: Vec<Chunk> = Vec::new();
        for (i, (panels, first)) in starts.iter().enumerate() {
            let channels = *first..starts.get(i + 1).map_or(oc, |(_, next)| *next);
            let start = packer.panels();
            packer.cut(0..classes.div_ceil(kernels.lanes), false, channels.clone())?;
            chunks.push(Chunk { panels: panels.clone(), channels, rows: start..packer.panels() });
        }
        let packed = packer.pack(
            |slot| (slot < classes).then_some(slot),
            &[],
            |class| {
                let row = &weights[class * oc..][..oc];
                move |channel| row[channel]
            },
        );
        let longest = chunks.iter().map(|chunk| chunk.channels.len()).max().unwrap_or(0);
        let longest = longest.next_multiple_of(BLOCK);
        Ok(Head { conv, chunks, classes, bias: padded, packed, longest })
    }
}

runs!(Head(src: View<'_>, scratch: &mut [f32], dst: &mut [f32]));

impl Head {
    /// Appends an average and `classes` outputs to `conv`.
    pub fn builder<'a>(conv: Pointwise, classes: usize) -> HeadBuilder<'a> {
        HeadBuilder { conv, classes, options: Options::default() }
    }

    /// The convolution.
    pub fn conv(&self) -> &Pointwise {
        &self.conv
    }

    /// Outputs.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Elements of scratch that [`run`](Self::run) needs, whatever the number of threads.
    ///
    /// # Errors
    /// Where a side is zero, or so much does not fit into memory.
    pub fn try_scratch(&self, src: Shape) -> Result<usize, Error> {
        extent::expect("scratch", extent::product([PARTS, self.part_scratch(src)?]))
    }

    /// As [`try_scratch`](Self::try_scratch).
    ///
    /// # Panics
    /// Where that is an error.
    pub fn scratch(&self, src: Shape) -> usize {
        self.try_scratch(src).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Of one part: sums, means, and the chunk's map.
    fn part_scratch(&self, src: Shape) -> Result<usize, Error> {
        let map = Shape { c: self.longest, ..src }.try_len()?;
        extent::expect("scratch", extent::sum([self.bias.as_slice().len(), self.longest, map]))
    }

    /// Whether the operator runs from `src` to `dst` elements.
    ///
    /// # Errors
    /// Where `src` has fewer slots than the convolution reads, or `dst` are not exactly [`classes`](Self::classes). Of a
    /// run, also where the scratch is too short.
    pub fn check(&self, src: Shape, dst: usize) -> Result<(), Error> {
        expect_fit(dst == self.classes, || format!("{dst} outputs for {} classes", self.classes))?;
        self.conv.try_output_shape(src).map(drop)
    }

    fn compute(
        call: Call<'_, Self>,
        src: View<'_>,
        scratch: &mut [f32],
        dst: &mut [f32],
    ) -> Result<(), Error> {
        let op = call.op;
        op.check(src.shape(), dst.len())?;
        let (each, needed) = (op.part_scratch(src.shape())?, op.try_scratch(src.shape())?);
        let found = scratch.len();
        expect_fit(found >= needed, || format!("{found} elements of scratch, {needed} needed"))?;
        let target = Target::of(&mut scratch[..needed], each);
        each_once(call.parallel, PARTS, &|index| {
            // SAFETY: part by part, the scratch is cut into disjoint pieces.
            let scratch = unsafe { core::slice::from_raw_parts_mut(target.at(index, 0), each) };
            op.part(index, src, scratch);
        });
        for (i, dst) in dst.iter_mut().enumerate() {
            *dst = (0..PARTS).map(|part| scratch[part * each + i]).sum();
        }
        Ok(())
    }

    /// Adds the contributions of one part's chunks up, at the head of `scratch`.
    fn part(&self, index: usize, src: View<'_>, scratch: &mut [f32]) {
        let kernels = self.packed.kernels;
        let Shape { h, w, .. } = src.shape();
        let (sums, rest) = scratch.split_at_mut(self.bias.as_slice().len());
        let (mean, map) = rest.split_at_mut(self.longest);
        let block_stride = Shape::new(BLOCK, h, w).block_stride();
        match index {
            0 => sums.copy_from_slice(self.bias.as_slice()),
            _ => sums.fill(0.0),
        }
        for chunk in &self.chunks[part(self.chunks.len(), PARTS, index)] {
            let after = self.packed.upcoming(chunk.rows.clone());
            self.conv.run_chunk(src, chunk.panels.clone(), map, after);
            let channels = chunk.channels.len();
            for (block, mean) in mean.chunks_exact_mut(BLOCK).enumerate().take(channels.div_ceil(BLOCK)) {
                let map = &map[block * block_stride..][..h * w * BLOCK];
                // SAFETY: a block of the map, and sixteen floats.
                unsafe {
                    (kernels.global_average)(&GlobalAverage {
                        src: map.as_ptr(),
                        pixels: h * w,
                        dst: mean.as_mut_ptr(),
                    });
                }
            }
            for panel in chunk.rows.clone() {
                let sums = &mut sums[self.packed.panels[panel].slot / BLOCK * BLOCK..];
                self.packed.multiply_vector(panel, &mean[..channels], sums, false, Activation::None);
            }
        }
    }
}
