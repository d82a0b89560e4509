//! One problem: what a kernel is asked to do, the numbers to do it with, and what must come out.

use crate::data::{Data, Random};
use crate::expected::{Expected, Layout};
use crate::fault::Fault;
use crate::guard::{Guarded, Written};
use kernels::Shape;
use kernels::reference::Planar;
use std::fmt;
use std::sync::OnceLock;

/// What an operator is told besides its source, and the definition of its result.
///
/// [`operators`](crate::operators) has those of `kernels`. Implement it for one of your own, and [`Problem`] and
/// [`Problems`](crate::Problems) do the rest:
///
/// ```
/// use kernels_testing::proptest::prelude::*;
/// use kernels_testing::{Data, Expected, Operator, Planar, Problems, Random, Shape, error_bound};
///
/// /// Every pixel divided by the sum of its channels.
/// #[derive(Clone, Debug)]
/// struct Normalise {
///     src: Shape,
/// }
///
/// impl Operator for Normalise {
///     type Parameters = ();
///     fn src(&self) -> Shape {
///         self.src
///     }
///     fn dst(&self) -> Shape {
///         self.src
///     }
///     fn parameters(&self, _: Data, _: &mut Random) {}
///     fn expect(&self, src: &Planar, _: &()) -> Expected {
///         let sum = |y, x| (0..self.src.c).map(|c| src.get(c, y, x).abs()).sum::<f64>() + 1.0;
///         let values = Planar::from_fn(self.src, |c, y, x| src.get(c, y, x) / sum(y, x));
///         let bound = Planar::from_fn(self.src, |c, y, x| error_bound(self.src.c + 1, values.get(c, y, x).abs()));
///         Expected { values, bound: Some(bound) }
///     }
///     fn exact(&self) -> bool {
///         false
///     }
/// }
///
/// let problems = Problems::of(|limits| limits.src().prop_map(|src| Normalise { src }).boxed());
/// problems.for_all(20, |p| {
///     let (src, mut dst) = (p.src_nhwc(), p.guarded());
///     let c = p.src_shape().c;
///     for (src, dst) in src.chunks(c).zip(dst.chunks_mut(c)) {
///         let sum = 1.0 + src.iter().map(|x| x.abs()).sum::<f32>();
///         dst.iter_mut().zip(src).for_each(|(dst, src)| *dst = src / sum);
///     }
///     p.check_nhwc(&dst);
/// });
/// ```
pub trait Operator: Clone + fmt::Debug + Send + Sync + 'static {
    /// Weights and all that, made from the seed.
    type Parameters: Clone + Send + Sync;

    /// Channels, rows and columns of the source.
    fn src(&self) -> Shape;

    /// Channels, rows and columns of the result.
    fn dst(&self) -> Shape;

    /// Makes the parameters.
    fn parameters(&self, data: Data, rng: &mut Random) -> Self::Parameters;

    /// The result, computed in `f64`, and a bound of the error that a result computed in `f32` has.
    fn expect(&self, src: &Planar, parameters: &Self::Parameters) -> Expected;

    /// Whether `f32` computes it without an error from [`Data::Integers`].
    fn exact(&self) -> bool;
}

/// A problem: an operator, its source and parameters, and the result that they must have.
///
/// Everything is made from `op`, `data` and `seed`, and these are what a problem prints: what failed once is pasted into a
/// test of its own, with [`printed`](crate::printed).
pub struct Problem<O: Operator> {
    op: O,
    data: Data,
    seed: u64,
    edited: bool,
    slack: f64,
    src: Planar,
    parameters: O::Parameters,
    expected: OnceLock<Option<Expected>>,
}

impl<O: Operator> Problem<O> {
    /// The problem of `op` with numbers of the kind `data`, made from `seed`.
    pub fn new(op: O, data: Data, seed: u64) -> Self {
        let rng = &mut Random::new(seed);
        let (src, parameters) = (data.image(op.src(), rng), op.parameters(data, rng));
        Self { op, data, seed, edited: false, slack: 1.0, src, parameters, expected: OnceLock::new() }
    }

    /// The same problem with other numbers in it: `edit` may change the elements of the source and the parameters.
    #[must_use]
    pub fn edited(mut self, edit: impl FnOnce(&mut Planar, &mut O::Parameters)) -> Self {
        edit(&mut self.src, &mut self.parameters);
        // What a kernel is given is `f32`.
        self.src.data.iter_mut().for_each(|x| *x = f64::from(*x as f32));
        Self { edited: true, expected: OnceLock::new(), ..self }
    }

