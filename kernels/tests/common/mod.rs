//! What the tests of all operators share: data, channel orders, tensors framed by sentinels, comparisons, and the
//! runs that every operator must pass.
//!
//! Data are made from a seed, so that a failure is told by a short line and shrinks by its shape.
#![allow(dead_code, unused_macros, unused_imports, reason = "every test file uses a part of it")]

use kernels::reference::{self, Planar, Window};
use kernels::{Activation, BLOCK, BatchNorm, ChannelOrder, Isa, Padding, Parallel, Serial, Shape, Tensor};
use kernels::{View, ViewMut};
use proptest::prelude::*;
use std::fmt::Arguments;
use std::ops::Range;

/// Every channel count that the deterministic loops go through.
pub(crate) const CHANNELS: std::ops::RangeInclusive<usize> = 1..=130;

/// `cases` random cases, or as many as `PROPTEST_CASES` says. Failures are kept as named tests, not as files.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    ProptestConfig { cases, failure_persistence: None, ..default }
}

// ---------------------------------------------------------------------------------------------------------- data

/// A small generator of random numbers (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// What numbers a test computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// Whole numbers in `[-8, 8]`: sums below 2^24 are exact in any order, fused or not.
    Integers,
    /// Real numbers of mixed magnitudes.
    Reals,
}

impl Data {
    pub(crate) fn one(self, rng: &mut Random) -> f32 {
        match self {
            Self::Integers => rng.below(17) as f32 - 8.0,
            Self::Reals => {
                let unit = rng.below(1 << 24) as f32 / (1 << 23) as f32 - 1.0;
                unit * f32::powi(2.0, rng.below(9) as i32 - 4)
            }
        }
    }

    pub(crate) fn many(self, n: usize, rng: &mut Random) -> Vec<f32> {
        (0..n).map(|_| self.one(rng)).collect()
    }

    pub(crate) fn image(self, shape: Shape, rng: &mut Random) -> Planar {
        Planar::from_fn(shape, |_, _, _| f64::from(self.one(rng)))
    }

    /// An image of `slots` in which only those that `order` names hold numbers; the others are NaN.
    pub(crate) fn slots(self, order: &ChannelOrder, shape: Shape, rng: &mut Random) -> Planar {
        let mut named = vec![false; shape.c];
        order.slots().iter().for_each(|&slot| named[slot as usize] = true);
        Planar::from_fn(shape, |c, _, _| if named[c] { f64::from(self.one(rng)) } else { f64::NAN })
    }
}

pub(crate) const POISONS: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

/// Now and then something that is not a number.
pub(crate) fn any_poison() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![3 => Just(None), 1 => prop::sample::select(&POISONS[..]).prop_map(Some)]
}

/// `image` with `poison` somewhere.
pub(crate) fn poisoned(mut image: Planar, poison: Option<f64>, rng: &mut Random) -> Planar {
    if let Some(poison) = poison {
        let i = rng.below(image.data.len());
        image.data[i] = poison;
    }
    image
}

pub(crate) fn any_data() -> impl Strategy<Value = Data> {
    prop_oneof![Just(Data::Integers), Just(Data::Reals)]
}

pub(crate) fn any_activation() -> impl Strategy<Value = Activation> {
    prop_oneof![Just(Activation::None), Just(Activation::Relu), Just(Activation::Relu6)]
}

/// Channel counts, small ones more often.
pub(crate) fn any_channels() -> impl Strategy<Value = usize> {
    prop_oneof![1..=20usize, 1..=130usize]
}

/// A kernel of `kernels`, strides 1 and 2, paddings of every kind smaller than the kernel.
pub(crate) fn any_window(kernels: &'static [usize]) -> impl Strategy<Value = Window> {
    prop::sample::select(kernels).prop_flat_map(|kernel| {
        let side = 0..kernel;
        let sides = (side.clone(), side.clone(), side.clone(), side)
            .prop_map(|(top, bottom, left, right)| Padding::Sides { top, bottom, left, right });
        let padding = prop_oneof![Just(Padding::all(kernel / 2)), Just(Padding::Same), sides];
        (1..=2usize, padding).prop_map(move |(stride, padding)| Window { kernel, stride, padding })
    })
}

