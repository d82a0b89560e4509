//! From a [`Net`] to a [`Graph`]: what can be said of maps and channels becomes nodes of the graph; what cannot, and
//! stands behind the last map, is left to [`tail`](super::tail).

use super::array;
use super::import::MAX_REFUSALS;
use super::net::{
    self, Affine, Binary, Coordinates, Nearest, Net, Op, Padding, Pool, PoolKind, Reduce, ResizeMode, Unary,
    Weights,
};
use super::patterns::folded;
use super::sizes::Num;
use super::tensor::Folder;
use super::view::{Piece, View, channel_piece};
use crate::Error;
use crate::graph::{self, Graph, Parameters, Value};
use crate::images::Layout;
use kernels::{Activation, Window};
use std::borrow::Cow;
use std::sync::Arc;

/// Why a node is no node of a graph.
#[derive(Clone, Debug)]
pub(crate) struct Why {
    pub(crate) why: String,
    pub(crate) instead: Option<&'static str>,
}

impl<T: Into<String>> From<T> for Why {
    fn from(why: T) -> Self {
        Self { why: why.into(), instead: None }
    }
}

fn why<T>(why: impl Into<String>, instead: &'static str) -> Result<T, Why> {
    Err(Why { why: why.into(), instead: Some(instead) })
}

/// Maps of more channels are refused: tables of channels stay small, whatever a file says.
const MAX_CHANNELS: usize = 1 << 15;

/// What a node of the net became.
#[derive(Clone, Debug)]
pub(crate) enum Lowered {
    /// A node of the graph, or another look at one.
    View(View),
    /// Computed behind the graph, for that reason.
    Tail(Why),
    /// Neither. There may be something of its shape, to look at the nodes behind it all the same.
    Refused(Why, Option<View>),
    /// It reads what a refused node would have made.
    Unseen,
    /// No output needs it.
    Dead,
}

/// A network as a graph, with what its nodes need to be packed.
#[derive(Debug)]
pub(crate) struct Lowering<'n, 'a> {
    pub(crate) net: &'n mut Net<'a>,
    pub(crate) graph: Graph,
    pub(crate) lowered: Vec<Lowered>,
    /// The file's inputs, and in which order their numbers come.
    pub(crate) inputs: Vec<(Value, Layout)>,
    parameters: Vec<Option<Numbers>>,
    folder: Folder<'n>,
}

/// What the file says about a node of the graph.
#[derive(Clone, Debug)]
enum Numbers {
    /// `order` says which of the file's weights of an output channel each of the graph's is; none of them: zero.
    Weights {
        weights: Weights,
        groups: usize,
        order: Option<Arc<[Option<usize>]>>,
    },
    /// A depthwise convolution of one tap.
    Scale(Weights),
    Affine {
        scale: Arc<[f32]>,
        shift: Arc<[f32]>,
    },
}

impl Lowering<'_, '_> {
    /// The numbers of a node of the graph, read from the file and folded; none where it has none.
    pub(crate) fn numbers(&self, value: Value) -> Result<Option<Parameters<'static>>, Error> {
        let failed = |why: String| Error::Graph { node: self.graph.node(value).name.clone(), why };
        Ok(match self.parameters.get(value.index()) {
            Some(Some(Numbers::Weights { weights, groups, order })) => {
                let (oc, tensor) = (&weights.oc, self.net.constants[weights.tensor].floats(self.folder));
                let (mut weights, bias) = folded(weights, *groups, tensor.map_err(failed)?);
                if let Some(order) = order {
                    let row = weights.len() / *oc;
                    let turned = weights
                        .chunks_exact(row)
                        .flat_map(|from| order.iter().map(|at| at.map_or(0.0, |at| from[at])));
                    weights = turned.collect();
                }
                Some(Parameters { weights: weights.into(), bias: bias.map(Cow::Owned), batch_norm: None })
            }
            Some(Some(Numbers::Scale(weights))) => {
                let tensor = self.net.constants[weights.tensor].floats(self.folder).map_err(failed)?;
                let (scale, shift) = folded(weights, weights.oc, tensor);
                let shift = shift.unwrap_or_else(|| vec![0.0; scale.len()]);
                Some(Parameters { weights: scale.into(), bias: Some(shift.into()), batch_norm: None })
            }
            Some(Some(Numbers::Affine { scale, shift })) => Some(Parameters {
                weights: Cow::Owned(scale.to_vec()),
                bias: Some(Cow::Owned(shift.to_vec())),
                batch_norm: None,
            }),
            _ => None,
        })
    }
}

