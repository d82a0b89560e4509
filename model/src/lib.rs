//! ShuffleNetV2.
#![forbid(unsafe_code)]
