//! The run: prepares every variant, checks its answer, times it, and collects a [`Report`].

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kernels::{Isa, Parallel, Rayon, Serial};
use model::{Config, Images, Network, Synthetic, Wiring};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::engine::Engine;
use crate::environment::Environment;
use crate::graph::{Class, Graph};
use crate::layer::Layer;
use crate::machine;
use crate::measure::{Plan, Series, Variant, interleave};
use crate::report::{Cold, Machine, Measurement, Peak, Report, SCHEMA, Settings, Split};
use crate::twin;
use crate::weights::{Random, Weights};
use crate::{guidelines, networks, pin, sweeps, traffic};

/// How much time to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Under a minute, without the largest experiments.
    Quick,
    /// About three minutes.
    Default,
    /// As long as good numbers take; every answer checked at full size.
    Full,
}

impl Mode {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Default => "default",
            Self::Full => "full",
        }
    }

    /// The plan for a section that gets `seconds` of a default run.
    fn plan(self, seconds: f64) -> Plan {
        let (share, min_rounds, max_rounds) = match self {
            Self::Quick => (0.22, 3, 200),
            Self::Default => (1.0, 5, 1000),
            Self::Full => (5.0, 30, 5000),
        };
        let budget = Duration::from_secs_f64(seconds * share);
        Plan { budget, min_rounds, max_rounds, min_sample: Duration::from_micros(200) }
    }
}

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How much time to take.
    pub mode: Mode,
    /// Instruction set of everything that does not compare them.
    pub isa: Isa,
    /// Threads of everything that does not compare them.
    pub threads: usize,
}

/// One variant, ready to be timed.
struct Job<'a> {
    id: String,
    isa: Isa,
    threads: usize,
    batch: usize,
    macs: u64,
    mac_bytes: u64,
    lower_bound_bytes: Option<f64>,
    run: Box<dyn FnMut() + Send + 'a>,
}

/// A graph with its engine, whose answer was found right.
struct Checked {
    id: String,
    graph: Graph,
    engine: Engine,
}

/// The `model` crate's networks, by width.
pub type Models = Vec<(&'static str, Network)>;

struct Suite {
    options: Options,
    /// Prepares and checks; made before any thread is bound to a core.
    helpers: ThreadPool,
    /// Times; as many threads as asked for.
    timers: ThreadPool,
    bar: ProgressBar,
    measurements: Vec<Measurement>,
    noise: Vec<f64>,
}

/// Shares of a default run, in seconds; a section ends when its share is used up.
mod share {
    pub(super) const GUIDELINES: [f64; 5] = [24.0, 15.0, 18.0, 9.0, 12.0];
    pub(super) const NETWORKS: f64 = 22.0;
    pub(super) const LAYERS: f64 = 8.0;
    pub(super) const ISAS: f64 = 9.0;
    pub(super) const THREADS: f64 = 8.0;
    pub(super) const BATCHES: f64 = 9.0;
    pub(super) const SIZES: f64 = 9.0;
    pub(super) const CHANNELS: f64 = 5.0;
    pub(super) const TOTAL: f64 = 150.0;
}

/// Runs everything.
///
/// # Errors
/// One line, if an operator cannot be built, an answer is wrong, or threads cannot be started.
pub fn run(options: Options) -> Result<Report, String> {
    let start = Instant::now();
    let environment = Environment::observe();
    let cores = environment.cores;
    let helpers = ThreadPoolBuilder::new().num_threads(cores).build().map_err(|e| e.to_string())?;
    let (timers, pinned) = pin::pool(options.threads)?;
    let mut suite =
        Suite { options, helpers, timers, bar: bar(), measurements: Vec::new(), noise: Vec::new() };

    suite.begin("machine");
    let rounds = if options.mode == Mode::Quick { 8 } else { 25 };
    let mut machine = Machine::default();
    for isa in Isa::available() {
        for threads in sweeps::threads(cores) {
            machine.peaks.push(machine::peak(isa, &pin::pool(threads)?.0, rounds));
        }
    }
    machine.bandwidths = suite.timers.install(|| machine::bandwidths(options.isa, &environment, rounds));

    for (experiment, share) in guidelines::all().into_iter().zip(share::GUIDELINES) {
        suite.guideline(&experiment, share)?;
    }
    let models = models(options.isa)?;
    let cold = suite.timers.install(|| cold(options))?;
    let splits = suite.networks(&models)?;
    suite.layers()?;
    suite.isas()?;
    suite.threads(&models, cores)?;
    suite.batches(&models, cores)?;
    suite.sizes(&models);
    suite.channels()?;
    let traffic = if options.mode == Mode::Full {
        suite.begin("cache simulation");
        traffic::simulate(&environment, || suite.bar.tick())?
    } else {
        Vec::new()
    };
    suite.bar.finish_and_clear();

    machine.noise = suite.noise;
    // A roof is a roof: the loop may have run faster later, on a quieter machine.
    let best = machine.noise.iter().copied().fold(0.0, f64::max);
    let single = |p: &&mut Peak| p.threads == 1 && p.isa == options.isa.name();
    machine.peaks.iter_mut().filter(single).for_each(|peak| peak.gflops = peak.gflops.max(best));
    Ok(Report {
        schema: SCHEMA,
        environment,
        settings: Settings {
            mode: options.mode.name().to_owned(),
            isa: options.isa.name().to_owned(),
            threads: options.threads,
            pinned,
            seconds: start.elapsed().as_secs(),
        },
        machine,
        measurements: suite.measurements,
        splits,
        cold,
        traffic,
        peers: None,
    })
}

/// A progress bar on a terminal; silence elsewhere.
fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr());
    let style =
        ProgressStyle::with_template("{bar:30} {percent:>3} %  {elapsed}  {msg}").expect("a valid template");
    bar.set_style(style);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

