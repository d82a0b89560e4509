//! The tensors of a checkpoint, and the places among them where a network may lie.

use super::names::{below, roots, simplify};
use crate::Error;
use crate::shufflenet::named::Weights;
use crate::shufflenet::wiring::Wiring;
use crate::weights::quoted;
use std::collections::HashMap;

/// A tensor of the checkpoint.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) simple: String,
    /// None where it cannot be read.
    pub(super) shape: Option<Vec<usize>>,
    pub(super) is_float: bool,
}

impl Entry {
    pub(super) fn elements(&self) -> usize {
        self.shape.as_ref().map_or(0, |shape| shape.iter().fold(1, |product, &n| n.saturating_mul(product)))
    }
}

/// A place in the checkpoint where a network may lie.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) wiring: Wiring,
    pub(super) prefix: String,
    /// How many tensors have names of a body there.
    pub(super) named: usize,
}

/// The tensors of a checkpoint below the key that was asked for.
pub(super) fn all(weights: &dyn Weights, wanted: Option<&str>) -> Result<Vec<Entry>, Error> {
    let key = wanted.map(|key| simplify(key.trim_end_matches(['.', '/'])));
    let names = weights.names();
    let mut entries = Vec::new();
    for name in &names {
        let simple = simplify(name);
        if key.as_ref().is_none_or(|key| below(&simple, key).is_some()) {
            let (shape, is_float) = (weights.shape(name), weights.is_float(name));
            entries.push(Entry { name: name.clone(), simple, shape, is_float });
        }
    }
    if let (Some(key), true) = (wanted, entries.is_empty()) {
        let mut tops: Vec<&str> =
            names.iter().map(|name| name.split(['.', '/']).next().unwrap_or(name)).collect();
        tops.dedup();
        tops.sort_unstable();
        tops.dedup();
        let tops: Vec<String> = tops.into_iter().take(8).map(quoted).collect();
        return Err(Error::NotThere(format!(
            "there is no tensor under the key {}; the keys at the top: {}",
            quoted(key),
            tops.join(", ")
        )));
    }
    Ok(entries)
}

/// Every place where tensors have names of a body, those with the most of them first.
pub(super) fn candidates(entries: &[Entry]) -> Vec<Candidate> {
    let mut named: HashMap<(&str, Wiring), usize> = HashMap::new();
    for entry in entries {
        for (wiring, at) in roots(&entry.simple) {
            *named.entry((entry.simple[..at].trim_end_matches('.'), wiring)).or_default() += 1;
        }
    }
    let mut candidates: Vec<Candidate> = named
        .into_iter()
        .map(|((prefix, wiring), named)| Candidate { wiring, prefix: prefix.to_owned(), named })
        .collect();
    candidates.sort_by(|a, b| {
        let order = |c: &Candidate| (std::cmp::Reverse(c.named), rank(&c.prefix, false), c.wiring.name());
        order(a).cmp(&order(b))
    });
    candidates
}

/// The tensors below a prefix, by what comes behind it. Of two that differ only in wrappers the first stays.
pub(super) fn by_name(entries: &[Entry], prefix: &str) -> HashMap<String, usize> {
    let mut members = HashMap::new();
    for (at, entry) in entries.iter().enumerate() {
        if let Some(name) = below(&entry.simple, prefix) {
            members.entry(name.to_owned()).or_insert(at);
        }
    }
    members
}

/// What is taken first where several networks fit.
pub(super) fn rank(prefix: &str, ema: bool) -> (bool, bool, usize, usize, String) {
    /// What people call the weights that they mean.
    const USUAL: [&str; 8] =
        ["state_dict", "model_state_dict", "model_state", "model", "net", "network", "student", "weights"];
    let first = prefix.split('.').next().unwrap_or(prefix);
    let usual = USUAL.iter().position(|usual| *usual == first).unwrap_or(USUAL.len());
    let usual = if prefix.is_empty() { 0 } else { usual };
    let depth = prefix.split('.').count();
    (
        is_average(prefix) != ema,
        prefix.split('.').any(|part| part == "teacher"),
        usual,
        depth,
        prefix.to_owned(),
    )
}

/// Whether weights under that key are averages over the training.
pub(super) fn is_average(prefix: &str) -> bool {
    let words = ["ema", "swa", "averaged", "shadow", "ema_model"];
    prefix.split(['.', '_', '-']).any(|word| words.contains(&word.to_ascii_lowercase().as_str()))
}
