//! Pools against their definitions, on every instruction set.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::Window;
use kernels::{Padding, Shape};
use kernels_testing::operators::{AveragePool, GlobalAverage, MaxPool};
use kernels_testing::{Operator, Problem, Problems, average_pool, global_average, max_pool};

const KERNELS: [usize; 3] = [2, 3, 5];

fn any<O: Operator>(problems: Problems<O>) -> impl Strategy<Value = (Problem<O>, How)> {
    let problems = problems
        .kernels([[3, 3], [2, 2], [5, 5], [1, 1], [2, 4], [7, 3], [9, 9]])
        .strides([[1, 1], [2, 2], [2, 1], [3, 5]])
        .pads([Pad::Half, Pad::Same, Pad::Uneven, Pad::Zero])
        .ceil([false, true]);
    framed(problems.w(1..=12).data(any_data()))
}

proptest! {
    #![proptest_config(config(120))]
    #[test]
    fn max_computes_its_definition((p, how) in any(max_pool())) {
        check_max_pool(&p, &how);
    }

    #[test]
    fn average_computes_its_definition((p, how) in any(average_pool())) {
        check_average_pool(&p, &how);
    }

    #[test]
    fn global_average_computes_its_definition(
        (p, how) in framed(global_average().h(1..=20).w(1..=20).data(any_data())),
    ) {
        check_global_average(&p, &how);
    }
}

/// Maximum and both kinds of average of one shape.
fn check(src: Shape, window: Window) {
    let how = How::default();
    check_max_pool(&Problem::new(MaxPool { src, window }, Data::Integers, 1), &how);
    for count_pad in [false, true] {
        let op = AveragePool { src, window, count_pad };
        check_average_pool(&Problem::new(op, Data::Integers, 1), &how);
    }
}

#[test]
fn every_channel_count() {
    for c in CHANNELS {
        let padding = if c % 2 == 0 { Padding::all(1) } else { Padding::Same };
        check(Shape::new(c, 3, 4), Window::new(2 + c % 2).stride(1 + c % 2).padding(padding));
        let op = GlobalAverage { src: Shape::new(c, 3, 1 + c % 5) };
        check_global_average(&Problem::new(op, Data::Integers, 1), &How::default());
    }
}

#[test]
fn every_padding_on_all_sides() {
    for (src, window) in KERNELS.into_iter().flat_map(|kernel| every_padding(2, kernel)) {
        check(src, window);
    }
}

/// NaN wins wherever it stands in the window, against infinity too; padding wins against nothing.
#[test]
fn nan_wins_and_padding_never() {
    for window in [1, 2].map(|stride| Window::new(3).stride(stride).pad(2)) {
        for at in 0..9 {
            for other in [f64::INFINITY, f64::NEG_INFINITY, -1.0] {
                let p = Problem::new(MaxPool { src: Shape::new(1, 3, 3), window }, Data::Integers, 1);
                let p = p.edited(|src, ()| {
                    src.data.fill(other);
                    src.data[at] = f64::NAN;
                });
                let expected = &p.expected().unwrap().values.data;
                assert!(expected.iter().any(|x| x.is_nan()));
                assert!(expected.iter().all(|&x| x.is_nan() || x == other));
                check_max_pool(&p, &How::default());
            }
        }
    }
}
