//! Files that are damaged or made to do harm: an error or an answer, within bounds of memory and time. The seed is
//! fixed; the variables HOSTILE_SEED and HOSTILE_ROUNDS make a longer run.

use crate::array;
use crate::networks::networks;
use crate::writer::{Message, Net, tensor};
use kernels::{Isa, Serial};
use model::npy::Array;
use model::onnx::{Network, check_bytes};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts what a thread has allocated, and the most it ever had.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    // A thread that is being torn down counts no more.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + change);
        PEAK.with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Opens a file, and runs what opens on a small image.
fn exercise(bytes: &[u8], what: &str) {
    let before = LIVE.get();
    PEAK.set(before);
    let one_line = |error: &dyn std::error::Error| {
        let text = error.to_string();
        assert!(!text.contains('\n') && text.len() < 4000, "{what}: {text}");
    };
    match check_bytes(bytes) {
        Ok(report) => report.refusals.iter().for_each(|refusal| {
            let text = refusal.to_string();
            assert!(!text.contains('\n') && text.len() < 4000, "{what}: {text}");
        }),
        Err(error) => one_line(&error),
    }
    match Network::from_bytes(bytes, Isa::best()) {
        Err(error) => one_line(&error),
        Ok(network) => {
            let image = |input: &model::onnx::Input| {
                let (h, w) = input.size.unwrap_or((9, 9));
                let shape = match input.layout {
                    model::Layout::Nchw => vec![1, input.channels, h, w],
                    model::Layout::Nhwc => vec![1, h, w, input.channels],
                };
                let small = h.saturating_mul(w).saturating_mul(input.channels) < 1 << 16;
                small.then(|| array(&shape))
            };
            let inputs: Option<Vec<Array>> = network.inputs().iter().map(image).collect();
            if let Some(inputs) = inputs {
                let inputs: Vec<&Array> = inputs.iter().collect();
                if let Err(error) = network.run(&Serial, &inputs, &mut network.workspace()) {
                    one_line(&error);
                }
            }
        }
    }
    // Tables, packed panels of sixteen channels each, and a small image's maps.
    let (peak, limit) = ((PEAK.get() - before) as usize, 2_000 * bytes.len() + (64 << 20));
    assert!(peak <= limit, "{what}: held {peak} bytes, {limit} allowed");
}

/// Reproducible noise (SplitMix64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

#[test]
fn whole_networks_run() {
    for bytes in networks() {
        let network = Network::from_bytes(&bytes, Isa::best()).unwrap_or_else(|error| panic!("{error}"));
        network.run(&Serial, &[&array(&[2, 3, 8, 10])], &mut network.workspace()).unwrap();
    }
}

#[test]
fn files_that_end_early() {
    for bytes in networks() {
        for len in 0..bytes.len() {
            exercise(&bytes[..len], &format!("{len} bytes"));
        }
    }
}

