//! What constructors refuse, what an operator cannot run, and what panics. Held to are the variant and what it names; of the
//! sentences, a few.
#![cfg(feature = "std")]

mod common;

use common::{assert_panics, windows};
use kernels::{
    Activate, Activation, Add, Affine, AveragePool, BatchNorm, ChannelOrder, Convolution, Depthwise, Error,
    GlobalAverage, Head, Image, Interpolation, LayerNorm, Linear, Materialize, MaxPool, PRelu, Padding,
    Pointwise, Resize, Shape, Stem, Tensor, Transposed, View, ViewMut, Window, layout,
};
use std::fmt::Debug;

const FOUR: [f32; 4] = [1.0; 4];
const MOST: usize = usize::MAX;

#[track_caller]
fn length<T: Debug>(result: Result<T, Error>, what: &'static str, expected: usize, found: usize) {
    assert_eq!(result.unwrap_err(), Error::Length { what, expected, found });
}

#[track_caller]
fn invalid<T: Debug>(result: Result<T, Error>, what: &str) {
    match result.unwrap_err() {
        Error::Invalid { what: found, why } => {
            assert!(
                found == what && !why.is_empty() && !why.contains('\n'),
                "{found}: {why}, expected {what}"
            );
        }
        other => panic!("{other:?}, expected one of {what}"),
    }
}

#[track_caller]
fn mismatch<T: Debug>(result: Result<T, Error>) -> String {
    match result.unwrap_err() {
        Error::Mismatch(why) if !why.is_empty() && !why.contains('\n') => why,
        other => panic!("{other:?}, expected a mismatch"),
    }
}

fn order(slots: &[u32]) -> ChannelOrder {
    ChannelOrder::from_slots(slots.to_vec())
}

fn tensor(shape: Shape) -> Tensor {
    Tensor::zeros(shape)
}

/// Batch normalisations of four channels, of which every statistic in turn is one number too short.
fn short_batch_norms() -> [(BatchNorm<'static>, &'static str); 4] {
    let batch_norm = BatchNorm { gamma: &FOUR, beta: &FOUR, mean: &FOUR, variance: &FOUR, eps: 0.0 };
    let three = &FOUR[1..];
    [
        (BatchNorm { gamma: three, ..batch_norm }, "batch norm gamma"),
        (BatchNorm { beta: three, ..batch_norm }, "batch norm beta"),
        (BatchNorm { mean: three, ..batch_norm }, "batch norm mean"),
        (BatchNorm { variance: three, ..batch_norm }, "batch norm variance"),
    ]
}

/// A builder for four channels refuses weights, a bias and statistics of other lengths.
macro_rules! refuses_lengths {
    ($builder:expr, $weights:expr) => {{
        let (builder, weights) = ($builder, vec![1.0; $weights]);
        builder.build(&weights).unwrap();
        for found in [0, 1, $weights - 1, $weights + 1] {
            length(builder.build(&vec![1.0; found]), "weights", $weights, found);
        }
        length(builder.bias(&FOUR[1..]).build(&weights), "bias", 4, 3);
        for (batch_norm, what) in short_batch_norms() {
            length(builder.batch_norm(batch_norm).build(&weights), what, 4, 3);
        }
    }};
}

#[test]
fn lengths_are_refused() {
    refuses_lengths!(Pointwise::builder(3, 4), 12);
    refuses_lengths!(Pointwise::builder(6, 4).groups(2), 12);
    refuses_lengths!(Depthwise::builder(4, Window::new(3)), 36);
    refuses_lengths!(Convolution::builder(2, 4, Window::new(3)), 72);
    refuses_lengths!(Linear::builder(2, 4), 8);
    length(Affine::builder(4).build(&FOUR[1..], &FOUR), "scale", 4, 3);
    length(Affine::builder(4).build(&FOUR, &FOUR[1..]), "shift", 4, 3);
    let head = || Head::builder(Pointwise::builder(1, 2).build(&[1.0; 2]).unwrap(), 4);
    length(head().build(&[1.0; 7]), "weights", 8, 7);
    length(head().bias(&FOUR[1..]).build(&[1.0; 8]), "bias", 4, 3);
    for (batch_norm, what) in &short_batch_norms()[1..] {
        length(batch_norm.scale_shift(), what, 4, 3);
    }
    // As many as there are is what gamma says.
    length(short_batch_norms()[0].0.scale_shift(), "batch norm beta", 3, 4);
    // More than memory holds: not so many, or not so long.
    length(Pointwise::builder(MOST, 1).build(&FOUR), "weights", MOST, 4);
    length(Pointwise::builder(MOST, 2).build(&FOUR), "weights", MOST, 4);
    length(Depthwise::builder(MOST, Window::new(3)).build(&FOUR), "weights", MOST, 4);
    length(Convolution::builder(MOST, MOST, Window::new(3)).build(&FOUR), "weights", MOST, 4);
    length(Convolution::builder(1, 1, Window::rectangle(MOST, 2)).build(&FOUR), "weights", MOST, 4);
    length(Linear::builder(2, MOST).build(&FOUR), "weights", MOST, 4);
}

