//! A file of JSON lines that grows, and can be gone on with.

use crate::failure::{Failure, Result};
use serde::Deserialize;
use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// Every line is written in one piece as soon as it is known, so that whoever ends the command loses none.
pub(crate) struct Lines {
    path: PathBuf,
    file: File,
}

/// What is read of a line.
#[derive(Deserialize)]
struct Line {
    image: String,
}

impl Lines {
    /// A new file.
    ///
    /// # Errors
    /// Where it cannot be written, or holds something already.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let lines = Self::open(path)?;
        let len = lines.file.metadata().map_err(|e| lines.error(e))?.len();
        match len {
            0 => Ok(lines),
            _ => Err(lines.error("is there already; --resume goes on with it")),
        }
    }

    /// A file that a command began, or a new one; and how often each image is told in it. A last line without an end, which a
    /// power cut may leave, is cut off.
    ///
    /// # Errors
    /// Where it cannot be read and written, or a line is not one of this command's; nothing was changed then.
    pub(crate) fn resume(path: &Path) -> Result<(Self, HashMap<String, usize>)> {
        let lines = Self::open(path)?;
        let mut told = HashMap::new();
        let mut whole = 0;
        let mut reader = BufReader::new(&lines.file);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let len = reader.read_until(b'\n', &mut line).map_err(|e| lines.error(e))?;
            if line.last() != Some(&b'\n') {
                break;
            }
            let Line { image } = serde_json::from_slice(&line)
                .map_err(|e| lines.error(format_args!("line {number} is none of `classify --jsonl`: {e}")))?;
            *told.entry(image).or_insert(0) += 1;
            whole += len as u64;
        }
        if !line.is_empty() {
            lines.file.set_len(whole).map_err(|e| lines.error(e))?;
        }
        Ok((lines, told))
    }

    fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let file = file.map_err(|e| Failure::Other(format!("{}: {e}", path.display())))?;
        let lines = Self { path: path.to_owned(), file };
        match lines.file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(lines.error("another command is writing to it")),
            // Not every file system knows locks.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(lines),
        }
    }

    /// Adds a line.
    pub(crate) fn write(&mut self, line: &str) -> Result {
        let line = format!("{line}\n");
        self.file.write_all(line.as_bytes()).map_err(|e| self.error(e))
    }

    fn error(&self, why: impl std::fmt::Display) -> Failure {
        Failure::Other(format!("{}: {why}", self.path.display()))
    }
}
