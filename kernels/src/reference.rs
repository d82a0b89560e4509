#![cfg(feature = "std")]
//! Every operator again, as naive loops in `f64`: the executable definition that the kernels are tested against.
//!
//! Images are planar: element `(c, y, x)` lies at `(c * h + y) * w + x`, as in PyTorch's NCHW of one image. Weights
//! are `f32`, as in a checkpoint; everything between is `f64`, so a whole network of these functions is its own
//! truth. What the kernels fuse is composed here: `activate(add(pointwise(gather(x, order), ..), residual), Relu)`.
//!
//! NaN and infinity follow from the formulas: a sum that meets a NaN is NaN. What the formulas leave open:
//!
//! - taps that fall on padding are left out, not multiplied by zero: neither a NaN nor an infinity of the weights
//!   reaches an output through them;
//! - [`Activation`] passes NaN;
//! - [`max_pool`] gives NaN where the window holds one;
//! - [`softmax`] gives NaN everywhere where there is one anywhere, and equal infinities are equally probable.
//!
//! Speed is no aim: nothing here is unrolled, blocked, fused or parallel. All functions panic where lengths do not
//! fit each other. (They need the feature `std`, for the square root and the exponential.)

use crate::activation::Activation;
use crate::fold::BatchNorm;
use crate::interpolation::{Coordinates, Interpolation};
use crate::tensor::{ChannelOrder, Shape};
use crate::window::{Padding, Window};

/// A planar image of `f64`.
#[derive(Clone, Debug, PartialEq)]
pub struct Planar {
    /// Channels, height and width.
    pub shape: Shape,
    /// `c * h * w` numbers, channel by channel, row by row.
    pub data: Vec<f64>,
}

impl Planar {
    /// `data` (of `f32` or `f64`) as an image.
    pub fn new<T: Copy + Into<f64>>(shape: Shape, data: &[T]) -> Self {
        assert_eq!(data.len(), shape.c * shape.pixels(), "elements of a planar image of {shape}");
        Self { shape, data: data.iter().map(|&x| x.into()).collect() }
    }

    /// The image whose element `(c, y, x)` is `f(c, y, x)`.
    pub fn from_fn(shape: Shape, mut f: impl FnMut(usize, usize, usize) -> f64) -> Self {
        let mut data = Vec::with_capacity(shape.c * shape.pixels());
        for c in 0..shape.c {
            for y in 0..shape.h {
                for x in 0..shape.w {
                    data.push(f(c, y, x));
                }
            }
        }
        Self { shape, data }
    }

    /// Element of channel `c` at row `y`, column `x`.
    pub fn get(&self, c: usize, y: usize, x: usize) -> f64 {
        let Shape { c: channels, h, w } = self.shape;
        assert!(c < channels && y < h && x < w, "({c}, {y}, {x}) lies outside {}", self.shape);
        self.data[(c * h + y) * w + x]
    }

    /// The numbers rounded to `f32`.
    pub fn to_f32(&self) -> Vec<f32> {
        self.data.iter().map(|&x| x as f32).collect()
    }
}

/// Padding of `len` pixels before and after them, on `axis` 0 above and below, on `axis` 1 to the left and to the right.
///
/// [`Padding::Same`] is TensorFlow's: just as much as makes the output `ceil(len / stride)` long. Where the stride
/// divides the length that is `extent - stride`, where it does not it is `extent - len % stride`, and never less
/// than zero; half of it, rounded down, comes before. The extent of a window is that from its first tap to its last.
pub fn padding(window: Window, len: usize, axis: usize) -> [usize; 2] {
    match window.padding {
        Padding::Sides { top, bottom, .. } if axis == 0 => [top, bottom],
        Padding::Sides { left, right, .. } => [left, right],
        Padding::Same => {
            let stride = window.stride[axis];
            let rest = if len.is_multiple_of(stride) { stride } else { len % stride };
            let total = extent(window, axis).saturating_sub(rest);
            [total / 2, total - total / 2]
        }
    }
}

/// Pixels from the first tap of a window to its last, both counted.
fn extent(window: Window, axis: usize) -> usize {
    (window.kernel[axis] - 1) * window.dilation[axis] + 1
}

