//! Networks as data: operations, what each reads, and how many channels it makes.
//!
//! A [`Graph`] has no image size, no weight and no instruction set. Sizes come with [`Graph::shapes`], weights with
//! [`Tensors`]; [`Program::build`] packs both for one instruction set, and the program then runs images of any size:
//!
//! | pass | what it decides | needs a size |
//! |---|---|---|
//! | `fuse` | which nodes run as one operator | no |
//! | `place` | in which lane of which buffer each channel lies | no |
//! | `program` | how the weights are packed | no |
//! | `arena` | where each buffer lies in memory | yes |
//!
//! Concatenation, channel ranges and shuffles ([`Op::Concat`], [`Op::Channels`], [`Op::Shuffle`]) never run: they are
//! compositions of [`ChannelOrder`](kernels::ChannelOrder)s, and whoever reads the value reads it through its order.
//!
//! ```
//! use kernels::{Activation, Isa, Serial, Window};
//! use model::graph::{Conv, Graph, Op, Passes, Program, Random};
//! use model::Images;
//!
//! let mut graph = Graph::new();
//! let image = graph.push(Op::Input { channels: 3, size: None }, &[])?;
//! let window = Window::new(3).stride(2).pad(1);
//! let x = graph.push(Conv::new(24, window).bias().activation(Activation::Relu), &[image])?;
//! let left = graph.push(Conv::new(8, Window::new(1)).bias(), &[x])?;
//! let x = graph.push(Op::Concat, &[left, x])?;
//! graph.push(Op::Shuffle(2), &[x])?; // the last node is the output unless told otherwise
//!
//! let program = Program::build(&graph, &Random::default(), Isa::best(), Passes::All)?;
//! let photo = vec![0.5; 3 * 32 * 32];
//! let mut map = vec![0.0; 32 * 16 * 16];
//! let images = Images::nchw(&photo, 1, 32, 32);
//! program.run(&Serial, &[images], &mut program.workspace(), &mut [&mut map]);
//! # Ok::<(), model::Error>(())
//! ```

mod arena;
mod cost;
mod fuse;
mod place;
mod program;
mod tensors;
pub mod twin;

pub use arena::Workspace;
pub use cost::{Class, Cost};
pub use fuse::{Layer, Passes};
pub use program::{Output, Program};
pub use tensors::{Parameters, Random, Statistics, Tensors, uniform};

pub use crate::images::Input;

use crate::Error;
use kernels::{Activation, Coordinates, Interpolation, Shape, Window};
use std::ops::Range;

/// The most channels that the nodes of a graph may have together: tables of channels stay small, whatever a file says.
const MAX_CHANNELS: usize = 1 << 23;

/// A network: nodes in an order in which they can run, and which of their values are its outputs.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    outputs: Vec<Value>,
    /// Whether the outputs were chosen; else they are the last node's value.
    chosen: bool,
    /// Channels of all nodes together.
    channels: usize,
}

/// What a node makes: a map, or a vector where it has one pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(u32);

impl Value {
    /// The index of the node, in [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Node {
    /// What errors and profiles call it.
    pub name: String,
    /// What it does.
    pub op: Op,
    /// What it reads: values of earlier nodes.
    pub inputs: Vec<Value>,
    /// How many channels it makes.
    pub channels: usize,
}

/// What a node does.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// What the network is given: an image or a map.
    Input {
        /// Its channels.
        channels: usize,
        /// Its height and width, where the network works at one size only.
        size: Option<(usize, usize)>,
    },
    /// Convolution: 1x1, depthwise, dense or grouped.
    Conv(Conv),
    /// Transposed convolution.
    Transposed(Transposed),
    /// Fully connected layer on a map of one pixel.
    Linear(Linear),
    /// The greatest value of each window.
    MaxPool(Window),
    /// The mean of each window.
    AveragePool {
        /// What slides.
        window: Window,
        /// Divide by the whole window (PyTorch), not by its pixels inside the image (TensorFlow).
        count_pad: bool,
    },
    /// The mean over all pixels.
    GlobalAverage,
    /// The same map in another size.
    Resize {
        /// How numbers between pixels are found.
        interpolation: Interpolation,
        /// Where pixels lie.
        coordinates: Coordinates,
        /// Which size.
        to: Size,
    },
    /// The sum of two values of one shape, then the activation.
    Add(Activation),
    /// The product of two values of one shape, then the activation; of the second, one pixel stands for all (a gate), or
    /// one channel.
    Mul(Activation),
    /// The activation alone.
    Activate(Activation),
    /// One scale and one shift per channel, then the activation: batch normalisation that is not folded.
    Affine(Activation),
    /// What is positive as it is, the rest times a slope per channel.
    PRelu,
    /// The channels of each pixel less their mean, divided by their deviation; then one scale and one shift per channel.
    LayerNorm {
        /// What keeps the deviation from zero.
        eps: f32,
    },
    /// The channels of several values, one after the other. Moves nothing.
    Concat,
    /// Some of the channels. Moves nothing.
    Channels(Range<usize>),
    /// Channel shuffle of so many groups. Moves nothing.
    Shuffle(usize),
    /// Moves the channels into their order in memory, as a network does that cannot read through an order.
    Copy,
}

