//! Keras networks whose layers have names of their own, or only numbers: recognised by the order of their layers.
//!
//! Keras lists the layers of a model by their distance from its output, so that the two branches of a unit of stride 2
//! come in step: the first 1x1 of the main branch, both depthwise convolutions, both last 1x1, the main branch first. In
//! a file of Keras 3 only the order among layers of one class is known, which is enough.

use super::entries::Entry;
use super::names::{join, last, parent, simplify};
use crate::shufflenet::wiring::{Part, Site, Wiring};
use std::collections::HashMap;

/// The variables of a layer, as places in the list of tensors.
type Layer = Vec<usize>;

/// The tensors by the names that the wiring would give them, if the layers can be such a network at all. Shapes are for
/// others to check.
pub(super) fn members(entries: &[Entry]) -> Option<HashMap<String, usize>> {
    let (mut convolutions, mut depthwise, mut norms) = (Vec::new(), Vec::new(), Vec::new());
    for layer in layers(entries) {
        let has = |variable: &str| layer.iter().find(|&&at| last(&entries[at].simple) == variable);
        if has("moving_mean").is_some() {
            norms.push(layer);
        } else if let Some(&kernel) = has("kernel") {
            match entries[kernel].shape.as_deref() {
                Some([3, 3, _, 1]) => depthwise.push(layer),
                Some([_, _, _, _]) => convolutions.push(layer),
                _ => {}
            }
        }
    }
    let mut found = HashMap::new();
    for (at, entry) in entries.iter().enumerate() {
        found.entry(entry.simple.clone()).or_insert(at);
    }
    let channels = |layer: &Layer, axis: usize| {
        let kernel = layer.iter().find(|&&at| last(&entries[at].simple) == "kernel")?;
        entries[*kernel].shape.as_ref()?.get(axis).copied()
    };
    let mut name = |site: Site, layer: Layer, norm: bool| {
        let names = Wiring::Keras.names(site);
        let name = match (&names.batch_norm, norm) {
            (Some([gamma, ..]), true) => gamma,
            _ => &names.weights,
        };
        let scope = parent(&simplify(name)).to_owned();
        for at in layer {
            found.remove(&entries[at].simple);
            found.insert(join(&scope, last(&entries[at].simple)), at);
        }
    };

    let mut convolutions = convolutions.into_iter().peekable();
    let (mut depthwise, folded) = (depthwise.into_iter(), norms.is_empty());
    let mut norms = norms.into_iter();
    let conv1 = convolutions.next()?;
    let mut ic = channels(&conv1, 3)?;
    name(Site::Conv1, conv1, false);
    let mut index = 0;
    for stage in 0..3 {
        let mut unit = 0;
        // The first unit reads the whole map, the others half of it.
        while unit == 0 || convolutions.peek().and_then(|next| channels(next, 2)) == Some(ic / 2) {
            let site = |part| Site::Unit { stage, unit, index, part };
            let parts: &[Part] = match unit {
                0 => &[
                    Part::MainExpand,
                    Part::MainDepthwise,
                    Part::ProjDepthwise,
                    Part::MainPointwise,
                    Part::ProjPointwise,
                ],
                _ => &[Part::MainExpand, Part::MainDepthwise, Part::MainPointwise],
            };
            let mut oc = if unit == 0 { 0 } else { ic / 2 };
            for &part in parts {
                let layer = match part {
                    Part::MainDepthwise | Part::ProjDepthwise => depthwise.next()?,
                    _ => convolutions.next()?,
                };
                if matches!(part, Part::MainPointwise | Part::ProjPointwise) {
                    oc = channels(&layer, 3)?.checked_add(oc)?;
                }
                name(site(part), layer, false);
                if !folded {
                    name(site(part), norms.next()?, true);
                }
            }
            ic = oc;
            (unit, index) = (unit + 1, index + 1);
        }
    }
    name(Site::Conv5, convolutions.next()?, false);
    // Anything that is left would be another network's.
    let all = convolutions.next().is_none() && depthwise.next().is_none() && norms.next().is_none();
    all.then_some(found)
}

/// The tensors by layer, in the order in which the layers begin.
fn layers(entries: &[Entry]) -> Vec<Layer> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut layers: Vec<Layer> = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let place = *places.entry(parent(&entry.simple)).or_insert(layers.len());
        if place == layers.len() {
            layers.push(Vec::new());
        }
        layers[place].push(at);
    }
    layers
}
