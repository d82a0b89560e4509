//! The depthwise convolution of [`kernels`] as an operator of [candle](https://docs.rs/candle-core).
//!
//! Candle computes a grouped convolution group by group: for a depthwise convolution that is one small matrix product,
//! one allocation and one copy per channel. [`DepthwiseConv2d`] takes its place in a model:
//!
//! ```
//! use candle_core::{Device, Module, Tensor};
//! use kernels_candle::DepthwiseConv2d;
//!
//! # fn main() -> candle_core::Result<()> {
//! let (x, weight) = (Tensor::randn(0f32, 1., (2, 32, 28, 28), &Device::Cpu)?, Tensor::randn(0f32, 1., (32, 1, 3, 3), &Device::Cpu)?);
//! let slow = x.conv2d(&weight, 1, 1, 1, 32)?;
//! let fast = DepthwiseConv2d::new(&weight, None, 1, 1)?.forward(&x)?;
//! let difference = (slow - fast)?.abs()?.max_all()?.to_scalar::<f32>()?;
//! assert!(difference < 1e-5);
//! # Ok(()) }
//! ```

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Module, Result, Shape, Tensor, bail};
use kernels::{ChannelOrder, Depthwise, Rayon, Window, layout};

/// A depthwise convolution with a square window (3, 5 and 7 are the fastest) of float32 tensors in candle's order: image, channel, row, column.
///
/// The weights are packed once, for the fastest instruction set of this processor. It runs on the current rayon pool,
/// as candle does, and on the CPU only. It has no gradient.
#[derive(Debug)]
pub struct DepthwiseConv2d(Depthwise);

impl DepthwiseConv2d {
    /// Packs `weight` of (channels, 1, kernel, kernel) and `bias` of (channels).
    ///
    /// # Errors
    /// Where a shape or type is another, or the kernel or the stride is zero.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>, stride: usize, padding: usize) -> Result<Self> {
        let (channels, one, kernel, width) = weight.dims4()?;
        if one != 1 || kernel != width {
            bail!("depthwise weights are (channels, 1, kernel, kernel), found {:?}", weight.shape());
        }
        let weights = weight.flatten_all()?.to_vec1::<f32>()?;
        let bias = bias.map(Tensor::to_vec1::<f32>).transpose()?;
        let mut builder = Depthwise::builder(channels, Window::new(kernel).stride(stride).pad(padding));
        if let Some(bias) = &bias {
            builder = builder.bias(bias);
        }
        builder.build(&weights).map(Self).map_err(Error::wrap)
    }
}

impl Module for DepthwiseConv2d {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        xs.contiguous()?.apply_op1_no_bwd(self)
    }
}

impl CustomOp1 for DepthwiseConv2d {
    fn name(&self) -> &'static str {
        "depthwise-conv2d"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, place: &Layout) -> Result<(CpuStorage, Shape)> {
        let (images, channels, h, w) = place.shape().dims4()?;
        let CpuStorage::F32(elements) = storage else {
            bail!("{}: expected float32, found another type", self.name());
        };
        let Some((start, end)) = place.contiguous_offsets() else {
            return Err(Error::RequiresContiguous { op: self.name() });
        };
        let from = kernels::Shape::new(channels, h, w);
        let to = self.0.try_output_shape(from).map_err(Error::wrap)?;
        if to.c != channels {
            bail!("{}: expected {} channels, found {channels}", self.name(), to.c);
        }
        let order = ChannelOrder::identity(channels);
        let mut src = kernels::Tensor::zeros(from);
        let mut dst = kernels::Tensor::zeros(to);
        let mut output = vec![0.0; images * channels * to.pixels()];
        let planar = elements[start..end].chunks_exact(channels * h * w);
        for (image, output) in planar.zip(output.chunks_exact_mut(channels * to.pixels())) {
            layout::from_nchw(image, src.view_mut());
            self.0.on(&Rayon).run(src.view(), dst.view_mut());
            layout::to_nchw(dst.view(), &order, output);
        }
        Ok((CpuStorage::F32(output), Shape::from((images, channels, to.h, to.w))))
    }
}
