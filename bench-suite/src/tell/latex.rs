//! A report for LaTeX: every table with the rules of booktabs, every plot as a TikZ picture, and a document that shows them
//! all.

use std::fmt::Write;

use super::document::{Block, Cell, Document, Table};
use super::report::Report;
use crate::plot::tikz::{self, escape};

/// Width at which plots are drawn, in CSS pixels, and set, in points: the text of an article.
const PLOT_WIDTH: f64 = 520.0;
const TEXT_WIDTH: f64 = 343.0;

/// Rows that fit one page.
const ROWS: usize = 60;

/// The paper whose guidelines are measured.
const BIBLIOGRAPHY: &str = "\
@inproceedings{ma2018shufflenetv2,
  author    = {Ma, Ningning and Zhang, Xiangyu and Zheng, Hai-Tao and Sun, Jian},
  title     = {{ShuffleNet V2}: Practical Guidelines for Efficient {CNN} Architecture Design},
  booktitle = {Proceedings of the European Conference on Computer Vision (ECCV)},
  pages     = {116--131},
  year      = {2018},
  eprint    = {1807.11164},
}
";

/// All files, by name. The document comes last.
pub(crate) fn files(report: &Report, document: &Document) -> Vec<(String, String)> {
    let mut files = vec![("references.bib".to_owned(), BIBLIOGRAPHY.to_owned())];
    for table in document.tables() {
        files.push((format!("table-{}.tex", table.id), tabular(table)));
    }
    for figure in document.plots() {
        let picture = tikz::picture(&figure.plot.draw(PLOT_WIDTH), TEXT_WIDTH);
        files.push((format!("plot-{}.tex", figure.id), picture));
    }
    files.push(("report.tex".into(), article(report, document)));
    files
}

/// The command that measures the same again.
fn command(report: &Report) -> String {
    let settings = &report.settings;
    let mode = match settings.mode.as_str() {
        "default" => String::new(),
        mode => format!(" --{mode}"),
    };
    format!("cargo run --release --{mode} --isa {} --threads {}", settings.isa, settings.threads)
}

/// A table for `\\input`, with the rules of booktabs.
fn tabular(table: &Table) -> String {
    let column = |i: usize| {
        let texts = || {
            table.rows().filter_map(move |row| if let Cell::Text(text) = &row[i] { Some(text) } else { None })
        };
        match texts().map(|text| text.chars().count()).max() {
            None => "r",
            Some(length) if length > 50 => "p{.6\\linewidth}",
            Some(_) => "l",
        }
    };
    let columns: String = (0..table.columns.len()).map(column).collect();
    let line = |cells: Vec<String>| cells.join(" & ") + " \\\\\n";
    let mut out = format!("\\begin{{tabular}}{{@{{}}{columns}@{{}}}}\n\\toprule\n");
    out += &line(table.columns.iter().map(|column| escape(&column.title)).collect());
    if table.columns.iter().any(|column| !column.unit.is_empty()) {
        out += &line(table.columns.iter().map(|column| escape(&column.unit)).collect());
    }
    for group in &table.groups {
        out += "\\midrule\n";
        if !group.title.is_empty() {
            out += &format!(
                "\\multicolumn{{{}}}{{@{{}}l}}{{\\emph{{{}}}}} \\\\\n",
                table.columns.len(),
                escape(&group.title)
            );
        }
        for row in &group.rows {
            out += &line(row.iter().map(|cell| escape(&cell.shown())).collect());
        }
    }
    out + "\\bottomrule\n\\end{tabular}%\n"
}

