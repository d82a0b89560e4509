//! One thing varied at a time: threads, batch, image size, channels, instruction set.

use super::Context;
use crate::document::{Block, Cell, Figure, Section, Table};
use crate::plot::{Axis, Bar, Bars, Group, Point, Series, Xy};
use crate::report::Measurement;
use crate::sweeps::{BATCHES, CHANNELS, SIZES, WIDTHS, threads};

pub(super) fn section(context: &Context<'_>) -> Section {
    let mut blocks = Vec::new();
    let counts = threads(context.report.environment.cores);
    blocks.push(Block::Heading("Threads".into(), "threads"));
    blocks.push(Block::Figure(Figure {
        id: "threads".into(),
        title: "Speed-up by threads, batch 1".into(),
        caption: "One image cut within its layers, over one thread.".into(),
        plot: Box::new(thread_bars(context, &counts)),
    }));
    blocks.push(Block::Table(thread_table(context, &counts)));

    blocks.push(Block::Heading("Batch".into(), "batch"));
    blocks.push(Block::Figure(Figure {
        id: "batch".into(),
        title: "Images a second by batch".into(),
        caption: "All threads of the machine; from a batch of as many images as threads on, whole images run side by side."
            .into(),
        plot: Box::new(by_width(
            context,
            Axis::log("images per batch"),
            Axis::log("images/s"),
            &BATCHES,
            |batch, width| format!("batch/{batch}/{width}"),
            |m| m.batch as f64 / m.summary().min,
        )),
    }));
    blocks.push(Block::Table(grid(
        context,
        ("batch", "Batches: images a second, minimum time"),
        "batch",
        &BATCHES,
        |batch, width| format!("batch/{batch}/{width}"),
        ("images/s", 1, |m| m.batch as f64 / m.summary().min),
    )));

    blocks.push(Block::Heading("Image size".into(), "size"));
    blocks.push(Block::Figure(Figure {
        id: "size".into(),
        title: "Rate by image size".into(),
        caption: "Maps whose sides are no multiples of the kernels' tiles leave tails; a flat line means they cost nothing."
            .into(),
        plot: Box::new(by_width(
            context,
            Axis::close("side of the image (pixels)"),
            Axis::linear("GFLOP/s"),
            &SIZES,
            |size, width| format!("size/{size}/{width}"),
            Measurement::gflops,
        )),
    }));
    blocks.push(Block::Table(grid(
        context,
        ("size", "Image sizes: latency, minimum"),
        "side",
        &SIZES,
        |size, width| format!("size/{size}/{width}"),
        ("ms", 3, |m| 1e3 * m.summary().min),
    )));

    blocks.push(Block::Heading("Channels".into(), "channels"));
    blocks.push(Block::Text(
        "The 1.0x network has 58 channels in its first stage, which fill vectors of 4, 8 or 16 lanes badly; several engines \
         fall off their fast path there. One layer from c to c channels on a 28x28 map:"
            .into(),
    ));
    for (name, title) in
        [("1x1", "1x1 convolution by channels"), ("depthwise", "Depthwise convolution by channels")]
    {
        blocks.push(Block::Figure(Figure {
            id: format!("channels-{name}"),
            title: title.into(),
            caption: "Useful GFLOP/s; what unused lanes compute does not count.".into(),
            plot: Box::new(channel_lines(context, name)),
        }));
    }
    blocks.push(Block::Table(channel_table(context)));

    blocks.push(Block::Heading("Instruction sets".into(), "isas"));
    blocks.push(Block::Figure(Figure {
        id: "isas".into(),
        title: "ShuffleNetV2 by instruction set".into(),
        caption: "The model crate, batch 1, packed for each instruction set this processor has.".into(),
        plot: Box::new(isa_bars(context)),
    }));
    blocks.push(Block::Table(isa_table(context)));
    Section { id: "scaling", title: "Scaling".into(), blocks }
}

/// Instruction sets in the report, the fastest first.
fn isas<'a>(context: &Context<'a>) -> Vec<&'a str> {
    let mut isas: Vec<&str> = context.report.machine.peaks.iter().map(|p| p.isa.as_str()).collect();
    isas.dedup();
    isas
}

fn thread_bars(context: &Context<'_>, counts: &[usize]) -> Bars {
    let group = |width: &'static str| {
        let time = |n: usize| context.get(&format!("threads/{n}/{width}")).map(|m| m.summary().min);
        let bar = |n: &usize| {
            let speed_up = time(1).zip(time(*n)).map_or(f64::NAN, |(one, many)| one / many);
            Bar { value: speed_up, tip: format!("{n} threads: {speed_up:.2}x"), ..Bar::default() }
        };
        Group { label: format!("{width}x"), bars: counts.iter().map(bar).collect() }
    };
    Bars {
        title: "speed-up".into(),
        series: counts
            .iter()
            .map(|n| if *n == 1 { "1 thread".into() } else { format!("{n} threads") })
            .collect(),
        groups: WIDTHS.into_iter().map(group).collect(),
        papers: vec![],
        baseline: Some(1.0),
    }
}

