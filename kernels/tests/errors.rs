//! What constructors refuse, and what makes a run panic: each with its sentence.
#![cfg(feature = "std")]

mod common;

use common::assert_panics;
use kernels::{
    Activate, Activation, Add, Affine, AveragePool, BatchNorm, ChannelOrder, Convolution, Depthwise, Error,
};
use kernels::{
    GlobalAverage, Head, Image, Linear, Materialize, MaxPool, Padding, Pointwise, Shape, Stem, Tensor,
};
use kernels::{Upsample, View, ViewMut, Window, layout};
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
    let window = |kernel: usize, stride| Window::new(kernel).stride(stride).pad(kernel / 2);
    let build =
        |channels, kernel, stride| Depthwise::builder(channels, window(kernel, stride)).build(&[1.0; 36]);
    refused(build(0, 3, 1), "channels: 0: must be at least 1");
    refused(build(3, 3, 1), "weights: expected 27 elements, found 36");
    refused(build(usize::MAX, 3, 1), &format!("weights: expected {} elements, found 36", usize::MAX));
    for kernel in [0, 1, 2, 4, 7, usize::MAX] {
        refused(build(4, kernel, 1), &format!("kernel: {kernel}: must be one of [3, 5]"));
    }
    for stride in [0, 3, usize::MAX] {
        refused(build(4, 3, stride), &format!("stride: {stride}: must be 1 or 2"));
    }
    let plain = Depthwise::builder(4, window(3, 1));
    let build = |builder: kernels::DepthwiseBuilder<'_>| builder.build(&[1.0; 36]);
    refused(build(Depthwise::builder(4, window(3, 1).padding(THREE))), THREE_IS_TOO_MUCH);
    refused(build(plain.bias(&FOUR[1..])), "bias: expected 4 elements, found 3");
    for (batch_norm, sentence) in short_batch_norms() {
        refused(build(plain.batch_norm(batch_norm)), sentence);
    }
    refused(build(plain.input_order(&order(&[0, 1]))), "input order: expected 4 elements, found 2");
    refused(build(plain.input_order(&order(&[3, 9, 3, 1]))), "input order: a slot is named twice");
}

#[test]
fn convolution_refuses() {
    let window = |kernel: usize, stride| Window::new(kernel).stride(stride).pad(kernel / 2);
    let build =
        |ic, oc, kernel, stride| Convolution::builder(ic, oc, window(kernel, stride)).build(&[1.0; 72]);
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
    let plain = Convolution::builder(2, 4, window(3, 1));
    let build = |builder: kernels::ConvolutionBuilder<'_>| builder.build(&[1.0; 72]);
    refused(build(Convolution::builder(2, 4, window(3, 1).padding(THREE))), THREE_IS_TOO_MUCH);
    refused(build(plain.bias(&FOUR[1..])), "bias: expected 4 elements, found 3");
    for (batch_norm, sentence) in short_batch_norms() {
        refused(build(plain.batch_norm(batch_norm)), sentence);
    }
}