    /// The same problem with a bound `slack` times as wide, for arithmetic that rounds more: Winograd's, say. Integers must
    /// then only be within it, too, unless `slack` is 1.
    #[must_use]
    pub fn slack(self, slack: f64) -> Self {
        Self { slack, expected: OnceLock::new(), ..self }
    }

    /// What is to be computed.
    pub fn op(&self) -> &O {
        &self.op
    }

    /// Weights and all that.
    pub fn parameters(&self) -> &O::Parameters {
        &self.parameters
    }

    /// The source.
    pub fn src(&self) -> &Planar {
        &self.src
    }

    /// Channels, rows and columns of the source.
    pub fn src_shape(&self) -> Shape {
        self.op.src()
    }

    /// Channels, rows and columns of the result.
    pub fn dst_shape(&self) -> Shape {
        self.op.dst()
    }

    /// Rows of the source.
    pub fn h(&self) -> usize {
        self.src_shape().h
    }

    /// Columns of the source.
    pub fn w(&self) -> usize {
        self.src_shape().w
    }

    /// Rows of the result.
    pub fn oh(&self) -> usize {
        self.dst_shape().h
    }

    /// Columns of the result.
    pub fn ow(&self) -> usize {
        self.dst_shape().w
    }

    /// The source, channel by channel.
    pub fn src_nchw(&self) -> Guarded {
        self.guard(&self.src, Layout::Nchw)
    }

    /// The source, pixel by pixel.
    pub fn src_nhwc(&self) -> Guarded {
        self.guard(&self.src, Layout::Nhwc)
    }

    /// `image`, within sentinels.
    pub(crate) fn guard(&self, image: &Planar, layout: Layout) -> Guarded {
        Guarded::holding(&layout.of(image), self.seed as usize)
    }

    /// Memory for the result, in whatever layout: sentinels within sentinels.
    pub fn guarded(&self) -> Guarded {
        let Shape { c, h, w } = self.dst_shape();
        Guarded::new(c * h * w, (self.seed >> 4) as usize)
    }

    /// What must come out, if that can be said: [`Data::Bits`] leave it open.
    pub fn expected(&self) -> Option<&Expected> {
        let expect = || {
            let mut expected = self.op.expect(&self.src, &self.parameters);
            assert_eq!(expected.values.shape, self.op.dst(), "the shape that {:?} expects", self.op);
            if self.op.exact() && !matches!(self.data, Data::Reals) && self.slack == 1.0 {
                expected.bound = None;
            }
            if let Some(bound) = &mut expected.bound {
                bound.data.iter_mut().for_each(|x| *x *= self.slack);
            }
            expected
        };
        self.expected.get_or_init(|| (!matches!(self.data, Data::Bits)).then(expect)).as_ref()
    }

    /// Compares a result.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn compare<W: Written + ?Sized>(&self, written: &W, layout: Layout) -> Result<(), Fault> {
        match self.expected() {
            Some(expected) => expected.compare(written, layout),
            None => written.intact(),
        }
    }

    /// Holds a result that was written channel by channel to what must come out.
    ///
    /// # Panics
    /// Where it differs, saying where, or where anything was written around it.
    #[track_caller]
    pub fn check_nchw<W: Written + ?Sized>(&self, written: &W) {
        self.check(written, Layout::Nchw);
    }

    /// Holds a result that was written pixel by pixel to what must come out.
    ///
    /// # Panics
    /// As [`check_nchw`](Self::check_nchw).
    #[track_caller]
    pub fn check_nhwc<W: Written + ?Sized>(&self, written: &W) {
        self.check(written, Layout::Nhwc);
    }

    #[track_caller]
    fn check<W: Written + ?Sized>(&self, written: &W, layout: Layout) {
        if let Err(fault) = self.compare(written, layout) {
            panic!("{fault}\nof {self:?}");
        }
    }
}

impl<O: Operator> Clone for Problem<O> {
    fn clone(&self) -> Self {
        let Self { op, src, parameters, expected, .. } = self;
        let (op, src, parameters) = (op.clone(), src.clone(), parameters.clone());
        Self { op, src, parameters, expected: expected.clone(), ..*self }
    }
}

/// As one would write it in a test.
impl<O: Operator> fmt::Debug for Problem<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { op, data, seed, .. } = self;
        write!(f, "Problem::new({op:?}, {data:?}, {seed})")?;
        if self.slack != 1.0 {
            write!(f, ".slack({})", self.slack)?;
        }
        f.write_str(if self.edited { ", edited" } else { "" })
    }
}
