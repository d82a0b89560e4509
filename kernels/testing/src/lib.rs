//! Draft.
pub mod blocked;
mod data;
mod expected;
mod fault;
mod guard;
pub mod operators;
mod problem;
mod problems;

pub use data::{Data, Random};
pub use expected::{Expected, Layout, absolute, assert_same_bits, error_bound, positive};
pub use fault::{Difference, Fault};
pub use guard::{Guarded, SENTINEL, Written, is_sentinel};
pub use operators::{
    activate, add, affine, average_pool, convolution, depthwise, global_average, head, linear, max_pool,
    pointwise, shuffle, softmax, stem, upsample_2x,
};
pub use problem::{Operator, Problem};
pub use problems::{Limits, Pad, Problems, config, fit};

pub use proptest;
