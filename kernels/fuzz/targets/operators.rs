//! Operators built from arbitrary sizes, groups, windows, orders and lengths of slices: a `Result`, and `Ok` just where the
//! documentation says so. What was built and is small is held to its definition on every instruction set, as in the tests of
//! `kernels`: the same problems, the same runs.
#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;

use common::*;
use kernels::{
    Affine, AveragePool, BatchNorm, ChannelOrder, Convolution, Depthwise, Error, Head, Linear, MaxPool, Padding,
    Pointwise, Shape, Stem, Transposed, View, ViewMut, Window,
};
use kernels_testing::blocked::Frame;
use kernels_testing::{Problem, fit, operators as op};
use libfuzzer_sys::arbitrary::{self, Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use std::collections::HashSet;

fuzz_target!(|case: Case| {
    case.check();
});

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

/// A window: mostly a square one, mostly of a size that some operator computes.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Slide {
    Square { kernel: u8, stride: u8, pad: Pad },
    Any { kernel: [Size; 2], stride: [Size; 2], dilation: [Size; 2], pad: Pad },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Pad {
    Half,
    Same,
    Sides([u8; 4]),
    Wild([Size; 4]),
}

impl Slide {
    fn get(self) -> Window {
        let (mut window, pad) = match self {
            Self::Square { kernel, stride, pad } => {
                (Window::new([1, 2, 3, 5, 7][usize::from(kernel % 5)]).stride(usize::from(stride % 2) + 1), pad)
            }
            Self::Any { kernel, stride, dilation, pad } => {
                let [kernel, stride, dilation] = [kernel, stride, dilation].map(|two| two.map(|size| size.0));
                (Window { kernel, stride, dilation, padding: Padding::Same, ceil: false }, pad)
            }
        };
        let sides = |[top, bottom, left, right]: [usize; 4]| Padding::Sides { top, bottom, left, right };
        window.padding = match pad {
            Pad::Half => Padding::all(window.kernel[0] / 2),
            Pad::Same => Padding::Same,
            Pad::Sides(pads) => sides(pads.map(|side| usize::from(side % 8))),
            Pad::Wild(pads) => sides(pads.map(|side| side.0)),
        };
        window
    }
}

/// Whether a convolution computes this window.
fn sound(window: Window) -> bool {
    [window.kernel, window.stride, window.dilation].iter().flatten().all(|&number| number > 0)
}

/// Whether a pool does.
fn pooled(window: Window) -> bool {
    let [kh, kw] = window.kernel;
    let narrow = match window.padding {
        Padding::Same => true,
        Padding::Sides { top, bottom, left, right } => top.max(bottom) < kh && left.max(right) < kw,
    };
    sound(window) && window.dilation == [1, 1] && narrow
}

/// Whether it is small enough to be computed by its definition, and to fit a small image.
fn modest(window: Window) -> bool {
    let extent = |axis: usize| (window.kernel[axis] - 1).checked_mul(window.dilation[axis]);
    let pads = match window.padding {
        Padding::Same => 0,
        Padding::Sides { top, bottom, left, right } => top.max(bottom).max(left).max(right),
    };
    [0, 1].iter().all(|&axis| extent(axis).is_some_and(|extent| extent < 24) && window.stride[axis] < 24) && pads < 24
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
    /// So many ones, and whether they are as many as they must be.
    fn of(self, right: Option<usize>) -> (Vec<f32>, bool) {
        let n = match (self, right) {
            (Self::Right | Self::AlsoRight, Some(right)) if right <= MOST => right,
            (Self::Wrong(n), _) => n.into(),
            _ => 1000,
        };
        (vec![1.0; n], right == Some(n))
    }
}

fn product(sizes: &[usize]) -> Option<usize> {
    sizes.iter().try_fold(1usize, |product, &n| product.checked_mul(n))
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
            Self::Bytes(bytes) => Some(slots(&|c| bytes.get(c as usize).copied().unwrap_or(0).into())),
        }
    }
}

fn distinct(order: &ChannelOrder) -> bool {
    order.slots().iter().collect::<HashSet<_>>().len() == order.channels()
}

