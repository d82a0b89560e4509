//! Other sizes against their definition, on every instruction set.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::{Coordinates, Interpolation, Shape};
use kernels_testing::operators::Resize;
use kernels_testing::{Problem, resize};

proptest! {
    #![proptest_config(config(240))]
    #[test]
    fn computes_its_definition((p, how) in framed(resize().data(any_data()))) {
        check_resize(&p, &how);
    }
}

#[test]
fn every_channel_count() {
    for c in CHANNELS {
        let (interpolation, coordinates) = (Interpolation::Nearest, Coordinates::Asymmetric);
        let src = Shape::new(c, 1 + c % 3, 2);
        let op = Resize { src, to: (2 * src.h, 4), interpolation, coordinates };
        check_resize(&Problem::new(op, Data::Reals, c as u64), &How::default());
    }
}

/// More columns than are computed at a time.
#[test]
fn wide_maps() {
    for coordinates in [Coordinates::HalfPixel, Coordinates::AlignCorners, Coordinates::Asymmetric] {
        for (interpolation, w) in [(Interpolation::Bilinear, 200), (Interpolation::Nearest, 129)] {
            let op = Resize { src: Shape::new(3, 2, 70), to: (3, w), interpolation, coordinates };
            check_resize(&Problem::new(op, Data::Reals, 1), &How::default());
        }
    }
}
