//! FLOPs against memory-access cost.
#![forbid(unsafe_code)]
