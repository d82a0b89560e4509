//! Names of classes.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The 1000 classes of ImageNet in the order of the networks' outputs, as torchvision names them.
///
/// ```
/// assert_eq!(model::labels::imagenet()[207], "golden retriever");
/// ```
pub fn imagenet() -> Vec<&'static str> {
    include_str!("imagenet_classes.txt").lines().collect()
}

/// Why a file of names cannot be used. Displays as one line.
#[derive(Debug)]
pub struct LabelsError(String);

impl fmt::Display for LabelsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LabelsError {}

/// Larger files are refused.
const MAX_LEN: u64 = 16 << 20;

/// Reads names from a UTF-8 file, one per line, one for each of `classes` classes.
pub fn load(path: &Path, classes: usize) -> Result<Vec<String>, LabelsError> {
    let error = |why: String| LabelsError(format!("{}: {why}", path.display()));
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_LEN + 1).read_to_end(&mut bytes))
        .map_err(|e| error(e.to_string()))?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(error(format!("more than {MAX_LEN} bytes, too many for a list of names")));
    }
    from_bytes(&bytes, classes).map_err(|e| error(e.0))
}

/// The same for a list in memory.
pub fn from_bytes(bytes: &[u8], classes: usize) -> Result<Vec<String>, LabelsError> {
    let text = std::str::from_utf8(bytes).map_err(|_| LabelsError(String::from("not UTF-8 text")))?;
    let names: Vec<String> = text.trim_start_matches('\u{feff}').lines().map(str::to_owned).collect();
    if names.len() != classes {
        return Err(LabelsError(format!("expected {classes} names, one per line, found {}", names.len())));
    }
    Ok(names)
}