/// `channels` and the height and width that `window` makes of `from`: as many windows as fit into the padded image, the
/// first at its beginning. Where `window.ceil`, one more at the end, if the last one does not reach the end of the padded image and
/// the next begins inside the image.
pub fn output_shape(window: Window, from: Shape, channels: usize) -> Shape {
    let count = |len: usize, axis: usize| {
        let [before, after] = padding(window, len, axis);
        let end = |o: usize| o * window.stride[axis] + extent(window, axis);
        let fitting = (0..).take_while(|&o| end(o) <= before + len + after).count();
        let next = fitting * window.stride[axis] < before + len;
        let hanging = window.ceil && fitting > 0 && end(fitting - 1) < before + len + after && next;
        fitting + usize::from(hanging)
    };
    Shape::new(channels, count(from.h, 0), count(from.w, 1))
}

/// The taps `(kh, kw)` of the window at `(oy, ox)` that lie inside the image, and the pixel `(y, x)` under each.
fn taps(window: Window, from: Shape, oy: usize, ox: usize) -> Vec<[usize; 4]> {
    let ([top, _], [left, _]) = (padding(window, from.h, 0), padding(window, from.w, 1));
    let mut taps = Vec::new();
    for kh in 0..window.kernel[0] {
        for kw in 0..window.kernel[1] {
            // Coordinates in the padded image.
            let y = oy * window.stride[0] + kh * window.dilation[0];
            let x = ox * window.stride[1] + kw * window.dilation[1];
            if (top..top + from.h).contains(&y) && (left..left + from.w).contains(&x) {
                taps.push([kh, kw, y - top, x - left]);
            }
        }
    }
    taps
}

/// `dst[c] = src[order.slot(c)]`: a channel order applied, so that a split, concatenated or shuffled value lies in
/// its logical order.
pub fn gather(src: &Planar, order: &ChannelOrder) -> Planar {
    Planar::from_fn(Shape { c: order.channels(), ..src.shape }, |c, y, x| src.get(order.slot(c), y, x))
}

/// Channel shuffle: `dst[groups * i + j] = src[j * (channels / groups) + i]`.
pub fn shuffle(src: &Planar, groups: usize) -> Planar {
    assert!(src.shape.c.is_multiple_of(groups), "{} channels in {groups} groups", src.shape.c);
    let each = src.shape.c / groups;
    Planar::from_fn(src.shape, |c, y, x| src.get(c % groups * each + c / groups, y, x))
}

/// 1x1 convolution: `dst[o] = sum over i of weights[o][i] * src[group(o) * ic / groups + i] + bias[o]`, where `i`
/// counts the `ic / groups` input channels of `o`'s group and `group(o) = o / (oc / groups)`.
///
/// `weights` holds `oc` rows of `ic / groups` numbers; `oc` is told by their number.
pub fn pointwise(src: &Planar, groups: usize, weights: &[f32], bias: Option<&[f32]>) -> Planar {
    let Shape { c: ic, h, w } = src.shape;
    assert!(ic.is_multiple_of(groups), "{ic} channels in {groups} groups");
    let group_ic = ic / groups;
    let oc = weights.len() / group_ic;
    assert!(oc * group_ic == weights.len() && oc.is_multiple_of(groups), "{} weights", weights.len());
    let group_oc = oc / groups;
    Planar::from_fn(Shape::new(oc, h, w), |o, y, x| {
        let mut sum = 0.0;
        for i in 0..group_ic {
            sum += f64::from(weights[o * group_ic + i]) * src.get(o / group_oc * group_ic + i, y, x);
        }
        sum + at(bias, o, oc)
    })
}

/// Depthwise convolution, over the taps inside the image:
///
/// ```text
/// dst[o][oy][ox] = sum over kh, kw of weights[o][kh][kw] * src[o / m][y][x] + bias[o]
///                  where y = oy * stride + kh * dilation - top, x = ox * stride + kw * dilation - left
/// ```
///
/// `m` is the number of outputs per channel, mostly one; it is told by the number of weights.
pub fn depthwise(src: &Planar, window: Window, weights: &[f32], bias: Option<&[f32]>) -> Planar {
    let [kh_count, kw_count] = window.kernel;
    let oc = weights.len() / (kh_count * kw_count);
    assert!(weights.len() == oc * kh_count * kw_count && oc.is_multiple_of(src.shape.c), "depthwise weights");
    let m = oc / src.shape.c;
    Planar::from_fn(output_shape(window, src.shape, oc), |o, oy, ox| {
        let mut sum = 0.0;
        for [kh, kw, y, x] in taps(window, src.shape, oy, ox) {
            sum += f64::from(weights[(o * kh_count + kh) * kw_count + kw]) * src.get(o / m, y, x);
        }
        sum + at(bias, o, oc)
    })
}

