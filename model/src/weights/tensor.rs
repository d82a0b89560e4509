//! One stored tensor: its type and shape, and how to get at its elements.

#[cfg(feature = "hdf5")]
use super::chunks::Chunks;
use super::dtype::DType;
use super::shape::{advance, dense_strides};
use super::source::Source;
use std::io;
use std::sync::Arc;

/// What is known of a tensor without reading it.
pub(super) struct Tensor {
    pub(super) dtype: DType,
    pub(super) shape: Vec<usize>,
    pub(super) big_endian: bool,
    pub(super) store: Store,
}

/// Where the elements lie.
pub(super) enum Store {
    /// One after the other, or every so many. Whoever makes one has checked that all lie inside of the source.
    Strided {
        source: Arc<Source>,
        /// Of the first element, in bytes.
        offset: u64,
        /// In elements.
        strides: Vec<usize>,
    },
    /// In rectangles, which may be compressed.
    #[cfg(feature = "hdf5")]
    Chunked(Box<Chunks>),
}

impl Tensor {
    /// A tensor in C order at `offset`; none where it does not lie inside of the source.
    pub(super) fn dense(
        dtype: DType,
        shape: Vec<usize>,
        big_endian: bool,
        source: &Arc<Source>,
        offset: u64,
    ) -> Option<Self> {
        let bytes =
            shape.iter().try_fold(dtype.size() as u64, |product, &n| product.checked_mul(n as u64))?;
        offset.checked_add(bytes).filter(|&end| end <= source.len())?;
        let store = Store::Strided { source: source.clone(), offset, strides: dense_strides(&shape) };
        Some(Self { dtype, shape, big_endian, store })
    }

    /// How many elements it has, if that can be counted.
    pub(super) fn elements(&self) -> Option<u64> {
        self.shape.iter().try_fold(1u64, |product, &n| product.checked_mul(n as u64))
    }

    /// The elements as `f32`. Dense `f32` is read straight into the vector that is returned.
    ///
    /// # Panics
    /// For a type that is not floating point.
    pub(super) fn to_f32(&self) -> io::Result<Vec<f32>> {
        if self.dtype == DType::F32
            && !self.big_endian
            && let Store::Strided { source, offset, strides } = &self.store
            && *strides == dense_strides(&self.shape)
        {
            let mut values = vec![0f32; self.shape.iter().product()];
            source.read_at(*offset, bytemuck::cast_slice_mut(&mut values))?;
            // Files are little endian; on such machines this is nothing.
            values.iter_mut().for_each(|v| *v = f32::from_bits(u32::from_le(v.to_bits())));
            return Ok(values);
        }
        Ok(self.dtype.to_f32(&self.to_bytes()?))
    }

    /// The elements in C order, little endian, in the file's element type.
    pub(super) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let size = self.dtype.size();
        let mut bytes = match &self.store {
            Store::Strided { source, offset, strides } => {
                gather(source, *offset, &self.shape, strides, size)?
            }
            #[cfg(feature = "hdf5")]
            Store::Chunked(chunks) => chunks.read(&self.shape, size)?,
        };
        if self.big_endian {
            bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        Ok(bytes)
    }
}

/// Gathers the elements of a strided tensor in C order. Only the part of the file between its first and
/// its last element is read.
fn gather(
    source: &Source,
    offset: u64,
    shape: &[usize],
    strides: &[usize],
    size: usize,
) -> io::Result<Vec<u8>> {
    let elements: usize = shape.iter().product();
    if elements == 0 {
        return Ok(Vec::new());
    }
    let last: usize = shape.iter().zip(strides).map(|(&n, &stride)| (n - 1) * stride).sum();
    let stored = source.read_range(offset..offset + ((last + 1) * size) as u64)?;
    if strides == dense_strides(shape) {
        return Ok(stored);
    }
    let mut dense = Vec::with_capacity(elements * size);
    let mut index = vec![0; shape.len()];
    loop {
        let at: usize = index.iter().zip(strides).map(|(&i, &stride)| i * stride).sum();
        dense.extend_from_slice(&stored[at * size..(at + 1) * size]);
        if !advance(&mut index, shape) {
            return Ok(dense);
        }
    }
}
