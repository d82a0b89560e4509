//! Tensors that own their memory.

use crate::tensor::shape::{BLOCK, Shape};
use crate::tensor::view::{View, ViewMut};
use alloc::{vec, vec::Vec};

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
        let len = shape.try_len().unwrap_or_else(|error| panic!("{error}"));
        Self { buffer: Buffer::zeros(len), shape }
    }

    /// Channels, height, width.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// To read from.
    pub fn view(&self) -> View<'_> {
        View::whole(self.buffer.as_slice(), self.shape)
    }

    /// To write to.
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        ViewMut::whole(self.buffer.as_mut_slice(), self.shape)
    }
}
