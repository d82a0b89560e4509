//! ShuffleNetV2.
#![forbid(unsafe_code)]

pub mod atomic_file;
mod config;
mod error;
#[cfg(feature = "fetch")]
pub mod fetch;
pub mod labels;
mod layers;
mod network;
pub mod npy;
#[cfg(feature = "onnx")]
pub mod onnx;
mod plan;
pub mod preprocess;
mod resize;
mod source;
mod unit;
pub mod weights;
mod wiring;

pub use config::{Config, WIDTHS};
pub use error::Error;
pub use layers::{Cost, Kind, Layer};
pub use network::Network;
pub use plan::{Images, Layout, Workspace};
pub use source::{Synthetic, Weights};
pub use wiring::Wiring;

/// Its example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
