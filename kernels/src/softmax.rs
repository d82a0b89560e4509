//! Softmax.

/// Replaces logits by probabilities: `exp(x - max) / sum`. NaN anywhere makes everything NaN.
pub fn softmax(values: &mut [f32]) {
    let max = values.iter().fold(f32::NEG_INFINITY, |max, &x| if x > max { x } else { max });
    let mut sum = 0.0f64;
    for x in values.iter_mut() {
        // Equal infinities are equally probable, not NaN.
        *x = if *x == max { 1.0 } else { exp(*x - max) };
        sum += f64::from(*x);
    }
    let scale = (1.0 / sum) as f32;
    for x in values {
        *x *= scale;
    }
}

/// `e^x` for `x <= 0`, within 2 units of the last place: `2^n * e^r` with `r` in `[-ln(2)/2, ln(2)/2]`, and the
/// exponential of `r` by its Taylor polynomial. `core` has none.
fn exp(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    if x < -103.0 {
        return 0.0;
    }
    // Adding 1.5 * 2^23 rounds to an integer.
    const ROUND: f32 = 12_582_912.0;
    let n = (x * core::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = f64::from(x) - f64::from(n) * core::f64::consts::LN_2;
    let mut e = 1.0f64;
    for k in (1..10).rev() {
        e = e * r / f64::from(k) + 1.0;
    }
    (e * f64::from_bits(((1023 + n as i64) as u64) << 52)) as f32
}
