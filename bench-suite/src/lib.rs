//! FLOPs against memory-access cost: measures a machine, the four guidelines of the ShuffleNetV2 paper, and
//! the networks behind them, and writes a report.
//!
//! - What things cost, from shapes alone: [`layer`], [`graph`], [`networks`], [`guidelines`], [`sweeps`].
//! - Running them on the public interface of `kernels`: [`engine`], with [`weights`], held against its [`twin`].
//! - Measuring: [`measure`] on threads that [`pin`] binds, [`machine`], [`environment`], [`traffic`], put together by
//!   [`suite`] into a [`report`]; [`peers`] are other engines' times.
//! - Telling: [`stats`], [`plot`], [`document`] with its [`sections`], written as [`html`], files ([`output`]) and on
//!   the [`terminal`]; [`compare`] tells two reports apart; [`cli`] is the command.
#![forbid(unsafe_code)]

pub mod cli;
pub mod compare;
pub mod document;
pub mod engine;
pub mod environment;
pub mod graph;
pub mod guidelines;
pub mod html;
pub mod layer;
pub mod machine;
pub mod measure;
pub mod networks;
pub mod output;
pub mod peers;
pub mod pin;
pub mod plot;
pub mod report;
pub mod sections;
pub mod stats;
pub mod suite;
pub mod sweeps;
pub mod terminal;
pub mod traffic;
pub mod twin;
pub mod weights;
