//! One group per operator, over the layers of `shapes/*.txt` and every instruction set of this machine.

use std::collections::BTreeSet;
use std::hint::black_box;

use bench_suite::engine::Engine;
use bench_suite::layer::{Kind, Layer};
use bench_suite::weights::Weights;
use bench_suite::{sweeps, twin};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kernels::{Activation, Affine, ChannelOrder, Isa, Materialize, Serial, Shape, Tensor};

/// The distinct layers of one kind, all widths together.
fn layers(kind: Kind) -> Vec<Layer> {
    let mut seen = BTreeSet::new();
    sweeps::layers()
        .map(|(_, l)| l)
        .filter(|l| l.kind() == kind && seen.insert(sweeps::layer_id(l)))
        .collect()
}

fn convolutions(c: &mut Criterion) {
    let groups = [
        ("pointwise", Kind::Pointwise),
        ("depthwise", Kind::Depthwise),
        ("convolution", Kind::Dense),
        ("linear", Kind::Linear),
    ];
    for (name, kind) in groups {
        let mut group = c.benchmark_group(name);
        for layer in layers(kind) {
            let graph = sweeps::single(&layer);
            let weights = Weights::random(&graph);
            group.throughput(Throughput::Elements(layer.flop()));
            let Layer { ih, iw, ic, oc, kernel, stride, .. } = layer;
            let shape = format!("{ic}-{oc}_{ih}x{iw}_k{kernel}s{stride}");
            for isa in Isa::available() {
                let engine = Engine::new(&graph, &weights, isa).expect("the kernels have this layer");
                twin::check(&graph, &weights, &engine, false)
                    .unwrap_or_else(|e| panic!("{name} {shape} {isa}: {e}"));
                let mut arena = engine.arena();
                engine.load(&mut arena, &twin::image(&graph));
                group.bench_function(BenchmarkId::new(&shape, isa), |b| {
                    b.iter(|| engine.run(&mut arena, &Serial))
                });
            }
        }
        group.finish();
    }
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
                let affine = Affine::new(&scale, &shift, Activation::Relu, isa).expect("scale and shift fit");
                let mut run = || match name {
                    "affine" => affine.run(black_box(a.view()), to.view_mut()),
                    _ => kernels::add(isa, black_box(a.view()), b.view(), Activation::Relu, to.view_mut()),
                };
                group.bench_function(BenchmarkId::new(shape.to_string(), isa), |bencher| {
                    bencher.iter(&mut run)
                });
                let expected = if name == "affine" { 0.5 } else { 0.0 };
                assert!(to.to_nchw().iter().all(|x| *x == expected), "{name} on {isa}");
            }
        }
        group.finish();
    }
}

/// What a shuffle costs that moves its channels; the zero-copy one costs nothing.
fn shuffle(c: &mut Criterion) {
    let mut group = c.benchmark_group("shuffle");
    for shape in MAPS {
        group.throughput(Throughput::Bytes((8 * shape.c * shape.pixels()) as u64));
        let order = ChannelOrder::identity(shape.c).shuffle(2).expect("an even number of channels");
        let values: Vec<f32> = (0..shape.c * shape.pixels()).map(|i| i as f32).collect();
        let from = Tensor::from_nchw(&values, shape).expect("as many values as elements");
        for isa in Isa::available() {
            let shuffle = Materialize::new(&order, isa).expect("the order has channels");
            let mut to = Tensor::zeros(shape);
            group.bench_function(BenchmarkId::new(shape.to_string(), isa), |b| {
                b.iter(|| shuffle.run(black_box(from.view()), to.view_mut()));
            });
            let moved =
                |channel: usize| to.view().get(channel, 0, 0) == from.view().get(order.slot(channel), 0, 0);
            assert!((0..shape.c).all(moved), "shuffle of {shape} on {isa}");
        }
    }
    group.finish();
}

criterion_group!(benches, convolutions, element_wise, shuffle);
criterion_main!(benches);
