//! ShuffleNetV2.
#![forbid(unsafe_code)]

pub mod atomic_file;
mod error;
#[cfg(feature = "fetch")]
pub mod fetch;
pub mod graph;
mod images;
pub mod labels;
pub mod npy;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod preprocess;
mod resize;
pub mod shufflenet;
pub mod weights;

pub use error::Error;
pub use graph::Workspace;
pub use images::{Images, Layout};
pub use shufflenet::{Config, Network, Synthetic, WIDTHS, Weights, Wiring};

/// Its example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
