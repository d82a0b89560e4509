//! The operators, a file each: checks, packing, the cut of the work, and the call of the inner loop.

mod activate;
mod add;
mod affine;
mod call;
mod convolution;
mod depthwise;
mod head;
mod linear;
mod materialize;
mod options;
mod pointwise;
mod pool;
mod softmax;
mod stem;
mod upsample;

pub use activate::{Activate, ActivateBuilder};
pub use add::{Add, AddBuilder};
pub use affine::{Affine, AffineBuilder};
pub use call::Call;
pub use convolution::{Convolution, ConvolutionBuilder};
pub use depthwise::{Depthwise, DepthwiseBuilder};
pub use head::{Head, HeadBuilder};
pub use linear::{Linear, LinearBuilder};
pub use materialize::{Materialize, MaterializeBuilder};
pub use pointwise::{Pointwise, PointwiseBuilder};
pub use pool::{
    AveragePool, AveragePoolBuilder, GlobalAverage, GlobalAverageBuilder, MaxPool, MaxPoolBuilder,
};
pub use softmax::softmax;
pub use stem::{Stem, StemBuilder};
pub use upsample::{Upsample, UpsampleBuilder};
