//! One function per operator of ONNX: its attributes and optional inputs, as each operator set wants them, decided.

use super::import::{Call, Imported, Importer, Numbers, Reason, Value, instead};
use super::net::{
    Affine, Binary, Conv, Coordinates, Nearest, Op, Order, Padding, Pool, PoolKind, Reduce, Resize,
    ResizeMode, Unary, Weights, Window,
};
use super::proto;
use super::sizes::{Arith, Num, Sizes};
use super::tensor::{Array, Constant, data_type};
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
        "Conv" => conv,
        "ConvTranspose" => conv_transpose,
        "Gemm" => gemm,
        "MatMul" => matmul,
        "BatchNormalization" => batch_normalization,
        "LayerNormalization" => layer_normalization,
        "Relu" => |i, c| unary(i, c, Unary::RELU),
        "Clip" => clip,
        "LeakyRelu" => leaky_relu,
        "PRelu" => prelu,
        "Elu" => elu,
        "Sigmoid" => |i, c| unary(i, c, Unary::Sigmoid),
        "HardSigmoid" => hard_sigmoid,
        "HardSwish" => |i, c| unary(i, c, Unary::HardSwish),
        "Swish" => swish,
        "Gelu" => gelu,
        "Tanh" => |i, c| unary(i, c, Unary::Tanh),
        "Softplus" => |i, c| unary(i, c, Unary::Softplus),
        "Erf" => |i, c| unary(i, c, Unary::Erf),
        "Exp" => |i, c| unary(i, c, Unary::Exp),
        "Log" => |i, c| unary(i, c, Unary::Log),
        "Sqrt" => |i, c| rounding(i, c, Unary::Sqrt, Arith::Sqrt),
        "Abs" => |i, c| unary(i, c, Unary::Abs),
        "Floor" => |i, c| rounding(i, c, Unary::Floor, Arith::Floor),
        "Ceil" => |i, c| rounding(i, c, Unary::Ceil, Arith::Ceil),
        "Round" => |i, c| rounding(i, c, Unary::Round, Arith::Round),
        "Neg" => |i, c| one(i.affine(c.input(0)?, Affine::uniform(-1.0, 0.0))?),
        "Reciprocal" => |i, c| {
            let one_over = Value::Constant(Arc::new(Constant::made(Array::scalar(1.0))));
            one(binary_of(i, Binary::Div, &one_over, c.input(0)?)?)
        },
        "Add" => |i, c| one(binary_of(i, Binary::Add, c.input(0)?, c.input(1)?)?),
        "Sub" => |i, c| one(binary_of(i, Binary::Sub, c.input(0)?, c.input(1)?)?),
        "Mul" => |i, c| one(binary_of(i, Binary::Mul, c.input(0)?, c.input(1)?)?),
        "Div" => |i, c| one(binary_of(i, Binary::Div, c.input(0)?, c.input(1)?)?),
        "Pow" => pow,
        "Min" => |i, c| variadic(i, c, Binary::Min),
        "Max" => |i, c| variadic(i, c, Binary::Max),
        "Sum" => |i, c| variadic(i, c, Binary::Add),
        "Mean" => mean,
        "MaxPool" => max_pool,
        "AveragePool" => average_pool,
        "GlobalAveragePool" => |i, c| global_pool(i, c, Reduce::Mean),
        "GlobalMaxPool" => |i, c| global_pool(i, c, Reduce::Max),
        "ReduceMean" => |i, c| reduce(i, c, Reduce::Mean, 18),
        "ReduceSum" => |i, c| reduce(i, c, Reduce::Sum, 13),
        "ReduceMax" => |i, c| reduce(i, c, Reduce::Max, 18),
        "ReduceMin" => |i, c| reduce(i, c, Reduce::Min, 18),
        "ReduceProd" => |i, c| reduce(i, c, Reduce::Prod, 18),
        "ReduceL2" => |i, c| reduce(i, c, Reduce::L2, 18),
        "Softmax" => |i, c| softmax(i, c, false),
        "LogSoftmax" => |i, c| softmax(i, c, true),
        "Concat" => concat,
        "Split" => split,
        "Slice" => slice,
        "Gather" => gather,
        "Reshape" => reshape,
        "Flatten" => flatten,
        "Squeeze" => squeeze,
        "Unsqueeze" => unsqueeze,
        "Transpose" => transpose,
        "Expand" => expand,
        "Tile" => tile,
        "Pad" => pad,
        "Resize" | "Upsample" => resize,
        "DepthToSpace" => depth_to_space,
        "SpaceToDepth" => space_to_depth,
        "Dropout" => dropout,
        "Identity" => |_, c| one(c.input(0)?.clone()),
        "Cast" => cast,
        "CastLike" => cast_like,
        "Constant" => constant,
        "Shape" => shape,
        "Size" => size,
        "Range" => range,
        "ConstantOfShape" => constant_of_shape,
        "Equal" => |i, c| compare(i, c, Arith::Equal, false, false),
        "Less" => |i, c| compare(i, c, Arith::Less, false, false),
        "Greater" => |i, c| compare(i, c, Arith::Less, true, false),
        "LessOrEqual" => |i, c| compare(i, c, Arith::Less, true, true),
        "GreaterOrEqual" => |i, c| compare(i, c, Arith::Less, false, true),
        "And" => |i, c| compare(i, c, Arith::Mul, false, false),
        "Or" => |i, c| compare(i, c, Arith::Max, false, false),
        "Mod" => modulo,
        "Not" => not,
        "Where" => select,
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
        ) => "export the network in float32; `shufflenet quantise` makes eight bits of it",
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

// Windows.

/// `kernel_shape`, `strides`, `pads` and `auto_pad`, and the dilation.
fn window(c: &Call<'_, '_>, kernel: Option<[usize; 2]>) -> Imported<(Window, [usize; 2])> {
    let told = c.ints("kernel_shape")?;
    let kernel = match (told, kernel) {
        (None, Some(kernel)) => kernel,
        (None, None) => return Err("kernel_shape is missing".into()),
        (told, expected) => {
            let told = pair(told, 1, "kernel_shape")?;
            if let Some(expected) = expected.filter(|expected| *expected != told) {
                return Err(format!("kernel_shape {told:?}, but weights for {expected:?}").into());
            }
            told
        }
    };
    let stride = pair(c.ints("strides")?, 1, "strides")?;
    let dilation = pair(c.ints("dilations")?, 1, "dilations")?;
    if [kernel, stride, dilation].concat().contains(&0) {
        return Err(format!("a window of {kernel:?}, strides {stride:?}, dilations {dilation:?}").into());
    }
    let pads = c.ints("pads")?;
    let padding = match c.text("auto_pad")?.unwrap_or("NOTSET") {
        "NOTSET" | "" => {
            let pads = pads.unwrap_or_else(|| vec![0; 4]);
            if pads.iter().any(|&pad| pad < 0) {
                return instead(format!("negative pads {pads:?}"), "a Slice before it cuts a map");
            }
            let counts = counts(&pads, "pads")?;
            let sides: [usize; 4] = counts[..].try_into().map_err(|_| {
                Reason::from(format!("pads: expected four numbers, of rows and columns, found {pads:?}"))
            })?;
            Padding::Sides(sides)
        }
        "VALID" => Padding::Sides([0; 4]),
        "SAME_UPPER" => Padding::SameUpper,
        "SAME_LOWER" => Padding::SameLower,
        other => return Err(format!("auto_pad {}", super::quoted(other)).into()),
    };
    Ok((Window { kernel, stride, padding }, dilation))
}

