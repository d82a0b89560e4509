//! Files that are written: what they replace keeps what it has, and nothing half-written is ever seen.
//! (tests/cli/outputs.rs has what takes other users, full disks and signals.)

use model::atomic_file::{AtomicFile, is_same_file, replace};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("output_files").join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn nothing_is_seen_before_the_end_and_nothing_stays_of_what_is_dropped() {
    let dir = scratch("unseen");
    let (new, old) = (dir.join("new"), dir.join("old"));
    fs::write(&old, "as it was").unwrap();
    for (path, before) in [(&new, &["old"][..]), (&old, &["old"])] {
        let mut file = AtomicFile::create(path).unwrap();
        file.write_all(&[7; 1 << 20]).unwrap();
        if cfg!(target_os = "linux") {
            assert_eq!(names(&dir), before);
        }
        drop(file);
        assert_eq!(names(&dir), before);
        assert_eq!(fs::read(&old).unwrap(), b"as it was");
    }
    for path in [new, old] {
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(&[7; 1 << 20]).unwrap();
        file.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), [7; 1 << 20]);
        replace(&path, b"short").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"short");
    }
    assert_eq!(names(&dir), ["new", "old"]);
}

#[test]
fn whoever_reads_sees_one_writers_file_and_all_of_it() {
    let dir = scratch("two_writers");
    let path = dir.join("file");
    let write = |byte: u8| replace(&path, &vec![byte; 100_000 + usize::from(byte)]);
    write(0).unwrap();
    std::thread::scope(|scope| {
        let writers: Vec<_> =
            (1..5).map(|byte| scope.spawn(move || (0..50).try_for_each(|_| write(byte)))).collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            let seen = fs::read(&path).unwrap();
            assert!(seen.iter().all(|&byte| byte == seen[0]) && seen.len() == 100_000 + usize::from(seen[0]));
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap().unwrap());
    });
    assert_eq!(names(&dir), ["file"]);
}

#[test]
fn what_is_no_name_of_a_file_is_refused() {
    let dir = scratch("no_file");
    fs::create_dir(dir.join("folder")).unwrap();
    fs::write(dir.join("file"), "").unwrap();
    for name in ["", "folder", "folder/", "new/", "new/.", "folder/..", "file/x", "no/x"] {
        assert!(AtomicFile::create(&dir.join(name)).is_err(), "{name}");
    }
    assert!(AtomicFile::create(Path::new("")).is_err());
    assert_eq!(names(&dir), ["file", "folder"]);
    // Without a folder it is in the one we are in, a name as long as the system allows included.
    let long = "x".repeat(255);
    replace(&dir.join(&long), b"long").unwrap();
    assert_eq!(fs::read(dir.join(&long)).unwrap(), b"long");
}

