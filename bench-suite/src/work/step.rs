//! What a network does, step by step.

use serde::{Deserialize, Serialize};

/// One layer of a network as it runs: a node, or several that run as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// The names of its nodes.
    pub(crate) name: String,
    /// The name of its class of work.
    pub(crate) class: String,
    /// Channels, height and width of what it reads first.
    pub(crate) input: [usize; 3],
    /// Channels, height and width of what it makes.
    pub(crate) output: [usize; 3],
    pub(crate) macs: u64,
    pub(crate) mac_bytes: u64,
}
