//! Depthwise convolution against its definition, on every instruction set.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::reference::{self, Planar, Window};
use kernels::{Activation, Depthwise, Padding, Shape};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Problem {
    channels: usize,
    h: usize,
    w: usize,
    window: Window,
    input: Order,
    /// Slots of source and destination beyond those that are needed.
    spare: (usize, usize),
    epilogue: Epilogue,
    data: Data,
    frames: (Frame, Frame),
    seed: u64,
}

impl Problem {
    /// Everything plain.
    fn new(channels: usize, h: usize, w: usize, window: Window) -> Self {
        Self {
            channels,
            h,
            w,
            window,
            input: Order::Identity,
            spare: (0, 0),
            epilogue: Epilogue::default(),
            data: Data::Integers,
            frames: (Frame::WIDE, Frame::WIDE),
            seed: (channels * 1000 + h * 10 + w) as u64,
        }
    }

    fn check(&self) {
        self.check_with(|_, _| {});
    }

    /// `poison` may change the source's slots and the weights before anything is computed.
    fn check_with(&self, poison: impl Fn(&mut Planar, &mut [f32])) {
        let Self { channels, window, .. } = *self;
        let Window { kernel, stride, padding } = window;
        let rng = &mut Random::new(self.seed);
        let input = self.input.of(channels, rng);
        let src_shape = fit(window, Shape::new(input.width() + self.spare.0, self.h, self.w));
        let mut slots = self.data.slots(&input, src_shape, rng);
        let taps = kernel * kernel;
        let mut parameters = Parameters::new(self.epilogue, channels * taps, channels, self.data, rng);
        poison(&mut slots, &mut parameters.weights);
        let logical = reference::gather(&slots, &input);
        let expected = parameters.expect(self.data, taps, &logical, None, |src, weights, bias| {
            reference::depthwise(src, window, weights, bias)
        });
        let src = Framed::holding(&slots, self.frames.0);
        for isa in isas() {
            let op = configured!(Depthwise::builder(channels, kernel, stride), parameters, isa)
                .padding(padding)
                .input_order(&input)
                .build(&parameters.weights)
                .unwrap();
            let order = op.output_order();
            let shape = op.output_shape(src_shape.h, src_shape.w);
            assert_eq!(shape, Shape { c: order.width(), ..expected.values.shape }, "{isa}: {self:?}");
            let dst = Destination {
                shape: Shape { c: shape.c + self.spare.1, ..shape },
                frame: self.frames.1,
                order,
            };
            check_runs(&dst, &expected, format_args!("{isa}: {self:?}"), &|parallel, dst| {
                op.run_with(parallel, src.view(), dst);
            });
        }
    }
}

fn any_problem() -> impl Strategy<Value = Problem> {
    let shape = (any_channels(), 1..=20usize, 1..=24usize);
    let orders = (any_unique_order(), (0..=20usize, 0..=20usize));
    let rest = (any_epilogue(), any_data(), (any_frame(), any_frame()), any::<u64>());
    (shape, any_window(&[3, 5]), orders, rest).prop_map(|((channels, h, w), window, orders, rest)| {
        let (input, spare) = orders;
        let (epilogue, data, frames, seed) = rest;
        Problem { channels, h, w, window, input, spare, epilogue, data, frames, seed }
    })
}

proptest! {
    #![proptest_config(cases(160))]
    #[test]
    fn computes_its_definition(problem in any_problem()) {
        problem.check();
    }
}

/// Both kernels, both strides.
fn windows(padding: impl Fn(usize) -> Padding) -> impl Iterator<Item = Window> {
    let window = move |kernel, stride| Window { kernel, stride, padding: padding(kernel) };
    [(3, 1), (3, 2), (5, 1), (5, 2)].into_iter().map(move |(kernel, stride)| window(kernel, stride))
}

#[test]
fn every_channel_count() {
    for channels in CHANNELS {
        let window = windows(|kernel| Padding::all(kernel / 2)).nth(channels % 4).unwrap();
        let epilogue = Epilogue { bias: true, batch_norm: channels % 3 == 0, activation: Activation::Relu };
        Problem { epilogue, ..Problem::new(channels, 4, 5, window) }.check();
    }
}

/// Sizes around those of the tiles, and images narrower than the window.
#[test]
fn every_size() {
    for window in windows(|_| Padding::Same).chain(windows(|kernel| Padding::all(kernel / 2))) {
        for size in 1..=40 {
            Problem::new(3, 2, size, window).check();
            Problem::new(3, size, 1, window).check();
        }
    }
}

/// All four sides differently, up to one less than the kernel.
#[test]
fn every_padding() {
    for kernel in [3, 5] {
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

/// A tap that hangs over the border is left out, not multiplied by zero.
#[test]
fn weights_do_not_reach_through_padding() {
    for poison in [f32::NAN, f32::INFINITY] {
        for window in windows(|kernel| Padding::all(kernel - 1)) {
            let taps = window.kernel * window.kernel;
            for tap in 0..taps {
                Problem::new(5, 6, 7, window).check_with(|_, weights| weights[taps + tap] = poison);
            }
        }
    }
}

#[test]
fn nan_and_infinity_follow_the_formula() {
    for activation in [Activation::None, Activation::Relu, Activation::Relu6] {
        for window in windows(|_| Padding::Same) {
            let epilogue = Epilogue { activation, ..Epilogue::default() };
            for poison in POISONS {
                Problem { epilogue, ..Problem::new(19, 9, 9, window) }
                    .check_with(|src, _| src.data[81 * 17 + 40] = poison);
            }
        }
    }
}
