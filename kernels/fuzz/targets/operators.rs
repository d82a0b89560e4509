//! Operators built from arbitrary sizes, groups, strides, paddings, orders and slices: a `Result`, and `Ok` just where the
//! documentation says so. What was built and is small runs on every instruction set, and must compute what `reference`
//! computes: to the bit on small integers, and the same bits on any threads whatever the numbers are.
#![no_main]

use kernels::reference::{self, Planar, Window};
use kernels::{
    Activation, Affine, AveragePool, BatchNorm, ChannelOrder, Convolution, Depthwise, Error, Head, Isa,
    Linear, MaxPool, Padding, Parallel, Pointwise, Serial, Shape, Tensor, View, ViewMut,
};
use libfuzzer_sys::arbitrary::{self, Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use std::collections::HashSet;

/// A size: mostly small, sometimes beyond all reason.
#[derive(Clone, Copy, Debug)]
struct Size(usize);

impl Arbitrary<'_> for Size {
    fn arbitrary(u: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        Ok(Self(match u.int_in_range(0..=31)? {
            0 => u.arbitrary()?,
            1 => *u.choose(&[0, 1 << 31, u32::MAX as usize, 1 << 32, 1 << 60, 1 << 63, usize::MAX])?,
            2 => u.int_in_range(1..=1200)?,
            _ => u.int_in_range(1..=70)?,
        }))
    }
}

/// Small numbers that are mostly those allowed.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Small {
    One,
    Two,
    Three,
    Five,
    Seven,
    Any(Size),
}

impl Small {
    fn get(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
            Self::Five => 5,
            Self::Seven => 7,
            Self::Any(size) => size.0,
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Pad {
    Half,
    Same,
    Sides([u8; 4]),
    Wild([Size; 4]),
}

impl Pad {
    fn get(self, kernel: usize) -> Padding {
        match self {
            Self::Half => Padding::all(kernel / 2),
            Self::Same => Padding::Same,
            Self::Sides(sides) => sides_of(sides.map(|side| usize::from(side % 8))),
            Self::Wild(sides) => sides_of(sides.map(|side| side.0)),
        }
    }
}

fn sides_of([top, bottom, left, right]: [usize; 4]) -> Padding {
    Padding::Sides { top, bottom, left, right }
}

/// How long a slice is: as it must be, or not.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Length {
    Right,
    AlsoRight,
    Wrong(u8),
}

/// More elements are not made.
const MOST: usize = 1 << 17;

impl Length {
    fn of(self, right: Option<usize>) -> usize {
        match (self, right) {
            (Self::Right | Self::AlsoRight, Some(right)) if right <= MOST => right,
            (Self::Wrong(n), _) => n.into(),
            _ => 1000,
        }
    }
}

#[derive(Arbitrary, Clone, Debug)]
enum Order {
    None,
    Reversed,
    Shuffled(u8),
    /// Every channel so many slots after the one before.
    Spread(u8),
    AfterBlocks(u16),
    Slots(Vec<u32>),
    Bytes(Vec<u8>),
}

impl Order {
    fn get(&self, channels: usize) -> Option<ChannelOrder> {
        let n = channels.min(2000);
        let slots = |slot: &dyn Fn(u32) -> u32| ChannelOrder::from_slots((0..n as u32).map(slot).collect());
        match self {
            Self::None => None,
            Self::Reversed => Some(slots(&|c| n as u32 - 1 - c)),
            Self::Shuffled(groups) => ChannelOrder::identity(n).shuffle((*groups).into()).ok(),
            Self::Spread(by) => Some(slots(&|c| c * u32::from(*by))),
            Self::AfterBlocks(blocks) => Some(ChannelOrder::identity(n).after_blocks((*blocks).into())),
            Self::Slots(slots) => Some(ChannelOrder::from_slots(slots.clone())),
            Self::Bytes(slots) => Some(ChannelOrder::from_slots(
                (0..n).map(|i| slots.get(i).copied().unwrap_or(0).into()).collect(),
            )),
        }
    }
}

#[derive(Arbitrary, Debug)]
struct Epilogue {
    bias: Option<Length>,
    batch_norm: Option<[Length; 4]>,
    activation: u8,
}

#[derive(Arbitrary, Debug)]
enum Operator {
    Pointwise {
        ic: Size,
        oc: Size,
        groups: Small,
        weights: Length,
        input: Order,
        output: Order,
        residual: bool,
    },
    Depthwise {
        channels: Size,
        kernel: Small,
        stride: Small,
        padding: Pad,
        weights: Length,
        input: Order,
    },
    Convolution {
        ic: Size,
        oc: Size,
        kernel: Small,
        stride: Small,
        padding: Pad,
        weights: Length,
        planar: bool,
    },
    Linear {
        ic: Size,
        oc: Size,
        weights: Length,
    },
    Head {
        ic: Size,
        oc: Size,
        classes: Size,
        conv: Length,
        weights: Length,
        output: Order,
    },
    Affine {
        scale: u8,
        shift: Length,
    },
    Pool {
        channels: u8,
        kernel: Small,
        stride: Small,
        padding: Pad,
        average: Option<bool>,
    },
    Stem {
        oc: u8,
        padding: Pad,
        pool: Pad,
    },
    Views {
        shape: [Size; 3],
        len: Length,
        blocks: (u8, u8),
        rows: (u8, u8),
    },
}

/// Somebody's `Parallel`, who runs every task more often than asked.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Threads {
    Few(u8),
    Wild(Size),
}

