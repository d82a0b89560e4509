//! What a layer costs, from shapes alone.

use crate::network::Network;
use crate::plan::Plan;

/// What a layer is, for grouping as in the paper's Figure 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Dense convolution.
    Dense,
    /// 1x1 convolution.
    Pointwise,
    /// Depthwise convolution.
    Depthwise,
    /// Max pooling.
    MaxPool,
    /// Global average pooling.
    GlobalPool,
    /// Fully connected.
    Linear,
}

impl Kind {
    /// A short name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dense => "conv3x3",
            Self::Pointwise => "conv1x1",
            Self::Depthwise => "depthwise",
            Self::MaxPool => "max_pool",
            Self::GlobalPool => "global_pool",
            Self::Linear => "fc",
        }
    }
}

/// A layer of a network, before the size of the image is known.
#[derive(Clone, Debug)]
pub struct Layer {
    /// `stage2.0.main.pw1` and the like.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Input channels.
    pub ic: usize,
    /// Output channels.
    pub oc: usize,
    /// Side of its window.
    pub kernel: usize,
    /// Step of its window.
    pub stride: usize,
    /// Whether it reads the map of the stage before.
    pub(crate) before_stride: bool,
}

impl Layer {
    pub(crate) fn convolution(
        name: String,
        kind: Kind,
        ic: usize,
        oc: usize,
        kernel: usize,
        stride: usize,
    ) -> Self {
        Self { name, kind, ic, oc, kernel, stride, before_stride: false }
    }

    pub(crate) fn unweighted(name: &str, kind: Kind, channels: usize) -> Self {
        let (kernel, stride) = if kind == Kind::MaxPool { (3, 2) } else { (1, 1) };
        Self::convolution(name.to_owned(), kind, channels, channels, kernel, stride)
    }
}

/// A layer's cost for one image of a known size.
#[derive(Clone, Debug)]
pub struct Cost {
    /// Input channels, height and width.
    pub input: [usize; 3],
    /// Output channels, height and width.
    pub output: [usize; 3],
    /// Weights and biases after batch normalisation has been folded.
    pub params: usize,
    /// Multiply-adds; the paper counts those of convolutions and the fully connected layer.
    pub macs: usize,
    /// Memory access cost (the paper's MAC, section 2) in bytes: inputs, outputs and weights, each touched once.
    pub mac_bytes: usize,
}

impl Network {
    /// The cost of every layer for an image of `h` x `w`, in the order of [`layers`](Self::layers).
    ///
    /// # Panics
    /// Where the image is smaller than 32x32.
    pub fn costs(&self, h: usize, w: usize) -> Vec<Cost> {
        crate::plan::Images::nchw(&[], 0, h, w).check();
        let plan = Plan::new(self, h, w);
        let (mut stage, mut map) = (0, plan.max_pool);
        let mut costs = Vec::new();
        for layer in self.layers() {
            let name = layer.name.as_str();
            let number = ["stage2", "stage3", "stage4"].iter().position(|stage| name.starts_with(stage));
            if let Some(number) = number.filter(|number| stage != number + 1) {
                stage = number + 1;
                map = if number == 0 { plan.max_pool } else { plan.stages[number - 1] };
            }
            let inside = if stage == 0 { plan.max_pool } else { plan.stages[stage - 1] };
            let (from, to) = match layer.kind {
                Kind::Dense => ((h, w), (plan.conv1.h, plan.conv1.w)),
                Kind::MaxPool => ((plan.conv1.h, plan.conv1.w), (plan.max_pool.h, plan.max_pool.w)),
                Kind::GlobalPool => ((plan.conv5.h, plan.conv5.w), (1, 1)),
                Kind::Linear => ((1, 1), (1, 1)),
                Kind::Depthwise if layer.stride == 2 => ((map.h, map.w), (inside.h, inside.w)),
                Kind::Pointwise if layer.before_stride => ((map.h, map.w), (map.h, map.w)),
                _ => ((inside.h, inside.w), (inside.h, inside.w)),
            };
            let taps = layer.kernel * layer.kernel;
            let weights = match layer.kind {
                Kind::Dense | Kind::Pointwise | Kind::Linear => layer.ic * layer.oc * taps,
                Kind::Depthwise => layer.oc * taps,
                Kind::MaxPool | Kind::GlobalPool => 0,
            };
            let elements = layer.ic * from.0 * from.1 + layer.oc * to.0 * to.1 + weights;
            costs.push(Cost {
                input: [layer.ic, from.0, from.1],
                output: [layer.oc, to.0, to.1],
                params: weights + if weights > 0 { layer.oc } else { 0 },
                macs: weights * to.0 * to.1,
                mac_bytes: 4 * elements,
            });
        }
        costs
    }
}
