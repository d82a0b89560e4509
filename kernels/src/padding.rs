//! Rows and columns of nothing around an image.

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

    /// Padding before and output length along the rows, for an input of `ih` rows.
    pub(crate) fn rows(self, ih: usize, kernel: usize, stride: usize) -> Option<(usize, usize)> {
        match self {
            Self::Sides { top, bottom, .. } => sides(ih, top, bottom, kernel, stride),
            Self::Same => same(ih, kernel, stride),
        }
    }

    /// Padding before and output length along the columns, for an input of `iw` columns.
    pub(crate) fn columns(self, iw: usize, kernel: usize, stride: usize) -> Option<(usize, usize)> {
        match self {
            Self::Sides { left, right, .. } => sides(iw, left, right, kernel, stride),
            Self::Same => same(iw, kernel, stride),
        }
    }

    /// The greatest padding of any side; for `Same`, the greatest there can be.
    pub(crate) fn greatest(self, kernel: usize) -> usize {
        match self {
            Self::Sides { top, bottom, left, right } => top.max(bottom).max(left).max(right),
            Self::Same => kernel / 2,
        }
    }
}

fn sides(len: usize, before: usize, after: usize, kernel: usize, stride: usize) -> Option<(usize, usize)> {
    let room = len.checked_add(before)?.checked_add(after)?.checked_sub(kernel)?;
    Some((before, room / stride + 1))
}

fn same(len: usize, kernel: usize, stride: usize) -> Option<(usize, usize)> {
    let out = len.div_ceil(stride);
    let total = (out.checked_sub(1)? * stride).checked_add(kernel)?.saturating_sub(len);
    Some((total / 2, out))
}
