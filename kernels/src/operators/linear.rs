//! Fully connected layer.

use crate::activation::Activation;
use crate::error::{Error, expect_fit, expect_len, invalid};
use crate::operators::call::{Call, runs};
use crate::operators::options::{Options, setters};
use crate::pack::{Packed, Packer};
use crate::tensor::shape::BLOCK;
use crate::threads::share::{Target, grid};
use alloc::format;

/// `dst[o] = activation(sum over i of weights[o][i] * src[i] + bias[o])`.
///
/// ```
/// use kernels::Linear;
///
/// let op = Linear::builder(2, 3).bias(&[0.5; 3]).build(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// let mut dst = [0.0; 3];
/// op.run(&[1.0, 10.0], &mut dst);
/// assert_eq!(dst, [21.5, 43.5, 65.5]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct Linear {
    ic: usize,
    oc: usize,
    activation: Activation,
    packed: Packed,
}

/// Collects what a [`Linear`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct LinearBuilder<'a> {
    ic: usize,
    oc: usize,
    options: Options<'a>,
}

impl<'a> LinearBuilder<'a> {
    setters!(bias batch_norm activation isa);

    /// Packs `weights`, `oc` rows of `ic` numbers.
    ///
    /// # Errors
    /// Where a count is zero, a slice has the wrong length, or `KERNELS_ISA` is wrong.
    pub fn build(self, weights: &[f32]) -> Result<Linear, Error> {
        let Self { ic, oc, options } = self;
        if ic == 0 || oc == 0 {
            return Err(invalid("channels", format_args!("{ic} to {oc}: both must be at least 1")));
        }
        expect_len("weights", ic.saturating_mul(oc), weights.len())?;
        let kernels = options.kernels()?;
        let (scale, bias) = options.fold(oc)?;
        let mut packer = Packer::new(kernels, true);
        packer.cut(0..oc.div_ceil(kernels.lanes), false, 0..ic)?;
        let packed = packer.pack(
            |slot| (slot < oc).then_some(slot),
            &bias,
            |o| {
                let (row, scale) = (&weights[o * ic..][..ic], scale[o]);
                move |i| (f64::from(row[i]) * scale) as f32
            },
        );
        Ok(Linear { ic, oc, activation: options.activation, packed })
    }
}

runs!(Linear(src: &[f32], dst: &mut [f32]));

impl Linear {
    /// Begins a layer from `ic` inputs to `oc` outputs.
    pub fn builder<'a>(ic: usize, oc: usize) -> LinearBuilder<'a> {
        LinearBuilder { ic, oc, options: Options::default() }
    }

    /// Inputs.
    pub fn ic(&self) -> usize {
        self.ic
    }

    /// Outputs.
    pub fn oc(&self) -> usize {
        self.oc
    }

    /// Whether the operator runs from `src` to `dst` elements.
    ///
    /// # Errors
    /// Where they are not exactly `ic` and `oc`.
    pub fn check(&self, src: usize, dst: usize) -> Result<(), Error> {
        let Self { ic, oc, .. } = self;
        expect_fit((src, dst) == (*ic, *oc), || {
            format!("linear from {ic} to {oc}: cannot run from {src} to {dst} elements")
        })
    }

    fn compute(call: Call<'_, Self>, src: &[f32], dst: &mut [f32]) -> Result<(), Error> {
        let Self { packed, oc, activation, .. } = call.op;
        call.op.check(src.len(), dst.len())?;
        let target = Target::of(dst, 0);
        grid(call.parallel, packed.panels.len(), 1, &|panels, _| {
            for panel in panels {
                // A whole panel of sums, of which the last may be ragged.
                let mut sums = [0.0f32; 6 * BLOCK];
                packed.multiply_vector(panel, src, &mut sums, true, *activation);
                let slot = packed.panels[panel].slot;
                let sums = &sums[slot % BLOCK..][..packed.lanes(panel).min(oc - slot)];
                // SAFETY: `dst` has these outputs, and each panel's belong to this task alone.
                unsafe {
                    core::ptr::copy_nonoverlapping(sums.as_ptr(), target.element(slot), sums.len());
                }
            }
        });
        Ok(())
    }
}
