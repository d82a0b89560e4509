//! Sizes of tensors.
//!
//! ```text
//! element (c, y, x)  ->  (c / 16) * block_stride  +  (y * w + x) * 16  +  c % 16
//!
//!   block 0                              block 1
//!   | pixel 0     | pixel 1     | ...    | pixel 0      | ...
//!   | c0 .. c15   | c0 .. c15   |        | c16 .. c31   |
//! ```
//!
//! Every pixel of a block fills one cache line, the step from pixel to pixel is the constant 16, and the step
//! from row to row is `16 * w`: a 1x1 convolution sees one flat run of `h * w` pixels. `block_stride` is
//! `16 * (h * w | 1)`: an odd number of lines, so that the blocks of a map with a power-of-two area do not all
//! fall into the same set of the first-level cache.
//!
//! The lanes beyond the last channel of the last block ("pad lanes") hold unspecified values. No operator lets
//! them reach a channel.

use crate::error::{Error, invalid};
use crate::tensor::extent::{product, sum};
use core::fmt;

/// Channels per block. The same for every instruction set, so that a tensor means the same everywhere.
pub const BLOCK: usize = 16;

/// Channels, height and width of one image or feature map.
///
/// Its sizes saturate: where a product would not fit, it is `usize::MAX`, and no slice is as long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Channels (or slots, where a tensor is read through a [`ChannelOrder`](crate::ChannelOrder)).
    pub c: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
}

impl Shape {
    /// `c` channels of `h` x `w` pixels.
    pub const fn new(c: usize, h: usize, w: usize) -> Self {
        Self { c, h, w }
    }

    /// Blocks of [`BLOCK`] channels, the last one perhaps ragged.
    pub const fn blocks(self) -> usize {
        self.c.div_ceil(BLOCK)
    }

    /// Pixels of one channel.
    pub const fn pixels(self) -> usize {
        self.h.saturating_mul(self.w)
    }

    /// Elements from one block to the next.
    pub const fn block_stride(self) -> usize {
        (self.pixels() | 1).saturating_mul(BLOCK)
    }

    /// Elements of the blocked storage.
    pub const fn len(self) -> usize {
        self.blocks().saturating_mul(self.block_stride())
    }

    /// Elements of planar (NCHW) or interleaved (NHWC) storage: `c * h * w`.
    pub const fn elements(self) -> usize {
        self.c.saturating_mul(self.pixels())
    }

    /// True where the tensor has no element.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// As [`len`](Self::len).
    ///
    /// # Errors
    /// Where a side is zero, or memory cannot hold so many elements.
    pub fn try_len(self) -> Result<usize, Error> {
        if self.c == 0 || self.h == 0 || self.w == 0 {
            return Err(invalid("shape", format_args!("{self} has a side of zero")));
        }
        let lines = product([self.h, self.w]).map(|pixels| pixels | 1);
        lines
            .and_then(|lines| product([self.blocks(), lines, BLOCK]))
            .ok_or_else(|| invalid("shape", format_args!("{self} does not fit into memory")))
    }

    /// The greatest offset, from the first channel of a pixel, at which one of its channels lies, in blocks `block_stride`
    /// apart.
    pub(crate) fn reach(self, block_stride: usize) -> Option<usize> {
        let last = self.c.checked_sub(1)?;
        sum([product([last / BLOCK, block_stride])?, last % BLOCK])
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.c, self.h, self.w)
    }
}