/// A convolution. Which operator runs it is told by its shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Output channels.
    pub oc: usize,
    /// What slides over the map.
    pub window: Window,
    /// Groups of channels that do not see each other; as many as channels: a depthwise convolution.
    pub groups: usize,
    /// Whether it has a bias.
    pub bias: bool,
    /// Whether a batch normalisation follows, to be folded into the weights.
    pub batch_norm: bool,
    /// What follows.
    pub activation: Activation,
}

/// A transposed convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct Transposed {
    /// Output channels.
    pub oc: usize,
    /// What is laid at every `stride`-th pixel of the result, times a pixel of the source.
    pub window: Window,
    /// Rows and columns more at the end.
    pub output_padding: [usize; 2],
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Whether it has a bias.
    pub bias: bool,
    /// Whether a batch normalisation follows, to be folded into the weights.
    pub batch_norm: bool,
    /// What follows.
    pub activation: Activation,
}

/// How large a map becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// So many times as high and as wide.
    Times(usize, usize),
    /// So many rows and columns.
    Of(usize, usize),
    /// Those of the second value that is read, of which nothing else is.
    Like,
}

/// A fully connected layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Outputs.
    pub oc: usize,
    /// Whether it has a bias.
    pub bias: bool,
    /// What follows.
    pub activation: Activation,
}

impl Conv {
    /// To `oc` channels, and nothing else.
    pub fn new(oc: usize, window: Window) -> Self {
        Self { oc, window, groups: 1, bias: false, batch_norm: false, activation: Activation::None }
    }

    /// With groups.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// With a bias.
    pub fn bias(mut self) -> Self {
        self.bias = true;
        self
    }

    /// With a batch normalisation.
    pub fn batch_norm(mut self) -> Self {
        self.batch_norm = true;
        self
    }

    /// With an activation.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }
}

impl Transposed {
    /// To `oc` channels, and nothing else.
    pub fn new(oc: usize, window: Window) -> Self {
        let (output_padding, groups, activation) = ([0, 0], 1, Activation::None);
        Self { oc, window, output_padding, groups, bias: false, batch_norm: false, activation }
    }

    /// Rows and columns that it makes of `src`.
    fn size(&self, src: Shape) -> Result<(usize, usize), String> {
        let size = self.window.transposed(src.h, src.w, self.output_padding);
        size.map_err(|error| error.to_string())
    }
}

impl From<Transposed> for Op {
    fn from(transposed: Transposed) -> Self {
        Self::Transposed(transposed)
    }
}

impl From<Conv> for Op {
    fn from(conv: Conv) -> Self {
        Self::Conv(conv)
    }
}

impl Op {
    /// Every pixel `times` times as high and as wide: the nearest neighbour.
    pub const fn upsample(times: usize) -> Self {
        let (interpolation, coordinates) = (Interpolation::Nearest, Coordinates::Asymmetric);
        Self::Resize { interpolation, coordinates, to: Size::Times(times, times) }
    }

    /// Whether it only renames channels, and so never runs.
    pub(crate) const fn renames(&self) -> bool {
        matches!(self, Self::Concat | Self::Channels(_) | Self::Shuffle(_))
    }

