//! The roofs of the machine: multiply-add peaks and bandwidths.

use std::hint::black_box;
use std::time::Instant;

use kernels::{Affine, GlobalAverage, Isa, Linear, Shape, Tensor};
use model::sentinel::sum;
use rayon::ThreadPool;

use super::environment::Environment;
use crate::tell::report::{Bandwidth, Peak};

/// Rounds of a burst of multiply-adds: about ten milliseconds.
const BURST: usize = 200_000;

/// Peak of one instruction set, on all threads of `pool`: the best of `rounds` bursts.
pub(crate) fn peak(isa: Isa, pool: &ThreadPool, rounds: usize) -> Peak {
    let threads = pool.current_num_threads();
    let all = || {
        let start = Instant::now();
        // The threads start one after the other; the burst is long enough for that not to matter.
        let flop: u64 = pool.broadcast(|_| isa.fma_burst(BURST)).into_iter().sum();
        flop as f64 / start.elapsed().as_secs_f64() * 1e-9
    };
    let gflops = (0..rounds.max(1)).map(|_| all()).fold(0.0, f64::max);
    Peak { isa: isa.name().to_owned(), threads, gflops }
}

/// Read and copy bandwidth of every level, on this thread.
///
/// Read by whichever is fastest of three loops, since none is everywhere: a mean over pixels, a fully connected
/// layer (which reads its weights once), and a plain sum. Copied by an affine operator or `copy_from_slice`.
pub(crate) fn bandwidths(isa: Isa, environment: &Environment, rounds: usize) -> Vec<Bandwidth> {
    let cache = |level, otherwise| environment.cache(level).unwrap_or(otherwise);
    let (l1, l2) = (cache(1, 32 << 10), cache(2, 512 << 10));
    let l3 = cache(3, 8 << 20);
    let mut levels = vec![("L1", l1 / 2), ("L2", l2 / 2)];
    if environment.cache(3).is_some() {
        // Enough to leave the second level; a shared third level may give one guest only a part.
        levels.push(("L3", (4 * l2).min(l3 / 2)));
    }
    levels.push(("DRAM", (4 * l3).clamp(64 << 20, 256 << 20)));
    levels.into_iter().map(|(level, bytes)| bandwidth(isa, level, bytes, rounds)).collect()
}

fn bandwidth(isa: Isa, level: &str, bytes: u64, rounds: usize) -> Bandwidth {
    const OUTPUTS: usize = 48;
    let len = (bytes / 4) as usize / (16 * OUTPUTS) * (16 * OUTPUTS);
    let repeats = (32 << 20) / (4 * len) + 1;
    // GB/s when every repeat moves the whole array once.
    let best = |run: &mut dyn FnMut()| {
        let once = |run: &mut dyn FnMut()| {
            let start = Instant::now();
            (0..repeats).for_each(|_| run());
            (4 * len * repeats) as f64 / start.elapsed().as_secs_f64() * 1e-9
        };
        once(run);
        (0..rounds.max(1)).map(|_| once(run)).fold(0.0, f64::max)
    };

    let tensor = Tensor::zeros(Shape::new(16, 1, len / 16));
    let mut mean = [0.0; 16];
    let average = GlobalAverage::builder().isa(isa).build().expect("nothing can be wrong with it");
    let by_mean = best(&mut || average.run(black_box(tensor.view()), black_box(&mut mean)));
    // A mean with eight lanes passes twice over each line; beyond the first level that is not what was asked.
    let by_mean = if isa.lanes() == 16 || level == "L1" { by_mean } else { 0.0 };
    drop(tensor);

    let weights = vec![0.5; len];
    let by_sum = best(&mut || {
        black_box(sum(black_box(&weights)));
    });
    let linear = Linear::builder(len / OUTPUTS, OUTPUTS).isa(isa).build(&weights);
    let linear = linear.expect("the weights have the right length");
    drop(weights);
    let (src, mut dst) = (vec![0.5; len / OUTPUTS], [0.0; OUTPUTS]);
    let by_linear = best(&mut || linear.run(black_box(&src), black_box(&mut dst)));
    drop(linear);

    let half = Shape::new(16, 1, len / 32);
    let (from, mut to) = (Tensor::zeros(half), Tensor::zeros(half));
    let affine = Affine::builder(16).isa(isa).build(&[1.0; 16], &[0.0; 16]).expect("scale and shift fit");
    let by_affine = best(&mut || affine.run(black_box(from.view()), black_box(to.view_mut())));
    let by_copy =
        best(&mut || black_box(to.view_mut().data_mut()).copy_from_slice(black_box(from.view().data())));

    Bandwidth {
        level: level.to_owned(),
        bytes: 4 * len as u64,
        read: by_mean.max(by_sum).max(by_linear),
        copy: by_affine.max(by_copy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "times things: cargo test -p bench-suite -- --ignored --test-threads 1"]
    fn the_first_level_is_faster_than_memory() {
        let environment = Environment::observe();
        let levels = bandwidths(Isa::best(), &environment, 2);
        let (first, last) = (levels.first().unwrap(), levels.last().unwrap());
        assert_eq!((first.level.as_str(), last.level.as_str()), ("L1", "DRAM"));
        assert!(first.read > last.read && first.bytes < last.bytes, "{levels:?}");
        assert!(levels.iter().all(|l| l.copy > 0.0));
    }
}
