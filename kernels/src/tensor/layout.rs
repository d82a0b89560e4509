//! Into the blocked layout and out of it.

use crate::backend::Kernels;
use crate::error::{Error, expect_len};
use crate::isa::Isa;
use crate::micro::layout::{Lines, Planes};
use crate::tensor::order::ChannelOrder;
use crate::tensor::owned::Tensor;
use crate::tensor::shape::{BLOCK, Shape};
use crate::tensor::view::{View, ViewMut};
use alloc::{vec, vec::Vec};

/// Reads a planar image (channel, row, column: PyTorch's NCHW of one image) into `dst`.
///
/// # Panics
/// Where `src` has not exactly the elements of `dst`'s shape.
pub fn from_nchw(src: &[f32], mut dst: ViewMut<'_>) {
    let (kernels, block_stride, pixels) = (kernels(), dst.block_stride(), dst.shape().pixels());
    expect_elements(src, dst.shape());
    for (block, planes) in src.chunks(BLOCK * pixels).enumerate() {
        let lines = &mut dst.data_mut()[block * block_stride..][..pixels * BLOCK];
        if planes.len() == BLOCK * pixels {
            from_planes(kernels, planes, pixels, lines);
            continue;
        }
        let mut scratch = Scratch([0.0; BLOCK * STEP]);
        for (start, lines) in (0..pixels).step_by(STEP).zip(lines.chunks_mut(STEP * BLOCK)) {
            let count = lines.len() / BLOCK;
            for (plane, row) in planes.chunks_exact(pixels).zip(scratch.0.chunks_exact_mut(STEP)) {
                row[..count].copy_from_slice(&plane[start..][..count]);
            }
            from_planes(kernels, &scratch.0, STEP, lines);
        }
    }
}

/// Writes the channels of `order` as a planar image.
///
/// # Panics
/// Where `src` has fewer slots than the order needs, or `dst` not exactly its channels times the pixels.
pub fn to_nchw(src: View<'_>, order: &ChannelOrder, mut dst: &mut [f32]) {
    let (kernels, pixels) = (kernels(), src.shape().pixels());
    expect_room(src.shape(), order, dst);
    // Sixteen planes that would all fall into one or two sets of the first-level cache.
    let alike = pixels.is_multiple_of(512);
    // Neighbours whose slots lie in one block are taken out of it together.
    for slots in order.slots().chunk_by(|a, b| a / BLOCK as u32 == b / BLOCK as u32) {
        let (planes, rest) = dst.split_at_mut(slots.len() * pixels);
        dst = rest;
        let lines = &src.data()[slots[0] as usize / BLOCK * src.block_stride()..][..pixels * BLOCK];
        let whole = slots.iter().enumerate().all(|(lane, &slot)| slot as usize % BLOCK == lane);
        if whole && slots.len() == BLOCK && !alike {
            to_planes(kernels, lines, planes, pixels);
            continue;
        }
        let mut scratch = Scratch([0.0; BLOCK * STEP]);
        for (start, lines) in (0..pixels).step_by(STEP).zip(lines.chunks(STEP * BLOCK)) {
            to_planes(kernels, lines, &mut scratch.0, STEP);
            let count = lines.len() / BLOCK;
            for (plane, &slot) in planes.chunks_exact_mut(pixels).zip(slots) {
                let row = &scratch.0[slot as usize % BLOCK * STEP..];
                plane[start..][..count].copy_from_slice(&row[..count]);
            }
        }
    }
}

/// Reads an interleaved image (row, column, channel: TensorFlow's NHWC of one image) into `dst`.
///
/// # Panics
/// As [`from_nchw`].
pub fn from_nhwc(src: &[f32], mut dst: ViewMut<'_>) {
    let (kernels, block_stride, shape) = (kernels(), dst.block_stride(), dst.shape());
    expect_elements(src, shape);
    for block in 0..shape.blocks() {
        let lines = &mut dst.data_mut()[block * block_stride..][..shape.pixels() * BLOCK];
        // Pad lanes get channels of the next pixel.
        lines_of_sixteen(kernels, &src[block * BLOCK..], shape.c, lines, BLOCK, shape.pixels());
    }
}

/// Writes the channels of `order` as an interleaved image.
///
/// # Panics
/// As [`to_nchw`].
pub fn to_nhwc(src: View<'_>, order: &ChannelOrder, dst: &mut [f32]) {
    let (kernels, channels, pixels) = (kernels(), order.channels(), src.shape().pixels());
    expect_room(src.shape(), order, dst);
    if order.is_identity() {
        // The last block first: its pad lanes are written over by others, or by the next pixel.
        for block in (0..channels.div_ceil(BLOCK)).rev() {
            let lines = &src.data()[block * src.block_stride()..][..pixels * BLOCK];
            lines_of_sixteen(kernels, lines, BLOCK, &mut dst[block * BLOCK..], channels, pixels);
        }
        return;
    }
    for (p, dst) in dst.chunks_exact_mut(channels.max(1)).enumerate() {
        for (to, &slot) in dst.iter_mut().zip(order.slots()) {
            let slot = slot as usize;
            *to = src.data()[slot / BLOCK * src.block_stride() + p * BLOCK + slot % BLOCK];
        }
    }
}

