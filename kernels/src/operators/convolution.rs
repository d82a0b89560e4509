//! Dense convolution: the stem of a network, and the 3x3 of a bottleneck.
//!
//! No image is unrolled: a row of output pixels is one matrix product whose table of offsets names a tap and a channel per
//! k. Taps are sorted by column, so that a pixel at the left or right border, which has only the last or first columns of
//! taps, is still one product; at the upper or lower border it is one per column.

use crate::activation::Activation;
use crate::error::{Error, expect_fit, expect_len, invalid};
use crate::micro::gemm::{PixelStep, Upcoming};
use crate::operators::call::{Call, output_shape, runs};
use crate::operators::options::{Options, setters};
use crate::pack::{KC, Packed, Packer, Product};
use crate::tensor::extent;
use crate::tensor::image::Source;
use crate::tensor::shape::{BLOCK, Shape};
use crate::tensor::view::ViewMut;
use crate::threads::share::{Target, each_once, part, threads};
use crate::window::{Axis, Window};
use alloc::{format, string::String, vec::Vec};
use core::fmt;
use core::ops::Range;

/// Dense convolution with bias, folded batch normalisation and activation in its epilogue.
///
/// `dst[o][y][x] = activation(sum over i, kh, kw of weights[o][i][kh][kw] * src[i][y * stride + kh - top][x * stride +
/// kw - left] + bias[o])`; taps outside the image contribute nothing.
///
/// Source: a blocked tensor, or an [`Image`](crate::Image) as it comes from the user.
///
/// ```
/// use kernels::{Convolution, Image, Shape, Tensor, Window};
///
/// // The first layer of a network reads the planar image as it is.
/// let op = Convolution::builder(3, 24, Window::new(3).stride(2).pad(1)).build(&[0.5; 24 * 3 * 9])?;
/// let shape = Shape::new(3, 32, 32);
/// let pixels = vec![1.0; shape.elements()];
/// let mut dst = Tensor::zeros(op.output_shape(shape));
/// op.run(Image::planar(&pixels, shape)?, dst.view_mut());
/// assert_eq!(dst.view().get(0, 5, 5), 13.5);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct Convolution {
    ic: usize,
    oc: usize,
    window: Window,
    activation: Activation,
    /// Inputs are sorted by kw, kh and ic.
    packed: Packed,
}

/// Collects what a [`Convolution`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct ConvolutionBuilder<'a> {
    ic: usize,
    oc: usize,
    window: Window,
    options: Options<'a>,
}

impl<'a> ConvolutionBuilder<'a> {
    setters!(bias batch_norm activation isa);

    /// Packs `weights`, `oc * ic * kernel * kernel` numbers in that order (PyTorch's).
    ///
    /// # Errors
    /// Where a channel count is zero, the window is not a square of 1, 3, 5 or 7 with stride 1 or 2, no dilation and padding
    /// smaller than the kernel, a slice has the wrong length, or `KERNELS_ISA` is wrong.
    pub fn build(self, weights: &[f32]) -> Result<Convolution, Error> {
        let Self { ic, oc, window, .. } = self;
        if ic == 0 || oc == 0 {
            return Err(invalid("channels", format_args!("{ic} to {oc}: both must be at least 1")));
        }
        window.expect_square(&[1, 3, 5, 7])?;
        let ([kh, kw], taps) = (window.kernel, window.taps());
        expect_len("weights", oc.saturating_mul(ic).saturating_mul(taps), weights.len())?;
        let kernels = self.options.kernels()?;
        let (scale, bias) = self.options.fold(oc)?;

        let lanes = kernels.lanes;
        let registers = oc.div_ceil(lanes);
        let mut packer = Packer::new(kernels, true);
        packer.cut(0..registers, oc + lanes / 2 <= registers * lanes, 0..ic * taps)?;
        // Where the weight of each input lies among those of an output channel.
        let mut inputs = Vec::with_capacity(ic * taps);
        for column in 0..kw {
            for row in 0..kh {
                inputs.extend((0..ic).map(|i| i * taps + row * kw + column));
            }
        }
        let packed = packer.pack(
            |slot| (slot < oc).then_some(slot),
            &bias,
            |o| {
                let (weights, scale, inputs) = (&weights[o * ic * taps..][..ic * taps], scale[o], &inputs);
                move |k| (f64::from(weights[inputs[k]]) * scale) as f32
            },
        );
        Ok(Convolution { ic, oc, window, activation: self.options.activation, packed })
    }
}

