//! Memory: shapes, borrowed and owned tensors, channel orders, and the ways into and out of the blocked layout.

pub(crate) mod extent;
mod image;
pub mod layout;
#[cfg(feature = "ndarray")]
pub mod ndarray;
mod order;
mod owned;
mod shape;
mod view;

pub use image::{Image, Source};
pub use order::ChannelOrder;
pub use owned::{Buffer, Tensor};
pub use shape::{BLOCK, Shape};
pub use view::{View, ViewMut};