/// A window that hangs over the map by its whole size or more, as one with a rim of zeros that does not; and where the
/// weights of an output channel of so many input channels go.
fn hanging_in(
    window: &net::Window,
    dilation: [usize; 2],
    channels: usize,
) -> (net::Window, Option<Arc<[Option<usize>]>>) {
    let Padding::Sides(sides) = window.padding else { return (*window, None) };
    let mut rim = [0; 2];
    for side in 0..2 {
        let hangs = sides[side].max(sides[side + 2]);
        rim[side] = (hangs + 1).saturating_sub(window.kernel[side]);
    }
    if rim == [0, 0] || dilation != [1, 1] || rim[0].max(rim[1]) > 8 {
        return (*window, None);
    }
    let [kh, kw] = window.kernel;
    let [height, width] = [kh + 2 * rim[0], kw + 2 * rim[1]];
    let mut order = Vec::with_capacity(channels * height * width);
    for at in 0..channels * height * width {
        let (channel, row, column) = (at / (height * width), at / width % height, at % width);
        let tap = row
            .checked_sub(rim[0])
            .filter(|&row| row < kh)
            .zip(column.checked_sub(rim[1]).filter(|&c| c < kw));
        order.push(tap.map(|(row, column)| (channel * kh + row) * kw + column));
    }
    let padding = Padding::Sides(std::array::from_fn(|side| sides[side] + rim[side % 2]));
    (net::Window { kernel: [height, width], padding, ..*window }, Some(order.into()))
}

/// Per node, whether something behind it runs in the graph alone.
fn before_the_graph(net: &Net<'_>) -> Vec<bool> {
    let live = net.live();
    let mut before = vec![false; net.nodes.len()];
    for (index, node) in net.nodes.iter().enumerate().rev().filter(|(index, _)| live[*index]) {
        if before[index] || !array::computes(&node.op) && !matches!(node.op, Op::Refused) {
            node.inputs.iter().for_each(|&input| before[input] = true);
        }
    }
    before
}

/// Whether a file's input has the channels on its last axis: what reads it first says so, or else their number.
fn channels_last(net: &Net<'_>, node: usize, shape: &[Num]) -> bool {
    let mut same = vec![false; net.nodes.len()];
    same[node] = true;
    for (index, reader) in net.nodes.iter().enumerate().skip(node + 1) {
        if !reader.inputs.iter().any(|&input| same[input]) {
            continue;
        }
        match &reader.op {
            Op::Transpose(perm) if perm[..] == [0, 3, 1, 2] => return true,
            Op::Conv(_) | Op::Pool(_) => return false,
            // Normalisation leaves the axes where they are.
            Op::Affine(_) | Op::Unary(_) | Op::WithArray { .. } => same[index] = true,
            _ => {}
        }
    }
    let small = |num: Num| net.sizes.count(num).is_some_and(|len| len <= 4);
    small(shape[3]) && !small(shape[1])
}

impl<'n, 'a> Lowering<'n, 'a> {
    /// Lowers every node that an output needs. `name` says what a node is called.
    pub(crate) fn new(net: &'n mut Net<'a>, folder: Folder<'n>, name: &dyn Fn(&net::Node) -> String) -> Self {
        let (live, before) = (net.live(), before_the_graph(net));
        let count = net.nodes.len();
        let mut lowering = Self {
            net,
            graph: Graph::new(),
            lowered: Vec::with_capacity(count),
            inputs: Vec::new(),
            parameters: Vec::new(),
            folder,
        };
        let mut refused = 0;
        for node in 0..count {
            if refused == MAX_REFUSALS {
                lowering.lowered.push(Lowered::Unseen);
                continue;
            }
            let input = matches!(lowering.net.nodes[node].op, Op::Input);
            if !live[node] && !input {
                lowering.lowered.push(Lowered::Dead);
                continue;
            }
            let unseen = |&input: &usize| {
                matches!(lowering.lowered[input], Lowered::Unseen | Lowered::Refused(_, None))
            };
            if lowering.net.nodes[node].inputs.iter().any(unseen) {
                lowering.lowered.push(Lowered::Unseen);
                continue;
            }
            let called = name(&lowering.net.nodes[node]);
            let lowered = match lowering.node(node, &called) {
                Ok(view) => Lowered::View(view),
                Err(why) if !before[node] && array::computes(&lowering.net.nodes[node].op) => {
                    Lowered::Tail(why)
                }
                Err(why) => {
                    refused += 1;
                    Lowered::Refused(why, lowering.stand_in(node))
                }
            };
            lowering.lowered.push(lowered);
        }
        lowering
    }

