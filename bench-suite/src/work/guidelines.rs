//! The paper's four guidelines as experiments, with what the paper measured, and a fifth that is ours.

use kernels::Activation;
use model::graph::{Op, Passes, Value};
use serde::{Deserialize, Serialize};

use super::{Draft, Work};

/// Side of the square map of the first four experiments.
const SIDE: usize = 56;

/// How often each block is repeated.
const BLOCKS: usize = 10;

/// One experiment: what a report says of it, and what runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Experiment {
    /// Stable name: `g1` to `g5`.
    pub(crate) id: String,
    /// The guideline.
    pub(crate) title: String,
    /// What is varied, and how the paper did it.
    pub(crate) method: String,
    /// What its rows are called.
    pub(crate) row_name: String,
    /// Rows that are compared with each other, the first being the baseline.
    pub(crate) columns: Vec<Column>,
}

/// Cases that are compared with each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Column {
    /// Stable name within the experiment, as in `gpu/x1`.
    pub(crate) id: String,
    pub(crate) title: String,
    /// The first is the baseline.
    pub(crate) cases: Vec<Case>,
}

/// One row of one column.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Case {
    /// Stable name within the column.
    pub(crate) id: String,
    pub(crate) title: String,
    /// Channels, as they were chosen.
    pub(crate) channels: String,
    pub(crate) paper: Paper,
    #[serde(skip)]
    pub(crate) work: Work,
}

/// Speeds printed in the paper: batches a second on a GTX 1080 Ti, images a second on one ARM core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Paper {
    pub(crate) gpu: Option<f64>,
    pub(crate) arm: Option<f64>,
}

/// The two devices of the paper; each experiment has channel counts for both.
#[derive(Clone, Copy, PartialEq)]
enum Device {
    Gpu,
    Arm,
}

impl Device {
    const BOTH: [Self; 2] = [Self::Gpu, Self::Arm];

    fn id(self) -> &'static str {
        match self {
            Self::Gpu => "gpu",
            Self::Arm => "arm",
        }
    }

    fn speed(self, speed: f64) -> Paper {
        match self {
            Self::Gpu => Paper { gpu: Some(speed), arm: None },
            Self::Arm => Paper { gpu: None, arm: Some(speed) },
        }
    }
}

/// All five experiments.
pub(crate) fn all() -> Vec<Experiment> {
    vec![equal_channels(), groups(), fragments(), element_wise(), given_back()]
}

impl Experiment {
    /// The id under which a case's samples are kept.
    pub(crate) fn case_id(&self, column: &Column, case: &Case) -> String {
        format!("{}/{}/{}", self.id, column.id, case.id)
    }
}

/// A column at `scale` times the channels of the paper's `x1`, for one device.
fn column(device: Device, scale: usize, cases: Vec<Case>) -> Column {
    let name = match device {
        Device::Gpu => "GPU channels",
        Device::Arm => "ARM channels",
    };
    Column { id: format!("{}/x{scale}", device.id()), title: format!("{name} x{scale}"), cases }
}

/// Columns for both devices at x1, x2 and x4.
fn columns(cases: impl Fn(Device, usize, usize) -> Vec<Case>) -> Vec<Column> {
    let scales = || [1, 2, 4].into_iter().enumerate();
    Device::BOTH
        .into_iter()
        .flat_map(|device| scales().map(move |(i, scale)| (device, i, scale)))
        .map(|(device, i, scale)| column(device, scale, cases(device, i, scale)))
        .collect()
}

/// `BLOCKS` blocks on a map of `side` x `side` with `c` channels.
fn stacked(c: usize, side: usize, block: impl Fn(&mut Draft, Value) -> Value) -> Work {
    let (mut draft, mut x) = Draft::new(c);
    for _ in 0..BLOCKS {
        x = block(&mut draft, x);
    }
    Work::new(draft.0, side, side)
}

