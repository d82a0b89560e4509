//! Addition on its own.

use crate::activation::Activation;
use crate::backend::Kernels;
use crate::error::{Error, expect_fit};
use crate::micro::elementwise as micro;
use crate::operators::call::{Call, runs};
use crate::operators::options::{Options, setters};
use crate::tensor::shape::{BLOCK, Shape};
use crate::tensor::view::{View, ViewMut};
use crate::threads::share::{Target, grid};
use alloc::format;

/// `dst = activation(a + b)`: a residual where it cannot be added by the convolution before it.
///
/// ```
/// use kernels::{Activation, Add, Shape, Tensor};
///
/// let op = Add::builder().activation(Activation::Relu).build()?;
/// let shape = Shape::new(2, 1, 1);
/// let (a, b) = (Tensor::from_nchw(&[1.0, 2.0], shape)?, Tensor::from_nchw(&[3.0, -5.0], shape)?);
/// let mut dst = Tensor::zeros(shape);
/// op.run(a.view(), b.view(), dst.view_mut());
/// assert_eq!(dst.to_nchw(), [4.0, 0.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Add {
    kernels: &'static Kernels,
    activation: Activation,
}

/// Collects what an [`Add`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct AddBuilder {
    options: Options<'static>,
}

impl AddBuilder {
    setters!(activation isa);

    /// Makes the operator.
    ///
    /// # Errors
    /// Where `KERNELS_ISA` is wrong.
    pub fn build(self) -> Result<Add, Error> {
        Ok(Add { kernels: self.options.kernels()?, activation: self.options.activation })
    }
}

runs!(Add(a: View<'_>, b: View<'_>, dst: ViewMut<'_>));

impl Add {
    /// Begins an addition.
    pub fn builder() -> AddBuilder {
        AddBuilder { options: Options::default() }
    }

    /// Whether the operator runs from `a` and `b` to `dst`.
    ///
    /// # Errors
    /// Where the three shapes differ.
    pub fn check(&self, a: Shape, b: Shape, dst: Shape) -> Result<(), Error> {
        expect_fit(a == dst && b == dst, || format!("add {a} to {b} into {dst}"))
    }

    fn compute(call: Call<'_, Self>, a: View<'_>, b: View<'_>, mut dst: ViewMut<'_>) -> Result<(), Error> {
        let (op, shape) = (call.op, dst.shape());
        op.check(a.shape(), b.shape(), shape)?;
        let (target, epilogue) = (Target::new(&mut dst), op.kernels.epilogue(op.activation));
        grid(call.parallel, shape.blocks(), shape.pixels(), &|blocks, pixels| {
            for block in blocks {
                // SAFETY: all three have these pixels, which in `dst` belong to this task alone.
                unsafe {
                    for pixels in epilogue.runs(pixels.clone()) {
                        let dst = target.at(block, pixels.start);
                        (op.kernels.add)(&micro::Add {
                            a: a.at(block, pixels.start),
                            b: b.at(block, pixels.start),
                            dst,
                            len: pixels.len() * BLOCK,
                            bounds: epilogue.bounds,
                        });
                        epilogue.finish(dst, pixels.len());
                    }
                }
            }
        });
        Ok(())
    }
}
