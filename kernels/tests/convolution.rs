//! Dense convolution, alone and with the pool of a stem behind it, against their definitions, on every instruction set.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::Window;
use kernels::{Activation, Padding, Shape};
use kernels_testing::operators::{Convolution, Stem};
use kernels_testing::{Problem, convolution, stem};

const KERNELS: [usize; 5] = [1, 2, 3, 5, 7];

/// Rectangles, strides and dilations of all kinds.
const WINDOWS: [[usize; 2]; 8] = [[3, 3], [1, 1], [2, 2], [1, 5], [4, 1], [3, 2], [5, 5], [7, 7]];
const STRIDES: [[usize; 2]; 7] = [[1, 1], [2, 2], [4, 4], [2, 1], [1, 3], [3, 2], [7, 5]];
const DILATIONS: [[usize; 2]; 4] = [[1, 1], [2, 2], [1, 3], [5, 2]];

fn any_problem() -> impl Strategy<Value = Problem<Convolution>> {
    let all = convolution()
        .kernels(WINDOWS)
        .strides(STRIDES)
        .dilations(DILATIONS)
        .pads([Pad::Half, Pad::Same, Pad::Uneven, Pad::Zero])
        .bias([false, true])
        .batch_norm([false, true])
        .residual([false, true])
        .activations(ALL_ACTIVATIONS);
    let grouped = all.clone().ic(CHANNELS).oc(CHANNELS).groups([2, 3, 4, 8, 16, 40]);
    prop_oneof![all.clone().ic(1..=6).oc(CHANNELS), all.clone().ic(CHANNELS).oc(1..=6), grouped, all]
}

proptest! {
    #![proptest_config(config(300))]
    #[test]
    fn computes_its_definition((p, how) in framed(any_problem())) {
        check_convolution(&p, &how);
    }

    #[test]
    fn reads_and_writes_through_orders((p, how) in ordered(any_problem(), false)) {
        check_convolution(&p, &how);
    }

    #[test]
    fn stem_computes_its_definition((p, how) in framed(stem().ic(1..=6))) {
        check_stem(&p, &how);
    }
}

fn plain(ic: usize, oc: usize, h: usize, w: usize, window: Window) -> Problem<Convolution> {
    Problem::new(Convolution::new(Shape::new(ic, h, w), oc, window), Data::Integers, 1)
}

fn check(p: &Problem<Convolution>) {
    check_convolution(p, &How::default());
}

/// The stem of a ShuffleNet, in PyTorch's padding and in TensorFlow's.
#[test]
fn stems_of_a_shufflenet() {
    for padding in [Padding::all(1), Padding::Same] {
        for (h, w) in [(1, 1), (2, 2), (32, 35), (33, 64), (224, 224)] {
            let window = Window::new(3).stride(2).padding(padding);
            let conv = Convolution::new(Shape::new(3, h, w), 24, window);
            let conv = Convolution { bias: true, batch_norm: true, activation: Activation::Relu, ..conv };
            let p = Problem::new(Stem { conv, pool: window }, Data::Integers, 1);
            check_stem(&p, &How::default());
        }
    }
}

#[test]
fn every_input_channel_count() {
    for ic in CHANNELS {
        let window = Window::new(3).stride(1 + ic % 2).padding(Padding::Same);
        check(&plain(ic, 5, 3, 4, window));
    }
}

#[test]
fn every_output_channel_count() {
    for oc in CHANNELS {
        let (batch_norm, activation) = (oc % 2 == 0, Activation::Relu);
        let window = Window::new(3).stride(1 + oc % 2).pad(1);
        let op = Convolution::new(Shape::new(3, 4, 7), oc, window);
        check(&Problem::new(Convolution { bias: true, batch_norm, activation, ..op }, Data::Integers, 1));
    }
}

/// Sizes around those of the tiles, and images narrower than the window.
#[test]
fn every_size() {
    for window in windows(&KERNELS, |_| Padding::Same).chain(windows(&KERNELS, |k| Padding::all(k / 2))) {
        for size in 1..=24 {
            check(&plain(2, 5, 2, size, window));
            check(&plain(2, 5, size, 1, window));
        }
    }
}

#[test]
fn every_padding_on_all_sides() {
    for (src, window) in KERNELS.into_iter().flat_map(|kernel| every_padding(2, kernel)) {
        check(&Problem::new(Convolution::new(src, 3, window), Data::Integers, 1));
    }
}

/// A group per channel, and groups that share registers or fill them.
#[test]
fn groups_of_every_size() {
    for (ic, oc, groups) in [(12, 12, 12), (12, 24, 12), (24, 12, 6), (64, 64, 4), (48, 96, 3), (60, 20, 20)]
    {
        for stride in [1, 2] {
            let op = Convolution::new(Shape::new(ic, 5, 9), oc, Window::new(3).stride(stride).pad(1));
            check(&Problem::new(Convolution { groups, residual: true, ..op }, Data::Integers, 1));
        }
    }
}

/// Padding as wide as the window and wider: there are pixels that no tap reaches.
#[test]
fn windows_beside_the_image() {
    for (kernel, pad, dilation) in
        [(1, 1, 1), (1, 3, 1), (2, 5, 1), (3, 3, 1), (3, 9, 1), (3, 5, 5), (2, 7, 9)]
    {
        for stride in [1, 2, 3] {
            let window = Window::new(kernel).stride(stride).dilation(dilation).pad(pad);
            for size in [1, 4, 11] {
                let op = Convolution::new(Shape::new(3, size, size), 19, window);
                let op = Convolution { bias: true, residual: true, activation: Activation::Relu, ..op };
                check(&Problem::new(op, Data::Integers, 1));
            }
        }
    }
}

/// Long sums are cut into passes whose sums wait in the destination.
#[test]
fn sums_of_more_than_one_pass() {
    for ic in [113, 114, 228, 300] {
        for stride in [1, 2] {
            let window = Window::new(3).stride(stride).padding(Padding::Same);
            let op = Convolution::new(Shape::new(ic, 4, 33), 20, window);
            let op = Convolution { bias: true, batch_norm: true, activation: Activation::Relu6, ..op };
            check(&Problem::new(op, Data::Reals, 1));
        }
    }
}

/// A tap that hangs over the border is left out, not multiplied by zero.
#[test]
fn weights_do_not_reach_through_padding() {
    for poison in [f32::NAN, f32::INFINITY] {
        for window in windows(&KERNELS, |kernel| Padding::all(kernel - 1)) {
            let k = 2 * window.kernel[0] * window.kernel[1];
            for tap in 0..k {
                let p = plain(2, 5, 5, 6, window);
                check(&p.edited(|_, parameters| parameters.weights[k + tap] = poison));
            }
        }
    }
}

#[test]
fn nan_and_infinity_follow_the_formula() {
    for (activation, poison) in ACTIVATIONS.into_iter().flat_map(|a| POISONS.map(|poison| (a, poison))) {
        for window in windows(&KERNELS, |_| Padding::Same) {
            let conv = Convolution::new(Shape::new(3, 9, 9), 20, window);
            let conv = Convolution { activation, ..conv };
            let p = Problem::new(conv.clone(), Data::Integers, 1);
            check(&p.edited(|src, _| src.data[81 + 40] = poison.into()));
            let pool = Window::new(3).stride(2).pad(1);
            let p = Problem::new(Stem { conv, pool }, Data::Integers, 1);
            check_stem(&p.edited(|src, _| src.data[81 + 40] = poison.into()), &How::default());
        }
    }
}
