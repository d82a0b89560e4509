//! Threads are the caller's choice: operators split their work into tasks and hand them to whoever runs them.
//!
//! Every output element is computed by one task with the same sequence of operations however the work is cut, so
//! results do not depend on the number of threads.

/// Somebody who runs independent tasks.
///
/// Implement it for a thread pool of your own; the operators never start a thread themselves.
pub trait Parallel: Sync {
    /// How many tasks can run at the same time; operators cut their work accordingly.
    fn threads(&self) -> usize;

    /// Runs `task(0)` to `task(tasks - 1)`, in any order, and returns when all have ended.
    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));
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
