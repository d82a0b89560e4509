//! What operators ask of whoever runs their tasks. (That results do not depend on it, every operator's tests show.)
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::{ChannelOrder, Convolution, Depthwise, Isa, MaxPool, Padding};
use kernels::{Parallel, Pointwise, Serial, Shape, Tensor};
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
    op.run_with(parallel, src.view(), None, dst.view_mut());
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

/// Claims to have any number of threads.
struct Boaster(usize);

impl Parallel for Boaster {
    fn threads(&self) -> usize {
        self.0
    }

    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }
}

/// The number of threads goes into sizes of scratch and bounds of parts, where a product must not wrap.
#[test]
fn threads_beyond_all_reason_do_no_harm() {
    let rng = &mut Random::new(2);
    let image = Data::Reals.many(3 * 21 * 17, rng);
    let stem = Convolution::builder(3, 24, 3, 2).build(&Data::Reals.many(24 * 27, rng)).unwrap();
    let pool = MaxPool::new(3, 2, Padding::all(1), Isa::best()).unwrap();
    let depthwise = Depthwise::builder(3, 3, 1).build(&Data::Reals.many(27, rng)).unwrap();
    let blocked = Tensor::from_nchw(&image, Shape::new(3, 21, 17)).unwrap();
    let run = |parallel: &dyn Parallel| {
        let shape = pool.output_shape(stem.output_shape(21, 17));
        let mut scratch = vec![0.0; stem.pooled_scratch(parallel, 21, 17)];
        let mut pooled = Tensor::zeros(shape);
        stem.run_planar_pooled(parallel, &image, 21, 17, &pool, &mut scratch, pooled.view_mut());
        let mut convolved = Tensor::zeros(stem.output_shape(21, 17));
        stem.run_with(parallel, blocked.view(), convolved.view_mut());
        let mut filtered = Tensor::zeros(depthwise.output_shape(21, 17));
        depthwise.run_with(parallel, blocked.view(), filtered.view_mut());
        [pooled.to_nchw(), convolved.to_nchw(), filtered.to_nchw(), run(parallel)]
    };
    let expected = run(&Serial);
    // The last but one makes bands times ring a multiple of 2^64.
    for threads in [100, u32::MAX as usize, usize::MAX / 2 + 1, 1 << (usize::BITS - 5), usize::MAX] {
        assert_eq!(run(&Boaster(threads)), expected, "{threads} threads");
    }
}
