//! Weights in panels, and the one place that multiplies by them.
//!
//! ```text
//! panel: the registers of a tile, side by side                        k runs over inputs (channels, or taps and channels)
//!   bias     | lane 0 .. | lane 0 .. | lane 0 .. |                    in the order in which they are read
//!   k = 0    | w00    .. | w10    .. | ..        |
//!   k = 1    | w01    .. | w11    .. | ..        |
//!   ..
//! ```
//!
//! Lanes of no channel, and inputs that a channel does not see, are zeros: loads have no tails.

use crate::activation::Activation;
use crate::backend::{Kernels, Tile};
use crate::error::Error;
use crate::micro::gemm::{Gemm, PixelStep, Upcoming};
use crate::tensor::extent;
use crate::tensor::owned::Buffer;
use crate::tensor::shape::BLOCK;
use alloc::vec::Vec;
use core::ops::Range;

/// Entries of the longest table of offsets.
pub(crate) const KC: usize = 1024;

/// A few registers of neighbouring output slots that read the same inputs.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    pub(crate) slot: usize,
    /// Its inputs, among all that the operator counts.
    pub(crate) k: Range<usize>,
    tile: &'static Tile,
    /// Where its rows begin.
    at: usize,
}

/// Weights, packed for one instruction set.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) kernels: &'static Kernels,
    pub(crate) panels: Vec<Panel>,
    /// Whether a panel's first row is its bias.
    bias: bool,
    data: Buffer,
}

/// Cuts registers of the output into panels.
#[derive(Debug)]
pub(crate) struct Packer {
    kernels: &'static Kernels,
    panels: Vec<Panel>,
    bias: bool,
    len: usize,
}

impl Packer {
    /// Panels with a bias, or without.
    pub(crate) fn new(kernels: &'static Kernels, bias: bool) -> Self {
        Self { kernels, panels: Vec::new(), bias, len: 0 }
    }

    /// How many panels there are.
    pub(crate) fn panels(&self) -> usize {
        self.panels.len()
    }

    /// Adds panels for some neighbouring registers whose sums run over `k`; `ragged` says that at most half the lanes of
    /// the last one are wanted.
    ///
    /// No panel of a single register is left over where it can be helped: it has too few sums to hide the latency of a
    /// multiply-add.
    pub(crate) fn cut(
        &mut self,
        registers: Range<usize>,
        ragged: bool,
        k: Range<usize>,
    ) -> Result<(), Error> {
        let tiles = self.kernels.tiles;
        // The widest tile that fits and leaves no register alone.
        let widest = |half: bool, left: usize| {
            let fits = |tile: &&Tile| tile.half == half && tile.nv <= left && left - tile.nv != 1;
            tiles.iter().filter(fits).max_by_key(|tile| tile.nv)
        };
        let (mut slot, mut left) = (registers.start * self.kernels.lanes, registers.len());
        let last = if ragged { widest(true, left - 1) } else { None };
        left -= last.map_or(0, |tile| tile.nv + 1);
        while left > 0 {
            let favourite = &tiles[0];
            let repeat = left > favourite.nv && left - favourite.nv != 1;
            let tile = if repeat { favourite } else { widest(false, left).expect("a tile of one register") };
            slot = self.push(tile, slot, &k)?;
            left -= tile.nv;
        }
        last.map_or(Ok(()), |tile| self.push(tile, slot, &k).map(drop))
    }

    /// Adds one panel, and returns the slot behind it.
    fn push(&mut self, tile: &'static Tile, slot: usize, k: &Range<usize>) -> Result<usize, Error> {
        self.panels.push(Panel { slot, k: k.clone(), tile, at: self.len });
        let nr = tile.lanes(self.kernels);
        let rows = extent::product([usize::from(self.bias) + k.len(), nr]);
        self.len = extent::expect("weights", rows.and_then(|rows| extent::sum([self.len, rows])))?;
        Ok(slot + nr)
    }

