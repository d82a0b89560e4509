//! What problems are drawn from: a strategy of proptest, and without proptest an iterator.

use crate::data::Data;
use crate::fault::Fault;
use crate::problem::{Operator, Problem};
use kernels::Window;
use kernels::reference;
use kernels::{Activation, Padding, Shape};
use proptest::prelude::*;
use proptest::strategy::{NewTree, ValueTree};
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};
use std::fmt::Debug;

/// Paddings to draw from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pad {
    /// None.
    Zero,
    /// Half of the window on every side, which keeps the size of an image where the window is odd and the stride 1.
    Half,
    /// The same above and below, and the same left and right, less than the window: PyTorch's `padding=(ph, pw)`.
    Even,
    /// Something else on every side, less than the window.
    Uneven,
    /// TensorFlow's `"same"`.
    Same,
}

/// The values that each size and option of a problem is drawn from. Small sizes, those at the beginning, come more
/// often, and problems shrink towards the beginning.
#[derive(Clone, Debug)]
pub struct Limits {
    pub(crate) ic: Vec<usize>,
    pub(crate) oc: Vec<usize>,
    pub(crate) groups: Vec<usize>,
    pub(crate) h: Vec<usize>,
    pub(crate) w: Vec<usize>,
    pub(crate) kernels: Vec<[usize; 2]>,
    pub(crate) strides: Vec<[usize; 2]>,
    pub(crate) dilations: Vec<[usize; 2]>,
    pub(crate) pads: Vec<Pad>,
    pub(crate) ceil: Vec<bool>,
    pub(crate) bias: Vec<bool>,
    pub(crate) batch_norm: Vec<bool>,
    pub(crate) residual: Vec<bool>,
    pub(crate) activations: Vec<Activation>,
}

impl Limits {
    /// Channels around those of every usual tile, small images, nothing fused.
    pub(crate) fn plain() -> Self {
        Self {
            ic: (1..=130).collect(),
            oc: (1..=130).collect(),
            groups: vec![1],
            h: (1..=12).collect(),
            w: (1..=17).collect(),
            kernels: vec![[1, 1]],
            strides: vec![[1, 1]],
            dilations: vec![[1, 1]],
            pads: vec![Pad::Zero],
            ceil: vec![false],
            bias: vec![false],
            batch_norm: vec![false],
            residual: vec![false],
            activations: vec![Activation::None],
        }
    }

    /// Channels, rows and columns of a source.
    pub fn src(&self) -> impl Strategy<Value = Shape> + use<> {
        (choose(&self.ic), choose(&self.h), choose(&self.w)).prop_map(|(c, h, w)| Shape::new(c, h, w))
    }

    /// Channels of a result.
    pub fn oc(&self) -> impl Strategy<Value = usize> + use<> {
        choose(&self.oc)
    }

    /// A window.
    pub fn window(&self) -> impl Strategy<Value = Window> + use<> {
        let sizes = (choose(&self.kernels), choose(&self.strides), choose(&self.dilations));
        let sides = [0..64usize, 0..64, 0..64, 0..64];
        let rest = (choose(&self.pads), choose(&self.ceil), sides);
        (sizes, rest).prop_map(|((kernel, stride, dilation), (pad, ceil, sides))| {
            let extent = [0, 1].map(|axis| (kernel[axis] - 1) * dilation[axis] + 1);
            let [top, bottom, left, right] = [0, 1, 2, 3].map(|i| sides[i] % extent[i / 2]);
            let both = |[h, w]: [usize; 2]| Padding::Sides { top: h, bottom: h, left: w, right: w };
            let padding = match pad {
                Pad::Zero => both([0, 0]),
                Pad::Half => both(extent.map(|extent| extent / 2)),
                Pad::Even => both([top, left]),
                Pad::Uneven => Padding::Sides { top, bottom, left, right },
                Pad::Same => Padding::Same,
            };
            Window { kernel, stride, dilation, padding, ceil }
        })
    }

    /// An activation.
    pub fn activation(&self) -> impl Strategy<Value = Activation> + use<> {
        choose(&self.activations)
    }
}

/// One of `from`, those at the beginning more often.
pub(crate) fn choose<T: Clone + Debug + 'static>(from: &[T]) -> impl Strategy<Value = T> + use<T> {
    assert!(!from.is_empty(), "nothing to draw from");
    let from = from.to_vec();
    let n = from.len();
    // What shrinks tries the parts before its own, too.
    prop_oneof![1 => 0..n.min(4), 2 => 0..n.min(20), 2 => 0..n].prop_map(move |i| from[i].clone())
}

/// `shape`, with as many rows and columns more as it takes for `window` to fit once, and to have a pixel under it wherever
/// it stands.
pub fn fit(window: Window, shape: Shape) -> Shape {
    let fits = |shape: Shape| reference::output_shape(window, shape, 1);
    let h = (shape.h.max(window.dilation[0])..).find(|&h| fits(Shape { h, ..shape }).h > 0);
    let w = (shape.w.max(window.dilation[1])..).find(|&w| fits(Shape { w, ..shape }).w > 0);
    Shape { c: shape.c, h: h.expect("a height"), w: w.expect("a width") }
}

