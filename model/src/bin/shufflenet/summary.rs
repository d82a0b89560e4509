//! `shufflenet summary`: what a network is made of.

use crate::failure::{Failure, Output, Result};
use crate::options::NetworkArgs;
use crate::plot;
use crate::subject::Subject;
use crate::table::{Columns, grouped, shape};
use kernels::Isa;
use model::atomic_file::replace;
use model::graph::{Class, Cost};
use std::path::PathBuf;

/// List the layers of a network and what they cost
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  shufflenet summary --width 0.5 --wiring megvii
  shufflenet summary --size 320 --plot network.svg
  shufflenet summary --network mobilenet_v2.onnx

params     what training changes: running means and variances are not counted
macs       multiply-adds of convolutions and fc: what the paper counts as FLOPs
mac_bytes  memory access cost (the paper's MAC) in bytes:
           inputs, outputs and weights, each touched once")]
pub(crate) struct Args {
    #[command(flatten)]
    network: NetworkArgs,

    /// Draw the network, too: Table 5 of the paper with the units of its Figure 3
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result {
    if let Some(path) = &args.plot
        && path.extension().is_some_and(|extension| !extension.eq_ignore_ascii_case("svg"))
    {
        let found = path.display();
        return Err(Failure::Usage(format!("--plot writes SVG: expected a file *.svg, found {found}")));
    }
    let subject = Subject::new(&args.network, Isa::best())?;
    let (size, costs) = (subject.named.size, &subject.costs);
    if let Some(path) = &args.plot {
        let Some(network) = subject.shufflenet() else {
            return Err(Failure::Usage("--plot draws ShuffleNetV2 only".into()));
        };
        replace(path, plot::draw(network, costs, size).as_bytes())
            .map_err(|e| Failure::Other(format!("{}: {e}", path.display())))?;
    }
    let mut table = Columns::new(3, &["layer", "kind", "output", "params", "macs", "mac_bytes"]);
    let mut part = "";
    for (layer, cost) in subject.layers().iter().zip(costs) {
        let stage = layer.name.split('.').next().unwrap_or_default();
        if part != stage && [part, stage].iter().any(|name| name.starts_with("stage")) {
            table.gap();
        }
        part = stage;
        let kind = match (layer.class, layer.window(subject.program().graph())) {
            (Class::Depthwise | Class::Stem, Some(window)) => {
                format!("{} {window}/{}", layer.class.name(), window.stride[0])
            }
            (class, _) => class.name().to_owned(),
        };
        let [params, macs, mac_bytes] = numbers(cost);
        table.row([layer.name.clone(), kind, shape(cost.output), params, macs, mac_bytes]);
    }
    table.gap();
    let [params, macs, mac_bytes] = numbers(&Cost::sum(costs));
    table.row(["total".into(), String::new(), String::new(), params, macs, mac_bytes]);
    match subject.shufflenet() {
        Some(network) => writeln!(out, "{}, images of {size}\n\n{table}", network.config())?,
        None => writeln!(out, "{}\n\n{table}", subject.named)?,
    }
    Ok(())
}

fn numbers(cost: &Cost) -> [String; 3] {
    [cost.params, cost.macs, cost.mac_bytes].map(grouped)
}
