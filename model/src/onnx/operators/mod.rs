//! One function per operator of ONNX: its attributes and optional inputs, as each operator set wants them, decided.

mod axes;
mod constants;
mod functions;
mod products;
mod windows;

use super::import::{Call, Imported, Importer, Reason, Value, instead};
use super::net::{Affine, Binary, Reduce, Unary};
use super::proto;
use super::sizes::{Arith, Num};
use super::tensor::{Array, Constant};
use std::sync::Arc;

type Outputs<'a> = Imported<Vec<Value<'a>>>;

/// Imports one node.
pub(super) type Operator = for<'a> fn(&mut Importer<'_, 'a>, &Call<'_, 'a>) -> Outputs<'a>;

/// The function that understands a node, if there is one.
pub(super) fn operator(node: &proto::Node<'_>) -> Option<Operator> {
    if !matches!(node.domain, "" | "ai.onnx") {
        return None;
    }
    let operator: Operator = match node.op_type {
        "Conv" => windows::conv,
        "ConvTranspose" => windows::conv_transpose,
        "Gemm" => products::gemm,
        "MatMul" => products::matmul,
        "BatchNormalization" => products::batch_normalization,
        "LayerNormalization" => products::layer_normalization,
        "Relu" => |i, c| functions::unary(i, c, Unary::RELU),
        "Clip" => functions::clip,
        "LeakyRelu" => functions::leaky_relu,
        "PRelu" => functions::prelu,
        "Elu" => functions::elu,
        "Sigmoid" => |i, c| functions::unary(i, c, Unary::Sigmoid),
        "HardSigmoid" => functions::hard_sigmoid,
        "HardSwish" => |i, c| functions::unary(i, c, Unary::HardSwish),
        "Swish" => functions::swish,
        "Gelu" => functions::gelu,
        "Tanh" => |i, c| functions::unary(i, c, Unary::Tanh),
        "Softplus" => |i, c| functions::unary(i, c, Unary::Softplus),
        "Erf" => |i, c| functions::unary(i, c, Unary::Erf),
        "Exp" => |i, c| functions::unary(i, c, Unary::Exp),
        "Log" => |i, c| functions::unary(i, c, Unary::Log),
        "Sqrt" => |i, c| functions::rounding(i, c, Unary::Sqrt, Arith::Sqrt),
        "Abs" => |i, c| functions::unary(i, c, Unary::Abs),
        "Floor" => |i, c| functions::rounding(i, c, Unary::Floor, Arith::Floor),
        "Ceil" => |i, c| functions::rounding(i, c, Unary::Ceil, Arith::Ceil),
        "Round" => |i, c| functions::rounding(i, c, Unary::Round, Arith::Round),
        "Neg" => |i, c| one(i.affine(c.input(0)?, Affine::uniform(-1.0, 0.0))?),
        "Reciprocal" => |i, c| {
            let one_over = Value::Constant(Arc::new(Constant::made(Array::scalar(1.0))));
            one(functions::binary_of(i, Binary::Div, &one_over, c.input(0)?)?)
        },
        "Add" => |i, c| one(functions::binary_of(i, Binary::Add, c.input(0)?, c.input(1)?)?),
        "Sub" => |i, c| one(functions::binary_of(i, Binary::Sub, c.input(0)?, c.input(1)?)?),
        "Mul" => |i, c| one(functions::binary_of(i, Binary::Mul, c.input(0)?, c.input(1)?)?),
        "Div" => |i, c| one(functions::binary_of(i, Binary::Div, c.input(0)?, c.input(1)?)?),
        "Pow" => functions::pow,
        "Min" => |i, c| functions::variadic(i, c, Binary::Min),
        "Max" => |i, c| functions::variadic(i, c, Binary::Max),
        "Sum" => |i, c| functions::variadic(i, c, Binary::Add),
        "Mean" => functions::mean,
        "MaxPool" => windows::max_pool,
        "AveragePool" => windows::average_pool,
        "GlobalAveragePool" => |i, c| windows::global_pool(i, c, Reduce::Mean),
        "GlobalMaxPool" => |i, c| windows::global_pool(i, c, Reduce::Max),
        "ReduceMean" => |i, c| axes::reduce(i, c, Reduce::Mean, 18),
        "ReduceSum" => |i, c| axes::reduce(i, c, Reduce::Sum, 13),
        "ReduceMax" => |i, c| axes::reduce(i, c, Reduce::Max, 18),
        "ReduceMin" => |i, c| axes::reduce(i, c, Reduce::Min, 18),
        "ReduceProd" => |i, c| axes::reduce(i, c, Reduce::Prod, 18),
        "ReduceL2" => |i, c| axes::reduce(i, c, Reduce::L2, 18),
        "Softmax" => |i, c| products::softmax(i, c, false),
        "LogSoftmax" => |i, c| products::softmax(i, c, true),
        "Concat" => axes::concat,
        "Split" => axes::split,
        "Slice" => axes::slice,
        "Gather" => axes::gather,
        "Reshape" => axes::reshape,
        "Flatten" => axes::flatten,
        "Squeeze" => axes::squeeze,
        "Unsqueeze" => axes::unsqueeze,
        "Transpose" => axes::transpose,
        "Expand" => axes::expand,
        "Tile" => axes::tile,
        "Pad" => windows::pad,
        "Resize" | "Upsample" => windows::resize,
        "DepthToSpace" => windows::depth_to_space,
        "SpaceToDepth" => windows::space_to_depth,
        "Dropout" => constants::dropout,
        "Identity" => |_, c| one(c.input(0)?.clone()),
        "Cast" => constants::cast,
        "CastLike" => constants::cast_like,
        "Constant" => constants::constant,
        "Shape" => constants::shape,
        "Size" => constants::size,
        "Range" => constants::range,
        "ConstantOfShape" => constants::constant_of_shape,
        "Equal" => |i, c| constants::compare(i, c, Arith::Equal, false, false),
        "Less" => |i, c| constants::compare(i, c, Arith::Less, false, false),
        "Greater" => |i, c| constants::compare(i, c, Arith::Less, true, false),
        "LessOrEqual" => |i, c| constants::compare(i, c, Arith::Less, true, true),
        "GreaterOrEqual" => |i, c| constants::compare(i, c, Arith::Less, false, true),
        "And" => |i, c| constants::compare(i, c, Arith::Mul, false, false),
        "Or" => |i, c| constants::compare(i, c, Arith::Max, false, false),
        "Mod" => constants::modulo,
        "Not" => constants::not,
        "Where" => constants::select,
        _ => return None,
    };
    Some(operator)
}

