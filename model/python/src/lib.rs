//! The compiled half of the Python package `shufflenet`: a network and operators on NumPy's memory.
//!
//! The other half (`python/shufflenet`) is what users see. It brings arrays into the one form that is read here (C order,
//! native `float32`) and says what their shapes should be; here, whatever it lets through is still an error and no fault.
//! All of the work is done without Python's lock.

mod arrays;
mod failure;
mod network;
mod operators;
mod order;
mod reference;
mod threads;

use pyo3::prelude::*;

/// ShuffleNetV2 and its kernels: what `shufflenet` is built on.
#[pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    use super::failure::Error;
    #[pymodule_export]
    use super::network::{Network, imagenet, labels_of};
    #[pymodule_export]
    use super::operators::{
        Linear, Operator, affine, average_pool, convolution, depthwise, global_average, linear, materialize,
        max_pool, pointwise, softmax,
    };
    #[pymodule_export]
    use super::order::ChannelOrder;
    #[pymodule_export]
    use super::reference::{
        reference_activate, reference_affine, reference_average_pool, reference_batch_norm,
        reference_convolution, reference_depthwise, reference_gather, reference_linear, reference_max_pool,
        reference_pointwise,
    };

    use super::*;

    /// The instruction sets of this processor that kernels were compiled for, the fastest first.
    #[pyfunction]
    fn isas() -> Vec<&'static str> {
        kernels::Isa::available().map(kernels::Isa::name).collect()
    }
}