/// Whether there is no order, or one of `channels` that few enough slots hold.
fn small(order: &Option<ChannelOrder>) -> bool {
    order.as_ref().is_none_or(|order| order.width() <= 5000)
}

/// What was built where it should have been; what was refused, was so in one line.
fn built<T>(result: Result<T, Error>, valid: bool) -> Option<T> {
    let text = result.as_ref().err().map(Error::to_string);
    assert_eq!(result.is_ok(), valid, "{text:?}");
    assert!(text.is_none_or(|text| !text.is_empty() && !text.contains('\n')));
    result.ok()
}

#[derive(Arbitrary, Debug)]
struct Epilogue {
    bias: Option<Length>,
    batch_norm: Option<[Length; 4]>,
    activation: u8,
}

/// Slices of the lengths that an [`Epilogue`] says.
struct Fused {
    bias: Option<(Vec<f32>, bool)>,
    batch_norm: Option<[(Vec<f32>, bool); 4]>,
}

impl Fused {
    fn right(&self) -> bool {
        self.bias.iter().chain(self.batch_norm.iter().flatten()).all(|(_, right)| *right)
    }

    fn batch_norm(&self) -> Option<BatchNorm<'_>> {
        let [gamma, beta, mean, variance] = self.batch_norm.as_ref()?.each_ref().map(|(slice, _)| slice.as_slice());
        Some(BatchNorm { gamma, beta, mean, variance, eps: 0.0 })
    }
}

/// A builder told what is fused.
macro_rules! fused {
    ($builder:expr, $fused:expr) => {{
        let mut builder = $builder;
        if let Some((bias, _)) = &$fused.bias {
            builder = builder.bias(bias);
        }
        if let Some(batch_norm) = $fused.batch_norm() {
            builder = builder.batch_norm(batch_norm);
        }
        builder
    }};
}

#[derive(Arbitrary, Debug)]
enum Operator {
    Pointwise { ic: Size, oc: Size, groups: Size, weights: Length, input: Order, output: Order, residual: bool },
    Depthwise { channels: Size, window: Slide, weights: Length, input: Order },
    Convolution { ic: Size, oc: Size, groups: Size, window: Slide, weights: Length, residual: bool },
    Linear { ic: Size, oc: Size, weights: Length },
    Transposed { ic: u8, oc: u8, kernel: [u8; 2], stride: [u8; 2], pads: [u8; 4], more: [u8; 2] },
    Resize { channels: u8, to: [u8; 2], how: u8 },
    Head { ic: Size, oc: Size, classes: Size, weights: Length, bias: Option<Length>, output: Order },
    Stem { ic: u8, oc: u8, window: Slide, pool: Slide },
    Affine { channels: Size, scale: Length, shift: Length },
    MaxPool { channels: u8, window: Slide },
    AveragePool { channels: u8, window: Slide, count_pad: bool },
    Views { shape: [Size; 3], len: Length, blocks: (u8, u8), rows: (u8, u8) },
}

#[derive(Arbitrary, Debug)]
struct Case {
    operator: Operator,
    epilogue: Epilogue,
    h: u8,
    w: u8,
    shift: u8,
    threads: Size,
    data: u8,
    seed: u64,
}

impl Case {
    fn data(&self) -> Data {
        [Data::Integers, Data::Integers, Data::Reals, Data::Bits][usize::from(self.data % 4)]
    }

    fn problem<O: kernels_testing::Operator>(&self, op: O) -> Problem<O> {
        Problem::new(op, self.data(), self.seed)
    }

    fn how(&self) -> How {
        let frame = Frame { shift: (self.shift % 16).into(), ..Frame::WIDE };
        How { frames: [frame; 2], on: Some(Somebody(self.threads.0 % 20)), ..How::default() }
    }

    fn image(&self, c: usize) -> Shape {
        Shape::new(c, usize::from(self.h % 12) + 1, usize::from(self.w % 12) + 1)
    }

    fn activation(&self) -> kernels::Activation {
        ALL_ACTIVATIONS[usize::from(self.epilogue.activation) % ALL_ACTIVATIONS.len()]
    }

