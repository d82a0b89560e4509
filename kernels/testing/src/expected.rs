//! What a result must be, exactly or within a bound of each element.

use crate::fault::{Difference, Fault};
use crate::guard::{Written, is_sentinel};
use kernels::Shape;
use kernels::reference::Planar;

/// How the elements of an image follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Channel by channel, row by row: PyTorch's NCHW with one image.
    Nchw,
    /// Pixel by pixel, row by row: TensorFlow's NHWC with one image.
    Nhwc,
}

impl Layout {
    /// Where element `(c, y, x)` of an image of `shape` lies.
    pub fn index(self, shape: Shape, c: usize, y: usize, x: usize) -> usize {
        match self {
            Self::Nchw => (c * shape.h + y) * shape.w + x,
            Self::Nhwc => (y * shape.w + x) * shape.c + c,
        }
    }

    /// The elements of `image`, rounded to `f32`, in this layout.
    pub fn of(self, image: &Planar) -> Vec<f32> {
        let mut data = vec![0.0; image.data.len()];
        for ([c, y, x], i) in positions(image.shape).zip(0..) {
            data[self.index(image.shape, c, y, x)] = image.data[i] as f32;
        }
        data
    }
}

/// Channel, row and column of every element, in the order of NCHW.
fn positions(shape: Shape) -> impl Iterator<Item = [usize; 3]> {
    (0..shape.c * shape.pixels()).map(move |i| [i / shape.pixels(), i / shape.w % shape.h, i % shape.w])
}

/// What a kernel must compute.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The result, in `f64`.
    pub values: Planar,
    /// By how much each element of a result in `f32` may differ; `None` where not at all.
    pub bound: Option<Planar>,
}

impl Expected {
    /// These values and no others.
    pub fn exactly(values: Planar) -> Self {
        Self { values, bound: None }
    }

    /// Compares what a kernel has written. NaN must be NaN, an infinity that infinity, and both zeros are equal.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn compare<W: Written + ?Sized>(&self, written: &W, layout: Layout) -> Result<(), Fault> {
        written.intact()?;
        let (shape, found) = (self.values.shape, written.elements());
        if found.len() != self.values.data.len() {
            return Err(Fault::Length { expected: self.values.data.len(), found: found.len() });
        }
        let element = |[c, y, x]: [usize; 3], i: usize| {
            let allowed = self.bound.as_ref().map_or(0.0, |bound| bound.data[i]);
            (self.values.data[i], found[layout.index(shape, c, y, x)], allowed)
        };
        let mut first: Option<Difference> = None;
        for (at, i) in positions(shape).zip(0..) {
            let (expected, found, allowed) = element(at, i);
            if agrees(expected, f64::from(found), allowed) {
                continue;
            }
            let difference = first.get_or_insert_with(|| Difference {
                shape,
                at,
                expected,
                found,
                allowed,
                count: 0,
                within: at.map(|place| place..=place),
                unwritten: 0,
            });
            difference.count += 1;
            difference.unwritten += usize::from(is_sentinel(found));
            for (range, place) in difference.within.iter_mut().zip(at) {
                *range = place.min(*range.start())..=place.max(*range.end());
            }
        }
        first.map_or(Ok(()), |difference| Err(Fault::Values(Box::new(difference))))
    }
}

fn agrees(expected: f64, found: f64, allowed: f64) -> bool {
    let both_nan = found.is_nan() && expected.is_nan();
    found == expected || both_nan || expected.is_finite() && (found - expected).abs() <= allowed
}

/// Fails where two results of one shape differ in a bit: what a kernel computes must not depend on the number of
/// threads, say, or on what the destination held before.
///
/// # Panics
/// Where they do, with channel, row and column (both are read as NCHW).
#[track_caller]
pub fn assert_same_bits(expected: &[f32], found: &[f32], shape: Shape, context: std::fmt::Arguments<'_>) {
    assert_eq!(expected.len(), found.len(), "{context}: number of elements");
    for ([c, y, x], (expected, found)) in positions(shape).zip(expected.iter().zip(found)) {
        assert!(
            // Which NaN comes of an operation, Miri draws by lot.
            expected.to_bits() == found.to_bits() || cfg!(miri) && expected.is_nan() && found.is_nan(),
            "{context}: channel {c}, row {y}, column {x} of {shape}: expected {expected:e}, found {found:e}"
        );
    }
}

/// The greatest error of a sum of `k` products computed in `f32`, in any order, fused or not, where `magnitude` is the
/// sum of the products' absolute values.
///
/// A product goes through at most `k` roundings, its own and those of `k - 1` additions, each of which is off by a factor of at
/// most `1 + eps / 2`; so the error is at most about `k * eps / 2 * magnitude` (Higham, *Accuracy and Stability of Numerical
/// Algorithms*, section 3.1). What is returned is `(k + 4) * eps * magnitude`: room for a bias, a folded batch
/// normalisation, a residual and an activation, too. `(k + 4)` times the smallest normal number is added for what
/// underflows.
pub fn error_bound(k: usize, magnitude: f64) -> f64 {
    let k = (k + 4) as f64;
    k * (f64::from(f32::EPSILON) * magnitude + f64::from(f32::MIN_POSITIVE))
}

/// The image of absolute values: what a sum of products is bounded by.
pub fn absolute(image: &Planar) -> Planar {
    Planar { shape: image.shape, data: image.data.iter().map(|x| x.abs()).collect() }
}

/// Absolute values of weights.
pub fn positive(values: &[f32]) -> Vec<f32> {
    values.iter().map(|x| x.abs()).collect()
}