/// How many positions a window has along one side of a map; at least one, or the size is impossible.
fn slid(
    i: &mut Importer<'_, '_>,
    len: Num,
    side: usize,
    (window, dilation): (&Window, usize),
    ceil: bool,
) -> Imported<Num> {
    let (kernel, stride) = (window.kernel[side], window.stride[side]);
    let reach = (kernel - 1).saturating_mul(dilation) + 1;
    let s = i.net.sizes.len(stride);
    let Padding::Sides(pads) = window.padding else {
        // Rounded up.
        let more = i.net.sizes.add(len, stride as i64 - 1);
        return Ok(i.net.sizes.of(Arith::FloorDiv, more, s));
    };
    let (before, after) = (pads[side], pads[side + 2]);
    let room = i.net.sizes.add(len, (before + after) as i64 - reach as i64);
    if !i.net.sizes.require(&[room], |room| room[0] >= 0.0) {
        let found = i.net.sizes.show(len);
        return Err(format!(
            "a window of {reach} does not fit into {found} pixels padded by {before} and {after}"
        )
        .into());
    }
    if !ceil {
        let steps = i.net.sizes.of(Arith::FloorDiv, room, s);
        return Ok(i.net.sizes.add(steps, 1));
    }
    let more = i.net.sizes.add(room, stride as i64 - 1);
    let steps = i.net.sizes.of(Arith::FloorDiv, more, s);
    // The last window begins on the map or on the padding before it.
    let last = i.net.sizes.add(len, before as i64 - 1);
    let most = i.net.sizes.of(Arith::FloorDiv, last, s);
    let steps = i.net.sizes.of(Arith::Min, steps, most);
    Ok(i.net.sizes.add(steps, 1))
}

fn conv<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let (shape, ic) = map(i, c.input(0)?)?;
    let tensor = weights(c.input(1)?, "the weights")?;
    let &[oc, group_ic, kh, kw] = &tensor.shape[..] else {
        return Err(format!("expected weights of four dimensions, found {:?}", tensor.shape).into());
    };
    let groups = counts(&[c.int("group")?.unwrap_or(1)], "group")?[0];
    if groups == 0 || oc == 0 || group_ic.checked_mul(groups) != Some(ic) || oc % groups != 0 {
        return Err(format!(
            "weights of {:?} in {groups} groups do not fit a map of {ic} channels",
            tensor.shape
        )
        .into());
    }
    let (window, dilation) = window(c, Some([kh, kw]))?;
    let bias = bias(i, c.optional(2), oc)?;
    let h = slid(i, shape[2], 0, (&window, dilation[0]), false)?;
    let w = slid(i, shape[3], 1, (&window, dilation[1]), false)?;
    let weights = Weights { tensor: i.keep(tensor), order: Order::Rows, oc, scale: None, bias, input: None };
    let made = vec![shape[0], i.net.sizes.len(oc), h, w];
    let op = Op::Conv(Conv { weights, groups, window, dilation, transposed: None });
    one(i.emit(op, vec![c.input(0)?.clone()], made)?)
}

/// One number per output channel. Exporters have been seen that write another number.
fn bias<'a>(i: &mut Importer<'_, 'a>, value: Option<&Value<'a>>, oc: usize) -> Imported<Option<Arc<[f64]>>> {
    let Some(value) = value else { return Ok(None) };
    Ok(Some(vector(i, value, oc, "the bias")?.into()))
}

fn conv_transpose<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let (shape, ic) = map(i, c.input(0)?)?;
    let tensor = weights(c.input(1)?, "the weights")?;
    let &[weights_ic, group_oc, kh, kw] = &tensor.shape[..] else {
        return Err(format!("expected weights of four dimensions, found {:?}", tensor.shape).into());
    };
    let groups = counts(&[c.int("group")?.unwrap_or(1)], "group")?[0];
    if groups == 0 || group_oc == 0 || weights_ic != ic || ic % groups != 0 {
        return Err(format!(
            "weights of {:?} in {groups} groups do not fit a map of {ic} channels",
            tensor.shape
        )
        .into());
    }
    let oc = group_oc.checked_mul(groups).ok_or("too many output channels")?;
    let (window, dilation) = window(c, Some([kh, kw]))?;
    let extra = pair(c.ints("output_padding")?, 0, "output_padding")?;
    if c.ints("output_shape")?.is_some() {
        return instead("output_shape is given", "pads and output_padding say the same");
    }
    let Padding::Sides(pads) = window.padding else {
        return instead("auto_pad is SAME", "pads say the same");
    };
    let bias = bias(i, c.optional(2), oc)?;
    let mut sides = [shape[2]; 2];
    for side in 0..2 {
        let less = i.net.sizes.add(shape[2 + side], -1);
        let stride = i.net.sizes.len(window.stride[side]);
        let steps = i.net.sizes.mul(less, stride);
        let reach = (window.kernel[side] - 1) * dilation[side] + 1 + extra[side];
        sides[side] = i.net.sizes.add(steps, reach as i64 - (pads[side] + pads[side + 2]) as i64);
        if !i.net.sizes.require(&[sides[side]], |len| len[0] >= 1.0) {
            return Err("nothing is left of the map".into());
        }
    }
    let weights =
        Weights { tensor: i.keep(tensor), order: Order::Columns, oc, scale: None, bias, input: None };
    let made = vec![shape[0], i.net.sizes.len(oc), sides[0], sides[1]];
    let op = Op::Conv(Conv { weights, groups, window, dilation, transposed: Some(extra) });
    one(i.emit(op, vec![c.input(0)?.clone()], made)?)
}

fn pool<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>, kind: PoolKind) -> Outputs<'a> {
    let (shape, _) = map(i, c.input(0)?)?;
    let (window, dilation) = window(c, None)?;
    if dilation != [1, 1] {
        return instead(format!("dilations {dilation:?}"), "pooling with dilations of 1 is supported");
    }
    let ceil = c.int("ceil_mode")?.unwrap_or(0) != 0;
    if let Padding::Sides(pads) = window.padding {
        let [kh, kw] = window.kernel;
        if pads[0].max(pads[2]) >= kh || pads[1].max(pads[3]) >= kw {
            return Err(format!("pads {pads:?} are as large as the window, {kh}x{kw}").into());
        }
    }
    let h = slid(i, shape[2], 0, (&window, 1), ceil)?;
    let w = slid(i, shape[3], 1, (&window, 1), ceil)?;
    one(i.emit(
        Op::Pool(Pool { window, kind, ceil }),
        vec![c.input(0)?.clone()],
        vec![shape[0], shape[1], h, w],
    )?)
}

fn max_pool<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    c.ignore(&["storage_order"]);
    if c.node.outputs.get(1).is_some_and(|name| !name.is_empty()) {
        return instead("the indices of the maxima are asked for", "the values alone are computed");
    }
    pool(i, c, PoolKind::Max)
}