    /// How many channels it makes of those of its inputs.
    fn channels(&self, from: &[usize]) -> Result<usize, String> {
        let at_least_one = |what: &str, n: usize| match n {
            0 => Err(format!("{what}: expected at least 1, found 0")),
            n => Ok(n),
        };
        match (self, from) {
            (&Self::Input { channels, .. }, []) => at_least_one("channels", channels),
            (
                &Self::Conv(Conv { oc, groups, .. }) | &Self::Transposed(Transposed { oc, groups, .. }),
                &[ic],
            ) => {
                let oc = at_least_one("output channels", oc)?;
                if groups == 0 || ic % groups != 0 || oc % groups != 0 {
                    return Err(format!("{ic} to {oc} channels do not divide into {groups} groups"));
                }
                Ok(oc)
            }
            (Self::Linear(linear), [_]) => at_least_one("outputs", linear.oc),
            (Self::Add(_), &[a, b]) if a == b => Ok(a),
            (Self::Add(_), [a, b]) => Err(format!("{a} channels cannot be added to {b}")),
            (Self::Mul(_), &[a, b]) if a == b || b == 1 => Ok(a),
            (Self::Mul(_), [a, b]) => Err(format!("{a} channels cannot be multiplied by {b}")),
            (Self::Resize { to: Size::Like, .. }, &[c, _]) => Ok(c),
            (Self::Concat, [_, ..]) => Ok(from.iter().fold(0, |sum: usize, &c| sum.saturating_add(c))),
            (Self::Channels(range), &[c]) if range.start < range.end && range.end <= c => Ok(range.len()),
            (Self::Channels(range), [c]) => Err(format!("channels {range:?} of {c}")),
            (&Self::Shuffle(groups), &[c]) if groups > 0 && c % groups == 0 => Ok(c),
            (Self::Shuffle(groups), [c]) => Err(format!("{c} channels do not divide into {groups} groups")),
            (
                Self::Input { .. }
                | Self::Add(_)
                | Self::Mul(_)
                | Self::Concat
                | Self::Resize { to: Size::Like, .. },
                _,
            )
            | (_, [] | [_, _, ..]) => Err(format!("cannot read {} values", from.len())),
            (_, &[c]) => Ok(c),
        }
    }

    /// The shape it makes of its inputs' shapes; channels were checked, and open inputs have `size` pixels.
    fn shape(
        &self,
        channels: usize,
        mut from: impl Iterator<Item = Shape>,
        size: (usize, usize),
    ) -> Result<Shape, String> {
        let src = from.next().unwrap_or(Shape::new(channels, size.0, size.1));
        let (h, w) = match self {
            Self::Input { size: fixed, .. } => fixed.unwrap_or(size),
            Self::Conv(Conv { window, .. }) | Self::MaxPool(window) | Self::AveragePool { window, .. } => {
                window.output(src.h, src.w).map_err(|error| error.to_string())?
            }
            Self::Linear(_) if (src.h, src.w) != (1, 1) => {
                return Err(format!("a fully connected layer reads one pixel, not {}x{}", src.h, src.w));
            }
            Self::Linear(_) | Self::GlobalAverage => (1, 1),
            Self::Transposed(transposed) => transposed.size(src)?,
            Self::Resize { to, .. } => match *to {
                Size::Times(h, w) => (src.h.saturating_mul(h), src.w.saturating_mul(w)),
                Size::Of(h, w) => (h, w),
                Size::Like => from.next().map_or((src.h, src.w), |like| (like.h, like.w)),
            },
            // A gate has one pixel.
            Self::Mul(_) => match from.find(|other| (other.h, other.w) != (1, 1)) {
                Some(other) if (other.h, other.w) != (src.h, src.w) => {
                    return Err(format!("{}x{} pixels times {}x{}", src.h, src.w, other.h, other.w));
                }
                _ => (src.h, src.w),
            },
            _ => match from.find(|other| (other.h, other.w) != (src.h, src.w)) {
                Some(other) => {
                    return Err(format!("{}x{} pixels beside {}x{}", src.h, src.w, other.h, other.w));
                }
                None => (src.h, src.w),
            },
        };
        let shape = Shape::new(channels, h, w);
        shape.try_len().map(|_| shape).map_err(|error| error.to_string())
    }
}

impl Graph {
    /// A graph without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a node, called after its operation, and returns its value.
    ///
    /// # Errors
    /// Where the operation cannot read these inputs.
    pub fn push(&mut self, op: impl Into<Op>, inputs: &[Value]) -> Result<Value, Error> {
        self.named("", op, inputs)
    }

