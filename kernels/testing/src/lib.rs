//! Property tests for anybody's convolution kernels.
//!
//! A *problem* is what a kernel is asked to do (a shape, groups, padding, ..), the numbers to do it with, and the result that must
//! come out, computed by the definition in `f64` ([`kernels::reference`]). Problems are drawn at random and shrink. Your kernel may
//! be any function on slices, in NCHW or in NHWC, in Rust or behind a C interface:
//!
//! ```
//! use kernels_testing::proptest::prelude::*;
//! # mod my {
//! #     pub fn conv1x1(ic: usize, _oc: usize, weights: &[f32], src: &[f32], dst: &mut [f32]) {
//! #         let pixels = src.len() / ic;
//! #         for (weights, dst) in weights.chunks(ic).zip(dst.chunks_mut(pixels)) {
//! #             dst.fill(0.0);
//! #             for (weight, src) in weights.iter().zip(src.chunks(pixels)) {
//! #                 dst.iter_mut().zip(src).for_each(|(dst, src)| *dst += weight * src);
//! #             }
//! #         }
//! #     }
//! # }
//!
//! proptest! {
//!     # /*
//!     #[test]
//!     # */
//!     fn conv1x1_computes_its_definition(p in kernels_testing::pointwise()) {
//!         let mut dst = p.guarded();
//!         my::conv1x1(p.ic(), p.oc(), p.weights(), &p.src_nchw(), &mut dst);
//!         p.check_nchw(&dst);
//!     }
//! }
//! # conv1x1_computes_its_definition();
//! ```
//!
//! Where it fails, it says where and shrinks (this is a kernel that forgets the channels that do not fill a vector of eight):
//!
//! ```text
//! channel 0, row 0, column 0 of 1x1x1: expected 44, found NaN; 1 of 1 elements differ; never written, or added to
//! minimal failing input: p = Problem::new(Convolution { src: Shape { c: 1, h: 1, w: 1 }, oc: 1, groups: 1, window: ..
//! ```
//!
//! # Without proptest
//!
//! [`Problems::for_all`] is the same in a plain `#[test]`, shrinking included. For another runner, [`Problems::seeded`] is an iterator
//! and [`Problem::compare`] answers with a `Result`:
//!
//! ```
//! # use kernels_testing::operators::Convolution;
//! # use kernels_testing::{Layout, Problem};
//! # fn run(p: &Problem<Convolution>) -> Vec<f32> { kernels_testing::Layout::Nhwc.of(&p.expected().unwrap().values) }
//! for p in kernels_testing::depthwise().seeded(42).take(50) {
//!     let dst: Vec<f32> = run(&p); // memory of the library's own
//!     p.compare(&dst, Layout::Nhwc)?;
//! }
//! # Ok::<(), kernels_testing::Fault>(())
//! ```
//!
//! # What is asked of a kernel
//!
//! [`pointwise`], [`depthwise`], [`convolution`] and [`linear`] ask for little: no groups, no bias, nothing fused, equal padding. Say
//! what else yours can do, and what it cannot ([`Problems`] has a method for each size and option):
//!
//! ```
//! use kernels_testing::{Activation, Pad, convolution};
//!
//! let problems = convolution()
//!     .ic([3])
//!     .oc(1..=65) // one more than a tile, or two: tails are where kernels are wrong
//!     .kernels([[3, 3], [5, 5], [1, 7]])
//!     .strides([[1, 1], [2, 2]])
//!     .dilations([[1, 1], [2, 2]])
//!     .pads([Pad::Half, Pad::Uneven, Pad::Same])
//!     .bias([false, true])
//!     .activations([Activation::None, Activation::Relu]);
//! # assert!(problems.seeded(1).take(20).any(|p| p.bias().is_some()));
//! ```
//!
//! The others are [`transposed`], [`affine`], [`add`], [`mul`], [`activate`], [`prelu`], [`layer_norm`], [`max_pool`],
//! [`average_pool`], [`global_average`], [`shuffle`], [`resize`], [`softmax`], [`stem`] and [`head`]. An operator of your own is an [`Operator`]: its shapes, its parameters, and its
//! definition in a few lines; everything else here then works for it.
//!
//! # How results are compared
//!
//! - [`Data::Integers`]: whole numbers in `[-8, 8]`. As long as sums stay below 2^24, `f32` computes them without any error, in any
//!   order, with fused multiply-adds or without; so the result must be *equal*, and a single product too few is found.
//! - [`Data::Reals`]: each element may be off by what rounding explains: [`error_bound`], `(k + 4) * eps * sum |a * w|`, which
//!   is derived and not tuned. Arithmetic that rounds more (Winograd's, say) gets [`Problems::slack`].
//! - [`Data::With`]: a NaN or an infinity in the source; it must reach exactly those elements that the definition says. Not drawn
//!   unless you ask ([`Problems::data`]): many kernels choose not to promise that.
//! - [`Data::Bits`]: any bits at all, for what a kernel must not do whatever it is given. Not drawn unless you ask.
//!
//! A problem has one image (N is 1); every image of a batch is a problem of its own.
//!
//! A destination ([`Problem::guarded`]) is filled with a NaN of its own, lies between sentinels, and mostly begins at an address
//! that is no multiple of a vector: what is not written, what is added to, and what is written outside is found. Sources
//! lie between NaN, too: what is read outside shows.
//!
//! # Tensors of `kernels`
//!
//! [`blocked`] does the same for [`kernels::View`]: tensors framed by rows and blocks of sentinels, NaN in their pad lanes,
//! read and written through channel orders of all kinds. The tests of `kernels` and its fuzz targets are made of it.
#![forbid(unsafe_code)]

mod activation;
pub mod blocked;
mod data;
mod expected;
mod fault;
mod guard;
pub mod operators;
mod problem;
mod problems;

pub use activation::activation_error;
pub use data::{Data, Random};
pub use expected::{Expected, Layout, absolute, assert_same_bits, error_bound, positive};
pub use fault::{Difference, Fault};
pub use guard::{Guarded, SENTINEL, Written, is_sentinel};
pub use operators::{
    activate, add, affine, average_pool, convolution, depthwise, global_average, head, layer_norm, linear,
    max_pool, mul, pointwise, prelu, resize, shuffle, softmax, stem, transposed,
};
pub use problem::{Operator, Problem};
pub use problems::{Limits, Pad, Problems, config, fit};

/// What shapes and operators are told with, and what images of `f64` are.
pub use kernels::{Activation, BatchNorm, Padding, Shape, Window, reference::Planar};
/// The version that [`Problems`] is a strategy of.
pub use proptest;

/// The names in a printed problem: a line that a failure shows becomes a test.
///
/// ```
/// #[allow(unused_imports)]
/// use kernels_testing::printed::*;
///
/// let p = Problem::new(MaxPool { src: Shape { c: 1, h: 3, w: 2 }, window: Window { kernel: [2, 2], stride: [2, 2], dilation: [1, 1], padding: Same, ceil: false } }, With(NaN), 7);
/// assert_eq!(p.oh(), 2);
/// ```
pub mod printed {
    pub use crate::Data::{Bits, Integers, Reals, With};
    pub use crate::operators::*;
    pub use crate::{Problem, Shape, Window};
    pub use kernels::Activation::*;
    pub use kernels::Padding::{Same, Sides};

    /// As `f32` prints it.
    #[expect(non_upper_case_globals, reason = "it is printed so")]
    pub const NaN: f32 = f32::NAN;

    /// As `f32` prints it.
    #[expect(non_upper_case_globals, reason = "it is printed so")]
    pub const inf: f32 = f32::INFINITY;
}

/// Its examples are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
