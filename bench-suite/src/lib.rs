//! FLOPs against memory-access cost: measures a machine, the four guidelines of the ShuffleNetV2 paper, and the networks
//! behind them, and writes a report.
//!
//! | folder | what |
//! |---|---|
//! | `work` | what is timed, as graphs: single layers, guidelines, networks, sweeps |
//! | `run` | packs it, holds its answer against a twin's, times it in turns, and collects a report |
//! | `tell` | makes of a report alone a page, files, a summary; tells reports apart and sets them side by side |
//! | `plot` | plots as SVG and as TikZ pictures |
#![forbid(unsafe_code)]

mod cli;
pub mod jobs;
mod plot;
pub mod run;
mod tell;
mod work;

pub use cli::main;
