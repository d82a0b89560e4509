//! Depthwise convolution, 3x3 and 5x5.

use crate::Activation;
use crate::backend::Kernels;
use crate::error::{Error, expect_len, invalid};
use crate::micro::depthwise as micro;
use crate::order::ChannelOrder;
use crate::pack::{Common, common_setters};
use crate::padding::Padding;
use crate::parallel::{Parallel, Serial, each_once};
use crate::pointwise::{part, split};
use crate::view::{BLOCK, Buffer, Shape, View, ViewMut};
use alloc::{format, vec::Vec};

/// Depthwise convolution with bias, folded batch normalisation and activation in its epilogue.
///
/// `dst[c][y][x] = activation(sum over kh, kw of weights[c][kh][kw] * src[c][y * stride + kh - top][x * stride + kw -
/// left] + bias[c])`; taps outside the image contribute nothing.
///
/// A lane stays a lane: output block `i` is the `i`-th of the source's blocks that hold a channel of the input order,
/// and [`output_order`](Self::output_order) says where each channel went.
///
/// ```
/// use kernels::{Depthwise, Shape, Tensor};
///
/// let op = Depthwise::builder(2, 3, 2).build(&[1.0; 2 * 9])?; // 2 channels, 3x3, stride 2, padding 1
/// let src = Tensor::from_nchw(&[1.0; 2 * 16], Shape::new(2, 4, 4))?;
/// let mut dst = Tensor::zeros(op.output_shape(4, 4));
/// op.run(src.view(), dst.view_mut());
/// assert_eq!(dst.to_nchw(), [4.0, 6.0, 6.0, 9.0, 4.0, 6.0, 6.0, 9.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct Depthwise {
    kernels: &'static Kernels,
    kernel: usize,
    stride: usize,
    padding: Padding,
    activation: Activation,
    blocks: Vec<u32>,
    output_order: ChannelOrder,
    src_slots: usize,
    /// Per block: sixteen biases, then sixteen weights per tap.
    packed: Buffer,
}

/// Collects what a [`Depthwise`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct DepthwiseBuilder<'a> {
    channels: usize,
    kernel: usize,
    stride: usize,
    padding: Padding,
    input_order: Option<&'a ChannelOrder>,
    common: Common<'a>,
}

impl<'a> DepthwiseBuilder<'a> {
    common_setters!();

    /// Pixels of nothing around the image. Default: `kernel / 2` on every side.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// The slot of the source in which each channel lies. Default: channel `c` in slot `c`.
    pub fn input_order(mut self, order: &'a ChannelOrder) -> Self {
        self.input_order = Some(order);
        self
    }

    /// Packs `weights`, `kernel * kernel` numbers per channel.
    ///
    /// # Errors
    /// Where the kernel is neither 3 nor 5, the stride neither 1 nor 2, the padding not smaller than the kernel, a slot
    /// named twice, a slice of the wrong length, or the instruction set not available.
    pub fn build(self, weights: &[f32]) -> Result<Depthwise, Error> {
        let Self { channels, kernel, stride, padding, .. } = self;
        if channels == 0 {
            return Err(invalid("channels", "0: must be at least 1"));
        }
        check_window(kernel, &[3, 5], stride, padding)?;
        let taps = kernel * kernel;
        expect_len("weights", channels.saturating_mul(taps), weights.len())?;
        let input = self.input_order.cloned().unwrap_or_else(|| ChannelOrder::identity(channels));
        expect_len("input order", channels, input.channels())?;
        let kernels = self.common.kernels()?;
        let (scale, bias) = self.common.fold(channels)?;

        let mut sorted: Vec<u32> = input.slots().to_vec();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(invalid("input order", "a slot is named twice"));
        }
        let mut blocks: Vec<u32> = sorted.iter().map(|slot| slot / BLOCK as u32).collect();
        blocks.dedup();
        let mut packed = Buffer::zeros(blocks.len() * (1 + taps) * BLOCK);
        let mut slots = Vec::with_capacity(channels);
        for (channel, &slot) in input.slots().iter().enumerate() {
            let block = blocks.partition_point(|&block| block < slot / BLOCK as u32);
            let lane = slot as usize % BLOCK;
            slots.push((block * BLOCK + lane) as u32);
            let panel = &mut packed.as_mut_slice()[block * (1 + taps) * BLOCK..][..(1 + taps) * BLOCK];
            panel[lane] = bias[channel];
            for (tap, &weight) in weights[channel * taps..][..taps].iter().enumerate() {
                panel[(1 + tap) * BLOCK + lane] = (f64::from(weight) * scale[channel]) as f32;
            }
        }
        Ok(Depthwise {
            kernels,
            kernel,
            stride,
            padding,
            activation: self.common.activation,
            blocks,
            output_order: ChannelOrder::from_slots(slots),
            src_slots: input.width(),
            packed,
        })
    }
}

