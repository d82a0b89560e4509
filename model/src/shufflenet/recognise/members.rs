//! The tensors of a candidate, by the names that a wiring gives them.

use super::entries::{Candidate, Entry};
use super::names::{join, parent, simplify};
use super::place::{From, Place};
use crate::Error;
use crate::shufflenet::named::Weights;
use crate::shufflenet::wiring::Wiring;
use crate::weights::WeightsError;
use std::collections::HashMap;

/// A candidate: tensors by what they are called behind its prefix.
pub(super) struct Members<'a> {
    pub(super) weights: &'a dyn Weights,
    pub(super) entries: &'a [Entry],
    pub(super) wiring: Wiring,
    pub(super) prefix: &'a str,
    pub(super) by_name: HashMap<String, usize>,
    /// Of a Keras model that was made twice in a session: the number behind the name of every layer, as `_1`.
    number: String,
}

impl<'a> Members<'a> {
    /// The tensors `by_name` at the candidate's place.
    pub(super) fn new(
        weights: &'a dyn Weights,
        entries: &'a [Entry],
        candidate: &'a Candidate,
        by_name: HashMap<String, usize>,
    ) -> Self {
        let Candidate { wiring, prefix, .. } = candidate;
        let number = number(*wiring, &by_name);
        Self { weights, entries, wiring: *wiring, prefix, by_name, number }
    }

    /// The tensor that a wiring calls `name`.
    pub(super) fn get(&self, name: &str) -> Option<usize> {
        let simple = simplify(name);
        let (layer, variable) = simple.rsplit_once('.')?;
        let by_name = |name: &str| self.by_name.get(name).copied();
        if !self.number.is_empty() {
            return by_name(&format!("{layer}{}.{variable}", self.number));
        }
        by_name(&simple).or_else(|| {
            // PyTorch's fuse_modules puts a convolution and its activation into one more module.
            if self.wiring.is_tensorflow() { None } else { by_name(&format!("{layer}.0.{variable}")) }
        })
    }

    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.get(name).and_then(|at| self.entries[at].shape.as_deref())
    }

    /// What to call a tensor that is not there.
    fn absent(&self, name: &str) -> String {
        join(self.prefix, name)
    }

    /// The tensor that a wiring calls `name`, if it is a float tensor of the shape `expected`.
    pub(super) fn tensor(&self, name: &str, expected: &[usize]) -> Result<Option<usize>, Error> {
        let Some(at) = self.get(name) else { return Ok(None) };
        self.check(at, expected).map(|()| Some(at))
    }

    pub(super) fn check(&self, at: usize, expected: &[usize]) -> Result<(), Error> {
        let entry = &self.entries[at];
        match &entry.shape {
            Some(found) if found == expected && entry.is_float => Ok(()),
            Some(found) if found != expected => Err(Error::Shape {
                tensor: entry.name.clone(),
                expected: expected.to_vec(),
                found: found.clone(),
            }),
            _ => Err(self.unreadable(at)),
        }
    }

    /// Why a tensor cannot be read: reading it says so.
    pub(super) fn unreadable(&self, at: usize) -> Error {
        let name = &self.entries[at].name;
        let error = self.weights.read(name).err();
        Error::Weights(error.unwrap_or_else(|| WeightsError::NoSuchTensor(name.clone())))
    }

    pub(super) fn place(&self, at: usize) -> Place {
        let entry = &self.entries[at];
        let shape = entry.shape.clone().unwrap_or_default();
        Place { shape, from: From::Tensor(entry.name.clone()), epsilon: None }
    }

    pub(super) fn missing(&self, name: &str, expected: &[usize]) -> Error {
        Error::Missing { tensor: self.absent(name), expected: expected.to_vec() }
    }
}

/// What Keras puts behind the name of every layer where a model of that name was there before. Layers have numbers of
/// their own, so that only the first one tells.
fn number(wiring: Wiring, by_name: &HashMap<String, usize>) -> String {
    if !wiring.is_tensorflow() || by_name.contains_key("conv1.kernel") {
        return String::new();
    }
    let numbers = (1..100).map(|number| format!("_{number}"));
    numbers
        .into_iter()
        .find(|number| by_name.contains_key(&format!("conv1{number}.kernel")))
        .unwrap_or_default()
}

/// `conv1.0.bias` for `conv1.0.weight`.
pub(super) fn bias_of(weight: &str) -> String {
    join(parent(weight), "bias")
}
