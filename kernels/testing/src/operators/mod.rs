//! What each operator is told, and its definition: what a [`Problem`](crate::Problem) is a problem of.

mod convolution;
mod elementwise;
mod head;
mod movement;
mod norm;
mod pool;
mod softmax;
mod stem;
mod transposed;

pub use convolution::{Convolution, ConvolutionParameters, convolution, depthwise, linear, pointwise};
pub use elementwise::{Activate, Add, Affine, AffineParameters, Beside, Mul, PRelu};
pub use elementwise::{activate, add, affine, mul, prelu};
pub use head::{Head, HeadParameters, head};
pub use movement::{Resize, Shuffle, resize, shuffle};
pub use norm::{LayerNorm, LayerNormParameters, layer_norm};
pub use pool::{AveragePool, GlobalAverage, MaxPool, average_pool, global_average, max_pool};
pub use softmax::{Softmax, softmax};
pub use stem::{Stem, stem};
pub use transposed::{Transposed, TransposedParameters, transposed};
