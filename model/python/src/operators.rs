//! Operators on NumPy's arrays: planar images in, planar images out.

use crate::arrays::{output, sides, slice, slice_mut, write};
use crate::failure::{self, invalid, refused};
use crate::order::ChannelOrder;
use kernels::layout::to_nchw;
use kernels::{Activation, BatchNorm, Error, Image, Padding, Shape, Tensor, View, ViewMut, Window};
use numpy::{
    Ix2, Ix4, PyArray2, PyArray4, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray4, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

/// Kernel, stride and dilation of rows and columns; padding at top, bottom, left and right, or TensorFlow's "same".
pub(crate) type Taps = ([usize; 2], [usize; 2], [usize; 2], Option<[usize; 4]>);

/// The window that Python described.
pub(crate) fn window((kernel, stride, dilation, padding): Taps) -> Window {
    let padding = match padding {
        Some([top, bottom, left, right]) => Padding::Sides { top, bottom, left, right },
        None => Padding::Same,
    };
    Window { kernel, stride, dilation, padding, ceil: false }
}

/// The activation of that name.
pub(crate) fn activation(name: Option<&str>) -> PyResult<Activation> {
    let Some(name) = name else { return Ok(Activation::None) };
    let known = [
        ("relu", Activation::Relu),
        ("relu6", Activation::Relu6),
        ("hard_sigmoid", Activation::HardSigmoid { slope: 1.0 / 6.0, offset: 0.5 }),
        ("hard_swish", Activation::HardSwish),
        ("sigmoid", Activation::Sigmoid),
        ("silu", Activation::Silu),
        ("tanh", Activation::Tanh),
        ("gelu", Activation::Gelu),
        ("gelu_tanh", Activation::GeluTanh),
    ];
    known.iter().find(|(known, _)| *known == name).map(|&(_, activation)| activation).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|&(name, _)| name).collect();
        invalid(format!("activation: expected None or one of {}, found {name:?}", names.join(", ")))
    })
}

/// Gamma, beta, mean, variance, epsilon.
type Statistics<'py> = (
    PyReadonlyArray1<'py, f32>,
    PyReadonlyArray1<'py, f32>,
    PyReadonlyArray1<'py, f32>,
    PyReadonlyArray1<'py, f32>,
    f32,
);

/// What most operators can be told.
#[derive(FromPyObject)]
pub(crate) struct Options<'py> {
    bias: Option<PyReadonlyArray1<'py, f32>>,
    batch_norm: Option<Statistics<'py>>,
    activation: Option<String>,
    isa: Option<String>,
}

/// The methods of a builder that `Options` answers.
macro_rules! told {
    ($builder:expr, $options:ident) => {{
        let mut builder = $builder.activation(activation($options.activation.as_deref())?);
        if let Some(bias) = &$options.bias {
            builder = builder.bias(slice("bias", bias)?);
        }
        if let Some((gamma, beta, mean, variance, eps)) = &$options.batch_norm {
            builder = builder.batch_norm(BatchNorm {
                gamma: slice("gamma", gamma)?,
                beta: slice("beta", beta)?,
                mean: slice("mean", mean)?,
                variance: slice("variance", variance)?,
                eps: *eps,
            });
        }
        builder.isa(failure::isa($options.isa.as_deref())?)
    }};
}

/// The most numbers of one image. Padding costs whoever asks for it nothing, and would take all memory.
pub(crate) const MOST: usize = 1 << 30;

/// From maps to maps, one image at a time.
trait Maps: Send + Sync {
    fn output_shape(&self, src: Shape) -> Result<Shape, Error>;

    fn run(
        &self,
        src: &[f32],
        shape: Shape,
        residual: Option<View<'_>>,
        dst: ViewMut<'_>,
    ) -> Result<(), Error>;

    /// Where each channel of the result lies.
    fn order(&self, dst: Shape) -> kernels::ChannelOrder {
        kernels::ChannelOrder::identity(dst.c)
    }
}

/// An operator that is told a blocked tensor.
macro_rules! maps {
    ($op:ty $(, $order:ident)?) => {
        impl Maps for $op {
            fn output_shape(&self, src: Shape) -> Result<Shape, Error> {
                self.try_output_shape(src)
            }

            fn run(
                &self,
                src: &[f32],
                shape: Shape,
                _: Option<View<'_>>,
                dst: ViewMut<'_>,
            ) -> Result<(), Error> {
                self.try_run(Tensor::from_nchw(src, shape)?.view(), dst)
            }

            $(fn order(&self, _: Shape) -> kernels::ChannelOrder {
                self.$order().clone()
            })?
        }
    };
}

maps!(kernels::Affine);
maps!(kernels::AveragePool);
maps!(kernels::Depthwise, output_order);
maps!(kernels::Materialize);
maps!(kernels::MaxPool);

impl Maps for kernels::Pointwise {
    fn output_shape(&self, src: Shape) -> Result<Shape, Error> {
        self.try_output_shape(src)
    }

