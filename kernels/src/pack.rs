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
use crate::micro::activation::{Curve, Epilogue, Lines};
use crate::micro::gemm::{Gemm, PixelStep, Upcoming};
use crate::tensor::{BLOCK, Buffer, extent};
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
    /// Output channels, with those of no channel.
    pub(crate) nr: usize,
    /// Where its weights lie, `nr` for each k. A bias lies before them.
    weights: Range<usize>,
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
        let nr = tile.nv * self.kernels.lanes + if tile.half { self.kernels.lanes / 2 } else { 0 };
        let start = self.len + if self.bias { nr } else { 0 };
        let end = extent::product([k.len(), nr]).and_then(|len| extent::sum([start, len]));
        self.len = extent::expect("weights", end)?;
        self.panels.push(Panel { slot, k: k.clone(), tile, nr, weights: start..self.len });
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
            let nr = panel.nr;
            let channels = || (0..nr).filter_map(|lane| Some((lane, channel(panel.slot + lane)?)));
            let (before, weights) =
                data.as_mut_slice()[..panel.weights.end].split_at_mut(panel.weights.start);
            if self.bias {
                let to = &mut before[panel.weights.start - nr..];
                channels().for_each(|(lane, channel)| to[lane] = bias[channel]);
            }
            // A few k at a time, so that the lines written to stay in cache while every lane visits them.
            for (rows, start) in weights.chunks_mut(16 * nr).zip(panel.k.clone().step_by(16)) {
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
    /// Whether residual and epilogue follow.
    pub(crate) last: bool,
    pub(crate) epilogue: &'a Epilogue,
    /// What will be read next.
    pub(crate) prefetch: [Upcoming; 2],
}

impl Packed {
    /// Elements before a panel's weights that are its own.
    fn bias_len(&self, panel: &Panel) -> usize {
        if self.bias { panel.nr } else { 0 }
    }

    /// The lines of some panels, for whoever reads them soon.
    pub(crate) fn upcoming(&self, panels: Range<usize>) -> Upcoming {
        let Some([first, .., last] | [first @ last]) = self.panels.get(panels) else {
            return Upcoming::NOTHING;
        };
        let rows = &self.data.as_slice()[first.weights.start - self.bias_len(first)..last.weights.end];
        Upcoming { at: rows.as_ptr(), lines: rows.len() / BLOCK }
    }

