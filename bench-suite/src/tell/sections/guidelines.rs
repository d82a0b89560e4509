//! The guidelines: each with a plot, a verdict computed from the numbers, and a table.

use super::{Context, geometric_mean, list};
use crate::plot::{Bar, Bars, Group};
use crate::tell::document::{Block, Cell, Figure, Section, Table};
use crate::tell::estimate::{Estimate, Told};
use crate::tell::report::Measurement;
use crate::work::guidelines::{Case, Column, Experiment};

/// A case with what was measured for it.
struct Row<'a> {
    case: &'a Case,
    measurement: &'a Measurement,
    /// Time over that of the column's first row.
    relative: Estimate,
    /// The same from the paper, on its GPU and its ARM processor.
    papers: [Option<f64>; 2],
}

/// A column whose cases were all measured.
struct Measured<'a> {
    column: &'a Column,
    rows: Vec<Row<'a>>,
}

/// What a guideline's numbers say.
struct Verdict {
    /// For the table of findings.
    short: String,
    /// For the section.
    long: String,
}

pub(super) fn section(context: &Context<'_>) -> (Section, Vec<String>) {
    let mut blocks = vec![Block::Text(
        "The paper's four experiments (its tables 1 to 4), rebuilt at its shapes: in each the FLOPs stay the same from \
         row to row while something else changes. If FLOPs told the time, all bars would be 1. Times are minima; the \
         diamonds are what the paper measured on a GTX 1080 Ti and on one core of a Snapdragon 810. A fifth experiment \
         is ours."
            .into(),
    )];
    let mut findings = Vec::new();
    for experiment in &context.report.experiments {
        let measured: Vec<Measured<'_>> =
            experiment.columns.iter().filter_map(|column| measure(context, experiment, column)).collect();
        if measured.is_empty() {
            continue;
        }
        let number = &experiment.id[1..];
        blocks.push(Block::Heading(format!("{number}. {}", experiment.title), experiment.id.clone()));
        blocks.push(Block::Text(experiment.method.clone()));
        let verdict = match experiment.id.as_str() {
            "g1" => ratio_verdict(context, &measured, "G1", "unequal widths"),
            "g2" => ratio_verdict(context, &measured, "G2", "groups"),
            "g3" => fragments_verdict(context, &measured),
            "g4" => element_wise_verdict(context, &measured),
            _ => given_back_verdict(context, &measured),
        };
        blocks.push(Block::Verdict(verdict.long));
        findings.push(verdict.short);
        for part in parts(experiment, &measured) {
            blocks.push(Block::Figure(part));
        }
        blocks.push(Block::Table(table(experiment, &measured)));
        blocks.extend(traffic(context, experiment, &measured).map(Block::Table));
    }
    (Section { id: "guidelines".into(), title: "The guidelines".into(), blocks }, findings)
}

fn measure<'a>(context: &Context<'a>, experiment: &Experiment, column: &'a Column) -> Option<Measured<'a>> {
    let first = column.cases.first()?;
    let baseline = context.get(&experiment.case_id(column, first))?.estimate();
    let row = |case: &'a Case| {
        let measurement = context.get(&experiment.case_id(column, case))?;
        let slower = |speed: Option<f64>, of_first: Option<f64>| Some(of_first? / speed?);
        let papers = [slower(case.paper.gpu, first.paper.gpu), slower(case.paper.arm, first.paper.arm)];
        Some(Row { case, measurement, relative: measurement.estimate().over(&baseline), papers })
    };
    Some(Measured { column, rows: column.cases.iter().map(row).collect::<Option<_>>()? })
}

