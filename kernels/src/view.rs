//! Tensors as the operators see them: one image, channels in blocks of sixteen.
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

use crate::error::{Error, expect_len, invalid};
use crate::extent;
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// Channels per block. The same for every instruction set, so that a tensor means the same everywhere.
pub const BLOCK: usize = 16;

/// Channels, height and width of one image or feature map.
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

    /// Pixels of one channel. This and the sizes below are `usize::MAX` where they would not fit; no slice is as long.
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

    /// True where the tensor has no element.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// As [`len`](Self::len), or an error where a side is zero or the product overflows.
    pub(crate) fn checked_len(self) -> Result<usize, Error> {
        if self.c == 0 || self.h == 0 || self.w == 0 {
            return Err(invalid("shape", alloc::format!("{self} has a side of zero")));
        }
        extent::blocked(self)
            .ok_or_else(|| invalid("shape", alloc::format!("{self} does not fit into memory")))
    }
}

impl core::fmt::Display for Shape {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}x{}x{}", self.c, self.h, self.w)
    }
}

/// A borrowed blocked tensor to read from.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    data: &'a [f32],
    shape: Shape,
    block_stride: usize,
}

/// A borrowed blocked tensor to write to.
///
/// ```
/// use kernels::{Shape, View, ViewMut};
///
/// // In an arena of one's own: two maps of 16 channels, one after the other in one buffer.
/// let shape = Shape::new(32, 4, 4);
/// let mut arena = vec![0.0; shape.len()];
/// let (before, mut after) = ViewMut::new(&mut arena, shape)?.split_at_block(1);
/// after.data_mut()[0] = before.get(0, 0, 0) + 1.0;
/// assert_eq!(View::new(&arena, shape)?.get(16, 0, 0), 1.0);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct ViewMut<'a> {
    data: &'a mut [f32],
    shape: Shape,
    block_stride: usize,
}

/// Elements that a view of `shape` spans where its blocks are `block_stride` apart.
fn span(shape: Shape, block_stride: usize) -> usize {
    match shape.blocks() {
        0 => 0,
        blocks => (blocks - 1) * block_stride + shape.pixels() * BLOCK,
    }
}

impl<'a> View<'a> {
    /// Reads `data` as a blocked tensor of `shape`.
    ///
    /// # Errors
    /// Where `data` does not hold exactly [`Shape::len`] elements, or a side is zero.
    pub fn new(data: &'a [f32], shape: Shape) -> Result<Self, Error> {
        expect_len("view", shape.checked_len()?, data.len())?;
        Ok(Self { data, shape, block_stride: shape.block_stride() })
    }

    /// Channels, height, width.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Elements from one block of channels to the next.
    pub fn block_stride(&self) -> usize {
        self.block_stride
    }

    /// The elements, from the first of the first block to the last of the last.
    pub fn data(&self) -> &'a [f32] {
        self.data
    }

    /// The blocks of `range` alone.
    ///
    /// # Panics
    /// Where the range is empty or ends beyond the last block.
    pub fn blocks(self, range: Range<usize>) -> Self {
        let shape = block_range(self.shape, &range);
        let start = range.start * self.block_stride;
        Self { data: &self.data[start..start + span(shape, self.block_stride)], shape, ..self }
    }

    /// The rows of `range` alone.
    ///
    /// # Panics
    /// Where the range is empty or ends beyond the last row.
    pub fn rows(self, range: Range<usize>) -> Self {
        let shape = row_range(self.shape, &range);
        let start = range.start * self.shape.w * BLOCK;
        Self { data: &self.data[start..start + span(shape, self.block_stride)], shape, ..self }
    }

    /// Element of channel `c` at row `y`, column `x`.
    ///
    /// # Panics
    /// Where the position lies outside the shape.
    pub fn get(&self, c: usize, y: usize, x: usize) -> f32 {
        assert!(c < self.shape.c && y < self.shape.h && x < self.shape.w, "position outside {}", self.shape);
        self.data[c / BLOCK * self.block_stride + (y * self.shape.w + x) * BLOCK + c % BLOCK]
    }
}

impl<'a> ViewMut<'a> {
    /// Writes `data` as a blocked tensor of `shape`.
    ///
    /// # Errors
    /// Where `data` does not hold exactly [`Shape::len`] elements, or a side is zero.
    pub fn new(data: &'a mut [f32], shape: Shape) -> Result<Self, Error> {
        expect_len("view", shape.checked_len()?, data.len())?;
        Ok(Self { data, shape, block_stride: shape.block_stride() })
    }

