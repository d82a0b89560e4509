//! Several reports side by side: machines, or instruction sets of one.

use super::{Context, distinct, guidelines, latency, list};
use crate::plot::{Axis, Bar, Bars, Group, Guide, Point, Series, Xy};
use crate::tell::document::{Block, Cell, Document, Figure, Section, Table};
use crate::tell::estimate::{Estimate, Told};
use crate::tell::report::{Measurement, Report};
use crate::tell::stats::kendall;
use crate::work::networks::Network;

/// Pairs of networks that are listed.
const PAIRS: usize = 40;

/// A report, and what it is called here.
struct Place<'a> {
    name: String,
    context: Context<'a>,
}

/// A page of several reports.
pub(crate) fn merged(reports: &[Report]) -> Document {
    let names = names(reports);
    let places: Vec<Place<'_>> =
        names.into_iter().zip(reports).map(|(name, of)| Place { name, context: Context::new(of) }).collect();
    let (latency, mut findings) = latencies(&places);
    let (guidelines, verdicts) = side_by_side(&places);
    findings.extend(verdicts);
    let names: Vec<String> = places.iter().map(|place| place.name.clone()).collect();
    let quick: Vec<String> =
        places.iter().filter(|p| p.context.report.settings.mode == "quick").map(|p| p.name.clone()).collect();
    let mut warnings = Vec::new();
    if !quick.is_empty() {
        warnings.push(format!("Measured by a quick run, with few samples: {}.", list(&quick)));
    }
    Document {
        title: "Lightweight networks on several machines".into(),
        subtitle: list(&names),
        figures: places.iter().filter_map(card).collect(),
        findings,
        warnings,
        sections: vec![machines(&places), latency, guidelines, models(&places), instruction_sets(&places)],
        data: (1..=places.len()).map(|i| format!("report-{i}.json")).collect(),
    }
}

/// Processor, instruction set and threads; a number where that is the same for several.
fn names(reports: &[Report]) -> Vec<String> {
    let name = |report: &Report| {
        let cpu = report.environment.cpu.replace("(R)", "").replace("(TM)", "").replace(" CPU", "");
        let cpu = cpu.split(" @").next().unwrap_or(&cpu).split_whitespace().collect::<Vec<_>>().join(" ");
        let threads = match report.settings.threads {
            1 => String::new(),
            n => format!(", {n} threads"),
        };
        format!("{cpu}, {}{threads}", report.settings.isa)
    };
    let names: Vec<String> = reports.iter().map(name).collect();
    let number = |(i, name): (usize, &String)| {
        let before = names[..i].iter().filter(|other| *other == name).count();
        let twice = names.iter().filter(|other| *other == name).count() > 1;
        if twice { format!("{name} ({})", before + 1) } else { name.clone() }
    };
    names.iter().enumerate().map(number).collect()
}

fn card(place: &Place<'_>) -> Option<(String, String)> {
    let m = place.context.get("net/shufflenet_v2_1.0")?;
    Some((format!("ShuffleNetV2 1.0x on {}", place.name), format!("{:.2} ms", 1e3 * m.summary().min)))
}

fn machines(places: &[Place<'_>]) -> Section {
    let mut table = Table::new("machines", "The machines, and how they were measured");
    for Place { name, context } in places {
        let report = context.report;
        let read = |level: &str| report.machine.bandwidths.iter().find(|b| b.level == level).map(|b| b.read);
        let peak = context.peak();
        table.row([
            ("machine", Cell::text(name)),
            ("cores", Cell::Number(report.environment.cores as f64, 0)),
            ("peak|GFLOP/s", Cell::maybe(peak, 1)),
            ("L2 read|GB/s", Cell::maybe(read("L2"), 0)),
            ("L3 read|GB/s", Cell::maybe(read("L3"), 0)),
            ("DRAM read|GB/s", Cell::maybe(read("DRAM"), 0)),
            ("ridge of DRAM|MAC/byte", Cell::maybe(peak.zip(read("DRAM")).map(|(p, b)| p / 2.0 / b), 2)),
            ("run", Cell::text(&report.settings.mode)),
            ("date", Cell::text(report.environment.date.split('T').next().unwrap_or_default())),
            ("bench-suite", Cell::text(&report.environment.version)),
        ]);
    }
    Section { id: "machines".into(), title: "The machines".into(), blocks: vec![Block::Table(table)] }
}

/// A network that every report measured, with its measurements.
struct Shared<'a> {
    network: &'a Network,
    of: Vec<&'a Measurement>,
}

