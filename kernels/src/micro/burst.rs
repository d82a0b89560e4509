//! Multiply-adds on registers alone: the peak that everything else is measured against.

use crate::simd::Simd;

/// Independent chains of multiply-adds, `CHAINS` of them, so that latency hides. Returns the FLOPs done.
#[inline(always)]
pub(crate) fn run<S: Simd, const CHAINS: usize>(s: S, rounds: usize) -> u64 {
    const UNROLL: usize = 8;
    // The fixed point of x -> x / 2 + 1 is 2: no overflow, no denormals.
    let (half, one) = (core::hint::black_box(s.splat(0.5)), core::hint::black_box(s.splat(1.0)));
    let mut acc = [one; CHAINS];
    for _ in 0..rounds {
        for _ in 0..UNROLL {
            for x in &mut acc {
                *x = s.mul_add(*x, half, one);
            }
        }
    }
    let mut sum = one;
    for x in acc {
        sum = s.add(sum, x);
    }
    core::hint::black_box(sum);
    (2 * rounds * UNROLL * CHAINS * S::LANES) as u64
}