    /// Fills the panels. `channel` says which channel lies in a slot, if any, `bias` is by channel, and `row(channel)`
    /// gives the channel's weight for each `k`.
    pub(crate) fn pack<R: Fn(usize) -> f32>(
        self,
        channel: impl Fn(usize) -> Option<usize>,
        bias: &[f32],
        row: impl Fn(usize) -> R,
    ) -> Packed {
        let mut data = Buffer::zeros(self.len);
        for panel in &self.panels {
            let nr = panel.tile.lanes(self.kernels);
            let mut rows = &mut data.as_mut_slice()[panel.at..];
            let channels = || (0..nr).filter_map(|lane| Some((lane, channel(panel.slot + lane)?)));
            if self.bias {
                let (head, body) = rows.split_at_mut(nr);
                channels().for_each(|(lane, channel)| head[lane] = bias[channel]);
                rows = body;
            }
            // A few k at a time, so that the lines written to stay in cache while every lane visits them.
            for (rows, start) in rows.chunks_mut(16 * nr).zip(panel.k.clone().step_by(16)) {
                for (lane, channel) in channels() {
                    let weight = row(channel);
                    let to = rows[lane..].iter_mut().step_by(nr);
                    to.zip(start..panel.k.end).for_each(|(to, k)| *to = weight(k));
                }
            }
        }
        Packed { kernels: self.kernels, panels: self.panels, bias: self.bias, data }
    }
}

impl Tile {
    /// Output channels.
    fn lanes(&self, kernels: &Kernels) -> usize {
        self.nv * kernels.lanes + if self.half { kernels.lanes / 2 } else { 0 }
    }
}

/// What a panel is multiplied by, and where to.
///
/// Contract: each of `offsets` plus each of `pixels` pixels, from `src` on, is an element to read; `dst` (and `residual`,
/// unless null) have, in the blocks in which the panel's slots lie, `pixels` pixels from where they point, in `dst` to write.
pub(crate) struct Product<'a> {
    pub(crate) panel: usize,
    /// The panel's inputs, or some of them, and where each lies.
    pub(crate) k: Range<usize>,
    pub(crate) offsets: &'a [u32],
    /// What offsets count from for the first pixel; it may lie outside the source where no tap that is used does.
    pub(crate) src: *const f32,
    pub(crate) step: PixelStep,
    pub(crate) src_step: usize,
    pub(crate) dst_step: usize,
    pub(crate) pixels: usize,
    /// The first pixel of block 0.
    pub(crate) dst: *mut f32,
    pub(crate) dst_block_stride: usize,
    /// Null, or like `dst`.
    pub(crate) residual: *const f32,
    pub(crate) residual_block_stride: usize,
    /// Whether sums begin at the bias, or at what `dst` holds.
    pub(crate) first: bool,
    /// Whether residual and activation follow.
    pub(crate) last: bool,
    pub(crate) activation: Activation,
    /// What will be read next.
    pub(crate) prefetch: [Upcoming; 2],
}

impl Packed {
    /// The rows of a panel, bias first.
    fn rows(&self, panel: &Panel) -> &[f32] {
        let rows = usize::from(self.bias) + panel.k.len();
        &self.data.as_slice()[panel.at..][..rows * panel.tile.lanes(self.kernels)]
    }

    /// Output channels of a panel, with those of no channel.
    pub(crate) fn lanes(&self, panel: usize) -> usize {
        self.panels[panel].tile.lanes(self.kernels)
    }

    /// The lines of some panels, for whoever reads them soon.
    pub(crate) fn upcoming(&self, panels: Range<usize>) -> Upcoming {
        let Some(panels) = self.panels.get(panels).filter(|panels| !panels.is_empty()) else {
            return Upcoming::NOTHING;
        };
        let len: usize = panels.iter().map(|panel| self.rows(panel).len()).sum();
        Upcoming { at: self.rows(&panels[0]).as_ptr(), lines: len / BLOCK }
    }

    /// The lines that hold some inputs of a panel.
    pub(crate) fn upcoming_part(&self, panel: usize, k: Range<usize>) -> Upcoming {
        let nr = self.lanes(panel);
        let first = usize::from(self.bias) + k.start - self.panels[panel].k.start;
        let part = &self.rows(&self.panels[panel])[first * nr..][..k.len() * nr];
        Upcoming { at: part.as_ptr(), lines: part.len() / BLOCK }
    }

