//! A 1x1 convolution, the mean of its channels, and a fully connected layer.

use super::convolution::{self, Convolution, ConvolutionParameters};
use crate::data::{Data, Random};
use crate::expected::{Expected, absolute, error_bound, positive};
use crate::problem::{Operator, Problem};
use crate::problems::{Limits, Problems};
use kernels::reference::{self, Planar};
use kernels::{Activation, Shape};
use proptest::prelude::*;

/// `linear(global_average(conv(src)))`: how many classifiers end.
#[derive(Clone, Debug)]
pub struct Head {
    /// The convolution.
    pub conv: Convolution,
    /// Outputs of the fully connected layer.
    pub classes: usize,
    /// Whether the fully connected layer has a bias.
    pub bias: bool,
}

/// The numbers of a [`Head`].
#[derive(Clone, Debug)]
pub struct HeadParameters {
    /// The convolution's.
    pub conv: ConvolutionParameters,
    /// `[classes][oc]`.
    pub weights: Vec<f32>,
    /// `[classes]`.
    pub bias: Option<Vec<f32>>,
}

impl Operator for Head {
    type Parameters = HeadParameters;

    fn src(&self) -> Shape {
        self.conv.src
    }

    fn dst(&self) -> Shape {
        Shape::new(self.classes, 1, 1)
    }

    fn parameters(&self, data: Data, rng: &mut Random) -> HeadParameters {
        let conv = self.conv.parameters(data, rng);
        let weights = data.many(self.conv.oc * self.classes, rng);
        HeadParameters { conv, weights, bias: self.bias.then(|| data.many(self.classes, rng)) }
    }

    /// The error of the map is averaged, the average adds its own, and so does the fully connected layer.
    fn expect(&self, src: &Planar, parameters: &HeadParameters) -> Expected {
        let HeadParameters { conv, weights, bias } = parameters;
        let map = self.conv.expect(src, conv);
        let mean = reference::global_average(&map.values);
        let magnitude = reference::global_average(&absolute(&map.values));
        let errors: Vec<f64> = reference::global_average(&map.bound.expect("a bound"))
            .iter()
            .zip(&magnitude)
            .map(|(error, magnitude)| error + error_bound(map.values.shape.pixels(), error + magnitude))
            .collect();
        let largest: Vec<f64> = mean.iter().zip(&errors).map(|(mean, error)| mean.abs() + error).collect();
        let positive_bias = bias.as_deref().map(positive);
        let bound: Vec<f64> = reference::linear(&errors, &positive(weights), None)
            .into_iter()
            .zip(reference::linear(&largest, &positive(weights), positive_bias.as_deref()))
            .map(|(error, magnitude)| error + error_bound(self.conv.oc, magnitude))
            .collect();
        let values = Planar::new(self.dst(), &reference::linear(&mean, weights, bias.as_deref()));
        Expected { values, bound: Some(Planar::new(self.dst(), &bound)) }
    }

    /// The mean is divided by the number of pixels.
    fn exact(&self) -> bool {
        false
    }
}

impl Problem<Head> {
    /// Weights of the convolution, `[oc][ic]`.
    pub fn conv_weights(&self) -> &[f32] {
        &self.parameters().conv.weights
    }

    /// Weights of the fully connected layer, `[classes][oc]`.
    pub fn weights(&self) -> &[f32] {
        &self.parameters().weights
    }

    /// Bias of the fully connected layer, if there is any.
    pub fn bias(&self) -> Option<&[f32]> {
        self.parameters().bias.as_deref()
    }
}

/// Problems of heads: 1 to 130 channels in and out of the convolution, 1 to 50 classes.
pub fn head() -> Problems<Head> {
    Problems::of(|limits: &Limits| {
        (convolution::draw(limits), 1..=50usize, any::<bool>())
            .prop_map(|(conv, classes, bias)| Head { conv, classes, bias })
            .boxed()
    })
    .h(1..=8)
    .w(1..=8)
    .bias([false, true])
    .batch_norm([false, true])
    .activations([Activation::Relu, Activation::None, Activation::Relu6])
}