/// Table 1.
fn equal_channels() -> Experiment {
    let rows = |device: Device| match device {
        Device::Gpu => [
            ("1:1", 128, 128, [1480.0, 723.0, 232.0]),
            ("1:2", 90, 180, [1296.0, 586.0, 206.0]),
            ("1:6", 52, 312, [876.0, 489.0, 189.0]),
            ("1:12", 36, 432, [748.0, 392.0, 163.0]),
        ],
        Device::Arm => [
            ("1:1", 32, 32, [76.2, 21.7, 5.3]),
            ("1:2", 22, 44, [72.9, 20.5, 5.1]),
            ("1:6", 13, 78, [69.1, 17.9, 4.6]),
            ("1:12", 9, 108, [57.6, 15.1, 4.4]),
        ],
    };
    let cases = |device: Device, i: usize, scale: usize| {
        let case = |(ratio, c1, c2, speeds): (&str, usize, usize, [f64; 3])| {
            let (c1, c2) = (c1 * scale, c2 * scale);
            let work = stacked(c1, SIDE, |g, x| {
                let wide = g.pointwise(x, c2, Activation::None);
                g.pointwise(wide, c1, Activation::None)
            });
            let channels = format!("{c1}, {c2}");
            Case {
                id: ratio.replace(':', "-"),
                title: ratio.into(),
                channels,
                work,
                paper: device.speed(speeds[i]),
            }
        };
        rows(device).into_iter().map(case).collect()
    };
    Experiment {
        id: "g1".into(),
        title: "Equal channel widths minimise memory access cost".into(),
        method: "Ten blocks of two 1x1 convolutions, c1 to c2 and back, on 56x56 maps. The ratio c1:c2 changes while \
                 the FLOPs stay (nearly) the same. No activation.".into(),
        row_name: "c1:c2".into(),
        columns: columns(cases),
    }
}

/// Table 2, with c = 184 where the paper misprints 180, which eight groups do not divide.
fn groups() -> Experiment {
    let rows = |device: Device| match device {
        Device::Gpu => [
            (1, [128, 256, 512], [2451.0, 1289.0, 437.0]),
            (2, [180, 360, 720], [1725.0, 873.0, 341.0]),
            (4, [256, 512, 1024], [1026.0, 644.0, 338.0]),
            (8, [360, 720, 1440], [634.0, 445.0, 230.0]),
        ],
        Device::Arm => [
            (1, [64, 128, 256], [40.0, 10.2, 2.3]),
            (2, [90, 180, 360], [35.0, 9.5, 2.2]),
            (4, [128, 256, 512], [32.9, 8.7, 2.1]),
            (8, [184, 360, 720], [27.8, 7.5, 1.8]),
        ],
    };
    let cases = |device: Device, i: usize, _: usize| {
        let case = |(groups, channels, speeds): (usize, [usize; 3], [f64; 3])| {
            let c = channels[i];
            let work = stacked(c, SIDE, |g, x| g.conv(x, c, (1, 1), groups, Activation::None));
            let title = format!("g = {groups}");
            Case {
                id: groups.to_string(),
                title,
                channels: c.to_string(),
                work,
                paper: device.speed(speeds[i]),
            }
        };
        rows(device).into_iter().map(case).collect()
    };
    Experiment {
        id: "g2".into(),
        title: "Excessive group convolution increases memory access cost".into(),
        method: "Ten 1x1 group convolutions on 56x56 maps. More groups make a layer cheaper; the channels are raised \
                 until the FLOPs are the same again. No activation, no shuffle. Where the paper prints 180 channels for \
                 8 groups, the authors' correction, 184, is used.".into(),
        row_name: "groups".into(),
        columns: columns(cases),
    }
}

