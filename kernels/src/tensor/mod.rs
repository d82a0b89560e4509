//! Memory: shapes, borrowed and owned tensors, channel orders, and the ways into and out of the blocked layout.

pub(crate) mod extent;
pub(crate) mod image;
pub mod layout;
#[cfg(feature = "ndarray")]
pub mod ndarray;
pub(crate) mod order;
pub(crate) mod owned;
pub(crate) mod shape;
pub(crate) mod view;
