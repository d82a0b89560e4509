//! Files that are there completely or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A file being written under a temporary name beside its target. [`commit`](Self::commit) puts it in its
/// place; dropped before that, it leaves nothing behind and the target as it was.
#[derive(Debug)]
pub struct AtomicFile {
    // An option only so that the file can be closed before it is renamed or removed.
    file: Option<BufWriter<File>>,
    temporary: PathBuf,
    target: PathBuf,
}

impl AtomicFile {
    /// Starts a file that is to replace or become `path`.
    pub fn create(path: &Path) -> io::Result<Self> {
        // Renaming would put a file in the place of a symbolic link or a device.
        let target = match fs::metadata(path) {
            Ok(found) if found.is_file() && path.is_symlink() => fs::canonicalize(path)?,
            Ok(found) if found.is_file() => path.to_owned(),
            Ok(_) => return Err(io::Error::other("exists and is not a regular file")),
            Err(_) => path.to_owned(),
        };
        if target.file_name().is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file name"));
        }
        let (file, temporary) = create_new(&target)?;
        Ok(Self { file: Some(BufWriter::with_capacity(1 << 16, file)), temporary, target })
    }

    /// Makes sure that everything is on disk, and gives the file its name.
    pub fn commit(mut self) -> io::Result<()> {
        let file = self.file.take().expect("taken only here and on drop");
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&self.temporary, &self.target)?;
        // Nothing is left for `drop` to remove.
        self.temporary.clear();
        Ok(())
    }
}

/// A file of a name that nothing beside `target` has, be it of another thread or left by a process that was killed.
fn create_new(target: &Path) -> io::Result<(File, PathBuf)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let path = target.with_file_name(format!(".partial-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
}

impl Write for AtomicFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.as_mut().expect("taken only at the end").write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().expect("taken only at the end").flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.temporary.as_os_str().is_empty() {
            return;
        }
        // Discard what is buffered: flushing it into a file that goes away would be in vain.
        if let Some(file) = self.file.take() {
            drop(file.into_parts());
        }
        // Nobody is left to tell of a failure.
        let _ = fs::remove_file(&self.temporary);
    }
}
