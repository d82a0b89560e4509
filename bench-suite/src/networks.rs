//! The networks that the paper's figure 1 compares, at its four levels of FLOPs.

use kernels::{Activation, Shape};

use crate::graph::{Graph, Op};

/// A network with what the paper reports of it.
#[derive(Clone, Debug)]
pub struct Network {
    /// Stable name, as in `mobilenet_v2_1.0`.
    pub id: String,
    /// Family, for plots.
    pub family: Family,
    /// Width multiplier, and the size if it is not 224.
    pub label: String,
    /// The operations.
    pub graph: Graph,
    /// Table 8 of the paper.
    pub paper: Paper,
}

/// What table 8 of the paper says about a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paper {
    /// Millions of multiply-adds, as printed.
    pub mflops: u32,
    /// Top-1 error on ImageNet, percent.
    pub error: f64,
    /// Batches of 8 a second on a GTX 1080 Ti.
    pub gpu: f64,
    /// Images a second on one thread of a Snapdragon 810.
    pub arm: f64,
}

/// Where a network comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// arXiv 1807.11164.
    ShuffleNetV2,
    /// arXiv 1707.01083, with three groups.
    ShuffleNetV1,
    /// arXiv 1704.04861.
    MobileNetV1,
    /// arXiv 1801.04381.
    MobileNetV2,
}

impl Family {
    /// All of them, in the order of plots and tables.
    pub const ALL: [Self; 4] = [Self::ShuffleNetV2, Self::ShuffleNetV1, Self::MobileNetV1, Self::MobileNetV2];

    /// Name in tables and legends.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ShuffleNetV2 => "ShuffleNet v2",
            Self::ShuffleNetV1 => "ShuffleNet v1 (g=3)",
            Self::MobileNetV1 => "MobileNet v1",
            Self::MobileNetV2 => "MobileNet v2",
        }
    }
}

/// All sixteen, by family and then by width.
pub fn all() -> Vec<Network> {
    let paper = |mflops, error, gpu, arm| Paper { mflops, error, gpu, arm };
    let network = |id: &str, family, label: &str, graph, paper| Network {
        id: id.to_owned(),
        family,
        label: label.to_owned(),
        graph,
        paper,
    };
    use Family::{MobileNetV1, MobileNetV2, ShuffleNetV1, ShuffleNetV2};
    let v2 = |label: &str, channels, paper| {
        network(&format!("shufflenet_v2_{label}"), ShuffleNetV2, label, shufflenet_v2(channels), paper)
    };
    let v1 = |label: &str, channels, paper| {
        network(&format!("shufflenet_v1_g3_{label}"), ShuffleNetV1, label, shufflenet_v1(channels, 3), paper)
    };
    let m1 = |label: &str, quarters, paper| {
        network(&format!("mobilenet_v1_{label}"), MobileNetV1, label, mobilenet_v1(quarters), paper)
    };
    let m2 = |label: &str, width, size, paper| {
        let id = format!("mobilenet_v2_{}", label.replace('@', "_"));
        network(&id, MobileNetV2, label, mobilenet_v2(width, size), paper)
    };
    vec![
        v2("0.5", [24, 48, 96, 192, 1024], paper(41, 39.7, 417.0, 57.0)),
        v2("1.0", [24, 116, 232, 464, 1024], paper(146, 30.6, 341.0, 24.4)),
        v2("1.5", [24, 176, 352, 704, 1024], paper(299, 27.4, 255.0, 11.8)),
        v2("2.0", [24, 244, 488, 976, 2048], paper(591, 25.1, 217.0, 6.7)),
        v1("0.5", [12, 120, 240, 480], paper(38, 43.2, 347.0, 56.8)),
        v1("1.0", [24, 240, 480, 960], paper(140, 32.6, 213.0, 21.8)),
        v1("1.5", [24, 360, 720, 1440], paper(292, 28.5, 164.0, 10.3)),
        v1("2.0", [48, 480, 960, 1920], paper(524, 26.3, 133.0, 6.4)),
        m1("0.25", 1, paper(41, 49.4, 502.0, 36.4)),
        m1("0.5", 2, paper(149, 36.3, 382.0, 16.5)),
        m1("0.75", 3, paper(325, 31.6, 314.0, 10.6)),
        m1("1.0", 4, paper(569, 29.4, 247.0, 6.5)),
        m2("0.4@160", 0.4, 160, paper(43, 43.4, 333.0, 33.2)),
        m2("0.75@192", 0.75, 192, paper(145, 32.1, 235.0, 15.9)),
        m2("1.0", 1.0, 224, paper(301, 28.3, 180.0, 8.9)),
        m2("1.4", 1.4, 224, paper(587, 26.7, 137.0, 5.4)),
    ]
}