    fn fused(&self, oc: usize) -> Fused {
        let Epilogue { bias, batch_norm, .. } = &self.epilogue;
        let of = |length: Length| length.of(Some(oc));
        Fused { bias: bias.map(of), batch_norm: batch_norm.map(|lengths| lengths.map(of)) }
    }

    /// `conv` with what is fused.
    fn with_epilogue(&self, conv: op::Convolution) -> op::Convolution {
        let Epilogue { bias, batch_norm, .. } = &self.epilogue;
        let (bias, batch_norm) = (bias.is_some(), batch_norm.is_some());
        op::Convolution { bias, batch_norm, activation: self.activation(), ..conv }
    }

    fn check(&self) {
        match &self.operator {
            &Operator::Pointwise { ic, oc, groups, weights, ref input, ref output, residual } => {
                self.pointwise([ic.0, oc.0, groups.0], weights, [input, output], residual);
            }
            &Operator::Depthwise { channels, window, weights, ref input } => {
                self.depthwise(channels.0, window.get(), weights, input);
            }
            &Operator::Convolution { ic, oc, groups, window, weights, residual } => {
                self.convolution([ic.0, oc.0, groups.0], window.get(), weights, residual);
            }
            &Operator::Linear { ic, oc, weights } => self.linear(ic.0, oc.0, weights),
            &Operator::Transposed { ic, oc, kernel, stride, pads, more } => {
                self.transposed(usize::from(ic % 40), usize::from(oc % 40), (kernel, stride, pads, more));
            }
            &Operator::Resize { channels, to, how } => {
                use kernels::{Coordinates, Interpolation};
                let (src, [h, w]) = (self.image(usize::from(channels % 40) + 1), to.map(|n| usize::from(n % 90) + 1));
                let interpolation = [Interpolation::Nearest, Interpolation::Bilinear][usize::from(how % 2)];
                let coordinates = [Coordinates::HalfPixel, Coordinates::AlignCorners, Coordinates::Asymmetric];
                let coordinates = coordinates[usize::from(how / 2 % 3)];
                check_resize(&self.problem(op::Resize { src, to: (h, w), interpolation, coordinates }), &self.how());
            }
            &Operator::Head { ic, oc, classes, weights, bias, ref output } => {
                self.head([ic.0, oc.0, classes.0], weights, bias, output);
            }
            &Operator::Stem { ic, oc, window, pool } => {
                self.stem(usize::from(ic % 6), usize::from(oc % 40), window.get(), pool.get());
            }
            &Operator::Affine { channels, scale, shift } => self.affine(channels.0, scale, shift),
            &Operator::MaxPool { channels, window } => {
                let (src, window) = (self.image(usize::from(channels) + 1), window.get());
                if built(MaxPool::builder(window).build(), pooled(window)).is_some() && modest(window) {
                    let op = op::MaxPool { src: fit(window, src), window };
                    check_max_pool(&self.problem(op), &self.how());
                }
            }
            &Operator::AveragePool { channels, window, count_pad } => {
                let (src, window) = (self.image(usize::from(channels) + 1), window.get());
                if built(AveragePool::builder(window).build(), pooled(window)).is_some() && modest(window) {
                    let op = op::AveragePool { src: fit(window, src), window, count_pad };
                    check_average_pool(&self.problem(op), &self.how());
                }
            }
            &Operator::Views { shape, len, blocks, rows } => views(shape, len, blocks, rows),
        }
    }

    fn pointwise(&self, [ic, oc, groups]: [usize; 3], weights: Length, orders: [&Order; 2], residual: bool) {
        let divide = groups > 0 && ic.is_multiple_of(groups) && oc.is_multiple_of(groups);
        let (weights, right) = weights.of(if divide { product(&[ic / groups, oc]) } else { None });
        let fused = self.fused(oc);
        let (input, output) = (orders[0].get(ic), orders[1].get(oc));
        let mut builder = fused!(Pointwise::builder(ic, oc), fused).groups(groups);
        let mut valid = ic > 0 && oc > 0 && divide && right && fused.right();
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
        let src = self.image(ic);
        let fits = built(builder.build(&weights), valid).is_some() && small(&input) && small(&output);
        if fits && src.pixels() * weights.len() < 1 << 21 {
            let conv = op::Convolution { groups, residual, ..op::Convolution::pointwise(src, oc) };
            let mut p = self.problem(self.with_epilogue(conv));
            if let Some(order) = &input {
                p = p.read_through(order);
            }
            check_pointwise(&p, &How { input, output, ..self.how() });
        }
    }

