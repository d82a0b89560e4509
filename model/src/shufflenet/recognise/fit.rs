//! Measures a candidate against the network that its shapes describe.

use super::head::{self, Head};
use super::names::{below, join, last, parent, root, simplify};
use super::{Candidate, Entry, quoted};
use crate::Error;
use crate::shufflenet::architecture::each_site;
use crate::shufflenet::config::Config;
use crate::shufflenet::named::{Weights, stored};
use crate::shufflenet::wiring::{Names, Part, Site, Wiring};
use crate::weights::WeightsError;
use std::collections::{HashMap, HashSet};

/// Where the values of one of the network's tensors come from.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) shape: Vec<usize>,
    from: From,
    /// Of a batch normalisation's scale: what is added to the variance, where it is not the wiring's.
    pub(super) epsilon: Option<f32>,
}

/// Tensors are named as in the checkpoint.
#[derive(Debug)]
enum From {
    Tensor(String),
    /// The same number everywhere; what no file needs to hold.
    Number(f32),
    /// The bias of a convolution whose batch normalisation was folded: what the normalisation would add.
    FoldedBias(Bias),
    /// A mean, and the bias of the convolution before the batch normalisation, which it undoes.
    MeanWithoutBias(String, Bias),
}

/// The bias of a convolution that has none in the network's own code.
#[derive(Debug)]
struct Bias {
    stored: String,
    /// What it would be called.
    name: String,
}

impl Place {
    fn number(value: f32, len: usize) -> Self {
        Self { shape: vec![len], from: From::Number(value), epsilon: None }
    }

    pub(super) fn read(&self, weights: &dyn Weights) -> Result<Vec<f32>, WeightsError> {
        match &self.from {
            From::Tensor(stored) | From::FoldedBias(Bias { stored, .. }) => weights.read(stored),
            From::Number(value) => Ok(vec![*value; self.shape.iter().product()]),
            From::MeanWithoutBias(mean, bias) => {
                let (mut mean, bias) = (weights.read(mean)?, weights.read(&bias.stored)?);
                mean.iter_mut().zip(bias).for_each(|(mean, bias)| *mean -= bias);
                Ok(mean)
            }
        }
    }

    /// The tensors that the checkpoint holds for this one of the network's, called `name`: the wiring's name and the
    /// checkpoint's.
    pub(super) fn stored<'a>(&'a self, name: &'a str) -> Vec<(&'a str, &'a str)> {
        match &self.from {
            From::Tensor(stored) => vec![(name, stored)],
            From::Number(_) => Vec::new(),
            From::FoldedBias(bias) => vec![(&bias.name, &bias.stored)],
            From::MeanWithoutBias(mean, bias) => vec![(name, mean), (&bias.name, &bias.stored)],
        }
    }
}

/// A candidate that is a network.
pub(super) struct Fit {
    pub(super) config: Config,
    pub(super) places: HashMap<String, Place>,
    /// Tensors that belong to it without being read: new name, old name.
    pub(super) extras: Vec<(String, String)>,
    /// The tensors that are a part of it, and those at the candidate's place that are not.
    pub(super) used: HashSet<usize>,
    pub(super) strangers: Vec<usize>,
    pub(super) notes: Vec<String>,
}

/// A candidate that is none.
pub(super) struct Misfit {
    /// How many tensors fit, and of how many.
    pub(super) fit: Option<(usize, usize)>,
    pub(super) why: Error,
}

impl std::convert::From<Error> for Misfit {
    fn from(why: Error) -> Self {
        Self { fit: None, why }
    }
}

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

impl Members<'_> {
    /// The tensor that a wiring calls `name`.
    fn get(&self, name: &str) -> Option<usize> {
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

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.get(name).and_then(|at| self.entries[at].shape.as_deref())
    }

    /// What to call a tensor that is not there.
    fn absent(&self, name: &str) -> String {
        join(self.prefix, name)
    }

    /// The tensor that a wiring calls `name`, if it is a float tensor of the shape `expected`.
    fn tensor(&self, name: &str, expected: &[usize]) -> Result<Option<usize>, Error> {
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

    fn place(&self, at: usize) -> Place {
        let entry = &self.entries[at];
        let shape = entry.shape.clone().unwrap_or_default();
        Place { shape, from: From::Tensor(entry.name.clone()), epsilon: None }
    }

    fn missing(&self, name: &str, expected: &[usize]) -> Error {
        Error::Missing { tensor: self.absent(name), expected: expected.to_vec() }
    }
}

