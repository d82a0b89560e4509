//! Softmax.

use crate::data::{Data, Random};
use crate::expected::Expected;
use crate::problem::Operator;
use crate::problems::Problems;
use kernels::Shape;
use kernels::reference::{self, Planar};
use proptest::prelude::*;

/// `exp(x) / sum of exp(x)` over the channels of one pixel.
#[derive(Clone, Debug)]
pub struct Softmax {
    /// How many numbers.
    pub n: usize,
}

impl Operator for Softmax {
    type Parameters = ();

    fn src(&self) -> Shape {
        Shape::new(self.n, 1, 1)
    }

    fn dst(&self) -> Shape {
        self.src()
    }

    fn parameters(&self, _: Data, _: &mut Random) {}

    /// The rounding of `x - max` becomes a factor of the power, which itself is good to some units of its last place;
    /// the sum of `n` powers adds `n` roundings. What is less than the smallest normal number may vanish.
    fn expect(&self, src: &Planar, (): &()) -> Expected {
        let max = src.data.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let values = Planar::new(self.src(), &reference::softmax(&src.data));
        let bound = Planar::from_fn(self.src(), |c, _, _| {
            let roundings = (max - src.data[c]) / 2.0 + (self.n + 8) as f64;
            roundings * f64::from(f32::EPSILON) * values.data[c] + f64::from(f32::MIN_POSITIVE)
        });
        Expected { values, bound: Some(bound) }
    }

    fn exact(&self) -> bool {
        false
    }
}

/// Problems of 1 to 1100 numbers.
pub fn softmax() -> Problems<Softmax> {
    Problems::of(|limits| limits.src().prop_map(|src| Softmax { n: src.c }).boxed()).ic(1..=1100)
}
