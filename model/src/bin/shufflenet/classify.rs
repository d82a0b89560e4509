//! `shufflenet classify`: what is in a photo.

use crate::failure::{Failure, Output, Result, printable, say};
use crate::options::WeightsArgs;
use crate::table::Columns;
use crate::{Context, checkpoint, threads};
use model::preprocess::{Picture, PictureError, Recipe};
use model::{Images, Network, Workspace, labels};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Name what photos show
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  shufflenet fetch 1.0
  shufflenet classify cat.jpg dog.png --weights shufflenetv2_x1-5666bf0f80.pth
  shufflenet classify leaf.jpg --weights trained.safetensors --labels plants.txt --top 3 --json

Photos are turned as their EXIF orientation says, resized, and cropped to 224x224:
  torchvision   short side 256 for 0.5x and 1.0x, 232 for 1.5x and 2.0x; mean and deviation
  megvii        short side 256; BGR, 0 to 255
  keras         short side 256; RGB, 0 to 1
A photo that cannot be read does not keep the others from being classified; the exit
status is 1 then.")]
pub(crate) struct Args {
    /// JPEG or PNG files
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,

    #[command(flatten)]
    weights: WeightsArgs,

    /// Names of the classes: a text in UTF-8 or UTF-16, one per line, empty lines at the end not counted; or JSON, as
    /// imagenet_class_index.json is [default: ImageNet's, where there are 1000 classes]
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,

    /// How many classes to show
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,

    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// What is told of a photo; the names are those of the JSON.
#[derive(Serialize)]
struct Answer<'a> {
    image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<Vec<Guess<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct Guess<'a> {
    rank: usize,
    class: usize,
    label: Option<&'a str>,
    probability: f32,
}

pub(crate) fn run(context: &Context, args: &Args, out: &mut Output) -> Result {
    let network = checkpoint::load(&args.weights, context.isa)?;
    let classes = network.config().classes;
    if classes == 0 {
        let why = "the network ends in features, so there are no classes (`logits` writes the features)";
        return Err(Failure::Other(format!("{}: {why}", args.weights.file.display())));
    }
    let names: Vec<String> = match &args.labels {
        Some(path) => labels::load(path, classes).map_err(|e| Failure::Other(e.to_string()))?,
        None => {
            let imagenet = labels::imagenet();
            let known = imagenet.len() == classes;
            imagenet.into_iter().filter(|_| known).map(str::to_owned).collect()
        }
    };
    let recipe = Recipe::of(network.config());
    let failed = threads::run(context.threads, None, |parallel| -> Result<bool> {
        let mut workspace = network.workspace();
        let mut answers = Vec::new();
        let mut failed = false;
        for path in &args.images {
            let image = path.to_string_lossy().into_owned();
            let answer = match probabilities(&network, &recipe, path, parallel, &mut workspace) {
                Ok(probabilities) => {
                    let top = best(&probabilities, &names, args.top as usize);
                    Answer { image, top: Some(top), error: None }
                }
                Err(error) => {
                    say("error", &error.to_string());
                    failed = true;
                    Answer { image, top: None, error: Some(error.to_string()) }
                }
            };
            if args.json {
                answers.push(answer);
            } else if let Some(top) = &answer.top {
                write!(out, "{}\n\n{}\n", printable(&answer.image), table(top))?;
            }
        }
        if args.json {
            writeln!(out, "{}", serde_json::to_string(&answers).expect("plain numbers and names"))?;
        }
        Ok(failed)
    })??;
    if failed { Err(Failure::Told) } else { Ok(()) }
}

fn probabilities(
    network: &Network,
    recipe: &Recipe,
    path: &Path,
    parallel: &dyn kernels::Parallel,
    workspace: &mut Workspace,
) -> std::result::Result<Vec<f32>, PictureError> {
    let input = recipe.apply(&Picture::open(path)?);
    let mut logits = vec![0.0; network.config().classes];
    network.run(parallel, Images::nchw(&input, 1, recipe.crop, recipe.crop), workspace, &mut logits);
    model::probabilities(&mut logits);
    Ok(logits)
}

/// The most probable classes.
fn best<'a>(probabilities: &[f32], names: &'a [String], top: usize) -> Vec<Guess<'a>> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    let guesses = order.into_iter().take(top).enumerate();
    guesses
        .map(|(index, class)| Guess {
            rank: index + 1,
            class,
            label: names.get(class).map(String::as_str),
            probability: probabilities[class],
        })
        .collect()
}

fn table(top: &[Guess<'_>]) -> Columns {
    let mut table = Columns::new(2, &["rank", "label", "class", "probability"]);
    for guess in top {
        table.row([
            guess.rank.to_string(),
            printable(guess.label.unwrap_or("-")),
            guess.class.to_string(),
            format!("{:.4}", guess.probability),
        ]);
    }
    table
}
