//! `shufflenet profile`: where the time goes.

use crate::failure::{Output, Result};
use crate::options::{NetworkArgs, RunArgs};
use crate::subject::{Named, Subject};
use crate::table::{Columns, grouped, shape};
use crate::timing::{Peak, processors, rounds, tidy, time};
use crate::{Context, threads};
use kernels::Parallel;
use model::Workspace;
use model::graph::{Class, Cost, Input, Program};
use serde::Serialize;
use std::time::Instant;

/// Show where the time goes, by layer and by kind of layer
///
/// Every round runs the network twice, in turns, once undisturbed and once with a look at the clock after each layer,
/// and then multiply-adds on registers alone for the peak. The fastest tenth of the runs of each sort counts.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  shufflenet profile --width 2.0
  shufflenet profile --width 0.5 --isa portable --threads 2
  shufflenet profile --batch 8 --json
  shufflenet profile --network mobilenet_v2.onnx

ms         of all images of the batch, one after the other, each cut among the threads
GFLOP/s    2 FLOP per multiply-add; % peak: of what multiply-adds on registers alone reach
mac_bytes  memory access cost (the paper's MAC) in bytes for one image:
           inputs, outputs and weights, each touched once
FLOP/byte  arithmetic intensity: the work of the layer by its mac_bytes

The table by kind is the paper's Figure 2 for this machine. Element-wise operations and
data movement have no row: BN and ReLU run inside the convolutions; channel split,
concatenation and shuffle move no data.")]
pub(crate) struct Args {
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    named: Named,
    batch: u32,
    threads: usize,
    /// Processors that this process may run on.
    processors: usize,
    isa: &'static str,
    n: usize,
    end_to_end_ms: f64,
    sum_ms: f64,
    peak_gflops: f64,
    total: Row,
    kinds: Vec<Kindred>,
    layers: Vec<Layer>,
}

#[derive(Serialize)]
struct Layer {
    name: String,
    kind: &'static str,
    input: [usize; 3],
    output: [usize; 3],
    #[serde(flatten)]
    row: Row,
}

#[derive(Serialize)]
struct Kindred {
    kind: &'static str,
    layers: usize,
    #[serde(flatten)]
    row: Row,
}

/// What is told of a layer, of a kind of layers, and of all layers.
#[derive(Serialize)]
struct Row {
    ms: f64,
    percent_of_time: f64,
    macs: u64,
    mac_bytes: u64,
    gflops: f64,
    percent_of_peak: f64,
    /// FLOP per byte.
    intensity: f64,
}

impl Row {
    /// `seconds` for the whole batch, out of `total`; `costs` for one image; `peak` in FLOP per second.
    fn new(seconds: f64, total: f64, costs: &[&Cost], batch: u32, peak: f64) -> Self {
        let macs: u64 = costs.iter().map(|cost| cost.macs).sum();
        let mac_bytes: u64 = costs.iter().map(|cost| cost.mac_bytes).sum();
        let flops = 2.0 * macs as f64;
        let rate = flops * f64::from(batch) / seconds;
        Self {
            ms: tidy(1e3 * seconds),
            percent_of_time: tidy(100.0 * seconds / total),
            macs,
            mac_bytes,
            gflops: tidy(1e-9 * rate),
            percent_of_peak: tidy(100.0 * rate / peak),
            intensity: tidy(flops / mac_bytes as f64),
        }
    }
}

/// One round: the seconds of the undisturbed run, and when each layer of the observed one had ended.
struct Round {
    undisturbed: f64,
    layers: Vec<f64>,
}

pub(crate) fn run(context: &Context, args: &Args, out: &mut Output) -> Result {
    let Args { network: which, run } = args;
    let processors = processors();
    let subject = Subject::new(which, context.isa)?;
    let (costs, batch) = (&subject.costs, subject.batch(run.batch)?);
    let mut outputs = subject.outputs(1)?;
    let mut outputs: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();

    let (taken, peak) = threads::run(context.threads, run.pin.as_ref(), |parallel| {
        let program = subject.program();
        let mut workspace = program.workspace();
        let mut peak = Peak::new(context.isa, parallel);
        let mut taken = Vec::new();
        let mut turn = false;
        rounds(run.seconds, |counts| {
            let (mut undisturbed, mut layers) = (0.0, vec![0.0; costs.len()]);
            // The second of two runs finds warmer caches and threads: they take turns.
            turn = !turn;
            for observed in [turn, !turn] {
                for images in batch.one_by_one() {
                    let image = batch.first(&images);
                    // Who waits for the processor may have it now rather than in the middle of a run.
                    std::thread::yield_now();
                    if observed {
                        observe(program, parallel, &image, &mut workspace, &mut layers);
                    } else {
                        undisturbed += time(|| program.run(parallel, &images, &mut workspace, &mut outputs));
                    }
                }
            }
            peak.sample();
            if counts {
                taken.push(Round { undisturbed, layers });
            }
        });
        (taken, peak.flops())
    })?;

    let n = taken.len();
    let (end_to_end, layers) = fastest_tenth(taken);
    let sum: f64 = layers.iter().sum();
    let row = |which: &[usize]| {
        let seconds = which.iter().map(|&layer| layers[layer]).sum();
        let costs: Vec<_> = which.iter().map(|&layer| &costs[layer]).collect();
        Row::new(seconds, sum, &costs, run.batch, peak)
    };
    let all: Vec<usize> = (0..costs.len()).collect();
    let of_class = |class: Class| -> Vec<usize> {
        all.iter().copied().filter(|&layer| subject.layers()[layer].class == class).collect()
    };
    let report = Report {
        named: subject.named.clone(),
        batch: run.batch,
        threads: context.threads,
        processors,
        isa: context.isa.name(),
        n,
        end_to_end_ms: tidy(1e3 * end_to_end),
        sum_ms: tidy(1e3 * sum),
        peak_gflops: tidy(1e-9 * peak),
        total: row(&all),
        kinds: Class::ALL
            .into_iter()
            .map(|class| (class, of_class(class)))
            .filter(|(_, layers)| !layers.is_empty())
            .map(|(class, layers)| Kindred { kind: class.name(), layers: layers.len(), row: row(&layers) })
            .collect(),
        layers: all
            .iter()
            .map(|&index| {
                let (layer, cost) = (&subject.layers()[index], &costs[index]);
                Layer {
                    name: layer.name.clone(),
                    kind: layer.class.name(),
                    input: cost.input,
                    output: cost.output,
                    row: row(&[index]),
                }
            })
            .collect(),
    };
    if run.json {
        writeln!(out, "{}", serde_json::to_string(&report).expect("plain numbers and names"))?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(())
}

/// Runs one image and adds what each layer took to `layers`.
fn observe(
    program: &Program,
    parallel: &dyn Parallel,
    image: &[Input<'_>],
    workspace: &mut Workspace,
    layers: &mut [f64],
) {
    let mut before = Instant::now();
    program.observe(parallel, image, workspace, &mut |layer| {
        let now = Instant::now();
        layers[layer] += (now - before).as_secs_f64();
        before = now;
    });
}

/// The mean of the fastest tenth of the undisturbed runs, and of each layer over the fastest tenth of the observed ones. A mean of whole runs, unlike a minimum of each layer, adds up.
fn fastest_tenth(mut rounds: Vec<Round>) -> (f64, Vec<f64>) {
    let tenth = rounds.len().div_ceil(10);
    rounds.sort_by(|a, b| a.undisturbed.total_cmp(&b.undisturbed));
    let end_to_end = rounds[..tenth].iter().map(|round| round.undisturbed).sum::<f64>() / tenth as f64;
    let sum = |round: &Round| round.layers.iter().sum::<f64>();
    rounds.sort_by(|a, b| sum(a).total_cmp(&sum(b)));
    let mut layers = vec![0.0; rounds[0].layers.len()];
    for round in &rounds[..tenth] {
        for (mean, seconds) in layers.iter_mut().zip(&round.layers) {
            *mean += seconds / tenth as f64;
        }
    }
    (end_to_end, layers)
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { named, batch, threads, processors, isa, .. } = self;
        writeln!(f, "{named}, batch {batch}, {isa}, threads: {threads}, processors: {processors}\n")?;

        let heads = ["ms", "% time", "GFLOP/s", "% peak", "mac_bytes", "FLOP/byte"];
        let numbers = |row: &Row| {
            [
                format!("{:.4}", row.ms),
                format!("{:.1}", row.percent_of_time),
                format!("{:.1}", row.gflops),
                format!("{:.1}", row.percent_of_peak),
                grouped(row.mac_bytes),
                format!("{:.2}", row.intensity),
            ]
        };
        let table = |text: [&str; 2]| Columns::new(2, &[&text[..], &heads[..]].concat());
        let add = |table: &mut Columns, text: [String; 2], row: &Row| {
            let [ms, time, gflops, peak, mac_bytes, intensity] = numbers(row);
            let [name, note] = text;
            table.row([name, note, ms, time, gflops, peak, mac_bytes, intensity]);
        };
        let mut layers = table(["layer", "output"]);
        for layer in &self.layers {
            add(&mut layers, [layer.name.clone(), shape(layer.output)], &layer.row);
        }
        writeln!(f, "{layers}")?;

        let mut kinds = table(["kind", "layers"]);
        for kind in &self.kinds {
            add(&mut kinds, [kind.kind.into(), kind.layers.to_string()], &kind.row);
        }
        add(&mut kinds, ["total".into(), self.layers.len().to_string()], &self.total);
        writeln!(f, "{kinds}")?;

        let difference = 100.0 * (self.sum_ms / self.end_to_end_ms - 1.0);
        writeln!(
            f,
            "sum of the layers {:.3} ms, end to end {:.3} ms ({difference:+.1} %), {} rounds",
            self.sum_ms, self.end_to_end_ms, self.n
        )?;
        writeln!(f, "peak {:.1} GFLOP/s, multiply-adds on registers alone", self.peak_gflops)
    }
}
