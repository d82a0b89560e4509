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
pub mod preprocess;
mod probabilities;
mod resize;
pub mod shufflenet;
pub mod weights;

pub use error::Error;
pub use graph::Workspace;
pub use images::{Images, Layout};
pub use probabilities::probabilities;
pub use shufflenet::{Choice, Chosen, Config, Found, Network, Synthetic, WIDTHS, Weights, Wiring, find};

/// Its example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
