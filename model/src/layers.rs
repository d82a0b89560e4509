//! What a layer costs, from shapes alone.

use crate::network::Network;
use crate::plan::Plan;

/// What a layer is, for grouping as in the paper's Figure 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Dense 3x3 convolution and max pooling in one.
    Stem,
    /// 1x1 convolution.
    Pointwise,
    /// Depthwise convolution.
    Depthwise,
    /// 1x1 convolution, global average pooling and fully connected layer in one.
    Head,
}

impl Kind {
    /// A short name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stem => "stem",
            Self::Pointwise => "conv1x1",
            Self::Depthwise => "depthwise",
            Self::Head => "head",
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
    /// Channels between the convolution and the fully connected layer of a head.
    pub(crate) inner: usize,
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
        Self { name, kind, ic, oc, kernel, stride, inner: 0, before_stride: false }
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
                Kind::Stem => ((h, w), (plan.max_pool.h, plan.max_pool.w)),
                Kind::Head => ((inside.h, inside.w), (1, 1)),
                Kind::Depthwise if layer.stride == 2 => ((map.h, map.w), (inside.h, inside.w)),
                Kind::Pointwise if layer.before_stride => ((map.h, map.w), (map.h, map.w)),
                _ => ((inside.h, inside.w), (inside.h, inside.w)),
            };
            let taps = layer.kernel * layer.kernel;
            // Weights, biases, multiply-adds.
            let (weights, biases, macs) = match layer.kind {
                Kind::Stem => {
                    let conv1 = self.conv1.output_shape(h, w);
                    (layer.ic * layer.oc * taps, layer.oc, layer.ic * layer.oc * taps * conv1.pixels())
                }
                Kind::Pointwise => (layer.ic * layer.oc, layer.oc, layer.ic * layer.oc * to.0 * to.1),
                Kind::Depthwise => (layer.oc * taps, layer.oc, layer.oc * taps * to.0 * to.1),
                Kind::Head => {
                    let (conv5, fc) = (layer.ic * layer.inner, layer.inner * layer.oc);
                    (conv5 + fc, layer.inner + layer.oc, conv5 * from.0 * from.1 + fc)
                }
            };
            let elements = layer.ic * from.0 * from.1 + layer.oc * to.0 * to.1 + weights;
            costs.push(Cost {
                input: [layer.ic, from.0, from.1],
                output: [layer.oc, to.0, to.1],
                params: weights + biases,
                macs,
                mac_bytes: 4 * elements,
            });
        }
        costs
    }
}
