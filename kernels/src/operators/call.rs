//! The one way to run an operator.

use crate::error::{Error, expect_fit};
use crate::tensor::{Shape, View};
use crate::threads::Parallel;
use alloc::format;

/// An operator about to run: on whose threads, and with what added.
///
/// ```
/// use kernels::{Pointwise, Serial, Shape, Tensor};
///
/// let op = Pointwise::builder(2, 1).build(&[1.0, 2.0])?;
/// let src = Tensor::from_nchw(&[3.0, 4.0], Shape::new(2, 1, 1))?;
/// let one = Tensor::from_nchw(&[1.0], Shape::new(1, 1, 1))?;
/// let mut dst = Tensor::zeros(op.output_shape(src.shape()));
/// op.run(src.view(), dst.view_mut()); // on this thread
/// op.on(&Serial).run(src.view(), dst.view_mut()); // the same; `Rayon`, or threads of your own, are given in this way
/// op.residual(one.view()).run(src.view(), dst.view_mut()); // plus one
/// assert_eq!(dst.to_nchw(), [12.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
pub struct Call<'a, Op> {
    pub(crate) op: &'a Op,
    pub(crate) parallel: &'a dyn Parallel,
    pub(crate) residual: Option<View<'a>>,
}

impl<Op> Clone for Call<'_, Op> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Op> Copy for Call<'_, Op> {}

impl<Op: core::fmt::Debug> core::fmt::Debug for Call<'_, Op> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let threads = self.parallel.threads();
        f.debug_struct("Call").field("op", self.op).field("threads", &threads).finish_non_exhaustive()
    }
}

/// `run` and `try_run` of an operator and of its [`Call`], and `on`. The operator computes in a method
/// `fn compute(call: Call<'_, Self>, ..) -> Result<(), Error>`, which checks everything first.
macro_rules! runs {
    ($op:ident$(<$life:lifetime>)?($($arg:ident: $type:ty),*)) => {
        crate::operators::call::runs!($op, run, try_run, compute$(<$life>)?($($arg: $type),*));

        impl $op {
            /// To run on the threads of `parallel`: `op.on(&parallel).run(..)`.
            pub fn on<'a>(
                &'a self,
                parallel: &'a dyn crate::threads::Parallel,
            ) -> crate::operators::call::Call<'a, Self> {
                crate::operators::call::Call { op: self, parallel, residual: None }
            }
        }
    };
    ($op:ident, $run:ident, $try_run:ident, $compute:ident$(<$life:lifetime>)?($($arg:ident: $type:ty),*)) => {
        impl $op {
            /// Computes `dst`, on this thread. Nothing is allocated.
            ///
            /// # Panics
            /// Where [`check`](Self::check) refuses.
            #[track_caller]
            pub fn $run$(<$life>)?(&self, $($arg: $type),*) {
                self.on(&crate::threads::Serial).$run($($arg),*);
            }

            /// The same, for shapes that may not fit.
            ///
            /// # Errors
            /// Where [`check`](Self::check) refuses. Nothing was computed then.
            pub fn $try_run$(<$life>)?(&self, $($arg: $type),*) -> Result<(), crate::error::Error> {
                self.on(&crate::threads::Serial).$try_run($($arg),*)
            }
        }

        impl crate::operators::call::Call<'_, $op> {
            /// Computes `dst`.
            ///
            /// # Panics
            /// Where the operator's `check` refuses.
            #[track_caller]
            pub fn $run$(<$life>)?(self, $($arg: $type),*) {
                if let Err(error) = self.$try_run($($arg),*) {
                    panic!("{error}");
                }
            }

            /// The same, for shapes that may not fit.
            ///
            /// # Errors
            /// Where the operator's `check` refuses. Nothing was computed then.
            pub fn $try_run$(<$life>)?(self, $($arg: $type),*) -> Result<(), crate::error::Error> {
                $op::$compute(self, $($arg),*)
            }
        }
    };
}
pub(crate) use runs;

/// `output_shape` and `check` of an operator that makes a tensor of a tensor and has `try_output_shape`. `$what` names it in
/// errors; `$rule` says whether `dst` has `exactly` those slots or `at_least` so many.
macro_rules! maps {
    ($op:ident, $rule:ident$(($ordered:ident))?, $what:literal $(, $field:ident)*) => {
        impl $op {
            /// As [`try_output_shape`](Self::try_output_shape).
            ///
            /// # Panics
            /// Where that is an error.
            #[track_caller]
            pub fn output_shape(&self, src: Shape) -> Shape {
                self.try_output_shape(src).unwrap_or_else(|error| panic!("{error}"))
            }

            /// Whether the operator runs from `src` to `dst`.
            ///
            /// # Errors
            /// Where `src` does not fit the operator, or `dst` is not [`output_shape`](Self::output_shape).
            pub fn check(&self, src: Shape, dst: Shape) -> Result<(), Error> {
                let expected = self.try_output_shape(src)?;
                crate::operators::call::$rule(dst, expected $(, self.$ordered)?)
                    .then_some(())
                    .ok_or_else(|| self.misfit(format_args!("{src} to {dst}, which should be {expected}")))
            }

            /// The operator cannot run `from`.
            fn misfit(&self, from: core::fmt::Arguments<'_>) -> Error {
                let what = format_args!($what $(, self.$field)*);
                crate::error::mismatch(format_args!("{what}: cannot run from {from}"))
            }
        }
    };
}
pub(crate) use maps;

/// The rule of most operators.
pub(crate) fn exactly(dst: Shape, expected: Shape) -> bool {
    dst == expected
}

/// The rule where slots are written by number.
pub(crate) fn at_least(dst: Shape, expected: Shape) -> bool {
    dst.c >= expected.c && (dst.h, dst.w) == (expected.h, expected.w)
}

/// The rule where slots are written by number if there is an order of them.
pub(crate) fn at_least_if(dst: Shape, expected: Shape, ordered: bool) -> bool {
    if ordered { at_least(dst, expected) } else { exactly(dst, expected) }
}

/// `residual` of an operator that adds one, and of its [`Call`].
macro_rules! residual {
    ($op:ident) => {
        impl $op {
            /// To run with `residual`, shaped and ordered like `dst`, added before the activation.
            pub fn residual<'a>(&'a self, residual: View<'a>) -> Call<'a, Self> {
                self.on(&crate::threads::Serial).residual(residual)
            }
        }

        impl<'a> Call<'a, $op> {
            /// Adds `residual`, shaped and ordered like `dst`, before the activation.
            pub fn residual(self, residual: View<'a>) -> Self {
                Self { residual: Some(residual), ..self }
            }
        }
    };
}
pub(crate) use residual;

impl<Op> Call<'_, Op> {
    /// An error where there is a residual that is not shaped like the destination.
    pub(crate) fn expect_residual(&self, dst: Shape) -> Result<(), Error> {
        let shape = self.residual.map_or(dst, |residual| residual.shape());
        expect_fit(shape == dst, || format!("residual is {shape}, dst is {dst}"))
    }
}
