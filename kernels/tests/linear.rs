//! The fully connected layer against its definition, on every instruction set.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::Shape;
use kernels_testing::operators::Convolution;
use kernels_testing::{Problem, linear};

proptest! {
    #![proptest_config(config(120))]
    #[test]
    fn computes_its_definition(p in {
        let all = linear().bias([false, true]).activations(ACTIVATIONS);
        prop_oneof![all.clone().ic(CHANNELS).oc(CHANNELS), all]
    }) {
        check_linear(&p, &How::default());
    }
}

fn plain(ic: usize, oc: usize, data: Data) -> Problem<Convolution> {
    Problem::new(Convolution { bias: true, ..Convolution::pointwise(Shape::new(ic, 1, 1), oc) }, data, 1)
}

fn check(p: &Problem<Convolution>) {
    check_linear(p, &How::default());
}

#[test]
fn every_channel_count() {
    for n in CHANNELS {
        check(&plain(n, 1 + n % 50, Data::Integers));
        check(&plain(1 + n % 9, n, Data::Integers));
    }
}

#[test]
fn as_large_as_a_classifier() {
    check(&plain(1024, 1000, Data::Reals));
    check(&plain(2048, 10, Data::Integers));
}

#[test]
fn nan_and_infinity_follow_the_formula() {
    for (activation, poison) in ACTIVATIONS.into_iter().flat_map(|a| POISONS.map(|poison| (a, poison))) {
        let op = Convolution { bias: true, activation, ..Convolution::pointwise(Shape::new(20, 1, 1), 37) };
        let p = Problem::new(op, Data::Integers, 1);
        check(&p.clone().edited(|src, _| src.data[11] = poison.into()));
        check(&p.edited(|_, parameters| parameters.weights[20 * 33 + 4] = poison));
    }
}
