//! Explicit-SIMD CPU kernels for lightweight convolutional networks.
//!
//! Everything a ShuffleNet, a MobileNet or a small detector is made of, callable without a framework:
//!
//! - [`Pointwise`] (1x1 convolution, grouped or not), [`Depthwise`] (3x3 and 5x5), [`Convolution`] (dense),
//!   [`Linear`], each with bias, folded batch normalisation, activation and (1x1) a residual in its epilogue;
//! - [`ChannelOrder`]: shuffle, split and concat that move no data, and [`Materialize`] that really moves it;
//! - [`Affine`] (batch normalisation and ReLU as an operator of its own), [`add`], [`activate`], [`MaxPool`],
//!   [`AveragePool`], [`global_average`], [`softmax`], [`upsample_nearest_2x`], [`layout`] conversions;
//! - [`mod@reference`]: all of it again as naive loops in `f64`, for everyone's property tests.
//!
//! An operator is built once from `&[f32]` weights (checked, folded, packed for one [`Isa`]) and run through `&self`
//! on borrowed tensors in blocks of sixteen channels ([`View`]). Running allocates nothing; operators are
//! `Send + Sync` and shared by threads without copies.
//!
//! ```
//! use kernels::{Activation, Pointwise, Shape, Tensor};
//!
//! let (ic, oc) = (24, 58);
//! let conv = Pointwise::builder(ic, oc).activation(Activation::Relu).build(&vec![0.01; oc * ic])?;
//! let src = Tensor::from_nchw(&vec![1.0; ic * 28 * 28], Shape::new(ic, 28, 28))?;
//! let mut dst = Tensor::zeros(Shape::new(oc, 28, 28));
//! conv.run(src.view(), dst.view_mut());
//! assert!((dst.view().get(57, 27, 27) - 0.24).abs() < 1e-6);
//! # Ok::<(), kernels::Error>(())
//! ```
#![cfg_attr(not(feature = "std"), no_std)]
extern crate alloc;

mod activation;
mod affine;
mod backend;
mod convolution;
mod depthwise;
mod error;
mod extent;
mod head;
mod isa;
pub mod layout;
mod linear;
mod micro;
#[cfg(feature = "ndarray")]
pub mod ndarray;
mod order;
mod pack;
mod padding;
mod parallel;
mod pointwise;
mod pool;
pub mod reference;
mod shuffle;
mod simd;
mod softmax;
mod team;
mod upsample;
mod view;

pub use activation::Activation;
pub use affine::{Affine, activate, activate_with, add, add_with};
pub use convolution::{Convolution, ConvolutionBuilder};
pub use depthwise::{Depthwise, DepthwiseBuilder};
pub use error::Error;
pub use head::Head;
pub use isa::Isa;
pub use linear::Linear;
pub use order::ChannelOrder;
pub use pack::BatchNorm;
pub use padding::Padding;
#[cfg(feature = "parallel")]
pub use parallel::Rayon;
pub use parallel::{Parallel, Serial};
pub use pointwise::{Pointwise, PointwiseBuilder};
pub use pool::{AveragePool, MaxPool, global_average};
pub use shuffle::Materialize;
pub use softmax::softmax;
pub use team::team;
pub use upsample::upsample_nearest_2x;
pub use view::{BLOCK, Buffer, Shape, Tensor, View, ViewMut};

/// Its example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
