//! Dense convolution: the stem of a network, and the 3x3 of a bottleneck.

use crate::Activation;
use crate::backend::Kernels;
use crate::depthwise::{Target, check_window, window_shape};
use crate::error::{Error, expect_len, invalid};
use crate::micro::gemm::{Gemm, PixelStep, Upcoming};
use crate::micro::pool::MaxRow;
use crate::pack::{Common, Width, common_setters, panel_widths};
use crate::padding::Padding;
use crate::parallel::{Parallel, Serial, each_once};
use crate::pointwise::part;
use crate::pool::MaxPool;
use crate::view::{BLOCK, Buffer, Shape, View, ViewMut};
use alloc::{format, vec::Vec};
use core::ops::Range;

/// Taps times input channels per pass, which bounds the table of offsets on the stack.
const KC: usize = 1024;

/// Dense convolution with bias, folded batch normalisation and activation in its epilogue.
///
/// `dst[o][y][x] = activation(sum over i, kh, kw of weights[o][i][kh][kw] * src[i][y * stride + kh - top][x * stride +
/// kw - left] + bias[o])`; taps outside the image contribute nothing.
///
/// No image is unrolled: a row of output pixels is one matrix product whose table of offsets names a tap and a channel
/// per k. Source: a blocked tensor, or a planar (NCHW) image as it comes from the user.
///
/// ```
/// use kernels::{Convolution, Padding, Tensor};
///
/// // The first layer of a network reads the planar image as it is.
/// let op = Convolution::builder(3, 24, 3, 2).padding(Padding::all(1)).build(&[0.5; 24 * 3 * 9])?;
/// let image = vec![1.0; 3 * 32 * 32];
/// let mut dst = Tensor::zeros(op.output_shape(32, 32));
/// op.run_planar(&image, 32, 32, dst.view_mut());
/// assert_eq!(dst.view().get(0, 5, 5), 13.5);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct Convolution {
    kernels: &'static Kernels,
    ic: usize,
    oc: usize,
    kernel: usize,
    stride: usize,
    padding: Padding,
    activation: Activation,
    panels: Vec<Panel>,
    /// Per panel: bias, then weights by kw, kh and ic: a border column leaves out the first or last of them.
    packed: Buffer,
}

#[derive(Clone, Debug)]
struct Panel {
    slot: usize,
    width: Width,
    at: usize,
}

/// Collects what a [`Convolution`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct ConvolutionBuilder<'a> {
    ic: usize,
    oc: usize,
    kernel: usize,
    stride: usize,
    padding: Padding,
    common: Common<'a>,
}

impl<'a> ConvolutionBuilder<'a> {
    common_setters!();

    /// Pixels of nothing around the image. Default: `kernel / 2` on every side.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// Packs `weights`, `oc * ic * kernel * kernel` numbers in that order (PyTorch's).
    ///
    /// # Errors
    /// Where a channel count is zero, the kernel is not 1, 3, 5 or 7, the stride neither 1 nor 2, the padding not smaller
    /// than the kernel, a slice of the wrong length, or the instruction set not available.
    pub fn build(self, weights: &[f32]) -> Result<Convolution, Error> {
        let Self { ic, oc, kernel, stride, padding, .. } = self;
        if ic == 0 || oc == 0 {
            return Err(invalid("channels", format!("{ic} to {oc}: both must be at least 1")));
        }
        check_window(kernel, &[1, 3, 5, 7], stride, padding)?;
        let taps = kernel * kernel;
        expect_len("weights", oc.saturating_mul(ic).saturating_mul(taps), weights.len())?;
        let kernels = self.common.kernels()?;
        let (scale, bias) = self.common.fold(oc)?;

        let mut panels = Vec::new();
        let (mut register, mut at) = (0, 0);
        let registers = oc.div_ceil(kernels.lanes);
        let ragged = oc + kernels.lanes / 2 <= registers * kernels.lanes;
        for width in panel_widths(registers, ragged, kernels) {
            panels.push(Panel { slot: register * kernels.lanes, width, at });
            at += (1 + taps * ic) * width.lanes(kernels);
            register += width.registers();
        }
        let mut packed = Buffer::zeros(at);
        for panel in &panels {
            let nr = panel.width.lanes(kernels);
            let (head, rows) = packed.as_mut_slice()[panel.at..][..(1 + taps * ic) * nr].split_at_mut(nr);
            for lane in 0..nr.min(oc - panel.slot) {
                let o = panel.slot + lane;
                head[lane] = bias[o];
                for tap in 0..taps {
                    let by_column = tap % kernel * kernel + tap / kernel;
                    for i in 0..ic {
                        let weight = f64::from(weights[(o * ic + i) * taps + tap]);
                        rows[(by_column * ic + i) * nr + lane] = (weight * scale[o]) as f32;
                    }
                }
            }
        }
        Ok(Convolution {
            kernels,
            ic,
            oc,
            kernel,
            stride,
            padding,
            activation: self.common.activation,
            panels,
            packed,
        })
    }
}

