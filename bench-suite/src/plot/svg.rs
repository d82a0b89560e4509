//! Drawings as SVG.

use std::fmt::Write;

use super::STYLE;
use super::drawing::{Anchor, At, Drawing, Element};

/// The element for a page that has [`STYLE`], shown as wide as it was drawn or narrower.
pub(crate) fn inline(drawing: &Drawing, class: &str, description: &str) -> String {
    let (w, h) = (drawing.width, drawing.height);
    format!(
        "<svg class=\"plot {class}\" viewBox=\"0 0 {w:.0} {h:.0}\" role=\"img\" aria-label=\"{}\">\n{}</svg>\n",
        escape(description),
        body(drawing)
    )
}

/// A file of its own, with a title.
pub(crate) fn standalone(drawing: &Drawing, title: &str) -> String {
    let (w, h) = (drawing.width, drawing.height);
    let title = escape(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" width=\"{w:.0}\" height=\"{:.0}\" viewBox=\"0 -28 {w:.0} {:.0}\">\n\
         <style>{STYLE}</style>\n<title>{title}</title>\n<text class=\"bold\" x=\"8\" y=\"-10\" font-size=\"14\">{title}</text>\n{}</svg>\n",
        h + 28.0,
        h + 28.0,
        body(drawing)
    )
}

fn body(drawing: &Drawing) -> String {
    let mut out = String::new();
    for element in &drawing.elements {
        write_element(&mut out, element).expect("writing to a string cannot fail");
    }
    out
}

fn write_element(out: &mut String, element: &Element) -> std::fmt::Result {
    match element {
        Element::Polyline { class, points } => match points[..] {
            [(x1, y1), (x2, y2)] => writeln!(
                out,
                r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
            ),
            _ => writeln!(out, r#"<polyline class="{class}" points="{}"/>"#, list(points)),
        },
        Element::Rect { class, at: (x, y), size: (w, h), tip } => writeln!(
            out,
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{w:.1}" height="{h:.1}">{}</rect>"#,
            tip_element(tip)
        ),
        Element::Circle { class, at: (x, y), radius, tip } => writeln!(
            out,
            r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{radius:.2}">{}</circle>"#,
            tip_element(tip)
        ),
        Element::Polygon { class, points, tip } => writeln!(
            out,
            r#"<polygon class="{class}" points="{}">{}</polygon>"#,
            list(points),
            tip_element(tip)
        ),
        Element::Text { class, at: (x, y), anchor, degrees, text } => {
            let anchor = match anchor {
                Anchor::Start => "",
                Anchor::Middle => r#" text-anchor="middle""#,
                Anchor::End => r#" text-anchor="end""#,
            };
            let turn = if *degrees == 0.0 {
                String::new()
            } else {
                format!(r#" transform="rotate({degrees:.1} {x:.1} {y:.1})""#)
            };
            let class = if class.is_empty() { String::new() } else { format!(r#" class="{class}""#) };
            writeln!(out, r#"<text{class} x="{x:.1}" y="{y:.1}"{anchor}{turn}>{}</text>"#, escape(text))
        }
    }
}

fn list(points: &[At]) -> String {
    points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ")
}

fn tip_element(tip: &str) -> String {
    if tip.is_empty() { String::new() } else { format!("<title>{}</title>", escape(tip)) }
}

/// Text made safe for markup.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
