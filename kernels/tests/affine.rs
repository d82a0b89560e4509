//! The element-wise operators against their definitions, on every instruction set.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::reference::{self, Planar};
use kernels::{Activation, Affine, BatchNorm, ChannelOrder, Shape, activate_with, add_with, layout};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Problem {
    shape: Shape,
    activation: Activation,
    data: Data,
    poison: Option<f64>,
    frames: (Frame, Frame),
    seed: u64,
}

impl Problem {
    fn expected(&self, values: Planar, magnitude: Planar) -> Expected {
        let values = reference::activate(&values, self.activation);
        let bound = |x: &f64| error_bound(1, *x);
        let bound = Planar { shape: self.shape, data: magnitude.data.iter().map(bound).collect() };
        Expected { values, bound: (self.data == Data::Reals).then_some(bound) }
    }

    fn check(&self) {
        let &Self { shape, activation, data, .. } = self;
        let rng = &mut Random::new(self.seed);
        let a = poisoned(data.image(shape, rng), self.poison, rng);
        let b = poisoned(data.image(shape, rng), self.poison, rng);
        let (scale, shift) = (data.many(shape.c, rng), data.many(shape.c, rng));
        let positive = |values: &[f32]| values.iter().map(|x| x.abs()).collect::<Vec<f32>>();
        let affine = self.expected(
            reference::affine(&a, &scale, &shift),
            reference::affine(&absolute(&a), &positive(&scale), &positive(&shift)),
        );
        let sum = self.expected(reference::add(&a, &b), reference::add(&absolute(&a), &absolute(&b)));
        let activated = Expected::exactly(reference::activate(&a, activation));
        let (planar, a, b) =
            (a.to_f32(), Framed::holding(&a, self.frames.0), Framed::holding(&b, self.frames.0));
        let dst = Destination { shape, frame: self.frames.1, order: &ChannelOrder::identity(shape.c) };
        for isa in isas() {
            let op = Affine::new(&scale, &shift, activation, isa).unwrap();
            check_runs(&dst, &affine, format_args!("affine, {isa}: {self:?}"), &|parallel, dst| {
                op.run_with(parallel, a.view(), dst);
            });
            check_runs(
                &dst,
                &affine,
                format_args!("affine in place, {isa}: {self:?}"),
                &|parallel, mut dst| {
                    layout::from_nchw(&planar, dst.reborrow());
                    op.run_in_place_with(parallel, dst);
                },
            );
            check_runs(&dst, &sum, format_args!("add, {isa}: {self:?}"), &|parallel, dst| {
                add_with(parallel, isa, a.view(), b.view(), activation, dst);
            });
            check_runs(&dst, &activated, format_args!("activate, {isa}: {self:?}"), &|parallel, mut dst| {
                layout::from_nchw(&planar, dst.reborrow());
                activate_with(parallel, isa, activation, dst);
            });
        }
    }
}

fn any_problem() -> impl Strategy<Value = Problem> {
    let shape = (any_channels(), 1..=12usize, 1..=12usize).prop_map(|(c, h, w)| Shape::new(c, h, w));
    let rest = (any_activation(), any_data(), any_poison(), (any_frame(), any_frame()), any::<u64>());
    (shape, rest).prop_map(|(shape, (activation, data, poison, frames, seed))| Problem {
        shape,
        activation,
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
}

#[test]
fn every_channel_count() {
    for c in CHANNELS {
        let activation = [Activation::None, Activation::Relu, Activation::Relu6][c % 3];
        let frames = (Frame::WIDE, Frame::WIDE);
        let data = Data::Integers;
        Problem { shape: Shape::new(c, 2, 3), activation, data, poison: None, frames, seed: c as u64 }
            .check();
    }
}

#[test]
fn nan_passes_every_activation() {
    for activation in [Activation::None, Activation::Relu, Activation::Relu6] {
        for poison in POISONS {
            let frames = (Frame::WIDE, Frame::WIDE);
            let (shape, data, poison) = (Shape::new(19, 3, 3), Data::Integers, Some(poison));
            Problem { shape, activation, data, poison, frames, seed: 1 }.check();
        }
    }
}

/// A batch normalisation is the multiply-add that it folds into.
#[test]
fn batch_norm_folds() {
    let rng = &mut Random::new(7);
    let channels = 130;
    let [gamma, beta, mean] = [0; 3].map(|_| Data::Reals.many(channels, rng));
    let mut variance: Vec<f32> = Data::Reals.many(channels, rng).iter().map(|x| x.abs()).collect();
    variance[3] = 0.0;
    let batch_norm = BatchNorm { gamma: &gamma, beta: &beta, mean: &mean, variance: &variance, eps: 1e-5 };
    let (scale, shift) = batch_norm.scale_shift().unwrap();
    let x = Data::Reals.image(Shape::new(channels, 3, 3), rng);
    let (folded, plain) = (reference::affine(&x, &scale, &shift), reference::batch_norm(&x, &batch_norm));
    for (i, (folded, plain)) in folded.data.iter().zip(&plain.data).enumerate() {
        let c = i / 9;
        let magnitude = (x.data[i].abs() + f64::from(mean[c].abs())) * f64::from(scale[c].abs());
        let bound = error_bound(0, magnitude + f64::from(beta[c].abs()));
        assert!((folded - plain).abs() <= bound, "channel {c}: {folded} and {plain} within {bound}");
    }
}

/// A variance that is not a number, or less than `-eps`, makes NaN rather than a panic.
#[test]
fn batch_norm_of_a_variance_that_is_none() {
    let one = [1.0, 1.0, 1.0];
    let variance = [f32::NAN, -1.0, f32::INFINITY];
    let batch_norm = BatchNorm { gamma: &one, beta: &one, mean: &one, variance: &variance, eps: 1e-5 };
    let (scale, shift) = batch_norm.scale_shift().unwrap();
    assert!(scale[0].is_nan() && shift[0].is_nan() && scale[1].is_nan());
    assert_eq!((scale[2], shift[2]), (0.0, 1.0));
}