fn average_pool<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let count_pad = c.int("count_include_pad")?.unwrap_or(0) != 0;
    pool(i, c, PoolKind::Average { count_pad })
}

fn global_pool<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>, reduce: Reduce) -> Outputs<'a> {
    let (shape, _) = map(i, c.input(0)?)?;
    let one_pixel = i.net.sizes.int(1);
    let op = Op::Reduce { reduce, axes: vec![2, 3], keep: true };
    one(i.emit(op, vec![c.input(0)?.clone()], vec![shape[0], shape[1], one_pixel, one_pixel])?)
}

// Products.

/// `x` times a constant matrix, over the last axis.
fn linear<'a>(
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

fn gemm<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
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

fn matmul<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
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

// Normalisation.

fn batch_normalization<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
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

fn layer_normalization<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
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

fn softmax<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>, log: bool) -> Outputs<'a> {
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

// Functions of one number.

fn unary<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>, unary: Unary) -> Outputs<'a> {
    let shape = i.shape(c.input(0)?)?;
    one(i.emit(Op::Unary(unary), vec![c.input(0)?.clone()], shape)?)
}

/// Functions that also take part in arithmetic on sizes.
fn rounding<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>, on_data: Unary, arith: Arith) -> Outputs<'a> {
    let value = c.input(0)?;
    if let Value::Numbers(numbers) = value {
        let zero = i.net.sizes.int(0);
        let items = numbers.array.items.iter().map(|&num| i.net.sizes.of(arith, num, zero)).collect();
        let array = Arc::new(Array::new(numbers.array.shape.clone(), items));
        return one(Value::Numbers(Numbers { array, int: false }));
    }
    unary(i, c, on_data)
}

/// A constant scalar.
fn scalar<'a>(i: &mut Importer<'_, 'a>, value: &Value<'a>, what: &str) -> Imported<f32> {
    match &i.floats(value).map_err(|_| format!("{what} is computed when the network runs"))?.items[..] {
        &[number] => Ok(number),
        items => Err(format!("{what}: expected one number, found {}", items.len()).into()),
    }
}

fn clip<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
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

fn leaky_relu<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let slope = c.float("alpha")?.unwrap_or(0.01);
    unary(i, c, Unary::LeakyRelu(slope))
}

fn elu<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let alpha = c.float("alpha")?.unwrap_or(1.0);
    unary(i, c, Unary::Elu(alpha))
}

fn hard_sigmoid<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let (alpha, beta) = (c.float("alpha")?.unwrap_or(0.2), c.float("beta")?.unwrap_or(0.5));
    unary(i, c, Unary::HardSigmoid { alpha, beta })
}

fn swish<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    match c.float("alpha")?.unwrap_or(1.0) {
        1.0 => unary(i, c, Unary::Silu),
        alpha => instead(format!("alpha is {alpha}"), "x sigmoid(x) is supported"),
    }
}

fn gelu<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let tanh = match c.text("approximate")?.unwrap_or("none") {
        "none" => false,
        "tanh" => true,
        other => return Err(format!("approximate is {}", super::quoted(other)).into()),
    };
    unary(i, c, Unary::Gelu { tanh })
}

/// The axis along which a constant varies when it is repeated over a tensor of `rank` dimensions, if it is one axis
/// at most; `None` where there are more.
fn varies_along(shape: &[usize], rank: usize) -> Option<Option<usize>> {
    let mut axes = shape.iter().rev().enumerate().filter(|(_, n)| **n != 1).map(|(back, _)| back);
    match (axes.next(), axes.next()) {
        (None, _) => Some(None),
        (Some(back), None) => rank.checked_sub(back + 1).map(Some),
        _ => None,
    }
}

fn prelu<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
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

// Functions of two numbers.

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

/// A function of two tensors, one of which may be constant.
fn binary_of<'a>(
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
        (Some(axis), Some((scale, shift))) => {
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
fn affine(binary: Binary, reversed: bool, array: &Array<f32>) -> Option<(Arc<[f64]>, Arc<[f64]>)> {
    let all = |f: fn(f64) -> f64| array.items.iter().map(|&item| f(item.into())).collect::<Arc<[f64]>>();
    Some(match (binary, reversed) {
        (Binary::Add, _) => (all(|_| 1.0), all(|b| b)),
        (Binary::Sub, false) => (all(|_| 1.0), all(|b| -b)),
        (Binary::Sub, true) => (all(|_| -1.0), all(|a| a)),
        (Binary::Mul, _) => (all(|b| b), all(|_| 0.0)),
        (Binary::Div, false) => (all(|b| 1.0 / b), all(|_| 0.0)),
        _ => return None,
    })
}

fn pow<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    one(binary_of(i, Binary::Pow, c.input(0)?, c.input(1)?)?)
}

fn variadic<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>, binary: Binary) -> Outputs<'a> {
    let inputs = c.all_inputs()?;
    let (first, rest) = inputs.split_first().ok_or("it reads nothing")?;
    let mut value = first.clone();
    for next in rest {
        value = binary_of(i, binary, &value, next)?;
    }
    one(value)
}

fn mean<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let sum = variadic(i, c, Binary::Add)?;
    one(i.affine(&sum[0], Affine::uniform(1.0 / c.inputs.len() as f64, 0.0))?)
}

// Axes.

fn reduce<'a>(
    i: &mut Importer<'_, 'a>,
    c: &Call<'_, 'a>,
    reduce: Reduce,
    axes_are_input: i64,
) -> Outputs<'a> {
    let keep = c.int("keepdims")?.unwrap_or(1) != 0;
    let none = c.int("noop_with_empty_axes")?.unwrap_or(0) != 0;
    let x = c.input(0)?.clone();
    let shape = i.shape(&x)?;
    let told = match c.optional(1) {
        Some(value) if i.opset >= axes_are_input => i.ints(value, "the list of axes")?,
        Some(_) => return Err("an input too many".into()),
        None => c.ints("axes")?.unwrap_or_default(),
    };
    let list = match (told.is_empty(), none) {
        (false, _) => axes(&told, shape.len())?,
        (true, true) => return one(x),
        (true, false) => (0..shape.len()).collect(),
    };
    if let Value::Numbers(numbers) = &x {
        // The product of a shape, above all.
        let arith = match reduce {
            Reduce::Prod => Arith::Mul,
            Reduce::Sum => Arith::Add,
            Reduce::Max => Arith::Max,
            Reduce::Min => Arith::Min,
            _ => return Err("this operation on sizes is not supported".into()),
        };
        let Some((&first, rest)) = numbers.array.items.split_first().filter(|_| list.len() == shape.len())
        else {
            return Err("this operation on sizes is not supported".into());
        };
        let all = rest.iter().fold(first, |all, &num| i.net.sizes.of(arith, all, num));
        let lengths = if keep { vec![1; shape.len()] } else { vec![] };
        let array = Arc::new(Array::new(lengths, vec![all]));
        return one(Value::Numbers(Numbers { array, int: numbers.int }));
    }
    let only = i.net.sizes.int(1);
    let mut made = Vec::new();
    for (at, &len) in shape.iter().enumerate() {
        match (list.contains(&at), keep) {
            (false, _) => made.push(len),
            (true, true) => made.push(only),
            (true, false) => {}
        }
    }
    one(i.emit(Op::Reduce { reduce, axes: list, keep }, vec![x], made)?)
}

