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
use kernels::{Activation, Interpolation, Window};
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

/// Maps of more pixels than so many times those of the images and so many beside are refused: memory stays in proportion,
/// whatever a file says.
const MAX_PIXELS: [f64; 2] = [64.0, 16384.0];

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
    /// Rows and columns of the inputs.
    images: Vec<[Num; 2]>,
    parameters: Vec<Option<Numbers>>,
    folder: Folder<'n>,
}

/// What the file says about a node of the graph.
#[derive(Clone, Debug)]
enum Numbers {
    /// `order` says which of the file's weights of an output channel each of the graph's is; none of them: zero.
    Weights { weights: Weights, groups: usize, order: Option<Arc<[Option<usize>]>> },
    /// Of a transposed convolution.
    Transposed { weights: Weights, groups: usize },
    /// A depthwise convolution of one tap.
    Scale(Weights),
    /// Numbers that are there already: one or two per channel, or the ones of something that is only repeated.
    Given { weights: Arc<[f32]>, bias: Option<Arc<[f32]>> },
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
            Some(Some(Numbers::Transposed { weights, groups })) => {
                let tensor = self.net.constants[weights.tensor].floats(self.folder).map_err(failed)?;
                let taps = tensor.shape[2..].iter().product();
                let (rows, bias) = folded(weights, *groups, tensor);
                let weights = inputs_first(&rows, [weights.oc, *groups, taps]);
                Some(Parameters { weights: weights.into(), bias: bias.map(Cow::Owned), batch_norm: None })
            }
            Some(Some(Numbers::Given { weights, bias })) => Some(Parameters {
                weights: Cow::Owned(weights.to_vec()),
                bias: bias.as_ref().map(|bias| Cow::Owned(bias.to_vec())),
                batch_norm: None,
            }),
            _ => None,
        })
    }
}

