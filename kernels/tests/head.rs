//! Convolution, average and fully connected layer in one operator, against the three definitions.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::reference::{self, Planar};
use kernels::{Activation, ChannelOrder, Head, Parallel, Pointwise, Serial, Shape};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Problem {
    ic: usize,
    oc: usize,
    classes: usize,
    h: usize,
    w: usize,
    input: Order,
    epilogue: Epilogue,
    bias: bool,
    frame: Frame,
    /// Elements by which scratch and destination begin beyond an allocation's beginning.
    shift: usize,
    seed: u64,
}

impl Problem {
    fn new(ic: usize, oc: usize, classes: usize, h: usize, w: usize) -> Self {
        let epilogue = Epilogue { bias: true, activation: Activation::Relu, ..Epilogue::default() };
        let seed = (ic * 1000 + oc * 10 + classes) as u64;
        let (input, frame) = (Order::Identity, Frame::WIDE);
        Self { ic, oc, classes, h, w, input, epilogue, bias: true, frame, shift: 1, seed }
    }

    fn check(&self) {
        self.check_with(|_, _| {});
    }

    /// `poison` may change the source's slots and the fully connected layer's weights before anything is computed.
    fn check_with(&self, poison: impl Fn(&mut Planar, &mut [f32])) {
        let &Self { ic, oc, classes, h, w, shift, .. } = self;
        let (data, rng) = (Data::Reals, &mut Random::new(self.seed));
        let input = self.input.of(ic, rng);
        let mut slots = data.slots(&input, Shape::new(input.width(), h, w), rng);
        let parameters = Parameters::new(self.epilogue, ic * oc, oc, data, rng);
        let mut weights = data.many(oc * classes, rng);
        let bias = self.bias.then(|| data.many(classes, rng));
        poison(&mut slots, &mut weights);
        let logical = reference::gather(&slots, &input);
        let map = parameters.expect(data, ic, &logical, None, |src, weights, bias| {
            reference::pointwise(src, 1, weights, bias)
        });

        // The error of the map is averaged, the average adds its own, and so does the fully connected layer.
        let mean = reference::global_average(&map.values);
        let magnitude = reference::global_average(&absolute(&map.values));
        let errors: Vec<f64> = reference::global_average(&map.bound.unwrap())
            .iter()
            .zip(&magnitude)
            .map(|(error, magnitude)| error + error_bound(h * w, error + magnitude))
            .collect();
        let positive = |values: &[f32]| values.iter().map(|x| x.abs()).collect::<Vec<f32>>();
        let (positive_weights, positive_bias) = (positive(&weights), bias.as_deref().map(positive));
        let largest: Vec<f64> = mean.iter().zip(&errors).map(|(mean, error)| mean.abs() + error).collect();
        let bound = reference::linear(&errors, &positive_weights, None)
            .into_iter()
            .zip(reference::linear(&largest, &positive_weights, positive_bias.as_deref()))
            .map(|(error, magnitude)| error + error_bound(oc, magnitude))
            .collect::<Vec<f64>>();
        let shape = Shape::new(classes, 1, 1);
        let values = Planar::new(shape, &reference::linear(&mean, &weights, bias.as_deref()));
        let expected = Expected { values, bound: Some(Planar::new(shape, &bound)) };

        let src = Framed::holding(&slots, self.frame);
        for isa in isas() {
            let conv = configured!(Pointwise::builder(ic, oc), parameters, isa)
                .input_order(&input)
                .build(&parameters.weights)
                .unwrap();
            let op = Head::new(conv, classes, &weights, bias.as_deref()).unwrap();
            assert_eq!((op.conv().ic(), op.conv().oc(), op.classes()), (ic, oc, classes));
            // Scratch and destination lie between sentinels, and hold some.
            let intact = |memory: &[f32], len: usize, what| {
                let mut around = memory[..shift].iter().chain(&memory[shift + len..]);
                let intact = around.all(|x| x.to_bits() == SENTINEL.to_bits());
                assert!(intact, "{isa}: wrote outside the {what}: {self:?}");
            };
            let needed = op.scratch(h, w);
            let run = |parallel: &dyn Parallel| {
                let mut scratch = vec![SENTINEL; shift + needed + 20];
                let mut dst = vec![SENTINEL; shift + classes + 20];
                for _ in 0..2 {
                    op.run_with(
                        parallel,
                        src.view(),
                        &mut scratch[shift..][..needed],
                        &mut dst[shift..][..classes],
                    );
                }
                (scratch, dst)
            };
            let check = |(scratch, dst): (Vec<f32>, Vec<f32>)| {
                intact(&scratch, needed, "scratch");
                intact(&dst, classes, "destination");
                dst[shift..][..classes].to_vec()
            };
            let first = check(run(&Serial));
            expected.check(&first, format_args!("{isa}: {self:?}"));
            on_threads(run, |found, threads| {
                assert_same_bits(&first, &check(found), shape, format_args!("{isa}, {threads}: {self:?}"));
            });
        }
    }
}

fn any_problem() -> impl Strategy<Value = Problem> {
    let channels = (any_channels(), prop_oneof![any_channels(), 1..=600usize], any_channels());
    let rest = (any_order(), any_epilogue(), any::<bool>(), any_frame(), 0..16usize, any::<u64>());
    (channels, (1..=9usize, 1..=9usize), rest).prop_map(|((ic, oc, classes), (h, w), rest)| {
        let (input, epilogue, bias, frame, shift, seed) = rest;
        Problem { ic, oc, classes, h, w, input, epilogue, bias, frame, shift, seed }
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
    for n in CHANNELS {
        Problem::new(1 + n % 7, n, 1 + n % 11, 2, 3).check();
        Problem::new(3, 1 + n % 60, n, 1, 2).check();
        Problem::new(n, 50, 3, 1, 1).check();
    }
}

#[test]
fn as_large_as_a_classifier() {
    Problem::new(464, 1024, 1000, 7, 7).check();
    Problem::new(600, 2048, 10, 2, 2).check();
}

#[test]
fn nan_and_infinity_follow_the_formulas() {
    for poison in POISONS {
        let problem = Problem::new(20, 100, 37, 3, 3);
        problem.check_with(|src, _| src.data[9 * 7 + 4] = poison);
        problem.check_with(|_, weights| weights[100 * 33 + 70] = poison as f32);
    }
}

/// The channels of a convolution with an output order do not lie where the fully connected layer reads them.
#[test]
fn an_output_order_is_refused() {
    for slots in [[1, 0], [0, 3], [5, 9]] {
        let order = ChannelOrder::from_slots(slots.to_vec());
        let conv = Pointwise::builder(1, 2).output_order(&order).build(&[1.0, 2.0]).unwrap();
        assert!(Head::new(conv, 1, &[1.0, 1.0], None).is_err(), "{slots:?}");
    }
    let conv = Pointwise::builder(1, 2).output_order(&ChannelOrder::identity(2)).build(&[1.0, 2.0]).unwrap();
    assert!(Head::new(conv, 1, &[1.0, 1.0], None).is_ok());
}
