//! What an operator does to a sum before it stores it.

/// The activation at the end of an operator. NaN passes through all of them, as in PyTorch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// The sum itself.
    #[default]
    None,
    /// `max(0, x)`.
    Relu,
    /// `min(6, max(0, x))`.
    Relu6,
}

impl Activation {
    /// The definition, for one number.
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Self::None => x,
            _ if x.is_nan() => x,
            Self::Relu => x.max(0.0),
            Self::Relu6 => x.clamp(0.0, 6.0),
        }
    }
}
