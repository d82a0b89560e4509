//! What a run leaves behind: `report.json`. Pages, tables and plots are made from it and from nothing else, so it also says
//! what was measured: experiments, networks, and the shape of each layer.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::estimate::Estimate;
use super::peers::Peers;
use super::stats::Summary;
use super::upgrade::{SCHEMA, upgrade};
use crate::run::environment::Environment;
use crate::work::guidelines::Experiment;
use crate::work::layer::Layer;
use crate::work::networks::Network;

/// The largest `report.json` that is read.
const MAX_BYTES: u64 = 256 << 20;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) schema: u32,
    pub(crate) environment: Environment,
    pub(crate) settings: Settings,
    pub(crate) machine: Machine,
    /// Every variant timed, with all samples.
    pub(crate) measurements: Vec<Measurement>,
    pub(crate) experiments: Vec<Experiment>,
    pub(crate) networks: Vec<Network>,
    /// Where the time of each network goes.
    pub(crate) splits: Vec<Split>,
    pub(crate) cold: Vec<Cold>,
    /// Traffic that a cache simulation counted, if there is one here.
    pub(crate) traffic: Vec<Traffic>,
    /// What is told of single networks.
    #[serde(default)]
    pub(crate) profiles: Vec<Profile>,
    /// What other engines reached on the same machine, if they were asked.
    pub(crate) peers: Option<Peers>,
}

/// How a report was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// `quick`, `default` or `full`.
    pub(crate) mode: String,
    /// Instruction set of everything that does not say otherwise.
    pub(crate) isa: String,
    /// Threads of everything that does not say otherwise.
    pub(crate) threads: usize,
    /// Whether threads were bound to cores.
    pub(crate) pinned: bool,
    pub(crate) seconds: u64,
}

/// The roofs under which everything runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) peaks: Vec<Peak>,
    /// Bandwidths by level, one thread, innermost level first.
    pub(crate) bandwidths: Vec<Bandwidth>,
    /// The multiply-add loop again, in each round of everything else: GFLOP/s.
    pub(crate) noise: Vec<f64>,
    /// What the sentinel saw at the same time.
    #[serde(default)]
    pub(crate) looks: Vec<Look>,
    /// What became of the rounds.
    #[serde(default)]
    pub(crate) rounds: Vec<Rounds>,
}

/// One look of the sentinel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Look {
    /// Seconds of its small network.
    pub(crate) network: f64,
    /// Seconds of its loop over memory.
    pub(crate) memory: f64,
    /// The share of its time that the thread had waited for a processor since the look before, where the system tells.
    #[serde(default)]
    pub(crate) waited: Option<f64>,
}

/// What became of the rounds in which some variants were timed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rounds {
    /// How the ids of the variants begin.
    pub(crate) section: String,
    /// Rounds whose samples are in the report.
    pub(crate) kept: usize,
    /// Rounds that were left out, since they were disturbed and repeated.
    pub(crate) repeated: usize,
    /// Rounds that were kept although the machine was disturbed.
    pub(crate) disturbed: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Peak {
    pub(crate) isa: String,
    pub(crate) threads: usize,
    /// GFLOP/s, the best seen.
    pub(crate) gflops: f64,
}

/// Bandwidth of one level of memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bandwidth {
    /// `L1`, `L2`, `L3` or `DRAM`.
    pub(crate) level: String,
    /// Size of the array that was read; a copy's two arrays have it together.
    pub(crate) bytes: u64,
    pub(crate) read: f64,
    /// GB/s moved by a copy, bytes read plus bytes written.
    pub(crate) copy: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measurement {
    /// Stable name, as in `g1/gpu/x1/1-2`.
    pub(crate) id: String,
    pub(crate) isa: String,
    pub(crate) threads: usize,
    pub(crate) batch: usize,
    pub(crate) macs: u64,
    pub(crate) mac_bytes: u64,
    /// The paper's lower bound on it, where it applies.
    pub(crate) lower_bound_bytes: Option<f64>,
    /// Runs averaged into each sample.
    pub(crate) runs_per_sample: u32,
    /// Processor time over wall time: the threads that really worked.
    pub(crate) cpu_over_wall: Option<f64>,
    /// Multiply-adds with those of lanes that hold no channel, of a guideline's case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) padded_macs: Option<u64>,
    /// Which layer it is, of a layer by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) layer: Option<Layer>,
    /// Seconds per run, in the order measured.
    pub(crate) seconds: Vec<f64>,
}

/// Seconds per run of a network, by class of work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Split {
    pub(crate) id: String,
    pub(crate) parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) class: String,
    /// The least over the runs observed.
    pub(crate) seconds: f64,
    pub(crate) macs: u64,
}

