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
    pub(crate) environment: Place,
    /// One race for each width, batch and number of threads.
    pub(crate) races: Vec<Race>,
}

/// When and where a race was run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) cpu: String,
    pub(crate) date: String,
}

/// Engines that ran against each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Race {
    pub(crate) width: String,
    pub(crate) batch: usize,
    pub(crate) threads: usize,
    /// Share of a core that other processes took meanwhile.
    pub(crate) others: f64,
    /// The engines, ours among them, the fastest first.
    pub(crate) results: Vec<Row>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) engine: String,
    pub(crate) version: String,
    pub(crate) n: usize,
    pub(crate) min_ms: f64,
    pub(crate) median_ms: f64,
    pub(crate) p90_ms: f64,
    /// Processor time over wall time.
    pub(crate) cores: f64,
}

impl Peers {
    /// Reads what the race wrote; `None` if the file is not there.
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
