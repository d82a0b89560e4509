//! Files that are there completely or not at all.
//!
//! [`AtomicFile`] is the one way in which this project writes files. Until [`commit`](AtomicFile::commit) it changes
//! nothing that anybody can see. A process that ends before that, even one that is killed, leaves nothing behind. (Where
//! the system knows no files without a name, which few but Linux do: unless it is killed within `commit`.)
//!
//! | `path` names | `commit` |
//! |---|---|
//! | nothing, or a symbolic link to nothing | makes the file, where the link leads |
//! | a file, or a symbolic link to one | puts a new file of the same owner, group and mode in its place |
//! | a file that would lose something by that (other hard links, an owner that we may not give, extended attributes, access lists), or one in a folder that we may not write | writes into the file that is there; a full disk is noticed before anything is lost |
//! | a FIFO, a terminal or another device, or the file that standard output goes to | writes to it |
//!
//! A file that we may not write is not replaced either, whatever its folder allows.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A file that is written unseen. [`commit`](Self::commit) shows it under its name. Dropped before that, it leaves
/// nothing behind, and what had the name as it was.
#[derive(Debug)]
pub struct AtomicFile(State);

#[derive(Debug)]
enum State {
    /// In the target's folder, in a file that has no name yet and vanishes with the process.
    Unnamed(BufWriter<File>, Name),
    /// In memory, where there are no such files, or where one would be of no use.
    Memory(Vec<u8>, Target),
}

/// Where bytes in memory go in the end.
#[derive(Debug)]
enum Target {
    Name(Name),
    /// Over what this file holds.
    InPlace(File),
    /// To this device, or behind what is in this file.
    Stream(File),
}

impl AtomicFile {
    /// Starts a file that is to replace or become `path`.
    ///
    /// # Errors
    /// What the system says where `path` cannot be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        // Opening it without truncating it asks whether it may be written.
        let old = match OpenOptions::new().write(true).open(path) {
            Ok(old) => old,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let path = end_of_links(path)?;
                return Ok(Self::begin(unnamed_beside(&path, None)?, Name { path, old: None }));
            }
            Err(e) => return Err(e),
        };
        let found = old.metadata()?;
        let to = |target| Ok(Self(State::Memory(Vec::new(), target)));
        if !found.is_file() {
            return to(Target::Stream(old));
        }
        if let Some(output) = system::standard_output(&found) {
            return to(Target::Stream(output));
        }
        match fs::canonicalize(path) {
            // What /proc shows of a file that was deleted is not its name.
            Ok(path)
                if fs::metadata(&path).is_ok_and(|named| system::is_same(&named, &found) != Some(false)) =>
            {
                match unnamed_beside(&path, Some(&old)) {
                    Ok(file) => Ok(Self::begin(file, Name { path, old: Some(old) })),
                    Err(_) => to(Target::InPlace(old)),
                }
            }
            // Somebody else put another file in its place meanwhile: what was opened is nobody's to write any more.
            _ if fs::metadata(path).is_ok_and(|named| system::is_same(&named, &found) == Some(false)) => {
                Self::create(path)
            }
            _ => to(Target::InPlace(old)),
        }
    }

    fn begin(unnamed: Option<File>, name: Name) -> Self {
        Self(match unnamed {
            Some(file) => State::Unnamed(BufWriter::with_capacity(1 << 16, file), name),
            None => State::Memory(Vec::new(), Target::Name(name)),
        })
    }

    /// Makes sure that everything is on disk, and gives the file its name.
    ///
    /// # Errors
    /// What the system says. The old file is then as it was, unless writing into it had begun.
    pub fn commit(self) -> io::Result<()> {
        match self.0 {
            State::Unnamed(file, name) => {
                let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.sync_all()?;
                // A new file needs no other name first, unless somebody else made one meanwhile.
                if name.old.is_none() && system::link(&file, &name.path).is_ok() {
                    return Ok(());
                }
                name.take(match Temporary::with(&name.path, |path| system::link(&file, path)) {
                    Ok((temporary, ())) => temporary,
                    // The way to give it a name leads through /proc, which may not be there.
                    Err(_) => {
                        file.rewind()?;
                        name.copy_of(&mut file)?
                    }
                })
            }
            State::Memory(bytes, Target::Name(name)) => name.take(name.copy_of(&mut &bytes[..])?),
            State::Memory(bytes, Target::InPlace(file)) => overwrite(&file, &bytes),
            State::Memory(bytes, Target::Stream(mut file)) => file.write_all(&bytes),
        }
    }
}

impl Write for AtomicFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            State::Unnamed(file, _) => file.write(buf),
            State::Memory(bytes, _) => bytes.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            State::Unnamed(file, _) => file.flush(),
            State::Memory(..) => Ok(()),
        }
    }
}

/// Writes `content` to `path`, completely or not at all.
///
/// # Errors
/// As those of [`AtomicFile`].
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(content)?;
    file.commit()
}

