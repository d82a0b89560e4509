//! The run: prepares every variant, checks its answer, times it, and collects a [`Report`].

use std::time::{Duration, Instant};

use kernels::{Isa, Parallel, Rayon, Serial};
use model::graph::{Class, Program};
use model::sentinel::Sentinel;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::check::{Drawn, Ready};
use super::environment::Environment;
use super::measure::{Plan, Variant, interleave};
use super::progress::Progress;
use super::{machine, pin, traffic};
use crate::tell::estimate::MIN_ROUNDS;
use crate::tell::report::{
    Cold, Look, Machine, Measurement, Part, Peak, Profile, Report, Rounds, Settings, Split, Widths,
};
use crate::work::layer::Layer;
use crate::work::networks::{self, Network};
use crate::work::step::Step;
use crate::work::{Work, given, guidelines, sweeps};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Under a minute, without the largest experiments.
    Quick,
    /// About three minutes.
    Default,
    /// As long as good numbers take; every answer checked at full size.
    Full,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Default => "default",
            Self::Full => "full",
        }
    }

    /// The plan for a section that gets `seconds` of a default run.
    fn plan(self, seconds: f64) -> Plan {
        let (min_rounds, max_rounds) = match self {
            Self::Quick => (MIN_ROUNDS, 200),
            Self::Default => (MIN_ROUNDS, 1000),
            Self::Full => (30, 5000),
        };
        let budget = self.of_default(seconds);
        let min_sample = Duration::from_micros(200);
        Plan { budget, min_rounds, max_rounds, min_sample, patience: budget.mul_f64(PATIENCE) }
    }

    /// What becomes of `seconds` of a default run.
    fn of_default(self, seconds: f64) -> Duration {
        let share = match self {
            Self::Quick => 0.22,
            Self::Default => 1.0,
            Self::Full => 5.0,
        };
        Duration::from_secs_f64(seconds * share)
    }
}

/// Steps of a network that are tried at other widths.
const WORST: usize = 4;

/// As much more than its budget may a section take for rounds that are repeated.
const PATIENCE: f64 = 0.5;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) mode: Mode,
    /// Instruction set of everything that does not compare them.
    pub(crate) isa: Isa,
    /// Threads of everything that does not compare them.
    pub(crate) threads: usize,
    /// Neither guidelines nor single layers nor sweeps.
    pub(crate) only_networks: bool,
}

/// One variant, ready to be timed: what is known of it, and a run of it.
struct Job<'a> {
    facts: Measurement,
    run: Box<dyn FnMut() + Send + 'a>,
}

struct Suite {
    options: Options,
    /// Prepares and checks; made before any thread is bound to a core.
    helpers: ThreadPool,
    /// Times; as many threads as asked for.
    timers: ThreadPool,
    progress: Progress,
    /// Seconds that a default run would take.
    total: f64,
    /// What is measured, as ids begin.
    section: String,
    sentinel: Sentinel,
    measurements: Vec<Measurement>,
    machine: Machine,
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
    /// Of each network that has a page of its own.
    pub(super) const WIDTHS: f64 = 4.0;
    pub(super) const TOTAL: f64 = 150.0;
}

