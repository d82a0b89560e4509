//! The fully connected layer against its definition, on every instruction set.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::reference::{self, Planar};
use kernels::{Activation, Linear, Parallel, Serial, Shape};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Problem {
    ic: usize,
    oc: usize,
    epilogue: Epilogue,
    data: Data,
    /// Elements by which source and destination begin beyond an allocation's beginning.
    shift: usize,
    seed: u64,
}

impl Problem {
    fn new(ic: usize, oc: usize) -> Self {
        let epilogue = Epilogue { bias: true, ..Epilogue::default() };
        Self { ic, oc, epilogue, data: Data::Integers, shift: 1, seed: (ic * 1000 + oc) as u64 }
    }

    fn check(&self) {
        self.check_with(|_, _| {});
    }

    /// `poison` may change source and weights before anything is computed.
    fn check_with(&self, poison: impl Fn(&mut Planar, &mut [f32])) {
        let &Self { ic, oc, shift, .. } = self;
        let rng = &mut Random::new(self.seed);
        let mut image = self.data.image(Shape::new(ic, 1, 1), rng);
        let mut parameters = Parameters::new(self.epilogue, ic * oc, oc, self.data, rng);
        poison(&mut image, &mut parameters.weights);
        let shape = Shape::new(oc, 1, 1);
        let expected = parameters.expect(self.data, ic, &image, None, |src, weights, bias| {
            Planar::new(shape, &reference::linear(&src.data, weights, bias))
        });
        let mut src = vec![SENTINEL; shift];
        src.extend(image.to_f32());
        let src = &src[shift..];
        for isa in isas() {
            let Parameters { weights, bias, activation, .. } = &parameters;
            let op = Linear::new(ic, oc, weights, bias.as_deref(), *activation, isa).unwrap();
            assert_eq!((op.ic(), op.oc()), (ic, oc));
            let run = |parallel: &dyn Parallel, mut dst: Vec<f32>| {
                op.run_with(parallel, src, &mut dst[shift..][..oc]);
                dst
            };
            let first = run(&Serial, vec![SENTINEL; shift + oc + 20]);
            expected.check(&first[shift..][..oc], format_args!("{isa}: {self:?}"));
            let mut around = first[..shift].iter().chain(&first[shift + oc..]);
            assert!(around.all(|x| x.to_bits() == SENTINEL.to_bits()), "{isa}: wrote outside: {self:?}");
            let same = |found: &[f32], what: std::fmt::Arguments<'_>| {
                assert_same_bits(&first, found, Shape::new(first.len(), 1, 1), what);
            };
            same(&run(&Serial, first.clone()), format_args!("{isa}, a second run: {self:?}"));
            on_threads(
                |parallel| run(parallel, vec![SENTINEL; first.len()]),
                |found, threads| same(&found, format_args!("{isa}, {threads}: {self:?}")),
            );
        }
    }
}

fn any_problem() -> impl Strategy<Value = Problem> {
    let channels = prop_oneof![(any_channels(), any_channels()), (1..=700usize, 1..=300usize)];
    let epilogue = (any::<bool>(), any_activation()).prop_map(|(bias, activation)| Epilogue {
        bias,
        activation,
        ..Epilogue::default()
    });
    (channels, epilogue, any_data(), 0..16usize, any::<u64>())
        .prop_map(|((ic, oc), epilogue, data, shift, seed)| Problem { ic, oc, epilogue, data, shift, seed })
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
    for n in CHANNELS {
        Problem::new(n, 1 + n % 50).check();
        Problem::new(1 + n % 9, n).check();
    }
}

#[test]
fn as_large_as_a_classifier() {
    Problem { data: Data::Reals, ..Problem::new(1024, 1000) }.check();
    Problem::new(2048, 10).check();
}

#[test]
fn nan_and_infinity_follow_the_formula() {
    for activation in [Activation::None, Activation::Relu, Activation::Relu6] {
        let epilogue = Epilogue { activation, ..Epilogue::default() };
        for poison in POISONS {
            let problem = Problem { epilogue, ..Problem::new(20, 37) };
            problem.check_with(|src, _| src.data[11] = poison);
            problem.check_with(|_, weights| weights[20 * 33 + 4] = poison as f32);
        }
    }
}