#[test]
fn no_channels_are_refused() {
    for (ic, oc) in [(0, 4), (4, 0), (0, 0)] {
        invalid(Pointwise::builder(ic, oc).build(&[]), "channels");
        invalid(Convolution::builder(ic, oc, Window::new(3)).build(&[]), "channels");
        invalid(Linear::builder(ic, oc).build(&[]), "channels");
    }
    invalid(Depthwise::builder(0, Window::new(3)).build(&[]), "channels");
    invalid(Affine::builder(0).build(&[], &[]), "channels");
    invalid(Materialize::builder(&order(&[])).build(), "order");
    invalid(Head::builder(Pointwise::builder(1, 2).build(&[1.0; 2]).unwrap(), 0).build(&[]), "head");
}

#[test]
fn groups_and_orders_are_refused() {
    for (ic, oc, groups) in [(3, 4, 0), (3, 4, 2), (3, 4, 3), (3, 4, 4), (6, 4, 3), (6, 4, MOST)] {
        invalid(Pointwise::builder(ic, oc).groups(groups).build(&[1.0; 12]), "groups");
    }
    let build = |builder: kernels::PointwiseBuilder<'_>| builder.build(&[1.0; 12]);
    let pointwise = Pointwise::builder(3, 4);
    length(build(pointwise.input_order(&order(&[0, 1]))), "input order", 3, 2);
    length(build(pointwise.output_order(&order(&[0, 1]))), "output order", 4, 2);
    invalid(build(pointwise.output_order(&order(&[5, 1, 2, 5]))), "output order");
    // No map has so many slots for four channels.
    invalid(build(pointwise.output_order(&order(&[0, 1, 2, u32::MAX]))), "output order");
    let depthwise = Depthwise::builder(4, Window::new(3));
    length(depthwise.input_order(&order(&[0, 1])).build(&[1.0; 36]), "input order", 4, 2);
    invalid(depthwise.input_order(&order(&[3, 9, 3, 1])).build(&[1.0; 36]), "input order");
    // The head reads the channels of its convolution in order.
    let reversed = order(&[1, 0]);
    let conv = Pointwise::builder(1, 2).output_order(&reversed).build(&[1.0; 2]).unwrap();
    invalid(Head::builder(conv, 1).build(&[1.0; 2]), "head");
}