/// Convolution in groups, over the taps inside the image; one group is a dense convolution:
///
/// ```text
/// dst[o][oy][ox] = sum over i, kh, kw of weights[o][i][kh][kw] * src[group(o) * ic / groups + i][y][x] + bias[o]
///                  where y = oy * stride + kh * dilation - top, x = ox * stride + kw * dilation - left
/// ```
///
/// `i` counts the `ic / groups` input channels of `o`'s group, and `group(o) = o / (oc / groups)`; `oc` is told by the
/// number of weights.
pub fn convolution(
    src: &Planar,
    window: Window,
    groups: usize,
    weights: &[f32],
    bias: Option<&[f32]>,
) -> Planar {
    let (ic, [kh_count, kw_count]) = (src.shape.c, window.kernel);
    assert!(ic.is_multiple_of(groups), "{ic} channels in {groups} groups");
    let group_ic = ic / groups;
    let k = group_ic * kh_count * kw_count;
    let oc = weights.len() / k;
    assert!(weights.len() == oc * k && oc.is_multiple_of(groups), "{} weights", weights.len());
    let group_oc = oc / groups;
    Planar::from_fn(output_shape(window, src.shape, oc), |o, oy, ox| {
        let mut sum = 0.0;
        for [kh, kw, y, x] in taps(window, src.shape, oy, ox) {
            for i in 0..group_ic {
                let weight = weights[((o * group_ic + i) * kh_count + kh) * kw_count + kw];
                sum += f64::from(weight) * src.get(o / group_oc * group_ic + i, y, x);
            }
        }
        sum + at(bias, o, oc)
    })
}

/// `dst[o] = sum over i of weights[o][i] * src[i] + bias[o]`; `weights` holds a row of `src.len()` numbers per output.
pub fn linear(src: &[f64], weights: &[f32], bias: Option<&[f32]>) -> Vec<f64> {
    let (ic, oc) = (src.len(), weights.len() / src.len());
    assert_eq!(weights.len(), oc * ic, "linear weights");
    (0..oc)
        .map(|o| {
            let mut sum = 0.0;
            for i in 0..ic {
                sum += f64::from(weights[o * ic + i]) * src[i];
            }
            sum + at(bias, o, oc)
        })
        .collect()
}

/// `dst[c] = src[c] * scale[c] + shift[c]`.
pub fn affine(src: &Planar, scale: &[f32], shift: &[f32]) -> Planar {
    assert!(scale.len() == src.shape.c && shift.len() == src.shape.c, "one scale and shift per channel");
    Planar::from_fn(src.shape, |c, y, x| src.get(c, y, x) * f64::from(scale[c]) + f64::from(shift[c]))
}

/// `dst[c] = (src[c] - mean[c]) / sqrt(variance[c] + eps) * gamma[c] + beta[c]`.
pub fn batch_norm(src: &Planar, statistics: &BatchNorm<'_>) -> Planar {
    let BatchNorm { gamma, beta, mean, variance, eps } = *statistics;
    for one in [gamma, beta, mean, variance] {
        assert_eq!(one.len(), src.shape.c, "one of each statistic per channel");
    }
    Planar::from_fn(src.shape, |c, y, x| {
        let deviation = (f64::from(variance[c]) + f64::from(eps)).sqrt();
        (src.get(c, y, x) - f64::from(mean[c])) / deviation * f64::from(gamma[c]) + f64::from(beta[c])
    })
}

/// `dst = activation(src)`, element by element: [`Activation::apply`].
pub fn activate(src: &Planar, activation: Activation) -> Planar {
    Planar { shape: src.shape, data: src.data.iter().map(|&x| activation.apply(x)).collect() }
}

/// `dst = a + b`, element by element; where `b` has one channel or one pixel, that for all.
pub fn add(a: &Planar, b: &Planar) -> Planar {
    Planar::from_fn(a.shape, |c, y, x| a.get(c, y, x) + of_all(b, a.shape, c, y, x))
}

