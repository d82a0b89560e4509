//! Depthwise convolution.

use crate::activation::Activation;
use crate::backend::Kernels;
use crate::error::{Error, expect_len, invalid};
use crate::micro::depthwise as micro;
use crate::operators::call::{Call, maps, runs};
use crate::operators::options::builder;
use crate::tensor::{BLOCK, Buffer, ChannelOrder, Shape, View, ViewMut, extent};
use crate::threads::share::{Target, grid};
use crate::window::Window;
use alloc::vec::Vec;

/// Depthwise convolution with bias, folded batch normalisation and activation in its epilogue.
///
/// `dst[c][y][x] = activation(sum over kh, kw of weights[c][kh][kw] * src[c][y * stride + kh * dilation - top][x * stride +
/// kw * dilation - left] + bias[c])`; taps outside the image contribute nothing. Squares of 3, 5 and 7 taps with strides of 1 and
/// 2 are the fastest.
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
    dst_slots: usize,
    /// Per block: sixteen biases, then sixteen weights per tap.
    packed: Buffer,
}

builder!(
    Depthwise,
    DepthwiseBuilder<'a>(channels: usize, window: Window),
    bias batch_norm activation isa input_order
);

impl DepthwiseBuilder<'_> {
    /// Packs `weights`, `kh * kw` numbers per channel.
    ///
    /// # Errors
    /// Where there is no channel, a number of the window that must not be zero is, a slot is named twice, a slice has the wrong
    /// length, or `KERNELS_ISA` is wrong.
    pub fn build(self, weights: &[f32]) -> Result<Depthwise, Error> {
        let Self { channels, window, .. } = self;
        if channels == 0 {
            return Err(invalid("channels", "0: must be at least 1"));
        }
        window.expect_sound()?;
        let taps = window.taps();
        expect_len("weights", channels.saturating_mul(taps), weights.len())?;
        let input = self.options.input_order(channels)?;
        let kernels = self.options.kernels()?;
        let (scale, bias) = self.options.fold(channels)?;

        let (blocks, output_order) = input.kept_lanes()?;
        let panel_len = (1 + taps) * BLOCK;
        let len = extent::expect("weights", extent::product([blocks.len(), panel_len]))?;
        let mut packed = Buffer::zeros(len);
        for (channel, &slot) in output_order.slots().iter().enumerate() {
            let (block, lane) = (slot as usize / BLOCK, slot as usize % BLOCK);
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
            dst_slots: output_order.width(),
            output_order,
            src_slots: input.width(),
            packed,
        })
    }
}

runs!(Depthwise(src: View<'_>, dst: ViewMut<'_>));
maps!(Depthwise, at_least, "depthwise {} of {} slots", window, src_slots);

impl Depthwise {
    /// Where each channel lies in the destination.
    pub fn output_order(&self) -> &ChannelOrder {
        &self.output_order
    }

    /// Slots, height and width of the destination; it may have more slots.
    ///
    /// # Errors
    /// Where `src` has fewer slots than the input order names, or the window does not fit into it.
    pub fn try_output_shape(&self, src: Shape) -> Result<Shape, Error> {
        src.try_len()?;
        if src.c < self.src_slots {
            return Err(self.misfit(format_args!("{src}")));
        }
        let (h, w) = self.window.output(src.h, src.w)?;
        let shape = Shape::new(self.dst_slots, h, w);
        shape.try_len().map(|_| shape)
    }

    fn compute(call: Call<'_, Self>, src: View<'_>, mut dst: ViewMut<'_>) -> Result<(), Error> {
        let (op, from, to) = (call.op, src.shape(), dst.shape());
        op.check(from, to)?;
        let [rows, columns] = op.window.axes(from.h, from.w)?;
        let Window { kernel, stride, dilation, .. } = op.window;
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
                            dilation,
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
