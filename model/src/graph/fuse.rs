//! Which nodes run as one operator. The graph stays as it is: nodes are grouped, not rewritten, so that costs and errors
//! speak of the network that was described.
//!
//! | nodes | run as |
//! |---|---|
//! | dense convolution, 3x3 max pooling of stride 2 | stem: three rows at a time, which never leave the cache |
//! | 1x1 convolution, global average, fully connected layer | head: the wide map between them is never stored |
//! | convolution (not depthwise), addition | the addition in the convolution's epilogue |
//! | anything with an epilogue, activation | the activation in the epilogue |

use super::{Class, Conv, Graph, Linear, Op, Size, Transposed, Value};
use kernels::{Activation, Padding, Window};

/// Which of them are grouped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passes {
    /// All that the kernels can do in one pass.
    #[default]
    All,
    /// None: every node is a pass over memory of its own, to measure what that costs.
    None,
}

/// Nodes that run as one operator: a row of a profile.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The names of its nodes.
    pub name: String,
    /// What it is.
    pub class: Class,
    pub(crate) form: Form,
    /// In their order; the last one's value is what the layer makes.
    pub(crate) nodes: Vec<usize>,
}

/// The operator that runs a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Stem,
    Pointwise,
    Depthwise,
    Convolution,
    Transposed,
    MaxPool,
    AveragePool,
    Resize,
    Add,
    Mul,
    Activate,
    Affine,
    PRelu,
    LayerNorm,
    Copy,
    GlobalAverage,
    Linear,
    Head,
}

impl Form {
    /// The operator for a node by itself; none where nothing runs.
    fn of(graph: &Graph, value: Value) -> Option<Self> {
        Some(match &graph.node(value).op {
            Op::Input { .. } | Op::Concat | Op::Channels(_) | Op::Shuffle(_) => return None,
            Op::Conv(conv) if is_pointwise(conv.window) => Self::Pointwise,
            Op::Conv(conv) if conv.groups > 1 && conv.groups == conv.oc && graph.weights(value)[1] == 1 => {
                Self::Depthwise
            }
            Op::Conv(_) => Self::Convolution,
            Op::MaxPool(_) => Self::MaxPool,
            Op::AveragePool { .. } => Self::AveragePool,
            Op::Transposed(_) => Self::Transposed,
            Op::Resize { .. } => Self::Resize,
            Op::Add(_) => Self::Add,
            Op::Mul(_) => Self::Mul,
            Op::Activate(_) => Self::Activate,
            Op::Affine(_) => Self::Affine,
            Op::PRelu => Self::PRelu,
            Op::LayerNorm { .. } => Self::LayerNorm,
            Op::Copy => Self::Copy,
            Op::GlobalAverage => Self::GlobalAverage,
            Op::Linear(_) => Self::Linear,
        })
    }

    /// Whether it can end with an activation.
    const fn has_epilogue(self) -> bool {
        matches!(
            self,
            Self::Pointwise
                | Self::Depthwise
                | Self::Convolution
                | Self::Transposed
                | Self::Add
                | Self::Mul
                | Self::Affine
                | Self::Linear
        )
    }

    const fn class(self) -> Class {
        match self {
            Self::Stem => Class::Stem,
            Self::Pointwise => Class::Pointwise,
            Self::Depthwise => Class::Depthwise,
            Self::Convolution | Self::Transposed => Class::Dense,
            Self::MaxPool | Self::AveragePool | Self::GlobalAverage => Class::Pool,
            Self::Add | Self::Mul | Self::Activate | Self::Affine | Self::PRelu | Self::LayerNorm => {
                Class::Elementwise
            }
            Self::Copy | Self::Resize => Class::Movement,
            Self::Linear => Class::Linear,
            Self::Head => Class::Head,
        }
    }
}

impl Layer {
    /// The values it reads that it does not make itself: the source, and what is added to it.
    pub(crate) fn reads<'a>(&'a self, graph: &'a Graph) -> impl Iterator<Item = Value> + 'a {
        let inputs = self.nodes.iter().flat_map(|&node| graph.nodes()[node].read()).copied();
        inputs.filter(|value| !self.nodes.contains(&value.index()))
    }

    /// The value it makes.
    pub(crate) fn makes(&self) -> usize {
        *self.nodes.last().expect("a layer has a node")
    }

    /// What slides over the map in its first node, if something does.
    pub fn window(&self, graph: &Graph) -> Option<Window> {
        match graph.nodes()[self.nodes[0]].op {
            Op::Conv(Conv { window, .. })
            | Op::Transposed(Transposed { window, .. })
            | Op::MaxPool(window)
            | Op::AveragePool { window, .. } => Some(window),
            _ => None,
        }
    }

    /// What its only activation is.
    pub(crate) fn activation(&self, graph: &Graph) -> Activation {
        let of = |&node: &usize| match &graph.nodes()[node].op {
            &(Op::Conv(Conv { activation, .. })
            | Op::Transposed(Transposed { activation, .. })
            | Op::Linear(Linear { activation, .. })
            | Op::Add(activation)
            | Op::Mul(activation)
            | Op::Activate(activation)
            | Op::Affine(activation)) => activation,
            _ => Activation::None,
        };
        self.nodes.iter().map(of).find(|activation| *activation != Activation::None).unwrap_or_default()
    }
}

