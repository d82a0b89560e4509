//! Measuring fairly: every round takes one sample of each thing, so that what a slow phase of the machine costs it
//! costs all of them.

use kernels::{Isa, Parallel};
use model::sentinel::Sentinel;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Processors that this process may run on, as its affinity and its control group say. Asked before threads are bound.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What the multiply-add units can do, measured in between.
pub(crate) struct Peak {
    isa: Isa,
    threads: usize,
    /// Rounds of a burst.
    rounds: usize,
    /// The most FLOP per second that were seen.
    best: f64,
}

impl Peak {
    /// For `isa` on all threads of `parallel`, in whose pool the caller stands.
    pub(crate) fn new(isa: Isa, parallel: &dyn Parallel) -> Self {
        // Long enough for the clock, short beside a network.
        const BURST: f64 = 150e-6;
        let mut rounds = 64;
        // Several times, since one that was interrupted would pass for a long one.
        while (0..3).any(|_| time(|| isa.fma_burst(rounds)) < BURST) {
            rounds *= 2;
        }
        Self { isa, threads: parallel.threads(), rounds, best: 0.0 }
    }

    /// One burst for each thread, cut into parts that whoever is free takes, as the work of a network is. The time is
    /// that from the first part's begin to the last one's end: threads that share a processor have its speed together,
    /// not each.
    pub(crate) fn sample(&mut self) {
        const PARTS: usize = 16;
        let (ready, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = || {
            // Waking up takes longer than a burst.
            ready.fetch_add(1, Ordering::Relaxed);
            while ready.load(Ordering::Relaxed) < self.threads {
                std::thread::yield_now();
            }
            let (start, mut end, mut flops) = (Instant::now(), None, 0);
            while taken.fetch_add(1, Ordering::Relaxed) < PARTS * self.threads {
                flops += self.isa.fma_burst(self.rounds / PARTS);
                end = Some(Instant::now());
            }
            end.map(|end| (start, end, flops))
        };
        let done = if self.threads == 1 { vec![work()] } else { rayon::broadcast(|_| work()) };
        let done: Vec<_> = done.into_iter().flatten().collect();
        let flops: u64 = done.iter().map(|(.., flops)| flops).sum();
        if let (Some(start), Some(end)) = (done.iter().map(|d| d.0).min(), done.iter().map(|d| d.1).max()) {
            self.best = self.best.max(flops as f64 / (end - start).as_secs_f64());
        }
    }

    /// FLOP per second.
    pub(crate) fn flops(&self) -> f64 {
        self.best
    }
}

/// Rounds that are made even when the time is over.
const MIN_ROUNDS: usize = 10;

/// As much more than its time may a measurement take for rounds that are repeated.
const PATIENCE: f64 = 0.5;

/// What is left of the rounds of [`watched`].
pub(crate) struct Watched {
    /// Seconds of each round that was kept, the least first.
    pub(crate) samples: Vec<f64>,
    /// Rounds that were left out, since the machine was disturbed and they were repeated.
    pub(crate) repeated: usize,
    /// Rounds that were kept although the machine was disturbed.
    pub(crate) disturbed: usize,
}

/// As [`rounds`], with a sentinel in each: rounds in which it strays are repeated while there is time. Where enough quiet
/// rounds came together the others are left out, else all are kept.
pub(crate) fn watched(seconds: f64, isa: Isa, mut round: impl FnMut() -> f64) -> Watched {
    let mut sentinel = Sentinel::new(isa);
    warm(seconds, || {
        round();
    });
    sentinel.look();
    let (mut quiet, mut strayed) = (Vec::new(), Vec::new());
    let (start, mut lost) = (Instant::now(), 0.0);
    loop {
        let patience = lost < PATIENCE * seconds;
        let counted = if patience { quiet.len() } else { quiet.len() + strayed.len() };
        let spent = start.elapsed().as_secs_f64() - f64::min(lost, PATIENCE * seconds);
        if counted >= MIN_ROUNDS && spent >= seconds {
            break;
        }
        let begin = Instant::now();
        let sample = round();
        if sentinel.look().is_quiet() {
            quiet.push(sample);
        } else {
            strayed.push(sample);
            lost += begin.elapsed().as_secs_f64();
        }
    }
    let left_out = quiet.len() >= MIN_ROUNDS;
    let mut watched = Watched { samples: quiet, repeated: 0, disturbed: 0 };
    if left_out {
        watched.repeated = strayed.len();
    } else {
        watched.disturbed = strayed.len();
        watched.samples.extend(strayed);
    }
    watched.samples.sort_by(f64::total_cmp);
    watched
}

/// Up to where the minimum might have come out: what half of the samples, drawn at random, would exceed as their minimum
/// in one case of forty. Sorted samples, at least one.
pub(crate) fn upper(sorted: &[f64]) -> f64 {
    let half = sorted.len().div_ceil(2);
    let mut exceeds = 1.0;
    for (i, sample) in sorted.iter().enumerate() {
        // None of the first i + 1 samples is in the half.
        exceeds *= (sorted.len() - half).saturating_sub(i) as f64 / (sorted.len() - i) as f64;
        if exceeds <= 0.025 {
            return *sample;
        }
    }
    sorted[sorted.len() - 1]
}

/// Calls `round` until `seconds` are over and it was called at least ten times; what it does before that, for
/// a fifth of the time, does not count. The argument says whether it counts.
pub(crate) fn rounds(seconds: f64, mut round: impl FnMut(bool)) {
    warm(seconds, || round(false));
    let start = Instant::now();
    let mut counted = 0;
    while counted < MIN_ROUNDS || start.elapsed().as_secs_f64() < seconds {
        round(true);
        counted += 1;
    }
}

/// Calls `round` at least twice, and for a fifth of `seconds`.
fn warm(seconds: f64, mut round: impl FnMut()) {
    let start = Instant::now();
    let mut warm = 0;
    while warm < 2 || start.elapsed().as_secs_f64() < seconds / 5.0 {
        round();
        warm += 1;
    }
}

/// Seconds that `work` takes.
pub(crate) fn time<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// The `q`-quantile of sorted samples, interpolated between neighbours.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

/// Rounds to five digits behind the point: nanoseconds and finer are noise.
pub(crate) fn tidy(value: f64) -> f64 {
    (value * 1e5).round() / 1e5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minimum_is_known_up_to_the_sixth_of_many() {
        let samples: Vec<f64> = (1..=1000).map(f64::from).collect();
        // One half of two to the sixth: less than one in forty.
        assert_eq!(upper(&samples), 6.0);
        assert_eq!(upper(&[1.0]), 1.0);
        assert_eq!(upper(&[1.0, 2.0]), 2.0);
    }
}
