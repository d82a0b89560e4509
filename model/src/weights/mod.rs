//! Trained weights from files: PyTorch's `.pth`, `.safetensors`, HDF5 (Keras 2's `.h5`, Keras 3's `.weights.h5`) and
//! Keras 3's `.keras`.
//!
//! [`Checkpoint::open`] recognises the format by content, reads names and shapes, and checks every
//! declared size against the file's real one. Values are read tensor by tensor, when asked for:
//!
//! ```no_run
//! # fn main() -> Result<(), model::weights::WeightsError> {
//! let checkpoint = model::weights::Checkpoint::open("shufflenetv2_x1-5666bf0f80.pth".as_ref())?;
//! for name in checkpoint.names() {
//!     println!("{name} {:?}", checkpoint.shape(name));
//! }
//! let fc: Vec<f32> = checkpoint.read("fc.weight")?;
//! # Ok(()) }
//! ```
//!
//! A checkpoint lists every tensor of its file, those of an optimiser as well as the weights. Which of them are a
//! network's is for [`find`](crate::find) to say.
//!
//! A checkpoint is data from a stranger. No code in it runs: the pickle inside a `.pth` is interpreted by
//! a reader that knows how tensors and dictionaries are spelt, and takes every other call for a thing without meaning.

mod checkpoint;
#[cfg(feature = "hdf5")]
mod chunks;
mod contents;
mod convert;
mod dtype;
mod error;
mod foreign;
#[cfg(feature = "hdf5")]
mod hdf5;
#[cfg(any(feature = "torch", feature = "hdf5"))]
mod inflate;
#[cfg(feature = "hdf5")]
mod keras;
#[cfg(feature = "torch")]
mod names;
#[cfg(feature = "torch")]
mod pickle;
mod safetensors;
mod shape;
mod source;
mod tensor;
#[cfg(feature = "torch")]
mod torch;
#[cfg(any(feature = "torch", feature = "hdf5"))]
mod zip;

pub use checkpoint::Checkpoint;
pub use convert::{convert, save_safetensors};
pub use dtype::DType;
pub(crate) use error::quoted;
pub use error::{Format, WeightsError};
