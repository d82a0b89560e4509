//! ShuffleNetV2 on the crate `kernels`, and graphs that run any network made of its operators.
//!
//! - [`Network`]: ShuffleNetV2 in three published wirings, from a file ([`weights::Checkpoint`]) or from made-up numbers
//!   ([`Synthetic`]);
//! - [`graph`]: networks as data, planned and run by one executor; `Network` is one of them;
//! - [`photo`]: photos to a network's input, as the networks' authors prepared theirs;
//! - [`sentinel`]: how quiet the machine is, for whoever measures;
//! - [`weights`], [`npy`], [`labels`], [`atomic_file`]: files, which are never trusted.
//!
//! # A network without files
//!
//! ```
//! use kernels::{Isa, Serial};
//! use model::{Config, Images, Network, Synthetic, Wiring};
//!
//! let config = Config::published("0.5", Wiring::Torchvision)?;
//! let network = Network::new(&config, &Synthetic::new(&config)?, Isa::best())?;
//! let image = vec![0.5; 3 * 64 * 64];
//! let mut logits = vec![0.0; network.config().outputs()];
//! network.run(&Serial, Images::nchw(&image, 1, 64, 64), &mut network.workspace(), &mut logits);
//! # Ok::<(), model::Error>(())
//! ```
//!
//! # A checkpoint and a photo
//!
//! See [`Network`]. What a file holds is recognised: wiring, width, number of classes, wherever in the file the tensors are.
//!
//! # A network of your own
//!
//! See [`graph`]: a page of nodes, any tensors, and the same planner, in which concatenation, split and shuffle move nothing.
#![forbid(unsafe_code)]

mod error;
mod files;
pub mod graph;
mod images;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod photo;
mod probabilities;
pub mod sentinel;
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