/// The plots of an experiment: one for columns that share their rows.
fn parts(experiment: &Experiment, measured: &[Measured<'_>]) -> Vec<Figure> {
    let mut parts: Vec<Vec<&Measured<'_>>> = Vec::new();
    for column in measured {
        let titles = |m: &Measured<'_>| m.rows.iter().map(|r| r.case.title.clone()).collect::<Vec<_>>();
        match parts.last_mut() {
            Some(part) if titles(part[0]) == titles(column) => part.push(column),
            _ => parts.push(vec![column]),
        }
    }
    let several = parts.len() > 1;
    let figure = |(i, part): (usize, Vec<&Measured<'_>>)| {
        let has = |which: usize| part.iter().any(|m| m.rows.iter().any(|r| r.papers[which].is_some()));
        let names = ["paper, GTX 1080 Ti", "paper, ARM core"];
        let bar = |row: &Row<'_>| Bar {
            value: row.relative.value,
            // The first is one by definition.
            interval: row.relative.interval().filter(|_| row.relative.value != 1.0),
            papers: row.papers,
            tip: format!("{}: {:.3} ms", row.case.title, 1e3 * row.measurement.summary().min),
        };
        let group = |m: &&Measured<'_>| Group {
            label: m.column.title.clone(),
            bars: m.rows.iter().map(bar).collect(),
        };
        let bars = Bars {
            title: "time relative to the first row".into(),
            series: part[0].rows.iter().map(|r| r.case.title.clone()).collect(),
            groups: part.iter().map(group).collect(),
            // Both or none, so that the two marks keep their meaning.
            papers: if has(0) || has(1) { names.map(String::from).to_vec() } else { vec![] },
            baseline: Some(1.0),
        };
        let id = if several { format!("{}-{}", experiment.id, i + 1) } else { experiment.id.clone() };
        Figure {
            id,
            title: experiment.title.clone(),
            caption: "Bars are this machine, in the order of the legend; equal FLOPs within a group. Whiskers say how well \
                      a ratio is known (Method tells how)."
                .into(),
            plot: Box::new(bars),
        }
    };
    parts.into_iter().enumerate().map(figure).collect()
}

fn table(experiment: &Experiment, measured: &[Measured<'_>]) -> Table {
    let papers = |row: &Row<'_>| [row.case.paper.gpu, row.case.paper.arm];
    // A set of channels that is meant for one device needs only that device's columns.
    let both = measured.iter().flat_map(|m| &m.rows).any(|row| papers(row).iter().all(Option::is_some));
    let none = measured.iter().flat_map(|m| &m.rows).all(|row| papers(row).iter().all(Option::is_none));
    let mut table = Table::new(&experiment.id, &experiment.title);
    for Measured { column, rows } in measured {
        table.group(&column.title);
        for row in rows {
            let (m, summary) = (row.measurement, row.measurement.summary());
            let mut cells = vec![
                (experiment.row_name.as_str(), Cell::text(&row.case.title)),
                ("channels", Cell::text(&row.case.channels)),
                ("macs|10⁶", Cell::Number(m.macs as f64 / 1e6, 1)),
                ("mac_bytes|MB", Cell::Number(m.mac_bytes as f64 / 1e6, 1)),
                ("bound|MB", Cell::maybe(m.lower_bound_bytes.map(|b| b / 1e6), 1)),
                ("min|ms", Cell::Number(1e3 * summary.min, 3)),
                ("median|ms", Cell::Number(1e3 * summary.median, 3)),
                ("images/s", Cell::Number(1.0 / summary.min, 1)),
                ("rate|GFLOP/s", Cell::Number(m.gflops(), 1)),
                ("relative|first = 1", Cell::Number(row.relative.value, 2)),
                ("interval", row.relative.range().map_or(Cell::Empty, Cell::text)),
            ];
            let [gpu, arm] = papers(row);
            if both {
                let [relative_gpu, relative_arm] = row.papers;
                cells.extend([
                    ("paper GPU|first = 1", Cell::maybe(relative_gpu, 2)),
                    ("paper ARM|first = 1", Cell::maybe(relative_arm, 2)),
                    ("paper GPU|batches/s", Cell::maybe(gpu, 0)),
                    ("paper ARM|images/s", Cell::maybe(arm, 1)),
                ]);
            } else if !none {
                cells.extend([
                    ("paper|first = 1", Cell::maybe(row.papers[0].or(row.papers[1]), 2)),
                    ("paper speed|1/s", Cell::maybe(gpu.or(arm), 1)),
                ]);
            }
            table.row(cells);
        }
    }
    table
}

/// The traffic that a cache simulation counted, beside what the shapes say must move.
fn traffic(context: &Context<'_>, experiment: &Experiment, measured: &[Measured<'_>]) -> Option<Table> {
    let mut table = Table::new(
        format!("{}-traffic", experiment.id),
        "Traffic of one run in valgrind's cache simulation, beside mac_bytes",
    );
    for Measured { column, rows } in measured {
        for row in rows {
            let Some(of) = context.report.traffic.iter().find(|t| t.id == row.measurement.id) else {
                continue;
            };
            if table.groups.is_empty() {
                table.group(&column.title);
            }
            let bytes = row.measurement.mac_bytes as f64;
            let [first, last] = [of.first_level as f64, of.last_level as f64];
            table.row([
                (&*experiment.row_name, Cell::text(&row.case.title)),
                ("channels", Cell::text(&row.case.channels)),
                ("mac_bytes|MB", Cell::Number(bytes / 1e6, 1)),
                ("into L1|MB", Cell::Number(first / 1e6, 1)),
                ("over mac_bytes", Cell::Number(first / bytes, 2)),
                ("into L2|MB", Cell::Number(last / 1e6, 1)),
                ("over mac_bytes", Cell::Number(last / bytes, 2)),
            ]);
        }
    }
    (!table.groups.is_empty()).then_some(table)
}

