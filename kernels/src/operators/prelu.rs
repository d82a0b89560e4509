//! ReLU with a slope per channel.

use crate::backend::Kernels;
use crate::error::{Error, invalid};
use crate::micro::elementwise as micro;
use crate::operators::call::{Call, maps, runs};
use crate::operators::options::builder;
use crate::tensor::{BLOCK, Buffer, Shape, View, ViewMut, extent};
use crate::threads::share::{Target, grid};

/// `dst[c] = src[c]` where that is positive, `slope[c] * src[c]` elsewhere. (One slope for all is
/// [`Activation::LeakyRelu`](crate::Activation::LeakyRelu).)
///
/// ```
/// use kernels::{PRelu, Shape, Tensor};
///
/// let op = PRelu::builder().build(&[0.5, 0.25])?;
/// let src = Tensor::from_nchw(&[-2.0, 2.0, -4.0, 4.0], Shape::new(2, 1, 2))?;
/// let mut dst = Tensor::zeros(src.shape());
/// op.run(src.view(), dst.view_mut());
/// assert_eq!(dst.to_nchw(), [-1.0, 2.0, -1.0, 4.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct PRelu {
    kernels: &'static Kernels,
    channels: usize,
    slope: Buffer,
}

builder!(PRelu, PReluBuilder(), isa);

impl PReluBuilder {
    /// Packs one slope per channel.
    ///
    /// # Errors
    /// Where there is no channel, or `KERNELS_ISA` is wrong.
    pub fn build(self, slope: &[f32]) -> Result<PRelu, Error> {
        let channels = slope.len();
        if channels == 0 {
            return Err(invalid("channels", "0: must be at least 1"));
        }
        let len = extent::expect("slope", extent::product([channels.div_ceil(BLOCK), BLOCK]))?;
        let mut packed = Buffer::zeros(len);
        packed.as_mut_slice()[..channels].copy_from_slice(slope);
        Ok(PRelu { kernels: self.options.kernels()?, channels, slope: packed })
    }
}

runs!(PRelu(src: View<'_>, dst: ViewMut<'_>));
maps!(PRelu, exactly, "PReLU of {} channels", channels);

impl PRelu {
    /// The shape of the destination.
    ///
    /// # Errors
    /// Where `src` has another number of channels.
    pub fn try_output_shape(&self, src: Shape) -> Result<Shape, Error> {
        match src.c == self.channels {
            true => src.try_len().map(|_| src),
            false => Err(self.misfit(format_args!("{src}"))),
        }
    }

    fn compute(call: Call<'_, Self>, src: View<'_>, mut dst: ViewMut<'_>) -> Result<(), Error> {
        let (op, shape) = (call.op, dst.shape());
        op.check(src.shape(), shape)?;
        let target = Target::new(&mut dst);
        grid(call.parallel, shape.blocks(), shape.pixels(), &|blocks, pixels| {
            if pixels.is_empty() {
                return;
            }
            for block in blocks {
                // SAFETY: both have these pixels, which in `dst` belong to this task alone; each block has its slopes.
                unsafe {
                    (op.kernels.prelu)(&micro::PRelu {
                        src: src.at(block, pixels.start),
                        dst: target.at(block, pixels.start),
                        pixels: pixels.len(),
                        slope: op.slope.as_slice()[block * BLOCK..].as_ptr(),
                    });
                }
            }
        });
        Ok(())
    }
}