impl Suite {
    fn begin(&mut self, what: &str) {
        self.bar.set_message(what.to_owned());
        self.bar.tick();
    }

    /// Builds and checks engines for graphs, on all cores.
    fn check(&self, graphs: Vec<(String, Graph, Isa)>) -> Result<Vec<Checked>, String> {
        let full_size = self.options.mode == Mode::Full;
        let check = |(id, graph, isa): (String, Graph, Isa)| {
            let weights = Weights::random(&graph);
            let engine = Engine::new(&graph, &weights, isa).map_err(|e| format!("{id}: {e}"))?;
            twin::check(&graph, &weights, &engine, full_size).map_err(|e| format!("{id}: {e}"))?;
            self.bar.tick();
            Ok(Checked { id, graph, engine })
        };
        self.helpers.install(|| graphs.into_par_iter().map(check).collect())
    }

    /// Times jobs against each other on the threads asked for, and keeps their samples. `seconds` is the share of a
    /// default run.
    fn time(&mut self, jobs: Vec<Job<'_>>, seconds: f64) {
        self.time_on(true, jobs, seconds);
    }

    /// As [`time`](Self::time), for jobs that bring their own threads: a waiting pool of ours must not be in their way.
    fn time_pooled(&mut self, jobs: Vec<Job<'_>>, seconds: f64) {
        self.time_on(false, jobs, seconds);
    }

