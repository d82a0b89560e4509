//! What the tests of all operators share: the runs that every operator must pass. The problems are those of `kernels-testing`.
#![allow(dead_code, unused_imports, reason = "every test file uses a part of it")]

mod operators;

use kernels::Window;
use kernels::{Activation, ChannelOrder, Isa, Padding, Parallel, Serial, Shape, Tensor, View, ViewMut};
use kernels_testing::blocked::{Frame, Framed, frames, orders, unique_orders};
use kernels_testing::{Guarded, Layout, Operator, Problem, Problems, Random, assert_same_bits, fit};
use std::fmt::Arguments;

pub(crate) use kernels_testing::proptest::prelude::*;
pub(crate) use kernels_testing::{Data, Pad, config};
pub(crate) use operators::*;

/// Every channel count that the deterministic loops go through.
pub(crate) const CHANNELS: std::ops::RangeInclusive<usize> = 1..=130;

pub(crate) const ACTIVATIONS: [Activation; 3] = [Activation::None, Activation::Relu, Activation::Relu6];

/// Those, and one of each other kind.
pub(crate) const ALL_ACTIVATIONS: [Activation; 14] = [
    Activation::None,
    Activation::Relu,
    Activation::Relu6,
    Activation::Clamp { low: -3.0, high: f32::INFINITY },
    Activation::LeakyRelu { slope: 0.1 },
    Activation::LeakyRelu { slope: 1.5 },
    Activation::HardSigmoid { slope: 0.2, offset: 0.5 },
    Activation::HardSwish,
    Activation::Sigmoid,
    Activation::Silu,
    Activation::Tanh,
    Activation::Elu { alpha: 1.0 },
    Activation::Gelu,
    Activation::GeluTanh,
];

pub(crate) const POISONS: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

/// Numbers of all kinds, now and then something among them that is none.
pub(crate) fn any_data() -> Vec<Data> {
    let plain = [Data::Integers, Data::Reals, Data::Integers, Data::Reals, Data::Integers, Data::Reals];
    plain.into_iter().chain(POISONS.map(Data::With)).collect()
}

/// Windows of `kernel` x `kernel` and paddings at their worst, all four sides differently and up to one less than the kernel, and
/// images of `channels` that they fit.
pub(crate) fn every_padding(channels: usize, kernel: usize) -> impl Iterator<Item = (Shape, Window)> {
    let sides = (0..kernel * kernel).map(move |i| (i / kernel, i % kernel));
    sides.flat_map(move |(before, after)| {
        let padding = Padding::Sides { top: before, bottom: after, left: after, right: before };
        [(1, 6), (2, 6), (2, 7), (1, 1)].map(|(stride, size)| {
            let window = Window::new(kernel).stride(stride).padding(padding);
            (fit(window, Shape::new(channels, size, size)), window)
        })
    })
}

/// Windows of all `kernels`, both strides.
pub(crate) fn windows(kernels: &[usize], padding: impl Fn(usize) -> Padding) -> impl Iterator<Item = Window> {
    let window =
        move |kernel| [1, 2].map(|stride| Window::new(kernel).stride(stride).padding(padding(kernel)));
    kernels.iter().copied().flat_map(window)
}

/// In which memory, through which orders and on which threads a problem is run.
#[derive(Clone, Debug)]
pub(crate) struct How {
    /// Where the source's channels lie, where the operator is told.
    pub(crate) input: Option<ChannelOrder>,
    /// Where the result's channels lie, where the operator is told.
    pub(crate) output: Option<ChannelOrder>,
    /// Slots of source and destination beyond those that are needed.
    pub(crate) spare: [usize; 2],
    /// What lies around source and destination.
    pub(crate) frames: [Frame; 2],
    /// The only one to run it besides [`Serial`]; without it, everybody does.
    pub(crate) on: Option<Somebody>,
}

impl Default for How {
    /// Everything plain.
    fn default() -> Self {
        Self { input: None, output: None, spare: [0, 0], frames: [Frame::WIDE; 2], on: None }
    }
}

impl How {
    pub(crate) fn through(input: ChannelOrder) -> Self {
        Self { input: Some(input), ..Self::default() }
    }

    pub(crate) fn into_order(output: ChannelOrder) -> Self {
        Self { output: Some(output), ..Self::default() }
    }

    /// The source's order.
    fn read<O: Operator>(&self, p: &Problem<O>) -> ChannelOrder {
        self.input.clone().unwrap_or_else(|| ChannelOrder::identity(p.src_shape().c))
    }

    /// The source in its memory.
    fn src<O: Operator>(&self, p: &Problem<O>) -> Framed {
        let order = self.read(p);
        Framed::through(p.src(), &order, order.width() + self.spare[0], self.frames[0])
    }
}

/// Problems in memory of all kinds.
pub(crate) fn framed<P: Strategy>(problems: P) -> impl Strategy<Value = (P::Value, How)> {
    (problems, [frames(), frames()]).prop_map(|(p, frames)| (p, How { frames, ..How::default() }))
}

/// Problems in memory of all kinds, read and written through orders of all kinds; where `once`, no slot is read twice.
pub(crate) fn ordered<O: Operator>(
    problems: impl Strategy<Value = Problem<O>>,
    once: bool,
) -> impl Strategy<Value = (Problem<O>, How)> {
    let input = if once { unique_orders().boxed() } else { orders().boxed() };
    let spare = [0..=20usize, 0..=20];
    (framed(problems), (input, unique_orders()), spare, any::<u64>().no_shrink()).prop_map(
        |((p, how), (input, output), spare, seed)| {
            let rng = &mut Random::new(seed);
            let input = input.of(p.src_shape().c, rng);
            let output = Some(output.of(p.dst_shape().c, rng));
            (p.read_through(&input), How { input: Some(input), output, spare, ..how })
        },
    )
}

