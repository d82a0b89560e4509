//! Pooling.

use crate::backend::Kernels;
use crate::depthwise::{Target, check_window, window_shape};
use crate::error::Error;
use crate::isa::Isa;
use crate::micro::pool as micro;
use crate::padding::Padding;
use crate::parallel::{Parallel, Serial, each_once, threads};
use crate::pointwise::{part, split};
use crate::view::{BLOCK, Shape, View, ViewMut};

/// What the two pools share: a window that slides.
#[derive(Clone, Copy, Debug)]
struct Window {
    kernels: &'static Kernels,
    kernel: usize,
    stride: usize,
    padding: Padding,
}

impl Window {
    fn new(kernel: usize, stride: usize, padding: Padding, isa: Isa) -> Result<Self, Error> {
        check_window(kernel, &[2, 3, 5], stride, padding)?;
        let kernels = crate::pack::Common { isa: Some(isa), ..Default::default() }.kernels()?;
        Ok(Self { kernels, kernel, stride, padding })
    }

    fn output_shape(&self, from: Shape) -> Shape {
        let (h, w) = window_shape(self.padding, self.kernel, self.stride, from)
            .unwrap_or_else(|| panic!("{from} is smaller than the window, {}", self.kernel));
        Shape::new(from.c, h, w)
    }

    fn run(
        &self,
        parallel: &dyn Parallel,
        pool: unsafe fn(&micro::Pool),
        count_pad: bool,
        src: View<'_>,
        mut dst: ViewMut<'_>,
    ) {
        let (from, to) = (src.shape(), dst.shape());
        assert!(
            to == self.output_shape(from),
            "pool from {from} to {to}, which should be {}",
            self.output_shape(from)
        );
        let (pad_top, _) =
            self.padding.rows(from.h, self.kernel, self.stride).expect("checked by output_shape");
        let (pad_left, _) =
            self.padding.columns(from.w, self.kernel, self.stride).expect("checked by output_shape");
        let dst_block_stride = dst.block_stride();
        let target = Target(dst.data_mut().as_mut_ptr());
        let (across, along) = split(threads(parallel), to.blocks(), to.h);
        each_once(parallel, across * along, &|task| {
            let rows = part(to.h, along, task % along);
            for block in part(to.blocks(), across, task / along) {
                // SAFETY: both views hold the block; rows and block belong to this task alone; the padding is smaller
                // than the window, so every window holds a pixel.
                unsafe {
                    pool(&micro::Pool {
                        src: src.data().as_ptr().add(block * src.block_stride()),
                        ih: from.h,
                        iw: from.w,
                        dst: target.at(block * dst_block_stride),
                        ow: to.w,
                        y0: rows.start,
                        y1: rows.end,
                        kernel: self.kernel,
                        stride: self.stride,
                        pad_top,
                        pad_left,
                        count_pad,
                    });
                }
            }
        });
    }
}

/// The greatest value of each window; padding never wins, NaN always does (as in PyTorch).
///
/// ```
/// use kernels::{Isa, MaxPool, Padding, Shape, Tensor};
///
/// let op = MaxPool::new(3, 2, Padding::all(1), Isa::best())?;
/// let src = Tensor::from_nchw(&[1.0, 2.0, 3.0, 4.0], Shape::new(1, 2, 2))?;
/// let mut dst = Tensor::zeros(op.output_shape(src.shape()));
/// op.run(src.view(), dst.view_mut());
/// assert_eq!(dst.to_nchw(), [4.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MaxPool(Window);

impl MaxPool {
    /// A window of `kernel` x `kernel`.
    ///
    /// # Errors
    /// Where the kernel is not 2, 3 or 5, the stride neither 1 nor 2, the padding not smaller than the kernel, or the
    /// instruction set not available.
    pub fn new(kernel: usize, stride: usize, padding: Padding, isa: Isa) -> Result<Self, Error> {
        Window::new(kernel, stride, padding, isa).map(Self)
    }

