//! Threads kept at hand. (That results do not depend on them, every operator's tests show.)
#![cfg(all(feature = "std", not(target_family = "wasm")))]

mod common;

use common::*;
use kernels::{Parallel, Serial, team};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Miri takes a thousand times as long, and looks for races in every step of it.
const ROUNDS: usize = if cfg!(miri) { 4 } else { 1000 };

/// One thread per task, begun after `delay`.
struct Threads {
    count: usize,
    delay: Duration,
}

impl Parallel for Threads {
    fn threads(&self) -> usize {
        self.count
    }

    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            for i in 0..tasks {
                scope.spawn(move || {
                    if i > 0 {
                        std::thread::sleep(self.delay);
                    }
                    task(i);
                });
            }
        });
    }
}

const AT_ONCE: Threads = Threads { count: 3, delay: Duration::ZERO };
const LATE: Threads = Threads { count: 3, delay: Duration::from_millis(50) };

/// Counts how often each of `tasks` runs.
fn assert_each_runs_once(parallel: &dyn Parallel, tasks: usize) {
    let runs: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
    parallel.for_each(tasks, &|task| {
        runs[task].fetch_add(1, Ordering::Relaxed);
    });
    assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1), "{tasks} tasks: {runs:?}");
}

#[test]
fn every_task_runs_once() {
    // (In reverse order, nobody ever comes to help.)
    for threads in [&Serial as &dyn Parallel, &AT_ONCE, &LATE, &Reverse(1), &Reverse(5)] {
        team(threads, |parallel| {
            assert_eq!(parallel.threads(), threads.threads());
            for round in 0..ROUNDS / 4 {
                for tasks in [0, 1, 2, 3, 7, 63, 64, 65] {
                    assert_each_runs_once(parallel, tasks + round % 2);
                }
            }
            for tasks in [255, 256, 257, 1000] {
                assert_each_runs_once(parallel, tasks);
            }
        });
    }
}

#[test]
fn what_was_written_before_is_seen_by_every_thread() {
    let mut values = vec![0usize; 1000];
    team(&AT_ONCE, |parallel| {
        for round in 0..ROUNDS {
            let sums: Vec<AtomicUsize> = (0..3).map(|_| AtomicUsize::new(0)).collect();
            parallel.for_each(3, &|task| {
                sums[task].store(values.iter().sum(), Ordering::Relaxed);
            });
            assert!(sums.iter().all(|sum| sum.load(Ordering::Relaxed) == round * values.len()));
            values.iter_mut().for_each(|value| *value += 1);
        }
    });
}

#[test]
fn threads_work_side_by_side() {
    // Each waits for the other: one thread alone would wait for ever.
    team(&Threads { count: 2, delay: Duration::ZERO }, |parallel| {
        let meeting = std::sync::Barrier::new(2);
        for _ in 0..100 {
            parallel.for_each(2, &|_| {
                meeting.wait();
            });
        }
    });
}

#[test]
fn a_task_may_hand_out_tasks() {
    team(&AT_ONCE, |parallel| {
        let runs = AtomicUsize::new(0);
        parallel.for_each(8, &|_| {
            parallel.for_each(5, &|_| {
                runs.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(runs.into_inner(), 40);
    });
}

#[test]
fn a_panic_reaches_the_caller_and_nobody_waits_for_ever() {
    for threads in [&AT_ONCE as &dyn Parallel, &LATE, &Reverse(4)] {
        for bad in [0, 1, 2, 99] {
            let run = AtomicUsize::new(0);
            // `std::thread::scope` and `for_each` itself have sentences of their own.
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                team(threads, |parallel| {
                    parallel.for_each(100, &|task| {
                        run.fetch_add(1, Ordering::Relaxed);
                        assert!(task != bad, "as foreseen");
                    });
                    run.fetch_add(1000, Ordering::Relaxed);
                });
            }));
            assert!(ended.is_err(), "task {bad}");
            assert!(run.into_inner() <= 100, "task {bad}: the work went on");
        }
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            team(threads, |_| panic!("as foreseen"));
        }));
        assert!(ended.is_err());
    }
}

/// Leaves everything out.
struct Lazy;

impl Parallel for Lazy {
    fn threads(&self) -> usize {
        2
    }

    fn for_each(&self, _tasks: usize, _task: &(dyn Fn(usize) + Sync)) {}
}

#[test]
fn work_left_out_is_noticed() {
    assert_panics("Parallel::for_each ran none of 2 tasks", || team(&Lazy, |_| ()));
}