#[test]
fn windows_are_refused() {
    type Build = fn(Window) -> Result<(), Error>;
    fn weights(window: Window) -> Vec<f32> {
        vec![1.0; window.taps().min(81)]
    }
    let conv: Build = |window| Convolution::builder(1, 1, window).build(&weights(window)).map(drop);
    let depthwise: Build = |window| Depthwise::builder(1, window).build(&weights(window)).map(drop);
    let transposed: Build = |window| Transposed::builder(1, 1, window).build(&weights(window)).map(drop);
    let max: Build = |window| MaxPool::builder(window).build().map(drop);
    let average: Build = |window| AveragePool::builder(window).build().map(drop);
    for build in [conv, depthwise, transposed, max, average] {
        for window in windows(&[2, 3, 4, 5, 9], |kernel| Padding::all(kernel - 1)) {
            build(window).unwrap();
        }
        build(Window { stride: [1, 2], ..Window::rectangle(3, 5) }).unwrap();
        invalid(build(Window::new(0)), "kernel");
        invalid(build(Window { kernel: [3, 0], ..Window::new(3) }), "kernel");
        invalid(build(Window::new(3).stride(0)), "stride");
        invalid(build(Window::new(3).dilation(0)), "dilation");
    }
    for build in [max, average, transposed] {
        invalid(build(Window::new(3).dilation(2)), "dilation");
    }
    for build in [max, average] {
        for pads in 0..4 {
            let [top, bottom, left, right] = [0, 1, 2, 3].map(|side| if side == pads { 3 } else { 0 });
            let padding = Padding::Sides { top, bottom, left, right };
            invalid(build(Window::new(3).padding(padding)), "padding");
        }
        invalid(build(Window::new(3).pad(MOST)), "padding");
    }
    invalid(transposed(Window::new(2).stride(3)), "kernel");
    invalid(transposed(Window::new(2).padding(Padding::Same)), "padding");
    invalid(transposed(Window::new(2).ceil(true)), "window");
    let more = Transposed::builder(1, 1, Window::new(2).stride(2)).output_padding([0, 2]);
    invalid(more.build(&[1.0; 4]), "output padding");
    // Padding that no image can have.
    let conv = Convolution::builder(1, 1, Window::new(3).pad(MOST)).build(&[1.0; 9]).unwrap();
    mismatch(conv.try_output_shape(Shape::new(1, 9, 9)));
    let depthwise =
        Depthwise::builder(1, Window::new(3).stride(MOST).pad(MOST / 8)).build(&[1.0; 9]).unwrap();
    mismatch(depthwise.try_output_shape(Shape::new(1, 9, 9)));
    let stem = |pool| {
        let conv = Convolution::builder(3, 1, Window::new(3)).build(&[1.0; 27]).unwrap();
        Stem::builder(conv, MaxPool::builder(pool).build().unwrap()).build()
    };
    stem(Window::new(3).stride(2)).unwrap();
    for pool in [Window::new(2).stride(2), Window::new(3), Window::new(5).stride(2)] {
        invalid(stem(pool), "stem");
    }
}

#[test]
fn tensors_are_refused() {
    let mut data = vec![0.0; 32];
    let none = [(0, 1, 1), (1, 0, 1), (1, 1, 0)];
    let huge = [(MOST, 1, 1), (1, MOST, 1), (1, MOST, MOST), (16, MOST / 64, 1)];
    for (c, h, w) in none.into_iter().chain(huge) {
        let shape = Shape::new(c, h, w);
        invalid(View::new(&data, shape), "shape");
        invalid(ViewMut::new(&mut data, shape), "shape");
        invalid(Tensor::from_nchw(&[], shape), "shape");
        invalid(Tensor::from_nhwc(&[], shape), "shape");
        invalid(Image::planar(&[], shape), "shape");
        invalid(shape.try_len(), "shape");
        assert_panics(&shape.try_len().unwrap_err().to_string(), || Tensor::zeros(shape));
    }
    let shape = Shape::new(17, 1, 1);
    for len in [0, 17, 31] {
        length(View::new(&data[..len], shape), "view", 32, len);
        length(ViewMut::new(&mut data[..len], shape), "view", 32, len);
    }
    length(Tensor::from_nchw(&data, shape), "image", 17, 32);
    length(Tensor::from_nhwc(&data, shape), "image", 17, 32);
    length(Image::planar(&data, shape), "image", 17, 32);
}

#[test]
fn orders_are_refused() {
    let four = ChannelOrder::identity(4);
    let (from, to) = (3, 1);
    invalid(four.split(5), "channel range");
    invalid(four.range(3..5), "channel range");
    invalid(four.range(from..to), "channel range");
    for groups in [0, 3, 8, MOST] {
        invalid(four.shuffle(groups), "shuffle");
    }
    invalid(four.select(&order(&[0, 4])), "select");
    for slots in [&[0, 0][..], &[1, 2], &[u32::MAX]] {
        invalid(order(slots).inverse(), "inverse");
    }
}

