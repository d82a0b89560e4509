//! 1x1 convolution against its definition, on every instruction set.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::reference::{self, Planar};
use kernels::{Activation, ChannelOrder, Pointwise, Shape};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Problem {
    groups: usize,
    group_ic: usize,
    group_oc: usize,
    h: usize,
    w: usize,
    input: Order,
    output: Order,
    /// Slots of source and destination beyond those that the orders need.
    spare: (usize, usize),
    residual: bool,
    epilogue: Epilogue,
    data: Data,
    frames: (Frame, Frame),
    seed: u64,
}

impl Problem {
    /// Everything plain.
    fn new(ic: usize, oc: usize, h: usize, w: usize) -> Self {
        Self {
            groups: 1,
            group_ic: ic,
            group_oc: oc,
            h,
            w,
            input: Order::Identity,
            output: Order::Identity,
            spare: (0, 0),
            residual: false,
            epilogue: Epilogue::default(),
            data: Data::Integers,
            frames: (Frame::WIDE, Frame::WIDE),
            seed: (ic * 1000 + oc) as u64,
        }
    }

    fn check(&self) {
        self.check_with(|_, _| {});
    }

    /// `poison` may change the source's logical channels and the weights before anything is computed.
    fn check_with(&self, poison: impl Fn(&mut Planar, &mut [f32])) {
        let Self { groups, h, w, .. } = *self;
        let (ic, oc) = (groups * self.group_ic, groups * self.group_oc);
        let rng = &mut Random::new(self.seed);
        let (input, output) = (self.input.of(ic, rng), self.output.of(oc, rng));
        let src_shape = Shape::new(input.width() + self.spare.0, h, w);
        let dst_shape = Shape::new(output.width() + self.spare.1, h, w);

        let mut slots = self.data.slots(&input, src_shape, rng);
        let mut parameters = Parameters::new(self.epilogue, self.group_ic * oc, oc, self.data, rng);
        poison(&mut slots, &mut parameters.weights);
        let residual = self.residual.then(|| self.data.slots(&output, dst_shape, rng));
        let expected = parameters.expect(
            self.data,
            self.group_ic,
            &reference::gather(&slots, &input),
            residual.as_ref().map(|residual| reference::gather(residual, &output)).as_ref(),
            |src, weights, bias| reference::pointwise(src, groups, weights, bias),
        );
        let src = Framed::holding(&slots, self.frames.0);
        let residual = residual.map(|residual| Framed::holding(&residual, self.frames.0));
        let dst = Destination { shape: dst_shape, frame: self.frames.1, order: &output };
        for isa in isas() {
            let op = configured!(Pointwise::builder(ic, oc), parameters, isa)
                .groups(groups)
                .input_order(&input)
                .output_order(&output)
                .build(&parameters.weights)
                .unwrap();
            check_runs(&dst, &expected, format_args!("{isa}: {self:?}"), &|parallel, dst| {
                op.run_with(parallel, src.view(), residual.as_ref().map(Framed::view), dst);
            });
        }
    }
}

fn any_problem() -> impl Strategy<Value = Problem> {
    let channels = prop_oneof![
        3 => (Just(1), any_channels(), any_channels()),
        1 => (2..=5usize, 1..=26usize, 1..=26usize),
        // As many groups as channels on one side: depthwise, with a multiplier.
        1 => (1..=40usize, 1..=3usize, 1..=3usize),
    ];
    let orders = (any_order(), any_unique_order(), (0..=20usize, 0..=20usize));
    let rest = (any::<bool>(), any_epilogue(), any_data(), (any_frame(), any_frame()), any::<u64>());
    (channels, (1..=12usize, 1..=12usize), orders, rest).prop_map(|(channels, (h, w), orders, rest)| {
        let (groups, group_ic, group_oc) = channels;
        let (input, output, spare) = orders;
        let (residual, epilogue, data, frames, seed) = rest;
        Problem {
            groups,
            group_ic,
            group_oc,
            h,
            w,
            input,
            output,
            spare,
            residual,
            epilogue,
            data,
            frames,
            seed,
        }
    })
}

proptest! {
    #![proptest_config(cases(160))]
    #[test]
    fn computes_its_definition(problem in any_problem()) {
        problem.check();
    }
}

