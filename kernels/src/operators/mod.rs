//! The operators, a file each: checks, packing, the cut of the work, and the call of the inner loop.

mod activate;
mod affine;
mod binary;
mod call;
mod convolution;
mod depthwise;
mod filters;
mod head;
mod layer_norm;
mod linear;
mod materialize;
mod options;
mod pointwise;
mod pool;
mod prelu;
mod resize;
mod sliding;
mod softmax;
mod stem;
mod transposed;

pub use activate::{Activate, ActivateBuilder};
pub use affine::{Affine, AffineBuilder};
pub use binary::{Add, AddBuilder, Mul, MulBuilder};
pub use call::Call;
pub use convolution::{Convolution, ConvolutionBuilder};
pub use depthwise::{Depthwise, DepthwiseBuilder};
pub use head::{Head, HeadBuilder};
pub use layer_norm::{LayerNorm, LayerNormBuilder};
pub use linear::{Linear, LinearBuilder};
pub use materialize::{Materialize, MaterializeBuilder};
pub use pointwise::{Pointwise, PointwiseBuilder};
pub use pool::{
    AveragePool, AveragePoolBuilder, GlobalAverage, GlobalAverageBuilder, MaxPool, MaxPoolBuilder,
};
pub use prelu::{PRelu, PReluBuilder};
pub use resize::{Resize, ResizeBuilder};
pub use softmax::softmax;
pub use stem::{Stem, StemBuilder};
pub use transposed::{Transposed, TransposedBuilder};