const RGB: Shape = Shape::new(3, 224, 224);

fn classifier(graph: &mut Graph, from: usize, bias: bool) {
    let pooled = graph.push(Op::GlobalAverage, &[from]);
    graph.push(Op::Linear { oc: 1000, bias }, &[pooled]);
}

/// ShuffleNetV2 in torchvision's wiring; channels of the stem, the three stages, and the last convolution.
pub fn shufflenet_v2([stem, stages @ .., last]: [usize; 5]) -> Graph {
    use Activation::{None, Relu};
    let mut g = Graph::new(RGB);
    let x = g.conv(0, stem, 3, 2, 1, Relu);
    let mut x = g.push(Op::MaxPool, &[x]);
    for (oc, units) in stages.into_iter().zip([4, 8, 4]) {
        let half = oc / 2;
        for unit in 0..units {
            let stride = if unit == 0 { 2 } else { 1 };
            let (left, right) = if stride == 2 {
                let left = g.depthwise(x, 2, None);
                (g.pointwise(left, half, Relu), x)
            } else {
                (g.push(Op::Channels(0..half), &[x]), g.push(Op::Channels(half..oc), &[x]))
            };
            let right = g.pointwise(right, half, Relu);
            let right = g.depthwise(right, stride, None);
            let right = g.pointwise(right, half, Relu);
            let both = g.push(Op::Concat, &[left, right]);
            x = g.push(Op::Shuffle(2), &[both]);
        }
    }
    let x = g.pointwise(x, last, Relu);
    classifier(&mut g, x, true);
    g
}

/// ShuffleNetV1; channels of the stem and the three stages. The first 1x1 convolution of all is not grouped.
pub fn shufflenet_v1([stem, stages @ ..]: [usize; 4], groups: usize) -> Graph {
    use Activation::{None, Relu};
    let mut g = Graph::new(RGB);
    let x = g.conv(0, stem, 3, 2, 1, Relu);
    let mut x = g.push(Op::MaxPool, &[x]);
    for (stage, (oc, units)) in stages.into_iter().zip([4, 8, 4]).enumerate() {
        for unit in 0..units {
            let first_groups = if stage == 0 && unit == 0 { 1 } else { groups };
            let main = g.conv(x, oc / 4, 1, 1, first_groups, Relu);
            let main = g.push(Op::Shuffle(groups), &[main]);
            x = if unit == 0 {
                let ic = g.nodes[x].shape.c;
                let main = g.depthwise(main, 2, None);
                let pooled = g.push(Op::AveragePool, &[x]);
                let main = g.conv(main, oc - ic, 1, 1, groups, Relu);
                // A mean of non-negative numbers needs no activation.
                g.push(Op::Concat, &[pooled, main])
            } else {
                let main = g.depthwise(main, 1, None);
                let last = Op::Conv { oc, kernel: 1, stride: 1, groups, activation: Relu };
                g.push(last, &[main, x])
            };
        }
    }
    classifier(&mut g, x, false);
    g
}

/// MobileNetV1 with `quarters` quarters of its channels.
pub fn mobilenet_v1(quarters: usize) -> Graph {
    use Activation::Relu;
    let mut g = Graph::new(RGB);
    let mut x = g.conv(0, 8 * quarters, 3, 2, 1, Relu);
    let blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)];
    let tail = [(512, 1); 5].into_iter().chain([(1024, 2), (1024, 1)]);
    for (oc, stride) in blocks.into_iter().chain(tail) {
        x = g.depthwise(x, stride, Relu);
        x = g.pointwise(x, oc / 4 * quarters, Relu);
    }
    classifier(&mut g, x, true);
    g
}

