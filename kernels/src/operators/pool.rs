//! Pooling.

use crate::backend::Kernels;
use crate::error::{Error, expect_fit};
use crate::micro::pool as micro;
use crate::operators::call::{Call, output_shape, runs};
use crate::operators::options::{Options, setters};
use crate::tensor::shape::{BLOCK, Shape};
use crate::tensor::view::{View, ViewMut};
use crate::threads::parallel::Parallel;
use crate::threads::share::{Target, grid};
use crate::window::Window;
use alloc::format;

/// What the two pools share: a window that slides.
#[derive(Clone, Copy, Debug)]
struct Pool {
    kernels: &'static Kernels,
    window: Window,
    count_pad: bool,
}

impl Pool {
    fn new(window: Window, count_pad: bool, options: Options<'_>) -> Result<Self, Error> {
        window.expect_square(&[2, 3, 5])?;
        Ok(Self { kernels: options.kernels()?, window, count_pad })
    }

    fn output_shape(&self, src: Shape) -> Result<Shape, Error> {
        src.try_len()?;
        let (h, w) = self.window.output(src.h, src.w)?;
        let shape = Shape { h, w, ..src };
        shape.try_len()?;
        Ok(shape)
    }

    fn check(&self, src: Shape, dst: Shape) -> Result<(), Error> {
        let expected = self.output_shape(src)?;
        expect_fit(dst == expected, || format!("pool from {src} to {dst}, which should be {expected}"))
    }

    fn run(
        &self,
        parallel: &dyn Parallel,
        pool: unsafe fn(&micro::Pool),
        src: View<'_>,
        mut dst: ViewMut<'_>,
    ) -> Result<(), Error> {
        let (from, to) = (src.shape(), dst.shape());
        self.check(from, to)?;
        let [rows, columns] = self.window.axes(from.h, from.w)?;
        let target = Target::new(&mut dst);
        grid(parallel, to.blocks(), to.h, &|blocks, y| {
            for block in blocks {
                // SAFETY: both views hold the block; rows and block belong to this task alone; the padding is smaller
                // than the window, so every window holds a pixel.
                unsafe {
                    pool(&micro::Pool {
                        src: src.at(block, 0),
                        ih: from.h,
                        iw: from.w,
                        dst: target.at(block, 0),
                        ow: to.w,
                        y0: y.start,
                        y1: y.end,
                        kernel: self.window.kernel[0],
                        stride: self.window.stride[0],
                        pad_top: rows.before,
                        pad_left: columns.before,
                        count_pad: self.count_pad,
                    });
                }
            }
        });
        Ok(())
    }
}

/// `try_output_shape`, `check` and the rest of a pool.
macro_rules! pool {
    ($pool:ident, $kernel:ident) => {
        runs!($pool(src: View<'_>, dst: ViewMut<'_>));
        output_shape!($pool);

        impl $pool {
            /// The shape of the destination.
            ///
            /// # Errors
            /// Where the window does not fit into `src`.
            pub fn try_output_shape(&self, src: Shape) -> Result<Shape, Error> {
                self.0.output_shape(src)
            }

            /// Whether the operator runs from `src` to `dst`.
            ///
            /// # Errors
            /// Where `dst` is not [`output_shape`](Self::output_shape).
            pub fn check(&self, src: Shape, dst: Shape) -> Result<(), Error> {
                self.0.check(src, dst)
            }

            fn compute(call: Call<'_, Self>, src: View<'_>, dst: ViewMut<'_>) -> Result<(), Error> {
                call.op.0.run(call.parallel, call.op.0.kernels.$kernel, src, dst)
            }
        }
    };
}

/// The greatest value of each window; padding never wins, NaN always does (as in PyTorch).
///
/// ```
/// use kernels::{MaxPool, Shape, Tensor, Window};
///
/// let op = MaxPool::builder(Window::new(3).stride(2).pad(1)).build()?;
/// let src = Tensor::from_nchw(&[1.0, 2.0, 3.0, 4.0], Shape::new(1, 2, 2))?;
/// let mut dst = Tensor::zeros(op.output_shape(src.shape()));
/// op.run(src.view(), dst.view_mut());
/// assert_eq!(dst.to_nchw(), [4.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MaxPool(Pool);

pool!(MaxPool, max_pool);

/// Collects what a [`MaxPool`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct MaxPoolBuilder {
    window: Window,
    options: Options<'static>,
}

impl MaxPoolBuilder {
    setters!(isa);