/// Runs everything. Networks of `own` get pages of their own; those that are not the paper's are added to its networks.
pub(crate) fn run(options: Options, own: &[Network]) -> Result<Report, String> {
    let start = Instant::now();
    let environment = Environment::observe();
    let cores = environment.cores;
    let helpers = ThreadPoolBuilder::new().num_threads(cores).build().map_err(|e| e.to_string())?;
    let (timers, pinned) = pin::pool(options.threads)?;
    let all = if options.only_networks { share::NETWORKS } else { share::TOTAL };
    let total = all + own.len() as f64 * share::WIDTHS;
    let mut progress = Progress::new(options.mode.of_default(total));
    progress.begin("machine");
    let sentinel = timers.install(|| Sentinel::new(options.isa));
    let mut suite = Suite {
        options,
        helpers,
        timers,
        progress,
        section: String::new(),
        total,
        sentinel,
        measurements: Vec::new(),
        machine: Machine::default(),
    };
    let rounds = if options.mode == Mode::Quick { 8 } else { 25 };
    for isa in Isa::available() {
        for threads in sweeps::threads(cores) {
            suite.machine.peaks.push(machine::peak(isa, &pin::pool(threads)?.0, rounds));
        }
    }
    suite.machine.bandwidths =
        suite.timers.install(|| machine::bandwidths(options.isa, &environment, rounds));

    let mut experiments = if options.only_networks { vec![] } else { guidelines::all() };
    for (experiment, share) in experiments.iter_mut().zip(share::GUIDELINES) {
        experiment.columns.retain(|column| options.mode != Mode::Quick || column.id != "gpu/x4");
        suite.guideline(experiment, share)?;
    }
    let mut networks = networks::all();
    for network in own {
        if networks.iter().all(|known| known.id != network.id) {
            networks.push(network.clone());
        }
    }
    let cold = || networks.iter().map(|network| cold(network, options)).collect::<Result<_, _>>();
    let cold = suite.timers.install(cold)?;
    let splits = suite.networks(&networks)?;
    let profiles = suite.profiles(own)?;
    if !options.only_networks {
        suite.layers()?;
        suite.isas()?;
        suite.sweeps(cores)?;
        suite.channels()?;
    }
    let traffic = if options.mode == Mode::Full && !options.only_networks {
        suite.begin("traffic", "cache simulation");
        traffic::simulate(&environment, || suite.progress.tick())?
    } else {
        Vec::new()
    };
    suite.progress.finish();

    let mut machine = suite.machine;
    // A roof is a roof: the loop may have run faster later, on a quieter machine.
    let best = machine.noise.iter().copied().fold(0.0, f64::max);
    let single = |p: &&mut Peak| p.threads == 1 && p.isa == options.isa.name();
    machine.peaks.iter_mut().filter(single).for_each(|peak| peak.gflops = peak.gflops.max(best));
    Ok(Report {
        schema: crate::tell::upgrade::SCHEMA,
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
        experiments,
        networks,
        splits,
        cold,
        traffic,
        profiles,
        peers: None,
    })
}

impl Suite {
    /// A section begins: how ids begin, and what people call it.
    fn begin(&mut self, section: &str, what: &str) {
        self.section = section.to_owned();
        self.progress.begin(what);
    }

    /// Packs and checks work, on all cores.
    fn ready(&self, works: Vec<(String, Work, Isa)>) -> Result<Vec<Ready>, String> {
        let full_size = self.options.mode == Mode::Full;
        let ready = |(id, work, isa): (String, Work, Isa)| {
            let ready = Ready::new(id, work, isa, full_size);
            self.progress.tick();
            ready
        };
        self.helpers.install(|| works.into_par_iter().map(ready).collect())
    }

    /// Times jobs against each other on the threads asked for, and keeps their samples. `seconds` is the share of a
    /// default run.
    fn time(&mut self, jobs: Vec<Job<'_>>, seconds: f64) {
        self.time_on(true, jobs, seconds);
    }

