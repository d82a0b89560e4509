//! ShuffleNetV2.
#![forbid(unsafe_code)]

mod error;
mod files;
pub mod graph;
mod images;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod photo;
mod probabilities;
pub mod shufflenet;
pub mod weights;

pub use error::Error;
#[cfg(feature = "fetch")]
pub use files::fetch;
pub use files::{atomic as atomic_file, labels, npy};
pub use graph::Workspace;
pub use images::{Images, Layout};
/// The former name of [`photo`].
#[doc(no_inline)]
pub use photo as preprocess;
pub use probabilities::probabilities;
pub use shufflenet::{Choice, Chosen, Config, Found, Network, Synthetic, WIDTHS, Weights, Wiring, find};

/// Its example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
