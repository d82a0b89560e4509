//! What is timed: graphs with the size of their input, described here or by the `model` crate.

pub(crate) mod given;
pub(crate) mod guidelines;
pub(crate) mod layer;
pub(crate) mod networks;
pub(crate) mod step;
pub(crate) mod sweeps;

use kernels::{Activation, Shape, Window};
use model::graph::{Conv, Cost, Graph, Linear, Op, Passes, Value};

use layer::Layer;
use step::Step;

/// A graph, the height and width of its input, and whether nodes run together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    pub(crate) graph: Graph,
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) passes: Passes,
}

impl Work {
    pub(crate) fn new(graph: Graph, h: usize, w: usize) -> Self {
        Self { graph, h, w, passes: Passes::All }
    }

    /// The same graph for another size of the input.
    pub(crate) fn sized(&self, h: usize, w: usize) -> Self {
        Self { h, w, ..self.clone() }
    }

    /// Channels of the input.
    pub(crate) fn channels(&self) -> usize {
        self.graph.nodes()[0].channels
    }

    /// The shape of the output, the first where there are several.
    pub(crate) fn output(&self) -> Shape {
        self.outputs()[0]
    }

    /// The shapes of all outputs.
    pub(crate) fn outputs(&self) -> Vec<Shape> {
        let shapes = self.graph.shapes(self.h, self.w).expect("the size was chosen for the graph");
        self.graph.outputs().iter().map(|output| shapes[output.index()]).collect()
    }

    /// What all layers cost together, as they run.
    pub(crate) fn cost(&self) -> Cost {
        let layers = self.graph.layers(self.passes);
        Cost::sum(&self.graph.costs(&layers, self.h, self.w).expect("the size was chosen for the graph"))
    }

    /// All layers as they run.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let layers = self.graph.layers(self.passes);
        let costs = self.graph.costs(&layers, self.h, self.w).expect("the size was chosen for the graph");
        let step = |(layer, cost): (model::graph::Layer, Cost)| Step {
            name: layer.name,
            class: layer.class.name().to_owned(),
            input: cost.input,
            output: cost.output,
            macs: cost.macs,
            mac_bytes: cost.mac_bytes,
        };
        layers.into_iter().zip(costs).map(step).collect()
    }

    /// Every convolution and fully connected layer.
    pub(crate) fn layers(&self) -> impl Iterator<Item = Layer> {
        let shapes = self.graph.shapes(self.h, self.w).expect("the size was chosen for the graph");
        self.graph.values().filter_map(move |value| {
            let node = self.graph.node(value);
            let (window, groups) = match &node.op {
                Op::Conv(conv) => (conv.window, conv.groups),
                Op::Linear(_) => (Window::new(1), 1),
                _ => return None,
            };
            let from = shapes[node.inputs[0].index()];
            Some(Layer {
                name: node.name.clone(),
                width: String::new(),
                ih: from.h,
                iw: from.w,
                ic: from.c,
                oc: node.channels,
                kernel: window.kernel[0],
                stride: window.stride[0],
                groups,
            })
        })
    }

    /// Multiply-adds when whole vectors of output channels of 1x1 convolutions are computed, and a vector that several
    /// groups share sees the inputs of all of them.
    pub(crate) fn padded_macs(&self, lanes: usize) -> u64 {
        let padded = |layer: Layer| {
            let Layer { ih, iw, ic, oc, kernel, groups, .. } = layer;
            if kernel > 1 {
                return layer.work().cost().macs;
            }
            let (group_ic, group_oc) = (ic / groups, oc / groups);
            let vectors = (0..oc).step_by(lanes).map(|start| {
                let end = (start + lanes).min(oc) - 1;
                (end / group_oc - start / group_oc + 1) * group_ic * lanes
            });
            (vectors.sum::<usize>() * ih * iw) as u64
        };
        self.layers().map(padded).sum()
    }
}

/// A window that is padded by half its size on every side.
pub(crate) fn window(kernel: usize, stride: usize) -> Window {
    Window::new(kernel).stride(stride).pad(kernel / 2)
}

/// A graph that this program describes itself: where a node cannot be, the mistake is here.
pub(crate) struct Draft(pub(crate) Graph);

impl Draft {
    /// A graph of one input.
    pub(crate) fn new(channels: usize) -> (Self, Value) {
        let mut draft = Self(Graph::new());
        let input = draft.push(Op::Input { channels, size: None }, &[]);
        (draft, input)
    }

    pub(crate) fn push(&mut self, op: impl Into<Op>, inputs: &[Value]) -> Value {
        self.0.push(op, inputs).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn channels(&self, x: Value) -> usize {
        self.0.node(x).channels
    }

    /// A convolution with batch normalisation.
    pub(crate) fn conv(
        &mut self,
        x: Value,
        oc: usize,
        (kernel, stride): (usize, usize),
        groups: usize,
        activation: Activation,
    ) -> Value {
        self.push(
            Conv::new(oc, window(kernel, stride)).groups(groups).batch_norm().activation(activation),
            &[x],
        )
    }

    pub(crate) fn pointwise(&mut self, x: Value, oc: usize, activation: Activation) -> Value {
        self.conv(x, oc, (1, 1), 1, activation)
    }

    /// 3x3.
    pub(crate) fn depthwise(&mut self, x: Value, stride: usize, activation: Activation) -> Value {
        let channels = self.channels(x);
        self.conv(x, channels, (3, stride), channels, activation)
    }

    /// Global average and a thousand classes.
    pub(crate) fn classifier(mut self, x: Value, bias: bool) -> Graph {
        let x = self.push(Op::GlobalAverage, &[x]);
        self.push(Op::Linear(Linear { oc: 1000, bias, activation: Activation::None }), &[x]);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_counts_whole_vectors_and_shared_ones() {
        let work = |column: &str, row: usize, id: &str| {
            let experiment = guidelines::all().into_iter().find(|e| e.id == id).unwrap();
            let column = experiment.columns.into_iter().find(|c| c.id == column).unwrap();
            column.cases.into_iter().nth(row).unwrap().work
        };
        // 128 channels fill vectors of sixteen; 9 and 108 do not.
        let full = work("gpu/x1", 0, "g1");
        assert_eq!(full.padded_macs(16), full.cost().macs);
        assert_eq!(work("arm/x1", 3, "g1").padded_macs(16), 10 * 56 * 56 * (9 * 112 + 108 * 16));
        // 360 channels in 8 groups of 45: vectors that straddle two groups read 90 inputs.
        let straddling = (1..8).filter(|g| g * 45 % 8 != 0).count();
        let groups = work("gpu/x1", 3, "g2").padded_macs(8);
        assert_eq!(groups, 10 * 56 * 56 * 8 * 45 * (45 + straddling as u64));
    }
}
