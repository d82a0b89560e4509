//! Runs a [`Graph`] on the public interface of `kernels` alone.
//!
//! Values that are joined, split or shuffled share one piece of memory: a concat's parts are written beside each
//! other by whoever computes them, and a [`ChannelOrder`] remembers which channel lies in which slot. All pieces
//! lie in one arena, where those that do not live at the same time overlap.

use std::ops::Range;
use std::time::Instant;

use kernels::{
    Activation, Affine, AveragePool, BLOCK, Buffer, ChannelOrder, Convolution, Depthwise, Error, Isa, Linear,
    Materialize, MaxPool, Padding, Parallel, Pointwise, Shape, View, ViewMut,
};

use crate::graph::{Class, Graph, Op};
use crate::weights::Weights;

/// A graph packed for one instruction set. Shared by threads; what changes lives in an [`Arena`].
#[derive(Debug)]
pub struct Engine {
    isa: Isa,
    steps: Vec<Step>,
    input: Place,
    /// Whether the image is read as it comes, channel after channel, by the first convolution.
    planar: bool,
    output: Place,
    output_order: ChannelOrder,
    len: usize,
}

/// The activations of one running inference.
#[derive(Debug)]
pub struct Arena(Buffer);

#[derive(Debug)]
struct Step {
    kernel: Kernel,
    class: Class,
    src: Place,
    /// What is added.
    other: Option<Place>,
    dst: Place,
}

#[derive(Debug)]
enum Kernel {
    Pointwise(Pointwise),
    Planar(Convolution),
    Convolution(Convolution),
    Depthwise(Depthwise),
    MaxPool(MaxPool),
    AveragePool(AveragePool),
    GlobalAverage(Isa),
    Linear(Linear),
    Add(Isa, Activation),
    Activate(Isa, Activation),
    Affine(Affine),
    Materialize(Materialize),
}

/// Some blocks of a piece; once the pieces are laid out, `at` is where they begin in the arena.
#[derive(Clone, Copy, Debug)]
struct Place {
    piece: usize,
    block: usize,
    shape: Shape,
    at: usize,
}

/// Memory that values share, from the first step that writes it to the last that reads it.
#[derive(Debug)]
struct Piece {
    blocks: usize,
    block_stride: usize,
    /// The first step that needs it, and the first that does not any more.
    from: usize,
    until: usize,
}

/// Where a node's channels lie in its piece.
#[derive(Clone, Debug)]
struct Value {
    piece: usize,
    order: ChannelOrder,
}

impl Engine {
    /// Packs `weights` and lays out the memory.
    ///
    /// # Errors
    /// Where the graph asks for what the kernels do not have.
    pub fn new(graph: &Graph, weights: &Weights, isa: Isa) -> Result<Self, Error> {
        Lowering::new(graph, weights, isa).lower()
    }

    /// What it was packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Memory for one running inference.
    pub fn arena(&self) -> Arena {
        Arena(Buffer::zeros(self.len))
    }

    /// Puts an image (channel after channel) where [`run`](Self::run) reads it. It stays there.
    ///
    /// # Panics
    /// Where the image has another size than the graph's input.
    pub fn load(&self, arena: &mut Arena, image: &[f32]) {
        let at = self.input.at;
        let memory = &mut arena.0.as_mut_slice()[at..];
        if self.planar {
            memory[..image.len()].copy_from_slice(image);
        } else {
            let view = ViewMut::new(&mut memory[..self.input.shape.len()], self.input.shape);
            kernels::layout::from_nchw(image, view.expect("the arena was laid out for this shape"));
        }
    }

    /// Computes everything from the image loaded.
    pub fn run(&self, arena: &mut Arena, parallel: &dyn Parallel) {
        kernels::team(parallel, |team| {
            for step in &self.steps {
                self.step(step, arena, team);
            }
        });
    }

    /// As [`run`](Self::run), adding the seconds spent in each class of work to `seconds`.
    pub fn run_by_class(
        &self,
        arena: &mut Arena,
        parallel: &dyn Parallel,
        seconds: &mut [f64; Class::ALL.len()],
    ) {
        kernels::team(parallel, |team| {
            let mut before = Instant::now();
            for step in &self.steps {
                self.step(step, arena, team);
                let now = Instant::now();
                seconds[step.class as usize] += (now - before).as_secs_f64();
                before = now;
            }
        });
    }

    /// The output, channel after channel.
    pub fn output(&self, arena: &Arena) -> Vec<f32> {
        let mut output = vec![0.0; self.output_order.channels() * self.output.shape.pixels()];
        kernels::layout::to_nchw(view(arena.0.as_slice(), self.output), &self.output_order, &mut output);
        output
    }