/// Table 3. The paper does not print the reduced widths; they follow from equal FLOPs.
fn fragments() -> Experiment {
    let rows = |device: Device| match device {
        Device::Gpu => [
            (1, false, [2446.0, 1274.0, 434.0]),
            (2, false, [1790.0, 909.0, 336.0]),
            (4, false, [752.0, 745.0, 349.0]),
            (2, true, [1537.0, 803.0, 320.0]),
            (4, true, [691.0, 572.0, 292.0]),
        ],
        Device::Arm => [
            (1, false, [40.2, 10.1, 2.3]),
            (2, false, [38.6, 10.1, 2.2]),
            (4, false, [38.4, 10.1, 2.3]),
            (2, true, [33.4, 9.1, 2.2]),
            (4, true, [35.0, 8.4, 2.1]),
        ],
    };
    let cases = |device: Device, i: usize, scale: usize| {
        let full = if device == Device::Gpu { 128 } else { 64 } * scale;
        let case = |(fragments, parallel, speeds): (usize, bool, [f64; 3])| {
            let c = (full as f64 / (fragments as f64).sqrt()).round() as usize;
            let work = stacked(c, SIDE, |g, x| {
                let mut last = g.pointwise(x, c, Activation::None);
                for _ in 1..fragments {
                    let next = g.pointwise(if parallel { x } else { last }, c, Activation::None);
                    last = if parallel { g.push(Op::Add(Activation::None), &[next, last]) } else { next };
                }
                last
            });
            let kind = match (fragments, parallel) {
                (1, _) => "",
                (_, true) => " parallel",
                (_, false) => " series",
            };
            let title = format!("{fragments}{kind}");
            let id = title.replace(' ', "-");
            Case { id, title, channels: c.to_string(), work, paper: device.speed(speeds[i]) }
        };
        rows(device).into_iter().map(case).collect()
    };
    Experiment {
        id: "g3".into(),
        title: "Network fragmentation reduces the degree of parallelism".into(),
        method: "Ten blocks of one, two or four 1x1 convolutions on 56x56 maps, in series, or in parallel with their \
                 results added (here in the epilogue of the next convolution). Fragments are narrower, so that the \
                 FLOPs stay the same. No activation.".into(),
        row_name: "fragments".into(),
        columns: columns(cases),
    }
}

/// What follows a convolution in the bottleneck of [`element_wise`] and [`given_back`].
#[derive(Clone, Copy, PartialEq)]
enum After {
    Nothing,
    /// ReLU in a pass of its own.
    Relu,
    /// Batch normalisation and ReLU in a pass of their own.
    AffineRelu,
    /// ReLU before the convolution stores its result.
    FusedRelu,
}

/// Ten bottlenecks: 1x1 to a quarter, 3x3, 1x1 back, with ReLU after each and a shortcut around all.
fn bottlenecks(c: usize, after: After, shortcut: bool) -> Work {
    use Activation::{None, Relu};
    let fused = if after == After::FusedRelu { Relu } else { None };
    let then = |g: &mut Draft, x: Value| match after {
        After::Nothing | After::FusedRelu => x,
        After::Relu => g.push(Op::Activate(Relu), &[x]),
        After::AffineRelu => g.push(Op::Affine(Relu), &[x]),
    };
    let work = stacked(c, SIDE, |g, x| {
        let y = g.pointwise(x, c / 4, fused);
        let y = then(g, y);
        let y = g.conv(y, c / 4, (3, 1), 1, fused);
        let y = then(g, y);
        let y = g.pointwise(y, c, if shortcut { None } else { fused });
        match (after, shortcut) {
            (_, false) => then(g, y),
            (After::FusedRelu, true) => g.push(Op::Add(Relu), &[y, x]),
            // A normalisation belongs before the addition; the addition's own pass ends with the ReLU.
            (After::AffineRelu, true) => {
                let y = g.push(Op::Affine(None), &[y]);
                g.push(Op::Add(Relu), &[y, x])
            }
            (_, true) => {
                let y = g.push(Op::Add(None), &[y, x]);
                then(g, y)
            }
        }
    });
    // Passes that are measured stay passes of their own.
    Work { passes: if after == After::FusedRelu { Passes::All } else { Passes::None }, ..work }
}

