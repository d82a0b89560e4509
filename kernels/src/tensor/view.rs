//! Borrowed tensors, and parts of them.

use crate::error::{Error, expect_len};
use crate::tensor::shape::{BLOCK, Shape};
use core::ops::Range;

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
        expect_len("view", shape.try_len()?, data.len())?;
        Ok(Self::whole(data, shape))
    }

    /// As [`new`](Self::new), for those who made `data` of the right length.
    pub(crate) fn whole(data: &'a [f32], shape: Shape) -> Self {
        debug_assert_eq!(data.len(), shape.len(), "elements of {shape}");
        Self { data, shape, block_stride: shape.block_stride() }
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

    /// Where `pixel` of `block` lies; the view holds both, or this panics.
    pub(crate) fn at(&self, block: usize, pixel: usize) -> *const f32 {
        self.data[block * self.block_stride + pixel * BLOCK..].as_ptr()
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
        expect_len("view", shape.try_len()?, data.len())?;
        Ok(Self::whole(data, shape))
    }

    /// As [`new`](Self::new), for those who made `data` of the right length.
    pub(crate) fn whole(data: &'a mut [f32], shape: Shape) -> Self {
        debug_assert_eq!(data.len(), shape.len(), "elements of {shape}");
        Self { data, shape, block_stride: shape.block_stride() }
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