/// A strategy of problems.
///
/// Each of its methods says what one size or option is drawn from, in any order, a range or a list:
///
/// ```
/// use kernels_testing::{Data, Pad, convolution};
///
/// let problems = convolution()
///     .ic(1..=33)
///     .oc([8, 16, 24])
///     .kernels([[3, 3], [1, 7]])
///     .strides([[1, 1], [2, 2]])
///     .pads([Pad::Half, Pad::Uneven])
///     .bias([false, true])
///     .data([Data::Integers, Data::Reals, Data::With(f32::NAN)]);
/// assert_eq!(problems.seeded(1).take(100).count(), 100);
/// ```
///
/// What is not said stays as the function that made the strategy has it. A size or option that an operator does not have is
/// ignored.
#[derive(Clone, Debug)]
pub struct Problems<O> {
    limits: Limits,
    draw: fn(&Limits) -> BoxedStrategy<O>,
    data: Vec<Data>,
    slack: f64,
}

/// Methods that replace one list of choices.
macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(mut self, choices: impl IntoIterator<Item = $type>) -> Self {
            self.limits.$name = choices.into_iter().collect();
            self
        })*
    };
}

impl<O: Operator> Problems<O> {
    /// Problems of an operator of your own: `draw` makes one from the limits.
    pub fn of(draw: fn(&Limits) -> BoxedStrategy<O>) -> Self {
        Self::within(Limits::plain(), draw)
    }

    pub(crate) fn within(limits: Limits, draw: fn(&Limits) -> BoxedStrategy<O>) -> Self {
        Self { limits, draw, data: vec![Data::Integers, Data::Reals], slack: 1.0 }
    }

    choices! {
        /// Channels of the source. Rounded to a multiple of the groups.
        ic: usize;
        /// Channels of the result. Rounded to a multiple of the groups.
        oc: usize;
        /// Groups.
        groups: usize;
        /// Rows of the source; more where the window would not fit.
        h: usize;
        /// Columns of the source; more where the window would not fit.
        w: usize;
        /// Rows and columns of the window.
        kernels: [usize; 2];
        /// Rows and columns from one window to the next.
        strides: [usize; 2];
        /// Rows and columns from one tap to the next.
        dilations: [usize; 2];
        /// Kinds of padding.
        pads: Pad;
        /// Whether a last window may hang over the padding.
        ceil: bool;
        /// Whether there is a bias.
        bias: bool;
        /// Whether a batch normalisation follows.
        batch_norm: bool;
        /// Whether a residual is added.
        residual: bool;
        /// What comes last.
        activations: Activation;
    }

    /// Kinds of numbers.
    #[must_use]
    pub fn data(mut self, choices: impl IntoIterator<Item = Data>) -> Self {
        self.data = choices.into_iter().collect();
        self
    }

    /// Widens the bound of every problem: [`Problem::slack`].
    #[must_use]
    pub fn slack(self, slack: f64) -> Self {
        Self { slack, ..self }
    }

    /// Problems without end, the same ones for the same seed: for test runners other than proptest's.
    pub fn seeded(&self, seed: u64) -> impl Iterator<Item = Problem<O>> + use<O> {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
        let problems = self.clone();
        std::iter::from_fn(move || Some(problems.new_tree(&mut runner).ok()?.current()))
    }

    /// Runs `test` on `cases` problems (or as many as `PROPTEST_CASES` says) and shrinks the first that fails: proptest
    /// without its macro.
    ///
    /// # Panics
    /// Where `test` does, with the smallest problem for which it does.
    #[track_caller]
    pub fn for_all(&self, cases: u32, test: impl Fn(&Problem<O>)) {
        let test = |problem: &Problem<O>| {
            test(problem);
            Ok::<_, Fault>(())
        };
        if let Some((problem, why)) = self.smallest_failure(cases, test) {
            panic!("{why}\nSmallest problem: {problem:?}");
        }
    }

    /// As [`for_all`](Self::for_all), but answers with the smallest problem that fails, and why: `test` may panic or return
    /// an error, that of [`Problem::compare`] for one.
    pub fn smallest_failure<E: std::fmt::Display>(
        &self,
        cases: u32,
        test: impl Fn(&Problem<O>) -> Result<(), E>,
    ) -> Option<(Problem<O>, String)> {
        let mut runner = TestRunner::new(config(cases));
        let test = |problem: Problem<O>| test(&problem).map_err(|why| TestCaseError::fail(why.to_string()));
        match runner.run(self, test) {
            Ok(()) => None,
            Err(TestError::Fail(why, problem)) => Some((problem, why.message().to_owned())),
            Err(TestError::Abort(why)) => unreachable!("no problem is refused: {why}"),
        }
    }
}

/// `cases` cases, or as many as `PROPTEST_CASES` says. Failures are to be kept as tests with a name, not as files.
pub fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    ProptestConfig { cases, failure_persistence: None, ..default }
}

impl<O: Operator> Strategy for Problems<O> {
    type Tree = Box<dyn ValueTree<Value = Problem<O>>>;
    type Value = Problem<O>;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        // The seed does not shrink: other numbers are not smaller ones.
        let parts = ((self.draw)(&self.limits), choose(&self.data), any::<u64>().no_shrink());
        let slack = self.slack;
        parts
            .prop_map(move |(op, data, seed)| Problem::new(op, data, seed).slack(slack))
            .boxed()
            .new_tree(runner)
    }
}
