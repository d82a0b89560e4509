//! Every operator again, as naive loops in `f64`: [`kernels::reference`] on NumPy's arrays. What it would panic at is an
//! error here.

use crate::arrays::{sides, slice};
use crate::failure::invalid;
use crate::operators::{MOST, Taps, activation, window};
use crate::order::ChannelOrder;
use kernels::reference::{self as naive, Planar};
use kernels::{BatchNorm, Shape, Window};
use numpy::ndarray::Ix4;
use numpy::{
    PyArray, PyArray1, PyArray2, PyArray4, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2,
    PyReadonlyArray4, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

type Images<'py> = PyReadonlyArray4<'py, f64>;
type Vector<'py> = PyReadonlyArray1<'py, f32>;
type Rows<'py> = PyReadonlyArray2<'py, f32>;

/// Applies `compute` to every image; all results have the shape `to`.
fn each<'py>(
    py: Python<'py>,
    src: &Images<'py>,
    to: Shape,
    compute: impl Fn(&Planar) -> Planar + Send + Sync,
) -> PyResult<Bound<'py, PyArray4<f64>>> {
    let (n, from) = sides(src);
    let elements = n.saturating_mul(to.elements());
    if from.elements() == 0 || elements == 0 || elements > MOST {
        return Err(invalid(format!("{n} images of {from} to {to}: from 1 to {MOST} numbers")));
    }
    let src = slice("src", src)?;
    let values: Vec<f64> = py.detach(|| {
        src.chunks_exact(from.elements()).flat_map(|src| compute(&Planar::new(from, src)).data).collect()
    });
    PyArray::from_vec(py, values).reshape(Ix4(n, to.c, to.h, to.w))
}

/// The shape that `window` makes of images of `from`.
fn slid(window: Window, from: Shape, c: usize) -> PyResult<Shape> {
    let (h, w) = window.output(from.h, from.w).map_err(invalid)?;
    Ok(Shape::new(c, h, w))
}

/// An error unless `found` numbers are as many as they should be.
fn expect(what: &str, expected: usize, found: usize) -> PyResult<()> {
    match expected == found {
        true => Ok(()),
        false => Err(invalid(format!("{what}: expected {expected} elements, found {found}"))),
    }
}

/// Checks groups and bias; `weights` are (oc, ..).
fn grouped<'a>(
    ic: usize,
    group_ic: usize,
    oc: usize,
    groups: usize,
    bias: &'a Option<Vector<'_>>,
) -> PyResult<Option<&'a [f32]>> {
    if groups == 0 || group_ic == 0 || group_ic.checked_mul(groups) != Some(ic) || !oc.is_multiple_of(groups)
    {
        return Err(invalid(format!(
            "{ic} to {oc} channels do not divide into {groups} groups of {group_ic} inputs"
        )));
    }
    biased(oc, bias)
}

fn biased<'a>(oc: usize, bias: &'a Option<Vector<'_>>) -> PyResult<Option<&'a [f32]>> {
    let bias = bias.as_ref().map(|bias| slice("bias", bias)).transpose()?;
    bias.map_or(Ok(()), |bias| expect("bias", oc, bias.len()))?;
    Ok(bias)
}

/// 1x1 convolution; `weights` are (oc, ic / groups).
#[pyfunction]
pub(crate) fn reference_pointwise<'py>(
    py: Python<'py>,
    src: Images<'py>,
    weights: Rows<'py>,
    bias: Option<Vector<'py>>,
    groups: usize,
) -> PyResult<Bound<'py, PyArray4<f64>>> {
    let (_, from) = sides(&src);
    let (oc, group_ic) = (weights.shape()[0], weights.shape()[1]);
    let bias = grouped(from.c, group_ic, oc, groups, &bias)?;
    let weights = slice("weights", &weights)?;
    each(py, &src, Shape { c: oc, ..from }, |src| naive::pointwise(src, groups, weights, bias))
}

/// Depthwise convolution; `weights` are (oc, kh * kw), where oc is a multiple of the channels.
#[pyfunction]
pub(crate) fn reference_depthwise<'py>(
    py: Python<'py>,
    src: Images<'py>,
    weights: Rows<'py>,
    taps: Taps,
    bias: Option<Vector<'py>>,
) -> PyResult<Bound<'py, PyArray4<f64>>> {
    let ((_, from), window, oc) = (sides(&src), window(taps), weights.shape()[0]);
    expect("weights", oc.saturating_mul(window.taps()), weights.len())?;
    if from.c == 0 || oc == 0 || !oc.is_multiple_of(from.c) {
        return Err(invalid(format!("weights: {oc} channels are no multiple of {}", from.c)));
    }
    let (bias, to) = (biased(oc, &bias)?, slid(window, from, oc)?);
    let weights = slice("weights", &weights)?;
    each(py, &src, to, |src| naive::depthwise(src, window, weights, bias))
}

/// Convolution in groups; `weights` are (oc, ic / groups, kh, kw).
#[pyfunction]
pub(crate) fn reference_convolution<'py>(
    py: Python<'py>,
    src: Images<'py>,
    weights: PyReadonlyArray4<'py, f32>,
    taps: Taps,
    bias: Option<Vector<'py>>,
    groups: usize,
) -> PyResult<Bound<'py, PyArray4<f64>>> {
    let ((_, from), window) = (sides(&src), window(taps));
    let &[oc, group_ic, kh, kw] = weights.shape() else { unreachable!("an array of four dimensions") };
    if [kh, kw] != window.kernel {
        return Err(invalid(format!("weights: expected a kernel of {window}, found {kh}x{kw}")));
    }
    let (bias, to) = (grouped(from.c, group_ic, oc, groups, &bias)?, slid(window, from, oc)?);
    let weights = slice("weights", &weights)?;
    each(py, &src, to, |src| naive::convolution(src, window, groups, weights, bias))
}

