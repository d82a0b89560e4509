//! Convolutions of every kind: dense, grouped, depthwise, 1x1, and on a single pixel, which is a fully connected layer.

use crate::activation::{activated, is_exact};
use crate::data::{Data, Random};
use crate::expected::{Expected, Layout, absolute, error_bound, positive};
use crate::guard::Guarded;
use crate::problem::{Operator, Problem};
use crate::problems::{Limits, Pad, Problems, choose, fit};
use kernels::Window;
use kernels::reference::{self, Planar};
use kernels::{Activation, BatchNorm, Shape};
use proptest::prelude::*;

/// A convolution, and what is fused behind it: `activation(batch_norm(convolution + bias) + residual)`.
#[derive(Clone, Debug)]
pub struct Convolution {
    /// The source.
    pub src: Shape,
    /// Output channels.
    pub oc: usize,
    /// Groups; they divide both numbers of channels.
    pub groups: usize,
    /// Kernel, stride, dilation and padding.
    pub window: Window,
    /// Whether there is a bias.
    pub bias: bool,
    /// Whether a batch normalisation follows.
    pub batch_norm: bool,
    /// Whether a residual is added.
    pub residual: bool,
    /// What comes last.
    pub activation: Activation,
}

/// The numbers of a [`Convolution`].
#[derive(Clone, Debug)]
pub struct ConvolutionParameters {
    /// `[oc][ic / groups][kh][kw]`.
    pub weights: Guarded,
    /// `[oc]`.
    pub bias: Option<Vec<f32>>,
    /// Gamma, beta, mean and variance, `[oc]` each.
    pub statistics: Option<[Vec<f32>; 4]>,
    /// What is added to the variance.
    pub eps: f32,
    /// What is added to the result.
    pub residual: Option<Planar>,
}

impl Convolution {
    /// Dense, with nothing behind it.
    pub fn new(src: Shape, oc: usize, window: Window) -> Self {
        let (bias, batch_norm, residual, activation) = (false, false, false, Activation::None);
        Self { src, oc, groups: 1, window, bias, batch_norm, residual, activation }
    }

    /// 1x1.
    pub fn pointwise(src: Shape, oc: usize) -> Self {
        Self::new(src, oc, Window::new(1))
    }

    /// One window per channel.
    pub fn depthwise(src: Shape, window: Window) -> Self {
        Self { groups: src.c, ..Self::new(src, src.c, window) }
    }

    /// Products per sum.
    pub fn k(&self) -> usize {
        self.src.c / self.groups * self.window.kernel.iter().product::<usize>()
    }
}

impl ConvolutionParameters {
    /// The batch normalisation.
    pub fn batch_norm(&self) -> Option<BatchNorm<'_>> {
        let [gamma, beta, mean, variance] = self.statistics.as_ref()?;
        Some(BatchNorm { gamma, beta, mean, variance, eps: self.eps })
    }
}

impl Operator for Convolution {
    type Parameters = ConvolutionParameters;

    fn src(&self) -> Shape {
        self.src
    }

    fn dst(&self) -> Shape {
        reference::output_shape(self.window, self.src, self.oc)
    }

    fn parameters(&self, data: Data, rng: &mut Random) -> ConvolutionParameters {
        let oc = self.oc;
        let weights = Guarded::holding(&data.many(oc * self.k(), rng), rng.below(16));
        let bias = self.bias.then(|| data.many(oc, rng));
        let statistics = self.batch_norm.then(|| {
            let variance = (0..oc).map(|_| data.variance(rng)).collect();
            [data.many(oc, rng), data.many(oc, rng), data.many(oc, rng), variance]
        });
        let eps = if matches!(data, Data::Reals) { 1e-3 } else { 0.0 };
        let residual = self.residual.then(|| data.image(self.dst(), rng));
        ConvolutionParameters { weights, bias, statistics, eps, residual }
    }

