//! One group per guideline, at the paper's channels x1, on the fastest instruction set (or `KERNELS_ISA`).

mod common;

use criterion::{Criterion, criterion_group, criterion_main};
use kernels::Isa;

fn guidelines(c: &mut Criterion) {
    let isa = Isa::from_env().unwrap_or_else(|e| panic!("{e}"));
    common::bench(c, bench_suite::jobs::guidelines(isa), 20);
}

criterion_group!(benches, guidelines);
criterion_main!(benches);