    fn time_on(&mut self, timers: bool, jobs: Vec<Job<'_>>, seconds: f64) {
        let plan = self.options.mode.plan(seconds);
        let step = 1000.0 * seconds / share::TOTAL;
        let done = self.bar.position() as f64;
        let isa = self.options.isa;
        let (facts, mut variants): (Vec<_>, Vec<Variant<'_>>) = jobs
            .into_iter()
            .map(|Job { id, isa, threads, batch, macs, mac_bytes, lower_bound_bytes, run }| {
                let facts = move |series: Series| Measurement {
                    id,
                    isa: isa.name().to_owned(),
                    threads,
                    batch,
                    macs,
                    mac_bytes,
                    lower_bound_bytes,
                    runs_per_sample: series.runs_per_sample,
                    cpu_over_wall: series.cpu_over_wall,
                    seconds: series.samples,
                };
                (facts, run)
            })
            .unzip();
        let (bar, noise) = (&self.bar, &mut self.noise);
        let mut measure = || {
            interleave(&mut variants, &plan, |share| {
                noise.push(machine::burst(isa));
                bar.set_position((done + share * step) as u64);
            })
        };
        let series = if timers { self.timers.install(measure) } else { measure() };
        self.bar.set_position((done + step) as u64);
        self.measurements.extend(facts.into_iter().zip(series).map(|(facts, series)| facts(series)));
    }

    /// The job of running a checked graph on the threads asked for.
    fn job<'a>(&self, checked: &'a Checked) -> Job<'a> {
        let Checked { id, graph, engine } = checked;
        let threads = self.options.threads;
        let mut arena = engine.arena();
        engine.load(&mut arena, &twin::image(graph));
        let parallel: &dyn Parallel = if threads > 1 { &Rayon } else { &Serial };
        Job {
            id: id.clone(),
            isa: engine.isa(),
            threads,
            batch: 1,
            macs: graph.macs(),
            mac_bytes: graph.mac_bytes(),
            lower_bound_bytes: graph.lower_bound_bytes(),
            run: Box::new(move || engine.run(&mut arena, parallel)),
        }
    }

    fn guideline(&mut self, experiment: &guidelines::Experiment, seconds: f64) -> Result<(), String> {
        self.begin(experiment.title);
        let (mode, isa) = (self.options.mode, self.options.isa);
        let mut graphs = Vec::new();
        for column in experiment.columns.iter().filter(|c| mode != Mode::Quick || c.id != "gpu/x4") {
            for case in &column.cases {
                graphs.push((experiment.case_id(column, case), case.graph.clone(), isa));
            }
        }
        let checked = self.check(graphs)?;
        self.time(checked.iter().map(|c| self.job(c)).collect(), seconds);
        Ok(())
    }

    /// Latency of all networks, and where their time goes.
    fn networks(&mut self, models: &Models) -> Result<Vec<Split>, String> {
        self.begin("networks");
        let isa = self.options.isa;
        let graphs = networks::all().into_iter().map(|n| (format!("net/{}", n.id), n.graph, isa)).collect();
        let checked = self.check(graphs)?;
        let mut jobs: Vec<Job<'_>> = checked.iter().map(|c| self.job(c)).collect();
        for (width, network) in models {
            jobs.push(self.model_job(format!("model/{width}"), network, 224, 1, None));
        }
        self.time(jobs, share::NETWORKS);

        let runs = if self.options.mode == Mode::Quick { 5 } else { 25 };
        let threads = self.options.threads;
        let split = |checked: &Checked| {
            let mut arena = checked.engine.arena();
            checked.engine.load(&mut arena, &twin::image(&checked.graph));
            let parallel: &dyn Parallel = if threads > 1 { &Rayon } else { &Serial };
            let mut least = [f64::INFINITY; Class::ALL.len()];
            for _ in 0..runs {
                let mut seconds = [0.0; Class::ALL.len()];
                checked.engine.run_by_class(&mut arena, parallel, &mut seconds);
                least.iter_mut().zip(seconds).for_each(|(least, seconds)| *least = least.min(seconds));
            }
            Split { id: checked.id.clone(), seconds: least }
        };
        Ok(self.timers.install(|| checked.iter().map(split).collect()))
    }

    /// Every layer of every width on its own.
    fn layers(&mut self) -> Result<(), String> {
        self.begin("layers");
        let distinct: BTreeMap<String, Layer> =
            sweeps::layers().map(|(_, l)| (sweeps::layer_id(&l), l)).collect();
        let isa = self.options.isa;
        let graphs = distinct.into_iter().map(|(id, layer)| (id, sweeps::single(&layer), isa)).collect();
        let checked = self.check(graphs)?;
        self.time(checked.iter().map(|c| self.job(c)).collect(), share::LAYERS);
        Ok(())
    }

    fn isas(&mut self) -> Result<(), String> {
        self.begin("instruction sets");
        let mut networks = Vec::new();
        for isa in Isa::available() {
            networks.extend(models(isa)?);
        }
        let id = |network: &Network, width: &str| format!("isa/{}/{width}", network.isa());
        let jobs = networks.iter().map(|(width, n)| self.model_job(id(n, width), n, 224, 1, None)).collect();
        self.time(jobs, share::ISAS);
        Ok(())
    }

    fn threads(&mut self, models: &Models, cores: usize) -> Result<(), String> {
        self.begin("threads");
        let counts = sweeps::threads(cores).into_iter();
        let pools: Vec<ThreadPool> = counts.map(|n| pin::pool(n).map(|p| p.0)).collect::<Result<_, _>>()?;
        let mut jobs = Vec::new();
        for (width, network) in models {
            for pool in &pools {
                let id = format!("threads/{}/{width}", pool.current_num_threads());
                jobs.push(self.model_job(id, network, 224, 1, Some(pool)));
            }
        }
        self.time_pooled(jobs, share::THREADS);
        Ok(())
    }

    fn batches(&mut self, models: &Models, cores: usize) -> Result<(), String> {
        self.begin("batches");
        let pool = pin::pool(cores)?.0;
        let mut jobs = Vec::new();
        for (width, network) in models {
            for batch in sweeps::BATCHES {
                let id = format!("batch/{batch}/{width}");
                jobs.push(self.model_job(id, network, 224, batch, Some(&pool)));
            }
        }
        self.time_pooled(jobs, share::BATCHES);
        Ok(())
    }

    fn sizes(&mut self, models: &Models) {
        self.begin("image sizes");
        let mut jobs = Vec::new();
        for (width, network) in models {
            for size in sweeps::SIZES {
                jobs.push(self.model_job(format!("size/{size}/{width}"), network, size, 1, None));
            }
        }
        self.time(jobs, share::SIZES);
    }

    /// 1x1 and depthwise layers over the channel counts around 58, on every instruction set.
    fn channels(&mut self) -> Result<(), String> {
        self.begin("channels");
        let mut graphs = Vec::new();
        for isa in Isa::available() {
            for channels in sweeps::CHANNELS {
                for (name, layer) in sweeps::channel_layers(channels) {
                    graphs.push((format!("channels/{isa}/{name}/{channels}"), sweeps::single(&layer), isa));
                }
            }
        }
        let checked = self.check(graphs)?;
        self.time(checked.iter().map(|c| self.job(c)).collect(), share::CHANNELS);
        Ok(())
    }

    /// The job of running the `model` crate's network, on the threads asked for or on those of `pool`.
    fn model_job<'a>(
        &self,
        id: String,
        network: &'a Network,
        size: usize,
        batch: usize,
        pool: Option<&'a ThreadPool>,
    ) -> Job<'a> {
        let threads = pool.map_or(self.options.threads, ThreadPool::current_num_threads);
        let costs = network.costs(size, size);
        let sum = |of: fn(&model::Cost) -> usize| (batch * costs.iter().map(of).sum::<usize>()) as u64;
        let data = Random::new(7).uniform(batch * 3 * size * size, 1.0);
        let mut logits = vec![0.0; batch * network.config().classes];
        let mut workspace = network.workspace();
        let parallel: &dyn Parallel = if threads > 1 { &Rayon } else { &Serial };
        let mut run = move || {
            network.run(parallel, Images::nchw(&data, batch, size, size), &mut workspace, &mut logits)
        };
        Job {
            id,
            isa: network.isa(),
            threads,
            batch,
            macs: sum(|c| c.macs),
            mac_bytes: sum(|c| c.mac_bytes),
            lower_bound_bytes: None,
            run: match pool {
                Some(pool) => Box::new(move || pool.install(&mut run)),
                None => Box::new(run),
            },
        }
    }
}

