//! Pickles, in a container that is good.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::weights::Format;

fuzz_target!(|bytes: &[u8]| {
    model_fuzz::open(&model_fuzz::in_zip(bytes), &[Format::TorchZip]);
    model_fuzz::open(bytes, &[Format::Pickle]);
});
