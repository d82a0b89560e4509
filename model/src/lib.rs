//! ShuffleNetV2.
#![forbid(unsafe_code)]

mod config;
mod error;
mod files;
mod layers;
mod network;
mod plan;
pub mod preprocess;
mod resize;
mod source;
mod unit;
pub mod weights;
mod wiring;

pub use config::{Config, WIDTHS};
pub use error::Error;
#[cfg(feature = "fetch")]
pub use files::fetch;
pub use files::{atomic as atomic_file, labels, npy};
pub use layers::{Cost, Kind, Layer};
pub use network::Network;
pub use plan::{Images, Layout, Workspace};
pub use source::{Synthetic, Weights};
pub use wiring::Wiring;

/// Its example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
