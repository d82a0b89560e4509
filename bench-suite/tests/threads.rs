//! Processor time over wall time tells how many threads worked. Alone in its process: it counts them all.
#![cfg(unix)]

use std::hint::black_box;
use std::time::Duration;

use bench_suite::run::measure::{Plan, Rounds, Series, Variant, interleave};
use kernels::Isa;

/// Some milliseconds of work on registers alone, which takes the same time wherever it runs.
fn work() {
    black_box(Isa::best().fma_burst(100_000));
}

/// Processor seconds of a run. On a busy machine wall time grows, this hardly does.
fn cpu_seconds(series: &Series) -> f64 {
    let mean = series.samples.iter().sum::<f64>() / series.samples.len() as f64;
    mean * series.cpu_over_wall.expect("the system tells processor time")
}

/// What is asleep at its first tries is tried again.
#[test]
#[ignore = "times things: cargo test -p bench-suite -- --ignored --test-threads 1"]
fn interrupted_samples_are_taken_again() {
    let plan = |patience| Plan {
        budget: Duration::ZERO,
        min_rounds: 8,
        max_rounds: 8,
        min_sample: Duration::from_micros(50),
        patience,
    };
    let busy = |patience| {
        let mut calls = 0;
        let run = move || {
            calls += 1;
            if calls % 4 == 0 { work() } else { std::thread::sleep(Duration::from_millis(2)) }
        };
        let mut variants: [Variant<'_>; 1] = [Box::new(run)];
        interleave(&mut variants, &plan(patience), || true, |_| ()).series[0].cpu_over_wall.unwrap()
    };
    let (waits, at_once) = (busy(Duration::from_secs(60)), busy(Duration::ZERO));
    assert!(waits > 0.8 && at_once < 0.8, "{waits} {at_once}");
}

#[test]
#[ignore = "times things: cargo test -p bench-suite -- --ignored --test-threads 1"]
fn sleepers_and_workers_are_counted() {
    let plan = Plan {
        budget: Duration::ZERO,
        min_rounds: 8,
        max_rounds: 20,
        min_sample: Duration::from_millis(1),
        patience: Duration::ZERO,
    };
    let mut variants: [Variant<'_>; 3] = [
        Box::new(|| std::thread::sleep(Duration::from_millis(5))),
        Box::new(work),
        Box::new(|| {
            rayon::join(work, work);
        }),
    ];
    let Rounds { series, .. } = interleave(&mut variants, &plan, || true, |_| ());
    let [none, one, two] = [0, 1, 2].map(|i| cpu_seconds(&series[i]));
    assert!(none < 0.2 * one, "{none} {one}");
    assert!((1.5..3.0).contains(&(two / one)), "{one} {two}");
    // One thread never gets more than one core.
    assert!(series[1].cpu_over_wall < Some(1.1), "{:?}", series[1].cpu_over_wall);
}