/// The mean ratio of every guideline over the columns that `keep` keeps: what is compared, and how many times as long it
/// takes.
pub(super) fn ratios(
    context: &Context<'_>,
    keep: impl Fn(&Experiment, &Column) -> bool,
) -> Vec<(String, Option<Estimate>)> {
    let mut ratios = Vec::new();
    for experiment in &context.report.experiments {
        let columns = experiment.columns.iter().filter(|column| keep(experiment, column));
        let measured: Vec<Measured<'_>> =
            columns.filter_map(|column| measure(context, experiment, column)).collect();
        let of = |prefix: &str, title: &str| {
            let of = measured.iter().filter(|m| m.column.id.starts_with(prefix));
            let row =
                |m: &Measured<'_>| Some(m.rows.iter().find(|r| r.case.title == title)?.relative.clone());
            Estimate::mean(&of.filter_map(row).collect::<Vec<_>>())
        };
        let rows: &[(&str, &str, &str)] = match experiment.id.as_str() {
            "g1" => &[("G1: widths 1:12, not 1:1", "", "1:12")],
            "g2" => &[("G2: 8 groups, not 1", "", "g = 8")],
            "g3" => &[("G3: 4 fragments in series", "", "4 series"), ("G3: 4 in parallel", "", "4 parallel")],
            "g4" => &[("G4: with ReLU and shortcut", "", "neither")],
            "g5" => &[
                ("ReLU, addition not fused", "fusion", "ReLU, addition apart"),
                ("shuffle moves channels", "shuffle", "shuffle moves channels"),
            ],
            _ => &[],
        };
        for (name, prefix, title) in rows {
            let ratio = of(prefix, title);
            // The fourth takes something away; the others add it.
            let inverse = experiment.id == "g4";
            ratios.push(((*name).to_owned(), ratio.map(|r| if inverse { r.map(|r| 1.0 / r) } else { r })));
        }
    }
    ratios
}

/// Whether a guideline holds, from how much more time its worst rows take.
pub(super) fn strength(ratio: &Estimate) -> &'static str {
    match ratio.told() {
        Told::Slower => "holds here",
        Told::Faster => "does not hold here",
        Told::Same => "makes no difference here",
        Told::NotApart => "is not told apart here",
    }
}

fn times(ratio: f64) -> String {
    format!("{ratio:.2}x")
}

