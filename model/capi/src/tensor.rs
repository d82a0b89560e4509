//! Blocked tensors in the caller's memory, and the ways into and out of that layout.

use crate::failure::{Failure, Status, guard};
use crate::memory::{Floats, FloatsMut, expect_apart, slice, slice_mut};
use crate::order::{Order, order_or_identity};
use kernels::layout;

/// Channels, rows and columns of one image or feature map.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Channels (or slots, where a tensor is read or written through an order).
    pub c: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
}

/// A blocked tensor to read.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct View {
    /// The first element.
    pub data: *const f32,
    /// Elements: exactly kernels_blocked_len(shape).
    pub len: usize,
    /// Channels, rows, columns.
    pub shape: Shape,
}

/// A blocked tensor to write.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ViewMut {
    /// The first element.
    pub data: *mut f32,
    /// Elements: exactly kernels_blocked_len(shape).
    pub len: usize,
    /// Channels, rows, columns.
    pub shape: Shape,
}

impl From<Shape> for kernels::Shape {
    fn from(Shape { c, h, w }: Shape) -> Self {
        Self::new(c, h, w)
    }
}

impl From<kernels::Shape> for Shape {
    fn from(kernels::Shape { c, h, w }: kernels::Shape) -> Self {
        Self { c, h, w }
    }
}

/// Elements of planar or interleaved storage, if there can be so many.
fn elements(channels: usize, shape: kernels::Shape) -> Result<usize, Failure> {
    let pixels = shape.h.checked_mul(shape.w);
    pixels
        .and_then(|pixels| pixels.checked_mul(channels))
        .ok_or_else(|| Failure::invalid(format!("{shape} does not fit into memory")))
}

impl View {
    /// # Safety
    /// The elements are the caller's to read for as long as `'a`.
    pub(crate) unsafe fn read<'a>(self, what: &str) -> Result<kernels::View<'a>, Failure> {
        // SAFETY: the caller's.
        let data = unsafe { slice(what, self.data, self.len) }?;
        kernels::View::new(data, self.shape.into())
            .map_err(|error| Failure::invalid(format!("{what}: {error}")))
    }

    /// # Safety
    /// The elements of both are the caller's to read and to write for as long as `'a`.
    pub(crate) unsafe fn read_into<'a>(
        self,
        dst: ViewMut,
    ) -> Result<(kernels::View<'a>, kernels::ViewMut<'a>), Failure> {
        expect_apart(("src", self.data, self.len), ("dst", dst.data, dst.len))?;
        // SAFETY: the caller's; the two were found to lie apart.
        unsafe { Ok((self.read("src")?, dst.write("dst")?)) }
    }
}

impl ViewMut {
    /// # Safety
    /// The elements are the caller's to write, and nobody else's, for as long as `'a`.
    pub(crate) unsafe fn write<'a>(self, what: &str) -> Result<kernels::ViewMut<'a>, Failure> {
        // SAFETY: the caller's.
        let data = unsafe { slice_mut(what, self.data, self.len) }?;
        kernels::ViewMut::new(data, self.shape.into())
            .map_err(|error| Failure::invalid(format!("{what}: {error}")))
    }
}

/// Elements of a blocked tensor; 0 where a side is zero or there cannot be so many.
#[unsafe(no_mangle)]
pub extern "C" fn kernels_blocked_len(shape: Shape) -> usize {
    let Shape { c, h, w } = shape;
    let lines = h.checked_mul(w).map(|pixels| pixels | 1);
    let len =
        lines.and_then(|lines| c.div_ceil(kernels::BLOCK).checked_mul(kernels::BLOCK)?.checked_mul(lines));
    match len {
        Some(len) if c > 0 && h > 0 && w > 0 && len <= isize::MAX as usize / 4 => len,
        _ => 0,
    }
}

/// Reads a planar image: channel, row, column.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_from_nchw(src: Floats, dst: ViewMut) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe { read_image(src, dst, layout::from_nchw) })
}

/// Reads an interleaved image: row, column, channel.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_from_nhwc(src: Floats, dst: ViewMut) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe { read_image(src, dst, layout::from_nhwc) })
}

/// Writes the channels of `order` (of NULL: all, in the order of their slots) as a planar image.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_to_nchw(src: View, order: *const Order, dst: FloatsMut) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe { write_image(src, order, dst, layout::to_nchw) })
}

/// Writes the channels of `order` (of NULL: all, in the order of their slots) as an interleaved image.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_to_nhwc(src: View, order: *const Order, dst: FloatsMut) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe { write_image(src, order, dst, layout::to_nhwc) })
}

unsafe fn read_image(
    src: Floats,
    dst: ViewMut,
    convert: fn(&[f32], kernels::ViewMut<'_>),
) -> Result<(), Failure> {
    expect_apart(("src", src.data, src.len), ("dst", dst.data, dst.len))?;
    // SAFETY: the caller's; the two were found to lie apart.
    let (image, dst) = unsafe { (src.read("src")?, dst.write("dst")?) };
    let expected = elements(dst.shape().c, dst.shape())?;
    if image.len() != expected {
        return Err(Failure::invalid(format!("src: expected {expected} elements, found {}", image.len())));
    }
    convert(image, dst);
    Ok(())
}

unsafe fn write_image(
    src: View,
    order: *const Order,
    dst: FloatsMut,
    convert: fn(kernels::View<'_>, &kernels::ChannelOrder, &mut [f32]),
) -> Result<(), Failure> {
    expect_apart(("src", src.data, src.len), ("dst", dst.data, dst.len))?;
    // SAFETY: the caller's; the two were found to lie apart.
    let (src, image) = unsafe { (src.read("src")?, slice_mut("dst", dst.data, dst.len)?) };
    // SAFETY: the caller's.
    let order = unsafe { order_or_identity(order, src.shape().c)? };
    if order.width() > src.shape().c {
        return Err(Failure::invalid(format!(
            "the order names slot {} of {}",
            order.width() - 1,
            src.shape()
        )));
    }
    let expected = elements(order.channels(), src.shape())?;
    if image.len() != expected {
        return Err(Failure::invalid(format!("dst: expected {expected} elements, found {}", image.len())));
    }
    convert(src, &order, image);
    Ok(())
}
