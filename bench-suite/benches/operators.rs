//! One group per operator, over the layers of the ShuffleNetV2s and every instruction set of this machine.

mod common;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kernels::{Activation, Add, Affine, BatchNorm, ChannelOrder, Isa, Materialize, Pointwise, Shape, Tensor};

fn convolutions(c: &mut Criterion) {
    common::bench(c, bench_suite::jobs::layers(), 100);
}

/// The maps between the units of the 1.0x network, on which element-wise operators would run.
const MAPS: [Shape; 3] = [Shape::new(116, 28, 28), Shape::new(232, 14, 14), Shape::new(464, 7, 7)];

fn element_wise(c: &mut Criterion) {
    for (name, flop_per_element) in [("affine", 2), ("add", 1)] {
        let mut group = c.benchmark_group(name);
        for shape in MAPS {
            group.throughput(Throughput::Elements((flop_per_element * shape.c * shape.pixels()) as u64));
            for isa in Isa::available() {
                let (a, b, mut to) = (Tensor::zeros(shape), Tensor::zeros(shape), Tensor::zeros(shape));
                let (scale, shift) = (vec![1.5; shape.c], vec![0.5; shape.c]);
                let affine = Affine::builder(shape.c).activation(Activation::Relu).isa(isa);
                let affine = affine.build(&scale, &shift).expect("scale and shift fit");
                let add = Add::builder()
                    .activation(Activation::Relu)
                    .isa(isa)
                    .build()
                    .expect("it has no parameter");
                let mut run = || match name {
                    "affine" => affine.run(black_box(a.view()), to.view_mut()),
                    _ => add.run(black_box(a.view()), b.view(), to.view_mut()),
                };
                group.bench_function(BenchmarkId::new(shape.to_string(), isa), |bencher| {
                    bencher.iter(&mut run)
                });
                run();
                let expected = if name == "affine" { 0.5 } else { 0.0 };
                assert!(to.to_nchw().iter().all(|x| *x == expected), "{name} on {isa}");
            }
        }
        group.finish();
    }
}

/// A 1x1 convolution by itself, with BN and ReLU in it, and reading its input through a shuffle. Of the sums nothing
/// is left to do after the fact, and of the shuffle nothing to move: the three cost the same.
fn fused(c: &mut Criterion) {
    let mut group = c.benchmark_group("fused");
    for shape in MAPS {
        let channels = shape.c;
        group.throughput(Throughput::Elements((2 * channels * channels * shape.pixels()) as u64));
        let weights: Vec<f32> = (0..channels * channels).map(|i| (i % 17) as f32 - 8.0).collect();
        let values: Vec<f32> = (0..shape.c * shape.pixels()).map(|i| (i % 13) as f32 - 6.0).collect();
        let (gamma, zeros, ones) = (vec![2.0; channels], vec![0.0; channels], vec![1.0; channels]);
        let batch_norm = BatchNorm { gamma: &gamma, beta: &ones, mean: &zeros, variance: &ones, eps: 0.0 };
        let identity = ChannelOrder::identity(channels);
        let shuffled = identity.shuffle(2).expect("an even number of channels");
        let from = Tensor::from_nchw(&values, shape).expect("as many values as elements");
        // The same values where the shuffle says that they lie.
        let mut logical = vec![0.0; values.len()];
        kernels::layout::to_nchw(from.view(), &shuffled, &mut logical);
        for isa in Isa::available() {
            let bare = || Pointwise::builder(channels, channels).isa(isa);
            let of = |name: &str| match name {
                "bn_relu" => bare().batch_norm(batch_norm).activation(Activation::Relu),
                "shuffled" => bare().input_order(&shuffled),
                _ => bare(),
            };
            for name in ["plain", "bn_relu", "shuffled"] {
                let op = of(name).build(&weights).expect("the weights fit");
                let mut to = Tensor::zeros(shape);
                group.bench_function(BenchmarkId::new(format!("{shape}/{name}"), isa), |b| {
                    b.iter(|| op.run(black_box(from.view()), to.view_mut()));
                });
                // Small integers: exact.
                op.run(from.view(), to.view_mut());
                let src = if name == "shuffled" { &logical } else { &values };
                let pixel = |i: usize| src[i * shape.pixels()];
                let sum = |o: usize| (0..channels).map(|i| weights[o * channels + i] * pixel(i)).sum::<f32>();
                for o in 0..channels {
                    let expected = if name == "bn_relu" { (2.0 * sum(o) + 1.0).max(0.0) } else { sum(o) };
                    assert_eq!(to.view().get(o, 0, 0), expected, "{name} of {shape} on {isa}");
                }
            }
        }
    }
    group.finish();
}

/// What a shuffle costs that moves its channels, beside a copy without shuffling; the zero-copy one costs nothing.
fn shuffle(c: &mut Criterion) {
    let mut group = c.benchmark_group("shuffle");
    for shape in MAPS {
        group.throughput(Throughput::Bytes((8 * shape.c * shape.pixels()) as u64));
        let order = ChannelOrder::identity(shape.c).shuffle(2).expect("an even number of channels");
        let values: Vec<f32> = (0..shape.c * shape.pixels()).map(|i| i as f32).collect();
        let from = Tensor::from_nchw(&values, shape).expect("as many values as elements");
        let mut to = Tensor::zeros(shape);
        group.bench_function(BenchmarkId::new(shape.to_string(), "memcpy"), |b| {
            b.iter(|| to.view_mut().data_mut().copy_from_slice(black_box(from.view()).data()));
        });
        for isa in Isa::available() {
            let shuffle = Materialize::builder(&order).isa(isa).build().expect("the order has channels");
            let mut to = Tensor::zeros(shape);
            group.bench_function(BenchmarkId::new(shape.to_string(), isa), |b| {
                b.iter(|| shuffle.run(black_box(from.view()), to.view_mut()));
            });
            shuffle.run(from.view(), to.view_mut());
            let moved =
                |channel: usize| to.view().get(channel, 0, 0) == from.view().get(order.slot(channel), 0, 0);
            assert!((0..shape.c).all(moved), "shuffle of {shape} on {isa}");
        }
    }
    group.finish();
}

criterion_group!(benches, convolutions, element_wise, fused, shuffle);
criterion_main!(benches);