/// Why a node of an operator that is not understood cannot be run.
pub(super) fn unknown(model: &proto::Model<'_>, node: &proto::Node<'_>) -> Reason {
    if model.functions.contains(&(node.domain, node.op_type)) {
        return Reason {
            why: "a function of the file's own".into(),
            instead: Some(
                "write the file with functions inlined, as onnx.inliner.inline_local_functions does",
            ),
        };
    }
    let instead = match (node.domain, node.op_type) {
        (
            _,
            "QuantizeLinear"
            | "DequantizeLinear"
            | "QLinearConv"
            | "QLinearMatMul"
            | "ConvInteger"
            | "MatMulInteger"
            | "DynamicQuantizeLinear"
            | "QGemm"
            | "QLinearAdd"
            | "QLinearConcat"
            | "QLinearMul"
            | "QLinearGlobalAveragePool"
            | "QLinearSigmoid"
            | "QLinearLeakyRelu"
            | "QLinearAveragePool",
        ) => "export the network in float32: 8 bits are not supported",
        (
            "" | "ai.onnx",
            "NonMaxSuppression" | "TopK" | "ArgMax" | "ArgMin" | "NonZero" | "ScatterND" | "GatherND"
            | "GatherElements" | "ScatterElements" | "OneHot",
        ) => "export the network without its post-processing, and do that on the outputs",
        (
            "" | "ai.onnx",
            "InstanceNormalization"
            | "GroupNormalization"
            | "LRN"
            | "MeanVarianceNormalization"
            | "RMSNormalization"
            | "LpNormalization",
        ) => "BatchNormalization, and LayerNormalization over channels, are supported",
        ("" | "ai.onnx", "Mish" | "Softsign" | "Selu" | "Celu" | "ThresholdedRelu" | "Sin" | "Cos") => {
            "activations: Relu, Clip, LeakyRelu, PRelu, HardSwish, HardSigmoid, Sigmoid, SiLU, Gelu, Elu, Tanh"
        }
        ("" | "ai.onnx", "If" | "Loop" | "Scan") => {
            "export without control flow: torch.onnx.export(.., dynamo=True) or a model in eval mode decides it"
        }
        ("" | "ai.onnx", "LSTM" | "GRU" | "RNN" | "Attention" | "Einsum") => {
            "only convolutional networks are run"
        }
        ("" | "ai.onnx", "GridSample" | "RoiAlign" | "DeformConv") => {
            "the part before it can be exported alone"
        }
        ("" | "ai.onnx", "LpPool" | "MaxUnpool") => "MaxPool and AveragePool are supported",
        ("com.microsoft", _) => {
            "a file that onnxruntime has optimised: use the one that the exporter wrote, or optimise for basic only"
        }
        _ => "",
    };
    let what = if matches!(node.domain, "" | "ai.onnx") {
        "the operator is"
    } else {
        "operators of this domain are"
    };
    Reason { why: format!("{what} not supported"), instead: (!instead.is_empty()).then_some(instead) }
}

