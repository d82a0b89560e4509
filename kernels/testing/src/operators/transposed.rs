//! Transposed convolution.

use crate::activation::{activated, is_exact};
use crate::data::{Data, Random};
use crate::expected::{Expected, absolute, error_bound, positive};
use crate::guard::Guarded;
use crate::problem::{Operator, Problem};
use crate::problems::{Limits, Problems, choose};
use kernels::reference::{self, Planar};
use kernels::{Activation, Padding, Shape, Window};
use proptest::prelude::*;

/// A transposed convolution, and what is fused behind it.
#[derive(Clone, Debug)]
pub struct Transposed {
    /// The source.
    pub src: Shape,
    /// Output channels.
    pub oc: usize,
    /// Groups; they divide both numbers of channels.
    pub groups: usize,
    /// Kernel, stride and padding.
    pub window: Window,
    /// Rows and columns more at the end.
    pub output_padding: [usize; 2],
    /// Whether there is a bias.
    pub bias: bool,
    /// What comes last.
    pub activation: Activation,
}

/// The numbers of a [`Transposed`].
#[derive(Clone, Debug)]
pub struct TransposedParameters {
    /// `[ic][oc / groups][kh][kw]`.
    pub weights: Guarded,
    /// `[oc]`.
    pub bias: Option<Vec<f32>>,
}

impl Transposed {
    fn apply(&self, src: &Planar, weights: &[f32], bias: Option<&[f32]>) -> Planar {
        reference::transposed(src, self.window, self.output_padding, self.groups, weights, bias)
    }
}

impl Operator for Transposed {
    type Parameters = TransposedParameters;

    fn src(&self) -> Shape {
        self.src
    }

    fn dst(&self) -> Shape {
        let [h, w] = [0, 1].map(|axis| {
            let len = [self.src.h, self.src.w][axis];
            let pads: usize = reference::padding(self.window, len, axis).iter().sum();
            (len - 1) * self.window.stride[axis] + self.window.kernel[axis] + self.output_padding[axis] - pads
        });
        Shape::new(self.oc, h, w)
    }

    fn parameters(&self, data: Data, rng: &mut Random) -> TransposedParameters {
        let len = self.src.c * (self.oc / self.groups) * self.window.taps();
        let weights = Guarded::holding(&data.many(len, rng), rng.below(16));
        TransposedParameters { weights, bias: self.bias.then(|| data.many(self.oc, rng)) }
    }

    fn expect(&self, src: &Planar, parameters: &TransposedParameters) -> Expected {
        let TransposedParameters { weights, bias } = parameters;
        let values = self.apply(src, weights, bias.as_deref());
        let bias = bias.as_deref().map(positive);
        let mut bound = self.apply(&absolute(src), &positive(weights), bias.as_deref());
        let k = self.src.c / self.groups * self.window.taps();
        bound.data.iter_mut().for_each(|x| *x = error_bound(k, *x));
        activated(&values, self.activation, bound)
    }

    fn exact(&self) -> bool {
        is_exact(self.activation)
    }
}

impl Problem<Transposed> {
    /// Weights `[ic][oc / groups][kh][kw]`, PyTorch's.
    pub fn weights(&self) -> &[f32] {
        &self.parameters().weights
    }

    /// The bias, if there is any.
    pub fn bias(&self) -> Option<&[f32]> {
        self.parameters().bias.as_deref()
    }
}

/// Problems of transposed convolutions: 2x2 and stride 2, and more; 1 to 40 channels each way, nothing fused.
pub fn transposed() -> Problems<Transposed> {
    let (ic, oc) = ((1..=40).collect(), (1..=40).collect());
    let kernels = vec![[2, 2], [3, 3], [4, 4], [1, 1], [2, 3], [5, 4]];
    let strides = vec![[2, 2], [1, 1], [1, 2], [3, 2]];
    Problems::within(Limits { ic, oc, kernels, strides, ..Limits::plain() }, |limits| {
        let channels = (limits.src(), choose(&limits.oc), choose(&limits.groups));
        let window = (choose(&limits.kernels), choose(&limits.strides), [0..8usize, 0..8, 0..8, 0..8]);
        let rest = ((0..8usize, 0..8usize), choose(&limits.bias), limits.activation());
        (channels, window, rest)
            .prop_map(|((src, oc, groups), (kernel, stride, sides), (more, bias, activation))| {
                let round = |channels: usize| (channels / groups).max(1) * groups;
                // No kernel is smaller than its stride, and no padding takes everything.
                let kernel = [kernel[0].max(stride[0]), kernel[1].max(stride[1])];
                let [top, bottom, left, right] = [0, 1, 2, 3].map(|i| sides[i] % kernel[i / 2].div_ceil(2));
                let padding = Padding::Sides { top, bottom, left, right };
                let window = Window { stride, padding, ..Window::rectangle(kernel[0], kernel[1]) };
                let output_padding = [more.0 % stride[0], more.1 % stride[1]];
                let src = Shape { c: round(src.c), ..src };
                Transposed { src, oc: round(oc), groups, window, output_padding, bias, activation }
            })
            .boxed()
    })
}