/// A document that shows everything, for looking at and for copying from.
fn article(report: &Report, document: &Document) -> String {
    let mut out = format!(
        "% Tables need booktabs, plots need tikz; each is a file of its own for \\input.\n\
         % pdflatex report && bibtex report && pdflatex report && pdflatex report\n\
         \\documentclass{{article}}\n\\usepackage{{booktabs,tikz}}\n\
         \\newcommand\\fit[1]{{\\sbox0{{#1}}\\ifdim\\wd0>\\linewidth\\resizebox{{\\linewidth}}{{!}}{{\\usebox0}}\\else\\usebox0\\fi}}\n\
         \\sloppy\n\\title{{{}}}\n\\author{{}}\n\\date{{{}}}\n\\begin{{document}}\n\\maketitle\n\n\
         \\noindent {}. After \\cite{{ma2018shufflenetv2}}. Measured by\n\\begin{{quote}}\\ttfamily {}\\end{{quote}}\n",
        escape(&document.title),
        escape(report.environment.date.split('T').next().unwrap_or_default()),
        escape(&document.subtitle),
        escape(&command(report))
    );
    for warning in &document.warnings {
        write!(out, "\n\\paragraph{{Warning}} {}\n", escape(warning))
            .expect("writing to a string cannot fail");
    }
    for section in &document.sections {
        out += &format!("\n\\section{{{}}}\n", escape(&section.title));
        for block in &section.blocks {
            out += &match block {
                // LaTeX numbers them itself.
                Block::Heading(text, _) => format!(
                    "\n\\subsection{{{}}}\n",
                    escape(text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == ' '))
                ),
                Block::Text(text) => format!("\n{}\n", escape(text)),
                Block::Verdict(text) => format!("\n\\begin{{quote}}{}\\end{{quote}}\n", escape(text)),
                Block::Figure(figure) => format!(
                    "\n\\begin{{figure}}[htbp]\\centering\n\\input{{plot-{}}}\n\\caption{{{}. {}}}\n\\end{{figure}}\n",
                    figure.id,
                    escape(&figure.title),
                    escape(&figure.caption)
                ),
                Block::Table(table) if table.columns.is_empty() => String::new(),
                Block::Table(table) if table.rows().count() + table.groups.len() > ROWS => {
                    format!("\n% table-{}.tex is longer than a page.\n", table.id)
                }
                Block::Table(table) => format!(
                    "\n\\begin{{table}}[htbp]\\centering\\footnotesize\n\\caption{{{}}}\n\\fit{{\\input{{table-{}}}}}\n\\end{{table}}\n",
                    escape(&table.title),
                    table.id
                ),
            };
        }
        // More floats than LaTeX can hold back would be an error.
        out += "\n\\clearpage\n";
    }
    out + "\n\\bibliographystyle{plain}\n\\bibliography{references}\n\\end{document}\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::{env, fs};

    fn report() -> Report {
        Report::parse(include_str!("../../tests/report-1.json")).unwrap()
    }

    #[test]
    fn tables_have_rules_and_no_bare_signs() {
        let mut table = Table::new("t", "title");
        table.group("a & b");
        table.row([("name", Cell::text("50 %")), ("time|ms", Cell::Number(12345.5, 1))]);
        assert_eq!(
            tabular(&table),
            "\\begin{tabular}{@{}lr@{}}\n\\toprule\nname & time \\\\\n & ms \\\\\n\\midrule\n\
             \\multicolumn{2}{@{}l}{\\emph{a \\& b}} \\\\\n50 \\% & 12\\,345.5 \\\\\n\\bottomrule\n\\end{tabular}%\n"
        );
    }

    #[test]
    fn the_command_measures_the_same() {
        let mut report = report();
        report.settings.mode = "default".into();
        report.settings.isa = "avx2".into();
        assert_eq!(command(&report), "cargo run --release -- --isa avx2 --threads 1");
        report.settings.mode = "quick".into();
        assert_eq!(command(&report), "cargo run --release -- --quick --isa avx2 --threads 1");
    }

    /// The whole document, where there is a TeX to try it.
    #[test]
    fn the_document_compiles() {
        let report = report();
        let dir = env::temp_dir().join(format!("bench-suite-latex-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        for (name, content) in files(&report, &super::super::document(&report)) {
            fs::write(dir.join(name), content).unwrap();
        }
        let has = |file: &str| {
            let found = Command::new("kpsewhich").arg(file).output();
            found.is_ok_and(|output| output.status.success())
        };
        let tex = ["booktabs.sty", "tikz.sty"].into_iter().all(has);
        if !tex || Command::new("pdflatex").arg("--version").output().is_err() {
            eprintln!("skipped: no pdflatex with booktabs and tikz, the document was not compiled");
        } else {
            let output = Command::new("pdflatex")
                .args(["-interaction=nonstopmode", "-halt-on-error", "report.tex"])
                .current_dir(&dir)
                .output()
                .unwrap();
            let log = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && dir.join("report.pdf").is_file(), "{log}");
            assert!(!log.contains("Missing character"), "{log}");
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}
