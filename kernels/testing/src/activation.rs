//! What activations do to errors.

use crate::expected::Expected;
use kernels::Activation;
use kernels::reference::{self, Planar};

/// The error that [`Activation`]'s documentation allows `kernels` at `x`, computed in `f32`: for curves, for the others are
/// exact.
pub fn activation_error(activation: Activation, x: f64) -> f64 {
    let y = activation.apply(x);
    match activation {
        Activation::LeakyRelu { .. } => 0.5 * ulp(y),
        Activation::HardSwish => 3.0 * ulp(y),
        Activation::HardSigmoid { .. } => 1.2e-7,
        Activation::Tanh => 2e-7,
        Activation::Elu { alpha } => 2e-7 * f64::from(alpha.abs()) + 0.5 * ulp(y),
        Activation::Sigmoid | Activation::Silu if x < -86.9 => 2e-36,
        Activation::Sigmoid | Activation::Silu if x < -20.0 => 6.0 * ulp(y),
        Activation::Sigmoid | Activation::Silu => 4.0 * ulp(y),
        Activation::Gelu | Activation::GeluTanh if x < 0.0 => 1.5e-7 * x.abs(),
        Activation::Gelu | Activation::GeluTanh => 3.0 * ulp(y),
        _ => 0.0,
    }
}

/// Whether `f32` computes it without an error from whole numbers.
pub(crate) fn is_exact(activation: Activation) -> bool {
    use Activation::{Clamp, None, Relu, Relu6};
    matches!(activation, None | Relu | Relu6 | Clamp { .. })
}

/// The greatest steepness: by how much an error before the activation may have grown behind it.
fn steepness(activation: Activation) -> f64 {
    match activation {
        Activation::LeakyRelu { slope } => f64::from(slope.abs()).max(1.0),
        Activation::HardSigmoid { slope, .. } => f64::from(slope.abs()),
        Activation::Elu { alpha } => f64::from(alpha.abs()).max(1.0),
        Activation::HardSwish => 1.5,
        Activation::Silu | Activation::Gelu | Activation::GeluTanh => 1.2,
        _ => 1.0,
    }
}

/// `values`, which are right within `bound`, behind an activation.
pub(crate) fn activated(values: &Planar, activation: Activation, mut bound: Planar) -> Expected {
    for (bound, &x) in bound.data.iter_mut().zip(&values.data) {
        *bound = *bound * steepness(activation) + activation_error(activation, x);
    }
    Expected { values: reference::activate(values, activation), bound: Some(bound) }
}

/// The distance of `f32`s of the size of `x`, or of the smallest normal ones.
fn ulp(x: f64) -> f64 {
    let exponent = (x.abs().max(f64::from(f32::MIN_POSITIVE)).to_bits() >> 52) as i32 - 1023;
    f64::powi(2.0, exponent - 23)
}
