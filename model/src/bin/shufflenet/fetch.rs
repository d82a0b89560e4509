//! `shufflenet fetch`: trained weights.

use crate::failure::{Failure, Output, Result, printable};
use indicatif::{ProgressBar, ProgressStyle};
use model::fetch::{BASE_URL, PRETRAINED, Pretrained};
use std::fs;
use std::path::PathBuf;

/// Download torchvision's checkpoint of a width, trained on ImageNet
///
/// Size and SHA-256 are checked before the file gets its name. One that is there already is checked instead of being
/// downloaded again.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  shufflenet fetch 1.0
  shufflenet fetch 0.5 --dir weights
  shufflenet fetch 2.0 --base-url https://mirror.example.org/models

Prints the path of the file.")]
pub(crate) struct Args {
    /// Width of the network
    #[arg(value_parser = crate::options::widths())]
    width: String,

    /// Folder to put it in; made if it is not there
    #[arg(long, default_value = ".")]
    dir: PathBuf,

    /// Where else to look for torchvision's files
    #[arg(long, value_name = "URL", default_value = BASE_URL)]
    base_url: String,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result {
    let of_width = |known: &&Pretrained| known.width.parse() == args.width.parse::<f64>();
    let pretrained = PRETRAINED.iter().find(of_width).expect("the four widths are the known ones");
    fs::create_dir_all(&args.dir).map_err(|e| Failure::Other(format!("{}: {e}", args.dir.display())))?;

    // Shown only on a terminal.
    let bar = ProgressBar::no_length().with_style(
        ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
            .expect("a constant template"),
    );
    let path = model::fetch::fetch(pretrained, &args.dir, &args.base_url, |received, total| {
        bar.set_length(total.unwrap_or(received));
        bar.set_position(received);
    });
    bar.finish_and_clear();
    let path = path.map_err(|e| Failure::Other(e.to_string()))?;
    writeln!(out, "{}", printable(&path.to_string_lossy()))?;
    Ok(())
}
