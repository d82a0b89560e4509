//! Threads are the caller's choice: operators split their work into tasks and hand them to whoever runs them.
//!
//! Every output element is computed by one task with the same sequence of operations however the work is cut, so
//! results do not depend on the number of threads.

use core::sync::atomic::{AtomicUsize, Ordering};

/// Somebody who runs independent tasks.
///
/// Implement it for a thread pool of your own; the operators never start a thread themselves.
///
/// ```
/// use kernels::{Parallel, Pointwise, Shape, Tensor};
///
/// struct Scoped(usize);
///
/// impl Parallel for Scoped {
///     fn threads(&self) -> usize {
///         self.0
///     }
///
///     fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
///         std::thread::scope(|scope| (0..tasks).for_each(|i| drop(scope.spawn(move || task(i)))));
///     }
/// }
///
/// let op = Pointwise::builder(32, 64).build(&[1.0; 64 * 32])?;
/// let src = Tensor::from_nchw(&[1.0; 32 * 100], Shape::new(32, 10, 10))?;
/// let mut dst = Tensor::zeros(Shape::new(64, 10, 10));
/// op.run_with(&Scoped(2), src.view(), None, dst.view_mut());
/// assert_eq!(dst.view().get(63, 9, 9), 32.0);
/// # Ok::<(), kernels::Error>(())
/// ```
pub trait Parallel: Sync {
    /// How many tasks can run at the same time; operators cut their work accordingly.
    fn threads(&self) -> usize;

    /// Runs `task(0)` to `task(tasks - 1)`, in any order, and returns when all have ended. (Operators panic where some
    /// were left out; to call one twice does nothing.)
    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));
}

/// Threads that work is cut for: those that `parallel` says it has, but at most 2^14, so that no product of parts wraps.
pub(crate) fn threads(parallel: &dyn Parallel) -> usize {
    parallel.threads().clamp(1, 1 << 14)
}

/// Runs `work(0)` to `work(tasks - 1)`, each once, whatever `parallel` calls: operators write through pointers, and must
/// not trust somebody else's `for_each` that no two tasks are the same. So a call for a task that is taken, or that does
/// not exist, takes another.
pub(crate) fn each_once(parallel: &dyn Parallel, tasks: usize, work: &(dyn Fn(usize) + Sync)) {
    let claims = Claims::none();
    for from in (0..tasks).step_by(Claims::MOST) {
        let tasks = (tasks - from).min(Claims::MOST);
        claims.free(tasks);
        parallel.for_each(tasks, &|wanted| {
            if let Some(task) = claims.take(|_| wanted) {
                work(from + task);
            }
        });
        let left = claims.clear();
        assert!(left == 0, "Parallel::for_each ran {} of {tasks} tasks", tasks - left);
    }
}

/// Which tasks are free: a bit each.
pub(crate) struct Claims {
    free: [AtomicUsize; WORDS],
    tasks: AtomicUsize,
}

const BITS: usize = usize::BITS as usize;
const WORDS: usize = Claims::MOST / BITS;

impl Claims {
    /// Tasks at a time.
    pub(crate) const MOST: usize = 256;

    pub(crate) fn none() -> Self {
        Self { free: Default::default(), tasks: AtomicUsize::new(0) }
    }

    /// Makes 0 to `tasks - 1` free, and what was written before visible to those who take one. None may be free.
    pub(crate) fn free(&self, tasks: usize) {
        self.tasks.store(tasks, Ordering::Relaxed);
        for (i, word) in self.free.iter().enumerate() {
            let bits = tasks.saturating_sub(BITS * i).min(BITS);
            if bits > 0 {
                word.store(usize::MAX >> (BITS - bits), Ordering::Release);
            }
        }
    }

    /// Takes a free task: that which `wanted` makes of their number, if it can be had, else one of those behind it, else
    /// any.
    pub(crate) fn take(&self, wanted: impl Fn(usize) -> usize) -> Option<usize> {
        let wanted = wanted(self.tasks.load(Ordering::Relaxed)) % Self::MOST;
        for i in 0..=WORDS {
            let word = (wanted / BITS + i) % WORDS;
            let mut free = self.free[word].load(Ordering::Relaxed);
            if i == 0 {
                free &= usize::MAX << (wanted % BITS);
            }
            while free != 0 {
                let bit = free & free.wrapping_neg();
                if self.free[word].fetch_and(!bit, Ordering::Acquire) & bit != 0 {
                    return Some(BITS * word + bit.trailing_zeros() as usize);
                }
                free &= !bit;
            }
        }
        None
    }

    /// Withdraws the tasks that nobody took, and says how many.
    pub(crate) fn clear(&self) -> usize {
        self.free.iter().map(|word| word.swap(0, Ordering::Acquire).count_ones() as usize).sum()
    }
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
