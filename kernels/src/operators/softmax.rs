//! Softmax.

/// Sums and maxima kept side by side, so that the compiler may keep them in vectors.
const LANES: usize = 8;

/// Replaces logits by probabilities: `exp(x - max) / sum`. NaN anywhere makes everything NaN.
///
/// ```
/// let mut values = [1.0, 1.0, f32::NEG_INFINITY];
/// kernels::softmax(&mut values);
/// assert_eq!(values, [0.5, 0.5, 0.0]);
/// ```
pub fn softmax(values: &mut [f32]) {
    let greater = |a: f32, b: f32| if b > a { b } else { a };
    let mut most = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for chunk in whole {
        most.iter_mut().zip(chunk).for_each(|(most, &x)| *most = greater(*most, x));
    }
    let max = most.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, greater);

    let power = |x: f32| {
        let power = exp(x - max);
        // Equal infinities are equally probable, not NaN.
        if x == max { 1.0 } else { power }
    };
    let mut sums = [0.0f64; LANES];
    let (whole, rest) = values.as_chunks_mut::<LANES>();
    for chunk in whole {
        for (x, sum) in chunk.iter_mut().zip(&mut sums) {
            *x = power(*x);
            *sum += f64::from(*x);
        }
    }
    for (x, sum) in rest.iter_mut().zip(&mut sums) {
        *x = power(*x);
        *sum += f64::from(*x);
    }
    let scale = (1.0 / sums.iter().sum::<f64>()) as f32;
    values.iter_mut().for_each(|x| *x *= scale);
}

/// `e^x` for `x <= 0`, within 2 units of the last place: `2^n * e^r` with `r` in `[-ln(2)/2, ln(2)/2]`, and the
/// exponential of `r` by its Taylor polynomial. Without branches, for the compiler to vectorise; `core` has none.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Below, the power is less than half the smallest number. NaN stays.
    const LEAST: u32 = (-104.0f32).to_bits();
    let far = if cfg!(target_arch = "wasm32") {
        // Where floats are compared, LLVM may make a relaxed minimum of this, and lose NaN. Its bits are beyond infinity's.
        x.to_bits().wrapping_sub(LEAST) <= f32::NEG_INFINITY.to_bits() - LEAST
    } else {
        x < f32::from_bits(LEAST)
    };
    let x = if far { -104.0 } else { x };
    // Adding 1.5 * 2^23 rounds to an integer, which is then in the last bits.
    const ROUND: f32 = 12_582_912.0;
    let rounded = x * core::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    // ln(2) in two parts, of which the first has few enough bits for `n * HIGH` to be exact.
    const HIGH: f32 = 355.0 / 512.0;
    const LOW: f32 = (core::f64::consts::LN_2 - HIGH as f64) as f32;
    let r = (x - n * HIGH) - n * LOW;
    let tail = [1.0 / 2.0, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0];
    let e = tail.iter().rev().fold(0.0, |sum, c| sum * r + c);
    let e = 1.0 + (r + r * r * e);
    // 2^n in two factors, for it may be less than the smallest normal number.
    let n = rounded.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let two_to = |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23);
    e * two_to(n >> 1) * two_to(n - (n >> 1))
}
