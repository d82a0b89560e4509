//! Threads are the caller's choice: operators split their work into tasks and hand them to whoever runs them.
//!
//! Every output element is computed by one task with the same sequence of operations however the work is cut, so
//! results do not depend on the number of threads.

/// Runs independent tasks, on one thread or on many.
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
/// op.on(&Scoped(2)).run(src.view(), dst.view_mut());
/// assert_eq!(dst.view().get(63, 9, 9), 32.0);
/// # Ok::<(), kernels::Error>(())
/// ```
pub trait Parallel: Sync {
    /// How many tasks can run at the same time; operators cut their work accordingly. Where it is one, they compute on the
    /// calling thread and do not ask for [`for_each`](Self::for_each).
    fn threads(&self) -> usize;

    /// Runs `task(0)` to `task(tasks - 1)`, in any order, and returns when all have ended. (Operators panic where some
    /// were left out; to call one twice does nothing.)
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
