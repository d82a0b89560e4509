//! Networks recognised from names and shapes that were tampered with.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use model::weights::WeightsError;
use model::{Synthetic, Weights, Wiring};

/// What is done to a tensor of a small network, or to one of its neighbours' names.
#[derive(Arbitrary, Debug)]
enum Edit {
    Remove(u8),
    Extent(u8, u8, u16),
    Wild(u8, u8, usize),
    Shape(u8, Vec<u8>),
    /// The first's name is given to a copy of the second.
    Copy(u8, u8),
    /// A digit of the name is replaced.
    Digit(u8, u8, u8),
    Name(u8, String),
    /// A whole unit is repeated under another number.
    Unit(u8, u8),
    /// Every extent of one value becomes another: another width.
    Width(u8, u8),
    /// What wrappers put before all names, or before those from one tensor on.
    Prefix(u8, Prefix),
    /// A tensor becomes one that cannot be read.
    Unreadable(u8),
}

#[derive(Arbitrary, Debug)]
enum Prefix {
    Module,
    Compiled,
    Model,
    Ema,
    Backbone,
    Other(String),
}

#[derive(Arbitrary, Debug)]
struct Tampered {
    wiring: u8,
    edits: Vec<Edit>,
}

/// Names and shapes; the values are all alike. A shape of this one cannot be read.
struct Tensors(Vec<(String, Vec<usize>)>);

const UNREADABLE: [usize; 1] = [usize::MAX];

/// A checkpoint's reader refuses those that declare more.
const MOST: usize = 1 << 20;

impl Weights for Tensors {
    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let found = self.0.iter().find(|(known, _)| known == name).map(|(_, shape)| shape.clone());
        found.filter(|shape| *shape != UNREADABLE)
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let shape = self.shape(name).ok_or_else(|| WeightsError::NoSuchTensor(name.to_owned()))?;
        Ok(vec![0.5; shape.iter().product()])
    }
}

fuzz_target!(|tampered: Tampered| {
    let wiring = Wiring::ALL[usize::from(tampered.wiring % 3)];
    let whole = Synthetic::new(&model_fuzz::tiny(wiring)).expect("it contradicts itself in nothing");
    let mut tensors: Vec<(String, Vec<usize>)> =
        whole.names().into_iter().map(|name| (name.clone(), whole.shape(&name).unwrap())).collect();
    for edit in tampered.edits.iter().take(16) {
        apply(edit, &mut tensors);
    }
    let elements = |shape: &Vec<usize>| shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    let readable = tensors.iter().filter(|(_, shape)| *shape != UNREADABLE);
    let total = readable.map(|(_, shape)| elements(shape)).try_fold(0usize, |sum, n| sum.checked_add(n?));
    if total.is_some_and(|total| total <= MOST) {
        model_fuzz::load(&Tensors(tensors));
    }
});

fn apply(edit: &Edit, tensors: &mut Vec<(String, Vec<usize>)>) {
    if tensors.is_empty() {
        return;
    }
    let len = tensors.len();
    let at = |i: u8| usize::from(i) % len;
    match edit {
        Edit::Remove(i) => {
            tensors.remove(at(*i));
        }
        &Edit::Extent(i, axis, extent) => set(&mut tensors[at(i)].1, axis, extent.into()),
        &Edit::Wild(i, axis, extent) => set(&mut tensors[at(i)].1, axis, extent),
        Edit::Shape(i, shape) => {
            let i = at(*i);
            tensors[i].1 = shape.iter().take(6).map(|&n| n.into()).collect();
        }
        &Edit::Copy(i, j) => {
            let copy = (tensors[at(i)].0.clone(), tensors[at(j)].1.clone());
            tensors.push(copy);
        }
        &Edit::Digit(i, digit, to) => {
            let i = at(i);
            let name = &tensors[i].0;
            let digits: Vec<usize> =
                name.char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(i, _)| i).collect();
            if let Some(&place) = digits.get(usize::from(digit) % digits.len().max(1)) {
                tensors[i].0.replace_range(place..=place, &(to % 32).to_string());
            }
        }
        Edit::Name(i, name) => {
            let i = at(*i);
            tensors[i].0.clone_from(name);
        }
        &Edit::Unit(i, to) => {
            // "stage2.1." in torchvision, "features.1." in megvii, "stage2/block2/" in keras.
            let name = tensors[at(i)].0.clone();
            let Some(end) = name.match_indices(['.', '/']).nth(1).map(|(at, _)| at) else { return };
            let unit = &name[..end];
            let digits = unit.len() - unit.trim_end_matches(|c: char| c.is_ascii_digit()).len();
            let renamed = format!("{}{}", &unit[..unit.len() - digits], to % 8);
            let copies: Vec<_> = tensors
                .iter()
                .filter_map(|(name, shape)| {
                    Some((format!("{renamed}{}", name.strip_prefix(unit)?), shape.clone()))
                })
                .collect();
            tensors.extend(copies.into_iter().take(40));
        }
        Edit::Prefix(i, prefix) => {
            let prefix = match prefix {
                Prefix::Module => "module.",
                Prefix::Compiled => "_orig_mod.",
                Prefix::Model => "model.",
                Prefix::Ema => "model_ema.",
                Prefix::Backbone => "backbone.",
                Prefix::Other(other) => other,
            };
            let from = at(*i);
            tensors[from..].iter_mut().for_each(|(name, _)| name.insert_str(0, prefix));
        }
        &Edit::Unreadable(i) => {
            let i = at(i);
            tensors[i].1 = UNREADABLE.to_vec();
        }
        &Edit::Width(from, to) => {
            for (_, shape) in tensors {
                shape.iter_mut().filter(|n| **n == usize::from(from % 10)).for_each(|n| *n = to.into());
            }
        }
    }
}

fn set(shape: &mut [usize], axis: u8, extent: usize) {
    if let Some(n) = shape.get_mut(usize::from(axis) % 4) {
        *n = extent;
    }
}
