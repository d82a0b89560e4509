//! A warm inference allocates nothing: counted, over all threads.

use kernels::{Isa, Parallel, Serial};
use model::{Config, Images, Layout, Network, Synthetic, Wiring};
use std::alloc::{GlobalAlloc, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, counting.
struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// One test at a time: the count is everyone's.
static ALONE: Mutex<()> = Mutex::new(());

// SAFETY: everything is handed on to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: std::alloc::Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: std::alloc::Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of ten runs of each size, in turns, after two.
fn allocations(parallel: &dyn Parallel, batch: usize, layout: Layout, sizes: &[(usize, usize)]) -> usize {
    let config = Config::published("0.5", Wiring::Torchvision).expect("a published width");
    let network =
        Network::new(&config, &Synthetic::new(&config).expect("weights"), Isa::best()).expect("a network");
    let inputs: Vec<_> = sizes.iter().map(|&(h, w)| (vec![0.5; batch * 3 * h * w], h, w)).collect();
    let mut logits = vec![0.0; batch * 1000];
    let mut workspace = network.workspace();
    let mut run = || {
        for &(ref data, h, w) in &inputs {
            network.run(parallel, Images { data, n: batch, h, w, layout }, &mut workspace, &mut logits);
        }
    };
    run();
    run();
    let before = COUNT.load(Ordering::Relaxed);
    for _ in 0..10 {
        run();
    }
    COUNT.load(Ordering::Relaxed) - before
}

const SIZES: [&[(usize, usize)]; 2] = [&[(64, 96)], &[(64, 96), (97, 33)]];

#[test]
fn the_count_counts() {
    let _alone = ALONE.lock();
    let before = COUNT.load(Ordering::Relaxed);
    drop(std::hint::black_box(vec![1]));
    assert!(COUNT.load(Ordering::Relaxed) > before);
}

#[test]
fn one_thread_allocates_nothing() {
    let _alone = ALONE.lock();
    for batch in [1, 3] {
        for layout in [Layout::Nchw, Layout::Nhwc] {
            for sizes in SIZES {
                let found = allocations(&Serial, batch, layout, sizes);
                assert_eq!(found, 0, "batch {batch}, {layout:?}, {sizes:?}");
            }
        }
    }
}

#[cfg(not(target_family = "wasm"))]
#[test]
fn two_threads_allocate_nothing() {
    let _alone = ALONE.lock();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("a pool");
    for batch in [1, 5] {
        for sizes in SIZES {
            let found = pool.install(|| allocations(&kernels::Rayon, batch, Layout::Nchw, sizes));
            assert_eq!(found, 0, "batch {batch}, {sizes:?}");
        }
    }
}
