//! What exporters spell out is put together again: one function for each pattern.
//!
//! Each function looks at a node and what it reads, never ahead, and says what the node can be replaced by. Nodes are
//! taken in order, so that whatever a node reads has been simplified before; this is repeated until nothing changes.
//!
//! Shuffles, splits and layouts are not here: they fall out of the bookkeeping of [`view`](super::view).

use super::net::{
    Affine, Binary, Conv, Net, Node, Op, Padding, Pool, PoolKind, Reduce, Unary, Weights, Window,
};
use super::sizes::{Arith, Num, Sizes};
use super::tensor::Array;

/// Rounds at most; two are usual.
const ROUNDS: usize = 16;

/// Applies all patterns until nothing changes.
pub(crate) fn simplify(mut net: Net<'_>) -> Net<'_> {
    for _ in 0..ROUNDS {
        let (simpler, changed) = round(net);
        net = simpler;
        if !changed {
            break;
        }
    }
    net
}

/// What a node becomes.
enum Becomes {
    /// What another node makes already.
    Same(usize),
    /// Another operation, reading these; the nodes beside these that it stands for as well.
    Op(Box<Op>, Vec<usize>, Vec<usize>),
}

impl Becomes {
    fn op(op: Op, inputs: Vec<usize>, taken: Vec<usize>) -> Self {
        Self::Op(Box::new(op), inputs, taken)
    }
}

type Pattern = fn(&mut Round, &Node) -> Option<Becomes>;

fn patterns() -> [Pattern; 15] {
    [
        nothing_to_do,
        affine_into_weights,
        affine_into_affine,
        affine_into_layer_norm,
        affine_before_weights,
        clip_of_clip,
        hard_sigmoid,
        hard_swish,
        silu,
        gelu,
        gelu_by_tanh,
        layer_norm,
        leaky_relu,
        pad_into_window,
        expanded_operand,
    ]
}

/// One pass over a network.
struct Round {
    nodes: Vec<Node>,
    /// Whether one node alone reads what a new node makes.
    single: Vec<bool>,
    sizes: Sizes,
}

fn round(net: Net<'_>) -> (Net<'_>, bool) {
    let (live, readers) = (net.live(), net.readers());
    let mut round =
        Round { nodes: Vec::with_capacity(net.nodes.len()), single: Vec::new(), sizes: net.sizes };
    let mut now = vec![usize::MAX; net.nodes.len()];
    let mut changed = false;
    for (old, mut node) in net.nodes.into_iter().enumerate() {
        // Inputs stay, so that they keep their order.
        if !live[old] && !matches!(node.op, Op::Input) {
            changed = true;
            continue;
        }
        node.inputs.iter_mut().for_each(|input| *input = now[*input]);
        let single = readers[old] == 1;
        now[old] = loop {
            let becomes = patterns().into_iter().find_map(|pattern| pattern(&mut round, &node));
            changed |= becomes.is_some();
            match becomes {
                None => break round.push(node, single),
                Some(Becomes::Same(same)) => {
                    // It had one reader, this node, and gets this node's.
                    round.single[same] &= single;
                    if !node.from.is_empty() {
                        let from = std::mem::take(&mut node.from);
                        round.nodes[same].from.extend(from);
                    }
                    break same;
                }
                Some(Becomes::Op(op, inputs, taken)) => {
                    for taken in taken {
                        node.from.extend_from_slice(&round.nodes[taken].from);
                    }
                    node.from.sort_unstable();
                    node.from.dedup();
                    node = Node { op: *op, inputs, ..node };
                }
            }
        };
    }
    let outputs = net.outputs.into_iter().map(|(name, node)| (name, now[node])).collect();
    (Net { nodes: round.nodes, outputs, constants: net.constants, sizes: round.sizes }, changed)
}

impl Round {
    fn push(&mut self, node: Node, single: bool) -> usize {
        self.nodes.push(node);
        self.single.push(single);
        self.nodes.len() - 1
    }

    fn op(&self, node: usize) -> &Op {
        &self.nodes[node].op
    }

    /// The only input of a node.
    fn input(&self, node: usize) -> usize {
        self.nodes[node].inputs[0]
    }

    /// `k x`: the factor and the node that makes `x`.
    fn scaled(&self, node: usize) -> (f64, usize) {
        match self.op(node) {
            Op::Affine(affine) => match affine.as_uniform() {
                Some((scale, 0.0)) => (scale, self.input(node)),
                _ => (1.0, node),
            },
            _ => (1.0, node),
        }
    }

    /// `a x + b`: the numbers and the node that makes `x`.
    fn line(&self, node: usize) -> (f64, f64, usize) {
        match self.op(node) {
            Op::Affine(affine) => match affine.as_uniform() {
                Some((scale, shift)) => (scale, shift, self.input(node)),
                None => (1.0, 0.0, node),
            },
            _ => (1.0, 0.0, node),
        }
    }

    /// A function times a number: the function alone, if the number is 1, else a scale behind it.
    fn times(&mut self, unary: Unary, factor: f64, (x, node): (usize, &Node), taken: Vec<usize>) -> Becomes {
        let factor_of = Affine::uniform(factor, 0.0);
        if factor_of.is_identity() {
            return Becomes::op(Op::Unary(unary), vec![x], taken);
        }
        let from = taken.iter().flat_map(|&taken| self.nodes[taken].from.clone()).collect();
        let function = Node { op: Op::Unary(unary), inputs: vec![x], shape: node.shape.clone(), from };
        let function = self.push(function, true);
        Becomes::op(Op::Affine(factor_of), vec![function], vec![])
    }

    /// The factors of a product of two nodes, either way round.
    fn product(&self, node: &Node) -> Option<[(usize, usize); 2]> {
        match (&node.op, &node.inputs[..]) {
            (Op::Binary(Binary::Mul), &[a, b]) => Some([(a, b), (b, a)]),
            _ => None,
        }
    }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * b.abs()
}

/// `1 x + 0`, a function that changes nothing.
fn nothing_to_do(_: &mut Round, node: &Node) -> Option<Becomes> {
    let nothing = match &node.op {
        Op::Affine(affine) => affine.is_identity(),
        Op::Unary(Unary::Clip { low, high }) => *low == f32::NEG_INFINITY && *high == f32::INFINITY,
        Op::Unary(Unary::Pow(exponent)) => *exponent == 1.0,
        _ => false,
    };
    nothing.then(|| Becomes::Same(node.inputs[0]))
}

/// Scale and shift behind a convolution or a fully connected layer: batch normalisation, above all.
fn affine_into_weights(round: &mut Round, node: &Node) -> Option<Becomes> {
    let Op::Affine(affine) = &node.op else { return None };
    let x = node.inputs[0];
    let fold = |weights: &Weights, channel_axis: usize| {
        if affine.as_uniform().is_none() && affine.axis != channel_axis {
            return None;
        }
        let (scale, shift) = affine.spread(weights.oc);
        if scale.len() != weights.oc || shift.len() != weights.oc {
            return None;
        }
        let before = weights.bias.clone().unwrap_or_else(|| vec![0.0; weights.oc].into());
        let bias = before.iter().zip(&scale).zip(&shift).map(|((b, s), t)| b * s + t).collect();
        let scale = match &weights.scale {
            Some(before) => before.iter().zip(&scale).map(|(a, b)| a * b).collect(),
            None => scale.into(),
        };
        Some(Weights { scale: Some(scale), bias: Some(bias), ..weights.clone() })
    };
    if !round.single[x] {
        return None;
    }
    let op = match round.op(x) {
        Op::Conv(conv) => Op::Conv(Conv { weights: fold(&conv.weights, 1)?, ..conv.clone() }),
        Op::Linear(weights) => Op::Linear(fold(weights, node.shape.len().checked_sub(1)?)?),
        _ => return None,
    };
    Some(Becomes::op(op, round.nodes[x].inputs.clone(), vec![x]))
}

/// Two of them become one.
fn affine_into_affine(round: &mut Round, node: &Node) -> Option<Becomes> {
    let (Op::Affine(second), &[x]) = (&node.op, &node.inputs[..]) else { return None };
    let Op::Affine(first) = round.op(x) else { return None };
    let both = joined(first, second)?;
    // Where others read the first one too, two passes over the input are no worse than two in a row.
    Some(Becomes::op(Op::Affine(both), vec![round.input(x)], vec![x]))
}

/// `first`, then `second`, unless they differ along different axes.
fn joined(first: &Affine, second: &Affine) -> Option<Affine> {
    let uniform = first.as_uniform().is_some() || second.as_uniform().is_some();
    let lengths = |affine: &Affine| affine.scale.len().max(affine.shift.len());
    let fit = uniform || first.axis == second.axis && lengths(first) == lengths(second);
    fit.then(|| first.then(second))
}

/// Scale and shift behind a layer normalisation are its own.
fn affine_into_layer_norm(round: &mut Round, node: &Node) -> Option<Becomes> {
    let (Op::Affine(second), &[x]) = (&node.op, &node.inputs[..]) else { return None };
    let Op::LayerNorm { axis, epsilon, affine } = round.op(x) else { return None };
    let first = Affine { axis: *axis, ..affine.clone() };
    if !round.single[x] || second.as_uniform().is_none() && second.axis != *axis {
        return None;
    }
    let op = Op::LayerNorm { axis: *axis, epsilon: *epsilon, affine: joined(&first, second)? };
    Some(Becomes::op(op, vec![round.input(x)], vec![x]))
}

/// Scale and shift before a convolution or a fully connected layer. A shift before a padded convolution stays: its
/// padding is not shifted.
fn affine_before_weights(round: &mut Round, node: &Node) -> Option<Becomes> {
    let &[x] = &node.inputs[..] else { return None };
    let Op::Affine(affine) = round.op(x) else { return None };
    let has_axis = affine.as_uniform().is_none();
    let unshifted = affine.shift.iter().all(|&shift| shift == 0.0);
    if !round.single[x] {
        return None;
    }
    let fold = |weights: &Weights| {
        let input = match &weights.input {
            Some(later) => joined(affine, later)?,
            None => affine.clone(),
        };
        Some(Weights { input: Some(input), ..weights.clone() })
    };
    let op = match &node.op {
        Op::Conv(conv) => {
            let padded = conv.window.padding != Padding::Sides([0; 4]);
            // Each pixel of a transposed convolution is a sum of some taps only, which a shift would have to know.
            if has_axis && affine.axis != 1 || !unshifted && (padded || conv.transposed.is_some()) {
                return None;
            }
            Op::Conv(Conv { weights: fold(&conv.weights)?, ..conv.clone() })
        }
        Op::Linear(weights) => {
            if has_axis && affine.axis + 1 != round.nodes[x].shape.len() {
                return None;
            }
            Op::Linear(fold(weights)?)
        }
        _ => return None,
    };
    Some(Becomes::op(op, vec![round.input(x)], vec![x]))
}

/// ReLU, then a smaller bound: ReLU6 in two steps.
fn clip_of_clip(round: &mut Round, node: &Node) -> Option<Becomes> {
    let Op::Unary(Unary::Clip { low, high }) = node.op else { return None };
    let x = node.inputs[0];
    let &Op::Unary(Unary::Clip { low: first_low, high: first_high }) = round.op(x) else { return None };
    let clamp = |bound: f32| bound.max(low).min(high);
    let op = Op::Unary(Unary::Clip { low: clamp(first_low), high: clamp(first_high) });
    Some(Becomes::op(op, vec![round.input(x)], vec![x]))
}

/// `factor * clip(alpha * x + beta, 0, 1)`: the numbers, the node that makes `x`, and the nodes between.
fn gate(round: &Round, node: usize) -> Option<(f64, f64, f64, usize, Vec<usize>)> {
    let (factor, inner) = round.scaled(node);
    match *round.op(inner) {
        Op::Unary(Unary::HardSigmoid { alpha, beta }) => {
            Some((factor, alpha.into(), beta.into(), round.input(inner), vec![node, inner]))
        }
        Op::Unary(Unary::Clip { low: 0.0, high }) if high.is_finite() && high > 0.0 => {
            let (scale, shift, x) = round.line(round.input(inner));
            let high = f64::from(high);
            Some((factor * high, scale / high, shift / high, x, vec![node, inner, round.input(inner)]))
        }
        _ => None,
    }
}

/// `clip(x + 3, 0, 6) / 6` and other numbers.
fn hard_sigmoid(round: &mut Round, node: &Node) -> Option<Becomes> {
    let Op::Affine(affine) = &node.op else { return None };
    let (outer, 0.0) = affine.as_uniform()? else { return None };
    let (factor, alpha, beta, x, mut taken) = gate(round, node.inputs[0])?;
    if !close(outer * factor, 1.0) {
        return None;
    }
    taken.retain(|&node| node != x);
    Some(Becomes::op(
        Op::Unary(Unary::HardSigmoid { alpha: alpha as f32, beta: beta as f32 }),
        vec![x],
        taken,
    ))
}

/// `x * clip(x + 3, 0, 6) / 6`, divided before or after.
fn hard_swish(round: &mut Round, node: &Node) -> Option<Becomes> {
    for (a, b) in round.product(node)? {
        let (by, x) = round.scaled(a);
        let Some((factor, alpha, beta, of, mut taken)) = gate(round, b) else { continue };
        if of == x && close(alpha, 1.0 / 6.0) && close(beta, 0.5) {
            taken.push(a);
            taken.retain(|&node| node != x);
            return Some(round.times(Unary::HardSwish, by * factor, (x, node), taken));
        }
    }
    None
}

/// `x * sigmoid(x)`
fn silu(round: &mut Round, node: &Node) -> Option<Becomes> {
    for (a, b) in round.product(node)? {
        let ((by, x), (factor, sigmoid)) = (round.scaled(a), round.scaled(b));
        if matches!(round.op(sigmoid), Op::Unary(Unary::Sigmoid)) && round.input(sigmoid) == x {
            let taken = [a, b, sigmoid].into_iter().filter(|&node| node != x).collect();
            return Some(round.times(Unary::Silu, by * factor, (x, node), taken));
        }
    }
    None
}

/// `x * (1 + erf(x / sqrt 2)) / 2`, in any order of the factors.
fn gelu(round: &mut Round, node: &Node) -> Option<Becomes> {
    for (a, b) in round.product(node)? {
        let (by, x) = round.scaled(a);
        let (scale, shift, erf) = round.line(b);
        if !matches!(round.op(erf), Op::Unary(Unary::Erf)) || !close(shift, scale) {
            continue;
        }
        let inner = round.input(erf);
        let (divided, of) = round.scaled(inner);
        if of == x && close(divided, std::f64::consts::FRAC_1_SQRT_2) {
            let taken = [a, b, erf, inner].into_iter().filter(|&node| node != x).collect();
            return Some(round.times(Unary::Gelu { tanh: false }, 2.0 * by * scale, (x, node), taken));
        }
    }
    None
}

/// `x * (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`
fn gelu_by_tanh(round: &mut Round, node: &Node) -> Option<Becomes> {
    for (a, b) in round.product(node)? {
        let (by, x) = round.scaled(a);
        let (scale, shift, tanh) = round.line(b);
        if !matches!(round.op(tanh), Op::Unary(Unary::Tanh)) || !close(shift, scale) {
            continue;
        }
        let inner = round.input(tanh);
        let (factor, sum) = round.scaled(inner);
        let (Op::Binary(Binary::Add), &[p, q]) = (round.op(sum), &round.nodes[sum].inputs[..]) else {
            continue;
        };
        let other = if p == x { q } else { p };
        let (share, cube) = round.scaled(other);
        let cubed = match round.op(cube) {
            Op::Unary(Unary::Pow(3.0)) => round.input(cube) == x,
            // x (x x)
            Op::Binary(Binary::Mul) => {
                let inputs = &round.nodes[cube].inputs;
                let square = inputs.iter().find(|&&input| input != x).copied();
                inputs.contains(&x) && square.is_some_and(|square| square_of(round, square) == Some(x))
            }
            _ => false,
        };
        let root = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
        if (p == x || q == x) && cubed && close(share, 0.044715) && close(factor, root) {
            let taken = [a, b, tanh, inner, sum, other, cube].into_iter().filter(|&node| node != x).collect();
            return Some(round.times(Unary::Gelu { tanh: true }, 2.0 * by * scale, (x, node), taken));
        }
    }
    None
}

/// What a node is the square of.
fn square_of(round: &Round, node: usize) -> Option<usize> {
    match (round.op(node), &round.nodes[node].inputs[..]) {
        (Op::Unary(Unary::Pow(2.0)), &[x]) => Some(x),
        (Op::Binary(Binary::Mul), &[a, b]) if a == b => Some(a),
        _ => None,
    }
}

/// `(x - mean) / sqrt(mean of (x - mean)^2 + epsilon)`
fn layer_norm(round: &mut Round, node: &Node) -> Option<Becomes> {
    let (Op::Binary(Binary::Div), &[centred, deviation]) = (&node.op, &node.inputs[..]) else { return None };
    let mean_over = |node: usize| match round.op(node) {
        Op::Reduce { reduce: Reduce::Mean, axes, keep: true } => match axes[..] {
            [axis] => Some((axis, round.input(node))),
            _ => None,
        },
        _ => None,
    };
    let (Op::Binary(Binary::Sub), &[x, mean]) = (round.op(centred), &round.nodes[centred].inputs[..]) else {
        return None;
    };
    let (axis, of) = mean_over(mean)?;
    let (Op::Unary(Unary::Sqrt) | Op::Unary(Unary::Pow(0.5))) = round.op(deviation) else { return None };
    let (scale, epsilon, variance) = round.line(round.input(deviation));
    let (same_axis, squared) = mean_over(variance)?;
    let fits = of == x && same_axis == axis && scale == 1.0 && square_of(round, squared) == Some(centred);
    fits.then(|| {
        let op = Op::LayerNorm { axis, epsilon: epsilon as f32, affine: Affine::uniform(1.0, 0.0) };
        Becomes::op(op, vec![x], vec![centred, mean, deviation, round.input(deviation), variance, squared])
    })
}

/// `max(x, a x)` with `a` between 0 and 1.
fn leaky_relu(round: &mut Round, node: &Node) -> Option<Becomes> {
    let (Op::Binary(Binary::Max), &[a, b]) = (&node.op, &node.inputs[..]) else { return None };
    for (x, other) in [(a, b), (b, a)] {
        let (slope, of) = round.scaled(other);
        if of == x && other != x && slope > 0.0 && slope < 1.0 {
            return Some(Becomes::op(Op::Unary(Unary::LeakyRelu(slope as f32)), vec![x], vec![other]));
        }
    }
    None
}

/// Whether nothing below zero comes out of a node, as far as a look at some nodes before it tells.
fn never_negative(round: &Round, node: usize, depth: usize) -> bool {
    let inputs = &round.nodes[node].inputs;
    let looks = depth > 0 && inputs.len() <= 8;
    let all = || looks && inputs.iter().all(|&input| never_negative(round, input, depth - 1));
    match round.op(node) {
        Op::Unary(Unary::Clip { low, .. }) => *low >= 0.0,
        Op::Unary(Unary::Sigmoid | Unary::HardSigmoid { .. } | Unary::Exp | Unary::Abs) => true,
        Op::Pool(_) | Op::Concat(_) | Op::Slice { .. } | Op::Reshape | Op::Transpose(_) => all(),
        Op::Binary(Binary::Add) => all(),
        _ => false,
    }
}

/// Padding by zeros before a window that can hang over as far itself.
fn pad_into_window(round: &mut Round, node: &Node) -> Option<Becomes> {
    let &[x] = &node.inputs[..] else { return None };
    let Op::Pad { before, after, value } = round.op(x) else { return None };
    let (before, after, value) = (before.clone(), after.clone(), *value);
    let source = round.input(x);
    let [_, _, h, w] = round.nodes[source].shape[..] else { return None };
    let no_pad = |num: Num| round.sizes.value(num) == Some(0.0);
    if before.len() != 4 || ![before[0], before[1], after[0], after[1]].into_iter().all(no_pad) {
        return None;
    }
    let sides = [before[2], before[3], after[2], after[3]];
    let (window, dilation) = match &node.op {
        Op::Conv(conv) if value == 0.0 && conv.transposed.is_none() => (conv.window, conv.dilation),
        Op::Pool(pool) if !pool.ceil => {
            let fits = match pool.kind {
                PoolKind::Max => {
                    value == f32::NEG_INFINITY || value == 0.0 && never_negative(round, source, 4)
                }
                PoolKind::Average { count_pad } => {
                    value == 0.0 && (count_pad || pool.window.padding == Padding::Sides([0; 4]))
                }
            };
            if !fits {
                return None;
            }
            (pool.window, [1, 1])
        }
        _ => return None,
    };
    let Padding::Sides(own) = window.padding else { return None };
    let known: Option<Vec<usize>> = sides.iter().map(|&side| round.sizes.count(side)).collect();
    let padding = match known {
        Some(more) => Padding::Sides(std::array::from_fn(|side| own[side] + more[side])),
        None if own == [0; 4] => same_padding(&mut round.sizes, [h, w], &window, dilation, sides)?,
        None => return None,
    };
    let window = Window { padding, ..window };
    let op = match &node.op {
        Op::Conv(conv) => Op::Conv(Conv { window, ..conv.clone() }),
        Op::Pool(pool) => {
            if let Padding::Sides(sides) = padding {
                let [kh, kw] = window.kernel;
                if sides[0].max(sides[2]) >= kh || sides[1].max(sides[3]) >= kw {
                    return None;
                }
            }
            let kind = match pool.kind {
                PoolKind::Average { .. } => PoolKind::Average { count_pad: true },
                PoolKind::Max => PoolKind::Max,
            };
            Op::Pool(Pool { window, kind, ..*pool })
        }
        _ => return None,
    };
    Some(Becomes::op(op, vec![source], vec![x]))
}

/// TensorFlow's `SAME`, which depends on the size: whether padding by `sides` is that.
fn same_padding(
    sizes: &mut Sizes,
    map: [Num; 2],
    window: &Window,
    dilation: [usize; 2],
    sides: [Num; 4],
) -> Option<Padding> {
    let mut fits = [true; 2];
    for side in 0..2 {
        // max((ceil(len / stride) - 1) * stride + reach - len, 0), half of it before.
        let (len, stride) = (map[side], window.stride[side] as i64);
        let reach = (window.kernel[side] as i64 - 1) * dilation[side] as i64 + 1;
        let by = sizes.int(stride);
        let less = sizes.add(len, -1);
        let steps = sizes.of(Arith::FloorDiv, less, by);
        let last = sizes.mul(steps, by);
        let last = sizes.add(last, reach);
        let hangs = sizes.of(Arith::Sub, last, len);
        let (zero, two) = (sizes.int(0), sizes.int(2));
        let total = sizes.of(Arith::Max, hangs, zero);
        let half = sizes.of(Arith::FloorDiv, total, two);
        let rest = sizes.of(Arith::Sub, total, half);
        for (upper, fits) in fits.iter_mut().enumerate() {
            let (before, after) = if upper == 0 { (half, rest) } else { (rest, half) };
            *fits &= sizes.same(sides[side], before) && sizes.same(sides[side + 2], after);
        }
    }
    match fits {
        [true, _] => Some(Padding::SameUpper),
        [_, true] => Some(Padding::SameLower),
        _ => None,
    }
}

/// A gate that was repeated over the map before the product: the product repeats it anyway.
fn expanded_operand(round: &mut Round, node: &Node) -> Option<Becomes> {
    let (Op::Binary(binary), &[a, b]) = (&node.op, &node.inputs[..]) else { return None };
    let small = |round: &Round, node: usize, other: usize| {
        let source = round.input(node);
        let ranks = [source, other].map(|node| round.nodes[node].shape.len());
        // The other operand is of the result's shape already.
        let whole = round.nodes[other]
            .shape
            .iter()
            .zip(&round.nodes[node].shape)
            .all(|(&a, &b)| round.sizes.same(a, b));
        (ranks[0] == ranks[1] && whole).then_some(source)
    };
    let inputs = match (round.op(a), round.op(b)) {
        (_, Op::Expand) => vec![a, small(round, b, a)?],
        (Op::Expand, _) => vec![small(round, a, b)?, b],
        _ => return None,
    };
    Some(Becomes::op(
        Op::Binary(*binary),
        inputs,
        vec![a, b].into_iter().filter(|&n| matches!(round.op(n), Op::Expand)).collect(),
    ))
}

/// The weights of a layer as they are packed, and its bias: everything folded into it.
pub(crate) fn folded(weights: &Weights, groups: usize, tensor: Array<f32>) -> (Vec<f32>, Option<Vec<f32>>) {
    let array = super::array::rows_first(tensor, weights.order, groups);
    let mut items = array.items;
    let per_output = items.len() / weights.oc;
    let taps: usize = array.shape.iter().skip(2).product();
    let group_ic = per_output / taps.max(1);
    let mut bias = weights.bias.clone().map(|bias| bias.to_vec());
    if let Some(input) = &weights.input {
        let (scale, shift) = input.spread(group_ic * groups);
        let sums = bias.get_or_insert_with(|| vec![0.0; weights.oc]);
        for (o, row) in items.chunks_exact_mut(per_output.max(1)).enumerate() {
            let first = o / (weights.oc / groups) * group_ic;
            let mut sum = 0.0;
            for (i, taps) in row.chunks_exact_mut(taps).enumerate() {
                for tap in taps {
                    sum += f64::from(*tap) * shift[first + i];
                    *tap = (f64::from(*tap) * scale[first + i]) as f32;
                }
            }
            sums[o] += sum * weights.scale.as_ref().map_or(1.0, |scale| scale[o]);
        }
    }
    if let Some(scale) = &weights.scale {
        for (row, scale) in items.chunks_exact_mut(per_output.max(1)).zip(scale.iter()) {
            row.iter_mut().for_each(|w| *w = (f64::from(*w) * scale) as f32);
        }
    }
    (items, bias.map(|bias| bias.iter().map(|&b| b as f32).collect()))
}