    fn expect(&self, src: &Planar, parameters: &ConvolutionParameters) -> Expected {
        let ConvolutionParameters { weights, bias, residual, .. } = parameters;
        let (groups, bias) = (self.groups, bias.as_deref());
        let mut values = reference::convolution(src, self.window, groups, weights, bias);
        let bias = bias.map(positive);
        let (src, weights) = (absolute(src), positive(weights));
        let mut bound = reference::convolution(&src, self.window, groups, &weights, bias.as_deref());
        if let Some(batch_norm) = &parameters.batch_norm() {
            values = reference::batch_norm(&values, batch_norm);
            let BatchNorm { gamma, beta, mean, variance, eps } = *batch_norm;
            bound = Planar::from_fn(bound.shape, |c, y, x| {
                let scale = (f64::from(gamma[c]) / f64::from(variance[c] + eps).sqrt()).abs();
                let shift = f64::from(mean[c].abs()) * scale + f64::from(beta[c].abs());
                bound.get(c, y, x) * scale + shift
            });
        }
        if let Some(residual) = residual {
            values = reference::add(&values, residual);
            bound = reference::add(&bound, &absolute(residual));
        }
        bound.data.iter_mut().for_each(|x| *x = error_bound(self.k(), *x));
        activated(&values, self.activation, bound)
    }

    fn exact(&self) -> bool {
        is_exact(self.activation)
    }
}

impl Problem<Convolution> {
    /// Input channels.
    pub fn ic(&self) -> usize {
        self.op().src.c
    }

    /// Output channels.
    pub fn oc(&self) -> usize {
        self.op().oc
    }

    /// Groups; the channels of a depthwise convolution.
    pub fn groups(&self) -> usize {
        self.op().groups
    }

    /// Rows and columns of the window.
    pub fn kernel(&self) -> [usize; 2] {
        self.op().window.kernel
    }

    /// Rows and columns from one window to the next.
    pub fn stride(&self) -> [usize; 2] {
        self.op().window.stride
    }

    /// Rows and columns from one tap to the next.
    pub fn dilation(&self) -> [usize; 2] {
        self.op().window.dilation
    }

    /// Padding above, below, left and right; of TensorFlow's `"same"`, what it comes to.
    pub fn padding(&self) -> [usize; 4] {
        let [top, bottom] = reference::padding(self.op().window, self.h(), 0);
        let [left, right] = reference::padding(self.op().window, self.w(), 1);
        [top, bottom, left, right]
    }

    /// Weights `[oc][ic / groups][kh][kw]`, PyTorch's OIHW.
    pub fn weights(&self) -> &[f32] {
        &self.parameters().weights
    }

    /// Weights `[kh][kw][ic / groups][oc]`, TensorFlow's HWIO.
    pub fn weights_hwio(&self) -> Guarded {
        self.permuted([2, 3, 1, 0])
    }

    /// Weights `[oc][kh][kw][ic / groups]`, TFLite's and XNNPACK's OHWI.
    pub fn weights_ohwi(&self) -> Guarded {
        self.permuted([0, 2, 3, 1])
    }

    /// The weights with their axes in another order, the outermost first.
    fn permuted(&self, axes: [usize; 4]) -> Guarded {
        let [kh, kw] = self.kernel();
        let lens = [self.oc(), self.ic() / self.groups(), kh, kw];
        let steps = [lens[1] * kh * kw, kh * kw, kw, 1];
        let mut permuted = Guarded::new(self.weights().len(), self.oc());
        for (i, weight) in permuted.iter_mut().enumerate() {
            let (mut rest, mut from) = (i, 0);
            for axis in axes.into_iter().rev() {
                from += rest % lens[axis] * steps[axis];
                rest /= lens[axis];
            }
            *weight = self.weights()[from];
        }
        permuted
    }

    /// The bias, if there is any.
    pub fn bias(&self) -> Option<&[f32]> {
        self.parameters().bias.as_deref()
    }

    /// The bias, or zeros.
    pub fn bias_or_zeros(&self) -> Vec<f32> {
        self.bias().map_or_else(|| vec![0.0; self.oc()], <[f32]>::to_vec)
    }