/// A network, step by step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Profile {
    /// Of the network.
    pub(crate) id: String,
    /// Channels of a vector.
    pub(crate) lanes: usize,
    /// The least seconds of each of its steps over the runs observed.
    pub(crate) seconds: Vec<f64>,
    pub(crate) widths: Vec<Widths>,
}

/// A step by itself, at several widths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Widths {
    /// Which step.
    pub(crate) step: usize,
    /// Its own output channels.
    pub(crate) oc: usize,
    /// The output channels tried, and the ids of their measurements.
    pub(crate) tried: Vec<(usize, String)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cold {
    pub(crate) id: String,
    /// Seconds to fold and pack weights that are in memory.
    pub(crate) build: f64,
    /// Seconds of the first image, memory for activations included.
    pub(crate) first: f64,
}

/// Bytes that one run of a case moves, by a cache simulation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Traffic {
    pub(crate) id: String,
    /// Into the first level.
    pub(crate) first_level: u64,
    /// Into the second level.
    pub(crate) last_level: u64,
}

impl Measurement {
    /// Summary of the samples.
    pub(crate) fn summary(&self) -> Summary {
        Summary::of(&self.seconds).expect("a measurement has finite samples")
    }

    /// The least of the samples, and how well it is known.
    pub(crate) fn estimate(&self) -> Estimate {
        Estimate::minimum(&self.seconds)
    }

    pub(crate) fn gflops(&self) -> f64 {
        2e-9 * self.macs as f64 / self.summary().min
    }
}

impl Machine {
    /// The innermost level that holds `bytes`.
    pub(crate) fn level(&self, bytes: u64) -> Option<&Bandwidth> {
        // Each array was half its cache, or a safe part of it.
        self.bandwidths.iter().find(|b| bytes <= 2 * b.bytes).or(self.bandwidths.last())
    }

    /// The peak of an instruction set on so many threads, in GFLOP/s.
    pub(crate) fn peak(&self, isa: &str, threads: usize) -> Option<f64> {
        self.peaks.iter().find(|p| p.isa == isa && p.threads == threads).map(|p| p.gflops)
    }

    /// The least seconds that peak and bandwidth allow.
    pub(crate) fn roof_seconds(&self, peak: f64, macs: u64, bytes: u64) -> Option<f64> {
        let level = self.level(bytes)?;
        Some(f64::max(2e-9 * macs as f64 / peak, 1e-9 * bytes as f64 / level.read))
    }
}

impl Report {
    /// Finds measurements by id.
    pub(crate) fn index(&self) -> HashMap<&str, &Measurement> {
        self.measurements.iter().map(|m| (m.id.as_str(), m)).collect()
    }

    /// The peak of an instruction set on so many threads, in GFLOP/s.
    pub(crate) fn peak(&self, isa: &str, threads: usize) -> Option<f64> {
        self.machine.peak(isa, threads)
    }

    /// Reads a `report.json`.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let named = |what: String| format!("{}: {what}", path.display());
        let file = File::open(path).map_err(|e| named(e.to_string()))?;
        let mut text = String::new();
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|e| named(e.to_string()))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(named(format!("larger than {} MiB, which no report is", MAX_BYTES >> 20)));
        }
        Self::parse(&text).map_err(named)
    }

    /// Reads the text of a `report.json`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let not_a_report = |e: serde_json::Error| format!("not a report of this program ({e})");
        let json: serde_json::Value = serde_json::from_str(text).map_err(not_a_report)?;
        let schema = json["schema"].as_u64();
        if schema.is_some_and(|schema| !(1..=u64::from(SCHEMA)).contains(&schema)) {
            return Err(format!("expected schema {SCHEMA} or an earlier one, found {}", json["schema"]));
        }
        let json = if json["settings"].is_object() { upgrade(json) } else { json };
        let report = Self::deserialize(json).map_err(not_a_report)?;
        for Experiment { id, .. } in &report.experiments {
            // They become names of files.
            if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return Err(format!("experiment {id:?}: expected an id of letters and digits"));
            }
        }
        for m in &report.measurements {
            if m.seconds.is_empty() || m.seconds.iter().any(|s| !s.is_finite() || *s <= 0.0) {
                return Err(format!(
                    "measurement {:?}: samples must be positive numbers, at least one",
                    m.id
                ));
            }
        }
        for Profile { id, seconds, .. } in &report.profiles {
            let steps = report.networks.iter().find(|network| network.id == *id).map(|of| of.steps.len());
            if steps != Some(seconds.len()) {
                let (found, id) = (seconds.len(), id.as_str());
                return Err(format!(
                    "profile {id:?}: expected a time for each step of a network, found {found}"
                ));
            }
        }
        Ok(report)
    }
}