    fn run(
        &self,
        src: &[f32],
        shape: Shape,
        residual: Option<View<'_>>,
        dst: ViewMut<'_>,
    ) -> Result<(), Error> {
        let src = Tensor::from_nchw(src, shape)?;
        match residual {
            Some(residual) => self.residual(residual).try_run(src.view(), dst),
            None => self.try_run(src.view(), dst),
        }
    }
}

impl Maps for kernels::Convolution {
    fn output_shape(&self, src: Shape) -> Result<Shape, Error> {
        self.try_output_shape(src)
    }

    /// Reads the planes as they are.
    fn run(&self, src: &[f32], shape: Shape, _: Option<View<'_>>, dst: ViewMut<'_>) -> Result<(), Error> {
        self.try_run(Image::planar(src, shape)?, dst)
    }
}

/// An operator from (n, c, h, w) to (n, c, h, w).
#[pyclass(frozen, module = "shufflenet._native")]
pub(crate) struct Operator(Box<dyn Maps>);

#[pymethods]
impl Operator {
    #[pyo3(signature = (src, *, residual = None, out = None))]
    fn __call__<'py>(
        &self,
        py: Python<'py>,
        src: PyReadonlyArray4<'py, f32>,
        residual: Option<PyReadonlyArray4<'py, f32>>,
        out: Option<Bound<'py, PyArray4<f32>>>,
    ) -> PyResult<Bound<'py, PyArray4<f32>>> {
        let (n, from) = sides(&src);
        let to = self.0.output_shape(from).map_err(refused)?;
        let order = self.0.order(to);
        let logical = Shape { c: order.channels(), ..to };
        if logical.elements() > MOST {
            return Err(invalid(format!("{from} to {logical}: more than {MOST} numbers")));
        }
        let made = output(py, Ix4(n, logical.c, logical.h, logical.w), out)?;
        let residual = match &residual {
            Some(residual) if residual.shape() == made.shape() => slice("residual", residual)?,
            Some(residual) => {
                let (expected, found) = (made.shape(), residual.shape());
                return Err(invalid(format!("residual: expected shape {expected:?}, found {found:?}")));
            }
            None => &[],
        };
        let src = slice("src", &src)?;
        let mut dst = write(&made)?;
        let dst = slice_mut(&mut dst)?;
        py.detach(|| {
            let mut tensor = Tensor::zeros(to);
            let mut residuals = residual.chunks_exact(logical.elements());
            for (src, dst) in src.chunks_exact(from.elements()).zip(dst.chunks_exact_mut(logical.elements()))
            {
                let residual = residuals.next().map(|planes| Tensor::from_nchw(planes, to)).transpose()?;
                self.0.run(src, from, residual.as_ref().map(Tensor::view), tensor.view_mut())?;
                to_nchw(tensor.view(), &order, dst);
            }
            Ok(())
        })
        .map_err(refused)?;
        Ok(made)
    }
}

/// A fully connected layer, from (n, ic) to (n, oc).
#[pyclass(frozen, module = "shufflenet._native")]
pub(crate) struct Linear(kernels::Linear);

#[pymethods]
impl Linear {
    #[pyo3(signature = (src, *, out = None))]
    fn __call__<'py>(
        &self,
        py: Python<'py>,
        src: PyReadonlyArray2<'py, f32>,
        out: Option<Bound<'py, PyArray2<f32>>>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let &[n, ic] = src.shape() else { unreachable!("an array of two dimensions") };
        let oc = self.0.oc();
        self.0.check(ic, oc).map_err(refused)?;
        let made = output(py, Ix2(n, oc), out)?;
        let src = slice("src", &src)?;
        let mut dst = write(&made)?;
        let dst = slice_mut(&mut dst)?;
        py.detach(|| {
            let mut rows = src.chunks_exact(ic).zip(dst.chunks_exact_mut(oc));
            rows.try_for_each(|(src, dst)| self.0.try_run(src, dst))
        })
        .map_err(refused)?;
        Ok(made)
    }
}

/// 1x1 convolution; `weights` are rows of input channels of a group.
#[pyfunction]
pub(crate) fn pointwise(
    weights: PyReadonlyArray2<'_, f32>,
    groups: usize,
    input_order: Option<PyRef<'_, ChannelOrder>>,
    options: Options<'_>,
) -> PyResult<Operator> {
    let &[oc, group_ic] = weights.shape() else { unreachable!("an array of two dimensions") };
    let ic = group_ic.checked_mul(groups).ok_or_else(|| invalid("groups: too many"))?;
    let mut builder = told!(kernels::Pointwise::builder(ic, oc), options).groups(groups);
    if let Some(order) = &input_order {
        builder = builder.input_order(&order.0);
    }
    Ok(Operator(Box::new(builder.build(slice("weights", &weights)?).map_err(refused)?)))
}

