//! Pools against their definitions, on every instruction set.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::reference::{self, Planar, Window};
use kernels::{AveragePool, ChannelOrder, MaxPool, Padding, Shape, global_average};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Problem {
    shape: Shape,
    window: Window,
    data: Data,
    poison: Option<f64>,
    frames: (Frame, Frame),
    seed: u64,
}

impl Problem {
    fn new(c: usize, h: usize, w: usize, window: Window) -> Self {
        let frames = (Frame::WIDE, Frame::WIDE);
        let seed = (c * 1000 + h * 10 + w) as u64;
        Self { shape: Shape::new(c, h, w), window, data: Data::Integers, poison: None, frames, seed }
    }

    fn check(&self) {
        let Window { kernel, stride, padding } = self.window;
        let rng = &mut Random::new(self.seed);
        let shape = fit(self.window, self.shape);
        let image = poisoned(self.data.image(shape, rng), self.poison, rng);
        let src = Framed::holding(&image, self.frames.0);
        let max = Expected::exactly(reference::max_pool(&image, self.window));
        let averages = [false, true].map(|count_pad| {
            let mut bound = reference::average_pool(&absolute(&image), self.window, count_pad);
            bound.data.iter_mut().for_each(|x| *x = error_bound(kernel * kernel, *x));
            let values = reference::average_pool(&image, self.window, count_pad);
            (count_pad, Expected { values, bound: Some(bound) })
        });
        let order = &ChannelOrder::identity(shape.c);
        let dst = Destination { shape: max.values.shape, frame: self.frames.1, order };
        for isa in isas() {
            let op = MaxPool::new(kernel, stride, padding, isa).unwrap();
            assert_eq!(op.output_shape(shape), dst.shape, "{isa}: {self:?}");
            check_runs(&dst, &max, format_args!("max, {isa}: {self:?}"), &|parallel, dst| {
                op.run_with(parallel, src.view(), dst);
            });
            for (count_pad, expected) in &averages {
                let op = AveragePool::new(kernel, stride, padding, *count_pad, isa).unwrap();
                assert_eq!(op.output_shape(shape), dst.shape, "{isa}: {self:?}");
                let context = format_args!("average, count_pad {count_pad}, {isa}: {self:?}");
                check_runs(&dst, expected, context, &|parallel, dst| {
                    op.run_with(parallel, src.view(), dst);
                });
            }
        }
    }
}

fn any_problem() -> impl Strategy<Value = Problem> {
    let shape = (any_channels(), 1..=12usize, 1..=12usize).prop_map(|(c, h, w)| Shape::new(c, h, w));
    let rest = (any_data(), any_poison(), (any_frame(), any_frame()), any::<u64>());
    (shape, any_window(&[2, 3, 5]), rest).prop_map(|(shape, window, (data, poison, frames, seed))| Problem {
        shape,
        window,
        data,
        poison,
        frames,
        seed,
    })
}

proptest! {
    #![proptest_config(cases(120))]
    #[test]
    fn computes_its_definition(problem in any_problem()) {
        problem.check();
    }

    #[test]
    fn global_average_computes_its_definition(
        (c, h, w) in (any_channels(), 1..=20usize, 1..=20usize),
        frame in any_frame(),
        data in any_data(),
        poison in any_poison(),
        seed in any::<u64>(),
    ) {
        let rng = &mut Random::new(seed);
        check_global_average(&poisoned(data.image(Shape::new(c, h, w), rng), poison, rng), frame);
    }
}

fn check_global_average(image: &Planar, frame: Frame) {
    let Shape { c, h, w } = image.shape;
    let src = Framed::holding(image, frame);
    let mean = |image: &Planar| Planar::new(Shape::new(c, 1, 1), &reference::global_average(image));
    let mut bound = mean(&absolute(image));
    bound.data.iter_mut().for_each(|x| *x = error_bound(h * w, *x));
    let expected = Expected { values: mean(image), bound: Some(bound) };
    for isa in isas() {
        let mut dst = vec![SENTINEL; 5 + c + 20];
        for _ in 0..2 {
            global_average(isa, src.view(), &mut dst[5..5 + c]);
            expected.check(&dst[5..5 + c], format_args!("{isa}: {}", image.shape));
            let around = dst[..5].iter().chain(&dst[5 + c..]);
            assert!(around.into_iter().all(|x| x.to_bits() == SENTINEL.to_bits()), "{isa}: {}", image.shape);
        }
    }
}

#[test]
fn every_channel_count() {
    for c in CHANNELS {
        let padding = if c % 2 == 0 { Padding::all(1) } else { Padding::Same };
        let window = Window { kernel: 2 + c % 2, stride: 1 + c % 2, padding };
        Problem::new(c, 3, 4, window).check();
        check_global_average(
            &Data::Integers.image(Shape::new(c, 3, 1 + c % 5), &mut Random::new(1)),
            Frame::WIDE,
        );
    }
}

#[test]
fn every_padding() {
    for kernel in [2, 3, 5] {
        for before in 0..kernel {
            for after in 0..kernel {
                let padding = Padding::Sides { top: before, bottom: after, left: after, right: before };
                for (stride, size) in [(1, 6), (2, 6), (2, 7), (1, 1)] {
                    Problem::new(2, size, size, Window { kernel, stride, padding }).check();
                }
            }
        }
    }
}

/// NaN wins wherever it stands in the window, against infinity too; padding wins against nothing.
#[test]
fn nan_wins_and_padding_never() {
    for stride in [1, 2] {
        let window = Window { kernel: 3, stride, padding: Padding::all(2) };
        for at in 0..9 {
            for other in [f64::INFINITY, f64::NEG_INFINITY, -1.0] {
                let mut image = Planar::new(Shape::new(1, 3, 3), &[other; 9]);
                image.data[at] = f64::NAN;
                let expected = reference::max_pool(&image, window);
                let windows_with_it = expected.data.iter().filter(|x| x.is_nan()).count();
                assert!(windows_with_it >= 1 && expected.data.iter().all(|&x| x.is_nan() || x == other));
                let src = Framed::holding(&image, Frame::WIDE);
                for isa in isas() {
                    let op = MaxPool::new(3, stride, window.padding, isa).unwrap();
                    let mut dst = Framed::new(expected.shape, Frame::WIDE);
                    op.run(src.view(), dst.view_mut());
                    let found = dst.read(&ChannelOrder::identity(1));
                    let context = format_args!("{isa}: NaN at {at} of 9, stride {stride}");
                    Expected::exactly(expected.clone()).check(&found, context);
                }
            }
        }
    }
}