    /// Something of a refused node's shape.
    fn stand_in(&mut self, node: usize) -> Option<View> {
        let net::Node { op, inputs, shape, .. } = &self.net.nodes[node];
        let same = |&input: &usize| {
            let from = &self.net.nodes[input].shape;
            let same =
                from.len() == shape.len() && from.iter().zip(shape).all(|(&a, &b)| self.net.sizes.same(a, b));
            self.view(input).ok().filter(|_| same)
        };
        let keeps = matches!(
            op,
            Op::Unary(_)
                | Op::Affine(_)
                | Op::PRelu { .. }
                | Op::LayerNorm { .. }
                | Op::Binary(_)
                | Op::WithArray { .. }
                | Op::Softmax { .. }
                | Op::Refused
        );
        if let (true, Some(view)) = (keeps, inputs.iter().find_map(same)) {
            return Some(view);
        }
        let &[n, c, h, w] = &shape[..] else { return None };
        let channels = self.net.sizes.count(c)?;
        let image = self.graph.inputs().next()?;
        let value = self.push("", graph::Conv::new(channels, Window::new(1)), &[image], None).ok()?;
        Some(View::map(&self.net.sizes, value, channels, [n, h, w]))
    }

    /// The view that a node reads.
    fn view(&self, input: usize) -> Result<View, Why> {
        match &self.lowered[input] {
            Lowered::View(view) => Ok(view.clone()),
            Lowered::Refused(_, Some(view)) => Ok(view.clone()),
            Lowered::Tail(_) | Lowered::Refused(_, None) | Lowered::Unseen | Lowered::Dead => {
                Err("it reads a tensor that is no map of channels".into())
            }
        }
    }

    /// A map with its channels in order.
    fn map(&mut self, input: usize) -> Result<View, Why> {
        let view = self.view(input)?;
        if !view.is_map() {
            let shape = self.net.sizes.show_all(&self.net.nodes[input].shape);
            return Err(
                format!("expected [batch, channels, height, width], found {shape} of other axes").into()
            );
        }
        self.in_order(&view)
    }

    /// The same tensor in a value whose channels lie in the order of its axes.
    fn in_order(&mut self, view: &View) -> Result<View, Why> {
        if view.is_in_order() {
            return Ok(view.clone());
        }
        let value = self.select(view.value, view.channels, &view.order())?;
        Ok(view.renamed(value))
    }

    /// Some channels of a value, in some order: nothing moves.
    fn select(&mut self, value: Value, channels: usize, order: &[usize]) -> Result<Value, Why> {
        let range = |order: &[usize]| order.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        if range(order) {
            return match order.len() {
                len if len == channels => Ok(value),
                len => self.push("", graph::Op::Channels(order[0]..order[0] + len), &[value], None),
            };
        }
        for groups in (2..channels).filter(|groups| channels.is_multiple_of(*groups)) {
            let shuffled = |at: usize| at % groups * (channels / groups) + at / groups;
            // Where the first of them comes to lie.
            let each = channels / groups;
            let start = order[0] % each * groups + order[0] / each;
            if start + order.len() <= channels && (0..order.len()).all(|i| shuffled(start + i) == order[i]) {
                let value = self.push("", graph::Op::Shuffle(groups), &[value], None)?;
                let range: Vec<usize> = (start..start + order.len()).collect();
                return self.select(value, channels, &range);
            }
        }
        let mut parts = Vec::new();
        for run in order.chunk_by(|a, b| a + 1 == *b) {
            parts.push(self.select(value, channels, run)?);
        }
        self.push("", graph::Op::Concat, &parts, None)
    }