#[test]
fn files_with_changed_bytes() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let mut noise = Noise(number("HOSTILE_SEED", 1));
    let networks = networks();
    for round in 0..number("HOSTILE_ROUNDS", 3_000) {
        let mut bytes = networks[noise.below(networks.len())].clone();
        for _ in 0..=noise.below(4) {
            let at = noise.below(bytes.len());
            match noise.below(5) {
                0 => bytes[at] = noise.next() as u8,
                1 => bytes[at] ^= 1 << noise.below(8),
                2 => bytes[at] = [0, 1, 0x7F, 0x80, 0xFF][noise.below(5)],
                3 => drop(bytes.drain(at..(at + noise.below(9)).min(bytes.len()))),
                _ => {
                    let from = noise.below(bytes.len());
                    let piece = bytes[from..(from + noise.below(40)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        exercise(&bytes, &format!("round {round}"));
    }
}

/// Each asks for more than it has.
#[test]
fn files_made_by_hand() {
    let image = || Net::of(13, &[1, 3, 4, 4]);
    let shape = |list: &[i64]| crate::writer::ints("s", &[list.len()], list);
    let mut files: Vec<(&str, Vec<u8>)> = vec![
        ("a message that is all of the file's size and more", vec![0x3A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]),
        ("a number that never ends", vec![0xFF; 64]),
        ("a field of number 0", vec![0x00, 0x00]),
        ("groups, which nobody writes any more", vec![0x3B, 0x3C]),
        ("a million empty nodes", Message::default().bytes(7, &[0x0A, 0x00].repeat(1 << 20)).0),
        (
            "more messages than there may be",
            Message::default().bytes(7, &[0x0A, 0x00].repeat((1 << 20) + 9)).0,
        ),
        (
            "a constant repeated to a terabyte",
            image()
                .tensor(&shape(&[1 << 20, 1 << 20]))
                .scalar("one", 1.0)
                .node("Expand one s", "big", &[])
                .node("Add x big", "y", &[])
                .output("y")
                .bytes(),
        ),
        (
            "an image repeated to a terabyte",
            image()
                .tensor(&shape(&[1 << 19, 1 << 20, 1, 1, 4, 4]))
                .node("Expand x s", "y", &[])
                .output("y")
                .bytes(),
        ),
        (
            "padding of a terabyte",
            image()
                .ints("p", &[0, 0, 999_999, 999_999, 0, 0, 999_999, 999_999])
                .node("Pad x p", "y", &[])
                .output("y")
                .bytes(),
        ),
        (
            "an image of a terabyte",
            Net::of(13, &[1, 3, 1 << 19, 1 << 19]).pointwise("x", "y", (3, 4)).output("y").bytes(),
        ),
        (
            "more channels than there are numbers for",
            Net::of(13, &[1, (1 << 32) - 1, 4, 4]).node("Relu x", "y", &[]).output("y").bytes(),
        ),
        (
            "a range without end",
            image()
                .scalar("a", 0.0)
                .scalar("b", 1e30)
                .scalar("c", 1e-30)
                .node("Range a b c", "r", &[])
                .node("Add x r", "y", &[])
                .output("y")
                .bytes(),
        ),
        (
            "a step of nothing",
            image()
                .scalar("a", 0.0)
                .node("Range a a a", "r", &[])
                .node("Add x r", "y", &[])
                .output("y")
                .bytes(),
        ),
        (
            "a division by nothing",
            image()
                .node("Shape x", "d", &[])
                .ints("zero", &[0])
                .node("Div d zero", "q", &[])
                .node("Reshape x q", "y", &[])
                .output("y")
                .bytes(),
        ),
        (
            "a map resized to nothing, and to a terabyte",
            image()
                .floats("scales", &[4], &[1.0, 1.0, 0.0, 1e12])
                .node("Resize x - scales", "y", &[])
                .output("y")
                .bytes(),
        ),
        (
            "a tensor of nothing",
            image().tensor(&tensor("e", &[0], 1)).node("Add x e", "y", &[]).output("y").bytes(),
        ),
    ];
    // A line of nodes as long as a file can make it, each reading the one before.
    let mut chain = image();
    for i in 0..20_000 {
        let from = if i == 0 { "x".into() } else { format!("v{}", i - 1) };
        chain = chain.node(&format!("Exp {from}"), &format!("v{i}"), &[]);
    }
    files.push(("a long chain", chain.output("v19999").bytes()));
    // A value joined with itself again and again.
    let mut doubled = image();
    for i in 0..40 {
        let from = if i == 0 { "x".into() } else { format!("v{}", i - 1) };
        doubled = doubled.node(&format!("Concat {from} {from}"), &format!("v{i}"), &[("axis", 1.into())]);
    }
    files.push(("forty doublings of the channels", doubled.output("v39").bytes()));
    for (what, bytes) in files {
        let started = std::time::Instant::now();
        exercise(&bytes, what);
        assert!(started.elapsed().as_secs() < 60, "{what} took {:?}", started.elapsed());
    }
}