/// The mean over the columns, with its interval.
fn mean_of(measured: &[Measured<'_>], of: impl Fn(&Measured<'_>) -> Option<Estimate>) -> Option<Estimate> {
    Estimate::mean(&measured.iter().filter_map(of).collect::<Vec<_>>())
}

/// Nothing is known.
fn shown(mean: Option<&Estimate>) -> String {
    mean.map_or("?".into(), Estimate::times)
}

fn said(mean: Option<&Estimate>) -> &'static str {
    mean.map_or("is not told apart here", strength)
}

/// The last row against the first, for every column: `1.31x (GPU channels x1), ...`, and the paper's range.
fn last_rows(measured: &[Measured<'_>]) -> (Option<Estimate>, String, String) {
    let last = |m: &Measured<'_>| m.rows.last().map(|row| row.relative.clone());
    let each: Vec<String> = measured
        .iter()
        .filter_map(|m| Some(format!("{} ({})", times(last(m)?.value), m.column.title)))
        .collect();
    let range = |which: usize, name: &str| {
        let papers: Vec<f64> = measured.iter().filter_map(|m| m.rows.last()?.papers[which]).collect();
        let (low, high) =
            (papers.iter().copied().fold(f64::MAX, f64::min), papers.iter().copied().fold(0.0, f64::max));
        (!papers.is_empty()).then(|| format!("{low:.2} to {high:.2}x on {name}"))
    };
    let papers: Vec<String> = [range(0, "its GPU"), range(1, "its ARM core")].into_iter().flatten().collect();
    (mean_of(measured, last), list(&each), list(&papers))
}

/// G1 and G2: the last row against the first, and what explains it.
fn ratio_verdict(context: &Context<'_>, measured: &[Measured<'_>], name: &str, what: &str) -> Verdict {
    let (mean, each, papers) = last_rows(measured);
    let mean = mean.as_ref();
    let row = measured[0].rows.last().map_or("", |r| &r.case.title);
    let first = &measured[0].rows[0].case.title;
    let mut long = format!(
        "{name} {}: at equal FLOPs, {row} takes {each} of the time of {first}; {} on average. The paper found {papers}. ",
        said(mean),
        shown(mean)
    );
    long += &explain(context, measured);
    let short =
        format!("{name} {}: {what} cost {} on average ({row} against {first}).", said(mean), shown(mean));
    Verdict { short, long }
}

/// Memory and unused lanes: how much each could explain of the last rows' extra time.
fn explain(context: &Context<'_>, measured: &[Measured<'_>]) -> String {
    let ratio = |of: fn(&Measurement) -> Option<f64>| {
        let per_mac = |row: &Row<'_>| Some(of(row.measurement)? / row.measurement.macs as f64);
        let ratios: Option<Vec<f64>> =
            measured.iter().map(|m| Some(per_mac(m.rows.last()?)? / per_mac(&m.rows[0])?)).collect();
        geometric_mean(&ratios?)
    };
    let bytes = ratio(|m| Some(m.mac_bytes as f64)).unwrap_or(f64::NAN);
    let mut text = format!("Memory access cost per FLOP grows {} on average", times(bytes));
    if let Some(padding) = ratio(|m| Some(m.padded_macs? as f64)).filter(|padding| *padding > 1.02) {
        text += &format!(
            "; vectors whose lanes the channel counts do not fill, or that several groups share, could cost up to \
             {} the multiply-adds",
            times(padding)
        );
    }
    text += ". ";
    text + &balance(context, measured)
}

