//! Running an operator allocates nothing, not even the first time.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::{
    Activation, Affine, AveragePool, ChannelOrder, Convolution, Depthwise, Isa, Linear, Materialize,
};
use kernels::{Head, MaxPool, Padding, Parallel, Pointwise, Serial, Shape, Tensor, View, ViewMut};
use kernels::{activate, add, global_average, layout, softmax, upsample_nearest_2x};
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
        pointwise.run_with(parallel, wide.view(), Some(a.view()), dst.view_mut());
        pointwise.run(wide.view(), dst.view_mut());
        pointwise.run_add(wide.view(), a.view(), dst.view_mut());
    });

    let depthwise = Depthwise::builder(OC, 5, 1).isa(isa).activation(relu).build(&many(OC * 25)).unwrap();
    none("depthwise", &mut || depthwise.run_with(parallel, a.view(), dst.view_mut()));

    let convolution = Convolution::builder(OC, OC, 5, 1).isa(isa).activation(relu);
    let convolution = convolution.build(&many(OC * OC * 25)).unwrap();
    let planar = many(OC * H * W);
    none("convolution", &mut || {
        convolution.run_with(parallel, a.view(), dst.view_mut());
        convolution.run_planar_with(parallel, &planar, H, W, dst.view_mut());
    });

    let stem = Convolution::builder(3, 24, 3, 2).isa(isa).activation(relu).build(&many(648)).unwrap();
    let pool = MaxPool::new(3, 2, Padding::all(1), isa).unwrap();
    let image = many(3 * 18 * 15);
    let mut scratch = vec![0.0; stem.pooled_scratch(parallel, 18, 15)];
    let mut pooled = Tensor::zeros(pool.output_shape(stem.output_shape(18, 15)));
    none("pooled convolution", &mut || {
        stem.run_planar_pooled(parallel, &image, 18, 15, &pool, &mut scratch, pooled.view_mut());
    });

    let conv = Pointwise::builder(OC, 200).isa(isa).activation(relu).build(&many(OC * 200)).unwrap();
    let head = Head::new(conv, 1000, &many(200 * 1000), None).unwrap();
    let (mut scratch, mut classes) = (vec![0.0; head.scratch(H, W)], vec![0.0; 1000]);
    none("head", &mut || head.run_with(parallel, a.view(), &mut scratch, &mut classes));

    let materialize = Materialize::new(&reversed, isa).unwrap();
    none("materialize", &mut || materialize.run_with(parallel, a.view(), dst.view_mut()));

    let max = MaxPool::new(3, 1, Padding::Same, isa).unwrap();
    none("max pool", &mut || max.run_with(parallel, a.view(), dst.view_mut()));
    let average = AveragePool::new(3, 1, Padding::all(1), true, isa).unwrap();
    none("average pool", &mut || average.run_with(parallel, a.view(), dst.view_mut()));
    let mut means = [0.0; OC];
    none("global average", &mut || global_average(isa, a.view(), &mut means));

    let linear = Linear::new(OC, 1000, &many(OC * 1000), None, relu, isa).unwrap();
    let mut logits = vec![0.0; 1000];
    none("linear", &mut || linear.run_with(parallel, &means, &mut logits));
    none("softmax", &mut || softmax(&mut logits));

    let affine = Affine::new(&many(OC), &many(OC), relu, isa).unwrap();
    none("affine", &mut || {
        affine.run(a.view(), dst.view_mut());
        affine.run_in_place(dst.view_mut());
    });
    none("add", &mut || add(isa, a.view(), b.view(), relu, dst.view_mut()));
    none("activate", &mut || activate(isa, relu, dst.view_mut()));

    let mut twice = Tensor::zeros(Shape::new(OC, 2 * H, 2 * W));
    none("upsample", &mut || upsample_nearest_2x(a.view(), twice.view_mut()));

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
