//! ShuffleNetV2.
#![forbid(unsafe_code)]

pub mod atomic_file;
mod config;
mod error;
mod layers;
mod network;
mod plan;
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
