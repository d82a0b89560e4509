//! The inner loops, each written once over [`Simd`](crate::simd::Simd): no `cfg`, no threads, no allocation.

pub(crate) mod burst;
pub(crate) mod depthwise;
pub(crate) mod elementwise;
pub(crate) mod gemm;
pub(crate) mod pool;
pub(crate) mod shuffle;