fn concat<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let inputs = c.all_inputs()?;
    let first = inputs.first().ok_or("it reads nothing")?;
    let mut shape = i.shape(first)?;
    let told = c.int("axis")?.ok_or("axis is missing")?;
    let at = axis(told, shape.len())?;
    let of_first = shape.clone();
    for value in &inputs[1..] {
        let other = i.shape(value)?;
        if other.len() != shape.len() {
            return Err(format!("tensors of {} and of {} dimensions", shape.len(), other.len()).into());
        }
        for (axis, &len) in other.iter().enumerate() {
            if axis == at {
                shape[at] = i.net.sizes.of(Arith::Add, shape[at], len);
            } else if !i.net.sizes.require_same(shape[axis], len) {
                let (a, b) = (i.net.sizes.show_all(&of_first), i.net.sizes.show_all(&other));
                return Err(format!("{a} beside {b}, joined along axis {at}").into());
            }
        }
    }
    if inputs.len() == 1 { Ok(inputs) } else { one(i.emit(Op::Concat(at), inputs, shape)?) }
}

/// `count` indices of an axis.
fn part<'a>(
    i: &mut Importer<'_, 'a>,
    x: &Value<'a>,
    axis: usize,
    (start, step, count): (Num, i64, Num),
) -> Imported<Value<'a>> {
    let mut shape = i.shape(x)?;
    let zero = i.net.sizes.int(0);
    if step == 1 && i.net.sizes.same(start, zero) && i.net.sizes.same(count, shape[axis]) {
        return Ok(x.clone());
    }
    shape[axis] = count;
    i.emit(Op::Slice { axis, start, step }, vec![x.clone()], shape)
}

fn split<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let x = c.input(0)?.clone();
    let shape = i.shape(&x)?;
    let at = axis(c.int("axis")?.unwrap_or(0), shape.len())?;
    let outputs = c.node.outputs.len();
    let parts = c.int("num_outputs")?.unwrap_or(outputs as i64);
    let told = match c.optional(1) {
        Some(value) => Some(i.numbers(value, "the list of lengths")?),
        None => c.ints("split")?.map(|list| list.into_iter().map(|len| i.net.sizes.int(len)).collect()),
    };
    let lengths = match told {
        Some(lengths) => lengths,
        None if parts == outputs as i64 && parts > 0 => {
            // Rounded up; the last one gets what is left.
            let count = i.net.sizes.int(parts);
            let more = i.net.sizes.add(shape[at], parts - 1);
            let each = i.net.sizes.of(Arith::FloorDiv, more, count);
            let before = i.net.sizes.int(parts - 1);
            let before = i.net.sizes.mul(each, before);
            let last = i.net.sizes.of(Arith::Sub, shape[at], before);
            let mut lengths = vec![each; outputs];
            lengths[outputs - 1] = last;
            lengths
        }
        None => return Err(format!("{parts} parts for {outputs} outputs").into()),
    };
    if lengths.len() != outputs {
        return Err(format!("{} lengths for {outputs} outputs", lengths.len()).into());
    }
    let zero = i.net.sizes.int(0);
    let sum = lengths.iter().fold(zero, |sum, &len| i.net.sizes.of(Arith::Add, sum, len));
    if !i.net.sizes.require_same(sum, shape[at])
        || !i.net.sizes.require(&lengths, |l| l.iter().all(|&n| n >= 1.0))
    {
        let (parts, whole) = (i.net.sizes.show_all(&lengths), i.net.sizes.show(shape[at]));
        return Err(format!("parts of {parts} of {whole}").into());
    }
    let mut start = zero;
    let mut values = Vec::with_capacity(outputs);
    for len in lengths {
        values.push(part(i, &x, at, (start, 1, len))?);
        start = i.net.sizes.of(Arith::Add, start, len);
    }
    Ok(values)
}

/// A bound of a slice: counted from the end if negative, then clamped to what there is.
fn bound(sizes: &mut Sizes, num: Num, len: Num, [low, high]: [i64; 2]) -> Imported<Num> {
    let negative = sizes.possible(num).all(|value| value < 0.0);
    if !negative && sizes.possible(num).any(|value| value < 0.0) {
        return Err("a bound that is negative for some sizes only".into());
    }
    let num = if negative { sizes.of(Arith::Add, num, len) } else { num };
    let (low, high) = (sizes.int(low), sizes.add(len, high));
    let num = sizes.of(Arith::Max, num, low);
    Ok(sizes.of(Arith::Min, num, high))
}

fn slice<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let mut x = c.input(0)?.clone();
    let shape = i.shape(&x)?;
    let (starts, ends, told_axes, steps) = if i.opset < 10 {
        let mut list = |list: Vec<i64>| list.into_iter().map(|n| i.net.sizes.int(n)).collect::<Vec<_>>();
        let (starts, ends) = (c.ints("starts")?.unwrap_or_default(), c.ints("ends")?.unwrap_or_default());
        (list(starts), list(ends), c.ints("axes")?, None)
    } else {
        let starts = i.numbers(c.input(1)?, "where it starts")?;
        let ends = i.numbers(c.input(2)?, "where it ends")?;
        let axes = c.optional(3).map(|value| i.ints(value, "the list of axes")).transpose()?;
        (starts, ends, axes, c.optional(4).map(|value| i.ints(value, "the list of steps")).transpose()?)
    };
    let told_axes = told_axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || told_axes.len() != starts.len() || steps.len() != starts.len() {
        return Err("its lists are of different lengths".into());
    }
    axes(&told_axes, shape.len())?;
    for (n, &told) in told_axes.iter().enumerate() {
        let at = axis(told, shape.len())?;
        let (len, step) = (i.shape(&x)?[at], steps[n]);
        let zero = i.net.sizes.int(0);
        let sizes = &mut i.net.sizes;
        let (start, end) = match step {
            1.. => (bound(sizes, starts[n], len, [0, 0])?, bound(sizes, ends[n], len, [0, 0])?),
            0 => return Err("a step of 0".into()),
            // "Up to the beginning" is written as a number far below zero.
            _ => {
                let start = bound(sizes, starts[n], len, [0, -1])?;
                let far = sizes.add(len, 1);
                let end = sizes.of(Arith::Add, ends[n], far);
                let below = sizes.possible(end).all(|value| value <= 0.0);
                (start, if below { sizes.int(-1) } else { bound(sizes, ends[n], len, [-1, -1])? })
            }
        };
        let distance =
            if step > 0 { sizes.of(Arith::Sub, end, start) } else { sizes.of(Arith::Sub, start, end) };
        let more = sizes.add(distance, step.saturating_abs() - 1);
        let by = sizes.int(step.saturating_abs());
        let count = sizes.of(Arith::FloorDiv, more, by);
        let count = sizes.of(Arith::Max, count, zero);
        x = part(i, &x, at, (start, step, count))?;
    }
    one(x)
}

