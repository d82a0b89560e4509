//! Drawings as TikZ pictures, which LaTeX sets in the fonts of the document.

use std::fmt::Write;

use super::drawing::{Anchor, At, Drawing, Element};

/// The palette of [`super::STYLE`].
const COLOURS: [&str; super::COLOURS] =
    ["0072B2", "D55E00", "009E73", "E69F00", "CC79A7", "56B4E9", "8A8F98"];

/// A picture `width` points wide. The document needs `\\usepackage{tikz}`.
pub(crate) fn picture(drawing: &Drawing, width: f64) -> String {
    let unit = width / drawing.width;
    let mut out = format!(
        "\\begin{{tikzpicture}}[x={unit:.4}bp,y=-{unit:.4}bp,font=\\footnotesize,inner sep=0pt,line join=round]\n\
         \\path[use as bounding box] (0,0) rectangle ({:.1},{:.1});\n",
        drawing.width, drawing.height
    );
    for (i, colour) in COLOURS.iter().enumerate() {
        writeln!(out, "\\definecolor{{series{i}}}{{HTML}}{{{colour}}}")
            .expect("writing to a string cannot fail");
    }
    for element in &drawing.elements {
        write_element(&mut out, element).expect("writing to a string cannot fail");
    }
    out + "\\end{tikzpicture}%\n"
}

fn write_element(out: &mut String, element: &Element) -> std::fmt::Result {
    match element {
        Element::Polyline { class, points } => writeln!(out, "\\draw[{}] {};", stroke(class), path(points)),
        Element::Rect { class, at: (x, y), size: (w, h), .. } => {
            writeln!(out, "\\path[{}] ({x:.1},{y:.1}) rectangle ({:.1},{:.1});", fill(class), x + w, y + h)
        }
        Element::Circle { class, at: (x, y), radius, .. } => {
            // A circle's radius is in the units of x, where both axes have the same.
            writeln!(
                out,
                "\\path[{}] ({x:.1},{y:.1}) ellipse [x radius={radius:.2}, y radius={radius:.2}];",
                fill(class)
            )
        }
        Element::Polygon { class, points, .. } => {
            writeln!(out, "\\path[{}] {} -- cycle;", fill(class), path(points))
        }
        Element::Text { class, at: (x, y), anchor, degrees, text } => {
            let anchor = match anchor {
                Anchor::Start => "base west",
                Anchor::Middle => "base",
                Anchor::End => "base east",
            };
            let colour = match class.split(' ').next().unwrap_or_default() {
                "dim" => ",text=black!75",
                "on0" | "on1" | "on2" => ",text=white",
                _ => "",
            };
            let turn = if *degrees == 0.0 { String::new() } else { format!(",rotate={:.1}", -degrees) };
            writeln!(out, "\\node[anchor={anchor}{colour}{turn}] at ({x:.1},{y:.1}) {{{}}};", escape(text))
        }
    }
}

fn path(points: &[At]) -> String {
    points.iter().map(|(x, y)| format!("({x:.1},{y:.1})")).collect::<Vec<_>>().join(" -- ")
}

/// How lines of a class look.
fn stroke(class: &str) -> String {
    match class.split_once(' ').unwrap_or((class, "")) {
        ("line", series) => format!("{},line width=1bp", series.replace('s', "series")),
        ("grid", _) => "black!15,line width=.4bp".into(),
        ("guide", _) => "black!50,line width=.5bp,dash pattern=on 3bp off 2bp".into(),
        ("roof", _) => "black!80,line width=.9bp".into(),
        ("whisker", _) => "black,line width=.7bp".into(),
        _ => "black!60,line width=.5bp".into(),
    }
}

/// How areas of a class look.
fn fill(class: &str) -> String {
    match class.split_once(' ').unwrap_or((class, "")) {
        ("mark", series) => format!("fill={},draw=white,line width=.4bp", series.replace('f', "series")),
        ("paper", "hollow") => "fill=white,draw=black,line width=.8bp".into(),
        ("paper", _) => "fill=black,draw=white,line width=.6bp".into(),
        (series, _) => format!("fill={}", series.replace('f', "series")),
    }
}

/// Text made safe for LaTeX, signs as pdfLaTeX with its usual fonts can set them.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out += "\\textbackslash{}",
            '{' | '}' | '$' | '&' | '#' | '%' | '_' => {
                out.push('\\');
                out.push(c);
            }
            '^' => out += "\\textasciicircum{}",
            '~' => out += "\\textasciitilde{}",
            '<' => out += "$<$",
            '>' => out += "$>$",
            '|' => out += "\\textbar{}",
            '"' | '\u{201d}' => out += "''",
            '\u{201c}' => out += "``",
            '\u{2019}' => out.push('\''),
            '\u{202f}' => out += "\\,",
            '\u{a0}' => out.push('~'),
            '\u{2212}' => out += "$-$",
            '\u{2192}' => out += "$\\to$",
            '\u{2013}' => out += "--",
            '\u{2026}' => out += "\\ldots{}",
            '\u{2076}' => out += "$^6$",
            'µ' | 'μ' => out += "$\\mu$",
            '×' => out += "$\\times$",
            '±' => out += "$\\pm$",
            c if c.is_ascii_graphic() || c == ' ' => out.push(c),
            // Letters of European languages.
            '\u{c0}'..='\u{17f}' => out.push(c),
            _ => out.push('?'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_element_is_drawn() {
        let mut drawing = Drawing::new(500.0, 100.0);
        drawing.line("line s1", (0.0, 0.0), (1.0, 2.0));
        drawing.rect("f2", (1.0, 2.0), (3.0, 4.0), "tip");
        (0..6).for_each(|series| drawing.mark(series, (9.0, 9.0), 8.0, ""));
        drawing.paper_mark(1, (5.0, 5.0), 8.0, "");
        drawing.turned_text("dim halo", (7.0, 8.0), Anchor::End, -30.0, "50 % & 10\u{2076}");
        let text = picture(&drawing, 345.0);
        assert!(text.contains("\\draw[series1,line width=1bp] (0.0,0.0) -- (1.0,2.0);"), "{text}");
        assert!(text.contains("\\path[fill=series2] (1.0,2.0) rectangle (4.0,6.0);"), "{text}");
        assert!(
            text.contains("anchor=base east,text=black!75,rotate=30.0] at (7.0,8.0) {50 \\% \\& 10$^6$}"),
            "{text}"
        );
        assert_eq!((text.matches("cycle").count(), text.matches("ellipse").count()), (6, 1));
        assert!(
            text.starts_with("\\begin{tikzpicture}[x=0.6900bp,y=-0.6900bp")
                && text.ends_with("\\end{tikzpicture}%\n")
        );
    }

    #[test]
    fn text_is_safe() {
        assert_eq!(
            escape("\\a_b^{c}~<>"),
            "\\textbackslash{}a\\_b\\textasciicircum{}\\{c\\}\\textasciitilde{}$<$$>$"
        );
        assert_eq!(escape("é\u{4e2d}\n"), "é??");
    }
}
