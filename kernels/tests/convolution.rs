//! Dense convolution against its definition, on every instruction set.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::reference::{self, Planar, Window};
use kernels::{Activation, ChannelOrder, Convolution, Padding, Shape};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Problem {
    ic: usize,
    oc: usize,
    h: usize,
    w: usize,
    window: Window,
    epilogue: Epilogue,
    data: Data,
    frames: (Frame, Frame),
    seed: u64,
}

impl Problem {
    /// Everything plain.
    fn new(ic: usize, oc: usize, h: usize, w: usize, window: Window) -> Self {
        Self {
            ic,
            oc,
            h,
            w,
            window,
            epilogue: Epilogue::default(),
            data: Data::Integers,
            frames: (Frame::WIDE, Frame::WIDE),
            seed: (ic * 1000 + oc * 100 + h * 10 + w) as u64,
        }
    }

    fn check(&self) {
        self.check_with(|_, _| {});
    }

    /// `poison` may change the source and the weights before anything is computed.
    fn check_with(&self, poison: impl Fn(&mut Planar, &mut [f32])) {
        let Self { ic, oc, window, .. } = *self;
        let Window { kernel, stride, padding } = window;
        let rng = &mut Random::new(self.seed);
        let shape = fit(window, Shape::new(ic, self.h, self.w));
        let mut image = self.data.image(shape, rng);
        let k = ic * kernel * kernel;
        let mut parameters = Parameters::new(self.epilogue, oc * k, oc, self.data, rng);
        poison(&mut image, &mut parameters.weights);
        let expected = parameters.expect(self.data, k, &image, None, |src, weights, bias| {
            reference::convolution(src, window, weights, bias)
        });
        let blocked = Framed::holding(&image, self.frames.0);
        // The same planar, within a longer slice.
        let mut planar = vec![SENTINEL; 7];
        planar.extend(image.to_f32());
        planar.extend([SENTINEL; 7]);
        let planar = &planar[7..planar.len() - 7];
        for isa in isas() {
            let op = configured!(Convolution::builder(ic, oc, kernel, stride), parameters, isa)
                .padding(padding)
                .build(&parameters.weights)
                .unwrap();
            assert_eq!(op.output_shape(shape.h, shape.w), expected.values.shape, "{isa}: {self:?}");
            let order = &ChannelOrder::identity(oc);
            let dst = Destination { shape: expected.values.shape, frame: self.frames.1, order };
            check_runs(&dst, &expected, format_args!("{isa}, blocked: {self:?}"), &|parallel, dst| {
                op.run_with(parallel, blocked.view(), dst);
            });
            check_runs(&dst, &expected, format_args!("{isa}, planar: {self:?}"), &|parallel, dst| {
                op.run_planar_with(parallel, planar, shape.h, shape.w, dst);
            });
        }
    }
}

fn any_problem() -> impl Strategy<Value = Problem> {
    let channels =
        prop_oneof![(1..=6usize, any_channels()), (any_channels(), 1..=6usize), (1..=40usize, 1..=40usize),];
    let rest = (any_epilogue(), any_data(), (any_frame(), any_frame()), any::<u64>());
    (channels, (1..=12usize, 1..=17usize), any_window(&[1, 3, 5, 7]), rest).prop_map(
        |((ic, oc), (h, w), window, rest)| {
            let (epilogue, data, frames, seed) = rest;
            Problem { ic, oc, h, w, window, epilogue, data, frames, seed }
        },
    )
}

proptest! {
    #![proptest_config(cases(120))]
    #[test]
    fn computes_its_definition(problem in any_problem()) {
        problem.check();
    }
}

const SAME_3X3: Window = Window { kernel: 3, stride: 1, padding: Padding::Same };

/// Every kernel, both strides.
fn windows(padding: impl Fn(usize) -> Padding) -> impl Iterator<Item = Window> {
    let window = move |kernel, stride| Window { kernel, stride, padding: padding(kernel) };
    let all = [(1, 1), (1, 2), (3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (7, 2)];
    all.into_iter().map(move |(kernel, stride)| window(kernel, stride))
}

#[test]
fn every_input_channel_count() {
    for ic in CHANNELS {
        Problem::new(ic, 5, 3, 4, Window { stride: 1 + ic % 2, ..SAME_3X3 }).check();
    }
}

#[test]
fn every_output_channel_count() {
    for oc in CHANNELS {
        let epilogue = Epilogue { bias: true, batch_norm: oc % 2 == 0, activation: Activation::Relu };
        let window = Window { stride: 1 + oc % 2, padding: Padding::all(1), ..SAME_3X3 };
        Problem { epilogue, ..Problem::new(3, oc, 4, 7, window) }.check();
    }
}

/// Sizes around those of the tiles, and images narrower than the window.
#[test]
fn every_size() {
    for window in windows(|_| Padding::Same).chain(windows(|kernel| Padding::all(kernel / 2))) {
        for size in 1..=24 {
            Problem::new(2, 5, 2, size, window).check();
            Problem::new(2, 5, size, 1, window).check();
        }
    }
}

/// All four sides differently, up to one less than the kernel.
#[test]
fn every_padding() {
    for kernel in [1, 3, 5, 7] {
        for before in 0..kernel {
            for after in 0..kernel {
                let padding = Padding::Sides { top: before, bottom: after, left: after, right: before };
                for (stride, size) in [(1, 6), (2, 6), (2, 7), (1, 1)] {
                    Problem::new(2, 3, size, size, Window { kernel, stride, padding }).check();
                }
            }
        }
    }
}

/// Long sums are cut into passes whose sums wait in the destination.
#[test]
fn sums_of_more_than_one_pass() {
    let epilogue = Epilogue { bias: true, batch_norm: true, activation: Activation::Relu6 };
    for ic in [113, 114, 228, 300] {
        for window in [SAME_3X3, Window { stride: 2, ..SAME_3X3 }] {
            let data = Data::Reals;
            Problem { epilogue, data, ..Problem::new(ic, 20, 4, 5, window) }.check();
        }
    }
}

/// A tap that hangs over the border is left out, not multiplied by zero.
#[test]
fn weights_do_not_reach_through_padding() {
    for poison in [f32::NAN, f32::INFINITY] {
        for window in windows(|kernel| Padding::all(kernel - 1)) {
            let k = 2 * window.kernel * window.kernel;
            for tap in 0..k {
                Problem::new(2, 5, 5, 6, window).check_with(|_, weights| weights[k + tap] = poison);
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
                Problem { epilogue, ..Problem::new(3, 20, 9, 9, window) }
                    .check_with(|src, _| src.data[81 + 40] = poison);
            }
        }
    }
}
