//! The page of a report of the first version, in a real browser: every plot and table is there, nothing overflows, nothing
//! logs an error.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use super::document::Document;
use super::report::{Profile, Report, Traffic, Widths};
use super::{document, html, merged};
use crate::plot::svg;

/// An older report, with few samples of each measurement, and what a full run would have counted besides.
fn report() -> Report {
    let mut report = Report::parse(include_str!("../../tests/report-1.json")).unwrap();
    report.traffic = ["1-1", "1-2", "1-6", "1-12"]
        .map(|row| Traffic { id: format!("g1/arm/x1/{row}"), first_level: 40_000_000, last_level: 9_000_000 })
        .to_vec();
    // A section for one network, with a layer at two widths: the times of others stand for its own.
    let network = report.networks.iter().find(|network| network.id == "net/mobilenet_v1_1.0").unwrap();
    let seconds = network.steps.iter().map(|step| 1e-5 + step.macs as f64 / 50e9).collect();
    let [wide, narrow] = [report.measurements[0].id.clone(), report.measurements[1].id.clone()];
    let widths = vec![Widths { step: 1, oc: 32, tried: vec![(32, wide), (24, narrow)] }];
    report.profiles = vec![Profile { id: network.id.clone(), lanes: 16, seconds, widths }];
    report
}

/// Tables and plots of a page in a browser, at both widths, and nothing else to say.
fn everything_fits(document: &Document) {
    let mut expected = BTreeSet::new();
    for width in [390, 1280] {
        expected.extend(document.plots().map(|figure| format!("{width}: figure fig-{}", figure.id)));
        expected.extend(document.tables().map(|table| format!("{width}: table table-{}", table.id)));
    }
    let Some(browser) = browser() else {
        eprintln!("skipped: no chromium on the PATH, the page was not looked at");
        return;
    };
    let (seen, log) = inspect(&browser, &html::page(document));
    let (present, wrong): (Vec<String>, Vec<String>) =
        seen.into_iter().partition(|line| line.contains(": figure ") || line.contains(": table "));
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(BTreeSet::from_iter(present), expected);
    assert_eq!(log, Vec::<String>::new());
}

/// Looks at the page in two frames, as wide as a phone and as a desktop window, and writes what is wrong into the
/// document.
const INSPECTOR: &str = r##"
window.addEventListener('load', () => {
  const lines = [];
  for (const frame of document.querySelectorAll('iframe')) {
    const doc = frame.contentDocument, root = doc.documentElement, width = frame.clientWidth;
    const say = what => lines.push(width + ': ' + what);
    if (root.scrollWidth > width) say('the page is ' + root.scrollWidth + ' wide');
    for (const figure of doc.querySelectorAll('figure')) {
      const shown = [...figure.querySelectorAll('svg')].filter(s => s.getClientRects().length);
      if (shown.length != 1) { say(figure.id + ' shows ' + shown.length + ' plots'); continue; }
      const svg = shown[0], box = svg.getBoundingClientRect();
      if (box.width < 250 || box.height < 100) say(figure.id + ' is ' + box.width + ' by ' + box.height);
      for (const text of svg.querySelectorAll('text')) {
        const t = text.getBoundingClientRect();
        if (t.left < box.left - 1 || t.right > box.right + 1 || t.top < box.top - 1 || t.bottom > box.bottom + 1)
          say(figure.id + ': "' + text.textContent + '" leaves the plot');
        if (t.height < 11) say(figure.id + ': "' + text.textContent + '" is only ' + t.height + ' high');
      }
      say('figure ' + figure.id);
    }
    for (const table of doc.querySelectorAll('table')) {
      const columns = table.tHead.rows[0].cells.length;
      for (const row of table.querySelectorAll('tbody tr:not(.group)'))
        if (row.cells.length != columns) say(table.id + ' has a row of ' + row.cells.length);
      if (!table.querySelector('tbody td')) say(table.id + ' is empty');
      say('table ' + table.id);
    }
    const ids = [...doc.querySelectorAll('[id]')].map(e => e.id);
    for (const id of ids.filter((id, i) => ids.indexOf(id) != i)) say('two elements are called ' + id);
    for (const link of doc.querySelectorAll('a[href^="#"]'))
      if (!doc.getElementById(link.hash.slice(1))) say('nothing is called ' + link.hash);
    for (const loaded of doc.querySelectorAll('script,img,link[rel=stylesheet]')) say('loads ' + loaded.tagName);
  }
  const out = document.createElement('pre');
  out.id = 'seen';
  out.textContent = lines.join('\n');
  document.body.append(out);
});"##;