/// Table 4. The paper gives neither the map nor the inner width; 56x56 and a quarter fit its numbers best.
fn element_wise() -> Experiment {
    let rows = [
        (true, true, [(2427.0, 56.7), (2066.0, 16.9), (1436.0, 5.0)]),
        (true, false, [(2647.0, 61.9), (2256.0, 18.8), (1735.0, 5.2)]),
        (false, true, [(2672.0, 57.3), (2121.0, 18.2), (1458.0, 5.1)]),
        (false, false, [(2842.0, 66.3), (2376.0, 20.2), (1782.0, 5.4)]),
    ];
    let column = |(i, c): (usize, usize)| {
        let case = |(relu, shortcut, speeds): (bool, bool, [(f64, f64); 3])| {
            let after = if relu { After::Relu } else { After::Nothing };
            let title = match (relu, shortcut) {
                (true, true) => "ReLU + shortcut",
                (true, false) => "ReLU",
                (false, true) => "shortcut",
                (false, false) => "neither",
            };
            let (gpu, arm) = speeds[i];
            Case {
                id: title.to_lowercase().replace(" + ", "-"),
                title: title.into(),
                channels: format!("{c}, {}", c / 4),
                work: bottlenecks(c, after, shortcut),
                paper: Paper { gpu: Some(gpu), arm: Some(arm) },
            }
        };
        Column { id: format!("c{c}"), title: format!("c = {c}"), cases: rows.into_iter().map(case).collect() }
    };
    Experiment {
        id: "g4".into(),
        title: "Element-wise operations are not negligible".into(),
        method: "Ten bottlenecks (1x1 to c/4, 3x3, 1x1 back to c) on 56x56 maps. ReLU and the shortcut's addition are \
                 passes of their own over memory, and are taken away one after the other. The paper gives neither map nor \
                 inner width; these fit its numbers best.".into(),
        row_name: "kept".into(),
        columns: [32, 64, 128].into_iter().enumerate().map(column).collect(),
    }
}

/// Not in the paper: what fusing the element-wise work into convolutions, and not moving shuffled channels, give back.
fn given_back() -> Experiment {
    let fusion = |c: usize| {
        let case = |id: &str, title: &str, after| Case {
            id: id.into(),
            title: title.into(),
            channels: format!("{c}, {}", c / 4),
            work: bottlenecks(c, after, true),
            paper: Paper::default(),
        };
        let cases = vec![
            case("fused", "all fused", After::FusedRelu),
            case("relu-add", "ReLU, addition apart", After::Relu),
            case("bn-relu-add", "BN-ReLU, addition apart", After::AffineRelu),
        ];
        Column { id: format!("fusion/c{c}"), title: format!("bottleneck, c\u{a0}=\u{a0}{c}"), cases }
    };
    let shuffle = |(c, side): (usize, usize)| {
        let case = |id: &str, title: &str, moved| Case {
            id: id.into(),
            title: title.into(),
            channels: c.to_string(),
            work: shuffle_units(c, side, moved),
            paper: Paper::default(),
        };
        let cases = vec![
            case("zero-copy", "zero-copy shuffle", false),
            case("moved", "shuffle moves channels", true),
        ];
        Column {
            id: format!("shuffle/c{c}"),
            title: format!("ShuffleNetV2 unit, {c} on {side}x{side}"),
            cases,
        }
    };
    let columns = [32, 64, 128].map(fusion).into_iter();
    Experiment {
        id: "g5".into(),
        title: "What fusing and not copying give back".into(),
        method: "Ours, not the paper's. The bottleneck of the fourth experiment with everything element-wise in the \
                 convolutions' epilogues, against passes of their own (ReLU and addition; batch normalisation too). And ten \
                 stride-1 units of ShuffleNetV2 1.0x whose shuffle only renames channels, against one pass that moves them.".into(),
        row_name: "variant".into(),
        columns: columns.chain([(116, 28), (232, 14), (464, 7)].map(shuffle)).collect(),
    }
}