/// Where the pixels of a source lie: blocked or planar.
#[derive(Clone, Copy)]
struct Source<'a> {
    data: &'a [f32],
    shape: Shape,
    planar: bool,
    block_stride: usize,
}

impl Source<'_> {
    /// Elements from pixel to pixel.
    fn pixel(&self) -> usize {
        if self.planar { 1 } else { BLOCK }
    }

    /// Elements from the first channel to channel `c`.
    fn channel(&self, c: usize) -> usize {
        if self.planar { c * self.shape.pixels() } else { c / BLOCK * self.block_stride + c % BLOCK }
    }
}

impl Convolution {
    /// Begins a convolution from `ic` to `oc` channels by `kernel` x `kernel` taps.
    pub fn builder<'a>(ic: usize, oc: usize, kernel: usize, stride: usize) -> ConvolutionBuilder<'a> {
        let padding = Padding::all(kernel / 2);
        ConvolutionBuilder { ic, oc, kernel, stride, padding, common: Common::default() }
    }

    /// Channels, height and width of the destination for a source of `h` x `w`.
    ///
    /// # Panics
    /// Where the padded image is smaller than the kernel.
    pub fn output_shape(&self, h: usize, w: usize) -> Shape {
        let (oh, ow) = window_shape(self.padding, self.kernel, self.stride, Shape::new(1, h, w))
            .unwrap_or_else(|| panic!("a {h}x{w} image is smaller than the kernel, {}", self.kernel));
        Shape::new(self.oc, oh, ow)
    }

    /// Computes `dst` from `src`, on this thread.
    ///
    /// # Panics
    /// Where `src` has not exactly the input channels or `dst` is not [`output_shape`](Self::output_shape).
    pub fn run(&self, src: View<'_>, dst: ViewMut<'_>) {
        self.run_with(&Serial, src, dst);
    }

