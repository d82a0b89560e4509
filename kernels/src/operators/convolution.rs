//! Convolution by a window of any size, dense or in groups.

use crate::activation::Activation;
use crate::error::Error;
use crate::operators::call::{Call, at_least_if, maps, residual, runs};
use crate::operators::filters::{Channels, Filters};
use crate::operators::options::builder;
use crate::operators::sliding::{Job, Map, Side, To, expect_offsets};
use crate::pack::Packed;
use crate::tensor::{BLOCK, Shape, Source, View, ViewMut, extent};
use crate::threads::share::{Target, grid};
use crate::window::Window;

/// Convolution with bias, folded batch normalisation, activation and an optional residual in its epilogue.
///
/// `dst[o][y][x] = activation(sum over i, kh, kw of weights[o][i][kh][kw] * src[i][y * stride + kh * dilation - top][x * stride
/// + kw * dilation - left] + bias[o] (+ residual[o][y][x]))`, where `i` runs over the input channels of `o`'s group; taps
/// outside the image contribute nothing. A convolution of 1x1 at every pixel is faster as a [`Pointwise`](crate::Pointwise),
/// one with a group per channel as a [`Depthwise`](crate::Depthwise).
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
    filters: Filters,
    window: Window,
    activation: Activation,
    ic: usize,
    oc: usize,
    /// Slots that source and destination must have; they may have more where there is an order of them.
    src_slots: usize,
    dst_slots: usize,
    src_ordered: bool,
    dst_ordered: bool,
}

builder!(
    Convolution,
    ConvolutionBuilder<'a>(ic: usize, oc: usize, window: Window),
    bias batch_norm activation isa groups input_order output_order
);

impl ConvolutionBuilder<'_> {
    /// Packs `weights`, `oc * (ic / groups) * kh * kw` numbers in that order (PyTorch's).
    ///
    /// # Errors
    /// Where channels, groups or orders do not fit each other, a number of the window that must not be zero is, a slice has
    /// the wrong length, or `KERNELS_ISA` is wrong.
    pub fn build(self, weights: &[f32]) -> Result<Convolution, Error> {
        let Self { ic, oc, window, options } = self;
        window.expect_sound()?;
        let ([kh, kw], taps) = (window.kernel, window.taps());
        let channels = Channels::new(ic, oc, &options, taps, weights.len())?;
        let group_ic = ic / channels.groups;
        // Taps are sorted by column, the weights of PyTorch by row.
        let weight = |o, i, tap| weights[(o * group_ic + i) * taps + tap % kh * kw + tap / kh];
        Ok(Convolution {
            filters: Filters::pack(&channels, taps, &options, weight)?,
            window,
            activation: options.activation,
            ic,
            oc,
            src_slots: channels.src_slots(),
            dst_slots: channels.dst_slots(),
            src_ordered: channels.input.is_some(),
            dst_ordered: channels.output.is_some(),
        })
    }
}

runs!(Convolution<'s>(src: impl Into<Source<'s>>, dst: ViewMut<'_>));
maps!(Convolution, at_least_if(dst_ordered), "convolution {} from {} channels", window, ic);
residual!(Convolution);

impl Convolution {
    /// Input channels.
    pub fn ic(&self) -> usize {
        self.ic
    }

    /// Output channels.
    pub fn oc(&self) -> usize {
        self.oc
    }

    /// Slots, height and width of the destination. (With an output order, it may have more slots.)
    ///
    /// # Errors
    /// Where `src` has not exactly the input channels (or, with an input order, fewer slots than that names), or the window
    /// does not fit into it.
    pub fn try_output_shape(&self, src: Shape) -> Result<Shape, Error> {
        self.plan(src).map(|(shape, _)| shape)
    }

    /// The output's shape, and how windows lie.
    fn plan(&self, src: Shape) -> Result<(Shape, [Side; 2]), Error> {
        src.try_len()?;
        let slots = Shape { c: self.src_slots, ..src };
        if !at_least_if(src, slots, self.src_ordered) {
            return Err(self.misfit(format_args!("{src}")));
        }
        let sides = Side::both(self.window, src.h, src.w)?;
        // Whether it comes in blocks or in planes.
        expect_offsets(sides, BLOCK, src.reach(src.block_stride()), src)?;
        expect_offsets(sides, 1, extent::product([src.c - 1, src.h, src.w]), src)?;
        let shape = Shape::new(self.dst_slots, sides[0].windows, sides[1].windows);
        shape.try_len().map(|_| (shape, sides))
    }

    fn compute<'s>(
        call: Call<'_, Self>,
        src: impl Into<Source<'s>>,
        mut dst: ViewMut<'_>,
    ) -> Result<(), Error> {
        let (op, src, to) = (call.op, src.into(), dst.shape());
        op.check(src.shape(), to)?;
        call.expect_residual(to)?;
        let job = op.job(src, dst.block_stride(), call.residual)?;
        let target = Target::new(&mut dst);
        grid(call.parallel, op.filters.packed.panels.len(), to.h, &|panels, rows| {
            let first = rows.start * to.w;
            let residual = call.residual.map_or(core::ptr::null(), |residual| residual.at(0, first));
            // SAFETY: the shapes were checked above; tasks write disjoint panels or disjoint rows.
            unsafe { job.clone().compute(panels, rows, To { dst: target.at(0, first), residual }) };
        });
        Ok(())
    }

    /// The work from a source into rows of a destination with blocks so far apart.
    ///
    /// # Errors
    /// Where the source does not fit.
    pub(crate) fn job<'a>(
        &'a self,
        src: Source<'a>,
        dst_block_stride: usize,
        residual: Option<View<'_>>,
    ) -> Result<Job<'a>, Error> {
        let (shape, sides) = self.plan(src.shape())?;
        let map = Map {
            src,
            sides,
            dst_steps: [shape.w * BLOCK, BLOCK],
            dst_block_stride,
            residual_block_stride: residual.map_or(0, |residual| residual.block_stride()),
        };
        Job::new(&self.filters, self.src_slots, self.activation, map)
    }

    /// The packed weights.
    pub(crate) fn packed(&self) -> &Packed {
        &self.filters.packed
    }
}