/// `shape`, with as many rows and columns more as it takes for the window to fit once.
pub(crate) fn fit(window: Window, shape: Shape) -> Shape {
    let least = |len, rows| (len..).find(|&len| window.count(len, rows) > 0).unwrap();
    Shape { h: least(shape.h, true), w: least(shape.w, false), ..shape }
}

// -------------------------------------------------------------------------------------------------------- orders

/// Ways in which a network comes to read a value that does not lie in its logical order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Identity,
    Permuted,
    /// Into a wider buffer.
    Scattered,
    Shuffled,
    /// One half of a shuffled value of twice the channels.
    Split,
    /// Two tensors of one buffer, each beginning with a block; then shuffled.
    Concatenated,
    /// The same slot several times.
    Repeated,
}

impl Order {
    pub(crate) fn of(self, channels: usize, rng: &mut Random) -> ChannelOrder {
        let identity = ChannelOrder::identity(channels);
        match self {
            Self::Identity => identity,
            Self::Permuted => scattered(channels, channels, rng),
            Self::Scattered => scattered(channels, channels + 1 + rng.below(40), rng),
            Self::Shuffled => identity.shuffle(divisor(channels, rng)).unwrap(),
            Self::Split => {
                let (left, right) =
                    ChannelOrder::identity(2 * channels).shuffle(2).unwrap().split(channels).unwrap();
                if rng.below(2) == 0 { left } else { right }
            }
            Self::Concatenated => {
                let left = rng.below(channels + 1);
                let gap = left.div_ceil(BLOCK) + rng.below(2);
                let right = ChannelOrder::identity(channels - left).after_blocks(gap);
                let both = ChannelOrder::concat(&[&ChannelOrder::identity(left), &right]);
                both.shuffle(divisor(channels, rng)).unwrap()
            }
            Self::Repeated => {
                ChannelOrder::from_slots((0..channels).map(|_| rng.below(channels) as u32).collect())
            }
        }
    }
}

fn scattered(channels: usize, width: usize, rng: &mut Random) -> ChannelOrder {
    let mut slots: Vec<u32> = (0..width as u32).collect();
    for last in (1..width).rev() {
        slots.swap(last, rng.below(last + 1));
    }
    slots.truncate(channels);
    ChannelOrder::from_slots(slots)
}

pub(crate) fn divisor(n: usize, rng: &mut Random) -> usize {
    let divisors: Vec<usize> = (1..=n).filter(|&d| n.is_multiple_of(d)).collect();
    rng.pick(&divisors)
}

/// Orders in which every channel has a slot of its own.
pub(crate) fn any_unique_order() -> impl Strategy<Value = Order> {
    use Order::*;
    prop::sample::select(&[Identity, Permuted, Scattered, Shuffled, Split, Concatenated])
}

/// Orders to read through.
pub(crate) fn any_order() -> impl Strategy<Value = Order> {
    prop_oneof![6 => any_unique_order(), 1 => Just(Order::Repeated)]
}

// ------------------------------------------------------------------------------------------------ framed tensors

/// What everything around a tensor is filled with; a NaN, so that it shows wherever it is read.
pub(crate) const SENTINEL: f32 = f32::from_bits(0x7fc5_e171);

/// How much of a larger buffer lies around a tensor.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Frame {
    /// Elements by which the buffer begins beyond an allocation's beginning.
    shift: usize,
    /// Blocks before and after; those after only where the tensor ends with a whole block.
    blocks: (usize, usize),
    /// Rows above and below.
    rows: (usize, usize),
}

impl Frame {
    /// Something on every side, and nothing aligned.
    pub(crate) const WIDE: Self = Self { shift: 3, blocks: (1, 1), rows: (1, 2) };
}

pub(crate) fn any_frame() -> impl Strategy<Value = Frame> {
    let some = || 0..=2usize;
    (0..BLOCK, (some(), some()), (some(), some())).prop_map(|(shift, blocks, rows)| Frame {
        shift,
        blocks,
        rows,
    })
}

