//! Where the values of a network's tensors come from.

use crate::shufflenet::named::Weights;
use crate::weights::WeightsError;

/// Where the values of one of the network's tensors come from.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) shape: Vec<usize>,
    pub(super) from: From,
    /// Of a batch normalisation's scale: what is added to the variance, where it is not the wiring's.
    pub(super) epsilon: Option<f32>,
}

/// Tensors are named as in the checkpoint.
#[derive(Debug)]
pub(super) enum From {
    Tensor(String),
    /// The same number everywhere; what no file needs to hold.
    Number(f32),
    /// The bias of a convolution whose batch normalisation was folded: what the normalisation would add.
    FoldedBias(Bias),
    /// The kernels of a first convolution that takes one channel, as ones that make a picture grey before.
    Grey {
        stored: String,
        /// How many values lie between those of one channel and of the next, in the file.
        inner: usize,
        /// What grey is made of.
        grey: [f32; 3],
    },
    /// A mean, and the bias of the convolution before the batch normalisation, which it undoes.
    MeanWithoutBias(String, Bias),
}

/// The bias of a convolution that has none in the network's own code.
#[derive(Debug)]
pub(super) struct Bias {
    pub(super) stored: String,
    /// What it would be called.
    pub(super) name: String,
}

impl Place {
    pub(super) fn number(value: f32, len: usize) -> Self {
        Self { shape: vec![len], from: From::Number(value), epsilon: None }
    }

    pub(super) fn read(&self, weights: &dyn Weights) -> Result<Vec<f32>, WeightsError> {
        match &self.from {
            From::Tensor(stored) | From::FoldedBias(Bias { stored, .. }) => weights.read(stored),
            From::Number(value) => Ok(vec![*value; self.shape.iter().product()]),
            From::Grey { stored, inner, grey } => {
                let kernels = weights.read(stored)?;
                let of_channel = |part, share: f32| <[f32]>::iter(part).map(move |value| share * value);
                let parts = kernels.chunks_exact(*inner);
                Ok(parts
                    .flat_map(|part| grey.iter().flat_map(move |&share| of_channel(part, share)))
                    .collect())
            }
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
            From::Tensor(stored) | From::Grey { stored, .. } => vec![(name, stored)],
            From::Number(_) => Vec::new(),
            From::FoldedBias(bias) => vec![(&bias.name, &bias.stored)],
            From::MeanWithoutBias(mean, bias) => vec![(name, mean), (&bias.name, &bias.stored)],
        }
    }
}
