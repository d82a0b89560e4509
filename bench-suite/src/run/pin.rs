//! Pools whose threads stay on their cores.

use std::fs;

use core_affinity::CoreId;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// A pool whose threads are bound to cores as far as there are enough, and whether binding succeeded.
///
/// # Errors
/// One line, if the threads cannot be started.
pub(crate) fn pool(threads: usize) -> Result<(ThreadPool, bool), String> {
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|e| format!("{threads} threads cannot be started: {e}"))?;
    let cores = in_order(core_affinity::get_core_ids().unwrap_or_default(), siblings);
    let bind = |thread: usize| cores.get(thread).is_some_and(|core| core_affinity::set_for_current(*core));
    // With more threads than cores there is nothing to bind to.
    let pinned =
        threads <= cores.len() && pool.broadcast(|at| bind(at.index())).into_iter().all(|bound| bound);
    Ok((pool, pinned))
}

/// The cores to use, best first: one thread of every physical core before the second of any, and high numbers first,
/// since the lowest serves most interrupts.
fn in_order(mut cores: Vec<CoreId>, siblings: impl Fn(usize) -> Vec<usize>) -> Vec<CoreId> {
    let place_in_core = |id: usize| siblings(id).iter().filter(|sibling| **sibling < id).count();
    cores.sort_by_key(|core| (place_in_core(core.id), usize::MAX - core.id));
    cores
}

/// The hardware threads of the physical core of thread `id`; empty if the system does not tell.
fn siblings(id: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{id}/topology/thread_siblings_list");
    fs::read_to_string(path).map_or_else(|_| Vec::new(), |list| parse(list.trim()))
}

/// `0,32` or `4-5`.
fn parse(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.parse().ok()?..=to.parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn physical_cores_come_first() {
        let ids = |order: Vec<CoreId>| order.into_iter().map(|core| core.id).collect::<Vec<_>>();
        let four = || (0..4).map(|id| CoreId { id }).collect::<Vec<_>>();
        assert_eq!(ids(in_order(four(), |id| vec![id / 2 * 2, id / 2 * 2 + 1])), [2, 0, 3, 1]);
        assert_eq!(ids(in_order(four(), |id| vec![id % 2, id % 2 + 2])), [1, 0, 3, 2]);
        assert_eq!(ids(in_order(four(), |_| vec![])), [3, 2, 1, 0]);
    }

    #[test]
    fn lists_of_siblings() {
        assert_eq!(parse("0,32"), [0, 32]);
        assert_eq!(parse("4-5"), [4, 5]);
        assert_eq!(parse("7"), [7]);
        assert_eq!(parse("x"), [0usize; 0]);
    }

    #[test]
    fn a_pool_has_the_threads_asked_for() {
        assert_eq!(pool(3).unwrap().0.current_num_threads(), 3);
    }
}
