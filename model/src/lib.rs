//! ShuffleNetV2.
#![forbid(unsafe_code)]

pub mod atomic_file;
pub mod weights;
