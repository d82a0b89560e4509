//! Points and lines over two axes: scatter plots, sweeps, and the roofline.

use super::drawing::{Anchor, Drawing, Key, text_width};
use super::scale::{Axis, Range};
use super::{COLOURS, Plot};

#[derive(Clone, Debug)]
pub(crate) struct Xy {
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
    /// Lines for orientation, behind the series.
    pub(crate) guides: Vec<Guide>,
}

#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    /// The points, in drawing order.
    pub(crate) points: Vec<Point>,
    pub(crate) joined: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
    /// Text beside the mark; may be empty.
    pub(crate) label: String,
    /// Text shown when the mark is pointed at.
    pub(crate) tip: String,
}

/// A line for orientation: an iso-line, or a roof.
#[derive(Clone, Debug)]
pub(crate) struct Guide {
    /// Text along the line, at its far end.
    pub(crate) label: String,
    /// Corners, from left to right.
    pub(crate) points: Vec<(f64, f64)>,
    /// Drawn strongly, and kept in view by the axes.
    pub(crate) strong: bool,
}

/// An axis-parallel box, for keeping labels apart.
type Area = (f64, f64, f64, f64);

impl Plot for Xy {
    fn draw(&self, width: f64) -> Drawing {
        let narrow = width < 500.0;
        let height = if narrow { width * 0.95 } else { width * 0.56 };
        let mut out = Drawing::new(width, 0.0);

        let entries: Vec<(Key, &str)> = self
            .series
            .iter()
            .enumerate()
            .filter(|(_, s)| !s.name.is_empty())
            .map(|(i, s)| (if s.joined { Key::Line(i) } else { Key::Mark(i) }, s.name.as_str()))
            .collect();
        let (left, right) = (if narrow { 46.0 } else { 58.0 }, width - 14.0);
        let top = out.legend(&entries, (left, 4.0), right - left) + 22.0;
        let bottom = top + height - 66.0;
        out.height = bottom + 44.0;

        let strong = || self.guides.iter().filter(|guide| guide.strong).flat_map(|guide| &guide.points);
        let points = || self.series.iter().flat_map(|s| &s.points);
        let xs = points().map(|p| p.x);
        let ys = points().map(|p| p.y).chain(strong().map(|p| p.1));
        let x = Range::over(self.x.scale, xs, left, right);
        let y = Range::over(self.y.scale, ys, bottom, top);
        self.axes(&mut out, &x, &y, (left, right, top, bottom), narrow);

        let mut taken: Vec<Area> = points()
            .map(|p| {
                let (x, y) = (x.at(p.x), y.at(p.y));
                (x - 5.0, y - 5.0, x + 5.0, y + 5.0)
            })
            .collect();
        for guide in &self.guides {
            draw_guide(&mut out, guide, &x, &y, (left, right, top, bottom), &mut taken);
        }
        for (i, series) in self.series.iter().enumerate() {
            if series.joined {
                let line: Vec<_> = series.points.iter().map(|p| (x.at(p.x), y.at(p.y))).collect();
                out.polyline(&format!("line s{}", i % COLOURS), &line);
            }
        }
        let size = if points().count() > 60 { 6.5 } else { 9.5 };
        for (i, series) in self.series.iter().enumerate() {
            for point in &series.points {
                out.mark(i, (x.at(point.x), y.at(point.y)), size, &point.tip);
            }
        }
        for point in points().filter(|p| !p.label.is_empty()) {
            place_label(
                &mut out,
                point,
                (x.at(point.x), y.at(point.y)),
                (left, top, right, bottom),
                &mut taken,
            );
        }
        out
    }
}

impl Xy {
    fn axes(
        &self,
        out: &mut Drawing,
        x: &Range,
        y: &Range,
        (left, right, top, bottom): (f64, f64, f64, f64),
        narrow: bool,
    ) {
        for (value, label) in x.ticks(if narrow { 48.0 } else { 62.0 }) {
            let at = x.at(value);
            if !label.is_empty() {
                out.line("grid", (at, top), (at, bottom));
                out.text("dim", (at, bottom + 16.0), Anchor::Middle, label);
            } else {
                out.line("axis", (at, bottom), (at, bottom + 3.0));
            }
        }
        for (value, label) in y.ticks(38.0) {
            let at = y.at(value);
            if !label.is_empty() {
                out.line("grid", (left, at), (right, at));
                out.text("dim", (left - 6.0, at + 4.0), Anchor::End, label);
            } else {
                out.line("axis", (left - 3.0, at), (left, at));
            }
        }
        out.polyline("axis", &[(left, top), (left, bottom), (right, bottom)]);
        out.text("", (f64::midpoint(left, right), bottom + 36.0), Anchor::Middle, &self.x.title);
        // Above its axis, read without turning the head.
        out.text("", (left - 40.0, top - 10.0), Anchor::Start, &self.y.title);
    }
}

