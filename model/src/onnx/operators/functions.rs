//! Functions of one number and of two.

use super::{Outputs, broadcast, one, scalar, weights};
use crate::onnx::import::{Call, Imported, Importer, Numbers, Value, instead};
use crate::onnx::net::{Affine, Binary, Op, Unary};
use crate::onnx::sizes::Arith;
use crate::onnx::tensor::{Array, Constant};
use std::sync::Arc;

pub(super) fn unary<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>, unary: Unary) -> Outputs<'a> {
    let shape = i.shape(c.input(0)?)?;
    one(i.emit(Op::Unary(unary), vec![c.input(0)?.clone()], shape)?)
}

/// Functions that also take part in arithmetic on sizes.
pub(super) fn rounding<'a>(
    i: &mut Importer<'_, 'a>,
    c: &Call<'_, 'a>,
    on_data: Unary,
    arith: Arith,
) -> Outputs<'a> {
    let value = c.input(0)?;
    if let Value::Numbers(numbers) = value {
        let zero = i.net.sizes.int(0);
        let items = numbers.array.items.iter().map(|&num| i.net.sizes.of(arith, num, zero)).collect();
        let array = Arc::new(Array::new(numbers.array.shape.clone(), items));
        return one(Value::Numbers(Numbers { array, int: false }));
    }
    unary(i, c, on_data)
}

pub(super) fn clip<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let (mut low, mut high) = (c.float("min")?, c.float("max")?);
    if let Some(value) = c.optional(1) {
        low = Some(scalar(i, value, "the lower bound")?);
    }
    if let Some(value) = c.optional(2) {
        high = Some(scalar(i, value, "the upper bound")?);
    }
    let (low, high) = (low.unwrap_or(f32::NEG_INFINITY), high.unwrap_or(f32::INFINITY));
    if low.is_nan() || high.is_nan() {
        return Err("a bound that is no number".into());
    }
    if let value @ Value::Numbers(_) = c.input(0)? {
        let numbers = value.clone();
        let bound = |bound: f32| Value::Constant(Arc::new(Constant::made(Array::scalar(bound))));
        let numbers = binary_of(i, Binary::Max, &numbers, &bound(low))?;
        return one(binary_of(i, Binary::Min, &numbers, &bound(high))?);
    }
    // Where the bounds cross, the upper one wins.
    unary(i, c, Unary::Clip { low: low.min(high), high })
}

pub(super) fn leaky_relu<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let slope = c.float("alpha")?.unwrap_or(0.01);
    unary(i, c, Unary::LeakyRelu(slope))
}

pub(super) fn elu<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let alpha = c.float("alpha")?.unwrap_or(1.0);
    unary(i, c, Unary::Elu(alpha))
}

pub(super) fn hard_sigmoid<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let (alpha, beta) = (c.float("alpha")?.unwrap_or(0.2), c.float("beta")?.unwrap_or(0.5));
    unary(i, c, Unary::HardSigmoid { alpha, beta })
}

pub(super) fn swish<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    match c.float("alpha")?.unwrap_or(1.0) {
        1.0 => unary(i, c, Unary::Silu),
        alpha => instead(format!("alpha is {alpha}"), "x sigmoid(x) is supported"),
    }
}

pub(super) fn gelu<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let tanh = match c.text("approximate")?.unwrap_or("none") {
        "none" => false,
        "tanh" => true,
        other => return Err(format!("approximate is {}", crate::onnx::quoted(other)).into()),
    };
    unary(i, c, Unary::Gelu { tanh })
}

/// The axis along which a constant varies when it is repeated over a tensor of `rank` dimensions, if it is one axis
/// at most; `None` where there are more.
pub(super) fn varies_along(shape: &[usize], rank: usize) -> Option<Option<usize>> {
    let mut axes = shape.iter().rev().enumerate().filter(|(_, n)| **n != 1).map(|(back, _)| back);
    match (axes.next(), axes.next()) {
        (None, _) => Some(None),
        (Some(back), None) => rank.checked_sub(back + 1).map(Some),
        _ => None,
    }
}

pub(super) fn prelu<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let shape = i.shape(c.input(0)?)?;
    let tensor = weights(c.input(1)?, "the slopes")?;
    let slopes = tensor.floats(i.folder)?;
    let op = match varies_along(&slopes.shape, shape.len()) {
        Some(None) => Op::Unary(Unary::LeakyRelu(slopes.items.first().copied().unwrap_or(0.0))),
        Some(Some(axis)) => {
            let expected = i.net.sizes.len(slopes.items.len());
            if !i.net.sizes.same(shape[axis], expected) {
                return Err(
                    format!("{} slopes for {}", slopes.items.len(), i.net.sizes.show(shape[axis])).into()
                );
            }
            Op::PRelu { axis, slopes: slopes.items.into() }
        }
        None => {
            return instead(
                format!("slopes of shape {:?}", slopes.shape),
                "one slope per channel is supported",
            );
        }
    };
    one(i.emit(op, vec![c.input(0)?.clone()], shape)?)
}

