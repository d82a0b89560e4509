//! Normalisation over channels.

use crate::data::{Data, Random};
use crate::expected::{Expected, absolute, error_bound};
use crate::problem::{Operator, Problem};
use crate::problems::{Limits, Problems};
use kernels::Shape;
use kernels::reference::{self, Planar};
use proptest::prelude::*;

/// `(src - mean) / sqrt(variance + eps) * gamma + beta`, with mean and variance over the channels of each pixel.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// The source.
    pub src: Shape,
    /// What is added to the variance.
    pub eps: f32,
}

/// The numbers of a [`LayerNorm`].
#[derive(Clone, Debug)]
pub struct LayerNormParameters {
    /// One factor per channel.
    pub gamma: Vec<f32>,
    /// One addend per channel.
    pub beta: Vec<f32>,
}

impl Operator for LayerNorm {
    type Parameters = LayerNormParameters;

    fn src(&self) -> Shape {
        self.src
    }

    fn dst(&self) -> Shape {
        self.src
    }

    fn parameters(&self, data: Data, rng: &mut Random) -> LayerNormParameters {
        LayerNormParameters { gamma: data.many(self.src.c, rng), beta: data.many(self.src.c, rng) }
    }

    /// The mean is off by `e`, and each distance from it by as much; so the variance's root is off by `e` and its own rounding.
    fn expect(&self, src: &Planar, LayerNormParameters { gamma, beta }: &LayerNormParameters) -> Expected {
        let (shape, k) = (src.shape, src.shape.c);
        let values = reference::layer_norm(src, gamma, beta, self.eps);
        let (one, none) = (vec![1.0; k], vec![0.0; k]);
        let normal = reference::layer_norm(src, &one, &none, self.eps);
        let magnitude = absolute(src);
        let bound = Planar::from_fn(shape, |c, y, x| {
            let over = |f: &dyn Fn(usize) -> f64| (0..k).map(f).sum::<f64>() / k as f64;
            let size = over(&|i| magnitude.get(i, y, x)) + magnitude.get(c, y, x);
            let mean = over(&|i| src.get(i, y, x));
            let variance = over(&|i| (src.get(i, y, x) - mean).powi(2)) + f64::from(self.eps);
            let (e, deviation) = (error_bound(k, size), variance.sqrt());
            // Relative to the deviation; where that is no more than the error, nothing can be said.
            let relative = if e < deviation / 4.0 { e / deviation } else { f64::INFINITY };
            let z = normal.get(c, y, x).abs();
            let off = relative + z * (2.0 * relative + error_bound(k, 1.0));
            off * f64::from(gamma[c].abs()) + error_bound(1, f64::from(beta[c].abs()) + z)
        });
        Expected { values, bound: Some(bound) }
    }

    /// Divisions and roots round.
    fn exact(&self) -> bool {
        false
    }
}

impl Problem<LayerNorm> {
    /// One factor per channel.
    pub fn gamma(&self) -> &[f32] {
        &self.parameters().gamma
    }

    /// One addend per channel.
    pub fn beta(&self) -> &[f32] {
        &self.parameters().beta
    }
}

/// Problems of normalisations over channels.
pub fn layer_norm() -> Problems<LayerNorm> {
    Problems::of(|limits: &Limits| {
        let eps = prop::sample::select(&[1e-5f32, 1e-6, 0.1][..]);
        (limits.src(), eps).prop_map(|(src, eps)| LayerNorm { src, eps }).boxed()
    })
}