/// Whether an operator, understood or not, makes a tensor of its first input's shape.
pub(super) fn keeps_shape(node: &proto::Node<'_>) -> bool {
    let others = [
        "Mish",
        "Softsign",
        "Selu",
        "Celu",
        "ThresholdedRelu",
        "InstanceNormalization",
        "GroupNormalization",
        "LRN",
        "MeanVarianceNormalization",
        "RMSNormalization",
        "LpNormalization",
        "Sin",
        "Cos",
        "BatchNormalization",
        "LayerNormalization",
        "Relu",
        "Clip",
        "LeakyRelu",
        "PRelu",
        "Elu",
        "HardSigmoid",
        "Swish",
        "Gelu",
        "Softmax",
        "LogSoftmax",
        "Cast",
        "Dropout",
        "QuantizeLinear",
        "DequantizeLinear",
        "QLinearSigmoid",
        "QLinearLeakyRelu",
        "BiasGelu",
        "FastGelu",
        "QuickGelu",
    ];
    others.contains(&node.op_type)
}

fn one(value: Value<'_>) -> Outputs<'_> {
    Ok(vec![value])
}

/// Counts from attributes or inputs.
fn counts(values: &[i64], what: &str) -> Imported<Vec<usize>> {
    let count = |&value: &i64| usize::try_from(value).ok().filter(|&n| n <= 1 << 24);
    let found = || format!("{what}: expected small numbers that are not negative, found {values:?}").into();
    values.iter().map(count).collect::<Option<_>>().ok_or_else(found)
}

fn pair(values: Option<Vec<i64>>, default: usize, what: &str) -> Imported<[usize; 2]> {
    let Some(values) = values else { return Ok([default; 2]) };
    let counts = counts(&values, what)?;
    <[usize; 2]>::try_from(&counts[..])
        .map_err(|_| format!("{what}: expected two numbers, for rows and columns, found {values:?}").into())
}

/// The axis that a number means, counted from the end if negative.
fn axis(axis: i64, rank: usize) -> Imported<usize> {
    let from_start = if axis < 0 { axis + rank as i64 } else { axis };
    let found = usize::try_from(from_start).ok().filter(|&found| found < rank);
    found.ok_or_else(|| format!("axis {axis} of a tensor of {rank} dimensions").into())
}

/// Axes in rising order, each once.
fn axes(list: &[i64], rank: usize) -> Imported<Vec<usize>> {
    let mut found = list.iter().map(|&a| axis(a, rank)).collect::<Imported<Vec<_>>>()?;
    found.sort_unstable();
    if found.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(format!("axes {list:?} name one twice").into());
    }
    Ok(found)
}