/// Whether both paths lead to one and the same file, be it by links. Devices, and what is not there, are no files here.
pub fn is_same_file(a: &Path, b: &Path) -> bool {
    let found = |path| fs::metadata(path).ok().filter(Metadata::is_file);
    let (Some(found_a), Some(found_b)) = (found(a), found(b)) else { return false };
    system::is_same(&found_a, &found_b)
        .unwrap_or_else(|| fs::canonicalize(a).ok() == fs::canonicalize(b).ok())
}

/// The name that a file is to get.
#[derive(Debug)]
struct Name {
    path: PathBuf,
    /// The file that has the name now.
    old: Option<File>,
}

impl Name {
    /// A file beside the target that holds all of `content`, and is on disk.
    fn copy_of(&self, content: &mut (impl Read + ?Sized)) -> io::Result<Temporary> {
        let (temporary, mut file) = temporary_beside(&self.path, self.old.as_ref())?;
        io::copy(content, &mut file)?;
        file.sync_all()?;
        Ok(temporary)
    }

    /// Puts `temporary` in the place of the old file.
    fn take(&self, mut temporary: Temporary) -> io::Result<()> {
        match (fs::rename(&temporary.0, &self.path), &self.old) {
            (Ok(()), _) => {
                // Nothing is left for `drop` to remove.
                temporary.0.clear();
                Ok(())
            }
            // Nothing can be renamed to a file that another one is mounted over, for example.
            (Err(_), Some(old)) => overwrite(old, &fs::read(&temporary.0)?),
            (Err(e), None) => Err(e),
        }
    }
}

/// A file that goes away with this value.
struct Temporary(PathBuf);

impl Temporary {
    /// Has `make` make a file beside `target`, under a name that nothing there has.
    fn with<T>(target: &Path, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(Self, T)> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // (WASI has no processes.)
        let process = if cfg!(target_family = "wasm") { 0 } else { std::process::id() };
        loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = target.with_file_name(format!(".partial-{process}-{number}"));
            match make(&path) {
                Ok(made) => return Ok((Self(path), made)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            // Nobody is left to tell of a failure.
            let _ = fs::remove_file(&self.0);
        }
    }
}

/// An empty file beside `target` with owner and mode of the old one.
fn temporary_beside(target: &Path, old: Option<&File>) -> io::Result<(Temporary, File)> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    system::set_mode(&mut options, old.is_some());
    let (temporary, file) = Temporary::with(target, |path| options.open(path))?;
    old.map_or(Ok(()), |old| system::make_like(&file, old))?;
    Ok((temporary, file))
}

/// The same without a name, or `None` where there is no such thing. An error says that the folder takes no file, or
/// none that could replace the old one without loss.
fn unnamed_beside(target: &Path, old: Option<&File>) -> io::Result<Option<File>> {
    match system::unnamed(target, old.is_some()) {
        Ok(file) => old.map_or(Ok(()), |old| system::make_like(&file, old)).map(|()| Some(file)),
        // Tries out what `commit` will do.
        Err(_) => temporary_beside(target, old).map(|_| None),
    }
}

/// Replaces what is in `file`. What takes room on the disk is written first: where there is none, the file stays as it
/// was.
fn overwrite(file: &File, content: &[u8]) -> io::Result<()> {
    let old_len = file.metadata()?.len();
    let (head, tail) = content.split_at(content.len().min(usize::try_from(old_len).unwrap_or(usize::MAX)));
    let write = |mut file: &File, at, part: &[u8]| {
        file.seek(SeekFrom::Start(at))?;
        file.write_all(part)?;
        file.sync_all()
    };
    if let Err(e) = write(file, old_len, tail) {
        file.set_len(old_len)?;
        return Err(e);
    }
    write(file, 0, head)?;
    file.set_len(content.len() as u64)
}

