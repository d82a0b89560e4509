//! What operators' builders can be told, apart from sizes.

use crate::activation::Activation;
use crate::backend::Kernels;
use crate::error::Error;
use crate::fold::{BatchNorm, fold};
use crate::isa::Isa;
use alloc::vec::Vec;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options<'a> {
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) batch_norm: Option<BatchNorm<'a>>,
    pub(crate) activation: Activation,
    pub(crate) isa: Option<Isa>,
}

impl Options<'_> {
    /// The table of kernels to pack for.
    pub(crate) fn kernels(&self) -> Result<&'static Kernels, Error> {
        self.activation.check()?;
        Ok(self.isa.map_or_else(Isa::from_env, Ok)?.kernels())
    }

    /// Per output channel, what the weights are multiplied by, and the bias.
    pub(crate) fn fold(&self, oc: usize) -> Result<(Vec<f64>, Vec<f32>), Error> {
        fold(oc, self.bias, self.batch_norm)
    }
}

/// The setters of builders with a field `options`, by name.
macro_rules! setters {
    ($($setter:ident)*) => { $(crate::operators::options::setters!(@ $setter);)* };
    (@ bias) => {
        /// A bias per output channel, added before the batch normalisation. Default: none.
        pub fn bias(mut self, bias: &'a [f32]) -> Self {
            self.options.bias = Some(bias);
            self
        }
    };
    (@ batch_norm) => {
        /// A batch normalisation behind the sum, folded into weights and bias. Default: none.
        pub fn batch_norm(mut self, batch_norm: crate::BatchNorm<'a>) -> Self {
            self.options.batch_norm = Some(batch_norm);
            self
        }
    };
    (@ activation) => {
        /// What follows the sum. Default: [`Activation::None`](crate::Activation::None).
        pub fn activation(mut self, activation: crate::Activation) -> Self {
            self.options.activation = activation;
            self
        }
    };
    (@ groups) => {
        /// Groups of channels that do not see each other. Default: 1.
        ///
        /// Groups whose outputs share a register are computed together, with weights of zero in each other's places: there, a
        /// NaN or an infinity of one group's input makes the other's output NaN.
        pub fn groups(mut self, groups: usize) -> Self {
            self.channels.groups = groups;
            self
        }
    };
    (@ input_order) => {
        /// The slot of the source in which each input channel lies. Default: channel `i` in slot `i`.
        pub fn input_order(mut self, order: &'a ChannelOrder) -> Self {
            self.channels.input = Some(order);
            self
        }
    };
    (@ output_order) => {
        /// The slot of the destination into which each output channel is written. Default: channel `o` in slot `o`.
        /// Slots of no channel hold unspecified values afterwards.
        pub fn output_order(mut self, order: &'a ChannelOrder) -> Self {
            self.channels.output = Some(order);
            self
        }
    };
    (@ isa) => {
        /// The instruction set to compute with. Default: [`Isa::from_env`](crate::Isa::from_env).
        pub fn isa(mut self, isa: crate::Isa) -> Self {
            self.options.isa = Some(isa);
            self
        }
    };
}
pub(crate) use setters;