    /// As [`time`](Self::time); jobs that bring their own threads must not have a waiting pool of ours in their way.
    fn time_on(&mut self, timers: bool, jobs: Vec<Job<'_>>, seconds: f64) {
        let plan = self.options.mode.plan(seconds);
        let step = seconds / self.total;
        let done = self.progress.done();
        let (facts, mut variants): (Vec<Measurement>, Vec<Variant<'_>>) =
            jobs.into_iter().map(|job| (job.facts, job.run)).unzip();
        let Self { progress, sentinel, machine, .. } = self;
        let mut quiet = || {
            let look = sentinel.look();
            machine.noise.push(1e-9 * look.flops);
            machine.looks.push(Look { network: look.network, memory: look.memory, waited: look.waited });
            look.is_quiet()
        };
        let measure = || {
            // What the thread waited for before is nobody's.
            quiet();
            interleave(&mut variants, &plan, quiet, |share| progress.set(done + share * step))
        };
        let rounds = if timers { self.timers.install(measure) } else { measure() };
        self.progress.set(done + step);
        self.machine.rounds.push(Rounds {
            section: self.section.clone(),
            kept: rounds.series.first().map_or(0, |series| series.samples.len()),
            repeated: rounds.repeated,
            disturbed: rounds.disturbed,
        });
        self.measurements.extend(facts.into_iter().zip(rounds.series).map(|(facts, series)| Measurement {
            runs_per_sample: series.runs_per_sample,
            cpu_over_wall: series.cpu_over_wall,
            seconds: series.samples,
            ..facts
        }));
    }

    /// The job of running what is ready on the threads asked for.
    fn job<'a>(&self, ready: &'a Ready) -> Job<'a> {
        let Work { h, w, .. } = ready.work;
        self.job_at(ready.id.clone(), ready, (h, w), 1, None)
    }

    /// The same on images of another size, a batch of them, or the threads of `pool`.
    fn job_at<'a>(
        &self,
        id: String,
        ready: &'a Ready,
        (h, w): (usize, usize),
        batch: usize,
        pool: Option<&'a ThreadPool>,
    ) -> Job<'a> {
        let cost = ready.work.sized(h, w).cost();
        let threads = pool.map_or(self.options.threads, ThreadPool::current_num_threads);
        let parallel: &dyn Parallel = if threads > 1 { &Rayon } else { &Serial };
        let mut runner = ready.runner_at((h, w), batch);
        let mut run = move || runner.run(parallel);
        Job {
            facts: Measurement {
                id,
                isa: ready.program.isa().name().to_owned(),
                threads,
                batch,
                macs: batch as u64 * cost.macs,
                mac_bytes: batch as u64 * cost.mac_bytes,
                lower_bound_bytes: cost.lower_bound_bytes.filter(|_| batch == 1),
                ..Measurement::default()
            },
            run: match pool {
                Some(pool) => Box::new(move || pool.install(&mut run)),
                None => Box::new(run),
            },
        }
    }

    fn guideline(&mut self, experiment: &guidelines::Experiment, seconds: f64) -> Result<(), String> {
        self.begin(&experiment.id, &experiment.title);
        let isa = self.options.isa;
        let cases = experiment.columns.iter().flat_map(|column| {
            column.cases.iter().map(|case| (experiment.case_id(column, case), case.work.clone(), isa))
        });
        let ready = self.ready(cases.collect())?;
        let mut jobs: Vec<Job<'_>> = ready.iter().map(|ready| self.job(ready)).collect();
        for (job, ready) in jobs.iter_mut().zip(&ready) {
            job.facts.padded_macs = Some(ready.work.padded_macs(isa.lanes()));
        }
        self.time(jobs, seconds);
        Ok(())
    }

    /// Latency of all networks, and where their time goes.
    fn networks(&mut self, networks: &[Network]) -> Result<Vec<Split>, String> {
        self.begin("net", "networks");
        let isa = self.options.isa;
        let ready = self.ready(networks.iter().map(|n| (n.id.clone(), n.work.clone(), isa)).collect())?;
        self.time(ready.iter().map(|ready| self.job(ready)).collect(), share::NETWORKS);
        let runs = if self.options.mode == Mode::Quick { 5 } else { 25 };
        let threads = self.options.threads;
        Ok(self.timers.install(|| ready.iter().map(|ready| split(ready, runs, threads)).collect()))
    }

    /// Networks step by step, and their worst steps at other widths.
    fn profiles(&mut self, own: &[Network]) -> Result<Vec<Profile>, String> {
        let (isa, threads) = (self.options.isa, self.options.threads);
        let mut profiles = Vec::new();
        for (i, network) in own.iter().enumerate() {
            self.begin("width", &format!("{} {}, layer by layer", network.family, network.label));
            let ready = self.ready(vec![(network.id.clone(), network.work.clone(), isa)])?;
            let runs = if self.options.mode == Mode::Quick { 20 } else { 100 };
            let seconds = self.timers.install(|| steps(&ready[0], runs, threads));
            let mut widths = Vec::new();
            let mut works = Vec::new();
            for (step, layer) in self.worst(network, &seconds) {
                let layers = given::widths(&layer, isa);
                let id = |oc: usize| format!("width/{}/{step}-{oc}", i + 1);
                works.extend(layers.iter().map(|layer| (id(layer.oc), layer.work(), isa)));
                let tried = layers.iter().map(|layer| (layer.oc, id(layer.oc))).collect();
                widths.push(Widths { step, oc: layer.oc, tried });
            }
            let ready = self.ready(works)?;
            self.time(ready.iter().map(|ready| self.job(ready)).collect(), share::WIDTHS);
            profiles.push(Profile { id: network.id.clone(), lanes: isa.lanes(), seconds, widths });
        }
        Ok(profiles)
    }

    /// The steps that lose most time over their roof, of those that can run by themselves; equal ones once.
    fn worst(&self, network: &Network, seconds: &[f64]) -> Vec<(usize, Layer)> {
        let Some(peak) = self.machine.peak(self.options.isa.name(), self.options.threads) else {
            return vec![];
        };
        let lost = |step: &Step, seconds: f64| {
            Some(seconds - self.machine.roof_seconds(peak, step.macs, step.mac_bytes)?)
        };
        let steps = network.steps.iter().zip(seconds).enumerate();
        let mut worst: Vec<(f64, usize, Layer)> = steps
            .filter_map(|(i, (step, s))| Some((lost(step, *s)?, i, given::alone(&network.work, step)?)))
            .collect();
        worst.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut distinct: Vec<(usize, Layer)> = Vec::new();
        for (_, step, layer) in worst {
            if distinct.len() < WORST && distinct.iter().all(|(_, known)| known.id() != layer.id()) {
                distinct.push((step, layer));
            }
        }
        distinct
    }

    /// Every layer of every width on its own.
    fn layers(&mut self) -> Result<(), String> {
        self.begin("layer", "layers");
        let (layers, isa) = (sweeps::layers(), self.options.isa);
        let ready = self.ready(layers.iter().map(|l| (l.id(), l.work(), isa)).collect())?;
        let mut jobs: Vec<Job<'_>> = ready.iter().map(|ready| self.job(ready)).collect();
        jobs.iter_mut().zip(layers).for_each(|(job, layer)| job.facts.layer = Some(layer));
        self.time(jobs, share::LAYERS);
        Ok(())
    }

    fn isas(&mut self) -> Result<(), String> {
        self.begin("isa", "instruction sets");
        let works = Isa::available().flat_map(|isa| {
            networks::shufflenets().map(move |(width, work)| (format!("isa/{isa}/{width}"), work, isa))
        });
        let ready = self.ready(works.collect())?;
        self.time(ready.iter().map(|ready| self.job(ready)).collect(), share::ISAS);
        Ok(())
    }

    /// ShuffleNetV2 over threads, batches and sizes of the image.
    fn sweeps(&mut self, cores: usize) -> Result<(), String> {
        self.begin("threads", "threads, batches, sizes");
        let isa = self.options.isa;
        let ready =
            self.ready(networks::shufflenets().map(|(w, work)| (w.to_owned(), work, isa)).collect())?;
        let pools = sweeps::threads(cores).into_iter().map(|n| pin::pool(n).map(|pool| pool.0));
        let pools: Vec<ThreadPool> = pools.collect::<Result<_, _>>()?;
        let all = pools.last().expect("a machine has a core");
        let (mut threads, mut batches, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        for ready in &ready {
            let (width, at) = (&ready.id, (224, 224));
            for pool in &pools {
                let id = format!("threads/{}/{width}", pool.current_num_threads());
                threads.push(self.job_at(id, ready, at, 1, Some(pool)));
            }
            for batch in sweeps::BATCHES {
                batches.push(self.job_at(format!("batch/{batch}/{width}"), ready, at, batch, Some(all)));
            }
            for size in sweeps::SIZES {
                sizes.push(self.job_at(format!("size/{size}/{width}"), ready, (size, size), 1, None));
            }
        }
        self.time_on(false, threads, share::THREADS);
        self.section = "batch".into();
        self.time_on(false, batches, share::BATCHES);
        self.section = "size".into();
        self.time(sizes, share::SIZES);
        Ok(())
    }

    /// 1x1 and depthwise layers over the channel counts around 58, on every instruction set.
    fn channels(&mut self) -> Result<(), String> {
        self.begin("channels", "channels");
        let mut works = Vec::new();
        for isa in Isa::available() {
            for channels in sweeps::CHANNELS {
                for (name, layer) in sweeps::channel_layers(channels) {
                    works.push((format!("channels/{isa}/{name}/{channels}"), layer.work(), isa));
                }
            }
        }
        let ready = self.ready(works)?;
        self.time(ready.iter().map(|ready| self.job(ready)).collect(), share::CHANNELS);
        Ok(())
    }
}

