//! A window of taps that slides over a map, as matrix products.
//!
//! No image is unrolled: a run of output pixels is one product whose table of offsets names a tap and a channel per k.
//!
//! ```text
//!   +---+-----------+---+      Output pixels that have the same taps inside the image form rectangles: with 3x3 taps, these
//!   | a |     b     | c |      nine. (e has all taps; a has neither the first row nor the first column of them.)
//!   +---+-----------+---+
//!   |   |           |   |      A rectangle is cut into runs along its rows, or, where it is too narrow for a tile, along
//!   | d |     e     | f |      its columns (d and f).
//!   |   |           |   |
//!   +---+-----------+---+      Taps are sorted by column. What d, e and f have is one run of the weights each, and one
//!   | g |     h     | i |      product; where rows of taps are lacking, there is a product per column.
//!   +---+-----------+---+
//! ```
//!
//! Weights are outermost: those of one panel, for a thousand k at most, meet all pixels before the next are read.

use crate::activation::Activation;
use crate::error::Error;
use crate::micro::activation::Epilogue;
use crate::micro::gemm::{PixelStep, Upcoming};
use crate::operators::filters::Filters;
use crate::pack::{KC, Product};
use crate::tensor::{BLOCK, Shape, Source, extent};
use crate::window::Window;
use core::ops::Range;

/// Windows along one side of a map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    /// Pixels of the source.
    pub(crate) len: usize,
    pub(crate) windows: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    /// Pixels from the first tap of the first window to the first pixel; negative where the window begins behind it.
    pub(crate) before: isize,
}

impl Side {
    /// Rows and columns of a window over an image of `h` x `w`.
    ///
    /// # Errors
    /// Where it does not fit.
    pub(crate) fn both(window: Window, h: usize, w: usize) -> Result<[Self; 2], Error> {
        let axes = window.axes(h, w)?;
        Ok([0, 1].map(|axis| Self {
            len: [h, w][axis],
            windows: axes[axis].len,
            kernel: window.kernel[axis],
            stride: window.stride[axis],
            dilation: window.dilation[axis],
            before: axes[axis].before as isize,
        }))
    }

    /// The taps of a window that lie inside the image.
    fn taps(&self, window: usize) -> Range<usize> {
        let first = self.before - (window * self.stride) as isize;
        let until = |pixel: isize| match usize::try_from(pixel) {
            Ok(pixel) if self.dilation == 1 => pixel.min(self.kernel),
            Ok(pixel) => pixel.div_ceil(self.dilation).min(self.kernel),
            Err(_) => 0,
        };
        until(first)..until(first + self.len as isize)
    }

    /// Those of some windows, from the first on, that have the same taps; and these.
    fn alike(&self, windows: Range<usize>) -> (Range<usize>, Range<usize>) {
        let taps = self.taps(windows.start);
        let mut end = windows.start + 1;
        if taps.len() == self.kernel {
            // All whose last tap lies inside the image, as that of the first does.
            let last = self.len as isize - 1 + self.before - ((self.kernel - 1) * self.dilation) as isize;
            end = (last as usize / self.stride + 1).min(windows.end);
        }
        while end < windows.end && self.taps(end) == taps {
            end += 1;
        }
        (windows.start..end, taps)
    }
}

/// Checks that the table of offsets reaches from a window's first tap to its last, and there from the first channel to one that
/// lies `channels` elements behind. A pixel has `pixel` elements.
///
/// # Errors
/// Where it does not.
pub(crate) fn expect_offsets(
    [rows, columns]: [Side; 2],
    pixel: usize,
    channels: Option<usize>,
    src: Shape,
) -> Result<(), Error> {
    let taps = || {
        let rows = extent::product([rows.kernel - 1, rows.dilation, columns.len])?;
        let columns = extent::product([columns.kernel - 1, columns.dilation])?;
        extent::sum([extent::product([extent::sum([rows, columns])?, pixel])?, channels?])
    };
    extent::expect_offsets(taps(), src)
}

/// Where a convolution reads and writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Map<'a> {
    pub(crate) src: Source<'a>,
    /// Rows and columns.
    pub(crate) sides: [Side; 2],
    /// Elements of the destination from one window to the one below it, and to the one beside it.
    pub(crate) dst_steps: [usize; 2],
    pub(crate) dst_block_stride: usize,
    pub(crate) residual_block_stride: usize,
}

