//! Normalisation over channels against its definition, on every instruction set.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::Shape;
use kernels_testing::operators::LayerNorm;
use kernels_testing::{Problem, layer_norm};

proptest! {
    #![proptest_config(config(160))]
    #[test]
    fn computes_its_definition((p, how) in ordered(layer_norm().ic(1..=200), true)) {
        check_layer_norm(&p, &how);
    }
}

#[test]
fn every_channel_count() {
    for c in CHANNELS {
        let op = LayerNorm { src: Shape::new(c, 3, 3), eps: 1e-6 };
        check_layer_norm(&Problem::new(op, Data::Reals, c as u64), &How::default());
    }
}

/// What is not a number stays in its pixel, and fills it.
#[test]
fn nan_and_infinity_fill_their_pixel() {
    for poison in POISONS {
        let op = LayerNorm { src: Shape::new(19, 3, 3), eps: 1e-6 };
        let p = Problem::new(op, Data::Integers, 1).edited(|src, _| src.data[9 * 17 + 4] = poison.into());
        let values = &p.expected().unwrap().values;
        assert!((0..19).all(|c| values.get(c, 1, 1).is_nan() && values.get(c, 0, 1).is_finite()));
        check_layer_norm(&p, &How::default());
    }
}
