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
use crate::tensor::order::ChannelOrder;
use crate::tensor::shape::Shape;
use crate::window::Padding;

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

/// What slides over an image: its size, its step, and the padding it may hang over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns of the window.
    pub kernel: usize,
    /// Rows and columns from one window to the next.
    pub stride: usize,
    /// Rows and columns of nothing around the image.
    pub padding: Padding,
}

impl Window {
    /// Padding before and after `len` pixels, above and below where `rows`, else to the left and to the right.
    ///
    /// [`Padding::Same`] is TensorFlow's: just as much as makes the output `ceil(len / stride)` long. Where the stride
    /// divides the length that is `kernel - stride`, where it does not it is `kernel - len % stride`, and never less
    /// than zero; half of it, rounded down, comes before.
    pub fn padding(&self, len: usize, rows: bool) -> (usize, usize) {
        match self.padding {
            Padding::Sides { top, bottom, .. } if rows => (top, bottom),
            Padding::Sides { left, right, .. } => (left, right),
            Padding::Same => {
                let rest = if len.is_multiple_of(self.stride) { self.stride } else { len % self.stride };
                let total = self.kernel.saturating_sub(rest);
                (total / 2, total - total / 2)
            }
        }
    }

    /// How many windows fit into `len` padded pixels, the first at their beginning.
    pub fn count(&self, len: usize, rows: bool) -> usize {
        let (before, after) = self.padding(len, rows);
        (0..).take_while(|o| o * self.stride + self.kernel <= before + len + after).count()
    }

    /// `channels` and the height and width that this window makes of `from`.
    pub fn output_shape(&self, from: Shape, channels: usize) -> Shape {
        Shape::new(channels, self.count(from.h, true), self.count(from.w, false))
    }

    /// The taps `(kh, kw)` of the window at `(oy, ox)` that lie inside the image, and the pixel `(y, x)` under each.
    fn taps(&self, from: Shape, oy: usize, ox: usize) -> Vec<[usize; 4]> {
        let (top, left) = (self.padding(from.h, true).0, self.padding(from.w, false).0);
        let mut taps = Vec::new();
        for kh in 0..self.kernel {
            for kw in 0..self.kernel {
                // Coordinates in the padded image.
                let (y, x) = (oy * self.stride + kh, ox * self.stride + kw);
                if (top..top + from.h).contains(&y) && (left..left + from.w).contains(&x) {
                    taps.push([kh, kw, y - top, x - left]);
                }
            }
        }
        taps
    }
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
/// dst[c][oy][ox] = sum over kh, kw of weights[c][kh][kw] * src[c][oy * stride + kh - top][ox * stride + kw - left]
///                  + bias[c]
/// ```
pub fn depthwise(src: &Planar, window: Window, weights: &[f32], bias: Option<&[f32]>) -> Planar {
    let (channels, kernel) = (src.shape.c, window.kernel);
    assert_eq!(weights.len(), channels * kernel * kernel, "depthwise weights");
    Planar::from_fn(window.output_shape(src.shape, channels), |c, oy, ox| {
        let mut sum = 0.0;
        for [kh, kw, y, x] in window.taps(src.shape, oy, ox) {
            sum += f64::from(weights[(c * kernel + kh) * kernel + kw]) * src.get(c, y, x);
        }
        sum + at(bias, c, channels)
    })
}

/// Dense convolution, over the taps inside the image; `oc` is told by the number of weights:
///
/// ```text
/// dst[o][oy][ox] = sum over i, kh, kw of weights[o][i][kh][kw] * src[i][oy * stride + kh - top][ox * stride + kw - left]
///                  + bias[o]
/// ```
pub fn convolution(src: &Planar, window: Window, weights: &[f32], bias: Option<&[f32]>) -> Planar {
    let (ic, kernel) = (src.shape.c, window.kernel);
    let oc = weights.len() / (ic * kernel * kernel);
    assert_eq!(weights.len(), oc * ic * kernel * kernel, "convolution weights");
    Planar::from_fn(window.output_shape(src.shape, oc), |o, oy, ox| {
        let mut sum = 0.0;
        for [kh, kw, y, x] in window.taps(src.shape, oy, ox) {
            for i in 0..ic {
                sum += f64::from(weights[((o * ic + i) * kernel + kh) * kernel + kw]) * src.get(i, y, x);
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

/// `dst = a + b`, element by element.
pub fn add(a: &Planar, b: &Planar) -> Planar {
    assert_eq!(a.shape, b.shape, "shapes of the two images to add");
    Planar { shape: a.shape, data: a.data.iter().zip(&b.data).map(|(a, b)| a + b).collect() }
}

/// The greatest pixel of each window; NaN where the window holds one. Padding never wins.
pub fn max_pool(src: &Planar, window: Window) -> Planar {
    Planar::from_fn(window.output_shape(src.shape, src.shape.c), |c, oy, ox| {
        let pixels = window.taps(src.shape, oy, ox).into_iter().map(|[_, _, y, x]| src.get(c, y, x));
        pixels.reduce(|max, x| if max.is_nan() || max > x { max } else { x }).expect("a pixel per window")
    })
}

/// The sum of each window's pixels, divided by the size of the window where `count_pad`, else by the number of
/// its pixels inside the image.
pub fn average_pool(src: &Planar, window: Window, count_pad: bool) -> Planar {
    Planar::from_fn(window.output_shape(src.shape, src.shape.c), |c, oy, ox| {
        let taps = window.taps(src.shape, oy, ox);
        let sum: f64 = taps.iter().map(|&[_, _, y, x]| src.get(c, y, x)).sum();
        sum / if count_pad { window.kernel * window.kernel } else { taps.len() } as f64
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

/// `dst[c][y][x] = src[c][y / 2][x / 2]`.
pub fn upsample_nearest_2x(src: &Planar) -> Planar {
    let Shape { c, h, w } = src.shape;
    Planar::from_fn(Shape::new(c, 2 * h, 2 * w), |c, y, x| src.get(c, y / 2, x / 2))
}

/// The bias of channel `c`, where there is any.
fn at(bias: Option<&[f32]>, c: usize, channels: usize) -> f64 {
    bias.map_or(0.0, |bias| {
        assert_eq!(bias.len(), channels, "one bias per channel");
        f64::from(bias[c])
    })
}
