//! One thing varied at a time: threads, batch, image size, channels, instruction set.

use super::{Context, distinct};
use crate::plot::{Axis, Bar, Bars, Group, Plot, Point, Series, Xy};
use crate::tell::document::{Block, Cell, Figure, Section, Table};
use crate::tell::estimate::Estimate;
use crate::tell::report::Measurement;

/// What a measurement is told by.
type Of = fn(&Measurement) -> f64;

/// The measurements of a sweep: a value, and what it was tried on.
struct Sweep<'a>(Vec<(&'a str, &'a str, &'a Measurement)>);

impl<'a> Sweep<'a> {
    fn values(&self) -> Vec<&'a str> {
        distinct(self.0.iter().map(|point| point.0))
    }

    fn tried_on(&self) -> Vec<&'a str> {
        distinct(self.0.iter().map(|point| point.1))
    }

    fn get(&self, value: &str, on: &str) -> Option<&'a Measurement> {
        self.0.iter().find(|point| (point.0, point.1) == (value, on)).map(|point| point.2)
    }

    /// Lines over numbers, one for each thing tried.
    fn lines(&self, x: Axis, y: Axis, of: Of) -> Box<dyn Plot> {
        let line = |on: &str| {
            let points = self.0.iter().filter(|point| point.1 == on).filter_map(|(value, _, m)| {
                let tip = format!("{on}, {value}: {:.1}", of(m));
                Some(Point { x: value.parse().ok()?, y: of(m), label: String::new(), tip })
            });
            Series { name: on.to_owned(), points: points.collect(), joined: true }
        };
        Box::new(Xy { x, y, series: self.tried_on().into_iter().map(line).collect(), guides: vec![] })
    }

    /// Groups of bars, one group for each thing tried and one bar for each value.
    fn bars(
        &self,
        title: &str,
        baseline: Option<f64>,
        of: impl Fn(&str, &str) -> Option<Estimate>,
    ) -> Box<dyn Plot> {
        let group = |on: &str| {
            let bar = |value: &&str| {
                let of = of(value, on);
                let height = of.as_ref().map_or(f64::NAN, |of| of.value);
                let interval = of.and_then(|of| of.interval()).filter(|_| baseline != Some(height));
                Bar { value: height, interval, tip: format!("{value}: {height:.2}"), ..Bar::default() }
            };
            Group { label: format!("{on}x"), bars: self.values().iter().map(bar).collect() }
        };
        Box::new(Bars {
            title: title.to_owned(),
            series: self.values().into_iter().map(str::to_owned).collect(),
            groups: self.tried_on().into_iter().map(group).collect(),
            papers: vec![],
            baseline,
        })
    }

    /// A table with a row per value and a column per thing tried.
    fn grid(&self, id: &str, title: &str, head: &str, unit: &str, (digits, of): (usize, Of)) -> Table {
        let mut table = Table::new(id, title);
        let tried_on = self.tried_on();
        let heads: Vec<String> = tried_on.iter().map(|on| format!("{on}|{unit}")).collect();
        for value in self.values() {
            let cells = tried_on
                .iter()
                .zip(&heads)
                .map(|(on, head)| (head.as_str(), Cell::maybe(self.get(value, on).map(of), digits)));
            table.row([(head, Cell::maybe(value.parse().ok(), 0))].into_iter().chain(cells));
        }
        table
    }
}

