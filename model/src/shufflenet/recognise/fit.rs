//! Measures a candidate against the network that its shapes describe.

use super::entries::{Candidate, Candidates, Entry};
use super::head::{self, Head};
use super::members::{Members, bias_of};
use super::names::{below, join, last, root};
use super::place::{Bias, From, Place};
use crate::Error;
use crate::shufflenet::architecture::each_site;
use crate::shufflenet::config::Config;
use crate::shufflenet::named::{Weights, stored};
use crate::shufflenet::wiring::{Names, Part, Site, Wiring};
use crate::weights::quoted;
use std::collections::{HashMap, HashSet};

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

/// Measures a candidate, whose tensors are `by_name`, among all of them.
pub(super) fn measure(
    weights: &dyn Weights,
    entries: &[Entry],
    candidate: &Candidate,
    by_name: HashMap<String, usize>,
    candidates: &Candidates,
) -> Result<Fit, Misfit> {
    let members = Members::new(weights, entries, candidate, by_name);
    let Candidate { wiring, prefix, .. } = candidate;
    let wiring = *wiring;
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
    let mut notes = Vec::new();
    for (site, shape) in &sites {
        let (names, shape) = (wiring.names(*site), shape.clone());
        let in_rgb = stored(wiring, *site, &shape);
        // Networks for grey pictures.
        let in_grey = stored(wiring, *site, &[shape[0], 1, 3, 3]);
        let is_grey = matches!(site, Site::Conv1) && members.shape(&names.weights) == Some(&in_grey);
        let expected = if is_grey { &in_grey } else { &in_rgb };
        used.site(&members, &names, expected, shape[0], any_batch_norm).map_err(misfit)?;
        if is_grey {
            notes.push(used.make_grey(wiring, &names.weights, in_rgb, shape[0]));
        }
    }
    let of_body = used.tensors.clone();
    let found = head::find(&members, &of_body, candidates, config.stage_channels[4]).map_err(misfit)?;
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
            "batch normalisations without scale or shift, taken as 1 and 0: {}, the first with the mean {}",
            used.plain_norms.len(),
            quoted(&entries[first].name)
        ));
    }
    // A network of its own, as an average beside the plain one. A few tensors that are named alike are none.
    let another = |simple: &str| candidates.have(simple, prefix, candidate.named.div_ceil(2));
    let strangers = strangers(&members, &used.tensors, found.as_ref(), &config, another).map_err(misfit)?;
    let extras = extras(&members, &used.places);
    let Used { places, tensors, .. } = used;
    Ok(Fit { config, places, extras, used: tensors, strangers, notes })
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

    /// Has a first convolution of one channel, whose kernels were taken, read pictures of three. Says so.
    fn make_grey(&mut self, wiring: Wiring, kernels: &str, in_rgb: Vec<usize>, oc: usize) -> String {
        let place = self.places.get_mut(kernels).expect("just put there");
        let From::Tensor(stored) = &place.from else { unreachable!("a tensor was taken") };
        let note = format!(
            "{} takes one channel: it is given 0.299 R + 0.587 G + 0.114 B of the normalised picture",
            quoted(stored)
        );
        let inner = if wiring.is_tensorflow() { oc } else { 9 };
        place.from = From::Grey { stored: stored.clone(), inner, grey: wiring.grey() };
        place.shape = in_rgb;
        note
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
    another: impl Fn(&str) -> bool,
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
        if another(&entry.simple) {
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
        // The last layer in a form that would have to be computed first (weight_norm, pruning).
        let is_head = head.is_none() && shape.len() == 2 && shape[1] == c5 && head::is_in_parts(name);
        if in_body || in_head || is_norm || follows || is_head {
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
