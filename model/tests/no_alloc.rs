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

/// Allocations of ten runs after two.
fn allocations(parallel: &dyn Parallel, batch: usize, layout: Layout) -> usize {
    let config = Config::published("0.5", Wiring::Torchvision).expect("a published width");
    let network =
        Network::new(&config, &Synthetic::new(&config).expect("weights"), Isa::best()).expect("a network");
    let input = vec![0.5; batch * 3 * 64 * 96];
    let images = Images { data: &input, n: batch, h: 64, w: 96, layout };
    let mut logits = vec![0.0; batch * 1000];
    let mut workspace = network.workspace();
    let mut run = || network.run(parallel, images, &mut workspace, &mut logits);
    run();
    run();
    let before = COUNT.load(Ordering::Relaxed);
    for _ in 0..10 {
        run();
    }
    COUNT.load(Ordering::Relaxed) - before
}

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
            assert_eq!(allocations(&Serial, batch, layout), 0, "batch {batch}, {layout:?}");
        }
    }
}

#[cfg(not(target_family = "wasm"))]
#[test]
fn two_threads_allocate_nothing() {
    let _alone = ALONE.lock();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("a pool");
    for batch in [1, 5] {
        assert_eq!(pool.install(|| allocations(&kernels::Rayon, batch, Layout::Nchw)), 0, "batch {batch}");
    }
}