/// A tensor that is part of a larger buffer, of which everything else holds [`SENTINEL`].
pub(crate) struct Framed {
    data: Vec<f32>,
    /// Where in `data` the outer tensor begins.
    at: usize,
    outer: Shape,
    shape: Shape,
    blocks: Range<usize>,
    rows: Range<usize>,
}

impl Framed {
    /// A tensor that holds nothing but sentinels itself.
    pub(crate) fn new(shape: Shape, frame: Frame) -> Self {
        let (before, after) = frame.blocks;
        let after = if shape.c.is_multiple_of(BLOCK) { after } else { 0 };
        let outer = Shape {
            c: (before + after) * BLOCK + shape.c,
            h: frame.rows.0 + shape.h + frame.rows.1,
            w: shape.w,
        };
        let at = BLOCK + frame.shift;
        Self {
            data: vec![SENTINEL; at + outer.len() + outer.block_stride() + BLOCK],
            at,
            outer,
            shape,
            blocks: before..before + shape.blocks(),
            rows: frame.rows.0..frame.rows.0 + shape.h,
        }
    }

    /// A tensor that holds `image`, and sentinels in its pad lanes.
    pub(crate) fn holding(image: &Planar, frame: Frame) -> Self {
        let mut framed = Self::new(image.shape, frame);
        for c in 0..image.shape.c {
            for y in 0..image.shape.h {
                for x in 0..image.shape.w {
                    let i = framed.index(c, y, x);
                    framed.data[i] = image.get(c, y, x) as f32;
                }
            }
        }
        framed
    }

    /// The layout, written once more.
    fn index(&self, c: usize, y: usize, x: usize) -> usize {
        let pixel = (y + self.rows.start) * self.outer.w + x;
        self.at
            + (c / 16 + self.blocks.start) * 16 * ((self.outer.h * self.outer.w) | 1)
            + pixel * 16
            + c % 16
    }

    pub(crate) fn view(&self) -> View<'_> {
        let outer = View::new(&self.data[self.at..][..self.outer.len()], self.outer).unwrap();
        outer.blocks(self.blocks.clone()).rows(self.rows.clone())
    }

    pub(crate) fn view_mut(&mut self) -> ViewMut<'_> {
        let outer = ViewMut::new(&mut self.data[self.at..][..self.outer.len()], self.outer).unwrap();
        outer.blocks(self.blocks.clone()).rows(self.rows.clone())
    }

    /// The channels of `order` as a planar image.
    pub(crate) fn read(&self, order: &ChannelOrder) -> Vec<f32> {
        let Shape { h, w, .. } = self.shape;
        let channel =
            |&slot: &u32| (0..h * w).map(move |p| self.data[self.index(slot as usize, p / w, p % w)]);
        order.slots().iter().flat_map(channel).collect()
    }

    /// Fails where anything around the tensor has changed.
    pub(crate) fn assert_intact(&self, context: Arguments<'_>) {
        let mut inside = vec![false; self.data.len()];
        for block in 0..self.shape.blocks() {
            let first = self.index(block * BLOCK, 0, 0);
            inside[first..][..self.shape.pixels() * BLOCK].fill(true);
        }
        for (i, (x, inside)) in self.data.iter().zip(inside).enumerate() {
            assert!(
                inside || x.to_bits() == SENTINEL.to_bits(),
                "{context}: wrote {x} outside the destination, at {} of a buffer of {}",
                i as isize - self.at as isize,
                self.outer
            );
        }
    }
}

// --------------------------------------------------------------------------------------------------- comparisons

/// What an operator must compute, exactly or within a bound of each element.
pub(crate) struct Expected {
    pub(crate) values: Planar,
    pub(crate) bound: Option<Planar>,
}

impl Expected {
    pub(crate) fn exactly(values: Planar) -> Self {
        Self { values, bound: None }
    }