impl Parallel for Threads {
    fn threads(&self) -> usize {
        match self {
            Self::Few(n) => (n % 20).into(),
            Self::Wild(size) => size.0,
        }
    }

    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).rev().for_each(|i| {
            task(i);
            task(0);
        });
    }
}

#[derive(Arbitrary, Debug)]
struct Problem {
    operator: Operator,
    epilogue: Epilogue,
    h: u8,
    w: u8,
    threads: Threads,
    seed: u64,
    /// Numbers of any bits instead of small integers.
    wild: bool,
}

/// SplitMix64.
struct Noise {
    state: u64,
    wild: bool,
}

impl Noise {
    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn one(&mut self) -> f32 {
        let bits = self.bits();
        if self.wild { f32::from_bits(bits as u32) } else { (bits % 9) as f32 - 4.0 }
    }

    fn many(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.one()).collect()
    }
}

fuzz_target!(|problem: Problem| {
    problem.check();
});

/// A slice and whether it is as long as it must be.
struct Slice {
    data: Vec<f32>,
    right: bool,
}

impl Slice {
    fn new(length: Length, right: Option<usize>, noise: &mut Noise) -> Self {
        let n = length.of(right);
        Self { data: noise.many(n), right: right == Some(n) }
    }
}

struct Fused {
    bias: Option<Slice>,
    batch_norm: Option<[Slice; 4]>,
    activation: Activation,
}

impl Fused {
    fn right(&self) -> bool {
        self.bias.iter().chain(self.batch_norm.iter().flatten()).all(|slice| slice.right)
    }

    fn bias(&self) -> Option<&[f32]> {
        self.bias.as_ref().map(|bias| bias.data.as_slice())
    }

    fn batch_norm(&self) -> Option<BatchNorm<'_>> {
        let [gamma, beta, mean, variance] = self.batch_norm.as_ref()?;
        Some(BatchNorm {
            gamma: &gamma.data,
            beta: &beta.data,
            mean: &mean.data,
            variance: &variance.data,
            eps: 0.0,
        })
    }

    fn expect(&self, mut values: Planar, residual: Option<&Planar>) -> Planar {
        if let Some(batch_norm) = self.batch_norm() {
            values = reference::batch_norm(&values, &batch_norm);
        }
        if let Some(residual) = residual {
            values = reference::add(&values, residual);
        }
        reference::activate(&values, self.activation)
    }
}

