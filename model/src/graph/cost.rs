//! What a layer costs, from shapes alone. The only definition of these numbers.

use super::{Conv, Graph, Layer, Op, Transposed};
use crate::Error;
use kernels::Shape;

/// Bytes of an element: everything is `f32`.
const ELEMENT: u64 = size_of::<f32>() as u64;

/// Kinds of work, for grouping as in the paper's Figure 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Dense convolution and max pooling in one.
    Stem,
    /// 1x1 convolution, perhaps with an addition.
    Pointwise,
    /// Depthwise convolution.
    Depthwise,
    /// Any other convolution.
    Dense,
    /// 1x1 convolution, global average and fully connected layer in one.
    Head,
    /// Fully connected layer.
    Linear,
    /// Maximum or mean, of windows or of all pixels.
    Pool,
    /// Addition, activation or batch normalisation in a pass of its own.
    Elementwise,
    /// Channels or pixels that are copied.
    Movement,
}

impl Class {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::Stem,
        Self::Pointwise,
        Self::Depthwise,
        Self::Dense,
        Self::Head,
        Self::Linear,
        Self::Pool,
        Self::Elementwise,
        Self::Movement,
    ];

    /// A short name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stem => "stem",
            Self::Pointwise => "conv1x1",
            Self::Depthwise => "depthwise",
            Self::Dense => "dense",
            Self::Head => "head",
            Self::Linear => "fc",
            Self::Pool => "pool",
            Self::Elementwise => "element-wise",
            Self::Movement => "movement",
        }
    }
}

/// What a layer costs for one image of a known size.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cost {
    /// Channels, height and width of what it reads first.
    pub input: [usize; 3],
    /// Channels, height and width of what it makes.
    pub output: [usize; 3],
    /// Trained numbers: weights, biases, and a scale and a shift per channel of a batch normalisation, but neither its
    /// mean nor its variance.
    pub params: u64,
    /// Multiply-adds of convolutions and fully connected layers, as the paper counts its FLOPs.
    pub macs: u64,
    /// Memory access cost (the paper's MAC, section 2) in bytes: inputs, outputs and weights, each touched once. What
    /// passes between nodes that run as one is not touched.
    pub mac_bytes: u64,
    /// The paper's lower bound on `mac_bytes` (its equation 1) at as many multiply-adds B and an output of hw pixels:
    /// `2 sqrt(hw B) + B / hw`, what the best ungrouped layer of the same FLOPs would cost. A k x k window divides the
    /// square root by k. None where a stride or a depthwise convolution is in it, to which the argument does not apply.
    pub lower_bound_bytes: Option<f64>,
}

impl Graph {
    /// What each of this graph's layers costs for an image of `h` x `w`.
    ///
    /// # Errors
    /// Where the network cannot run on such an image.
    pub fn costs(&self, layers: &[Layer], h: usize, w: usize) -> Result<Vec<Cost>, Error> {
        let shapes = self.shapes(h, w)?;
        Ok(layers.iter().map(|layer| cost(self, layer, &shapes)).collect())
    }
}

/// The cost of one layer of `graph`, whose nodes make maps of these `shapes`.
fn cost(graph: &Graph, layer: &Layer, shapes: &[Shape]) -> Cost {
    let sides = |shape: Shape| [shape.c, shape.h, shape.w];
    let elements = |shape: Shape| (shape.c as u64).saturating_mul(shape.pixels() as u64);
    let reads: Vec<_> = layer.reads(graph).collect();
    let made = shapes[layer.makes()];
    let mut cost = Cost {
        input: reads.first().map_or([0; 3], |value| sides(shapes[value.index()])),
        output: sides(made),
        lower_bound_bytes: Some(0.0),
        ..Cost::default()
    };
    let mut touched = elements(made);
    for (i, value) in reads.iter().enumerate() {
        if !reads[..i].contains(value) {
            touched += elements(shapes[value.index()]);
        }
    }
    for value in layer.nodes.iter().map(|&node| graph.value(node)) {
        let node = graph.node(value);
        let weights = graph.weights(value);
        let numbers: u64 = if weights.is_empty() { 0 } else { weights.iter().map(|&n| n as u64).product() };
        let per_channel = match &node.op {
            &(Op::Conv(Conv { bias, batch_norm, .. })
            | Op::Transposed(Transposed { bias, batch_norm, .. })) => {
                u64::from(bias) + 2 * u64::from(batch_norm)
            }
            Op::Linear(linear) => u64::from(linear.bias),
            Op::Affine(_) | Op::LayerNorm { .. } => 1,
            _ => 0,
        };
        cost.params += numbers + per_channel * node.channels as u64;
        touched += numbers;
        let (side, applies) = match &node.op {
            Op::Conv(Conv { window, groups, oc, .. }) => {
                let side = (window.taps() as f64).sqrt();
                (side, window.stride == [1, 1] && !(*groups > 1 && groups == oc && weights[1] == 1))
            }
            Op::Linear(_) => (1.0, true),
            // Each pixel of the source meets all weights.
            Op::Transposed(_) => (1.0, false),
            _ => continue,
        };
        let counted = if matches!(node.op, Op::Transposed(_)) { node.inputs[0] } else { value };
        let pixels = shapes[counted.index()].pixels();
        let macs = numbers.saturating_mul(pixels as u64);
        cost.macs += macs;
        let (hw, b) = (pixels as f64, macs as f64);
        let bound = ELEMENT as f64 * (2.0 * (hw * b).sqrt() / side + b / hw);
        cost.lower_bound_bytes = cost.lower_bound_bytes.filter(|_| applies).map(|sum| sum + bound);
    }
    cost.mac_bytes = ELEMENT * touched;
    cost
}

impl Cost {
    /// Costs of several layers together; input of the first, output of the last.
    pub fn sum<'a>(costs: impl IntoIterator<Item = &'a Self>) -> Self {
        let add = |sum: Self, cost: &Self| Self {
            input: sum.input,
            output: cost.output,
            params: sum.params + cost.params,
            macs: sum.macs + cost.macs,
            mac_bytes: sum.mac_bytes + cost.mac_bytes,
            lower_bound_bytes: sum.lower_bound_bytes.zip(cost.lower_bound_bytes).map(|(a, b)| a + b),
        };
        let mut costs = costs.into_iter();
        let first = costs.next().cloned().unwrap_or_default();
        costs.fold(first, add)
    }
}
