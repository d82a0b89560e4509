//! What the first layer of a network reads: an image as it comes from the user.

use crate::error::{Error, expect_len};
use crate::tensor::shape::{BLOCK, Shape};
use crate::tensor::view::View;

/// A borrowed image that is not in blocks, for [`Convolution`](crate::Convolution) and [`Stem`](crate::Stem) to read.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    data: &'a [f32],
    shape: Shape,
}

impl<'a> Image<'a> {
    /// A planar image: channel, row, column; PyTorch's NCHW of one image.
    ///
    /// # Errors
    /// Where `data` does not hold exactly [`Shape::elements`], or a side is zero.
    pub fn planar(data: &'a [f32], shape: Shape) -> Result<Self, Error> {
        shape.try_len()?;
        expect_len("image", shape.elements(), data.len())?;
        Ok(Self { data, shape })
    }

    /// Channels, height, width.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The elements.
    pub fn data(&self) -> &'a [f32] {
        self.data
    }
}

/// What a dense convolution can read; made `From` a [`View`] or an [`Image`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Source<'a> {
    /// A blocked tensor.
    Tensor(View<'a>),
    /// An image that is not in blocks.
    Image(Image<'a>),
}

impl<'a> From<View<'a>> for Source<'a> {
    fn from(view: View<'a>) -> Self {
        Self::Tensor(view)
    }
}

impl<'a> From<Image<'a>> for Source<'a> {
    fn from(image: Image<'a>) -> Self {
        Self::Image(image)
    }
}

impl Source<'_> {
    /// Channels, height, width.
    pub fn shape(&self) -> Shape {
        match self {
            Self::Tensor(view) => view.shape(),
            Self::Image(image) => image.shape(),
        }
    }

    /// The elements.
    pub(crate) fn data(&self) -> &[f32] {
        match self {
            Self::Tensor(view) => view.data(),
            Self::Image(image) => image.data(),
        }
    }

    /// Elements from pixel to pixel.
    pub(crate) fn pixel(&self) -> usize {
        match self {
            Self::Tensor(_) => BLOCK,
            Self::Image(_) => 1,
        }
    }

    /// Elements from the first channel of a pixel to channel `c`, which the source has.
    pub(crate) fn channel(&self, c: usize) -> usize {
        match self {
            Self::Tensor(view) => c / BLOCK * view.block_stride() + c % BLOCK,
            Self::Image(image) => c * image.shape.pixels(),
        }
    }
}