macro_rules! fused {
    ($builder:expr, $fused:expr, $isa:expr) => {{
        let mut builder = $builder.isa($isa).activation($fused.activation);
        if let Some(bias) = $fused.bias() {
            builder = builder.bias(bias);
        }
        if let Some(batch_norm) = $fused.batch_norm() {
            builder = builder.batch_norm(batch_norm);
        }
        builder
    }};
}

/// The same bits, but for those that tell one NaN from another: which of two the processor hands on depends on the order
/// of operands.
fn same(a: &[f32], b: &[f32]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
}

/// What was built where it should have been.
fn built<T>(result: Result<T, Error>, valid: bool) -> Option<T> {
    match result {
        Ok(op) => {
            assert!(valid, "built from what should have been refused");
            Some(op)
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!valid && !text.contains('\n'), "{text}");
            None
        }
    }
}

fn product(sizes: &[usize]) -> Option<usize> {
    sizes.iter().try_fold(1usize, |product, &n| product.checked_mul(n))
}

fn windows(kernel: usize, allowed: &[usize], stride: usize, padding: Padding) -> bool {
    let narrow = match padding {
        Padding::Same => true,
        Padding::Sides { top, bottom, left, right } => {
            [top, bottom, left, right].iter().all(|&side| side < kernel)
        }
    };
    allowed.contains(&kernel) && (1..=2).contains(&stride) && narrow
}

fn distinct(order: &ChannelOrder) -> bool {
    order.slots().iter().collect::<HashSet<_>>().len() == order.channels()
}

impl Problem {
    fn noise(&self) -> Noise {
        Noise { state: self.seed, wild: self.wild }
    }

    fn fused(&self, oc: usize, noise: &mut Noise) -> Fused {
        let bias = self.epilogue.bias.map(|length| Slice::new(length, Some(oc), noise));
        let batch_norm = self.epilogue.batch_norm.map(|lengths| {
            let mut slices = lengths.map(|length| Slice::new(length, Some(oc), noise));
            if !self.wild {
                // Deviations that are powers of two keep integers exact.
                slices[3].data.iter_mut().for_each(|x| *x = [0.25, 1.0, 4.0][*x as i32 as usize % 3]);
            }
            slices
        });
        let activation = [Activation::None, Activation::Relu, Activation::Relu6]
            [usize::from(self.epilogue.activation % 3)];
        Fused { bias, batch_norm, activation }
    }

    fn sides(&self) -> (usize, usize) {
        (usize::from(self.h % 12) + 1, usize::from(self.w % 12) + 1)
    }

    fn image(&self, shape: Shape, noise: &mut Noise) -> (Planar, Tensor) {
        let values = noise.many(shape.c * shape.pixels());
        let planar = Planar::new(shape, &values);
        let mut tensor = Tensor::zeros(shape);
        // Pad lanes hold anything.
        tensor.view_mut().data_mut().fill(f32::NAN);
        kernels::layout::from_nchw(&values, tensor.view_mut());
        (planar, tensor)
    }

