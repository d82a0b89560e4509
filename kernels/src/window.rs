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
    /// Whether a last window may hang over the padding, if it begins before the image ends: `ceil_mode` of pools in PyTorch and
    /// ONNX.
    pub ceil: bool,
}

impl Window {
    /// `kernel` x `kernel` taps, at every pixel, without padding: PyTorch's defaults.
    pub const fn new(kernel: usize) -> Self {
        Self::rectangle(kernel, kernel)
    }

    /// `kh` rows of `kw` taps.
    pub const fn rectangle(kh: usize, kw: usize) -> Self {
        Self { kernel: [kh, kw], stride: [1, 1], dilation: [1, 1], padding: Padding::all(0), ceil: false }
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

    /// The same window, of which a last one may hang over the padding or not.
    pub const fn ceil(self, ceil: bool) -> Self {
        Self { ceil, ..self }
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

    /// Rows and columns that a transposed convolution by this window makes of `h` x `w` pixels: `(len - 1) * stride + kernel -
    /// padding + output_padding`.
    ///
    /// # Errors
    /// Where nothing is left, the padding is "same", or it does not fit into memory.
    pub fn transposed(self, h: usize, w: usize, output_padding: [usize; 2]) -> Result<(usize, usize), Error> {
        let Padding::Sides { top, bottom, left, right } = self.padding else {
            return Err(mismatch("a transposed convolution with \"same\" padding"));
        };
        let side = |axis: usize, len: usize, padding: [usize; 2]| {
            let reach = extent::product([len.checked_sub(1)?, self.stride[axis]])?;
            let whole = extent::sum([reach, self.kernel[axis], output_padding[axis]])?;
            whole.checked_sub(extent::sum(padding)?).filter(|&len| len > 0)
        };
        let sides = side(0, h, [top, bottom]).zip(side(1, w, [left, right]));
        sides.ok_or_else(|| {
            mismatch(format_args!("a transposed convolution by {self} leaves nothing of {h}x{w}"))
        })
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
        let padded = extent::sum([len, before, after])?;
        let room = padded.checked_sub(reach)?;
        let windows = room.checked_div(stride)? + 1;
        // One more, where the last one does not reach the end, and the next begins inside the image.
        let hangs = self.ceil && !room.is_multiple_of(stride) && windows * stride < before + len;
        Some(Axis { before, padded, len: windows + usize::from(hangs) })
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
    /// Pixels of the image and of the padding on both sides.
    pub(crate) padded: usize,
    /// Windows.
    pub(crate) len: usize,
}
