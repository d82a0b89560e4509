//! Who runs the work: the calling thread, or a pool of its own.

use crate::failure::{Failure, Result};
use crate::options::Cpus;
use core_affinity::CoreId;
use kernels::{Parallel, Rayon, Serial};
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs `work` with `threads` threads, each bound to one of `cpus` if given. The pool is entered once, around all of
/// the work.
pub(crate) fn run<T: Send>(
    threads: usize,
    cpus: Option<&Cpus>,
    work: impl FnOnce(&dyn Parallel) -> T + Send,
) -> Result<T> {
    let cpus = cpus.cloned().unwrap_or_default();
    if !cpus.is_empty() && cpus.len() < threads {
        return Err(Failure::Usage(format!(
            "--pin: expected a processor for each of {threads} threads, found {}",
            cpus.len()
        )));
    }
    static REFUSED: AtomicBool = AtomicBool::new(false);
    let bind = move |thread: usize| {
        if let Some(&id) = cpus.get(thread)
            && !core_affinity::set_for_current(CoreId { id })
        {
            REFUSED.store(true, Ordering::Relaxed);
        }
    };
    let refused = || {
        let refused = REFUSED.load(Ordering::Relaxed);
        refused.then(|| Failure::Other("--pin: the system refuses one of these processors".to_owned()))
    };
    if threads == 1 {
        bind(0);
        return refused().map_or_else(|| Ok(work(&Serial)), Err);
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .start_handler(bind)
        .build()
        .map_err(|e| Failure::Other(format!("{threads} threads: {e}")))?;
    // Every thread has been through its start handler once it has answered.
    pool.broadcast(|_| ());
    refused().map_or_else(|| Ok(pool.install(|| work(&Rayon))), Err)
}