fn browser() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let dirs: Vec<PathBuf> = env::split_paths(&env::var_os("PATH")?).collect();
    names.iter().flat_map(|name| dirs.iter().map(move |dir| dir.join(name))).find(|path| path.is_file())
}

/// The lines that the inspector wrote, and those of the browser's log that speak of the page.
fn inspect(browser: &Path, page: &str) -> (Vec<String>, Vec<String>) {
    let dir = env::temp_dir().join(format!("bench-suite-page-{}-{}", std::process::id(), page.len()));
    fs::create_dir_all(&dir).unwrap();
    let quoted = page.replace('&', "&amp;").replace('"', "&quot;");
    let frames: String = [390, 1280]
        .iter()
        .map(|w| format!("<iframe style=\"border:0;width:{w}px;height:800px\" srcdoc=\"{quoted}\"></iframe>"))
        .collect();
    let file = dir.join("inspected.html");
    fs::write(
        &file,
        format!("<!doctype html><meta charset=\"utf-8\"><body>{frames}<script>{INSPECTOR}</script>"),
    )
    .unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args([
            "--enable-logging=stderr",
            "--virtual-time-budget=5000",
            "--window-size=1700,900",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", dir.join("profile").display()))
        .arg(format!("file://{}", file.display()))
        .output()
        .expect("the browser starts");
    fs::remove_dir_all(&dir).unwrap();
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let seen = dom.split("<pre id=\"seen\">").nth(1).and_then(|rest| rest.split("</pre>").next());
    let seen = seen
        .unwrap_or_else(|| panic!("the inspector did not run: {}", String::from_utf8_lossy(&output.stderr)));
    let log = String::from_utf8_lossy(&output.stderr);
    (
        seen.lines().map(|line| line.replace("&quot;", "\"").replace("&amp;", "&")).collect(),
        log.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect(),
    )
}

#[test]
fn everything_is_on_the_page_and_fits() {
    let document = document(&report());
    let (plots, tables) = (document.plots().count(), document.tables().count());
    assert!(
        plots >= 17 && tables >= 20,
        "a complete report has all its parts: {plots} plots, {tables} tables"
    );
    everything_fits(&document);
}

#[test]
fn several_reports_fit_a_page() {
    let [one, mut two] = [report(), report()];
    two.environment.cpu = "Another processor with a very long name @ 9 GHz".into();
    for m in two.measurements.iter_mut().filter(|m| m.id.starts_with("net/mobilenet")) {
        m.seconds.iter_mut().for_each(|seconds| *seconds *= 3.0);
    }
    everything_fits(&merged(&[one, two]));
}

/// A quick run on a machine of one instruction set, without other engines: parts are missing, nothing breaks.
#[test]
fn an_incomplete_report_makes_a_page_too() {
    let mut report = report();
    report.measurements.retain(|m| m.id.starts_with("g1/arm/x1") || m.id.starts_with("net/mobilenet_v1"));
    report.machine.peaks.clear();
    report.machine.bandwidths.clear();
    report.machine.noise.clear();
    report.splits.clear();
    report.profiles.clear();
    report.peers = None;
    let document = document(&report);
    let page = html::page(&document);
    assert!(page.contains("No other engine was measured") && !page.contains("NaN"), "{page}");
    for figure in document.plots() {
        for width in [350.0, 860.0] {
            let svg = svg::standalone(&figure.plot.draw(width), &figure.title);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{}: {svg}", figure.id);
        }
    }
}

/// What today's definitions do not know is told, and nothing else is left out.
#[test]
fn an_older_report_says_what_it_cannot_draw() {
    let mut report = report();
    report.profiles.clear();
    let warning = |report: &Report| document(report).warnings.last().cloned().unwrap_or_default();
    let told = warning(&report);
    assert!(told.starts_with("4 of 349 measurements are not drawn, model/0.5 for one"), "{told}");
    report.measurements.retain(|m| !m.id.starts_with("model/"));
    assert!(!warning(&report).contains("not drawn"), "{}", warning(&report));
    report.measurements[0].id = "g1/gpu/x9/1-1".into();
    // The column's other rows have lost what they are compared with.
    assert!(warning(&report).starts_with("4 of 345 measurements are not drawn"), "{}", warning(&report));
}

#[test]
fn a_report_survives_its_file() {
    let text = |report: &Report| serde_json::to_string(report).unwrap();
    let once = text(&report());
    assert_eq!(text(&Report::parse(&once).unwrap()), once);
    // It is of the present version now, and says what was measured.
    assert!(
        once.contains("\"schema\":3")
            && once.contains("Equal channel widths")
            && once.contains("stage2.0.proj.dw")
    );
}