    fn push(
        &mut self,
        name: &str,
        op: impl Into<graph::Op>,
        inputs: &[Value],
        numbers: Option<Numbers>,
    ) -> Result<Value, Why> {
        let value = self.graph.named(name, op, inputs).map_err(|error| match error {
            Error::Graph { why, .. } => why,
            other => other.to_string(),
        })?;
        if self.graph.node(value).channels > MAX_CHANNELS {
            return Err(format!("a map of more than {MAX_CHANNELS} channels").into());
        }
        self.parameters.resize(value.index(), None);
        self.parameters.push(numbers);
        Ok(value)
    }

    fn node(&mut self, index: usize, name: &str) -> Result<View, Why> {
        let node = self.net.nodes[index].clone();
        let inputs = &node.inputs;
        match &node.op {
            Op::Input => self.input(index, &node.shape, name),
            Op::Conv(conv) => self.conv(inputs[0], conv, &node.shape, name),
            Op::Linear(weights) => self.linear(inputs[0], weights, name),
            Op::Affine(affine) => self.affine(inputs[0], affine, name),
            Op::Unary(unary) => self.unary(inputs[0], *unary, name),
            Op::Binary(binary) => self.binary(*binary, inputs[0], inputs[1], name),
            Op::Pool(pool) => self.pool(inputs[0], pool, &node.shape, name),
            Op::Reduce { reduce, axes, keep } => self.reduce(inputs[0], *reduce, axes, *keep, name),
            Op::Concat(axis) => self.concat(inputs, *axis, name),
            Op::Slice { axis, start, step } => {
                let count = self.net.sizes.count(node.shape[*axis]);
                let start = self.net.sizes.count(*start);
                let (Some(count), Some(start)) = (count, start) else {
                    return Err("where it cuts depends on the size of the image".into());
                };
                self.part(inputs[0], *axis, &|at| (start as i64 + at as i64 * step) as usize, count)
            }
            Op::Gather { axis, indices } => self.part(inputs[0], *axis, &|at| indices[at], indices.len()),
            Op::Reshape => {
                let view = self.view(inputs[0])?;
                let reshaped = view.reshaped(&mut self.net.sizes, &node.shape);
                reshaped.ok_or_else(|| {
                    let [from, to] =
                        [&self.net.nodes[inputs[0]].shape, &node.shape].map(|s| self.net.sizes.show_all(s));
                    format!("{from} becomes {to} across rows or columns").into()
                })
            }
            Op::Transpose(perm) => Ok(self.view(inputs[0])?.transposed(perm)),
            Op::Resize(resize) => self.resize(inputs[0], resize, &node.shape, name),
            Op::PRelu { .. } => why("PRelu", "LeakyRelu has one slope for all channels"),
            Op::LayerNorm { .. } => Err("layer normalisation".into()),
            Op::Pad { .. } => Err("padding that no convolution or pooling behind it can take over".into()),
            Op::Softmax { .. } => Err("Softmax".into()),
            Op::Expand => Err("a tensor that is repeated".into()),
            Op::WithArray { .. } => Err("constants that vary along more than one axis".into()),
            Op::Numbers(_) | Op::Constant(_) => Err("numbers that are not computed from the image".into()),
            Op::Range { .. } => Err("numbers that are not computed from the image".into()),
            Op::Refused => Err("a refused node".into()),
        }
    }

    fn input(&mut self, node: usize, shape: &[Num], name: &str) -> Result<View, Why> {
        let &[n, ..] = shape else { return Err("an input without dimensions".into()) };
        if shape.len() != 4 {
            let shape = self.net.sizes.show_all(shape);
            return why(
                format!("expected an image, [batch, channels, height, width], found {shape}"),
                "networks on images are run",
            );
        }
        let last = channels_last(self.net, node, shape);
        let (c, h, w) = if last { (shape[3], shape[1], shape[2]) } else { (shape[1], shape[2], shape[3]) };
        let Some(channels) = self.net.sizes.count(c) else {
            return why("the number of channels is open", "export with the number of channels fixed");
        };
        let size = self.net.sizes.count(h).zip(self.net.sizes.count(w));
        let value = self.push(name, graph::Op::Input { channels, size }, &[], None)?;
        self.inputs.push((value, if last { Layout::Nhwc } else { Layout::Nchw }));
        let mut view = View::map(&self.net.sizes, value, channels, [n, h, w]);
        if last {
            view = view.transposed(&[0, 2, 3, 1]);
        }
        Ok(view)
    }

