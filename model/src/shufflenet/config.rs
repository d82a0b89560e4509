//! What a ShuffleNetV2 is, before any weight: Table 5 of the paper (arXiv 1807.11164) and its variations.

use super::wiring::Wiring;
use crate::Error;

/// Shape of a network.
///
/// ```
/// use model::{Config, Wiring};
///
/// let mut config = Config::published("1.0", Wiring::Torchvision)?;
/// assert_eq!(config.stage_channels, [24, 116, 232, 464, 1024]);
/// config.classes = 10; // trained on something else
/// # Ok::<(), model::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Whose code the network is wired like.
    pub wiring: Wiring,
    /// Units of stages 2, 3 and 4, the stride-2 unit counted in.
    pub stage_repeats: [usize; 3],
    /// Output channels of conv1, stages 2, 3 and 4, and conv5.
    pub stage_channels: [usize; 5],
    /// Channels inside a branch over channels of a branch; 1 in every published network.
    pub bottleneck_ratio: f64,
    /// Outputs of the last layer; 0: the network has no such layer, and its outputs are the averages of conv5.
    pub classes: usize,
}

/// The published widths: name, and output channels of conv1, stages 2 to 4 and conv5 (Table 5).
pub const WIDTHS: [(&str, [usize; 5]); 4] = [
    ("0.5", [24, 48, 96, 192, 1024]),
    ("1.0", [24, 116, 232, 464, 1024]),
    ("1.5", [24, 176, 352, 704, 1024]),
    ("2.0", [24, 244, 488, 976, 2048]),
];

/// Table 5: one stride-2 unit, then 3, 7 and 3 of stride 1.
const STAGE_REPEATS: [usize; 3] = [4, 8, 4];

impl Config {
    /// The published network of that width (`"0.5"`, `"1.0"`, `"1.5"` or `"2.0"`) with 1000 classes.
    ///
    /// # Errors
    /// Where there is no such width.
    pub fn published(width: &str, wiring: Wiring) -> Result<Self, Error> {
        let known = WIDTHS.iter().find(|(name, _)| *name == width || name.strip_suffix(".0") == Some(width));
        let Some((_, stage_channels)) = known else {
            return Err(Error::Config(format!("width {width:?}: expected 0.5, 1.0, 1.5 or 2.0")));
        };
        Ok(Self {
            wiring,
            stage_repeats: STAGE_REPEATS,
            stage_channels: *stage_channels,
            bottleneck_ratio: 1.0,
            classes: 1000,
        })
    }

    /// How many numbers the network makes of an image.
    pub fn outputs(&self) -> usize {
        if self.classes == 0 { self.stage_channels[4] } else { self.classes }
    }

    /// The name of the published width that this network has, if it has one.
    pub fn width(&self) -> Option<&'static str> {
        let plain = self.stage_repeats == STAGE_REPEATS && self.bottleneck_ratio == 1.0;
        let known = WIDTHS.iter().find(|(_, channels)| plain && *channels == self.stage_channels);
        known.map(|(name, _)| *name)
    }

    /// Channels of the branches of a unit.
    ///
    /// # Errors
    /// Where the wiring cannot make such a unit.
    pub(crate) fn branches(&self, stage: usize, unit: usize, ic: usize) -> Result<Branches, Error> {
        let oc = self.stage_channels[stage + 1];
        let half = oc / 2;
        let scaled = |channels: usize| (channels as f64 * self.bottleneck_ratio + 1e-9) as usize;
        let branches = match (self.wiring, unit) {
            // The authors' own code keeps the projection as wide as its input.
            (Wiring::Megvii, 0) => Branches { proj: ic, mid: scaled(half), main: oc.saturating_sub(ic) },
            // The article computes every convolution of a unit from the ratio.
            (Wiring::Keras, _) => Branches { proj: scaled(half), mid: scaled(half), main: scaled(half) },
            _ => Branches { proj: half, mid: scaled(half), main: half },
        };
        if branches.proj == 0 || branches.mid == 0 || branches.main == 0 {
            return Err(Error::Config(format!(
                "stage {}, from {ic} to {oc} channels: a branch would have no channel",
                stage + 2
            )));
        }
        Ok(branches)
    }
}

/// Output channels of the convolutions of a unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Branches {
    /// The projection of a stride-2 unit.
    pub(crate) proj: usize,
    /// Inside the main branch: the first 1x1 and the depthwise convolution.
    pub(crate) mid: usize,
    /// The main branch's last 1x1.
    pub(crate) main: usize,
}

impl std::fmt::Display for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match WIDTHS.iter().find(|(name, _)| self.width() == Some(*name)) {
            Some((name, _)) => {
                write!(f, "ShuffleNetV2 {name}x ({} wiring, {} classes)", self.wiring, self.classes)
            }
            None => write!(
                f,
                "ShuffleNetV2 with channels {:?} and repeats {:?} ({} wiring, {} classes)",
                self.stage_channels, self.stage_repeats, self.wiring, self.classes
            ),
        }
    }
}
