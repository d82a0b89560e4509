//! What a run leaves behind: `report.json`. Pages, tables and plots are made from it and from nothing else.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::graph::Class;
use crate::peers::Peers;
use crate::stats::Summary;

/// Version of the layout of `report.json`; a reader refuses others.
pub const SCHEMA: u32 = 1;

/// The largest `report.json` that is read.
const MAX_BYTES: u64 = 256 << 20;

/// Everything measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Where it was measured.
    pub environment: Environment,
    /// How it was measured.
    pub settings: Settings,
    /// Roofs of the machine.
    pub machine: Machine,
    /// Every variant timed, with all samples.
    pub measurements: Vec<Measurement>,
    /// Where the time of each network goes.
    pub splits: Vec<Split>,
    /// Starting the model crate's networks.
    pub cold: Vec<Cold>,
    /// Traffic that a cache simulation counted, if there is one here.
    pub traffic: Vec<Traffic>,
    /// What other engines reached on the same machine, if they were asked.
    pub peers: Option<Peers>,
}

/// How a report was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// `quick`, `default` or `full`.
    pub mode: String,
    /// Instruction set of everything that does not say otherwise.
    pub isa: String,
    /// Threads of everything that does not say otherwise.
    pub threads: usize,
    /// Whether threads were bound to cores.
    pub pinned: bool,
    /// Seconds the whole run took.
    pub seconds: u64,
}

/// The roofs under which everything runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Multiply-add peaks.
    pub peaks: Vec<Peak>,
    /// Bandwidths by level, one thread, innermost level first.
    pub bandwidths: Vec<Bandwidth>,
    /// The multiply-add loop again, one sample after each round of everything else: GFLOP/s.
    pub noise: Vec<f64>,
}

/// Multiply-add peak.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// Instruction set.
    pub isa: String,
    /// Threads.
    pub threads: usize,
    /// GFLOP/s, the best seen.
    pub gflops: f64,
}

/// Bandwidth of one level of memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// `L1`, `L2`, `L3` or `DRAM`.
    pub level: String,
    /// Size of the array that was read; a copy's two arrays have it together.
    pub bytes: u64,
    /// GB/s read.
    pub read: f64,
    /// GB/s moved by a copy, bytes read plus bytes written.
    pub copy: f64,
}

/// One variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Stable name, as in `g1/gpu/x1/1-2`.
    pub id: String,
    /// Instruction set.
    pub isa: String,
    /// Threads asked for.
    pub threads: usize,
    /// Images per run.
    pub batch: usize,
    /// Multiply-adds per run.
    pub macs: u64,
    /// Memory access cost per run, in bytes.
    pub mac_bytes: u64,
    /// The paper's lower bound on it, where it applies.
    pub lower_bound_bytes: Option<f64>,
    /// Runs averaged into each sample.
    pub runs_per_sample: u32,
    /// Processor time over wall time: the threads that really worked.
    pub cpu_over_wall: Option<f64>,
    /// Seconds per run, in the order measured.
    pub seconds: Vec<f64>,
}

/// Seconds per run of a network, by class of work, in the order of [`Class::ALL`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// Id of the network's measurement.
    pub id: String,
    /// The least seconds of each class over the runs observed.
    pub seconds: [f64; Class::ALL.len()],
}

/// Starting one network of the model crate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cold {
    /// Width.
    pub width: String,
    /// Seconds to fold and pack weights that are in memory.
    pub build: f64,
    /// Seconds of the first image, memory for activations included.
    pub first: f64,
}

/// Bytes that one run of a case moves, by a cache simulation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Id of the case's measurement.
    pub id: String,
    /// Into the first level.
    pub first_level: u64,
    /// Into the second level.
    pub last_level: u64,
}

impl Measurement {
    /// Summary of the samples.
    ///
    /// # Panics
    /// If there are no samples; [`Report::read`] and the harness see to it that there are.
    pub fn summary(&self) -> Summary {
        Summary::of(&self.seconds).expect("a measurement has finite samples")
    }

    /// GFLOP/s at the minimum.
    pub fn gflops(&self) -> f64 {
        2e-9 * self.macs as f64 / self.summary().min
    }
}

impl Report {
    /// Finds measurements by id.
    pub fn index(&self) -> HashMap<&str, &Measurement> {
        self.measurements.iter().map(|m| (m.id.as_str(), m)).collect()
    }

    /// The peak of an instruction set on so many threads, in GFLOP/s.
    pub fn peak(&self, isa: &str, threads: usize) -> Option<f64> {
        self.machine.peaks.iter().find(|p| p.isa == isa && p.threads == threads).map(|p| p.gflops)
    }

    /// Reads a `report.json`.
    ///
    /// # Errors
    /// One line, naming the file, if it cannot be read, is no report, or has another schema.
    pub fn read(path: &Path) -> Result<Self, String> {
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
    ///
    /// # Errors
    /// One line, if it is no report, has another schema, or samples that are not positive numbers.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Header {
            schema: u32,
        }
        let not_a_report = |e: serde_json::Error| format!("not a report of this program ({e})");
        let header: Header = serde_json::from_str(text).map_err(not_a_report)?;
        if header.schema != SCHEMA {
            return Err(format!("expected schema {SCHEMA}, found {}", header.schema));
        }
        let report: Self = serde_json::from_str(text).map_err(not_a_report)?;
        for m in &report.measurements {
            if m.seconds.is_empty() || m.seconds.iter().any(|s| !s.is_finite() || *s <= 0.0) {
                return Err(format!(
                    "measurement {:?}: samples must be positive numbers, at least one",
                    m.id
                ));
            }
        }
        Ok(report)
    }
}