fn expect_elements(src: &[f32], shape: Shape) {
    assert!(src.len() == shape.elements(), "{} elements for a tensor of {shape}", src.len());
}

fn expect_room(shape: Shape, order: &ChannelOrder, dst: &[f32]) {
    assert!(
        order.width() <= shape.c && dst.len() == Shape { c: order.channels(), ..shape }.elements(),
        "{} channels in {} slots of {shape} into {} elements",
        order.channels(),
        order.width(),
        dst.len()
    );
}

/// The kernels of the environment's choice, looked up once: results do not depend on them.
fn kernels() -> &'static Kernels {
    #[cfg(feature = "std")]
    {
        static CHOSEN: std::sync::OnceLock<Isa> = std::sync::OnceLock::new();
        CHOSEN.get_or_init(|| Isa::from_env().unwrap_or_else(|_| Isa::best())).kernels()
    }
    #[cfg(not(feature = "std"))]
    Isa::best().kernels()
}

/// Pixels at a time of planes that are not a whole block.
const STEP: usize = 64;

/// Sixteen planes of [`STEP`] pixels.
#[repr(align(64))]
struct Scratch([f32; BLOCK * STEP]);

/// Sixteen planes, `stride` apart, become as many lines as there are.
fn from_planes(kernels: &Kernels, planes: &[f32], stride: usize, lines: &mut [f32]) {
    let pixels = lines.len() / BLOCK;
    assert!(pixels <= stride && planes.len() / BLOCK >= stride, "sixteen planes");
    if pixels >= 4 {
        let (planes, lines) = (planes.as_ptr(), lines.as_mut_ptr());
        // SAFETY: sixteen planes have these pixels, four or more, and there is a line for each.
        return unsafe { (kernels.from_planes)(&Planes { planes, stride, lines, pixels }) };
    }
    for (p, line) in lines.chunks_exact_mut(BLOCK).enumerate() {
        line.iter_mut().enumerate().for_each(|(lane, to)| *to = planes[lane * stride + p]);
    }
}

/// As many lines as there are become sixteen planes, `stride` apart.
fn to_planes(kernels: &Kernels, lines: &[f32], planes: &mut [f32], stride: usize) {
    let pixels = lines.len() / BLOCK;
    assert!(pixels <= stride && planes.len() / BLOCK >= stride, "sixteen planes");
    if pixels >= 4 {
        let (planes, lines) = (planes.as_mut_ptr(), lines.as_ptr());
        // SAFETY: as in `from_planes`.
        return unsafe { (kernels.to_planes)(&Planes { planes, stride, lines, pixels }) };
    }
    for (p, line) in lines.chunks_exact(BLOCK).enumerate() {
        line.iter().enumerate().for_each(|(lane, &x)| planes[lane * stride + p] = x);
    }
}

/// Sixteen floats from every `src_step` of `src` to every `dst_step` of `dst`, `pixels` times; at the end of either, fewer.
fn lines_of_sixteen(
    kernels: &Kernels,
    src: &[f32],
    src_step: usize,
    dst: &mut [f32],
    dst_step: usize,
    pixels: usize,
) {
    // Pixels that begin sixteen floats before the end of both.
    let whole = |len: usize, step: usize| len.checked_sub(BLOCK).map_or(0, |room| room / step + 1);
    let count = whole(src.len(), src_step).min(whole(dst.len(), dst_step)).min(pixels);
    let args = Lines { src: src.as_ptr(), src_step, dst: dst.as_mut_ptr(), dst_step, pixels: count };
    // SAFETY: both have sixteen floats at each of these pixels.
    unsafe { (kernels.lines)(&args) };
    for p in count..pixels {
        let (src, dst) = (&src[p * src_step..], &mut dst[p * dst_step..]);
        let len = BLOCK.min(src.len()).min(dst.len());
        dst[..len].copy_from_slice(&src[..len]);
    }
}

impl Tensor {
    /// A tensor from a planar image.
    ///
    /// # Errors
    /// Where `src` has not exactly the elements of `shape`, or a side is zero.
    pub fn from_nchw(src: &[f32], shape: Shape) -> Result<Self, Error> {
        let mut tensor = Self::checked(src, shape)?;
        from_nchw(src, tensor.view_mut());
        Ok(tensor)
    }

    /// A tensor from an interleaved image.
    ///
    /// # Errors
    /// As [`from_nchw`](Self::from_nchw).
    pub fn from_nhwc(src: &[f32], shape: Shape) -> Result<Self, Error> {
        let mut tensor = Self::checked(src, shape)?;
        from_nhwc(src, tensor.view_mut());
        Ok(tensor)
    }

    fn checked(src: &[f32], shape: Shape) -> Result<Self, Error> {
        shape.try_len()?;
        expect_len("image", shape.elements(), src.len())?;
        Ok(Self::zeros(shape))
    }

    /// As a planar image.
    pub fn to_nchw(&self) -> Vec<f32> {
        let shape = self.shape();
        let mut dst = vec![0.0; shape.elements()];
        to_nchw(self.view(), &ChannelOrder::identity(shape.c), &mut dst);
        dst
    }
}
