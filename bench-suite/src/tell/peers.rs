//! Other engines on the same machine, raced by the scripts in `peers/`.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// The version of `peers.json` that is read.
const SCHEMA: u32 = 1;

/// The name that our own rows have.
pub(crate) const OURS: &str = "ours";

/// What `peers/race.py` wrote; fields that are not shown are not read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Peers {
    schema: u32,
    /// When and where.
    pub(crate) environment: Place,
    /// One race for each width, batch and number of threads.
    pub(crate) races: Vec<Race>,
}

/// When and where a race was run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Processor.
    pub(crate) cpu: String,
    /// Day.
    pub(crate) date: String,
}

/// Engines that ran against each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Race {
    /// Width of ShuffleNetV2.
    pub(crate) width: String,
    /// Images per run.
    pub(crate) batch: usize,
    /// Threads.
    pub(crate) threads: usize,
    /// Share of a core that other processes took meanwhile.
    pub(crate) others: f64,
    /// The engines, ours among them, the fastest first.
    pub(crate) results: Vec<Row>,
}

/// One engine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Name.
    pub(crate) engine: String,
    /// Version.
    pub(crate) version: String,
    /// Runs.
    pub(crate) n: usize,
    /// Fastest run, milliseconds an image.
    pub(crate) min_ms: f64,
    /// Middle run, milliseconds an image.
    pub(crate) median_ms: f64,
    /// 90th percentile, milliseconds an image.
    pub(crate) p90_ms: f64,
    /// Processor time over wall time.
    pub(crate) cores: f64,
}

impl Peers {
    /// Reads what the race wrote; `None` if the file is not there.
    ///
    /// # Errors
    /// One line, naming the file, if it is there and not as expected.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, String> {
        let named = |what: String| format!("{}: {what}", path.display());
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(path).map_err(|e| named(e.to_string()))?;
        let peers: Self =
            serde_json::from_str(&text).map_err(|e| named(format!("not a race of engines ({e})")))?;
        if peers.schema != SCHEMA {
            return Err(named(format!("expected schema {SCHEMA}, found {}", peers.schema)));
        }
        Ok(Some(peers))
    }
}
