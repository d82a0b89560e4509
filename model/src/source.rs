//! Where a network's weights come from, and in which shapes.

use crate::config::{Config, WIDTHS};
use crate::weights::{Checkpoint, WeightsError};
use crate::wiring::{Site, Wiring};
use crate::{Error, Network};
use kernels::BatchNorm;

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
    /// What the batch normalisation whose scale is the tensor `gamma` adds to its variance, where it is another number
    /// than the wiring's.
    fn epsilon(&self, _gamma: &str) -> Option<f32> {
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
        Checkpoint::dtype(self, name).is_some_and(crate::weights::DType::is_float)
    }

    fn epsilon(&self, gamma: &str) -> Option<f32> {
        Checkpoint::epsilon(self, gamma)
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
/// let macs: usize = network.costs(224, 224).iter().map(|cost| cost.macs).sum();
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
        Network::each_site(config, |site, shape| {
            let names = config.wiring.names(site);
            for name in names.bias.iter().chain(names.batch_norm.iter().flatten()) {
                tensors.push((name.clone(), vec![shape.oc]));
            }
            tensors.push((names.weights, shape.stored(config.wiring)));
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
        let mut state =
            name.bytes().fold(0x9E37_79B9u32, |h, byte| (h ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Ok((0..len)
            .map(|_| {
                // xorshift32
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                low + (high - low) * ((state >> 8) as f32 / 16_777_216.0)
            })
            .collect())
    }
}

/// What a convolution's weights look like: PyTorch's order of dimensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvShape {
    pub(crate) oc: usize,
    /// Input channels of a group: 1 in a depthwise convolution.
    pub(crate) ic: usize,
    pub(crate) kernel: Kernel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    Dense(usize),
    Depthwise(usize),
    Linear,
}

impl ConvShape {
    /// The shape as checkpoints of that wiring store it.
    pub(crate) fn stored(self, wiring: Wiring) -> Vec<usize> {
        let Self { oc, ic, kernel } = self;
        match (wiring.is_tensorflow(), kernel) {
            (false, Kernel::Dense(k) | Kernel::Depthwise(k)) => vec![oc, ic, k, k],
            (false, Kernel::Linear) => vec![oc, ic],
            (true, Kernel::Dense(k)) => vec![k, k, ic, oc],
            (true, Kernel::Depthwise(k)) => vec![k, k, oc, 1],
            (true, Kernel::Linear) => vec![ic, oc],
        }
    }
}

/// One convolution's tensors, in PyTorch's order of dimensions.
pub(crate) struct Conv {
    pub(crate) weights: Vec<f32>,
    pub(crate) bias: Option<Vec<f32>>,
    statistics: Option<[Vec<f32>; 4]>,
    eps: f32,
}

impl Conv {
    pub(crate) fn read(
        weights: &dyn Weights,
        wiring: Wiring,
        site: Site,
        shape: ConvShape,
    ) -> Result<Self, Error> {
        let names = wiring.names(site);
        let stored = shape.stored(wiring);
        let mut values = read(weights, &names.weights, &stored)?;
        if wiring.is_tensorflow() {
            // The last dimension but those of size one is the output channel: bring it to the front.
            let inner = values.len() / shape.oc;
            let mut front = vec![0.0; values.len()];
            // Kernel positions and input channels, as (position, input) in TensorFlow and (input, position) here.
            let positions = inner / shape.ic;
            for (from, value) in values.iter().enumerate() {
                let (at, o) = (from / shape.oc, from % shape.oc);
                let (position, i) = (at / shape.ic, at % shape.ic);
                front[o * inner + i * positions + position] = *value;
            }
            values = front;
        }
        let vector = |name: &String| read(weights, name, &[shape.oc]);
        let statistics = match &names.batch_norm {
            None => None,
            Some([gamma, beta, mean, variance]) => {
                Some([vector(gamma)?, vector(beta)?, vector(mean)?, vector(variance)?])
            }
        };
        let head_bias = wiring.head_bias().to_owned();
        let has_bias = matches!(site, Site::Fc) && weights.shape(&head_bias).is_some();
        let bias = names.bias.as_ref().or(has_bias.then_some(&head_bias)).map(vector).transpose()?;
        let eps =
            names.batch_norm.as_ref().and_then(|[gamma, ..]| weights.epsilon(gamma)).unwrap_or(names.eps);
        Ok(Self { weights: values, bias, statistics, eps })
    }

    pub(crate) fn batch_norm(&self) -> Option<BatchNorm<'_>> {
        let [gamma, beta, mean, variance] = self.statistics.as_ref()?;
        Some(BatchNorm { gamma, beta, mean, variance, eps: self.eps })
    }
}

fn read(weights: &dyn Weights, name: &str, expected: &[usize]) -> Result<Vec<f32>, Error> {
    match weights.shape(name) {
        None => Err(Error::Missing { tensor: name.to_owned(), expected: expected.to_vec() }),
        Some(found) if found != expected => {
            Err(Error::Shape { tensor: name.to_owned(), expected: expected.to_vec(), found })
        }
        Some(_) => Ok(weights.read(name)?),
    }
}

impl std::fmt::Display for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match WIDTHS.iter().find(|(name, _)| self.width() == Some(*name)) {
            Some((name, _)) => {
                write!(f, "ShuffleNetV2 {name}x ({} wiring, {} classes)", self.wiring, self.classes)
            }
            None => write!(
                f,
                "ShuffleNetV2 with channels {:?} and repeats {:?} ({} wiring, {} classes)",
                self.stage_channels, self.stage_repeats, self.wiring, self.classes
            ),
        }
    }
}
