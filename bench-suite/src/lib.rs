//! FLOPs against memory-access cost: measures a machine, the four guidelines of the ShuffleNetV2 paper, and
//! the networks behind them, and writes a report.
#![forbid(unsafe_code)]

pub mod environment;
pub mod graph;
pub mod layer;
pub mod measure;
pub mod networks;
pub mod plot;
pub mod stats;
