//! One convolution or fully connected layer, told by its shape.

use kernels::Activation;
use model::graph::{Class, Linear, Op};
use serde::{Deserialize, Serialize};

use super::{Draft, Work};

/// A convolution that is padded by `kernel / 2`, or a fully connected layer: a 1x1 convolution on a 1x1 map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layer {
    /// What it is called in its network.
    pub(crate) name: String,
    /// Its network's width.
    pub(crate) width: String,
    pub(crate) ih: usize,
    pub(crate) iw: usize,
    pub(crate) ic: usize,
    pub(crate) oc: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) groups: usize,
}

impl Layer {
    /// The id under which its samples are kept: its shape, since equal layers cost the same.
    pub(crate) fn id(&self) -> String {
        let Self { ih, iw, ic, oc, kernel, stride, groups, .. } = self;
        format!("layer/{ic}-{oc}/{ih}x{iw}/k{kernel}s{stride}g{groups}")
    }

    /// What its graph's only layer is.
    pub(crate) fn class(&self) -> Class {
        match *self {
            Self { ih: 1, iw: 1, kernel: 1, .. } => Class::Linear,
            Self { kernel: 1, .. } => Class::Pointwise,
            Self { groups, ic, oc, .. } if groups > 1 && groups == ic && groups == oc => Class::Depthwise,
            _ => Class::Dense,
        }
    }

    /// The layer alone.
    pub(crate) fn work(&self) -> Work {
        let (mut draft, x) = Draft::new(self.ic);
        if (self.ih, self.iw, self.kernel) == (1, 1, 1) {
            let linear = Linear { oc: self.oc, bias: true, activation: Activation::None };
            draft.push(Op::Linear(linear), &[x]);
        } else {
            // As in the networks: no activation behind a depthwise convolution.
            let depthwise = self.groups > 1 && self.groups == self.oc;
            let activation = if depthwise { Activation::None } else { Activation::Relu };
            draft.conv(x, self.oc, (self.kernel, self.stride), self.groups, activation);
        }
        Work::new(draft.0, self.ih, self.iw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointwise(side: usize, ic: usize, oc: usize, groups: usize) -> Work {
        Layer { ih: side, iw: side, ic, oc, kernel: 1, stride: 1, groups, ..Layer::default() }.work()
    }

    /// Table 1 of the paper, 1x on the GPU: elements per convolution, and the ratio to the bound.
    #[test]
    fn cost_of_unequal_channels() {
        let rows = [
            (128, 128, 819_200, 1.000),
            (90, 180, 862_920, 1.059),
            (52, 312, 1_157_728, 1.420),
            (36, 432, 1_483_200, 1.859),
        ];
        for (ic, oc, elements, over_bound) in rows {
            let cost = pointwise(56, ic, oc, 1).cost();
            assert_eq!(cost.mac_bytes, 4 * elements);
            let ratio = cost.mac_bytes as f64 / cost.lower_bound_bytes.unwrap();
            assert!((ratio - over_bound).abs() < 5e-4, "{ratio}");
        }
    }

    /// Table 2 of the paper, 1x on the GPU.
    #[test]
    fn cost_of_groups() {
        for (groups, c, elements) in
            [(1, 128, 819_200), (2, 180, 1_145_160), (4, 256, 1_622_016), (8, 360, 2_274_120)]
        {
            assert_eq!(pointwise(56, c, c, groups).cost().mac_bytes, 4 * elements);
        }
    }

    #[test]
    fn strides_round_up() {
        let stem = Layer { ih: 7, iw: 5, ic: 3, oc: 24, kernel: 3, stride: 2, groups: 1, ..Layer::default() };
        let cost = stem.work().cost();
        assert_eq!((cost.output, cost.macs), ([24, 4, 3], 4 * 3 * 27 * 24));
        assert_eq!((cost.lower_bound_bytes, stem.class()), (None, Class::Dense));
        assert_eq!(Layer { kernel: 1, stride: 1, ih: 1, iw: 1, ..stem }.class(), Class::Linear);
    }
}
