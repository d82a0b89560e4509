//! What operators ask of whoever runs their tasks. (That results do not depend on it, every operator's tests show.)
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::{
    ChannelOrder, Convolution, Depthwise, Image, MaxPool, Parallel, Pointwise, Serial, Shape, Stem,
};
use kernels::{Tensor, Window};
use kernels_testing::Random;
use kernels_testing::blocked::{Frame, Framed};

/// Runs `calls`, one after the other or each on a thread of its own, whatever was asked for.
struct Wilful {
    calls: Vec<usize>,
    threads: bool,
}

impl Parallel for Wilful {
    fn threads(&self) -> usize {
        3
    }

    fn for_each(&self, _tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            for &call in &self.calls {
                if self.threads {
                    scope.spawn(move || task(call));
                } else {
                    task(call);
                }
            }
        });
    }
}

fn run(parallel: &dyn Parallel) -> Vec<f32> {
    let rng = &mut Random::new(1);
    let (ic, oc) = (20, 100);
    let op = Pointwise::builder(ic, oc).build(&Data::Reals.many(ic * oc, rng)).unwrap();
    let src = Tensor::from_nchw(&Data::Reals.many(ic * 35, rng), Shape::new(ic, 5, 7)).unwrap();
    let mut dst = Framed::new(Shape::new(oc, 5, 7), Frame::WIDE);
    op.on(parallel).run(src.view(), dst.view_mut());
    assert_eq!(dst.intact(), Ok(()));
    dst.read(&ChannelOrder::identity(oc))
}

/// Numbers out of range or named twice are no way to write out of bounds, or to one place from two threads.
#[test]
fn wilful_numbers_do_no_harm() {
    // WebAssembly has no threads.
    for threads in [false, !cfg!(target_family = "wasm")] {
        let calls = vec![usize::MAX, 0, 0, 1000, 7, 7, 2, 2, 2, 3, 3, 3];
        assert_eq!(run(&Wilful { calls, threads }), run(&Serial));
    }
}

#[test]
fn tasks_left_out_are_noticed() {
    for calls in [vec![], vec![0], vec![0, 1]] {
        let sentence = format!("Parallel::for_each ran {} of", calls.len());
        assert_panics(&sentence, || run(&Wilful { calls, threads: false }));
    }
}

/// The number of threads goes into sizes of scratch and bounds of parts, where a product must not wrap.
#[test]
fn threads_beyond_all_reason_do_no_harm() {
    let rng = &mut Random::new(2);
    let image = Data::Reals.many(3 * 21 * 17, rng);
    let window = Window::new(3).stride(2).pad(1);
    let convolution = Convolution::builder(3, 24, window).build(&Data::Reals.many(24 * 27, rng)).unwrap();
    let again = Convolution::builder(3, 24, window).build(&Data::Reals.many(24 * 27, rng)).unwrap();
    let stem = Stem::builder(again, MaxPool::builder(window).build().unwrap()).build().unwrap();
    let depthwise = Depthwise::builder(3, window).build(&Data::Reals.many(27, rng)).unwrap();
    let shape = Shape::new(3, 21, 17);
    let blocked = Tensor::from_nchw(&image, shape).unwrap();
    let run = |parallel: &dyn Parallel| {
        let mut scratch = vec![0.0; stem.on(parallel).scratch(shape)];
        let mut pooled = Tensor::zeros(stem.output_shape(shape));
        stem.on(parallel).run(Image::planar(&image, shape).unwrap(), &mut scratch, pooled.view_mut());
        let mut convolved = Tensor::zeros(convolution.output_shape(shape));
        convolution.on(parallel).run(blocked.view(), convolved.view_mut());
        let mut filtered = Tensor::zeros(depthwise.output_shape(shape));
        depthwise.on(parallel).run(blocked.view(), filtered.view_mut());
        [pooled.to_nchw(), convolved.to_nchw(), filtered.to_nchw(), run(parallel)]
    };
    let expected = run(&Serial);
    // The last but one makes bands times ring a multiple of 2^64.
    for threads in [100, u32::MAX as usize, usize::MAX / 2 + 1, 1 << (usize::BITS - 5), usize::MAX] {
        assert_eq!(run(&Somebody(threads)), expected, "{threads} threads");
    }
}