    fn step(&self, step: &Step, arena: &mut Arena, parallel: &dyn Parallel) {
        let (left, rest) = arena.0.as_mut_slice().split_at_mut(step.dst.at);
        let (dst, right) = rest.split_at_mut(step.dst.shape.len());
        let right_at = step.dst.at + dst.len();
        let slice = |place: Place, len: usize| match place.at.checked_sub(right_at) {
            Some(at) => &right[at..at + len],
            None => &left[place.at..place.at + len],
        };
        let read = |place: Place| {
            View::new(slice(place, place.shape.len()), place.shape).expect("laid out at building")
        };
        let elements = |place: Place| slice(place, place.shape.c);
        let (src, shape) = (step.src, step.dst.shape);
        match &step.kernel {
            Kernel::Pointwise(op) => {
                op.run_with(parallel, read(src), step.other.map(read), view_mut(dst, shape))
            }
            Kernel::Planar(op) => {
                let Shape { c, h, w } = src.shape;
                op.run_planar_with(parallel, slice(src, c * h * w), h, w, view_mut(dst, shape));
            }
            Kernel::Convolution(op) => op.run_with(parallel, read(src), view_mut(dst, shape)),
            Kernel::Depthwise(op) => op.run_with(parallel, read(src), view_mut(dst, shape)),
            Kernel::MaxPool(op) => op.run_with(parallel, read(src), view_mut(dst, shape)),
            Kernel::AveragePool(op) => op.run_with(parallel, read(src), view_mut(dst, shape)),
            Kernel::GlobalAverage(isa) => kernels::global_average(*isa, read(src), &mut dst[..shape.c]),
            Kernel::Linear(op) => op.run_with(parallel, elements(src), &mut dst[..shape.c]),
            Kernel::Add(isa, activation) => {
                let other = step.other.expect("an addition has two inputs");
                kernels::add_with(parallel, *isa, read(src), read(other), *activation, view_mut(dst, shape));
            }
            Kernel::Activate(isa, activation) => {
                kernels::activate_with(parallel, *isa, *activation, view_mut(dst, shape));
            }
            Kernel::Affine(op) => op.run_in_place_with(parallel, view_mut(dst, shape)),
            Kernel::Materialize(op) => op.run_with(parallel, read(src), view_mut(dst, shape)),
        }
    }
}

fn view(memory: &[f32], place: Place) -> View<'_> {
    View::new(&memory[place.at..place.at + place.shape.len()], place.shape).expect("laid out at building")
}

fn view_mut(memory: &mut [f32], shape: Shape) -> ViewMut<'_> {
    ViewMut::new(memory, shape).expect("laid out at building")
}

/// The work of [`Engine::new`].
struct Lowering<'a> {
    graph: &'a Graph,
    weights: &'a Weights,
    isa: Isa,
    /// The piece of every node.
    piece_of: Vec<usize>,
    pieces: Vec<Piece>,
    values: Vec<Value>,
    steps: Vec<Step>,
}

impl<'a> Lowering<'a> {
    fn new(graph: &'a Graph, weights: &'a Weights, isa: Isa) -> Self {
        let piece_of = share(graph);
        let piece = |_| Piece { blocks: 0, block_stride: 0, from: usize::MAX, until: 0 };
        let pieces = (0..graph.nodes.len()).map(piece).collect();
        Self { graph, weights, isa, piece_of, pieces, values: Vec::new(), steps: Vec::new() }
    }

    fn lower(mut self) -> Result<Engine, Error> {
        let graph = self.graph;
        let channels = graph.input().c;
        let planar =
            graph.nodes.iter().enumerate().all(|(i, node)| !node.inputs.contains(&0) || self.reads_planar(i));
        for index in 0..graph.nodes.len() {
            let value = match graph.nodes[index].op {
                Op::Input => self.write(index, ChannelOrder::identity(channels)).1,
                _ => self.node(index, planar)?,
            };
            self.values.push(value);
        }
        let output = self.values.last().expect("a graph has a node").clone();
        let (output, output_order) = self.read(&output);
        // The image stays, for the next run; the output stays until it is fetched.
        let input = &mut self.pieces[self.piece_of[0]];
        (input.from, input.until) = (0, usize::MAX);
        self.pieces[output.piece].until = usize::MAX;

        let (offsets, len) = lay_out(&self.pieces);
        let locate = |place: &mut Place| {
            place.at = offsets[place.piece] + place.block * self.pieces[place.piece].block_stride;
        };
        for step in &mut self.steps {
            [&mut step.src, &mut step.dst].into_iter().chain(&mut step.other).for_each(locate);
        }
        let mut input = Place { piece: self.piece_of[0], block: 0, shape: graph.input(), at: 0 };
        let mut output = output;
        locate(&mut input);
        locate(&mut output);
        Ok(Engine { isa: self.isa, steps: self.steps, input, planar, output, output_order, len })
    }

