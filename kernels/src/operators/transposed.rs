//! Transposed convolution.
//!
//! ```text
//! output pixels, stride 2        Pixels of one phase (all a, say) meet the same taps: those that a stride apart reach them. So
//!   a b a b                      each phase is a convolution at every pixel of the source, with some of the taps, of which the
//!   c d c d                      results are written a stride apart. 2x2 taps and stride 2 are four of 1x1.
//!   a b a b
//! ```

use crate::activation::Activation;
use crate::error::{Error, invalid};
use crate::operators::call::{Call, maps, residual, runs};
use crate::operators::filters::{Channels, Filters};
use crate::operators::options::builder;
use crate::operators::sliding::{Job, Map, Side, To, expect_offsets};
use crate::tensor::{BLOCK, Shape, Source, View, ViewMut};
use crate::threads::share::{Target, grid};
use crate::window::{Padding, Window};
use alloc::vec::Vec;

/// Transposed convolution (PyTorch's `ConvTranspose2d`) with bias, folded batch normalisation, activation and an optional
/// residual in its epilogue.
///
/// Each pixel of the source, times the window's weights, is added to the destination at `stride` times its place:
/// `dst[o][y * stride + kh - top][x * stride + kw - left] += weights[i][o][kh][kw] * src[i][y][x]`, for all that lies inside.
///
/// ```
/// use kernels::{Shape, Tensor, Transposed, Window};
///
/// let op = Transposed::builder(1, 1, Window::new(2).stride(2)).build(&[1.0, 2.0, 3.0, 4.0])?;
/// let src = Tensor::from_nchw(&[1.0, 10.0], Shape::new(1, 1, 2))?;
/// let mut dst = Tensor::zeros(op.output_shape(src.shape()));
/// op.run(src.view(), dst.view_mut());
/// assert_eq!(dst.to_nchw(), [1.0, 2.0, 10.0, 20.0, 3.0, 4.0, 30.0, 40.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct Transposed {
    /// By phase of rows, then of columns.
    phases: Vec<Filters>,
    window: Window,
    output_padding: [usize; 2],
    activation: Activation,
    src_slots: usize,
    dst_slots: usize,
}

builder!(
    Transposed,
    TransposedBuilder<'a>(ic: usize, oc: usize, window: Window) { output_padding: [usize; 2] = [0, 0] },
    bias batch_norm activation isa groups input_order output_order
);

/// The taps of a window of `kernel` taps, `stride` apart, that reach the pixels of a phase: the first, and how many.
fn taps(phase: usize, pad: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let first = (phase + pad) % stride;
    (first, (kernel - first).div_ceil(stride))
}

impl TransposedBuilder<'_> {
    /// Rows and columns more at the end, which the stride leaves open. Default: none.
    pub fn output_padding(mut self, output_padding: [usize; 2]) -> Self {
        self.output_padding = output_padding;
        self
    }

    /// Packs `weights`, `ic * (oc / groups) * kh * kw` numbers in that order (PyTorch's).
    ///
    /// # Errors
    /// Where channels, groups or orders do not fit each other, the kernel is smaller than the stride, there is a dilation, the
    /// padding is "same", the output padding is not smaller than the stride, a slice has the wrong length, or
    /// `KERNELS_ISA` is wrong.
    pub fn build(self, weights: &[f32]) -> Result<Transposed, Error> {
        let Self { ic, oc, window, output_padding, options } = self;
        window.expect_sound()?;
        let Window { kernel: [kh, kw], stride: [sh, sw], dilation, .. } = window;
        if kh < sh || kw < sw {
            return Err(invalid("kernel", format_args!("{kh}x{kw}: smaller than the stride, {sh}x{sw}")));
        }
        if window.ceil {
            return Err(invalid("window", "ceil has no meaning here"));
        }
        if dilation != [1, 1] {
            return Err(invalid("dilation", format_args!("{dilation:?}: must be 1")));
        }
        let Padding::Sides { top, left, .. } = window.padding else {
            return Err(invalid("padding", "\"same\" has no meaning here"));
        };
        if output_padding[0] >= sh || output_padding[1] >= sw {
            let why = format_args!("{output_padding:?}: must be smaller than the stride, {sh}x{sw}");
            return Err(invalid("output padding", why));
        }
        let channels = Channels::new(ic, oc, &options, window.taps(), weights.len())?;
        let (group_ic, group_oc) = (ic / channels.groups, oc / channels.groups);
        let mut phases = Vec::new();
        for (row, column) in (0..sh).flat_map(|row| (0..sw).map(move |column| (row, column))) {
            let ((y, rows), (x, columns)) = (taps(row, top, kh, sh), taps(column, left, kw, sw));
            // A pixel further on in the source is a tap further back.
            let weight = |o: usize, i: usize, tap: usize| {
                let (tap_x, tap_y) = (columns - 1 - tap / rows, rows - 1 - tap % rows);
                let input = o / group_oc * group_ic + i;
                weights[((input * group_oc + o % group_oc) * kh + y + tap_y * sh) * kw + x + tap_x * sw]
            };
            phases.push(Filters::pack(&channels, rows * columns, &options, weight)?);
        }
        Ok(Transposed {
            phases,
            window,
            output_padding,
            activation: options.activation,
            src_slots: channels.src_slots(),
            dst_slots: channels.dst_slots(),
        })
    }
}

