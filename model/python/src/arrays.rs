//! NumPy's memory as slices, without a copy.

use crate::failure::invalid;
use kernels::Shape;
use numpy::ndarray::Dimension;
use numpy::{
    Element, PyArray, PyArrayMethods, PyReadonlyArray, PyReadonlyArray4, PyReadwriteArray,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

/// The elements of an array in C order, where they lie.
///
/// # Errors
/// Where the array has other strides, or lies askew in memory.
pub(crate) fn slice<'a, T: Element, D: Dimension>(
    what: &str,
    array: &'a PyReadonlyArray<'_, T, D>,
) -> PyResult<&'a [T]> {
    let slice = array.is_c_contiguous().then(|| array.as_slice().ok()).flatten();
    slice.ok_or_else(|| invalid(format!("{what}: expected an array in C order")))
}

/// The same, to write.
pub(crate) fn slice_mut<'a, T: Element, D: Dimension>(
    array: &'a mut PyReadwriteArray<'_, T, D>,
) -> PyResult<&'a mut [T]> {
    let askew = || invalid("out: expected an array in C order");
    if !array.is_c_contiguous() {
        return Err(askew());
    }
    array.as_slice_mut().map_err(|_| askew())
}

/// `out`, whose shape has to be `shape`; without it, a new array.
///
/// # Errors
/// Where the shape is another, or memory cannot hold so much.
pub(crate) fn output<'py, D: Dimension>(
    py: Python<'py>,
    shape: D,
    out: Option<Bound<'py, PyArray<f32, D>>>,
) -> PyResult<Bound<'py, PyArray<f32, D>>> {
    match out {
        Some(out) if out.shape() == shape.slice() => Ok(out),
        Some(out) => {
            Err(invalid(format!("out: expected shape {:?}, found {:?}", shape.slice(), out.shape())))
        }
        None => {
            let elements = shape.slice().iter().try_fold(size_of::<f32>(), |n, &side| n.checked_mul(side));
            match elements.is_some_and(|bytes| isize::try_from(bytes).is_ok()) {
                true => Ok(PyArray::zeros(py, shape, false)),
                false => Err(invalid(format!("{:?} does not fit into memory", shape.slice()))),
            }
        }
    }
}

/// To write to an array that nobody else is reading or writing.
pub(crate) fn write<'py, D: Dimension>(
    array: &Bound<'py, PyArray<f32, D>>,
) -> PyResult<PyReadwriteArray<'py, f32, D>> {
    array.try_readwrite().map_err(|e| invalid(format!("out: {e}")))
}

/// Images, and the shape of each.
pub(crate) fn sides<T: Element>(array: &PyReadonlyArray4<'_, T>) -> (usize, Shape) {
    let &[n, c, h, w] = array.shape() else { unreachable!("an array of four dimensions") };
    (n, Shape::new(c, h, w))
}
