//! What the benches share.

use bench_suite::jobs::Job;
use criterion::{BenchmarkId, Criterion, Throughput};

/// Times jobs, group by group.
pub(crate) fn bench(c: &mut Criterion, jobs: impl Iterator<Item = Job>, samples: usize) {
    for job in jobs {
        let mut group = c.benchmark_group(&job.group);
        group.sample_size(samples).throughput(Throughput::Elements(job.flop));
        let mut run = job.run();
        group.bench_function(BenchmarkId::from_parameter(&job.id), |b| b.iter(&mut run));
        group.finish();
    }
}
