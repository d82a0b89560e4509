//! How quiet a machine is. What slows a network (strangers in the caches, on the memory bus, on the other thread of the
//! core) is not noticed by multiply-adds on registers; a small network and a loop over memory notice it. And where
//! the system tells (Linux does), how long the thread had to wait for a processor since the last look.
//!
//! ```
//! use kernels::Isa;
//! use model::sentinel::Sentinel;
//!
//! let mut sentinel = Sentinel::new(Isa::best());
//! for _ in 0..3 {
//!     // Something is measured here.
//!     if !sentinel.look().is_quiet() {
//!         // And should be measured again.
//!     }
//! }
//! ```

use crate::graph::{Passes, Program, Random, Workspace};
use crate::{Config, Images, Wiring, shufflenet};
use kernels::{Isa, Serial};
use std::fs;
use std::hint::black_box;
use std::thread::{self, ThreadId};
use std::time::Instant;

/// A round strayed where the sentinel took this much longer than ever before.
pub const TOLERANCE: f64 = 0.15;

/// A thread that waited for a processor for a larger share of its time was disturbed.
pub const WAITED: f64 = 0.03;

/// Height and width of the image that the network is given.
const SIDE: usize = 96;

/// Elements that the loop over memory reads: 8 MiB, more than a second-level cache.
const ELEMENTS: usize = 2 << 20;

/// Rounds of the multiply-add loop: about a millisecond.
const BURST: usize = 20_000;

/// What always takes the same time where nobody disturbs: multiply-adds on registers, ShuffleNetV2 0.5x on a small image,
/// and a sum over memory; on the thread that looks.
pub struct Sentinel {
    isa: Isa,
    program: Program,
    workspace: Workspace,
    image: Vec<f32>,
    logits: Vec<f32>,
    memory: Vec<f32>,
    best: [f64; 3],
    last: Option<Last>,
}

/// When the last look ended, on which thread, and how many nanoseconds it had waited until then.
struct Last {
    at: Instant,
    thread: ThreadId,
    waited: u64,
}

/// One look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// FLOP per second of multiply-adds on registers, two per multiply-add.
    pub flops: f64,
    /// Seconds of the network.
    pub network: f64,
    /// Seconds of the loop over memory.
    pub memory: f64,
    /// How many times as long as ever before the slowest of the three took: 1 where none was slower.
    pub strayed: f64,
    /// The share of the time since the last look on this thread that the thread waited for a processor; none where that is
    /// not known.
    pub waited: Option<f64>,
}

impl Look {
    /// Whether the machine is as fast as it can be, and was there for this thread alone.
    pub fn is_quiet(&self) -> bool {
        self.strayed <= 1.0 + TOLERANCE && self.waited.is_none_or(|share| share <= WAITED)
    }
}

impl Sentinel {
    /// For kernels of `isa`; looks a few times, so that it knows how fast it can be.
    pub fn new(isa: Isa) -> Self {
        let graph =
            Config::published("0.5", Wiring::Torchvision).and_then(|config| shufflenet::graph(&config));
        let program = graph.and_then(|graph| Program::build(&graph, &Random::default(), isa, Passes::All));
        let program = program.expect("a published network");
        let mut sentinel = Self {
            isa,
            workspace: program.workspace(),
            program,
            image: vec![0.5; 3 * SIDE * SIDE],
            logits: vec![0.0; 1000],
            memory: vec![0.5; ELEMENTS],
            best: [f64::INFINITY; 3],
            last: None,
        };
        for _ in 0..8 {
            sentinel.look();
        }
        sentinel
    }

    /// Looks once, for about three milliseconds.
    pub fn look(&mut self) -> Look {
        let (thread, before) = (thread::current().id(), self.last.take());
        let before = before.filter(|last| last.thread == thread);
        let waited = before.zip(waited()).map(|(last, now)| {
            1e-9 * now.saturating_sub(last.waited) as f64 / last.at.elapsed().as_secs_f64().max(1e-9)
        });
        let mut flop = 0;
        let burst = time(|| flop = self.isa.fma_burst(BURST));
        // Others have pushed its data out of the caches: the first run brings it back.
        let images = Images::nchw(&self.image, 1, SIDE, SIDE);
        let mut run =
            || time(|| self.program.run(&Serial, &[images], &mut self.workspace, &mut [&mut self.logits]));
        run();
        let network = run();
        sum(&self.memory);
        let memory = time(|| {
            black_box(sum(black_box(&self.memory)));
        });
        let mut strayed = 1.0_f64;
        for (seconds, best) in [burst, network, memory].into_iter().zip(&mut self.best) {
            *best = best.min(seconds);
            strayed = strayed.max(seconds / *best);
        }
        self.last = self::waited().map(|waited| Last { at: Instant::now(), thread, waited });
        Look { flops: flop as f64 / burst, network, memory, strayed, waited }
    }
}

/// Nanoseconds that this thread has waited for a processor since it began.
fn waited() -> Option<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

/// The sum of a slice, in as many chains as fill the registers of any instruction set: a loop that memory limits.
pub fn sum(values: &[f32]) -> f32 {
    let mut sums = [0.0; 64];
    for chunk in values.chunks_exact(64) {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    sums.iter().sum()
}

/// Seconds, never none.
fn time(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_at_all_three() {
        let mut sentinel = Sentinel::new(Isa::best());
        let Look { flops, network, memory, strayed, waited } = sentinel.look();
        assert!(flops > 1e6 && network > 0.0 && memory > 0.0 && strayed >= 1.0);
        assert!(waited.is_none_or(|share| share >= 0.0));
        assert!(sentinel.logits.iter().any(|logit| *logit != 0.0));
    }

    #[test]
    fn whoever_is_slower_than_ever_strays() {
        let mut sentinel = Sentinel::new(Isa::best());
        // As if the network had once been a thousand times as fast.
        sentinel.best[1] /= 1000.0;
        assert!(sentinel.look().strayed > 100.0);
    }

    #[test]
    fn who_waits_is_disturbed() {
        let look = |strayed, waited| Look { flops: 1.0, network: 1.0, memory: 1.0, strayed, waited };
        assert!(look(1.1, None).is_quiet() && look(1.1, Some(0.01)).is_quiet());
        assert!(!look(1.2, None).is_quiet() && !look(1.0, Some(0.5)).is_quiet());
    }

    #[test]
    fn sums_are_sums() {
        assert_eq!(sum(&[1.0; 128]), 128.0);
    }
}
