//! The block that MobileNetV2 is made of: 1x1 to six times the channels, 3x3 depthwise, 1x1 back, and the input added.
//!
//! ```text
//! cargo run --release -p kernels --example mobilenet_v2_block
//! ```

use kernels::{Activation, BatchNorm, Depthwise, Error, Pointwise, Shape, Tensor, View, ViewMut, Window};
use std::time::Instant;

/// A convolution's weights and the batch normalisation behind it, as a checkpoint has them.
struct ConvBn {
    weights: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    mean: Vec<f32>,
    variance: Vec<f32>,
}

impl ConvBn {
    fn batch_norm(&self) -> BatchNorm<'_> {
        let Self { gamma, beta, mean, variance, .. } = self;
        BatchNorm { gamma, beta, mean, variance, eps: 1e-5 }
    }
}

/// The block, packed and ready to run: shared by threads as it is.
struct InvertedResidual {
    expand: Pointwise,
    depthwise: Depthwise,
    project: Pointwise,
    residual: bool,
}

/// Memory of one running block.
struct Activations {
    expanded: Tensor,
    filtered: Tensor,
}

impl InvertedResidual {
    fn new(ic: usize, oc: usize, stride: usize, layers: &[ConvBn; 3]) -> Result<Self, Error> {
        let [expand, depthwise, project] = layers;
        let mid = 6 * ic;
        Ok(Self {
            expand: Pointwise::builder(ic, mid)
                .batch_norm(expand.batch_norm())
                .activation(Activation::Relu6)
                .build(&expand.weights)?,
            depthwise: Depthwise::builder(mid, Window::new(3).stride(stride).pad(1))
                .batch_norm(depthwise.batch_norm())
                .activation(Activation::Relu6)
                .build(&depthwise.weights)?,
            project: Pointwise::builder(mid, oc).batch_norm(project.batch_norm()).build(&project.weights)?,
            residual: stride == 1 && ic == oc,
        })
    }

    fn output_shape(&self, src: Shape) -> Shape {
        self.project.output_shape(self.depthwise.output_shape(self.expand.output_shape(src)))
    }

    fn activations(&self, src: Shape) -> Activations {
        let expanded = self.expand.output_shape(src);
        let filtered = self.depthwise.output_shape(expanded);
        Activations { expanded: Tensor::zeros(expanded), filtered: Tensor::zeros(filtered) }
    }

    fn run(&self, src: View<'_>, Activations { expanded, filtered }: &mut Activations, dst: ViewMut<'_>) {
        self.expand.run(src, expanded.view_mut());
        self.depthwise.run(expanded.view(), filtered.view_mut());
        if self.residual {
            self.project.residual(src).run(filtered.view(), dst);
        } else {
            self.project.run(filtered.view(), dst);
        }
    }
}

/// Numbers from `low` to `high`, the same on every run.
fn numbers(len: usize, low: f32, high: f32) -> Vec<f32> {
    let mut state = len as u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        low + (high - low) * (state >> 8) as f32 / (1 << 24) as f32
    };
    (0..len).map(|_| next()).collect()
}

fn made_up(ic: usize, oc: usize) -> [ConvBn; 3] {
    let layer = |oc: usize, fan_in: usize| {
        let bound = (3.0 / fan_in as f32).sqrt();
        ConvBn {
            weights: numbers(oc * fan_in, -bound, bound),
            gamma: numbers(oc, 0.5, 1.5),
            beta: numbers(oc, -0.5, 0.5),
            mean: numbers(oc, -0.2, 0.2),
            variance: numbers(oc, 0.5, 2.0),
        }
    };
    [layer(6 * ic, ic), layer(6 * ic, 9), layer(oc, 6 * ic)]
}

fn main() -> Result<(), Error> {
    // The third block of MobileNetV2 1.0 at 224x224.
    let (channels, side) = (24, 56);
    let block = InvertedResidual::new(channels, channels, 1, &made_up(channels, channels))?;
    let src =
        Tensor::from_nchw(&numbers(channels * side * side, -1.0, 1.0), Shape::new(channels, side, side))?;
    let mut activations = block.activations(src.shape());
    let mut dst = Tensor::zeros(block.output_shape(src.shape()));

    let mut fastest = f64::INFINITY;
    for _ in 0..100 {
        let start = Instant::now();
        block.run(src.view(), &mut activations, dst.view_mut());
        fastest = fastest.min(start.elapsed().as_secs_f64());
    }
    let macs = side * side * 6 * channels * (channels + 9 + channels);
    println!("{macs} multiply-adds in {:.3} ms: {:.1} GFLOP/s", 1e3 * fastest, 2e-9 * macs as f64 / fastest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::reference::{self, Planar};

    /// The block as naive loops in `f64`.
    fn reference(src: &Planar, layers: &[ConvBn; 3], stride: usize, residual: bool) -> Planar {
        let [expand, depthwise, project] = layers;
        let window = Window::new(3).stride(stride).pad(1);
        let relu6 = |x: &Planar| reference::activate(x, Activation::Relu6);
        let x = reference::pointwise(src, 1, &expand.weights, None);
        let x = relu6(&reference::batch_norm(&x, &expand.batch_norm()));
        let x = reference::depthwise(&x, window, &depthwise.weights, None);
        let x = relu6(&reference::batch_norm(&x, &depthwise.batch_norm()));
        let x = reference::pointwise(&x, 1, &project.weights, None);
        let x = reference::batch_norm(&x, &project.batch_norm());
        let skip = |c, y, x| if residual { src.get(c, y, x) } else { 0.0 };
        Planar::from_fn(x.shape, |c, row, column| x.get(c, row, column) + skip(c, row, column))
    }

    #[test]
    fn agrees_with_naive_loops() -> Result<(), Error> {
        for (ic, oc, stride, residual) in [(24, 24, 1, true), (24, 32, 1, false), (24, 40, 2, false)] {
            let layers = made_up(ic, oc);
            let block = InvertedResidual::new(ic, oc, stride, &layers)?;
            let (h, w) = (17, 23);
            let image = numbers(ic * h * w, -1.0, 1.0);
            let src = Tensor::from_nchw(&image, Shape::new(ic, h, w))?;
            let mut dst = Tensor::zeros(block.output_shape(src.shape()));
            block.run(src.view(), &mut block.activations(src.shape()), dst.view_mut());

            let expected = reference(&Planar::new(src.shape(), &image), &layers, stride, residual);
            assert_eq!(dst.shape(), expected.shape);
            for (found, expected) in dst.to_nchw().iter().zip(&expected.data) {
                assert!((f64::from(*found) - expected).abs() < 1e-4, "{found}, expected {expected}");
            }
        }
        Ok(())
    }
}
