//! Before the first run: batch normalisation folded into weights, weights into panels.

use crate::activation::Activation;
use crate::backend::Kernels;
use crate::error::{Error, expect_len};
use crate::isa::Isa;
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

/// What every convolution's builder can be told, apart from its shape.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Common<'a> {
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) batch_norm: Option<BatchNorm<'a>>,
    pub(crate) activation: Activation,
    pub(crate) isa: Option<Isa>,
}

impl Common<'_> {
    /// The table of kernels to pack for.
    pub(crate) fn kernels(&self) -> Result<&'static Kernels, Error> {
        self.activation.check()?;
        let isa = match self.isa {
            Some(isa) => isa,
            None => Isa::from_env()?,
        };
        match Kernels::of(isa) {
            Some(kernels) => Ok(kernels),
            None => {
                Isa::from_name(isa.name()).map(|_| unreachable!("a table exists for every available name"))
            }
        }
    }

    /// Per output channel, what the weights are multiplied by, and the bias.
    pub(crate) fn fold(&self, oc: usize) -> Result<(Vec<f64>, Vec<f32>), Error> {
        if let Some(bias) = self.bias {
            expect_len("bias", oc, bias.len())?;
        }
        let fold = match &self.batch_norm {
            Some(batch_norm) => batch_norm.fold(oc)?,
            None => vec![(1.0, 0.0); oc],
        };
        let bias = |c: usize| self.bias.map_or(0.0, |bias| f64::from(bias[c]));
        let shifted = fold.iter().enumerate().map(|(c, (scale, shift))| (bias(c) * scale + shift) as f32);
        let shifted = shifted.collect();
        Ok((fold.into_iter().map(|(scale, _)| scale).collect(), shifted))
    }
}

/// Width of a panel of output channels: whole registers, and perhaps one half as wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Width {
    pub(crate) nv: usize,
    pub(crate) half: bool,
}

impl Width {
    /// Lanes of one row of the panel.
    pub(crate) fn lanes(self, kernels: &Kernels) -> usize {
        self.nv * kernels.lanes + if self.half { kernels.lanes / 2 } else { 0 }
    }

    /// Registers, a half one counted as one.
    pub(crate) fn registers(self) -> usize {
        self.nv + usize::from(self.half)
    }
}

/// Cuts `count` registers of the output into panels as wide as the kernels allow; `ragged` says that at most half the
/// lanes of the last one are wanted.
///
/// No panel of a single register is left over where it can be helped: it has too few sums to hide the latency of a
/// multiply-add.
pub(crate) fn panel_widths(count: usize, ragged: bool, kernels: &Kernels) -> Vec<Width> {
    let half = ragged && kernels.half;
    let mut left = count - usize::from(half);
    let last = half.then(|| {
        let nv = if left == 3 { 1 } else { left.min(2) };
        left -= nv;
        Width { nv, half }
    });
    let mut widths = Vec::new();
    while left > 0 {
        let mut nv = kernels.nv.min(left);
        if left == kernels.nv + 1 {
            if kernels.three {
                nv = 3;
            } else if nv > 2 {
                nv = left / 2;
            }
        }
        widths.push(Width { nv, half: false });
        left -= nv;
    }
    widths.extend(last);
    widths
}

/// The setters that every convolution's builder shares.
macro_rules! common_setters {
    () => {
        /// A bias per output channel, added before the batch normalisation. Default: none.
        pub fn bias(mut self, bias: &'a [f32]) -> Self {
            self.common.bias = Some(bias);
            self
        }

        /// A batch normalisation behind the convolution, folded into weights and bias. Default: none.
        pub fn batch_norm(mut self, batch_norm: crate::BatchNorm<'a>) -> Self {
            self.common.batch_norm = Some(batch_norm);
            self
        }

        /// What follows the sum. Default: [`Activation::None`](crate::Activation::None).
        pub fn activation(mut self, activation: crate::Activation) -> Self {
            self.common.activation = activation;
            self
        }

        /// The instruction set to pack for. Default: [`Isa::from_env`](crate::Isa::from_env).
        pub fn isa(mut self, isa: crate::Isa) -> Self {
            self.common.isa = Some(isa);
            self
        }
    };
}
pub(crate) use common_setters;