/// `dst = a * b`, element by element; where `b` has one channel or one pixel, that for all.
pub fn mul(a: &Planar, b: &Planar) -> Planar {
    Planar::from_fn(a.shape, |c, y, x| a.get(c, y, x) * of_all(b, a.shape, c, y, x))
}

/// The element of an image that stands beside element `(c, y, x)` of one of `shape`.
fn of_all(image: &Planar, shape: Shape, c: usize, y: usize, x: usize) -> f64 {
    let Shape { c: channels, h, w } = image.shape;
    let (one_channel, one_pixel) = (channels == 1, (h, w) == (1, 1));
    assert!(
        (one_channel || channels == shape.c) && (one_pixel || (h, w) == (shape.h, shape.w)),
        "an image of {} beside one of {shape}",
        image.shape
    );
    image.get(if one_channel { 0 } else { c }, if one_pixel { 0 } else { y }, if one_pixel { 0 } else { x })
}

/// `dst[c] = src[c]` where that is positive, `slope[c] * src[c]` elsewhere.
pub fn prelu(src: &Planar, slope: &[f32]) -> Planar {
    assert_eq!(slope.len(), src.shape.c, "one slope per channel");
    Planar::from_fn(src.shape, |c, y, x| match src.get(c, y, x) {
        x if x > 0.0 => x,
        x => f64::from(slope[c]) * x,
    })
}

/// `dst[c] = (src[c] - mean) / sqrt(variance + eps) * gamma[c] + beta[c]`, with mean and variance over the channels of each
/// pixel.
pub fn layer_norm(src: &Planar, gamma: &[f32], beta: &[f32], eps: f32) -> Planar {
    let channels = src.shape.c;
    assert!(gamma.len() == channels && beta.len() == channels, "one gamma and one beta per channel");
    let mean = |f: &dyn Fn(usize) -> f64| (0..channels).map(f).sum::<f64>() / channels as f64;
    Planar::from_fn(src.shape, |c, y, x| {
        let centre = mean(&|i| src.get(i, y, x));
        let variance = mean(&|i| (src.get(i, y, x) - centre).powi(2));
        (src.get(c, y, x) - centre) / (variance + f64::from(eps)).sqrt() * f64::from(gamma[c])
            + f64::from(beta[c])
    })
}

/// Transposed convolution in groups: each pixel of the source, times the weights, is added to the result at `stride` times its
/// place.
///
/// ```text
/// dst[o][y * stride + kh - top][x * stride + kw - left] += weights[i][o - first output of i's group][kh][kw] * src[i][y][x]
/// ```
///
/// `output_padding` are rows and columns more at the end; `oc` is told by the number of weights.
pub fn transposed(
    src: &Planar,
    window: Window,
    output_padding: [usize; 2],
    groups: usize,
    weights: &[f32],
    bias: Option<&[f32]>,
) -> Planar {
    let (ic, [kh_count, kw_count]) = (src.shape.c, window.kernel);
    let group_oc = weights.len() / (ic * kh_count * kw_count);
    assert_eq!(weights.len(), ic * group_oc * kh_count * kw_count, "weights");
    let oc = group_oc * groups;
    let side = |axis: usize, len: usize| {
        let whole = (len - 1) * window.stride[axis] + extent(window, axis) + output_padding[axis];
        whole - padding(window, len, axis).iter().sum::<usize>()
    };
    let shape = Shape::new(oc, side(0, src.shape.h), side(1, src.shape.w));
    let mut dst = Planar::from_fn(shape, |o, _, _| at(bias, o, oc));
    let (top, left) = (padding(window, src.shape.h, 0)[0], padding(window, src.shape.w, 1)[0]);
    let place = |pixel: usize, axis: usize, tap: usize, before: usize, len: usize| {
        let padded = pixel * window.stride[axis] + tap * window.dilation[axis];
        padded.checked_sub(before).filter(|&place| place < len)
    };
    for (i, y, x) in positions(src.shape) {
        for (o, kh, kw) in positions(Shape::new(group_oc, kh_count, kw_count)) {
            let (dy, dx) = (place(y, 0, kh, top, shape.h), place(x, 1, kw, left, shape.w));
            if let Some((dy, dx)) = dy.zip(dx) {
                let weight = f64::from(weights[((i * group_oc + o) * kh_count + kh) * kw_count + kw]);
                let o = i / (ic / groups) * group_oc + o;
                dst.data[(o * shape.h + dy) * shape.w + dx] += weight * src.get(i, y, x);
            }
        }
    }
    dst
}

