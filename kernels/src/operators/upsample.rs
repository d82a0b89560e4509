//! Nearest-neighbour upsampling.

use crate::error::{Error, expect_fit, mismatch};
use crate::operators::call::{Call, output_shape, runs};
use crate::tensor::shape::{BLOCK, Shape};
use crate::tensor::view::{View, ViewMut};
use crate::threads::share::{Target, grid};
use alloc::format;

/// `dst[c][y][x] = src[c][y / 2][x / 2]`.
///
/// ```
/// use kernels::{Shape, Tensor, Upsample};
///
/// let op = Upsample::builder().build()?;
/// let src = Tensor::from_nchw(&[1.0, 2.0], Shape::new(1, 1, 2))?;
/// let mut dst = Tensor::zeros(op.output_shape(src.shape()));
/// op.run(src.view(), dst.view_mut());
/// assert_eq!(dst.to_nchw(), [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Upsample(());

/// Collects what an [`Upsample`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct UpsampleBuilder(());

impl UpsampleBuilder {
    /// Makes the operator.
    ///
    /// # Errors
    /// None today.
    pub fn build(self) -> Result<Upsample, Error> {
        Ok(Upsample(()))
    }
}

runs!(Upsample(src: View<'_>, dst: ViewMut<'_>));
output_shape!(Upsample);

impl Upsample {
    /// Begins an upsampling to twice the height and width, each pixel from its nearest neighbour.
    pub fn builder() -> UpsampleBuilder {
        UpsampleBuilder(())
    }

    /// The shape of the destination: twice the height and width.
    ///
    /// # Errors
    /// Where that does not fit into memory.
    pub fn try_output_shape(&self, src: Shape) -> Result<Shape, Error> {
        src.try_len()?;
        let twice = |side: usize| side.checked_mul(2);
        let (h, w) = twice(src.h).zip(twice(src.w)).ok_or_else(|| mismatch("too large to upsample"))?;
        let shape = Shape { h, w, ..src };
        shape.try_len().map(|_| shape)
    }

    /// Whether the operator runs from `src` to `dst`.
    ///
    /// # Errors
    /// Where `dst` has not the channels and twice the height and width of `src`.
    pub fn check(&self, src: Shape, dst: Shape) -> Result<(), Error> {
        expect_fit(dst == self.try_output_shape(src)?, || format!("upsample from {src} to {dst}"))
    }

    fn compute(call: Call<'_, Self>, src: View<'_>, mut dst: ViewMut<'_>) -> Result<(), Error> {
        let (from, to) = (src.shape(), dst.shape());
        call.op.check(from, to)?;
        let target = Target::new(&mut dst);
        grid(call.parallel, to.blocks(), from.h, &|blocks, rows| {
            for block in blocks {
                for y in rows.clone() {
                    let row =
                        &src.data()[block * src.block_stride() + y * from.w * BLOCK..][..from.w * BLOCK];
                    let pair = target.at(block, 2 * y * to.w);
                    // SAFETY: the destination has two rows from there on, which belong to this task alone.
                    let pair = unsafe { core::slice::from_raw_parts_mut(pair, 2 * to.w * BLOCK) };
                    let (upper, lower) = pair.split_at_mut(to.w * BLOCK);
                    for (pixel, twice) in row.chunks_exact(BLOCK).zip(upper.chunks_exact_mut(2 * BLOCK)) {
                        twice[..BLOCK].copy_from_slice(pixel);
                        twice[BLOCK..].copy_from_slice(pixel);
                    }
                    lower.copy_from_slice(upper);
                }
            }
        });
        Ok(())
    }
}
