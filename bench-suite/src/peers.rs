//! Other engines on the same machine, raced by the scripts in `peers/`.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// The version of `peers.json` that is read.
const SCHEMA: u32 = 1;

/// The name that our own rows have.
pub const OURS: &str = "ours";

/// What `peers/race.py` wrote; fields that are not shown are not read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peers {
    schema: u32,
    /// When and where.
    pub environment: Place,
    /// One race for each width, batch and number of threads.
    pub races: Vec<Race>,
}

/// When and where a race was run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Processor.
    pub cpu: String,
    /// Day.
    pub date: String,
}

/// Engines that ran against each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Race {
    /// Width of ShuffleNetV2.
    pub width: String,
    /// Images per run.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// Share of a core that other processes took meanwhile.
    pub others: f64,
    /// The engines, ours among them, the fastest first.
    pub results: Vec<Row>,
}

/// One engine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name.
    pub engine: String,
    /// Version.
    pub version: String,
    /// Runs.
    pub n: usize,
    /// Fastest run, milliseconds an image.
    pub min_ms: f64,
    /// Middle run, milliseconds an image.
    pub median_ms: f64,
    /// 90th percentile, milliseconds an image.
    pub p90_ms: f64,
    /// Processor time over wall time.
    pub cores: f64,
}

impl Peers {
    /// For tests and for those who race otherwise.
    pub fn new(environment: Place, races: Vec<Race>) -> Self {
        Self { schema: SCHEMA, environment, races }
    }

    /// Reads what the race wrote; `None` if the file is not there.
    ///
    /// # Errors
    /// One line, naming the file, if it is there and not as expected.
    pub fn read(path: &Path) -> Result<Option<Self>, String> {
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
