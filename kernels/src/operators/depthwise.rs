//! Depthwise convolution, 3x3 and 5x5.

use crate::activation::Activation;
use crate::backend::Kernels;
use crate::error::{Error, expect_fit, expect_len, invalid};
use crate::micro::depthwise as micro;
use crate::operators::call::{Call, output_shape, runs};
use crate::operators::options::{Options, setters};
use crate::tensor::extent;
use crate::tensor::order::ChannelOrder;
use crate::tensor::owned::Buffer;
use crate::tensor::shape::{BLOCK, Shape};
use crate::tensor::view::{View, ViewMut};
use crate::threads::share::{Target, grid};
use crate::window::{Axis, Window};
use alloc::{format, string::String, vec::Vec};
use core::fmt;

/// Depthwise convolution with bias, folded batch normalisation and activation in its epilogue.
///
/// `dst[c][y][x] = activation(sum over kh, kw of weights[c][kh][kw] * src[c][y * stride + kh - top][x * stride + kw -
/// left] + bias[c])`; taps outside the image contribute nothing.
///
/// A lane stays a lane: output block `i` is the `i`-th of the source's blocks that hold a channel of the input order,
/// and [`output_order`](Self::output_order) says where each channel went.
///
/// ```
/// use kernels::{Depthwise, Shape, Tensor, Window};
///
/// let op = Depthwise::builder(2, Window::new(3).stride(2).pad(1)).build(&[1.0; 2 * 9])?;
/// let src = Tensor::from_nchw(&[1.0; 2 * 16], Shape::new(2, 4, 4))?;
/// let mut dst = Tensor::zeros(op.output_shape(src.shape()));
/// op.run(src.view(), dst.view_mut());
/// assert_eq!(dst.to_nchw(), [4.0, 6.0, 6.0, 9.0, 4.0, 6.0, 6.0, 9.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct Depthwise {
    kernels: &'static Kernels,
    window: Window,
    activation: Activation,
    /// The blocks of the source that hold channels.
    blocks: Vec<u32>,
    output_order: ChannelOrder,
    src_slots: usize,
    /// Per block: sixteen biases, then sixteen weights per tap.
    packed: Buffer,
}

/// Collects what a [`Depthwise`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct DepthwiseBuilder<'a> {
    channels: usize,
    window: Window,
    input_order: Option<&'a ChannelOrder>,
    options: Options<'a>,
}

impl<'a> DepthwiseBuilder<'a> {
    setters!(bias batch_norm activation isa);

    /// The slot of the source in which each channel lies. Default: channel `c` in slot `c`.
    pub fn input_order(mut self, order: &'a ChannelOrder) -> Self {
        self.input_order = Some(order);
        self
    }

    /// Packs `weights`, `kernel * kernel` numbers per channel.
    ///
    /// # Errors
    /// Where the window is not a square of 3 or 5 with stride 1 or 2, no dilation and padding smaller than the kernel, a
    /// slot is named twice, a slice has the wrong length, or `KERNELS_ISA` is wrong.
    pub fn build(self, weights: &[f32]) -> Result<Depthwise, Error> {
        let Self { channels, window, .. } = self;
        if channels == 0 {
            return Err(invalid("channels", "0: must be at least 1"));
        }
        window.expect_square(&[3, 5])?;
        let taps = window.taps();
        expect_len("weights", channels.saturating_mul(taps), weights.len())?;
        let input = self.input_order.cloned().unwrap_or_else(|| ChannelOrder::identity(channels));
        expect_len("input order", channels, input.channels())?;
        let kernels = self.options.kernels()?;
        let (scale, bias) = self.options.fold(channels)?;

        let mut sorted: Vec<u32> = input.slots().to_vec();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(invalid("input order", "a slot is named twice"));
        }
        let mut blocks: Vec<u32> = sorted.iter().map(|slot| slot / BLOCK as u32).collect();
        blocks.dedup();
        let panel_len = (1 + taps) * BLOCK;
        let len = extent::expect("weights", extent::product([blocks.len(), panel_len]))?;
        let mut packed = Buffer::zeros(len);
        let mut slots = Vec::with_capacity(channels);
        for (channel, &slot) in input.slots().iter().enumerate() {
            let block = blocks.partition_point(|&block| block < slot / BLOCK as u32);
            let lane = slot as usize % BLOCK;
            slots.push((block * BLOCK + lane) as u32);
            let panel = &mut packed.as_mut_slice()[block * panel_len..][..panel_len];
            panel[lane] = bias[channel];
            for (tap, &weight) in weights[channel * taps..][..taps].iter().enumerate() {
                panel[(1 + tap) * BLOCK + lane] = (f64::from(weight) * scale[channel]) as f32;
            }
        }
        Ok(Depthwise {
            kernels,
            window,
            activation: self.options.activation,
            blocks,
            output_order: ChannelOrder::from_slots(slots),
            src_slots: input.width(),
            packed,
        })
    }
}

