//! Arrays of the crate [`ndarray`](https://docs.rs/ndarray), whatever their memory layout: `(channel, row, column)` is
//! what an axis means here, not where its elements lie.
//!
//! ```
//! use kernels::{Activation, Pointwise, Shape, Tensor};
//! use ndarray::Array3;
//!
//! // Rows, columns, channels, as a camera delivers them.
//! let photo = Array3::from_elem((28, 28, 24), 1.0f32);
//! let conv = Pointwise::builder(24, 58).activation(Activation::Relu).build(&vec![0.01; 58 * 24])?;
//! let src = Tensor::from_array(photo.view().permuted_axes([2, 0, 1]))?;
//! let mut dst = Tensor::zeros(Shape::new(58, 28, 28));
//! conv.run(src.view(), dst.view_mut());
//! assert!((dst.to_array()[[57, 27, 27]] - 0.24).abs() < 1e-6);
//! # Ok::<(), kernels::Error>(())
//! ```

use crate::error::Error;
use crate::tensor::layout;
use crate::tensor::order::ChannelOrder;
use crate::tensor::owned::Tensor;
use crate::tensor::shape::{BLOCK, Shape};
use crate::tensor::view::{View, ViewMut};
use ::ndarray::{Array3, ArrayView3, ArrayViewMut3, Axis};

/// Reads an array into `dst`.
///
/// # Panics
/// Where the shapes differ.
pub fn from_array(src: ArrayView3<'_, f32>, mut dst: ViewMut<'_>) {
    let shape = dst.shape();
    assert!(src.dim() == (shape.c, shape.h, shape.w), "array of {:?} into {shape}", src.shape());
    if let Some(planar) = src.as_slice() {
        return layout::from_nchw(planar, dst);
    }
    if let Some(interleaved) = src.view().permuted_axes([1, 2, 0]).as_slice() {
        return layout::from_nhwc(interleaved, dst);
    }
    let block_stride = dst.block_stride();
    for (c, plane) in src.axis_iter(Axis(0)).enumerate() {
        let slot = &mut dst.data_mut()[c / BLOCK * block_stride + c % BLOCK..];
        slot.iter_mut().step_by(BLOCK).zip(plane).for_each(|(dst, src)| *dst = *src);
    }
}

/// Writes the channels of `order` into an array.
///
/// # Panics
/// Where `src` has fewer slots than the order needs, or `dst` not the channels of the order and the pixels of `src`.
pub fn to_array(src: View<'_>, order: &ChannelOrder, mut dst: ArrayViewMut3<'_, f32>) {
    let shape = Shape { c: order.channels(), ..src.shape() };
    assert!(
        dst.dim() == (shape.c, shape.h, shape.w) && order.width() <= src.shape().c,
        "{} channels in {} slots of {} into an array of {:?}",
        order.channels(),
        order.width(),
        src.shape(),
        dst.shape()
    );
    if let Some(planar) = dst.as_slice_mut() {
        return layout::to_nchw(src, order, planar);
    }
    if let Some(interleaved) = dst.view_mut().permuted_axes([1, 2, 0]).as_slice_mut() {
        return layout::to_nhwc(src, order, interleaved);
    }
    for (plane, &slot) in dst.axis_iter_mut(Axis(0)).zip(order.slots()) {
        let slot = slot as usize;
        let slot = &src.data()[slot / BLOCK * src.block_stride() + slot % BLOCK..];
        slot.iter().step_by(BLOCK).zip(plane).for_each(|(src, dst)| *dst = *src);
    }
}

impl Tensor {
    /// A tensor from an array of (channel, row, column).
    ///
    /// # Errors
    /// Where a side is zero or the tensor does not fit into memory.
    pub fn from_array(src: ArrayView3<'_, f32>) -> Result<Self, Error> {
        let (c, h, w) = src.dim();
        let shape = Shape::new(c, h, w);
        shape.try_len()?;
        let mut tensor = Self::zeros(shape);
        from_array(src, tensor.view_mut());
        Ok(tensor)
    }

    /// As an array of (channel, row, column).
    pub fn to_array(&self) -> Array3<f32> {
        let shape = self.shape();
        let mut array = Array3::zeros((shape.c, shape.h, shape.w));
        to_array(self.view(), &ChannelOrder::identity(shape.c), array.view_mut());
        array
    }
}