/// One task's work.
#[derive(Clone, Debug)]
pub(crate) struct Job<'a> {
    filters: &'a Filters,
    epilogue: Epilogue,
    map: Map<'a>,
    /// Where inputs `filled` (among all that panels have) lie, from a window's first tap on.
    offsets: [u32; KC],
    filled: Range<usize>,
}

/// Where a task reads a residual, if there is one, and writes: the first window's place in the first block.
#[derive(Clone, Copy)]
pub(crate) struct To {
    pub(crate) dst: *mut f32,
    /// Or null.
    pub(crate) residual: *const f32,
}

impl<'a> Job<'a> {
    /// # Errors
    /// Where the table of offsets does not reach. (`slots` are those of the source that are read.)
    pub(crate) fn new(
        filters: &'a Filters,
        slots: usize,
        activation: Activation,
        map: Map<'a>,
    ) -> Result<Self, Error> {
        expect_offsets(map.sides, map.src.pixel(), Some(map.src.channel(slots - 1)), map.src.shape())?;
        let epilogue = filters.packed.kernels.epilogue(activation);
        Ok(Self { filters, epilogue, map, offsets: [0; KC], filled: 0..0 })
    }

    /// Computes some panels of some rows of windows.
    ///
    /// # Safety
    /// `to` points at the first of these rows. The destination has all blocks of the output, and nobody else writes its
    /// pixels of these panels; the residual is like it. The source has the slots that the filters read.
    pub(crate) unsafe fn compute(&mut self, panels: Range<usize>, rows: Range<usize>, to: To) {
        let filters = self.filters;
        let [down, along] = self.map.sides;
        for panels in filters.alike(panels) {
            let inputs = filters.packed.panels[panels.start].k.clone();
            for start in inputs.clone().step_by(KC) {
                let part = start..inputs.end.min(start + KC);
                self.fill(panels.start, part.clone());
                for panel in panels.clone() {
                    // What will be read next: of the next panel, or of the first one the next part.
                    let mut upcoming = match filters.packed.is_large() {
                        true if panel + 1 < panels.end => {
                            filters.packed.upcoming_part(panel + 1, part.clone())
                        }
                        true => {
                            let next = part.end..inputs.end.min(part.end + KC);
                            filters.packed.upcoming_part(panels.start, next)
                        }
                        false => Upcoming::NOTHING,
                    };
                    let mut ys = rows.start..rows.start;
                    while ys.end < rows.end {
                        let (alike, kh) = down.alike(ys.end..rows.end);
                        ys = alike;
                        let mut xs = 0..0;
                        while xs.end < along.windows {
                            let (alike, kw) = along.alike(xs.end..along.windows);
                            xs = alike;
                            let below = (ys.start - rows.start) * self.map.dst_steps[0];
                            let beside = xs.start * self.map.dst_steps[1];
                            // SAFETY: the caller's; these windows have these taps inside the image.
                            unsafe {
                                self.rectangle(
                                    panel,
                                    part.clone(),
                                    [ys.clone(), xs.clone()],
                                    [kh.clone(), kw],
                                    to.add(below + beside),
                                    &mut upcoming,
                                );
                            }
                        }
                    }
                }
            }
        }
    }

