//! The networks of the paper's figure 1 on every instruction set, and the model crate's ShuffleNetV2.

use bench_suite::engine::Engine;
use bench_suite::weights::Weights;
use bench_suite::{networks, suite, twin};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kernels::{Isa, Serial};
use model::Images;

fn compared(c: &mut Criterion) {
    let mut group = c.benchmark_group("networks");
    group.sample_size(20);
    for network in networks::all() {
        let graph = &network.graph;
        let weights = Weights::random(graph);
        group.throughput(Throughput::Elements(2 * graph.macs()));
        for isa in Isa::available() {
            let engine = Engine::new(graph, &weights, isa).expect("the kernels have these layers");
            twin::check(graph, &weights, &engine, false)
                .unwrap_or_else(|e| panic!("{} on {isa}: {e}", network.id));
            let mut arena = engine.arena();
            engine.load(&mut arena, &twin::image(graph));
            group.bench_function(BenchmarkId::new(&network.id, isa), |b| {
                b.iter(|| engine.run(&mut arena, &Serial));
            });
        }
    }
    group.finish();
}

fn model(c: &mut Criterion) {
    let mut group = c.benchmark_group("model");
    group.sample_size(20);
    let image = vec![0.5; 3 * 224 * 224];
    for isa in Isa::available() {
        for (width, network) in suite::models(isa).unwrap_or_else(|e| panic!("{e}")) {
            let macs: usize = network.costs(224, 224).iter().map(|cost| cost.macs).sum();
            let (mut workspace, mut logits) = (network.workspace(), vec![0.0; network.config().classes]);
            group.throughput(Throughput::Elements(2 * macs as u64));
            group.bench_function(BenchmarkId::new(width, isa), |b| {
                b.iter(|| {
                    network.run(&Serial, Images::nchw(&image, 1, 224, 224), &mut workspace, &mut logits)
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, compared, model);
criterion_main!(benches);