fn gather<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let x = c.input(0)?.clone();
    let shape = i.shape(&x)?;
    let at = axis(c.int("axis")?.unwrap_or(0), shape.len())?;
    let Some(indices) = i.small(c.input(1)?)? else {
        // PyTorch's `as_strided`: each element once, in order.
        if let (Value::Data(node), 1) = (c.input(1)?, shape.len())
            && let Some(grid) = super::grid::of(&mut i.net, *node)
            && grid.counts_up(&mut i.net.sizes, shape[0])
        {
            return one(i.emit(Op::Reshape, vec![x], grid.shape)?);
        }
        return instead("the indices are computed when the network runs", "indices must be constants");
    };
    let list_shape = indices.array.shape.clone();
    if list_shape.len() > 1 {
        return Err(format!("indices of {} dimensions", list_shape.len()).into());
    }
    let mut list = Vec::with_capacity(indices.array.items.len());
    for &num in &indices.array.items {
        let Some(value) = i.net.sizes.value(num) else {
            return Err("an index that depends on the size".into());
        };
        let len = shape[at];
        let fits = |values: &[f64]| (-values[0]..values[0]).contains(&value);
        if !i.net.sizes.require(&[len], fits) {
            return Err(format!("index {value} of {}", i.net.sizes.show(len)).into());
        }
        list.push(value as i64);
    }
    // An index from the end of an open axis is a number that depends on the size.
    let known = i.net.sizes.count(shape[at]);
    let mut positions = Vec::with_capacity(list.len());
    for &index in &list {
        positions.push(match (index, known) {
            (0.., _) => i.net.sizes.int(index),
            (_, Some(len)) => i.net.sizes.int(index + len as i64),
            _ => i.net.sizes.add(shape[at], index),
        });
    }
    let lengths: Option<Vec<usize>> = positions.iter().map(|&num| i.net.sizes.count(num)).collect();
    let value = match (&positions[..], lengths) {
        ([], _) => return Err("no index".into()),
        (&[start], _) => {
            let count = i.net.sizes.int(1);
            part(i, &x, at, (start, 1, count))?
        }
        (&[first, ..], Some(list)) => {
            let step = list[1] as i64 - list[0] as i64;
            let count = i.net.sizes.len(list.len());
            if step != 0 && list.windows(2).all(|pair| pair[1] as i64 - pair[0] as i64 == step) {
                part(i, &x, at, (first, step, count))?
            } else {
                let mut made = shape.clone();
                made[at] = count;
                i.emit(Op::Gather { axis: at, indices: list.into() }, vec![x], made)?
            }
        }
        _ => return Err("indices that depend on the size".into()),
    };
    if list_shape.is_empty() {
        let mut made = shape;
        made.remove(at);
        return one(i.emit(Op::Reshape, vec![value], made)?);
    }
    one(value)
}

// Shapes.

fn reshape_to<'a>(i: &mut Importer<'_, 'a>, x: &Value<'a>, shape: Vec<Num>) -> Outputs<'a> {
    let from = i.shape(x)?;
    let same = from.len() == shape.len() && from.iter().zip(&shape).all(|(&a, &b)| i.net.sizes.same(a, b));
    if same { one(x.clone()) } else { one(i.emit(Op::Reshape, vec![x.clone()], shape)?) }
}

fn reshape<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let x = c.input(0)?.clone();
    let from = i.shape(&x)?;
    let copies = c.int("allowzero")?.unwrap_or(0) == 0;
    let told = i.numbers(c.input(1)?, "the shape")?;
    if told.len() > super::tensor::MAX_RANK {
        return Err(format!("a shape of {} dimensions", told.len()).into());
    }
    let mut shape = Vec::with_capacity(told.len());
    let mut open = None;
    for (at, &num) in told.iter().enumerate() {
        match i.net.sizes.value(num) {
            Some(0.0) if copies => {
                shape.push(*from.get(at).ok_or("a 0 stands for a dimension that the input does not have")?);
            }
            Some(-1.0) if open.is_none() => {
                open = Some(at);
                let only = i.net.sizes.int(1);
                shape.push(only);
            }
            _ if i.net.sizes.possible(num).all(|value| value >= 1.0) => shape.push(num),
            _ => return Err(format!("shape {}", i.net.sizes.show_all(&told)).into()),
        }
    }
    let (have, mut need) = (i.net.sizes.product(&from), i.net.sizes.product(&shape));
    if let Some(at) = open {
        shape[at] = i.net.sizes.of(Arith::FloorDiv, have, need);
        need = i.net.sizes.mul(need, shape[at]);
    }
    if !i.net.sizes.require_same(have, need) {
        let (from, to) = (i.net.sizes.show_all(&from), i.net.sizes.show_all(&told));
        return instead(
            format!("{from} cannot become {to} for any size of the image"),
            "where the file says that a size is open but a shape was fixed by tracing, export with that size fixed",
        );
    }
    reshape_to(i, &x, shape)
}

fn flatten<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let x = c.input(0)?.clone();
    let shape = i.shape(&x)?;
    let at = match c.int("axis")?.unwrap_or(1) {
        end if end == shape.len() as i64 => shape.len(),
        other => axis(other, shape.len())?,
    };
    let made = vec![i.net.sizes.product(&shape[..at]), i.net.sizes.product(&shape[at..])];
    reshape_to(i, &x, made)
}

/// Axes from an input since operator set 13, before from an attribute.
fn listed_axes<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Imported<Option<Vec<i64>>> {
    match c.optional(1) {
        Some(value) => i.ints(value, "the list of axes").map(Some),
        None => c.ints("axes"),
    }
}

fn squeeze<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let x = c.input(0)?.clone();
    let shape = i.shape(&x)?;
    let only = i.net.sizes.int(1);
    let list = match listed_axes(i, c)? {
        Some(list) => axes(&list, shape.len())?,
        None => (0..shape.len()).filter(|&at| i.net.sizes.same(shape[at], only)).collect(),
    };
    let mut made = Vec::new();
    for (at, &len) in shape.iter().enumerate() {
        if !list.contains(&at) {
            made.push(len);
        } else if !i.net.sizes.require_same(len, only) {
            return Err(format!("axis {at} has {}, not 1", i.net.sizes.show(len)).into());
        }
    }
    reshape_to(i, &x, made)
}

fn unsqueeze<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let x = c.input(0)?.clone();
    let shape = i.shape(&x)?;
    let list = listed_axes(i, c)?.ok_or("axes are missing")?;
    let rank = shape.len() + list.len();
    if rank > super::tensor::MAX_RANK {
        return Err(format!("a shape of {rank} dimensions").into());
    }
    let list = axes(&list, rank)?;
    let only = i.net.sizes.int(1);
    let mut rest = shape.into_iter();
    let made =
        (0..rank).map(|at| if list.contains(&at) { only } else { rest.next().unwrap_or(only) }).collect();
    reshape_to(i, &x, made)
}

fn transpose<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let x = c.input(0)?.clone();
    let shape = i.shape(&x)?;
    let perm = match c.ints("perm")? {
        Some(perm) => perm.iter().map(|&at| axis(at, shape.len())).collect::<Imported<Vec<_>>>()?,
        None => (0..shape.len()).rev().collect(),
    };
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..shape.len()) {
        return Err(format!("perm {perm:?} for {} dimensions", shape.len()).into());
    }
    if perm.iter().copied().eq(0..shape.len()) {
        return one(x);
    }
    let made = perm.iter().map(|&at| shape[at]).collect();
    one(i.emit(Op::Transpose(perm), vec![x], made)?)
}

