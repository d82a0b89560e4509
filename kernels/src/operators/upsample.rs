//! Nearest-neighbour upsampling.

use crate::error::Error;
use crate::operators::call::{Call, maps, runs};
use crate::operators::options::builder;
use crate::tensor::{BLOCK, Shape, View, ViewMut};
use crate::threads::share::{Target, grid};

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

builder!(Upsample, UpsampleBuilder(), isa);

impl UpsampleBuilder {
    /// Makes the operator.
    ///
    /// # Errors
    /// Where `KERNELS_ISA` is wrong.
    pub fn build(self) -> Result<Upsample, Error> {
        self.options.kernels().map(|_| Upsample(()))
    }
}

runs!(Upsample(src: View<'_>, dst: ViewMut<'_>));
maps!(Upsample, exactly, "upsample");

impl Upsample {
    /// The shape of the destination: twice the height and width.
    ///
    /// # Errors
    /// Where that does not fit into memory.
    pub fn try_output_shape(&self, src: Shape) -> Result<Shape, Error> {
        src.try_len()?;
        let shape = Shape { h: src.h.saturating_mul(2), w: src.w.saturating_mul(2), ..src };
        shape.try_len().map(|_| shape)
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
