//! 1x1 convolution against its definition, on every instruction set.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::reference::Planar;
use kernels::{Activation, ChannelOrder, Pointwise, Shape};
use kernels_testing::blocked::{Frame, Framed, Order};
use kernels_testing::operators::Convolution;
use kernels_testing::{Problem, Random, pointwise};

fn any_problem() -> impl Strategy<Value = Problem<Convolution>> {
    let all = pointwise()
        .w(1..=12)
        .bias([false, true])
        .batch_norm([false, true])
        .residual([false, true])
        .activations(ALL_ACTIVATIONS);
    prop_oneof![
        3 => all.clone(),
        1 => all.clone().groups(2..=5),
        // As many groups as channels on one side: depthwise, with a multiplier.
        1 => all.clone().groups(1..=40).ic(1..=40),
        1 => all.groups(1..=40).oc(1..=40),
    ]
}

proptest! {
    #![proptest_config(config(160))]
    #[test]
    fn computes_its_definition((p, how) in ordered(any_problem(), false)) {
        check_pointwise(&p, &how);
    }
}

fn plain(ic: usize, oc: usize, h: usize, w: usize) -> Convolution {
    Convolution::pointwise(Shape::new(ic, h, w), oc)
}

fn check(op: Convolution, data: Data) {
    check_pointwise(&Problem::new(op, data, 1), &How::default());
}

#[test]
fn every_input_channel_count() {
    for ic in CHANNELS {
        let op = plain(ic, CHANNELS.end() + 1 - ic, 3, 5);
        check(Convolution { residual: ic % 3 == 0, ..op }, Data::Integers);
    }
}

#[test]
fn every_output_channel_count() {
    for oc in CHANNELS {
        let (batch_norm, activation) = (oc % 2 == 0, Activation::Relu);
        let op = plain(1 + oc % 7, oc, 1 + oc % 3, 4);
        check(Convolution { bias: true, batch_norm, activation, ..op }, Data::Integers);
    }
}

#[test]
fn every_pixel_count() {
    for pixels in 1..=50 {
        check(plain(5, 52, 1, pixels), Data::Integers);
        check(plain(17, 7, pixels, 1), Data::Reals);
    }
}

/// Long sums are cut into passes whose sums wait in the destination.
#[test]
fn sums_of_more_than_one_pass() {
    for ic in [511, 512, 513, 1023, 1024, 1025, 1600] {
        for (groups, oc) in [(1, 50), (2, 20)] {
            let op = Convolution { groups, residual: true, ..plain(groups * ic, groups * oc, 3, 3) };
            let order = Order::Permuted.of(groups * ic, &mut Random::new(1));
            check_pointwise(&Problem::new(op.clone(), Data::Integers, 1), &How::through(order));
            let fused = Convolution { bias: true, batch_norm: true, activation: Activation::Relu6, ..op };
            check(fused, Data::Reals);
        }
    }
}

#[test]
fn every_group_count() {
    let rng = &mut Random::new(1);
    for groups in 1..=32 {
        let p = |op: Convolution| Problem::new(Convolution { groups, ..op }, Data::Integers, 1);
        check_pointwise(&p(plain(3 * groups, 2 * groups, 2, 4)), &How::default());
        let output = Order::Permuted.of(5 * groups, rng);
        check_pointwise(&p(plain(2 * groups, 5 * groups, 2, 4)), &How::into_order(output));
        let input = Order::Scattered.of(groups, rng);
        check_pointwise(&p(plain(groups, groups, 1, 9)), &How::through(input));
    }
}

/// The problem of `op` with `poison` in the source and then in the weights.
fn check_poisoned(op: &Convolution, poison: f32) {
    let p = Problem::new(op.clone(), Data::Integers, 1);
    let in_src = p.clone().edited(|src, _| src.data[5] = poison.into());
    check_pointwise(&in_src, &How::default());
    let in_weights = p.edited(|_, parameters| parameters.weights[20 * 18 + 7] = poison);
    check_pointwise(&in_weights, &How::default());
}

#[test]
fn nan_and_infinities_follow_the_formula() {
    for activation in ACTIVATIONS {
        for poison in POISONS {
            check_poisoned(&Convolution { activation, ..plain(20, 37, 4, 4) }, poison);
        }
    }
    let both = Problem::new(plain(20, 37, 4, 4), Data::Integers, 1).edited(|src, _| {
        src.data[5] = f64::INFINITY;
        src.data[16 * 3 + 9] = f64::NEG_INFINITY;
    });
    check_pointwise(&both, &How::default());
}

/// Whatever the numbers are, NaN of all kinds and denormal ones among them: nothing is written outside, and threads, memory and
/// a second run change nothing. The first of these problems a fuzzer found.
#[test]
fn any_bits_are_computed_alike() {
    for seed in [943_259_893, 1, 2, 3] {
        let op = Convolution { residual: true, activation: Activation::Relu6, ..plain(57, 57, 8, 2) };
        let p = Problem::new(op, Data::Bits, seed);
        check_pointwise(&p, &How::default());
        check_pointwise(&p, &How { on: Some(Somebody(7)), ..How::default() });
    }
}

/// Groups of whole blocks, that is; those that share a block meet each other's zero weights.
#[test]
fn nan_stays_in_its_group() {
    for poison in [f64::NAN, f64::INFINITY] {
        for (ic, oc) in [(3, 16), (1, 32), (4, 48), (20, 16)] {
            let op = Convolution { groups: 4, ..plain(4 * ic, 4 * oc, 3, 3) };
            let p = Problem::new(op, Data::Integers, 1);
            check_pointwise(&p.edited(|src, _| src.data[9 * ic + 4] = poison), &How::default());
        }
    }
}

#[test]
fn without_an_order_channels_lie_in_their_slots() {
    let weights: Vec<f32> = (0..18).map(|i| i as f32).collect();
    let identity = ChannelOrder::identity(3);
    let told = Pointwise::builder(3, 6).input_order(&identity).build(&weights).unwrap();
    let untold = Pointwise::builder(3, 6).build(&weights).unwrap();
    let src = Planar::from_fn(Shape::new(3, 2, 2), |c, y, x| (c + y * x) as f64);
    let src = Framed::holding(&src, Frame::WIDE);
    let results = [told, untold].map(|op| {
        let mut dst = Framed::new(Shape::new(6, 2, 2), Frame::WIDE);
        op.run(src.view(), dst.view_mut());
        dst.read(&ChannelOrder::identity(6))
    });
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0][..4], [5.0, 5.0, 5.0, 8.0]);
}
