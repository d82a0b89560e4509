//! Finds a network among the tensors of a checkpoint.
//!
//! People save networks under any key and behind any prefix, wrapped for several processors or compiled, beside
//! optimisers and averages, with another head, and with batch normalisation already folded. The search goes by what
//! does not change: the names inside of the body, and shapes.
//!
//! 1. Every name is simplified ([`names`]); what comes before a part that only a body's tensors have is a candidate.
//! 2. Each candidate is measured against the network that its shapes describe ([`fit`]).
//! 3. Of those that fit, the usual one is taken, or the one that was asked for.
//!
//! A Keras network whose layers were never named is recognised by the order of its layers ([`order`]).

mod entries;
mod fit;
mod head;
mod members;
mod names;
mod order;
mod place;

use crate::Error;
use crate::shufflenet::config::Config;
use crate::shufflenet::named::Weights;
use crate::shufflenet::wiring::Wiring;
use crate::weights::{WeightsError, quoted};
use entries::{Candidate, is_average, rank};
use fit::Fit;
use names::below;
use place::Place;
use std::collections::HashMap;

/// Which network to take where a checkpoint has several.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Only what lies under this key (`state_dict`) or behind this prefix (`model.backbone`).
    pub key: Option<String>,
    /// Averaged weights (EMA) rather than the plain ones.
    pub ema: bool,
}

/// A network that was found.
#[derive(Debug)]
pub struct Found<'a> {
    /// What it is.
    pub config: Config,
    /// Its tensors, under the names that the wiring gives them.
    pub weights: Chosen<'a>,
    /// What its tensors' names have in the checkpoint before the network's own, as `state_dict.backbone`; nothing where
    /// they lie at the top.
    pub key: String,
    /// The keys of other networks that fit, too.
    pub others: Vec<String>,
    /// What the user should know, a line each.
    pub notes: Vec<String>,
}

/// The tensors of a network in a checkpoint, under the names that its wiring gives them.
pub struct Chosen<'a> {
    weights: &'a dyn Weights,
    places: HashMap<String, Place>,
    /// Where there are other tensors that belong to it (counters of batches): new name, old name.
    extras: Vec<(String, String)>,
}

impl std::fmt::Debug for Chosen<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chosen").field("tensors", &self.places.len()).finish_non_exhaustive()
    }
}

impl Chosen<'_> {
    /// What the checkpoint holds of the network: the wiring's name and the checkpoint's, sorted. Biases of zero and the
    /// like, which no file needs to hold, are not among them.
    pub fn stored(&self) -> Vec<(&str, &str)> {
        let stored = self.places.iter().flat_map(|(name, place)| place.stored(name));
        let mut stored: Vec<(&str, &str)> =
            stored.chain(self.extras.iter().map(|(new, old)| (&**new, &**old))).collect();
        stored.sort_unstable();
        stored.dedup();
        stored
    }
}

impl Weights for Chosen<'_> {
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.places.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.places.get(name).map(|place| place.shape.clone())
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let place = self.places.get(name).ok_or_else(|| WeightsError::NoSuchTensor(name.to_owned()))?;
        place.read(self.weights)
    }

    fn epsilon(&self, gamma: &str) -> Option<f32> {
        self.places.get(gamma).and_then(|place| place.epsilon)
    }
}

/// How many candidates are measured; those with the most tensors come first.
const MAX_CANDIDATES: usize = 64;

