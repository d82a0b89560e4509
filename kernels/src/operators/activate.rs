//! Activation on its own.

use crate::activation::Activation;
use crate::backend::Kernels;
use crate::error::Error;
use crate::micro::elementwise as micro;
use crate::operators::call::{Call, maps, runs};
use crate::operators::options::builder;
use crate::tensor::{BLOCK, Shape, View, ViewMut};
use crate::threads::share::{Target, grid};

/// `dst = activation(src)`: an activation where no operator before it can apply it.
///
/// ```
/// use kernels::{Activate, Activation, Shape, Tensor};
///
/// let op = Activate::builder(Activation::Relu6).build()?;
/// let mut value = Tensor::from_nchw(&[-1.0, 7.0], Shape::new(2, 1, 1))?;
/// op.run_in_place(value.view_mut());
/// assert_eq!(value.to_nchw(), [0.0, 6.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Activate {
    kernels: &'static Kernels,
    activation: Activation,
}

builder!(Activate, ActivateBuilder(function: Activation), isa);

impl ActivateBuilder {
    /// Makes the operator.
    ///
    /// # Errors
    /// Where `KERNELS_ISA` is wrong.
    pub fn build(self) -> Result<Activate, Error> {
        Ok(Activate { kernels: self.options.kernels()?, activation: self.function })
    }
}

runs!(Activate(src: View<'_>, dst: ViewMut<'_>));
runs!(Activate, run_in_place, try_run_in_place, compute_in_place(dst: ViewMut<'_>));
maps!(Activate, exactly, "activation");

impl Activate {
    /// The shape of the destination: that of the source.
    ///
    /// # Errors
    /// Where `src` is not a tensor.
    pub fn try_output_shape(&self, src: Shape) -> Result<Shape, Error> {
        src.try_len().map(|_| src)
    }

    fn compute(call: Call<'_, Self>, src: View<'_>, mut dst: ViewMut<'_>) -> Result<(), Error> {
        call.op.check(src.shape(), dst.shape())?;
        call.op.pixels(call, dst.shape(), Some(src), &Target::new(&mut dst));
        Ok(())
    }

    fn compute_in_place(call: Call<'_, Self>, mut dst: ViewMut<'_>) -> Result<(), Error> {
        call.op.pixels(call, dst.shape(), None, &Target::new(&mut dst));
        Ok(())
    }

    /// From `src`, which was seen to have the shape of `dst`, or in place.
    fn pixels(&self, call: Call<'_, Self>, shape: Shape, src: Option<View<'_>>, dst: &Target<'_>) {
        let epilogue = self.kernels.epilogue(self.activation);
        grid(call.parallel, shape.blocks(), shape.pixels(), &|blocks, pixels| {
            for block in blocks {
                // SAFETY: both have these pixels, which in `dst` belong to this task alone.
                unsafe {
                    for pixels in epilogue.runs(pixels.clone()) {
                        let to = dst.at(block, pixels.start);
                        (self.kernels.activate)(&micro::Activate {
                            src: src.map_or(to.cast_const(), |src| src.at(block, pixels.start)),
                            dst: to,
                            len: pixels.len() * BLOCK,
                            bounds: epilogue.bounds,
                        });
                        epilogue.finish(to, pixels.len());
                    }
                }
            }
        });
    }
}