/// The checks that every sliding window shares.
pub(crate) fn check_window(
    kernel: usize,
    allowed: &[usize],
    stride: usize,
    padding: Padding,
) -> Result<(), Error> {
    if !allowed.contains(&kernel) {
        return Err(invalid("kernel", format!("{kernel}: must be one of {allowed:?}")));
    }
    if !(1..=2).contains(&stride) {
        return Err(invalid("stride", format!("{stride}: must be 1 or 2")));
    }
    if padding.greatest(kernel) >= kernel {
        return Err(invalid("padding", format!("{padding:?} is not smaller than the kernel, {kernel}")));
    }
    Ok(())
}

/// Height and width that a window makes of `from`.
pub(crate) fn window_shape(
    padding: Padding,
    kernel: usize,
    stride: usize,
    from: Shape,
) -> Option<(usize, usize)> {
    Some((padding.rows(from.h, kernel, stride)?.1, padding.columns(from.w, kernel, stride)?.1))
}

impl Depthwise {
    /// Begins a convolution of `channels` channels by `kernel` x `kernel` taps.
    pub fn builder<'a>(channels: usize, kernel: usize, stride: usize) -> DepthwiseBuilder<'a> {
        let padding = Padding::all(kernel / 2);
        DepthwiseBuilder { channels, kernel, stride, padding, input_order: None, common: Common::default() }
    }

    /// Where each channel lies in the destination.
    pub fn output_order(&self) -> &ChannelOrder {
        &self.output_order
    }

    /// Slots, height and width of the destination for a source of `h` x `w`.
    ///
    /// # Panics
    /// Where the padded image is smaller than the kernel.
    pub fn output_shape(&self, h: usize, w: usize) -> Shape {
        let (oh, ow) = window_shape(self.padding, self.kernel, self.stride, Shape::new(1, h, w))
            .unwrap_or_else(|| panic!("a {h}x{w} image is smaller than the kernel, {}", self.kernel));
        Shape::new(self.output_order.width(), oh, ow)
    }

    /// Computes `dst` from `src`, on this thread.
    ///
    /// # Panics
    /// Where `src` has fewer slots than the input order needs, or `dst` is not
    /// [`output_shape`](Self::output_shape) (it may have more slots).
    pub fn run(&self, src: View<'_>, dst: ViewMut<'_>) {
        self.run_with(&Serial, src, dst);
    }

    /// As [`run`](Self::run), on the threads of `parallel`.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn run_with(&self, parallel: &dyn Parallel, src: View<'_>, mut dst: ViewMut<'_>) {
        let (from, to) = (src.shape(), dst.shape());
        let expected = self.output_shape(from.h, from.w);
        assert!(
            from.c >= self.src_slots && to.c >= expected.c && (to.h, to.w) == (expected.h, expected.w),
            "depthwise {0}x{0} stride {1} of {2} slots: cannot run from {from} to {to}, which should be {expected}",
            self.kernel,
            self.stride,
            self.src_slots
        );
        let (pad_top, _) =
            self.padding.rows(from.h, self.kernel, self.stride).expect("checked by output_shape");
        let (pad_left, _) =
            self.padding.columns(from.w, self.kernel, self.stride).expect("checked by output_shape");
        let dst_block_stride = dst.block_stride();
        let target = Target(dst.data_mut().as_mut_ptr());
        let epilogue = self.kernels.epilogue(self.activation);
        let (across, along) = split(parallel.threads(), self.blocks.len(), to.h);
        each_once(parallel, across * along, &|task| {
            let rows = part(to.h, along, task % along);
            // A curve is applied to rows that are still in the first-level cache.
            let run = (epilogue.run(to.pixels()) / to.w).max(1);
            for block in part(self.blocks.len(), across, task / along) {
                let panel =
                    self.packed.as_slice()[block * (1 + self.kernel * self.kernel) * BLOCK..].as_ptr();
                // SAFETY: the source block exists (slots were checked), the destination block and rows too (its shape
                // was checked) and belong to this task alone; `packed` was laid out by `build`.
                for y0 in rows.clone().step_by(run) {
                    unsafe {
                        let (dst, y1) = (target.at(block * dst_block_stride), rows.end.min(y0 + run));
                        (self.kernels.depthwise)(&micro::Depthwise {
                            src: src.data().as_ptr().add(self.blocks[block] as usize * src.block_stride()),
                            ih: from.h,
                            iw: from.w,
                            dst,
                            ow: to.w,
                            y0,
                            y1,
                            kernel: self.kernel,
                            stride: self.stride,
                            pad_top,
                            pad_left,
                            weights: panel.add(BLOCK),
                            bias: panel,
                            bounds: epilogue.bounds,
                        });
                        epilogue.finish(dst.add(y0 * to.w * BLOCK), (y1 - y0) * to.w);
                    }
                }
            }
        });
    }
}

/// A destination that tasks write to at disjoint places.
pub(crate) struct Target(pub(crate) *mut f32);

// SAFETY: whoever shares a `Target` between tasks sees to it that they write disjoint elements.
unsafe impl Sync for Target {}

impl Target {
    /// # Safety
    /// `offset` lies within the destination.
    pub(crate) unsafe fn at(&self, offset: usize) -> *mut f32 {
        // SAFETY: the caller's.
        unsafe { self.0.add(offset) }
    }
}
