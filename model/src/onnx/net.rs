//! A network between file and graph: single operations on tensors of any rank, with all attributes decided, constants
//! at hand and every shape known as far as the size of the images allows.

use super::sizes::{Num, Sizes};
use super::tensor::{Array, Constant};
use std::sync::Arc;

/// Operations in the order of the file; each reads only earlier ones.
#[derive(Debug)]
pub(crate) struct Net<'a> {
    pub(crate) nodes: Vec<Node>,
    /// What the file's outputs are called and which node makes each.
    pub(crate) outputs: Vec<(&'a str, usize)>,
    /// Weights, which stay in the file until they are packed.
    pub(crate) constants: Vec<Arc<Constant<'a>>>,
    pub(crate) sizes: Sizes,
}

/// One operation and the tensor that it makes.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) op: Op,
    pub(crate) inputs: Vec<usize>,
    pub(crate) shape: Vec<Num>,
    /// The file's nodes that it stands for.
    pub(crate) from: Vec<usize>,
}

/// What a node does with its inputs.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// An input of the file.
    Input,
    /// Of `[N, C, H, W]`.
    Conv(Conv),
    /// Of the last axis: `[.., ic]` to `[.., oc]`.
    Linear(Weights),
    /// `scale * x + shift` with one number per index of `axis`, or one for all.
    Affine(Affine),
    /// Of each element.
    Unary(Unary),
    /// A slope per index of `axis` for elements below zero.
    PRelu { axis: usize, slopes: Arc<[f32]> },
    /// Of two tensors, the smaller one repeated as NumPy does.
    Binary(Binary),
    /// Of a tensor and numbers that vary along more than one axis; the numbers come first if `reversed`.
    WithArray { binary: Binary, array: Arc<Array<f32>>, reversed: bool },
    /// Of `[N, C, H, W]`.
    Pool(Pool),
    /// Over some axes, in rising order, which stay with extent 1 if `keep`.
    Reduce { reduce: Reduce, axes: Vec<usize>, keep: bool },
    /// Of any number of inputs.
    Concat(usize),
    /// Every `step`-th index of `axis` from `start` on; how many, is in the shape.
    Slice { axis: usize, start: Num, step: i64 },
    /// Some indices of an axis.
    Gather { axis: usize, indices: Arc<[usize]> },
    /// The same elements in the node's shape.
    Reshape,
    /// Axis `i` is the input's axis `perm[i]`.
    Transpose(Vec<usize>),
    /// Repeated to the node's shape, as NumPy does.
    Expand,
    /// A number around a tensor: how often before and after each axis.
    Pad { before: Vec<Num>, after: Vec<Num>, value: f32 },
    /// Of `[N, C, H, W]` to the node's height and width.
    Resize(Resize),
    /// Over one axis.
    Softmax { axis: usize, log: bool },
    /// Over one axis: `(x - mean) / sqrt(variance + epsilon)`, then a scale and a shift per index of it.
    LayerNorm { axis: usize, epsilon: f32, affine: Affine },
    /// `start`, `start + step`, and so on.
    Range { start: Num, step: Num },
    /// Numbers that depend on the size of the images, in the node's shape.
    Numbers(Arc<[Num]>),
    /// Constants of the file, where an operation on two tensors reads them.
    Constant(Arc<Array<f32>>),
    /// What a refused node would have made.
    Refused,
}

/// Weights of a convolution or a fully connected layer, read from the file when they are packed.
#[derive(Clone, Debug)]
pub(crate) struct Weights {
    /// The index of the constant.
    pub(crate) tensor: usize,
    pub(crate) order: Order,
    pub(crate) oc: usize,
    /// Factors of each output channel, before the bias.
    pub(crate) scale: Option<Arc<[f64]>>,
    pub(crate) bias: Option<Arc<[f64]>>,
    /// What comes before them: a scale and a shift per input channel.
    pub(crate) input: Option<Affine>,
}

/// How weights lie in the file. They are packed as `[oc, ic / groups, kh, kw]` or `[oc, ic]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The output channel first.
    Rows,
    /// `[ic, oc]`, or `[ic, oc, kh, kw]` of a transposed convolution.
    Columns,
}

