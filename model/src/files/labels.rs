//! Names of classes.

use serde_json::Value;
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

/// Reads the names of `classes` classes from a file, in the order of the network's outputs.
///
/// - Text: one name per line. It is UTF-8, or UTF-16 with a byte order mark; lines end with LF, CR LF or CR. Empty lines at
///   the end do not count, nor does white space around a name.
/// - JSON: a list of names; or a dictionary from numbers to names, as torchvision's and Keras'
///   `imagenet_class_index.json` (of several names of a class, the last is taken) and the `id2label` of Hugging Face's
///   `config.json`; or one from names to numbers, as the `class_to_idx` of torchvision's data sets.
///
/// # Errors
/// Where it cannot be read, is neither, or has another number of names.
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

/// Reads the same from a file in memory.
///
/// # Errors
/// As [`load`].
pub fn from_bytes(bytes: &[u8], classes: usize) -> Result<Vec<String>, LabelsError> {
    let text = decode(bytes).map_err(LabelsError)?;
    let (names, each) = match text.trim().as_bytes() {
        [b'[', .., b']'] | [b'{', .., b'}'] => (from_json(&text).map_err(LabelsError)?, ""),
        _ => (lines(&text), ", one per line"),
    };
    if names.len() != classes {
        // Lists of TensorFlow's, for networks with an output more.
        let background = names.len() == classes + 1 && names[0] == "background";
        let hint = if background { "; the first, \"background\", seems to be one too many" } else { "" };
        let found = names.len();
        return Err(LabelsError(format!("expected {classes} names{each}, found {found}{hint}")));
    }
    Ok(names)
}

fn decode(bytes: &[u8]) -> Result<String, String> {
    let utf_16 = |unit: fn([u8; 2]) -> u16| {
        let (units, rest) = bytes[2..].as_chunks();
        let text = String::from_utf16(&units.iter().map(|&bytes| unit(bytes)).collect::<Vec<_>>());
        text.ok().filter(|_| rest.is_empty()).ok_or("a damaged UTF-16 text")
    };
    if let Some(found) = super::kind::of(bytes) {
        return Err(format!("not a list of names, but {}", found.what));
    }
    let text = match bytes {
        [0xff, 0xfe, ..] => utf_16(u16::from_le_bytes)?,
        [0xfe, 0xff, ..] => utf_16(u16::from_be_bytes)?,
        _ => {
            let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
            let line = |at| 1 + bytes[..at].iter().filter(|&&byte| byte == b'\n').count();
            let text = std::str::from_utf8(bytes);
            text.map_err(|e| format!("line {} is not UTF-8 text", line(e.valid_up_to())))?.to_owned()
        }
    };
    // UTF-16 or UTF-32 that does not say so, or no text at all.
    if text.contains('\0') {
        return Err(String::from(
            "has NUL characters; expected UTF-8 text, or UTF-16 with a byte order mark",
        ));
    }
    Ok(text)
}

fn lines(text: &str) -> Vec<String> {
    let lines = text.replace("\r\n", "\n");
    let mut names: Vec<_> = lines.split(['\n', '\r']).map(|name| name.trim().to_owned()).collect();
    while names.last().is_some_and(String::is_empty) {
        names.pop();
    }
    names
}

fn from_json(text: &str) -> Result<Vec<String>, String> {
    let json: Value = serde_json::from_str(text).map_err(|e| format!("begins like JSON, but: {e}"))?;
    let json = json.get("id2label").unwrap_or(&json);
    let unknown = "JSON, but neither a list of names nor a dictionary between numbers from 0 on and names";
    // Pairs of class and name.
    let mut pairs: Vec<(usize, &str)> = match json {
        Value::Array(names) => names.iter().enumerate().map(|(i, v)| Some((i, name(v)?))).collect(),
        Value::Object(names) => {
            let by_number: Option<_> = names.iter().map(numbered).collect();
            by_number.or_else(|| names.iter().map(named).collect())
        }
        _ => None,
    }
    .ok_or(unknown)?;
    pairs.sort_unstable();
    if pairs.iter().enumerate().any(|(i, &(class, _))| class != i) {
        return Err(String::from(unknown));
    }
    Ok(pairs.into_iter().map(|(_, name)| name.to_owned()).collect())
}

/// An entry `"0": "tench"`.
fn numbered<'a>((class, value): (&'a String, &'a Value)) -> Option<(usize, &'a str)> {
    Some((class.parse().ok()?, name(value)?))
}

/// An entry `"tench": 0`.
fn named<'a>((name, class): (&'a String, &'a Value)) -> Option<(usize, &'a str)> {
    Some((class.as_u64()?.try_into().ok()?, name))
}

/// A name, or the last of several.
fn name(value: &Value) -> Option<&str> {
    match value {
        Value::String(name) => Some(name),
        Value::Array(names) => names.last()?.as_str(),
        _ => None,
    }
}
