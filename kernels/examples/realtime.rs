//! For a thread that must not wait: one arena, laid out once, and then not a single allocation, lock or system call.
//!
//! ```text
//! cargo run --release -p kernels --no-default-features --features std --example realtime
//! ```

use kernels::{Activation, Buffer, Convolution, Depthwise, Error, Image, MaxPool, Pointwise, Shape, View};
use kernels::{ViewMut, Window};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Instant;

/// Counts the allocations of every thread, to prove the claim; a program in earnest does without.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator as it came. The counter has neither a lazy initialiser nor
// a destructor, so that counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SIDE: usize = 96;

/// A small feature extractor that owns every byte it will ever need.
struct Extractor {
    stem: Convolution,
    pool: MaxPool,
    depthwise: Depthwise,
    pointwise: Pointwise,
    arena: Buffer,
}

/// The activations in the arena: `B` is written while `A` is read, then the other way round.
const FRAME: Shape = Shape::new(3, SIDE, SIDE);
const STEM: Shape = Shape::new(24, SIDE / 2, SIDE / 2);
const POOLED: Shape = Shape::new(24, SIDE / 4, SIDE / 4);
const FILTERED: Shape = Shape::new(24, SIDE / 8, SIDE / 8);
const FEATURES: Shape = Shape::new(64, SIDE / 8, SIDE / 8);

const fn larger(a: Shape, b: Shape) -> usize {
    if a.len() > b.len() { a.len() } else { b.len() }
}

/// Elements of the two halves of the arena.
const A: usize = larger(STEM, FILTERED);
const B: usize = larger(POOLED, FEATURES);

impl Extractor {
    fn new() -> Result<Self, Error> {
        let weights =
            |len: usize| (0..len).map(|i| ((i * 37 % 101) as f32 - 50.0) / 200.0).collect::<Vec<_>>();
        let window = Window::new(3).stride(2).pad(1);
        Ok(Self {
            stem: Convolution::builder(3, 24, window)
                .activation(Activation::Relu)
                .build(&weights(24 * 27))?,
            pool: MaxPool::builder(window).build()?,
            depthwise: Depthwise::builder(24, window).build(&weights(24 * 9))?,
            pointwise: Pointwise::builder(24, 64).activation(Activation::Relu).build(&weights(64 * 24))?,
            arena: Buffer::zeros(A + B),
        })
    }

    /// The features of one frame, planar.
    fn run(&mut self, frame: &[f32]) -> Result<View<'_>, Error> {
        let (a, b) = self.arena.as_mut_slice().split_at_mut(A);
        self.stem.run(Image::planar(frame, FRAME)?, ViewMut::new(&mut a[..STEM.len()], STEM)?);
        self.pool.run(View::new(&a[..STEM.len()], STEM)?, ViewMut::new(&mut b[..POOLED.len()], POOLED)?);
        self.depthwise
            .run(View::new(&b[..POOLED.len()], POOLED)?, ViewMut::new(&mut a[..FILTERED.len()], FILTERED)?);
        self.pointwise.run(
            View::new(&a[..FILTERED.len()], FILTERED)?,
            ViewMut::new(&mut b[..FEATURES.len()], FEATURES)?,
        );
        View::new(&b[..FEATURES.len()], FEATURES)
    }
}

fn main() -> Result<(), Error> {
    const FRAMES: usize = 1000;
    let mut extractor = Extractor::new()?;
    let mut frame = vec![0.0; 3 * SIDE * SIDE];
    let mut times = Vec::with_capacity(FRAMES);
    let mut checksum = 0.0;

    let before = ALLOCATIONS.get();
    for i in 0..FRAMES {
        frame.iter_mut().enumerate().for_each(|(k, x)| *x = ((k + i) % 255) as f32 / 255.0);
        let start = Instant::now();
        let features = extractor.run(&frame)?;
        times.push(start.elapsed());
        checksum += features.get(63, 11, 11);
    }
    let allocations = ALLOCATIONS.get() - before;

    times.sort_unstable();
    println!(
        "{FRAMES} frames, {allocations} allocations; median {:?}, 99 % within {:?}, slowest {:?}",
        times[FRAMES / 2],
        times[FRAMES * 99 / 100],
        times[FRAMES - 1]
    );
    assert_eq!(allocations, 0);
    assert!(checksum.is_finite() && checksum != 0.0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_frames_allocate_nothing() -> Result<(), Error> {
        main()
    }

    #[test]
    fn the_counter_counts() {
        let before = ALLOCATIONS.get();
        drop(std::hint::black_box(Box::new(1)));
        assert_eq!(ALLOCATIONS.get() - before, 1);
    }

    #[test]
    fn a_frame_leaves_no_trace_in_the_next() -> Result<(), Error> {
        let mut extractor = Extractor::new()?;
        let frame = vec![0.5; 3 * SIDE * SIDE];
        let first = extractor.run(&frame)?.data().to_vec();
        extractor.run(&vec![f32::NAN; 3 * SIDE * SIDE])?;
        assert_eq!(extractor.run(&frame)?.data(), first);
        Ok(())
    }
}
