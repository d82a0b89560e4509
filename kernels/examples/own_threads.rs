//! A thread pool of one's own behind the operators, and no rayon.
//!
//! ```text
//! cargo run --release -p kernels --no-default-features --features std --example own_threads
//! ```

use kernels::{Activation, Depthwise, Error, Parallel, Pointwise, Serial, Shape, Tensor, Window};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// Threads that sleep until there is work.
struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// One call of `for_each` at a time.
    turn: Mutex<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is a new job, or the pool ends.
    start: Condvar,
    /// The last worker has left the job.
    done: Condvar,
}

#[derive(Default)]
struct State {
    job: Option<Arc<Job>>,
    /// Workers that have yet to leave the job.
    busy: usize,
    end: bool,
}

struct Job {
    /// Borrowed from the caller of `for_each`, who waits until every worker has left the job.
    task: &'static (dyn Fn(usize) + Sync),
    tasks: usize,
    next: AtomicUsize,
    panicked: AtomicBool,
}

impl Job {
    /// Takes tasks until none is left.
    fn work(&self) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.tasks {
                return;
            }
            if catch_unwind(AssertUnwindSafe(|| (self.task)(index))).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the lock")
    }

    fn worker(&self) {
        let mut state = self.lock();
        let mut last: Option<Arc<Job>> = None;
        while !state.end {
            match state.job.clone() {
                Some(job) if !last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &job)) => {
                    drop(state);
                    job.work();
                    last = Some(job);
                    state = self.lock();
                    state.busy -= 1;
                    if state.busy == 0 {
                        self.done.notify_one();
                    }
                }
                _ => state = self.start.wait(state).expect("no thread panics while it holds the lock"),
            }
        }
    }
}

impl Pool {
    /// A pool of `threads` threads, the caller's counted in.
    fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let worker = |_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.worker())
        };
        let workers = (1..threads).map(worker).collect();
        Self { shared, workers, turn: Mutex::new(()) }
    }
}

impl Parallel for Pool {
    fn threads(&self) -> usize {
        1 + self.workers.len()
    }

    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        if tasks <= 1 || self.workers.is_empty() {
            return Serial.for_each(tasks, task);
        }
        let turn = self.turn.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // SAFETY: the lifetime is only made longer on paper. This function returns, or panics, after every worker has
        // left the job, and workers do not call the task of a job that they have left.
        let task: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(task) };
        let job = Arc::new(Job { task, tasks, next: AtomicUsize::new(0), panicked: AtomicBool::new(false) });
        let mut state = self.shared.lock();
        state.job = Some(Arc::clone(&job));
        state.busy = self.workers.len();
        drop(state);
        self.shared.start.notify_all();
        job.work();
        let mut state = self.shared.lock();
        while state.busy > 0 {
            state = self.shared.done.wait(state).expect("no thread panics while it holds the lock");
        }
        state.job = None;
        drop(state);
        drop(turn);
        assert!(!job.panicked.load(Ordering::Relaxed), "a task panicked");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().end = true;
        self.shared.start.notify_all();
        for worker in self.workers.drain(..) {
            worker.join().expect("workers catch panics");
        }
    }
}

/// Depthwise and 1x1 convolution, from MobileNetV1 at 56x56.
struct Layers {
    depthwise: Depthwise,
    pointwise: Pointwise,
}

impl Layers {
    fn new() -> Result<Self, Error> {
        let weights =
            |len: usize| (0..len).map(|i| ((i * 37 % 101) as f32 - 50.0) / 400.0).collect::<Vec<_>>();
        let (depthwise, pointwise) =
            (Depthwise::builder(128, Window::new(3).pad(1)), Pointwise::builder(128, 128));
        Ok(Self {
            depthwise: depthwise.activation(Activation::Relu).build(&weights(128 * 9))?,
            pointwise: pointwise.activation(Activation::Relu).build(&weights(128 * 128))?,
        })
    }

    fn run(&self, parallel: &dyn Parallel, src: &Tensor, filtered: &mut Tensor, dst: &mut Tensor) {
        self.depthwise.on(parallel).run(src.view(), filtered.view_mut());
        self.pointwise.on(parallel).run(filtered.view(), dst.view_mut());
    }
}

fn main() -> Result<(), Error> {
    let layers = Layers::new()?;
    let shape = Shape::new(128, 56, 56);
    let image: Vec<f32> = (0..shape.c * shape.pixels()).map(|i| (i % 251) as f32 / 251.0).collect();
    let src = Tensor::from_nchw(&image, shape)?;
    let (mut filtered, mut dst) = (Tensor::zeros(shape), Tensor::zeros(shape));
    layers.run(&Serial, &src, &mut filtered, &mut dst);
    let alone = dst.to_nchw();
    for threads in [1, 2, 3, 8] {
        let pool = Pool::new(threads);
        let mut fastest = f64::INFINITY;
        for _ in 0..50 {
            dst.view_mut().data_mut().fill(f32::NAN);
            let start = Instant::now();
            layers.run(&pool, &src, &mut filtered, &mut dst);
            fastest = fastest.min(start.elapsed().as_secs_f64());
            assert!(dst.to_nchw() == alone, "the result depends on the threads");
        }
        println!("{threads} threads: {:.3} ms", 1e3 * fastest);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_do_not_depend_on_the_pool() -> Result<(), Error> {
        main()
    }

    #[test]
    fn every_task_runs_once() {
        let pool = Pool::new(4);
        for tasks in [0, 1, 2, 3, 4, 5, 100] {
            let runs: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
            pool.for_each(tasks, &|i| {
                runs[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1), "{tasks} tasks: {runs:?}");
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(3);
        let task = |i: usize| assert_ne!(i, 5);
        catch_unwind(AssertUnwindSafe(|| pool.for_each(10, &task))).unwrap_err();
        pool.for_each(5, &task);
    }
}