/// What it takes to start each of the `model` crate's networks, from weights in memory.
fn cold(options: Options) -> Result<Vec<Cold>, String> {
    let start = |width: &'static str| {
        let failed = |e: model::Error| format!("ShuffleNetV2 {width}: {e}");
        let config = Config::published(width, Wiring::Torchvision).map_err(failed)?;
        let weights = Synthetic::new(&config).map_err(failed)?;
        let (data, mut logits) = (Random::new(7).uniform(3 * 224 * 224, 1.0), vec![0.0; config.classes]);
        let began = Instant::now();
        let network = Network::new(&config, &weights, options.isa).map_err(failed)?;
        let build = began.elapsed().as_secs_f64();
        let parallel: &dyn Parallel = if options.threads > 1 { &Rayon } else { &Serial };
        let began = Instant::now();
        network.run(parallel, Images::nchw(&data, 1, 224, 224), &mut network.workspace(), &mut logits);
        Ok(Cold { width: width.to_owned(), build, first: began.elapsed().as_secs_f64() })
    };
    sweeps::WIDTHS.into_iter().map(start).collect()
}

/// The `model` crate's networks, whose answers that crate's tests hold against PyTorch's; here every instruction set
/// must agree with the portable one.
///
/// # Errors
/// One line, if a network cannot be built or disagrees.
pub fn models(isa: Isa) -> Result<Models, String> {
    let build = |width: &'static str| {
        let failed = |e: model::Error| format!("ShuffleNetV2 {width}: {e}");
        let config = Config::published(width, Wiring::Torchvision).map_err(failed)?;
        let weights = Synthetic::new(&config).map_err(failed)?;
        let network = Network::new(&config, &weights, isa).map_err(failed)?;
        if isa != Isa::Portable {
            let portable = Network::new(&config, &weights, Isa::Portable).map_err(failed)?;
            let [ours, theirs] = [&network, &portable].map(|n| {
                let data = Random::new(7).uniform(3 * 64 * 64, 1.0);
                let mut logits = vec![0.0; config.classes];
                n.run(&Serial, Images::nchw(&data, 1, 64, 64), &mut n.workspace(), &mut logits);
                logits
            });
            let theirs: Vec<f64> = theirs.into_iter().map(f64::from).collect();
            twin::compare(&ours, &theirs).map_err(|e| format!("ShuffleNetV2 {width} on {isa}: {e}"))?;
        }
        Ok((width, network))
    };
    sweeps::WIDTHS.into_iter().map(build).collect()
}