/// What they say, of each kind one or two.
#[test]
fn sentences() {
    let says = |error: Error, sentence: &str| {
        assert_eq!(error.clone(), error);
        let boxed: Box<dyn std::error::Error + Send + Sync> = error.into();
        assert_eq!(boxed.to_string(), sentence);
    };
    let error = Pointwise::builder(1, 1).build(&[]).unwrap_err();
    says(error, "weights: expected 1 elements, found 0");
    let error = Pointwise::builder(3, 4).groups(2).build(&[1.0; 6]).unwrap_err();
    says(error, "groups: 3 to 4 channels do not divide into 2 groups");
    let error = MaxPool::builder(Window { stride: [2, 0], ..Window::new(4) }).build().unwrap_err();
    says(error, "stride: 2x0: must be at least 1");
    let error = View::new(&[], Shape::new(0, 1, 1)).unwrap_err();
    says(error, "shape: 0x1x1 has a side of zero");
    let depthwise = Depthwise::builder(17, Window::new(3).stride(2)).build(&[1.0; 153]).unwrap();
    let error = depthwise.check(Shape::new(17, 5, 7), Shape::new(17, 2, 2)).unwrap_err();
    says(error, "depthwise 3x3 of 17 slots: cannot run from 17x5x7 to 17x2x2, which should be 17x2x3");
    let error = depthwise.try_output_shape(Shape::new(17, 2, 7)).unwrap_err();
    says(error, "a window of 3x3 does not fit an image of 2x7");
}

// ----------------------------------------------------------------------------------------------------------- runs

/// What `check` refuses, `try_run` refuses with the same error, and `run` panics with its sentence.
macro_rules! misfits {
    ($op:expr, check($($shape:expr),*), run($($arg:expr),*; $dst:expr)) => {{
        let sentence = mismatch($op.check($($shape),*));
        assert_eq!(mismatch($op.try_run($($arg,)* $dst)), sentence);
        assert_panics(&sentence, || $op.run($($arg,)* $dst));
    }};
}

/// The same for what runs from a tensor to a tensor: not from `from` to `to`, nor to anything like `to`.
macro_rules! runs_only {
    ($op:expr, $from:expr, $to:expr) => {{
        let (op, from, to) = ($op, $from, $to);
        let src = tensor(from);
        op.check(from, to).unwrap();
        op.run(src.view(), tensor(to).view_mut());
        for other in others(to) {
            let mut dst = tensor(other);
            dst.view_mut().data_mut().fill(7.0);
            misfits!(op, check(from, other), run(src.view(); dst.view_mut()));
            assert!(dst.view().data().iter().all(|&x| x == 7.0), "written before it was checked");
        }
        op
    }};
}

/// Shapes that differ a little.
fn others(Shape { c, h, w }: Shape) -> impl Iterator<Item = Shape> {
    let all =
        [(c - 1, h, w), (c, h + 1, w), (c, h, w + 1), (c, h - 1, w), (c, h, w - 1), (c, w, h), (1, 1, 1)];
    let all = all.map(|(c, h, w)| Shape::new(c, h, w));
    all.into_iter().filter(move |other| !other.is_empty() && (other.c, other.h, other.w) != (c, h, w))
}