    /// As [`run`](Self::run), on the threads of `parallel`.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn run_with(&self, parallel: &dyn Parallel, src: View<'_>, dst: ViewMut<'_>) {
        let source =
            Source { data: src.data(), shape: src.shape(), planar: false, block_stride: src.block_stride() };
        self.run_source(parallel, source, dst);
    }

    /// Computes `dst` from a planar (channel, row, column) image of `h` x `w`.
    ///
    /// # Panics
    /// Where `src` does not hold exactly `ic * h * w` elements or `dst` is not [`output_shape`](Self::output_shape).
    pub fn run_planar(&self, src: &[f32], h: usize, w: usize, dst: ViewMut<'_>) {
        self.run_planar_with(&Serial, src, h, w, dst);
    }

    /// As [`run_planar`](Self::run_planar), on the threads of `parallel`.
    ///
    /// # Panics
    /// As [`run_planar`](Self::run_planar).
    pub fn run_planar_with(
        &self,
        parallel: &dyn Parallel,
        src: &[f32],
        h: usize,
        w: usize,
        dst: ViewMut<'_>,
    ) {
        self.run_source(parallel, self.planar(src, h, w), dst);
    }

    fn planar<'a>(&self, src: &'a [f32], h: usize, w: usize) -> Source<'a> {
        let shape = Shape::new(self.ic, h, w);
        assert!(src.len() == self.ic * h * w, "a planar image of {shape} has not {} elements", src.len());
        Source { data: src, shape, planar: true, block_stride: 0 }
    }

    fn run_source(&self, parallel: &dyn Parallel, src: Source<'_>, mut dst: ViewMut<'_>) {
        let (from, to) = (src.shape, dst.shape());
        let expected = self.output_shape(from.h, from.w);
        assert!(
            from.c == self.ic && to == expected,
            "convolution {0}x{0} stride {1} from {2} channels: cannot run from {from} to {to}, which should be {expected}",
            self.kernel,
            self.stride,
            self.ic
        );
        let dst_block_stride = dst.block_stride();
        let target = Target(dst.data_mut().as_mut_ptr());
        // Several parts per thread: rows at the border have fewer taps.
        let parts = if parallel.threads() <= 1 { 1 } else { to.h.min(parallel.threads().saturating_mul(4)) };
        each_once(parallel, parts, &|task| {
            let mut rows = self.rows(src, to.w, dst_block_stride);
            for y in part(to.h, parts, task) {
                // SAFETY: the shapes were checked above, and each row belongs to one task.
                unsafe { rows.compute(y, target.at(y * to.w * BLOCK)) };
            }
        });
    }

    /// Elements of scratch that [`run_planar_pooled`](Self::run_planar_pooled) needs for an image of `h` x `w`: three
    /// rows per thread, for at most as many threads as there are rows.
    ///
    /// # Panics
    /// Where the padded image is smaller than the kernel.
    pub fn pooled_scratch(&self, parallel: &dyn Parallel, h: usize, w: usize) -> usize {
        let conv = self.output_shape(h, w);
        bands(parallel, conv) * conv.blocks() * 3 * conv.w * BLOCK
    }

    /// As [`run_planar_with`](Self::run_planar_with) followed by a 3x3 stride-2 `pool`, three rows of the convolution at
    /// a time, which never leave the cache: the stem of a ShuffleNet.
    ///
    /// # Panics
    /// Where `src` does not hold exactly `ic * h * w` elements, `scratch` is shorter than
    /// [`pooled_scratch`](Self::pooled_scratch), `pool` has another window, or `dst` is not what it makes of
    /// [`output_shape`](Self::output_shape).
    #[expect(clippy::too_many_arguments, reason = "an image, a pool, a scratch and a destination")]
    pub fn run_planar_pooled(
        &self,
        parallel: &dyn Parallel,
        src: &[f32],
        h: usize,
        w: usize,
        pool: &MaxPool,
        scratch: &mut [f32],
        mut dst: ViewMut<'_>,
    ) {
        let src = self.planar(src, h, w);
        let (conv, to) = (self.output_shape(h, w), dst.shape());
        let (pad_top, pad_left) = pool.pads_3x3_stride_2(conv).expect("the pool is 3x3 with stride 2");
        assert!(to == pool.output_shape(conv), "pool of {conv} into {to}");
        let bands = bands(parallel, conv);
        let (row, ring) = (conv.w * BLOCK, conv.blocks() * 3 * conv.w * BLOCK);
        assert!(
            scratch.len() / ring >= bands,
            "{} elements of scratch, {} needed",
            scratch.len(),
            bands.saturating_mul(ring)
        );
        let (scratch, target) = (Target(scratch.as_mut_ptr()), Target(dst.data_mut().as_mut_ptr()));
        let dst_block_stride = dst.block_stride();
        each_once(parallel, bands, &|band| {
            let mut rows = self.rows(src, conv.w, 3 * row);
            let mut next = 0;
            for py in part(to.h, bands, band) {
                let window = |i: usize| (2 * py + i).saturating_sub(pad_top).min(conv.h - 1);
                // SAFETY: each band has a ring of three rows per block of its own, and pooled rows of its own; the ring
                // holds the window's rows, for they are at most three, one after the other.
                unsafe {
                    let ring = scratch.at(band * ring);
                    for y in window(0).max(next)..window(2) + 1 {
                        rows.compute(y, ring.add(y % 3 * row));
                        next = y + 1;
                    }
                    for block in 0..to.blocks() {
                        let at = |i: usize| ring.add(block * 3 * row + window(i) % 3 * row).cast_const();
                        (self.kernels.max_row)(&MaxRow {
                            rows: [at(0), at(1), at(2)],
                            iw: conv.w,
                            dst: target.at(block * dst_block_stride + py * to.w * BLOCK),
                            ow: to.w,
                            pad_left,
                            lanes: (to.c - block * BLOCK).min(BLOCK),
                        });
                    }
                }
            }
        });
    }

    fn rows<'a>(&'a self, src: Source<'a>, ow: usize, dst_block_stride: usize) -> Rows<'a> {
        assert!(src.data.len() <= u32::MAX as usize, "a tensor of 2^32 elements or more");
        let step = match (src.planar, self.stride) {
            (false, 1) => PixelStep::Blocked,
            (false, _) => PixelStep::Blocked2,
            (true, 1) => PixelStep::Planar,
            (true, _) => PixelStep::Planar2,
        };
        let gemm = self.kernels.gemm[step as usize];
        Rows { op: self, src, ow, dst_block_stride, gemm, offsets: [0; KC], filled: 0..0 }
    }
}

/// Parts that a pooled convolution is cut into: no more than rows, whatever number of threads somebody's `Parallel` claims
/// to have.
fn bands(parallel: &dyn Parallel, conv: Shape) -> usize {
    parallel.threads().clamp(1, conv.h)
}

/// Computes output rows one by one.
struct Rows<'a> {
    op: &'a Convolution,
    src: Source<'a>,
    ow: usize,
    dst_block_stride: usize,
    gemm: unsafe fn(&Gemm),
    /// Where each k of `filled` lies, from a pixel's first tap on; the same for every row.
    offsets: [u32; KC],
    filled: Range<usize>,
}

