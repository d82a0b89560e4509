//! Shapes, strides and indices.

/// Most dimensions of a tensor.
#[cfg(any(feature = "torch", feature = "hdf5"))]
pub(super) const MAX_DIMENSIONS: usize = 16;

/// Strides of a C-ordered tensor.
pub(super) fn dense_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis].max(1));
    }
    strides
}

/// Counts `index` up in C order like an odometer, the last axis fastest; false at the end.
pub(super) fn advance(index: &mut [usize], shape: &[usize]) -> bool {
    let Some(axis) = (0..shape.len()).rev().find(|&axis| index[axis] + 1 < shape[axis]) else {
        return false;
    };
    index[axis] += 1;
    index[axis + 1..].fill(0);
    true
}
