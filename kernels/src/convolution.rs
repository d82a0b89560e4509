//! Dense convolution: the stem of a network, and the 3x3 of a bottleneck.

use crate::Activation;
use crate::backend::Kernels;
use crate::depthwise::{Target, check_window, window_shape};
use crate::error::{Error, expect_len, invalid};
use crate::micro::gemm::{Gemm, PixelStep};
use crate::pack::{Common, Width, common_setters, panel_widths};
use crate::padding::Padding;
use crate::parallel::{Parallel, Serial};
use crate::pointwise::part;
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
    /// Per panel: bias, then weights by kh, kw and ic.
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
        for width in panel_widths(registers, 0, ragged, kernels) {
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
                    for i in 0..ic {
                        let weight = f64::from(weights[(o * ic + i) * taps + tap]);
                        rows[(tap * ic + i) * nr + lane] = (weight * scale[o]) as f32;
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
        let rows = 0..dst.shape().h;
        self.run_source(parallel, source, dst, rows);
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
        let rows = 0..dst.shape().h;
        self.run_source(parallel, self.planar(src, h, w), dst, rows);
    }

    fn planar<'a>(&self, src: &'a [f32], h: usize, w: usize) -> Source<'a> {
        let shape = Shape::new(self.ic, h, w);
        assert!(src.len() == self.ic * h * w, "a planar image of {shape} has not {} elements", src.len());
        Source { data: src, shape, planar: true, block_stride: 0 }
    }

    /// Computes the output rows `rows` into `dst`, whose first row is `rows.start`.
    fn run_source(&self, parallel: &dyn Parallel, src: Source<'_>, mut dst: ViewMut<'_>, rows: Range<usize>) {
        let (from, to) = (src.shape, dst.shape());
        let expected = self.output_shape(from.h, from.w);
        assert!(
            from.c == self.ic
                && to.c == self.oc
                && to.w == expected.w
                && rows.end <= expected.h
                && to.h == rows.len(),
            "convolution {0}x{0} stride {1} from {2} channels: cannot run from {from} to {to}, which should be {expected}",
            self.kernel,
            self.stride,
            self.ic
        );
        assert!(src.data.len() <= u32::MAX as usize, "a tensor of 2^32 elements or more");
        let dst_block_stride = dst.block_stride();
        let target = Target(dst.data_mut().as_mut_ptr());
        // Several parts per thread: rows at the border have fewer taps.
        let parts = if parallel.threads() <= 1 { 1 } else { rows.len().min(4 * parallel.threads()) };
        parallel.for_each(parts, &|task| {
            let part = part(rows.len(), parts, task);
            for y in part {
                // SAFETY: the shapes were checked above, and each row belongs to one task.
                unsafe {
                    let row = target.at(y * to.w * BLOCK);
                    self.row(src, rows.start + y, to.w, row, dst_block_stride);
                }
            }
        });
    }

    /// One output row.
    ///
    /// # Safety
    /// `dst` points at the row in the first block of a checked destination that nobody else writes.
    unsafe fn row(&self, src: Source<'_>, oy: usize, ow: usize, dst: *mut f32, dst_block_stride: usize) {
        let (kernel, stride, ic) = (self.kernel, self.stride, self.ic);
        let (pad_top, _) = self.padding.rows(src.shape.h, kernel, stride).expect("checked by output_shape");
        let (pad_left, _) =
            self.padding.columns(src.shape.w, kernel, stride).expect("checked by output_shape");
        // Taps whose row lies inside the image.
        let y = oy * stride;
        let (kh0, kh1) = (pad_top.saturating_sub(y), kernel.min(src.shape.h + pad_top - y));
        // Pixels whose taps all lie inside the image.
        let inner = pad_left.div_ceil(stride).min(ow);
        let inner =
            inner..((src.shape.w + pad_left + stride).saturating_sub(kernel) / stride).clamp(inner, ow);
        let step = match (src.planar, stride) {
            (false, 1) => PixelStep::Blocked,
            (false, _) => PixelStep::Blocked2,
            (true, 1) => PixelStep::Planar,
            (true, _) => PixelStep::Planar2,
        };
        let gemm = self.kernels.gemm[step as usize];
        let pixel = src.pixel();
        let mut offsets = [0u32; KC];

        let mut span = |pixels: Range<usize>, ks: Range<usize>, first: bool, last: bool| {
            // The first tap of the first pixel; perhaps before the image, where no k in `ks` reaches.
            let origin = (y as isize - pad_top as isize) * src.shape.w as isize
                + (pixels.start * stride) as isize
                - pad_left as isize;
            for start in ks.clone().step_by(KC) {
                let k = start..ks.end.min(start + KC);
                let (mut tap, mut i) = (k.start / ic, k.start % ic);
                for offset in &mut offsets[..k.len()] {
                    *offset = (((tap / kernel) * src.shape.w + tap % kernel) * pixel + src.channel(i)) as u32;
                    i += 1;
                    if i == ic {
                        (tap, i) = (tap + 1, 0);
                    }
                }
                for panel in &self.panels {
                    let nr = panel.width.lanes(self.kernels);
                    let to =
                        panel.slot / BLOCK * dst_block_stride + panel.slot % BLOCK + pixels.start * BLOCK;
                    // SAFETY: every k in `ks` names a tap inside the image for all of `pixels`; `packed` was laid
                    // out by `build`; the panel's registers lie in `dst`'s blocks.
                    unsafe {
                        let packed = self.packed.as_slice().as_ptr().add(panel.at);
                        gemm(&Gemm {
                            src: src.data.as_ptr().wrapping_offset(origin * pixel as isize),
                            offsets: offsets.as_ptr(),
                            kc: k.len(),
                            pixels: pixels.len(),
                            weights: packed.add((1 + k.start) * nr),
                            bias: packed,
                            residual: core::ptr::null(),
                            residual_block_stride: 0,
                            dst: dst.add(to),
                            dst_block_stride,
                            nv: panel.width.nv,
                            half: panel.width.half,
                            first: first && k.start == ks.start,
                            last: last && k.end == ks.end,
                            activation: self.activation,
                            prefetch: core::ptr::null(),
                            prefetch_lines: 0,
                        });
                    }
                }
            }
        };
        if !inner.is_empty() {
            span(inner.clone(), kh0 * kernel * ic..kh1 * kernel * ic, true, true);
        }
        // Border pixels one by one, the taps inside the image row by row.
        for ox in (0..inner.start).chain(inner.end..ow) {
            let x = ox * stride;
            let (kw0, kw1) =
                (pad_left.saturating_sub(x), kernel.min((src.shape.w + pad_left).saturating_sub(x)));
            for kh in kh0..kh1 {
                let ks = (kh * kernel + kw0) * ic..(kh * kernel + kw1) * ic;
                span(ox..ox + 1, ks, kh == kh0, kh + 1 == kh1);
            }
        }
    }
}
