//! The beginning of a network in one operator: a dense convolution and a 3x3 stride-2 max pool.

use crate::error::{Error, expect_fit, invalid};
use crate::micro::pool::MaxRow;
use crate::operators::call::{Call, maps, runs};
use crate::operators::convolution::Convolution;
use crate::operators::pool::MaxPool;
use crate::operators::sliding::To;
use crate::tensor::{BLOCK, Shape, Source, ViewMut, extent};
use crate::threads::share::{Target, each_once, part, threads};
use crate::threads::{Parallel, Serial};
use alloc::format;

/// A convolution followed by a 3x3 stride-2 max pool, three rows of the convolution at a time, which never leave the cache:
/// the stem of a ShuffleNet.
///
/// ```
/// use kernels::{Convolution, Image, MaxPool, Shape, Stem, Tensor, Window};
///
/// let window = Window::new(3).stride(2).pad(1);
/// let conv = Convolution::builder(3, 24, window).build(&[0.5; 24 * 3 * 9])?;
/// let stem = Stem::builder(conv, MaxPool::builder(window).build()?).build()?;
/// let shape = Shape::new(3, 32, 32);
/// let pixels = vec![1.0; shape.elements()];
/// let (mut scratch, mut dst) = (vec![0.0; stem.scratch(shape)], Tensor::zeros(stem.output_shape(shape)));
/// stem.run(Image::planar(&pixels, shape)?, &mut scratch, dst.view_mut());
/// assert_eq!((dst.shape(), dst.view().get(0, 5, 5)), (Shape::new(24, 8, 8), 13.5));
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct Stem {
    conv: Convolution,
    pool: MaxPool,
}

/// Collects what a [`Stem`] is made of.
#[derive(Debug)]
pub struct StemBuilder {
    conv: Convolution,
    pool: MaxPool,
}

impl StemBuilder {
    /// Makes the operator. It computes with the convolution's instruction set.
    ///
    /// # Errors
    /// Where the pool has another window.
    pub fn build(self) -> Result<Stem, Error> {
        let Self { conv, pool } = self;
        let window = pool.window();
        if (window.kernel, window.stride) != ([3, 3], [2, 2]) {
            return Err(invalid(
                "stem",
                format_args!("a pool of {window} behind it, which must be 3x3 with stride 2"),
            ));
        }
        Ok(Stem { conv, pool })
    }
}

runs!(Stem<'s>(src: impl Into<Source<'s>>, scratch: &mut [f32], dst: ViewMut<'_>));
maps!(Stem, exactly, "stem");

impl Call<'_, Stem> {
    /// Elements of scratch that `run` needs: three rows of the convolution per thread, for at most as many threads as
    /// there are rows.
    ///
    /// # Errors
    /// Where the windows do not fit into `src`.
    pub fn try_scratch(self, src: Shape) -> Result<usize, Error> {
        let conv = self.op.conv.try_output_shape(src)?;
        extent::expect("scratch", extent::product([bands(self.parallel, conv), ring(conv)?]))
    }

    /// As [`try_scratch`](Self::try_scratch).
    ///
    /// # Panics
    /// Where that is an error.
    pub fn scratch(self, src: Shape) -> usize {
        self.try_scratch(src).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Stem {
    /// Appends `pool` to `conv`.
    pub fn builder(conv: Convolution, pool: MaxPool) -> StemBuilder {
        StemBuilder { conv, pool }
    }

    /// Channels, height and width of the destination.
    ///
    /// # Errors
    /// Where the windows do not fit into `src`.
    pub fn try_output_shape(&self, src: Shape) -> Result<Shape, Error> {
        self.pool.try_output_shape(self.conv.try_output_shape(src)?)
    }

    /// Elements of scratch that [`run`](Self::run) needs; on threads, `stem.on(&parallel).scratch(src)`.
    ///
    /// # Errors
    /// Where the windows do not fit into `src`.
    pub fn try_scratch(&self, src: Shape) -> Result<usize, Error> {
        self.on(&Serial).try_scratch(src)
    }

    /// As [`try_scratch`](Self::try_scratch).
    ///
    /// # Panics
    /// Where that is an error.
    pub fn scratch(&self, src: Shape) -> usize {
        self.on(&Serial).scratch(src)
    }

    fn compute<'s>(
        call: Call<'_, Self>,
        src: impl Into<Source<'s>>,
        scratch: &mut [f32],
        mut dst: ViewMut<'_>,
    ) -> Result<(), Error> {
        let (op, src, to) = (call.op, src.into(), dst.shape());
        op.check(src.shape(), to)?;
        let conv = op.conv.try_output_shape(src.shape())?;
        let [pad_top, pad_left] = op.pool.window().axes(conv.h, conv.w)?.map(|axis| axis.before);
        let (bands, row, ring) = (bands(call.parallel, conv), conv.w * BLOCK, ring(conv)?);
        expect_fit(scratch.len() / ring >= bands, || {
            format!("{} elements of scratch, {} needed", scratch.len(), bands.saturating_mul(ring))
        })?;
        let job = op.conv.job(src, 3 * row, None)?;
        let (panels, max_row) = (op.conv.packed().panels.len(), op.conv.packed().kernels.max_row);
        let (scratch, target) = (Target::of(scratch, ring), Target::new(&mut dst));
        each_once(call.parallel, bands, &|band| {
            let mut job = job.clone();
            let ring = scratch.at(band, 0);
            let mut next = 0;
            for py in part(to.h, bands, band) {
                let window = |i: usize| (2 * py + i).saturating_sub(pad_top).min(conv.h - 1);
                // SAFETY: each band has a ring of three rows per block of its own, and pooled rows of its own; the ring
                // holds the window's rows, for they are at most three, one after the other.
                unsafe {
                    for y in window(0).max(next)..window(2) + 1 {
                        let to = To { dst: ring.add(y % 3 * row), residual: core::ptr::null() };
                        job.compute(0..panels, y..y + 1, to);
                        next = y + 1;
                    }
                    for block in 0..to.blocks() {
                        let at = |i: usize| ring.add(block * 3 * row + window(i) % 3 * row).cast_const();
                        max_row(&MaxRow {
                            rows: [at(0), at(1), at(2)],
                            iw: conv.w,
                            dst: target.at(block, py * to.w),
                            ow: to.w,
                            pad_left,
                            lanes: (to.c - block * BLOCK).min(BLOCK),
                        });
                    }
                }
            }
        });
        Ok(())
    }
}

/// Parts that the work is cut into: no more than rows, whatever number of threads somebody's `Parallel` claims to have.
fn bands(parallel: &dyn Parallel, conv: Shape) -> usize {
    threads(parallel).min(conv.h)
}

/// Elements of three rows of the convolution.
fn ring(conv: Shape) -> Result<usize, Error> {
    extent::expect("scratch", extent::product([conv.blocks(), 3, conv.w, BLOCK]))
}