fn thread_table(context: &Context<'_>, counts: &[usize]) -> Table {
    let mut table = Table::new(
        "threads",
        "Threads, batch 1",
        &[
            "width",
            "threads",
            "min|ms",
            "median|ms",
            "speed-up",
            "rate|GFLOP/s",
            "of peak|%",
            "threads seen|cpu/wall",
        ],
    );
    for width in WIDTHS {
        table.group("");
        let one = context.get(&format!("threads/1/{width}")).map(|m| m.summary().min);
        for n in counts {
            let Some(m) = context.get(&format!("threads/{n}/{width}")) else { continue };
            let s = m.summary();
            let peak = context.report.peak(&m.isa, *n);
            table.row(vec![
                Cell::text(width),
                Cell::Number(*n as f64, 0),
                Cell::Number(1e3 * s.min, 3),
                Cell::Number(1e3 * s.median, 3),
                Cell::maybe(one.map(|one| one / s.min), 2),
                Cell::Number(m.gflops(), 1),
                Cell::maybe(peak.map(|peak| 100.0 * m.gflops() / peak), 1),
                Cell::maybe(m.cpu_over_wall, 2),
            ]);
        }
    }
    table
}

/// Lines, one for each width.
fn by_width(
    context: &Context<'_>,
    x: Axis,
    y: Axis,
    values: &[usize],
    id: impl Fn(usize, &str) -> String,
    of: impl Fn(&Measurement) -> f64,
) -> Xy {
    let line = |width: &'static str| {
        let point = |value: &usize| {
            let m = context.get(&id(*value, width))?;
            let y = of(m);
            let tip = format!("{width}x, {value}: {y:.1}");
            Some(Point { x: *value as f64, y, label: String::new(), tip })
        };
        Series { name: format!("{width}x"), points: values.iter().filter_map(point).collect(), joined: true }
    };
    Xy { x, y, series: WIDTHS.into_iter().map(line).collect(), guides: vec![] }
}

/// A table with a row per value and a column per width.
fn grid(
    context: &Context<'_>,
    (id, title): (&str, &str),
    head: &str,
    values: &[usize],
    of_id: impl Fn(usize, &str) -> String,
    (unit, digits, of): (&str, usize, fn(&Measurement) -> f64),
) -> Table {
    let heads: Vec<String> =
        std::iter::once(head.to_owned()).chain(WIDTHS.map(|width| format!("{width}x|{unit}"))).collect();
    let mut table = Table::new(id, title, &heads.iter().map(String::as_str).collect::<Vec<_>>());
    for &value in values {
        let mut cells = vec![Cell::Number(value as f64, 0)];
        cells.extend(WIDTHS.map(|width| Cell::maybe(context.get(&of_id(value, width)).map(of), digits)));
        table.row(cells);
    }
    table
}

fn channel_lines(context: &Context<'_>, layer: &str) -> Xy {
    let line = |isa: &str| {
        let point = |channels: usize| {
            let m = context.get(&format!("channels/{isa}/{layer}/{channels}"))?;
            let tip = format!("{isa}, {channels} channels: {:.1} GFLOP/s", m.gflops());
            Some(Point { x: channels as f64, y: m.gflops(), label: String::new(), tip })
        };
        Series { name: isa.to_owned(), points: CHANNELS.filter_map(point).collect(), joined: true }
    };
    Xy {
        x: Axis::close("channels in and out"),
        y: Axis::linear("GFLOP/s"),
        series: isas(context).into_iter().map(line).collect(),
        guides: vec![],
    }
}

fn channel_table(context: &Context<'_>) -> Table {
    let isas = isas(context);
    let mut heads = vec!["channels".to_owned()];
    for layer in ["1x1", "depthwise"] {
        heads.extend(isas.iter().map(|isa| format!("{layer}, {isa}|GFLOP/s")));
    }
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let mut table = Table::new("channels", "Channels around 58, on a 28x28 map", &heads);
    for channels in CHANNELS {
        let mut cells = vec![Cell::Number(channels as f64, 0)];
        for layer in ["1x1", "depthwise"] {
            cells.extend(isas.iter().map(|isa| {
                let m = context.get(&format!("channels/{isa}/{layer}/{channels}"));
                Cell::maybe(m.map(Measurement::gflops), 1)
            }));
        }
        table.row(cells);
    }
    table
}

fn isa_bars(context: &Context<'_>) -> Bars {
    let isas = isas(context);
    let group = |width: &'static str| {
        let bar = |isa: &&str| {
            let m = context.get(&format!("isa/{isa}/{width}"));
            let rate = m.map_or(f64::NAN, Measurement::gflops);
            Bar { value: rate, tip: format!("{isa}: {rate:.1} GFLOP/s"), ..Bar::default() }
        };
        Group { label: format!("{width}x"), bars: isas.iter().map(bar).collect() }
    };
    Bars {
        title: "GFLOP/s".into(),
        series: isas.iter().map(|isa| (*isa).to_owned()).collect(),
        groups: WIDTHS.into_iter().map(group).collect(),
        papers: vec![],
        baseline: None,
    }
}

fn isa_table(context: &Context<'_>) -> Table {
    let mut table = Table::new(
        "isas",
        "Instruction sets",
        &["width", "instruction set", "min|ms", "median|ms", "rate|GFLOP/s", "own peak|GFLOP/s", "of peak|%"],
    );
    for width in WIDTHS {
        table.group("");
        for isa in isas(context) {
            let Some(m) = context.get(&format!("isa/{isa}/{width}")) else { continue };
            let s = m.summary();
            let peak = context.report.peak(isa, m.threads);
            table.row(vec![
                Cell::text(width),
                Cell::text(isa),
                Cell::Number(1e3 * s.min, 3),
                Cell::Number(1e3 * s.median, 3),
                Cell::Number(m.gflops(), 1),
                Cell::maybe(peak, 1),
                Cell::maybe(peak.map(|peak| 100.0 * m.gflops() / peak), 1),
            ]);
        }
    }
    table
}