/// MobileNetV2 for images of `size` x `size`, channels rounded as torchvision does.
pub fn mobilenet_v2(width: f64, size: usize) -> Graph {
    use Activation::{None, Relu6};
    let channels = |c: f64| {
        let scaled = c * width;
        let rounded = 8 * ((scaled + 4.0) as usize / 8).max(1);
        if (rounded as f64) < 0.9 * scaled { rounded + 8 } else { rounded }
    };
    let mut g = Graph::new(Shape { h: size, w: size, ..RGB });
    let mut x = g.conv(0, channels(32.0), 3, 2, 1, Relu6);
    let blocks = [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ];
    for (expand, oc, units, first_stride) in blocks {
        let oc = channels(f64::from(oc));
        for unit in 0..units {
            let stride = if unit == 0 { first_stride } else { 1 };
            let ic = g.nodes[x].shape.c;
            let mut main = x;
            if expand > 1 {
                main = g.pointwise(main, ic * expand, Relu6);
            }
            main = g.depthwise(main, stride, Relu6);
            let project = Op::Conv { oc, kernel: 1, stride: 1, groups: 1, activation: None };
            x = if stride == 1 && ic == oc { g.push(project, &[main, x]) } else { g.push(project, &[main]) };
        }
    }
    let last = if width > 1.0 { channels(1280.0) } else { 1280 };
    let x = g.pointwise(x, last, Relu6);
    classifier(&mut g, x, true);
    g
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer;

    fn millions(macs: u64, digits: i32) -> f64 {
        let scale = 10f64.powi(digits);
        (macs as f64 / 1e6 * scale).round() / scale
    }

    #[test]
    fn shufflenet_v2_has_the_layers_of_the_shape_files() {
        for (network, (_, text)) in all()[..4].iter().zip(layer::SHUFFLENET_V2) {
            let graph = &network.graph;
            let mut shapes = layer::shufflenet_v2(text);
            let mut layers: Vec<_> = (0..graph.nodes.len()).filter_map(|i| graph.layer(i)).collect();
            for layer in shapes.iter_mut().chain(&mut layers) {
                layer.name.clear();
            }
            assert_eq!(layers, shapes, "{}", network.id);
        }
        let params: Vec<u64> = all()[..4].iter().map(|n| n.graph.params()).collect();
        assert_eq!(params, [1_366_792, 2_278_604, 3_503_624, 7_393_996]);
    }

    #[test]
    fn shufflenet_v1_counts() {
        let counts: Vec<_> =
            all()[4..8].iter().map(|n| (millions(n.graph.macs(), 3), n.graph.params())).collect();
        assert_eq!(
            counts,
            [(37.590, 717_324), (137.461, 1_864_728), (292.444, 3_441_168), (524.045, 5_449_776)]
        );
        // With eight groups, the counts are known too.
        let eight = [[16, 192, 384, 768], [24, 384, 768, 1536], [24, 576, 1152, 2304], [48, 768, 1536, 3072]]
            .map(|channels| millions(shufflenet_v1(channels, 8).macs(), 2));
        assert_eq!(eight, [40.47, 138.37, 290.19, 521.94]);
    }

    #[test]
    fn mobilenet_v1_counts() {
        let counts: Vec<_> =
            all()[8..12].iter().map(|n| (millions(n.graph.macs(), 3), n.graph.params())).collect();
        assert_eq!(
            counts,
            [(41.030, 470_072), (149.497, 1_331_592), (325.400, 2_585_560), (568.740, 4_231_976)]
        );
    }

    #[test]
    fn mobilenet_v2_counts() {
        let counts: Vec<_> =
            all()[12..].iter().map(|n| (millions(n.graph.macs(), 2), n.graph.params())).collect();
        assert_eq!(
            counts,
            [(41.80, 1_770_728), (153.94, 2_636_424), (300.77, 3_504_872), (582.20, 6_108_776)]
        );
    }

    #[test]
    fn every_network_ends_in_a_thousand_classes() {
        for network in all() {
            assert_eq!(network.graph.output(), Shape::new(1000, 1, 1), "{}", network.id);
            let paper = f64::from(network.paper.mflops);
            let ours = network.graph.macs() as f64 / 1e6;
            assert!((ours / paper - 1.0).abs() < 0.07, "{}: {ours} against {paper}", network.id);
        }
    }
}