    /// Channels, height, width.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Elements from one block of channels to the next.
    pub fn block_stride(&self) -> usize {
        self.block_stride
    }

    /// The same tensor to read from.
    pub fn as_view(&self) -> View<'_> {
        View { data: self.data, shape: self.shape, block_stride: self.block_stride }
    }

    /// The elements, from the first of the first block to the last of the last.
    pub fn data_mut(&mut self) -> &mut [f32] {
        self.data
    }

    /// A shorter borrow of the same tensor.
    pub fn reborrow(&mut self) -> ViewMut<'_> {
        ViewMut { data: self.data, shape: self.shape, block_stride: self.block_stride }
    }

    /// The blocks of `range` alone.
    ///
    /// # Panics
    /// Where the range is empty or ends beyond the last block.
    pub fn blocks(self, range: Range<usize>) -> Self {
        let shape = block_range(self.shape, &range);
        let start = range.start * self.block_stride;
        Self {
            data: &mut self.data[start..start + span(shape, self.block_stride)],
            shape,
            block_stride: self.block_stride,
        }
    }

    /// The rows of `range` alone.
    ///
    /// # Panics
    /// Where the range is empty or ends beyond the last row.
    pub fn rows(self, range: Range<usize>) -> Self {
        let shape = row_range(self.shape, &range);
        let start = range.start * self.shape.w * BLOCK;
        Self {
            data: &mut self.data[start..start + span(shape, self.block_stride)],
            shape,
            block_stride: self.block_stride,
        }
    }

    /// The blocks before `at`, to read from, and the blocks from `at` on, to write to: how the units of a stage
    /// share one buffer.
    ///
    /// # Panics
    /// Where one of the two parts would be empty.
    pub fn split_at_block(self, at: usize) -> (View<'a>, ViewMut<'a>) {
        let (block_stride, blocks) = (self.block_stride, self.shape.blocks());
        let (before, after) = (block_range(self.shape, &(0..at)), block_range(self.shape, &(at..blocks)));
        let (left, right) = self.data.split_at_mut(at * block_stride);
        let left = &left[..span(before, block_stride)];
        (
            View { data: left, shape: before, block_stride },
            ViewMut { data: right, shape: after, block_stride },
        )
    }
}

fn block_range(shape: Shape, range: &Range<usize>) -> Shape {
    assert!(
        range.start < range.end && range.end <= shape.blocks(),
        "blocks {range:?} of a tensor of {} blocks",
        shape.blocks()
    );
    Shape { c: shape.c.min(range.end * BLOCK) - range.start * BLOCK, ..shape }
}

fn row_range(shape: Shape, range: &Range<usize>) -> Shape {
    assert!(
        range.start < range.end && range.end <= shape.h,
        "rows {range:?} of a tensor of {} rows",
        shape.h
    );
    Shape { h: range.end - range.start, ..shape }
}

/// Sixteen floats that fill one cache line.
#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C, align(64))]
struct Line([f32; BLOCK]);

/// Zeroed memory that begins on a cache line: what activations and packed weights live in.
#[derive(Clone)]
pub struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        Self { lines: vec![Line([0.0; BLOCK]); len.div_ceil(BLOCK)], len }
    }

    /// The elements.
    pub fn as_slice(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }

    /// The elements, to write.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

impl core::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Buffer({} elements)", self.len)
    }
}

/// An owned blocked tensor, for those who do not keep an arena of their own.
///
/// ```
/// use kernels::{Shape, Tensor};
///
/// let image: Vec<f32> = (0..12).map(|i| i as f32).collect();
/// let tensor = Tensor::from_nchw(&image, Shape::new(3, 2, 2))?;
/// assert_eq!(tensor.view().get(2, 1, 0), 10.0);
/// assert_eq!(tensor.to_nchw(), image);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tensor {
    buffer: Buffer,
    shape: Shape,
}

impl Tensor {
    /// A tensor of zeros.
    ///
    /// # Panics
    /// Where a side is zero or the tensor does not fit into memory.
    pub fn zeros(shape: Shape) -> Self {
        let len = shape.checked_len().unwrap_or_else(|error| panic!("{error}"));
        Self { buffer: Buffer::zeros(len), shape }
    }

    /// Channels, height, width.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// To read from.
    pub fn view(&self) -> View<'_> {
        View { data: self.buffer.as_slice(), shape: self.shape, block_stride: self.shape.block_stride() }
    }

    /// To write to.
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        let (shape, block_stride) = (self.shape, self.shape.block_stride());
        ViewMut { data: self.buffer.as_mut_slice(), shape, block_stride }
    }
}
