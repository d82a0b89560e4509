//! `shufflenet bench`: latency.

use crate::failure::{Output, Result};
use crate::options::{NetworkArgs, RunArgs};
use crate::subject::{Named, Subject};
use crate::timing::{Peak, Watched, processors, quantile, tidy, time, upper, watched};
use crate::{Context, table, threads};
use serde::Serialize;

/// Measure the latency of a network
///
/// Each round runs the network once and then multiply-adds on registers alone: the peak of the instruction set on as
/// many threads, taken under the same conditions as the latency. Threads beyond the processors that this process may use
/// add nothing to it.
///
/// In each round a sentinel looks how quiet the machine is: a small network, a loop over memory, and multiply-adds. Rounds
/// in which one of them takes 15 % longer than ever before, or the thread had to wait for a processor, are repeated, for
/// half as long again at most.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  shufflenet bench --width 0.5
  shufflenet bench --width 1.0 --batch 8 --threads 2 --pin 0,1
  shufflenet bench --network mobilenet_v2.onnx
  shufflenet bench --isa avx2 --size 193x257 --seconds 10 --json

FLOP are 2 per multiply-add. `gflops` and `percent_of_peak` come from the minimum.
`min_to_ms` is up to where the minimum might have come out: random halves of the runs exceed it in one case of forty.
`repeated` runs were left out because the machine was disturbed; `disturbed` ones were kept although it was.
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
    #[serde(flatten)]
    named: Named,
    batch: u32,
    threads: usize,
    /// Processors that this process may run on.
    processors: usize,
    isa: &'static str,
    /// Multiply-adds of one image.
    macs: u64,
    n: usize,
    min_ms: f64,
    /// Up to where the minimum might have come out.
    min_to_ms: f64,
    median_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    images_per_second: f64,
    gflops: f64,
    peak_gflops: f64,
    percent_of_peak: f64,
    /// Runs that were left out, since the machine was disturbed and they were repeated.
    repeated: usize,
    /// Runs that were kept although the machine was disturbed.
    disturbed: usize,
}

pub(crate) fn run(context: &Context, args: &Args, out: &mut Output) -> Result {
    let Args { network: which, run } = args;
    let processors = processors();
    let subject = Subject::new(which, context.isa)?;
    let batch = subject.batch(run.batch)?;
    let (images, mut outputs) = (batch.images(), subject.outputs(run.batch)?);
    let mut outputs: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    let macs = subject.costs.iter().map(|cost| cost.macs).sum();

    let (Watched { samples, repeated, disturbed }, peak) =
        threads::run(context.threads, run.pin.as_ref(), |parallel| {
            let program = subject.program();
            let mut workspace = program.workspace();
            let mut peak = Peak::new(context.isa, parallel);
            let watched = watched(run.seconds, context.isa, || {
                let spent = time(|| program.run(parallel, &images, &mut workspace, &mut outputs));
                peak.sample();
                1e3 * spent
            });
            (watched, 1e-9 * peak.flops())
        })?;
    let min = samples[0];
    let gflops = 2e-6 * macs as f64 * f64::from(run.batch) / min;
    let report = Report {
        named: subject.named.clone(),
        batch: run.batch,
        threads: context.threads,
        processors,
        isa: context.isa.name(),
        macs,
        n: samples.len(),
        min_ms: tidy(min),
        min_to_ms: tidy(upper(&samples)),
        median_ms: tidy(quantile(&samples, 0.5)),
        p90_ms: tidy(quantile(&samples, 0.9)),
        p99_ms: tidy(quantile(&samples, 0.99)),
        images_per_second: tidy(1e3 * f64::from(run.batch) / min),
        gflops: tidy(gflops),
        peak_gflops: tidy(peak),
        percent_of_peak: tidy(100.0 * gflops / peak),
        repeated,
        disturbed,
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
        let Self { named, batch, threads, processors, isa, .. } = self;
        writeln!(f, "{named}, batch {batch}, {isa}, threads: {threads}, processors: {processors}")?;
        writeln!(f, "  multiply-adds {:>14} per image", table::grouped(self.macs))?;
        let apart = 100.0 * (self.min_to_ms / self.min_ms - 1.0).max(0.01);
        writeln!(f, "  minimum       {:>14.3} ms per batch, known to {apart:.0} %", self.min_ms)?;
        writeln!(f, "  median        {:>14.3} ms", self.median_ms)?;
        writeln!(f, "  90 %          {:>14.3} ms", self.p90_ms)?;
        writeln!(f, "  99 %          {:>14.3} ms   ({} runs)", self.p99_ms, self.n)?;
        writeln!(f, "  images        {:>14.1} per second", self.images_per_second)?;
        writeln!(f, "  speed         {:>14.1} GFLOP/s", self.gflops)?;
        writeln!(f, "  peak          {:>14.1} GFLOP/s, multiply-adds on registers alone", self.peak_gflops)?;
        writeln!(f, "  of the peak   {:>14.1} %", self.percent_of_peak)?;
        let (repeated, disturbed) = (self.repeated, self.disturbed);
        if 2 * disturbed > self.n {
            writeln!(
                f,
                "The machine was not quiet: it was disturbed in {disturbed} of {} runs, and another run of this",
                self.n
            )?;
            writeln!(f, "command that differs by less than {apart:.0} % is not told apart from this one.")
        } else {
            writeln!(f, "  disturbed     {disturbed:>14} runs, and {repeated} repeated")
        }
    }
}
