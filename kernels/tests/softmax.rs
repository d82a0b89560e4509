//! Softmax against its definition.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::{reference, softmax};
use kernels_testing::Random;

/// Within 4 units of the last place, or twice the smallest number there is; and what the rounding of `x - max` makes of
/// its exponential.
fn check(logits: &[f32]) {
    let expected = reference::softmax(&logits.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>());
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut found = logits.to_vec();
    softmax(&mut found);
    for (i, (&found, &expected)) in found.iter().zip(&expected).enumerate() {
        let rounding = (f64::from(max) - f64::from(logits[i])) / 2.0;
        let bound = (2.0 + rounding) * f64::from(f32::EPSILON) * expected + 3e-45;
        let close = (f64::from(found) - expected).abs() <= bound || f64::from(found) == expected;
        assert!(
            close || found.is_nan() && expected.is_nan(),
            "element {i} of {}: expected {expected:e}, found {found:e}, logit {}",
            logits.len(),
            logits[i]
        );
    }
}

proptest! {
    #![proptest_config(config(256))]
    #[test]
    fn computes_its_definition(p in kernels_testing::softmax(), spread in 0..12u32) {
        let mut values = p.src_nchw();
        softmax(&mut values);
        p.check_nchw(&values);
        check(&p.src_nchw().iter().map(|x| x * f32::powi(2.0, spread as i32 - 4)).collect::<Vec<f32>>());
    }

    #[test]
    fn any_bits(bits in prop::collection::vec(any::<u32>(), 1..20)) {
        let logits: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        check(&logits);
    }
}

/// Every binade of differences, down to where the power vanishes.
#[test]
fn small_and_large_differences() {
    for i in 0..=12_000 {
        check(&[0.0, -0.01 * i as f32]);
    }
    for exponent in -149..=127 {
        check(&[0.0, -f32::powi(2.0, exponent)]);
        check(&[f32::powi(2.0, exponent), -f32::powi(2.0, exponent)]);
    }
}

#[test]
fn probabilities_sum_to_one() {
    let rng = &mut Random::new(3);
    let mut values = Data::Reals.many(1000, rng);
    softmax(&mut values);
    let sum: f64 = values.iter().map(|&x| f64::from(x)).sum();
    assert!((sum - 1.0).abs() < 1e-6, "{sum}");
}

#[test]
fn nan_makes_everything_nan() {
    for at in 0..5 {
        for other in [0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let mut values = [other; 5];
            values[at] = f32::NAN;
            softmax(&mut values);
            assert!(values.iter().all(|x| x.is_nan()), "NaN at {at} among {other}: {values:?}");
        }
    }
}

#[test]
fn equal_infinities_are_equally_probable() {
    let cases = [
        ([f32::INFINITY, 3.0, f32::INFINITY, f32::NEG_INFINITY], [0.5, 0.0, 0.5, 0.0]),
        ([f32::NEG_INFINITY; 4], [0.25; 4]),
        ([f32::NEG_INFINITY, 1.0, 1.0, f32::NEG_INFINITY], [0.0, 0.5, 0.5, 0.0]),
        ([f32::MAX, f32::MIN, f32::MAX, 0.0], [0.5, 0.0, 0.5, 0.0]),
    ];
    for (logits, expected) in cases {
        let mut values = logits;
        softmax(&mut values);
        assert_eq!(values, expected, "of {logits:?}");
        check(&logits);
    }
}

#[test]
fn of_nothing_and_of_one() {
    softmax(&mut []);
    for x in [0.0, -1e30, f32::INFINITY, f32::NEG_INFINITY] {
        let mut one = [x];
        softmax(&mut one);
        assert_eq!(one, [1.0], "of {x}");
    }
}
