//! Many things to do, on several threads, told in their order.

use crate::failure::Result;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

/// How many things each thread may be ahead of what was told.
const AHEAD: usize = 8;

/// Does `work` with each of `0..count`, and calls `tell` with what came of it, in their order and on the calling thread.
///
/// Each of the `threads` makes a `state` of its own first, and then takes one thing after the other. None of them runs far ahead
/// of what was told: the memory that is in use does not depend on `count`.
///
/// # Errors
/// The first that `tell` returns; then no more is done.
pub(crate) fn in_order<S, T: Send>(
    threads: usize,
    count: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> T + Sync,
    mut tell: impl FnMut(T) -> Result,
) -> Result {
    let gate = Gate { count, ahead: AHEAD * threads, turn: Mutex::default(), moved: Condvar::new() };
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..threads {
            let (sender, gate, state, work) = (sender.clone(), &gate, &state, &work);
            scope.spawn(move || {
                let mut state = state();
                while let Some(index) = gate.next() {
                    // The others would wait for ever for what a panic left out.
                    let done = catch_unwind(AssertUnwindSafe(|| work(&mut state, index)));
                    if sender.send((index, done)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let told = Told(&gate);
        let mut early = BTreeMap::new();
        let mut expected = 0;
        for (index, done) in receiver {
            early.insert(index, done);
            while let Some(done) = early.remove(&expected) {
                tell(done.unwrap_or_else(|panic| resume_unwind(panic)))?;
                expected += 1;
                told.up_to(expected);
            }
        }
        Ok(())
    })
}

/// Hands out numbers.
struct Gate {
    count: usize,
    ahead: usize,
    turn: Mutex<Turn>,
    moved: Condvar,
}

#[derive(Default)]
struct Turn {
    next: usize,
    told: usize,
    stopped: bool,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next number, once it is not too far ahead; none where there is nothing left to do.
    fn next(&self) -> Option<usize> {
        let mut turn = self.lock();
        while !turn.stopped && turn.next < self.count && turn.next >= turn.told + self.ahead {
            turn = self.moved.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        let next = Some(turn.next).filter(|&next| !turn.stopped && next < self.count)?;
        turn.next += 1;
        Some(next)
    }
}

/// Who tells. However that ends, the threads end, too.
struct Told<'a>(&'a Gate);

impl Told<'_> {
    fn up_to(&self, count: usize) {
        self.0.lock().told = count;
        self.0.moved.notify_all();
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// Takes longer now and then.
    fn slow(index: usize) -> usize {
        if index.is_multiple_of(7) {
            thread::sleep(Duration::from_millis(2));
        }
        index
    }

    #[test]
    fn all_is_told_once_and_in_order() {
        for (threads, count) in [(1, 10), (3, 0), (3, 1), (4, 200)] {
            let mut told = Vec::new();
            let tell = |index| {
                told.push(index);
                Ok(())
            };
            in_order(threads, count, || (), |(), index| slow(index), tell).unwrap();
            assert!(told.into_iter().eq(0..count));
        }
    }

    #[test]
    fn nobody_runs_far_ahead() {
        let (begun, mut most) = (AtomicUsize::new(0), 0);
        let work = |(): &mut (), index| {
            begun.fetch_add(1, Ordering::Relaxed);
            // The first keeps all others waiting.
            thread::sleep(Duration::from_millis(if index == 0 { 50 } else { 0 }));
            index
        };
        let tell = |index| {
            most = most.max(begun.load(Ordering::Relaxed) - index);
            Ok(())
        };
        in_order(3, 500, || (), work, tell).unwrap();
        assert!(most > 3 && most <= 3 * AHEAD + 3, "{most}");
    }

    #[test]
    fn an_error_ends_it() {
        let mut told = 0;
        let ended = in_order(
            2,
            1000,
            || (),
            |(), index| index,
            |_| {
                told += 1;
                if told == 5 { Err(Failure::BrokenPipe) } else { Ok(()) }
            },
        );
        assert!(matches!(ended, Err(Failure::BrokenPipe)) && told == 5);
    }

    #[test]
    fn a_panic_is_passed_on() {
        let panics = |(): &mut (), index| {
            if index == 20 {
                panic!("number {index}")
            }
        };
        let ended = catch_unwind(AssertUnwindSafe(|| in_order(3, 1000, || (), panics, |()| Ok(()))));
        assert_eq!(ended.unwrap_err().downcast_ref::<String>().unwrap(), "number 20");
    }
}