/// Channel, row and column of every element.
fn positions(shape: Shape) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..shape.c * shape.pixels()).map(move |i| (i / shape.pixels(), i / shape.w % shape.h, i % shape.w))
}

/// `src` with `h` x `w` pixels: [`Interpolation`] says how, [`Coordinates`] where they lie.
pub fn resize(
    src: &Planar,
    (h, w): (usize, usize),
    interpolation: Interpolation,
    coordinates: Coordinates,
) -> Planar {
    // The two pixels around a place, and what the second counts for.
    let around = |i: usize, len: usize, out: usize| {
        let (i, length, out) = (i as f64, len as f64, out as f64);
        let place = match coordinates {
            Coordinates::HalfPixel => (i + 0.5) * length / out - 0.5,
            Coordinates::AlignCorners if out == 1.0 => 0.0,
            Coordinates::AlignCorners => i * (length - 1.0) / (out - 1.0),
            Coordinates::Asymmetric => i * length / out,
        };
        // (Quotients of whole numbers that should be whole are.)
        let place = if (place - place.round()).abs() < 1e-9 { place.round() } else { place };
        let place = place.clamp(0.0, length - 1.0);
        let place = match (interpolation, coordinates) {
            (Interpolation::Bilinear, _) => place,
            (Interpolation::Nearest, Coordinates::Asymmetric) => place.floor(),
            (Interpolation::Nearest, _) => (place - 0.5).ceil(),
        };
        (place.floor() as usize, (place.floor() as usize + 1).min(len - 1), place.fract())
    };
    Planar::from_fn(Shape { h, w, ..src.shape }, |c, y, x| {
        let ((y0, y1, wy), (x0, x1, wx)) = (around(y, src.shape.h, h), around(x, src.shape.w, w));
        if interpolation == Interpolation::Nearest {
            return src.get(c, y0, x0);
        }
        let column = |x| src.get(c, y0, x) * (1.0 - wy) + src.get(c, y1, x) * wy;
        column(x0) * (1.0 - wx) + column(x1) * wx
    })
}

/// The greatest pixel of each window; NaN where the window holds one. Padding never wins.
pub fn max_pool(src: &Planar, window: Window) -> Planar {
    Planar::from_fn(output_shape(window, src.shape, src.shape.c), |c, oy, ox| {
        let pixels = taps(window, src.shape, oy, ox).into_iter().map(|[_, _, y, x]| src.get(c, y, x));
        pixels.reduce(|max, x| if max.is_nan() || max > x { max } else { x }).expect("a pixel per window")
    })
}

/// The sum of each window's pixels, divided by the number of its taps inside the padded image where `count_pad`, else by the
/// number of those inside the image.
pub fn average_pool(src: &Planar, window: Window, count_pad: bool) -> Planar {
    let padded = |o: usize, axis: usize, len: usize| {
        let end = len + padding(window, len, axis).iter().sum::<usize>();
        let place = |tap: usize| o * window.stride[axis] + tap * window.dilation[axis];
        (0..window.kernel[axis]).filter(|&tap| place(tap) < end).count()
    };
    Planar::from_fn(output_shape(window, src.shape, src.shape.c), |c, oy, ox| {
        let taps = taps(window, src.shape, oy, ox);
        let sum: f64 = taps.iter().map(|&[_, _, y, x]| src.get(c, y, x)).sum();
        let counted = padded(oy, 0, src.shape.h) * padded(ox, 1, src.shape.w);
        sum / if count_pad { counted } else { taps.len() } as f64
    })
}

/// The mean of every channel over all pixels.
pub fn global_average(src: &Planar) -> Vec<f64> {
    let pixels = src.shape.pixels();
    src.data.chunks(pixels).map(|channel| channel.iter().sum::<f64>() / pixels as f64).collect()
}

/// `exp(x - max) / sum of exp(x - max)`; where the maximum is infinite, the elements that equal it share the
/// probability.
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|&x| if x == max { 1.0 } else { (x - max).exp() }).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// The bias of channel `c`, where there is any.
fn at(bias: Option<&[f32]>, c: usize, channels: usize) -> f64 {
    bias.map_or(0.0, |bias| {
        assert_eq!(bias.len(), channels, "one bias per channel");
        f64::from(bias[c])
    })
}
