//! The last linear layer. Whoever trains a network on something else replaces it, and calls it as they like.

use super::entries::{Candidates, Entry};
use super::members::{Members, bias_of};
use super::names::{below, last, parent, root};
use crate::Error;
use crate::shufflenet::wiring::Site;
use crate::weights::quoted;
use std::collections::HashSet;

/// How many folders up from a network its last layer may lie.
const MAX_FOLDERS: usize = 8;

/// A last linear layer.
pub(super) struct Head {
    /// Its tensors in the checkpoint.
    pub(super) weight: usize,
    pub(super) bias: Option<usize>,
    pub(super) classes: usize,
    /// The shape of a matrix, also where the checkpoint has that of a 1x1 convolution.
    pub(super) shape: Vec<usize>,
    /// Whether it is called as in the network's own code.
    pub(super) usual: bool,
}

/// Finds the layer behind `c5` channels: by its usual name, as the only matrix of that size, or in the same way beside
/// the network where that is a part of something larger. None where the network ends in features.
pub(super) fn find(
    members: &Members<'_>,
    of_body: &HashSet<usize>,
    candidates: &Candidates,
    c5: usize,
) -> Result<Option<Head>, Error> {
    let usual = super::names::simplify(&members.wiring.names(Site::Fc).weights);
    if let Some(&at) = members.by_name.get(&usual) {
        let Some(classes) = classes(&members.entries[at], members, c5) else {
            return Err(no_head(members, at, c5));
        };
        return finish(members, at, classes, c5, true).map(Some);
    }
    let is_weight = |name: &str, at: usize| {
        !of_body.contains(&at) && ["weight", "kernel"].contains(&last(name)) && !is_loss(name)
    };
    let inside: Vec<usize> = {
        let names = members.by_name.iter().filter(|(name, at)| is_weight(name, **at) && root(name).is_none());
        let mut inside: Vec<usize> = names.map(|(_, &at)| at).collect();
        inside.sort_unstable();
        inside
    };
    if let Some(head) = only(members, &inside, c5)? {
        return Ok(Some(head));
    }
    let is_matrix = |at: &&usize| members.entries[**at].shape.as_ref().is_some_and(|shape| shape.len() == 2);
    if let Some(&at) = inside.iter().find(is_matrix) {
        return Err(no_head(members, at, c5));
    }
    // Beside the network, and beside what that is a part of; but not in another network.
    let mut folder = members.prefix;
    for _ in 0..MAX_FOLDERS {
        if folder.is_empty() {
            break;
        }
        let inner = folder;
        folder = parent(folder);
        let elsewhere = |simple: &str| below(simple, inner).is_some() || candidates.have(simple, folder, 1);
        let beside: Vec<usize> = (0..members.entries.len())
            .filter(|&at| {
                let entry = &members.entries[at];
                below(&entry.simple, folder).is_some_and(|name| is_weight(name, at))
                    && !elsewhere(&entry.simple)
            })
            .collect();
        if let Some(head) = only(members, &beside, c5)? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// Whether a name is that of a part of a loss.
pub(super) fn is_loss(name: &str) -> bool {
    name.split('.').any(|part| part.contains("loss") || part.contains("criterion"))
}

/// Whether a name is that of weights which others must be multiplied with, added to or normalised by.
pub(super) fn is_in_parts(name: &str) -> bool {
    ["weight_v", "weight_orig"].contains(&last(name)) || name.contains("parametrizations.")
}

/// The only one of these tensors that can follow `c5` channels.
fn only(members: &Members<'_>, tensors: &[usize], c5: usize) -> Result<Option<Head>, Error> {
    let fitting = tensors.iter().filter_map(|&at| Some((at, classes(&members.entries[at], members, c5)?)));
    match fitting.collect::<Vec<_>>()[..] {
        [] => Ok(None),
        [(at, classes)] => finish(members, at, classes, c5, false).map(Some),
        [(first, _), (second, _), ..] => Err(Error::Ambiguous(format!(
            "tensors {} and {} could both be the last linear layer",
            quoted(&members.entries[first].name),
            quoted(&members.entries[second].name)
        ))),
    }
}

/// Why a tensor that should be the layer's weights is not.
fn no_head(members: &Members<'_>, at: usize, c5: usize) -> Error {
    let entry = &members.entries[at];
    let Some(found) = entry.shape.clone().filter(|_| entry.is_float) else { return members.unreadable(at) };
    let classes = if members.wiring.is_tensorflow() { found.last() } else { found.first() };
    let expected = matrix(members, classes.copied().unwrap_or(1).max(1), c5);
    Error::Shape { tensor: entry.name.clone(), expected, found }
}

fn finish(
    members: &Members<'_>,
    weight: usize,
    classes: usize,
    c5: usize,
    usual: bool,
) -> Result<Head, Error> {
    let name = bias_of(&members.entries[weight].simple);
    let bias = members.entries.iter().position(|entry| entry.simple == name);
    if let Some(bias) = bias {
        members.check(bias, &[classes])?;
    }
    Ok(Head { weight, bias, classes, shape: matrix(members, classes, c5), usual })
}

fn matrix(members: &Members<'_>, classes: usize, c5: usize) -> Vec<usize> {
    if members.wiring.is_tensorflow() { vec![c5, classes] } else { vec![classes, c5] }
}

/// How many classes a layer has whose weights this tensor is, if it can follow `c5` channels: a matrix, or a 1x1
/// convolution.
fn classes(entry: &Entry, members: &Members<'_>, c5: usize) -> Option<usize> {
    let shape = entry.shape.as_deref().filter(|_| entry.is_float)?;
    let (ic, oc) = match (shape, members.wiring.is_tensorflow()) {
        ([oc, ic] | [oc, ic, 1, 1], false) | ([ic, oc] | [1, 1, ic, oc], true) => (*ic, *oc),
        _ => return None,
    };
    (ic == c5 && oc > 0).then_some(oc)
}
