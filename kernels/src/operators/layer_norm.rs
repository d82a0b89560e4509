//! Normalisation over the channels of each pixel.

use crate::backend::Kernels;
use crate::error::{Error, expect_len, invalid};
use crate::micro::norm as micro;
use crate::operators::call::{Call, maps, runs};
use crate::operators::options::builder;
use crate::tensor::{BLOCK, Buffer, ChannelOrder, Shape, View, ViewMut, extent};
use crate::threads::share::{Target, grid};
use alloc::vec::Vec;

/// `dst[c] = (src[c] - mean) / sqrt(variance + eps) * gamma[c] + beta[c]`, with the mean and the variance over the channels of
/// each pixel: the layer normalisation of a ConvNeXt.
///
/// A lane stays a lane: output block `i` is the `i`-th of the source's blocks that hold a channel of the input order, and
/// [`output_order`](Self::output_order) says where each channel went.
///
/// ```
/// use kernels::{LayerNorm, Shape, Tensor};
///
/// let op = LayerNorm::builder(2).eps(0.0).build(&[1.0, 2.0], &[0.0, 0.5])?;
/// let src = Tensor::from_nchw(&[3.0, 7.0], Shape::new(2, 1, 1))?;
/// let mut dst = Tensor::zeros(op.output_shape(src.shape()));
/// op.run(src.view(), dst.view_mut());
/// assert_eq!(dst.to_nchw(), [-1.0, 2.5]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct LayerNorm {
    kernels: &'static Kernels,
    channels: usize,
    eps: f32,
    /// The blocks of the source that hold channels.
    blocks: Vec<u32>,
    output_order: ChannelOrder,
    src_slots: usize,
    dst_slots: usize,
    /// Per block: sixteen masks, sixteen gammas, sixteen betas.
    packed: Buffer,
}

builder!(
    LayerNorm,
    LayerNormBuilder<'a>(channels: usize) { eps: f32 = 1e-5 },
    isa input_order
);

impl LayerNormBuilder<'_> {
    /// What keeps the root from zero. Default: 1e-5, PyTorch's; ConvNeXt has 1e-6.
    pub fn eps(mut self, eps: f32) -> Self {
        self.eps = eps;
        self
    }

    /// Packs one gamma and one beta per channel.
    ///
    /// # Errors
    /// Where there is no channel, a slot is named twice, a slice has the wrong length, or `KERNELS_ISA` is wrong.
    pub fn build(self, gamma: &[f32], beta: &[f32]) -> Result<LayerNorm, Error> {
        let Self { channels, eps, .. } = self;
        if channels == 0 {
            return Err(invalid("channels", "0: must be at least 1"));
        }
        expect_len("gamma", channels, gamma.len())?;
        expect_len("beta", channels, beta.len())?;
        let input = self.options.input_order(channels)?;
        let (blocks, output_order) = input.kept_lanes()?;
        let len = extent::expect("gamma", extent::product([blocks.len(), 3 * BLOCK]))?;
        let mut packed = Buffer::zeros(len);
        for (c, &slot) in output_order.slots().iter().enumerate() {
            let (block, lane) = (slot as usize / BLOCK, slot as usize % BLOCK);
            let block = &mut packed.as_mut_slice()[block * 3 * BLOCK..][..3 * BLOCK];
            block[lane] = f32::from_bits(u32::MAX);
            block[BLOCK + lane] = gamma[c];
            block[2 * BLOCK + lane] = beta[c];
        }
        let kernels = self.options.kernels()?;
        let (src_slots, dst_slots) = (input.width(), output_order.width());
        Ok(LayerNorm { kernels, channels, eps, blocks, output_order, src_slots, dst_slots, packed })
    }
}

runs!(LayerNorm(src: View<'_>, dst: ViewMut<'_>));
maps!(LayerNorm, at_least, "layer norm of {} channels from {} slots", channels, src_slots);

impl LayerNorm {
    /// Where each channel lies in the destination.
    pub fn output_order(&self) -> &ChannelOrder {
        &self.output_order
    }

    /// Slots, height and width of the destination; it may have more slots.
    ///
    /// # Errors
    /// Where `src` has fewer slots than the input order names.
    pub fn try_output_shape(&self, src: Shape) -> Result<Shape, Error> {
        src.try_len()?;
        match src.c >= self.src_slots {
            true => Ok(Shape { c: self.dst_slots, ..src }),
            false => Err(self.misfit(format_args!("{src}"))),
        }
    }

    fn compute(call: Call<'_, Self>, src: View<'_>, mut dst: ViewMut<'_>) -> Result<(), Error> {
        let (op, shape) = (call.op, dst.shape());
        op.check(src.shape(), shape)?;
        let target = Target::new(&mut dst);
        grid(call.parallel, 1, shape.pixels(), &|_, pixels| {
            if pixels.is_empty() {
                return;
            }
            // SAFETY: source and destination have these blocks and pixels, which belong to this task alone; `packed` was laid
            // out by `build`.
            unsafe {
                (op.kernels.layer_norm)(&micro::LayerNorm {
                    src: src.at(0, pixels.start),
                    src_block_stride: src.block_stride(),
                    blocks: &op.blocks,
                    dst: target.at(0, pixels.start),
                    dst_block_stride: target.block_stride(),
                    pixels: pixels.len(),
                    packed: op.packed.as_slice().as_ptr(),
                    channels: op.channels as f32,
                    eps: op.eps,
                });
            }
        });
        Ok(())
    }
}
