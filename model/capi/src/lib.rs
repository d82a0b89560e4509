//! C interface to the kernels and to ShuffleNetV2; `include/kernels.h` is made from these files by cbindgen.
//!
//! Every function checks its pointers and lengths, runs inside [`failure::guard`], which stops panics, and reports a
//! [`failure::Status`]. What the caller must see to is said once, at the head of the header; each `unsafe` block here
//! relies on that.
#![expect(clippy::missing_safety_doc, reason = "said once for all functions, at the head of the header")]

pub mod failure;
pub mod memory;
pub mod network;
pub mod operators;
pub mod order;
pub mod tensor;