    pub(crate) fn check(&self, found: &[f32], context: Arguments<'_>) {
        let shape = self.values.shape;
        assert_eq!(found.len(), self.values.data.len(), "{context}: number of elements");
        for (i, (&found, &expected)) in found.iter().zip(&self.values.data).enumerate() {
            let bound = self.bound.as_ref().map_or(0.0, |bound| bound.data[i]);
            let both_nan = found.is_nan() && expected.is_nan();
            let found = f64::from(found);
            assert!(
                found == expected || both_nan || expected.is_finite() && (found - expected).abs() <= bound,
                "{context}: first difference at {}: expected {expected} within {bound}, found {found}",
                place(i, shape)
            );
        }
    }
}

/// Fails where two results of one shape differ in a bit. (In Miri, which NaN one is, is drawn by lot.)
pub(crate) fn assert_same_bits(expected: &[f32], found: &[f32], shape: Shape, context: Arguments<'_>) {
    for (i, (expected, found)) in expected.iter().zip(found).enumerate() {
        assert!(
            expected.to_bits() == found.to_bits() || cfg!(miri) && expected.is_nan() && found.is_nan(),
            "{context}: first difference at {}: expected {expected:e}, found {found:e}",
            place(i, shape)
        );
    }
}

fn place(i: usize, shape: Shape) -> String {
    let (c, y, x) = (i / shape.pixels(), i / shape.w % shape.h, i % shape.w);
    format!("channel {c}, row {y}, column {x} of {shape}")
}

pub(crate) fn absolute(image: &Planar) -> Planar {
    Planar { shape: image.shape, data: image.data.iter().map(|x| x.abs()).collect() }
}

/// The greatest error of a sum of `k` products computed in `f32` in any order, where `magnitude` is the sum of the
/// products' absolute values: `(k + 4) * eps * magnitude`, and a little for what underflows.
pub(crate) fn error_bound(k: usize, magnitude: f64) -> f64 {
    let k = (k + 4) as f64;
    k * (f64::from(f32::EPSILON) * magnitude + f64::from(f32::MIN_POSITIVE))
}

// ------------------------------------------------------------------------------------- parameters of convolutions

/// What is fused behind a convolution.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Epilogue {
    pub(crate) bias: bool,
    pub(crate) batch_norm: bool,
    pub(crate) activation: Activation,
}

pub(crate) fn any_epilogue() -> impl Strategy<Value = Epilogue> {
    (any::<bool>(), any::<bool>(), any_activation()).prop_map(|(bias, batch_norm, activation)| Epilogue {
        bias,
        batch_norm,
        activation,
    })
}

/// Weights and what is fused behind them, as numbers.
pub(crate) struct Parameters {
    pub(crate) weights: Vec<f32>,
    pub(crate) bias: Option<Vec<f32>>,
    statistics: Option<[Vec<f32>; 4]>,
    eps: f32,
    pub(crate) activation: Activation,
}

impl Parameters {
    pub(crate) fn new(epilogue: Epilogue, weights: usize, oc: usize, data: Data, rng: &mut Random) -> Self {
        let weights = data.many(weights, rng);
        let bias = epilogue.bias.then(|| data.many(oc, rng));
        let statistics = epilogue.batch_norm.then(|| {
            // Deviations that are powers of two keep integers exact.
            let mut positive = |_| match data {
                Data::Integers => rng.pick(&[0.25, 1.0, 4.0]),
                Data::Reals => 0.01 + data.one(rng).abs(),
            };
            let variance = (0..oc).map(&mut positive).collect();
            [data.many(oc, rng), data.many(oc, rng), data.many(oc, rng), variance]
        });
        let eps = if data == Data::Integers { 0.0 } else { 1e-3 };
        Self { weights, bias, statistics, eps, activation: epilogue.activation }
    }

