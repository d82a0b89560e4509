//! `shufflenet check`: what becomes of each node of an .onnx file.

use crate::failure::{Failure, Output, Result, printable};
use crate::run::of;
use model::onnx::{self, Fate, Report};
use serde_json::json;
use std::path::PathBuf;

/// Tell what would be run of an .onnx file, fused, renamed away, refused, and why
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  shufflenet check mobilenet_v2.onnx
  shufflenet check mobilenet_v2.onnx --nodes      what becomes of each node

Exit status 1 where a node is refused: the network would not run.")]
pub(crate) struct Args {
    /// The network, as torch.onnx.export and others write it
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,

    /// List every node of the file
    #[arg(long)]
    nodes: bool,

    /// Write JSON
    #[arg(long, conflicts_with = "nodes")]
    json: bool,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result {
    let report = onnx::check(&args.model).map_err(|error| of(&args.model, &error))?;
    let file = printable(&args.model.to_string_lossy());
    if args.json {
        writeln!(out, "{:#}", as_json(&file, &report))?;
    } else {
        tell(&file, &report, args.nodes, out)?;
    }
    match report.refusals.len() {
        0 => Ok(()),
        n => Err(Failure::Other(format!(
            "{}: {n} {} refused",
            args.model.display(),
            if n == 1 { "node is" } else { "nodes are" }
        ))),
    }
}

/// What happens to nodes of this fate, for a line that begins with their number.
fn sentence(fate: Fate) -> &'static str {
    match fate {
        Fate::Runs => "run",
        Fate::Fused => "are fused into those",
        Fate::Renamed => "are renamed away: channels and axes that nobody moves",
        Fate::Evaluated => "are evaluated before anything runs",
        Fate::Behind => "run behind the network, as plain loops over its outputs",
        Fate::Unneeded => "are needed by no output",
        Fate::Unseen => "were not looked at, since they read what refused nodes make",
        Fate::Refused => "are refused",
    }
}

fn tell(file: &str, report: &Report, nodes: bool, out: &mut Output) -> Result {
    let Report { producer, opset, inputs, outputs, parameters, layers, refusals, .. } = report;
    let by = if producer.is_empty() { String::new() } else { format!("{producer}, ") };
    writeln!(out, "{file}: {by}opset {opset}, {parameters} parameters")?;
    for (kind, ports) in [("input ", inputs), ("output", outputs)] {
        for port in ports {
            writeln!(out, "  {kind}  {}  {}", port.name, port.shape)?;
        }
    }
    writeln!(out)?;
    if refusals.is_empty() {
        writeln!(out, "It runs, as {layers} operators. Of {} nodes in the file,", report.nodes.len())?;
    } else {
        writeln!(out, "It does not run. Of {} nodes in the file,", report.nodes.len())?;
    }
    for fate in Fate::ALL {
        let operators = report.operators(fate);
        let count: usize = operators.iter().map(|(_, count)| count).sum();
        if count > 0 {
            let list: Vec<String> = operators.iter().map(|(name, count)| format!("{name} {count}")).collect();
            writeln!(out, "{count:6} {}: {}", sentence(fate), list.join(", "))?;
        }
    }
    if !refusals.is_empty() {
        writeln!(out, "\nRefused:")?;
        refusals.iter().try_for_each(|refusal| writeln!(out, "  {refusal}"))?;
    }
    if nodes {
        writeln!(out)?;
        for node in &report.nodes {
            let note = match (node.fate, node.note.as_str()) {
                (_, "") => String::new(),
                (Fate::Fused, note) => format!(" into {note}"),
                (_, note) => format!(": {note}"),
            };
            writeln!(out, "{}: {}{note}", node.title, node.fate.name())?;
        }
    }
    Ok(())
}

fn as_json(file: &str, report: &Report) -> serde_json::Value {
    let ports = |ports: &[onnx::Port]| -> Vec<_> {
        ports.iter().map(|port| json!({ "name": port.name, "shape": port.shape })).collect()
    };
    let fates = Fate::ALL
        .map(|fate| (fate.name().to_owned(), json!(report.operators(fate).into_iter().collect::<Vec<_>>())));
    json!({
        "file": file,
        "producer": report.producer,
        "opset": report.opset,
        "inputs": ports(&report.inputs),
        "outputs": ports(&report.outputs),
        "parameters": report.parameters,
        "operators": report.layers,
        "nodes": serde_json::Map::from_iter(fates),
        "refused": report.refusals.iter().map(|refusal| json!({
            "node": refusal.node,
            "operator": refusal.operator,
            "domain": refusal.domain,
            "opset": refusal.opset,
            "reason": refusal.reason,
            "nearest": refusal.instead,
        })).collect::<Vec<_>>(),
    })
}