#[test]
fn the_other_operators_refuse() {
    let (max, average) =
        (|window| MaxPool::builder(window).build(), |window| AveragePool::builder(window).build());
    for kernel in [0, 1, 4, usize::MAX] {
        let (sentence, window) = (format!("kernel: {kernel}: must be one of [2, 3, 5]"), Window::new(kernel));
        refused(max(window.padding(Padding::Same)), &sentence);
        refused(average(window.padding(Padding::Same)), &sentence);
    }
    let three = Window::new(3);
    refused(max(three.stride(0)), "stride: 0: must be 1 or 2");
    refused(average(three.stride(3)), "stride: 3: must be 1 or 2");
    refused(max(three.padding(THREE)), THREE_IS_TOO_MUCH);
    refused(average(three.padding(THREE)), THREE_IS_TOO_MUCH);
    refused(max(Window::rectangle(2, 3)), "kernel: 2x3: must be the same for rows and columns");
    refused(max(Window { stride: [1, 2], ..three }), "stride: 1x2: must be the same for rows and columns");
    refused(max(three.dilation(2)), "dilation: [2, 2]: must be 1");

    let linear = |ic, oc| Linear::builder(ic, oc).build(&FOUR);
    refused(linear(0, 4), "channels: 0 to 4: both must be at least 1");
    refused(linear(4, 0), "channels: 4 to 0: both must be at least 1");
    refused(linear(2, 3), "weights: expected 6 elements, found 4");
    refused(linear(2, usize::MAX), &format!("weights: expected {} elements, found 4", usize::MAX));
    refused(Linear::builder(2, 2).bias(&FOUR).build(&FOUR), "bias: expected 2 elements, found 4");

    refused(Affine::builder(0).build(&[], &[]), "channels: 0: must be at least 1");
    refused(Affine::builder(4).build(&FOUR[1..], &FOUR), "scale: expected 4 elements, found 3");
    refused(Affine::builder(4).build(&FOUR, &FOUR[1..]), "shift: expected 4 elements, found 3");
    refused(Materialize::builder(&order(&[])).build(), "order: no channels");
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
    let head = |classes, weights, bias: Option<&[f32]>| {
        let conv = Pointwise::builder(1, 2).build(&[1.0; 2]).unwrap();
        let builder = Head::builder(conv, classes);
        let builder = bias.into_iter().fold(builder, |builder, bias| builder.bias(bias));
        builder.build(&[1.0; 12][..weights])
    };
    refused(head(0, 0, None), "head: 0 classes behind 2 channels, which must be in order");
    refused(head(4, 7, None), "weights: expected 8 elements, found 7");
    refused(head(usize::MAX, 12, None), &format!("weights: expected {} elements, found 12", usize::MAX));
    refused(head(4, 8, Some(&FOUR[1..])), "bias: expected 4 elements, found 3");
    let reversed = order(&[1, 0]);
    let conv = Pointwise::builder(1, 2).output_order(&reversed).build(&[1.0; 2]).unwrap();
    refused(
        Head::builder(conv, 1).build(&[1.0; 2]),
        "head: 1 classes behind 2 channels, which must be in order",
    );
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
            op.residual(tensor(c, h, w).view()).run(src.view(), tensor(17, 2, 3).view_mut());
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
    let depthwise =
        Depthwise::builder(3, Window::new(3).pad(1)).input_order(&order).build(&[1.0; 27]).unwrap();
    assert_panics("cannot run from 3x2x2", || {
        depthwise.run(tensor(3, 2, 2).view(), tensor(32, 2, 2).view_mut());
    });
    let materialize = Materialize::builder(&order).build().unwrap();
    assert_panics("cannot run from 3x2x2 to 3x2x2", || {
        materialize.run(tensor(3, 2, 2).view(), tensor(3, 2, 2).view_mut());
    });
}

#[test]
fn depthwise_panics() {
    let op = Depthwise::builder(17, Window::new(3).stride(2)).build(&[1.0; 153]).unwrap();
    let run = |src: Tensor, mut dst: Tensor| op.run(src.view(), dst.view_mut());
    run(tensor(17, 5, 7), tensor(17, 2, 3));
    for (c, h, w) in [(16, 2, 3), (17, 3, 3), (17, 2, 2), (17, 3, 2)] {
        let sentence = format!(
            "depthwise 3x3 of 17 slots: cannot run from 17x5x7 to {c}x{h}x{w}, which should be 17x2x3"
        );
        assert_panics(&sentence, || run(tensor(17, 5, 7), tensor(c, h, w)));
    }
    assert_panics("cannot run from 16x5x7", || run(tensor(16, 5, 7), tensor(17, 2, 3)));
    for (h, w) in [(2, 7), (5, 2), (0, 0)] {
        let sentence = match h {
            0 => format!("shape: {}x{h}x{w} has a side of zero", 17),
            _ => format!("a window of 3x3 does not fit an image of {h}x{w}"),
        };
        assert_panics(&sentence, || op.output_shape(Shape::new(17, h, w)));
    }
}

