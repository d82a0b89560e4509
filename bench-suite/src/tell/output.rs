//! Files of a report, each there completely or not at all.

use std::fs;
use std::path::Path;

use model::atomic_file::{AtomicFile, replace};

use super::html;
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

/// Writes `report.json`, the tables as .csv, the plots as .svg, and last the page that links to them.
///
/// # Errors
/// One line, naming the file.
pub(crate) fn write(report: &Report, document: &Document, dir: &Path) -> Result<(), String> {
    prepare(dir)?;
    let put = |name: &str, content: &str| {
        let path = dir.join(name);
        replace(&path, content.as_bytes()).map_err(|e| format!("{}: {e}", path.display()))
    };
    put("report.json", &serde_json::to_string(report).map_err(|e| e.to_string())?)?;
    for table in document.tables() {
        put(&format!("{}.csv", table.id), &table.csv())?;
    }
    for figure in document.plots() {
        put(&format!("{}.svg", figure.id), &figure.plot.draw(PLOT_WIDTH).standalone(&figure.title))?;
    }
    put("index.html", &html::page(document))
}
