//! Element-wise operators on their own: batch normalisation with activation, addition, activation.

use crate::Activation;
use crate::backend::Kernels;
use crate::error::{Error, expect_len, invalid};
use crate::isa::Isa;
use crate::micro::elementwise as micro;
use crate::pack::Common;
use crate::view::{BLOCK, Buffer, View, ViewMut};

/// `dst = activation(src * scale + shift)`, one scale and shift per channel: batch normalisation and ReLU where they
/// cannot be folded into a convolution, and what guideline 4 measures.
///
/// ```
/// use kernels::{Activation, Affine, Isa, Shape, Tensor};
///
/// let op = Affine::new(&[2.0, -1.0], &[0.5, 0.0], Activation::Relu, Isa::best())?;
/// let mut value = Tensor::from_nchw(&[1.0, 3.0], Shape::new(2, 1, 1))?;
/// op.run_in_place(value.view_mut());
/// assert_eq!(value.to_nchw(), [2.5, 0.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct Affine {
    kernels: &'static Kernels,
    channels: usize,
    activation: Activation,
    /// Per block: sixteen scales, sixteen shifts.
    packed: Buffer,
}

impl Affine {
    /// Packs one scale and one shift per channel for `isa`.
    ///
    /// # Errors
    /// Where there is no channel, the two differ in length, or the instruction set is not available.
    pub fn new(scale: &[f32], shift: &[f32], activation: Activation, isa: Isa) -> Result<Self, Error> {
        if scale.is_empty() {
            return Err(invalid("channels", "0: must be at least 1"));
        }
        expect_len("shift", scale.len(), shift.len())?;
        let kernels = Common { isa: Some(isa), ..Common::default() }.kernels()?;
        let mut packed = Buffer::zeros(scale.len().div_ceil(BLOCK) * 2 * BLOCK);
        for (c, (&scale, &shift)) in scale.iter().zip(shift).enumerate() {
            let at = c / BLOCK * 2 * BLOCK + c % BLOCK;
            packed.as_mut_slice()[at] = scale;
            packed.as_mut_slice()[at + BLOCK] = shift;
        }
        Ok(Self { kernels, channels: scale.len(), activation, packed })
    }

    /// Computes `dst` from `src`.
    ///
    /// # Panics
    /// Where the shapes differ or have another number of channels.
    pub fn run(&self, src: View<'_>, mut dst: ViewMut<'_>) {
        assert!(
            src.shape() == dst.shape() && src.shape().c == self.channels,
            "affine of {} channels: cannot run from {} to {}",
            self.channels,
            src.shape(),
            dst.shape()
        );
        let (pixels, stride) = (dst.shape().pixels(), dst.block_stride());
        for block in 0..dst.shape().blocks() {
            // SAFETY: both views hold this block's pixels.
            unsafe {
                let from = src.data().as_ptr().add(block * src.block_stride());
                self.block(block, from, dst.data_mut().as_mut_ptr().add(block * stride), pixels);
            }
        }
    }

    /// Computes `dst` from itself.
    ///
    /// # Panics
    /// Where `dst` has another number of channels.
    pub fn run_in_place(&self, mut dst: ViewMut<'_>) {
        assert!(dst.shape().c == self.channels, "affine of {} channels on {}", self.channels, dst.shape());
        let (pixels, stride) = (dst.shape().pixels(), dst.block_stride());
        for block in 0..dst.shape().blocks() {
            // SAFETY: the view holds this block's pixels.
            unsafe {
                let at = dst.data_mut().as_mut_ptr().add(block * stride);
                self.block(block, at, at, pixels);
            }
        }
    }

    /// # Safety
    /// `src` and `dst` hold `pixels` pixels of one block; the block exists.
    unsafe fn block(&self, block: usize, src: *const f32, dst: *mut f32, pixels: usize) {
        let scale = self.packed.as_slice()[block * 2 * BLOCK..].as_ptr();
        // SAFETY: the caller's; `packed` holds sixteen scales and sixteen shifts per block.
        unsafe {
            let shift = scale.add(BLOCK);
            let activation = self.activation;
            (self.kernels.affine)(&micro::Affine { src, dst, pixels, scale, shift, activation });
        }
    }
}

/// `dst = activation(a + b)`.
///
/// # Panics
/// Where the three shapes differ, or this processor lacks `isa`.
///
/// ```
/// use kernels::{Activation, Isa, Shape, Tensor, activate, add};
///
/// let shape = Shape::new(2, 1, 1);
/// let (a, b) = (Tensor::from_nchw(&[1.0, 2.0], shape)?, Tensor::from_nchw(&[3.0, -5.0], shape)?);
/// let mut dst = Tensor::zeros(shape);
/// add(Isa::best(), a.view(), b.view(), Activation::None, dst.view_mut());
/// assert_eq!(dst.to_nchw(), [4.0, -3.0]);
/// activate(Isa::best(), Activation::Relu, dst.view_mut());
/// assert_eq!(dst.to_nchw(), [4.0, 0.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
pub fn add(isa: Isa, a: View<'_>, b: View<'_>, activation: Activation, mut dst: ViewMut<'_>) {
    let shape = dst.shape();
    assert!(a.shape() == shape && b.shape() == shape, "add {} to {} into {shape}", a.shape(), b.shape());
    let kernels = Kernels::of(isa).expect("the instruction set is available");
    let (len, stride) = (shape.pixels() * BLOCK, dst.block_stride());
    for block in 0..shape.blocks() {
        // SAFETY: all three views hold this block's pixels.
        unsafe {
            (kernels.add)(&micro::Add {
                a: a.data().as_ptr().add(block * a.block_stride()),
                b: b.data().as_ptr().add(block * b.block_stride()),
                dst: dst.data_mut().as_mut_ptr().add(block * stride),
                len,
                activation,
            });
        }
    }
}

/// `dst = activation(dst)`.
///
/// # Panics
/// Where this processor lacks `isa`.
pub fn activate(isa: Isa, activation: Activation, mut dst: ViewMut<'_>) {
    let kernels = Kernels::of(isa).expect("the instruction set is available");
    let (len, stride) = (dst.shape().pixels() * BLOCK, dst.block_stride());
    for block in 0..dst.shape().blocks() {
        // SAFETY: the view holds this block's pixels.
        unsafe {
            let at = dst.data_mut().as_mut_ptr().add(block * stride);
            (kernels.activate)(&micro::Activate { src: at, dst: at, len, activation });
        }
    }
}