/// The least seconds of each class of work over some runs, timed layer by layer.
fn split(ready: &Ready, runs: usize, threads: usize) -> Split {
    let parallel: &dyn Parallel = if threads > 1 { &Rayon } else { &Serial };
    let (mut runner, layers) = (ready.runner(), ready.program.layers());
    let costs = ready.program.costs(ready.work.h, ready.work.w).expect("it was checked");
    let mut parts: Vec<Part> = Vec::new();
    for class in Class::ALL {
        let of = layers.iter().zip(&costs).filter(|(layer, _)| layer.class == class);
        let macs: Vec<u64> = of.map(|(_, cost)| cost.macs).collect();
        if !macs.is_empty() {
            let class = class.name().to_owned();
            parts.push(Part { class, seconds: f64::INFINITY, macs: macs.iter().sum() });
        }
    }
    for _ in 0..runs {
        let mut before = Instant::now();
        let mut seconds = vec![0.0; parts.len()];
        runner.observe(parallel, &mut |layer| {
            let now = Instant::now();
            let name = layers[layer].class.name();
            let part = parts.iter().position(|part| part.class == name).expect("every class has a part");
            seconds[part] += (now - before).as_secs_f64();
            before = Instant::now();
        });
        parts.iter_mut().zip(seconds).for_each(|(part, seconds)| part.seconds = part.seconds.min(seconds));
    }
    Split { id: ready.id.clone(), parts }
}