    /// Makes the operator.
    ///
    /// # Errors
    /// Where the window is not a square of 2, 3 or 5 with stride 1 or 2, no dilation and padding smaller than the kernel,
    /// or `KERNELS_ISA` is wrong.
    pub fn build(self) -> Result<MaxPool, Error> {
        Pool::new(self.window, false, self.options).map(MaxPool)
    }
}

impl MaxPool {
    /// Begins a pool.
    pub fn builder(window: Window) -> MaxPoolBuilder {
        MaxPoolBuilder { window, options: Options::default() }
    }

    /// The window.
    pub(crate) fn window(&self) -> Window {
        self.0.window
    }
}

/// The mean of each window.
///
/// ```
/// use kernels::{AveragePool, Shape, Tensor, Window};
///
/// let op = AveragePool::builder(Window::new(2).stride(2)).build()?;
/// let src = Tensor::from_nchw(&[1.0, 2.0, 3.0, 4.0], Shape::new(1, 2, 2))?;
/// let mut dst = Tensor::zeros(op.output_shape(src.shape()));
/// op.run(src.view(), dst.view_mut());
/// assert_eq!(dst.to_nchw(), [2.5]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AveragePool(Pool);

pool!(AveragePool, average_pool);

/// Collects what an [`AveragePool`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct AveragePoolBuilder {
    window: Window,
    count_include_pad: bool,
    options: Options<'static>,
}

impl AveragePoolBuilder {
    setters!(isa);

    /// Whether sums are divided by the whole window (the default, as in PyTorch), or by its pixels inside the image (as in
    /// TensorFlow).
    pub fn count_include_pad(mut self, count_include_pad: bool) -> Self {
        self.count_include_pad = count_include_pad;
        self
    }

    /// Makes the operator.
    ///
    /// # Errors
    /// As [`MaxPoolBuilder::build`].
    pub fn build(self) -> Result<AveragePool, Error> {
        Pool::new(self.window, self.count_include_pad, self.options).map(AveragePool)
    }
}

impl AveragePool {
    /// Begins a pool.
    pub fn builder(window: Window) -> AveragePoolBuilder {
        AveragePoolBuilder { window, count_include_pad: true, options: Options::default() }
    }
}

/// The mean of every slot over all pixels.
///
/// ```
/// use kernels::{GlobalAverage, Shape, Tensor};
///
/// let op = GlobalAverage::builder().build()?;
/// let src = Tensor::from_nchw(&[1.0, 2.0, 3.0, 5.0], Shape::new(2, 1, 2))?;
/// let mut dst = [0.0; 2];
/// op.run(src.view(), &mut dst);
/// assert_eq!(dst, [1.5, 4.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct GlobalAverage {
    kernels: &'static Kernels,
}

/// Collects what a [`GlobalAverage`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct GlobalAverageBuilder {
    options: Options<'static>,
}

impl GlobalAverageBuilder {
    setters!(isa);

    /// Makes the operator.
    ///
    /// # Errors
    /// Where `KERNELS_ISA` is wrong.
    pub fn build(self) -> Result<GlobalAverage, Error> {
        Ok(GlobalAverage { kernels: self.options.kernels()? })
    }
}

runs!(GlobalAverage(src: View<'_>, dst: &mut [f32]));

impl GlobalAverage {
    /// Begins an average.
    pub fn builder() -> GlobalAverageBuilder {
        GlobalAverageBuilder { options: Options::default() }
    }

    /// Whether the operator runs from `src` to `dst` elements.
    ///
    /// # Errors
    /// Where `dst` are not exactly the slots of `src`.
    pub fn check(&self, src: Shape, dst: usize) -> Result<(), Error> {
        src.try_len()?;
        expect_fit(dst == src.c, || format!("global average of {src} into {dst} elements"))
    }

    fn compute(call: Call<'_, Self>, src: View<'_>, dst: &mut [f32]) -> Result<(), Error> {
        let (op, shape) = (call.op, src.shape());
        op.check(shape, dst.len())?;
        let target = Target::of(dst, BLOCK);
        grid(call.parallel, shape.blocks(), 1, &|blocks, _| {
            for block in blocks {
                let mut mean = [0.0; BLOCK];
                let wanted = BLOCK.min(shape.c - block * BLOCK);
                // SAFETY: the view holds this block's pixels, `mean` sixteen floats, and `dst` the block's channels, which
                // belong to this task alone.
                unsafe {
                    (op.kernels.global_average)(&micro::GlobalAverage {
                        src: src.at(block, 0),
                        pixels: shape.pixels(),
                        dst: mean.as_mut_ptr(),
                    });
                    core::ptr::copy_nonoverlapping(mean.as_ptr(), target.at(block, 0), wanted);
                }
            }
        });
        Ok(())
    }
}
