//! Pools.

use crate::data::{Data, Random};
use crate::expected::{Expected, absolute, error_bound};
use crate::problem::{Operator, Problem};
use crate::problems::{Limits, Pad, Problems, choose, fit};
use kernels::Shape;
use kernels::Window;
use kernels::reference::{self, Planar};
use proptest::prelude::*;

/// The greatest pixel of each window.
#[derive(Clone, Debug)]
pub struct MaxPool {
    /// The source.
    pub src: Shape,
    /// Kernel, stride, dilation and padding.
    pub window: Window,
}

impl Operator for MaxPool {
    type Parameters = ();

    fn src(&self) -> Shape {
        self.src
    }

    fn dst(&self) -> Shape {
        reference::output_shape(self.window, self.src, self.src.c)
    }

    fn parameters(&self, _: Data, _: &mut Random) {}

    fn expect(&self, src: &Planar, (): &()) -> Expected {
        Expected::exactly(reference::max_pool(src, self.window))
    }

    fn exact(&self) -> bool {
        true
    }
}

/// The mean of each window.
#[derive(Clone, Debug)]
pub struct AveragePool {
    /// The source.
    pub src: Shape,
    /// Kernel, stride, dilation and padding.
    pub window: Window,
    /// Whether taps on padding count.
    pub count_pad: bool,
}

impl Operator for AveragePool {
    type Parameters = ();

    fn src(&self) -> Shape {
        self.src
    }

    fn dst(&self) -> Shape {
        reference::output_shape(self.window, self.src, self.src.c)
    }

    fn parameters(&self, _: Data, _: &mut Random) {}

    fn expect(&self, src: &Planar, (): &()) -> Expected {
        let k = self.window.kernel.iter().product();
        let mut bound = reference::average_pool(&absolute(src), self.window, self.count_pad);
        bound.data.iter_mut().for_each(|x| *x = error_bound(k, *x));
        let values = reference::average_pool(src, self.window, self.count_pad);
        Expected { values, bound: Some(bound) }
    }

    /// Divisions round.
    fn exact(&self) -> bool {
        false
    }
}

/// The mean of every channel.
#[derive(Clone, Debug)]
pub struct GlobalAverage {
    /// The source.
    pub src: Shape,
}

impl Operator for GlobalAverage {
    type Parameters = ();

    fn src(&self) -> Shape {
        self.src
    }

    fn dst(&self) -> Shape {
        Shape::new(self.src.c, 1, 1)
    }

    fn parameters(&self, _: Data, _: &mut Random) {}

    fn expect(&self, src: &Planar, (): &()) -> Expected {
        let mean = |image: &Planar| Planar::new(self.dst(), &reference::global_average(image));
        let mut bound = mean(&absolute(src));
        bound.data.iter_mut().for_each(|x| *x = error_bound(src.shape.pixels(), *x));
        Expected { values: mean(src), bound: Some(bound) }
    }

    /// Divisions round.
    fn exact(&self) -> bool {
        false
    }
}

/// What the problems of both pools have in common.
macro_rules! windowed {
    ($($pool:ident)*) => {$(
        impl Problem<$pool> {
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
        }
    )*};
}

windowed!(MaxPool AveragePool);

/// Pools are of 2x2 and 3x3 windows, strides 1 and 2, with the same padding above and below, and left and right.
fn limits() -> Limits {
    let (kernels, strides) = (vec![[2, 2], [3, 3]], vec![[1, 1], [2, 2]]);
    Limits { kernels, strides, pads: vec![Pad::Even], ..Limits::plain() }
}

/// Problems of maxima: 2x2 and 3x3 windows, strides 1 and 2, the same padding above and below, and left and right.
pub fn max_pool() -> Problems<MaxPool> {
    Problems::within(limits(), |limits| {
        (limits.src(), limits.window())
            .prop_map(|(src, window)| MaxPool { src: fit(window, src), window })
            .boxed()
    })
}

/// Problems of means: 2x2 and 3x3 windows, strides 1 and 2, the same padding above and below, and left and right, which counts
/// or does not.
pub fn average_pool() -> Problems<AveragePool> {
    Problems::within(limits(), |limits| {
        (limits.src(), limits.window(), choose(&[false, true]))
            .prop_map(|(src, window, count_pad)| AveragePool { src: fit(window, src), window, count_pad })
            .boxed()
    })
}

/// Problems of means of whole channels.
pub fn global_average() -> Problems<GlobalAverage> {
    Problems::of(|limits| limits.src().prop_map(|src| GlobalAverage { src }).boxed())
}
