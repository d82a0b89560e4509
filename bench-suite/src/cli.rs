//! The command line.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, value_parser};
use kernels::Isa;

use crate::run::suite::{self, Mode, Options};
use crate::run::traffic;
use crate::tell::document::Document;
use crate::tell::peers::Peers;
use crate::tell::report::Report;
use crate::tell::{self, compare, output};
use crate::work::given::{self, Asked};

/// Measures this machine, the four guidelines of the ShuffleNetV2 paper and the networks behind them, and writes a
/// report: index.html, report.json, plots as .svg, tables as .csv.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

/// Reports that one page may have; more would be unreadable.
const MOST_MERGED: usize = 12;

#[derive(Debug, Subcommand)]
enum Command {
    /// Says what became faster or slower from one report.json to another, beyond the noise of both.
    Compare {
        /// The earlier report.json
        old: PathBuf,
        /// The later report.json
        new: PathBuf,
        /// Slow-downs larger than this many percent end with exit status 1
        #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = percent)]
        threshold: f64,
    },
    /// Sets several report.json beside each other, of several machines or instruction sets: latency per network, ranks that
    /// change, guidelines.
    Merge {
        /// The report.json of each
        #[arg(required = true, num_args = 2..=MOST_MERGED)]
        reports: Vec<PathBuf>,
        /// Where to write
        #[arg(long, visible_alias = "out", value_name = "DIR", default_value = "target/merged")]
        output: PathBuf,
    },
    /// Writes a report.json for LaTeX: tables with the rules of booktabs, plots as TikZ pictures, a BibTeX entry of the paper,
    /// and a document that shows them all.
    Latex {
        /// The report.json
        report: PathBuf,
        /// Where to write
        #[arg(long, visible_alias = "out", value_name = "DIR", default_value = "target/latex")]
        output: PathBuf,
    },
    /// Runs one experiment and nothing else, for the cache simulation to watch.
    #[command(hide = true)]
    Probe {
        /// Its id
        id: String,
        /// How often
        #[arg(long, default_value_t = 1)]
        runs: usize,
    },
    /// Writes page, plots and tables again from a report.json.
    Render {
        /// The report.json
        report: PathBuf,
        /// Where to write
        #[arg(long, visible_alias = "output", value_name = "DIR", default_value = "target/report")]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Run {
    /// Under a minute, without the largest experiments
    #[arg(long)]
    quick: bool,
    /// As long as good numbers take, every answer checked at full size
    #[arg(long, conflicts_with = "quick")]
    full: bool,
    /// Where to write
    #[arg(long, visible_alias = "output", value_name = "DIR", default_value = "target/report")]
    out: PathBuf,
    /// A network that gets a section of its own: an .onnx file, or one of the report's as mobilenet_v2_1.0. Time, costs and
    /// roof of each layer, the worst with the reason, and what a friendlier width would save; may be given several times
    #[arg(long, value_name = "FILE|NAME", value_parser = given::asked)]
    network: Vec<Asked>,
    /// Height and width of the images of networks whose file leaves them open
    #[arg(long, value_name = "PIXELS", default_value_t = 224, value_parser = value_parser!(u16).range(1..=4096))]
    size: u16,
    /// Networks only: neither guidelines nor single layers nor sweeps
    #[arg(long)]
    only_networks: bool,
    /// Threads of everything that does not compare them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// Instruction set of everything that does not compare them: auto, avx512, avx2 or portable [default: what the
    /// environment variable KERNELS_ISA says, else auto]
    #[arg(long, value_name = "ISA", value_parser = isa)]
    isa: Option<Isa>,
    /// Other engines' times, as bench-suite/peers/race.py writes them; left out where there is no such file
    #[arg(long, value_name = "FILE", default_value = "target/peers/peers.json")]
    peers: PathBuf,
}

fn isa(name: &str) -> Result<Isa, String> {
    Isa::from_name(name).map_err(|e| e.to_string())
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..=1e6).contains(&number) => Ok(number),
        _ => Err("must be a number of percent, 0 or more".into()),
    }
}

