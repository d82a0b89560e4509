//! Pooling.

use crate::backend::Kernels;
use crate::error::{Error, expect_fit, invalid};
use crate::micro::pool as micro;
use crate::operators::call::{Call, maps, runs};
use crate::operators::options::{Options, builder};
use crate::tensor::{BLOCK, Shape, View, ViewMut};
use crate::threads::Parallel;
use crate::threads::share::{Target, grid};
use crate::window::{Padding, Window};
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
        window.expect_sound()?;
        if window.dilation != [1, 1] {
            return Err(invalid("dilation", format_args!("{:?}: must be 1", window.dilation)));
        }
        // So that every window holds a pixel. (That of "same" is less than the kernel.)
        if let Padding::Sides { top, bottom, left, right } = window.padding {
            let ([kh, kw], padding) = (window.kernel, window.padding);
            if top.max(bottom) >= kh || left.max(right) >= kw {
                let why = format_args!("{padding:?} is not smaller than the window, {window}");
                return Err(invalid("padding", why));
            }
        }
        Ok(Self { kernels: options.kernels()?, window, count_pad })
    }

    fn output_shape(&self, src: Shape) -> Result<Shape, Error> {
        src.try_len()?;
        let [rows, columns] = self.window.axes(src.h, src.w)?;
        let shape = Shape { h: rows.len, w: columns.len, ..src };
        shape.try_len().map(|_| shape)
    }

    fn run(
        &self,
        parallel: &dyn Parallel,
        pool: unsafe fn(&micro::Pool),
        src: View<'_>,
        mut dst: ViewMut<'_>,
    ) -> Result<(), Error> {
        let (from, to) = (src.shape(), dst.shape());
        let [rows, columns] = self.window.axes(from.h, from.w)?;
        let padded = self.count_pad.then_some([rows.padded, columns.padded]);
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
                        kernel: self.window.kernel,
                        stride: self.window.stride,
                        pad_top: rows.before,
                        pad_left: columns.before,
                        padded,
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
        maps!($pool, exactly, "pool");

        impl $pool {
            /// The shape of the destination.
            ///
            /// # Errors
            /// Where the window does not fit into `src`.
            pub fn try_output_shape(&self, src: Shape) -> Result<Shape, Error> {
                self.0.output_shape(src)
            }

            fn compute(call: Call<'_, Self>, src: View<'_>, dst: ViewMut<'_>) -> Result<(), Error> {
                call.op.check(src.shape(), dst.shape())?;
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

builder!(MaxPool, MaxPoolBuilder(window: Window), isa);

impl MaxPoolBuilder {
    /// Makes the operator.
    ///
    /// # Errors
    /// Where kernel or stride is zero, there is a dilation, the padding is not smaller than the kernel, or `KERNELS_ISA` is
    /// wrong.
    pub fn build(self) -> Result<MaxPool, Error> {
        Pool::new(self.window, false, self.options).map(MaxPool)
    }
}

impl MaxPool {
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

builder!(AveragePool, AveragePoolBuilder(window: Window) { count_include_pad: bool = true }, isa);

impl AveragePoolBuilder {
    /// Whether sums are divided by the whole window (the default, as in PyTorch), or by its pixels inside the image (as in
    /// TensorFlow). Of a last window that hangs over the padding, only what does not is counted.
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

builder!(GlobalAverage, GlobalAverageBuilder(), isa);

impl GlobalAverageBuilder {
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