#[test]
fn one_file_under_two_names_is_one_file() {
    let dir = scratch("same");
    let (a, b, link) = (dir.join("a"), dir.join("b"), dir.join("link"));
    fs::write(&a, "").unwrap();
    fs::write(&b, "").unwrap();
    fs::hard_link(&a, &link).unwrap();
    assert!(is_same_file(&a, &a) && is_same_file(&a, &link) && is_same_file(&dir.join("../same/a"), &link));
    assert!(!is_same_file(&a, &b) && !is_same_file(&a, &dir.join("no")) && !is_same_file(&dir, &dir));
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn is_root() -> bool {
        fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
    }

    #[test]
    fn mode_and_owner_stay() {
        let dir = scratch("mode");
        let (path, usual) = (dir.join("file"), dir.join("usual"));
        File::create(&usual).unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(mode(&path), mode(&usual), "a new file has the mode that every program gives");
        for wanted in [0o600, 0o640, 0o755, 0o666] {
            set_mode(&path, wanted);
            replace(&path, b"again").unwrap();
            assert_eq!(mode(&path), wanted);
        }
        if is_root() {
            chown(&path, Some(65534), Some(65533)).unwrap();
            set_mode(&path, 0o600);
            let before = fs::metadata(&path).unwrap();
            replace(&path, b"secret").unwrap();
            let found = fs::metadata(&path).unwrap();
            assert_eq!((found.uid(), found.gid(), mode(&path)), (65534, 65533, 0o600));
            assert_ne!(found.ino(), before.ino(), "another file in its place");
        }
        assert_eq!(names(&dir), ["file", "usual"]);
    }

    #[test]
    fn hard_links_stay_together() {
        let dir = scratch("hard_links");
        let (one, two) = (dir.join("one"), dir.join("two"));
        fs::write(&one, "what was there").unwrap();
        fs::hard_link(&one, &two).unwrap();
        for content in ["what is longer than was there", "short", ""] {
            replace(&one, content.as_bytes()).unwrap();
            assert_eq!(fs::read(&two).unwrap(), content.as_bytes());
        }
        // Until the end, it is as it was.
        replace(&one, b"before").unwrap();
        let mut file = AtomicFile::create(&two).unwrap();
        file.write_all(b"dropped").unwrap();
        drop(file);
        assert_eq!(fs::read(&one).unwrap(), b"before");
        assert_eq!((fs::metadata(&two).unwrap().nlink(), names(&dir).len()), (2, 2));
    }

    #[test]
    fn symbolic_links_are_followed() {
        let dir = scratch("links");
        fs::create_dir_all(dir.join("a/b")).unwrap();
        fs::write(dir.join("a/file"), "old").unwrap();
        for (link, to) in [
            ("to_file", "a/file"),
            ("to_nothing", "a/b/new"),
            ("to_link", "a/b/link"),
            ("a/b/link", "../new"),
            ("absolute", &format!("{}/a/absolute", dir.display())),
            ("to_no_folder", "no/folder"),
            ("circle", "circle"),
        ] {
            symlink(to, dir.join(link)).unwrap();
        }
        for (link, file) in [
            ("to_file", "a/file"),
            ("to_nothing", "a/b/new"),
            ("to_link", "a/new"),
            ("absolute", "a/absolute"),
        ] {
            for content in ["once", "twice"] {
                replace(&dir.join(link), content.as_bytes()).unwrap();
                assert!(dir.join(link).is_symlink() && !dir.join(file).is_symlink());
                assert_eq!(fs::read_to_string(dir.join(file)).unwrap(), content);
            }
        }
        for link in ["to_no_folder", "circle"] {
            assert!(replace(&dir.join(link), b"x").is_err());
            assert!(dir.join(link).is_symlink());
        }
        assert_eq!(names(&dir.join("a")), ["absolute", "b", "file", "new"]);
        assert_eq!(names(&dir.join("a/b")), ["link", "new"]);
    }

    #[test]
    fn devices_are_written_to() {
        replace(Path::new("/dev/null"), b"gone").unwrap();
        if cfg!(target_os = "linux") {
            let error = replace(Path::new("/dev/full"), b"too much").unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        }
        assert!(!fs::metadata("/dev/null").unwrap().is_file());

        let dir = scratch("fifo");
        let fifo = dir.join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        if made.is_ok_and(|status| status.success()) {
            let reader = std::thread::spawn({
                let fifo = fifo.clone();
                move || fs::read(fifo).unwrap()
            });
            replace(&fifo, &[3; 200_000]).unwrap();
            assert_eq!(reader.join().unwrap(), [3; 200_000]);
            assert_eq!(names(&dir), ["fifo"]);
        }
    }

    /// As access lists, which are one sort of them.
    #[cfg(target_os = "linux")]
    #[test]
    fn extended_attributes_stay() {
        use rustix::fs::{XattrFlags, getxattr, setxattr};
        let path = scratch("attributes").join("file");
        fs::write(&path, "old").unwrap();
        if setxattr(&path, "user.origin", b"here", XattrFlags::empty()).is_ok() {
            replace(&path, b"new").unwrap();
            let mut value = [0; 9];
            assert_eq!(getxattr(&path, "user.origin", &mut value[..]), Ok(4));
            assert_eq!((&value[..4], fs::read(&path).unwrap()), (&b"here"[..], b"new".to_vec()));
        }
    }
}