runs!(Depthwise(src: View<'_>, dst: ViewMut<'_>));
output_shape!(Depthwise);

impl Depthwise {
    /// Begins a convolution of `channels` channels.
    pub fn builder<'a>(channels: usize, window: Window) -> DepthwiseBuilder<'a> {
        DepthwiseBuilder { channels, window, input_order: None, options: Options::default() }
    }

    /// Where each channel lies in the destination.
    pub fn output_order(&self) -> &ChannelOrder {
        &self.output_order
    }

    /// Slots, height and width of the destination; it may have more slots.
    ///
    /// # Errors
    /// Where `src` has fewer slots than the input order names, or the window does not fit into it.
    pub fn try_output_shape(&self, src: Shape) -> Result<Shape, Error> {
        self.plan(src).map(|(shape, _)| shape)
    }

    /// Whether the operator runs from `src` to `dst`.
    ///
    /// # Errors
    /// Where `src` has too few slots, or `dst` is not [`output_shape`](Self::output_shape) (it may have more slots).
    pub fn check(&self, src: Shape, dst: Shape) -> Result<(), Error> {
        let (expected, _) = self.plan(src)?;
        let fits = dst.c >= expected.c && (dst.h, dst.w) == (expected.h, expected.w);
        expect_fit(fits, || self.misfit(format_args!("{src} to {dst}, which should be {expected}")))
    }

    fn plan(&self, src: Shape) -> Result<(Shape, [Axis; 2]), Error> {
        src.try_len()?;
        expect_fit(src.c >= self.src_slots, || self.misfit(format_args!("{src}")))?;
        let [rows, columns] = self.window.axes(src.h, src.w)?;
        let shape = Shape::new(self.output_order.width(), rows.len, columns.len);
        shape.try_len()?;
        Ok((shape, [rows, columns]))
    }

    fn misfit(&self, from: fmt::Arguments<'_>) -> String {
        format!("depthwise {} of {} slots: cannot run from {from}", self.window, self.src_slots)
    }

    fn compute(call: Call<'_, Self>, src: View<'_>, mut dst: ViewMut<'_>) -> Result<(), Error> {
        let (op, from, to) = (call.op, src.shape(), dst.shape());
        op.check(from, to)?;
        let (_, [rows, columns]) = op.plan(from)?;
        let [kernel, stride] = [op.window.kernel[0], op.window.stride[0]];
        let (target, epilogue) = (Target::new(&mut dst), op.kernels.epilogue(op.activation));
        grid(call.parallel, op.blocks.len(), to.h, &|blocks, y| {
            // A curve is applied to rows that are still in the first-level cache.
            let run = epilogue.runs(0..to.pixels()).next().map_or(1, |run| (run.len() / to.w).max(1));
            for block in blocks {
                let panel = &op.packed.as_slice()[block * (1 + op.window.taps()) * BLOCK..];
                let (bias, weights) = panel.split_at(BLOCK);
                for y0 in y.clone().step_by(run) {
                    let y1 = y.end.min(y0 + run);
                    // SAFETY: source and destination have these blocks and rows, which belong to this task alone; `packed`
                    // was laid out by `build`.
                    unsafe {
                        (op.kernels.depthwise)(&micro::Depthwise {
                            src: src.at(op.blocks[block] as usize, 0),
                            ih: from.h,
                            iw: from.w,
                            dst: target.at(block, 0),
                            ow: to.w,
                            y0,
                            y1,
                            kernel,
                            stride,
                            pad_top: rows.before,
                            pad_left: columns.before,
                            weights: weights.as_ptr(),
                            bias: bias.as_ptr(),
                            bounds: epilogue.bounds,
                        });
                        epilogue.finish(target.at(block, y0 * to.w), (y1 - y0) * to.w);
                    }
                }
            }
        });
        Ok(())
    }
}
