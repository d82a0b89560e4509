//! Files of a report, each there completely or not at all.

use std::fs;
use std::path::Path;

use model::atomic_file::replace;

use crate::document::Document;
use crate::html;
use crate::report::Report;

/// Width of the plots' own files, in CSS pixels.
const PLOT_WIDTH: f64 = 860.0;

/// Writes `report.json`, the tables as .csv, the plots as .svg, and last the page that links to them.
///
/// # Errors
/// One line, naming the file.
pub fn write(report: &Report, document: &Document, dir: &Path) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
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
