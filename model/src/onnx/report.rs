//! What becomes of a file: what runs, what was fused, what was renamed away, what is refused and why.

use super::import::{Reason, title};
use super::proto;
use std::collections::BTreeMap;
use std::fmt;

/// Why one node of a file cannot be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The node's name, or its first output's where it has none.
    pub node: String,
    /// The operator, as the file writes it.
    pub operator: String,
    /// Its domain; empty for ONNX's own.
    pub domain: String,
    /// The version of ONNX's operator set that the file is written in.
    pub opset: i64,
    /// What cannot be done.
    pub reason: String,
    /// What can be, where something comes near.
    pub instead: Option<&'static str>,
    /// The node's place in the file.
    pub(super) index: Option<usize>,
}

impl Refusal {
    pub(super) fn of(
        node: &proto::Node<'_>,
        index: Option<usize>,
        opset: i64,
        Reason { why, instead }: Reason,
    ) -> Self {
        let made = node.outputs.iter().find(|name| !name.is_empty());
        let name = if node.name.is_empty() { made.copied().unwrap_or("") } else { node.name };
        let domain = if node.domain == "ai.onnx" { "" } else { node.domain };
        Self {
            node: super::shortened(name),
            operator: super::shortened(node.op_type),
            domain: super::shortened(domain),
            opset,
            reason: super::one_line(&why),
            instead,
            index,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, operator, domain, opset, reason, instead, .. } = self;
        write!(f, "{operator} {node:?} (")?;
        match &domain[..] {
            "" => write!(f, "opset {opset}")?,
            domain => write!(f, "domain {domain}")?,
        }
        write!(f, "): {reason}")?;
        match instead {
            Some(instead) => write!(f, "; nearest: {instead}"),
            None => Ok(()),
        }
    }
}

/// What becomes of one node of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// It is an operator of the network.
    Runs,
    /// It is a part of another node's operator.
    Fused,
    /// It moves or renames channels or axes, which costs nothing when the network runs.
    Renamed,
    /// It depends on constants and sizes alone, or changes nothing.
    Evaluated,
    /// It rearranges the network's outputs, as a plain loop.
    Behind,
    /// No output depends on it.
    Unneeded,
    /// It reads what a refused node would have made, so nothing is known of it.
    Unseen,
    /// It cannot be run.
    Refused,
}

impl Fate {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 8] = [
        Self::Runs,
        Self::Fused,
        Self::Renamed,
        Self::Evaluated,
        Self::Behind,
        Self::Unneeded,
        Self::Unseen,
        Self::Refused,
    ];

    /// A few words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Fused => "fused",
            Self::Renamed => "renamed away",
            Self::Evaluated => "evaluated",
            Self::Behind => "behind the network",
            Self::Unneeded => "not needed",
            Self::Unseen => "not looked at",
            Self::Refused => "refused",
        }
    }
}

/// One node of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReport {
    /// Its operator and its name.
    pub title: String,
    /// The operator.
    pub operator: String,
    /// What becomes of it.
    pub fate: Fate,
    /// The node that it is fused into, or why it is left behind the network.
    pub note: String,
}

/// An input or an output of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its extents: numbers, or names of what is open.
    pub shape: String,
}

/// All that is known of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Who wrote the file.
    pub producer: String,
    /// The version of ONNX's operator set.
    pub opset: i64,
    /// What it reads.
    pub inputs: Vec<Port>,
    /// What it makes.
    pub outputs: Vec<Port>,
    /// Its nodes, in the order of the file.
    pub nodes: Vec<NodeReport>,
    /// Numbers in the weights of what runs.
    pub parameters: u64,
    /// How many operators run in the end, after the graph has fused what it can; 0 where something is refused.
    pub layers: usize,
    /// Why it cannot be run; empty where it can.
    pub refusals: Vec<Refusal>,
}

impl Report {
    /// How many nodes of each operator have this fate, the most frequent first.
    pub fn operators(&self, fate: Fate) -> Vec<(&str, usize)> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for node in self.nodes.iter().filter(|node| node.fate == fate) {
            *counts.entry(&node.operator).or_default() += 1;
        }
        let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
        counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        counts
    }

    pub(super) fn node(node: &proto::Node<'_>) -> NodeReport {
        NodeReport {
            title: title(node),
            operator: super::shortened(node.op_type),
            fate: Fate::Unneeded,
            note: String::new(),
        }
    }
}
