//! One group per guideline, at the paper's channels x1, on the fastest instruction set (or `KERNELS_ISA`).

use bench_suite::engine::Engine;
use bench_suite::weights::Weights;
use bench_suite::{guidelines, twin};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kernels::{Isa, Serial};

fn guidelines(c: &mut Criterion) {
    let isa = Isa::from_env().unwrap_or_else(|e| panic!("{e}"));
    for experiment in guidelines::all() {
        let mut group = c.benchmark_group(experiment.id);
        group.sample_size(20);
        for column in experiment.columns.iter().filter(|c| !c.id.ends_with("x2") && !c.id.ends_with("x4")) {
            for case in &column.cases {
                let graph = &case.graph;
                let weights = Weights::random(graph);
                let engine = Engine::new(graph, &weights, isa).expect("the kernels have these layers");
                let id = experiment.case_id(column, case);
                twin::check(graph, &weights, &engine, false).unwrap_or_else(|e| panic!("{id}: {e}"));
                let mut arena = engine.arena();
                engine.load(&mut arena, &twin::image(graph));
                group.throughput(Throughput::Elements(2 * graph.macs()));
                group.bench_function(BenchmarkId::new(&column.id, &case.id), |b| {
                    b.iter(|| engine.run(&mut arena, &Serial));
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, guidelines);
criterion_main!(benches);
