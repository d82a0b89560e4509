//! Latency against FLOPs, as in the paper's figure 1, and what predicts it.

use super::{Context, distinct, list};
use crate::plot::{Axis, Guide, Point, Series, Xy};
use crate::tell::document::{Block, Cell, Figure, Section, Table};
use crate::tell::estimate::{Estimate, Told};
use crate::tell::report::{Cold, Measurement};
use crate::tell::stats::{TwoTerm, pearson, spearman};
use crate::work::networks::Network;

/// A network that was measured.
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

pub(super) fn section(context: &Context<'_>) -> (Section, Vec<String>) {
    let measured = context.report.networks.iter().filter_map(|network| {
        let cold = context.report.cold.iter().find(|cold| cold.id == network.id);
        Some(Measured { network, measurement: context.get(&network.id)?, cold })
    });
    let measured: Vec<Measured<'_>> = measured.collect();
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
    match Prediction::of(&measured, context.peak()) {
        Some(prediction) => {
            blocks.push(Block::Verdict(prediction.sentence(context)));
            findings.push(prediction.finding());
            blocks.push(Block::Table(networks_table(context, &measured, &prediction)));
            blocks.push(Block::Table(paper_table(&measured)));
        }
        None => blocks.push(Block::Text("Too few networks were measured to say.".into())),
    }
    (Section { id: "latency", title: "Latency against FLOPs".into(), blocks }, findings)
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
        joined: true,
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
        let accuracy = 100.0 - m.network.paper.error;
        (m.ms(), accuracy, format!("{accuracy:.1} %"))
    };
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

/// How far networks of the same FLOPs differ in time.
fn level_finding(measured: &[Measured<'_>]) -> Option<String> {
    let per_mac = |m: &Measured<'_>| m.ms() / m.measurement.macs as f64;
    let level = |index: usize| {
        let of: Vec<&Measured<'_>> =
            families(measured).into_iter().filter_map(|(_, of)| of.get(index).copied()).collect();
        let fastest = of.iter().min_by(|a, b| per_mac(a).total_cmp(&per_mac(b)))?;
        let slowest = of.iter().max_by(|a, b| per_mac(a).total_cmp(&per_mac(b)))?;
        let per_mac = |m: &Measured<'_>| m.measurement.estimate().map(|t| t / m.measurement.macs as f64);
        let ratio: Estimate = per_mac(slowest).over(&per_mac(fastest));
        Some((ratio, fastest.name(), slowest.name()))
    };
    let (ratio, fastest, slowest) =
        (0..4).filter_map(level).max_by(|a, b| a.0.value.total_cmp(&b.0.value))?;
    let shown = ratio.times();
    Some(if ratio.told() == Told::Slower {
        format!(
            "At equal FLOPs, networks differ up to {shown} in time: per multiply-add {slowest} takes that much longer than \
             {fastest}."
        )
    } else {
        format!(
            "At equal FLOPs, networks are not told apart here: per multiply-add the slowest, {slowest}, takes {shown} of the \
             time of {fastest}."
        )
    })
}

/// How well costs tell times.
struct Prediction {
    macs: [Option<f64>; 2],
    bytes: [Option<f64>; 2],
    model: TwoTerm,
    /// Relative error of each network.
    errors: Vec<f64>,
    /// Mean absolute relative error of a rate that is the same for all.
    rate_error: f64,
    /// The model whose multiply-adds run at the measured peak, and its mean absolute relative error.
    at_peak: Option<(TwoTerm, f64)>,
}

impl Prediction {
    fn of(measured: &[Measured<'_>], peak: Option<f64>) -> Option<Self> {
        let series = |of: fn(&Measured<'_>) -> f64| measured.iter().map(of).collect::<Vec<f64>>();
        let macs = series(|m| m.measurement.macs as f64);
        let bytes = series(|m| m.measurement.mac_bytes as f64);
        let time = series(|m| m.measurement.summary().min);
        let both = |x: &[f64]| [pearson(x, &time), spearman(x, &time)];
        let model = TwoTerm::fit(&macs, &bytes, &time)?;
        let rate = TwoTerm::fit(&macs, &vec![0.0; macs.len()], &time)?;
        let relative = |m: TwoTerm| -> Vec<f64> {
            measured
                .iter()
                .zip(&time)
                .map(|(net, time)| {
                    m.predict(net.measurement.macs as f64, net.measurement.mac_bytes as f64) / time - 1.0
                })
                .collect()
        };
        let mean = |errors: &[f64]| errors.iter().map(|e| e.abs()).sum::<f64>() / errors.len() as f64;
        Some(Self {
            macs: both(&macs),
            bytes: both(&bytes),
            model,
            rate_error: mean(&relative(rate)),
            at_peak: peak
                .and_then(|peak| TwoTerm::with_known(2e-9 / peak, &macs, &bytes, &time))
                .map(|model| (model, mean(&relative(model)))),
            errors: relative(model),
        })
    }

    fn mean_error(&self) -> f64 {
        self.errors.iter().map(|e| e.abs()).sum::<f64>() / self.errors.len() as f64
    }

    fn sentence(&self, context: &Context<'_>) -> String {
        let r = |[pearson, spearman]: [Option<f64>; 2]| {
            let shown = |r: Option<f64>| r.map_or("undefined".into(), |r| format!("{r:.3}"));
            format!("{} (by rank {})", shown(pearson), shown(spearman))
        };
        let mut terms = Vec::new();
        if self.model.per_a > 0.0 {
            let peak = context.peak().map_or(String::new(), |peak| format!(" (measured peak {peak:.0})"));
            terms.push(format!("multiply-adds at {:.0} GFLOP/s{peak}", 2e-9 / self.model.per_a));
        }
        if self.model.per_b > 0.0 {
            terms.push(format!("mac_bytes at {:.1} GB/s", 1e-9 / self.model.per_b));
        }
        let at_peak = match self.at_peak {
            Some((model, error)) if model.per_b > 0.0 => format!(
                " With multiply-adds at the measured peak, mac_bytes at {:.1} GB/s fit best, with an error of {:.1} %.",
                1e-9 / model.per_b,
                100.0 * error
            ),
            _ => String::new(),
        };
        format!(
            "Latency correlates with multiply-adds at r = {}, with mac_bytes at {}. One rate for all networks misses by \
             {:.1} % on average; the two-term model, time = macs / rate + mac_bytes / bandwidth, by {:.1} %. Its best fit \
             charges {}.{at_peak}",
            r(self.macs),
            r(self.bytes),
            100.0 * self.rate_error,
            100.0 * self.mean_error(),
            list(&terms)
        )
    }

    fn finding(&self) -> String {
        let r = |[pearson, _]: [Option<f64>; 2]| pearson.map_or("?".into(), |r| format!("{r:.3}"));
        format!(
            "Latency correlates with multiply-adds at r = {}, with memory access cost at {}; both together predict it \
             within {:.1} % on average, FLOPs alone within {:.1} %.",
            r(self.macs),
            r(self.bytes),
            100.0 * self.mean_error(),
            100.0 * self.rate_error
        )
    }
}

fn networks_table(context: &Context<'_>, measured: &[Measured<'_>], prediction: &Prediction) -> Table {
    let mut table = Table::new(
        "networks",
        "Latency of the networks, what it takes to start them, and the error of the two-term model for each",
    );
    let mut errors = prediction.errors.iter();
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
        table.group(family);
        for m in of {
            let paper = m.network.paper;
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