fn draw_guide(
    out: &mut Drawing,
    guide: &Guide,
    x: &Range,
    y: &Range,
    (left, right, top, bottom): (f64, f64, f64, f64),
    taken: &mut Vec<Area>,
) {
    let pixels: Vec<_> = guide.points.iter().map(|&(a, b)| (x.at(a), y.at(b))).collect();
    let frame = (left, top, right, bottom);
    let visible: Vec<_> = pixels.windows(2).filter_map(|pair| clip(pair[0], pair[1], frame)).collect();
    for &(from, to) in &visible {
        out.line(if guide.strong { "roof" } else { "guide" }, from, to);
    }
    let long = |((ax, ay), (bx, by)): &((f64, f64), (f64, f64))| (bx - ax).hypot(by - ay);
    let room = text_width(&guide.label, 12.0) + 10.0;
    let Some((from, to)) = visible.into_iter().rev().find(|s| long(s) >= room) else { return };
    let angle = (to.1 - from.1).atan2(to.0 - from.0);
    // The label ends a little before the line's end, just above it; or begins at its start, if that covers less.
    let along = |at: (f64, f64), by: f64| (at.0 + by * angle.cos(), at.1 + by * angle.sin());
    let above = |at: (f64, f64)| (at.0 + 5.0 * angle.sin(), at.1 - 5.0 * angle.cos());
    let areas = |end: (f64, f64)| -> Vec<Area> {
        // A turned label is covered by a few boxes along it.
        let middles = (0..8).map(|i| along(end, -room * (f64::from(i) + 0.5) / 8.0));
        middles.map(|(x, y)| (x - room / 16.0, y - 9.0, x + room / 16.0, y + 5.0)).collect()
    };
    let covered = |end: &(f64, f64)| -> f64 {
        areas(*end).iter().flat_map(|area| taken.iter().map(|other| overlap(*area, *other))).sum()
    };
    let (far, near) = (above(along(to, -6.0)), above(along(from, room)));
    let end = if covered(&near) < covered(&far) { near } else { far };
    out.turned_text("dim halo", end, Anchor::End, angle.to_degrees(), &guide.label);
    taken.extend(areas(end));
}

/// The part of a segment inside a box (Liang and Barsky).
fn clip(a: (f64, f64), b: (f64, f64), (x0, y0, x1, y1): Area) -> Option<((f64, f64), (f64, f64))> {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let (mut enter, mut leave) = (0.0f64, 1.0f64);
    for (p, q) in [(-dx, a.0 - x0), (dx, x1 - a.0), (-dy, a.1 - y0), (dy, y1 - a.1)] {
        if p == 0.0 {
            if q < 0.0 {
                return None;
            }
        } else if p < 0.0 {
            enter = enter.max(q / p);
        } else {
            leave = leave.min(q / p);
        }
    }
    (enter < leave).then_some(((a.0 + enter * dx, a.1 + enter * dy), (a.0 + leave * dx, a.1 + leave * dy)))
}

/// Writes a point's label where it covers least: to the right, left, above, below, or at a corner.
fn place_label(out: &mut Drawing, point: &Point, (x, y): (f64, f64), frame: Area, taken: &mut Vec<Area>) {
    let width = text_width(&point.label, 12.0);
    let places = [
        (x + 9.0, y + 4.0),
        (x - 9.0 - width, y + 4.0),
        (x - width / 2.0, y - 9.0),
        (x - width / 2.0, y + 18.0),
        (x + 6.0, y - 7.0),
        (x + 6.0, y + 15.0),
        (x - 6.0 - width, y - 7.0),
        (x - 6.0 - width, y + 15.0),
    ];
    let area = |(x, y): (f64, f64)| (x - 1.0, y - 10.0, x + width + 1.0, y + 3.0);
    let cost = |place: &(f64, f64)| -> f64 {
        let here = area(*place);
        let outside = (frame.0 - here.0).max(0.0)
            + (here.2 - frame.2).max(0.0)
            + (frame.1 - here.1).max(0.0)
            + (here.3 - frame.3).max(0.0);
        taken.iter().map(|other| overlap(here, *other)).sum::<f64>() + 100.0 * outside
    };
    let best = places.into_iter().min_by(|a, b| cost(a).total_cmp(&cost(b))).expect("there are eight places");
    out.text("halo", best, Anchor::Start, &point.label);
    taken.push(area(best));
}

fn overlap(a: Area, b: Area) -> f64 {
    let w = a.2.min(b.2) - a.0.max(b.0);
    let h = a.3.min(b.3) - a.1.max(b.1);
    w.max(0.0) * h.max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_clipped() {
        let frame = (0.0, 0.0, 10.0, 10.0);
        assert_eq!(clip((-5.0, 5.0), (15.0, 5.0), frame), Some(((0.0, 5.0), (10.0, 5.0))));
        assert_eq!(clip((-5.0, -5.0), (5.0, 5.0), frame), Some(((0.0, 0.0), (5.0, 5.0))));
        assert_eq!(clip((-5.0, 12.0), (15.0, 12.0), frame), None);
    }

    #[test]
    fn close_points_do_not_share_a_label_place() {
        let point = |label: &str| Point { x: 1.0, y: 1.0, label: label.into(), tip: String::new() };
        let series = Series { name: "s".into(), points: vec![point("first"), point("second")], joined: true };
        let plot = Xy { x: Axis::log("x"), y: Axis::log("y"), series: vec![series], guides: vec![] };
        let text = super::super::svg::standalone(&plot.draw(700.0), "t");
        let place =
            |label: &str| text.lines().find(|l| l.ends_with(&format!(">{label}</text>"))).unwrap().to_owned();
        let at = |line: String| line.split('"').nth(3).unwrap().to_owned();
        assert_ne!(at(place("first")), at(place("second")));
    }
}
