//! Running an operator allocates nothing, not even the first time.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::{
    Activate, Activation, Add, Affine, AveragePool, ChannelOrder, Convolution, Depthwise, GlobalAverage,
};
use kernels::{
    Head, Image, Isa, Linear, Materialize, MaxPool, Padding, Parallel, Pointwise, Serial, Shape, Stem,
};
use kernels::{Interpolation, LayerNorm, Mul, PRelu, Resize, Transposed};
use kernels::{Tensor, View, ViewMut, Window, layout, softmax};
use kernels_testing::Random;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counting what each thread asks of it.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is handed on to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `run` allocates or frees.
fn allocations(run: impl FnOnce()) -> usize {
    let before = COUNT.get();
    run();
    COUNT.get() - before
}

#[test]
fn the_count_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1]))), 2);
    assert_eq!(allocations(|| ()), 0);
}

/// Ragged channels, an odd map, and sums longer than one pass.
const IC: usize = 1030;
const OC: usize = 58;
const H: usize = 5;
const W: usize = 9;

fn check(isa: Isa, parallel: &dyn Parallel) {
    let rng = &mut Random::new(1);
    let mut many = |n| Data::Reals.many(n, rng);
    let relu = Activation::Relu6;
    let shape = Shape::new(OC, H, W);
    let wide = Tensor::from_nchw(&many(IC * H * W), Shape::new(IC, H, W)).unwrap();
    let (a, b) = [0; 2].map(|_| Tensor::from_nchw(&many(OC * H * W), shape).unwrap()).into();
    let mut dst = Tensor::zeros(shape);
    let none = |name: &str, run: &mut dyn FnMut()| {
        for time in ["first", "second"] {
            assert_eq!(allocations(&mut *run), 0, "{name} on {isa} allocates in its {time} run");
        }
    };

    let order = ChannelOrder::identity(IC).shuffle(2).unwrap();
    let reversed = ChannelOrder::from_slots((0..OC as u32).rev().collect());
    let pointwise = Pointwise::builder(IC, OC).isa(isa).activation(relu);
    let pointwise = pointwise.input_order(&order).output_order(&reversed).build(&many(IC * OC)).unwrap();
    none("pointwise", &mut || {
        pointwise.run(wide.view(), dst.view_mut());
        pointwise.residual(a.view()).run(wide.view(), dst.view_mut());
        pointwise.on(parallel).residual(a.view()).run(wide.view(), dst.view_mut());
    });

    let five = Window::new(5).pad(2);
    let depthwise = Depthwise::builder(OC, five).isa(isa).activation(relu).build(&many(OC * 25)).unwrap();
    none("depthwise", &mut || depthwise.on(parallel).run(a.view(), dst.view_mut()));

    let convolution = Convolution::builder(OC, OC, five).isa(isa).activation(relu);
    let convolution = convolution.build(&many(OC * OC * 25)).unwrap();
    let planar = many(OC * H * W);
    none("convolution", &mut || {
        convolution.on(parallel).run(a.view(), dst.view_mut());
        convolution.on(parallel).run(Image::planar(&planar, shape).unwrap(), dst.view_mut());
    });

    let window = Window::new(3).stride(2).pad(1);
    let conv = Convolution::builder(3, 24, window).isa(isa).activation(relu).build(&many(648)).unwrap();
    let stem = Stem::builder(conv, MaxPool::builder(window).isa(isa).build().unwrap()).build().unwrap();
    let (shape, image) = (Shape::new(3, 18, 15), many(3 * 18 * 15));
    let mut scratch = vec![0.0; stem.on(parallel).scratch(shape)];
    let mut pooled = Tensor::zeros(stem.output_shape(shape));
    none("stem", &mut || {
        stem.on(parallel).run(Image::planar(&image, shape).unwrap(), &mut scratch, pooled.view_mut());
    });

    let conv = Pointwise::builder(OC, 200).isa(isa).activation(relu).build(&many(OC * 200)).unwrap();
    let head = Head::builder(conv, 1000).build(&many(200 * 1000)).unwrap();
    let (mut scratch, mut classes) = (vec![0.0; head.scratch(a.shape())], vec![0.0; 1000]);
    none("head", &mut || head.on(parallel).run(a.view(), &mut scratch, &mut classes));

    let materialize = Materialize::builder(&reversed).isa(isa).build().unwrap();
    none("materialize", &mut || materialize.on(parallel).run(a.view(), dst.view_mut()));

    let max = MaxPool::builder(Window::new(3).padding(Padding::Same)).isa(isa).build().unwrap();
    none("max pool", &mut || max.on(parallel).run(a.view(), dst.view_mut()));
    let average = AveragePool::builder(Window::new(3).pad(1)).isa(isa).build().unwrap();
    none("average pool", &mut || average.on(parallel).run(a.view(), dst.view_mut()));
    let global_average = GlobalAverage::builder().isa(isa).build().unwrap();
    let mut means = [0.0; OC];
    none("global average", &mut || global_average.on(parallel).run(a.view(), &mut means));

    let linear = Linear::builder(OC, 1000).activation(relu).isa(isa).build(&many(OC * 1000)).unwrap();
    let mut logits = vec![0.0; 1000];
    none("linear", &mut || linear.on(parallel).run(&means, &mut logits));
    none("softmax", &mut || softmax(&mut logits));

    let affine = Affine::builder(OC).activation(relu).isa(isa).build(&many(OC), &many(OC)).unwrap();
    none("affine", &mut || {
        affine.on(parallel).run(a.view(), dst.view_mut());
        affine.on(parallel).run_in_place(dst.view_mut());
    });
    let add = Add::builder().activation(relu).isa(isa).build().unwrap();
    none("add", &mut || add.on(parallel).run(a.view(), b.view(), dst.view_mut()));
    let activate = Activate::builder(relu).isa(isa).build().unwrap();
    none("activate", &mut || activate.on(parallel).run_in_place(dst.view_mut()));

    let mul = Mul::builder().activation(Activation::Silu).isa(isa).build().unwrap();
    none("multiply", &mut || mul.on(parallel).run(a.view(), b.view(), dst.view_mut()));
    let prelu = PRelu::builder().isa(isa).build(&many(OC)).unwrap();
    none("PReLU", &mut || prelu.on(parallel).run(a.view(), dst.view_mut()));
    let layer_norm = LayerNorm::builder(OC).isa(isa).build(&many(OC), &many(OC)).unwrap();
    none("layer norm", &mut || layer_norm.on(parallel).run(a.view(), dst.view_mut()));

    let mut twice = Tensor::zeros(Shape::new(OC, 2 * H, 2 * W));
    for interpolation in [Interpolation::Nearest, Interpolation::Bilinear] {
        let resize = Resize::builder(interpolation).isa(isa).build().unwrap();
        none("resize", &mut || resize.on(parallel).run(a.view(), twice.view_mut()));
    }
    let window = Window::new(2).stride(2);
    let transposed = Transposed::builder(OC, OC, window).isa(isa).build(&many(OC * OC * 4)).unwrap();
    none("transposed", &mut || transposed.on(parallel).run(a.view(), twice.view_mut()));

    let shape = a.shape();
    let mut image = many(OC * H * W);
    none("layout", &mut || {
        layout::from_nchw(&image, dst.view_mut());
        layout::to_nhwc(dst.view(), &reversed, &mut image);
        layout::from_nhwc(&image, dst.view_mut());
        layout::to_nchw(dst.view(), &reversed, &mut image);
    });

    let mut memory = vec![0.0; shape.len()];
    none("views", &mut || {
        View::new(&memory, shape).unwrap().blocks(1..3).rows(1..2);
        ViewMut::new(&mut memory, shape).unwrap().split_at_block(1).1.rows(0..2);
    });
}

#[test]
fn operators_allocate_nothing() {
    for isa in isas() {
        check(isa, &Serial);
        check(isa, &Reverse(3));
    }
}