    fn depthwise(&self, channels: usize, window: Window, weights: Length, input: &Order) {
        let (weights, right) = weights.of(product(&[channels, window.kernel[0], window.kernel[1]]));
        let (fused, input) = (self.fused(channels), input.get(channels));
        let mut builder = fused!(Depthwise::builder(channels, window), fused);
        let mut valid = channels > 0 && sound(window) && right && fused.right();
        if let Some(order) = &input {
            builder = builder.input_order(order);
            valid &= order.channels() == channels && distinct(order);
        }
        if built(builder.build(&weights), valid).is_some() && small(&input) && modest(window) {
            let conv = op::Convolution::depthwise(fit(window, self.image(channels)), window);
            check_depthwise(&self.problem(self.with_epilogue(conv)), &How { input, ..self.how() });
        }
    }

    fn convolution(&self, [ic, oc, groups]: [usize; 3], window: Window, weights: Length, residual: bool) {
        let divide = groups > 0 && ic.is_multiple_of(groups) && oc.is_multiple_of(groups);
        let taps = product(&window.kernel);
        let (weights, right) = weights.of(taps.filter(|_| divide).and_then(|taps| product(&[ic / groups, oc, taps])));
        let fused = self.fused(oc);
        let builder = fused!(Convolution::builder(ic, oc, window), fused).groups(groups);
        let valid = ic > 0 && oc > 0 && divide && sound(window) && right && fused.right();
        let (src, fits) = (self.image(ic), built(builder.build(&weights), valid).is_some() && modest(window));
        if fits && src.pixels() * weights.len() < 1 << 20 {
            let conv = op::Convolution { groups, residual, ..op::Convolution::new(fit(window, src), oc, window) };
            check_convolution(&self.problem(self.with_epilogue(conv)), &self.how());
        }
    }

    fn stem(&self, ic: usize, oc: usize, window: Window, pool: Window) {
        if sound(window) && (!modest(window) || window.taps() > 81) {
            return;
        }
        let conv = Convolution::builder(ic, oc, window).build(&vec![1.0; ic * oc * window.taps().min(81)]);
        let Some(conv) = built(conv, ic > 0 && oc > 0 && sound(window)) else { return };
        let max = MaxPool::builder(pool).build();
        let Some(max) = built(max, pooled(pool)) else { return };
        let valid = pool.kernel == [3, 3] && pool.stride == [2, 2];
        let src = fit(window, self.image(ic));
        let conv_op = op::Convolution::new(src, oc, window);
        let between = kernels_testing::Operator::dst(&conv_op);
        if built(Stem::builder(conv, max).build(), valid).is_some() && fit(pool, between) == between {
            let p = self.problem(op::Stem { conv: self.with_epilogue(conv_op), pool });
            check_stem(&p, &self.how());
        }
    }

    fn transposed(&self, ic: usize, oc: usize, (kernel, stride, pads, more): ([u8; 2], [u8; 2], [u8; 4], [u8; 2])) {
        let [kernel, stride, more] = [kernel, stride, more].map(|two| two.map(|n| usize::from(n % 6)));
        let [top, bottom, left, right] = pads.map(|pad| usize::from(pad % 6));
        let padding = Padding::Sides { top, bottom, left, right };
        let window = Window { stride, padding, ..Window::rectangle(kernel[0], kernel[1]) };
        let axes = [0, 1].iter();
        let fits = axes.clone().all(|&axis| kernel[axis] >= stride[axis] && more[axis] < stride[axis]);
        let builder = Transposed::builder(ic, oc, window).output_padding(more);
        let op = builder.build(&vec![1.0; ic * oc * window.taps()]);
        let src = self.image(ic);
        if built(op, ic > 0 && oc > 0 && sound(window) && fits).is_some() && window.transposed(src.h, src.w, more).is_ok() {
            let (bias, activation) = (self.epilogue.bias.is_some(), self.activation());
            let op = op::Transposed { src, oc, groups: 1, window, output_padding: more, bias, activation };
            check_transposed(&self.problem(op), &self.how());
        }
    }

