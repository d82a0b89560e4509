//! The machine, measured.

use model::sentinel::{TOLERANCE, WAITED};

use super::Context;
use crate::plot::{Axis, Point, Series, Xy};
use crate::tell::document::{Block, Cell, Figure, Section, Table};
use crate::tell::report::{Report, Rounds};
use crate::tell::stats::Summary;

/// The largest relative time that the plot of the sentinel has room for.
const MOST: f64 = 4.0;

pub(super) fn subtitle(report: &Report) -> String {
    let (env, settings) = (&report.environment, &report.settings);
    let date = env.date.split('T').next().unwrap_or(&env.date);
    format!(
        "{}, {}, {} thread{}, measured {date} in {} s ({} run)",
        env.cpu,
        settings.isa,
        settings.threads,
        if settings.threads == 1 { "" } else { "s" },
        settings.seconds,
        settings.mode
    )
}

/// The numbers to remember.
pub(super) fn cards(context: &Context<'_>) -> Vec<(String, String)> {
    let mut cards = Vec::new();
    if let Some(peak) = context.peak() {
        cards.push((
            format!("multiply-add peak, {}", context.report.settings.isa),
            format!("{peak:.0} GFLOP/s"),
        ));
    }
    for b in context.report.machine.bandwidths.iter().filter(|b| b.level != "L1") {
        cards.push((format!("{} read, one thread", b.level), format!("{:.0} GB/s", b.read)));
    }
    if let Some(m) = context.get("net/shufflenet_v2_1.0") {
        cards.push(("ShuffleNetV2 1.0x, one image".into(), format!("{:.2} ms", 1e3 * m.summary().min)));
        if let Some(peak) = context.peak() {
            cards.push(("of the multiply-add peak".into(), format!("{:.0} %", 100.0 * m.gflops() / peak)));
        }
    }
    cards
}

pub(super) fn section(report: &Report) -> Section {
    let mut peaks = Table::new("peaks", "Multiply-add peak");
    for peak in &report.machine.peaks {
        peaks.row([
            ("instruction set", Cell::text(&peak.isa)),
            ("threads", Cell::Number(peak.threads as f64, 0)),
            ("peak|GFLOP/s", Cell::Number(peak.gflops, 1)),
        ]);
    }
    let mut bandwidths = Table::new("bandwidths", "Bandwidth on one thread");
    let peak = report.peak(&report.settings.isa, 1);
    for b in &report.machine.bandwidths {
        bandwidths.row([
            ("level", Cell::text(&b.level)),
            ("array|kB", Cell::Number(b.bytes as f64 / 1e3, 0)),
            ("read|GB/s", Cell::Number(b.read, 1)),
            ("copy|GB/s", Cell::Number(b.copy, 1)),
            ("balance|FLOP/byte", Cell::maybe(peak.map(|peak| peak / b.read), 1)),
        ]);
    }
    let mut blocks = vec![
        Block::Text(
            "Peaks are multiply-adds on registers alone. Bandwidths are the fastest of several loops over arrays of the given \
             size; a copy counts bytes read plus bytes written. Balance is how many FLOP a byte must be worth for the \
             multiply-add units to stay busy from that level."
                .into(),
        ),
        Block::Table(peaks),
        Block::Table(bandwidths),
    ];
    blocks.extend(noise(report));
    Section { id: "machine".into(), title: "The machine".into(), blocks }
}

/// How quiet the machine was.
fn noise(report: &Report) -> Vec<Block> {
    let machine = &report.machine;
    let series = [
        ("small network", machine.looks.iter().map(|look| look.network).collect()),
        ("loop over memory", machine.looks.iter().map(|look| look.memory).collect()),
        ("multiply-adds on registers", machine.noise.iter().map(|gflops| 1.0 / gflops).collect::<Vec<f64>>()),
    ];
    let mut table = Table::new("noise", "The sentinel, time relative to its fastest");
    let mut lines = Vec::new();
    for (name, times) in series {
        let Some(summary) = Summary::of(&times) else { continue };
        let relative = |time: f64| time / summary.min;
        table.row([
            ("what", Cell::text(name)),
            ("looks", Cell::Number(summary.n as f64, 0)),
            ("median", Cell::Number(relative(summary.median), 2)),
            ("p90", Cell::Number(relative(summary.p90), 2)),
            ("p99", Cell::Number(relative(summary.p99), 2)),
        ]);
        let point = |(i, time): (usize, &f64)| Point {
            x: (i + 1) as f64,
            // What is off the scale is drawn at its end.
            y: relative(*time).min(MOST),
            label: String::new(),
            tip: format!("{name}, look {}: {:.2}x", i + 1, relative(*time)),
        };
        let points = times.iter().enumerate().map(point).collect();
        lines.push(Series { name: name.into(), points, joined: false });
    }
    if lines.is_empty() {
        return vec![];
    }
    let mut blocks = vec![Block::Heading("How quiet it was".into(), "quiet".into())];
    if machine.looks.is_empty() {
        blocks.push(Block::Text(
            "After every round of everything else the multiply-add loop ran again. It does not notice who shares caches and \
             memory; later versions of this report have a sentinel that does."
                .into(),
        ));
    } else {
        let of = |count: fn(&Rounds) -> usize| machine.rounds.iter().map(count).sum::<usize>();
        let (kept, repeated, disturbed) = (of(|r| r.kept), of(|r| r.repeated), of(|r| r.disturbed));
        let waited: Vec<f64> = machine.looks.iter().filter_map(|look| look.waited).collect();
        let waited = Summary::of(&waited).map_or(String::new(), |waited| {
            format!(
                " The thread waited for a processor for {:.0} % of its time (median).",
                100.0 * waited.median
            )
        });
        blocks.push(Block::Text(format!(
            "In every round of everything else a sentinel ran beside it: ShuffleNetV2 0.5x on a small image, a sum over 8 MiB, \
             and multiply-adds on registers, of which the first two notice who shares caches and memory. Where one of them took \
             {:.0} % longer than ever before, or the thread had waited for a processor for more than {:.0} % of the time, the round \
             was repeated while there was time (half as long again as each section's share). {repeated} rounds were repeated and left \
             out; of the {kept} that were kept, {disturbed} were disturbed.{waited}",
            100.0 * TOLERANCE,
            100.0 * WAITED
        )));
    }
    blocks.push(Block::Figure(Figure {
        id: "noise".into(),
        title: "The sentinel during the run".into(),
        caption: format!(
            "Time relative to its fastest: one look after the other, from the beginning to the end of the run; more than \
             {MOST:.0} is drawn at {MOST:.0}."
        ),
        plot: Box::new(Xy {
            x: Axis::close("look"),
            y: Axis::close("time, fastest = 1"),
            series: lines,
            guides: vec![],
        }),
    }));
    blocks.push(Block::Table(table));
    blocks
}