#[test]
fn shapes_that_do_not_fit() {
    let (src, window) = (Shape::new(17, 5, 7), Window::new(3).stride(2));
    let pointwise = Pointwise::builder(17, 18).build(&[1.0; 17 * 18]).unwrap();
    let pointwise = runs_only!(pointwise, src, Shape::new(18, 5, 7));
    let depthwise =
        runs_only!(Depthwise::builder(17, window).build(&[1.0; 153]).unwrap(), src, Shape::new(17, 2, 3));
    let conv = Convolution::builder(17, 18, window).build(&[1.0; 17 * 18 * 9]).unwrap();
    let conv = runs_only!(conv, src, Shape::new(18, 2, 3));
    let max = runs_only!(MaxPool::builder(window).build().unwrap(), src, Shape::new(17, 2, 3));
    let average = runs_only!(AveragePool::builder(window).build().unwrap(), src, Shape::new(17, 2, 3));
    let transposed =
        Transposed::builder(17, 18, Window::new(2).stride(2)).build(&[1.0; 17 * 18 * 4]).unwrap();
    runs_only!(transposed, src, Shape::new(18, 10, 14));
    runs_only!(PRelu::builder().build(&[1.0; 17]).unwrap(), src, src);
    runs_only!(LayerNorm::builder(17).build(&[1.0; 17], &[1.0; 17]).unwrap(), src, src);
    let resize = Resize::builder(Interpolation::Nearest).build().unwrap();
    mismatch(resize.check(src, Shape::new(16, 5, 7)));
    // (Where addresses have 32 bits, no memory has so many rows.)
    resize.check(src, Shape { h: 1 << 31, w: 1, ..src }).expect_err("too many rows");
    let affine = runs_only!(Affine::builder(17).build(&[1.0; 17], &[1.0; 17]).unwrap(), src, src);
    runs_only!(Activate::builder(Activation::Relu).build().unwrap(), src, src);
    let materialize =
        runs_only!(Materialize::builder(&ChannelOrder::identity(17)).build().unwrap(), src, src);

    // Fewer channels than are read, and images that the window does not fit.
    let few = Shape { c: 16, ..src };
    mismatch(pointwise.try_output_shape(few));
    mismatch(depthwise.try_output_shape(few));
    mismatch(conv.try_output_shape(few));
    mismatch(conv.try_output_shape(Shape { c: 18, ..src }));
    mismatch(affine.check(few, few));
    mismatch(affine.try_run_in_place(tensor(few).view_mut()));
    mismatch(materialize.check(few, src));
    for (h, w) in [(2, 7), (5, 2)] {
        let small = Shape { h, w, ..src };
        mismatch(conv.try_output_shape(small));
        mismatch(max.try_output_shape(small));
        mismatch(average.try_output_shape(small));
        let sentence = mismatch(depthwise.try_output_shape(small));
        assert_panics(&sentence, || depthwise.output_shape(small));
    }
    // An image without rows or columns has no result, however it is padded.
    for padding in [Padding::all(1), Padding::Same] {
        let depthwise = Depthwise::builder(1, Window::new(3).padding(padding)).build(&[1.0; 9]).unwrap();
        let conv = Convolution::builder(1, 1, Window::new(3).padding(padding)).build(&[1.0; 9]).unwrap();
        for (h, w) in [(0, 3), (3, 0), (0, 0)] {
            invalid(depthwise.try_output_shape(Shape::new(1, h, w)), "shape");
            invalid(conv.try_output_shape(Shape::new(1, h, w)), "shape");
        }
    }
}

#[test]
fn sources_and_scratch_that_do_not_fit() {
    let src = Shape::new(4, 2, 3);
    let pointwise = Pointwise::builder(4, 4).build(&[1.0; 16]).unwrap();
    let add = Add::builder().build().unwrap();
    let (a, mut dst) = (tensor(src), tensor(src));
    for other in others(src) {
        let b = tensor(other);
        misfits!(add, check(src, other, src), run(a.view(), b.view(); dst.view_mut()));
        misfits!(add, check(other, src, src), run(b.view(), a.view(); dst.view_mut()));
        let sentence = mismatch(pointwise.residual(b.view()).try_run(a.view(), dst.view_mut()));
        assert_panics(&sentence, || pointwise.residual(b.view()).run(a.view(), dst.view_mut()));
    }
    let mean = GlobalAverage::builder().build().unwrap();
    let linear = Linear::builder(4, 4).build(&[1.0; 16]).unwrap();
    for len in [0, 3, 5] {
        misfits!(mean, check(src, len), run(a.view(); &mut vec![0.0; len]));
        misfits!(linear, check(len, 4), run(&vec![0.0; len]; &mut [0.0; 4]));
        misfits!(linear, check(4, len), run(&FOUR; &mut vec![0.0; len]));
    }

    let head = Head::builder(Pointwise::builder(4, 2).build(&[1.0; 8]).unwrap(), 4).build(&[1.0; 8]).unwrap();
    let mut scratch = vec![0.0; head.scratch(src)];
    head.run(a.view(), &mut scratch, &mut [0.0; 4]);
    for len in [0, 3, 5] {
        misfits!(head, check(src, len), run(a.view(), &mut scratch; &mut vec![0.0; len]));
    }
    let few = tensor(Shape { c: 3, ..src });
    misfits!(head, check(few.shape(), 4), run(few.view(), &mut scratch; &mut [0.0; 4]));
    let short = scratch.len() - 1;
    mismatch(head.try_run(a.view(), &mut scratch[..short], &mut [0.0; 4]));

    let (src, window) = (Shape::new(3, 9, 9), Window::new(3).stride(2).pad(1));
    let conv = Convolution::builder(3, 17, window).build(&[1.0; 459]).unwrap();
    let stem = Stem::builder(conv, MaxPool::builder(window).build().unwrap()).build().unwrap();
    let (pixels, to) = (vec![0.0; src.elements()], Shape::new(17, 3, 3));
    let image = Image::planar(&pixels, src).unwrap();
    let mut scratch = vec![0.0; stem.scratch(src)];
    stem.run(image, &mut scratch, tensor(to).view_mut());
    for other in others(to) {
        let mut dst = tensor(other);
        misfits!(stem, check(src, other), run(image, &mut scratch; dst.view_mut()));
    }
    let short = scratch.len() - 1;
    mismatch(stem.try_run(image, &mut scratch[..short], tensor(to).view_mut()));
    mismatch(stem.try_scratch(Shape { c: 2, ..src }));
}

