//! Whose threads compute, and how the work is cut for them.

mod parallel;
pub(crate) mod share;
mod team;

#[cfg(feature = "parallel")]
pub use parallel::Rayon;
pub use parallel::{Parallel, Serial};
pub use team::team;
