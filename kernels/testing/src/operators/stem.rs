//! A convolution and the pool behind it.

use super::convolution::{self, Convolution, ConvolutionParameters};
use crate::data::{Data, Random};
use crate::expected::Expected;
use crate::problem::Operator;
use crate::problems::{Limits, Pad, Problems, fit};
use kernels::Window;
use kernels::reference::{self, Planar};
use kernels::{Activation, Padding, Shape};
use proptest::prelude::*;

/// The greatest pixel of each window of a convolution's result: how many networks begin.
#[derive(Clone, Debug)]
pub struct Stem {
    /// The convolution.
    pub conv: Convolution,
    /// The pool.
    pub pool: Window,
}

impl Operator for Stem {
    type Parameters = ConvolutionParameters;

    fn src(&self) -> Shape {
        self.conv.src
    }

    fn dst(&self) -> Shape {
        reference::output_shape(self.pool, self.conv.dst(), self.conv.oc)
    }

    fn parameters(&self, data: Data, rng: &mut Random) -> ConvolutionParameters {
        self.conv.parameters(data, rng)
    }

    fn expect(&self, src: &Planar, parameters: &ConvolutionParameters) -> Expected {
        let Expected { values, bound } = self.conv.expect(src, parameters);
        let pool = |image: &Planar| reference::max_pool(image, self.pool);
        Expected { values: pool(&values), bound: bound.as_ref().map(pool) }
    }

    fn exact(&self) -> bool {
        self.conv.exact()
    }
}

/// Problems of stems: 3x3 convolutions with stride 2 of three channels, then maxima of 3x3 windows with stride 2; bias, batch
/// normalisation and activation or not; paddings of every kind.
pub fn stem() -> Problems<Stem> {
    let all = [Pad::Half, Pad::Zero, Pad::Even, Pad::Uneven, Pad::Same];
    Problems::of(|limits: &Limits| {
        (convolution::draw(limits), limits.window())
            .prop_map(|(conv, pool)| {
                let pool = Window::new(3).stride(2).padding(pool.padding);
                let fits = fit(pool, conv.dst()) == conv.dst();
                let padding = if fits { pool.padding } else { Padding::all(1) };
                Stem { pool: Window { padding, ..pool }, conv }
            })
            .boxed()
    })
    .ic([3])
    .kernels([[3, 3]])
    .strides([[2, 2]])
    .pads(all)
    .h(1..=40)
    .w(1..=40)
    .bias([false, true])
    .batch_norm([false, true])
    .activations([Activation::None, Activation::Relu, Activation::Relu6])
}