    /// What slides, as the kernels have it.
    fn window(&self, view: &View, window: &net::Window, dilation: [usize; 2]) -> Result<Window, Why> {
        let padding = match window.padding {
            Padding::Sides([top, left, bottom, right]) => {
                kernels::Padding::Sides { top, bottom, left, right }
            }
            Padding::SameUpper => kernels::Padding::Same,
            Padding::SameLower => {
                let sides = [0, 1].map(|side| {
                    let len = self.net.sizes.count(view.extents[1 + side])?;
                    let (kernel, stride) = (window.kernel[side], window.stride[side]);
                    let total = (len.div_ceil(stride) - 1) * stride + (kernel - 1) * dilation[side] + 1;
                    let total = total.saturating_sub(len);
                    Some((total.div_ceil(2), total / 2))
                });
                let [Some((top, bottom)), Some((left, right))] = sides else {
                    return why("auto_pad SAME_LOWER at an open size", "pads, SAME_UPPER, or a fixed size");
                };
                kernels::Padding::Sides { top, bottom, left, right }
            }
        };
        Ok(Window { kernel: window.kernel, stride: window.stride, dilation, padding })
    }

    fn conv(&mut self, input: usize, conv: &net::Conv, shape: &[Num], name: &str) -> Result<View, Why> {
        let view = self.map(input)?;
        if conv.transposed.is_some() {
            return why("a transposed convolution", "Resize and a convolution");
        }
        let extents = [shape[0], shape[2], shape[3]];
        let oc = conv.weights.oc;
        let one_tap = conv.window.kernel == [1, 1] && conv.window.stride == [1, 1];
        if one_tap
            && conv.window.padding == Padding::Sides([0; 4])
            && conv.groups == oc
            && oc == view.channels
        {
            let numbers = Numbers::Scale(conv.weights.clone());
            let value = self.push(name, graph::Op::Affine(Activation::None), &[view.value], Some(numbers))?;
            return Ok(View::map(&self.net.sizes, value, oc, extents));
        }
        let (window, order) = hanging_in(&conv.window, conv.dilation, view.channels / conv.groups);
        let op = graph::Conv {
            oc,
            window: self.window(&view, &window, conv.dilation)?,
            groups: conv.groups,
            bias: conv.weights.bias.is_some() || conv.weights.input.is_some(),
            batch_norm: false,
            activation: Activation::None,
        };
        let numbers = Numbers::Weights { weights: conv.weights.clone(), groups: conv.groups, order };
        let value = self.push(name, op, &[view.value], Some(numbers))?;
        Ok(View::map(&self.net.sizes, value, oc, extents))
    }

    /// Over the last axis: a 1x1 convolution where there are pixels beside it, a window as large as the map where the
    /// map was flattened.
    fn linear(&mut self, input: usize, weights: &Weights, name: &str) -> Result<View, Why> {
        let view = self.view(input)?;
        let oc = weights.oc;
        let last = view.axes.len() - 1;
        let (bias, one) = (weights.bias.is_some() || weights.input.is_some(), self.net.sizes.int(1));
        let numbers = |order| Numbers::Weights { weights: weights.clone(), groups: 1, order };
        if view.channel_axis() == Some(last) || view.channels == 1 && view.axes[last].is_empty() {
            let view = self.in_order(&view)?;
            let pixels = [view.extents[1], view.extents[2]];
            let one_pixel = pixels.iter().all(|&side| self.net.sizes.same(side, one));
            let value = if one_pixel {
                let op = graph::Op::Linear(graph::Linear { oc, bias, activation: Activation::None });
                self.push(name, op, &[view.value], Some(numbers(None)))?
            } else {
                let mut conv = graph::Conv::new(oc, Window::new(1));
                conv.bias = bias;
                self.push(name, conv, &[view.value], Some(numbers(None)))?
            };
            let mut axes = view.axes.clone();
            axes[last] = channel_piece(oc);
            return Ok(View { value, channels: oc, axes, ..view });
        }
        // A flattened map: [batch, all the rest].
        let flat = view.axes.len() == 2 && view.axes[0][..] == [Piece::Batch];
        let sides = self.net.sizes.count(view.extents[1]).zip(self.net.sizes.count(view.extents[2]));
        let (true, Some((h, w))) = (flat, sides) else {
            return Err("a matrix product over an axis that is not that of the channels".into());
        };
        let inner: Vec<Piece> = view.axes[1].clone();
        let channel_view = View {
            axes: vec![inner.iter().copied().filter(|p| matches!(p, Piece::Channel { .. })).collect()],
            ..view.clone()
        };
        let ordered = self.in_order(&channel_view)?;
        // Where each weight of [channels, rows, columns] lies in the file's order.
        let c = ordered.channels;
        let mut order = vec![None; c * h * w];
        let mut strides = [0; 3];
        let mut stride = 1;
        for piece in inner.iter().rev() {
            let (which, len) = match piece {
                Piece::Row => (1, h),
                Piece::Column => (2, w),
                // Channels cut in two by rows or columns are beyond this.
                Piece::Channel { .. } if strides[0] != 0 => {
                    return Err("channels on both sides of the pixels".into());
                }
                Piece::Channel { len, .. } => (0, *len),
                Piece::Batch => (0, 1),
            };
            strides[which] = stride;
            stride *= len;
        }
        for (at, to) in order.iter_mut().enumerate() {
            let (channel, row, column) = (at / (h * w), at / w % h, at % w);
            *to = Some(channel * strides[0] + row * strides[1] + column * strides[2]);
        }
        let mut op = graph::Conv::new(oc, Window::rectangle(h, w));
        op.bias = bias;
        let value = self.push(name, op, &[ordered.value], Some(numbers(Some(order.into()))))?;
        let axes = vec![vec![Piece::Batch], channel_piece(oc)];
        Ok(View { value, channels: oc, extents: [view.extents[0], one, one], axes })
    }