impl Shared<'_> {
    fn name(&self) -> String {
        format!("{} {}", self.network.family, self.network.label)
    }

    fn ms(&self, place: usize) -> f64 {
        1e3 * self.of[place].summary().min
    }
}

/// The same network is the same id and the same work.
fn shared<'a>(places: &[Place<'a>]) -> Vec<Shared<'a>> {
    let Some(first) = places.first() else { return vec![] };
    let of = |network: &'a Network| {
        let of: Option<Vec<&Measurement>> = places.iter().map(|p| p.context.get(&network.id)).collect();
        let of = of?;
        of.iter().all(|m| m.macs == of[0].macs).then_some(Shared { network, of })
    };
    first.context.report.networks.iter().filter_map(of).collect()
}

fn latencies(places: &[Place<'_>]) -> (Section, Vec<String>) {
    let networks = shared(places);
    let mut findings = Vec::new();
    let mut blocks = vec![Block::Text(
        "Networks that every report measured, least time over the rounds. Two networks change places where one machine tells \
         them apart in one order and another in the other order; what an interval leaves open changes nothing."
            .into(),
    )];
    if networks.is_empty() {
        blocks.push(Block::Text("The reports have no network in common.".into()));
        return (Section { id: "latency".into(), title: "Latency".into(), blocks }, findings);
    }
    blocks.push(Block::Figure(scatter(places, &networks)));
    blocks.push(Block::Table(latency_table(places, &networks)));
    blocks.push(Block::Heading("Ranks".into(), "ranks".into()));
    let flips = flips(places, &networks);
    let pairs = networks.len() * (networks.len() - 1) / 2;
    let verdict = if flips.is_empty() {
        format!(
            "No two of {} networks change places between these machines beyond their intervals.",
            networks.len()
        )
    } else {
        let of = distinct(flips.iter().map(|flip| (flip.pair[0], flip.pair[1]))).len();
        format!("{of} of {pairs} pairs of networks change places between machines, beyond their intervals.")
    };
    findings.push(verdict.clone());
    blocks.push(Block::Verdict(verdict));
    blocks.push(Block::Table(rank_table(places, &networks)));
    blocks.push(Block::Table(flip_table(places, &networks, &flips)));
    (Section { id: "latency".into(), title: "Latency".into(), blocks }, findings)
}

/// Every other machine over the first.
fn scatter(places: &[Place<'_>], networks: &[Shared<'_>]) -> Figure {
    let line = |(i, place): (usize, &Place<'_>)| Series {
        name: place.name.clone(),
        points: networks
            .iter()
            .map(|network| Point {
                x: network.ms(0),
                y: network.ms(i),
                // Labels of one series are enough: the others lie above and below.
                label: if i == 1 { network.network.label.clone() } else { String::new() },
                tip: format!("{} on {}: {:.2} ms", network.name(), place.name, network.ms(i)),
            })
            .collect(),
        joined: false,
    };
    let diagonal = Guide { label: "as fast".into(), points: vec![(1e-3, 1e-3), (1e5, 1e5)], strong: false };
    Figure {
        id: "machines-latency".into(),
        title: "Latency on each machine over that on the first".into(),
        caption: "On a line parallel to the dashed one, all networks differ by the same factor; what lies off it suits one \
                  machine better than the other."
            .into(),
        plot: Box::new(Xy {
            x: Axis::log(format!("ms, {}", places[0].name)),
            y: Axis::log("ms"),
            series: places.iter().enumerate().skip(1).map(line).collect(),
            guides: vec![diagonal],
        }),
    }
}

fn latency_table(places: &[Place<'_>], networks: &[Shared<'_>]) -> Table {
    let mut table = Table::new("machines-networks", "Latency by network and machine, minimum");
    let heads: Vec<String> = places.iter().map(|place| format!("{}|ms", place.name)).collect();
    let over: Vec<String> = places.iter().map(|place| format!("{}|over first", place.name)).collect();
    for family in distinct(networks.iter().map(|n| n.network.family.as_str())) {
        table.group(family);
        for network in networks.iter().filter(|n| n.network.family == family) {
            let mut cells = vec![
                ("width", Cell::text(&network.network.label)),
                ("macs|10⁶", Cell::Number(network.of[0].macs as f64 / 1e6, 1)),
            ];
            for (i, head) in heads.iter().enumerate() {
                cells.push((head, Cell::Number(network.ms(i), 3)));
            }
            for (i, head) in over.iter().enumerate().skip(1) {
                cells.push((head, Cell::Number(network.ms(i) / network.ms(0), 2)));
            }
            table.row(cells);
        }
    }
    table
}

fn rank_table(places: &[Place<'_>], networks: &[Shared<'_>]) -> Table {
    let mut table =
        Table::new("machines-ranks", "Ranks by latency, 1 the fastest, and how far the orders agree");
    let heads: Vec<String> = places.iter().map(|place| place.name.clone()).collect();
    let rank = |place: usize, network: &Shared<'_>| {
        1 + networks.iter().filter(|other| other.ms(place) < network.ms(place)).count()
    };
    let mut sorted: Vec<&Shared<'_>> = networks.iter().collect();
    sorted.sort_by(|a, b| a.ms(0).total_cmp(&b.ms(0)));
    for network in sorted {
        let ranks = heads
            .iter()
            .enumerate()
            .map(|(i, head)| (head.as_str(), Cell::Number(rank(i, network) as f64, 0)));
        table.row([("network", Cell::text(network.name()))].into_iter().chain(ranks));
    }
    let times = |place: usize| networks.iter().map(|n| n.ms(place)).collect::<Vec<f64>>();
    let agreement = heads
        .iter()
        .enumerate()
        .map(|(i, head)| (head.as_str(), Cell::maybe(kendall(&times(0), &times(i)), 3)));
    table.group("Kendall's correlation with the first");
    table.row([("network", Cell::text("all"))].into_iter().chain(agreement));
    table
}