/// Whether the last rows' intensity lies below what the machine needs to be busy.
fn balance(context: &Context<'_>, measured: &[Measured<'_>]) -> String {
    let outer = context.report.machine.bandwidths.iter().rev().find(|b| b.level != "DRAM");
    let (Some(peak), Some(outer)) = (context.peak(), outer) else { return String::new() };
    let intensity = |m: &Measured<'_>| {
        m.rows.last().map(|r| 2.0 * r.measurement.macs as f64 / r.measurement.mac_bytes as f64)
    };
    let least = measured.iter().filter_map(intensity).fold(f64::MAX, f64::min);
    let needed = peak / outer.read;
    let keeps_up = format!("{} keeps up with the multiply-add units", outer.level);
    let from = format!("{peak:.0} GFLOP/s over {:.0} GB/s", outer.read);
    // Both were measured once: a quarter more or less proves nothing.
    if least > 1.25 * needed {
        format!(
            "Even the worst of these rows does {least:.0} FLOP per byte, more than the {needed:.0} at which {keeps_up} \
             ({from}): memory alone does not make it slow."
        )
    } else if least < needed / 1.25 {
        format!(
            "The worst of these rows does {least:.1} FLOP per byte, fewer than the {needed:.1} at which {keeps_up} ({from}): \
             memory is the limit."
        )
    } else {
        format!(
            "The worst of these rows does {least:.1} FLOP per byte, about as many as the {needed:.1} at which {keeps_up} \
             ({from}): whether memory is the limit is not told apart here."
        )
    }
}

fn fragments_verdict(context: &Context<'_>, measured: &[Measured<'_>]) -> Verdict {
    let of = |title: &str| {
        mean_of(measured, |m| Some(m.rows.iter().find(|r| r.case.title == title)?.relative.clone()))
    };
    let (series, parallel) = (of("4 series"), of("4 parallel"));
    let value = |mean: &&Estimate| mean.value;
    let worst = [&series, &parallel].into_iter().flatten().max_by(|a, b| value(a).total_cmp(&value(b)));
    let threads = context.report.settings.threads;
    let (_, each, papers) = last_rows(measured);
    let long = format!(
        "G3 {}: four fragments in series take {} of the time of one, four in parallel {}, on average; in parallel {each}. \
         The paper found {papers} for four in parallel. {} {}",
        said(worst),
        shown(series.as_ref()),
        shown(parallel.as_ref()),
        if threads == 1 {
            "On one thread there is no parallelism to lose and no kernel to launch; what remains are narrower layers, \
             which do fewer FLOPs for each byte, and the sums."
        } else {
            "Every fragment is a meeting of all threads, and narrower layers do fewer FLOPs for each byte."
        },
        balance(context, measured)
    );
    let short = format!(
        "G3 {}: four fragments cost {} in series and {} in parallel, on {threads} thread{}.",
        said(worst),
        shown(series.as_ref()),
        shown(parallel.as_ref()),
        if threads == 1 { "" } else { "s" }
    );
    Verdict { short, long }
}

/// G4: the share of time that goes when ReLU and shortcut go.
fn element_wise_verdict(_: &Context<'_>, measured: &[Measured<'_>]) -> Verdict {
    let speed_up = |m: &Measured<'_>| Some(m.rows.last()?.relative.map(|r| 1.0 / r));
    let paper = |which: usize| -> Vec<String> {
        let of = |m: &Measured<'_>| Some(times(1.0 / m.rows.last()?.papers[which]?));
        measured.iter().filter_map(of).collect()
    };
    let mean = mean_of(measured, speed_up);
    let mean = mean.as_ref();
    let each: Vec<String> = measured
        .iter()
        .filter_map(|m| Some(format!("{} ({})", times(speed_up(m)?.value), m.column.title)))
        .collect();
    let share = match mean {
        Some(mean) if mean.told() == Told::Slower => {
            format!("take {:.0} % of the time", 100.0 * (1.0 - 1.0 / mean.value))
        }
        _ => "take no time that could be told from noise".into(),
    };
    let long = format!(
        "G4 {}: without ReLU and shortcut the bottlenecks run {} faster, {} on average; the paper found {} on its GPU and {} \
         on its ARM core. Passes over memory that do none of the counted FLOPs {share}.",
        said(mean),
        list(&each),
        shown(mean),
        list(&paper(0)),
        list(&paper(1)),
    );
    let short =
        format!("G4 {}: element-wise passes, which do none of a bottleneck's FLOPs, {share}.", said(mean));
    Verdict { short, long }
}

