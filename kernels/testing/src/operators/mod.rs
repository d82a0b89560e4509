//! What each operator is told, and its definition: what a [`Problem`](crate::Problem) is a problem of.

mod convolution;
mod elementwise;
mod head;
mod movement;
mod pool;
mod softmax;
mod stem;

pub use convolution::{Convolution, ConvolutionParameters, convolution, depthwise, linear, pointwise};
pub use elementwise::{Activate, Add, Affine, AffineParameters, activate, add, affine};
pub use head::{Head, HeadParameters, head};
pub use movement::{Shuffle, Upsample2x, shuffle, upsample_2x};
pub use pool::{AveragePool, GlobalAverage, MaxPool, average_pool, global_average, max_pool};
pub use softmax::{Softmax, softmax};
pub use stem::{Stem, stem};