    /// Whether a node can read an image that lies channel after channel.
    fn reads_planar(&self, index: usize) -> bool {
        matches!(self.graph.nodes[index].op, Op::Conv { kernel, groups: 1, .. } if kernel > 1)
    }

    fn node(&mut self, index: usize, planar: bool) -> Result<Value, Error> {
        let graph = self.graph;
        let (node, isa) = (&graph.nodes[index], self.isa);
        let inputs: Vec<Value> = node.inputs.iter().map(|&i| self.values[i].clone()).collect();
        let first = &inputs[0];
        match &node.op {
            Op::Concat => {
                let orders: Vec<&ChannelOrder> = inputs.iter().map(|v| &v.order).collect();
                return Ok(Value { piece: first.piece, order: ChannelOrder::concat(&orders) });
            }
            Op::Channels(range) => return Ok(Value { order: first.order.range(range.clone())?, ..*first }),
            Op::Shuffle(groups) => return Ok(Value { order: first.order.shuffle(*groups)?, ..*first }),
            _ => {}
        }
        let (src, order) = self.read(first);
        let identity = ChannelOrder::identity(node.shape.c);
        let weights = self.weights.of(index);
        let (mut other, mut in_place) = (None, false);
        let (kernel, written) = match node.op {
            Op::Conv { oc, kernel: 1, groups, activation, .. } => {
                let mut written = identity;
                if let Some(residual) = inputs.get(1) {
                    let (place, order) = self.read(residual);
                    (other, written) = (Some(place), order);
                }
                let builder =
                    Pointwise::builder(order.channels(), oc).groups(groups).activation(activation).isa(isa);
                let builder = builder.bias(&weights.bias).input_order(&order).output_order(&written);
                (Kernel::Pointwise(builder.build(&weights.weights)?), written)
            }
            Op::Conv { oc, kernel, stride, groups, activation }
                if groups == oc && groups == order.channels() =>
            {
                let builder = Depthwise::builder(oc, kernel, stride).activation(activation).isa(isa);
                let op = builder.bias(&weights.bias).input_order(&order).build(&weights.weights)?;
                let written = op.output_order().clone();
                (Kernel::Depthwise(op), written)
            }
            Op::Conv { oc, kernel, stride, activation, .. } => {
                let builder =
                    Convolution::builder(order.channels(), oc, kernel, stride).activation(activation);
                let op = builder.bias(&weights.bias).isa(isa).build(&weights.weights)?;
                let from_image = planar && node.inputs[0] == 0;
                (if from_image { Kernel::Planar(op) } else { Kernel::Convolution(op) }, identity)
            }
            Op::MaxPool => (Kernel::MaxPool(MaxPool::new(3, 2, Padding::all(1), isa)?), order),
            Op::AveragePool => {
                (Kernel::AveragePool(AveragePool::new(3, 2, Padding::all(1), true, isa)?), order)
            }
            Op::GlobalAverage => (Kernel::GlobalAverage(isa), order),
            Op::Linear { oc, bias } => {
                let bias = bias.then_some(weights.bias.as_slice());
                let op = Linear::new(order.channels(), oc, &weights.weights, bias, Activation::None, isa)?;
                (Kernel::Linear(op), identity)
            }
            Op::Add(activation) => {
                other = Some(self.read(&inputs[1]).0);
                (Kernel::Add(isa, activation), order)
            }
            Op::Activate(activation) => {
                in_place = true;
                (Kernel::Activate(isa, activation), order)
            }
            Op::Affine(activation) => {
                in_place = true;
                let by_slot = |values: &[f32]| {
                    let mut slots = vec![0.0; order.width()];
                    order.slots().iter().zip(values).for_each(|(&slot, &value)| slots[slot as usize] = value);
                    slots
                };
                let (scale, shift) = (by_slot(&weights.weights), by_slot(&weights.bias));
                (Kernel::Affine(Affine::new(&scale, &shift, activation, isa)?), order)
            }
            Op::Materialize => (Kernel::Materialize(Materialize::new(&order, isa)?), identity),
            Op::Input | Op::Concat | Op::Channels(_) | Op::Shuffle(_) => unreachable!("handled above"),
        };
        let (dst, value) = if in_place { (src, first.clone()) } else { self.write(index, written) };
        let class = graph.class(index).expect("every node that does something has a class");
        self.steps.push(Step { kernel, class, src, other, dst });
        if node.op == Op::GlobalAverage && !written_in_order(&value) {
            // A fully connected layer reads its inputs in order; a vector is quickly put in order.
            let (src, order) = self.read(&value);
            let (dst, value) = self.write(index, ChannelOrder::identity(node.shape.c));
            let kernel = Kernel::Materialize(Materialize::new(&order, isa)?);
            self.steps.push(Step { kernel, class, src, other: None, dst });
            return Ok(value);
        }
        Ok(value)
    }

