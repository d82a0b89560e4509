//! Batch normalisation and bias folded into the weights before them.

use crate::error::{Error, expect_len};
use alloc::{vec, vec::Vec};

/// The statistics of a batch normalisation, one number per channel each:
/// `y = (x - mean) / sqrt(variance + eps) * gamma + beta`.
///
/// ```
/// use kernels::{BatchNorm, Pointwise};
///
/// let bn = BatchNorm { gamma: &[1.0], beta: &[0.5], mean: &[2.0], variance: &[4.0], eps: 1e-5 };
/// let op = Pointwise::builder(3, 1).batch_norm(bn).build(&[1.0, 2.0, 3.0])?;
/// let (scale, shift) = bn.scale_shift()?;
/// assert!((scale[0] - 0.5).abs() < 1e-5 && (shift[0] + 0.5).abs() < 1e-5);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a> {
    /// Scale (`weight` in PyTorch).
    pub gamma: &'a [f32],
    /// Shift (`bias` in PyTorch).
    pub beta: &'a [f32],
    /// Running mean.
    pub mean: &'a [f32],
    /// Running variance.
    pub variance: &'a [f32],
    /// What keeps the root from zero: 1e-5 in PyTorch, 1e-3 in Keras.
    pub eps: f32,
}

impl BatchNorm<'_> {
    /// The same as one multiply-add per channel: `y = x * scale + shift`, computed in `f64` and rounded once.
    ///
    /// # Errors
    /// Where the four slices are not of equal length.
    pub fn scale_shift(&self) -> Result<(Vec<f32>, Vec<f32>), Error> {
        let fold = self.fold(self.gamma.len())?;
        Ok(fold.iter().map(|&(scale, shift)| (scale as f32, shift as f32)).unzip())
    }

    /// Scale and shift of each of `channels`.
    fn fold(&self, channels: usize) -> Result<Vec<(f64, f64)>, Error> {
        expect_len("batch norm gamma", channels, self.gamma.len())?;
        expect_len("batch norm beta", channels, self.beta.len())?;
        expect_len("batch norm mean", channels, self.mean.len())?;
        expect_len("batch norm variance", channels, self.variance.len())?;
        Ok((0..channels)
            .map(|c| {
                let scale =
                    f64::from(self.gamma[c]) / sqrt(f64::from(self.variance[c]) + f64::from(self.eps));
                (scale, f64::from(self.beta[c]) - f64::from(self.mean[c]) * scale)
            })
            .collect())
    }
}

#[cfg(feature = "std")]
fn sqrt(x: f64) -> f64 {
    x.sqrt()
}

/// `core` has no square root: Newton's iteration from a guess by halving the exponent.
#[cfg(not(feature = "std"))]
fn sqrt(x: f64) -> f64 {
    if x == 0.0 || x == f64::INFINITY {
        return x;
    }
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    let mut root = f64::from_bits((x.to_bits() >> 1) + (1023 << 51));
    for _ in 0..6 {
        root = 0.5 * (root + x / root);
    }
    root
}

/// Per output channel of a convolution, what its weights are multiplied by, and its bias.
pub(crate) fn fold(
    oc: usize,
    bias: Option<&[f32]>,
    batch_norm: Option<BatchNorm<'_>>,
) -> Result<(Vec<f64>, Vec<f32>), Error> {
    if let Some(bias) = bias {
        expect_len("bias", oc, bias.len())?;
    }
    let fold = match &batch_norm {
        Some(batch_norm) => batch_norm.fold(oc)?,
        None => vec![(1.0, 0.0); oc],
    };
    let bias = |c: usize| bias.map_or(0.0, |bias| f64::from(bias[c]));
    let shifted =
        fold.iter().enumerate().map(|(c, (scale, shift))| (bias(c) * scale + shift) as f32).collect();
    Ok((fold.into_iter().map(|(scale, _)| scale).collect(), shifted))
}
