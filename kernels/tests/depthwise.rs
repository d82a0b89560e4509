//! Depthwise convolution against its definition, on every instruction set.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::Window;
use kernels::{Activation, Padding, Shape};
use kernels_testing::operators::Convolution;
use kernels_testing::{Problem, depthwise};

/// Those that are constants in the inner loops, and others of all kinds.
fn any_problem() -> impl Strategy<Value = Problem<Convolution>> {
    let all = depthwise()
        .pads([Pad::Half, Pad::Same, Pad::Uneven])
        .bias([false, true])
        .batch_norm([false, true])
        .activations(ALL_ACTIVATIONS);
    let fast = all.clone().kernels(KERNELS.map(|kernel| [kernel; 2]));
    let any = all
        .kernels([[3, 3], [1, 1], [2, 2], [1, 5], [4, 1], [5, 7], [9, 9]])
        .strides([[1, 1], [2, 2], [2, 1], [1, 3], [3, 2]])
        .dilations([[1, 1], [2, 2], [1, 3], [5, 2]]);
    prop_oneof![fast, any]
}

proptest! {
    #![proptest_config(config(160))]
    #[test]
    fn computes_its_definition((p, how) in ordered(any_problem(), true)) {
        check_depthwise(&p, &how);
    }
}

const KERNELS: [usize; 3] = [3, 5, 7];

fn plain(channels: usize, h: usize, w: usize, window: Window) -> Problem<Convolution> {
    Problem::new(Convolution::depthwise(Shape::new(channels, h, w), window), Data::Integers, 1)
}

fn check(p: &Problem<Convolution>) {
    check_depthwise(p, &How::default());
}

#[test]
fn every_channel_count() {
    for channels in CHANNELS {
        let window = windows(&KERNELS, |kernel| Padding::all(kernel / 2)).nth(channels % 6).unwrap();
        let (batch_norm, activation) = (channels % 3 == 0, Activation::Relu);
        let op = Convolution::depthwise(Shape::new(channels, 4, 5), window);
        check(&Problem::new(Convolution { bias: true, batch_norm, activation, ..op }, Data::Integers, 1));
    }
}

/// Sizes around those of the tiles, and images narrower than the window.
#[test]
fn every_size() {
    for window in windows(&KERNELS, |_| Padding::Same).chain(windows(&KERNELS, |k| Padding::all(k / 2))) {
        for size in 1..=40 {
            check(&plain(3, 2, size, window));
            check(&plain(3, size, 1, window));
        }
    }
}

#[test]
fn every_padding_on_all_sides() {
    for (src, window) in KERNELS.into_iter().flat_map(|kernel| every_padding(2, kernel)) {
        check(&Problem::new(Convolution::depthwise(src, window), Data::Integers, 1));
    }
}

/// A tap that hangs over the border is left out, not multiplied by zero.
#[test]
fn weights_do_not_reach_through_padding() {
    for poison in [f32::NAN, f32::INFINITY] {
        for window in windows(&KERNELS, |kernel| Padding::all(kernel - 1)) {
            let taps = window.kernel[0] * window.kernel[1];
            for tap in 0..taps {
                check(
                    &plain(5, 6, 7, window).edited(|_, parameters| parameters.weights[taps + tap] = poison),
                );
            }
        }
    }
}

#[test]
fn nan_and_infinity_follow_the_formula() {
    for (activation, poison) in ACTIVATIONS.into_iter().flat_map(|a| POISONS.map(|poison| (a, poison))) {
        for window in windows(&KERNELS, |_| Padding::Same) {
            let op = Convolution::depthwise(Shape::new(19, 9, 9), window);
            let p = Problem::new(Convolution { activation, ..op }, Data::Integers, 1);
            check(&p.edited(|src, _| src.data[81 * 17 + 40] = poison.into()));
        }
    }
}