pub(super) fn section(context: &Context<'_>) -> Section {
    let [threads, batch, size, isa] = ["threads", "batch", "size", "isa"].map(|s| Sweep(context.sweep(s)));
    let rate: Of = Measurement::gflops;
    let per_second: Of = |m| m.batch as f64 / m.summary().min;
    let ms: Of = |m| 1e3 * m.summary().min;
    let mut blocks = Vec::new();
    let mut figure = |heading: &str, id: &str, title: &str, caption: &str, plot: Box<dyn Plot>| {
        if !heading.is_empty() {
            blocks.push(Block::Heading(heading.to_owned(), format!("sweep-{id}")));
        }
        let (id, title, caption) = (id.to_owned(), title.to_owned(), caption.to_owned());
        blocks.push(Block::Figure(Figure { id, title, caption, plot }));
        blocks.len()
    };

    let speed_up = |value: &str, on: &str| {
        Some(threads.get("1", on)?.estimate().over(&threads.get(value, on)?.estimate()))
    };
    let caption = "One image cut within its layers, over one thread.";
    figure(
        "Threads",
        "threads",
        "Speed-up by threads, batch 1",
        caption,
        threads.bars("speed-up", Some(1.0), speed_up),
    );
    figure(
        "Batch",
        "batch",
        "Images a second by batch",
        "All threads of the machine; from a batch of as many images as threads on, whole images run side by side.",
        batch.lines(Axis::log("images per batch"), Axis::log("images/s"), per_second),
    );
    figure(
        "Image size",
        "size",
        "Rate by image size",
        "Maps whose sides are no multiples of the kernels' tiles leave tails; a flat line means they cost nothing.",
        size.lines(Axis::close("side of the image (pixels)"), Axis::linear("GFLOP/s"), rate),
    );
    let mut tables = vec![thread_table(context, &threads)];
    tables.push(batch.grid(
        "batch",
        "Batches: images a second, minimum time",
        "batch",
        "images/s",
        (1, per_second),
    ));
    tables.push(size.grid("size", "Image sizes: latency, minimum", "side", "ms", (3, ms)));
    for (heading, layer, title) in [
        ("Channels", "1x1", "1x1 convolution by channels"),
        ("", "depthwise", "Depthwise convolution by channels"),
    ] {
        let channels = channels(context, layer);
        let plot = channels.lines(Axis::close("channels in and out"), Axis::linear("GFLOP/s"), rate);
        let caption = "The 1.0x network has 58 channels in its first stage, which fill vectors of 4, 8 or 16 lanes badly. \
                       One layer on a 28x28 map; useful GFLOP/s, without what unused lanes compute.";
        let id = format!("channels-{layer}");
        figure(heading, &id, title, caption, plot);
        tables.push(channels.grid(&id, title, "channels", "GFLOP/s", (1, rate)));
    }
    figure(
        "Instruction sets",
        "isas",
        "ShuffleNetV2 by instruction set",
        "Batch 1, packed for each instruction set this processor has.",
        isa.bars("GFLOP/s", None, |value, on| {
            let m = isa.get(value, on)?;
            Some(m.estimate().map(|seconds| 2e-9 * m.macs as f64 / seconds))
        }),
    );
    tables.push(isa_table(context, &isa));
    blocks.extend(tables.into_iter().map(Block::Table));
    Section { id: "scaling".into(), title: "Scaling".into(), blocks }
}

/// The channel counts of one kind of layer, tried on every instruction set.
fn channels<'a>(context: &Context<'a>, layer: &str) -> Sweep<'a> {
    let points = context.sweep("channels").into_iter().filter_map(|(isa, of, m)| {
        let (kind, channels) = of.split_once('/')?;
        (kind == layer).then_some((channels, isa, m))
    });
    Sweep(points.collect())
}

fn thread_table(context: &Context<'_>, threads: &Sweep<'_>) -> Table {
    let mut table = Table::new("threads", "Threads, batch 1");
    for width in threads.tried_on() {
        table.group("");
        let one = threads.get("1", width).map(|m| m.summary().min);
        for m in threads.values().into_iter().filter_map(|n| threads.get(n, width)) {
            let s = m.summary();
            let peak = context.report.peak(&m.isa, m.threads);
            table.row([
                ("width", Cell::text(width)),
                ("threads", Cell::Number(m.threads as f64, 0)),
                ("min|ms", Cell::Number(1e3 * s.min, 3)),
                ("median|ms", Cell::Number(1e3 * s.median, 3)),
                ("speed-up", Cell::maybe(one.map(|one| one / s.min), 2)),
                ("rate|GFLOP/s", Cell::Number(m.gflops(), 1)),
                ("of peak|%", Cell::maybe(peak.map(|peak| 100.0 * m.gflops() / peak), 1)),
                ("threads seen|cpu/wall", Cell::maybe(m.cpu_over_wall, 2)),
            ]);
        }
    }
    table
}

fn isa_table(context: &Context<'_>, isas: &Sweep<'_>) -> Table {
    let mut table = Table::new("isas", "Instruction sets");
    for width in isas.tried_on() {
        table.group("");
        for m in isas.values().into_iter().filter_map(|isa| isas.get(isa, width)) {
            let s = m.summary();
            let peak = context.report.peak(&m.isa, m.threads);
            table.row([
                ("width", Cell::text(width)),
                ("instruction set", Cell::text(&m.isa)),
                ("min|ms", Cell::Number(1e3 * s.min, 3)),
                ("median|ms", Cell::Number(1e3 * s.median, 3)),
                ("rate|GFLOP/s", Cell::Number(m.gflops(), 1)),
                ("own peak|GFLOP/s", Cell::maybe(peak, 1)),
                ("of peak|%", Cell::maybe(peak.map(|peak| 100.0 * m.gflops() / peak), 1)),
            ]);
        }
    }
    table
}
