//! Both containers of `torch.save`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::weights::Format;

fuzz_target!(|bytes: &[u8]| model_fuzz::open(
    bytes,
    &[Format::TorchZip, Format::TorchScript, Format::TorchLegacy]
));