fn expand<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let x = c.input(0)?.clone();
    let from = i.shape(&x)?;
    let told = i.numbers(c.input(1)?, "the shape")?;
    let shape = broadcast(i, &from, &told)?;
    if shape.len() == from.len() && shape.iter().zip(&from).all(|(&a, &b)| i.net.sizes.same(a, b)) {
        return one(x);
    }
    one(i.emit(Op::Expand, vec![x], shape)?)
}

fn tile<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let x = c.input(0)?.clone();
    let mut shape = i.shape(&x)?;
    let times = i.numbers(c.input(1)?, "the number of repeats")?;
    if times.len() != shape.len() {
        return Err(format!("{} repeats for {} dimensions", times.len(), shape.len()).into());
    }
    let only = i.net.sizes.int(1);
    for (len, &times) in shape.iter_mut().zip(&times) {
        if i.net.sizes.same(*len, only) {
            *len = times;
        } else if !i.net.sizes.same(times, only) {
            return instead("it repeats more than one element", "a Concat says the same");
        }
    }
    one(i.emit(Op::Expand, vec![x], shape)?)
}

fn pad<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let x = c.input(0)?.clone();
    let mut shape = i.shape(&x)?;
    let rank = shape.len();
    let (pads, value, list) = if i.opset < 11 {
        let pads = c.ints("pads")?.ok_or("pads are missing")?;
        let pads = pads.into_iter().map(|pad| i.net.sizes.int(pad)).collect();
        (pads, c.float("value")?.unwrap_or(0.0), None)
    } else {
        let pads = i.numbers(c.input(1)?, "the list of pads")?;
        let value = c.optional(2).map(|value| scalar(i, value, "the padded number")).transpose()?;
        let list = c.optional(3).map(|value| i.ints(value, "the list of axes")).transpose()?;
        (pads, value.unwrap_or(0.0), list)
    };
    let pads: Vec<Num> = pads;
    let zero = i.net.sizes.int(0);
    let nothing = pads.iter().all(|&pad| i.net.sizes.same(pad, zero));
    let mode = c.text("mode")?.unwrap_or("constant");
    if mode != "constant" && !nothing {
        return instead(format!("mode {}", super::quoted(mode)), "padding with zeros is supported");
    }
    let list = match list {
        Some(list) => list.iter().map(|&at| axis(at, rank)).collect::<Imported<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * list.len() || !i.net.sizes.require(&pads, |pads| pads.iter().all(|p| p.abs() < 1e6))
    {
        return Err(format!("pads {} for {} axes", i.net.sizes.show_all(&pads), list.len()).into());
    }
    let (mut before, mut after) = (vec![zero; rank], vec![zero; rank]);
    for (n, &at) in list.iter().enumerate() {
        (before[at], after[at]) = (pads[n], pads[n + list.len()]);
        let longer = i.net.sizes.of(Arith::Add, shape[at], before[at]);
        shape[at] = i.net.sizes.of(Arith::Add, longer, after[at]);
        if !i.net.sizes.require(&[shape[at]], |len| len[0] >= 1.0) {
            return Err("nothing is left of the tensor".into());
        }
    }
    if nothing {
        return one(x);
    }
    one(i.emit(Op::Pad { before, after, value }, vec![x], shape)?)
}

fn resize<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let (shape, _) = map(i, c.input(0)?)?;
    // Ten and before, and Upsample: scales alone, nearest neighbours rounded down, no shift of half a pixel.
    let old = c.node.op_type == "Upsample" || i.opset < 11;
    let mode = c.text("mode")?.unwrap_or("nearest");
    let told = c.text("coordinate_transformation_mode")?;
    let coordinates = match told.unwrap_or(if old { "asymmetric" } else { "half_pixel" }) {
        "half_pixel" => Coordinates::HalfPixel,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        "tf_half_pixel_for_nn" => Coordinates::TfHalfPixelForNn,
        other => {
            return instead(
                format!("coordinate_transformation_mode {}", super::quoted(other)),
                "half_pixel, pytorch_half_pixel, align_corners and asymmetric are supported",
            );
        }
    };
    let rounding = c.text("nearest_mode")?.unwrap_or(if old { "floor" } else { "round_prefer_floor" });
    let mode = match (mode, rounding) {
        ("nearest", "floor") => ResizeMode::Nearest(Nearest::Floor),
        ("nearest", "ceil") => ResizeMode::Nearest(Nearest::Ceil),
        ("nearest", "round_prefer_floor") => ResizeMode::Nearest(Nearest::RoundPreferFloor),
        ("nearest", "round_prefer_ceil") => ResizeMode::Nearest(Nearest::RoundPreferCeil),
        ("linear" | "bilinear", _) => ResizeMode::Linear,
        (other, _) => {
            return instead(format!("mode {}", super::quoted(other)), "nearest and linear are supported");
        }
    };
    c.ignore(&["cubic_coeff_a", "extrapolation_value", "exclude_outside"]);
    if c.int("antialias")?.unwrap_or(0) != 0 {
        return instead("antialias is set", "resizing without it is supported");
    }
    if c.text("keep_aspect_ratio_policy")?.is_some_and(|policy| policy != "stretch") {
        return instead("keep_aspect_ratio_policy is set", "sizes given outright are supported");
    }
    let list = c.ints("axes")?.unwrap_or_else(|| (0..4).collect());
    let list = list.iter().map(|&at| axis(at, 4)).collect::<Imported<Vec<_>>>()?;
    let (scales, sizes) = if old { (1, 4) } else { (2, 3) };
    let present = |value: &&Value<'a>| match value {
        Value::Constant(constant) => constant.count() > 0,
        Value::Numbers(numbers) => !numbers.array.items.is_empty(),
        _ => true,
    };
    let attribute = c.floats("scales")?;
    let scales = match (attribute, c.optional(scales).filter(present)) {
        (Some(list), _) => Some(list.into_iter().map(|scale| i.net.sizes.known(scale.into())).collect()),
        (None, Some(value)) => Some(i.numbers(&value.clone(), "the scale")?),
        (None, None) => None,
    };
    let mut made = shape.clone();
    let mut known_scales = None;
    if let Some(scales) = scales {
        let scales: Vec<Num> = scales;
        if scales.len() != list.len() {
            return Err(format!("{} scales for {} axes", scales.len(), list.len()).into());
        }
        let mut told = [1.0f32; 4];
        for (&at, &scale) in list.iter().zip(&scales) {
            told[at] = i.net.sizes.value(scale).unwrap_or(f64::NAN) as f32;
            let zero = i.net.sizes.int(0);
            let exact = i.net.sizes.mul(shape[at], scale);
            made[at] = i.net.sizes.of(Arith::Floor, exact, zero);
        }
        known_scales = Some([told[2], told[3]]).filter(|scales| scales.iter().all(|scale| !scale.is_nan()));
    } else {
        let Some(value) = c.optional(sizes).filter(present) else {
            return Err("neither scales nor sizes are given".into());
        };
        let told = i.numbers(&value.clone(), "the size")?;
        if told.len() != list.len() {
            return Err(format!("{} sizes for {} axes", told.len(), list.len()).into());
        }
        list.iter().zip(told).for_each(|(&at, len)| made[at] = len);
    }
    if !i.net.sizes.same(made[0], shape[0]) || !i.net.sizes.same(made[1], shape[1]) {
        return Err("it resizes the batch or the channels".into());
    }
    if !i.net.sizes.require(&made[2..], |sides| sides.iter().all(|&side| side >= 1.0)) {
        return Err("nothing is left of the map".into());
    }
    if i.net.sizes.same(made[2], shape[2]) && i.net.sizes.same(made[3], shape[3]) {
        return one(c.input(0)?.clone());
    }
    let resize = Resize { mode, coordinates, scales: known_scales };
    one(i.emit(Op::Resize(resize), vec![c.input(0)?.clone()], made)?)
}

