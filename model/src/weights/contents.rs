//! What a reader makes of a file, whatever its format.

use super::tensor::Tensor;
use std::collections::HashMap;
use std::sync::Arc;

/// What a reader makes of a file.
#[derive(Default)]
pub(super) struct Contents {
    /// In the order of the file.
    pub(super) tensors: Vec<Named>,
    /// What batch normalisations add to their variance, where the file says so: by the name of a layer, which its
    /// tensors have before their own.
    pub(super) epsilons: HashMap<String, f32>,
    /// What whoever opens the file should know.
    pub(super) warnings: Vec<String>,
}

/// A tensor and its name.
pub(super) struct Named {
    pub(super) name: String,
    /// The tensor, or why it cannot be read.
    pub(super) tensor: Result<Arc<Tensor>, Arc<str>>,
}