/// Weights `[oc, ic / groups, taps]` as `[ic, oc / groups, taps]`.
fn inputs_first(weights: &[f32], [oc, groups, taps]: [usize; 3]) -> Vec<f32> {
    let (group_oc, group_ic) = (oc / groups, weights.len() / oc / taps);
    let mut turned = Vec::with_capacity(weights.len());
    for input in 0..group_ic * groups {
        let (group, i) = (input / group_ic, input % group_ic);
        for o in group * group_oc..(group + 1) * group_oc {
            turned.extend_from_slice(&weights[(o * group_ic + i) * taps..][..taps]);
        }
    }
    turned
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
            images: Vec::new(),
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
            let lowered = match lowering.node(node, &called).and_then(|view| lowering.bounded(view)) {
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

    /// An error where a map is out of proportion.
    fn bounded(&self, view: View) -> Result<View, Why> {
        let sizes = &self.net.sizes;
        let pixels = |[h, w]: [Num; 2]| sizes.possible(h).zip(sizes.possible(w)).map(|(h, w)| h * w);
        let mut most = vec![0.0f64; pixels([view.extents[1], view.extents[2]]).count()];
        for &image in &self.images {
            most.iter_mut().zip(pixels(image)).for_each(|(most, pixels)| *most = most.max(pixels));
        }
        let [times, beside] = MAX_PIXELS;
        let [_, h, w] = view.extents;
        match pixels([h, w]).zip(&most).all(|(pixels, most)| pixels <= times * most + beside) {
            true => Ok(view),
            false => Err(format!(
                "a map of {} pixels, more than {times} times those of the image",
                sizes.show_all(&[h, w])
            )
            .into()),
        }
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
            Op::PRelu { axis, slopes } => self.prelu(inputs[0], *axis, slopes, name),
            Op::LayerNorm { axis, epsilon, affine } => {
                self.layer_norm(inputs[0], (*axis, *epsilon), affine, name)
            }
            Op::Pad { before, after, value } => {
                self.pad(inputs[0], [before, after], *value, &node.shape, name)
            }
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
        self.images.push([h, w]);
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
        Ok(Window { kernel: window.kernel, stride: window.stride, dilation, padding, ceil: false })
    }

    fn conv(&mut self, input: usize, conv: &net::Conv, shape: &[Num], name: &str) -> Result<View, Why> {
        let view = self.map(input)?;
        let extents = [shape[0], shape[2], shape[3]];
        let (oc, groups, weights) = (conv.weights.oc, conv.groups, conv.weights.clone());
        let bias = weights.bias.is_some() || weights.input.is_some();
        let window = self.window(&view, &conv.window, conv.dilation)?;
        if let Some(output_padding) = conv.transposed {
            let [kernel, stride] = [window.kernel, window.stride];
            let sides =
                |holds: fn(usize, usize) -> bool, a: [usize; 2]| (0..2).all(|i| holds(a[i], stride[i]));
            if window.dilation != [1, 1]
                || !sides(|kernel, stride| kernel >= stride, kernel)
                || !sides(|padding, stride| padding < stride, output_padding)
            {
                return why(
                    format!("a transposed convolution by {window} with output_padding {output_padding:?}"),
                    "kernels not smaller than the stride, output_padding smaller than it, and dilations of 1",
                );
            }
            let activation = Activation::None;
            let op =
                graph::Transposed { oc, window, output_padding, groups, bias, batch_norm: false, activation };
            let value = self.push(name, op, &[view.value], Some(Numbers::Transposed { weights, groups }))?;
            return Ok(View::map(&self.net.sizes, value, oc, extents));
        }
        let one_tap = conv.window.kernel == [1, 1] && conv.window.stride == [1, 1];
        if one_tap && conv.window.padding == Padding::Sides([0; 4]) && groups == oc && oc == view.channels {
            let numbers = Numbers::Scale(weights);
            let value = self.push(name, graph::Op::Affine(Activation::None), &[view.value], Some(numbers))?;
            return Ok(View::map(&self.net.sizes, value, oc, extents));
        }
        let activation = Activation::None;
        let op = graph::Conv { oc, window, groups, bias, batch_norm: false, activation };
        let numbers = Numbers::Weights { weights, groups, order: None };
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
        let numbers = self.along(&view, affine.axis, affine)?;
        let value = self.push(name, graph::Op::Affine(Activation::None), &[view.value], Some(numbers))?;
        Ok(view.with(value))
    }

    /// Scale and shift of each channel, of numbers along an axis.
    fn along(&self, view: &View, axis: usize, affine: &Affine) -> Result<Numbers, Why> {
        let len = affine.scale.len().max(affine.shift.len());
        let along = if len == 1 { Some(vec![0; view.channels]) } else { view.along(&self.net.sizes, axis) };
        let Some(along) = along else { return Err("constants along rows or columns".into()) };
        let (scale, shift) = affine.spread(len);
        let pick = |list: &[f64]| along.iter().map(|&at| list[at] as f32).collect::<Arc<[f32]>>();
        Ok(Numbers::Given { weights: pick(&scale), bias: Some(pick(&shift)) })
    }

    fn layer_norm(
        &mut self,
        input: usize,
        (axis, eps): (usize, f32),
        affine: &Affine,
        name: &str,
    ) -> Result<View, Why> {
        let view = self.view(input)?;
        if view.channel_axis() != Some(axis) {
            return why(
                "layer normalisation over another axis than that of the channels",
                "one over channels",
            );
        }
        let numbers = self.along(&view, axis, affine)?;
        let value = self.push(name, graph::Op::LayerNorm { eps }, &[view.value], Some(numbers))?;
        Ok(view.with(value))
    }

    fn prelu(&mut self, input: usize, axis: usize, slopes: &[f32], name: &str) -> Result<View, Why> {
        let view = self.view(input)?;
        let Some(along) = view.along(&self.net.sizes, axis) else {
            return Err("slopes along rows or columns".into());
        };
        let weights = along.iter().map(|&at| slopes[at]).collect();
        let numbers = Numbers::Given { weights, bias: None };
        let value = self.push(name, graph::Op::PRelu, &[view.value], Some(numbers))?;
        Ok(view.with(value))
    }

    /// Zeros around a map that nothing behind it can hang over: a depthwise convolution of one tap does.
    fn pad(
        &mut self,
        input: usize,
        pads: [&[Num]; 2],
        number: f32,
        shape: &[Num],
        name: &str,
    ) -> Result<View, Why> {
        let view = self.view(input)?;
        let mut extents = view.extents;
        let mut sides = [[0; 2]; 2];
        for (at, axis) in view.axes.iter().enumerate() {
            let side = match axis[..] {
                [Piece::Row] => Some(0),
                [Piece::Column] => Some(1),
                _ => None,
            };
            match (pads.map(|pads| self.net.sizes.count(pads[at])), side) {
                ([Some(0), Some(0)], _) => {}
                ([Some(before), Some(after)], Some(side)) => {
                    sides[side] = [before, after];
                    extents[1 + side] = shape[at];
                }
                _ => {
                    return why(
                        "padding of other axes, or by what depends on the size",
                        "padding of rows and columns",
                    );
                }
            }
        }
        if number != 0.0 {
            return why(
                format!("padding with {number} before what cannot take it over"),
                "padding with zeros",
            );
        }
        let [[top, bottom], [left, right]] = sides;
        let padding = kernels::Padding::Sides { top, bottom, left, right };
        let mut op = graph::Conv::new(view.channels, Window::new(1).padding(padding));
        op.groups = view.channels;
        let numbers = Numbers::Given { weights: vec![1.0; view.channels].into(), bias: None };
        let value = self.push(name, op, &[view.value], Some(numbers))?;
        Ok(View { value, extents, ..view })
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
            Unary::Tanh => Activation::Tanh,
            Unary::Elu(alpha) => Activation::Elu { alpha },
            other => {
                return why(
                    format!("the function {other:?} inside a network"),
                    "Relu, Clip, LeakyRelu, Elu, Tanh, HardSwish, HardSigmoid, Sigmoid, SiLU and Gelu run there",
                );
            }
        };
        let value = self.push(name, graph::Op::Activate(activation), &[view.value], None)?;
        Ok(view.with(value))
    }

    fn binary(&mut self, binary: Binary, a: usize, b: usize, name: &str) -> Result<View, Why> {
        let shapes = [a, b].map(|input| self.net.sizes.show_all(&self.net.nodes[input].shape));
        let (a, b) = (self.view(a)?, self.view(b)?);
        let (mut a, mut b) = (self.in_order(&a)?, self.in_order(&b)?);
        let refused = || format!("{binary:?} of {} and {}", shapes[0], shapes[1]);
        let alike = a.axes == b.axes && a.channels == b.channels;
        let op = match binary {
            Binary::Add if alike => graph::Op::Add(Activation::None),
            Binary::Sub if alike => {
                let scale = vec![-1.0; b.channels].into();
                let numbers = Numbers::Given { weights: scale, bias: Some(vec![0.0; b.channels].into()) };
                b.value = self.push("", graph::Op::Affine(Activation::None), &[b.value], Some(numbers))?;
                graph::Op::Add(Activation::None)
            }
            Binary::Mul => {
                if !alike && b.repeats(&a) {
                    std::mem::swap(&mut a, &mut b);
                }
                if !alike && !a.repeats(&b) {
                    return why(refused(), "factors of one shape, one per channel, or one per pixel");
                }
                if b.channels != a.channels && !b.has_pixels() && a.has_pixels() {
                    // One number for all, to be had as one per channel.
                    let numbers = Numbers::Given { weights: vec![1.0; a.channels].into(), bias: None };
                    let spread = graph::Conv::new(a.channels, Window::new(1));
                    b.value = self.push("", spread, &[b.value], Some(numbers))?;
                }
                graph::Op::Mul(Activation::None)
            }
            Binary::Add | Binary::Sub => return why(refused(), "terms of one shape"),
            _ => return Err(format!("{binary:?} of two computed tensors").into()),
        };
        let value = self.push(name, op, &[a.value, b.value], None)?;
        Ok(a.with(value))
    }

    fn pool(&mut self, input: usize, pool: &Pool, shape: &[Num], name: &str) -> Result<View, Why> {
        let view = self.map(input)?;
        let whole =
            (0..2).all(|side| self.net.sizes.count(view.extents[1 + side]) == Some(pool.window.kernel[side]));
        let unpadded = pool.window.padding == Padding::Sides([0; 4]);
        let extents = [shape[0], shape[2], shape[3]];
        if whole && unpadded && matches!(pool.kind, PoolKind::Average { .. }) {
            let value = self.push(name, graph::Op::GlobalAverage, &[view.value], None)?;
            return Ok(View::map(&self.net.sizes, value, view.channels, extents));
        }
        let window = self.window(&view, &pool.window, [1, 1])?.ceil(pool.ceil);
        let op = match pool.kind {
            PoolKind::Max => graph::Op::MaxPool(window),
            PoolKind::Average { count_pad } => graph::Op::AveragePool { window, count_pad },
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
        let all = view.axes.iter().flatten().filter(|piece| piece.is_pixel()).count();
        if !reduced.iter().all(Piece::is_pixel) {
            return Err(format!("{reduce:?} over other axes than rows and columns").into());
        }
        let one = self.net.sizes.int(1);
        let mut extents = view.extents;
        let mut window = Window::new(1);
        let mut known = true;
        for (side, piece) in [Piece::Row, Piece::Column].into_iter().enumerate() {
            if reduced.contains(&piece) {
                let len = self.net.sizes.count(extents[1 + side]);
                known &= len.is_some();
                window.kernel[side] = len.unwrap_or(1);
                extents[1 + side] = one;
            }
        }
        let value = match reduce {
            // Of one pixel, it is that.
            Reduce::Mean | Reduce::Max | Reduce::Min | Reduce::Sum | Reduce::Prod if reduced.is_empty() => {
                view.value
            }
            Reduce::Mean if reduced.len() == all => {
                self.push(name, graph::Op::GlobalAverage, &[view.value], None)?
            }
            Reduce::Mean if known => {
                let op = graph::Op::AveragePool { window, count_pad: false };
                self.push(name, op, &[view.value], None)?
            }
            Reduce::Max if known => self.push(name, graph::Op::MaxPool(window), &[view.value], None)?,
            Reduce::Mean | Reduce::Max => {
                return why(
                    format!("{reduce:?} over rows or columns of open length"),
                    "a fixed size, or the mean over rows and columns together",
                );
            }
            other => return Err(format!("{other:?} over pixels").into()),
        };
        Ok(View { value, axes: axes_left, extents, ..view })
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
        let (interpolation, coordinates) = self.sampled(&view, resize, shape)?;
        let to = [1, 2].map(|side| self.net.sizes.multiple(shape[1 + side], view.extents[side]));
        let (to, like) = match (to, [2, 3].map(|side| self.net.sizes.count(shape[side]))) {
            ([Some(rows), Some(columns)], _) => (graph::Size::Times(rows, columns), None),
            (_, [Some(h), Some(w)]) => (graph::Size::Of(h, w), None),
            // Something of that size is there, or the file would not know it.
            _ => match self.of_size([shape[2], shape[3]]) {
                Some(like) => (graph::Size::Like, Some(like)),
                None => {
                    return why(
                        "a size that no map before it has",
                        "whole factors, sizes of other maps, and fixed sizes",
                    );
                }
            },
        };
        let inputs: Vec<Value> = [view.value].into_iter().chain(like).collect();
        let value = self.push(name, graph::Op::Resize { interpolation, coordinates, to }, &inputs, None)?;
        Ok(View::map(&self.net.sizes, value, view.channels, extents))
    }

    /// A value of so many rows and columns.
    fn of_size(&self, [h, w]: [Num; 2]) -> Option<Value> {
        let same =
            |view: &View| self.net.sizes.same(view.extents[1], h) && self.net.sizes.same(view.extents[2], w);
        self.lowered.iter().rev().find_map(|lowered| match lowered {
            Lowered::View(view) if same(view) => Some(view.value),
            _ => None,
        })
    }

    /// How a map in another size is computed, as the kernels say it.
    fn sampled(
        &mut self,
        view: &View,
        resize: &net::Resize,
        shape: &[Num],
    ) -> Result<(Interpolation, kernels::Coordinates), Why> {
        use kernels::Coordinates::{AlignCorners, Asymmetric, HalfPixel};
        let sides = [(view.extents[1], shape[2], 0), (view.extents[2], shape[3], 1)];
        if let Some(scales) = resize.scales
            && resize.coordinates != Coordinates::AlignCorners
        {
            // The file's factor counts, and the kernels have that of the two sizes.
            for (from, to, side) in sides {
                let factor = self.net.sizes.known(scales[side].into());
                let exact = self.net.sizes.mul(from, factor);
                let known = self.net.sizes.value(exact).zip(self.net.sizes.value(to));
                let near = known.is_some_and(|(exact, to)| (exact - to).abs() < 1e-5 * to);
                if !near && !self.net.sizes.same(exact, to) {
                    return why(
                        format!(
                            "{} times {} pixels are no whole number",
                            scales[side],
                            self.net.sizes.show(from)
                        ),
                        "sizes instead of scales",
                    );
                }
            }
        }
        let times = sides.iter().all(|&(from, to, _)| self.net.sizes.multiple(to, from).is_some());
        let one_pixel = sides.map(|(_, to, _)| self.net.sizes.count(to) == Some(1));
        let coordinates = match (resize.coordinates, one_pixel) {
            (Coordinates::HalfPixel | Coordinates::PytorchHalfPixel, [false, false])
            | (Coordinates::HalfPixel, _) => HalfPixel,
            (Coordinates::PytorchHalfPixel, [true, true]) | (Coordinates::Asymmetric, _) => Asymmetric,
            (Coordinates::AlignCorners, _) => AlignCorners,
            // What a pixel of the result is the middle of.
            (Coordinates::TfHalfPixelForNn, _) if times => Asymmetric,
            (other, _) => return why(format!("Resize by {other:?} to this size"), "half_pixel"),
        };
        match resize.mode {
            ResizeMode::Linear if resize.coordinates != Coordinates::TfHalfPixelForNn => {
                Ok((Interpolation::Bilinear, coordinates))
            }
            ResizeMode::Nearest(Nearest::Floor) if coordinates == Asymmetric => {
                Ok((Interpolation::Nearest, Asymmetric))
            }
            ResizeMode::Nearest(Nearest::RoundPreferFloor) if coordinates != Asymmetric => {
                Ok((Interpolation::Nearest, coordinates))
            }
            // Every pixel is repeated: none lies in the middle between two.
            ResizeMode::Nearest(Nearest::RoundPreferCeil) if coordinates == HalfPixel && times => {
                Ok((Interpolation::Nearest, HalfPixel))
            }
            mode => why(
                format!("Resize {mode:?} with {:?} to this size", resize.coordinates),
                "nearest_mode floor with asymmetric, round_prefer_floor with the others, or linear",
            ),
        }
    }
}