/// Runs the command line. Exit status 0 on success, 2 on a usage error, 1 on any other.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    let result = match cli {
        Cli { command: Some(Command::Compare { old, new, threshold }), .. } => {
            compare_files(&old, &new, threshold)
        }
        Cli { command: Some(Command::Probe { id, runs }), .. } => traffic::probe(&id, runs),
        Cli { command: Some(Command::Render { report, out }), .. } => {
            Report::read(&report).and_then(|report| write(&report, &out))
        }
        Cli { command: Some(Command::Merge { reports, output }), .. } => merge(&reports, &output),
        Cli { command: Some(Command::Latex { report, output }), .. } => latex(&report, &output),
        Cli { command: None, run } => measure(&run),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            if !message.is_empty() {
                say(&message);
            }
            ExitCode::FAILURE
        }
    }
}

/// Prints help or version, which were asked for; of a wrong command line, what is wrong with it.
fn explain(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if !error.use_stderr() {
        return match print(&text) {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => {
                say(&message);
                ExitCode::FAILURE
            }
        };
    }
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let wrong = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = wrong.split_whitespace().collect();
    say(&format!("{}; see --help", words.join(" ")));
    ExitCode::from(2)
}

/// Writes one line to the standard error.
fn say(message: &str) {
    // Where even this cannot be written, nobody is listening.
    let _ = writeln!(io::stderr(), "error: {message}");
}

fn measure(run: &Run) -> Result<(), String> {
    let mode = match (run.quick, run.full) {
        (true, _) => Mode::Quick,
        (_, true) => Mode::Full,
        _ => Mode::Default,
    };
    let isa = match run.isa {
        Some(isa) => isa,
        None => Isa::from_env().map_err(|e| format!("KERNELS_ISA: {e}"))?,
    };
    // A bad file, or a folder that takes none, should be known before three minutes have passed.
    let peers = Peers::read(&run.peers)?;
    output::prepare(&run.out)?;
    let networks = given::read(&run.network, usize::from(run.size))?;
    let threads = usize::from(run.threads);
    let options = Options { mode, isa, threads, only_networks: run.only_networks };
    let mut report = suite::run(options, &networks)?;
    report.peers = peers;
    write(&report, &run.out)
}

fn merge(paths: &[PathBuf], out: &Path) -> Result<(), String> {
    let reports: Vec<Report> = paths.iter().map(|path| Report::read(path)).collect::<Result<_, _>>()?;
    tell_of(&reports.iter().collect::<Vec<_>>(), &tell::merged(&reports), out)
}

fn latex(path: &Path, out: &Path) -> Result<(), String> {
    let report = Report::read(path)?;
    output::write_latex(&report, &tell::document(&report), out)?;
    print(&format!("{}\n", out.join("report.tex").display()))
}

fn write(report: &Report, out: &Path) -> Result<(), String> {
    tell_of(&[report], &tell::document(report), out)
}

fn tell_of(reports: &[&Report], document: &Document, out: &Path) -> Result<(), String> {
    output::write(reports, document, out)?;
    print(&format!("{}\n{}\n", tell::summary(document), out.join("index.html").display()))
}

/// Writes to the standard output. Who reads no further is no error.
fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(format!("standard output: {e}")),
        _ => Ok(()),
    }
}

/// An empty message where everything worth saying has been printed.
fn compare_files(old: &Path, new: &Path, threshold: f64) -> Result<(), String> {
    let (old, new) = (Report::read(old)?, Report::read(new)?);
    let comparison = compare::compare(&old, &new);
    if comparison.compared == 0 {
        return Err("the two reports have no measurement in common".into());
    }
    print(&comparison.text(threshold))?;
    if comparison.regressions(threshold).next().is_some() { Err(String::new()) } else { Ok(()) }
}
