//! What one inference does to another: nothing, whether they run at the same time or one after the other. (WebAssembly has no
//! threads.)
#![cfg(not(target_family = "wasm"))]

use kernels::{Isa, Parallel, Rayon, Serial};
use model::{Config, Images, Network, Synthetic, Wiring, Workspace};
use std::sync::Barrier;
use std::time::{Duration, Instant};

fn network(wiring: Wiring, isa: Isa) -> Network {
    let config = Config::published("0.5", wiring).expect("a published width");
    Network::new(&config, &Synthetic::new(&config).expect("weights"), isa).expect("a network")
}

/// An image of noise, another for each seed.
fn image(seed: u32, h: usize, w: usize) -> Vec<f32> {
    let noise = |i: u32| i.wrapping_add(seed << 16).wrapping_mul(2_654_435_761) >> 20;
    (0..(3 * h * w) as u32).map(|i| noise(i) as f32 / 1024.0 - 2.0).collect()
}

fn run(
    network: &Network,
    parallel: &dyn Parallel,
    image: &[f32],
    h: usize,
    w: usize,
    at: &mut Workspace,
) -> Vec<u32> {
    let n = image.len() / (3 * h * w);
    let mut logits = vec![0.0; n * network.config().classes];
    network.run(parallel, Images::nchw(image, n, h, w), at, &mut logits);
    logits.into_iter().map(f32::to_bits).collect()
}

#[test]
fn eight_threads_share_a_network() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("a pool");
    for (wiring, isa) in
        Wiring::ALL.into_iter().flat_map(|wiring| Isa::available().map(move |isa| (wiring, isa)))
    {
        let network = &network(wiring, isa);
        let sizes = [(64, 64), (97, 33), (32, 71)];
        let cases: Vec<_> = (0..8)
            .map(|seed| {
                let (h, w) = sizes[seed as usize % 3];
                let image = image(seed, h, w);
                let alone = run(network, &Serial, &image, h, w, &mut network.workspace());
                (image, h, w, alone)
            })
            .collect();
        let (cases, start) = (&cases, &Barrier::new(8));
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let pool = &pool;
                scope.spawn(move || {
                    let mut workspace = network.workspace();
                    start.wait();
                    for round in 0..6 {
                        let (image, h, w, alone) = &cases[(thread + round) % 8];
                        let found = run(network, &Serial, image, *h, *w, &mut workspace);
                        assert!(found == *alone, "{wiring}, {isa}: thread {thread}, round {round}");
                        // And all eight with the help of one pool.
                        let found = pool.install(|| run(network, &Rayon, image, *h, *w, &mut workspace));
                        assert!(
                            found == *alone,
                            "{wiring}, {isa}: thread {thread}, round {round}, in a pool"
                        );
                    }
                });
            }
        });
    }
}

/// What an image may be full of.
const POISONS: [(&str, f32); 6] = [
    ("NaN", f32::NAN),
    ("infinity", f32::INFINITY),
    ("minus infinity", f32::NEG_INFINITY),
    ("denormal numbers", 1e-41),
    ("the smallest number", f32::from_bits(1)),
    ("the greatest number", f32::MAX),
];

#[test]
fn poison_does_not_leak_into_the_next_inference() {
    for (wiring, isa) in
        Wiring::ALL.into_iter().flat_map(|wiring| Isa::available().map(move |isa| (wiring, isa)))
    {
        let network = &network(wiring, isa);
        let clean = image(1, 64, 64);
        let expected = run(network, &Serial, &clean, 64, 64, &mut network.workspace());
        let classes = expected.len();
        for (what, poison) in POISONS {
            let mut workspace = network.workspace();
            for (h, w) in [(64, 64), (97, 66), (32, 32)] {
                let poisoned = run(network, &Serial, &vec![poison; 3 * h * w], h, w, &mut workspace);
                assert!(!poison.is_nan() || poisoned.iter().all(|&x| f32::from_bits(x).is_nan()));
                let found = run(network, &Serial, &clean, 64, 64, &mut workspace);
                assert!(found == expected, "{wiring}, {isa}: after {what} of {h}x{w}");
            }
            // Nor into its neighbours of a batch.
            let batch = [&clean[..], &vec![poison; clean.len()], &clean].concat();
            let found = run(network, &Serial, &batch, 64, 64, &mut workspace);
            assert!(found[..classes] == expected, "{wiring}, {isa}: before {what}");
            assert!(found[2 * classes..] == expected, "{wiring}, {isa}: after {what} in a batch");
        }
    }
}

/// The fastest of many runs, taken in turns, so that whatever else the machine does slows all of them.
#[test]
#[ignore = "times things: cargo test -p model -- --ignored --test-threads 1"]
fn poison_does_not_slow_the_next_inference() {
    let network = &network(Wiring::Torchvision, Isa::best());
    let (clean, mut workspace) = (image(1, 96, 96), network.workspace());
    let mut time = |image: &[f32]| {
        let start = Instant::now();
        run(network, &Serial, image, 96, 96, &mut workspace);
        start.elapsed()
    };
    let mut alone = Duration::MAX;
    let (mut poisoned, mut after) = ([Duration::MAX; POISONS.len()], [Duration::MAX; POISONS.len()]);
    for _ in 0..60 {
        for (i, (_, poison)) in POISONS.into_iter().enumerate() {
            time(&clean);
            alone = alone.min(time(&clean));
            poisoned[i] = poisoned[i].min(time(&vec![poison; clean.len()]));
            after[i] = after[i].min(time(&clean));
        }
    }
    for (i, (what, _)) in POISONS.into_iter().enumerate() {
        println!("{what}: {:?} itself, {:?} for the next, {alone:?} without", poisoned[i], after[i]);
        assert!(after[i] < alone * 3 / 2, "{:?} after {what}, {alone:?} without", after[i]);
    }
}