/// G5: what fusing and not moving give back.
fn given_back_verdict(context: &Context<'_>, measured: &[Measured<'_>]) -> Verdict {
    let of = |prefix: &str, row: usize| -> Vec<Estimate> {
        measured
            .iter()
            .filter(|m| m.column.id.starts_with(prefix))
            .filter_map(|m| Some(m.rows.get(row)?.relative.clone()))
            .collect()
    };
    let each = |ratios: &[Estimate]| list(&ratios.iter().map(|r| times(r.value)).collect::<Vec<_>>());
    let (apart, norm, moved) = (of("fusion", 1), of("fusion", 2), of("shuffle", 1));
    let left: Vec<Estimate> = ["c32", "c64", "c128"]
        .into_iter()
        .filter_map(|c| {
            let fused = context.get(&format!("g5/fusion/{c}/fused"))?.estimate();
            Some(fused.over(&context.get(&format!("g4/{c}/neither"))?.estimate()))
        })
        .collect();
    let [apart_mean, norm_mean, moved_mean, left_mean] = [&apart, &norm, &moved, &left].map(Estimate::mean);
    let pays = |what: &str, mean: &Option<Estimate>| match mean.as_ref().map(Estimate::told) {
        Some(Told::Slower) => format!("{what} pays"),
        Some(Told::Same) => format!("{what} makes no difference here"),
        Some(Told::Faster) => format!("{what} costs time here"),
        _ => format!("Whether {} pays is not told apart here", what.to_lowercase()),
    };
    let mut long = format!(
        "{}: with ReLU and addition as passes of their own the bottleneck takes {} of the fused time (c = 32, 64, \
         128), with batch normalisation in the passes too {}. ",
        pays("Fusing", &apart_mean),
        each(&apart),
        each(&norm)
    );
    if let (Some(left), Some(apart)) = (&left_mean, &apart_mean) {
        long += &match left.told() {
            Told::Slower => {
                format!(
                    "Fused, ReLU and shortcut cost {:.0} % over having neither",
                    100.0 * (left.value - 1.0)
                )
            }
            Told::NotApart => "What ReLU and shortcut cost when they are fused is not told apart here".into(),
            _ => "Fused, ReLU and shortcut cost nothing".into(),
        };
        // The part that stays when they are fused, against all that they cost in passes of their own.
        let mostly_passes = left.map(|left| left - 1.0).value < (left.value * apart.value - 1.0) / 2.0;
        let sure = left.told() != Told::NotApart && apart.told() == Told::Slower;
        long += if mostly_passes && sure {
            ": what the fourth guideline warns of is mostly not the arithmetic but the separate passes. "
        } else {
            ". "
        };
    }
    if !moved.is_empty() {
        long += &format!(
            "{}: ten ShuffleNetV2 units take {} as long when each shuffle moves its channels (stages of 116, 232 and \
             464 channels), {} on average.",
            pays("Not copying", &moved_mean),
            each(&moved),
            shown(moved_mean.as_ref())
        );
    }
    let short = format!(
        "{}: passes of their own take {} of the fused time (with batch normalisation {}). {}: a shuffle that moves channels \
         makes its units take {}.",
        pays("Fusing", &apart_mean),
        shown(apart_mean.as_ref()),
        shown(norm_mean.as_ref()),
        pays("Not copying", &moved_mean),
        shown(moved_mean.as_ref())
    );
    Verdict { short, long }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strengths() {
        let strength = |ratio: f64| strength(&Estimate::minimum(&[ratio; 8]));
        assert_eq!(strength(1.5), "holds here");
        assert_eq!(strength(1.05), "holds here");
        assert_eq!(strength(1.035), "is not told apart here");
        assert_eq!(strength(1.0), "makes no difference here");
        assert_eq!(strength(0.8), "does not hold here");
    }
}
