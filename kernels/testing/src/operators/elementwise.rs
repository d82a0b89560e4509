//! Operators that compute every element from elements at the same place.

use crate::activation::{activated, is_exact};
use crate::data::{Data, Random};
use crate::expected::{Expected, Layout, absolute, error_bound, positive};
use crate::guard::Guarded;
use crate::problem::{Operator, Problem};
use crate::problems::{Limits, Problems, choose};
use kernels::reference::{self, Planar};
use kernels::{Activation, Shape};
use proptest::prelude::*;

/// What every element is computed within, from the image of the products' absolute values.
fn expect(values: Planar, activation: Activation, mut magnitude: Planar) -> Expected {
    magnitude.data.iter_mut().for_each(|x| *x = error_bound(1, *x));
    activated(&values, activation, magnitude)
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
        is_exact(self.activation)
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

/// What a second source has beside the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// As many numbers.
    Whole,
    /// One number per channel.
    Channel,
    /// One number per pixel.
    Pixel,
}

impl Beside {
    /// The shape of the second source.
    fn of(self, src: Shape) -> Shape {
        match self {
            Self::Whole => src,
            Self::Channel => Shape { h: 1, w: 1, ..src },
            Self::Pixel => Shape { c: 1, ..src },
        }
    }
}

/// An operator of two sources, by its definition in `reference`.
macro_rules! binary {
    ($op:ident, $function:ident, $what:literal) => {
        #[doc = $what]
        #[derive(Clone, Debug)]
        pub struct $op {
            /// The source.
            pub src: Shape,
            /// The other one.
            pub other: Beside,
            /// What comes last.
            pub activation: Activation,
        }

        impl Operator for $op {
            /// The other source.
            type Parameters = Planar;

            fn src(&self) -> Shape {
                self.src
            }

            fn dst(&self) -> Shape {
                self.src
            }

            fn parameters(&self, data: Data, rng: &mut Random) -> Planar {
                data.image(self.other.of(self.src), rng)
            }

            fn expect(&self, src: &Planar, other: &Planar) -> Expected {
                let magnitude = reference::$function(&absolute(src), &absolute(other));
                expect(reference::$function(src, other), self.activation, magnitude)
            }

            fn exact(&self) -> bool {
                is_exact(self.activation)
            }
        }

        impl Problem<$op> {
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

        #[doc = concat!("Problems of ", $what)]
        pub fn $function() -> Problems<$op> {
            Problems::of(|limits: &Limits| {
                let other = choose(&[Beside::Whole, Beside::Channel, Beside::Pixel]);
                let parts = (limits.src(), other, limits.activation());
                parts.prop_map(|(src, other, activation)| $op { src, other, activation }).boxed()
            })
        }
    };
}

binary!(Add, add, "`activation(src + other)`.");
binary!(Mul, mul, "`activation(src * other)`.");

/// `src` where it is positive, `slope * src` elsewhere, with a slope per channel.
#[derive(Clone, Debug)]
pub struct PRelu {
    /// The source.
    pub src: Shape,
}

impl Operator for PRelu {
    /// One slope per channel.
    type Parameters = Vec<f32>;

    fn src(&self) -> Shape {
        self.src
    }

    fn dst(&self) -> Shape {
        self.src
    }

    fn parameters(&self, data: Data, rng: &mut Random) -> Vec<f32> {
        data.many(self.src.c, rng)
    }

    fn expect(&self, src: &Planar, slope: &Vec<f32>) -> Expected {
        let magnitude = reference::affine(&absolute(src), &positive(slope), &vec![0.0; slope.len()]);
        expect(reference::prelu(src, slope), Activation::None, magnitude)
    }

    fn exact(&self) -> bool {
        true
    }
}

/// Problems of ReLUs with a slope per channel.
pub fn prelu() -> Problems<PRelu> {
    Problems::of(|limits: &Limits| limits.src().prop_map(|src| PRelu { src }).boxed())
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
        activated(src, self.activation, Planar { shape: src.shape, data: vec![0.0; src.data.len()] })
    }

    fn exact(&self) -> bool {
        is_exact(self.activation)
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
