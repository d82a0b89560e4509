//! `shufflenet bench`: latency.

use crate::failure::{Output, Result};
use crate::options::{Batch, NetworkArgs, RunArgs, Size};
use crate::timing::{Peak, processors, quantile, rounds, tidy, time};
use crate::{Context, table, threads};
use serde::Serialize;

/// Measure the latency of a network with random weights
///
/// Each round runs the network once and then multiply-adds on registers alone: the peak of the instruction set on as
/// many threads, taken under the same conditions as the latency. Threads beyond the processors that this process may use
/// add nothing to it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  shufflenet bench --width 0.5
  shufflenet bench --width 1.0 --batch 8 --threads 2 --pin 0,1
  shufflenet bench --isa avx2 --size 193x257 --seconds 10 --json

FLOP are 2 per multiply-add. `gflops` and `percent_of_peak` come from the minimum.
Times are per batch, `macs` per image. `processors` are those that this process may use.")]
pub(crate) struct Args {
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    run: RunArgs,
}

/// What was measured; the names are those of the JSON.
#[derive(Serialize)]
struct Report {
    width: f64,
    wiring: &'static str,
    size: Size,
    batch: u32,
    threads: usize,
    /// Processors that this process may run on.
    processors: usize,
    isa: &'static str,
    /// Multiply-adds of one image.
    macs: u64,
    n: usize,
    min_ms: f64,
    median_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    images_per_second: f64,
    gflops: f64,
    peak_gflops: f64,
    percent_of_peak: f64,
}

pub(crate) fn run(context: &Context, args: &Args, out: &mut Output) -> Result {
    let Args { network: which, run } = args;
    let processors = processors();
    let batch = Batch::new(run.batch, which.size)?;
    let network = which.network(context.isa)?;
    let macs = network.costs(which.size.h, which.size.w).iter().map(|cost| cost.macs).sum();

    let (mut samples, peak) = threads::run(context.threads, run.pin.as_ref(), |parallel| {
        let mut workspace = network.workspace();
        let mut logits = vec![0.0; batch.images().n * network.config().outputs()];
        let mut peak = Peak::new(context.isa, parallel);
        let mut samples = Vec::new();
        rounds(run.seconds, |counts| {
            let spent = time(|| network.run(parallel, batch.images(), &mut workspace, &mut logits));
            peak.sample();
            if counts {
                samples.push(1e3 * spent);
            }
        });
        (samples, 1e-9 * peak.flops())
    })?;
    samples.sort_by(f64::total_cmp);
    let min = samples[0];
    let gflops = 2e-6 * macs as f64 * f64::from(run.batch) / min;
    let report = Report {
        width: which.width(),
        wiring: which.wiring.name(),
        size: which.size,
        batch: run.batch,
        threads: context.threads,
        processors,
        isa: context.isa.name(),
        macs,
        n: samples.len(),
        min_ms: tidy(min),
        median_ms: tidy(quantile(&samples, 0.5)),
        p90_ms: tidy(quantile(&samples, 0.9)),
        p99_ms: tidy(quantile(&samples, 0.99)),
        images_per_second: tidy(1e3 * f64::from(run.batch) / min),
        gflops: tidy(gflops),
        peak_gflops: tidy(peak),
        percent_of_peak: tidy(100.0 * gflops / peak),
    };
    if run.json {
        writeln!(out, "{}", serde_json::to_string(&report).expect("plain numbers and names"))?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(())
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { width, wiring, size, batch, threads, processors, isa, .. } = self;
        write!(f, "ShuffleNetV2 {width:.1}x ({wiring} wiring), {size}, batch {batch}, {isa}, ")?;
        writeln!(f, "threads: {threads}, processors: {processors}")?;
        writeln!(f, "  multiply-adds {:>14} per image", table::grouped(self.macs))?;
        writeln!(f, "  minimum       {:>14.3} ms per batch", self.min_ms)?;
        writeln!(f, "  median        {:>14.3} ms", self.median_ms)?;
        writeln!(f, "  90 %          {:>14.3} ms", self.p90_ms)?;
        writeln!(f, "  99 %          {:>14.3} ms   ({} runs)", self.p99_ms, self.n)?;
        writeln!(f, "  images        {:>14.1} per second", self.images_per_second)?;
        writeln!(f, "  speed         {:>14.1} GFLOP/s", self.gflops)?;
        writeln!(f, "  peak          {:>14.1} GFLOP/s, multiply-adds on registers alone", self.peak_gflops)?;
        writeln!(f, "  of the peak   {:>14.1} %", self.percent_of_peak)
    }
}
