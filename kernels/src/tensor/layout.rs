//! Into the blocked layout and out of it.

use crate::error::{Error, expect_len};
use crate::tensor::order::ChannelOrder;
use crate::tensor::owned::Tensor;
use crate::tensor::shape::{BLOCK, Shape};
use crate::tensor::view::{View, ViewMut};
use alloc::{vec, vec::Vec};

/// Reads a planar image (channel, row, column: PyTorch's NCHW of one image) into `dst`.
///
/// # Panics
/// Where `src` has not exactly the elements of `dst`'s shape.
pub fn from_nchw(src: &[f32], dst: ViewMut<'_>) {
    let pixels = dst.shape().pixels();
    fill(src, dst, pixels, 1);
}

/// Reads an interleaved image (row, column, channel: TensorFlow's NHWC of one image) into `dst`.
///
/// # Panics
/// As [`from_nchw`].
pub fn from_nhwc(src: &[f32], dst: ViewMut<'_>) {
    let channels = dst.shape().c;
    fill(src, dst, 1, channels);
}

/// Writes the channels of `order` as a planar image.
///
/// # Panics
/// Where `src` has fewer slots than the order needs, or `dst` not exactly its channels times the pixels.
pub fn to_nchw(src: View<'_>, order: &ChannelOrder, dst: &mut [f32]) {
    drain(src, order, dst, src.shape().pixels(), 1);
}

/// Writes the channels of `order` as an interleaved image.
///
/// # Panics
/// As [`to_nchw`].
pub fn to_nhwc(src: View<'_>, order: &ChannelOrder, dst: &mut [f32]) {
    drain(src, order, dst, 1, order.channels());
}

fn fill(src: &[f32], mut dst: ViewMut<'_>, channel: usize, pixel: usize) {
    let (shape, block_stride) = (dst.shape(), dst.block_stride());
    assert!(shape.elements() == src.len(), "{} elements for a tensor of {shape}", src.len());
    for block in 0..shape.blocks() {
        let channels = BLOCK.min(shape.c - block * BLOCK);
        let dst = &mut dst.data_mut()[block * block_stride..][..shape.pixels() * BLOCK];
        for (p, dst) in dst.chunks_exact_mut(BLOCK).enumerate() {
            for (lane, dst) in dst[..channels].iter_mut().enumerate() {
                *dst = src[(block * BLOCK + lane) * channel + p * pixel];
            }
        }
    }
}

fn drain(src: View<'_>, order: &ChannelOrder, dst: &mut [f32], channel: usize, pixel: usize) {
    let shape = src.shape();
    assert!(
        order.width() <= shape.c && Shape { c: order.channels(), ..shape }.elements() == dst.len(),
        "{} channels in {} slots of {shape} into {} elements",
        order.channels(),
        order.width(),
        dst.len()
    );
    for (c, &slot) in order.slots().iter().enumerate() {
        let slot = slot as usize;
        let src = &src.data()[slot / BLOCK * src.block_stride()..];
        for p in 0..shape.pixels() {
            dst[c * channel + p * pixel] = src[p * BLOCK + slot % BLOCK];
        }
    }
}

impl Tensor {
    /// A tensor from a planar image.
    ///
    /// # Errors
    /// Where `src` has not exactly the elements of `shape`, or a side is zero.
    pub fn from_nchw(src: &[f32], shape: Shape) -> Result<Self, Error> {
        let mut tensor = Self::checked(src, shape)?;
        from_nchw(src, tensor.view_mut());
        Ok(tensor)
    }

    /// A tensor from an interleaved image.
    ///
    /// # Errors
    /// As [`from_nchw`](Self::from_nchw).
    pub fn from_nhwc(src: &[f32], shape: Shape) -> Result<Self, Error> {
        let mut tensor = Self::checked(src, shape)?;
        from_nhwc(src, tensor.view_mut());
        Ok(tensor)
    }

    fn checked(src: &[f32], shape: Shape) -> Result<Self, Error> {
        shape.try_len()?;
        expect_len("image", shape.elements(), src.len())?;
        Ok(Self::zeros(shape))
    }

    /// As a planar image.
    pub fn to_nchw(&self) -> Vec<f32> {
        let shape = self.shape();
        let mut dst = vec![0.0; shape.elements()];
        to_nchw(self.view(), &ChannelOrder::identity(shape.c), &mut dst);
        dst
    }
}
