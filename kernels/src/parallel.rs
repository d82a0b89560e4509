//! Threads are the caller's choice: operators split their work into tasks and hand them to whoever runs them.
//!
//! Every output element is computed by one task with the same sequence of operations however the work is cut, so
//! results do not depend on the number of threads.

use core::sync::atomic::{AtomicUsize, Ordering};

/// Somebody who runs independent tasks.
///
/// Implement it for a thread pool of your own; the operators never start a thread themselves.
pub trait Parallel: Sync {
    /// How many tasks can run at the same time; operators cut their work accordingly.
    fn threads(&self) -> usize;

    /// Runs `task(0)` to `task(tasks - 1)`, in any order, and returns when all have ended. (Operators panic where some
    /// were left out; to call one twice does nothing.)
    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));
}

/// Runs `work(0)` to `work(tasks - 1)`, each once, whatever `parallel` calls: operators write through pointers, and must
/// not trust somebody else's `for_each` that no two tasks are the same. So a call takes whichever number is next.
pub(crate) fn each_once(parallel: &dyn Parallel, tasks: usize, work: &(dyn Fn(usize) + Sync)) {
    let next = AtomicUsize::new(0);
    parallel.for_each(tasks, &|_| {
        let task = next.fetch_add(1, Ordering::Relaxed);
        if task < tasks {
            work(task);
        }
    });
    let run = next.into_inner();
    assert!(run >= tasks, "Parallel::for_each ran {run} of {tasks} tasks");
}

/// One thread: the caller's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Parallel for Serial {
    fn threads(&self) -> usize {
        1
    }

    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }
}

/// The *current* rayon pool: the one whose `install` the caller stands in, else the global one.
///
/// Put `pool.install(|| ...)` around a whole network rather than around each operator: entering a pool from
/// outside costs more than a small layer.
#[cfg(feature = "parallel")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Rayon;

#[cfg(feature = "parallel")]
impl Parallel for Rayon {
    fn threads(&self) -> usize {
        rayon::current_num_threads()
    }

    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        fn split(from: usize, to: usize, task: &(dyn Fn(usize) + Sync)) {
            match to - from {
                0 => {}
                1 => task(from),
                n => {
                    let middle = from + n / 2;
                    rayon::join(|| split(from, middle, task), || split(middle, to, task));
                }
            }
        }
        split(0, tasks, task);
    }
}