    fn affine(&mut self, input: usize, affine: &Affine, name: &str) -> Result<View, Why> {
        let view = self.view(input)?;
        let len = affine.scale.len().max(affine.shift.len());
        let along =
            if len == 1 { Some(vec![0; view.channels]) } else { view.along(&self.net.sizes, affine.axis) };
        let Some(along) = along else { return Err("constants along rows or columns".into()) };
        let (scale, shift) = affine.spread(len);
        let pick = |list: &[f64]| along.iter().map(|&at| list[at] as f32).collect::<Arc<[f32]>>();
        let numbers = Numbers::Affine { scale: pick(&scale), shift: pick(&shift) };
        let value = self.push(name, graph::Op::Affine(Activation::None), &[view.value], Some(numbers))?;
        Ok(view.with(value))
    }

    fn unary(&mut self, input: usize, unary: Unary, name: &str) -> Result<View, Why> {
        let view = self.view(input)?;
        let activation = match unary {
            Unary::Clip { low: 0.0, high: f32::INFINITY } => Activation::Relu,
            Unary::Clip { low: 0.0, high: 6.0 } => Activation::Relu6,
            Unary::Clip { low, high } => Activation::Clamp { low, high },
            Unary::LeakyRelu(slope) => Activation::LeakyRelu { slope },
            Unary::HardSigmoid { alpha, beta } => Activation::HardSigmoid { slope: alpha, offset: beta },
            Unary::HardSwish => Activation::HardSwish,
            Unary::Sigmoid => Activation::Sigmoid,
            Unary::Silu => Activation::Silu,
            Unary::Gelu { tanh: false } => Activation::Gelu,
            Unary::Gelu { tanh: true } => Activation::GeluTanh,
            other => {
                return why(
                    format!("the function {other:?} inside a network"),
                    "Relu, Clip, LeakyRelu, HardSwish, HardSigmoid, Sigmoid, SiLU and Gelu run there",
                );
            }
        };
        let value = self.push(name, graph::Op::Activate(activation), &[view.value], None)?;
        Ok(view.with(value))
    }

    fn binary(&mut self, binary: Binary, a: usize, b: usize, name: &str) -> Result<View, Why> {
        let shapes = [a, b].map(|input| self.net.sizes.show_all(&self.net.nodes[input].shape));
        let (a, b) = (self.view(a)?, self.view(b)?);
        let (a, mut b) = (self.in_order(&a)?, self.in_order(&b)?);
        if a.axes != b.axes || a.channels != b.channels {
            return Err(format!("{binary:?} of {} and {}", shapes[0], shapes[1]).into());
        }
        match binary {
            Binary::Add => {}
            Binary::Sub => {
                let numbers = Numbers::Affine {
                    scale: vec![-1.0; b.channels].into(),
                    shift: vec![0.0; b.channels].into(),
                };
                b.value = self.push("", graph::Op::Affine(Activation::None), &[b.value], Some(numbers))?;
            }
            other => return Err(format!("{other:?} of two computed tensors").into()),
        }
        let value = self.push(name, graph::Op::Add(Activation::None), &[a.value, b.value], None)?;
        Ok(a.with(value))
    }