/// `[N, C, H, W]` cut into pieces, their axes permuted, and put together again.
fn shuffle_pixels<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>, up: bool) -> Outputs<'a> {
    let (shape, channels) = map(i, c.input(0)?)?;
    let block = counts(&[c.int("blocksize")?.ok_or("blocksize is missing")?], "blocksize")?[0];
    let columns_first = match c.text("mode")?.unwrap_or("DCR") {
        "DCR" => true,
        "CRD" => false,
        other => return Err(format!("mode {}", super::quoted(other)).into()),
    };
    let by = i.net.sizes.len(block);
    let square = block.saturating_mul(block);
    if block == 0 || up && channels % square != 0 {
        return Err(format!("blocks of {block}x{block} in {channels} channels").into());
    }
    let [n, _, h, w] = shape[..] else { unreachable!("map checked the dimensions") };
    let x = c.input(0)?.clone();
    if up {
        let less = i.net.sizes.len(channels / square);
        let (cut, perm) = if columns_first {
            (vec![n, by, by, less, h, w], vec![0, 3, 4, 1, 5, 2])
        } else {
            (vec![n, less, by, by, h, w], vec![0, 1, 4, 2, 5, 3])
        };
        let cut_up = i.emit(Op::Reshape, vec![x], cut.clone())?;
        let moved = perm.iter().map(|&at| cut[at]).collect();
        let turned = i.emit(Op::Transpose(perm), vec![cut_up], moved)?;
        let made = vec![n, less, i.net.sizes.mul(h, by), i.net.sizes.mul(w, by)];
        return one(i.emit(Op::Reshape, vec![turned], made)?);
    }
    if !i.net.sizes.require(&[h, w, by], |v| v[0] % v[2] == 0.0 && v[1] % v[2] == 0.0) {
        return Err(format!("blocks of {block}x{block} in {}", i.net.sizes.show_all(&shape[2..])).into());
    }
    let (rows, columns) = (i.net.sizes.of(Arith::FloorDiv, h, by), i.net.sizes.of(Arith::FloorDiv, w, by));
    let cut = vec![n, shape[1], rows, by, columns, by];
    let cut_up = i.emit(Op::Reshape, vec![x], cut.clone())?;
    let perm = vec![0, 3, 5, 1, 2, 4];
    let moved = perm.iter().map(|&at| cut[at]).collect();
    let turned = i.emit(Op::Transpose(perm), vec![cut_up], moved)?;
    let more = i.net.sizes.len(channels.saturating_mul(square));
    one(i.emit(Op::Reshape, vec![turned], vec![n, more, rows, columns])?)
}

fn depth_to_space<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    shuffle_pixels(i, c, true)
}

fn space_to_depth<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    shuffle_pixels(i, c, false)
}

// Nothing at run time.

fn dropout<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    c.ignore(&["ratio", "seed", "is_test"]);
    if let Some(value) = c.optional(2)
        && i.floats(value).map_or(true, |flag| flag.items != [0.0])
    {
        return instead("it is in training mode", "export the network after model.eval()");
    }
    if c.node.outputs.get(1).is_some_and(|name| !name.is_empty()) {
        return Err("its mask is asked for".into());
    }
    one(c.input(0)?.clone())
}

fn cast<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    c.ignore(&["saturate", "round_mode"]);
    let to = c.int("to")?.ok_or("to is missing")?;
    cast_to(i, c.input(0)?, to)
}

fn cast_to<'a>(i: &mut Importer<'_, 'a>, x: &Value<'a>, to: i64) -> Outputs<'a> {
    let float = matches!(to, 1 | 10 | 11 | 16);
    if !float && !matches!(to, 2..=7 | 9 | 12 | 13) {
        return Err(format!("to {}", data_type(to)).into());
    }
    match x {
        Value::Data(_) if float == !i.is_int(x) => one(x.clone()),
        // From here on it is another tensor, of real numbers.
        Value::Data(node) if float => {
            let shape = i.net.nodes[*node].shape.clone();
            one(Value::Data(i.push(Op::Affine(Affine::uniform(1.0, 0.0)), vec![*node], shape)))
        }
        Value::Data(_) => instead(
            format!("computed numbers become {}", data_type(to)),
            "networks are run in float32; cut the file before its post-processing",
        ),
        Value::Constant(constant) if float && constant.dtype.is_float() => one(x.clone()),
        _ => {
            let Some(numbers) = i.small(x)? else { return Err("a large constant of integers".into()) };
            let zero = i.net.sizes.int(0);
            let one_only = i.net.sizes.int(1);
            let mut items = Vec::with_capacity(numbers.array.items.len());
            for &num in &numbers.array.items {
                items.push(match to {
                    9 => {
                        let is_zero = i.net.sizes.of(Arith::Equal, num, zero);
                        i.net.sizes.of(Arith::Sub, one_only, is_zero)
                    }
                    _ if float || numbers.int => num,
                    _ => i.net.sizes.of(Arith::Trunc, num, zero),
                });
            }
            let array = Arc::new(Array::new(numbers.array.shape.clone(), items));
            one(Value::Numbers(Numbers { array, int: !float }))
        }
    }
}

fn cast_like<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    c.ignore(&["saturate", "round_mode"]);
    let to = if i.is_int(c.input(1)?) { 7 } else { 1 };
    cast_to(i, c.input(0)?, to)
}

fn constant<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    if let Some(tensor) = c.tensor("value")? {
        return one(Value::Constant(Arc::new(Constant::of(&tensor, i.folder)?)));
    }
    let ints = match (c.int("value_int")?, c.ints("value_ints")?) {
        (Some(item), _) => Some(Array::scalar(item)),
        (None, items) => items.map(Array::vector),
    };
    if let Some(array) = ints {
        let items = array.items.iter().map(|&item| i.net.sizes.int(item)).collect();
        return one(Value::Numbers(Numbers { array: Arc::new(Array::new(array.shape, items)), int: true }));
    }
    let floats = match (c.float("value_float")?, c.floats("value_floats")?) {
        (Some(item), _) => Some(Array::scalar(item)),
        (None, items) => items.map(Array::vector),
    };
    match floats {
        Some(array) => one(Value::Constant(Arc::new(Constant::made(array)))),
        None => Err("neither a dense tensor nor numbers".into()),
    }
}

// Arithmetic on sizes.

