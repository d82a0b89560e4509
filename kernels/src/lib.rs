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
mod backend;
mod error;
mod fold;
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
pub use isa::Isa;
pub use operators::activate::{Activate, ActivateBuilder};
pub use operators::add::{Add, AddBuilder};
pub use operators::affine::{Affine, AffineBuilder};
pub use operators::call::Call;
pub use operators::convolution::{Convolution, ConvolutionBuilder};
pub use operators::depthwise::{Depthwise, DepthwiseBuilder};
pub use operators::head::{Head, HeadBuilder};
pub use operators::linear::{Linear, LinearBuilder};
pub use operators::materialize::{Materialize, MaterializeBuilder};
pub use operators::pointwise::{Pointwise, PointwiseBuilder};
pub use operators::pool::{AveragePool, AveragePoolBuilder, GlobalAverage, GlobalAverageBuilder};
pub use operators::pool::{MaxPool, MaxPoolBuilder};
pub use operators::softmax::softmax;
pub use operators::stem::{Stem, StemBuilder};
pub use operators::upsample::{Upsample, UpsampleBuilder};
pub use tensor::image::{Image, Source};
pub use tensor::layout;
#[cfg(feature = "ndarray")]
pub use tensor::ndarray;
pub use tensor::order::ChannelOrder;
pub use tensor::owned::{Buffer, Tensor};
pub use tensor::shape::{BLOCK, Shape};
pub use tensor::view::{View, ViewMut};
#[cfg(feature = "parallel")]
pub use threads::parallel::Rayon;
pub use threads::parallel::{Parallel, Serial};
pub use threads::team::team;
pub use window::{Padding, Window};

/// Its example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
