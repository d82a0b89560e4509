//! A network's weights by their names, and in the shapes in which a wiring's checkpoints have them.

use super::architecture::each_site;
use super::config::Config;
use super::wiring::{Site, Wiring};
use crate::Error;
use crate::graph::{Graph, Parameters, Statistics, Tensors, Value, uniform};
use crate::weights::{Checkpoint, DType, WeightsError};
use std::borrow::Cow;

/// Named tensors: a checkpoint, or weights made up.
pub trait Weights {
    /// Every name, in a fixed order.
    fn names(&self) -> Vec<String>;
    /// The shape of a tensor, if there is one of that name.
    fn shape(&self, name: &str) -> Option<Vec<usize>>;
    /// The values of a tensor, in C order.
    ///
    /// # Errors
    /// Where there is no such tensor, or its values cannot be had as floats.
    fn read(&self, name: &str) -> Result<Vec<f32>, WeightsError>;
    /// Whether a tensor holds floats.
    fn is_float(&self, _name: &str) -> bool {
        true
    }
    /// What keeps the root of a batch normalisation from zero, where the source itself says so; `batch_norm` is the name
    /// of its scale.
    fn epsilon(&self, _batch_norm: &str) -> Option<f32> {
        None
    }
}

impl Weights for Checkpoint {
    fn names(&self) -> Vec<String> {
        Checkpoint::names(self).map(str::to_owned).collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        Checkpoint::shape(self, name).map(<[usize]>::to_vec)
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        Checkpoint::read(self, name)
    }

    fn is_float(&self, name: &str) -> bool {
        Checkpoint::dtype(self, name).is_some_and(DType::is_float)
    }

    fn epsilon(&self, batch_norm: &str) -> Option<f32> {
        Checkpoint::epsilon(self, batch_norm)
    }
}

/// Weights for measurements: random, the same on every machine, of a size that keeps activations of order one.
///
/// Not zeros, which a processor may treat specially, and not noise that grows from layer to layer into infinity or
/// shrinks into denormals.
///
/// ```
/// use kernels::Isa;
/// use model::{Config, Network, Synthetic, Wiring};
///
/// let config = Config::published("0.5", Wiring::Megvii)?;
/// let network = Network::new(&config, &Synthetic::new(&config)?, Isa::best())?;
/// let macs: u64 = network.costs(224, 224).iter().map(|cost| cost.macs).sum();
/// assert_eq!(macs / 1_000_000, 40); // Table 8 of the paper says 41 M
/// # Ok::<(), model::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Synthetic {
    tensors: Vec<(String, Vec<usize>)>,
}

impl Synthetic {
    /// Weights for every tensor of `config`.
    ///
    /// # Errors
    /// Where the configuration contradicts itself.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let mut tensors = Vec::new();
        each_site(config, |site, shape| {
            let names = config.wiring.names(site);
            for name in names.bias.iter().chain(names.batch_norm.iter().flatten()) {
                tensors.push((name.clone(), vec![shape[0]]));
            }
            tensors.push((names.weights, stored(config.wiring, site, &shape)));
        })?;
        Ok(Self { tensors })
    }
}

impl Weights for Synthetic {
    fn names(&self) -> Vec<String> {
        self.tensors.iter().map(|(name, _)| name.clone()).collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.iter().find(|(known, _)| known == name).map(|(_, shape)| shape.clone())
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let shape = Weights::shape(self, name).ok_or_else(|| WeightsError::NoSuchTensor(name.to_owned()))?;
        let len: usize = shape.iter().product();
        let spread = (6.0 * shape.iter().max().copied().unwrap_or(1) as f32 / len as f32).sqrt().min(1.0);
        let positive = ["running_var", "variance:0", "gamma:0"].iter().any(|end| name.ends_with(end))
            || (shape.len() == 1 && name.ends_with("weight"));
        let (low, high) = if positive { (0.5, 1.5) } else { (-spread, spread) };
        let seed = name.bytes().fold(0u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        let mut values = uniform(seed, len);
        values.iter_mut().for_each(|value| *value = low + (high - low) * *value);
        Ok(values)
    }
}

/// The shape in which a wiring's checkpoints store weights that PyTorch's would as `shape`.
pub(super) fn stored(wiring: Wiring, site: Site, shape: &[usize]) -> Vec<usize> {
    match (wiring.is_tensorflow(), shape) {
        (true, &[oc, _, kh, kw]) if site.is_depthwise() => vec![kh, kw, oc, 1],
        (true, &[oc, ic, kh, kw]) => vec![kh, kw, ic, oc],
        (true, &[oc, ic]) => vec![ic, oc],
        _ => shape.to_vec(),
    }
}

/// The tensors of a graph's nodes among named weights.
pub(crate) struct Named<'a> {
    pub(crate) weights: &'a dyn Weights,
    pub(crate) wiring: Wiring,
    pub(crate) sites: Vec<(Value, Site)>,
}

impl Tensors for Named<'_> {
    fn of(&self, graph: &Graph, value: Value) -> Result<Parameters<'_>, Error> {
        let &(_, site) =
            self.sites.iter().find(|(at, _)| *at == value).expect("every convolution has a site");
        let (names, shape) = (self.wiring.names(site), graph.weights(value));
        let mut weights = self.read(&names.weights, &stored(self.wiring, site, &shape))?;
        if self.wiring.is_tensorflow() {
            weights = output_first(&weights, shape[0], shape[1]);
        }
        let vector = |name: &String| self.read(name, &shape[..1]).map(Cow::from);
        let statistics = |[gamma, beta, mean, variance]: &[String; 4]| {
            let eps = self.weights.epsilon(gamma).unwrap_or(names.eps);
            let [gamma, beta] = [vector(gamma)?, vector(beta)?];
            Ok::<_, Error>(Statistics { gamma, beta, mean: vector(mean)?, variance: vector(variance)?, eps })
        };
        let head_bias = self.wiring.head_bias();
        let has_bias = matches!(site, Site::Fc) && self.weights.shape(head_bias).is_some();
        let own_bias = has_bias.then(|| head_bias.to_owned());
        Ok(Parameters {
            weights: weights.into(),
            bias: names.bias.as_ref().or(own_bias.as_ref()).map(vector).transpose()?,
            batch_norm: names.batch_norm.as_ref().map(statistics).transpose()?,
        })
    }
}

impl Named<'_> {
    fn read(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>, Error> {
        match self.weights.shape(name) {
            None => Err(Error::Missing { tensor: name.to_owned(), expected: expected.to_vec() }),
            Some(found) if found != expected => {
                Err(Error::Shape { tensor: name.to_owned(), expected: expected.to_vec(), found })
            }
            Some(_) => Ok(self.weights.read(name)?),
        }
    }
}

/// From TensorFlow's order (position, input, output) to PyTorch's (output, input, position).
fn output_first(values: &[f32], oc: usize, ic: usize) -> Vec<f32> {
    let inner = values.len() / oc;
    let positions = inner / ic;
    let mut front = vec![0.0; values.len()];
    for (from, value) in values.iter().enumerate() {
        let (at, o) = (from / oc, from % oc);
        let (position, i) = (at / ic, at % ic);
        front[o * inner + i * positions + position] = *value;
    }
    front
}