runs!(Convolution<'s>(src: impl Into<Source<'s>>, dst: ViewMut<'_>));
output_shape!(Convolution);

impl Convolution {
    /// Begins a convolution from `ic` to `oc` channels.
    pub fn builder<'a>(ic: usize, oc: usize, window: Window) -> ConvolutionBuilder<'a> {
        ConvolutionBuilder { ic, oc, window, options: Options::default() }
    }

    /// Channels, height and width of the destination.
    ///
    /// # Errors
    /// Where `src` has not exactly the input channels, or the window does not fit into it.
    pub fn try_output_shape(&self, src: Shape) -> Result<Shape, Error> {
        src.try_len()?;
        expect_fit(src.c == self.ic, || self.misfit(format_args!("{src}")))?;
        let (h, w) = self.window.output(src.h, src.w)?;
        // Whether it comes in blocks or in planes.
        self.expect_offsets(src, BLOCK, src.reach(src.block_stride()))?;
        self.expect_offsets(src, 1, extent::product([src.c - 1, src.h, src.w]))?;
        let shape = Shape::new(self.oc, h, w);
        shape.try_len()?;
        Ok(shape)
    }

    /// Whether the operator runs from `src` to `dst`.
    ///
    /// # Errors
    /// Where `src` has not exactly the input channels, or `dst` is not [`output_shape`](Self::output_shape).
    pub fn check(&self, src: Shape, dst: Shape) -> Result<(), Error> {
        let expected = self.try_output_shape(src)?;
        expect_fit(dst == expected, || {
            self.misfit(format_args!("{src} to {dst}, which should be {expected}"))
        })
    }

    fn misfit(&self, from: fmt::Arguments<'_>) -> String {
        format!("convolution {} from {} channels: cannot run from {from}", self.window, self.ic)
    }

    /// Checks the reach of the table of offsets. Taps on padding may lie outside the tensor; the table has an entry for them
    /// all the same.
    fn expect_offsets(&self, src: Shape, pixel: usize, channels: Option<usize>) -> Result<(), Error> {
        let [kh, kw] = self.window.kernel;
        let taps = extent::product([kh - 1, src.w]).and_then(|rows| extent::sum([rows, kw - 1]));
        let taps = taps.and_then(|taps| extent::product([taps, pixel]));
        extent::expect_offsets(
            taps.zip(channels).and_then(|(taps, channels)| extent::sum([taps, channels])),
            src,
        )
    }

    fn compute<'s>(
        call: Call<'_, Self>,
        src: impl Into<Source<'s>>,
        mut dst: ViewMut<'_>,
    ) -> Result<(), Error> {
        let (op, src, to) = (call.op, src.into(), dst.shape());
        op.check(src.shape(), to)?;
        let rows = Rows::new(op, src, dst.block_stride())?;
        let target = Target::new(&mut dst);
        // Several parts per thread: rows at the border have fewer taps.
        let threads = threads(call.parallel);
        let parts = if threads == 1 { 1 } else { to.h.min(threads * 4) };
        each_once(call.parallel, parts, &|task| {
            let mut rows = rows.clone();
            for y in part(to.h, parts, task) {
                // SAFETY: the shapes were checked above, and each row belongs to one task.
                unsafe { rows.compute(y, target.at(0, y * to.w)) };
            }
        });
        Ok(())
    }

    /// The packed weights.
    pub(crate) fn packed(&self) -> &Packed {
        &self.packed
    }
}

/// Computes output rows one by one.
#[derive(Clone)]
pub(crate) struct Rows<'a> {
    op: &'a Convolution,
    src: Source<'a>,
    rows: Axis,
    columns: Axis,
    dst_block_stride: usize,
    step: PixelStep,
    /// Where each k of `filled` lies, from a pixel's first tap on; the same for every row.
    offsets: [u32; KC],
    filled: Range<usize>,
}

