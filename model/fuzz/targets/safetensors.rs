//! Checkpoints in the safetensors format.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::weights::Format;

fuzz_target!(|bytes: &[u8]| model_fuzz::open(bytes, &[Format::Safetensors]));
