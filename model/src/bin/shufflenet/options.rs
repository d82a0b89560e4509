//! Options that several commands share.

use crate::failure::Result;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use model::{Choice, Config, Images, Network, Synthetic, WIDTHS, Wiring};
use serde::{Serialize, Serializer};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

/// A checkpoint, and which network in it.
#[derive(clap::Args, Clone)]
pub(crate) struct WeightsArgs {
    /// Checkpoint: PyTorch's .pth, .safetensors, or Keras's .h5, .weights.h5 and .keras; wiring, width and classes are
    /// recognised
    #[arg(long = "weights", value_name = "FILE")]
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) choice: ChoiceArgs,
}

/// Which network in a checkpoint.
#[derive(clap::Args, Clone)]
pub(crate) struct ChoiceArgs {
    /// Where in the checkpoint the network lies, where several fit: `state_dict_ema`, `model.backbone`
    #[arg(long, value_name = "PATH")]
    key: Option<String>,

    /// Take averaged weights (EMA) rather than the plain ones
    #[arg(long)]
    ema: bool,
}

impl ChoiceArgs {
    pub(crate) fn choice(&self) -> Choice {
        Choice { key: self.key.clone(), ema: self.ema }
    }

    pub(crate) fn is_default(&self) -> bool {
        self.key.is_none() && !self.ema
    }
}

/// Which network, and the size of its images.
#[derive(clap::Args, Clone)]
pub(crate) struct NetworkArgs {
    /// The network of an .onnx file instead of ShuffleNetV2
    #[arg(long = "network", value_name = "MODEL.onnx", conflicts_with_all = ["width", "wiring"])]
    pub(crate) file: Option<PathBuf>,

    /// Width of the network
    #[arg(long, default_value = "1.0", value_parser = widths())]
    pub(crate) width: String,

    /// Whose code it is wired like: torchvision's, the authors' own, or the Keras article's
    #[arg(long, default_value = "torchvision", value_parser = wirings())]
    pub(crate) wiring: Wiring,

    /// Height and width of the images: one number, or HxW [default: the file's, else 224]
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) size: Option<Size>,
}

impl NetworkArgs {
    pub(crate) fn config(&self) -> Result<Config> {
        Ok(Config::published(&self.width, self.wiring)?)
    }

    /// The network with random weights.
    pub(crate) fn network(&self, isa: kernels::Isa) -> Result<Network> {
        let config = self.config()?;
        Ok(Network::new(&config, &Synthetic::new(&config)?, isa)?)
    }

    pub(crate) fn width(&self) -> f64 {
        self.width.parse().expect("one of the known widths")
    }
}

pub(crate) fn widths() -> PossibleValuesParser {
    PossibleValuesParser::new(WIDTHS.map(|(name, _)| {
        let value = PossibleValue::new(name);
        match name.strip_suffix(".0") {
            Some(short) => value.alias(short),
            None => value,
        }
    }))
}

fn wirings() -> impl TypedValueParser<Value = Wiring> {
    PossibleValuesParser::new(Wiring::ALL.map(Wiring::name)).try_map(|name| name.parse::<Wiring>())
}

/// Height and width of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) h: usize,
    pub(crate) w: usize,
}

impl Size {
    /// What the networks were published for.
    pub(crate) const PUBLISHED: Self = Self { h: 224, w: 224 };
}

/// Longer sides ask for more memory than measurements need.
const MAX_SIDE: usize = 4096;

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (h, w) = text.split_once('x').unwrap_or((text, text));
        let side = |digits: &str| {
            let sides = Images::MIN_SIDE..=MAX_SIDE;
            digits.parse().ok().filter(|n| sides.contains(n)).ok_or_else(|| {
                format!("expected N or HxW with numbers from {} to {MAX_SIDE}", Images::MIN_SIDE)
            })
        };
        Ok(Self { h: side(h)?, w: side(w)? })
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.h, self.w)
    }
}

/// As on the command line: a number for squares, else `"HxW"`.
impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if self.h == self.w { serializer.serialize_u64(self.h as u64) } else { serializer.collect_str(self) }
    }
}

/// How a measurement runs.
#[derive(clap::Args, Clone)]
pub(crate) struct RunArgs {
    /// Images of a batch
    #[arg(long, default_value = "1", value_name = "N", value_parser = whole_number(1..=4096), allow_negative_numbers = true)]
    pub(crate) batch: u32,

    /// Measure for about this long
    #[arg(long, default_value = "2", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) seconds: f64,

    /// Bind each thread to a processor of its own: `0,2` or `4-7`
    #[arg(long, value_name = "CPUS", value_parser = cpus)]
    pub(crate) pin: Option<Cpus>,

    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Numbers of processors.
pub(crate) type Cpus = std::sync::Arc<[usize]>;

/// A number of things.
pub(crate) fn whole_number(range: RangeInclusive<u32>) -> impl TypedValueParser<Value = u32> {
    move |text: &str| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("expected a whole number from {} to {}", range.start(), range.end()))
    }
}

fn seconds(text: &str) -> std::result::Result<f64, String> {
    let seconds = text.parse().ok().filter(|s: &f64| *s > 0.0 && *s <= 3600.0);
    seconds.ok_or_else(|| "expected a number of seconds above 0, at most 3600".to_owned())
}

fn cpus(text: &str) -> std::result::Result<Cpus, String> {
    let number = |digits: &str| digits.parse().ok().filter(|n: &usize| *n < 4096);
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => cpus.extend(first..=last),
            _ => return Err("expected numbers of processors up to 4095, as in `0,2` or `4-7`".to_owned()),
        }
    }
    Ok(cpus.into())
}
