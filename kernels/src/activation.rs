//! What an operator does to a sum before it stores it.

use crate::error::{Error, invalid};
use alloc::format;

/// The activation at the end of an operator.
///
/// [`apply`](Self::apply) is the definition of each, in `f64`. What the kernels compute differs from it by at most
/// ("ulp": units in the last place of the result, where that is a normal number):
///
/// | activation | error |
/// |---|---|
/// | None, Relu, Relu6, Clamp | none |
/// | LeakyRelu | one rounding: 0.5 ulp |
/// | HardSwish | 3 ulp |
/// | HardSigmoid | 1.2e-7 |
/// | Tanh | 2e-7 |
/// | Elu | 2e-7 times alpha, and 0.5 ulp |
/// | Sigmoid, Silu | 4 ulp for arguments from -20 up, 6 ulp down to -86.9; 2e-36 beyond |
/// | Gelu, GeluTanh | 3 ulp for arguments from zero up; below, 1.5e-7 times the argument |
///
/// NaN passes through all of them, as in PyTorch. At negative infinity, Silu, Gelu and GeluTanh are zero (their limit;
/// PyTorch gives NaN, infinity times zero), and HardSwish is NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Activation {
    /// The sum itself.
    #[default]
    None,
    /// `max(0, x)`.
    Relu,
    /// `min(6, max(0, x))`.
    Relu6,
    /// `min(high, max(low, x))`. One bound may be infinite.
    Clamp {
        /// The least that comes out.
        low: f32,
        /// The greatest that comes out.
        high: f32,
    },
    /// `x` where it is positive, `slope * x` elsewhere.
    LeakyRelu {
        /// By what negative numbers are multiplied.
        slope: f32,
    },
    /// `min(1, max(0, slope * x + offset))`: 1/6 and 1/2 in PyTorch, 1/5 and 1/2 as ONNX's default.
    HardSigmoid {
        /// Steepness at zero.
        slope: f32,
        /// Value at zero.
        offset: f32,
    },
    /// `x * min(6, max(0, x + 3)) / 6`.
    HardSwish,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// `x / (1 + e^-x)`, also called Swish.
    Silu,
    /// `(e^x - e^-x) / (e^x + e^-x)`.
    Tanh,
    /// `x` where it is positive, `alpha * (e^x - 1)` elsewhere.
    Elu {
        /// The distance of the lower limit from zero.
        alpha: f32,
    },
    /// `x * (1 + erf(x / sqrt(2))) / 2`.
    Gelu,
    /// `x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2`, an approximation of [`Gelu`](Self::Gelu).
    GeluTanh,
}

impl Activation {
    /// The definition, for one number.
    #[cfg(feature = "std")]
    pub fn apply(self, x: f64) -> f64 {
        match self {
            _ if x.is_nan() => x,
            Self::Silu | Self::Gelu | Self::GeluTanh if x == f64::NEG_INFINITY => -0.0,
            Self::LeakyRelu { slope } if slope != 0.0 => {
                if x > 0.0 {
                    x
                } else {
                    f64::from(slope) * x
                }
            }
            Self::HardSigmoid { slope, offset } => (f64::from(slope) * x + f64::from(offset)).clamp(0.0, 1.0),
            Self::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::Tanh => x.tanh(),
            Self::Elu { .. } if x > 0.0 => x,
            Self::Elu { alpha } => f64::from(alpha) * x.exp_m1(),
            Self::Gelu => x * normal(x),
            Self::GeluTanh => {
                let inner = (2.0 / core::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                // (1 + tanh(u)) / 2, without the cancellation.
                x / (1.0 + (-2.0 * inner).exp())
            }
            Self::None | Self::Relu | Self::Relu6 | Self::Clamp { .. } | Self::LeakyRelu { .. } => {
                let (low, high) = self.bounds();
                x.max(f64::from(low)).min(f64::from(high))
            }
        }
    }
}

impl Activation {
    /// Between what a kernel keeps a sum while it is in registers; infinite where there is no bound.
    pub(crate) fn bounds(self) -> (f32, f32) {
        match self {
            Self::Relu | Self::LeakyRelu { slope: 0.0 } => (0.0, f32::INFINITY),
            Self::Relu6 => (0.0, 6.0),
            Self::Clamp { low, high } => (low, high),
            _ => (f32::NEG_INFINITY, f32::INFINITY),
        }
    }

    /// Whether more is to be done than to keep to [`bounds`](Self::bounds).
    pub(crate) fn is_curve(self) -> bool {
        match self {
            Self::None | Self::Relu | Self::Relu6 | Self::Clamp { .. } => false,
            Self::LeakyRelu { slope } => slope != 0.0,
            _ => true,
        }
    }

    /// An error where the parameters make no function.
    pub(crate) fn check(self) -> Result<(), Error> {
        let sound = match self {
            Self::Clamp { low, high } => low <= high,
            Self::LeakyRelu { slope } => slope.is_finite(),
            Self::Elu { alpha } => alpha.is_finite(),
            Self::HardSigmoid { slope, offset } => slope.is_finite() && offset.is_finite(),
            _ => true,
        };
        if sound { Ok(()) } else { Err(invalid("activation", format!("{self:?}"))) }
    }
}

/// The normal distribution, `(1 + erf(x / sqrt(2))) / 2`, to some 1e-14 of its value.
#[cfg(feature = "std")]
fn normal(x: f64) -> f64 {
    let density = (-0.5 * x * x).exp() / (2.0 * core::f64::consts::PI).sqrt();
    let a = x.abs();
    if a > 2.0 {
        // The upper tail as a continued fraction: density / (a + 1 / (a + 2 / (a + 3 / ..))).
        let tail = density / (1..200).rev().fold(a, |below, i| a + f64::from(i) / below);
        return if x > 0.0 { 1.0 - tail } else { tail };
    }
    // 1/2 + density * (x + x^3 / 3 + x^5 / (3 * 5) + ..)
    let (mut term, mut sum) = (x, 0.0);
    for odd in (3..100).step_by(2) {
        sum += term;
        term *= x * x / f64::from(odd);
    }
    0.5 + density * sum
}
