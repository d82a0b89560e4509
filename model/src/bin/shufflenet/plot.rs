//! `shufflenet summary --plot`: the network as a drawing, Table 5 of the paper with the units of its Figure 3.

use crate::options::Size;
use crate::table::shape;
use model::graph::{Class, Cost, Layer};
use model::{Network, Wiring};
use std::fmt::Write;

const WIDTH: f64 = 980.0;
/// A box that stands for a layer.
const BOX: (f64, f64) = (186.0, 38.0);
/// From one box to the next below it.
const STEP: f64 = 70.0;
/// Width of a unit's frame.
const FRAME: f64 = 450.0;
/// Where the frames of a stage begin, the stride-2 unit's and the others'.
const LEFT: [f64; 2] = [20.0, 510.0];

/// Readable on white and on black, in print, and by the colour-blind (Okabe and Ito).
const STYLE: &str = "
  text { font: 13px system-ui, sans-serif; fill: #1a1a1a; text-anchor: middle }
  .title { font-size: 19px; font-weight: 600 }
  .head { font-weight: 600; text-anchor: start }
  .note { font-size: 12px; fill: #555; text-anchor: start }
  .middle { text-anchor: middle }
  .line, .arrow { fill: none; stroke: #555; stroke-width: 1.4 }
  .arrow { marker-end: url(#tip) }
  .tip { fill: #555 }
  .frame { fill: none; stroke: #999; stroke-dasharray: 5 4 }
  rect { stroke: #555 }
  .conv1x1 { fill: #b5dcf5 } .depthwise { fill: #fbd89b } .conv3x3 { fill: #a9e0cd }
  .fc { fill: #edc9de } .pool { fill: #e2e2e2 } .order { fill: #fff; stroke-dasharray: 3 2 }
  .page { fill: #fff; stroke: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #eee } .note { fill: #aaa } .line, .arrow, rect, .frame { stroke: #888 } .tip { fill: #888 }
    .conv1x1 { fill: #12506f } .depthwise { fill: #6d4a08 } .conv3x3 { fill: #0c5a44 }
    .fc { fill: #693652 } .pool { fill: #3c3c3c } .order, .page { fill: #181818 }
  }";

/// A layer and its cost.
type Drawn<'a> = (&'a Layer, &'a Cost);

/// The drawing as an SVG file.
pub(crate) fn draw(network: &Network, costs: &[Cost], size: Size) -> String {
    let layers: Vec<Drawn<'_>> = network.layers().iter().zip(costs).collect();
    let mut page = Page { body: String::new(), y: 52.0 };
    page.text("title middle", (WIDTH / 2.0, 32.0), &network.config().to_string());
    let caption = format!("images of {size}: {}", told(costs.iter()));
    page.text("note middle", (WIDTH / 2.0, page.y), &caption);
    page.y += 22.0;

    page.rect("order", (WIDTH / 2.0, page.y), BOX.0, "Image", &shape([3, size.h, size.w]));
    page.y += STEP;
    let [c1, .., c5] = network.config().stage_channels;
    let of_class =
        |class: Class| layers.iter().find(|(layer, _)| layer.class == class).map(|(_, cost)| *cost);
    if let Some(stem) = of_class(Class::Stem) {
        page.below("conv3x3", "Conv1 3x3, stride 2, ReLU", [c1, size.h.div_ceil(2), size.w.div_ceil(2)]);
        page.below("pool", "MaxPool 3x3, stride 2", stem.output);
        page.beside(stem);
    }
    for stage in 2..=4 {
        let of_unit = |unit: usize| -> Vec<_> {
            let prefix = format!("stage{stage}.{unit}.");
            layers.iter().filter(|(layer, _)| layer.name.starts_with(&prefix)).copied().collect()
        };
        page.stage(network, stage, [&of_unit(0), &of_unit(1)]);
    }
    if let Some(head) = of_class(Class::Head) {
        let [_, h, w] = head.input;
        page.below("conv1x1", "Conv5 1x1, ReLU", [c5, h, w]);
        page.below("pool", "GlobalPool", [c5, 1, 1]);
        page.below("fc", "FC", head.output);
        page.beside(head);
    }

    let height = page.y - STEP + BOX.1 + 20.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\">\n<title>{}</title>\n<style>{STYLE}\n</style>\n<defs><marker id=\"tip\" \
         viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path \
         class=\"tip\" d=\"M0 0L8 4L0 8z\"/></marker></defs>\n<rect class=\"page\" width=\"{WIDTH}\" \
         height=\"{height}\"/>\n{}</svg>\n",
        network.config(),
        page.body
    )
}

/// Multiply-adds and memory access cost, for people.
fn told<'a>(costs: impl Iterator<Item = &'a Cost>) -> String {
    let (mut macs, mut mac_bytes) = (0, 0);
    for cost in costs {
        macs += cost.macs;
        mac_bytes += cost.mac_bytes;
    }
    let bytes = format!("{:.2} MB accessed", mac_bytes as f64 / 1e6);
    match macs {
        0 => bytes,
        _ => format!("{:.1} M multiply-adds, {bytes}", macs as f64 / 1e6),
    }
}

/// What has been drawn, and where the next box goes.
struct Page {
    body: String,
    y: f64,
}

impl Page {
    fn text(&mut self, class: &str, (x, y): (f64, f64), text: &str) {
        let _ = writeln!(self.body, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{text}</text>");
    }

    /// A box with its top at `y`, and two lines of text in it.
    fn rect(&mut self, class: &str, (x, y): (f64, f64), width: f64, first: &str, second: &str) {
        let (left, height) = (x - width / 2.0, BOX.1);
        let _ = writeln!(
            self.body,
            "<rect class=\"{class}\" x=\"{left}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"5\"/>"
        );
        self.text("", (x, y + 16.0), first);
        self.text("", (x, y + 32.0), second);
    }

    fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        let path: Vec<_> = points.iter().map(|(x, y)| format!("{x} {y}")).collect();
        let _ = writeln!(self.body, "<path class=\"{class}\" d=\"M{}\"/>", path.join("L"));
    }

    /// An arrow through these points, and a note beside its tip.
    fn arrow(&mut self, points: &[(f64, f64)], note: &str) {
        self.line("arrow", points);
        if let (Some(&(x, y)), false) = (points.last(), note.is_empty()) {
            self.text("note", (x + 8.0, y - 11.0), note);
        }
    }

    /// A box of the trunk, under what is there.
    fn below(&mut self, class: &str, what: &str, output: [usize; 3]) {
        let x = WIDTH / 2.0;
        self.arrow(&[(x, self.y - STEP + BOX.1), (x, self.y)], "");
        self.rect(class, (x, self.y), BOX.0, what, &shape(output));
        self.y += STEP;
    }

    /// The cost of boxes that run as one layer, beside the last of them.
    fn beside(&mut self, cost: &Cost) {
        let (x, y) = (WIDTH / 2.0 + BOX.0 / 2.0 + 12.0, self.y - STEP + 16.0);
        self.text("note", (x, y), "in one pass with what is above:");
        self.text("note", (x, y + 16.0), &told([cost].into_iter()));
    }

    /// Figure 3 (d), then (c), side by side.
    fn stage(&mut self, network: &Network, stage: usize, of_unit: [&[Drawn<'_>]; 2]) {
        let config = network.config();
        let center = LEFT.map(|left| left + FRAME / 2.0);
        let (above, top) = (self.y - STEP + BOX.1, self.y + 24.0);
        let rows = if shuffles_at_end(config.wiring) { 5.0 } else { 4.0 };
        let height = 56.0 + STEP * rows + BOX.1 + 16.0;
        let bottom = top + height;
        // From the trunk, or from the stage before, which ends on the right.
        let from = if stage == 2 { WIDTH / 2.0 } else { center[1] };
        self.arrow(&[(from, above), (from, above + 26.0), (center[0], above + 26.0), (center[0], top)], "");
        for (unit, layers) in of_unit.into_iter().enumerate() {
            let left = LEFT[unit];
            let _ = writeln!(
                self.body,
                "<rect class=\"frame\" x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"{height}\" rx=\"9\"/>",
                FRAME
            );
            let head = match unit {
                0 => format!("Stage {stage}: a unit of stride 2"),
                _ => format!("Stage {stage}: {} units of stride 1", config.stage_repeats[stage - 2] - 1),
            };
            self.text("head", (left + 14.0, top + 23.0), &head);
            let each = format!(
                "{}{}",
                if unit == 0 { "" } else { "each " },
                told(layers.iter().map(|(_, cost)| *cost))
            );
            self.text("note", (left + 14.0, top + 41.0), &each);
            self.unit(config.wiring, config.stage_channels[stage - 1], center[unit], top + 56.0, layers);
        }
        let halfway = top + height / 2.0;
        self.arrow(&[(LEFT[0] + FRAME, halfway), (LEFT[1], halfway)], "");
        self.y = bottom + STEP - BOX.1;
        if stage == 4 {
            // Back to the trunk, whose next arrow begins where this line ends.
            let turn = bottom + 26.0;
            self.line("line", &[(center[1], bottom), (center[1], turn), (WIDTH / 2.0, turn)]);
            self.y = turn + STEP - BOX.1;
        }
    }

    /// The inside of a unit that hands on `channels`: two branches from the top to the concatenation.
    fn unit(&mut self, wiring: Wiring, channels: usize, x: f64, top: f64, layers: &[Drawn<'_>]) {
        let row = |n: usize| top + STEP * n as f64;
        let under = |n: usize| row(n) + BOX.1;
        let (left, right) = (x - 108.0, x + 108.0);
        let (projection, main) = layers.split_at(layers.len() - 3);
        let [ic, ih, iw] = main[0].1.input;
        let [_, oh, ow] = main[2].1.output;

        let (head, input, passed) = match (projection, wiring) {
            ([], Wiring::Megvii) => ("Shuffle, split: even | odd", channels, channels - ic),
            ([], _) => ("Channel split", channels, channels - ic),
            _ => ("Input", ic, ic),
        };
        self.rect("order", (x, row(0)), BOX.0, head, &shape([input, ih, iw]));
        for (to, channels) in [(left, passed), (right, ic)] {
            let from = (x + to) / 2.0;
            // Past the row of the first 1x1 on the left, where there is nothing.
            let (n, note) = match (to < x, projection) {
                (true, []) => (4, format!("{channels} channels pass by")),
                (true, _) => (2, channels.to_string()),
                (false, _) => (1, channels.to_string()),
            };
            self.arrow(
                &[(from, under(0)), (from, under(0) + 12.0), (to, under(0) + 12.0), (to, row(n))],
                &note,
            );
        }
        for (x, first, branch) in [(left, 2, projection), (right, 1, main)] {
            for (n, (layer, cost)) in branch.iter().enumerate() {
                let what = match layer.class {
                    Class::Depthwise if cost.output[1] < cost.input[1] => "DWConv 3x3, stride 2",
                    Class::Depthwise => "DWConv 3x3",
                    _ => "Conv 1x1, ReLU",
                };
                self.rect(layer.class.name(), (x, row(first + n)), BOX.0, what, &shape(cost.output));
                self.arrow(&[(x, under(first + n)), (x, row(first + n + 1))], &cost.output[0].to_string());
            }
        }
        let concat = match wiring {
            Wiring::Keras => "Concat: right, left",
            Wiring::Torchvision | Wiring::Megvii => "Concat: left, right",
        };
        // As wide as both branches, so that each comes in from above.
        self.rect("order", (x, row(4)), right - left + BOX.0, concat, &shape([channels, oh, ow]));
        if shuffles_at_end(wiring) {
            self.arrow(&[(x, under(4)), (x, row(5))], "");
            self.rect("order", (x, row(5)), BOX.0, "Channel shuffle", &shape([channels, oh, ow]));
        }
    }
}

/// Megvii's units shuffle where they split.
fn shuffles_at_end(wiring: Wiring) -> bool {
    wiring != Wiring::Megvii
}
