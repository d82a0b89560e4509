//! The reference twin of a graph: every node by `kernels::reference`, in `f64`. Nothing is timed whose answer was not
//! held against its twin's.

use std::fmt;

use kernels::reference::{self, Planar, Window};
use kernels::{ChannelOrder, Serial};

use crate::engine::Engine;
use crate::graph::{Graph, Op};
use crate::weights::{Random, Weights};

/// The largest error accepted, relative to the largest output: some fifty layers of sums in `f32`.
const TOLERANCE: f64 = 2e-5;

/// Pixels of the map at which networks of 1x1 convolutions are checked.
const PROBES: usize = 6;

/// An answer that is not the reference's.
#[derive(Debug)]
pub struct Disagreement {
    error: f64,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "differs from the reference by {:.1e} of the largest output (accepted: {TOLERANCE:.0e})",
            self.error
        )
    }
}

/// The image on which a graph is checked and timed.
pub fn image(graph: &Graph) -> Vec<f32> {
    let input = graph.input();
    Random::new(0x1AAE).uniform(input.c * input.pixels(), 1.0)
}

/// The right answer for [`image`], or for some of its pixels.
#[derive(Clone, Debug)]
pub struct Truth {
    /// Pixels that were computed; all of them if empty.
    probes: Vec<usize>,
    output: Vec<f64>,
}

impl Truth {
    /// Computes the answer. Where no pixel depends on another, a few spread over the map are enough.
    pub fn of(graph: &Graph, weights: &Weights) -> Self {
        let image = image(graph);
        if !pixels_are_independent(graph) {
            return Self { probes: vec![], output: run(graph, weights, &image) };
        }
        let pixels = graph.input().pixels();
        let probes: Vec<usize> = (0..PROBES).map(|i| i * (pixels - 1) / (PROBES - 1)).collect();
        let few = pick(&image, pixels, &probes);
        let output = run(&graph.resized(1, PROBES), weights, &few);
        Self { probes, output }
    }

    /// Runs `engine` on [`image`] and compares.
    ///
    /// # Errors
    /// Where an output is off by more than rounding explains.
    pub fn check(&self, graph: &Graph, engine: &Engine) -> Result<(), Disagreement> {
        let mut arena = engine.arena();
        engine.load(&mut arena, &image(graph));
        engine.run(&mut arena, &Serial);
        let output = engine.output(&arena);
        if self.probes.is_empty() {
            compare(&output, &self.output)
        } else {
            compare(&pick(&output, graph.output().pixels(), &self.probes), &self.output)
        }
    }
}

/// Holds an engine against its twin: at full size where that is asked for or costs little, else with the same weights
/// on an image of a quarter of the side.
///
/// # Errors
/// One line, if the answer is wrong or no engine can be built.
pub fn check(graph: &Graph, weights: &Weights, engine: &Engine, full_size: bool) -> Result<(), String> {
    let input = graph.input();
    let held = if full_size || input.h.min(input.w) <= 28 || pixels_are_independent(graph) {
        Truth::of(graph, weights).check(graph, engine)
    } else {
        let small = graph.resized(input.h / 4, input.w / 4);
        let engine = Engine::new(&small, weights, engine.isa()).map_err(|e| e.to_string())?;
        Truth::of(&small, weights).check(&small, &engine)
    };
    held.map_err(|e| e.to_string())
}

/// Holds an answer against the right one.
///
/// # Errors
/// Where an output is off by more than rounding explains.
pub fn compare(actual: &[f32], expected: &[f64]) -> Result<(), Disagreement> {
    assert_eq!(actual.len(), expected.len());
    let largest = expected.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let off = actual.iter().zip(expected).map(|(a, e)| (f64::from(*a) - e).abs() / largest);
    // A NaN anywhere must not pass for zero.
    let error = off.fold(0.0, |m: f64, e| if e > m || e.is_nan() { e } else { m });
    if error <= TOLERANCE { Ok(()) } else { Err(Disagreement { error }) }
}

fn pixels_are_independent(graph: &Graph) -> bool {
    graph.nodes.iter().all(|node| match node.op {
        Op::Conv { kernel, .. } => kernel == 1,
        Op::MaxPool | Op::AveragePool | Op::GlobalAverage | Op::Linear { .. } => false,
        _ => true,
    })
}

/// Some pixels of every channel.
fn pick(planar: &[f32], pixels: usize, probes: &[usize]) -> Vec<f32> {
    planar.chunks(pixels).flat_map(|channel| probes.iter().map(|&p| channel[p])).collect()
}

fn run(graph: &Graph, weights: &Weights, image: &[f32]) -> Vec<f64> {
    let mut values: Vec<Planar> = Vec::with_capacity(graph.nodes.len());
    for index in 0..graph.nodes.len() {
        let value = match graph.nodes[index].op {
            Op::Input => Planar::new(graph.input(), image),
            _ => node(graph, weights, index, &values),
        };
        values.push(value);
    }
    values.pop().expect("a graph has a node").data
}

