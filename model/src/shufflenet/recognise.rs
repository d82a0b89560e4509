//! What a checkpoint holds, told by the names and shapes of its tensors.

use super::architecture::each_site;
use super::config::Config;
use super::named::Weights;
use super::wiring::{Part, Site, Wiring};
use crate::Error;

impl Config {
    /// Recognises wiring, widths, repeats and classes from names and shapes.
    ///
    /// # Errors
    /// Where the names are those of no wiring, or a shape contradicts its name.
    pub fn recognise(weights: &dyn Weights) -> Result<Self, Error> {
        let found = Wiring::ALL
            .into_iter()
            .find(|wiring| weights.shape(&wiring.names(Site::Conv1).weights).is_some());
        let Some(wiring) = found else {
            let first = weights.names().into_iter().next();
            return Err(Error::Unrecognised {
                first: first.map(|name| {
                    let shape = weights.shape(&name).unwrap_or_default();
                    (name, shape)
                }),
            });
        };
        // The output channels of the convolution at `site`, or where it should have been.
        let oc = |site: Site, rank: usize| {
            let name = wiring.names(site).weights;
            let shape = weights
                .shape(&name)
                .ok_or_else(|| Error::Missing { tensor: name.clone(), expected: vec![] })?;
            if shape.len() != rank || shape.contains(&0) {
                return Err(Error::Shape { tensor: name, expected: vec![1; rank], found: shape });
            }
            Ok(if wiring.is_tensorflow() { shape[rank - 1] } else { shape[0] })
        };
        let mut stage_channels = [oc(Site::Conv1, 4)?, 0, 0, 0, oc(Site::Conv5, 4)?];
        let (mut stage_repeats, mut bottleneck_ratio, mut index) = ([0; 3], 1.0, 0);
        for stage in 0..3 {
            let site = |unit: usize, index: usize, part| Site::Unit { stage, unit, index, part };
            let exists = |site: Site| weights.shape(&wiring.names(site).weights).is_some();
            let main = oc(site(0, index, Part::MainPointwise), 4)?;
            let channels = main + oc(site(0, index, Part::ProjPointwise), 4)?;
            let mid = oc(site(0, index, Part::MainExpand), 4)?;
            stage_channels[stage + 1] = channels;
            let half = channels / 2;
            // In the Keras wiring the ratio scales the whole unit and cannot be told from its channels.
            if wiring != Wiring::Keras && stage == 0 && mid != half {
                bottleneck_ratio = mid as f64 / half.max(1) as f64;
            }
            let mut unit = 0;
            while exists(site(unit, index, Part::MainExpand))
                && (unit == 0 || !exists(site(unit, index, Part::ProjDepthwise)))
            {
                (unit, index) = (unit + 1, index + 1);
            }
            stage_repeats[stage] = unit;
        }
        let classes = oc(Site::Fc, 2)?;
        let config = Self { wiring, stage_repeats, stage_channels, bottleneck_ratio, classes };
        config.refuse_strangers(weights)?;
        Ok(config)
    }

    /// A tensor without a place in the network means that it is another network.
    fn refuse_strangers(&self, weights: &dyn Weights) -> Result<(), Error> {
        let mut known = std::collections::HashSet::new();
        each_site(self, |site, _| known.extend(self.wiring.names(site).all().cloned()))?;
        let stranger = weights
            .names()
            .into_iter()
            .find(|name| !known.contains(name) && !name.ends_with(".num_batches_tracked"));
        match stranger {
            None => Ok(()),
            Some(tensor) => {
                let found = weights.shape(&tensor).unwrap_or_default();
                Err(Error::Unexpected { tensor, found, network: self.to_string() })
            }
        }
    }
}