    /// Runs twice, alone and on somebody's threads, and compares.
    fn run(
        &self,
        shape: Shape,
        order: &ChannelOrder,
        expected: impl FnOnce() -> Planar,
        run: impl Fn(&dyn Parallel, ViewMut<'_>),
    ) {
        let read = |parallel: &dyn Parallel| {
            let mut dst = Tensor::zeros(shape);
            dst.view_mut().data_mut().fill(f32::NAN);
            run(parallel, dst.view_mut());
            let mut found = vec![0.0; order.channels() * shape.pixels()];
            kernels::layout::to_nchw(dst.view(), order, &mut found);
            found
        };
        let (alone, together) = (read(&Serial), read(&self.threads));
        assert!(same(&alone, &together), "threads change bits");
        if !self.wild {
            let expected = expected();
            assert_eq!(expected.data.len(), alone.len());
            for (i, (found, expected)) in alone.iter().zip(expected.to_f32()).enumerate() {
                assert!(*found == expected, "element {i}: expected {expected}, found {found}");
            }
        }
    }

    fn check(&self) {
        for isa in Isa::available() {
            match &self.operator {
                Operator::Pointwise { ic, oc, groups, weights, input, output, residual } => {
                    self.pointwise(isa, (ic.0, oc.0, groups.get()), *weights, (input, output), *residual);
                }
                &Operator::Depthwise { channels, kernel, stride, padding, weights, ref input } => {
                    self.depthwise(isa, channels.0, (kernel.get(), stride.get(), padding), weights, input);
                }
                &Operator::Convolution { ic, oc, kernel, stride, padding, weights, planar } => {
                    self.convolution(
                        isa,
                        (ic.0, oc.0),
                        (kernel.get(), stride.get(), padding),
                        weights,
                        planar,
                    );
                }
                Operator::Linear { ic, oc, weights } => self.linear(isa, ic.0, oc.0, *weights),
                Operator::Head { ic, oc, classes, conv, weights, output } => {
                    self.head(isa, (ic.0, oc.0, classes.0), *conv, *weights, output);
                }
                Operator::Affine { scale, shift } => self.affine(isa, (*scale).into(), *shift),
                &Operator::Pool { channels, kernel, stride, padding, average } => {
                    self.pool(isa, channels, (kernel.get(), stride.get(), padding), average);
                }
                &Operator::Stem { oc, padding, pool } => self.stem(isa, oc, padding, pool),
                &Operator::Views { shape, len, blocks, rows } => self.views(shape, len, blocks, rows),
            }
        }
    }

    fn pointwise(
        &self,
        isa: Isa,
        (ic, oc, groups): (usize, usize, usize),
        weights: Length,
        (input, output): (&Order, &Order),
        residual: bool,
    ) {
        let noise = &mut self.noise();
        let divide = groups > 0 && ic.is_multiple_of(groups) && oc.is_multiple_of(groups);
        let right = if divide { product(&[ic / groups, oc]) } else { None };
        let weights = Slice::new(weights, right, noise);
        let fused = self.fused(oc, noise);
        let (input, output) = (input.get(ic), output.get(oc));
        let mut builder = fused!(Pointwise::builder(ic, oc), fused, isa).groups(groups);
        let mut valid = ic > 0 && oc > 0 && divide && weights.right && fused.right();
        if let Some(order) = &input {
            builder = builder.input_order(order);
            valid &= order.channels() == ic;
        }
        if let Some(order) = &output {
            builder = builder.output_order(order);
            valid &= order.channels() == oc
                && distinct(order)
                && order.width() <= oc.saturating_mul(64) + (1 << 20);
        }
        let Some(op) = built(builder.build(&weights.data), valid) else { return };
        let input = input.unwrap_or_else(|| ChannelOrder::identity(ic));
        let output = output.unwrap_or_else(|| ChannelOrder::identity(oc));
        let (h, w) = self.sides();
        if input.width().max(output.width()) > 5000 || h * w * weights.data.len() > 1 << 21 {
            return;
        }
        let (src, tensor) = self.image(Shape::new(input.width(), h, w), noise);
        let shape = Shape::new(output.width(), h, w);
        let (added, added_tensor) = self.image(shape, noise);
        let added = residual.then(|| reference::gather(&added, &output));
        let expected = || {
            let sums =
                reference::pointwise(&reference::gather(&src, &input), groups, &weights.data, fused.bias());
            fused.expect(sums, added.as_ref())
        };
        self.run(shape, &output, expected, |parallel, dst| {
            op.run_with(parallel, tensor.view(), residual.then(|| added_tensor.view()), dst);
        });
    }

    fn depthwise(
        &self,
        isa: Isa,
        channels: usize,
        (kernel, stride, padding): (usize, usize, Pad),
        weights: Length,
        input: &Order,
    ) {
        let noise = &mut self.noise();
        let padding = padding.get(kernel);
        let weights = Slice::new(weights, product(&[channels, kernel, kernel]), noise);
        let fused = self.fused(channels, noise);
        let input = input.get(channels);
        let mut builder = fused!(Depthwise::builder(channels, kernel, stride), fused, isa).padding(padding);
        let mut valid =
            channels > 0 && windows(kernel, &[3, 5], stride, padding) && weights.right && fused.right();
        if let Some(order) = &input {
            builder = builder.input_order(order);
            valid &= order.channels() == channels && distinct(order);
        }
        let Some(op) = built(builder.build(&weights.data), valid) else { return };
        let input = input.unwrap_or_else(|| ChannelOrder::identity(channels));
        let window = Window { kernel, stride, padding };
        let (h, w) = self.sides();
        if input.width() > 5000 || window.count(h, true) == 0 || window.count(w, false) == 0 {
            return;
        }
        let (src, tensor) = self.image(Shape::new(input.width(), h, w), noise);
        let expected = || {
            let sums =
                reference::depthwise(&reference::gather(&src, &input), window, &weights.data, fused.bias());
            fused.expect(sums, None)
        };
        self.run(op.output_shape(h, w), op.output_order(), expected, |parallel, dst| {
            op.run_with(parallel, tensor.view(), dst);
        });
    }

    fn convolution(
        &self,
        isa: Isa,
        (ic, oc): (usize, usize),
        (kernel, stride, padding): (usize, usize, Pad),
        weights: Length,
        planar: bool,
    ) {
        let noise = &mut self.noise();
        let padding = padding.get(kernel);
        let weights = Slice::new(weights, product(&[oc, ic, kernel, kernel]), noise);
        let fused = self.fused(oc, noise);
        let builder = fused!(Convolution::builder(ic, oc, kernel, stride), fused, isa).padding(padding);
        let valid = ic > 0
            && oc > 0
            && windows(kernel, &[1, 3, 5, 7], stride, padding)
            && weights.right
            && fused.right();
        let Some(op) = built(builder.build(&weights.data), valid) else { return };
        let window = Window { kernel, stride, padding };
        let (h, w) = self.sides();
        let fits = window.count(h, true) > 0 && window.count(w, false) > 0;
        if !fits || h * w * weights.data.len() > 1 << 20 {
            return;
        }
        let (src, tensor) = self.image(Shape::new(ic, h, w), noise);
        let expected =
            || fused.expect(reference::convolution(&src, window, &weights.data, fused.bias()), None);
        let flat = src.to_f32();
        self.run(op.output_shape(h, w), &ChannelOrder::identity(oc), expected, |parallel, dst| {
            if planar {
                op.run_planar_with(parallel, &flat, h, w, dst);
            } else {
                op.run_with(parallel, tensor.view(), dst);
            }
        });
    }

    fn stem(&self, isa: Isa, oc: u8, padding: Pad, pool: Pad) {
        let noise = &mut self.noise();
        let (oc, padding, pool_padding) = (usize::from(oc % 40) + 1, padding.get(3), pool.get(3));
        let weights = noise.many(27 * oc);
        let conv = Convolution::builder(3, oc, 3, 2).padding(padding).isa(isa).build(&weights);
        let Some(conv) = built(conv, windows(3, &[3], 2, padding)) else { return };
        let pool = MaxPool::new(3, 2, pool_padding, isa);
        let Some(pool) = built(pool, windows(3, &[3], 2, pool_padding)) else { return };
        let window = Window { kernel: 3, stride: 2, padding };
        let pool_window = Window { padding: pool_padding, ..window };
        let (h, w) = self.sides();
        let count = |window: Window, len: usize, rows| if len == 0 { 0 } else { window.count(len, rows) };
        let conv_sides = (count(window, h, true), count(window, w, false));
        if count(pool_window, conv_sides.0, true) == 0 || count(pool_window, conv_sides.1, false) == 0 {
            return;
        }
        let (src, _) = self.image(Shape::new(3, h, w), noise);
        let flat = src.to_f32();
        let shape = pool.output_shape(conv.output_shape(h, w));
        let expected =
            || reference::max_pool(&reference::convolution(&src, window, &weights, None), pool_window);
        self.run(shape, &ChannelOrder::identity(oc), expected, |parallel, dst| {
            let mut scratch = vec![f32::NAN; conv.pooled_scratch(parallel, h, w)];
            conv.run_planar_pooled(parallel, &flat, h, w, &pool, &mut scratch, dst);
        });
    }

    fn linear(&self, isa: Isa, ic: usize, oc: usize, weights: Length) {
        let noise = &mut self.noise();
        let weights = Slice::new(weights, product(&[ic, oc]), noise);
        let fused = self.fused(oc, noise);
        let bias_right = fused.bias.iter().all(|bias| bias.right);
        let valid = ic > 0 && oc > 0 && u32::try_from(ic).is_ok() && weights.right && bias_right;
        let op = Linear::new(ic, oc, &weights.data, fused.bias(), fused.activation, isa);
        let Some(op) = built(op, valid) else { return };
        let src = noise.many(ic);
        let run = |parallel: &dyn Parallel| {
            let mut dst = vec![f32::NAN; oc];
            op.run_with(parallel, &src, &mut dst);
            dst
        };
        let (alone, together) = (run(&Serial), run(&self.threads));
        assert!(same(&alone, &together), "threads change bits");
        if !self.wild {
            let src: Vec<f64> = src.iter().map(|&x| x.into()).collect();
            let expected = reference::linear(&src, &weights.data, fused.bias());
            assert!(alone.iter().zip(expected).all(|(a, e)| f64::from(*a) == fused.activation.apply(e)));
        }
    }

    fn head(
        &self,
        isa: Isa,
        (ic, oc, classes): (usize, usize, usize),
        conv: Length,
        weights: Length,
        output: &Order,
    ) {
        let noise = &mut self.noise();
        let conv_weights = Slice::new(conv, product(&[ic, oc]), noise);
        let weights = Slice::new(weights, product(&[oc, classes]), noise);
        let bias = self.epilogue.bias.map(|length| Slice::new(length, Some(classes), noise));
        let order = output.get(oc);
        let mut builder = Pointwise::builder(ic, oc).isa(isa);
        if let Some(order) = &order {
            builder = builder.output_order(order);
        }
        let Ok(conv) = builder.build(&conv_weights.data) else { return };
        let bias_right = bias.as_ref().is_none_or(|bias| bias.right);
        let dense = order.is_none_or(|order| order.is_identity());
        let head = Head::new(conv, classes, &weights.data, bias.as_ref().map(|bias| bias.data.as_slice()));
        let Some(head) = built(head, classes > 0 && dense && weights.right && bias_right) else { return };
        let (h, w) = self.sides();
        // A sum over four pixels, or one, is divided without rounding.
        let (h, w) = (1 + h % 2, 1 + w % 2);
        if h * w * conv_weights.data.len() > 1 << 21 {
            return;
        }
        let (src, tensor) = self.image(Shape::new(ic, h, w), noise);
        let run = |parallel: &dyn Parallel| {
            let (mut scratch, mut dst) = (vec![f32::NAN; head.scratch(h, w)], vec![f32::NAN; classes]);
            head.run_with(parallel, tensor.view(), &mut scratch, &mut dst);
            dst
        };
        let (alone, together) = (run(&Serial), run(&self.threads));
        assert!(same(&alone, &together), "threads change bits");
        // Integers stay exact while sums are below 2^24 quarters.
        if !self.wild && ic * oc < 10_000 {
            let mean = reference::global_average(&reference::pointwise(&src, 1, &conv_weights.data, None));
            let bias = bias.as_ref().map(|bias| bias.data.as_slice());
            let expected = reference::linear(&mean, &weights.data, bias);
            for (found, expected) in alone.iter().zip(expected) {
                assert!(f64::from(*found) == expected, "expected {expected}, found {found}");
            }
        }
    }

    fn affine(&self, isa: Isa, channels: usize, shift: Length) {
        let noise = &mut self.noise();
        let (scale, shift) = (noise.many(channels), Slice::new(shift, Some(channels), noise));
        let fused = self.fused(channels, noise);
        let op = Affine::new(&scale, &shift.data, fused.activation, isa);
        let Some(op) = built(op, channels > 0 && shift.right) else { return };
        let (h, w) = self.sides();
        let shape = Shape::new(channels, h, w);
        let (src, tensor) = self.image(shape, noise);
        let expected =
            || reference::activate(&reference::affine(&src, &scale, &shift.data), fused.activation);
        self.run(shape, &ChannelOrder::identity(channels), expected, |_, dst| op.run(tensor.view(), dst));
    }

    fn pool(
        &self,
        isa: Isa,
        channels: u8,
        (kernel, stride, padding): (usize, usize, Pad),
        average: Option<bool>,
    ) {
        let noise = &mut self.noise();
        let padding = padding.get(kernel);
        let valid = windows(kernel, &[2, 3, 5], stride, padding);
        let max = built(MaxPool::new(kernel, stride, padding, isa), valid);
        let mean = built(AveragePool::new(kernel, stride, padding, average == Some(true), isa), valid);
        let Some((max, mean)) = max.zip(mean) else { return };
        let window = Window { kernel, stride, padding };
        let (h, w) = self.sides();
        if window.count(h, true) == 0 || window.count(w, false) == 0 {
            return;
        }
        let shape = Shape::new(usize::from(channels) + 1, h, w);
        let (src, tensor) = self.image(shape, noise);
        let order = ChannelOrder::identity(shape.c);
        if average.is_none() {
            let expected = || reference::max_pool(&src, window);
            self.run(max.output_shape(shape), &order, expected, |parallel, dst| {
                max.run_with(parallel, tensor.view(), dst);
            });
        } else if kernel == 2 && average == Some(true) {
            let expected = || reference::average_pool(&src, window, true);
            self.run(mean.output_shape(shape), &order, expected, |parallel, dst| {
                mean.run_with(parallel, tensor.view(), dst);
            });
        } else {
            // Divisions by 9 or 25 round; that they stay within the image is what is asked here.
            let mut dst = Tensor::zeros(mean.output_shape(shape));
            mean.run(tensor.view(), dst.view_mut());
        }
    }

    fn views(&self, [c, h, w]: [Size; 3], len: Length, blocks: (u8, u8), rows: (u8, u8)) {
        let shape = Shape::new(c.0, h.0, w.0);
        let lines = product(&[h.0, w.0]).map(|pixels| pixels | 1);
        let right = lines.and_then(|lines| product(&[c.0.div_ceil(16), lines, 16]));
        let mut data = vec![0.0; len.of(right)];
        let valid = c.0 > 0 && h.0 > 0 && w.0 > 0 && right == Some(data.len());
        let Some(view) = built(View::new(&data, shape), valid) else {
            assert!(ViewMut::new(&mut data, shape).is_err());
            return;
        };
        let range = |(start, len): (u8, u8), most: usize| {
            let start = usize::from(start) % most;
            start..(start + 1 + usize::from(len)).min(most)
        };
        let (blocks, rows) = (range(blocks, shape.blocks()), range(rows, shape.h));
        let part = view.blocks(blocks.clone()).rows(rows.clone());
        assert_eq!(part.get(part.shape().c - 1, part.shape().h - 1, part.shape().w - 1), 0.0);
        let mut outer = ViewMut::new(&mut data, shape).unwrap();
        outer.reborrow().rows(rows).blocks(blocks.clone()).data_mut().fill(1.0);
        if blocks.start > 0 {
            let (before, mut after) = outer.split_at_block(blocks.start);
            assert_eq!(before.get(before.shape().c - 1, 0, 0), 0.0);
            after.data_mut().fill(2.0);
        }
    }
}
