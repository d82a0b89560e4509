//! Where each network's time goes, as in the paper's figure 2.

use super::{Context, distinct};
use crate::plot::{Row, Stacked};
use crate::tell::document::{Block, Cell, Figure, Section, Table};

pub(super) fn section(context: &Context<'_>) -> Section {
    let splits = &context.report.splits;
    let classes = distinct(splits.iter().flat_map(|split| &split.parts).map(|part| part.class.as_str()));
    let heads: Vec<String> = classes.iter().map(|class| format!("{class}|%")).collect();
    let mut table = Table::new("splits", "Time by class of work, percent");
    let mut rows = Vec::new();
    for network in &context.report.networks {
        let Some(split) = splits.iter().find(|split| split.id == network.id) else { continue };
        let part = |class: &str| split.parts.iter().find(|part| part.class == class);
        let seconds = |class: &&str| part(class).map_or(0.0, |part| part.seconds);
        let total: f64 = split.parts.iter().map(|part| part.seconds).sum();
        let macs: u64 = split.parts.iter().map(|part| part.macs).sum();
        let name = format!("{} {}", network.family, network.label);
        rows.push(Row {
            label: name.clone(),
            parts: classes.iter().map(seconds).collect(),
            note: format!("({:.2} ms)", 1e3 * total),
        });
        let mut cells = vec![("network", Cell::text(name)), ("total|ms", Cell::Number(1e3 * total, 3))];
        let shares = classes.iter().map(|class| Cell::Number(100.0 * seconds(class) / total, 1));
        cells.extend(heads.iter().map(String::as_str).zip(shares));
        let depthwise = part("depthwise").map(|part| 100.0 * part.macs as f64 / macs as f64);
        cells.push(("depthwise|% of macs", Cell::maybe(depthwise, 1)));
        table.row(cells);
    }
    let blocks = vec![
        Block::Text(
            "The paper's figure 2 splits the run time of ShuffleNetV1 and MobileNetV2: on its GPU, convolutions took 50 and \
             54 %, data movement and shuffle 25 and 22 %, element-wise operations 15 and 23 %; on its ARM core, convolutions \
             87 and 89 %. Here activations, additions and batch normalisation ride in the convolutions' epilogues and the \
             shuffle moves nothing, so those two classes have no time of their own."
                .into(),
        ),
        Block::Figure(Figure {
            id: "splits".into(),
            title: "Where the time goes".into(),
            caption: "Percent of the sum of each class's fastest run, timed layer by layer.".into(),
            plot: Box::new(Stacked { parts: classes.iter().map(|class| (*class).to_owned()).collect(), rows }),
        }),
        Block::Table(table),
    ];
    Section { id: "splits".into(), title: "Where the time goes".into(), blocks }
}
