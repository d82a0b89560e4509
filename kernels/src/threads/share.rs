//! How work is cut into tasks, and how tasks write to one destination.

use crate::tensor::shape::BLOCK;
use crate::tensor::view::ViewMut;
use crate::threads::parallel::Parallel;
use core::marker::PhantomData;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Threads that work is cut for: those that `parallel` says it has, but at most 2^14, so that no product of parts wraps.
pub(crate) fn threads(parallel: &dyn Parallel) -> usize {
    parallel.threads().clamp(1, 1 << 14)
}

/// The `index`-th of `parts` nearly equal parts of `0..len`; at most 2^16 parts.
pub(crate) fn part(len: usize, parts: usize, index: usize) -> Range<usize> {
    // `len * index / parts`, without that product, which could wrap.
    let start = |index| len / parts * index + len % parts * index / parts;
    start(index)..start(index + 1)
}

/// How many parts across `rows` and along `columns` make the longest task of at least `threads` tasks shortest.
fn split(threads: usize, rows: usize, columns: usize) -> (usize, usize) {
    let mut best = (usize::MAX, (1, 1));
    for across in 1..=threads.min(rows.max(1)) {
        let along = threads.div_ceil(across).min(columns.max(1));
        let longest = rows.div_ceil(across) * columns.div_ceil(along);
        if longest < best.0 {
            best = (longest, (across, along));
        }
    }
    best.1
}

/// Cuts `rows` x `columns` of work, whatever they are, into a task per thread or more, and hands each its part of both.
pub(crate) fn grid(
    parallel: &dyn Parallel,
    rows: usize,
    columns: usize,
    work: &(dyn Fn(Range<usize>, Range<usize>) + Sync),
) {
    let (across, along) = split(threads(parallel), rows, columns);
    each_once(parallel, across * along, &|task| {
        work(part(rows, across, task / along), part(columns, along, task % along));
    });
}

/// Runs `work(0)` to `work(tasks - 1)`, each once, whatever `parallel` calls: operators write through pointers, and must
/// not trust somebody else's `for_each` that no two tasks are the same. So a call for a task that is taken, or that does
/// not exist, takes another.
pub(crate) fn each_once(parallel: &dyn Parallel, tasks: usize, work: &(dyn Fn(usize) + Sync)) {
    if threads(parallel) == 1 {
        return (0..tasks).for_each(work);
    }
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

/// A destination that several tasks write to, each in places of its own.
pub(crate) struct Target<'a> {
    first: *mut f32,
    len: usize,
    block_stride: usize,
    borrowed: PhantomData<&'a mut [f32]>,
}

// SAFETY: a `Target` only says where elements lie; whoever writes there sees to it that tasks write disjoint elements.
unsafe impl Sync for Target<'_> {}

impl<'a> Target<'a> {
    /// A tensor.
    pub(crate) fn new(dst: &'a mut ViewMut<'_>) -> Self {
        let block_stride = dst.block_stride();
        Self::of(dst.data_mut(), block_stride)
    }

    /// A slice, whose blocks (if it has any) are so far apart.
    pub(crate) fn of(dst: &'a mut [f32], block_stride: usize) -> Self {
        Self { first: dst.as_mut_ptr(), len: dst.len(), block_stride, borrowed: PhantomData }
    }

    /// Elements from one block of the tensor to the next.
    pub(crate) fn block_stride(&self) -> usize {
        self.block_stride
    }

    /// Where `pixel` of `block` lies; the tensor holds both, or this panics.
    pub(crate) fn at(&self, block: usize, pixel: usize) -> *mut f32 {
        self.element(block * self.block_stride + pixel * BLOCK)
    }

    /// Where an element lies; the destination holds it, or this panics.
    pub(crate) fn element(&self, index: usize) -> *mut f32 {
        assert!(index < self.len, "element {index} of {}", self.len);
        self.first.wrapping_add(index)
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

    /// Claims a free task, preferring index `wanted(tasks)`, then later ones, then any.
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
