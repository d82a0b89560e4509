//! A section for each network that was asked for by itself: every layer with its time, its costs and its roof, the worst
//! of them with the reason, and what a friendlier width would save.

use super::layers::roofline;
use super::{Context, list};
use crate::plot::Point;
use crate::tell::document::{Block, Cell, Figure, Section, Table};
use crate::tell::estimate::{Estimate, Told};
use crate::tell::report::{Profile, Widths};
use crate::work::networks::Network;
use crate::work::step::Step;

/// Layers that are called the worst.
const WORST: usize = 8;

/// A layer that takes less than this does little work for the time it takes to start one.
const LITTLE_SECONDS: f64 = 10e-6;

/// A share of lanes that is worth naming.
const UNUSED: f64 = 0.08;

/// Sums of fewer terms do not pay for the beginning and the end of a tile.
const SHORT: f64 = 64.0;

/// Below this share of its roof, a layer wants a reason.
const NEAR: f64 = 0.7;

/// A layer with its time and its roof.
struct Timed<'a> {
    step: &'a Step,
    seconds: f64,
    /// The least that peak and bandwidth allow; none where the machine was not measured.
    roof: Option<f64>,
    /// Whether memory is what limits it there, and which level.
    memory: Option<&'a str>,
    reasons: Vec<String>,
}

impl Timed<'_> {
    fn of_roof(&self) -> Option<f64> {
        Some(self.roof? / self.seconds)
    }

    /// Seconds over the roof.
    fn lost(&self) -> f64 {
        self.roof.map_or(0.0, |roof| (self.seconds - roof).max(0.0))
    }
}

pub(super) fn sections(context: &Context<'_>) -> Vec<Section> {
    let profiles = context.report.profiles.iter().enumerate();
    profiles.filter_map(|(i, profile)| section(context, i + 1, profile)).collect()
}

fn section(context: &Context<'_>, number: usize, profile: &Profile) -> Option<Section> {
    let network = context.report.networks.iter().find(|network| network.id == profile.id)?;
    let timed: Vec<Timed<'_>> = network
        .steps
        .iter()
        .zip(&profile.seconds)
        .map(|(step, s)| time(context, profile, step, *s))
        .collect();
    let name = name(network);
    let id = format!("network-{number}");
    let total: f64 = timed.iter().map(|t| t.seconds).sum();
    let mut worst: Vec<&Timed<'_>> = timed.iter().filter(|t| t.lost() > 0.0).collect();
    worst.sort_by(|a, b| b.lost().total_cmp(&a.lost()));
    let mut blocks = vec![Block::Verdict(verdict(context, network, &worst, total))];
    blocks.push(Block::Figure(Figure {
        id: id.clone(),
        title: format!("The layers of {name} under the roofs of the machine"),
        caption: "Layers without multiply-adds are not drawn. Labels name the layers that lose most time over their roof."
            .into(),
        plot: Box::new(roofline(context, points(&timed, &worst))),
    }));
    let mut table =
        Table::new(format!("{id}-worst"), format!("{name}: layers that lose most time over their roof"));
    worst.iter().take(WORST).for_each(|t| table.row(row(t, total)));
    blocks.push(Block::Table(table));
    blocks.extend(widths(context, &id, &name, network, &profile.widths));
    let mut table = Table::new(format!("{id}-layers"), format!("{name}, layer by layer"));
    timed.iter().for_each(|t| table.row(row(t, total)));
    blocks.push(Block::Table(table));
    Some(Section { id, title: name, blocks })
}

fn name(network: &Network) -> String {
    format!("{} {}", network.family, network.label)
}

fn time<'a>(context: &Context<'a>, profile: &Profile, step: &'a Step, seconds: f64) -> Timed<'a> {
    let machine = &context.report.machine;
    let peak = context.peak();
    let roof = peak.and_then(|peak| machine.roof_seconds(peak, step.macs, step.mac_bytes));
    let level = machine.level(step.mac_bytes);
    let memory = peak.zip(level).and_then(|(peak, level)| {
        let bound = step.mac_bytes as f64 / level.read > 2.0 * step.macs as f64 / peak;
        bound.then_some(level.level.as_str())
    });
    let mut timed = Timed { step, seconds, roof, memory, reasons: vec![] };
    timed.reasons = reasons(&timed, profile.lanes, context.report.settings.threads);
    timed
}

