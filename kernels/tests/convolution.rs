//! Dense convolution against its definition, on every instruction set.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::reference::{self, Planar, Window};
use kernels::{Activation, ChannelOrder, Convolution, MaxPool, Padding, Shape};
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
        self.check_pooled(None, poison);
    }

    /// Followed by a maximum of 3x3 windows, two apart, where there is a `pool`.
    fn check_pooled(&self, pool: Option<Padding>, poison: impl Fn(&mut Planar, &mut [f32])) {
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
        let pooled = pool.map(|padding| self.pooled(padding, &expected));
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
            if let Some((padding, expected)) = &pooled {
                let pool = MaxPool::new(3, 2, *padding, isa).unwrap();
                let dst = Destination { shape: expected.values.shape, ..dst };
                let context = format_args!("{isa}, pooled with {padding:?}: {self:?}");
                check_runs(&dst, expected, context, &|parallel, dst| {
                    // Scratch lies between sentinels, and holds some.
                    let needed = op.pooled_scratch(parallel, shape.h, shape.w);
                    let mut scratch = vec![SENTINEL; needed + 2 * 5];
                    let inner = &mut scratch[5..5 + needed];
                    op.run_planar_pooled(parallel, planar, shape.h, shape.w, &pool, inner, dst);
                    let mut around = scratch[..5].iter().chain(&scratch[5 + needed..]);
                    assert!(
                        around.all(|x| x.to_bits() == SENTINEL.to_bits()),
                        "{isa}: wrote outside scratch"
                    );
                });
            }
        }
    }

    /// The maximum of what is expected of the convolution, with a padding that it fits.
    fn pooled(&self, padding: Padding, convolved: &Expected) -> (Padding, Expected) {
        let mut window = Window { kernel: 3, stride: 2, padding };
        if fit(window, convolved.values.shape) != convolved.values.shape {
            window.padding = Padding::all(1);
        }
        let pool = |image: &Planar| reference::max_pool(image, window);
        let expected =
            Expected { values: pool(&convolved.values), bound: convolved.bound.as_ref().map(pool) };
        (window.padding, expected)
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

    #[test]
    fn pooled_computes_its_definition(problem in any_problem(), pool in any_window(&[3])) {
        problem.check_pooled(Some(pool.padding), |_, _| {});
    }
}

/// The stem of a ShuffleNet, in PyTorch's padding and in TensorFlow's.
#[test]
fn stems() {
    for padding in [Padding::all(1), Padding::Same] {
        for (h, w) in [(1, 1), (2, 2), (32, 35), (33, 64), (224, 224)] {
            let epilogue = Epilogue { bias: true, batch_norm: true, activation: Activation::Relu };
            let window = Window { kernel: 3, stride: 2, padding };
            Problem { epilogue, ..Problem::new(3, 24, h, w, window) }.check_pooled(Some(padding), |_, _| {});
        }
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
                    .check_pooled(Some(Padding::all(1)), |src, _| src.data[81 + 40] = poison);
            }
        }
    }
}
