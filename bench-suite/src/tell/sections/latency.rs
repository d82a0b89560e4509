//! Latency against FLOPs, as in the paper's figure 1, and what predicts it.

use super::{Context, distinct, list};
use crate::plot::{Axis, Guide, Point, Series, Xy};
use crate::tell::document::{Block, Cell, Figure, Section, Table};
use crate::tell::estimate::{Estimate, Told};
use crate::tell::predict::{Fitted, Judged, Known, Model, mean, ridges};
use crate::tell::report::{Cold, Measurement};
use crate::tell::stats::{kendall, pearson, spearman};
use crate::work::networks::Network;

/// Levels of FLOPs at which the paper compares.
const LEVELS: usize = 4;

/// Halves of the rounds that models are fitted to.
const HALVES: usize = 40;

/// A network that was measured.
#[derive(Clone, Copy)]
struct Measured<'a> {
    network: &'a Network,
    measurement: &'a Measurement,
    cold: Option<&'a Cold>,
}

impl Measured<'_> {
    fn ms(&self) -> f64 {
        1e3 * self.measurement.summary().min
    }

    fn name(&self) -> String {
        format!("{} {}", self.network.family, self.network.label)
    }
}

/// The error of each model when a family is left out.
pub(super) fn errors(context: &Context<'_>) -> Vec<(String, f64)> {
    let prediction = Prediction::of(context, &measured(context));
    let judged = prediction.into_iter().flat_map(|prediction| prediction.judged);
    judged.map(|(name, judged)| (name, judged.family_left_out)).collect()
}

/// The networks that were measured.
fn measured<'a>(context: &Context<'a>) -> Vec<Measured<'a>> {
    let measured = context.report.networks.iter().filter_map(|network| {
        let cold = context.report.cold.iter().find(|cold| cold.id == network.id);
        Some(Measured { network, measurement: context.get(&network.id)?, cold })
    });
    measured.collect()
}

pub(super) fn section(context: &Context<'_>) -> (Section, Vec<String>) {
    let measured = measured(context);
    let mut blocks = vec![
        Block::Text(
            "Networks at the paper's four levels of FLOPs, all packed and run by the same code, so that the comparison is of \
             networks and not of effort."
                .into(),
        ),
        Block::Figure(Figure {
            id: "latency-macs".into(),
            title: "Latency against multiply-adds".into(),
            caption: "As the paper's figure 1, with times instead of speeds: lower is faster. Along a dashed line the rate \
                      is the same; if FLOPs told the time, all networks would lie on one."
                .into(),
            plot: Box::new(scatter(context, &measured)),
        }),
        Block::Figure(Figure {
            id: "rate-macs".into(),
            title: "Rate against multiply-adds".into(),
            caption: "The same measurements; higher is faster. If FLOPs told the time, all points would lie on one level \
                      line."
                .into(),
            plot: Box::new(rates(context, &measured)),
        }),
        Block::Figure(Figure {
            id: "latency-accuracy".into(),
            title: "Accuracy against latency".into(),
            caption: "Top-1 accuracy on ImageNet as the paper's table 8 gives it, over the time measured here; up and to \
                      the left is better."
                .into(),
            plot: Box::new(accuracy(&measured)),
        }),
    ];
    let mut findings = headline(context);
    findings.extend(level_finding(&measured));
    blocks.push(Block::Heading("What predicts latency".into(), "prediction".into()));
    match Prediction::of(context, &measured) {
        Some(prediction) => {
            blocks.push(Block::Text(
                "Each model is fitted with the smallest relative errors, and judged by networks that it was not fitted to: each \
                 network in turn is left out of the fit, and then each family, whose networks are alike and would tell of each other. \
                 The last models are that of MobileNetV4: every layer takes the larger of the time of its multiply-adds and the time of its \
                 bytes, as under a roofline whose ridge lies at so many multiply-adds per byte."
                    .into(),
            ));
            blocks.push(Block::Verdict(prediction.sentence(context)));
            findings.push(prediction.finding());
            blocks.push(Block::Table(prediction.table()));
            blocks.extend(prediction.sweep().map(Block::Figure));
            blocks.push(Block::Table(networks_table(context, &measured, &prediction)));
            blocks.push(Block::Table(paper_table(&measured)));
        }
        None => blocks.push(Block::Text("Too few networks were measured to say.".into())),
    }
    (Section { id: "latency".into(), title: "Latency against FLOPs".into(), blocks }, findings)
}

