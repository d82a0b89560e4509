//! Batch normalisation on its own.

use crate::activation::Activation;
use crate::backend::Kernels;
use crate::error::{Error, expect_len, invalid};
use crate::micro::elementwise as micro;
use crate::operators::call::{Call, maps, runs};
use crate::operators::options::builder;
use crate::tensor::{BLOCK, Buffer, Shape, View, ViewMut, extent};
use crate::threads::share::{Target, grid};

/// `dst = activation(src * scale + shift)`, one scale and shift per channel: batch normalisation and ReLU where they
/// cannot be folded into a convolution, and what guideline 4 measures.
///
/// ```
/// use kernels::{Activation, Affine, Shape, Tensor};
///
/// let op = Affine::builder(2).activation(Activation::Relu).build(&[2.0, -1.0], &[0.5, 0.0])?;
/// let mut value = Tensor::from_nchw(&[1.0, 3.0], Shape::new(2, 1, 1))?;
/// op.run_in_place(value.view_mut());
/// assert_eq!(value.to_nchw(), [2.5, 0.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct Affine {
    kernels: &'static Kernels,
    channels: usize,
    activation: Activation,
    /// Per block: sixteen scales, sixteen shifts.
    packed: Buffer,
}

builder!(Affine, AffineBuilder(channels: usize), activation isa);

impl AffineBuilder {
    /// Packs one scale and one shift per channel.
    ///
    /// # Errors
    /// Where there is no channel, a slice has the wrong length, or `KERNELS_ISA` is wrong.
    pub fn build(self, scale: &[f32], shift: &[f32]) -> Result<Affine, Error> {
        let Self { channels, options } = self;
        if channels == 0 {
            return Err(invalid("channels", "0: must be at least 1"));
        }
        expect_len("scale", channels, scale.len())?;
        expect_len("shift", channels, shift.len())?;
        let len = extent::expect("scale", extent::product([channels.div_ceil(BLOCK), 2 * BLOCK]))?;
        let mut packed = Buffer::zeros(len);
        for (c, (&scale, &shift)) in scale.iter().zip(shift).enumerate() {
            let at = c / BLOCK * 2 * BLOCK + c % BLOCK;
            packed.as_mut_slice()[at] = scale;
            packed.as_mut_slice()[at + BLOCK] = shift;
        }
        Ok(Affine { kernels: options.kernels()?, channels, activation: options.activation, packed })
    }
}

runs!(Affine(src: View<'_>, dst: ViewMut<'_>));
runs!(Affine, run_in_place, try_run_in_place, compute_in_place(dst: ViewMut<'_>));
maps!(Affine, exactly, "affine of {} channels", channels);

impl Affine {
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
        call.op.check(src.shape(), dst.shape())?;
        call.op.pixels(call, dst.shape(), Some(src), &Target::new(&mut dst));
        Ok(())
    }

    fn compute_in_place(call: Call<'_, Self>, mut dst: ViewMut<'_>) -> Result<(), Error> {
        call.op.check(dst.shape(), dst.shape())?;
        call.op.pixels(call, dst.shape(), None, &Target::new(&mut dst));
        Ok(())
    }

    /// From `src`, which was seen to have the shape of `dst`, or in place.
    fn pixels(&self, call: Call<'_, Self>, shape: Shape, src: Option<View<'_>>, dst: &Target<'_>) {
        let epilogue = self.kernels.epilogue(self.activation);
        grid(call.parallel, shape.blocks(), shape.pixels(), &|blocks, pixels| {
            for block in blocks {
                let (scale, shift) = self.packed.as_slice()[block * 2 * BLOCK..][..2 * BLOCK].split_at(BLOCK);
                // SAFETY: both have these pixels, which in `dst` belong to this task alone.
                unsafe {
                    for pixels in epilogue.runs(pixels.clone()) {
                        let to = dst.at(block, pixels.start);
                        (self.kernels.affine)(&micro::Affine {
                            src: src.map_or(to.cast_const(), |src| src.at(block, pixels.start)),
                            dst: to,
                            pixels: pixels.len(),
                            scale: scale.as_ptr(),
                            shift: shift.as_ptr(),
                            bounds: epilogue.bounds,
                        });
                        epilogue.finish(to, pixels.len());
                    }
                }
            }
        });
    }
}
