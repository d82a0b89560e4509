//! Networks and experiments as data: nodes in the order they run, and what each of them costs.

use std::ops::Range;

use kernels::{Activation, Shape};

use crate::layer::{ELEMENT, Kind, Layer};

/// A network of one input and one output, the last node.
#[derive(Clone, Debug)]
pub struct Graph {
    /// All nodes; each reads only earlier ones.
    pub nodes: Vec<Node>,
}

/// One operation and what it makes.
#[derive(Clone, Debug)]
pub struct Node {
    /// What is done.
    pub op: Op,
    /// Nodes read from.
    pub inputs: Vec<usize>,
    /// Shape of the result.
    pub shape: Shape,
}

/// What a node does. Batch normalisation is folded into convolutions.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The image.
    Input,
    /// Convolution, padded by `kernel / 2`; a second input is added before the activation.
    Conv {
        /// Output channels.
        oc: usize,
        /// Height and width of the kernel.
        kernel: usize,
        /// Step between outputs.
        stride: usize,
        /// Groups of channels.
        groups: usize,
        /// What ends it.
        activation: Activation,
    },
    /// Greatest of each 3x3 window, stride 2, padded by 1.
    MaxPool,
    /// Mean of each 3x3 window, stride 2, padded by 1.
    AveragePool,
    /// Mean over all pixels.
    GlobalAverage,
    /// Fully connected.
    Linear {
        /// Outputs.
        oc: usize,
        /// Whether there is a bias.
        bias: bool,
    },
    /// Sum of two tensors.
    Add(Activation),
    /// Activation in a pass of its own.
    Activate(Activation),
    /// Scale, shift and activation in a pass of its own: batch normalisation that was not folded.
    Affine(Activation),
    /// Channels of several tensors, one after the other. Moves nothing.
    Concat,
    /// Some of the channels. Moves nothing.
    Channels(Range<usize>),
    /// Channel shuffle. Moves nothing.
    Shuffle(usize),
    /// Moves the channels into their order in memory.
    Materialize,
}

/// Classes of work, as in the paper's figure 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// 1x1 convolution.
    Pointwise,
    /// Depthwise convolution.
    Depthwise,
    /// Other convolution.
    Dense,
    /// Addition, activation, batch normalisation on their own.
    Elementwise,
    /// Channels moved in memory.
    Movement,
    /// Pooling and fully connected layers.
    Other,
}

impl Class {
    /// All of them, in the order they are shown.
    pub const ALL: [Self; 6] =
        [Self::Pointwise, Self::Depthwise, Self::Dense, Self::Elementwise, Self::Movement, Self::Other];

    /// Name in tables and legends.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pointwise => "1x1",
            Self::Depthwise => "depthwise",
            Self::Dense => "dense",
            Self::Elementwise => "element-wise",
            Self::Movement => "data movement",
            Self::Other => "pool and fc",
        }
    }
}

impl Graph {
    /// A graph that has an input and nothing else.
    pub fn new(input: Shape) -> Self {
        Self { nodes: vec![Node { op: Op::Input, inputs: vec![], shape: input }] }
    }

    /// Appends a node and returns its index.
    ///
    /// # Panics
    /// Where the inputs do not fit the operation: graphs are built by this crate's own code.
    pub fn push(&mut self, op: Op, inputs: &[usize]) -> usize {
        let from: Vec<Shape> = inputs.iter().map(|&i| self.nodes[i].shape).collect();
        let shape = output_shape(&op, &from);
        self.nodes.push(Node { op, inputs: inputs.to_vec(), shape });
        self.nodes.len() - 1
    }

    /// A convolution reading `from`.
    pub fn conv(
        &mut self,
        from: usize,
        oc: usize,
        kernel: usize,
        stride: usize,
        groups: usize,
        activation: Activation,
    ) -> usize {
        self.push(Op::Conv { oc, kernel, stride, groups, activation }, &[from])
    }

    /// A 1x1 convolution reading `from`.
    pub fn pointwise(&mut self, from: usize, oc: usize, activation: Activation) -> usize {
        self.conv(from, oc, 1, 1, 1, activation)
    }

    /// A 3x3 depthwise convolution reading `from`.
    pub fn depthwise(&mut self, from: usize, stride: usize, activation: Activation) -> usize {
        let channels = self.nodes[from].shape.c;
        self.conv(from, channels, 3, stride, channels, activation)
    }

    /// The shape of the input.
    pub fn input(&self) -> Shape {
        self.nodes[0].shape
    }

    /// The shape of the output.
    pub fn output(&self) -> Shape {
        self.nodes[self.nodes.len() - 1].shape
    }

    /// The same graph for another size of the image.
    pub fn resized(&self, h: usize, w: usize) -> Self {
        let mut graph = Self::new(Shape::new(self.input().c, h, w));
        for node in &self.nodes[1..] {
            graph.push(node.op.clone(), &node.inputs);
        }
        graph
    }

