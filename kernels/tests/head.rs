//! Convolution, average and fully connected layer in one operator, against the three definitions.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::{Activation, ChannelOrder, Pointwise, Shape};
use kernels_testing::operators::{Convolution, Head};
use kernels_testing::{Problem, head};

proptest! {
    #![proptest_config(config(120))]
    #[test]
    fn computes_its_definition((p, how) in ordered(
        prop_oneof![
            2 => head().data([Data::Reals]),
            1 => head().ic(1..=20).oc(1..=300).h(1..=3).w(1..=3),
        ],
        false,
    )) {
        check_head(&p, &how);
    }
}

fn plain(ic: usize, oc: usize, classes: usize, h: usize, w: usize) -> Problem<Head> {
    let conv = Convolution::pointwise(Shape::new(ic, h, w), oc);
    let conv = Convolution { bias: true, activation: Activation::Relu, ..conv };
    Problem::new(Head { conv, classes, bias: true }, Data::Reals, 1)
}

fn check(p: &Problem<Head>) {
    check_head(p, &How::default());
}

#[test]
fn every_channel_count() {
    for n in CHANNELS {
        check(&plain(1 + n % 7, n, 1 + n % 11, 2, 3));
        check(&plain(3, 1 + n % 60, n, 1, 2));
        check(&plain(n, 50, 3, 1, 1));
    }
}

#[test]
fn as_large_as_a_classifier() {
    check(&plain(464, 1024, 1000, 7, 7));
    check(&plain(600, 2048, 10, 2, 2));
}

#[test]
fn nan_and_infinity_follow_the_formulas() {
    for poison in POISONS {
        let p = plain(20, 100, 37, 3, 3);
        check(&p.clone().edited(|src, _| src.data[9 * 7 + 4] = poison.into()));
        check(&p.edited(|_, parameters| parameters.weights[100 * 33 + 70] = poison));
    }
}

/// The channels of a convolution with an output order do not lie where the fully connected layer reads them.
#[test]
fn an_output_order_is_refused() {
    for slots in [[1, 0], [0, 3], [5, 9]] {
        let order = ChannelOrder::from_slots(slots.to_vec());
        let conv = Pointwise::builder(1, 2).output_order(&order).build(&[1.0, 2.0]).unwrap();
        assert!(kernels::Head::builder(conv, 1).build(&[1.0, 1.0]).is_err(), "{slots:?}");
    }
    let conv = Pointwise::builder(1, 2).output_order(&ChannelOrder::identity(2)).build(&[1.0, 2.0]).unwrap();
    assert!(kernels::Head::builder(conv, 1).build(&[1.0, 1.0]).is_ok());
}
