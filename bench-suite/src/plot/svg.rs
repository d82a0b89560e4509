//! SVG text, element by element.

use std::fmt::{self, Display, Write};

use super::STYLE;

/// A drawing of known size.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Svg {
    pub(super) width: f64,
    pub(super) height: f64,
    body: String,
}

/// Which end of a text lies at its point.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        self.push(format_args!(
            r#"<line class="{class}" x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}"/>"#,
            from.0, from.1, to.0, to.1
        ));
    }

    pub(super) fn polyline(&mut self, class: &str, points: &[(f64, f64)]) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.push(format_args!(r#"<polyline class="{class}" points="{}"/>"#, points.join(" ")));
    }

    /// A filled rectangle; the tip appears when it is pointed at.
    pub(super) fn rect(&mut self, class: &str, (x, y): (f64, f64), (w, h): (f64, f64), tip: &str) {
        let tip = tip_element(tip);
        self.push(format_args!(
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{:.1}" height="{:.1}">{tip}</rect>"#,
            w.max(0.0),
            h.max(0.0)
        ));
    }

    pub(super) fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, text: impl Display) {
        self.turned_text(class, (x, y), anchor, 0.0, text);
    }

    pub(super) fn turned_text(
        &mut self,
        class: &str,
        (x, y): (f64, f64),
        anchor: Anchor,
        degrees: f64,
        text: impl Display,
    ) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => r#" text-anchor="middle""#,
            Anchor::End => r#" text-anchor="end""#,
        };
        let turn = if degrees == 0.0 {
            String::new()
        } else {
            format!(r#" transform="rotate({degrees:.1} {x:.1} {y:.1})""#)
        };
        let class = if class.is_empty() { String::new() } else { format!(r#" class="{class}""#) };
        let text = escape(&text.to_string());
        self.push(format_args!(r#"<text{class} x="{x:.1}" y="{y:.1}"{anchor}{turn}>{text}</text>"#));
    }

    /// The mark of series `series` at a point: shape and colour both tell the series.
    pub(super) fn mark(&mut self, series: usize, (x, y): (f64, f64), size: f64, tip: &str) {
        let r = size / 2.0;
        let (a, b, c) = (0.95 * r, 1.15 * r, 0.72 * r);
        let path = match series % 6 {
            0 => format!(
                "M{:.2} {y:.2}a{r:.2} {r:.2} 0 1 0 {size:.2} 0a{r:.2} {r:.2} 0 1 0 -{size:.2} 0z",
                x - r
            ),
            1 => format!("M{:.1} {:.1}h{:.1}v{:.1}h-{:.1}z", x - a, y - a, 2.0 * a, 2.0 * a, 2.0 * a),
            2 => format!("M{x:.1} {:.1}l{b:.1} {:.1}h-{:.1}z", y - b, 1.75 * b, 2.0 * b),
            3 => format!("M{x:.1} {:.1}l{b:.1} {b:.1}l-{b:.1} {b:.1}l-{b:.1} -{b:.1}z", y - b),
            4 => format!("M{x:.1} {:.1}l{b:.1} -{:.1}h-{:.1}z", y + b, 1.75 * b, 2.0 * b),
            _ => format!(
                "M{:.1} {:.1}h{c:.1}v{c:.1}h{c:.1}v{c:.1}h-{c:.1}v{c:.1}h-{c:.1}v-{c:.1}h-{c:.1}v-{c:.1}h{c:.1}z",
                x - c / 2.0,
                y - 1.5 * c
            ),
        };
        let colour = series % super::COLOURS;
        let tip = tip_element(tip);
        self.push(format_args!(r#"<path class="mark f{colour}" d="{path}">{tip}</path>"#));
    }

    /// Names of series with their marks, in rows across the width. Returns the height used.
    pub(super) fn legend(&mut self, entries: &[(Key, &str)], (left, top): (f64, f64), width: f64) -> f64 {
        let (mut x, mut y) = (left, top + 10.0);
        for (key, name) in entries {
            let needed = 18.0 + text_width(name, 12.0) + 16.0;
            if x > left && x + needed - 16.0 > left + width {
                (x, y) = (left, y + 18.0);
            }
            match key {
                Key::Mark(series) => self.mark(*series, (x + 6.0, y - 4.0), 9.0, ""),
                Key::Line(series) => {
                    self.line(
                        &format!("line s{}", series % super::COLOURS),
                        (x, y - 4.0),
                        (x + 13.0, y - 4.0),
                    );
                    self.mark(*series, (x + 6.5, y - 4.0), 8.0, "");
                }
                Key::Swatch(series) => {
                    self.rect(&format!("f{}", series % super::COLOURS), (x, y - 10.0), (12.0, 12.0), "");
                }
                Key::Paper(which) => self.paper_mark(*which, (x + 6.0, y - 4.0), 12.0, ""),
            }
            self.text("", (x + 18.0, y), Anchor::Start, name);
            x += needed;
        }
        if entries.is_empty() { 0.0 } else { y - top + 12.0 }
    }

    /// The mark of a published value, drawn over a bar: filled for the first kind, hollow for the second.
    pub(super) fn paper_mark(&mut self, which: usize, (x, y): (f64, f64), width: f64, tip: &str) {
        let r = (width / 2.0).min(5.0);
        let class = if which == 0 { "paper" } else { "paper hollow" };
        let tip = tip_element(tip);
        self.push(format_args!(
            r#"<path class="{class}" d="M{:.1} {y:.1}l{r:.1} -{r:.1}l{r:.1} {r:.1}l-{r:.1} {r:.1}z">{tip}</path>"#,
            x - r
        ));
    }

    fn push(&mut self, element: fmt::Arguments<'_>) {
        self.body.write_fmt(element).expect("writing to a string cannot fail");
        self.body.push('\n');
    }

    /// The element for a page that has [`STYLE`], shown as wide as it was drawn or narrower.
    pub(crate) fn inline(&self, class: &str, description: &str) -> String {
        let (w, h) = (self.width, self.height);
        format!(
            "<svg class=\"plot {class}\" viewBox=\"0 0 {w:.0} {h:.0}\" role=\"img\" aria-label=\"{}\">\n{}</svg>\n",
            escape(description),
            self.body
        )
    }

    /// A file of its own, with a title.
    pub(crate) fn standalone(&self, title: &str) -> String {
        let (w, h) = (self.width, self.height);
        let title = escape(title);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" width=\"{w:.0}\" height=\"{:.0}\" viewBox=\"0 -28 {w:.0} {:.0}\">\n\
             <style>{STYLE}</style>\n<title>{title}</title>\n<text class=\"bold\" x=\"8\" y=\"-10\" font-size=\"14\">{title}</text>\n{}</svg>\n",
            h + 28.0,
            h + 28.0,
            self.body
        )
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

fn tip_element(tip: &str) -> String {
    if tip.is_empty() { String::new() } else { format!("<title>{}</title>", escape(tip)) }
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

/// Text made safe for markup.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
