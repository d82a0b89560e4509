//! The three published wirings: where they join and split channels, and what they call their tensors.

use crate::Error;
use crate::graph::{Graph, Op, Value};
use kernels::Padding;
use std::fmt;
use std::str::FromStr;

/// Whose code a network is wired like. They differ in the order of concatenation, the place of the shuffle, padding,
/// biases and normalisation, and the names of the tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wiring {
    /// `torchvision.models.shufflenet_v2_*`.
    Torchvision,
    /// The authors' own code (megvii-model/ShuffleNet-Series).
    Megvii,
    /// The Keras article's: TensorFlow's padding, biases beside batch normalisation, none on conv1 and conv5.
    Keras,
}

impl Wiring {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Torchvision, Self::Megvii, Self::Keras];

    /// As written on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Torchvision => "torchvision",
            Self::Megvii => "megvii",
            Self::Keras => "keras",
        }
    }

    /// Channel split at the head of a stride-1 unit (Figure 3c): what passes by, and what the main branch reads.
    pub(crate) fn split(self, graph: &mut Graph, unit: &str, x: Value) -> Result<(Value, Value), Error> {
        let half = graph.node(x).channels / 2;
        let x = match self {
            // Even channels pass by, odd channels are read: the shuffle of the unit before.
            Self::Megvii => graph.named(&format!("{unit}.shuffle"), Op::Shuffle(half), &[x])?,
            Self::Torchvision | Self::Keras => x,
        };
        graph.split(x, half)
    }

    /// Concatenation and shuffle at the end of a unit (Figure 3c, d).
    pub(crate) fn join(
        self,
        graph: &mut Graph,
        unit: &str,
        passed: Value,
        main: Value,
    ) -> Result<Value, Error> {
        let parts = match self {
            Self::Torchvision | Self::Megvii => [passed, main],
            Self::Keras => [main, passed],
        };
        let x = graph.named(&format!("{unit}.concat"), Op::Concat, &parts)?;
        match self {
            Self::Torchvision | Self::Keras => graph.named(&format!("{unit}.shuffle"), Op::Shuffle(2), &[x]),
            Self::Megvii => Ok(x),
        }
    }

    /// Around every 3x3 window.
    pub(crate) fn padding(self) -> Padding {
        match self {
            Self::Torchvision | Self::Megvii => Padding::all(1),
            Self::Keras => Padding::Same,
        }
    }

    /// Whether checkpoints store tensors as TensorFlow does: kernels as height, width, input, output.
    pub(crate) fn is_tensorflow(self) -> bool {
        self == Self::Keras
    }

    /// What grey is made of, in the order in which photos give a network its channels: 0.299 of red, 0.587 of green and
    /// 0.114 of blue, as ITU-R BT.601, Pillow and torchvision have it.
    pub(crate) const fn grey(self) -> [f32; 3] {
        match self {
            Self::Torchvision | Self::Keras => [0.299, 0.587, 0.114],
            Self::Megvii => [0.114, 0.587, 0.299],
        }
    }

    /// What the bias of the last layer is called. The authors' own network has none, but one with another last layer may
    /// have.
    pub(crate) const fn head_bias(self) -> &'static str {
        match self {
            Self::Torchvision => "fc.bias",
            Self::Megvii => "classifier.0.bias",
            Self::Keras => "fc/bias:0",
        }
    }

    /// What the tensors of one convolution are called.
    pub(crate) fn names(self, site: Site) -> Names {
        match self {
            Self::Torchvision => torch(match site {
                Site::Conv1 => ("conv1".into(), 0),
                Site::Unit { stage, unit, part, .. } => {
                    let (branch, at) = match part {
                        Part::ProjDepthwise => (1, 0),
                        Part::ProjPointwise => (1, 2),
                        Part::MainExpand => (2, 0),
                        Part::MainDepthwise => (2, 3),
                        Part::MainPointwise => (2, 5),
                    };
                    (format!("stage{}.{unit}.branch{branch}", stage + 2), at)
                }
                Site::Conv5 => ("conv5".into(), 0),
                Site::Fc => return Names::plain("fc.weight", Some("fc.bias")),
            }),
            Self::Megvii => torch(match site {
                Site::Conv1 => ("first_conv".into(), 0),
                Site::Unit { index, part, .. } => {
                    let (branch, at) = match part {
                        Part::ProjDepthwise => ("proj", 0),
                        Part::ProjPointwise => ("proj", 2),
                        Part::MainExpand => ("main", 0),
                        Part::MainDepthwise => ("main", 3),
                        Part::MainPointwise => ("main", 5),
                    };
                    (format!("features.{index}.branch_{branch}"), at)
                }
                Site::Conv5 => ("conv_last".into(), 0),
                Site::Fc => return Names::plain("classifier.0.weight", None),
            }),
            Self::Keras => match site {
                Site::Conv1 => Names::plain("conv1/kernel:0", None),
                Site::Unit { stage, unit, part, .. } => {
                    let (conv, kernel, bn) = match part {
                        Part::ProjDepthwise => ("3x3dwconv_2", "depthwise_kernel", "bn_3x3dwconv_2"),
                        Part::ProjPointwise => ("1x1_conv_3", "kernel", "bn_1x1conv_3"),
                        Part::MainExpand => ("1x1conv_1", "kernel", "bn_1x1conv_1"),
                        Part::MainDepthwise => ("3x3dwconv", "depthwise_kernel", "bn_3x3dwconv"),
                        Part::MainPointwise => ("1x1conv_2", "kernel", "bn_1x1conv_2"),
                    };
                    let block = format!("stage{}/block{}", stage + 2, unit + 1);
                    let statistics = ["gamma", "beta", "moving_mean", "moving_variance"];
                    Names {
                        weights: format!("{block}/{conv}/{kernel}:0"),
                        bias: Some(format!("{block}/{conv}/bias:0")),
                        batch_norm: Some(statistics.map(|name| format!("{block}/{bn}/{name}:0"))),
                        eps: 1e-3,
                    }
                }
                Site::Conv5 => Names::plain("1x1conv5_out/kernel:0", Some("1x1conv5_out/bias:0")),
                Site::Fc => Names::plain("fc/kernel:0", Some("fc/bias:0")),
            },
        }
    }
}