fn families<'a, 'b>(measured: &'b [Measured<'a>]) -> Vec<(&'a str, Vec<&'b Measured<'a>>)> {
    let names = distinct(measured.iter().map(|m| m.network.family.as_str()));
    let of = |name| measured.iter().filter(|m| m.network.family == name).collect();
    names.into_iter().map(|name| (name, of(name))).collect()
}

/// A line for each family; `point` says where a network lies, and what is told of it there.
fn series(measured: &[Measured<'_>], point: impl Fn(&Measured<'_>) -> (f64, f64, String)) -> Vec<Series> {
    let point = |m: &&Measured<'_>| {
        let (x, y, tip) = point(m);
        Point { x, y, label: m.network.label.clone(), tip: format!("{}: {tip}", m.name()) }
    };
    let line = |(name, of): (&str, Vec<&Measured<'_>>)| Series {
        name: name.to_owned(),
        points: of.iter().map(point).collect(),
        // Given networks are no scaled versions of each other.
        joined: of.iter().all(|m| m.network.paper.is_some()),
    };
    families(measured).into_iter().map(line).collect()
}

fn scatter(context: &Context<'_>, measured: &[Measured<'_>]) -> Xy {
    // One line per halving of the peak.
    let peak = context.peak().unwrap_or(100.0);
    let guides = (0..4).map(|halvings| {
        let rate = peak / f64::from(1 << halvings);
        let ms = |millions: f64| 2.0 * millions / rate;
        let peak = if halvings == 0 { "peak, " } else { "" };
        Guide {
            label: format!("{peak}{rate:.0} GFLOP/s"),
            points: vec![(1.0, ms(1.0)), (1e4, ms(1e4))],
            strong: false,
        }
    });
    let point = |m: &Measured<'_>| {
        let tip = format!("{:.2} ms, {:.1} GFLOP/s", m.ms(), m.measurement.gflops());
        (m.measurement.macs as f64 / 1e6, m.ms(), tip)
    };
    Xy {
        x: Axis::log("multiply-adds (10⁶)"),
        y: Axis::log("latency (ms)"),
        series: series(measured, point),
        guides: guides.collect(),
    }
}

fn rates(context: &Context<'_>, measured: &[Measured<'_>]) -> Xy {
    let peak = context.peak().map(|peak| Guide {
        label: format!("peak, {peak:.0} GFLOP/s"),
        points: vec![(1.0, peak), (1e4, peak)],
        strong: true,
    });
    let point = |m: &Measured<'_>| {
        let rate = m.measurement.gflops();
        (m.measurement.macs as f64 / 1e6, rate, format!("{rate:.1} GFLOP/s"))
    };
    Xy {
        x: Axis::log("multiply-adds (10⁶)"),
        y: Axis::linear("GFLOP/s"),
        series: series(measured, point),
        guides: peak.into_iter().collect(),
    }
}

fn accuracy(measured: &[Measured<'_>]) -> Xy {
    let point = |m: &Measured<'_>| {
        let accuracy = m.network.paper.map_or(f64::NAN, |paper| 100.0 - paper.error);
        (m.ms(), accuracy, format!("{accuracy:.1} %"))
    };
    let measured: Vec<Measured<'_>> =
        measured.iter().filter(|m| m.network.paper.is_some()).copied().collect();
    let measured = &measured[..];
    Xy {
        x: Axis::log("latency (ms)"),
        y: Axis::close("top-1 accuracy (%), from the paper"),
        series: series(measured, point),
        guides: vec![],
    }
}