#[test]
fn convolution_panics() {
    let op = Convolution::builder(3, 17, Window::new(3).stride(2)).build(&[1.0; 459]).unwrap();
    let run = |src: Tensor, mut dst: Tensor| op.run(src.view(), dst.view_mut());
    run(tensor(3, 5, 7), tensor(17, 2, 3));
    for (c, h, w) in [(16, 2, 3), (18, 2, 3), (17, 3, 3), (17, 1, 3), (17, 2, 2), (17, 3, 2)] {
        let sentence = format!(
            "convolution 3x3 from 3 channels: cannot run from 3x5x7 to {c}x{h}x{w}, which should be 17x2x3"
        );
        assert_panics(&sentence, || run(tensor(3, 5, 7), tensor(c, h, w)));
        let image = Image::planar(&[0.0; 105], Shape::new(3, 5, 7)).unwrap();
        assert_panics(&sentence, || op.run(image, tensor(c, h, w).view_mut()));
    }
    for c in [2, 4] {
        let sentence = format!("cannot run from {c}x5x7");
        assert_panics(&sentence, || run(tensor(c, 5, 7), tensor(17, 2, 3)));
    }
    let image = Image::planar(&[0.0; 104], Shape::new(3, 5, 7));
    refused(image, "image: expected 105 elements, found 104");
    for (h, w) in [(2, 7), (5, 2), (0, 0)] {
        let sentence = match h {
            0 => format!("shape: {}x{h}x{w} has a side of zero", 3),
            _ => format!("a window of 3x3 does not fit an image of {h}x{w}"),
        };
        assert_panics(&sentence, || op.output_shape(Shape::new(3, h, w)));
    }
}

/// An image of no rows or columns has no output, however it is padded.
#[test]
fn empty_images_panic() {
    for padding in [Padding::all(1), Padding::Same] {
        let depthwise = Depthwise::builder(1, Window::new(3).padding(padding)).build(&[1.0; 9]).unwrap();
        let convolution =
            Convolution::builder(1, 1, Window::new(3).padding(padding)).build(&[1.0; 9]).unwrap();
        for (h, w) in [(0, 3), (3, 0)] {
            let sentence = format!("shape: 1x{h}x{w} has a side of zero");
            assert_panics(&sentence, || depthwise.output_shape(Shape::new(1, h, w)));
            assert_panics(&sentence, || convolution.output_shape(Shape::new(1, h, w)));
        }
    }
}

#[test]
fn pools_panic() {
    let window = Window::new(3).stride(2);
    let (max, average) =
        (MaxPool::builder(window).build().unwrap(), AveragePool::builder(window).build().unwrap());
    let global_average = GlobalAverage::builder().build().unwrap();
    let src = tensor(17, 5, 7);
    max.run(src.view(), tensor(17, 2, 3).view_mut());
    for (c, h, w) in [(16, 2, 3), (18, 2, 3), (17, 3, 2)] {
        let sentence = format!("pool from 17x5x7 to {c}x{h}x{w}, which should be 17x2x3");
        assert_panics(&sentence, || max.run(src.view(), tensor(c, h, w).view_mut()));
        assert_panics(&sentence, || average.run(src.view(), tensor(c, h, w).view_mut()));
    }
    let sentence = "a window of 3x3 does not fit an image of 2x7";
    assert_panics(sentence, || max.output_shape(Shape::new(17, 2, 7)));
    assert_panics(sentence, || average.output_shape(Shape::new(17, 2, 7)));
    for len in [16, 18] {
        assert_panics(&format!("global average of 17x5x7 into {len} elements"), || {
            global_average.run(src.view(), &mut vec![0.0; len]);
        });
    }
}

#[test]
fn stem_refuses_and_panics() {
    let window = Window::new(3).stride(2).pad(1);
    let conv = || Convolution::builder(3, 17, window).build(&[1.0; 459]).unwrap();
    let pool = |window| MaxPool::builder(window).build().unwrap();
    for other in [Window::new(2).stride(2), Window::new(3), Window::new(5).stride(2)] {
        let stem = Stem::builder(conv(), pool(other)).build();
        let sentence = format!("stem: a pool of {other} behind it, which must be 3x3 with stride 2");
        refused(stem, &sentence);
    }
    let op = Stem::builder(conv(), pool(window)).build().unwrap();
    let shape = Shape::new(3, 9, 9);
    let needed = op.scratch(shape);
    let run = |scratch: usize, mut dst: Tensor| {
        let image = Image::planar(&[0.0; 243], shape).unwrap();
        op.run(image, &mut vec![0.0; scratch], dst.view_mut());
    };
    run(needed, tensor(17, 3, 3));
    assert_panics(&format!("{} elements of scratch, {needed} needed", needed - 1), || {
        run(needed - 1, tensor(17, 3, 3));
    });
    for (c, h, w) in [(16, 3, 3), (18, 3, 3), (17, 2, 3), (17, 3, 4)] {
        assert_panics(&format!("stem from 3x9x9 to {c}x{h}x{w}, which should be 17x3x3"), || {
            run(needed, tensor(c, h, w));
        });
    }
    assert_panics("convolution 3x3 from 3 channels: cannot run from 2x9x9", || {
        op.scratch(Shape { c: 2, ..shape })
    });
}

