//! Timing many variants against each other fairly.
//!
//! Machines drift: clocks change, neighbours come and go. So no variant is measured on its own. After a
//! warm-up, every round takes one sample of every variant, each round begins with another variant, and what
//! a slow phase costs it costs all of them. The others have pushed a variant's data out of the caches meanwhile; one run
//! that is not counted brings it back. The minimum then tells what the machine can do, median and
//! percentiles what it did.
//!
//! A short sample during which the program had to wait for a processor is taken again at once. And in each round somebody
//! watches the machine. A round in which it was disturbed is repeated, as long as patience lasts;
//! where enough quiet rounds came together the disturbed ones are left out, else all are kept.

use std::time::{Duration, Instant};

/// One thing to time; a call runs it once.
pub type Variant<'a> = Box<dyn FnMut() + Send + 'a>;

/// A run longer than this streams more than caches hold, and needs no other run to warm them.
const WARMS_ITSELF: Duration = Duration::from_millis(30);

/// A longer sample is hardly ever taken without another program's turn in it where there is one: it is not taken again.
const SHORT: Duration = Duration::from_millis(10);

/// How often a sample is taken until nothing interrupts it.
const TRIES: usize = 8;

/// The machine is watched at the end of each round, and during it when this much time has passed.
const WATCHED_EVERY: Duration = Duration::from_millis(100);

/// How long to go on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Wall time for all rounds together, without warm-up.
    pub budget: Duration,
    /// Rounds even if the budget is spent.
    pub min_rounds: usize,
    /// Rounds that are enough.
    pub max_rounds: usize,
    /// A sample repeats a short run until it lasts about this long, for the clock's sake.
    pub min_sample: Duration,
    /// Wall time for repeating rounds in which the machine was disturbed.
    pub patience: Duration,
}

/// What was measured for one variant.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Seconds per run, in the order measured.
    pub samples: Vec<f64>,
    /// Runs averaged into each sample.
    pub runs_per_sample: u32,
    /// Processor time over wall time during the samples: the threads that really worked.
    pub cpu_over_wall: Option<f64>,
}

/// What was measured for all variants.
#[derive(Clone, Debug, PartialEq)]
pub struct Rounds {
    /// One for each variant; sample `i` of each is of the same round.
    pub series: Vec<Series>,
    /// Rounds that were left out, since they were disturbed and repeated.
    pub repeated: usize,
    /// Rounds that were kept although they were disturbed.
    pub disturbed: usize,
}

/// One variant in one round.
struct Sample {
    wall: f64,
    /// Processor time.
    cpu: Option<f64>,
}

/// The share of its time that a sample must have had a processor, not to be taken again.
const UNDISTURBED: f64 = 0.97;

impl Sample {
    /// Threads that worked, on average: less than one where the program waited. As good as any where that is not known.
    fn busy(&self) -> f64 {
        self.cpu.map_or(1.0, |cpu| cpu / self.wall)
    }
}

/// Takes samples of all variants in rounds. `quiet` looks at the machine and says whether it is as fast as it can be.
/// `between` is called after every round, with the share of the plan that is behind us.
pub fn interleave(
    variants: &mut [Variant<'_>],
    plan: &Plan,
    mut quiet: impl FnMut() -> bool,
    mut between: impl FnMut(f64),
) -> Rounds {
    let (repeats, fastest): (Vec<u32>, Vec<Duration>) =
        variants.iter_mut().map(|v| warm_up(v, plan.min_sample)).unzip();
    let mut rounds: Vec<(bool, Vec<Sample>)> = Vec::new();
    let (start, mut lost) = (Instant::now(), Duration::ZERO);
    loop {
        let calm = rounds.iter().filter(|round| round.0).count();
        let counted = if lost < plan.patience { calm } else { rounds.len() };
        let spent = start.elapsed().saturating_sub(lost.min(plan.patience));
        let share = spent.as_secs_f64() / plan.budget.as_secs_f64();
        if !rounds.is_empty() {
            between(share.max(counted as f64 / plan.max_rounds as f64).min(1.0));
        }
        if counted >= plan.max_rounds || (counted >= plan.min_rounds && spent >= plan.budget) {
            break;
        }
        let (begin, lost_before) = (Instant::now(), lost);
        let (mut calm, mut watched) = (true, begin);
        let mut samples: Vec<Option<Sample>> = variants.iter().map(|_| None).collect();
        for step in 0..variants.len() {
            let i = (rounds.len() + step) % variants.len();
            if fastest[i] < WARMS_ITSELF {
                variants[i]();
            }
            let again = if fastest[i] * repeats[i] < SHORT { TRIES } else { 1 };
            let mut best = sample(&mut variants[i], repeats[i]);
            for _ in 1..again {
                if best.busy() >= UNDISTURBED || lost >= plan.patience {
                    break;
                }
                let other = sample(&mut variants[i], repeats[i]);
                lost += Duration::from_secs_f64(other.wall);
                if other.busy() > best.busy() {
                    best = other;
                }
            }
            samples[i] = Some(best);
            if watched.elapsed() >= WATCHED_EVERY {
                calm &= quiet();
                watched = Instant::now();
            }
        }
        calm &= quiet();
        if !calm {
            // With the samples that were taken again, which count already.
            lost = lost_before + begin.elapsed();
        }
        rounds.push((calm, samples.into_iter().flatten().collect()));
    }
    collect(rounds, plan.min_rounds, repeats)
}

fn sample(run: &mut Variant<'_>, repeats: u32) -> Sample {
    let cpu = cpu_time();
    let began = Instant::now();
    for _ in 0..repeats {
        run();
    }
    let wall = began.elapsed().as_secs_f64();
    Sample { wall, cpu: difference(cpu_time(), cpu) }
}

/// The quiet rounds where there are enough of them, else all.
fn collect(mut rounds: Vec<(bool, Vec<Sample>)>, enough: usize, repeats: Vec<u32>) -> Rounds {
    let all = rounds.len();
    if rounds.iter().filter(|round| round.0).count() >= enough {
        rounds.retain(|round| round.0);
    }
    let series = |(i, runs_per_sample): (usize, u32)| {
        let samples = || rounds.iter().map(|round| &round.1[i]);
        let wall: f64 = samples().map(|sample| sample.wall).sum();
        let cpu: Option<f64> = samples().map(|sample| sample.cpu).sum();
        Series {
            samples: samples().map(|sample| sample.wall / f64::from(runs_per_sample)).collect(),
            runs_per_sample,
            cpu_over_wall: cpu.map(|cpu| cpu / wall),
        }
    };
    Rounds {
        series: repeats.into_iter().enumerate().map(series).collect(),
        repeated: all - rounds.len(),
        disturbed: rounds.iter().filter(|round| !round.0).count(),
    }
}

/// Runs at least twice, and until one sample's worth of time has passed; how often one sample has to run it, and its
/// fastest run.
fn warm_up(run: &mut dyn FnMut(), min_sample: Duration) -> (u32, Duration) {
    let start = Instant::now();
    let mut fastest = Duration::MAX;
    let mut runs = 0;
    while runs < 2 || start.elapsed() < min_sample {
        let began = Instant::now();
        run();
        fastest = fastest.min(began.elapsed());
        runs += 1;
    }
    let fastest = fastest.max(Duration::from_nanos(20));
    let repeats = min_sample.as_secs_f64() / fastest.as_secs_f64();
    (repeats.ceil().clamp(1.0, 1e6) as u32, fastest)
}

fn difference(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    Some(a? - b?)
}

/// Seconds of processor time this process has used, all threads together.
#[cfg(unix)]
fn cpu_time() -> Option<f64> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9)
}

