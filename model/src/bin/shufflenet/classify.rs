//! `shufflenet classify`: what is in a photo.

use crate::failure::{Failure, Output, Result, printable, say};
use crate::in_order::in_order;
use crate::lines::Lines;
use crate::options::WeightsArgs;
use crate::table::Columns;
use crate::{Context, checkpoint, threads};
use indicatif::{ProgressBar, ProgressStyle};
use kernels::{Parallel, Serial};
use model::photo::{Picture, Recipe};
use model::{Images, Network, Workspace, labels};
use serde::Serialize;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Name what photos show
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  shufflenet fetch 1.0
  shufflenet classify cat.jpg dog.png --weights shufflenetv2_x1-5666bf0f80.pth
  shufflenet classify leaf.jpg --weights trained.safetensors --labels plants.txt --top 3 --json
  curl -s https://example.org/cat.webp | shufflenet classify - --weights trained.safetensors
  shufflenet classify holidays/ --weights trained.safetensors --jsonl >holidays.jsonl
  shufflenet classify archive/ --weights trained.safetensors --threads 8 --jsonl --output archive.jsonl --resume

Photos are turned as their EXIF orientation says, resized, and cropped to 224x224:
  torchvision   short side 256 for 0.5x and 1.0x, 232 for 1.5x and 2.0x; mean and deviation
  megvii        short side 256; BGR, 0 to 255
  keras         short side 256; RGB, 0 to 1
A photo that cannot be read does not keep the others from being classified; the exit
status is 1 then.

Of many photos, each thread decodes, resizes and classifies its own; answers come in the
order of the photos all the same, and the memory in use does not grow with their number
(but with --json, which keeps all answers).")]
pub(crate) struct Args {
    /// JPEG, PNG or WebP files; of a folder all in it but hidden ones, in the order of their names; `-` is the standard input
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

    /// Write JSON: one array of all photos, at the end
    #[arg(long)]
    json: bool,

    /// Write JSON lines: one object per photo, as soon as it is done
    #[arg(long, visible_alias = "json-lines", conflicts_with = "json")]
    jsonl: bool,

    /// Write the JSON lines to a file, each as soon as it is known: whatever ends the command, none is lost
    #[arg(long, value_name = "FILE.jsonl", requires = "jsonl")]
    output: Option<PathBuf>,

    /// Go on with that file: photos that have a line in it are passed over, also those that could not be read
    #[arg(long, requires = "output")]
    resume: bool,

    /// Say at the end how many photos were decoded, resized and classified per second; on a terminal that is said anyway
    #[arg(long)]
    stats: bool,
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
    if args.images.iter().filter(|image| is_standard_input(image)).count() > 1 {
        return Err(Failure::Usage(String::from("IMAGE: the standard input can be read once only")));
    }
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
    let mut photos: Vec<PathBuf> = args.images.iter().flat_map(|image| photos_of(image)).collect();
    let mut lines = match &args.output {
        Some(path) if args.resume => {
            let (lines, mut told) = Lines::resume(path)?;
            photos.retain(|photo| match told.get_mut(&*photo.to_string_lossy()) {
                Some(times) if *times > 0 => {
                    *times -= 1;
                    false
                }
                _ => true,
            });
            Some(lines)
        }
        Some(path) => Some(Lines::create(path)?),
        None => None,
    };
    let bar = progress(photos.len(), args);
    let classifier = Classifier { network: &network, recipe: &recipe, stages: Mutex::default() };
    let answer = |path: &PathBuf, parallel: &dyn Parallel, workspace: &mut Workspace| {
        let image = path.to_string_lossy().into_owned();
        match classifier.probabilities(path, parallel, workspace) {
            Ok(probabilities) => {
                let top = best(&probabilities, &names, args.top as usize);
                Answer { image, top: Some(top), error: None }
            }
            Err(error) => Answer { image, top: None, error: Some(error) },
        }
    };
    let mut answers = Vec::new();
    let mut failed = false;
    let mut tell = |answer: Answer<'_>| -> Result {
        if let Some(error) = &answer.error {
            bar.suspend(|| say("error", error));
            failed = true;
        }
        if let Some(lines) = &mut lines {
            lines.write(&json(&answer))?;
        } else if args.jsonl {
            writeln!(out, "{}", json(&answer))?;
            out.flush()?;
        } else if args.json {
            answers.push(json(&answer));
        } else if let Some(top) = &answer.top {
            write!(out, "{}\n\n{}\n", printable(&answer.image), table(top))?;
        }
        bar.inc(1);
        Ok(())
    };
    let begin = Instant::now();
    if context.threads == 1 || photos.len() < context.threads {
        // All threads work on one photo.
        threads::run(context.threads, None, |parallel| {
            let mut workspace = network.workspace();
            photos.iter().try_for_each(|path| tell(answer(path, parallel, &mut workspace)))
        })??;
    } else {
        let work = |workspace: &mut Workspace, index: usize| answer(&photos[index], &Serial, workspace);
        in_order(context.threads, photos.len(), || network.workspace(), work, tell)?;
    }
    let elapsed = begin.elapsed();
    let on_a_terminal = !bar.is_hidden();
    bar.finish_and_clear();
    if args.json {
        writeln!(out, "[{}]", answers.join(","))?;
    }
    if args.stats || on_a_terminal {
        say("note", &classifier.rates(photos.len(), elapsed, context.threads));
    }
    if failed { Err(Failure::Told) } else { Ok(()) }
}