    /// The lines that hold some inputs of a panel.
    pub(crate) fn upcoming_part(&self, panel: usize, k: Range<usize>) -> Upcoming {
        let panel = &self.panels[panel];
        let first = (k.start - panel.k.start) * panel.nr;
        let part = &self.data.as_slice()[panel.weights.clone()][first..][..k.len() * panel.nr];
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
    #[inline(always)]
    pub(crate) unsafe fn multiply(&self, product: &Product<'_>) {
        let panel = &self.panels[product.panel];
        let Range { start, end } = product.k;
        assert!(
            panel.k.start <= start && end <= panel.k.end && product.offsets.len() == end - start,
            "inputs of a panel"
        );
        assert!(self.bias || !product.first, "a panel without a bias");
        let residual = match product.residual.is_null() {
            true => product.residual,
            false => product.residual.wrapping_add(panel.slot / BLOCK * product.residual_block_stride),
        };
        let mut gemm = Gemm {
            src: product.src,
            offsets: product.offsets.as_ptr(),
            kc: product.offsets.len(),
            pixels: product.pixels,
            residual,
            residual_block_stride: product.residual_block_stride,
            dst_block_stride: product.dst_block_stride,
            src_step: product.src_step,
            dst_step: product.dst_step,
            first: product.first,
            last: product.last,
            bounds: &product.epilogue.bounds,
            prefetch: product.prefetch,
            // Of the panel.
            weights: core::ptr::null(),
            bias: core::ptr::null(),
            dst: core::ptr::null_mut(),
            lane: 0,
        };
        // SAFETY: the panel has the inputs, as was just checked; the rest is the caller's.
        unsafe { self.call(panel, start, product.step, product.dst, product.epilogue, &mut gemm) }
    }

    /// Runs the tile of `panel` on inputs from number `start` on, `dst` being that of block 0.
    ///
    /// # Safety
    /// The panel has these inputs; the contract of [`Product`] for the rest.
    #[inline(always)]
    unsafe fn call(
        &self,
        panel: &Panel,
        start: usize,
        step: PixelStep,
        dst: *mut f32,
        epilogue: &Epilogue,
        gemm: &mut Gemm,
    ) {
        let weights = self.data.as_slice()[panel.weights.clone()].as_ptr();
        gemm.dst = dst.wrapping_add(panel.slot / BLOCK * gemm.dst_block_stride);
        gemm.lane = panel.slot % BLOCK;
        // SAFETY: the weights are the panel's own, `nr` for each of its k, its bias before them; the rest is the caller's.
        // (A ragged last register ends within its block.)
        unsafe {
            gemm.weights = weights.add((start - panel.k.start) * panel.nr);
            gemm.bias = weights.sub(self.bias_len(panel));
            match &epilogue.curve {
                Some(curve) if gemm.last => curved(panel.tile, step, gemm, curve),
                _ => (panel.tile.product[step as usize])(gemm),
            }
        }
    }

    /// The sums of neighbouring panels with the same inputs, for one pixel whose inputs lie side by side. `dst` begins with
    /// the block in which the first panel does, and has as many elements as the last lane of the last panel needs.
    ///
    /// # Panics
    /// Where either is too short.
    pub(crate) fn multiply_vector(
        &self,
        panels: Range<usize>,
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
        let epilogue = self.kernels.epilogue(activation);
        let panels = &self.panels[panels];
        let (k, block) = (panels[0].k.clone(), panels[0].slot / BLOCK);
        assert!(src.len() >= k.len(), "an element for each input");
        assert!(self.bias || !first, "panels without a bias");
        let (len, to) = (dst.len(), dst.as_mut_ptr().wrapping_sub(block * BLOCK));
        for start in k.clone().step_by(KC) {
            let end = k.end.min(start + KC);
            let mut gemm = Gemm {
                src: src[start - k.start..].as_ptr(),
                offsets: SIDE_BY_SIDE.as_ptr(),
                kc: end - start,
                pixels: 1,
                residual: core::ptr::null(),
                residual_block_stride: 0,
                // Blocks of one pixel lie side by side.
                dst_block_stride: BLOCK,
                src_step: BLOCK,
                dst_step: BLOCK,
                first: first && start == k.start,
                last: end == k.end,
                bounds: &epilogue.bounds,
                prefetch: [Upcoming::NOTHING; 2],
                // Of the panels.
                weights: core::ptr::null(),
                bias: core::ptr::null(),
                dst: to,
                lane: 0,
            };
            for panel in panels {
                assert!(panel.k == k, "the same inputs");
                assert!(len >= panel.slot + panel.nr - block * BLOCK, "an element for each lane");
                // SAFETY: the panel has these inputs, `src` has an element for each of them, and `dst` for each lane.
                unsafe { self.call(panel, start, PixelStep::Blocked, to, &epilogue, &mut gemm) }
            }
        }
    }
}

/// A product whose sums get a curve: a few pixels at a time, which are in the first-level cache still.
///
/// # Safety
/// The contract of [`Gemm`], whose steps are those of its pixels.
#[cold]
unsafe fn curved(tile: &Tile, step: PixelStep, gemm: &Gemm, curve: &Curve) {
    // Enough for a call, in whole tiles. A rest that is shorter goes with the run before it.
    let most = 24usize.next_multiple_of(tile.mr);
    let mut start = 0;
    while start < gemm.pixels {
        let rest = gemm.pixels - start;
        let pixels = if rest < 2 * most { rest } else { most };
        let at = start * gemm.dst_step;
        let part = Gemm {
            src: gemm.src.wrapping_add(start * gemm.src_step),
            dst: gemm.dst.wrapping_add(at),
            residual: if gemm.residual.is_null() { gemm.residual } else { gemm.residual.wrapping_add(at) },
            pixels,
            prefetch: if start == 0 { gemm.prefetch } else { [Upcoming::NOTHING; 2] },
            ..*gemm
        };
        let lines = Lines {
            activation: curve.activation,
            at: part.dst,
            pixels,
            step: gemm.dst_step,
            block_stride: gemm.dst_block_stride,
            lane: gemm.lane,
            nv: tile.nv,
            half: tile.half,
        };
        // SAFETY: some of the caller's pixels; the curve is applied to the registers that were just stored for them.
        unsafe {
            (tile.product[step as usize])(&part);
            (curve.apply)(&lines);
        }
        start += pixels;
    }
}
