//! The networks of the paper's figure 1, on every instruction set.

mod common;

use criterion::{Criterion, criterion_group, criterion_main};

fn networks(c: &mut Criterion) {
    common::bench(c, bench_suite::jobs::networks(), 20);
}

criterion_group!(benches, networks);
criterion_main!(benches);
