//! Weights that are the same on every machine.

use crate::graph::{Graph, Op};

/// Weights of every node of a graph; empty where a node has none.
#[derive(Clone, Debug)]
pub struct Weights(Vec<Parameters>);

/// Parameters of one node.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    /// Weights in PyTorch's order; scales of an affine node.
    pub weights: Vec<f32>,
    /// Biases; shifts of an affine node.
    pub bias: Vec<f32>,
}

impl Weights {
    /// Random weights, of such a size that activations neither grow nor vanish from layer to layer: times then are
    /// those of ordinary numbers, not of infinities or denormals.
    pub fn random(graph: &Graph) -> Self {
        let mut random = Random::new(0x5EED);
        let node = |index: usize| {
            let uniform = |random: &mut Random, len: usize, reach: f32| random.uniform(len, reach);
            match (graph.layer(index), &graph.nodes[index].op) {
                (Some(layer), _) => {
                    let fan_in = layer.weights() / layer.oc;
                    // Uniform in +-sqrt(6 / fan_in): He's variance, for layers that a ReLU follows.
                    let reach = (6.0 / fan_in as f32).sqrt();
                    let weights = uniform(&mut random, layer.weights() as usize, reach);
                    Parameters { weights, bias: uniform(&mut random, layer.oc as usize, 0.1) }
                }
                (None, Op::Affine(_)) => {
                    let channels = graph.nodes[index].shape.c;
                    let mut weights = uniform(&mut random, channels, 0.5);
                    weights.iter_mut().for_each(|w| *w += 1.0);
                    Parameters { weights, bias: uniform(&mut random, channels, 0.1) }
                }
                _ => Parameters::default(),
            }
        };
        Self((0..graph.nodes.len()).map(node).collect())
    }

    /// The parameters of node `index`.
    pub fn of(&self, index: usize) -> &Parameters {
        &self.0[index]
    }

    /// The parameters of node `index`, to change.
    pub fn of_mut(&mut self, index: usize) -> &mut Parameters {
        &mut self.0[index]
    }
}

/// A small generator of numbers (SplitMix64): not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// `len` numbers spread evenly over `-reach..reach`.
    pub fn uniform(&mut self, len: usize, reach: f32) -> Vec<f32> {
        (0..len).map(|_| (self.next() >> 40) as f32 / (1u32 << 23) as f32 * reach - reach).collect()
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
