//! What slides over an image, and the rows and columns of nothing around it.

use crate::error::{Error, invalid, mismatch};
use crate::tensor::extent;
use core::fmt;

/// Padding per side, in pixels. Taps that fall on it contribute nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Padding {
    /// The same for every input size. PyTorch's `padding=1` is 1 on all four sides.
    Sides {
        /// Above the first row.
        top: usize,
        /// Below the last row.
        bottom: usize,
        /// Before the first column.
        left: usize,
        /// After the last column.
        right: usize,
    },
    /// TensorFlow's `"same"`: the output is `ceil(input / stride)` long, the padding that takes is split evenly,
    /// and the odd pixel goes below and to the right.
    Same,
}

impl Padding {
    /// `pad` pixels on every side.
    pub const fn all(pad: usize) -> Self {
        Self::Sides { top: pad, bottom: pad, left: pad, right: pad }
    }
}

/// A window of taps that slides over an image. Of each pair, the first number is for rows, the second for columns.
///
/// ```
/// use kernels::{Padding, Window};
///
/// let window = Window::new(3).stride(2).pad(1);
/// assert_eq!(window.output(224, 224)?, (112, 112));
/// assert_eq!(window.padding(Padding::Same).output(7, 9)?, (4, 5));
/// assert!(Window::new(3).output(2, 9).is_err());
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Rows and columns of taps: `kh`, `kw`.
    pub kernel: [usize; 2],
    /// Pixels from one window to the next.
    pub stride: [usize; 2],
    /// Pixels from one tap to the next.
    pub dilation: [usize; 2],
    /// Pixels of nothing around the image.
    pub padding: Padding,
}

impl Window {
    /// `kernel` x `kernel` taps, at every pixel, without padding: PyTorch's defaults.
    pub const fn new(kernel: usize) -> Self {
        Self::rectangle(kernel, kernel)
    }

    /// `kh` rows of `kw` taps.
    pub const fn rectangle(kh: usize, kw: usize) -> Self {
        Self { kernel: [kh, kw], stride: [1, 1], dilation: [1, 1], padding: Padding::all(0) }
    }

    /// The same taps, `stride` pixels from window to window.
    pub const fn stride(self, stride: usize) -> Self {
        Self { stride: [stride, stride], ..self }
    }

    /// The same window, `dilation` pixels from tap to tap.
    pub const fn dilation(self, dilation: usize) -> Self {
        Self { dilation: [dilation, dilation], ..self }
    }

    /// The same window, over an image with `padding` around it.
    pub const fn padding(self, padding: Padding) -> Self {
        Self { padding, ..self }
    }

    /// As [`padding`](Self::padding), with `pad` pixels on every side.
    pub const fn pad(self, pad: usize) -> Self {
        self.padding(Padding::all(pad))
    }

    /// How many taps there are.
    pub const fn taps(self) -> usize {
        self.kernel[0].saturating_mul(self.kernel[1])
    }

    /// Rows and columns of windows over an image of `h` x `w` pixels.
    ///
    /// # Errors
    /// Where no window fits into the padded image, a stride is zero, or a size does not fit into memory.
    pub fn output(self, h: usize, w: usize) -> Result<(usize, usize), Error> {
        let [rows, columns] = self.axes(h, w)?;
        Ok((rows.len, columns.len))
    }

    /// Where windows lie along the rows and along the columns of an image.
    pub(crate) fn axes(self, h: usize, w: usize) -> Result<[Axis; 2], Error> {
        match (self.axis(0, h), self.axis(1, w)) {
            (Some(rows), Some(columns)) => Ok([rows, columns]),
            _ => Err(mismatch(format_args!("a window of {self} does not fit an image of {h}x{w}"))),
        }
    }

    fn axis(self, axis: usize, len: usize) -> Option<Axis> {
        let stride = self.stride[axis];
        let reach = self.dilation[axis].checked_mul(self.kernel[axis].checked_sub(1)?)?.checked_add(1)?;
        let (before, after) = match self.padding {
            Padding::Sides { top, bottom, .. } if axis == 0 => (top, bottom),
            Padding::Sides { left, right, .. } => (left, right),
            Padding::Same => {
                // (The last window begins before the end: no stride of zero comes so far.)
                let last = len.checked_sub(1)?.checked_div(stride)? * stride;
                let total = last.checked_add(reach)?.saturating_sub(len);
                (total / 2, total - total / 2)
            }
        };
        // (So that no place in the padded image is beyond what `isize` counts.)
        let room = extent::sum([len, before, after])?.checked_sub(reach)?;
        Some(Axis { before, len: room.checked_div(stride)? + 1 })
    }

    /// Checks that there is a tap, and a step from window to window and from tap to tap.
    pub(crate) fn expect_sound(self) -> Result<(), Error> {
        let what = [("kernel", self.kernel), ("stride", self.stride), ("dilation", self.dilation)];
        match what.into_iter().find(|(_, numbers)| numbers.contains(&0)) {
            Some((what, [rows, columns])) => {
                Err(invalid(what, format_args!("{rows}x{columns}: must be at least 1")))
            }
            None => Ok(()),
        }
    }

    /// What the operators compute today: a square of `kernels` x `kernels` taps, strides of 1 and 2, no dilation, paddings
    /// less than the kernel, so that every window holds a pixel. Returns kernel and stride.
    pub(crate) fn expect_square(self, kernels: &[usize]) -> Result<(usize, usize), Error> {
        let square = |what, [rows, columns]: [usize; 2]| match rows == columns {
            true => Ok(rows),
            false => {
                Err(invalid(what, format_args!("{rows}x{columns}: must be the same for rows and columns")))
            }
        };
        let (kernel, stride) = (square("kernel", self.kernel)?, square("stride", self.stride)?);
        if !kernels.contains(&kernel) {
            return Err(invalid("kernel", format_args!("{kernel}: must be one of {kernels:?}")));
        }
        if !(1..=2).contains(&stride) {
            return Err(invalid("stride", format_args!("{stride}: must be 1 or 2")));
        }
        if self.dilation != [1, 1] {
            return Err(invalid("dilation", format_args!("{:?}: must be 1", self.dilation)));
        }
        match self.padding {
            Padding::Sides { top, bottom, left, right } if top.max(bottom).max(left).max(right) >= kernel => {
                let padding = self.padding;
                Err(invalid("padding", format_args!("{padding:?} is not smaller than the kernel, {kernel}")))
            }
            _ => Ok((kernel, stride)),
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.kernel[0], self.kernel[1])
    }
}

/// Windows along one side of an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    /// Padding before the image.
    pub(crate) before: usize,
    /// Windows.
    pub(crate) len: usize,
}