/// Two networks whose order two machines see differently.
struct Flip {
    /// The first is faster on the first machine.
    pair: [usize; 2],
    places: [usize; 2],
    ratios: [Estimate; 2],
}

fn flips(places: &[Place<'_>], networks: &[Shared<'_>]) -> Vec<Flip> {
    let mut flips = Vec::new();
    let estimates: Vec<Vec<Estimate>> =
        networks.iter().map(|n| n.of.iter().map(|m| m.estimate()).collect()).collect();
    let ratio = |a: usize, b: usize, place: usize| estimates[a][place].over(&estimates[b][place]);
    for a in 0..networks.len() {
        for b in 0..a {
            let told: Vec<Told> = (0..places.len()).map(|place| ratio(a, b, place).told()).collect();
            for one in 0..places.len() {
                for other in 0..one {
                    let pair = match [told[other], told[one]] {
                        [Told::Faster, Told::Slower] => [a, b],
                        [Told::Slower, Told::Faster] => [b, a],
                        _ => continue,
                    };
                    let ratios = [other, one].map(|place| ratio(pair[1], pair[0], place));
                    flips.push(Flip { pair, places: [other, one], ratios });
                }
            }
        }
    }
    let far = |flip: &Flip| (flip.ratios[0].value / flip.ratios[1].value).ln();
    flips.sort_by(|a, b| far(b).total_cmp(&far(a)));
    flips
}

fn flip_table(places: &[Place<'_>], networks: &[Shared<'_>], flips: &[Flip]) -> Table {
    let mut table = Table::new(
        "machines-flips",
        "Networks that change places: time of the second over that of the first",
    );
    for flip in flips.iter().take(PAIRS) {
        let [first, second] = flip.pair.map(|i| Cell::text(networks[i].name()));
        let [here, there] = flip.places.map(|i| Cell::text(&places[i].name));
        let [a, b] = [0, 1].map(|i| Cell::text(flip.ratios[i].times()));
        table.row([
            ("first", first),
            ("second", second),
            ("on", here),
            ("ratio", a),
            ("but on", there),
            ("ratio", b),
        ]);
    }
    table
}

