//! Operators that move numbers and compute nothing.

use crate::data::{Data, Random};
use crate::expected::{Expected, absolute, error_bound};
use crate::problem::{Operator, Problem};
use crate::problems::{Limits, Problems, choose};
use kernels::reference::{self, Planar};
use kernels::{Coordinates, Interpolation, Shape};
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

/// The source in another size.
#[derive(Clone, Debug)]
pub struct Resize {
    /// The source.
    pub src: Shape,
    /// Rows and columns of the result.
    pub to: (usize, usize),
    /// How numbers between pixels are found.
    pub interpolation: Interpolation,
    /// Where pixels lie.
    pub coordinates: Coordinates,
}

impl Operator for Resize {
    type Parameters = ();

    fn src(&self) -> Shape {
        self.src
    }

    fn dst(&self) -> Shape {
        let (h, w) = self.to;
        Shape { h, w, ..self.src }
    }

    fn parameters(&self, _: Data, _: &mut Random) {}

    fn expect(&self, src: &Planar, (): &()) -> Expected {
        let resize = |src: &Planar| reference::resize(src, self.to, self.interpolation, self.coordinates);
        let mut bound = resize(&absolute(src));
        // Four products; the weights are rounded, too.
        bound.data.iter_mut().for_each(|x| *x = error_bound(8, *x));
        Expected { values: resize(src), bound: Some(bound) }
    }

    fn exact(&self) -> bool {
        self.interpolation == Interpolation::Nearest
    }
}

/// Problems of other sizes: up and down, to 24 x 24 pixels at most.
pub fn resize() -> Problems<Resize> {
    Problems::of(|limits: &Limits| {
        use Coordinates::{AlignCorners, Asymmetric, HalfPixel};
        use Interpolation::{Bilinear, Nearest};
        let times = (1..=4usize, 1..=4usize);
        let how = (choose(&[Nearest, Bilinear]), choose(&[HalfPixel, AlignCorners, Asymmetric]));
        (limits.src(), times, (1..=24usize, 1..=24usize), any::<bool>(), how)
            .prop_map(|(src, times, to, whole, (interpolation, coordinates))| {
                // Whole factors more often than by chance.
                let to = if whole { (src.h * times.0, src.w * times.1) } else { to };
                Resize { src, to, interpolation, coordinates }
            })
            .boxed()
    })
}