/// A convolution, or a transposed one.
#[derive(Clone, Debug)]
pub(crate) struct Conv {
    pub(crate) weights: Weights,
    pub(crate) groups: usize,
    pub(crate) window: Window,
    pub(crate) dilation: [usize; 2],
    /// Rows and columns that a transposed convolution adds at the end; `None` for an ordinary one.
    pub(crate) transposed: Option<[usize; 2]>,
}

/// What slides over a map. Two numbers are for rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: Padding,
}

/// What a window may hang over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Padding {
    /// Top, left, bottom, right.
    Sides([usize; 4]),
    /// As much as makes the output `ceil(size / stride)`, an odd pixel at the end; depends on the size.
    SameUpper,
    /// The same with the odd pixel at the beginning.
    SameLower,
}

/// A pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) window: Window,
    pub(crate) kind: PoolKind,
    /// Whether a last window that is not filled counts.
    pub(crate) ceil: bool,
}

/// What of a window is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolKind {
    Max,
    /// The mean, with padding counted as zeros or not at all.
    Average {
        count_pad: bool,
    },
}

/// One factor and one term, for all elements or for each index of an axis.
#[derive(Clone, Debug)]
pub(crate) struct Affine {
    /// Ignored where there is one number for all.
    pub(crate) axis: usize,
    pub(crate) scale: Arc<[f64]>,
    pub(crate) shift: Arc<[f64]>,
}

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Unary {
    /// Infinite where there is no bound.
    Clip {
        low: f32,
        high: f32,
    },
    LeakyRelu(f32),
    Elu(f32),
    Sigmoid,
    /// `clip(alpha * x + beta, 0, 1)`
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    /// `x * clip(x / 6 + 1 / 2, 0, 1)`
    HardSwish,
    /// `x * sigmoid(x)`
    Silu,
    /// `x * (1 + erf(x / sqrt 2)) / 2`, or its approximation by `tanh`.
    Gelu {
        tanh: bool,
    },
    Tanh,
    Softplus,
    Erf,
    Exp,
    Log,
    Sqrt,
    Abs,
    Floor,
    Ceil,
    Round,
    /// To the power of a number.
    Pow(f32),
}

/// A function of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
    Pow,
}

/// What becomes of the numbers along axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reduce {
    Mean,
    Sum,
    Max,
    Min,
    Prod,
    /// The square root of the sum of squares.
    L2,
}

/// Another size for a map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Resize {
    pub(crate) mode: ResizeMode,
    /// Which point of the source a point of the result is.
    pub(crate) coordinates: Coordinates,
    /// Rows and columns of the result per one of the source, where the file tells them: coordinates follow from them
    /// rather than from the sizes.
    pub(crate) scales: Option<[f32; 2]>,
}

/// How a map is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResizeMode {
    Nearest(Nearest),
    Linear,
}

/// What becomes of a coordinate between two pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nearest {
    Floor,
    Ceil,
    RoundPreferFloor,
    RoundPreferCeil,
}

/// `coordinate_transformation_mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coordinates {
    HalfPixel,
    /// The same, but 0 where the result has one pixel.
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    /// `(x + 1/2) / scale`, of nearest neighbours only.
    TfHalfPixelForNn,
}

impl Unary {
    pub(crate) const RELU: Self = Self::Clip { low: 0.0, high: f32::INFINITY };

