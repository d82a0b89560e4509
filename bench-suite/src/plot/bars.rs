//! Bars side by side, and bars of parts.

use super::drawing::{Anchor, Drawing, Key, text_width};
use super::scale::{Range, Scale, grouped};
use super::{COLOURS, Plot};

/// Groups of bars that start at zero.
#[derive(Clone, Debug)]
pub(crate) struct Bars {
    /// What the height means, with its unit.
    pub(crate) title: String,
    pub(crate) series: Vec<String>,
    pub(crate) groups: Vec<Group>,
    /// Names of the published values drawn over the bars, at most two.
    pub(crate) papers: Vec<String>,
    /// A value to draw a line at.
    pub(crate) baseline: Option<f64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) label: String,
    /// One bar per series, in order.
    pub(crate) bars: Vec<Bar>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Bar {
    /// Height; a bar without a finite value is left out.
    pub(crate) value: f64,
    /// From where to where the value may lie.
    pub(crate) interval: Option<[f64; 2]>,
    /// Published values to compare with, in the order of [`Bars::papers`].
    pub(crate) papers: [Option<f64>; 2],
    /// Text shown when the bar is pointed at.
    pub(crate) tip: String,
}

impl Plot for Bars {
    fn draw(&self, width: f64) -> Drawing {
        let narrow = width < 500.0;
        let mut out = Drawing::new(width, 0.0);
        let mut entries: Vec<(Key, &str)> =
            self.series.iter().enumerate().map(|(i, name)| (Key::Swatch(i), name.as_str())).collect();
        entries.extend(self.papers.iter().enumerate().map(|(i, name)| (Key::Paper(i), name.as_str())));
        let (left, right) = (if narrow { 40.0 } else { 52.0 }, width - 8.0);
        let top = out.legend(&entries, (left, 4.0), right - left) + 22.0;
        let bottom = top + if narrow { 200.0 } else { 240.0 };

        let bars = || self.groups.iter().flat_map(|g| &g.bars);
        let values =
            bars().map(|b| b.value).chain(bars().flat_map(|b| b.papers).flatten()).chain(self.baseline);
        let values = values.chain(bars().filter_map(|b| b.interval).flatten());
        let y = Range::over(Scale::Linear, values, bottom, top);
        for (value, label) in y.ticks(38.0) {
            out.line("grid", (left, y.at(value)), (right, y.at(value)));
            out.text("dim", (left - 6.0, y.at(value) + 4.0), Anchor::End, label);
        }
        out.text("", (left - 34.0, top - 10.0), Anchor::Start, &self.title);

        let slot = (right - left) / self.groups.len().max(1) as f64;
        let gap = (slot * 0.18).clamp(4.0, 28.0);
        let mut label_rows = 1;
        for (g, group_) in self.groups.iter().enumerate() {
            let start = left + slot * g as f64 + gap / 2.0;
            let bar_width = (slot - gap) / group_.bars.len().max(1) as f64;
            for (i, bar) in group_.bars.iter().enumerate() {
                if bar.value.is_finite() {
                    draw_bar(&mut out, bar, i, start + bar_width * i as f64, bar_width, &y);
                }
            }
            label_rows = label_rows.max(label_below(
                &mut out,
                &group_.label,
                start + (slot - gap) / 2.0,
                bottom,
                slot - 8.0,
            ));
        }
        if let Some(value) = self.baseline {
            out.line("roof", (left, y.at(value)), (right, y.at(value)));
        }
        out.line("axis", (left, bottom), (right, bottom));
        out.height = bottom + 8.0 + 15.0 * label_rows as f64;
        out
    }
}

fn draw_bar(out: &mut Drawing, bar: &Bar, series: usize, x: f64, width: f64, y: &Range) {
    let (from, to) = (y.at(0.0), y.at(bar.value));
    let inset = (width * 0.08).min(2.0);
    out.rect(&format!("f{}", series % COLOURS), (x + inset, to), (width - 2.0 * inset, from - to), &bar.tip);
    let middle = x + width / 2.0;
    let mut top = to;
    if let Some([low, high]) = bar.interval {
        let (low, high, cap) = (y.at(low), y.at(high), (width * 0.2).min(4.0));
        out.line("whisker", (middle, low), (middle, high));
        for end in [low, high] {
            out.line("whisker", (middle - cap, end), (middle + cap, end));
        }
        top = to.min(high);
    }
    let text = three_digits(bar.value);
    // A mark just above the bar takes the place of the number.
    let free = bar.papers.iter().flatten().all(|paper| !(top - 17.0..top + 3.0).contains(&y.at(*paper)));
    if free && text_width(&text, 12.0) <= width + 1.0 {
        out.text("halo", (middle, top - 4.0), Anchor::Middle, text);
    }
    for (which, paper) in bar.papers.iter().enumerate() {
        if let Some(paper) = paper {
            let tip = format!("paper: {}", three_digits(*paper));
            out.paper_mark(which, (middle, y.at(*paper)), width * 0.8, &tip);
        }
    }
}

