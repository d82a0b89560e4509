//! Files of a report, each there completely or not at all.

use std::fs;
use std::path::Path;

use model::atomic_file::{AtomicFile, replace};

use super::{html, latex};
use crate::plot::svg;
use crate::tell::document::Document;
use crate::tell::report::Report;

/// Width of the plots' own files, in CSS pixels.
const PLOT_WIDTH: f64 = 860.0;

/// Makes the folder, and finds out whether a file can be put there.
///
/// # Errors
/// One line, naming the file.
pub(crate) fn prepare(dir: &Path) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let page = dir.join("index.html");
    AtomicFile::create(&page).map(drop).map_err(|e| format!("{}: {e}", page.display()))
}

/// Writes the reports that a page is made of under the names that its document gives them, the tables as .csv, the plots as
/// .svg, and last the page that links to them.
pub(crate) fn write(reports: &[&Report], document: &Document, dir: &Path) -> Result<(), String> {
    prepare(dir)?;
    for (name, report) in document.data.iter().zip(reports) {
        put(dir, name, &serde_json::to_string(report).map_err(|e| e.to_string())?)?;
    }
    for table in document.tables() {
        put(dir, &format!("{}.csv", table.id), &table.csv())?;
    }
    for figure in document.plots() {
        let drawing = figure.plot.draw(PLOT_WIDTH);
        put(dir, &format!("{}.svg", figure.id), &svg::standalone(&drawing, &figure.title))?;
    }
    put(dir, "index.html", &html::page(document))
}

/// Writes a report for LaTeX.
pub(crate) fn write_latex(report: &Report, document: &Document, dir: &Path) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    latex::files(report, document).iter().try_for_each(|(name, content)| put(dir, name, content))
}

fn put(dir: &Path, name: &str, content: &str) -> Result<(), String> {
    let path = dir.join(name);
    replace(&path, content.as_bytes()).map_err(|e| format!("{}: {e}", path.display()))
}