impl super::Node {
    /// The values whose numbers it reads: not those that only say a size.
    fn read(&self) -> &[Value] {
        match self.op {
            Op::Resize { to: Size::Like, .. } => &self.inputs[..1],
            _ => &self.inputs,
        }
    }
}

impl Graph {
    /// What would run, in this order.
    pub fn layers(&self, passes: Passes) -> Vec<Layer> {
        fuse(self, passes)
    }
}

/// Whether a window is one pixel after the other.
pub(crate) fn is_pointwise(window: Window) -> bool {
    let padding = window.padding == Padding::all(0) || window.padding == Padding::Same;
    (window.kernel, window.stride) == ([1, 1], [1, 1]) && padding
}

/// Groups the nodes that an output depends on; layers in the order in which they run.
pub(crate) fn fuse(graph: &Graph, passes: Passes) -> Vec<Layer> {
    let (uses, of) = (graph.uses(), vec![None; graph.nodes().len()]);
    let mut fuser = Fuser { graph, uses, layers: Vec::new(), of };
    for value in graph.values() {
        let Some(form) = Form::of(graph, value).filter(|_| fuser.uses[value.index()] > 0) else { continue };
        if passes == Passes::None || !fuser.joined(value) {
            fuser.add(form, vec![value.index()]);
        }
    }
    let mut layers = fuser.layers;
    layers.retain(|layer| !layer.nodes.is_empty());
    layers.sort_by_key(Layer::makes);
    for layer in &mut layers {
        let names: Vec<&str> = layer.nodes.iter().map(|&node| graph.nodes()[node].name.as_str()).collect();
        layer.name = names.join(" + ");
    }
    layers
}

struct Fuser<'a> {
    graph: &'a Graph,
    uses: Vec<usize>,
    /// Those that were grouped with others are left without nodes.
    layers: Vec<Layer>,
    /// The layer that makes each node's value.
    of: Vec<Option<usize>>,
}

impl Fuser<'_> {
    fn add(&mut self, form: Form, nodes: Vec<usize>) {
        self.of[nodes[nodes.len() - 1]] = Some(self.layers.len());
        self.layers.push(Layer { name: String::new(), class: form.class(), form, nodes });
    }

    /// The layer that makes `value`, where nobody else reads it.
    fn only_for_us(&self, value: Value) -> Option<usize> {
        self.of[value.index()].filter(|_| self.uses[value.index()] == 1)
    }

    /// Appends a node to the layers `parts`, which become one.
    fn join(&mut self, form: Form, parts: &[usize], node: Value) -> bool {
        let mut nodes: Vec<usize> =
            parts.iter().flat_map(|&part| std::mem::take(&mut self.layers[part].nodes)).collect();
        nodes.push(node.index());
        self.add(form, nodes);
        true
    }

    /// Groups a node with what it reads, where one operator does both.
    fn joined(&mut self, value: Value) -> bool {
        let graph = self.graph;
        let node = graph.node(value);
        let plain = |layer: &Layer| layer.activation(graph) == Activation::None;
        match &node.op {
            Op::Activate(_) => {
                let Some(of) = self.only_for_us(node.inputs[0]) else { return false };
                let layer = &self.layers[of];
                layer.form.has_epilogue() && plain(layer) && self.join(layer.form, &[of], value)
            }
            Op::Add(_) => {
                let candidates = node.inputs.iter().filter_map(|&input| self.only_for_us(input));
                let adds = |&of: &usize| {
                    let layer = &self.layers[of];
                    let adds = matches!(layer.form, Form::Pointwise | Form::Convolution | Form::Transposed);
                    adds && layer.reads(graph).count() == 1 && plain(layer)
                };
                // The later one, whose source is surely there when the other term is.
                let of = candidates.filter(adds).max_by_key(|&of| self.layers[of].makes());
                of.is_some_and(|of| self.join(self.layers[of].form, &[of], value))
            }
            Op::MaxPool(Window { kernel: [3, 3], stride: [2, 2], dilation: [1, 1], .. }) => {
                let Some(of) = self.only_for_us(node.inputs[0]) else { return false };
                let layer = &self.layers[of];
                let conv = layer.form == Form::Convolution && layer.reads(graph).count() == 1;
                conv && self.join(Form::Stem, &[of], value)
            }
            Op::Linear(linear) if linear.activation == Activation::None => {
                let average = self.only_for_us(node.inputs[0]);
                let Some(average) = average.filter(|&of| self.layers[of].form == Form::GlobalAverage) else {
                    return false;
                };
                let source = self.layers[average].reads(graph).next().expect("an average reads a map");
                let Some(conv) = self.only_for_us(source) else { return false };
                let head =
                    self.layers[conv].form == Form::Pointwise && self.layers[conv].reads(graph).count() == 1;
                head && self.join(Form::Head, &[conv, average], value)
            }
            _ => false,
        }
    }
}