/// Writes a label below the axis, broken at spaces where it is too wide. Returns the rows used.
fn label_below(out: &mut Drawing, label: &str, middle: f64, bottom: f64, room: f64) -> usize {
    let mut rows: Vec<String> = Vec::new();
    for word in label.split(' ') {
        match rows.last_mut() {
            Some(row) if text_width(row, 12.0) + text_width(word, 12.0) + 4.0 <= room => {
                row.push(' ');
                row.push_str(word);
            }
            _ => rows.push(word.to_owned()),
        }
    }
    for (i, row) in rows.iter().enumerate() {
        out.text("dim", (middle, bottom + 16.0 + 15.0 * i as f64), Anchor::Middle, row);
    }
    rows.len()
}

/// Horizontal bars of parts, each bar filling the width.
#[derive(Clone, Debug)]
pub(crate) struct Stacked {
    pub(crate) parts: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) label: String,
    /// Size of each part; they need not add up to one.
    pub(crate) parts: Vec<f64>,
    /// Text after the name, such as the total.
    pub(crate) note: String,
}

impl Plot for Stacked {
    fn draw(&self, width: f64) -> Drawing {
        let narrow = width < 500.0;
        let mut out = Drawing::new(width, 0.0);
        let entries: Vec<(Key, &str)> =
            self.parts.iter().enumerate().map(|(i, name)| (Key::Swatch(i), name.as_str())).collect();
        // On a phone the names go above their bars.
        let widest = self
            .rows
            .iter()
            .map(|r| text_width(&format!("{} {}", r.label, r.note), 12.0))
            .fold(0.0, f64::max);
        let left = if narrow { 8.0 } else { widest + 18.0 };
        let right = width - 12.0;
        let mut y = out.legend(&entries, (8.0, 4.0), right - 8.0) + 12.0;
        for row in &self.rows {
            if narrow {
                out.text("", (left, y + 12.0), Anchor::Start, format!("{} {}", row.label, row.note));
                y += 18.0;
            } else {
                out.text("", (left - 8.0, y + 15.0), Anchor::End, format!("{} {}", row.label, row.note));
            }
            let total: f64 = row.parts.iter().sum();
            let mut x = left;
            for (i, part) in row.parts.iter().enumerate() {
                let percent = 100.0 * part / total;
                let length = (right - left) * part / total;
                if length.is_nan() || length <= 0.0 {
                    continue;
                }
                let colour = i % COLOURS;
                let name = self.parts.get(i).map_or("", String::as_str);
                out.rect(
                    &format!("f{colour}"),
                    (x, y),
                    (length - 0.7, 21.0),
                    &format!("{name}: {percent:.1} %"),
                );
                let text = format!("{percent:.0}");
                if length > text_width(&text, 12.0) + 6.0 {
                    out.text(&format!("on{colour}"), (x + length / 2.0, y + 15.0), Anchor::Middle, text);
                }
                x += length;
            }
            y += 28.0;
        }
        for percent in [0, 25, 50, 75, 100] {
            let at = left + (right - left) * f64::from(percent) / 100.0;
            out.line("axis", (at, y - 2.0), (at, y + 2.0));
            let anchor = match percent {
                0 => Anchor::Start,
                100 => Anchor::End,
                _ => Anchor::Middle,
            };
            out.text("dim", (at, y + 16.0), anchor, format!("{percent} %"));
        }
        out.height = y + 24.0;
        out
    }
}

/// A number with about three significant digits.
fn three_digits(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    grouped(&format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_their_values() {
        let bar = |value| Bar {
            value,
            interval: Some([0.9 * value, 1.1 * value]),
            papers: [Some(2.0), None],
            tip: String::new(),
        };
        let plot = Bars {
            title: "slow-down".into(),
            series: vec!["a & b".into(), "c".into()],
            groups: vec![Group { label: "x1".into(), bars: vec![bar(1.0), bar(2.0), bar(f64::NAN)] }],
            papers: vec!["paper".into()],
            baseline: Some(1.0),
        };
        let text = super::super::svg::standalone(&plot.draw(600.0), "t");
        let heights: Vec<f64> = text
            .lines()
            .filter(|l| l.starts_with("<rect") && !l.contains("height=\"12.0\""))
            .map(|l| l.split("height=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(heights.len(), 2, "a bar without a value is left out");
        assert!((heights[1] / heights[0] - 2.0).abs() < 0.01);
        assert!(text.contains("a &amp; b"));
        // A line and two ends for each.
        assert_eq!(text.matches("class=\"whisker\"").count(), 2 * 3);
    }

    #[test]
    fn parts_fill_the_row() {
        let plot = Stacked {
            parts: vec!["one".into(), "two".into()],
            rows: vec![Row { label: "net".into(), parts: vec![3.0, 1.0], note: "4 ms".into() }],
        };
        let text = super::super::svg::standalone(&plot.draw(600.0), "t");
        assert!(text.contains("<title>one: 75.0 %</title>") && text.contains("<title>two: 25.0 %</title>"));
    }
}
