//! The networks that the paper's figure 1 compares, at its four levels of FLOPs.

use kernels::Activation;
use model::graph::{Graph, Op};
use model::{Config, WIDTHS, Wiring, shufflenet};
use serde::{Deserialize, Serialize};

use super::step::Step;
use super::{Draft, Work, window};

/// A network with what the paper reports of it: what a report says of it, and what runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Network {
    /// The id of its measurement, as in `net/mobilenet_v2_1.0`.
    pub(crate) id: String,
    pub(crate) family: String,
    /// Width multiplier, and the size if it is not 224.
    pub(crate) label: String,
    pub(crate) params: u64,
    /// Where it is one of the paper's.
    pub(crate) paper: Option<Paper>,
    /// All layers as they run.
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
    #[serde(skip)]
    pub(crate) work: Work,
}

/// What table 8 of the paper says about a network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Paper {
    /// Millions of multiply-adds, as printed.
    pub(crate) mflops: u32,
    /// Top-1 error on ImageNet, percent.
    pub(crate) error: f64,
    /// Batches of 8 a second on a GTX 1080 Ti.
    pub(crate) gpu: f64,
    /// Images a second on one thread of a Snapdragon 810.
    pub(crate) arm: f64,
}

/// The `model` crate's ShuffleNetV2 by width, at 224x224.
pub(crate) fn shufflenets() -> impl Iterator<Item = (&'static str, Work)> {
    WIDTHS.into_iter().map(|(width, _)| {
        let config = Config::published(width, Wiring::Torchvision).expect("a published width");
        (width, Work::new(shufflenet::graph(&config).expect("a published network"), 224, 224))
    })
}

/// All sixteen, by family and then by width.
pub(crate) fn all() -> Vec<Network> {
    let network = |id: &str, family: &str, label: &str, work: Work, paper: (u32, f64, f64, f64)| {
        let (mflops, error, gpu, arm) = paper;
        Network {
            id: format!("net/{id}_{}", label.replace('@', "_")),
            family: family.to_owned(),
            label: label.to_owned(),
            params: work.cost().params,
            paper: Some(Paper { mflops, error, gpu, arm }),
            steps: work.steps(),
            work,
        }
    };
    let papers = [
        (41, 39.7, 417.0, 57.0),
        (146, 30.6, 341.0, 24.4),
        (299, 27.4, 255.0, 11.8),
        (591, 25.1, 217.0, 6.7),
    ];
    let v2 = shufflenets().zip(papers);
    let v2 = v2.map(|((width, work), paper)| network("shufflenet_v2", "ShuffleNet v2", width, work, paper));
    let v1 = [
        ("0.5", [12, 120, 240, 480], (38, 43.2, 347.0, 56.8)),
        ("1.0", [24, 240, 480, 960], (140, 32.6, 213.0, 21.8)),
        ("1.5", [24, 360, 720, 1440], (292, 28.5, 164.0, 10.3)),
        ("2.0", [48, 480, 960, 1920], (524, 26.3, 133.0, 6.4)),
    ];
    let v1 = v1.into_iter().map(|(label, channels, paper)| {
        let work = Work::new(shufflenet_v1(channels, 3), 224, 224);
        network("shufflenet_v1_g3", "ShuffleNet v1 (g=3)", label, work, paper)
    });
    let m1 = [
        ("0.25", 1, (41, 49.4, 502.0, 36.4)),
        ("0.5", 2, (149, 36.3, 382.0, 16.5)),
        ("0.75", 3, (325, 31.6, 314.0, 10.6)),
        ("1.0", 4, (569, 29.4, 247.0, 6.5)),
    ];
    let m1 = m1.into_iter().map(|(label, quarters, paper)| {
        network("mobilenet_v1", "MobileNet v1", label, Work::new(mobilenet_v1(quarters), 224, 224), paper)
    });
    let m2 = [
        ("0.4@160", 0.4, 160, (43, 43.4, 333.0, 33.2)),
        ("0.75@192", 0.75, 192, (145, 32.1, 235.0, 15.9)),
        ("1.0", 1.0, 224, (301, 28.3, 180.0, 8.9)),
        ("1.4", 1.4, 224, (587, 26.7, 137.0, 5.4)),
    ];
    let m2 = m2.into_iter().map(|(label, width, size, paper)| {
        network("mobilenet_v2", "MobileNet v2", label, Work::new(mobilenet_v2(width), size, size), paper)
    });
    v2.chain(v1).chain(m1).chain(m2).collect()
}

/// ShuffleNetV1; channels of the stem and the three stages. The first 1x1 convolution of all is not grouped.
fn shufflenet_v1([stem, stages @ ..]: [usize; 4], groups: usize) -> Graph {
    use Activation::{None, Relu};
    let (mut g, image) = Draft::new(3);
    let x = g.conv(image, stem, (3, 2), 1, Relu);
    let mut x = g.push(Op::MaxPool(window(3, 2)), &[x]);
    for (stage, (oc, units)) in stages.into_iter().zip([4, 8, 4]).enumerate() {
        for unit in 0..units {
            let first_groups = if stage == 0 && unit == 0 { 1 } else { groups };
            let main = g.conv(x, oc / 4, (1, 1), first_groups, Relu);
            let main = g.push(Op::Shuffle(groups), &[main]);
            x = if unit == 0 {
                let main = g.depthwise(main, 2, None);
                let pooled = g.push(Op::AveragePool { window: window(3, 2), count_pad: true }, &[x]);
                let main = g.conv(main, oc - g.channels(x), (1, 1), groups, Relu);
                // A mean of non-negative numbers needs no activation.
                g.push(Op::Concat, &[pooled, main])
            } else {
                let main = g.depthwise(main, 1, None);
                let main = g.conv(main, oc, (1, 1), groups, None);
                g.push(Op::Add(Relu), &[main, x])
            };
        }
    }
    g.classifier(x, false)
}

