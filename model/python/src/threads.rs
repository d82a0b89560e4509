//! The threads of one network.

use kernels::{Parallel, Rayon, Serial};
use rayon::ThreadPool;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

/// One thread is the caller's; more are a pool of the network's own, which waits without spinning.
pub(crate) struct Threads {
    count: usize,
    /// The pool, and the process that started it.
    pool: Mutex<Option<(u32, Arc<ThreadPool>)>>,
}

impl Threads {
    pub(crate) fn new(count: usize) -> Self {
        Self { count, pool: Mutex::new(None) }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Runs `work` on the threads.
    ///
    /// # Errors
    /// Where the system does not start them.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce(&dyn Parallel) -> T + Send) -> Result<T, String> {
        if self.count == 1 {
            return Ok(work(&Serial));
        }
        Ok(self.pool()?.install(|| work(&Rayon)))
    }

    /// A process that was forked (`multiprocessing`) has this memory, but not the threads: it starts its own.
    fn pool(&self) -> Result<Arc<ThreadPool>, String> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        match &*pool {
            Some((owner, pool)) if *owner == process => return Ok(pool.clone()),
            _ => {}
        }
        let started = rayon::ThreadPoolBuilder::new().num_threads(self.count).build();
        let started = Arc::new(started.map_err(|e| format!("{} threads: {e}", self.count))?);
        // The parent's is left as it is: to end it would be to wake threads that are not there.
        mem::forget(pool.replace((process, started.clone())));
        Ok(started)
    }
}
