//! The command `shufflenet`: classifies photos, and shows what a ShuffleNetV2 costs and how fast it runs here.
#![forbid(unsafe_code)]

mod bench;
mod check;
mod checkpoint;
mod classify;
mod convert;
mod failure;
mod fetch;
mod in_order;
mod lines;
mod logits;
mod options;
mod plot;
mod profile;
mod run;
mod subject;
mod summary;
mod table;
mod threads;
mod timing;

use clap::builder::PossibleValuesParser;
use clap::{CommandFactory, Parser, Subcommand};
use failure::{Failure, Output, Result};
use kernels::Isa;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Mutex;

/// ShuffleNetV2 on the CPU, by explicit SIMD.
#[derive(Parser)]
#[command(
    name = "shufflenet",
    version,
    after_long_help = EXAMPLES
)]
struct Cli {
    /// Threads that work on an image or a batch; results do not depend on it
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "N", default_value = "1", value_parser = options::whole_number(1..=1024), allow_negative_numbers = true)]
    threads: u32,

    /// Instruction set; `auto` is the best that this processor has [default: what the environment variable
    /// KERNELS_ISA says, else auto]
    #[arg(long, global = true, help_heading = GLOBAL, value_parser = isas())]
    isa: Option<String>,

    #[command(subcommand)]
    command: Command,
}

const GLOBAL: &str = "Options of every command";

const EXAMPLES: &str = "\
A first walk:
  shufflenet fetch 1.0                    trained weights from torchvision
  shufflenet classify PHOTO.jpg --weights shufflenetv2_x1-5666bf0f80.pth
  shufflenet summary                      the layers of the network and what they cost
  shufflenet bench                        its latency on this machine
  shufflenet profile                      where the time goes, layer by layer
  shufflenet check MODEL.onnx             what would be run of a network of your own
  shufflenet run MODEL.onnx --input X.npy --output Y.npy

`shufflenet COMMAND --help` explains a command by examples.
Exit status: 0 on success, 2 on wrong usage, 1 on any other error.";

#[derive(Subcommand)]
enum Command {
    Classify(classify::Args),
    Logits(logits::Args),
    Summary(summary::Args),
    Profile(profile::Args),
    Bench(bench::Args),
    Fetch(fetch::Args),
    Convert(convert::Args),
    Run(run::Args),
    Check(check::Args),
}

/// What the kernels were compiled for, and the names that are always understood.
fn isas() -> PossibleValuesParser {
    let portable = Some("portable").filter(|name| !Isa::names().any(|isa| isa == *name));
    PossibleValuesParser::new(["auto"].into_iter().chain(Isa::names()).chain(portable))
}

/// What commands that run a network are told.
struct Context {
    isa: Isa,
    threads: usize,
}

fn dispatch(out: &mut Output) -> Result {
    let Cli { threads, isa, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            // Help or version, asked for.
            return Ok(error.print()?);
        }
        Err(error) => return Err(Failure::of_usage(&error, Cli::command())),
    };
    // The others have no use for an instruction set, and do not ask for one.
    let context = || -> Result<Context> {
        let isa = match isa {
            Some(name) => Isa::from_name(&name).map_err(|e| Failure::Usage(format!("--isa: {e}")))?,
            None => Isa::from_env().map_err(|e| Failure::Other(format!("KERNELS_ISA: {e}")))?,
        };
        Ok(Context { isa, threads: threads as usize })
    };
    match command {
        Command::Classify(args) => classify::run(&context()?, &args, out),
        Command::Logits(args) => logits::run(&context()?, &args, out),
        Command::Summary(args) => summary::run(&args, out),
        Command::Profile(args) => profile::run(&context()?, &args, out),
        Command::Bench(args) => bench::run(&context()?, &args, out),
        Command::Fetch(args) => fetch::run(&args, out),
        Command::Convert(args) => convert::run(&args, out),
        Command::Run(args) => run::run(&context()?, &args),
        Command::Check(args) => check::run(&args, out),
    }
}

fn main() -> ExitCode {
    // A panic is a bug here or in a decoder. It is told in one line like any other error, from where the
    // stack has been unwound and temporary files are gone.
    static PANIC: Mutex<String> = Mutex::new(String::new());
    panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let formatted = payload.downcast_ref::<String>().map(String::as_str);
        let what = formatted.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
        let at = info.location().map_or_else(String::new, |place| format!(" ({place})"));
        *PANIC.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = format!("{what}{at}");
    }));
    let result = panic::catch_unwind(AssertUnwindSafe(|| {
        let mut out = io::stdout();
        dispatch(&mut out)?;
        Ok(out.flush()?)
    }));
    let failure = match result {
        Ok(Ok(())) | Ok(Err(Failure::BrokenPipe)) => return ExitCode::SUCCESS,
        Ok(Err(failure)) => failure,
        Err(_) => {
            let text = PANIC.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            Failure::Other(format!("internal error, please report it: {text}"))
        }
    };
    if !matches!(failure, Failure::Told) {
        failure::say("error", &failure.to_string());
    }
    ExitCode::from(failure.status())
}