/// Where symbolic links end, if the last leads to nothing.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    // As many as Linux follows; what was found to lead to nothing has no circle, unless one has just been made.
    for _ in 0..40 {
        // `folder/` and `folder/.`, whose last slash the functions of `Path` do not show.
        let bytes = path.as_os_str().as_encoded_bytes();
        let last = bytes.strip_suffix(b".").unwrap_or(bytes).last();
        if last.is_some_and(|&byte| std::path::is_separator(byte.into())) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if path.file_name().is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file name"));
        }
        match fs::read_link(&path) {
            Ok(to) => path = path.parent().unwrap_or(Path::new("")).join(to),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

/// What only some systems can do.
#[cfg(unix)]
mod system {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};

    /// The mode to make a file with: one that replaces another is at first for nobody else's eyes.
    const fn mode(replaces: bool) -> u32 {
        if replaces { 0o600 } else { 0o666 }
    }

    pub(super) fn set_mode(options: &mut OpenOptions, replaces: bool) {
        options.mode(mode(replaces));
    }

    /// Gives `new` the owner and the mode of `old`; an error where it would lack something that `old` has.
    pub(super) fn make_like(new: &File, old: &File) -> io::Result<()> {
        let (was, is) = (old.metadata()?, new.metadata()?);
        if was.nlink() > 1 || has_attributes(old) || has_attributes(new) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        if (was.uid(), was.gid()) != (is.uid(), is.gid()) {
            fchown(new, Some(was.uid()), Some(was.gid()))?;
        }
        // Without the bits that let others run it as its owner: writing into a file takes them away, too.
        new.set_permissions(fs::Permissions::from_mode(was.mode() & 0o1777))
    }

    /// Whether they are of one file.
    pub(super) fn is_same(a: &Metadata, b: &Metadata) -> Option<bool> {
        Some((a.dev(), a.ino()) == (b.dev(), b.ino()))
    }

    /// Standard output, if it goes to the file found. It has its own position in there, and may be for appending.
    pub(super) fn standard_output(found: &Metadata) -> Option<File> {
        let output = File::from(io::stdout().as_fd().try_clone_to_owned().ok()?);
        (is_same(&output.metadata().ok()?, found) == Some(true)).then_some(output)
    }

    /// A file in the folder of `target`.
    #[cfg(target_os = "linux")]
    pub(super) fn unnamed(target: &Path, replaces: bool) -> io::Result<File> {
        use rustix::fs::{Mode, OFlags, open};
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mode = Mode::from_raw_mode(mode(replaces));
        Ok(File::from(open(folder, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode)?))
    }

    /// Gives it a name.
    #[cfg(target_os = "linux")]
    pub(super) fn link(unnamed: &File, path: &Path) -> io::Result<()> {
        use rustix::fs::{AtFlags, CWD, linkat};
        use std::os::fd::AsRawFd;
        let from = format!("/proc/self/fd/{}", unnamed.as_raw_fd());
        Ok(linkat(CWD, from, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
    }

    /// Whether it has extended attributes, of which access lists are one.
    #[cfg(target_os = "linux")]
    fn has_attributes(file: &File) -> bool {
        let mut names = [0; 256];
        match rustix::fs::flistxattr(file, &mut names[..]) {
            // Where there is SELinux, every file has this one.
            Ok(len) => names[..len]
                .split(|&byte| byte == 0)
                .any(|name| ![&b""[..], b"security.selinux"].contains(&name)),
            Err(e) => e == rustix::io::Errno::RANGE,
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) use super::no_unnamed::{link, unnamed};

    #[cfg(not(target_os = "linux"))]
    fn has_attributes(_: &File) -> bool {
        false
    }
}

#[cfg(not(unix))]
mod system {
    use super::*;

    pub(super) use super::no_unnamed::{link, unnamed};

    pub(super) fn set_mode(_: &mut OpenOptions, _replaces: bool) {}

    #[cfg(not(target_family = "wasm"))]
    pub(super) fn make_like(new: &File, old: &File) -> io::Result<()> {
        new.set_permissions(old.metadata()?.permissions())
    }

    /// WASI knows neither modes nor owners.
    #[cfg(target_family = "wasm")]
    pub(super) fn make_like(_new: &File, _old: &File) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn is_same(_: &Metadata, _: &Metadata) -> Option<bool> {
        None
    }

    pub(super) fn standard_output(_: &Metadata) -> Option<File> {
        None
    }
}

#[cfg(not(target_os = "linux"))]
mod no_unnamed {
    use super::*;

    pub(super) fn unnamed(_: &Path, _replaces: bool) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn link(_: &File, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

// (There is no folder for temporary files in WASI.)
#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use super::*;

    /// Where there are no files without a name, `AtomicFile::begin` is told so.
    #[test]
    fn without_files_that_have_no_name() {
        let dir = std::env::temp_dir().join(format!("model-atomic-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let path = dir.join("file");
        for content in ["new", "longer than before", ""] {
            let old = OpenOptions::new().write(true).open(&path).ok();
            let before = old.as_ref().map(|old| old.metadata().unwrap().permissions());
            let mut file = AtomicFile::begin(None, Name { path: path.clone(), old });
            file.write_all(content.as_bytes()).unwrap();
            assert_eq!(
                fs::read_dir(&dir).unwrap().count(),
                usize::from(before.is_some()),
                "unseen until the end"
            );
            file.commit().unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            if let Some(before) = before {
                assert_eq!(fs::metadata(&path).unwrap().permissions(), before);
            }
            let mut mode = fs::metadata(&path).unwrap().permissions();
            #[cfg(unix)]
            std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o640);
            fs::set_permissions(&path, mode).unwrap();
            assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing stays");
        }
        // What cannot be put in its place leaves nothing either.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let mut file = AtomicFile::begin(None, Name { path: path.clone(), old: None });
        file.write_all(b"lost").unwrap();
        assert!(file.commit().is_err());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        fs::remove_dir_all(&dir).unwrap();
    }
}
