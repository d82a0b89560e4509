//! Threads kept at hand for a sequence of operators, so that handing out a layer costs a few cache lines instead of
//! a fork and a join.

use crate::threads::parallel::Parallel;
use crate::threads::share::Claims;
use core::cell::UnsafeCell;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Runs `work` on one thread of `parallel`, with the others standing by: what `work` gets is a [`Parallel`] whose
/// [`for_each`](Parallel::for_each) starts within a tenth of a microsecond, where a pool takes one to two.
///
/// A small layer takes ten microseconds and a network has fifty, so put this around a whole network. The threads are
/// occupied until `work` ends, also while it does nothing in parallel; none is kept afterwards. Threads that arrive late, or
/// not at all, do not delay the work. With one thread, `work` gets `parallel` itself.
///
/// ```
/// # #[cfg(feature = "parallel")] {
/// use kernels::{Rayon, Shape, Tensor, team};
///
/// let src = Tensor::from_nchw(&[-1.0; 64 * 49], Shape::new(64, 7, 7)).unwrap();
/// let mut dst = Tensor::zeros(Shape::new(64, 7, 7));
/// let op = kernels::Pointwise::builder(64, 64).build(&[0.5; 64 * 64]).unwrap();
/// team(&Rayon, |parallel| {
///     // As many layers as there are.
///     op.on(parallel).run(src.view(), dst.view_mut());
/// });
/// assert_eq!(dst.to_nchw()[0], -32.0);
/// # }
/// ```
///
/// # Panics
/// Where `work` or a task does, and where `parallel` runs no task at all.
pub fn team(parallel: &dyn Parallel, work: impl FnOnce(&dyn Parallel) + Send) {
    let threads = parallel.threads();
    if threads <= 1 {
        return work(parallel);
    }
    let team = Team {
        handout: Line(Handout { claims: Claims::none(), task: UnsafeCell::new(None) }),
        completed: Line(AtomicUsize::new(0)),
        busy: Line(AtomicBool::new(false)),
        threads,
        panicked: AtomicBool::new(false),
        over: AtomicBool::new(false),
    };
    let arrived = AtomicUsize::new(0);
    let work = Lead(UnsafeCell::new(Some(work)));
    parallel.for_each(threads, &|_| match arrived.fetch_add(1, Ordering::Relaxed) {
        0 => {
            let _end = OnDrop(|| team.over.store(true, Ordering::Release));
            // SAFETY: the first to arrive, and so the only one to come here.
            let work = unsafe { work.take() };
            work(&team);
        }
        id => team.follow(id % threads),
    });
    assert!(arrived.into_inner() > 0, "Parallel::for_each ran none of {threads} tasks");
}

/// What the first thread to arrive runs.
struct Lead<F>(UnsafeCell<Option<F>>);

// SAFETY: only `take` touches it, once, from whichever thread: `Send` is what that needs.
unsafe impl<F: Send> Sync for Lead<F> {}

impl<F> Lead<F> {
    /// # Safety
    /// Called once.
    unsafe fn take(&self) -> F {
        // SAFETY: the caller's.
        unsafe { (*self.0.get()).take() }.expect("taken once")
    }
}

/// A task for many threads, its lifetime known to `for_each` alone.
type Task = *const (dyn Fn(usize) + Sync);

/// What travels between processors lies on lines of its own, and no line travels twice for one job: those who look
/// for tasks do not disturb those who report them.
struct Team {
    handout: Line<Handout>,
    /// Tasks that have ended, since the beginning.
    completed: Line<AtomicUsize>,
    busy: Line<AtomicBool>,
    threads: usize,
    panicked: AtomicBool,
    over: AtomicBool,
}

struct Handout {
    claims: Claims,
    /// Runs the tasks in `claims`. Written while none is free or running.
    task: UnsafeCell<Option<Task>>,
}

#[repr(align(128))]
struct Line<T>(T);

// SAFETY: `task` is written by the one thread that holds `busy`, before tasks are freed (release) and after all have
// completed (acquire); it is read by whoever has claimed a task (acquire), which has then not completed yet.
unsafe impl Sync for Team {}

impl Team {
    /// Does what there is to do until the work is over.
    fn follow(&self, id: usize) {
        let mut waited = 0;
        loop {
            if self.help(id) {
                waited = 0;
            } else if self.over.load(Ordering::Acquire) {
                return;
            } else {
                wait(&mut waited);
            }
        }
    }

    /// Runs one task, if one is free: of the `id`-th part of them, where that has one, so that a thread finds in its
    /// cache what it wrote in the layer before.
    fn help(&self, id: usize) -> bool {
        let Some(task) = self.handout.0.claims.take(|tasks| tasks * id / self.threads) else { return false };
        let _end = OnDrop(|| {
            if panicking() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.completed.0.fetch_add(1, Ordering::Release);
        });
        // SAFETY: one was claimed, so `hand_out` waits until `_end` is dropped: what runs it is set, and alive.
        let work = unsafe { &*(*self.handout.0.task.get()).expect("set before tasks are free") };
        work(task);
        true
    }

    /// # Safety
    /// The caller holds `busy`.
    unsafe fn hand_out(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        // SAFETY: of the lifetime only; whoever reads `task` has claimed one, and `_end` waits for those.
        let task = unsafe { core::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Task>(task) };
        let before = self.completed.0.load(Ordering::Relaxed);
        // SAFETY: no task is free or running: nobody reads.
        unsafe { *self.handout.0.task.get() = Some(task) };
        self.handout.0.claims.free(tasks);
        let _end = OnDrop(|| {
            // Where a task of ours panicked, the rest are not begun.
            let unclaimed = self.handout.0.claims.clear();
            let mut waited = 0;
            while self.completed.0.load(Ordering::Acquire).wrapping_sub(before) + unclaimed < tasks {
                wait(&mut waited);
            }
        });
        while self.help(0) {}
    }
}

impl Parallel for Team {
    fn threads(&self) -> usize {
        self.threads
    }

    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        // One job at a time; what is asked for within a task, that task's thread does.
        if tasks <= 1 || self.busy.0.swap(true, Ordering::Acquire) {
            return (0..tasks).for_each(task);
        }
        let _free = OnDrop(|| self.busy.0.store(false, Ordering::Release));
        for from in (0..tasks).step_by(Claims::MOST) {
            // SAFETY: `busy` was free and is ours.
            unsafe { self.hand_out((tasks - from).min(Claims::MOST), &|i| task(from + i)) };
        }
        assert!(!self.panicked.load(Ordering::Relaxed), "a task panicked");
    }
}

fn wait(waited: &mut usize) {
    *waited += 1;
    // After some twenty microseconds it offers its processor to others between looks.
    #[cfg(feature = "std")]
    if *waited > 1000 {
        return std::thread::yield_now();
    }
    spin_loop();
}

/// Whether this thread unwinds. Without `std` nobody can tell, and a task that panics ends the program or its thread.
fn panicking() -> bool {
    #[cfg(feature = "std")]
    return std::thread::panicking();
    #[cfg(not(feature = "std"))]
    false
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}