/// What the product does: ShuffleNetV2 1.0x.
fn headline(context: &Context<'_>) -> Vec<String> {
    let Some(m) = context.get("net/shufflenet_v2_1.0") else { return vec![] };
    let summary = m.summary();
    let of_peak = context.peak().map_or(String::new(), |peak| {
        format!(
            ", {:.0} % of the {peak:.0} GFLOP/s that multiply-adds alone reach",
            100.0 * m.gflops() / peak
        )
    });
    vec![format!(
        "ShuffleNetV2 1.0x takes {:.2} ms an image (median {:.2}) on {} thread{}: {:.0} GFLOP/s{of_peak}.",
        1e3 * summary.min,
        1e3 * summary.median,
        m.threads,
        if m.threads == 1 { "" } else { "s" },
        m.gflops()
    )]
}

/// How far networks of the same FLOPs differ in time: the pair that differs most surely, since the pair that seems to differ
/// most is the one that was disturbed most.
fn level_finding(measured: &[Measured<'_>]) -> Option<String> {
    let per_mac = |m: &Measured<'_>| m.measurement.estimate().map(|t| t / m.measurement.macs as f64);
    let surely = |ratio: &Estimate| ratio.interval().map_or(0.0, |[low, _]| low);
    let mut most: Option<(Estimate, String, String)> = None;
    // Whatever else was given is at levels of its own.
    let measured: Vec<Measured<'_>> =
        measured.iter().filter(|m| m.network.paper.is_some()).copied().collect();
    let families = families(&measured);
    for level in 0..LEVELS {
        let of: Vec<(&Measured<'_>, Estimate)> =
            families.iter().filter_map(|(_, of)| of.get(level).map(|m| (*m, per_mac(m)))).collect();
        for (slow, slow_time) in &of {
            for (fast, fast_time) in &of {
                let ratio = slow_time.over(fast_time);
                if most.as_ref().is_none_or(|(of, ..)| surely(&ratio) > surely(of)) {
                    most = Some((ratio, slow.name(), fast.name()));
                }
            }
        }
    }
    let (ratio, slow, fast) = most?;
    Some(match ratio.interval() {
        Some([low, _]) if ratio.told() == Told::Slower => format!(
            "At equal FLOPs, networks differ {low:.2}x in time or more: per multiply-add {slow} takes {} of the time of {fast}.",
            ratio.times()
        ),
        _ => "At equal FLOPs, networks are not told apart here.".into(),
    })
}

/// How well costs tell times.
struct Prediction<'a> {
    known: Vec<Known<'a>>,
    /// Those that could be fitted, each with its name; FLOPs alone, and FLOPs with bytes.
    judged: Vec<(String, Judged)>,
    /// The errors of each that halves of the rounds would have said, all from the same halves.
    halves: Vec<Vec<f64>>,
    /// This machine's ridges: the level, and multiply-adds per byte.
    ridges: Vec<(&'a str, f64)>,
}

impl<'a> Prediction<'a> {
    fn of(context: &Context<'a>, measured: &[Measured<'a>]) -> Option<Self> {
        let known = |m: &Measured<'a>| Known {
            family: &m.network.family,
            macs: m.measurement.macs as f64,
            bytes: m.measurement.mac_bytes as f64,
            steps: m.network.steps.iter().map(|step| [step.macs as f64, step.mac_bytes as f64]).collect(),
            seconds: m.measurement.summary().min,
        };
        let known: Vec<Known<'a>> = measured.iter().map(known).collect();
        let bandwidths = context.report.machine.bandwidths.iter().filter(|b| b.level != "L1");
        let ridge = |peak: f64| bandwidths.map(move |b| (b.level.as_str(), peak / 2.0 / b.read)).collect();
        let ridges: Vec<(&str, f64)> = context.peak().map(ridge).unwrap_or_default();
        let mut models = vec![
            ("FLOPs".to_owned(), Model::Macs),
            ("bytes".into(), Model::Bytes),
            ("FLOPs + bytes".into(), Model::Sum),
            ("layer by layer, fitted ridge".into(), Model::Roofline),
        ];
        let at = |(level, ridge): &(&str, f64)| {
            (format!("layer by layer, ridge of {level}"), Model::RooflineAt(*ridge))
        };
        models.extend(ridges.iter().map(at));
        let mut variants: Vec<Vec<Known<'a>>> = Vec::new();
        let estimates: Vec<Estimate> = measured.iter().map(|m| m.measurement.estimate()).collect();
        for half in 0..HALVES {
            let seconds: Option<Vec<f64>> =
                estimates.iter().map(|e| e.some_halves(HALVES).get(half).copied()).collect();
            variants.extend(seconds.map(|seconds| {
                let known = known.iter().zip(seconds);
                known.map(|(known, seconds)| Known { seconds, ..known.clone() }).collect()
            }));
        }
        let (mut judged, mut halves) = (Vec::new(), Vec::new());
        for (name, model) in models {
            let Some(of) = model.judge(&known) else { continue };
            judged.push((name, of));
            halves
                .push(variants.iter().filter_map(|known| Some(mean(&model.family_errors(known)?))).collect());
        }
        let prediction = Self { known, judged, halves, ridges };
        (prediction.get("FLOPs").is_some() && prediction.get("FLOPs + bytes").is_some()).then_some(prediction)
    }

    fn get(&self, name: &str) -> Option<&Judged> {
        self.judged.iter().find(|(of, _)| of == name).map(|(_, judged)| judged)
    }

    fn error(&self, name: &str) -> Option<String> {
        Some(format!("{:.1} %", 100.0 * self.get(name)?.family_left_out))
    }

    /// The models that tell most of families that they do not know: the best, and those that halves of the rounds do not
    /// tell from it.
    fn best(&self) -> Vec<&str> {
        let error = |i: &usize| self.judged[*i].1.family_left_out;
        let all = 0..self.judged.len();
        let best = all.clone().min_by(|a, b| error(a).total_cmp(&error(b))).expect("there are two at least");
        let behind = |i: usize| {
            let pairs = self.halves[best].iter().zip(&self.halves[i]);
            let count = pairs.clone().count();
            count > 0 && pairs.filter(|(best, of)| best < of).count() as f64 >= 0.95 * count as f64
        };
        all.filter(|i| *i == best || !behind(*i)).map(|i| self.judged[i].0.as_str()).collect()
    }

    fn sentence(&self, context: &Context<'_>) -> String {
        let seconds: Vec<f64> = self.known.iter().map(|k| k.seconds).collect();
        let r = |of: fn(&Known<'_>) -> f64| {
            let x: Vec<f64> = self.known.iter().map(of).collect();
            let shown = |r: Option<f64>| r.map_or("undefined".into(), |r| format!("{r:.3}"));
            let [r, rho, tau] = [pearson, spearman, kendall].map(|of| shown(of(&x, &seconds)));
            format!("r = {r} (by rank: Spearman {rho}, Kendall {tau})")
        };
        let mut text = format!(
            "Latency correlates with multiply-adds at {}, with mac_bytes at {}. ",
            r(|k| k.macs),
            r(|k| k.bytes)
        );
        let mut missed: Vec<String> = Vec::new();
        for name in ["FLOPs", "FLOPs + bytes", "layer by layer, fitted ridge"] {
            missed.extend(self.error(name).map(|error| format!("{name} by {error}")));
        }
        text += &format!("A family that was not fitted to is missed on average: {}. ", list(&missed));
        if let Some(Judged { fitted: Fitted::Sum(model), .. }) = self.get("FLOPs + bytes") {
            let mut terms = Vec::new();
            if model.per_a > 0.0 {
                let peak = context.peak().map_or(String::new(), |peak| format!(" (measured peak {peak:.0})"));
                terms.push(format!("multiply-adds at {:.0} GFLOP/s{peak}", 2e-9 / model.per_a));
            }
            if model.per_b > 0.0 {
                terms.push(format!("mac_bytes at {:.1} GB/s", 1e-9 / model.per_b));
            }
            text += &format!("FLOPs + bytes charges {}. ", list(&terms));
        }
        if let Some(Judged { fitted: Fitted::Roofline { ridge, .. }, .. }) =
            self.get("layer by layer, fitted ridge")
        {
            let machine: Vec<String> =
                self.ridges.iter().map(|(level, ridge)| format!("{ridge:.2} ({level})")).collect();
            let here = if machine.is_empty() {
                String::new()
            } else {
                format!("; this machine's: {}", list(&machine))
            };
            text += &format!("The fitted ridge lies at {ridge:.2} multiply-adds per byte{here}.");
        }
        text
    }

    fn finding(&self) -> String {
        let best: Vec<String> = self.best().iter().map(|name| format!("\u{201c}{name}\u{201d}")).collect();
        let last = match &best[..] {
            [best] => format!("the best of the models here is {best}"),
            several => format!("which is the best of {} is not told apart here", list(several)),
        };
        format!(
            "Of networks of a family it was not fitted to, FLOPs alone tell the time within {} on average, FLOPs and memory \
             access cost within {}; {last}.",
            self.error("FLOPs").unwrap_or_default(),
            self.error("FLOPs + bytes").unwrap_or_default()
        )
    }

    fn table(&self) -> Table {
        let mut table = Table::new(
            "models",
            "Models of latency: mean absolute error, and correlation of what they tell with the time",
        );
        for (name, judged) in &self.judged {
            let (rate, bandwidth, ridge) = match judged.fitted {
                Fitted::Sum(model) => (2e-9 / model.per_a, 1e-9 / model.per_b, None),
                Fitted::Roofline { ridge, per_mac } => {
                    (2e-9 / per_mac, 1e-9 / (per_mac * ridge), Some(ridge))
                }
            };
            let [pearson, spearman, kendall] = judged.correlations.map(|r| Cell::maybe(r, 3));
            table.row([
                ("model", Cell::text(name)),
                ("its networks|%", Cell::Number(100.0 * judged.inside, 1)),
                ("network left out|%", Cell::Number(100.0 * judged.left_out, 1)),
                ("family left out|%", Cell::Number(100.0 * judged.family_left_out, 1)),
                ("Pearson", pearson),
                ("Spearman", spearman),
                ("Kendall", kendall),
                ("rate|GFLOP/s", Cell::maybe(Some(rate), 0)),
                ("bandwidth|GB/s", Cell::maybe(Some(bandwidth), 1)),
                ("ridge|MAC/byte", Cell::maybe(ridge, 2)),
            ]);
        }
        table
    }

    /// The error of the model of MobileNetV4 over its ridge.
    fn sweep(&self) -> Option<Figure> {
        let judged: Vec<(f64, Judged)> = ridges()
            .step_by(4)
            .filter_map(|ridge| Some((ridge, Model::RooflineAt(ridge).judge(&self.known)?)))
            .collect();
        let line = |name: &str, of: fn(&Judged) -> f64| Series {
            name: name.into(),
            points: judged
                .iter()
                .map(|(ridge, judged)| Point {
                    x: *ridge,
                    y: 100.0 * of(judged),
                    label: String::new(),
                    tip: format!("{name}, ridge {ridge:.2}: {:.1} %", 100.0 * of(judged)),
                })
                .collect(),
            joined: true,
        };
        let upright = |(level, ridge): &(&str, f64)| Guide {
            label: format!("{level}, {ridge:.2}"),
            points: vec![(*ridge, 0.0), (*ridge, 1e4)],
            strong: false,
        };
        (!judged.is_empty()).then(|| Figure {
            id: "ridge".into(),
            title: "Error of the layer-by-layer model over its ridge".into(),
            caption: "Left of all ridges every layer is bound by its multiply-adds, and the model is FLOPs alone; right of them \
                      by its bytes. Upright lines are this machine's: its multiply-add peak over what each level of memory reads."
                .into(),
            plot: Box::new(Xy {
                x: Axis::log("ridge (multiply-adds per byte)"),
                y: Axis::linear("mean absolute error (%)"),
                series: vec![
                    line("family left out", |judged| judged.family_left_out),
                    line("network left out", |judged| judged.left_out),
                ],
                guides: self.ridges.iter().map(upright).collect(),
            }),
        })
    }
}

