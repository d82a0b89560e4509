//! The operators, a file each: checks, packing, the cut of the work, and the call of the inner loop.

pub(crate) mod activate;
pub(crate) mod add;
pub(crate) mod affine;
pub(crate) mod call;
pub(crate) mod convolution;
pub(crate) mod depthwise;
pub(crate) mod filters;
pub(crate) mod head;
pub(crate) mod linear;
pub(crate) mod materialize;
pub(crate) mod options;
pub(crate) mod pointwise;
pub(crate) mod pool;
pub(crate) mod sliding;
pub(crate) mod softmax;
pub(crate) mod stem;
pub(crate) mod upsample;