/// Why a layer is slow, as far as its shape tells. A layer near its roof needs no reason but the roof.
fn reasons(timed: &Timed<'_>, lanes: usize, threads: usize) -> Vec<String> {
    let Timed { step, seconds, memory, .. } = timed;
    let mut reasons = Vec::new();
    if step.macs == 0 {
        reasons.push("a pass of its own".to_owned());
    }
    let filled = step.output[0].next_multiple_of(lanes.max(1));
    let unused = 1.0 - step.output[0] as f64 / filled as f64;
    if unused >= UNUSED {
        reasons.push(format!("{:.0} % of lanes unused ({} of {filled})", 100.0 * unused, step.output[0]));
    }
    let terms = step.macs as f64 / step.output.iter().product::<usize>() as f64;
    if terms > 0.0 && terms < SHORT {
        reasons.push(format!("short sums ({terms:.0} terms)"));
    }
    if let Some(level) = memory {
        reasons.push(format!("memory-bound ({level})"));
    }
    if *seconds < LITTLE_SECONDS * threads as f64 {
        let each = 1e6 * seconds;
        reasons.push(match threads {
            1 => format!("little work ({each:.0} \u{b5}s)"),
            n => format!("little work for {n} threads ({each:.0} \u{b5}s)"),
        });
    }
    if reasons.is_empty() {
        let far = timed.of_roof().is_some_and(|share| share < NEAR);
        reasons.push(if far { "its shape does not tell" } else { "near its roof" }.into());
    }
    reasons
}

fn row(timed: &Timed<'_>, total: f64) -> [(&'static str, Cell); 12] {
    let Timed { step, seconds, .. } = timed;
    let shape = |[c, h, w]: [usize; 3]| Cell::text(format!("{c}x{h}x{w}"));
    let us = |seconds: f64| Cell::Number(1e6 * seconds, 1);
    let rate = (step.macs > 0).then(|| 2e-9 * step.macs as f64 / seconds);
    [
        ("layer", Cell::text(&step.name)),
        ("class", Cell::text(&step.class)),
        ("why", Cell::text(timed.reasons.join("; "))),
        ("time|\u{b5}s", us(*seconds)),
        ("of all|%", Cell::Number(100.0 * seconds / total, 1)),
        ("of roof|%", Cell::maybe(timed.of_roof().map(|share| 100.0 * share), 0)),
        ("over roof|\u{b5}s", Cell::maybe(timed.roof.map(|_| 1e6 * timed.lost()), 1)),
        ("rate|GFLOP/s", Cell::maybe(rate, 1)),
        ("macs|10\u{2076}", Cell::Number(step.macs as f64 / 1e6, 2)),
        ("mac_bytes|kB", Cell::Number(step.mac_bytes as f64 / 1e3, 0)),
        ("reads", shape(step.input)),
        ("makes", shape(step.output)),
    ]
}

fn points(timed: &[Timed<'_>], worst: &[&Timed<'_>]) -> Vec<(String, Point)> {
    let named: Vec<&str> = worst.iter().take(4).map(|t| t.step.name.as_str()).collect();
    let point = |t: &Timed<'_>| {
        let flop = 2.0 * t.step.macs as f64;
        let share =
            t.of_roof().map_or(String::new(), |share| format!(", {:.0} % of its roof", 100.0 * share));
        let channels = format!("{}\u{2192}{}", t.step.input[0], t.step.output[0]);
        Point {
            x: flop / t.step.mac_bytes as f64,
            y: 1e-9 * flop / t.seconds,
            label: if named.contains(&t.step.name.as_str()) { channels } else { String::new() },
            tip: format!("{}: {:.1} \u{b5}s{share}", t.step.name, 1e6 * t.seconds),
        }
    };
    timed.iter().filter(|t| t.step.macs > 0).map(|t| (t.step.class.clone(), point(t))).collect()
}

fn verdict(context: &Context<'_>, network: &Network, worst: &[&Timed<'_>], total: f64) -> String {
    let name = name(network);
    let alone = context.get(&network.id).map_or(String::new(), |m| {
        let of_peak = context.peak().map_or(String::new(), |peak| {
            format!(", {:.0} % of the multiply-add peak", 100.0 * m.gflops() / peak)
        });
        format!("{name} takes {:.3} ms, {:.0} GFLOP/s{of_peak}. ", 1e3 * m.summary().min, m.gflops())
    });
    let lost: f64 = worst.iter().map(|t| t.lost()).sum();
    let most: Vec<String> = worst
        .iter()
        .take(3)
        .map(|t| format!("{} ({:.0} \u{b5}s: {})", t.step.name, 1e6 * t.lost(), t.reasons.join(", ")))
        .collect();
    format!(
        "{alone}Its layers, timed one by one, take {:.3} ms together, of which {:.0} % lie over their roofs; most of that is lost \
         by {}.",
        1e3 * total,
        100.0 * lost / total,
        if most.is_empty() { "none".into() } else { list(&most) }
    )
}

