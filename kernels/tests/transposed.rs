//! Transposed convolution against its definition, on every instruction set.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::{Activation, Shape, Window};
use kernels_testing::operators::Transposed;
use kernels_testing::{Problem, Problems, transposed};

fn any_problem() -> Problems<Transposed> {
    transposed().groups([1, 1, 2, 4]).bias([false, true]).activations(ALL_ACTIVATIONS)
}

proptest! {
    #![proptest_config(config(200))]
    #[test]
    fn computes_its_definition((p, how) in framed(any_problem())) {
        check_transposed(&p, &how);
    }

    #[test]
    fn reads_and_writes_through_orders((p, how) in ordered(any_problem(), false)) {
        check_transposed(&p, &how);
    }
}

#[test]
fn every_channel_count() {
    for c in CHANNELS {
        let window = Window::new(2 + c % 3).stride(2);
        let op = Transposed {
            src: Shape::new(1 + c % 20, 3, 8),
            oc: c,
            groups: 1,
            window,
            output_padding: [0, c % 2],
            bias: true,
            activation: Activation::Relu,
        };
        check_transposed(&Problem::new(op, Data::Integers, 1), &How::default());
    }
}