/// Measures a candidate, whose tensors are `by_name`, among all of them.
pub(super) fn measure(
    weights: &dyn Weights,
    entries: &[Entry],
    candidate: &Candidate,
    by_name: HashMap<String, usize>,
    candidates: &[Candidate],
) -> Result<Fit, Misfit> {
    let Candidate { wiring, prefix, .. } = candidate;
    let wiring = *wiring;
    let number = number(wiring, &by_name);
    let members = Members { weights, entries, wiring, prefix, by_name, number };
    let mut config = describe(&members)?;
    let mut sites = Vec::new();
    each_site(&config, |site, shape| {
        if !matches!(site, Site::Fc) {
            sites.push((site, shape));
        }
    })?;
    let normalised = ["moving_variance", "running_var"];
    let any_batch_norm = members.by_name.keys().any(|name| normalised.contains(&last(name)));
    let mut used = Used { places: HashMap::new(), tensors: HashSet::new(), plain_norms: Vec::new() };
    let misfit = |why: Error| {
        // How much of it is there, whatever else is wrong.
        let (mut fit, mut wanted) = (0, 0);
        for (site, shape) in &sites {
            let names = wiring.names(*site);
            for name in names.all() {
                let stored =
                    if *name == names.weights { stored(wiring, *site, shape) } else { vec![shape[0]] };
                wanted += 1;
                fit += usize::from(matches!(members.tensor(name, &stored), Ok(Some(_))));
            }
        }
        Misfit { fit: Some((fit, wanted)), why }
    };
    for (site, shape) in &sites {
        let names = wiring.names(*site);
        used.site(&members, &names, &stored(wiring, *site, shape), shape[0], any_batch_norm)
            .map_err(misfit)?;
    }
    let of_body = used.tensors.clone();
    let found = head::find(&members, &of_body, candidates, config.stage_channels[4]).map_err(misfit)?;
    let mut notes = Vec::new();
    match &found {
        None => notes
            .push("there is no last linear layer: the network ends in the averaged features of conv5".into()),
        Some(head) => {
            config.classes = head.classes;
            used.head(&members, head);
            if !head.usual {
                let name = quoted(&entries[head.weight].name);
                notes.push(format!("its last layer is {name}, of {} classes", head.classes));
            }
        }
    }
    if let Some(&first) = used.plain_norms.first() {
        notes.push(format!(
            "{} batch normalisations have no scale or no shift, which were taken as 1 and 0; the first has the mean {}",
            used.plain_norms.len(),
            quoted(&entries[first].name)
        ));
    }
    // Networks of their own, as an average beside the plain one. A few tensors that are named alike are none.
    let networks: Vec<&str> = candidates
        .iter()
        .filter(|other| other.prefix.len() > prefix.len() && 2 * other.named >= candidate.named)
        .map(|other| &*other.prefix)
        .collect();
    let strangers = strangers(&members, &used.tensors, found.as_ref(), &config, &networks).map_err(misfit)?;
    let extras = extras(&members, &used.places);
    let Used { places, tensors, .. } = used;
    Ok(Fit { config, places, extras, used: tensors, strangers, notes })
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

/// What has been found of a network.
struct Used {
    places: HashMap<String, Place>,
    /// The tensors of the checkpoint that are a part of it.
    tensors: HashSet<usize>,
    /// The means of batch normalisations without a scale or a shift.
    plain_norms: Vec<usize>,
}

impl Used {
    fn take(&mut self, members: &Members<'_>, name: &str, at: usize) {
        self.tensors.insert(at);
        self.places.insert(name.to_owned(), members.place(at));
    }

    /// The tensors of one convolution.
    fn site(
        &mut self,
        members: &Members<'_>,
        names: &Names,
        stored: &[usize],
        oc: usize,
        any_batch_norm: bool,
    ) -> Result<(), Error> {
        let weights = members.tensor(&names.weights, stored)?;
        let weights = weights.ok_or_else(|| members.missing(&names.weights, stored))?;
        self.take(members, &names.weights, weights);
        if let Some(bias) = &names.bias {
            match members.tensor(bias, &[oc])? {
                Some(at) => self.take(members, bias, at),
                None => drop(self.places.insert(bias.clone(), Place::number(0.0, oc))),
            }
        }
        let Some(statistics) = &names.batch_norm else { return Ok(()) };
        let mut found = [None; 4];
        for (found, name) in found.iter_mut().zip(statistics) {
            *found = members.tensor(name, &[oc])?;
        }
        // In PyTorch's wirings no convolution has a bias, but one whose batch normalisation was folded has.
        let name = bias_of(&names.weights);
        let own_bias = if names.bias.is_some() { None } else { members.tensor(&name, &[oc])? };
        let own_bias = own_bias.map(|at| {
            self.tensors.insert(at);
            Bias { stored: members.entries[at].name.clone(), name }
        });
        let [gamma, beta, mean, variance] = statistics;
        if found == [None; 4] && (own_bias.is_some() || (names.bias.is_some() && !any_batch_norm)) {
            self.folded(statistics, own_bias, oc);
            return Ok(());
        }
        let (Some(at_mean), Some(at_variance)) = (found[2], found[3]) else {
            let absent = if found[2].is_none() { mean } else { variance };
            return Err(members.missing(absent, &[oc]));
        };
        self.take(members, mean, at_mean);
        self.take(members, variance, at_variance);
        for (name, at, neutral) in [(gamma, found[0], 1.0), (beta, found[1], 0.0)] {
            match at {
                Some(at) => self.take(members, name, at),
                // PyTorch's normalisation has both or none, Keras's may lack either.
                None if names.bias.is_some() || (found[0].is_none() && found[1].is_none()) => {
                    self.places.insert(name.clone(), Place::number(neutral, oc));
                }
                None => return Err(members.missing(name, &[oc])),
            }
        }
        if found[0].is_none() || found[1].is_none() {
            self.plain_norms.push(at_mean);
        }
        let epsilon = members.weights.epsilon(&members.entries[at_variance].name);
        self.places.get_mut(gamma).expect("just put there").epsilon = epsilon;
        if let Some(bias) = own_bias {
            let stored = members.entries[at_mean].name.clone();
            self.places.get_mut(mean).expect("just put there").from = From::MeanWithoutBias(stored, bias);
        }
        Ok(())
    }

    /// A convolution whose batch normalisation was folded into it: one that changes nothing, and adds the bias.
    fn folded(&mut self, statistics: &[String; 4], own_bias: Option<Bias>, oc: usize) {
        for (name, value) in statistics.iter().zip([1.0, 0.0, 0.0, 1.0]) {
            self.places.insert(name.clone(), Place::number(value, oc));
        }
        let [gamma, beta, ..] = statistics;
        self.places.get_mut(gamma).expect("just put there").epsilon = Some(0.0);
        if let Some(bias) = own_bias {
            self.places.get_mut(beta).expect("just put there").from = From::FoldedBias(bias);
        }
    }

    fn head(&mut self, members: &Members<'_>, head: &Head) {
        let names = members.wiring.names(Site::Fc);
        self.take(members, &names.weights, head.weight);
        self.places.get_mut(&names.weights).expect("just put there").shape = head.shape.clone();
        let bias = members.wiring.head_bias();
        match head.bias {
            Some(at) => self.take(members, bias, at),
            None if names.bias.is_some() => {
                self.places.insert(bias.to_owned(), Place::number(0.0, head.classes));
            }
            None => {}
        }
    }
}

/// `conv1.0.bias` for `conv1.0.weight`.
pub(super) fn bias_of(weight: &str) -> String {
    join(parent(weight), "bias")
}

/// Wiring, widths and repeats, from names and shapes. There are no classes yet.
fn describe(members: &Members<'_>) -> Result<Config, Error> {
    let wiring = members.wiring;
    // The output channels of the convolution at `site`, or where it should have been.
    let oc = |site: Site| {
        let name = wiring.names(site).weights;
        let at = members.get(&name).ok_or_else(|| members.missing(&name, &[]))?;
        let shape = members.entries[at].shape.as_deref().ok_or_else(|| members.unreadable(at))?;
        match *shape {
            [first, .., last] if shape.len() == 4 && !shape.contains(&0) => {
                Ok(if wiring.is_tensorflow() { last } else { first })
            }
            _ => Err(Error::Shape {
                tensor: members.entries[at].name.clone(),
                expected: vec![1; 4],
                found: shape.to_vec(),
            }),
        }
    };
    let mut stage_channels = [oc(Site::Conv1)?, 0, 0, 0, oc(Site::Conv5)?];
    let (mut stage_repeats, mut bottleneck_ratio, mut index) = ([0; 3], 1.0, 0);
    for stage in 0..3 {
        let site = |unit: usize, index: usize, part| Site::Unit { stage, unit, index, part };
        let exists = |site: Site| members.shape(&wiring.names(site).weights).is_some();
        let main = oc(site(0, index, Part::MainPointwise))?;
        let channels = main.saturating_add(oc(site(0, index, Part::ProjPointwise))?);
        let mid = oc(site(0, index, Part::MainExpand))?;
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
    Ok(Config { wiring, stage_repeats, stage_channels, bottleneck_ratio, classes: 0 })
}

/// What else lies at the candidate's place. Most is harmless; what would change the result means another network.
fn strangers(
    members: &Members<'_>,
    used: &HashSet<usize>,
    head: Option<&Head>,
    config: &Config,
    networks: &[&str],
) -> Result<Vec<usize>, Error> {
    let mut strangers = Vec::new();
    let head_folder = head.and_then(|head| {
        let name = below(&members.entries[head.weight].simple, members.prefix)?;
        name.split_once('.').map(|(folder, _)| folder.to_owned())
    });
    let mut rest: Vec<(&str, usize)> = members.by_name.iter().map(|(name, &at)| (&**name, at)).collect();
    rest.sort_by_key(|&(_, at)| at);
    for (name, at) in rest {
        if used.contains(&at) || last(name) == "num_batches_tracked" || name == "n_averaged" {
            continue;
        }
        let entry = &members.entries[at];
        if networks.iter().any(|prefix| below(&entry.simple, prefix).is_some()) {
            strangers.push(at);
            continue;
        }
        let in_body = root(name).is_some_and(|wiring| wiring == members.wiring);
        // Counters, and what profilers note.
        let counts = entry.shape.is_some() && (!entry.is_float || entry.elements() <= 1);
        if counts {
            strangers.push(at);
            continue;
        }
        let in_head = head_folder.as_deref() == name.split('.').next();
        if entry.shape.is_none() {
            if in_body || in_head || (head.is_none() && ["weight", "kernel"].contains(&last(name))) {
                return Err(members.unreadable(at));
            }
            strangers.push(at);
            continue;
        }
        let shape = entry.shape.as_deref().unwrap_or_default();
        let [c1, .., c5] = config.stage_channels;
        let is_norm = ["running_mean", "moving_mean"].contains(&last(name))
            && [&[c1][..], &[c5], &[config.classes]].contains(&shape);
        let follows = head.is_some_and(|head| {
            let input = if members.wiring.is_tensorflow() { shape.first() } else { shape.get(1) };
            shape.len() == 2 && input == Some(&head.classes) && !head::is_loss(name)
        });
        if in_body || in_head || is_norm || follows {
            let network = config.to_string();
            return Err(Error::Unexpected { tensor: entry.name.clone(), found: shape.to_vec(), network });
        }
        strangers.push(at);
    }
    Ok(strangers)
}

/// Counters of batches beside the means that are used: the name that goes with the wiring's, and the file's.
fn extras(members: &Members<'_>, places: &HashMap<String, Place>) -> Vec<(String, String)> {
    let counter = |name: &String| {
        let counter = join(name.strip_suffix(".running_mean")?, "num_batches_tracked");
        let at = members.get(&counter)?;
        Some((counter, members.entries[at].name.clone()))
    };
    places.keys().filter_map(counter).collect()
}
