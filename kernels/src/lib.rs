//! Explicit-SIMD CPU kernels for lightweight convolutional networks.
//!
//! Everything a ShuffleNet, a MobileNet or a small detector is made of, callable without a framework:
//!
//! - [`Pointwise`] (1x1 convolution), [`Depthwise`], [`Convolution`] (any window, dense or in groups), [`Transposed`], [`Linear`],
//!   each with bias, folded batch normalisation and any [`Activation`] in its epilogue, most with a residual;
//! - [`Stem`] and [`Head`], the two ends of a classifier in one operator each;
//! - [`ChannelOrder`]: shuffle, split and concat that move no data, and [`Materialize`] that really moves it;
//! - [`Affine`] (batch normalisation by itself), [`LayerNorm`], [`Add`], [`Mul`] (gates of squeeze-and-excitation, too),
//!   [`Activate`], [`PRelu`], [`MaxPool`], [`AveragePool`], [`GlobalAverage`], [`Resize`], [`softmax()`], [`layout`] conversions;
//! - [`mod@reference`]: all of it again as naive loops in `f64`, for everyone's property tests.
//!
//! An operator is built once from `&[f32]` weights (checked, folded, packed for one [`Isa`]) and run through `&self`
//! on borrowed tensors in blocks of sixteen channels ([`View`]). Running allocates nothing; operators are
//! `Send + Sync` and shared by threads without copies.
//!
//! # One operator
//!
//! ```
//! use kernels::{Activation, Pointwise, Shape, Tensor};
//!
//! let (ic, oc) = (24, 58);
//! let conv = Pointwise::builder(ic, oc).activation(Activation::Relu).build(&vec![0.01; oc * ic])?;
//! let src = Tensor::from_nchw(&vec![1.0; ic * 28 * 28], Shape::new(ic, 28, 28))?;
//! let mut dst = Tensor::zeros(conv.output_shape(src.shape()));
//! conv.run(src.view(), dst.view_mut());
//! assert!((dst.view().get(57, 27, 27) - 0.24).abs() < 1e-6);
//! # Ok::<(), kernels::Error>(())
//! ```
//!
//! # Two operators, in memory of one's own
//!
//! Shapes can be asked for before there is memory, and what does not fit is an error where it need not be a panic.
//!
//! ```
//! use kernels::{Depthwise, Pointwise, Shape, View, ViewMut, Window};
//!
//! let depthwise = Depthwise::builder(24, Window::new(3).stride(2).pad(1)).build(&vec![0.1; 24 * 9])?;
//! let pointwise = Pointwise::builder(24, 58).build(&vec![0.01; 58 * 24])?;
//! let image = Shape::new(24, 28, 28);
//! let filtered = depthwise.try_output_shape(image)?;
//! let features = pointwise.try_output_shape(filtered)?;
//! let mut arena = vec![0.0; image.len() + filtered.len() + features.len()];
//! let (first, rest) = arena.split_at_mut(image.len());
//! let (second, third) = rest.split_at_mut(filtered.len());
//! depthwise.try_run(View::new(first, image)?, ViewMut::new(second, filtered)?)?;
//! pointwise.try_run(View::new(second, filtered)?, ViewMut::new(third, features)?)?;
//! # Ok::<(), kernels::Error>(())
//! ```
//!
//! # A shuffle that moves nothing
//!
//! The operator that reads a value is told where its channels lie.
//!
//! ```
//! use kernels::{ChannelOrder, Pointwise, Shape, Tensor};
//!
//! let order = ChannelOrder::identity(4).shuffle(2)?; // 0 2 1 3
//! let second = Pointwise::builder(4, 1).input_order(&order).build(&[0.0, 1.0, 0.0, 0.0])?;
//! let src = Tensor::from_nchw(&[10.0, 11.0, 12.0, 13.0], Shape::new(4, 1, 1))?;
//! let mut dst = Tensor::zeros(Shape::new(1, 1, 1));
//! second.run(src.view(), dst.view_mut());
//! assert_eq!(dst.to_nchw(), [12.0]);
//! # Ok::<(), kernels::Error>(())
//! ```
//!
//! # Threads
//!
//! Operators compute on the calling thread unless they are told [`on`](Pointwise::on) whose others. Bits do not depend on it.
//!
//! ```
//! # #[cfg(feature = "parallel")] {
//! use kernels::{Pointwise, Rayon, Shape, Tensor, team};
//!
//! let op = Pointwise::builder(64, 64).build(&vec![0.5; 64 * 64]).unwrap();
//! let src = Tensor::zeros(Shape::new(64, 28, 28));
//! let mut dst = Tensor::zeros(src.shape());
//! op.on(&Rayon).run(src.view(), dst.view_mut()); // one layer
//! team(&Rayon, |threads| op.on(threads).run(src.view(), dst.view_mut())); // around a whole network
//! # }
//! ```
//!
//! Without the feature `parallel`, [`Parallel`] is two functions to write for threads of your own; without `std`, all but
//! [`mod@reference`] remains.
#![cfg_attr(not(feature = "std"), no_std)]
extern crate alloc;

mod activation;
mod backend;
mod error;
mod fold;
mod interpolation;
mod isa;
mod micro;
mod operators;
mod pack;
pub mod reference;
mod simd;
mod tensor;
mod threads;
mod window;

pub use activation::Activation;
pub use error::Error;
pub use fold::BatchNorm;
pub use interpolation::{Coordinates, Interpolation};
pub use isa::Isa;
pub use operators::*;
pub use tensor::layout;
#[cfg(feature = "ndarray")]
pub use tensor::ndarray;
pub use tensor::{BLOCK, Buffer, ChannelOrder, Image, Shape, Source, Tensor, View, ViewMut};
#[cfg(feature = "parallel")]
pub use threads::Rayon;
pub use threads::{Parallel, Serial, team};
pub use window::{Padding, Window};

/// Its example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
