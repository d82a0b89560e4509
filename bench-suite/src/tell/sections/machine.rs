//! The machine, measured.

use super::Context;
use crate::tell::document::{Block, Cell, Section, Table};
use crate::tell::report::Report;
use crate::tell::stats::Summary;

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
    let mut peaks = Table::new("peaks", "Multiply-add peak", &["instruction set", "threads", "peak|GFLOP/s"]);
    for peak in &report.machine.peaks {
        peaks.row(vec![
            Cell::text(&peak.isa),
            Cell::Number(peak.threads as f64, 0),
            Cell::Number(peak.gflops, 1),
        ]);
    }
    let mut bandwidths = Table::new(
        "bandwidths",
        "Bandwidth on one thread",
        &["level", "array|kB", "read|GB/s", "copy|GB/s", "balance|FLOP/byte"],
    );
    let peak = report.peak(&report.settings.isa, 1);
    for b in &report.machine.bandwidths {
        bandwidths.row(vec![
            Cell::text(&b.level),
            Cell::Number(b.bytes as f64 / 1e3, 0),
            Cell::Number(b.read, 1),
            Cell::Number(b.copy, 1),
            Cell::maybe(peak.map(|peak| peak / b.read), 1),
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
    if let Some(noise) = Summary::of(&report.machine.noise.iter().map(|g| 1.0 / g).collect::<Vec<_>>()) {
        blocks.push(Block::Text(format!(
            "Noise: after every round of everything else the multiply-add loop ran again, {} times: best {:.1} GFLOP/s, median \
             {:.1}, slowest tenth below {:.1}. Its median lay {:.1} % above its minimum in time; differences smaller than that \
             mean little.",
            noise.n,
            1.0 / noise.min,
            1.0 / noise.median,
            1.0 / noise.p90,
            100.0 * noise.spread()
        )));
    }
    Section { id: "machine", title: "The machine".into(), blocks }
}
