//! Timing many variants against each other fairly.
//!
//! Machines drift: clocks change, neighbours come and go. So no variant is measured on its own. After a
//! warm-up, every round takes one sample of every variant, each round begins with another variant, and what
//! a slow phase costs it costs all of them. The others have pushed a variant's data out of the caches meanwhile; one run
//! that is not counted brings it back. The minimum then tells what the machine can do, median and
//! percentiles what it did; all samples are kept.

use std::time::{Duration, Instant};

/// One thing to time; a call runs it once.
pub type Variant<'a> = Box<dyn FnMut() + Send + 'a>;

/// A run longer than this streams more than caches hold, and needs no other run to warm them.
const WARMS_ITSELF: Duration = Duration::from_millis(30);

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

/// Takes samples of all variants in rounds. `between` is called after every round, with the share of the plan that
/// is behind us.
pub fn interleave(variants: &mut [Variant<'_>], plan: &Plan, mut between: impl FnMut(f64)) -> Vec<Series> {
    let (repeats, fastest): (Vec<u32>, Vec<Duration>) =
        variants.iter_mut().map(|v| warm_up(v, plan.min_sample)).unzip();
    let mut samples = vec![Vec::new(); variants.len()];
    let mut busy = vec![(0.0, Some(0.0)); variants.len()];
    let start = Instant::now();
    for round in 0..plan.max_rounds {
        let spent = start.elapsed().as_secs_f64() / plan.budget.as_secs_f64();
        if round >= plan.min_rounds && spent >= 1.0 {
            break;
        }
        for step in 0..variants.len() {
            let i = (round + step) % variants.len();
            if fastest[i] < WARMS_ITSELF {
                variants[i]();
            }
            let cpu = cpu_time();
            let began = Instant::now();
            for _ in 0..repeats[i] {
                variants[i]();
            }
            let wall = began.elapsed().as_secs_f64();
            samples[i].push(wall / f64::from(repeats[i]));
            busy[i].0 += wall;
            busy[i].1 = sum(busy[i].1, difference(cpu_time(), cpu));
        }
        between(spent.max(round as f64 / plan.max_rounds as f64).min(1.0));
    }
    samples
        .into_iter()
        .zip(repeats)
        .zip(busy)
        .map(|((samples, runs_per_sample), (wall, cpu))| Series {
            samples,
            runs_per_sample,
            cpu_over_wall: cpu.map(|cpu| cpu / wall),
        })
        .collect()
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

fn sum(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    Some(a? + b?)
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
        let series = interleave(&mut variants, &plan, |share| shares.push(share));
        assert!(series.iter().all(|s| s.samples.len() == 3 && s.samples.iter().all(|&t| t >= 1e-4)));
        drop(variants);
        let order = order.into_inner().unwrap();
        assert!(order.ends_with("aabbccbbccaaccaabb"), "{order}");
        assert_eq!(shares.len(), 3);
    }

    #[test]
    #[ignore = "times things: cargo test -p bench-suite -- --ignored --test-threads 1"]
    fn short_runs_are_repeated_and_a_long_run_takes_longer() {
        let spin = |rounds: u64| -> Variant<'_> {
            Box::new(move || {
                black_box(spin(rounds));
            })
        };
        let series = interleave(&mut [spin(100), spin(100_000)], &PLAN, |_| ());
        assert!(series[0].runs_per_sample > 10, "{:?}", series[0]);
        let min = |s: &Series| s.samples.iter().copied().fold(f64::MAX, f64::min);
        assert!(min(&series[1]) > 20.0 * min(&series[0]));
    }
}
