//! Activations against their definitions, on every instruction set: a stated error over all floats of a range.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::{Activate, Activation, Isa, Shape, Tensor};
use kernels_testing::activation_error;

/// Every activation that is not a clamp.
fn curves() -> Vec<Activation> {
    use Activation::*;
    vec![
        LeakyRelu { slope: 0.1 },
        LeakyRelu { slope: 0.0 },
        LeakyRelu { slope: -0.5 },
        LeakyRelu { slope: 3.0 },
        HardSigmoid { slope: 1.0 / 6.0, offset: 0.5 },
        HardSigmoid { slope: 0.2, offset: 0.5 },
        HardSwish,
        Sigmoid,
        Silu,
        Tanh,
        Elu { alpha: 1.0 },
        Elu { alpha: -0.5 },
        Gelu,
        GeluTanh,
    ]
}

fn clamps() -> Vec<Activation> {
    use Activation::*;
    vec![
        None,
        Relu,
        Relu6,
        Clamp { low: -1.0, high: 1.0 },
        Clamp { low: f32::NEG_INFINITY, high: 2.5 },
        Clamp { low: 0.5, high: f32::INFINITY },
    ]
}

fn apply(isa: Isa, activation: Activation, tensor: &mut Tensor) {
    Activate::builder(activation).isa(isa).build().unwrap().run_in_place(tensor.view_mut());
}

/// Compares at every `step`-th float from one to another; returns the greatest error in units of the bound, and where.
fn compare(isa: Isa, activation: Activation, from: f32, to: f32, step: u32) -> (f64, f32) {
    const LEN: usize = 16 * 256;
    // Floats of one sign are ordered as their bits are.
    let (mut bits, end) = (from.to_bits().min(to.to_bits()), from.to_bits().max(to.to_bits()));
    let shape = Shape::new(16, 1, LEN / 16);
    let mut worst = (0.0, 0.0);
    let mut floats = Tensor::zeros(shape);
    while bits <= end {
        let float = |i: u32| f32::from_bits(bits.saturating_add(i.saturating_mul(step)).min(end));
        let xs: Vec<f32> = (0..LEN as u32).map(float).collect();
        floats.view_mut().data_mut()[..LEN].copy_from_slice(&xs);
        apply(isa, activation, &mut floats);
        for (&x, &found) in xs.iter().zip(floats.view().data()) {
            let expected = activation.apply(f64::from(x));
            if expected as f32 == found {
                continue;
            }
            let error = (f64::from(found) - expected).abs();
            assert!(error.is_finite(), "{isa}: {activation:?} of {x:e} is {found:e}, not {expected:e}");
            let share = error / activation_error(activation, f64::from(x)).max(f64::from(f32::MIN_POSITIVE));
            if share > worst.0 {
                worst = (share, x);
            }
        }
        bits = bits.saturating_add((LEN as u32).saturating_mul(step));
    }
    worst
}

fn every(step: u32) {
    for isa in isas() {
        for activation in curves().into_iter().chain(clamps()) {
            for (from, to) in [(0.0, f32::MAX), (-0.0, -f32::MAX)] {
                let (share, x) = compare(isa, activation, from, to, step);
                println!("{isa} {activation:?} {from:e}: {share:.3} of the bound, at {x:e}");
                assert!(share <= 1.0, "{isa}: {activation:?} at {x:e}: {share} of the bound");
            }
        }
    }
}

#[test]
fn nan_stays_and_infinity_is_what_is_documented() {
    for isa in isas() {
        for activation in curves().into_iter().chain(clamps()) {
            for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut one = Tensor::from_nchw(&[x; 19], Shape::new(1, 1, 19)).unwrap();
                apply(isa, activation, &mut one);
                let expected = activation.apply(f64::from(x)) as f32;
                for found in one.to_nchw() {
                    let close = found == expected || (found - expected).abs() < 2e-6;
                    let both_nan = found.is_nan() && expected.is_nan();
                    assert!(close || both_nan, "{isa}: {activation:?} of {x} is {found}, not {expected}");
                }
            }
        }
    }
}

#[test]
fn parameters_that_make_no_function_are_refused() {
    let nan = f32::NAN;
    for activation in [
        Activation::Clamp { low: 1.0, high: 0.0 },
        Activation::Clamp { low: nan, high: 0.0 },
        Activation::LeakyRelu { slope: f32::INFINITY },
        Activation::HardSigmoid { slope: 0.2, offset: nan },
    ] {
        let error = kernels::Pointwise::builder(1, 1).activation(activation).build(&[1.0]).unwrap_err();
        assert!(error.to_string().contains("activation"), "{error}");
    }
}

#[test]
fn error_is_what_is_stated() {
    every(if cfg!(debug_assertions) { 20_011 } else { 2_003 });
}

/// All floats of all activations: some hours.
#[test]
#[ignore = "takes long; run by .ci/every_float"]
fn error_is_what_is_stated_for_every_float() {
    every(1);
}
