//! Other engines on the same machine.

use super::Context;
use crate::plot::{Bar, Bars, Group};
use crate::tell::document::{Block, Cell, Figure, Section, Table};
use crate::tell::peers::{OURS, Peers, Race};

/// Above this share of a core for other processes, a race is not to be quoted.
const DISTURBED: f64 = 0.05;

pub(super) fn section(context: &Context<'_>) -> Section {
    let blocks = match &context.report.peers {
        Some(peers) => raced(peers),
        None => vec![Block::Text(
            "No other engine was measured on this machine. bench-suite/peers/README.md tells how to install and race them; \
             with the race's peers.json in target/peers, the next report shows it here."
                .into(),
        )],
    };
    Section { id: "peers".into(), title: "Other engines".into(), blocks }
}

fn raced(peers: &Peers) -> Vec<Block> {
    let mut blocks = vec![Block::Text(format!(
        "The same networks with the same weights on other engines, float32, raced in turns on {} on {}, each engine's logits \
         first held against PyTorch's in float64.",
        peers.environment.cpu, peers.environment.date
    ))];
    let worst = peers.races.iter().map(|race| race.others).fold(0.0, f64::max);
    if worst > DISTURBED {
        blocks.push(Block::Text(format!(
            "Other processes took up to {:.0} % of a core meanwhile: these figures are not to be quoted.",
            100.0 * worst
        )));
    }
    let mut engines: Vec<&str> = vec![OURS];
    for row in peers.races.iter().flat_map(|race| &race.results) {
        if !engines.contains(&row.engine.as_str()) {
            engines.push(&row.engine);
        }
    }
    let single: Vec<&Race> = peers.races.iter().filter(|r| r.batch == 1 && r.threads == 1).collect();
    let relative = |race: &Race, engine: &str| {
        let find = |name: &str| race.results.iter().find(|row| row.engine == name);
        let row = find(engine);
        let ratio = row.zip(find(OURS)).map_or(f64::NAN, |(row, ours)| row.min_ms / ours.min_ms);
        let tip = row.map_or(String::new(), |row| format!("{engine}: {:.2} ms", row.min_ms));
        Bar { value: ratio, tip, ..Bar::default() }
    };
    let group = |race: &&Race| Group {
        label: format!("{}x", race.width),
        bars: engines.iter().map(|engine| relative(race, engine)).collect(),
    };
    if !single.is_empty() {
        blocks.push(Block::Figure(Figure {
            id: "peers".into(),
            title: "ShuffleNetV2 on other engines".into(),
            caption: "Time over ours, minimum, batch 1, one thread; lower is faster, and below the line is faster than ours."
                .into(),
            plot: Box::new(Bars {
                title: "time relative to ours".into(),
                series: engines.iter().map(|engine| (*engine).to_owned()).collect(),
                groups: single.iter().map(group).collect(),
                papers: vec![],
                baseline: Some(1.0),
            }),
        }));
    }
    let mut table = Table::new("peers", "Other engines on this machine, milliseconds an image");
    for race in &peers.races {
        table.group(format!("{}x, batch {}, {} threads", race.width, race.batch, race.threads));
        for row in &race.results {
            table.row([
                ("engine", Cell::text(&row.engine)),
                ("version", Cell::text(&row.version)),
                ("n", Cell::Number(row.n as f64, 0)),
                ("min|ms", Cell::Number(row.min_ms, 3)),
                ("median|ms", Cell::Number(row.median_ms, 3)),
                ("p90|ms", Cell::Number(row.p90_ms, 3)),
                ("over ours|min", Cell::maybe(Some(relative(race, &row.engine).value), 2)),
                ("threads seen|cpu/wall", Cell::Number(row.cores, 2)),
            ]);
        }
    }
    blocks.push(Block::Table(table));
    blocks
}