/// Ten stride-1 units of ShuffleNetV2.
fn shuffle_units(c: usize, side: usize, moved: bool) -> Work {
    let half = c / 2;
    stacked(c, side, |g, x| {
        let [left, right] = [0..half, half..c].map(|range| g.push(Op::Channels(range), &[x]));
        let right = g.pointwise(right, half, Activation::Relu);
        let right = g.depthwise(right, 1, Activation::None);
        let right = g.pointwise(right, half, Activation::Relu);
        let both = g.push(Op::Concat, &[left, right]);
        let shuffled = g.push(Op::Shuffle(2), &[both]);
        if moved { g.push(Op::Copy, &[shuffled]) } else { shuffled }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(experiment: &str, column: &str, row: usize) -> Case {
        let experiment = all().into_iter().find(|e| e.id == experiment).unwrap();
        let column = experiment.columns.into_iter().find(|c| c.id == column).unwrap();
        column.cases.into_iter().nth(row).unwrap()
    }

    fn mega_macs(experiment: &str, column: &str, row: usize) -> f64 {
        (find(experiment, column, row).work.cost().macs as f64 / 1e5).round() / 10.0
    }

    #[test]
    fn multiply_adds_are_the_papers() {
        assert_eq!(
            ["x1", "x2", "x4"].map(|x| mega_macs("g1", &format!("gpu/{x}"), 0)),
            [1027.6, 4110.4, 16441.7]
        );
        assert_eq!(
            ["x1", "x2", "x4"].map(|x| mega_macs("g1", &format!("arm/{x}"), 0)),
            [64.2, 256.9, 1027.6]
        );
        assert_eq!(
            ["x1", "x2", "x4"].map(|x| mega_macs("g2", &format!("gpu/{x}"), 0)),
            [513.8, 2055.2, 8220.8]
        );
        assert_eq!(
            ["x1", "x2", "x4"].map(|x| mega_macs("g3", &format!("arm/{x}"), 0)),
            [128.5, 513.8, 2055.2]
        );
        assert_eq!([32, 64, 128].map(|c| mega_macs("g4", &format!("c{c}"), 3)), [34.1, 136.5, 545.9]);
    }

    #[test]
    fn rows_of_a_column_have_the_same_flops() {
        for experiment in all() {
            for column in &experiment.columns {
                let baseline = column.cases[0].work.cost().macs as f64;
                for case in &column.cases {
                    let off = case.work.cost().macs as f64 / baseline - 1.0;
                    assert!(off.abs() < 0.06, "{}: {off}", experiment.case_id(column, case));
                    let Work { h, w, .. } = case.work;
                    assert_eq!(case.work.output(), kernels::Shape::new(case.work.channels(), h, w));
                }
            }
        }
    }

    #[test]
    fn memory_access_cost_grows_down_the_rows() {
        for id in ["g1", "g2", "g5"] {
            let experiment = all().into_iter().find(|e| e.id == id).unwrap();
            for column in &experiment.columns {
                assert!(
                    column.cases.is_sorted_by_key(|case| case.work.cost().mac_bytes),
                    "{id}/{}",
                    column.id
                );
            }
        }
        // Twenty convolutions of 819 200 elements.
        assert_eq!(find("g1", "gpu/x1", 0).work.cost().mac_bytes, 20 * 4 * 819_200);
        // A bottleneck without its ReLUs and its addition: 2 (c/4 + c/4 + c) and 3 c elements a pixel less.
        let saved = find("g4", "c64", 0).work.cost().mac_bytes - find("g4", "c64", 3).work.cost().mac_bytes;
        assert_eq!(saved, (BLOCKS * SIDE * SIDE * (2 * (16 + 16 + 64) + 3 * 64) * 4) as u64);
    }

    #[test]
    fn ids_are_unique() {
        let mut ids: Vec<String> = Vec::new();
        for experiment in all() {
            for column in &experiment.columns {
                ids.extend(column.cases.iter().map(|case| experiment.case_id(column, case)));
            }
        }
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!((ids.len(), count), (count, 24 + 24 + 30 + 12 + 9 + 6));
    }
}
