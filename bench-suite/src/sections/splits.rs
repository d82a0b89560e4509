//! Where each network's time goes, as in the paper's figure 2.

use super::Context;
use crate::document::{Block, Cell, Figure, Section, Table};
use crate::graph::Class;
use crate::networks::all;
use crate::plot::{Row, Stacked};

pub(super) fn section(context: &Context<'_>) -> Section {
    let mut rows = Vec::new();
    let mut columns = vec!["network".to_owned(), "total|ms".to_owned()];
    columns.extend(Class::ALL.map(|class| format!("{}|%", class.name())));
    columns.push("1x1 and dense|% of macs".to_owned());
    let heads: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut table = Table::new("splits", "Time by class of work, percent", &heads);
    for network in all() {
        let id = format!("net/{}", network.id);
        let Some(split) = context.report.splits.iter().find(|split| split.id == id) else { continue };
        let total: f64 = split.seconds.iter().sum();
        let name = format!("{} {}", network.family.name(), network.label);
        rows.push(Row {
            label: name.clone(),
            parts: split.seconds.to_vec(),
            note: format!("({:.2} ms)", 1e3 * total),
        });
        let dense: u64 = (0..network.graph.nodes.len())
            .filter(|&i| matches!(network.graph.class(i), Some(Class::Pointwise | Class::Dense)))
            .filter_map(|i| Some(network.graph.layer(i)?.macs()))
            .sum();
        let mut cells = vec![Cell::text(name), Cell::Number(1e3 * total, 3)];
        cells.extend(split.seconds.iter().map(|s| Cell::Number(100.0 * s / total, 1)));
        cells.push(Cell::Number(100.0 * dense as f64 / network.graph.macs() as f64, 1));
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
            plot: Box::new(Stacked { parts: Class::ALL.map(|class| class.name().to_owned()).to_vec(), rows }),
        }),
        Block::Table(table),
    ];
    Section { id: "splits", title: "Where the time goes".into(), blocks }
}
