//! Operators that compute every element from elements at the same place.

use crate::data::{Data, Random};
use crate::expected::{Expected, Layout, absolute, error_bound, positive};
use crate::guard::Guarded;
use crate::problem::{Operator, Problem};
use crate::problems::{Limits, Problems};
use kernels::reference::{self, Planar};
use kernels::{Activation, Shape};
use proptest::prelude::*;

/// What every element is computed within, from the image of the products' absolute values.
fn expect(values: Planar, activation: Activation, mut magnitude: Planar) -> Expected {
    magnitude.data.iter_mut().for_each(|x| *x = error_bound(1, *x));
    Expected { values: reference::activate(&values, activation), bound: Some(magnitude) }
}

/// `activation(src * scale + shift)`, with a scale and a shift per channel: a batch normalisation.
#[derive(Clone, Debug)]
pub struct Affine {
    /// The source.
    pub src: Shape,
    /// What comes last.
    pub activation: Activation,
}

/// The numbers of an [`Affine`].
#[derive(Clone, Debug)]
pub struct AffineParameters {
    /// One factor per channel.
    pub scale: Vec<f32>,
    /// One addend per channel.
    pub shift: Vec<f32>,
}

impl Operator for Affine {
    type Parameters = AffineParameters;

    fn src(&self) -> Shape {
        self.src
    }

    fn dst(&self) -> Shape {
        self.src
    }

    fn parameters(&self, data: Data, rng: &mut Random) -> AffineParameters {
        AffineParameters { scale: data.many(self.src.c, rng), shift: data.many(self.src.c, rng) }
    }

    fn expect(&self, src: &Planar, AffineParameters { scale, shift }: &AffineParameters) -> Expected {
        let magnitude = reference::affine(&absolute(src), &positive(scale), &positive(shift));
        expect(reference::affine(src, scale, shift), self.activation, magnitude)
    }

    fn exact(&self) -> bool {
        true
    }
}

impl Problem<Affine> {
    /// One factor per channel.
    pub fn scale(&self) -> &[f32] {
        &self.parameters().scale
    }

    /// One addend per channel.
    pub fn shift(&self) -> &[f32] {
        &self.parameters().shift
    }

    /// What comes last.
    pub fn activation(&self) -> Activation {
        self.op().activation
    }
}

/// Problems of a factor and an addend per channel.
pub fn affine() -> Problems<Affine> {
    Problems::of(|limits: &Limits| {
        (limits.src(), limits.activation()).prop_map(|(src, activation)| Affine { src, activation }).boxed()
    })
}

/// `activation(src + other)`.
#[derive(Clone, Debug)]
pub struct Add {
    /// The source, and the other one.
    pub src: Shape,
    /// What comes last.
    pub activation: Activation,
}

impl Operator for Add {
    /// The other source.
    type Parameters = Planar;

    fn src(&self) -> Shape {
        self.src
    }

    fn dst(&self) -> Shape {
        self.src
    }

    fn parameters(&self, data: Data, rng: &mut Random) -> Planar {
        data.image(self.src, rng)
    }

    fn expect(&self, src: &Planar, other: &Planar) -> Expected {
        let magnitude = reference::add(&absolute(src), &absolute(other));
        expect(reference::add(src, other), self.activation, magnitude)
    }

    fn exact(&self) -> bool {
        true
    }
}

impl Problem<Add> {
    /// The other source, channel by channel.
    pub fn other_nchw(&self) -> Guarded {
        self.guard(self.parameters(), Layout::Nchw)
    }

    /// The other source, pixel by pixel.
    pub fn other_nhwc(&self) -> Guarded {
        self.guard(self.parameters(), Layout::Nhwc)
    }

    /// What comes last.
    pub fn activation(&self) -> Activation {
        self.op().activation
    }
}

/// Problems of two images to add.
pub fn add() -> Problems<Add> {
    Problems::of(|limits: &Limits| {
        (limits.src(), limits.activation()).prop_map(|(src, activation)| Add { src, activation }).boxed()
    })
}

/// `activation(src)`.
#[derive(Clone, Debug)]
pub struct Activate {
    /// The source.
    pub src: Shape,
    /// Which one.
    pub activation: Activation,
}

impl Operator for Activate {
    type Parameters = ();

    fn src(&self) -> Shape {
        self.src
    }

    fn dst(&self) -> Shape {
        self.src
    }

    fn parameters(&self, _: Data, _: &mut Random) {}

    fn expect(&self, src: &Planar, (): &()) -> Expected {
        Expected::exactly(reference::activate(src, self.activation))
    }

    fn exact(&self) -> bool {
        true
    }
}

impl Problem<Activate> {
    /// Which activation.
    pub fn activation(&self) -> Activation {
        self.op().activation
    }
}

/// Problems of an activation by itself: ReLU and ReLU6.
pub fn activate() -> Problems<Activate> {
    Problems::of(|limits: &Limits| {
        (limits.src(), limits.activation()).prop_map(|(src, activation)| Activate { src, activation }).boxed()
    })
    .activations([Activation::Relu, Activation::Relu6])
}
