//! The element-wise operators against their definitions, on every instruction set.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::reference;
use kernels::{BatchNorm, Shape};
use kernels_testing::operators::{Activate, Add, Affine, Beside, Mul, PRelu};
use kernels_testing::{Problem, Random, activate, add, affine, error_bound, mul, prelu};

proptest! {
    #![proptest_config(config(120))]
    #[test]
    fn affine_computes_its_definition(
        (p, how) in framed(affine().activations(ALL_ACTIVATIONS).data(any_data())),
    ) {
        check_affine(&p, &how);
    }

    #[test]
    fn add_computes_its_definition((p, how) in framed(add().activations(ALL_ACTIVATIONS).data(any_data()))) {
        check_add(&p, &how);
    }

    #[test]
    fn mul_computes_its_definition((p, how) in framed(mul().activations(ALL_ACTIVATIONS).data(any_data()))) {
        check_mul(&p, &how);
    }

    #[test]
    fn prelu_computes_its_definition((p, how) in framed(prelu().data(any_data()))) {
        check_prelu(&p, &how);
    }

    #[test]
    fn activate_computes_its_definition(
        (p, how) in framed(activate().activations(ALL_ACTIVATIONS).data(any_data())),
    ) {
        check_activate(&p, &how);
    }
}

/// All of them on one shape.
fn check(src: Shape, activation: kernels::Activation, data: Data) {
    let how = How::default();
    check_affine(&Problem::new(Affine { src, activation }, data, 1), &how);
    for other in [Beside::Whole, Beside::Channel, Beside::Pixel] {
        check_add(&Problem::new(Add { src, other, activation }, data, 1), &how);
        check_mul(&Problem::new(Mul { src, other, activation }, data, 1), &how);
    }
    check_prelu(&Problem::new(PRelu { src }, data, 1), &how);
    check_activate(&Problem::new(Activate { src, activation }, data, 1), &how);
}

#[test]
fn every_channel_count() {
    for c in CHANNELS {
        check(Shape::new(c, 2, 3), ACTIVATIONS[c % 3], Data::Integers);
    }
}

#[test]
fn nan_passes_every_activation() {
    for (activation, poison) in ACTIVATIONS.into_iter().flat_map(|a| POISONS.map(|poison| (a, poison))) {
        check(Shape::new(19, 3, 3), activation, Data::With(poison));
    }
}

/// A batch normalisation is the multiply-add that it folds into.
#[test]
fn batch_norm_folds() {
    let rng = &mut Random::new(7);
    let channels = 130;
    let [gamma, beta, mean] = [0; 3].map(|_| Data::Reals.many(channels, rng));
    let mut variance: Vec<f32> = Data::Reals.many(channels, rng).iter().map(|x| x.abs()).collect();
    variance[3] = 0.0;
    let batch_norm = BatchNorm { gamma: &gamma, beta: &beta, mean: &mean, variance: &variance, eps: 1e-5 };
    let (scale, shift) = batch_norm.scale_shift().unwrap();
    let x = Data::Reals.image(Shape::new(channels, 3, 3), rng);
    let (folded, plain) = (reference::affine(&x, &scale, &shift), reference::batch_norm(&x, &batch_norm));
    for (i, (folded, plain)) in folded.data.iter().zip(&plain.data).enumerate() {
        let c = i / 9;
        let magnitude = (x.data[i].abs() + f64::from(mean[c].abs())) * f64::from(scale[c].abs());
        let bound = error_bound(0, magnitude + f64::from(beta[c].abs()));
        assert!((folded - plain).abs() <= bound, "channel {c}: {folded} and {plain} within {bound}");
    }
}

/// A variance that is not a number, or less than `-eps`, makes NaN rather than a panic.
#[test]
fn batch_norm_of_a_variance_that_is_none() {
    let one = [1.0, 1.0, 1.0];
    let variance = [f32::NAN, -1.0, f32::INFINITY];
    let batch_norm = BatchNorm { gamma: &one, beta: &one, mean: &one, variance: &variance, eps: 1e-5 };
    let (scale, shift) = batch_norm.scale_shift().unwrap();
    assert!(scale[0].is_nan() && shift[0].is_nan() && scale[1].is_nan());
    assert_eq!((scale[2], shift[2]), (0.0, 1.0));
}