/// MobileNetV1 with `quarters` quarters of its channels.
fn mobilenet_v1(quarters: usize) -> Graph {
    use Activation::Relu;
    let (mut g, image) = Draft::new(3);
    let mut x = g.conv(image, 8 * quarters, (3, 2), 1, Relu);
    let blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)];
    let tail = [(512, 1); 5].into_iter().chain([(1024, 2), (1024, 1)]);
    for (oc, stride) in blocks.into_iter().chain(tail) {
        x = g.depthwise(x, stride, Relu);
        x = g.pointwise(x, oc / 4 * quarters, Relu);
    }
    g.classifier(x, true)
}

/// MobileNetV2, channels rounded as torchvision does.
fn mobilenet_v2(width: f64) -> Graph {
    use Activation::{None, Relu6};
    let channels = |c: f64| {
        let scaled = c * width;
        let rounded = 8 * ((scaled + 4.0) as usize / 8).max(1);
        if (rounded as f64) < 0.9 * scaled { rounded + 8 } else { rounded }
    };
    let (mut g, image) = Draft::new(3);
    let mut x = g.conv(image, channels(32.0), (3, 2), 1, Relu6);
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
            let ic = g.channels(x);
            let main = if expand > 1 { g.pointwise(x, ic * expand, Relu6) } else { x };
            let main = g.depthwise(main, stride, Relu6);
            let main = g.pointwise(main, oc, None);
            x = if stride == 1 && ic == oc { g.push(Op::Add(None), &[main, x]) } else { main };
        }
    }
    let last = if width > 1.0 { channels(1280.0) } else { 1280 };
    let x = g.pointwise(x, last, Relu6);
    g.classifier(x, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millions(macs: u64, digits: i32) -> f64 {
        let scale = 10f64.powi(digits);
        (macs as f64 / 1e6 * scale).round() / scale
    }

    /// Millions of multiply-adds, and params, of four networks.
    fn counts(from: usize, digits: i32) -> Vec<(f64, u64)> {
        let of = |network: &Network| (millions(network.work.cost().macs, digits), network.params);
        all()[from..from + 4].iter().map(of).collect()
    }

    /// The layers as torchvision's modules have them.
    #[test]
    fn shufflenet_v2_has_the_layers_of_the_shape_files() {
        let texts = [
            include_str!("../../shapes/shufflenet_v2_x0_5.txt"),
            include_str!("../../shapes/shufflenet_v2_x1_0.txt"),
            include_str!("../../shapes/shufflenet_v2_x1_5.txt"),
            include_str!("../../shapes/shufflenet_v2_x2_0.txt"),
        ];
        for ((width, work), text) in shufflenets().zip(texts) {
            let layers = work.layers().map(|l| [l.ih, l.iw, l.ic, l.oc, l.kernel, l.stride, l.groups]);
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            let shapes =
                lines.map(|line| line.split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect());
            assert_eq!(
                layers.map(Vec::from).collect::<Vec<_>>(),
                shapes.collect::<Vec<Vec<usize>>>(),
                "{width}"
            );
        }
        assert_eq!(
            counts(0, 6),
            [
                (40.476448, 1_366_792),
                (144.907992, 2_278_604),
                (295.759392, 3_503_624),
                (583.253464, 7_393_996)
            ]
        );
    }

    #[test]
    fn shufflenet_v1_counts() {
        assert_eq!(
            counts(4, 3),
            [(37.590, 717_324), (137.461, 1_864_728), (292.444, 3_441_168), (524.045, 5_449_776)]
        );
        // With eight groups, the counts are known too.
        let eight = [[16, 192, 384, 768], [24, 384, 768, 1536], [24, 576, 1152, 2304], [48, 768, 1536, 3072]]
            .map(|channels| millions(Work::new(shufflenet_v1(channels, 8), 224, 224).cost().macs, 2));
        assert_eq!(eight, [40.47, 138.37, 290.19, 521.94]);
    }

    #[test]
    fn mobilenet_counts() {
        assert_eq!(
            counts(8, 3),
            [(41.030, 470_072), (149.497, 1_331_592), (325.400, 2_585_560), (568.740, 4_231_976)]
        );
        assert_eq!(
            counts(12, 2),
            [(41.80, 1_770_728), (153.94, 2_636_424), (300.77, 3_504_872), (582.20, 6_108_776)]
        );
    }

    #[test]
    fn every_network_ends_in_a_thousand_classes() {
        for network in all() {
            assert_eq!(network.work.output(), kernels::Shape::new(1000, 1, 1), "{}", network.id);
            let (paper, ours) =
                (f64::from(network.paper.unwrap().mflops), network.work.cost().macs as f64 / 1e6);
            assert!((ours / paper - 1.0).abs() < 0.07, "{}: {ours} against {paper}", network.id);
        }
    }
}