/// Fully connected layer: (n, ic) to (n, oc); `weights` are (oc, ic).
#[pyfunction]
pub(crate) fn reference_linear<'py>(
    py: Python<'py>,
    src: PyReadonlyArray2<'py, f64>,
    weights: Rows<'py>,
    bias: Option<Vector<'py>>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let (n, ic) = (src.shape()[0], src.shape()[1]);
    let oc = weights.shape()[0];
    expect("weights: a row", ic, weights.shape()[1])?;
    if n == 0 || ic == 0 || oc == 0 || n.saturating_mul(oc) > MOST {
        return Err(invalid(format!("{n} rows of {ic} to {oc}: from 1 to {MOST} numbers")));
    }
    let (src, weights, bias) = (slice("src", &src)?, slice("weights", &weights)?, biased(oc, &bias)?);
    let values: Vec<f64> =
        py.detach(|| src.chunks_exact(ic).flat_map(|src| naive::linear(src, weights, bias)).collect());
    PyArray::from_vec(py, values).reshape([n, oc])
}

/// `src * scale + shift`.
#[pyfunction]
pub(crate) fn reference_affine<'py>(
    py: Python<'py>,
    src: Images<'py>,
    scale: Vector<'py>,
    shift: Vector<'py>,
) -> PyResult<Bound<'py, PyArray4<f64>>> {
    let (_, from) = sides(&src);
    let (scale, shift) = (slice("scale", &scale)?, slice("shift", &shift)?);
    expect("scale", from.c, scale.len())?;
    expect("shift", from.c, shift.len())?;
    each(py, &src, from, |src| naive::affine(src, scale, shift))
}

/// Batch normalisation.
#[pyfunction]
pub(crate) fn reference_batch_norm<'py>(
    py: Python<'py>,
    src: Images<'py>,
    statistics: (Vector<'py>, Vector<'py>, Vector<'py>, Vector<'py>, f32),
) -> PyResult<Bound<'py, PyArray4<f64>>> {
    let ((_, from), (gamma, beta, mean, variance, eps)) = (sides(&src), statistics);
    let statistics = BatchNorm {
        gamma: slice("gamma", &gamma)?,
        beta: slice("beta", &beta)?,
        mean: slice("mean", &mean)?,
        variance: slice("variance", &variance)?,
        eps,
    };
    let BatchNorm { gamma, beta, mean, variance, .. } = statistics;
    for one in [gamma, beta, mean, variance] {
        expect("batch_norm", from.c, one.len())?;
    }
    each(py, &src, from, |src| naive::batch_norm(src, &statistics))
}

/// The activation of that name, or none, of every number.
#[pyfunction]
pub(crate) fn reference_activate<'py>(
    py: Python<'py>,
    values: PyReadonlyArray1<'py, f64>,
    name: Option<&str>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (activation, values) = (activation(name)?, slice("values", &values)?);
    let values = py.detach(|| values.iter().map(|&x| activation.apply(x)).collect());
    Ok(PyArray::from_vec(py, values))
}

/// The greatest value of each window.
#[pyfunction]
pub(crate) fn reference_max_pool<'py>(
    py: Python<'py>,
    src: Images<'py>,
    taps: Taps,
) -> PyResult<Bound<'py, PyArray4<f64>>> {
    let ((_, from), window) = (sides(&src), pooling(taps)?);
    let to = slid(window, from, from.c)?;
    each(py, &src, to, |src| naive::max_pool(src, window))
}

/// The mean of each window.
#[pyfunction]
pub(crate) fn reference_average_pool<'py>(
    py: Python<'py>,
    src: Images<'py>,
    taps: Taps,
    count_include_pad: bool,
) -> PyResult<Bound<'py, PyArray4<f64>>> {
    let ((_, from), window) = (sides(&src), pooling(taps)?);
    let to = slid(window, from, from.c)?;
    each(py, &src, to, |src| naive::average_pool(src, window, count_include_pad))
}

/// A window that always holds a pixel.
fn pooling(taps: Taps) -> PyResult<Window> {
    let (window, (kernel, .., padding)) = (window(taps), taps);
    let [top, bottom, left, right] = padding.unwrap_or_default();
    match top.max(bottom) < kernel[0] && left.max(right) < kernel[1] && window.dilation == [1, 1] {
        true => Ok(window),
        false => Err(invalid("padding: must be smaller than the kernel")),
    }
}

/// Channel `c` of the result is the source's in slot `order[c]`.
#[pyfunction]
pub(crate) fn reference_gather<'py>(
    py: Python<'py>,
    src: Images<'py>,
    order: PyRef<'py, ChannelOrder>,
) -> PyResult<Bound<'py, PyArray4<f64>>> {
    let ((_, from), order) = (sides(&src), &order.0);
    if order.width() > from.c {
        return Err(invalid(format!("the order names slot {} of {from}", order.width() - 1)));
    }
    each(py, &src, Shape { c: order.channels(), ..from }, |src| naive::gather(src, order))
}
