//! The page: one file, no script, nothing fetched from anywhere.

use std::fmt::Write;

use crate::plot::{STYLE as PLOT_STYLE, escape, svg};
use crate::tell::document::{Block, Cell, Document, Figure, Table};

/// Widths at which each plot is drawn, in CSS pixels: for screens and paper, and for phones.
const WIDE: f64 = 860.0;
const NARROW: f64 = 350.0;

const STYLE: &str = "\
:root{color-scheme:light dark;--fg:#1c2024;--dim:#5b636d;--bg:#fff;--soft:#f4f6f8;--line:#d9dee3;--accent:#0072b2}
@media (prefers-color-scheme:dark){:root{--fg:#e4e7eb;--dim:#9aa3ad;--bg:#15181c;--soft:#1e2328;--line:#343b43;--accent:#5ab0e6}}
*{box-sizing:border-box}html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}
main{max-width:70rem;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:.4rem 0 .3rem;letter-spacing:-.01em}
h2{font-size:1.4rem;line-height:1.25;margin:3.2rem 0 .8rem;padding-top:.7rem;border-top:1px solid var(--line)}
h3{font-size:1.1rem;line-height:1.3;margin:2.2rem 0 .5rem}
p,ul.findings,.verdict{max-width:46rem}p{margin:.6rem 0}
.sub{color:var(--dim);margin:0 0 1.2rem}a{color:var(--accent)}
nav{font-size:.92rem;margin:1.2rem 0;line-height:1.9}nav a{white-space:nowrap;margin-right:1rem;text-decoration:none}nav a:hover{text-decoration:underline}
dl.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.8rem,1fr));gap:.7rem;margin:1.4rem 0}
dl.cards div{background:var(--soft);border-radius:.5rem;padding:.65rem .85rem}
dl.cards dt{font-size:.82rem;color:var(--dim);line-height:1.3}dl.cards dd{margin:.15rem 0 0;font-size:1.22rem;font-weight:600;font-variant-numeric:tabular-nums}
ul.findings{padding-left:1.15rem}ul.findings li{margin:.45rem 0}
.warning{border-left:4px solid #e69f00;background:var(--soft);padding:.6rem .9rem;margin:.8rem 0;max-width:46rem}
.verdict{border-left:4px solid var(--accent);background:var(--soft);padding:.65rem .95rem;margin:1rem 0}
figure{margin:1.6rem 0 2rem}figcaption{max-width:46rem;font-size:.92rem;margin-bottom:.6rem;color:var(--dim)}
figcaption b,caption b{color:var(--fg);font-weight:600}figcaption a,caption a{font-size:.85rem}
svg.plot{display:block;width:100%;height:auto;color:var(--fg)}svg.wide{max-width:860px}svg.narrow{display:none}
.scroll{overflow-x:auto;margin:1.2rem 0 1.8rem;-webkit-overflow-scrolling:touch}
table{border-collapse:collapse;font-size:.86rem;line-height:1.35;font-variant-numeric:tabular-nums}
caption span{display:inline-block;position:sticky;left:0;max-width:min(46rem,calc(100vw - 2rem))}
caption{text-align:left;font-size:.92rem;color:var(--dim);padding-bottom:.45rem}
th,td{padding:.26rem .7rem;text-align:left;white-space:nowrap}th{font-weight:600;vertical-align:bottom;white-space:normal;max-width:11rem;border-bottom:1.5px solid var(--fg)}
th small{display:block;font-weight:400;color:var(--dim)}.n{text-align:right}
tbody{border-bottom:1px solid var(--line)}tr.group th{border:0;max-width:none;white-space:nowrap;padding-top:.6rem;color:var(--dim)}tbody tr:hover{background:var(--soft)}
td:first-child,th:first-child{padding-left:.2rem}
footer{margin-top:3rem;color:var(--dim);font-size:.88rem}
@media (max-width:640px){main{padding:1.1rem 1rem 3rem}h1{font-size:1.5rem}h2{font-size:1.25rem;margin-top:2.4rem}
svg.wide{display:none}svg.narrow{display:block}dl.cards{grid-template-columns:1fr 1fr}dl.cards dd{font-size:1.05rem}
table{font-size:.8rem}th,td{padding:.24rem .5rem}td:first-child,th:first-child{position:sticky;left:0;background:var(--bg)}}
@media print{:root{--fg:#000;--dim:#444;--bg:#fff;--soft:#f4f6f8;--line:#ccc;--accent:#0072b2}body{font-size:10.5pt}main{max-width:none;padding:0}
nav,figcaption a,caption a{display:none}svg.wide{display:block}svg.narrow{display:none}figure,table,.verdict{break-inside:avoid}h2,h3{break-after:avoid}.scroll{overflow:visible}table{font-size:6.6pt}th,td{padding:.12rem .24rem}}
";

pub(crate) fn page(document: &Document) -> String {
    let mut out = String::new();
    let title = escape(&document.title);
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>{title}</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<style>\n{STYLE}{PLOT_STYLE}\n</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n<p class=\"sub\">{}</p>\n",
        escape(&document.subtitle)
    )
    .expect("writing to a string cannot fail");
    for warning in &document.warnings {
        out += &format!("<p class=\"warning\">{}</p>\n", escape(warning));
    }
    out += "<dl class=\"cards\">\n";
    for (what, value) in &document.figures {
        out += &format!("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(what), escape(value));
    }
    out += "</dl>\n<ul class=\"findings\">\n";
    for finding in &document.findings {
        out += &format!("<li>{}</li>\n", escape(finding));
    }
    out += "</ul>\n<nav aria-label=\"Contents\">\n";
    for section in &document.sections {
        out += &format!("<a href=\"#{}\">{}</a>\n", section.id, escape(&section.title));
    }
    out += "</nav>\n";
    let (mut figures, mut tables) = (0, 0);
    for section in &document.sections {
        out += &format!("<section>\n<h2 id=\"{}\">{}</h2>\n", section.id, escape(&section.title));
        for block in &section.blocks {
            match block {
                Block::Heading(text, id) => out += &format!("<h3 id=\"{id}\">{}</h3>\n", escape(text)),
                Block::Text(text) => out += &format!("<p>{}</p>\n", escape(text)),
                Block::Verdict(text) => out += &format!("<p class=\"verdict\">{}</p>\n", escape(text)),
                Block::Figure(figure) => {
                    figures += 1;
                    out += &figure_html(figure, figures);
                }
                Block::Table(table) if table.columns.is_empty() => {}
                Block::Table(table) => {
                    tables += 1;
                    out += &table_html(table, tables);
                }
            }
        }
        out += "</section>\n";
    }
    let data: Vec<String> = document
        .data
        .iter()
        .map(|name| format!("<a href=\"{name}\">{name}</a>", name = escape(name)))
        .collect();
    out += &format!("<footer>Made by bench-suite; all samples are in {}.</footer>\n", data.join(", "));
    out + "</main>\n</body>\n</html>\n"
}

fn figure_html(figure: &Figure, number: usize) -> String {
    let Figure { id, title, caption, plot } = figure;
    let description = format!("{title}. {caption}");
    format!(
        "<figure id=\"fig-{id}\">\n<figcaption><b>Figure {number}. {}.</b> {} <a href=\"{id}.svg\">svg</a></figcaption>\n{}{}</figure>\n",
        escape(title),
        escape(caption),
        svg::inline(&plot.draw(WIDE), "wide", &description),
        svg::inline(&plot.draw(NARROW), "narrow", &description)
    )
}

fn table_html(table: &Table, number: usize) -> String {
    let numeric: Vec<bool> =
        (0..table.columns.len()).map(|i| table.rows().all(|row| !matches!(row[i], Cell::Text(_)))).collect();
    let class = |i: usize| if numeric[i] { " class=\"n\"" } else { "" };
    let (id, title) = (&table.id, escape(&table.title));
    let mut out = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{title}\">\n<table id=\"table-{id}\">\n\
         <caption><span><b>Table {number}.</b> {title}. <a href=\"{id}.csv\">csv</a></span></caption>\n<thead><tr>"
    );
    for (i, column) in table.columns.iter().enumerate() {
        let unit = if column.unit.is_empty() {
            String::new()
        } else {
            format!("<small>{}</small>", escape(&column.unit))
        };
        out += &format!("<th scope=\"col\"{}>{}{unit}</th>", class(i), escape(&column.title));
    }
    out += "</tr></thead>\n";
    for group in &table.groups {
        out += "<tbody>\n";
        if !group.title.is_empty() {
            let columns = table.columns.len();
            out += &format!(
                "<tr class=\"group\"><th colspan=\"{columns}\">{}</th></tr>\n",
                escape(&group.title)
            );
        }
        for row in &group.rows {
            out += "<tr>";
            for (i, cell) in row.iter().enumerate() {
                out += &format!("<td{}>{}</td>", class(i), escape(&cell.shown()));
            }
            out += "</tr>\n";
        }
        out += "</tbody>\n";
    }
    out + "</table>\n</div>\n"
}