    /// The function itself, in `f64`.
    pub(crate) fn of(self, x: f64) -> f64 {
        match self {
            // Neither bound turns a NaN into a number.
            Self::Clip { low, high } => {
                let x = if x < f64::from(low) { low.into() } else { x };
                if x > f64::from(high) { high.into() } else { x }
            }
            Self::LeakyRelu(slope) => {
                if x < 0.0 {
                    f64::from(slope) * x
                } else {
                    x
                }
            }
            Self::Elu(alpha) => {
                if x < 0.0 {
                    f64::from(alpha) * x.exp_m1()
                } else {
                    x
                }
            }
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::HardSigmoid { alpha, beta } => {
                Self::Clip { low: 0.0, high: 1.0 }.of(f64::from(alpha) * x + f64::from(beta))
            }
            Self::HardSwish => x * Self::Clip { low: 0.0, high: 1.0 }.of(x / 6.0 + 0.5),
            // Not 0 times infinity.
            Self::Silu => {
                if x == f64::NEG_INFINITY {
                    0.0
                } else {
                    x / (1.0 + (-x).exp())
                }
            }
            Self::Gelu { tanh: false } => {
                if x == f64::NEG_INFINITY {
                    0.0
                } else {
                    x * 0.5 * (1.0 + super::erf::erf(x / std::f64::consts::SQRT_2))
                }
            }
            Self::Gelu { tanh: true } => {
                if x == f64::NEG_INFINITY {
                    return 0.0;
                }
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                x * 0.5 * (1.0 + inner.tanh())
            }
            Self::Tanh => x.tanh(),
            // ln(1 + e^x) without overflow.
            Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Self::Erf => super::erf::erf(x),
            Self::Exp => x.exp(),
            Self::Log => x.ln(),
            Self::Sqrt => x.sqrt(),
            Self::Abs => x.abs(),
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
            Self::Round => x.round_ties_even(),
            Self::Pow(exponent) => x.powf(exponent.into()),
        }
    }
}

impl Binary {
    /// The function itself, in `f64`.
    pub(crate) fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Min => {
                if a < b || a.is_nan() {
                    a
                } else {
                    b
                }
            }
            Self::Max => {
                if a > b || a.is_nan() {
                    a
                } else {
                    b
                }
            }
            Self::Pow => a.powf(b),
        }
    }
}

impl Affine {
    /// One number each for all elements.
    pub(crate) fn uniform(scale: f64, shift: f64) -> Self {
        Self { axis: 0, scale: [scale].into(), shift: [shift].into() }
    }

    /// The two numbers, if they are the same for all elements.
    pub(crate) fn as_uniform(&self) -> Option<(f64, f64)> {
        match (&self.scale[..], &self.shift[..]) {
            (&[scale], &[shift]) => Some((scale, shift)),
            _ => None,
        }
    }

    /// Both lists with `len` numbers.
    pub(crate) fn spread(&self, len: usize) -> (Vec<f64>, Vec<f64>) {
        let spread = |list: &[f64]| if let &[one] = list { vec![one; len] } else { list.to_vec() };
        (spread(&self.scale), spread(&self.shift))
    }

    /// First this, then `next`, whose axis must be the same unless one of them has none.
    pub(crate) fn then(&self, next: &Self) -> Self {
        let len =
            [&self.scale, &self.shift, &next.scale, &next.shift].iter().map(|l| l.len()).max().unwrap_or(1);
        let ((a, b), (c, d)) = (self.spread(len), next.spread(len));
        let axis = if self.as_uniform().is_some() { next.axis } else { self.axis };
        let scale = a.iter().zip(&c).map(|(a, c)| a * c).collect();
        let shift = b.iter().zip(&c).zip(&d).map(|((b, c), d)| b * c + d).collect();
        Self { axis, scale, shift }
    }

    /// Whether it changes nothing in `f32`.
    pub(crate) fn is_identity(&self) -> bool {
        self.scale.iter().all(|&s| s as f32 == 1.0) && self.shift.iter().all(|&s| s as f32 == 0.0)
    }
}

impl<'a> Net<'a> {
    /// How often each node is read, by nodes and as an output.
    pub(crate) fn readers(&self) -> Vec<usize> {
        let mut readers = vec![0; self.nodes.len()];
        let live = self.live();
        for (node, _) in self.nodes.iter().zip(&live).filter(|(_, live)| **live) {
            node.inputs.iter().for_each(|&input| readers[input] += 1);
        }
        self.outputs.iter().for_each(|&(_, node)| readers[node] += 1);
        readers
    }

    /// Which nodes an output depends on.
    pub(crate) fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.nodes.len()];
        self.outputs.iter().for_each(|&(_, node)| live[node] = true);
        for index in (0..self.nodes.len()).rev() {
            if live[index] {
                self.nodes[index].inputs.iter().for_each(|&input| live[input] = true);
            }
        }
        live
    }
}
