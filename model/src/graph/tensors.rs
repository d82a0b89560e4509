//! Where a graph's numbers come from.

use super::{Graph, Op, Value};
use crate::Error;
use kernels::BatchNorm;
use std::borrow::Cow;

/// The numbers of one node.
#[derive(Clone, Debug, Default)]
pub struct Parameters<'a> {
    /// Weights, shaped as [`Graph::weights`] says: PyTorch's order. Scales of an [`Op::Affine`] or [`Op::LayerNorm`], slopes
    /// of an [`Op::PRelu`].
    pub weights: Cow<'a, [f32]>,
    /// One number per output channel, where the node has a bias. Shifts of an [`Op::Affine`] or [`Op::LayerNorm`].
    pub bias: Option<Cow<'a, [f32]>>,
    /// Where the node has a batch normalisation that is not folded into weights and bias already.
    pub batch_norm: Option<Statistics<'a>>,
}

/// What a batch normalisation has learned, one number per channel each.
#[derive(Clone, Debug)]
pub struct Statistics<'a> {
    /// Scale.
    pub gamma: Cow<'a, [f32]>,
    /// Shift.
    pub beta: Cow<'a, [f32]>,
    /// Mean.
    pub mean: Cow<'a, [f32]>,
    /// Variance.
    pub variance: Cow<'a, [f32]>,
    /// What keeps the root from zero.
    pub eps: f32,
}

impl Statistics<'_> {
    /// As the kernels take them.
    pub fn batch_norm(&self) -> BatchNorm<'_> {
        let Self { gamma, beta, mean, variance, eps } = self;
        BatchNorm { gamma, beta, mean, variance, eps: *eps }
    }
}

/// The numbers of every node of a graph.
pub trait Tensors {
    /// Those of the node that makes `value`, whose [`Graph::weights`] are not empty.
    ///
    /// # Errors
    /// Where they are missing or shaped otherwise.
    fn of(&self, graph: &Graph, value: Value) -> Result<Parameters<'_>, Error>;
}

/// Made up, and the same on every machine: for measurements and tests.
///
/// They are of a size that keeps activations of order one from layer to layer. Times then are those of ordinary numbers,
/// not of zeros, infinities or denormals.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random {
    /// Another seed, other numbers.
    pub seed: u64,
}

impl Tensors for Random {
    fn of(&self, graph: &Graph, value: Value) -> Result<Parameters<'_>, Error> {
        let node = graph.node(value);
        let shape = graph.weights(value);
        let mut series = (u64::from(value.0) << 4) ^ self.seed;
        let mut draw = |len: usize, low: f32, high: f32| {
            series = series.wrapping_add(1);
            let mut numbers = uniform(series, len);
            numbers.iter_mut().for_each(|x| *x = low + (high - low) * *x);
            Cow::from(numbers)
        };
        let (bias, batch_norm, reach) = match &node.op {
            Op::Conv(conv) => (conv.bias, conv.batch_norm, None),
            Op::Transposed(transposed) => (transposed.bias, transposed.batch_norm, None),
            Op::PRelu => (false, false, Some((0.0, 0.5))),
            Op::Linear(linear) => (linear.bias, false, None),
            _ => (true, false, Some((0.5, 1.5))),
        };
        // He's variance, for layers that a ReLU follows.
        let fan_in: usize = shape.iter().skip(1).product();
        let (low, high) = reach.unwrap_or_else(|| {
            let reach = (6.0 / fan_in as f32).sqrt();
            (-reach, reach)
        });
        let channels = node.channels;
        Ok(Parameters {
            weights: draw(shape.iter().product(), low, high),
            bias: bias.then(|| draw(channels, -0.1, 0.1)),
            batch_norm: batch_norm.then(|| Statistics {
                gamma: draw(channels, 0.5, 1.5),
                beta: draw(channels, -0.1, 0.1),
                mean: draw(channels, -0.1, 0.1),
                variance: draw(channels, 0.5, 1.5),
                eps: 1e-5,
            }),
        })
    }
}

/// `len` numbers spread evenly over `0..1`: SplitMix64, not for secrets. The same seed gives the same numbers.
pub fn uniform(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0xD134_2543_DE82_EF95);
    let next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 24) as f32
    };
    std::iter::repeat_with(next).take(len).collect()
}
