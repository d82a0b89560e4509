//! Nearest-neighbour upsampling against its definition.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::{ChannelOrder, Shape, reference, upsample_nearest_2x};
use proptest::prelude::*;

fn check(shape: Shape, frames: (Frame, Frame), seed: u64) {
    let image = Data::Reals.image(shape, &mut Random::new(seed));
    let expected = Expected::exactly(reference::upsample_nearest_2x(&image));
    let src = Framed::holding(&image, frames.0);
    let order = &ChannelOrder::identity(shape.c);
    let dst = Destination { shape: expected.values.shape, frame: frames.1, order };
    check_runs(&dst, &expected, format_args!("from {shape}, {frames:?}"), &|_, dst| {
        upsample_nearest_2x(src.view(), dst);
    });
}

proptest! {
    #![proptest_config(cases(120))]
    #[test]
    fn computes_its_definition(
        (c, h, w) in (any_channels(), 1..=9usize, 1..=9usize),
        frames in (any_frame(), any_frame()),
        seed in any::<u64>(),
    ) {
        check(Shape::new(c, h, w), frames, seed);
    }
}

#[test]
fn every_channel_count() {
    for c in CHANNELS {
        check(Shape::new(c, 1 + c % 3, 2), (Frame::WIDE, Frame::WIDE), c as u64);
    }
}