/// Runs its tasks on the caller's thread, the last one first.
pub(crate) struct Reverse(pub(crate) usize);

impl Parallel for Reverse {
    fn threads(&self) -> usize {
        self.0
    }

    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).rev().for_each(task);
    }
}

/// Says that it has any number of threads, and runs every task more often than asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Somebody(pub(crate) usize);

impl Parallel for Somebody {
    fn threads(&self) -> usize {
        self.0
    }

    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        for i in (0..tasks).rev() {
            task(i);
            task(0);
        }
    }
}

/// Holds an operator that writes the channels of `order` into a tensor of `shape` to everything that is asked of all of them:
/// it computes what is expected, writes nothing outside its destination, does not read the destination, and gives the
/// same bits a second time, in aligned memory, and on any number of threads in any order.
pub(crate) fn check_runs<O: Operator>(
    (p, how): (&Problem<O>, &How),
    (shape, order): (Shape, &ChannelOrder),
    context: Arguments<'_>,
    run: &(dyn Fn(&dyn Parallel, ViewMut<'_>) + Sync),
) {
    let logical = Shape { c: order.channels(), ..shape };
    let fresh = |parallel: &dyn Parallel| {
        let mut dst = Framed::new(shape, how.frames[1]);
        run(parallel, dst.view_mut());
        dst
    };
    let mut first = fresh(&Serial);
    if let Err(fault) = p.compare_framed(&first, order) {
        panic!("{context}: {fault}\nof {p:?}, {how:?}");
    }
    let bits = first.read(order);
    let same = |found: &[f32], what: Arguments<'_>| {
        assert_same_bits(&bits, found, logical, format_args!("{context}, {what}: {p:?}, {how:?}"));
    };
    run(&Serial, first.view_mut());
    same(&first.read(order), format_args!("a second run"));

    let mut aligned = Tensor::zeros(shape);
    run(&Serial, aligned.view_mut());
    let mut found = vec![f32::NAN; bits.len()];
    kernels::layout::to_nchw(aligned.view(), order, &mut found);
    same(&found, format_args!("into aligned memory"));

    on_threads(how.on, fresh, |dst, threads| {
        dst.intact().unwrap_or_else(|fault| panic!("{context}, {threads}: {fault}\nof {p:?}, {how:?}"));
        same(&dst.read(order), threads);
    });
}

/// Holds an operator that writes a plain slice to the same.
pub(crate) fn check_flat<O: Operator>(
    (p, how): (&Problem<O>, &How),
    context: Arguments<'_>,
    run: &(dyn Fn(&dyn Parallel, &mut [f32]) + Sync),
) {
    let fresh = |parallel: &dyn Parallel| {
        let mut dst = p.guarded();
        run(parallel, &mut dst);
        dst
    };
    let mut first = fresh(&Serial);
    if let Err(fault) = p.compare(&first, Layout::Nchw) {
        panic!("{context}: {fault}\nof {p:?}");
    }
    let bits = first.to_vec();
    let same = |found: &[f32], what: Arguments<'_>| {
        assert_same_bits(&bits, found, p.dst_shape(), format_args!("{context}, {what}: {p:?}"));
    };
    run(&Serial, &mut first);
    same(&first, format_args!("a second run"));
    on_threads(how.on, fresh, |dst, threads| {
        dst.intact().unwrap_or_else(|fault| panic!("{context}, {threads}: {fault}\nof {p:?}"));
        same(&dst, threads);
    });
}

/// Runs with every number of threads, on rayon's pools and in reverse order, or on somebody's alone, and hands on what
/// comes of it.
pub(crate) fn on_threads<T: Send>(
    somebody: Option<Somebody>,
    run: impl Fn(&dyn Parallel) -> T + Sync,
    check: impl Fn(T, Arguments<'_>),
) {
    if let Some(somebody) = somebody {
        return check(run(&somebody), format_args!("{somebody:?}"));
    }
    for threads in [0, 1, 2, 3, 8, 64] {
        check(run(&Reverse(threads)), format_args!("{threads} threads in reverse order"));
    }
    #[cfg(feature = "parallel")]
    for pool in pools() {
        let threads = pool.current_num_threads();
        check(pool.install(|| run(&kernels::Rayon)), format_args!("{threads} threads of rayon"));
        let mut result = None;
        pool.install(|| kernels::team(&kernels::Rayon, |team| result = Some(run(team))));
        check(result.expect("the team's work was done"), format_args!("a team of {threads}"));
    }
}

#[cfg(feature = "parallel")]
fn pools() -> &'static [rayon::ThreadPool] {
    static POOLS: std::sync::OnceLock<Vec<rayon::ThreadPool>> = std::sync::OnceLock::new();
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    POOLS.get_or_init(|| [1, 2, 3, 8].map(pool).into_iter().collect())
}

/// Every instruction set of this processor.
pub(crate) fn isas() -> Vec<Isa> {
    Isa::available().collect()
}

/// Fails where `run` does not panic with a message that contains `sentence`.
pub(crate) fn assert_panics<T>(sentence: &str, run: impl FnOnce() -> T) {
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(run())))
        .expect_err(&format!("no panic, expected one with {sentence:?}"));
    let message = payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string))
        .expect("a panic with a message");
    assert!(message.contains(sentence), "expected a panic with {sentence:?}, found {message:?}");
}