#[test]
fn head_panics() {
    let conv = Pointwise::builder(3, 2).build(&[1.0; 6]).unwrap();
    let op = Head::builder(conv, 4).build(&[1.0; 8]).unwrap();
    let needed = op.scratch(Shape::new(3, 2, 3));
    let run = |src: Tensor, scratch: usize, classes: usize| {
        op.run(src.view(), &mut vec![0.0; scratch], &mut vec![0.0; classes]);
    };
    run(tensor(4, 2, 3), needed, 4);
    assert_panics("pointwise from 3 to 2 slots: cannot run from 2x2x3", || run(tensor(2, 2, 3), needed, 4));
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
    let linear = Linear::builder(4, 1).build(&FOUR).unwrap();
    for (ic, oc) in [(3, 1), (5, 1), (4, 0), (4, 2)] {
        let sentence = format!("linear from 4 to 1: cannot run from {ic} to {oc} elements");
        assert_panics(&sentence, || linear.run(&vec![0.0; ic], &mut vec![0.0; oc]));
    }

    let src = tensor(4, 2, 3);
    let affine = Affine::builder(4).build(&FOUR, &FOUR).unwrap();
    let (add, upsample) = (Add::builder().build().unwrap(), Upsample::builder().build().unwrap());
    for (c, h, w) in [(3, 2, 3), (5, 2, 3), (4, 3, 2), (4, 1, 1)] {
        let dst = || tensor(c, h, w);
        assert_panics(&format!("affine of 4 channels: cannot run from 4x2x3 to {c}x{h}x{w}"), || {
            affine.run(src.view(), dst().view_mut());
        });
        assert_panics(&format!("add 4x2x3 to {c}x{h}x{w} into 4x2x3"), || {
            add.run(src.view(), dst().view(), tensor(4, 2, 3).view_mut());
        });
        assert_panics(&format!("add {c}x{h}x{w} to 4x2x3 into 4x2x3"), || {
            add.run(dst().view(), src.view(), tensor(4, 2, 3).view_mut());
        });
        assert_panics(&format!("upsample from 4x2x3 to {c}x{h}x{w}"), || {
            upsample.run(src.view(), dst().view_mut());
        });
    }
    assert_panics("upsample from 4x2x3 to 5x4x6", || {
        upsample.run(src.view(), tensor(5, 4, 6).view_mut());
    });
    assert_panics("affine of 4 channels: cannot run from 5x2x3", || {
        affine.run_in_place(tensor(5, 2, 3).view_mut())
    });
    let activate = Activate::builder(Activation::Relu).build().unwrap();
    activate.run_in_place(tensor(5, 2, 3).view_mut());
    assert_panics("activate 4x2x3 into 5x2x3", || activate.run(src.view(), tensor(5, 2, 3).view_mut()));

    let materialize = Materialize::builder(&order(&[3, 1])).build().unwrap();
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

/// What a run panics with, the same run says as an error, and computes nothing.
#[test]
fn runs_can_be_tried() {
    let op = Pointwise::builder(3, 2).build(&[1.0; 6]).unwrap();
    let (src, mut dst) = (tensor(3, 2, 3), tensor(2, 3, 3));
    dst.view_mut().data_mut().fill(7.0);
    let sentence = "pointwise from 3 to 2 slots: cannot run from 3x2x3 to 2x3x3";
    refused(op.try_run(src.view(), dst.view_mut()), sentence);
    refused(op.check(src.shape(), dst.shape()), sentence);
    assert!(dst.view().data().iter().all(|&x| x == 7.0));
    refused(op.try_output_shape(Shape::new(2, 2, 3)), "pointwise from 3 to 2 slots: cannot run from 2x2x3");
    assert_eq!(op.try_output_shape(src.shape()), Ok(Shape::new(2, 2, 3)));
    op.try_run(src.view(), tensor(2, 2, 3).view_mut()).unwrap();
}
