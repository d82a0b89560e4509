//! Nearest-neighbour upsampling against its definition.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::Shape;
use kernels_testing::operators::Upsample2x;
use kernels_testing::{Problem, upsample_2x};

proptest! {
    #![proptest_config(config(120))]
    #[test]
    fn computes_its_definition((p, how) in framed(upsample_2x())) {
        check_upsample(&p, &how);
    }
}

#[test]
fn every_channel_count() {
    for c in CHANNELS {
        let op = Upsample2x { src: Shape::new(c, 1 + c % 3, 2) };
        check_upsample(&Problem::new(op, Data::Reals, c as u64), &How::default());
    }
}
