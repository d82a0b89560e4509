//! Addition and multiplication of two maps.

use crate::activation::Activation;
use crate::backend::Kernels;
use crate::error::{Error, expect_fit};
use crate::micro::elementwise::{Binary, Other};
use crate::operators::call::{Call, runs};
use crate::operators::options::builder;
use crate::tensor::{Shape, View, ViewMut};
use crate::threads::share::{Target, grid};
use alloc::format;

/// What a map of shape `b` is beside one of shape `a`.
fn other(a: Shape, b: Shape) -> Option<Other> {
    match b {
        _ if b == a => Some(Other::Whole),
        Shape { c, h: 1, w: 1 } if c == a.c => Some(Other::Channel),
        Shape { c: 1, h, w } if (h, w) == (a.h, a.w) => Some(Other::Pixel),
        _ => None,
    }
}

/// The rest of an operator of two maps.
macro_rules! binary {
    ($op:ident, $builder:ident, $kernel:ident, $(#[$doc:meta])*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $op {
            kernels: &'static Kernels,
            activation: Activation,
        }

        builder!($op, $builder(), activation isa);

        impl $builder {
            /// Makes the operator.
            ///
            /// # Errors
            /// Where the activation is none, or `KERNELS_ISA` is wrong.
            pub fn build(self) -> Result<$op, Error> {
                Ok($op { kernels: self.options.kernels()?, activation: self.options.activation })
            }
        }

        runs!($op(a: View<'_>, b: View<'_>, dst: ViewMut<'_>));

        impl $op {
            /// Whether the operator runs from `a` and `b` to `dst`.
            ///
            /// # Errors
            /// Where `a` and `dst` differ in shape, or `b` has neither their shape, nor one number for each of their
            /// channels (`c` x 1 x 1), nor one for each of their pixels (1 x `h` x `w`).
            pub fn check(&self, a: Shape, b: Shape, dst: Shape) -> Result<(), Error> {
                let fits = a == dst && other(a, b).is_some();
                expect_fit(fits, || format!("{} {a} and {b} into {dst}", stringify!($kernel)))
            }

            fn compute(
                call: Call<'_, Self>,
                a: View<'_>,
                b: View<'_>,
                dst: ViewMut<'_>,
            ) -> Result<(), Error> {
                let Self { kernels, activation } = *call.op;
                call.op.check(a.shape(), b.shape(), dst.shape())?;
                pass(call, kernels, kernels.$kernel, activation, (a, b), dst);
                Ok(())
            }
        }
    };
}

/// `a` has the shape of `dst`, and `b` one that `other` knows.
fn pass<Op>(
    call: Call<'_, Op>,
    kernels: &'static Kernels,
    kernel: unsafe fn(&Binary),
    activation: Activation,
    (a, b): (View<'_>, View<'_>),
    mut dst: ViewMut<'_>,
) {
    let shape = dst.shape();
    let other = other(shape, b.shape()).expect("the shapes were checked");
    let (target, epilogue) = (Target::new(&mut dst), kernels.epilogue(activation));
    grid(call.parallel, shape.blocks(), shape.pixels(), &|blocks, pixels| {
        for block in blocks {
            for pixels in epilogue.runs(pixels.clone()) {
                let dst = target.at(block, pixels.start);
                // SAFETY: `a` and `dst` have these pixels, which in `dst` belong to this task alone, and `b` has what it has
                // for them.
                unsafe {
                    kernel(&Binary {
                        a: a.at(block, pixels.start),
                        b: match other {
                            Other::Whole => b.at(block, pixels.start),
                            Other::Channel => b.at(block, 0),
                            Other::Pixel => b.at(0, pixels.start),
                        },
                        other,
                        dst,
                        pixels: pixels.len(),
                        bounds: epilogue.bounds,
                    });
                    epilogue.finish(dst, pixels.len());
                }
            }
        }
    });
}

binary! {
    Add, AddBuilder, add,
    /// `dst = activation(a + b)`: a residual where it cannot be added by the convolution before it.
    ///
    /// `b` is a map like `a`, or has one number per channel, or one per pixel.
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
}

binary! {
    Mul, MulBuilder, mul,
    /// `dst = activation(a * b)`: the gate of a squeeze-and-excitation, and products of maps.
    ///
    /// `b` is a map like `a`, or has one number per channel (a gate), or one per pixel.
    ///
    /// ```
    /// use kernels::{Mul, Shape, Tensor};
    ///
    /// let op = Mul::builder().build()?;
    /// let map = Tensor::from_nchw(&[1.0, 2.0, 3.0, 4.0], Shape::new(2, 1, 2))?;
    /// let gate = Tensor::from_nchw(&[1.0, 0.5], Shape::new(2, 1, 1))?;
    /// let mut dst = Tensor::zeros(map.shape());
    /// op.run(map.view(), gate.view(), dst.view_mut());
    /// assert_eq!(dst.to_nchw(), [1.0, 2.0, 1.5, 2.0]);
    /// # Ok::<(), kernels::Error>(())
    /// ```
}