impl Rows<'_> {
    /// # Safety
    /// The shapes were checked, and `dst` points at row `oy` in the first block of a destination with blocks
    /// `dst_block_stride` apart, which nobody else writes.
    unsafe fn compute(&mut self, oy: usize, dst: *mut f32) {
        let Convolution { kernel, stride, ic, padding, .. } = *self.op;
        let shape = self.src.shape;
        let (pad_top, _) = padding.rows(shape.h, kernel, stride).expect("checked by output_shape");
        let (pad_left, _) = padding.columns(shape.w, kernel, stride).expect("checked by output_shape");
        // Taps whose row lies inside the image.
        let y = oy * stride;
        let kh = pad_top.saturating_sub(y)..kernel.min(shape.h + pad_top - y);
        // Pixels whose taps all lie inside the image's columns.
        let first = pad_left.div_ceil(stride).min(self.ow);
        let inner =
            first..((shape.w + pad_left + stride).saturating_sub(kernel) / stride).clamp(first, self.ow);
        let ow = self.ow;
        let mut span = |pixels: Range<usize>, kw: Range<usize>| {
            // The first tap of the first pixel; perhaps before the image, where no tap that is used lies.
            let origin = (y as isize - pad_top as isize) * shape.w as isize
                + (pixels.start * stride) as isize
                - pad_left as isize;
            let src = self.src.data.as_ptr().wrapping_offset(origin * self.src.pixel() as isize);
            let whole = kh.len() == kernel;
            // Columns of taps lie one after the other; of a column that reaches over the border, a part.
            let parts = if whole { 1 } else { kw.len() };
            for part in 0..parts {
                let ks = if whole {
                    kw.start * kernel * ic..kw.end * kernel * ic
                } else {
                    let column = (kw.start + part) * kernel;
                    (column + kh.start) * ic..(column + kh.end) * ic
                };
                // SAFETY: every k in `ks` names a tap inside the image for all of `pixels`; `dst` is the caller's.
                unsafe { self.product(src, pixels.clone(), ks, part == 0, part + 1 == parts, dst) };
            }
        };
        if !inner.is_empty() {
            span(inner.clone(), 0..kernel);
        }
        for ox in (0..inner.start).chain(inner.end..ow) {
            let x = ox * stride;
            span(ox..ox + 1, pad_left.saturating_sub(x)..kernel.min((shape.w + pad_left).saturating_sub(x)));
        }
    }

    /// The sums over `ks` for a run of pixels; `src` is the first tap of the first.
    ///
    /// # Safety
    /// As `compute`, and every k of `ks` names a tap inside the image.
    unsafe fn product(
        &mut self,
        src: *const f32,
        pixels: Range<usize>,
        ks: Range<usize>,
        first: bool,
        last: bool,
        dst: *mut f32,
    ) {
        let op = self.op;
        for start in ks.clone().step_by(KC) {
            let k = start..ks.end.min(start + KC);
            if self.filled.start > k.start || self.filled.end < k.end {
                self.fill(k.start);
            }
            for panel in &op.panels {
                let nr = panel.width.lanes(op.kernels);
                let to = panel.slot / BLOCK * self.dst_block_stride + pixels.start * BLOCK;
                // SAFETY: the caller's for source and destination; `packed` was laid out by `build`, and the panel's
                // registers lie in the blocks of `dst`.
                unsafe {
                    let packed = op.packed.as_slice().as_ptr().add(panel.at);
                    (self.gemm)(&Gemm {
                        src,
                        offsets: self.offsets.as_ptr().add(k.start - self.filled.start),
                        kc: k.len(),
                        pixels: pixels.len(),
                        weights: packed.add((1 + k.start) * nr),
                        bias: packed,
                        residual: core::ptr::null(),
                        residual_block_stride: 0,
                        dst: dst.add(to),
                        dst_block_stride: self.dst_block_stride,
                        lane: panel.slot % BLOCK,
                        nv: panel.width.nv,
                        half: panel.width.half,
                        first: first && k.start == ks.start,
                        last: last && k.end == ks.end,
                        epilogue: op.kernels.epilogue(op.activation),
                        prefetch: [Upcoming::NOTHING; 2],
                    });
                }
            }
        }
    }

    /// Fills the table from `start` on: all of it, where all fits.
    fn fill(&mut self, start: usize) {
        let Convolution { kernel, ic, .. } = *self.op;
        let all = kernel * kernel * ic;
        self.filled = if all <= KC { 0..all } else { start..all.min(start + KC) };
        let (mut tap, mut i) = (self.filled.start / ic, self.filled.start % ic);
        for offset in &mut self.offsets[..self.filled.len()] {
            let (kw, kh) = (tap / kernel, tap % kernel);
            *offset = ((kh * self.src.shape.w + kw) * self.src.pixel() + self.src.channel(i)) as u32;
            i += 1;
            if i == ic {
                (tap, i) = (tap + 1, 0);
            }
        }
    }
}