    /// Whether the weights are so many that they will not have stayed in the second-level cache since the last run.
    pub(crate) fn is_large(&self) -> bool {
        self.data.as_slice().len() > 1 << 17
    }

    /// The sums of one panel, for a run of pixels.
    ///
    /// # Safety
    /// The contract of [`Product`].
    ///
    /// # Panics
    /// Where the panel has not these inputs, or there is not an offset for each.
    pub(crate) unsafe fn multiply(&self, product: &Product<'_>) {
        let panel = &self.panels[product.panel];
        let (nr, rows) = (self.lanes(product.panel), self.rows(panel));
        let (bias, weights) = rows.split_at(if self.bias { nr } else { 0 });
        let Range { start, end } = product.k;
        assert!(
            panel.k.start <= start && end <= panel.k.end && product.offsets.len() == end - start,
            "inputs of a panel"
        );
        assert!(self.bias || !product.first, "a panel without a bias");
        let block = panel.slot / BLOCK;
        let residual = match product.residual.is_null() {
            true => product.residual,
            false => product.residual.wrapping_add(block * product.residual_block_stride),
        };
        // SAFETY: the rows are the panel's own, for as many k as there are offsets; the rest is the caller's. (A ragged last
        // register ends within its block.)
        unsafe {
            (panel.tile.product[product.step as usize])(&Gemm {
                src: product.src,
                offsets: product.offsets.as_ptr(),
                kc: product.offsets.len(),
                pixels: product.pixels,
                weights: weights[(start - panel.k.start) * nr..].as_ptr(),
                bias: bias.as_ptr(),
                residual,
                residual_block_stride: product.residual_block_stride,
                dst: product.dst.wrapping_add(block * product.dst_block_stride),
                dst_block_stride: product.dst_block_stride,
                lane: panel.slot % BLOCK,
                src_step: product.src_step,
                dst_step: product.dst_step,
                first: product.first,
                last: product.last,
                epilogue: self.kernels.epilogue(product.activation),
                prefetch: product.prefetch,
            });
        }
    }

    /// The sums of one panel, for one pixel whose inputs lie side by side. `dst` begins with the block in which the panel
    /// does, and has as many elements as the panel's last lane needs.
    ///
    /// # Panics
    /// Where either is too short.
    pub(crate) fn multiply_vector(
        &self,
        panel: usize,
        src: &[f32],
        dst: &mut [f32],
        first: bool,
        activation: Activation,
    ) {
        /// Offsets of neighbours.
        static SIDE_BY_SIDE: [u32; KC] = {
            let (mut offsets, mut i) = ([0; KC], 0);
            while i < KC {
                offsets[i] = i as u32;
                i += 1;
            }
            offsets
        };
        let Panel { slot, ref k, .. } = self.panels[panel];
        assert!(
            src.len() >= k.len() && dst.len() >= slot % BLOCK + self.lanes(panel),
            "one pixel of a panel"
        );
        for start in k.clone().step_by(KC) {
            let end = k.end.min(start + KC);
            // SAFETY: `src` has an element for each k, and `dst` for each lane: blocks one pixel apart lie side by side.
            unsafe {
                self.multiply(&Product {
                    panel,
                    k: start..end,
                    offsets: &SIDE_BY_SIDE[..end - start],
                    src: src[start - k.start..].as_ptr(),
                    step: PixelStep::Blocked,
                    src_step: BLOCK,
                    dst_step: BLOCK,
                    pixels: 1,
                    dst: dst.as_mut_ptr().wrapping_sub(slot / BLOCK * BLOCK),
                    dst_block_stride: BLOCK,
                    residual: core::ptr::null(),
                    residual_block_stride: 0,
                    first: first && start == k.start,
                    last: end == k.end,
                    activation,
                    prefetch: [Upcoming::NOTHING; 2],
                });
            }
        }
    }
}
