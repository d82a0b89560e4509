//! Fully connected layer.

use crate::Activation;
use crate::backend::Kernels;
use crate::error::{Error, expect_len, invalid};
use crate::isa::Isa;
use crate::micro::gemm::{Gemm, PixelStep, Upcoming};
use crate::pack::{Common, Width, panel_widths};
use crate::parallel::{Parallel, Serial, each_once};
use crate::pointwise::part;
use crate::view::{BLOCK, Buffer};
use alloc::vec::Vec;

/// `dst[o] = activation(sum over i of weights[o][i] * src[i] + bias[o])`.
///
/// ```
/// use kernels::{Activation, Isa, Linear};
///
/// let op = Linear::new(2, 3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], Some(&[0.5; 3]), Activation::None, Isa::best())?;
/// let mut dst = [0.0; 3];
/// op.run(&[1.0, 10.0], &mut dst);
/// assert_eq!(dst, [21.5, 43.5, 65.5]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct Linear {
    kernels: &'static Kernels,
    ic: usize,
    oc: usize,
    activation: Activation,
    /// First output and width of each panel.
    panels: Vec<(usize, Width)>,
    offsets: Vec<u32>,
    /// Per panel: bias, then weights by input.
    packed: Buffer,
}

impl Linear {
    /// Packs `weights`, `oc` rows of `ic` numbers, and `bias` (or none) for `isa`.
    ///
    /// # Errors
    /// Where a count is zero or a slice has the wrong length, or the instruction set is not available.
    pub fn new(
        ic: usize,
        oc: usize,
        weights: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
        isa: Isa,
    ) -> Result<Self, Error> {
        if ic == 0 || oc == 0 || u32::try_from(ic).is_err() {
            return Err(invalid("channels", alloc::format!("{ic} to {oc}: both must be 1 to 2^32 - 1")));
        }
        expect_len("weights", ic.saturating_mul(oc), weights.len())?;
        let common = Common { bias, isa: Some(isa), ..Common::default() };
        let kernels = common.kernels()?;
        let (_, bias) = common.fold(oc)?;
        let registers = oc.div_ceil(kernels.lanes);
        let mut packed = Buffer::zeros(registers * kernels.lanes * (1 + ic));
        let mut panels = Vec::new();
        let mut first = 0;
        for width in panel_widths(registers, false, kernels) {
            let nr = width.lanes(kernels);
            let panel = &mut packed.as_mut_slice()[first * (1 + ic)..][..nr * (1 + ic)];
            for lane in 0..nr.min(oc - first) {
                panel[lane] = bias[first + lane];
                for (i, &weight) in weights[(first + lane) * ic..][..ic].iter().enumerate() {
                    panel[(1 + i) * nr + lane] = weight;
                }
            }
            panels.push((first, width));
            first += nr;
        }
        let offsets = (0..ic as u32).collect();
        Ok(Self { kernels, ic, oc, activation, panels, offsets, packed })
    }

    /// Inputs.
    pub fn ic(&self) -> usize {
        self.ic
    }

    /// Outputs.
    pub fn oc(&self) -> usize {
        self.oc
    }

    /// Computes `dst` from `src`, on this thread.
    ///
    /// # Panics
    /// Where `src` has not exactly `ic` elements or `dst` not exactly `oc`.
    pub fn run(&self, src: &[f32], dst: &mut [f32]) {
        self.run_with(&Serial, src, dst);
    }

    /// As [`run`](Self::run), on the threads of `parallel`.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn run_with(&self, parallel: &dyn Parallel, src: &[f32], dst: &mut [f32]) {
        assert!(
            src.len() == self.ic && dst.len() == self.oc,
            "linear from {} to {}: cannot run from {} to {} elements",
            self.ic,
            self.oc,
            src.len(),
            dst.len()
        );
        let target = crate::depthwise::Target(dst.as_mut_ptr());
        let parts = parallel.threads().clamp(1, self.panels.len());
        each_once(parallel, parts, &|task| {
            for &(first, width) in &self.panels[part(self.panels.len(), parts, task)] {
                // A whole panel of sums, of which the last may be ragged. Registers of a panel lie side by side here:
                // the "blocks" of the destination are one pixel apart.
                let mut sums = [0.0f32; 8 * BLOCK];
                // SAFETY: `packed` was laid out by `new`; a panel has at most 4 registers of 16 floats; each panel's
                // outputs belong to this task alone.
                unsafe {
                    let panel = self.packed.as_slice().as_ptr().add(first * (1 + self.ic));
                    let nr = width.lanes(self.kernels);
                    (self.kernels.gemm[PixelStep::Blocked as usize])(&Gemm {
                        src: src.as_ptr(),
                        offsets: self.offsets.as_ptr(),
                        kc: self.ic,
                        pixels: 1,
                        weights: panel.add(nr),
                        bias: panel,
                        residual: core::ptr::null(),
                        residual_block_stride: 0,
                        dst: sums.as_mut_ptr(),
                        dst_block_stride: BLOCK,
                        lane: 0,
                        nv: width.nv,
                        half: width.half,
                        first: true,
                        last: true,
                        epilogue: self.kernels.epilogue(self.activation),
                        prefetch: [Upcoming::NOTHING; 2],
                    });
                    let wanted = nr.min(self.oc - first);
                    core::ptr::copy_nonoverlapping(sums.as_ptr(), target.at(first), wanted);
                }
            }
        });
    }
}