#[test]
fn every_input_channel_count() {
    for ic in CHANNELS {
        let oc = CHANNELS.end() + 1 - ic;
        Problem { residual: ic % 3 == 0, ..Problem::new(ic, oc, 3, 5) }.check();
    }
}

#[test]
fn every_output_channel_count() {
    for oc in CHANNELS {
        let epilogue = Epilogue { bias: true, batch_norm: oc % 2 == 0, activation: Activation::Relu };
        Problem { epilogue, ..Problem::new(1 + oc % 7, oc, 1 + oc % 3, 4) }.check();
    }
}

#[test]
fn every_pixel_count() {
    for pixels in 1..=50 {
        Problem::new(5, 52, 1, pixels).check();
        Problem { data: Data::Reals, ..Problem::new(17, 7, pixels, 1) }.check();
    }
}

/// Long sums are cut into passes whose sums wait in the destination.
#[test]
fn sums_of_more_than_one_pass() {
    let epilogue = Epilogue { bias: true, batch_norm: true, activation: Activation::Relu6 };
    for ic in [511, 512, 513, 1023, 1024, 1025, 1600] {
        for (groups, oc) in [(1, 50), (2, 20)] {
            let plain = Problem::new(ic, oc, 3, 3);
            Problem { groups, residual: true, input: Order::Permuted, ..plain.clone() }.check();
            Problem { groups, epilogue, data: Data::Reals, residual: true, ..plain }.check();
        }
    }
}

#[test]
fn every_group_count() {
    for groups in 1..=32 {
        Problem { groups, ..Problem::new(3, 2, 2, 4) }.check();
        Problem { groups, output: Order::Permuted, ..Problem::new(2, 5, 2, 4) }.check();
        Problem { groups, input: Order::Scattered, ..Problem::new(1, 1, 1, 9) }.check();
    }
}

#[test]
fn nan_passes_every_activation() {
    for activation in [Activation::None, Activation::Relu, Activation::Relu6] {
        let epilogue = Epilogue { activation, ..Epilogue::default() };
        Problem { epilogue, ..Problem::new(20, 37, 4, 4) }.check_with(|src, _| src.data[5] = f64::NAN);
        Problem { epilogue, ..Problem::new(20, 37, 4, 4) }
            .check_with(|_, weights| weights[20 * 18 + 7] = f32::NAN);
    }
}

#[test]
fn infinities_follow_the_formula() {
    let relu = Epilogue { activation: Activation::Relu, ..Epilogue::default() };
    for epilogue in [Epilogue::default(), relu] {
        let problem = Problem { epilogue, ..Problem::new(20, 37, 4, 4) };
        problem.check_with(|src, _| {
            src.data[5] = f64::INFINITY;
            src.data[16 * 3 + 9] = f64::NEG_INFINITY;
        });
        problem.check_with(|_, weights| weights[20 * 18 + 7] = f32::NEG_INFINITY);
    }
}

/// Groups of whole blocks, that is; those that share a block meet each other's zero weights.
#[test]
fn nan_stays_in_its_group() {
    for poison in [f64::NAN, f64::INFINITY] {
        for (ic, oc) in [(3, 16), (1, 32), (4, 48), (20, 16)] {
            Problem { groups: 4, ..Problem::new(ic, oc, 3, 3) }
                .check_with(|src, _| src.data[9 * ic + 4] = poison);
        }
    }
}

#[test]
fn without_an_order_channels_lie_in_their_slots() {
    let weights: Vec<f32> = (0..18).map(|i| i as f32).collect();
    let identity = ChannelOrder::identity(3);
    let told = Pointwise::builder(3, 6).input_order(&identity).build(&weights).unwrap();
    let untold = Pointwise::builder(3, 6).build(&weights).unwrap();
    let src =
        Framed::holding(&Planar::from_fn(Shape::new(3, 2, 2), |c, y, x| (c + y * x) as f64), Frame::WIDE);
    let results = [told, untold].map(|op| {
        assert_eq!((op.ic(), op.oc()), (3, 6));
        let mut dst = Framed::new(Shape::new(6, 2, 2), Frame::WIDE);
        op.run(src.view(), dst.view_mut());
        dst.read(&ChannelOrder::identity(6))
    });
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0][..4], [5.0, 5.0, 5.0, 8.0]);
}