/// The least seconds of each step over some runs.
fn steps(ready: &Ready, runs: usize, threads: usize) -> Vec<f64> {
    let parallel: &dyn Parallel = if threads > 1 { &Rayon } else { &Serial };
    let mut runner = ready.runner();
    let mut least = vec![f64::INFINITY; ready.program.layers().len()];
    for _ in 0..runs {
        let mut before = Instant::now();
        runner.observe(parallel, &mut |layer| {
            let now = Instant::now();
            least[layer] = least[layer].min((now - before).as_secs_f64());
            before = now;
        });
    }
    least
}

/// What it takes to start a network, from weights in memory.
fn cold(network: &Network, options: Options) -> Result<Cold, String> {
    let Network { id, work, .. } = network;
    let weights = Drawn::new(&work.graph);
    let began = Instant::now();
    let program = Program::build(&work.graph, &weights, options.isa, work.passes);
    let build = began.elapsed().as_secs_f64();
    let ready =
        Ready { id: id.clone(), work: work.clone(), program: program.map_err(|e| format!("{id}: {e}"))? };
    let parallel: &dyn Parallel = if options.threads > 1 { &Rayon } else { &Serial };
    let mut runner = ready.runner();
    let began = Instant::now();
    runner.run(parallel);
    Ok(Cold { id: id.clone(), build, first: began.elapsed().as_secs_f64() })
}