fn side_by_side(places: &[Place<'_>]) -> (Section, Vec<String>) {
    // A quick run leaves a column out: means are of the columns that all have.
    let measured = |experiment: &str, column: &str| {
        let prefix = format!("{experiment}/{column}/");
        places.iter().all(|place| place.context.report.measurements.iter().any(|m| m.id.starts_with(&prefix)))
    };
    let ratios: Vec<Vec<(String, Option<Estimate>)>> = places
        .iter()
        .map(|place| {
            guidelines::ratios(&place.context, |experiment, column| measured(&experiment.id, &column.id))
        })
        .collect();
    let names = distinct(ratios.iter().flatten().map(|(name, _)| name.clone()));
    let get = |place: usize, name: &str| {
        ratios[place].iter().find(|(of, _)| of == name).and_then(|(_, estimate)| estimate.as_ref())
    };
    let group = |name: &String| Group {
        label: name.clone(),
        bars: (0..places.len())
            .map(|place| {
                let estimate = get(place, name);
                Bar {
                    value: estimate.map_or(f64::NAN, |e| e.value),
                    interval: estimate.and_then(Estimate::interval),
                    tip: format!("{}: {}", places[place].name, estimate.map_or("?".into(), Estimate::times)),
                    ..Bar::default()
                }
            })
            .collect(),
    };
    let bars = Bars {
        title: "time relative to the guideline's way".into(),
        series: places.iter().map(|place| place.name.clone()).collect(),
        groups: names.iter().map(group).collect(),
        papers: vec![],
        baseline: Some(1.0),
    };
    let heads: Vec<[String; 2]> = places
        .iter()
        .map(|place| [format!("{}|time", place.name), format!("{}|verdict", place.name)])
        .collect();
    let mut table = Table::new(
        "machines-guidelines",
        "The guidelines on each machine, mean over the columns that all measured",
    );
    let mut findings = Vec::new();
    for name in &names {
        let mut cells = vec![("what", Cell::text(name))];
        for (place, [time, verdict]) in heads.iter().enumerate() {
            let estimate = get(place, name);
            cells.push((time, estimate.map_or(Cell::Empty, |e| Cell::text(e.times()))));
            cells.push((verdict, estimate.map_or(Cell::Empty, |e| Cell::text(guidelines::strength(e)))));
        }
        table.row(cells);
        let told: Vec<Told> = (0..places.len()).filter_map(|place| Some(get(place, name)?.told())).collect();
        let clear = distinct(told.into_iter().filter(|told| *told != Told::NotApart));
        if clear.len() > 1 {
            let each: Vec<String> = places
                .iter()
                .enumerate()
                .filter_map(|(i, place)| Some(format!("{} on {}", get(i, name)?.times(), place.name)))
                .collect();
            findings.push(format!("{name}: the machines differ, {}.", list(&each)));
        }
    }
    if findings.is_empty() {
        findings.push("No verdict on a guideline differs between these machines.".into());
    }
    let blocks = vec![
        Block::Text(
            "Each guideline's worst rows against its first, at equal FLOPs; above one the guideline holds. Whiskers say how \
             well a mean is known on its machine."
                .into(),
        ),
        Block::Figure(Figure {
            id: "machines-guidelines".into(),
            title: "The guidelines side by side".into(),
            caption: "How many times as long it takes not to follow the guideline, by machine.".into(),
            plot: Box::new(bars),
        }),
        Block::Table(table),
    ];
    (Section { id: "guidelines".into(), title: "The guidelines".into(), blocks }, findings)
}

fn models(places: &[Place<'_>]) -> Section {
    let mut table =
        Table::new("machines-models", "Models of latency: error on families of networks that were left out");
    let errors: Vec<Vec<(String, f64)>> =
        places.iter().map(|place| latency::errors(&place.context)).collect();
    let heads: Vec<String> = places.iter().map(|place| format!("{}|%", place.name)).collect();
    for name in distinct(errors.iter().flatten().map(|(name, _)| name.clone())) {
        let error =
            |place: usize| errors[place].iter().find(|(of, _)| *of == name).map(|(_, error)| 100.0 * error);
        let cells = heads.iter().enumerate().map(|(i, head)| (head.as_str(), Cell::maybe(error(i), 1)));
        table.row([("model", Cell::text(&name))].into_iter().chain(cells));
    }
    Section { id: "models".into(), title: "What predicts latency".into(), blocks: vec![Block::Table(table)] }
}

/// ShuffleNetV2 on every instruction set of every machine.
fn instruction_sets(places: &[Place<'_>]) -> Section {
    let mut table = Table::new("machines-isas", "ShuffleNetV2 by instruction set, minimum");
    let sweeps: Vec<Vec<(&str, &str, &Measurement)>> =
        places.iter().map(|place| place.context.sweep("isa")).collect();
    for width in distinct(sweeps.iter().flatten().map(|(_, width, _)| *width)) {
        table.group(format!("{width}x"));
        for (place, sweep) in places.iter().zip(&sweeps) {
            for (isa, _, m) in sweep.iter().filter(|(_, of, _)| *of == width) {
                let peak = place.context.report.peak(isa, m.threads);
                table.row([
                    ("machine", Cell::text(&place.name)),
                    ("instruction set", Cell::text(*isa)),
                    ("min|ms", Cell::Number(1e3 * m.summary().min, 3)),
                    ("median|ms", Cell::Number(1e3 * m.summary().median, 3)),
                    ("of peak|%", Cell::maybe(peak.map(|peak| 100.0 * m.gflops() / peak), 1)),
                ]);
            }
        }
    }
    Section { id: "isas".into(), title: "Instruction sets".into(), blocks: vec![Block::Table(table)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The report, its samples made steady, on a machine where `slower` networks take `factor` of their time.
    fn machine(cpu: &str, slower: &str, factor: f64) -> Report {
        let mut report = Report::parse(include_str!("../../../tests/report-1.json")).unwrap();
        report.environment.cpu = cpu.into();
        for m in &mut report.measurements {
            let factor = if m.id.starts_with(slower) { factor } else { 1.0 };
            m.seconds = vec![factor * m.summary().min; 8];
        }
        report
    }

    #[test]
    fn the_same_machine_twice_differs_in_nothing() {
        let merged = merged(&[machine("one", "", 1.0), machine("one", "", 3.0)]);
        assert_eq!(merged.findings[1..], ["No verdict on a guideline differs between these machines."]);
        assert!(merged.findings[0].starts_with("No two of 16 networks"), "{:?}", merged.findings);
        assert!(merged.subtitle.contains(" (1)") && merged.subtitle.contains(" (2)"), "{}", merged.subtitle);
    }

    #[test]
    fn what_differs_is_found() {
        let one = machine("Some(R) Thing(TM) CPU @ 2 GHz", "", 1.0);
        let reports = [one, machine("two", "net/mobilenet_v1", 4.0), machine("three", "g1/arm/x1/1-12", 0.2)];
        let merged = merged(&reports);
        assert!(merged.subtitle.starts_with("Some Thing, "), "{}", merged.subtitle);
        assert!(merged.findings[0].contains("pairs of networks change places"), "{:?}", merged.findings);
        assert!(merged.findings[1].starts_with("G1: widths 1:12"), "{:?}", merged.findings);
        let table = merged.tables().find(|table| table.id == "machines-flips").unwrap();
        assert!(table.csv().contains("MobileNet v1"), "{}", table.csv());
        // Machine three sees the networks as machine one does.
        assert!(!table.csv().contains("three") || table.csv().contains("two"), "{}", table.csv());
        let ranks = merged.tables().find(|table| table.id == "machines-ranks").unwrap().csv();
        assert!(ranks.contains("1.000000"), "{ranks}");
        assert_eq!(merged.data, ["report-1.json", "report-2.json", "report-3.json"]);
    }
}