fn shape<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let all = i.shape(c.input(0)?)?;
    let rank = all.len() as i64;
    let bound = |told: Option<i64>, default: i64| {
        let told = told.unwrap_or(default);
        (if told < 0 { told + rank } else { told }).clamp(0, rank) as usize
    };
    let (start, end) = (bound(c.int("start")?, 0), bound(c.int("end")?, rank));
    let items = all.get(start..end).unwrap_or(&[]).to_vec();
    one(Value::Numbers(Numbers { array: Arc::new(Array::vector(items)), int: true }))
}

fn size<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let all = i.shape(c.input(0)?)?;
    let product = i.net.sizes.product(&all);
    one(Value::Numbers(Numbers { array: Arc::new(Array::scalar(product)), int: true }))
}

/// The only number of a value.
fn number<'a>(i: &mut Importer<'_, 'a>, value: &Value<'a>, what: &str) -> Imported<Num> {
    match &i.numbers(value, what)?[..] {
        &[num] => Ok(num),
        list => Err(format!("{what}: expected one number, found {}", list.len()).into()),
    }
}

fn range<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let int = i.is_int(c.input(0)?);
    let start = number(i, c.input(0)?, "the start")?;
    let limit = number(i, c.input(1)?, "the limit")?;
    let step = number(i, c.input(2)?, "the step")?;
    let zero = i.net.sizes.int(0);
    let distance = i.net.sizes.of(Arith::Sub, limit, start);
    let steps = i.net.sizes.of(Arith::Div, distance, step);
    let steps = i.net.sizes.of(Arith::Ceil, steps, zero);
    let count = i.net.sizes.of(Arith::Max, steps, zero);
    let Some(count) = i.net.sizes.count(count).filter(|&count| count <= 1 << 14) else {
        let node = i.push(Op::Range { start, step }, vec![], vec![count]);
        if int {
            i.mark_int(node);
        }
        return one(Value::Data(node));
    };
    let mut items = Vec::with_capacity(count);
    let mut next = start;
    for _ in 0..count {
        items.push(next);
        next = i.net.sizes.of(Arith::Add, next, step);
    }
    one(Value::Numbers(Numbers { array: Arc::new(Array::vector(items)), int }))
}

fn constant_of_shape<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let (value, int) = match c.tensor("value")? {
        None => (0.0, false),
        Some(tensor) => {
            let constant = Constant::of(&tensor, i.folder)?;
            let value = constant.doubles(i.folder)?;
            (*value.first().ok_or("an empty value")?, !constant.dtype.is_float())
        }
    };
    let shape = i.numbers(c.input(0)?, "the shape")?;
    let scalar = if int {
        let num = i.net.sizes.known(value);
        Value::Numbers(Numbers { array: Arc::new(Array::scalar(num)), int })
    } else {
        Value::Constant(Arc::new(Constant::made(Array::scalar(value as f32))))
    };
    one(i.emit(Op::Expand, vec![scalar], shape)?)
}

/// Two tensors of numbers, element by element.
fn on_numbers<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>, arith: Arith) -> Imported<Numbers> {
    let (a, b) = (i.small(c.input(0)?)?, i.small(c.input(1)?)?);
    let (Some(a), Some(b)) = (a, b) else {
        return instead(
            "it compares computed numbers",
            "arithmetic on sizes is supported; cut the file before its post-processing",
        );
    };
    let sizes = &mut i.net.sizes;
    let array = super::array::broadcast(&a.array, &b.array, |&a, &b| sizes.of(arith, a, b));
    let array = array.ok_or("shapes that do not fit each other")?;
    Ok(Numbers { array: Arc::new(array), int: a.int && b.int })
}

/// A comparison, with its sides exchanged or its answer negated.
fn compare<'a>(
    i: &mut Importer<'_, 'a>,
    c: &Call<'_, 'a>,
    arith: Arith,
    exchanged: bool,
    negated: bool,
) -> Outputs<'a> {
    let mut numbers = if exchanged {
        let inputs = vec![c.optional(1).cloned(), c.optional(0).cloned()];
        on_numbers(i, &c.with_inputs(inputs), arith)?
    } else {
        on_numbers(i, c, arith)?
    };
    numbers.int = true;
    if negated { negate(i, &numbers) } else { one(Value::Numbers(numbers)) }
}

fn negate<'a>(i: &mut Importer<'_, 'a>, numbers: &Numbers) -> Outputs<'a> {
    let only = i.net.sizes.int(1);
    let items = numbers.array.items.iter().map(|&num| i.net.sizes.of(Arith::Sub, only, num)).collect();
    let array = Arc::new(Array::new(numbers.array.shape.clone(), items));
    one(Value::Numbers(Numbers { array, int: true }))
}

fn not<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    match i.small(c.input(0)?)? {
        Some(numbers) => negate(i, &numbers),
        None => Err("it negates computed numbers".into()),
    }
}

fn modulo<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    if c.int("fmod")?.unwrap_or(0) != 0 {
        return Err("fmod is set".into());
    }
    one(Value::Numbers(on_numbers(i, c, Arith::Mod)?))
}

fn select<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let Some(condition) = i.small(c.input(0)?)? else {
        return instead("its condition is computed from the image", "Clip and Relu say the usual conditions");
    };
    // The same everywhere: one of the two, if that has the shape of the result.
    let first = condition.array.items.first().and_then(|&num| i.net.sizes.value(num));
    let same = |num: &Num| i.net.sizes.value(*num).is_some() && i.net.sizes.value(*num) == first;
    if condition.array.items.iter().all(same) {
        let chosen = c.input(if first == Some(0.0) { 2 } else { 1 })?.clone();
        let (a, b) = (i.shape(c.input(1)?)?, i.shape(c.input(2)?)?);
        let shape = broadcast(i, &a, &b)?;
        let of_condition: Vec<Num> = condition.array.shape.iter().map(|&len| i.net.sizes.len(len)).collect();
        let shape = broadcast(i, &shape, &of_condition)?;
        let found = i.shape(&chosen)?;
        if found.len() == shape.len() && found.iter().zip(&shape).all(|(&a, &b)| i.net.sizes.same(a, b)) {
            return one(chosen);
        }
        return one(i.emit(Op::Expand, vec![chosen], shape)?);
    }
    let (a, b) = (i.small(c.input(1)?)?, i.small(c.input(2)?)?);
    let (Some(a), Some(b)) = (a, b) else {
        return Err("it chooses between computed tensors element by element".into());
    };
    // c a + (1 - c) b
    let sizes = &mut i.net.sizes;
    let only = sizes.int(1);
    let first = super::array::broadcast(&condition.array, &a.array, |&c, &a| sizes.of(Arith::Mul, c, a));
    let second = super::array::broadcast(&condition.array, &b.array, |&c, &b| {
        let not = sizes.of(Arith::Sub, only, c);
        sizes.of(Arith::Mul, not, b)
    });
    let both = first
        .zip(second)
        .and_then(|(a, b)| super::array::broadcast(&a, &b, |&a, &b| sizes.of(Arith::Add, a, b)));
    let array = both.ok_or("shapes that do not fit each other")?;
    one(Value::Numbers(Numbers { array: Arc::new(array), int: a.int && b.int }))
}