/// The worst layers by themselves at other widths.
fn widths(context: &Context<'_>, id: &str, name: &str, network: &Network, of: &[Widths]) -> Vec<Block> {
    let mut table =
        Table::new(format!("{id}-widths"), format!("{name}: the worst layers alone, at other widths"));
    let mut advice = Vec::new();
    for widths in of {
        let Some(step) = network.steps.get(widths.step) else { continue };
        let measured: Vec<(usize, Estimate)> =
            widths.tried.iter().filter_map(|(oc, id)| Some((*oc, context.get(id)?.estimate()))).collect();
        let Some((_, own)) = measured.iter().find(|(oc, _)| *oc == widths.oc) else { continue };
        table.group(format!("{} ({}, {} to {})", step.name, step.class, step.input[0], step.output[0]));
        for (oc, estimate) in &measured {
            let ratio = estimate.over(own);
            table.row([
                ("output channels", Cell::Number(*oc as f64, 0)),
                ("min|\u{b5}s", Cell::Number(1e6 * estimate.value, 2)),
                ("of its own width", Cell::text(if *oc == widths.oc { "1".into() } else { ratio.times() })),
                ("per channel|ns", Cell::Number(1e9 * estimate.value / *oc as f64, 1)),
            ]);
        }
        advice.extend(advise(&step.name, widths.oc, own, &measured));
    }
    if table.groups.is_empty() {
        return vec![];
    }
    let advice = if advice.is_empty() {
        "No other width was found friendlier than that of the network, beyond the intervals.".into()
    } else {
        advice.join(" ")
    };
    vec![
        Block::Text(
            "What a friendlier width would save: the worst layers alone, with as many output channels as fill vectors, or eights, \
             around their own. A width is a choice for the layers on both sides; this is the price of one of them."
                .into(),
        ),
        Block::Verdict(advice),
        Block::Table(table),
    ]
}

/// Fewer channels that save time, or more that cost none; the interval must agree.
fn advise(name: &str, oc: usize, own: &Estimate, measured: &[(usize, Estimate)]) -> Option<String> {
    let no_slower = |ratio: &Estimate| matches!(ratio.told(), Told::Same | Told::Faster);
    let more = measured.iter().filter(|(width, _)| *width > oc).rev();
    if let Some((width, _)) = more.clone().find(|(_, estimate)| no_slower(&estimate.over(own))) {
        return Some(format!("{name}: {width} output channels take no longer than {oc}."));
    }
    // Saves more than in proportion to the channels that go.
    let saves = |(width, estimate): &&(usize, Estimate)| {
        let share = *width as f64 / oc as f64;
        *width < oc && estimate.over(own).map(|ratio| ratio / share).told() == Told::Faster
    };
    let (width, estimate) = measured.iter().rev().find(saves)?;
    let saved = 100.0 * (1.0 - estimate.value / own.value);
    Some(format!(
        "{name}: {width} output channels save {saved:.0} % of its time for {:.0} % of its channels.",
        100.0 * (1.0 - *width as f64 / oc as f64)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_needs_more_than_noise() {
        let steady = |seconds: f64| Estimate::minimum(&[seconds; 8]);
        let own = steady(1.0);
        let advise = |measured: &[(usize, Estimate)]| advise("conv", 58, &own, measured);
        let free = advise(&[(48, steady(0.8)), (58, own.clone()), (64, steady(1.005)), (80, steady(1.4))]);
        assert_eq!(free.unwrap(), "conv: 64 output channels take no longer than 58.");
        let fewer = advise(&[(56, steady(0.8)), (58, own.clone()), (64, steady(1.1))]);
        assert_eq!(fewer.unwrap(), "conv: 56 output channels save 20 % of its time for 3 % of its channels.");
        assert_eq!(advise(&[(48, steady(0.83)), (58, own.clone()), (64, steady(1.1))]), None);
    }

    #[test]
    fn reasons_are_those_of_the_shape() {
        let step = |macs: u64, oc: usize| Step {
            name: "x".into(),
            class: "conv1x1".into(),
            input: [24, 28, 28],
            output: [oc, 28, 28],
            macs,
            mac_bytes: 1000,
        };
        let of = |step: &Step, seconds: f64, memory| {
            let timed = Timed { step, seconds, roof: Some(0.3 * seconds), memory, reasons: vec![] };
            reasons(&timed, 16, 1)
        };
        assert_eq!(of(&step(0, 64), 1e-3, Some("L2")), ["a pass of its own", "memory-bound (L2)"]);
        let pixels = 28 * 28;
        assert_eq!(
            of(&step(24 * 50 * pixels, 50), 1e-6, None),
            ["22 % of lanes unused (50 of 64)", "short sums (24 terms)", "little work (1 \u{b5}s)"]
        );
        assert_eq!(of(&step(64 * 64 * pixels, 64), 1e-3, None), ["its shape does not tell"]);
    }
}
