//! What operators ask of whoever runs their tasks. (That results do not depend on it, every operator's tests show.)
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::{ChannelOrder, Parallel, Pointwise, Serial, Shape, Tensor};

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
    dst.assert_intact(format_args!("pointwise"));
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
