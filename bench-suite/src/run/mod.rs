//! Measuring: variants in turns on threads that stay on their cores, after their answers were found right.

pub(crate) mod check;
pub(crate) mod environment;
mod machine;
pub mod measure;
mod pin;
mod progress;
pub(crate) mod suite;
pub(crate) mod traffic;
