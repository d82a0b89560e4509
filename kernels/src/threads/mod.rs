//! Whose threads compute, and how the work is cut for them.

pub(crate) mod parallel;
pub(crate) mod share;
pub(crate) mod team;
