//! HDF5, by itself and in Keras 3's archive.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::weights::Format;

fuzz_target!(|bytes: &[u8]| model_fuzz::open(bytes, &[Format::KerasHdf5, Format::KerasZip]));
