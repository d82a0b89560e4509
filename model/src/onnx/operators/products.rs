//! Products with constant matrices, and normalisation.

use super::{Outputs, axis, one, vector, weights};
use crate::onnx::import::{Call, Importer, Value, instead};
use crate::onnx::net::{Affine, Op, Order, Weights};
use crate::onnx::tensor::Constant;
use std::sync::Arc;

/// `x` times a constant matrix, over the last axis.
pub(super) fn linear<'a>(
    i: &mut Importer<'_, 'a>,
    x: &Value<'a>,
    tensor: Arc<Constant<'a>>,
    order: Order,
    (alpha, bias): (f64, Option<Arc<[f64]>>),
) -> Outputs<'a> {
    let &[rows, columns] = &tensor.shape[..] else {
        return Err(format!("expected a matrix of weights, found shape {:?}", tensor.shape).into());
    };
    let (oc, ic) = if order == Order::Rows { (rows, columns) } else { (columns, rows) };
    let mut shape = i.shape(x)?;
    let Some(last) = shape.last_mut() else { return Err("a number is multiplied by a matrix".into()) };
    let expected = i.net.sizes.len(ic);
    if oc == 0 || !i.net.sizes.require_same(*last, expected) {
        let found = i.net.sizes.show(*last);
        return Err(format!("weights for {ic} inputs, found {found}").into());
    }
    *last = i.net.sizes.len(oc);
    let scale = (alpha != 1.0).then(|| vec![alpha; oc].into());
    let weights = Weights { tensor: i.keep(tensor), order, oc, scale, bias, input: None };
    one(i.emit(Op::Linear(weights), vec![x.clone()], shape)?)
}

pub(super) fn gemm<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let (alpha, beta) = (c.float("alpha")?.unwrap_or(1.0), c.float("beta")?.unwrap_or(1.0));
    let order = if c.int("transB")?.unwrap_or(0) != 0 { Order::Rows } else { Order::Columns };
    if c.int("transA")?.unwrap_or(0) != 0 {
        return instead("the first matrix is transposed", "a Transpose before it says the same");
    }
    let x = c.input(0)?;
    if i.shape(x)?.len() != 2 {
        return Err(format!("expected a matrix, found {} dimensions", i.shape(x)?.len()).into());
    }
    let tensor = weights(c.input(1)?, "the weights")?;
    let oc = tensor.shape.get(if order == Order::Rows { 0 } else { 1 }).copied().unwrap_or(0);
    let bias = match c.optional(2) {
        Some(value @ Value::Constant(constant)) => {
            let len = if constant.count() == 1 { 1 } else { oc };
            let list = vector(i, value, len, "the bias")?;
            let spread = |list: Vec<f64>| if list.len() == 1 { vec![list[0]; oc] } else { list };
            Some(spread(list).iter().map(|b| b * f64::from(beta)).collect())
        }
        Some(_) => {
            return instead("the bias is computed when the network runs", "an Add behind it says the same");
        }
        None => None,
    };
    linear(i, x, tensor, order, (alpha.into(), bias))
}

pub(super) fn matmul<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let (a, b) = (c.input(0)?, c.input(1)?);
    match (a, b) {
        (_, Value::Constant(tensor)) => linear(i, a, Arc::clone(tensor), Order::Columns, (1.0, None)),
        (Value::Data(_), Value::Data(_)) => instead(
            "both matrices are computed, as in attention",
            "convolutional networks without attention are run",
        ),
        _ => instead(
            "the first matrix is a constant",
            "constants on the right are supported: (A B)^T = B^T A^T",
        ),
    }
}

pub(super) fn batch_normalization<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    c.ignore(&["momentum"]);
    if c.int("training_mode")?.unwrap_or(0) != 0 || c.int("is_test")?.is_some_and(|test| test == 0) {
        return instead("it is in training mode", "export the network after model.eval()");
    }
    if c.int("spatial")?.is_some_and(|spatial| spatial == 0) {
        return instead("spatial = 0", "statistics per channel are supported");
    }
    let epsilon = f64::from(c.float("epsilon")?.unwrap_or(1e-5));
    let x = c.input(0)?.clone();
    let shape = i.shape(&x)?;
    let Some(channels) = shape.get(1).and_then(|&c| i.net.sizes.count(c)) else {
        return Err(format!("the channels of {} are not known", i.net.sizes.show_all(&shape)).into());
    };
    let mut list = |index, what: &str| vector(i, c.input(index)?, channels, what);
    let (gamma, beta) = (list(1, "the scale")?, list(2, "the shift")?);
    let (mean, variance) = (list(3, "the mean")?, list(4, "the variance")?);
    let scale: Arc<[f64]> = gamma.iter().zip(&variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
    let shift = beta.iter().zip(&mean).zip(&*scale).map(|((b, m), s)| b - m * s).collect();
    one(i.affine(&x, Affine { axis: 1, scale, shift })?)
}

pub(super) fn layer_normalization<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    c.ignore(&["stash_type"]);
    if c.node.outputs.iter().skip(1).any(|name| !name.is_empty()) {
        return instead("mean or deviation are asked for", "the normalised values alone are computed");
    }
    let epsilon = c.float("epsilon")?.unwrap_or(1e-5);
    let x = c.input(0)?.clone();
    let shape = i.shape(&x)?;
    let first = axis(c.int("axis")?.unwrap_or(-1), shape.len())?;
    if first + 1 != shape.len() {
        return instead(
            format!("it normalises {} axes together", shape.len() - first),
            "LayerNormalization over channels is supported",
        );
    }
    let Some(channels) = i.net.sizes.count(shape[first]) else {
        return Err("the normalised axis is open".into());
    };
    let scale = vector(i, c.input(1)?, channels, "the scale")?.into();
    let shift = match c.optional(2) {
        Some(value) => vector(i, value, channels, "the shift")?.into(),
        None => vec![0.0; channels].into(),
    };
    let op = Op::LayerNorm { axis: first, epsilon, affine: Affine { axis: first, scale, shift } };
    one(i.emit(op, vec![x], shape)?)
}

pub(super) fn softmax<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>, log: bool) -> Outputs<'a> {
    let x = c.input(0)?.clone();
    let shape = i.shape(&x)?;
    let old = i.opset < 13;
    let at = axis(c.int("axis")?.unwrap_or(if old { 1 } else { -1 }), shape.len())?;
    let one_only = i.net.sizes.int(1);
    if !old || shape[at + 1..].iter().all(|&n| i.net.sizes.same(n, one_only)) {
        return one(i.emit(Op::Softmax { axis: at, log }, vec![x], shape)?);
    }
    // Older operator sets take all axes from that one on as one.
    let rows = i.net.sizes.product(&shape[..at]);
    let columns = i.net.sizes.product(&shape[at..]);
    let flat = i.emit(Op::Reshape, vec![x], vec![rows, columns])?;
    let done = i.emit(Op::Softmax { axis: 1, log }, vec![flat], vec![rows, columns])?;
    one(i.emit(Op::Reshape, vec![done], shape)?)
}