    fn linear(&self, ic: usize, oc: usize, weights: Length) {
        let (weights, right) = weights.of(product(&[ic, oc]));
        let fused = self.fused(oc);
        let builder = fused!(Linear::builder(ic, oc), fused);
        let valid = ic > 0 && oc > 0 && right && fused.right();
        if built(builder.build(&weights), valid).is_some() {
            let conv = op::Convolution::pointwise(Shape::new(ic, 1, 1), oc);
            check_linear(&self.problem(self.with_epilogue(conv)), &self.how());
        }
    }

    fn head(&self, [ic, oc, classes]: [usize; 3], weights: Length, bias: Option<Length>, output: &Order) {
        let (conv_weights, right) = Length::Right.of(product(&[ic, oc]));
        let order = output.get(oc);
        let mut builder = Pointwise::builder(ic, oc);
        if let Some(order) = &order {
            builder = builder.output_order(order);
        }
        let Ok(conv) = builder.build(&conv_weights) else { return };
        let (weights, right) = (weights.of(product(&[oc, classes])), right);
        let bias = bias.map(|length| length.of(Some(classes)));
        let mut builder = Head::builder(conv, classes);
        if let Some((bias, _)) = &bias {
            builder = builder.bias(bias);
        }
        let in_order = order.is_none_or(|order| order.is_identity());
        let valid = right && classes > 0 && in_order && weights.1 && bias.as_ref().is_none_or(|bias| bias.1);
        let src = Shape::new(ic, 1 + usize::from(self.h % 3), 1 + usize::from(self.w % 3));
        let fits = built(builder.build(&weights.0), valid).is_some();
        if fits && src.pixels() * (conv_weights.len() + weights.0.len()) < 1 << 20 {
            let conv = self.with_epilogue(op::Convolution::pointwise(src, oc));
            check_head(&self.problem(op::Head { conv, classes, bias: bias.is_some() }), &self.how());
        }
    }

    fn affine(&self, channels: usize, scale: Length, shift: Length) {
        let ((scale, scales), (shift, shifts)) = (scale.of(Some(channels)), shift.of(Some(channels)));
        let op = Affine::builder(channels).build(&scale, &shift);
        if built(op, channels > 0 && scales && shifts).is_some() {
            let (src, activation, how) = (self.image(channels), self.activation(), self.how());
            check_affine(&self.problem(op::Affine { src, activation }), &how);
            for other in [op::Beside::Whole, op::Beside::Channel, op::Beside::Pixel] {
                check_add(&self.problem(op::Add { src, other, activation }), &how);
                check_mul(&self.problem(op::Mul { src, other, activation }), &how);
            }
            check_prelu(&self.problem(op::PRelu { src }), &how);
            check_layer_norm(&self.problem(op::LayerNorm { src, eps: 1e-5 }), &how);
            check_activate(&self.problem(op::Activate { src, activation }), &how);
        }
    }
}

/// Tensors of any shape in memory of any length, and parts of them.
fn views([c, h, w]: [Size; 3], len: Length, blocks: (u8, u8), rows: (u8, u8)) {
    let shape = Shape::new(c.0, h.0, w.0);
    let lines = product(&[h.0, w.0]).map(|pixels| pixels | 1);
    let right = lines.and_then(|lines| product(&[c.0.div_ceil(16), lines, 16]));
    let (mut data, right) = len.of(right);
    let valid = c.0 > 0 && h.0 > 0 && w.0 > 0 && right;
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
    assert_eq!(part.get(part.shape().c - 1, part.shape().h - 1, part.shape().w - 1), 1.0);
    let mut outer = ViewMut::new(&mut data, shape).unwrap();
    outer.reborrow().rows(rows).blocks(blocks.clone()).data_mut().fill(2.0);
    if blocks.start > 0 {
        let (before, mut after) = outer.split_at_block(blocks.start);
        assert_eq!(before.get(before.shape().c - 1, 0, 0), 1.0);
        after.data_mut().fill(3.0);
    }
}
