//! Operators that run several steps at once, against the steps one by one.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::reference;
use kernels::{
    Activation, ChannelOrder, Convolution, Head, MaxPool, Padding, Parallel, Pointwise, Serial, Shape, Tensor,
};
use proptest::prelude::*;

/// A stem, pooled as it runs: the bits of the convolution and the pool one after the other, on any number of threads.
fn check_stem(
    oc: usize,
    h: usize,
    w: usize,
    stride: usize,
    padding: Padding,
    poison: Option<f32>,
    seed: u64,
) {
    let rng = &mut Random::new(seed);
    let weights = Data::Reals.many(oc * 27, rng);
    let mut image = Data::Reals.many(3 * h * w, rng);
    if let Some(poison) = poison {
        image[rng.below(3 * h * w)] = poison;
    }
    for isa in isas() {
        let conv = Convolution::builder(3, oc, 3, stride)
            .padding(padding)
            .activation(Activation::Relu)
            .isa(isa)
            .build(&weights)
            .unwrap();
        let pool = MaxPool::new(3, 2, padding, isa).unwrap();
        let mut map = Tensor::zeros(conv.output_shape(h, w));
        conv.run_planar(&image, h, w, map.view_mut());
        let mut expected = Tensor::zeros(pool.output_shape(map.shape()));
        pool.run(map.view(), expected.view_mut());
        let context = format!("{isa}: {oc} channels of {h}x{w}, stride {stride}, {padding:?}, {poison:?}");
        on_threads(
            |parallel: &dyn Parallel| {
                let mut scratch = vec![SENTINEL; conv.pooled_scratch(parallel, h, w) + 1];
                let mut found = Tensor::zeros(expected.shape());
                conv.run_planar_pooled(parallel, &image, h, w, &pool, &mut scratch[1..], found.view_mut());
                found.to_nchw()
            },
            |found, threads| {
                let what = format_args!("{context}, {threads}");
                assert_same_bits(&expected.to_nchw(), &found, expected.shape(), what);
            },
        );
    }
}

/// A head against its three steps in f64, and against itself on any number of threads.
fn check_head(ic: usize, oc: usize, classes: usize, h: usize, w: usize, bias: bool, seed: u64) {
    let rng = &mut Random::new(seed);
    let shape = Shape::new(ic, h, w);
    let image = Data::Reals.image(shape, rng);
    let (conv_weights, conv_bias) = (Data::Reals.many(oc * ic, rng), Data::Reals.many(oc, rng));
    let (fc_weights, fc_bias) = (Data::Reals.many(classes * oc, rng), Data::Reals.many(classes, rng));
    let fc_bias = bias.then_some(fc_bias.as_slice());
    let map = reference::pointwise(&image, 1, &conv_weights, Some(&conv_bias));
    let mean = reference::global_average(&reference::activate(&map, Activation::Relu));
    let expected = reference::linear(&mean, &fc_weights, fc_bias);
    // What rounding may do, from the sums of absolute values.
    let absolutes = |values: &[f32]| values.iter().map(|x| x.abs()).collect::<Vec<f32>>();
    let magnitude =
        reference::pointwise(&absolute(&image), 1, &absolutes(&conv_weights), Some(&absolutes(&conv_bias)));
    let magnitude = reference::global_average(&magnitude);
    let magnitude = reference::linear(&magnitude, &absolutes(&fc_weights), None);
    for isa in isas() {
        let conv = Pointwise::builder(ic, oc)
            .bias(&conv_bias)
            .activation(Activation::Relu)
            .isa(isa)
            .build(&conv_weights)
            .unwrap();
        let head = Head::new(conv, classes, &fc_weights, fc_bias).unwrap();
        assert_eq!((head.classes(), head.conv().oc()), (classes, oc));
        let src = Framed::holding(&image, Frame::default());
        let run = |parallel: &dyn Parallel| {
            let mut scratch = vec![f32::NAN; head.scratch(h, w)];
            let mut logits = vec![SENTINEL; classes];
            head.run_with(parallel, src.view(), &mut scratch, &mut logits);
            logits
        };
        let context = format!("{isa}: {ic} to {oc} to {classes} of {h}x{w}");
        let first = run(&Serial);
        for (class, (found, (expected, magnitude))) in
            first.iter().zip(expected.iter().zip(&magnitude)).enumerate()
        {
            let bound = error_bound(ic + h * w + oc, *magnitude + 1.0);
            let error = (f64::from(*found) - expected).abs();
            assert!(
                error <= bound,
                "{context}: class {class}: {found}, expected {expected} within {bound:e}"
            );
        }
        on_threads(run, |found, threads| {
            let what = format_args!("{context}, {threads}");
            assert_same_bits(&first, &found, Shape::new(classes, 1, 1), what);
        });
    }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn a_pooled_stem_is_its_steps(
        oc in 1..70usize, h in 1..40usize, w in 1..40usize, stride in 1..=2usize, same in any::<bool>(), seed in any::<u64>(),
    ) {
        let padding = if same { Padding::Same } else { Padding::all(1) };
        check_stem(oc, h, w, stride, padding, None, seed);
    }

    #[test]
    fn a_head_is_its_steps(
        ic in 1..150usize, oc in 1..300usize, classes in 1..120usize, h in 1..9usize, w in 1..9usize,
        bias in any::<bool>(), seed in any::<u64>(),
    ) {
        check_head(ic, oc, classes, h, w, bias, seed);
    }
}

#[test]
fn every_class_count() {
    for classes in 1..=130 {
        check_head(5, 40, classes, 2, 3, true, classes as u64);
    }
}

#[test]
fn the_published_stem_and_heads() {
    check_stem(24, 224, 224, 2, Padding::all(1), None, 1);
    check_stem(24, 224, 224, 2, Padding::Same, None, 2);
    check_head(192, 1024, 1000, 7, 7, true, 3);
    check_head(976, 2048, 1000, 7, 7, false, 4);
}

#[test]
fn nan_and_infinity_pass_through_the_stem() {
    for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for seed in 0..10 {
            check_stem(24, 13, 17, 2, Padding::all(1), Some(poison), seed);
        }
    }
}

#[test]
fn a_head_refuses_what_does_not_fit() {
    let conv = || Pointwise::builder(4, 8).build(&[0.5; 32]).unwrap();
    assert!(Head::new(conv(), 0, &[], None).is_err());
    assert!(Head::new(conv(), 3, &[0.0; 23], None).is_err());
    assert!(Head::new(conv(), 3, &[0.0; 24], Some(&[0.0; 2])).is_err());
    let order = ChannelOrder::identity(8).after_blocks(1);
    let gaps = Pointwise::builder(4, 8).output_order(&order).build(&[0.5; 32]).unwrap();
    assert!(Head::new(gaps, 3, &[0.0; 24], None).is_err());
}
