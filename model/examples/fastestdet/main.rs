//! FastestDet, a published detector for the 80 classes of COCO, on the kernels of this project.
//!
//! ```text
//! cargo run --release -p model --example fastestdet -- --weights F.pth --names coco.names --output boxes.png PHOTO
//! ```
//!
//! Weights and names: <https://github.com/dog-qiuqiu/FastestDet>, `weights/weight_AP05:0.253207_280-epoch.pth` and
//! `data/coco.names`.
#![forbid(unsafe_code)]

mod boxes;
mod network;
mod photo;

use boxes::Detection;
use clap::Parser;
use image::{ImageEncoder, RgbImage};
use model::atomic_file::AtomicFile;
use model::npy;
use model::preprocess::Picture;
use model::weights::{Checkpoint, WeightsError};
use network::{CLASSES, FIELDS, FastestDet, GRID, SIDE};
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Finds things in a photo with FastestDet
#[derive(Parser)]
#[command(name = "fastestdet")]
struct Arguments {
    /// Checkpoint of FastestDet (.pth or .safetensors)
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// Names of the classes, one per line
    #[arg(long, value_name = "FILE", required_unless_present = "tensor")]
    names: Option<PathBuf>,
    /// Write the photo with boxes and names to this PNG file
    #[arg(long, value_name = "FILE", conflicts_with = "tensor")]
    output: Option<PathBuf>,
    /// Print the boxes as JSON
    #[arg(long, conflicts_with = "tensor")]
    json: bool,
    /// Instead of a photo, a float32 .npy array of 1x3x352x352
    #[arg(long, value_name = "FILE", requires = "raw", conflicts_with = "photo")]
    tensor: Option<PathBuf>,
    /// Write the network's output, 1x85x22x22, to this .npy file
    #[arg(long, value_name = "FILE")]
    raw: Option<PathBuf>,
    /// JPEG or PNG
    #[arg(required_unless_present = "tensor")]
    photo: Option<PathBuf>,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let network = load(&arguments.weights)?;
    let mut activations = network.activations();
    let mut photo = arguments.photo.as_deref().map(open_photo).transpose()?;
    let input = match (&arguments.tensor, &photo) {
        (Some(path), _) => read_tensor(path)?,
        (None, photo) => photo::network_input(photo.as_ref().expect("clap asks for one of the two")),
    };

    let start = Instant::now();
    network.run(&input, &mut activations);
    let first = start.elapsed();
    let start = Instant::now();
    let output = network.run(&input, &mut activations);
    let (first, second) = (1e3 * first.as_secs_f64(), 1e3 * start.elapsed().as_secs_f64());
    eprintln!("network: {first:.2} ms the first time, {second:.2} ms the second");

    if let Some(path) = &arguments.raw {
        let planes = (0..FIELDS).flat_map(|field| output[field..].iter().step_by(FIELDS)).copied();
        npy::write(path, &[1, FIELDS, GRID, GRID], &planes.collect::<Vec<_>>())?;
    }
    let (Some(photo), Some(names)) = (&mut photo, &arguments.names) else { return Ok(()) };
    let names = model::labels::load(names, CLASSES)?;
    let detections = boxes::decode(output, photo.width(), photo.height());
    if let Some(path) = &arguments.output {
        photo::draw(photo, &detections, &names);
        write_png(path, photo).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let text = if arguments.json { to_json(&detections, &names) } else { to_text(&detections, &names) };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn load(path: &Path) -> Result<FastestDet> {
    let of_file = |error: &dyn Error| format!("{}: {error}", path.display());
    let checkpoint = Checkpoint::open(path).map_err(|error| match error {
        WeightsError::Io { .. } => error.to_string(),
        _ => of_file(&error),
    })?;
    Ok(FastestDet::new(&checkpoint, kernels::Isa::from_env()?).map_err(|error| of_file(&error))?)
}

fn open_photo(path: &Path) -> Result<RgbImage> {
    let picture = Picture::open(path)?;
    let (width, height) = (picture.width() as u32, picture.height() as u32);
    Ok(RgbImage::from_raw(width, height, picture.pixels().to_vec()).expect("three samples per pixel"))
}

fn read_tensor(path: &Path) -> Result<Vec<f32>> {
    let array = npy::read(path)?;
    if array.shape != [1, 3, SIDE, SIDE] {
        let expected = [1, 3, SIDE, SIDE];
        return Err(
            format!("{}: expected shape {expected:?}, found {:?}", path.display(), array.shape).into()
        );
    }
    Ok(array.values)
}

fn write_png(path: &Path, photo: &RgbImage) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    let encoder = image::codecs::png::PngEncoder::new(&mut file);
    encoder.write_image(photo, photo.width(), photo.height(), image::ExtendedColorType::Rgb8)?;
    Ok(file.commit()?)
}

fn to_json(detections: &[Detection], names: &[String]) -> String {
    let object = |Detection { class, score, bounds: [x1, y1, x2, y2] }: &Detection| {
        let label = serde_json::Value::from(&*names[*class]);
        format!(r#"{{"label": {label}, "score": {score:.4}, "box": [{x1:.2}, {y1:.2}, {x2:.2}, {y2:.2}]}}"#)
    };
    format!("[{}]\n", detections.iter().map(object).collect::<Vec<_>>().join(", "))
}

fn to_text(detections: &[Detection], names: &[String]) -> String {
    let line = |Detection { class, score, bounds: [x1, y1, x2, y2] }: &Detection| {
        format!("{score:.3}  {:<15} ({x1:.0}, {y1:.0}) to ({x2:.0}, {y2:.0})\n", names[*class])
    };
    detections.iter().map(line).collect()
}