runs!(Transposed(src: View<'_>, dst: ViewMut<'_>));
maps!(Transposed, at_least, "transposed convolution {} of {} slots", window, src_slots);
residual!(Transposed);

impl Transposed {
    /// Slots, height and width of the destination: `(h - 1) * stride + kernel - padding + output padding`. It may have more
    /// slots.
    ///
    /// # Errors
    /// Where `src` has too few slots, or nothing would be left of it.
    pub fn try_output_shape(&self, src: Shape) -> Result<Shape, Error> {
        src.try_len()?;
        if src.c < self.src_slots {
            return Err(self.misfit(format_args!("{src}")));
        }
        let (h, w) = self.window.transposed(src.h, src.w, self.output_padding)?;
        let shape = Shape::new(self.dst_slots, h, w);
        shape.try_len()?;
        for phase in 0..self.phases.len() {
            let channels = src.reach(src.block_stride());
            expect_offsets(self.sides(phase, src, shape), BLOCK, channels, src)?;
        }
        Ok(shape)
    }

    /// Row and column of the first pixel of a phase.
    fn first(&self, phase: usize) -> [usize; 2] {
        [phase / self.window.stride[1], phase % self.window.stride[1]]
    }

    /// How a phase's taps slide over the source.
    fn sides(&self, phase: usize, src: Shape, dst: Shape) -> [Side; 2] {
        let pads = match self.window.padding {
            Padding::Sides { top, left, .. } => [top, left],
            Padding::Same => unreachable!("refused when built"),
        };
        [0, 1].map(|axis| {
            let (stride, first) = (self.window.stride[axis], self.first(phase)[axis]);
            let (tap, count) = taps(first, pads[axis], self.window.kernel[axis], stride);
            Side {
                len: [src.h, src.w][axis],
                windows: [dst.h, dst.w][axis].saturating_sub(first).div_ceil(stride),
                kernel: count,
                stride: 1,
                dilation: 1,
                // The pixel that meets tap `tap` first is so many behind the phase's first; the others come before it.
                before: count as isize - 1 - ((first + pads[axis] - tap) / stride) as isize,
            }
        })
    }

    fn compute(call: Call<'_, Self>, src: View<'_>, mut dst: ViewMut<'_>) -> Result<(), Error> {
        let (op, from, to) = (call.op, src.shape(), dst.shape());
        op.check(from, to)?;
        call.expect_residual(to)?;
        let [down, along] = op.window.stride;
        let target = Target::new(&mut dst);
        for (phase, filters) in op.phases.iter().enumerate() {
            let map = Map {
                src: Source::Tensor(src),
                sides: op.sides(phase, from, to),
                dst_steps: [down * to.w * BLOCK, along * BLOCK],
                dst_block_stride: target.block_stride(),
                residual_block_stride: call.residual.map_or(0, |residual| residual.block_stride()),
            };
            if map.sides.iter().any(|side| side.windows == 0) {
                continue;
            }
            let job = Job::new(filters, op.src_slots, op.activation, map)?;
            let [y, x] = op.first(phase);
            grid(call.parallel, filters.packed.panels.len(), map.sides[0].windows, &|panels, rows| {
                if rows.is_empty() {
                    return;
                }
                let first = (y + rows.start * down) * to.w + x;
                let residual = call.residual.map_or(core::ptr::null(), |residual| residual.at(0, first));
                // SAFETY: the shapes were checked above; phases and tasks write disjoint panels or disjoint pixels.
                unsafe { job.clone().compute(panels, rows, To { dst: target.at(0, first), residual }) };
            });
        }
        Ok(())
    }
}
