//! What is read and written besides checkpoints and photos.

pub mod atomic;
#[cfg(feature = "fetch")]
pub mod fetch;
pub(crate) mod kind;
pub mod labels;
pub mod npy;