    /// The blocks that hold a value, and its order within them.
    fn read(&mut self, value: &Value) -> (Place, ChannelOrder) {
        let slots = value.order.slots();
        let block = slots.iter().min().map_or(0, |&slot| slot as usize / BLOCK);
        let order =
            ChannelOrder::from_slots(slots.iter().map(|slot| slot - (block * BLOCK) as u32).collect());
        let piece = &mut self.pieces[value.piece];
        piece.until = piece.until.max(self.steps.len() + 1);
        let Shape { h, w, .. } = self.shape_of(value.piece);
        (Place { piece: value.piece, block, shape: Shape::new(order.width(), h, w), at: 0 }, order)
    }

    /// Room for a new value at the end of its piece.
    fn write(&mut self, index: usize, order: ChannelOrder) -> (Place, Value) {
        let piece = self.piece_of[index];
        let Shape { h, w, .. } = self.graph.nodes[index].shape;
        let shape = Shape::new(order.width(), h, w);
        let memory = &mut self.pieces[piece];
        let block = memory.blocks;
        memory.blocks += shape.blocks();
        memory.block_stride = shape.block_stride();
        memory.from = memory.from.min(self.steps.len());
        memory.until = memory.until.max(self.steps.len() + 1);
        (Place { piece, block, shape, at: 0 }, Value { piece, order: order.after_blocks(block) })
    }

    fn shape_of(&self, piece: usize) -> Shape {
        self.graph.nodes[piece].shape
    }
}

/// Whether channels lie side by side, beginning with a block.
fn written_in_order(value: &Value) -> bool {
    let slots = value.order.slots();
    slots.iter().enumerate().all(|(c, &slot)| slot as usize == slots[0] as usize / BLOCK * BLOCK + c)
}

/// For every node, the first node whose memory it shares.
fn share(graph: &Graph) -> Vec<usize> {
    let mut piece_of: Vec<usize> = (0..graph.nodes.len()).collect();
    for (index, node) in graph.nodes.iter().enumerate() {
        let in_place = matches!(node.op, Op::Activate(_) | Op::Affine(_));
        if in_place {
            let readers = graph.nodes.iter().filter(|n| n.inputs.contains(&node.inputs[0])).count();
            assert!(readers == 1, "node {index} would overwrite what another node reads");
        }
        if in_place || matches!(node.op, Op::Concat | Op::Channels(_) | Op::Shuffle(_)) {
            for &input in &node.inputs {
                let (a, b) = (piece_of[index], piece_of[input]);
                piece_of.iter_mut().filter(|p| **p == a || **p == b).for_each(|p| *p = a.min(b));
            }
        }
    }
    piece_of
}

/// Where each piece begins, and the length of all: first fit, the largest piece first.
fn lay_out(pieces: &[Piece]) -> (Vec<usize>, usize) {
    let size = |piece: &Piece| piece.blocks * piece.block_stride;
    let mut order: Vec<usize> = (0..pieces.len()).filter(|&i| pieces[i].blocks > 0).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(size(&pieces[i])));
    let mut offsets = vec![0; pieces.len()];
    let mut placed: Vec<usize> = Vec::new();
    for &i in &order {
        let overlaps = |&&other: &&usize| {
            let (a, b) = (&pieces[i], &pieces[other]);
            a.from < b.until && b.from < a.until
        };
        let mut taken: Vec<Range<usize>> =
            placed.iter().filter(overlaps).map(|&o| offsets[o]..offsets[o] + size(&pieces[o])).collect();
        taken.sort_by_key(|range| range.start);
        let mut at = 0;
        for range in taken {
            if range.start >= at + size(&pieces[i]) {
                break;
            }
            at = at.max(range.end);
        }
        offsets[i] = at;
        placed.push(i);
    }
    let len = order.iter().map(|&i| offsets[i] + size(&pieces[i])).max().unwrap_or(0);
    (offsets, len)
}