/// PyTorch's names: the convolution is module `at` of a `Sequential`, its batch normalisation the next one.
fn torch((sequence, at): (String, usize)) -> Names {
    let statistics = ["weight", "bias", "running_mean", "running_var"];
    Names {
        weights: format!("{sequence}.{at}.weight"),
        bias: None,
        batch_norm: Some(statistics.map(|name| format!("{sequence}.{}.{name}", at + 1))),
        eps: 1e-5,
    }
}

impl fmt::Display for Wiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Wiring {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|wiring| wiring.name() == name)
            .ok_or_else(|| Error::Config(format!("wiring {name:?}: expected torchvision, megvii or keras")))
    }
}

/// A place in the network that has weights.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Site {
    Conv1,
    /// `stage` counts from 0 (stage 2 of the paper), `unit` within the stage, `index` through all stages.
    Unit {
        stage: usize,
        unit: usize,
        index: usize,
        part: Part,
    },
    Conv5,
    Fc,
}

impl Site {
    /// Whether a depthwise convolution stands there.
    pub(crate) fn is_depthwise(self) -> bool {
        matches!(self, Self::Unit { part: Part::ProjDepthwise | Part::MainDepthwise, .. })
    }

    /// What errors and profiles call it.
    pub(crate) fn label(self) -> String {
        match self {
            Self::Conv1 => "conv1".into(),
            Self::Unit { stage, unit, part, .. } => {
                let part = match part {
                    Part::ProjDepthwise => "proj.dw",
                    Part::ProjPointwise => "proj.pw",
                    Part::MainExpand => "main.pw1",
                    Part::MainDepthwise => "main.dw",
                    Part::MainPointwise => "main.pw2",
                };
                format!("stage{}.{unit}.{part}", stage + 2)
            }
            Self::Conv5 => "conv5".into(),
            Self::Fc => "fc".into(),
        }
    }
}

/// A convolution of a unit (Figure 3c, d).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    ProjDepthwise,
    ProjPointwise,
    MainExpand,
    MainDepthwise,
    MainPointwise,
}

/// The tensors of one convolution.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) weights: String,
    pub(crate) bias: Option<String>,
    /// Scale, shift, mean and variance.
    pub(crate) batch_norm: Option<[String; 4]>,
    pub(crate) eps: f32,
}

impl Names {
    fn plain(weights: &str, bias: Option<&str>) -> Self {
        Self { weights: weights.into(), bias: bias.map(Into::into), batch_norm: None, eps: 0.0 }
    }

    /// Every name.
    pub(crate) fn all(&self) -> impl Iterator<Item = &String> {
        [&self.weights].into_iter().chain(&self.bias).chain(self.batch_norm.iter().flatten())
    }
}