    fn pool(&mut self, input: usize, pool: &Pool, shape: &[Num], name: &str) -> Result<View, Why> {
        let view = self.map(input)?;
        let mut window = pool.window;
        let whole =
            (0..2).all(|side| self.net.sizes.count(view.extents[1 + side]) == Some(window.kernel[side]));
        let unpadded = window.padding == Padding::Sides([0; 4]);
        let extents = [shape[0], shape[2], shape[3]];
        if whole && unpadded && matches!(pool.kind, PoolKind::Average { .. }) {
            let value = self.push(name, graph::Op::GlobalAverage, &[view.value], None)?;
            return Ok(View::map(&self.net.sizes, value, view.channels, extents));
        }
        let mut count = matches!(pool.kind, PoolKind::Average { count_pad: true });
        if pool.ceil
            && let Padding::Sides(sides) = &mut window.padding
        {
            // A last window that is not filled is one that hangs over the end.
            let [sh, sw] = window.stride;
            let over = [sides[2] + sh - 1, sides[3] + sw - 1];
            if over[0] >= window.kernel[0] || over[1] >= window.kernel[1] || count && !unpadded {
                return why(
                    "ceil_mode with this window",
                    "ceil_mode of 0, or windows larger than their stride",
                );
            }
            (sides[2], sides[3]) = (over[0], over[1]);
            // Without padding of its own, PyTorch divides by the pixels that there are.
            count = false;
        }
        let window = self.window(&view, &window, [1, 1])?;
        let op = match pool.kind {
            PoolKind::Max => graph::Op::MaxPool(window),
            PoolKind::Average { .. } => graph::Op::AveragePool { window, count_pad: count },
        };
        let value = self.push(name, op, &[view.value], None)?;
        Ok(View::map(&self.net.sizes, value, view.channels, extents))
    }

    fn reduce(
        &mut self,
        input: usize,
        reduce: Reduce,
        axes: &[usize],
        keep: bool,
        name: &str,
    ) -> Result<View, Why> {
        let view = self.view(input)?;
        let reduced: Vec<Piece> = axes.iter().flat_map(|&axis| view.axes[axis].clone()).collect();
        let mut axes_left: Vec<Vec<Piece>> = Vec::new();
        for (at, axis) in view.axes.iter().enumerate() {
            match (axes.contains(&at), keep) {
                (false, _) => axes_left.push(axis.clone()),
                (true, true) => axes_left.push(vec![]),
                (true, false) => {}
            }
        }
        let all =
            view.axes.iter().flatten().filter(|piece| matches!(piece, Piece::Row | Piece::Column)).count();
        let pixels = reduced.iter().all(|piece| matches!(piece, Piece::Row | Piece::Column));
        if !pixels || reduced.len() != all {
            return Err(format!("{reduce:?} over other axes than rows and columns together").into());
        }
        let one = self.net.sizes.int(1);
        let value = match reduce {
            // Of one pixel, it is that.
            Reduce::Mean | Reduce::Max | Reduce::Min | Reduce::Sum | Reduce::Prod if all == 0 => view.value,
            Reduce::Mean => self.push(name, graph::Op::GlobalAverage, &[view.value], None)?,
            other => return Err(format!("{other:?} over all pixels").into()),
        };
        Ok(View { value, axes: axes_left, extents: [view.extents[0], one, one], ..view })
    }