    /// The batch normalisation behind the convolution, if there is any.
    pub fn batch_norm(&self) -> Option<BatchNorm<'_>> {
        self.parameters().batch_norm()
    }

    /// What is added to the result, channel by channel, if anything is.
    pub fn residual_nchw(&self) -> Option<Guarded> {
        Some(self.guard(self.parameters().residual.as_ref()?, Layout::Nchw))
    }

    /// What is added to the result, pixel by pixel, if anything is.
    pub fn residual_nhwc(&self) -> Option<Guarded> {
        Some(self.guard(self.parameters().residual.as_ref()?, Layout::Nhwc))
    }

    /// What comes last.
    pub fn activation(&self) -> Activation {
        self.op().activation
    }
}

/// Draws a convolution with as many groups as `limits` say.
pub(crate) fn draw(limits: &Limits) -> BoxedStrategy<Convolution> {
    let channels = (limits.src(), limits.oc(), choose(&limits.groups));
    let fused = (choose(&limits.bias), choose(&limits.batch_norm), choose(&limits.residual));
    (channels, limits.window(), fused, limits.activation())
        .prop_map(|((src, oc, groups), window, (bias, batch_norm, residual), activation)| {
            let round = |channels: usize| (channels / groups).max(1) * groups;
            let src = Shape { c: round(src.c), ..fit(window, src) };
            Convolution { src, oc: round(oc), groups, window, bias, batch_norm, residual, activation }
        })
        .boxed()
}

/// As many groups as channels.
fn draw_depthwise(limits: &Limits) -> BoxedStrategy<Convolution> {
    let dense = draw(&Limits { groups: vec![1], ..limits.clone() });
    dense.prop_map(|op| Convolution { oc: op.src.c, groups: op.src.c, ..op }).boxed()
}

/// Problems of 1x1 convolutions: dense, 1 to 130 channels each way, nothing fused.
///
/// ```
/// /// Somebody's kernel.
/// fn conv1x1(ic: usize, oc: usize, weights: &[f32], src: &[f32], dst: &mut [f32]) {
///     let pixels = src.len() / ic;
///     for (weights, dst) in weights.chunks(ic).zip(dst.chunks_mut(pixels)).take(oc) {
///         dst.fill(0.0);
///         for (weight, src) in weights.iter().zip(src.chunks(pixels)) {
///             dst.iter_mut().zip(src).for_each(|(dst, src)| *dst += weight * src);
///         }
///     }
/// }
///
/// kernels_testing::pointwise().for_all(100, |p| {
///     let mut dst = p.guarded();
///     conv1x1(p.ic(), p.oc(), p.weights(), &p.src_nchw(), &mut dst);
///     p.check_nchw(&dst);
/// });
/// ```
pub fn pointwise() -> Problems<Convolution> {
    Problems::within(Limits::plain(), draw)
}

/// Problems of depthwise convolutions: 3x3 and 5x5, strides 1 and 2, the same padding above and below, and left and right;
/// 1 to 130 channels, nothing fused. What is said of output channels and groups is ignored: both are the input's channels.
pub fn depthwise() -> Problems<Convolution> {
    let (h, w) = ((1..=20).collect(), (1..=24).collect());
    Problems::within(Limits { h, w, ..convolutions([3, 5]) }, draw_depthwise)
}

/// Problems of dense convolutions: square windows of 1, 3 and 5, strides 1 and 2, the same padding above and below, and left
/// and right; 1 to 40 channels each way, nothing fused.
pub fn convolution() -> Problems<Convolution> {
    let (ic, oc) = ((1..=40).collect(), (1..=40).collect());
    Problems::within(Limits { ic, oc, ..convolutions([3, 1, 5]) }, draw)
}

fn convolutions<const N: usize>(kernels: [usize; N]) -> Limits {
    let kernels = kernels.iter().map(|&kernel| [kernel; 2]).collect();
    Limits { kernels, strides: vec![[1, 1], [2, 2]], pads: vec![Pad::Even], ..Limits::plain() }
}

/// Problems of fully connected layers: 1 to 700 inputs, 1 to 300 outputs, nothing fused. The source is an image of one pixel.
pub fn linear() -> Problems<Convolution> {
    let (ic, oc) = ((1..=700).collect(), (1..=300).collect());
    Problems::within(Limits { ic, oc, h: vec![1], w: vec![1], ..Limits::plain() }, draw)
}