fn networks_table(context: &Context<'_>, measured: &[Measured<'_>], prediction: &Prediction<'_>) -> Table {
    let mut table = Table::new(
        "networks",
        "Latency of the networks, what it takes to start them, and the error of FLOPs + bytes when its family is left out",
    );
    let judged = prediction.get("FLOPs + bytes");
    let mut errors = judged.into_iter().flat_map(|judged| &judged.errors);
    for (family, of) in families(measured) {
        table.group(family);
        for m in of {
            let (s, macs, bytes) =
                (m.measurement.summary(), m.measurement.macs as f64, m.measurement.mac_bytes as f64);
            table.row([
                ("width", Cell::text(&m.network.label)),
                ("macs|10⁶", Cell::Number(macs / 1e6, 1)),
                ("mac_bytes|MB", Cell::Number(bytes / 1e6, 1)),
                ("intensity|FLOP/byte", Cell::Number(2.0 * macs / bytes, 1)),
                ("min|ms", Cell::Number(1e3 * s.min, 3)),
                ("median|ms", Cell::Number(1e3 * s.median, 3)),
                ("p90|ms", Cell::Number(1e3 * s.p90, 3)),
                ("p99|ms", Cell::Number(1e3 * s.p99, 3)),
                ("n", Cell::Number(s.n as f64, 0)),
                ("images/s", Cell::Number(1.0 / s.min, 1)),
                ("rate|GFLOP/s", Cell::Number(m.measurement.gflops(), 1)),
                (
                    "of peak|%",
                    Cell::maybe(context.peak().map(|peak| 100.0 * m.measurement.gflops() / peak), 1),
                ),
                ("to build|ms", Cell::maybe(m.cold.map(|cold| 1e3 * cold.build), 1)),
                ("first image|ms", Cell::maybe(m.cold.map(|cold| 1e3 * cold.first), 2)),
                ("model error|%", Cell::maybe(errors.next().map(|error| 100.0 * error), 1)),
            ]);
        }
    }
    table
}

/// What the paper's table 8 says of the same networks.
fn paper_table(measured: &[Measured<'_>]) -> Table {
    let mut table = Table::new(
        "paper",
        "The same networks in the paper's table 8 (GTX 1080 Ti at batch 8, one Snapdragon 810 core at batch 1)",
    );
    for (family, of) in families(measured) {
        if of.iter().any(|m| m.network.paper.is_some()) {
            table.group(family);
        }
        for m in of {
            let Some(paper) = m.network.paper else { continue };
            table.row([
                ("width", Cell::text(&m.network.label)),
                ("macs here|10⁶", Cell::Number(m.measurement.macs as f64 / 1e6, 1)),
                ("macs, paper|10⁶", Cell::Number(f64::from(paper.mflops), 0)),
                ("params|10⁶", Cell::Number(m.network.params as f64 / 1e6, 2)),
                ("top-1 error|%", Cell::Number(paper.error, 1)),
                ("GPU|batches/s", Cell::Number(paper.gpu, 0)),
                ("ARM|images/s", Cell::Number(paper.arm, 1)),
                ("here|images/s", Cell::Number(1.0 / m.measurement.summary().min, 1)),
            ]);
        }
    }
    table
}