    fn concat(&mut self, inputs: &[usize], axis: usize, name: &str) -> Result<View, Why> {
        let mut values = Vec::with_capacity(inputs.len());
        let mut first: Option<View> = None;
        let mut channels = 0;
        for &input in inputs {
            let view = self.view(input)?;
            let on_axis = view.channel_axis().is_none_or(|at| at == axis);
            if !on_axis || view.axes[axis].iter().any(|piece| !matches!(piece, Piece::Channel { .. })) {
                return Err("tensors are joined along another axis than that of the channels".into());
            }
            let view = self.in_order(&view)?;
            channels += view.channels;
            let others = |view: &View| {
                let mut axes = view.axes.clone();
                axes.remove(axis);
                axes
            };
            if first.as_ref().is_some_and(|first| others(first) != others(&view)) {
                return Err("tensors of different axes are joined".into());
            }
            values.push(view.value);
            first.get_or_insert(view);
        }
        let first = first.ok_or("nothing is joined")?;
        let value = self.push(name, graph::Op::Concat, &values, None)?;
        let mut axes = first.axes.clone();
        axes[axis] = channel_piece(channels);
        Ok(View { value, channels, axes, ..first })
    }

    /// Some indices along an axis that channels lie on.
    fn part(
        &mut self,
        input: usize,
        axis: usize,
        index: &dyn Fn(usize) -> usize,
        count: usize,
    ) -> Result<View, Why> {
        let view = self.view(input)?;
        if view.axes[axis].iter().any(|piece| !matches!(piece, Piece::Channel { .. })) {
            return why(
                "it cuts along the batch, rows or columns",
                "cutting along channels is supported; strides and pads of a convolution skip pixels",
            );
        }
        // The axis outermost, so that an index along it is a run of channels.
        let mut outer = view.clone();
        let cut = std::mem::take(&mut outer.axes[axis]);
        outer.axes.insert(0, cut);
        let order = outer.order();
        let len: usize = outer.axes[0]
            .iter()
            .map(|piece| match piece {
                Piece::Channel { len, .. } => *len,
                _ => 1,
            })
            .product();
        let each = order.len() / len;
        let mut chosen = Vec::with_capacity(count * each);
        for at in 0..count {
            let at = index(at);
            if at >= len {
                return Err(format!("index {at} of {len}").into());
            }
            chosen.extend_from_slice(&order[at * each..(at + 1) * each]);
        }
        let value = self.select(view.value, view.channels, &chosen)?;
        outer.axes[0] = channel_piece(count);
        let mut left = outer.renamed(value);
        let cut = left.axes.remove(0);
        left.axes[axis] = cut;
        Ok(left)
    }

    fn resize(&mut self, input: usize, resize: &net::Resize, shape: &[Num], name: &str) -> Result<View, Why> {
        let view = self.map(input)?;
        let extents = [shape[0], shape[2], shape[3]];
        let half_pixel = matches!(resize.coordinates, Coordinates::HalfPixel | Coordinates::PytorchHalfPixel);
        let halved = resize.scales == Some([0.5; 2])
            || [1, 2]
                .iter()
                .all(|&side| self.net.sizes.multiple(view.extents[side], shape[1 + side]) == Some(2));
        if halved && half_pixel && resize.mode == ResizeMode::Linear {
            // Half-way between two pixels each.
            let window = net::Window { kernel: [2; 2], stride: [2; 2], padding: Padding::Sides([0; 4]) };
            let window = self.window(&view, &window, [1, 1])?;
            let op = graph::Op::AveragePool { window, count_pad: false };
            let value = self.push(name, op, &[view.value], None)?;
            return Ok(View::map(&self.net.sizes, value, view.channels, extents));
        }
        let factors = [1, 2].map(|side| self.net.sizes.multiple(shape[1 + side], view.extents[side]));
        let repeats = matches!(
            (resize.mode, resize.coordinates),
            (ResizeMode::Nearest(Nearest::Floor), Coordinates::Asymmetric | Coordinates::TfHalfPixelForNn)
                | (
                    ResizeMode::Nearest(Nearest::RoundPreferFloor | Nearest::RoundPreferCeil),
                    Coordinates::HalfPixel | Coordinates::PytorchHalfPixel
                )
        );
        let [Some(rows), Some(columns)] = factors else {
            return why(
                "a map becomes other than a whole number of times as large",
                "Resize by whole numbers",
            );
        };
        if !repeats || rows != columns || !rows.is_power_of_two() {
            return why(
                format!("Resize {:?} by {rows} and {columns}", resize.mode),
                "nearest neighbours, twice or four times as large, are supported",
            );
        }
        let mut value = view.value;
        for _ in 0..rows.trailing_zeros() {
            value = self.push(name, graph::Op::Upsample2x, &[value], None)?;
        }
        Ok(View::map(&self.net.sizes, value, view.channels, extents))
    }
}