    pub(crate) fn batch_norm(&self) -> Option<BatchNorm<'_>> {
        let [gamma, beta, mean, variance] = self.statistics.as_ref()?;
        Some(BatchNorm { gamma, beta, mean, variance, eps: self.eps })
    }

    /// The result of a convolution of `k` products per sum, given as a function of source, weights and bias.
    pub(crate) fn expect(
        &self,
        data: Data,
        k: usize,
        src: &Planar,
        residual: Option<&Planar>,
        convolution: impl Fn(&Planar, &[f32], Option<&[f32]>) -> Planar,
    ) -> Expected {
        let mut values = convolution(src, &self.weights, self.bias.as_deref());
        if let Some(batch_norm) = &self.batch_norm() {
            values = reference::batch_norm(&values, batch_norm);
        }
        if let Some(residual) = residual {
            values = reference::add(&values, residual);
        }
        values = reference::activate(&values, self.activation);
        let bound = (data == Data::Reals).then(|| {
            let positive = |values: &[f32]| values.iter().map(|x| x.abs()).collect::<Vec<f32>>();
            let bias = self.bias.as_deref().map(positive);
            let mut magnitude = convolution(&absolute(src), &positive(&self.weights), bias.as_deref());
            if let Some(BatchNorm { gamma, beta, mean, variance, eps }) = self.batch_norm() {
                magnitude = Planar::from_fn(magnitude.shape, |c, y, x| {
                    let scale = f64::from(gamma[c]) / f64::from(variance[c] + eps).sqrt();
                    let shift = f64::from(mean[c].abs()) * scale.abs() + f64::from(beta[c].abs());
                    magnitude.get(c, y, x) * scale.abs() + shift
                });
            }
            if let Some(residual) = residual {
                magnitude = reference::add(&magnitude, &absolute(residual));
            }
            magnitude.data.iter_mut().for_each(|x| *x = error_bound(k, *x));
            magnitude
        });
        Expected { values, bound }
    }
}

/// A builder told everything that [`Parameters`] hold besides the weights.
macro_rules! configured {
    ($builder:expr, $parameters:expr, $isa:expr) => {{
        let mut builder = $builder.isa($isa).activation($parameters.activation);
        if let Some(bias) = &$parameters.bias {
            builder = builder.bias(bias);
        }
        if let Some(batch_norm) = $parameters.batch_norm() {
            builder = builder.batch_norm(batch_norm);
        }
        builder
    }};
}
pub(crate) use configured;

// ---------------------------------------------------------------------------------------------------------- runs

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

/// Where an operator writes to, and where it puts each channel.
pub(crate) struct Destination<'a> {
    pub(crate) shape: Shape,
    pub(crate) frame: Frame,
    pub(crate) order: &'a ChannelOrder,
}

/// Holds an operator to everything that is asked of all of them: it computes what is expected, writes nothing outside
/// its destination, does not read the destination, and gives the same bits a second time, from aligned memory, and on
/// any number of threads in any order.
pub(crate) fn check_runs(
    dst: &Destination<'_>,
    expected: &Expected,
    context: Arguments<'_>,
    run: &(dyn Fn(&dyn Parallel, ViewMut<'_>) + Sync),
) {
    let &Destination { shape, frame, order } = dst;
    let logical = Shape { c: order.channels(), ..shape };
    let mut first = Framed::new(shape, frame);
    run(&Serial, first.view_mut());
    first.assert_intact(context);
    let bits = first.read(order);
    expected.check(&bits, context);

    run(&Serial, first.view_mut());
    assert_same_bits(&bits, &first.read(order), logical, format_args!("a second run: {context}"));

    let mut aligned = Tensor::zeros(shape);
    run(&Serial, aligned.view_mut());
    let mut found = vec![SENTINEL; bits.len()];
    kernels::layout::to_nchw(aligned.view(), order, &mut found);
    assert_same_bits(&bits, &found, logical, format_args!("into aligned memory: {context}"));

    let fresh = |parallel: &dyn Parallel| {
        let mut dst = Framed::new(shape, frame);
        run(parallel, dst.view_mut());
        dst
    };
    on_threads(fresh, |dst, threads| {
        dst.assert_intact(format_args!("{threads}: {context}"));
        assert_same_bits(&bits, &dst.read(order), logical, format_args!("{threads}: {context}"));
    });
}

/// Runs with every number of threads, on rayon's pools and in reverse order, and hands on what comes of it.
pub(crate) fn on_threads<T: Send>(run: impl Fn(&dyn Parallel) -> T + Sync, check: impl Fn(T, Arguments<'_>)) {
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