#[cfg(not(unix))]
fn cpu_time() -> Option<f64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;
    use std::sync::Mutex;

    fn spin(rounds: u64) -> u64 {
        (0..rounds).fold(0, |a, b| black_box(a ^ b))
    }

    const PLAN: Plan = Plan {
        budget: Duration::from_millis(5),
        min_rounds: 4,
        max_rounds: 6,
        min_sample: Duration::from_micros(50),
        patience: Duration::ZERO,
    };

    #[test]
    fn every_round_samples_every_variant_and_the_order_turns() {
        let order = Mutex::new(String::new());
        // Longer than a sample, so that each sample is one run.
        let run = |name: char| {
            order.lock().unwrap().push(name);
            std::thread::sleep(Duration::from_micros(100));
        };
        let mut variants = ['a', 'b', 'c'].map(|name| -> Variant<'_> { Box::new(move || run(name)) });
        let plan = Plan { budget: Duration::ZERO, min_rounds: 3, ..PLAN };
        let mut shares = Vec::new();
        let Rounds { series, repeated, disturbed } =
            interleave(&mut variants, &plan, || true, |share| shares.push(share));
        assert_eq!((repeated, disturbed), (0, 0));
        assert!(series.iter().all(|s| s.samples.len() == 3 && s.samples.iter().all(|&t| t >= 1e-4)));
        drop(variants);
        let order = order.into_inner().unwrap();
        assert!(order.ends_with("aabbccbbccaaccaabb"), "{order}");
        assert_eq!(shares.len(), 3);
    }

    /// Runs that sleep as long as a script says, and a watcher who says what it was told.
    fn watched(plan: Plan, calm: &[bool]) -> Rounds {
        let mut looks = calm.iter().copied().cycle();
        let mut variants: [Variant<'_>; 1] = [Box::new(|| std::thread::sleep(Duration::from_micros(100)))];
        interleave(&mut variants, &plan, || looks.next().unwrap(), |_| ())
    }

    #[test]
    fn disturbed_rounds_are_repeated_while_patience_lasts() {
        let plan = Plan { budget: Duration::ZERO, patience: Duration::from_secs(60), ..PLAN };
        let rounds = watched(plan, &[false, true, false]);
        // Every second of three is quiet: the fourth quiet one is the eleventh.
        assert_eq!((rounds.series[0].samples.len(), rounds.repeated, rounds.disturbed), (4, 7, 0));
        // Where nobody waits, all are kept.
        let rounds = watched(Plan { patience: Duration::ZERO, ..plan }, &[false, true]);
        assert_eq!((rounds.series[0].samples.len(), rounds.repeated, rounds.disturbed), (4, 0, 2));
        // Patience ends.
        let rounds = watched(Plan { patience: Duration::from_millis(5), ..plan }, &[false]);
        assert!(rounds.series[0].samples.len() >= 4 && rounds.disturbed == rounds.series[0].samples.len());
    }

    #[test]
    #[ignore = "times things: cargo test -p bench-suite -- --ignored --test-threads 1"]
    fn short_runs_are_repeated_and_a_long_run_takes_longer() {
        let spin = |rounds: u64| -> Variant<'_> {
            Box::new(move || {
                black_box(spin(rounds));
            })
        };
        let series = interleave(&mut [spin(100), spin(100_000)], &PLAN, || true, |_| ()).series;
        assert!(series[0].runs_per_sample > 10, "{:?}", series[0]);
        let min = |s: &Series| s.samples.iter().copied().fold(f64::MAX, f64::min);
        assert!(min(&series[1]) > 20.0 * min(&series[0]));
    }
}