    /// The shape made of `from`.
    ///
    /// # Panics
    /// Where the padded image is smaller than the window.
    pub fn output_shape(&self, from: Shape) -> Shape {
        self.0.output_shape(from)
    }

    /// Computes `dst` from `src`.
    ///
    /// # Panics
    /// Where `dst` is not [`output_shape`](Self::output_shape) of `src`.
    pub fn run(&self, src: View<'_>, dst: ViewMut<'_>) {
        self.run_with(&Serial, src, dst);
    }

    /// As [`run`](Self::run), on the threads of `parallel`.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn run_with(&self, parallel: &dyn Parallel, src: View<'_>, dst: ViewMut<'_>) {
        self.0.run(parallel, self.0.kernels.max_pool, false, src, dst);
    }

    /// The padding around the rows and columns of `from`, if this is the 3x3 stride-2 window.
    pub(crate) fn pads_3x3_stride_2(&self, from: Shape) -> Option<(usize, usize)> {
        let Window { kernel: 3, stride: 2, padding, .. } = self.0 else { return None };
        Some((padding.rows(from.h, 3, 2)?.0, padding.columns(from.w, 3, 2)?.0))
    }
}

/// The mean of each window.
///
/// ```
/// use kernels::{AveragePool, Isa, Padding, Shape, Tensor};
///
/// let op = AveragePool::new(2, 2, Padding::all(0), true, Isa::best())?;
/// let src = Tensor::from_nchw(&[1.0, 2.0, 3.0, 4.0], Shape::new(1, 2, 2))?;
/// let mut dst = Tensor::zeros(op.output_shape(src.shape()));
/// op.run(src.view(), dst.view_mut());
/// assert_eq!(dst.to_nchw(), [2.5]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AveragePool {
    window: Window,
    count_pad: bool,
}

impl AveragePool {
    /// A window of `kernel` x `kernel`. With `count_pad` the sum is divided by the whole window (PyTorch's default),
    /// otherwise by its pixels inside the image (TensorFlow's).
    ///
    /// # Errors
    /// As [`MaxPool::new`].
    pub fn new(
        kernel: usize,
        stride: usize,
        padding: Padding,
        count_pad: bool,
        isa: Isa,
    ) -> Result<Self, Error> {
        Ok(Self { window: Window::new(kernel, stride, padding, isa)?, count_pad })
    }

    /// The shape made of `from`.
    ///
    /// # Panics
    /// Where the padded image is smaller than the window.
    pub fn output_shape(&self, from: Shape) -> Shape {
        self.window.output_shape(from)
    }

    /// Computes `dst` from `src`.
    ///
    /// # Panics
    /// Where `dst` is not [`output_shape`](Self::output_shape) of `src`.
    pub fn run(&self, src: View<'_>, dst: ViewMut<'_>) {
        self.run_with(&Serial, src, dst);
    }

    /// As [`run`](Self::run), on the threads of `parallel`.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn run_with(&self, parallel: &dyn Parallel, src: View<'_>, dst: ViewMut<'_>) {
        self.window.run(parallel, self.window.kernels.average_pool, self.count_pad, src, dst);
    }
}

/// The mean of every slot over all pixels, into `dst`.
///
/// # Panics
/// Where `dst` has not exactly the slots of `src`, or this processor lacks `isa`.
pub fn global_average(isa: Isa, src: View<'_>, dst: &mut [f32]) {
    let shape = src.shape();
    assert!(dst.len() == shape.c, "global average of {shape} into {} elements", dst.len());
    let kernels = Kernels::of(isa).expect("the instruction set is available");
    for (block, dst) in dst.chunks_mut(BLOCK).enumerate() {
        let mut mean = [0.0; BLOCK];
        // SAFETY: the view holds this block's pixels, and `mean` sixteen floats.
        unsafe {
            (kernels.global_average)(&micro::GlobalAverage {
                src: src.data().as_ptr().add(block * src.block_stride()),
                pixels: shape.pixels(),
                dst: mean.as_mut_ptr(),
            });
        }
        dst.copy_from_slice(&mean[..dst.len()]);
    }
}
