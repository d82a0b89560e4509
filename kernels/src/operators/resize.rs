//! A map in another size.

use crate::backend::Kernels;
use crate::error::{Error, expect_fit};
use crate::interpolation::{Coordinates, Interpolation};
use crate::micro::resize::{Between, Row};
use crate::operators::call::{Call, runs};
use crate::operators::options::builder;
use crate::tensor::{Shape, View, ViewMut};
use crate::threads::share::{Target, grid};
use alloc::format;

/// `dst` is `src`, in the height and width of `dst`.
///
/// ```
/// use kernels::{Interpolation, Resize, Shape, Tensor};
///
/// let op = Resize::builder(Interpolation::Bilinear).build()?;
/// let src = Tensor::from_nchw(&[1.0, 3.0], Shape::new(1, 1, 2))?;
/// let mut dst = Tensor::zeros(Shape::new(1, 1, 4));
/// op.run(src.view(), dst.view_mut());
/// assert_eq!(dst.to_nchw(), [1.0, 1.5, 2.5, 3.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Resize {
    kernels: &'static Kernels,
    interpolation: Interpolation,
    coordinates: Coordinates,
}

builder!(
    Resize,
    ResizeBuilder(interpolation: Interpolation) { coordinates: Option<Coordinates> = None },
    isa
);

impl ResizeBuilder {
    /// Where pixels lie. Default: PyTorch's, `Asymmetric` for the nearest pixel, `HalfPixel` for bilinear interpolation.
    pub fn coordinates(mut self, coordinates: Coordinates) -> Self {
        self.coordinates = Some(coordinates);
        self
    }

    /// Makes the operator.
    ///
    /// # Errors
    /// Where `KERNELS_ISA` is wrong.
    pub fn build(self) -> Result<Resize, Error> {
        let Self { interpolation, coordinates, options } = self;
        let coordinates = coordinates.unwrap_or(match interpolation {
            Interpolation::Nearest => Coordinates::Asymmetric,
            Interpolation::Bilinear => Coordinates::HalfPixel,
        });
        Ok(Resize { kernels: options.kernels()?, interpolation, coordinates })
    }
}

runs!(Resize(src: View<'_>, dst: ViewMut<'_>));

/// Columns whose places are computed at a time, for all blocks and rows of a task.
const COLUMNS: usize = 64;

impl Resize {
    /// Whether the operator runs from `src` to `dst`.
    ///
    /// # Errors
    /// Where the two differ in channels, or a side has 2^31 pixels or more.
    pub fn check(&self, src: Shape, dst: Shape) -> Result<(), Error> {
        src.try_len()?;
        dst.try_len()?;
        expect_fit(src.c == dst.c, || format!("resize from {src} to {dst}: channels stay"))?;
        // So that the fractions below are of 64 bits.
        let most = [src.h, src.w, dst.h, dst.w].into_iter().max().unwrap_or(0);
        expect_fit(most < 1 << 31, || format!("resize from {src} to {dst}: a side is too long"))
    }

    /// Where pixel `i` of `out` comes from, among `len`.
    fn between(&self, i: usize, len: usize, out: usize) -> Between {
        let (i, last) = (i as u64, len as u64 - 1);
        let (len, out) = (len as u64, out as u64);
        // The place as a fraction. (Before the first pixel, it is the first.)
        let (place, whole) = match self.coordinates {
            Coordinates::HalfPixel => (((2 * i + 1) * len).saturating_sub(out), 2 * out),
            Coordinates::AlignCorners => (i * last, (out - 1).max(1)),
            Coordinates::Asymmetric => (i * len, out),
        };
        let (before, rest) = (place / whole, place % whole);
        if self.interpolation == Interpolation::Nearest {
            let up = self.coordinates != Coordinates::Asymmetric && 2 * rest > whole;
            return Between { pixels: [(before + u64::from(up)).min(last) as u32; 2], weights: [1.0, 0.0] };
        }
        let pixels = [before, before + 1].map(|pixel| pixel.min(last) as u32);
        // (Behind the last pixel, it is the last.) Each is rounded by itself, so that the lesser is as precise as the other.
        let rest = if before < last { rest } else { 0 };
        Between { pixels, weights: [whole - rest, rest].map(|part| (part as f64 / whole as f64) as f32) }
    }

    fn compute(call: Call<'_, Self>, src: View<'_>, mut dst: ViewMut<'_>) -> Result<(), Error> {
        let (op, from, to) = (call.op, src.shape(), dst.shape());
        op.check(from, to)?;
        let row = match op.interpolation {
            Interpolation::Nearest => op.kernels.nearest,
            Interpolation::Bilinear => op.kernels.bilinear,
        };
        let target = Target::new(&mut dst);
        grid(call.parallel, to.blocks(), to.h, &|blocks, rows| {
            for start in (0..to.w).step_by(COLUMNS) {
                let mut columns = [Between::default(); COLUMNS];
                let columns = &mut columns[..COLUMNS.min(to.w - start)];
                for (i, column) in columns.iter_mut().enumerate() {
                    *column = op.between(start + i, from.w, to.w);
                }
                for y in rows.clone() {
                    let Between { pixels, weights } = op.between(y, from.h, to.h);
                    for block in blocks.clone() {
                        let rows = pixels.map(|y| src.at(block, y as usize * from.w));
                        // SAFETY: the source has these rows, with all columns that are named; the destination has these
                        // columns, which belong to this task alone.
                        unsafe {
                            let dst = target.at(block, y * to.w + start);
                            row(&Row { rows, weights, columns, dst });
                        }
                    }
                }
            }
        });
        Ok(())
    }
}