    /// The convolution or fully connected layer that a node is, if it is one.
    pub fn layer(&self, index: usize) -> Option<Layer> {
        let node = &self.nodes[index];
        let (oc, kernel, stride, groups) = match node.op {
            Op::Conv { oc, kernel, stride, groups, .. } => (oc, kernel, stride, groups),
            Op::Linear { oc, .. } => (oc, 1, 1, 1),
            _ => return None,
        };
        let from = self.nodes[node.inputs[0]].shape;
        let [ih, iw, ic, oc, kernel, stride, groups] =
            [from.h, from.w, from.c, oc, kernel, stride, groups].map(|n| n as u64);
        Some(Layer { name: index.to_string(), ih, iw, ic, oc, kernel, stride, groups })
    }

    /// The class of a node; `None` for nodes that do nothing at run time.
    pub fn class(&self, index: usize) -> Option<Class> {
        Some(match self.nodes[index].op {
            Op::Input | Op::Concat | Op::Channels(_) | Op::Shuffle(_) => return None,
            Op::Conv { .. } => match self.layer(index)?.kind() {
                Kind::Pointwise | Kind::Linear => Class::Pointwise,
                Kind::Depthwise => Class::Depthwise,
                Kind::Dense => Class::Dense,
            },
            Op::Add(_) | Op::Activate(_) | Op::Affine(_) => Class::Elementwise,
            Op::Materialize => Class::Movement,
            Op::MaxPool | Op::AveragePool | Op::GlobalAverage | Op::Linear { .. } => Class::Other,
        })
    }

    /// Multiply-adds of convolutions and fully connected layers, as the literature counts them.
    pub fn macs(&self) -> u64 {
        self.layers().map(|l| l.macs()).sum()
    }

    /// Trainable numbers: weights, a scale and a shift per convolution's channel, biases of the last layer.
    pub fn params(&self) -> u64 {
        let extra = |node: &Node| match node.op {
            Op::Conv { oc, .. } => 2 * oc as u64,
            Op::Linear { oc, bias: true } => oc as u64,
            _ => 0,
        };
        self.layers().map(|l| l.weights()).sum::<u64>() + self.nodes.iter().map(extra).sum::<u64>()
    }

    /// Memory access cost in bytes: what every node reads and writes, each once. Nodes that move nothing cost
    /// nothing, so the same network costs more with its shuffles materialised.
    pub fn mac_bytes(&self) -> u64 {
        (0..self.nodes.len()).map(|i| self.node_bytes(i)).sum()
    }

    fn node_bytes(&self, index: usize) -> u64 {
        let node = &self.nodes[index];
        let bytes = |shape: Shape| ELEMENT * (shape.c * shape.pixels()) as u64;
        let read = |inputs: &[usize]| inputs.iter().map(|&i| bytes(self.nodes[i].shape)).sum::<u64>();
        match (self.layer(index), self.class(index)) {
            (Some(layer), _) => layer.mac_bytes() + read(&node.inputs[1..]),
            (None, Some(_)) => read(&node.inputs) + bytes(node.shape),
            (None, None) => 0,
        }
    }

    /// The sum of the paper's lower bounds of all convolutions, in bytes, if it applies to all of them.
    pub fn lower_bound_bytes(&self) -> Option<f64> {
        self.layers().map(|l| l.lower_bound_bytes()).sum()
    }

    fn layers(&self) -> impl Iterator<Item = Layer> {
        (0..self.nodes.len()).filter_map(|i| self.layer(i))
    }
}

fn output_shape(op: &Op, from: &[Shape]) -> Shape {
    let halved = |s: Shape| Shape::new(s.c, s.h.div_ceil(2), s.w.div_ceil(2));
    match (op, from) {
        (&Op::Conv { oc, stride, groups, .. }, [src, rest @ ..]) => {
            assert!(src.c.is_multiple_of(groups) && oc.is_multiple_of(groups), "{op:?} of {src}");
            let shape = Shape::new(oc, src.h.div_ceil(stride), src.w.div_ceil(stride));
            assert!(rest.len() <= 1 && rest.iter().all(|r| *r == shape), "{op:?} of {src} plus {rest:?}");
            shape
        }
        (Op::MaxPool | Op::AveragePool, [src]) => halved(*src),
        (Op::GlobalAverage, [src]) => Shape::new(src.c, 1, 1),
        (Op::Linear { oc, .. }, [src]) if src.pixels() == 1 => Shape::new(*oc, 1, 1),
        (Op::Add(_), [a, b]) if a == b => *a,
        (Op::Activate(_) | Op::Affine(_) | Op::Materialize, [src]) => *src,
        (Op::Concat, [first, rest @ ..]) if rest.iter().all(|r| (r.h, r.w) == (first.h, first.w)) => {
            Shape { c: from.iter().map(|s| s.c).sum(), ..*first }
        }
        (Op::Channels(range), [src]) if range.end <= src.c => Shape { c: range.len(), ..*src },
        (Op::Shuffle(groups), [src]) if src.c.is_multiple_of(*groups) => *src,
        _ => panic!("{op:?} cannot read {from:?}"),
    }
}