/// Finds the network in a checkpoint.
///
/// # Errors
/// Where nothing in it is a network; the error names what comes nearest and the first tensor in the way. Where several
/// networks fit, the usual one is taken: the plain rather than the averaged one, and then the one nearest to the top.
pub fn find<'a>(weights: &'a dyn Weights, choice: &Choice) -> Result<Found<'a>, Error> {
    let entries = entries::all(weights, choice.key.as_deref())?;
    let mut fits: Vec<(Candidate, Fit)> = Vec::new();
    let mut nearest: Option<Error> = None;
    let candidates = entries::candidates(&entries);
    for candidate in candidates.iter().take(MAX_CANDIDATES) {
        let members = entries::by_name(&entries, &candidate.prefix);
        match fit::measure(weights, &entries, candidate, members, &candidates) {
            Ok(fit) => fits.push((candidate.clone(), fit)),
            Err(misfit) => {
                // They come sorted: the first has the most tensors.
                nearest.get_or_insert(Error::Nearest {
                    key: candidate.prefix.clone(),
                    wiring: candidate.wiring.name(),
                    fit: misfit.fit,
                    why: Box::new(misfit.why),
                });
            }
        }
    }
    if fits.is_empty()
        && let Some(members) = order::members(&entries)
    {
        let candidate = Candidate { wiring: Wiring::Keras, prefix: String::new(), named: members.len() };
        match fit::measure(weights, &entries, &candidate, members, &[]) {
            Ok(mut fit) => {
                fit.notes
                    .push("its layers are not named as known, and were taken in the file's order".into());
                fits.push((candidate, fit));
            }
            Err(misfit) => {
                nearest.get_or_insert(misfit.why);
            }
        }
    }
    if fits.is_empty() {
        return Err(nearest.unwrap_or_else(|| {
            let first = entries.into_iter().next();
            Error::Unrecognised { first: first.map(|entry| (entry.name, entry.shape.unwrap_or_default())) }
        }));
    }
    fits.sort_by_cached_key(|(candidate, _)| rank(&candidate.prefix, choice.ema));
    if choice.ema && !is_average(&fits[0].0.prefix) {
        let found: Vec<String> = fits.iter().map(|(candidate, _)| called(&candidate.prefix)).collect();
        return Err(Error::NotThere(format!("no averaged weights (EMA) fit; found {}", found.join(", "))));
    }
    let others: Vec<String> = fits[1..].iter().map(|(candidate, _)| candidate.prefix.clone()).collect();
    let (candidate, fit) = fits.swap_remove(0);
    let mut notes = fit.notes;
    if is_average(&candidate.prefix) && !choice.ema {
        notes.push(format!("only averaged weights (EMA) fit: {}", called(&candidate.prefix)));
    }
    let elsewhere = |at: &usize| {
        let mut networks = others.iter().filter(|prefix| !prefix.is_empty());
        networks.any(|prefix| below(&entries[*at].simple, prefix).is_some())
    };
    let outside = (0..entries.len()).filter(|at| below(&entries[*at].simple, &candidate.prefix).is_none());
    let outside = outside.filter(|at| !fit.used.contains(at));
    let strangers = fit.strangers.iter().copied().chain(outside).filter(|at| !elsewhere(at));
    let strangers: Vec<&str> = strangers.map(|at| &*entries[at].name).collect();
    notes.extend(left_out(&strangers));
    let weights = Chosen { weights, places: fit.places, extras: fit.extras };
    Ok(Found { config: fit.config, weights, key: candidate.prefix, others, notes })
}

/// A key for a message.
fn called(prefix: &str) -> String {
    if prefix.is_empty() { "the top level".to_owned() } else { quoted(prefix) }
}

/// The line about tensors that are no part of the network.
fn left_out(strangers: &[&str]) -> Option<String> {
    let shown: Vec<String> = strangers.iter().take(3).map(|name| quoted(name)).collect();
    let more = if strangers.len() > shown.len() { ", ..." } else { "" };
    let shown = shown.join(", ");
    match strangers.len() {
        0 => None,
        1 => Some(format!("tensor {shown} is no part of the network and was left out")),
        n => Some(format!("{n} tensors are no part of the network and were left out: {shown}{more}")),
    }
}

impl Config {
    /// Recognises wiring, widths, repeats and classes from names and shapes.
    ///
    /// # Errors
    /// As [`find`].
    pub fn recognise(weights: &dyn Weights) -> Result<Self, Error> {
        find(weights, &Choice::default()).map(|found| found.config)
    }
}