    /// Computes what inputs `part` give to a rectangle of windows whose taps are all inside the image. `to` points at the first
    /// window.
    ///
    /// # Safety
    /// As [`compute`](Self::compute).
    unsafe fn rectangle(
        &self,
        panel: usize,
        part: Range<usize>,
        [ys, xs]: [Range<usize>; 2],
        [kh, kw]: [Range<usize>; 2],
        to: To,
        upcoming: &mut Upcoming,
    ) {
        let Map { src, sides: [down, along], dst_steps, .. } = self.map;
        let (pixel, w) = (src.pixel(), along.len);
        // The first tap of the first window; perhaps before the image, where no tap that is used lies.
        let row = (ys.start * down.stride) as isize - down.before;
        let column = (xs.start * along.stride) as isize - along.before;
        let origin = src.data().as_ptr().wrapping_offset((row * w as isize + column) * pixel as isize);
        let steps = [down.stride * w * pixel, along.stride * pixel];

        // Runs along the shorter or the longer side: how many, how long, and the axis of each.
        let mr = self.filters.packed.kernels.tiles[0].mr;
        let upright = xs.len() < mr && xs.len() < ys.len();
        let (across, runs, pixels) = if upright { (1, xs.len(), ys.len()) } else { (0, ys.len(), xs.len()) };
        // The inputs of a column of taps are neighbours, and so are those of whole columns.
        let channels = self.filters.slots(panel).len();
        let first = self.filters.packed.panels[panel].k.start;
        let (pieces, each) = if kh.len() == down.kernel { (1, kw.len()) } else { (kw.len(), 1) };
        let piece = |i: usize| {
            let column = first + (kw.start + i) * down.kernel * channels;
            let start = column + kh.start * channels;
            start..start + ((each - 1) * down.kernel + kh.len()) * channels
        };
        // No tap at all is one empty piece.
        let (pieces, piece) = match kh.is_empty() || kw.is_empty() {
            true => (1, None),
            false => (pieces, Some(piece)),
        };
        for run in 0..runs {
            let from = origin.wrapping_add(run * steps[across]);
            let to = to.add(run * dst_steps[across]);
            for i in 0..pieces {
                let whole = piece.as_ref().map_or(first..first, |piece| piece(i));
                let k = whole.start.max(part.start)..whole.end.min(part.end);
                if k.is_empty() && !(whole.is_empty() && part.start == first) {
                    continue;
                }
                let (begins, ends) =
                    (i == 0 && k.start == whole.start, i + 1 == pieces && k.end == whole.end);
                let (src_step, dst_step) = (steps[1 - across], dst_steps[1 - across]);
                // Pixels that full tiles leave: the last tile does others of its pixels a second time, or they are done one by one,
                // where sums were begun elsewhere.
                let left = pixels % mr;
                let dear = if begins && left > 0 { mr - left } else { left };
                let step = match pixels {
                    1 => PixelStep::Blocked,
                    _ if dst_step != BLOCK => PixelStep::Any,
                    _ => PixelStep::of(src_step, dear == 0 || pixels > 12 * dear),
                };
                let prefetch = upcoming.take(pixels.div_ceil(mr) * k.len());
                // SAFETY: every k names a tap inside the image for all pixels of the run, and a slot that the source has; the
                // caller answers for the destination.
                unsafe {
                    self.filters.packed.multiply(&Product {
                        panel,
                        offsets: &self.offsets[k.start - self.filled.start..][..k.len()],
                        k,
                        src: from,
                        step,
                        src_step,
                        pixels,
                        dst: to.dst,
                        dst_step,
                        dst_block_stride: self.map.dst_block_stride,
                        residual: to.residual,
                        residual_block_stride: self.map.residual_block_stride,
                        first: begins,
                        last: ends,
                        epilogue: &self.epilogue,
                        prefetch: [prefetch, Upcoming::NOTHING],
                    });
                }
            }
        }
    }

    /// Fills the table with where some inputs of a panel lie.
    fn fill(&mut self, panel: usize, inputs: Range<usize>) {
        if self.filled == inputs {
            return;
        }
        let Map { src, sides: [down, along], .. } = self.map;
        let slots = self.filters.slots(panel);
        let first = inputs.start - self.filters.packed.panels[panel].k.start;
        let (mut tap, mut i) = (first / slots.len(), first % slots.len());
        for offset in &mut self.offsets[..inputs.len()] {
            let (kw, kh) = (tap / down.kernel, tap % down.kernel);
            let pixel = kh * down.dilation * along.len + kw * along.dilation;
            *offset = (pixel * src.pixel() + src.channel(slots[i] as usize)) as u32;
            i += 1;
            if i == slots.len() {
                (tap, i) = (tap + 1, 0);
            }
        }
        self.filled = inputs;
    }
}

impl To {
    /// So many elements further on.
    fn add(self, elements: usize) -> Self {
        let Self { dst, residual } = self;
        let residual = if residual.is_null() { residual } else { residual.wrapping_add(elements) };
        Self { dst: dst.wrapping_add(elements), residual }
    }
}
