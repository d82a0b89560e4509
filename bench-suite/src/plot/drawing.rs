//! A drawing: what plots are drawn with, before it is known what it is written as.

use std::fmt::Display;

use super::COLOURS;

/// A drawing of known size, in CSS pixels, from its upper left corner.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Drawing {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) elements: Vec<Element>,
}

/// A point.
pub(super) type At = (f64, f64);

/// One thing that is drawn. Its classes say how it looks; a tip is told where it is pointed at.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Element {
    Polyline {
        class: String,
        points: Vec<At>,
    },
    Rect {
        class: String,
        at: At,
        size: At,
        tip: String,
    },
    Circle {
        class: String,
        at: At,
        radius: f64,
        tip: String,
    },
    Polygon {
        class: String,
        points: Vec<At>,
        tip: String,
    },
    /// `at` is on the baseline; degrees turn clockwise.
    Text {
        class: String,
        at: At,
        anchor: Anchor,
        degrees: f64,
        text: String,
    },
}

/// Which end of a text lies at its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Drawing {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self { width, height, elements: Vec::new() }
    }

    pub(super) fn line(&mut self, class: &str, from: At, to: At) {
        self.polyline(class, &[from, to]);
    }

    pub(super) fn polyline(&mut self, class: &str, points: &[At]) {
        self.elements.push(Element::Polyline { class: class.to_owned(), points: points.to_vec() });
    }

    /// A filled rectangle.
    pub(super) fn rect(&mut self, class: &str, at: At, (w, h): At, tip: &str) {
        let (class, size, tip) = (class.to_owned(), (w.max(0.0), h.max(0.0)), tip.to_owned());
        self.elements.push(Element::Rect { class, at, size, tip });
    }

    pub(super) fn text(&mut self, class: &str, at: At, anchor: Anchor, text: impl Display) {
        self.turned_text(class, at, anchor, 0.0, text);
    }

    pub(super) fn turned_text(
        &mut self,
        class: &str,
        at: At,
        anchor: Anchor,
        degrees: f64,
        text: impl Display,
    ) {
        let (class, text) = (class.to_owned(), text.to_string());
        self.elements.push(Element::Text { class, at, anchor, degrees, text });
    }

    /// The mark of series `series` at a point: shape and colour both tell the series.
    pub(super) fn mark(&mut self, series: usize, (x, y): At, size: f64, tip: &str) {
        let (class, tip) = (format!("mark f{}", series % COLOURS), tip.to_owned());
        let r = size / 2.0;
        let (a, b, c) = (0.95 * r, 1.15 * r, 0.72 * r);
        let offsets = match series % 6 {
            0 => return self.elements.push(Element::Circle { class, at: (x, y), radius: r, tip }),
            1 => vec![(-a, -a), (a, -a), (a, a), (-a, a)],
            2 => vec![(0.0, -b), (b, 0.75 * b), (-b, 0.75 * b)],
            3 => vec![(0.0, -b), (b, 0.0), (0.0, b), (-b, 0.0)],
            4 => vec![(0.0, b), (b, -0.75 * b), (-b, -0.75 * b)],
            _ => {
                let (inner, outer) = (0.5 * c, 1.5 * c);
                let quarter = [(-inner, -outer), (inner, -outer), (inner, -inner)];
                // Each quarter is the one before, turned by ninety degrees.
                let turned = |(x, y): At, times: usize| (0..times).fold((x, y), |(x, y), _| (-y, x));
                (0..4).flat_map(|times| quarter.map(|point| turned(point, times))).collect()
            }
        };
        let points = offsets.into_iter().map(|(dx, dy)| (x + dx, y + dy)).collect();
        self.elements.push(Element::Polygon { class, points, tip });
    }

    /// Names of series with their marks, in rows across the width. Returns the height used.
    pub(super) fn legend(&mut self, entries: &[(Key, &str)], (left, top): (f64, f64), width: f64) -> f64 {
        let (mut x, mut y) = (left, top + 10.0);
        for (key, name) in entries {
            let name = shortened(name, width - 18.0);
            let needed = 18.0 + text_width(&name, 12.0) + 16.0;
            if x > left && x + needed - 16.0 > left + width {
                (x, y) = (left, y + 18.0);
            }
            match key {
                Key::Mark(series) => self.mark(*series, (x + 6.0, y - 4.0), 9.0, ""),
                Key::Line(series) => {
                    self.line(&format!("line s{}", series % COLOURS), (x, y - 4.0), (x + 13.0, y - 4.0));
                    self.mark(*series, (x + 6.5, y - 4.0), 8.0, "");
                }
                Key::Swatch(series) => {
                    self.rect(&format!("f{}", series % COLOURS), (x, y - 10.0), (12.0, 12.0), "");
                }
                Key::Paper(which) => self.paper_mark(*which, (x + 6.0, y - 4.0), 12.0, ""),
            }
            self.text("", (x + 18.0, y), Anchor::Start, name);
            x += needed;
        }
        if entries.is_empty() { 0.0 } else { y - top + 12.0 }
    }

    /// The mark of a published value, drawn over a bar: filled for the first kind, hollow for the second.
    pub(super) fn paper_mark(&mut self, which: usize, (x, y): At, width: f64, tip: &str) {
        let r = (width / 2.0).min(5.0);
        let class = if which == 0 { "paper" } else { "paper hollow" }.to_owned();
        let points = vec![(x - r, y), (x, y - r), (x + r, y), (x, y + r)];
        self.elements.push(Element::Polygon { class, points, tip: tip.to_owned() });
    }
}

/// What stands beside a name in a legend.
#[derive(Clone, Copy)]
pub(super) enum Key {
    Mark(usize),
    Line(usize),
    Swatch(usize),
    Paper(usize),
}

/// A text, or as much of it as there is room for.
fn shortened(text: &str, room: f64) -> String {
    let mut text = text.to_owned();
    if text_width(&text, 12.0) > room {
        // The estimate is one of a mean; a cut text should surely fit.
        while !text.is_empty() && text_width(&text, 12.0) > 0.92 * room - 12.0 {
            text.pop();
        }
        text.push('\u{2026}');
    }
    text
}

/// About how wide a text will be; enough for leaving room.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    let units: f64 = text
        .chars()
        .map(|c| match c {
            'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | '\'' | '|' | ' ' | '\u{202f}' => 0.3,
            'm' | 'w' | 'M' | 'W' | '@' | '%' => 0.88,
            'A'..='Z' => 0.68,
            _ => 0.56,
        })
        .sum();
    units * size
}
