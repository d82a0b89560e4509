//! Channel shuffle, split and concat as algebra.

use crate::failure::{invalid, refused};
use pyo3::prelude::*;

/// In which slot of an array each channel of a value lies.
#[pyclass(frozen, eq, hash, module = "shufflenet.kernels")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct ChannelOrder(pub(crate) kernels::ChannelOrder);

/// More channels than any array has.
const MAX_CHANNELS: usize = 1 << 24;

fn checked(order: kernels::ChannelOrder) -> PyResult<ChannelOrder> {
    let (channels, width) = (order.channels(), order.width());
    if channels > MAX_CHANNELS || width > MAX_CHANNELS {
        return Err(invalid(format!("{channels} channels in {width} slots: more than {MAX_CHANNELS}")));
    }
    Ok(ChannelOrder(order))
}

#[pymethods]
impl ChannelOrder {
    /// Channel `c` in slot `slots[c]`.
    #[new]
    #[pyo3(signature = (slots, /))]
    fn new(slots: Vec<u32>) -> PyResult<Self> {
        checked(kernels::ChannelOrder::from_slots(slots))
    }

    /// Channel `c` in slot `c`.
    #[staticmethod]
    fn identity(channels: usize) -> PyResult<Self> {
        if channels > MAX_CHANNELS {
            return Err(invalid(format!("{channels} channels: more than {MAX_CHANNELS}")));
        }
        Ok(Self(kernels::ChannelOrder::identity(channels)))
    }

    /// The channels of several values of one array, one value after the other.
    #[staticmethod]
    #[pyo3(signature = (*parts))]
    fn concat(parts: Vec<PyRef<'_, Self>>) -> PyResult<Self> {
        let parts: Vec<&kernels::ChannelOrder> = parts.iter().map(|part| &part.0).collect();
        checked(kernels::ChannelOrder::concat(&parts))
    }

    /// Channel shuffle: `out[groups * i + j] = in[j * (channels / groups) + i]`.
    fn shuffle(&self, groups: usize) -> PyResult<Self> {
        self.0.shuffle(groups).map(Self).map_err(refused)
    }

    /// The first `at` channels, and the others.
    fn split(&self, at: usize) -> PyResult<(Self, Self)> {
        self.0.split(at).map(|(first, others)| (Self(first), Self(others))).map_err(refused)
    }

    /// Channel `i` of the result is channel `channels[i]` of this value.
    fn select(&self, channels: &Self) -> PyResult<Self> {
        self.0.select(&channels.0).map(Self).map_err(refused)
    }

    /// The order that undoes this one.
    fn inverse(&self) -> PyResult<Self> {
        self.0.inverse().map(Self).map_err(refused)
    }

    /// The slot of every channel.
    #[getter]
    fn slots(&self) -> Vec<u32> {
        self.0.slots().to_vec()
    }

    /// The least number of slots that an array must have to hold the value.
    #[getter]
    fn width(&self) -> usize {
        self.0.width()
    }

    fn __len__(&self) -> usize {
        self.0.channels()
    }

    fn __repr__(&self) -> String {
        format!("ChannelOrder({:?})", self.0.slots())
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyAny>, (Vec<u32>,)) {
        (slf.get_type().into_any(), (slf.get().slots(),))
    }
}
