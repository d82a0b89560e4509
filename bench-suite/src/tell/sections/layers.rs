//! Every layer of ShuffleNetV2 under the roofs of the machine.

use model::graph::Class;

use super::Context;
use crate::plot::{Axis, Guide, Point, Series, Xy};
use crate::tell::document::{Block, Cell, Figure, Section, Table};
use crate::tell::report::Measurement;
use crate::work::layer::Layer;

/// Layers named in the table.
const FARTHEST: usize = 12;

/// A layer that was measured, under its roof.
struct Measured<'a> {
    layer: &'a Layer,
    class: Class,
    measurement: &'a Measurement,
    level: &'a str,
    /// GFLOP/s that peak and bandwidth allow.
    roof: f64,
}

impl Measured<'_> {
    fn of_roof(&self) -> f64 {
        self.measurement.gflops() / self.roof
    }

    /// FLOP per byte of memory access cost.
    fn intensity(&self) -> f64 {
        intensity(self.measurement)
    }
}

fn intensity(measurement: &Measurement) -> f64 {
    2.0 * measurement.macs as f64 / measurement.mac_bytes as f64
}

pub(super) fn section(context: &Context<'_>) -> (Section, Option<String>) {
    let machine = &context.report.machine;
    let peak = context.peak();
    let measured = context.report.measurements.iter().filter_map(|measurement| {
        let (layer, _) = (measurement.layer.as_ref()?, context.get(&measurement.id)?);
        let level = machine.level(measurement.mac_bytes)?;
        let roof = peak?.min(intensity(measurement) * level.read);
        Some(Measured { layer, class: layer.class(), measurement, level: &level.level, roof })
    });
    let measured: Vec<Measured<'_>> = measured.collect();
    let mut farthest: Vec<&Measured<'_>> = measured.iter().collect();
    farthest.sort_by(|a, b| a.of_roof().total_cmp(&b.of_roof()));
    let finding = farthest.first().map(|m| {
        let near = measured.iter().filter(|m| m.of_roof() >= 0.7).count();
        format!(
            "{near} of {} distinct ShuffleNetV2 layers reach 70 % of their roof or more; the farthest is {} of {}x ({}, {:.0} %).",
            measured.len(),
            m.layer.name,
            m.layer.width,
            m.class.name(),
            100.0 * m.of_roof()
        )
    });
    let mut blocks = vec![
        Block::Text(
            "Every distinct layer of the four widths, alone and with its data in cache. A layer's roof is the smaller of the \
             multiply-add peak and its arithmetic intensity times the read bandwidth of the level that holds its inputs, \
             outputs and weights."
                .into(),
        ),
        Block::Figure(Figure {
            id: "roofline".into(),
            title: "Roofline of the layers of ShuffleNetV2".into(),
            caption: "Slanted lines are measured read bandwidths, the level line the measured multiply-add peak. Labels name \
                      the channels of the layers farthest from their roof."
                .into(),
            plot: Box::new(roofline(context, points(&measured, &farthest))),
        }),
    ];
    if let Some(finding) = &finding {
        blocks.push(Block::Verdict(finding.clone()));
    }
    blocks.push(Block::Table(farthest_table(&farthest)));
    blocks.push(Block::Table(all_table(&measured)));
    (Section { id: "roofline".into(), title: "Roofline".into(), blocks }, finding)
}

fn points(measured: &[Measured<'_>], farthest: &[&Measured<'_>]) -> Vec<(String, Point)> {
    let named: Vec<&str> = farthest.iter().take(5).map(|m| m.measurement.id.as_str()).collect();
    let point = |m: &Measured<'_>| Point {
        x: m.intensity(),
        y: m.measurement.gflops(),
        label: if named.contains(&m.measurement.id.as_str()) {
            format!("{}\u{2192}{}", m.layer.ic, m.layer.oc)
        } else {
            String::new()
        },
        tip: format!(
            "{} of {}x: {:.1} GFLOP/s, {:.0} % of its roof ({})",
            m.layer.name,
            m.layer.width,
            m.measurement.gflops(),
            100.0 * m.of_roof(),
            m.level
        ),
    };
    measured.iter().map(|m| (m.class.name().to_owned(), point(m))).collect()
}

/// Points, each of a class of work, under the roofs of the machine.
pub(super) fn roofline(context: &Context<'_>, points: Vec<(String, Point)>) -> Xy {
    let series = Class::ALL.map(|class| Series {
        name: class.name().to_owned(),
        points: points.iter().filter(|(of, _)| of == class.name()).map(|(_, point)| point.clone()).collect(),
        joined: false,
    });
    let peak = context.peak().unwrap_or(f64::NAN);
    let mut guides: Vec<Guide> = context
        .report
        .machine
        .bandwidths
        .iter()
        .map(|b| Guide {
            label: format!("{}, {:.0} GB/s", b.level, b.read),
            points: vec![(0.01, 0.01 * b.read), (peak / b.read, peak)],
            strong: false,
        })
        .collect();
    guides.push(Guide {
        label: format!("{}, {peak:.0} GFLOP/s", context.report.settings.isa),
        points: vec![(0.01, peak), (1e4, peak)],
        strong: true,
    });
    Xy {
        x: Axis::log("arithmetic intensity (FLOP/byte)"),
        y: Axis::log("GFLOP/s"),
        series: series.into_iter().filter(|s| !s.points.is_empty()).collect(),
        guides,
    }
}

fn row(m: &Measured<'_>) -> [(&'static str, Cell); 11] {
    let (l, of) = (m.layer, m.measurement);
    [
        ("layer", Cell::text(format!("{} ({}x)", l.name, l.width))),
        ("channels", Cell::text(format!("{}, {}", l.ic, l.oc))),
        ("map", Cell::text(format!("{}x{}", l.ih, l.iw))),
        ("macs|10⁶", Cell::Number(of.macs as f64 / 1e6, 2)),
        ("mac_bytes|kB", Cell::Number(of.mac_bytes as f64 / 1e3, 0)),
        ("bound|kB", Cell::maybe(of.lower_bound_bytes.map(|b| b / 1e3), 0)),
        ("intensity|FLOP/byte", Cell::Number(m.intensity(), 1)),
        ("min|µs", Cell::Number(1e6 * of.summary().min, 1)),
        ("rate|GFLOP/s", Cell::Number(of.gflops(), 1)),
        ("roof|GFLOP/s", Cell::text(format!("{:.1} ({})", m.roof, m.level))),
        ("of roof|%", Cell::Number(100.0 * m.of_roof(), 0)),
    ]
}

fn farthest_table(farthest: &[&Measured<'_>]) -> Table {
    let mut table = Table::new("layers-farthest", "Layers farthest from their roof");
    farthest.iter().take(FARTHEST).for_each(|m| table.row(row(m)));
    table
}

/// All distinct layers, class by class.
fn all_table(measured: &[Measured<'_>]) -> Table {
    let mut table = Table::new("layers", "All distinct layers of the four widths");
    for class in Class::ALL {
        let mut of: Vec<&Measured<'_>> = measured.iter().filter(|m| m.class == class).collect();
        if of.is_empty() {
            continue;
        }
        of.sort_by_key(|m| m.measurement.macs);
        table.group(class.name());
        of.into_iter().for_each(|m| table.row(row(m)));
    }
    table
}
