//! Element-wise operators on their own: batch normalisation with activation, addition, activation.

use crate::Activation;
use crate::backend::Kernels;
use crate::depthwise::Target;
use crate::error::{Error, expect_len, invalid};
use crate::isa::Isa;
use crate::micro::activation::Epilogue;
use crate::micro::elementwise as micro;
use crate::pack::Common;
use crate::parallel::{Parallel, Serial, each_once};
use crate::pointwise::{part, split};
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

    /// Computes `dst` from `src`, on this thread.
    ///
    /// # Panics
    /// Where the shapes differ or have another number of channels.
    pub fn run(&self, src: View<'_>, dst: ViewMut<'_>) {
        self.run_with(&Serial, src, dst);
    }

    /// As [`run`](Self::run), on the threads of `parallel`.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn run_with(&self, parallel: &dyn Parallel, src: View<'_>, mut dst: ViewMut<'_>) {
        assert!(
            src.shape() == dst.shape() && src.shape().c == self.channels,
            "affine of {} channels: cannot run from {} to {}",
            self.channels,
            src.shape(),
            dst.shape()
        );
        each_part(parallel, &mut dst, &|block, at, to, pixels| {
            // SAFETY: `src` has the shape of `dst`, and holds these pixels too.
            unsafe {
                self.block(block, src.data().as_ptr().add(block * src.block_stride() + at), to, pixels);
            }
        });
    }

    /// Computes `dst` from itself, on this thread.
    ///
    /// # Panics
    /// Where `dst` has another number of channels.
    pub fn run_in_place(&self, dst: ViewMut<'_>) {
        self.run_in_place_with(&Serial, dst);
    }

    /// As [`run_in_place`](Self::run_in_place), on the threads of `parallel`.
    ///
    /// # Panics
    /// As [`run_in_place`](Self::run_in_place).
    pub fn run_in_place_with(&self, parallel: &dyn Parallel, mut dst: ViewMut<'_>) {
        assert!(dst.shape().c == self.channels, "affine of {} channels on {}", self.channels, dst.shape());
        each_part(parallel, &mut dst, &|block, _, to, pixels| {
            // SAFETY: `each_part` hands out pixels of `dst`.
            unsafe { self.block(block, to, to, pixels) };
        });
    }

    /// # Safety
    /// `src` and `dst` hold `pixels` pixels of one block; the block exists.
    unsafe fn block(&self, block: usize, src: *const f32, dst: *mut f32, pixels: usize) {
        let scale = self.packed.as_slice()[block * 2 * BLOCK..].as_ptr();
        // SAFETY: the caller's; `packed` holds sixteen scales and sixteen shifts per block.
        unsafe {
            let shift = scale.add(BLOCK);
            let epilogue = self.kernels.epilogue(self.activation);
            for (at, pixels) in runs(epilogue, pixels) {
                let (src, dst, bounds) = (src.add(at), dst.add(at), epilogue.bounds);
                (self.kernels.affine)(&micro::Affine { src, dst, pixels, scale, shift, bounds });
                epilogue.finish(dst, pixels);
            }
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
pub fn add(isa: Isa, a: View<'_>, b: View<'_>, activation: Activation, dst: ViewMut<'_>) {
    add_with(&Serial, isa, a, b, activation, dst);
}

/// As [`add`], on the threads of `parallel`.
///
/// # Panics
/// As [`add`].
pub fn add_with(
    parallel: &dyn Parallel,
    isa: Isa,
    a: View<'_>,
    b: View<'_>,
    activation: Activation,
    mut dst: ViewMut<'_>,
) {
    let shape = dst.shape();
    assert!(a.shape() == shape && b.shape() == shape, "add {} to {} into {shape}", a.shape(), b.shape());
    let kernels = Kernels::of(isa).expect("the instruction set is available");
    let epilogue = kernels.epilogue(activation);
    each_part(parallel, &mut dst, &|block, at, dst, pixels| {
        // SAFETY: `a` and `b` have the shape of `dst`, and hold these pixels too.
        unsafe {
            let a = a.data().as_ptr().add(block * a.block_stride() + at);
            let b = b.data().as_ptr().add(block * b.block_stride() + at);
            for (at, pixels) in runs(epilogue, pixels) {
                let (a, b, dst, bounds) = (a.add(at), b.add(at), dst.add(at), epilogue.bounds);
                (kernels.add)(&micro::Add { a, b, dst, len: pixels * BLOCK, bounds });
                epilogue.finish(dst, pixels);
            }
        }
    });
}

/// `dst = activation(dst)`.
///
/// # Panics
/// Where this processor lacks `isa`.
pub fn activate(isa: Isa, activation: Activation, dst: ViewMut<'_>) {
    activate_with(&Serial, isa, activation, dst);
}

/// As [`activate`], on the threads of `parallel`.
///
/// # Panics
/// As [`activate`].
pub fn activate_with(parallel: &dyn Parallel, isa: Isa, activation: Activation, mut dst: ViewMut<'_>) {
    let kernels = Kernels::of(isa).expect("the instruction set is available");
    let epilogue = kernels.epilogue(activation);
    each_part(parallel, &mut dst, &|_, _, dst, pixels| {
        // SAFETY: `each_part` hands out pixels of `dst`.
        unsafe {
            for (at, pixels) in runs(epilogue, pixels) {
                let (dst, bounds) = (dst.add(at), epilogue.bounds);
                (kernels.activate)(&micro::Activate { src: dst, dst, len: pixels * BLOCK, bounds });
                epilogue.finish(dst, pixels);
            }
        }
    });
}

/// Cuts `pixels` into runs that a curve is applied to while they are in the first-level cache: the elements before each, and
/// its pixels.
fn runs(epilogue: Epilogue, pixels: usize) -> impl Iterator<Item = (usize, usize)> {
    let run = epilogue.run(pixels).max(1);
    (0..pixels).step_by(run).map(move |start| (start * BLOCK, run.min(pixels - start)))
}

/// Calls `work` with every block of `dst` and some of its pixels: the block, the elements before the first of them in a
/// block, where that lies, and how many there are. No two calls get the same pixel.
fn each_part(
    parallel: &dyn Parallel,
    dst: &mut ViewMut<'_>,
    work: &(dyn Fn(usize, usize, *mut f32, usize) + Sync),
) {
    let (shape, stride) = (dst.shape(), dst.block_stride());
    let target = Target(dst.data_mut().as_mut_ptr());
    let (across, along) = split(parallel.threads(), shape.blocks(), shape.pixels());
    each_once(parallel, across * along, &|task| {
        let pixels = part(shape.pixels(), along, task % along);
        for block in part(shape.blocks(), across, task / along) {
            let at = pixels.start * BLOCK;
            // SAFETY: the view holds this block's pixels.
            work(block, at, unsafe { target.at(block * stride + at) }, pixels.len());
        }
    });
}
