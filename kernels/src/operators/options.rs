//! What operators' builders can be told, and the builders.

use crate::activation::Activation;
use crate::backend::Kernels;
use crate::error::{Error, expect_len};
use crate::fold::{BatchNorm, fold};
use crate::isa::Isa;
use crate::tensor::ChannelOrder;
use alloc::vec::Vec;

/// What most operators can be told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options<'a> {
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) batch_norm: Option<BatchNorm<'a>>,
    pub(crate) activation: Activation,
    pub(crate) isa: Option<Isa>,
    pub(crate) groups: Option<usize>,
    pub(crate) input_order: Option<&'a ChannelOrder>,
    pub(crate) output_order: Option<&'a ChannelOrder>,
}

impl Options<'_> {
    /// The table of kernels to pack for.
    pub(crate) fn kernels(&self) -> Result<&'static Kernels, Error> {
        self.activation.check()?;
        Ok(self.isa.map_or_else(Isa::from_env, Ok)?.kernels())
    }

    /// Where the channels lie of an operator that leaves each in its lane.
    pub(crate) fn input_order(&self, channels: usize) -> Result<ChannelOrder, Error> {
        let order = self.input_order.cloned().unwrap_or_else(|| ChannelOrder::identity(channels));
        expect_len("input order", channels, order.channels()).map(|()| order)
    }

    /// Per output channel, what the weights are multiplied by, and the bias.
    pub(crate) fn fold(&self, oc: usize) -> Result<(Vec<f64>, Vec<f32>), Error> {
        fold(oc, self.bias, self.batch_norm)
    }
}

/// `Op::builder(..)` and the type that it returns: what the operator cannot be without, in brackets; what has a default, in
/// braces; and the setters of [`Options`] that it has, by name.
macro_rules! builder {
    (
        $op:ident, $builder:ident$(<$life:lifetime>)?($($field:ident: $type:ty),*)
        $({ $($extra:ident: $extra_type:ty = $default:expr),* })?, $($setter:ident)*
    ) => {
        #[doc = concat!("Collects what a [`", stringify!($op), "`] is made of.")]
        #[derive(Clone, Copy, Debug)]
        pub struct $builder$(<$life>)? {
            $($field: $type,)*
            $($($extra: $extra_type,)*)?
            options: crate::operators::options::builder!(@options $($life)?),
        }

        impl$(<$life>)? $builder$(<$life>)? {
            $(crate::operators::options::builder!(@setter $setter);)*
        }

        impl $op {
            /// Begins an operator; the builder's methods tell it more, and `build` makes it.
            pub fn builder$(<$life>)?($($field: $type),*) -> $builder$(<$life>)? {
                $builder { $($field,)* $($($extra: $default,)*)? options: Default::default() }
            }
        }
    };
    (@options) => { crate::operators::options::Options<'static> };
    (@options $life:lifetime) => { crate::operators::options::Options<$life> };
    (@setter bias) => {
        /// A bias per output channel, added before the batch normalisation. Default: none.
        pub fn bias(mut self, bias: &'a [f32]) -> Self {
            self.options.bias = Some(bias);
            self
        }
    };
    (@setter batch_norm) => {
        /// A batch normalisation behind the sum, folded into weights and bias. Default: none.
        pub fn batch_norm(mut self, batch_norm: crate::BatchNorm<'a>) -> Self {
            self.options.batch_norm = Some(batch_norm);
            self
        }
    };
    (@setter activation) => {
        /// What follows the sum. Default: [`Activation::None`](crate::Activation::None).
        pub fn activation(mut self, activation: crate::Activation) -> Self {
            self.options.activation = activation;
            self
        }
    };
    (@setter groups) => {
        /// Groups of channels that do not see each other. Default: 1.
        ///
        /// Groups whose outputs share a register are computed together, with weights of zero in each other's places: there, a
        /// NaN or an infinity of one group's input makes the other's output NaN.
        pub fn groups(mut self, groups: usize) -> Self {
            self.options.groups = Some(groups);
            self
        }
    };
    (@setter input_order) => {
        /// The slot of the source in which each input channel lies. Default: channel `i` in slot `i`.
        pub fn input_order(mut self, order: &'a crate::ChannelOrder) -> Self {
            self.options.input_order = Some(order);
            self
        }
    };
    (@setter output_order) => {
        /// The slot of the destination into which each output channel is written. Default: channel `o` in slot `o`.
        /// Slots of no channel hold unspecified values afterwards.
        pub fn output_order(mut self, order: &'a crate::ChannelOrder) -> Self {
            self.options.output_order = Some(order);
            self
        }
    };
    (@setter isa) => {
        /// The instruction set to compute with. Default: [`Isa::from_env`](crate::Isa::from_env).
        pub fn isa(mut self, isa: crate::Isa) -> Self {
            self.options.isa = Some(isa);
            self
        }
    };
}
pub(crate) use builder;