/// A function of two tensors, one of which may be constant.
pub(super) fn binary_of<'a>(
    i: &mut Importer<'_, 'a>,
    binary: Binary,
    a: &Value<'a>,
    b: &Value<'a>,
) -> Imported<Value<'a>> {
    let (a_shape, b_shape) = (i.shape(a)?, i.shape(b)?);
    let shape = broadcast(i, &a_shape, &b_shape)?;
    let (x, constant, reversed) = match (a, b) {
        (Value::Data(_), Value::Constant(_) | Value::Numbers(_)) => (a, b, false),
        (Value::Constant(_) | Value::Numbers(_), Value::Data(_)) => (b, a, true),
        _ => return i.emit(Op::Binary(binary), vec![a.clone(), b.clone()], shape),
    };
    let Ok(array) = i.floats(constant) else {
        return i.emit(Op::Binary(binary), vec![a.clone(), b.clone()], shape);
    };
    // A constant of more dimensions adds them to the tensor first.
    let x_shape = i.shape(x)?;
    let x = if shape.len() > x_shape.len() {
        let only = i.net.sizes.int(1);
        let mut longer = vec![only; shape.len() - x_shape.len()];
        longer.extend(&x_shape);
        i.emit(Op::Reshape, vec![x.clone()], longer)?
    } else {
        x.clone()
    };
    let x_shape = i.shape(&x)?;
    let keeps = x_shape.iter().zip(&shape).all(|(&a, &b)| i.net.sizes.same(a, b));
    let along = varies_along(&array.shape, shape.len()).filter(|_| keeps);
    let (op, shape) = match (along, affine(binary, reversed, &array)) {
        (Some(axis), Some([scale, shift])) => {
            (Op::Affine(Affine { axis: axis.unwrap_or(0), scale, shift }), shape)
        }
        (Some(None), None) if !reversed => match (binary, array.items[0]) {
            (Binary::Min, high) if !high.is_nan() => {
                (Op::Unary(Unary::Clip { low: f32::NEG_INFINITY, high }), shape)
            }
            (Binary::Max, low) if !low.is_nan() => {
                (Op::Unary(Unary::Clip { low, high: f32::INFINITY }), shape)
            }
            (Binary::Pow, exponent) => (Op::Unary(Unary::Pow(exponent)), shape),
            _ => (Op::WithArray { binary, array: Arc::new(array), reversed }, shape),
        },
        (Some(None), None) if matches!(binary, Binary::Min | Binary::Max) => {
            return binary_of(i, binary, &x, constant);
        }
        _ => (Op::WithArray { binary, array: Arc::new(array), reversed }, shape),
    };
    i.emit(op, vec![x], shape)
}

/// Arithmetic with constants as a scale and a shift, if it can be that.
pub(super) fn affine(binary: Binary, reversed: bool, array: &Array<f32>) -> Option<[Arc<[f64]>; 2]> {
    let all = |f: fn(f64) -> f64| array.items.iter().map(|&item| f(item.into())).collect::<Arc<[f64]>>();
    Some(match (binary, reversed) {
        (Binary::Add, _) => [all(|_| 1.0), all(|b| b)],
        (Binary::Sub, false) => [all(|_| 1.0), all(|b| -b)],
        (Binary::Sub, true) => [all(|_| -1.0), all(|a| a)],
        (Binary::Mul, _) => [all(|b| b), all(|_| 0.0)],
        (Binary::Div, false) => [all(|b| 1.0 / b), all(|_| 0.0)],
        _ => return None,
    })
}

pub(super) fn pow<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    one(binary_of(i, Binary::Pow, c.input(0)?, c.input(1)?)?)
}

pub(super) fn variadic<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>, binary: Binary) -> Outputs<'a> {
    let inputs = c.all_inputs()?;
    let (first, rest) = inputs.split_first().ok_or("it reads nothing")?;
    let mut value = first.clone();
    for next in rest {
        value = binary_of(i, binary, &value, next)?;
    }
    one(value)
}

pub(super) fn mean<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let sum = variadic(i, c, Binary::Add)?;
    one(i.affine(&sum[0], Affine::uniform(1.0 / c.inputs.len() as f64, 0.0))?)
}