fn node(graph: &Graph, weights: &Weights, index: usize, values: &[Planar]) -> Planar {
    let node = &graph.nodes[index];
    let input = |i: usize| &values[node.inputs[i]];
    let src = input(0);
    let parameters = weights.of(index);
    let (w, bias) = (&parameters.weights, Some(parameters.bias.as_slice()));
    let pool = Window::new(3).stride(2).pad(1);
    match node.op {
        Op::Conv { oc, kernel, stride, groups, activation } => {
            let window = Window::new(kernel).stride(stride).pad(kernel / 2);
            let sum = if kernel == 1 {
                reference::pointwise(src, groups, w, bias)
            } else if groups == oc && groups == src.shape.c {
                reference::depthwise(src, window, w, bias)
            } else {
                reference::convolution(src, window, 1, w, bias)
            };
            let sum = if node.inputs.len() > 1 { reference::add(&sum, input(1)) } else { sum };
            reference::activate(&sum, activation)
        }
        Op::MaxPool => reference::max_pool(src, pool),
        Op::AveragePool => reference::average_pool(src, pool, true),
        Op::GlobalAverage => Planar::new(node.shape, &reference::global_average(src)),
        Op::Linear { bias: with, .. } => {
            Planar::new(node.shape, &reference::linear(&src.data, w, bias.filter(|_| with)))
        }
        Op::Add(activation) => reference::activate(&reference::add(src, input(1)), activation),
        Op::Activate(activation) => reference::activate(src, activation),
        Op::Affine(activation) => {
            reference::activate(&reference::affine(src, w, &parameters.bias), activation)
        }
        Op::Concat => {
            let data = node.inputs.iter().flat_map(|&i| values[i].data.iter().copied()).collect();
            Planar { shape: node.shape, data }
        }
        Op::Channels(ref range) => {
            reference::gather(src, &ChannelOrder::from_slots(range.clone().map(|c| c as u32).collect()))
        }
        Op::Shuffle(groups) => reference::shuffle(src, groups),
        Op::Materialize => src.clone(),
        Op::Input => unreachable!("the image was given"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{guidelines, networks};
    use kernels::{Activation, Isa, Shape};

    fn agree(name: &str, graph: &Graph) {
        let weights = Weights::random(graph);
        let truth = Truth::of(graph, &weights);
        for isa in Isa::available() {
            let engine = Engine::new(graph, &weights, isa).unwrap();
            truth.check(graph, &engine).unwrap_or_else(|error| panic!("{name} on {isa}: {error}"));
        }
    }

    /// Small images: the same layers, with borders and odd sizes.
    #[test]
    fn networks_agree_with_their_twins() {
        for network in networks::all() {
            agree(&network.id, &network.graph.resized(49, 64));
        }
    }

    #[test]
    fn experiments_agree_with_their_twins() {
        for experiment in guidelines::all() {
            // The narrowest column of each kind has all the structure.
            for column in experiment.columns.iter().filter(|c| c.cases[0].graph.input().c <= 128) {
                for case in &column.cases {
                    agree(&experiment.case_id(column, case), &case.graph.resized(13, 9));
                }
            }
        }
    }

    #[test]
    fn a_wrong_answer_is_noticed() {
        let network = &networks::all()[0];
        let graph = network.graph.resized(32, 32);
        let truth = Truth::of(&graph, &Weights::random(&graph));
        let mut weights = Weights::random(&graph);
        weights.of_mut(graph.nodes.len() - 1).bias[3] += 0.01;
        let engine = Engine::new(&graph, &weights, Isa::best()).unwrap();
        assert!(truth.check(&graph, &engine).is_err());
    }

    /// Every kind of node that the networks do not have.
    #[test]
    fn odd_graphs_agree_too() {
        let mut graph = Graph::new(Shape::new(20, 6, 5));
        let a = graph.pointwise(0, 33, Activation::Relu);
        let b = graph.conv(0, 21, 3, 1, 1, Activation::None);
        let b = graph.push(Op::Affine(Activation::Relu6), &[b]);
        let both = graph.push(Op::Concat, &[b, a]);
        let shuffled = graph.push(Op::Shuffle(3), &[both]);
        let part = graph.push(Op::Channels(5..49), &[shuffled]);
        let pooled = graph.push(Op::AveragePool, &[part]);
        let moved = graph.push(Op::Materialize, &[pooled]);
        let c = graph.depthwise(part, 2, Activation::None);
        let c = graph.conv(c, 44, 1, 1, 4, Activation::None);
        let sum = graph.push(Op::Add(Activation::None), &[c, moved]);
        graph.push(Op::Activate(Activation::Relu), &[sum]);
        agree("odd", &graph);
    }
}
