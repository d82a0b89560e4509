//! Operators that move numbers and compute nothing.

use crate::data::{Data, Random};
use crate::expected::Expected;
use crate::problem::{Operator, Problem};
use crate::problems::{Limits, Problems, choose};
use kernels::Shape;
use kernels::reference::{self, Planar};
use proptest::prelude::*;

/// Channel shuffle: `dst[groups * i + j] = src[j * (channels / groups) + i]`.
#[derive(Clone, Debug)]
pub struct Shuffle {
    /// The source.
    pub src: Shape,
    /// Groups; they divide the channels.
    pub groups: usize,
}

impl Operator for Shuffle {
    type Parameters = ();

    fn src(&self) -> Shape {
        self.src
    }

    fn dst(&self) -> Shape {
        self.src
    }

    fn parameters(&self, _: Data, _: &mut Random) {}

    fn expect(&self, src: &Planar, (): &()) -> Expected {
        Expected::exactly(reference::shuffle(src, self.groups))
    }

    fn exact(&self) -> bool {
        true
    }
}

impl Problem<Shuffle> {
    /// Groups.
    pub fn groups(&self) -> usize {
        self.op().groups
    }
}

/// Problems of channel shuffles of 1 to 8 groups.
pub fn shuffle() -> Problems<Shuffle> {
    Problems::of(|limits: &Limits| {
        (limits.src(), choose(&limits.groups))
            .prop_map(|(src, groups)| Shuffle {
                src: Shape { c: (src.c / groups).max(1) * groups, ..src },
                groups,
            })
            .boxed()
    })
    .groups(1..=8)
}

/// `dst[c][y][x] = src[c][y / 2][x / 2]`.
#[derive(Clone, Debug)]
pub struct Upsample2x {
    /// The source.
    pub src: Shape,
}

impl Operator for Upsample2x {
    type Parameters = ();

    fn src(&self) -> Shape {
        self.src
    }

    fn dst(&self) -> Shape {
        Shape { h: 2 * self.src.h, w: 2 * self.src.w, ..self.src }
    }

    fn parameters(&self, _: Data, _: &mut Random) {}

    fn expect(&self, src: &Planar, (): &()) -> Expected {
        Expected::exactly(reference::upsample_nearest_2x(src))
    }

    fn exact(&self) -> bool {
        true
    }
}

/// Problems of upsampling by the nearest neighbour, twice as high and as wide.
pub fn upsample_2x() -> Problems<Upsample2x> {
    Problems::of(|limits| limits.src().prop_map(|src| Upsample2x { src }).boxed())
}