/// The last slot that an order can name is one more than 32-bit addresses count to.
#[test]
fn the_last_slot_is_in_no_tensor() {
    let (order, src) = (order(&[0, u32::MAX, 1]), Shape::new(3, 2, 2));
    let pointwise = Pointwise::builder(3, 2).input_order(&order).build(&[1.0; 6]).unwrap();
    mismatch(pointwise.try_run(tensor(src).view(), tensor(Shape { c: 2, ..src }).view_mut()));
    let depthwise =
        Depthwise::builder(3, Window::new(3).pad(1)).input_order(&order).build(&[1.0; 27]).unwrap();
    mismatch(depthwise.try_run(tensor(src).view(), tensor(Shape { c: 32, ..src }).view_mut()));
    let materialize = Materialize::builder(&order).build().unwrap();
    mismatch(materialize.try_run(tensor(src).view(), tensor(src).view_mut()));
}

// --------------------------------------------------------------------------------------------------------- panics

#[test]
fn layouts_panic() {
    let shape = Shape::new(4, 2, 3);
    let (identity, src) = (ChannelOrder::identity(4), tensor(shape));
    for len in [0, 23, 25] {
        let sentence = format!("{len} elements for a tensor of 4x2x3");
        assert_panics(&sentence, || layout::from_nchw(&vec![0.0; len], tensor(shape).view_mut()));
        assert_panics(&sentence, || layout::from_nhwc(&vec![0.0; len], tensor(shape).view_mut()));
        let sentence = format!("4 channels in 4 slots of 4x2x3 into {len} elements");
        assert_panics(&sentence, || layout::to_nchw(src.view(), &identity, &mut vec![0.0; len]));
        assert_panics(&sentence, || layout::to_nhwc(src.view(), &identity, &mut vec![0.0; len]));
    }
    assert_panics("1 channels in 5 slots of 4x2x3", || {
        layout::to_nchw(src.view(), &order(&[4]), &mut [0.0; 6])
    });
}

#[test]
fn views_panic() {
    let mut tensor = tensor(Shape::new(33, 4, 5));
    for range in [0..0, 2..2, 0..4, 3..4] {
        assert_panics("of a tensor of 3 blocks", || tensor.view().blocks(range.clone()));
        assert_panics("of a tensor of 3 blocks", || tensor.view_mut().blocks(range.clone()));
    }
    for range in [0..0, 3..3, 0..5, 4..5] {
        assert_panics("of a tensor of 4 rows", || tensor.view().rows(range.clone()));
        assert_panics("of a tensor of 4 rows", || tensor.view_mut().rows(range.clone()));
    }
    for at in [0, 3, 4] {
        assert_panics("of a tensor of 3 blocks", || tensor.view_mut().split_at_block(at));
    }
    for (c, y, x) in [(33, 0, 0), (0, 4, 0), (0, 0, 5)] {
        assert_panics("position outside 33x4x5", || tensor.view().get(c, y, x));
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
    assert_panics("index out of bounds", || ChannelOrder::identity(4).slot(4));
}