fn json(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).expect("plain numbers and names")
}

fn is_standard_input(image: &Path) -> bool {
    image.as_os_str() == "-"
}

/// How photos' names end, those too that are not read: of a folder, nobody should miss one without being told.
const ENDINGS: [&str; 13] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "heic", "heif", "avif", "gif", "bmp", "tif", "tiff"];

/// The photos in a folder, hidden ones apart (macOS puts one beside each on foreign disks), or else the path itself.
fn photos_of(image: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(image).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let is_photo = |path: &PathBuf| {
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        ending.is_some_and(|ending| ENDINGS.iter().any(|photo| ending == *photo)) && !hidden && !path.is_dir()
    };
    let mut photos: Vec<PathBuf> = entries.filter(is_photo).collect();
    photos.sort();
    if photos.is_empty() { vec![image.to_owned()] } else { photos }
}

/// A bar on the standard error, if that is a terminal, where answers do not tell how far the work is.
fn progress(photos: usize, args: &Args) -> ProgressBar {
    let answers_tell = !args.json && io::stdout().is_terminal();
    if photos < 2 || answers_tell {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos} of {len} photos, {per_sec}, {eta} left");
    ProgressBar::new(photos as u64).with_style(style.expect("a constant template"))
}

/// Who turns photos into probabilities, and notes what that takes.
struct Classifier<'a> {
    network: &'a Network,
    recipe: &'a Recipe,
    stages: Mutex<Stages>,
}

/// The photos that came through, and the time that all threads together spent on them.
#[derive(Default)]
struct Stages {
    photos: u32,
    decoding: Duration,
    resizing: Duration,
    network: Duration,
}

impl Classifier<'_> {
    /// The probability of each class, or one line about why there is none.
    fn probabilities(
        &self,
        path: &Path,
        parallel: &dyn Parallel,
        workspace: &mut Workspace,
    ) -> std::result::Result<Vec<f32>, String> {
        let begin = Instant::now();
        let picture = read(path)?;
        let decoded = Instant::now();
        let input = self.recipe.apply(&picture);
        let resized = Instant::now();
        let mut logits = vec![0.0; self.network.config().classes];
        let images = Images::nchw(&input, 1, self.recipe.crop, self.recipe.crop);
        self.network.run(parallel, images, workspace, &mut logits);
        model::probabilities(&mut logits);
        if logits.iter().any(|probability| probability.is_nan()) {
            let why =
                "what the network makes of it is no number (NaN); its weights are at fault, not the photo";
            let name = if is_standard_input(path) { "standard input".into() } else { path.to_string_lossy() };
            return Err(format!("{name}: {why}"));
        }
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        stages.photos += 1;
        stages.decoding += decoded - begin;
        stages.resizing += resized - decoded;
        stages.network += resized.elapsed();
        Ok(logits)
    }

    /// Images per second: of all, and of each stage by itself.
    fn rates(&self, photos: usize, elapsed: Duration, threads: usize) -> String {
        let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = |time: Duration| f64::from(stages.photos) / time.as_secs_f64().max(1e-9);
        format!(
            "{photos} photos in {:.2} s, threads: {threads}: {:.1} images per second; of one thread: decoding {:.1}, \
             resizing {:.1}, network {:.1}",
            elapsed.as_secs_f64(),
            photos as f64 / elapsed.as_secs_f64().max(1e-9),
            rate(stages.decoding),
            rate(stages.resizing),
            rate(stages.network)
        )
    }
}

/// The photo in a file or on the standard input, or one line about why there is none.
fn read(path: &Path) -> std::result::Result<Picture, String> {
    if is_standard_input(path) {
        Picture::read(io::stdin().lock()).map_err(|e| format!("standard input: {e}"))
    } else if path.is_dir() {
        Err(match std::fs::read_dir(path) {
            Ok(_) => {
                format!(
                    "{}: a folder in which no file is named as photos are (.jpg, .png, ..)",
                    path.display()
                )
            }
            Err(e) => format!("{}: {e}", path.display()),
        })
    } else {
        Picture::open(path).map_err(|e| e.to_string())
    }
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