    /// As [`push`](Self::push), with a name for errors and profiles.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn named(&mut self, name: &str, op: impl Into<Op>, inputs: &[Value]) -> Result<Value, Error> {
        let (op, index) = (op.into(), self.nodes.len());
        let name = match name {
            "" => format!("{} {index}", format!("{op:?}").split([' ', '(']).next().unwrap_or_default()),
            name => name.to_owned(),
        };
        let refused = |why| Error::Graph { node: name.clone(), why };
        let known = |value: &Value| match self.nodes.get(value.index()) {
            Some(node) => Ok(node.channels),
            None => Err(refused(format!("reads node {}, of {index} before it", value.0))),
        };
        let from: Vec<usize> = inputs.iter().map(known).collect::<Result<_, _>>()?;
        let channels = op.channels(&from).map_err(refused)?;
        self.channels = self.channels.saturating_add(channels);
        if self.channels > MAX_CHANNELS {
            return Err(refused(format!("the nodes have more than {MAX_CHANNELS} channels together")));
        }
        // At least one channel each, so the index fits.
        let value = Value(index as u32);
        self.nodes.push(Node { name, op, inputs: inputs.to_vec(), channels });
        if !self.chosen {
            self.outputs = vec![value];
        }
        Ok(value)
    }

    /// The first `at` channels, and the others.
    ///
    /// # Errors
    /// Where one of the two would have no channel.
    pub fn split(&mut self, x: Value, at: usize) -> Result<(Value, Value), Error> {
        let channels = self.nodes.get(x.index()).map_or(0, |node| node.channels);
        Ok((self.push(Op::Channels(0..at), &[x])?, self.push(Op::Channels(at..channels), &[x])?))
    }

    /// Makes `values` the outputs, in this order, instead of the last node's.
    ///
    /// # Panics
    /// Where one of them is not of this graph.
    pub fn set_outputs(&mut self, values: &[Value]) {
        assert!(values.iter().all(|value| value.index() < self.nodes.len()), "an output of another graph");
        self.outputs = values.to_vec();
        self.chosen = true;
    }

    /// Every node; each reads only earlier ones.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node that makes `value`.
    ///
    /// # Panics
    /// Where it is another graph's.
    pub fn node(&self, value: Value) -> &Node {
        &self.nodes[value.index()]
    }

    /// The values that the network is asked for.
    pub fn outputs(&self) -> &[Value] {
        &self.outputs
    }

    /// The value of the node at `index`.
    pub(crate) fn value(&self, index: usize) -> Value {
        debug_assert!(index < self.nodes.len());
        Value(index as u32)
    }

    /// Every node's value, in order.
    pub fn values(&self) -> impl Iterator<Item = Value> + use<> {
        (0..self.nodes.len() as u32).map(Value)
    }

    /// What the network is given, in order.
    pub fn inputs(&self) -> impl Iterator<Item = Value> {
        self.values().filter(|&value| matches!(self.node(value).op, Op::Input { .. }))
    }

    /// Per node, how often its value is read by an output or by a node that an output depends on.
    pub(crate) fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.nodes.len()];
        self.outputs.iter().for_each(|value| uses[value.index()] += 1);
        for (index, node) in self.nodes.iter().enumerate().rev() {
            if uses[index] > 0 {
                node.inputs.iter().for_each(|value| uses[value.index()] += 1);
            }
        }
        uses
    }

    /// The shape of a node's weights as PyTorch stores them; empty where it has none.
    pub fn weights(&self, value: Value) -> Vec<usize> {
        let Node { op, inputs, channels, .. } = self.node(value);
        let ic = inputs.first().map_or(0, |&input| self.node(input).channels);
        match op {
            Op::Conv(Conv { oc, window, groups, .. }) => {
                vec![*oc, ic / groups, window.kernel[0], window.kernel[1]]
            }
            Op::Transposed(Transposed { oc, window, groups, .. }) => {
                vec![ic, oc / groups, window.kernel[0], window.kernel[1]]
            }
            Op::Linear(linear) => vec![linear.oc, ic],
            Op::Affine(_) | Op::PRelu | Op::LayerNorm { .. } => vec![*channels],
            _ => vec![],
        }
    }

    /// The shape of every node's value, where open inputs have `h` x `w` pixels.
    ///
    /// # Errors
    /// Where a node cannot work at this size, or a map would not fit into memory.
    pub fn shapes(&self, h: usize, w: usize) -> Result<Vec<Shape>, Error> {
        let mut shapes = Vec::new();
        self.shapes_into(h, w, &mut shapes)?;
        Ok(shapes)
    }

    /// As [`shapes`](Self::shapes), without allocating where `shapes` has been used for this graph before.
    pub(crate) fn shapes_into(&self, h: usize, w: usize, shapes: &mut Vec<Shape>) -> Result<(), Error> {
        shapes.clear();
        for node in &self.nodes {
            let from = node.inputs.iter().map(|value| shapes[value.index()]);
            let shape = node.op.shape(node.channels, from, (h, w));
            shapes.push(shape.map_err(|why| Error::Graph { node: node.name.clone(), why })?);
        }
        Ok(())
    }
}