/// Depthwise convolution; `weights` are (channels, taps).
#[pyfunction]
pub(crate) fn depthwise(
    weights: PyReadonlyArray2<'_, f32>,
    taps: Taps,
    input_order: Option<PyRef<'_, ChannelOrder>>,
    options: Options<'_>,
) -> PyResult<Operator> {
    let mut builder = told!(kernels::Depthwise::builder(weights.shape()[0], window(taps)), options);
    if let Some(order) = &input_order {
        builder = builder.input_order(&order.0);
    }
    Ok(Operator(Box::new(builder.build(slice("weights", &weights)?).map_err(refused)?)))
}

/// Convolution in groups; `weights` are (oc, ic / groups, kh, kw).
#[pyfunction]
pub(crate) fn convolution(
    weights: PyReadonlyArray4<'_, f32>,
    taps: Taps,
    groups: usize,
    options: Options<'_>,
) -> PyResult<Operator> {
    let (oc, group_ic) = (weights.shape()[0], weights.shape()[1]);
    let ic = group_ic.checked_mul(groups).ok_or_else(|| invalid("groups: too many"))?;
    let builder = told!(kernels::Convolution::builder(ic, oc, window(taps)), options);
    Ok(Operator(Box::new(builder.groups(groups).build(slice("weights", &weights)?).map_err(refused)?)))
}

/// Fully connected layer; `weights` are (oc, ic).
#[pyfunction]
pub(crate) fn linear(weights: PyReadonlyArray2<'_, f32>, options: Options<'_>) -> PyResult<Linear> {
    let (oc, ic) = (weights.shape()[0], weights.shape()[1]);
    let builder = told!(kernels::Linear::builder(ic, oc), options);
    Ok(Linear(builder.build(slice("weights", &weights)?).map_err(refused)?))
}

/// One scale and one shift per channel.
#[pyfunction]
pub(crate) fn affine(
    scale: PyReadonlyArray1<'_, f32>,
    shift: PyReadonlyArray1<'_, f32>,
    activation: Option<&str>,
    isa: Option<&str>,
) -> PyResult<Operator> {
    let (scale, shift) = (slice("scale", &scale)?, slice("shift", &shift)?);
    let builder = kernels::Affine::builder(scale.len()).activation(self::activation(activation)?);
    Ok(Operator(Box::new(builder.isa(failure::isa(isa)?).build(scale, shift).map_err(refused)?)))
}

/// The greatest value of each window.
#[pyfunction]
pub(crate) fn max_pool(taps: Taps, isa: Option<&str>) -> PyResult<Operator> {
    let builder = kernels::MaxPool::builder(window(taps)).isa(failure::isa(isa)?);
    Ok(Operator(Box::new(builder.build().map_err(refused)?)))
}

/// The mean of each window.
#[pyfunction]
pub(crate) fn average_pool(taps: Taps, count_include_pad: bool, isa: Option<&str>) -> PyResult<Operator> {
    let builder = kernels::AveragePool::builder(window(taps)).count_include_pad(count_include_pad);
    Ok(Operator(Box::new(builder.isa(failure::isa(isa)?).build().map_err(refused)?)))
}

/// Channels really moved.
#[pyfunction]
pub(crate) fn materialize(order: PyRef<'_, ChannelOrder>, isa: Option<&str>) -> PyResult<Operator> {
    let builder = kernels::Materialize::builder(&order.0).isa(failure::isa(isa)?);
    Ok(Operator(Box::new(builder.build().map_err(refused)?)))
}

/// The mean of every channel: (n, c, h, w) to (n, c).
#[pyfunction]
pub(crate) fn global_average<'py>(
    py: Python<'py>,
    src: PyReadonlyArray4<'py, f32>,
    isa: Option<&str>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let op = kernels::GlobalAverage::builder().isa(failure::isa(isa)?).build().map_err(refused)?;
    let (n, shape) = sides(&src);
    op.check(shape, shape.c).map_err(refused)?;
    let made = output(py, Ix2(n, shape.c), None)?;
    let src = slice("src", &src)?;
    let mut dst = write(&made)?;
    let dst = slice_mut(&mut dst)?;
    py.detach(|| {
        let mut images = src.chunks_exact(shape.elements()).zip(dst.chunks_exact_mut(shape.c));
        images.try_for_each(|(src, dst)| op.try_run(Tensor::from_nchw(src, shape)?.view(), dst))
    })
    .map_err(refused)?;
    Ok(made)
}

/// The softmax of every row.
#[pyfunction]
pub(crate) fn softmax<'py>(
    py: Python<'py>,
    logits: PyReadonlyArray2<'py, f32>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let &[n, classes] = logits.shape() else { unreachable!("an array of two dimensions") };
    let made = output(py, Ix2(n, classes), None)?;
    let logits = slice("logits", &logits)?;
    let mut dst = write(&made)?;
    let dst = slice_mut(&mut dst)?;
    py.detach(|| {
        dst.copy_from_slice(logits);
        dst.chunks_exact_mut(classes.max(1)).for_each(kernels::softmax);
    });
    Ok(made)
}