/// A computed map of four dimensions: its channels, height and width.
fn map<'a>(i: &mut Importer<'_, 'a>, value: &Value<'a>) -> Imported<(Vec<Num>, usize)> {
    if !matches!(value, Value::Data(_)) {
        return Err("it reads no computed tensor".into());
    }
    let shape = i.shape(value)?;
    let &[_, c, _, _] = &shape[..] else {
        return instead(
            format!("expected [batch, channels, height, width], found {} dimensions", shape.len()),
            "networks on images are run; add a dimension of one where the data has one axis",
        );
    };
    let Some(channels) = i.net.sizes.count(c) else {
        return Err(format!("the number of channels is open: {}", i.net.sizes.show_all(&shape)).into());
    };
    Ok((shape, channels))
}

/// A constant input, which is read later.
fn weights<'a>(value: &Value<'a>, what: &str) -> Imported<Arc<Constant<'a>>> {
    match value {
        Value::Constant(constant) if constant.dtype.is_float() => Ok(Arc::clone(constant)),
        Value::Constant(constant) => Err(format!("{what} are {}, expected float32", constant.dtype).into()),
        _ => instead(
            format!("{what} are computed when the network runs"),
            "weights must be constants of the file",
        ),
    }
}

/// A small constant vector of a known length.
fn vector<'a>(i: &mut Importer<'_, 'a>, value: &Value<'a>, len: usize, what: &str) -> Imported<Vec<f64>> {
    let Value::Constant(constant) = value else {
        return instead(
            format!("{what} is computed when the network runs"),
            "it must be a constant of the file",
        );
    };
    if constant.count() != len || constant.shape.iter().filter(|&&n| n != 1).count() > 1 {
        return Err(format!("{what} has shape {:?}, expected [{len}]", constant.shape).into());
    }
    i.make(Some(len))?;
    Ok(constant.doubles(i.folder)?)
}

/// A constant scalar.
fn scalar<'a>(i: &mut Importer<'_, 'a>, value: &Value<'a>, what: &str) -> Imported<f32> {
    match &i.floats(value).map_err(|_| format!("{what} is computed when the network runs"))?.items[..] {
        &[number] => Ok(number),
        items => Err(format!("{what}: expected one number, found {}", items.len()).into()),
    }
}

/// Two shapes repeated to one, as NumPy does.
fn broadcast(i: &mut Importer<'_, '_>, a: &[Num], b: &[Num]) -> Imported<Vec<Num>> {
    let rank = a.len().max(b.len());
    let only = i.net.sizes.int(1);
    let mut shape = Vec::with_capacity(rank);
    for back in (1..=rank).rev() {
        let of = |list: &[Num]| list.len().checked_sub(back).map(|at| list[at]);
        shape.push(match (of(a), of(b)) {
            (Some(a), None) => a,
            (None, Some(b)) => b,
            (Some(x), Some(y)) if i.net.sizes.same(y, only) => x,
            (Some(x), Some(y)) if i.net.sizes.same(x, only) => y,
            (Some(x), Some(y)) => {
                if !i.net.sizes.require_same(x, y) {
                    let (a, b) = (i.net.sizes.show_all(a), i.net.sizes.show_all(b));
                    return Err(format!("shapes {a} and {b} do not fit each other").into());
                }
                x
            }
            (None, None) => unreachable!("one of the ranks is the larger"),
        });
    }
    Ok(shape)
}
