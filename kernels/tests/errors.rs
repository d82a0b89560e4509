//! What constructors refuse, and what makes a run panic: each with its sentence.
#![cfg(feature = "std")]

mod common;

use common::assert_panics;
use kernels::{Activation, Affine, AveragePool, BatchNorm, ChannelOrder, Convolution, Depthwise, Error, Isa};
use kernels::{Head, Linear, Materialize, MaxPool, Padding, Pointwise, Serial, Shape, Tensor, View, ViewMut};
use kernels::{activate, add, global_average, layout, upsample_nearest_2x};
use std::fmt::Debug;

#[track_caller]
fn refused<T: Debug>(result: Result<T, Error>, sentence: &str) {
    assert_eq!(result.expect_err(sentence).to_string(), sentence);
}

const FOUR: [f32; 4] = [1.0; 4];

fn order(slots: &[u32]) -> ChannelOrder {
    ChannelOrder::from_slots(slots.to_vec())
}

fn tensor(c: usize, h: usize, w: usize) -> Tensor {
    Tensor::zeros(Shape::new(c, h, w))
}

/// A batch normalisation of four channels whose statistics `f` changes.
fn batch_norm(f: impl Fn(&mut BatchNorm<'static>)) -> BatchNorm<'static> {
    let mut batch_norm = BatchNorm { gamma: &FOUR, beta: &FOUR, mean: &FOUR, variance: &FOUR, eps: 0.0 };
    f(&mut batch_norm);
    batch_norm
}

/// Every statistic in turn one number too short, and what is said of it.
fn short_batch_norms() -> [(BatchNorm<'static>, &'static str); 4] {
    [
        (batch_norm(|b| b.gamma = &FOUR[1..]), "batch norm gamma: expected 4 elements, found 3"),
        (batch_norm(|b| b.beta = &FOUR[1..]), "batch norm beta: expected 4 elements, found 3"),
        (batch_norm(|b| b.mean = &FOUR[1..]), "batch norm mean: expected 4 elements, found 3"),
        (batch_norm(|b| b.variance = &FOUR[1..]), "batch norm variance: expected 4 elements, found 3"),
    ]
}

#[test]
fn pointwise_refuses() {
    let build = |ic, oc| Pointwise::builder(ic, oc).build(&[1.0; 12]);
    refused(build(0, 4), "channels: 0 to 4: both must be at least 1");
    refused(build(4, 0), "channels: 4 to 0: both must be at least 1");
    refused(build(4, 4), "weights: expected 16 elements, found 12");
    refused(build(usize::MAX, 2), "channels: too many");
    refused(build(usize::MAX, 1), &format!("weights: expected {} elements, found 12", usize::MAX));
    for groups in [0, 2, 4, usize::MAX] {
        let sentence = format!("groups: 3 to 4 channels do not divide into {groups} groups");
        refused(Pointwise::builder(3, 4).groups(groups).build(&[1.0; 12]), &sentence);
    }
    refused(
        Pointwise::builder(6, 4).groups(3).build(&[1.0; 8]),
        "groups: 6 to 4 channels do not divide into 3 groups",
    );
    let plain = Pointwise::builder(3, 4);
    let build = |builder: kernels::PointwiseBuilder<'_>| builder.build(&[1.0; 12]);
    refused(build(plain.bias(&FOUR[1..])), "bias: expected 4 elements, found 3");
    for (batch_norm, sentence) in short_batch_norms() {
        refused(build(plain.batch_norm(batch_norm)), sentence);
    }
    refused(build(plain.input_order(&order(&[0, 1]))), "input order: expected 3 elements, found 2");
    refused(build(plain.output_order(&order(&[0, 1]))), "output order: expected 4 elements, found 2");
    refused(build(plain.output_order(&order(&[5, 1, 2, 5]))), "output order: slot 5 is named twice");
    refused(
        build(plain.output_order(&order(&[0, 1, 2, u32::MAX]))),
        &format!("output order: 4 channels spread over {} slots", (u32::MAX as usize).saturating_add(1)),
    );
}

const THREE: Padding = Padding::Sides { top: 0, bottom: 3, left: 0, right: 0 };
const THREE_IS_TOO_MUCH: &str =
    "padding: Sides { top: 0, bottom: 3, left: 0, right: 0 } is not smaller than the kernel, 3";

#[test]
fn depthwise_refuses() {
    let build = |channels, kernel, stride| Depthwise::builder(channels, kernel, stride).build(&[1.0; 36]);
    refused(build(0, 3, 1), "channels: 0: must be at least 1");
    refused(build(3, 3, 1), "weights: expected 27 elements, found 36");
    refused(build(usize::MAX, 3, 1), &format!("weights: expected {} elements, found 36", usize::MAX));
    for kernel in [0, 1, 2, 4, 7, usize::MAX] {
        refused(build(4, kernel, 1), &format!("kernel: {kernel}: must be one of [3, 5]"));
    }
    for stride in [0, 3, usize::MAX] {
        refused(build(4, 3, stride), &format!("stride: {stride}: must be 1 or 2"));
    }
    let plain = Depthwise::builder(4, 3, 1);
    let build = |builder: kernels::DepthwiseBuilder<'_>| builder.build(&[1.0; 36]);
    refused(build(plain.padding(THREE)), THREE_IS_TOO_MUCH);
    refused(build(plain.bias(&FOUR[1..])), "bias: expected 4 elements, found 3");
    for (batch_norm, sentence) in short_batch_norms() {
        refused(build(plain.batch_norm(batch_norm)), sentence);
    }
    refused(build(plain.input_order(&order(&[0, 1]))), "input order: expected 4 elements, found 2");
    refused(build(plain.input_order(&order(&[3, 9, 3, 1]))), "input order: a slot is named twice");
}

#[test]
fn convolution_refuses() {
    let build = |ic, oc, kernel, stride| Convolution::builder(ic, oc, kernel, stride).build(&[1.0; 72]);
    refused(build(0, 4, 3, 1), "channels: 0 to 4: both must be at least 1");
    refused(build(2, 0, 3, 1), "channels: 2 to 0: both must be at least 1");
    refused(build(2, 3, 3, 1), "weights: expected 54 elements, found 72");
    refused(
        build(usize::MAX, usize::MAX, 3, 1),
        &format!("weights: expected {} elements, found 72", usize::MAX),
    );
    for kernel in [0, 2, 4, 6, 9, usize::MAX] {
        refused(build(2, 4, kernel, 1), &format!("kernel: {kernel}: must be one of [1, 3, 5, 7]"));
    }
    for stride in [0, 3, usize::MAX] {
        refused(build(2, 4, 3, stride), &format!("stride: {stride}: must be 1 or 2"));
    }
    let plain = Convolution::builder(2, 4, 3, 1);
    let build = |builder: kernels::ConvolutionBuilder<'_>| builder.build(&[1.0; 72]);
    refused(build(plain.padding(THREE)), THREE_IS_TOO_MUCH);
    refused(build(plain.bias(&FOUR[1..])), "bias: expected 4 elements, found 3");
    for (batch_norm, sentence) in short_batch_norms() {
        refused(build(plain.batch_norm(batch_norm)), sentence);
    }
}

#[test]
fn the_other_operators_refuse() {
    let (isa, none) = (Isa::best(), Activation::None);
    for kernel in [0, 1, 4, usize::MAX] {
        let sentence = format!("kernel: {kernel}: must be one of [2, 3, 5]");
        refused(MaxPool::new(kernel, 1, Padding::Same, isa), &sentence);
        refused(AveragePool::new(kernel, 1, Padding::Same, true, isa), &sentence);
    }
    refused(MaxPool::new(3, 0, Padding::Same, isa), "stride: 0: must be 1 or 2");
    refused(AveragePool::new(3, 3, Padding::Same, true, isa), "stride: 3: must be 1 or 2");
    refused(MaxPool::new(3, 2, THREE, isa), THREE_IS_TOO_MUCH);
    refused(AveragePool::new(3, 2, THREE, true, isa), THREE_IS_TOO_MUCH);

    let linear = |ic, oc, bias| Linear::new(ic, oc, &FOUR, bias, none, isa);
    refused(linear(0, 4, None), "channels: 0 to 4: both must be 1 to 2^32 - 1");
    refused(linear(4, 0, None), "channels: 4 to 0: both must be 1 to 2^32 - 1");
    refused(linear(2, 3, None), "weights: expected 6 elements, found 4");
    refused(linear(2, usize::MAX, None), &format!("weights: expected {} elements, found 4", usize::MAX));
    refused(linear(2, 2, Some(&FOUR)), "bias: expected 2 elements, found 4");

    refused(Affine::new(&[], &[], none, isa), "channels: 0: must be at least 1");
    refused(Affine::new(&FOUR, &FOUR[1..], none, isa), "shift: expected 4 elements, found 3");
    refused(Materialize::new(&order(&[]), isa), "order: no channels");
    for (batch_norm, sentence) in short_batch_norms() {
        if batch_norm.gamma.len() == 4 {
            refused(batch_norm.scale_shift(), sentence);
        }
    }
    refused(
        batch_norm(|b| b.gamma = &FOUR[1..]).scale_shift(),
        "batch norm beta: expected 3 elements, found 4",
    );
}

#[test]
fn head_refuses() {
    let head = |classes, weights, bias| {
        let conv = Pointwise::builder(1, 2).build(&[1.0; 2]).unwrap();
        Head::new(conv, classes, &[1.0; 12][..weights], bias)
    };
    refused(head(0, 0, None), "head: 0 classes behind 2 channels, which must be in order");
    refused(head(4, 7, None), "weights: expected 8 elements, found 7");
    refused(head(usize::MAX, 12, None), &format!("weights: expected {} elements, found 12", usize::MAX));
    refused(head(4, 8, Some(&FOUR[1..])), "bias: expected 4 elements, found 3");
    let reversed = order(&[1, 0]);
    let conv = Pointwise::builder(1, 2).output_order(&reversed).build(&[1.0; 2]).unwrap();
    refused(Head::new(conv, 1, &[1.0; 2], None), "head: 1 classes behind 2 channels, which must be in order");
}

#[test]
fn tensors_refuse() {
    let mut data = vec![0.0; 32];
    for (c, h, w) in [(0, 1, 1), (1, 0, 1), (1, 1, 0)] {
        let (shape, sentence) = (Shape::new(c, h, w), format!("shape: {c}x{h}x{w} has a side of zero"));
        refused(View::new(&[], shape), &sentence);
        refused(ViewMut::new(&mut [], shape), &sentence);
        refused(Tensor::from_nchw(&[], shape), &sentence);
        refused(Tensor::from_nhwc(&[], shape), &sentence);
        assert_panics(&sentence, || Tensor::zeros(shape));
    }
    let large = usize::MAX;
    for (c, h, w) in [(large, 1, 1), (1, large, 1), (1, large, large), (16, large / 64, 1)] {
        let (shape, sentence) = (Shape::new(c, h, w), format!("shape: {c}x{h}x{w} does not fit into memory"));
        refused(View::new(&data, shape), &sentence);
        refused(ViewMut::new(&mut data, shape), &sentence);
        refused(Tensor::from_nchw(&[], shape), &sentence);
        refused(Tensor::from_nhwc(&[], shape), &sentence);
        assert_panics(&sentence, || Tensor::zeros(shape));
    }
    let shape = Shape::new(17, 1, 1);
    for len in [0, 17, 31] {
        let sentence = format!("view: expected 32 elements, found {len}");
        refused(View::new(&data[..len], shape), &sentence);
        refused(ViewMut::new(&mut data[..len], shape), &sentence);
    }
    refused(Tensor::from_nchw(&data, shape), "image: expected 17 elements, found 32");
    refused(Tensor::from_nhwc(&data, shape), "image: expected 17 elements, found 32");
}

#[test]
fn orders_refuse() {
    let four = ChannelOrder::identity(4);
    refused(four.split(5), "channel range: 0..5 of 4 channels");
    refused(four.range(3..5), "channel range: 3..5 of 4 channels");
    let (from, to) = (3, 1);
    refused(four.range(from..to), "channel range: 3..1 of 4 channels");
    for groups in [0, 3, 8, usize::MAX] {
        refused(four.shuffle(groups), &format!("shuffle: 4 channels in {groups} groups"));
    }
    refused(four.select(&order(&[0, 4])), "select: channel 4 of 4 channels");
    for slots in [&[0, 0][..], &[1, 2], &[u32::MAX]] {
        refused(order(slots).inverse(), "inverse: the order is not a permutation");
    }
}

#[test]
fn errors_are_errors() {
    let error = Pointwise::builder(1, 1).build(&[]).unwrap_err();
    assert_eq!(error.clone(), error);
    let boxed: Box<dyn std::error::Error + Send + Sync> = error.into();
    assert_eq!(boxed.to_string(), "weights: expected 1 elements, found 0");
}

// --------------------------------------------------------------------------------------------------------- panics

#[test]
fn pointwise_panics() {
    let op = Pointwise::builder(3, 17).input_order(&order(&[0, 1, 19])).build(&[1.0; 51]).unwrap();
    let run = |src: &Tensor, mut dst: Tensor| op.run(src.view(), dst.view_mut());
    let src = tensor(20, 2, 3);
    run(&src, tensor(17, 2, 3));
    for (c, h, w) in [(16, 2, 3), (17, 3, 3), (17, 2, 2), (17, 3, 2)] {
        let sentence = format!("pointwise from 20 to 17 slots: cannot run from 20x2x3 to {c}x{h}x{w}");
        assert_panics(&sentence, || run(&src, tensor(c, h, w)));
    }
    assert_panics("pointwise from 20 to 17 slots: cannot run from 19x2x3 to 17x2x3", || {
        run(&tensor(19, 2, 3), tensor(17, 2, 3));
    });
    for (c, h, w) in [(16, 2, 3), (18, 2, 3), (17, 3, 2)] {
        assert_panics(&format!("residual is {c}x{h}x{w}, dst is 17x2x3"), || {
            op.run_add(src.view(), tensor(c, h, w).view(), tensor(17, 2, 3).view_mut());
        });
    }
}

/// The last slot that an order can name is one more than 32-bit addresses count to.
#[test]
fn the_last_slot_is_in_no_tensor() {
    let order = order(&[0, u32::MAX, 1]);
    let pointwise = Pointwise::builder(3, 2).input_order(&order).build(&[1.0; 6]).unwrap();
    assert_panics("cannot run from 3x2x2 to 2x2x2", || {
        pointwise.run(tensor(3, 2, 2).view(), tensor(2, 2, 2).view_mut());
    });
    let depthwise = Depthwise::builder(3, 3, 1).input_order(&order).build(&[1.0; 27]).unwrap();
    assert_panics("cannot run from 3x2x2 to 32x2x2", || {
        depthwise.run(tensor(3, 2, 2).view(), tensor(32, 2, 2).view_mut());
    });
    let materialize = Materialize::new(&order, Isa::best()).unwrap();
    assert_panics("cannot run from 3x2x2 to 3x2x2", || {
        materialize.run(tensor(3, 2, 2).view(), tensor(3, 2, 2).view_mut());
    });
}

#[test]
fn depthwise_panics() {
    let op = Depthwise::builder(17, 3, 2).padding(Padding::all(0)).build(&[1.0; 153]).unwrap();
    let run = |src: Tensor, mut dst: Tensor| op.run(src.view(), dst.view_mut());
    run(tensor(17, 5, 7), tensor(17, 2, 3));
    for (c, h, w) in [(16, 2, 3), (17, 3, 3), (17, 2, 2), (17, 3, 2)] {
        let sentence = format!(
            "depthwise 3x3 stride 2 of 17 slots: cannot run from 17x5x7 to {c}x{h}x{w}, which should be 17x2x3"
        );
        assert_panics(&sentence, || run(tensor(17, 5, 7), tensor(c, h, w)));
    }
    assert_panics("cannot run from 16x5x7 to 17x2x3", || run(tensor(16, 5, 7), tensor(17, 2, 3)));
    for (h, w) in [(2, 7), (5, 2), (0, 0)] {
        assert_panics(&format!("a {h}x{w} image is smaller than the kernel, 3"), || {
            op.output_shape(h, w);
        });
    }
}

#[test]
fn convolution_panics() {
    let op = Convolution::builder(3, 17, 3, 2).padding(Padding::all(0)).build(&[1.0; 459]).unwrap();
    let run = |src: Tensor, mut dst: Tensor| op.run(src.view(), dst.view_mut());
    run(tensor(3, 5, 7), tensor(17, 2, 3));
    for (c, h, w) in [(16, 2, 3), (18, 2, 3), (17, 3, 3), (17, 1, 3), (17, 2, 2), (17, 3, 2)] {
        let sentence = format!(
            "convolution 3x3 stride 2 from 3 channels: cannot run from 3x5x7 to {c}x{h}x{w}, which should be 17x2x3"
        );
        assert_panics(&sentence, || run(tensor(3, 5, 7), tensor(c, h, w)));
        assert_panics(&sentence, || op.run_planar(&[0.0; 105], 5, 7, tensor(c, h, w).view_mut()));
    }
    for c in [2, 4] {
        let sentence = format!("cannot run from {c}x5x7 to 17x2x3");
        assert_panics(&sentence, || run(tensor(c, 5, 7), tensor(17, 2, 3)));
    }
    assert_panics("a planar image of 3x5x7 has not 104 elements", || {
        op.run_planar(&[0.0; 104], 5, 7, tensor(17, 2, 3).view_mut());
    });
    for (h, w) in [(2, 7), (5, 2), (0, 0)] {
        assert_panics(&format!("a {h}x{w} image is smaller than the kernel, 3"), || {
            op.output_shape(h, w);
        });
    }
}

/// An image of no rows or columns has no output, however it is padded.
#[test]
fn empty_images_panic() {
    for padding in [Padding::all(1), Padding::Same] {
        let depthwise = Depthwise::builder(1, 3, 1).padding(padding).build(&[1.0; 9]).unwrap();
        let convolution = Convolution::builder(1, 1, 3, 1).padding(padding).build(&[1.0; 9]).unwrap();
        for (h, w) in [(0, 3), (3, 0)] {
            let sentence = format!("a {h}x{w} image is smaller than the kernel, 3");
            assert_panics(&sentence, || depthwise.output_shape(h, w));
            assert_panics(&sentence, || convolution.output_shape(h, w));
        }
    }
}

#[test]
fn pools_panic() {
    let isa = Isa::best();
    let max = MaxPool::new(3, 2, Padding::all(0), isa).unwrap();
    let average = AveragePool::new(3, 2, Padding::all(0), true, isa).unwrap();
    let src = tensor(17, 5, 7);
    max.run(src.view(), tensor(17, 2, 3).view_mut());
    for (c, h, w) in [(16, 2, 3), (18, 2, 3), (17, 3, 2)] {
        let sentence = format!("pool from 17x5x7 to {c}x{h}x{w}, which should be 17x2x3");
        assert_panics(&sentence, || max.run(src.view(), tensor(c, h, w).view_mut()));
        assert_panics(&sentence, || average.run(src.view(), tensor(c, h, w).view_mut()));
    }
    let sentence = "17x2x7 is smaller than the window, 3";
    assert_panics(sentence, || max.output_shape(Shape::new(17, 2, 7)));
    assert_panics(sentence, || average.output_shape(Shape::new(17, 2, 7)));
    for len in [16, 18] {
        assert_panics(&format!("global average of 17x5x7 into {len} elements"), || {
            global_average(isa, src.view(), &mut vec![0.0; len]);
        });
    }
}

#[test]
fn pooled_convolution_panics() {
    let op = Convolution::builder(3, 17, 3, 2).build(&[1.0; 459]).unwrap();
    let pool = MaxPool::new(3, 2, Padding::all(1), Isa::best()).unwrap();
    let needed = op.pooled_scratch(&Serial, 9, 9);
    let run = |src: usize, pool: &MaxPool, scratch: usize, mut dst: Tensor| {
        op.run_planar_pooled(&Serial, &vec![0.0; src], 9, 9, pool, &mut vec![0.0; scratch], dst.view_mut());
    };
    run(243, &pool, needed, tensor(17, 3, 3));
    assert_panics("a planar image of 3x9x9 has not 242 elements", || {
        run(242, &pool, needed, tensor(17, 3, 3));
    });
    assert_panics(&format!("{} elements of scratch, {needed} needed", needed - 1), || {
        run(243, &pool, needed - 1, tensor(17, 3, 3));
    });
    for (c, h, w) in [(16, 3, 3), (18, 3, 3), (17, 2, 3), (17, 3, 4)] {
        assert_panics(&format!("pool of 17x5x5 into {c}x{h}x{w}"), || {
            run(243, &pool, needed, tensor(c, h, w));
        });
    }
    for (kernel, stride) in [(2, 2), (3, 1), (5, 2)] {
        let other = MaxPool::new(kernel, stride, Padding::all(1), Isa::best()).unwrap();
        assert_panics("the pool is 3x3 with stride 2", || run(243, &other, needed, tensor(17, 3, 3)));
    }
}

#[test]
fn head_panics() {
    let conv = Pointwise::builder(3, 2).build(&[1.0; 6]).unwrap();
    let op = Head::new(conv, 4, &[1.0; 8], None).unwrap();
    let needed = op.scratch(2, 3);
    let run = |src: Tensor, scratch: usize, classes: usize| {
        op.run(src.view(), &mut vec![0.0; scratch], &mut vec![0.0; classes]);
    };
    run(tensor(4, 2, 3), needed, 4);
    assert_panics("pointwise from 3 slots: cannot run from 2x2x3", || run(tensor(2, 2, 3), needed, 4));
    assert_panics(&format!("{} elements of scratch, {needed} needed", needed - 1), || {
        run(tensor(3, 2, 3), needed - 1, 4);
    });
    for classes in [3, 5] {
        assert_panics(&format!("{classes} outputs for 4 classes"), || {
            run(tensor(3, 2, 3), needed, classes);
        });
    }
}

#[test]
fn the_other_operators_panic() {
    let (isa, none) = (Isa::best(), Activation::None);
    let linear = Linear::new(4, 1, &FOUR, None, none, isa).unwrap();
    for (ic, oc) in [(3, 1), (5, 1), (4, 0), (4, 2)] {
        let sentence = format!("linear from 4 to 1: cannot run from {ic} to {oc} elements");
        assert_panics(&sentence, || linear.run(&vec![0.0; ic], &mut vec![0.0; oc]));
    }

    let src = tensor(4, 2, 3);
    let affine = Affine::new(&FOUR, &FOUR, none, isa).unwrap();
    for (c, h, w) in [(3, 2, 3), (5, 2, 3), (4, 3, 2), (4, 1, 1)] {
        let dst = || tensor(c, h, w);
        assert_panics(&format!("affine of 4 channels: cannot run from 4x2x3 to {c}x{h}x{w}"), || {
            affine.run(src.view(), dst().view_mut());
        });
        assert_panics(&format!("add 4x2x3 to {c}x{h}x{w} into 4x2x3"), || {
            add(isa, src.view(), dst().view(), none, tensor(4, 2, 3).view_mut());
        });
        assert_panics(&format!("add {c}x{h}x{w} to 4x2x3 into 4x2x3"), || {
            add(isa, dst().view(), src.view(), none, tensor(4, 2, 3).view_mut());
        });
        assert_panics(&format!("upsample from 4x2x3 to {c}x{h}x{w}"), || {
            upsample_nearest_2x(src.view(), dst().view_mut());
        });
    }
    assert_panics("upsample from 4x2x3 to 5x4x6", || {
        upsample_nearest_2x(src.view(), tensor(5, 4, 6).view_mut());
    });
    assert_panics("affine of 4 channels on 5x2x3", || affine.run_in_place(tensor(5, 2, 3).view_mut()));
    activate(isa, none, tensor(5, 2, 3).view_mut());

    let materialize = Materialize::new(&order(&[3, 1]), isa).unwrap();
    for (c, h, w) in [(1, 2, 3), (3, 2, 3), (2, 3, 2)] {
        let sentence = format!("shuffle of 2 channels from 4 slots: cannot run from 4x2x3 to {c}x{h}x{w}");
        assert_panics(&sentence, || materialize.run(src.view(), tensor(c, h, w).view_mut()));
    }
    assert_panics("cannot run from 3x2x3 to 2x2x3", || {
        materialize.run(tensor(3, 2, 3).view(), tensor(2, 2, 3).view_mut());
    });
}

#[test]
fn layout_panics() {
    for len in [23, 25] {
        let sentence = format!("{len} elements for a tensor of 4x2x3");
        assert_panics(&sentence, || layout::from_nchw(&vec![0.0; len], tensor(4, 2, 3).view_mut()));
        assert_panics(&sentence, || layout::from_nhwc(&vec![0.0; len], tensor(4, 2, 3).view_mut()));
        let (identity, src) = (ChannelOrder::identity(4), tensor(4, 2, 3));
        let sentence = format!("4 channels in 4 slots of 4x2x3 into {len} elements");
        assert_panics(&sentence, || layout::to_nchw(src.view(), &identity, &mut vec![0.0; len]));
        assert_panics(&sentence, || layout::to_nhwc(src.view(), &identity, &mut vec![0.0; len]));
    }
    assert_panics("1 channels in 5 slots of 4x2x3 into 6 elements", || {
        layout::to_nchw(tensor(4, 2, 3).view(), &order(&[4]), &mut [0.0; 6]);
    });
}

#[test]
fn views_panic() {
    let mut tensor = tensor(33, 4, 5);
    for range in [0..0, 2..2, 0..4, 3..4] {
        let sentence = format!("blocks {range:?} of a tensor of 3 blocks");
        assert_panics(&sentence, || tensor.view().blocks(range.clone()));
        assert_panics(&sentence, || tensor.view_mut().blocks(range.clone()));
    }
    for range in [0..0, 3..3, 0..5, 4..5] {
        let sentence = format!("rows {range:?} of a tensor of 4 rows");
        assert_panics(&sentence, || tensor.view().rows(range.clone()));
        assert_panics(&sentence, || tensor.view_mut().rows(range.clone()));
    }
    for (at, range) in [(0, "0..0"), (3, "3..3"), (4, "0..4")] {
        let sentence = format!("blocks {range} of a tensor of 3 blocks");
        assert_panics(&sentence, || tensor.view_mut().split_at_block(at));
    }
    for (c, y, x) in [(33, 0, 0), (0, 4, 0), (0, 0, 5)] {
        assert_panics("position outside 33x4x5", || {
            tensor.view().get(c, y, x);
        });
    }
}

#[test]
fn orders_panic() {
    #[cfg(target_pointer_width = "64")]
    {
        assert_panics("fewer than 2^32 channels", || ChannelOrder::identity(1 << 32));
        assert_panics("fewer than 2^32 slots", || ChannelOrder::identity(4).after_blocks(1 << 60));
    }
    assert_panics("fewer than 2^32 slots", || ChannelOrder::identity(4).after_blocks(1 << 28));
    assert_panics("fewer than 2^32 slots", || order(&[u32::MAX]).after_blocks(1));
    assert_panics("index out of bounds", || {
        ChannelOrder::identity(4).slot(4);
    });
}

#[test]
fn an_instruction_set_that_is_missing_panics() {
    for isa in Isa::ALL.into_iter().filter(|isa| !isa.is_available()) {
        let (mut a, sentence) = (tensor(1, 1, 1), "the instruction set is available");
        assert_panics(sentence, || activate(isa, Activation::None, a.view_mut()));
        assert_panics(sentence, || {
            add(isa, a.view(), a.view(), Activation::None, tensor(1, 1, 1).view_mut());
        });
        assert_panics(sentence, || global_average(isa, a.view(), &mut [0.0]));
        assert_panics(sentence, || {
            isa.fma_burst(1);
        });
    }
}