impl<'a> Rows<'a> {
    /// Of `op` on `src`, into a destination with blocks so far apart.
    ///
    /// # Errors
    /// Where the source does not fit.
    pub(crate) fn new(op: &'a Convolution, src: Source<'a>, dst_block_stride: usize) -> Result<Self, Error> {
        let shape = src.shape();
        op.try_output_shape(shape)?;
        op.expect_offsets(shape, src.pixel(), Some(src.channel(op.ic - 1)))?;
        let [rows, columns] = op.window.axes(shape.h, shape.w)?;
        let step = match (src, op.window.stride[1]) {
            (Source::Tensor(_), 1) => PixelStep::Blocked,
            (Source::Tensor(_), _) => PixelStep::Blocked2,
            (Source::Image(_), 1) => PixelStep::Planar,
            (Source::Image(_), _) => PixelStep::Planar2,
        };
        Ok(Self { op, src, rows, columns, dst_block_stride, step, offsets: [0; KC], filled: 0..0 })
    }

    /// # Safety
    /// `dst` points at the row that becomes row `oy`, in the first block of a destination that has all blocks of the output,
    /// and which nobody else writes.
    pub(crate) unsafe fn compute(&mut self, oy: usize, dst: *mut f32) {
        let Self { op: Convolution { window, ic, .. }, rows, columns, .. } = *self;
        let ([kh, kw], [sh, sw], shape) = (window.kernel, window.stride, self.src.shape());
        // Taps whose row lies inside the image.
        let y = oy * sh;
        let inside = rows.before.saturating_sub(y)..kh.min(shape.h + rows.before - y);
        // Pixels whose taps all lie inside the image's columns.
        let first = columns.before.div_ceil(sw).min(columns.len);
        let inner = ((shape.w + columns.before + sw).saturating_sub(kw) / sw).clamp(first, columns.len);
        let mut span = |pixels: Range<usize>, taps: Range<usize>| {
            // The first tap of the first pixel; perhaps before the image, where no tap that is used lies.
            let origin = (y as isize - rows.before as isize) * shape.w as isize
                + (pixels.start * sw) as isize
                - columns.before as isize;
            let src = self.src.data().as_ptr().wrapping_offset(origin * self.src.pixel() as isize);
            let whole = inside.len() == kh;
            // Columns of taps lie one after the other; of a column that reaches over the border, a part.
            let parts = if whole { 1 } else { taps.len() };
            for part in 0..parts {
                let ks = if whole {
                    taps.start * kh * ic..taps.end * kh * ic
                } else {
                    let column = (taps.start + part) * kh;
                    (column + inside.start) * ic..(column + inside.end) * ic
                };
                // SAFETY: every k in `ks` names a tap inside the image for all of `pixels`; `dst` is the caller's.
                unsafe { self.product(src, pixels.clone(), ks, part == 0, part + 1 == parts, dst) };
            }
        };
        if first < inner {
            span(first..inner, 0..kw);
        }
        for ox in (0..first).chain(inner..columns.len) {
            let (x, end) = (ox * sw, shape.w + columns.before);
            span(ox..ox + 1, columns.before.saturating_sub(x)..kw.min(end.saturating_sub(x)));
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
            for panel in 0..op.packed.panels.len() {
                // SAFETY: the caller's for source and destination; the table was filled for these k.
                unsafe {
                    op.packed.multiply(&Product {
                        panel,
                        k: k.clone(),
                        offsets: &self.offsets[k.start - self.filled.start..][..k.len()],
                        src,
                        step: self.step,
                        pixels: pixels.len(),
                        dst: dst.wrapping_add(pixels.start * BLOCK),
                        dst_block_stride: self.dst_block_stride,
                        residual: core::ptr::null(),
                        residual_block_stride: 0,
                        first: first && k.start == ks.start,
                        last: last && k.end == ks.end,
                        activation: op.activation,
                        prefetch: [Upcoming::NOTHING; 2],
                    });
                }
            }
        }
    }

    /// Fills the table from `start` on: all of it, where all fits.
    fn fill(&mut self, start: usize) {
        let Convolution { window, ic, .. } = *self.op;
        let (kh, all) = (window.kernel[0], window.taps() * ic);
        self.filled = if all <= KC { 0..all } else { start..all.min(start + KC) };
        let (mut tap, mut i) = (self.filled.start / ic, self.filled.start % ic);
        for offset in &mut self.offsets[..self.filled.len()] {
            let (column, row) = (tap / kh, tap % kh);
            *offset = ((row * self.src.shape().w + column) * self.src.pixel() + self.src.channel(i)) as u32;
            i += 1;
            if i == ic {
                (tap, i) = (tap + 1, 0);
            }
        }
    }
}
