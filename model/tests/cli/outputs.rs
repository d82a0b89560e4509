//! Where results go: to folders and files of other users, full disks, pipes, and nowhere when the command is ended.
//! What needs the rights of root is left out where we are not root.

use crate::{Ran, command, files, finish, run, save, scratch, small};
use model::{Wiring, npy};
use std::ffi::OsStr;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const NOBODY: u32 = 65534;

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Whether the program is there and, called like this, does what it should.
fn can(program: &str, args: &[&str]) -> bool {
    let quiet = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

/// A folder that everybody may enter, with the command, weights and an input in it; it goes away again.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("shufflenet-{}-{name}", std::process::id()));
        fs::create_dir(&dir).expect("a folder");
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).expect("our own folder");
        fs::copy(env!("CARGO_BIN_EXE_shufflenet"), dir.join("shufflenet")).expect("a file");
        save(&small(Wiring::Torchvision, 7), &dir.join("w.safetensors"));
        npy::write(&dir.join("x.npy"), &[1, 3, 32, 32], &[0.5; 3 * 32 * 32]).expect("a file");
        Self(dir)
    }

    fn folder(&self, name: &str, mode: u32, owner: u32) -> PathBuf {
        let dir = self.0.join(name);
        fs::create_dir(&dir).expect("a folder");
        fs::set_permissions(&dir, Permissions::from_mode(mode)).expect("our own folder");
        chown(&dir, Some(owner), Some(owner)).expect("root");
        dir
    }

    fn file(&self, path: PathBuf, mode: u32, owner: u32) -> PathBuf {
        fs::write(&path, "old").expect("a file");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("our own file");
        chown(&path, Some(owner), Some(owner)).expect("root");
        path
    }

    /// The command with this output, started by `starter`.
    fn logits<A: AsRef<OsStr>>(&self, starter: &[A], output: &Path) -> Command {
        let mut words: Vec<&OsStr> = starter.iter().map(AsRef::as_ref).collect();
        let program = self.0.join("shufflenet");
        words.push(program.as_os_str());
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["logits", "--weights"]).arg(self.0.join("w.safetensors"));
        command.arg("--input").arg(self.0.join("x.npy")).arg("--output").arg(output);
        command.env_remove("KERNELS_ISA").stdin(Stdio::null());
        command
    }

    fn by_nobody(&self, output: &Path) -> Ran {
        let setpriv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        finish(self.logits(&setpriv, output))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn is_result(path: &Path) -> bool {
    npy::read(path).is_ok_and(|array| array.shape == [1, 7])
}

#[test]
fn what_may_not_be_read_is_told_so() {
    let setpriv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    if !is_root() || !can("setpriv", &[&setpriv[1..], &["true"]].concat()) {
        return;
    }
    let place = Place::new("unreadable");
    let [closed, listed] = [("closed", 0o700), ("listed", 0o744)].map(|(name, mode)| {
        let folder = place.folder(name, mode, 0);
        place.file(folder.join("photo.jpg"), 0o644, 0);
        folder
    });
    let photo = place.file(place.0.join("photo.jpg"), 0o600, 0);
    for path in [&closed, &listed, &photo, &closed.join("photo.jpg")] {
        let mut command = Command::new(setpriv[0]);
        command.args(&setpriv[1..]).arg(place.0.join("shufflenet")).arg("classify").arg(path);
        command.arg("--weights").arg(place.0.join("w.safetensors")).env_remove("KERNELS_ISA");
        finish(command).failed(1, &[path.to_str().unwrap(), "Permission denied"]);
    }
}

#[test]
fn files_of_others_stay_theirs() {
    if !is_root() || !can("setpriv", &["--reuid=65534", "--regid=65534", "--clear-groups", "true"]) {
        return;
    }
    let place = Place::new("others");
    let read_only = place.folder("read_only", 0o755, 0);
    let open = place.folder("open", 0o777, 0);
    let sticky = place.folder("sticky", 0o1777, 0);
    let own = place.folder("own", 0o755, NOBODY);
    let good = [
        // A file of one's own in a folder that one may not write.
        (place.file(read_only.join("own"), 0o644, NOBODY), 0o644, NOBODY),
        // Files of root that everybody may write.
        (place.file(open.join("roots"), 0o666, 0), 0o666, 0),
        (place.file(sticky.join("roots"), 0o622, 0), 0o622, 0),
        (place.file(own.join("roots"), 0o666, 0), 0o666, 0),
        (place.file(own.join("own"), 0o600, NOBODY), 0o600, NOBODY),
    ];
    let bad = [
        place.file(read_only.join("roots"), 0o644, 0),
        place.file(open.join("private"), 0o600, 0),
        place.file(sticky.join("private"), 0o644, 0),
        // Protected by oneself.
        place.file(own.join("protected"), 0o400, NOBODY),
    ];
    for (path, mode, owner) in &good {
        assert_eq!(place.by_nobody(path).good(), "");
        let found = fs::metadata(path).unwrap();
        assert_eq!((found.mode() & 0o7777, found.uid()), (*mode, *owner), "{}", path.display());
        assert!(is_result(path), "{}", path.display());
    }
    for path in &bad {
        let before = fs::metadata(path).unwrap();
        place.by_nobody(path).failed(1, &[path.to_str().unwrap(), "Permission denied"]);
        let found = fs::metadata(path).unwrap();
        assert_eq!((found.ino(), found.mode(), found.uid()), (before.ino(), before.mode(), before.uid()));
        assert_eq!(fs::read(path).unwrap(), b"old");
    }
    place.by_nobody(&read_only.join("new")).failed(1, &["new", "Permission denied"]);
    place.by_nobody(&own.join("new")).good();
    assert_eq!(fs::metadata(own.join("new")).unwrap().uid(), NOBODY);
    // And root leaves it to nobody.
    finish(place.logits::<&str>(&[], &own.join("own"))).good();
    let found = fs::metadata(own.join("own")).unwrap();
    assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (0o600, NOBODY, NOBODY));
    for (folder, names) in [
        (&read_only, &["own", "roots"][..]),
        (&open, &["private", "roots"]),
        (&sticky, &["private", "roots"]),
        (&own, &["new", "own", "protected", "roots"]),
    ] {
        assert_eq!(files(folder), names);
    }
}

/// In a mount namespace of our own: a disk of a few kilobytes, a file that another is mounted over.
#[test]
fn full_disks_and_mounted_files() {
    let place = Place::new("mounts");
    let there = place.0.to_str().expect("an ASCII path");
    if !is_root() || !can("unshare", &["--mount", "mount", "-t", "tmpfs", "tmpfs", there]) {
        return;
    }
    fs::create_dir(place.0.join("disk")).unwrap();
    fs::write(place.0.join("mounted"), "old").unwrap();
    // Its results have 220 kB.
    save(&small(Wiring::Torchvision, 55_000), &place.0.join("w.safetensors"));
    let script = "set -e; cd \"$0\"; mount -t tmpfs -o size=100k tmpfs disk; echo old > disk/file; echo old > disk/one; \
                  ln disk/one disk/two; \
                  for name in new file one; do ! \"$@\" disk/$name || exit 9; done; \
                  ls -A disk; cat disk/file disk/one disk/two; \
                  : > y.npy; mount --bind mounted y.npy; \"$@\" y.npy; umount y.npy; ls -A; wc -c < mounted";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(&place.0);
    let logits = place.logits::<&str>(&[], Path::new(""));
    command.arg(logits.get_program()).args(logits.get_args().take(logits.get_args().len() - 1));
    let ran = finish(command);
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert_eq!(
        ran.out.split_whitespace().collect::<Vec<_>>(),
        [
            "file",
            "one",
            "two",
            "old",
            "old",
            "old",
            "disk",
            "mounted",
            "shufflenet",
            "w.safetensors",
            "x.npy",
            "y.npy",
            "220128"
        ],
        "{}",
        ran.err
    );
    let errors: Vec<_> = ran.err.lines().collect();
    assert_eq!(errors.len(), 3, "{}", ran.err);
    for (error, name) in errors.iter().zip(["new", "file", "one"]) {
        assert!(error.contains(&format!("disk/{name}: No space left on device")), "{error}");
    }
}

/// Sends the head of an answer and a part of its body, says so, and leaves the rest open.
fn stalling_server() -> (String, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (said, sent) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let size = 5_282 * (1u64 << 20) / 1000;
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").unwrap();
            stream.write_all(&[7; 1 << 20]).unwrap();
            said.send(()).unwrap();
            std::mem::forget(stream);
        }
    });
    (address, sent)
}

/// Whether whoever started this test ignores the signal, as `nohup` does: then children ignore it, too.
fn is_ignored(signal: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[test]
fn a_command_that_is_ended_leaves_nothing() {
    let dir = scratch("ended");
    let (server, sent) = stalling_server();
    for (signal, number) in [("INT", 2), ("TERM", 15), ("HUP", 1), ("KILL", 9)] {
        if is_ignored(number) {
            continue;
        }
        let mut fetch = command(["fetch", "0.5", "--base-url", &server]);
        let mut child = fetch.arg("--dir").arg(&dir).spawn().unwrap();
        sent.recv_timeout(Duration::from_secs(60)).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        assert!(can("kill", &["-s", signal, &child.id().to_string()]));
        let status = child.wait().unwrap();
        assert!(status.signal().is_some(), "{status}");
        assert_eq!(files(&dir), [""; 0], "{signal}");
    }
}

#[test]
fn links_and_devices() {
    let dir = scratch("links_and_devices");
    let (weights, input) = (dir.join("w.safetensors"), dir.join("x.npy"));
    save(&small(Wiring::Torchvision, 7), &weights);
    npy::write(&input, &[1, 3, 32, 32], &[0.5; 3 * 32 * 32]).unwrap();
    let logits = |output: &Path| {
        let mut command = command(["logits", "--weights"]);
        command.arg(&weights).arg("--input").arg(&input).arg("--output").arg(output);
        command
    };
    symlink("target.npy", dir.join("dangling.npy")).unwrap();
    finish(logits(&dir.join("dangling.npy"))).good();
    assert!(dir.join("dangling.npy").is_symlink() && is_result(&dir.join("target.npy")));
    fs::hard_link(dir.join("target.npy"), dir.join("hard.npy")).unwrap();
    fs::write(dir.join("hard.npy"), "old").unwrap();
    finish(logits(&dir.join("target.npy"))).good();
    assert!(is_result(&dir.join("hard.npy")));

    // An input by another name is still an input.
    fs::hard_link(&input, dir.join("input.npy")).unwrap();
    finish(logits(&dir.join("input.npy"))).failed(2, &["would overwrite an input file"]);

    finish(logits(Path::new("/dev/null"))).good();
    finish(logits(Path::new("/dev/full"))).failed(1, &["/dev/full: No space left on device"]);
    // What comes before is kept, whatever the name of standard output is.
    let whole = fs::read(dir.join("hard.npy")).unwrap();
    for name in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let log = dir.join("log");
        fs::write(&log, "before").unwrap();
        let mut into_log = logits(Path::new(name));
        into_log.stdout(OpenOptions::new().append(true).open(&log).unwrap());
        finish(into_log).good();
        assert_eq!(fs::read(&log).unwrap(), [b"before", &whole[..]].concat(), "{name}");
        let output = logits(Path::new(name)).output().unwrap();
        assert!(output.status.success() && output.stdout == whole, "{name}");
    }
    let names = ["dangling.npy", "hard.npy", "input.npy", "log", "target.npy", "w.safetensors", "x.npy"];
    assert_eq!(files(&dir), names);
}

#[test]
fn every_command_that_writes_a_file_writes_it_so() {
    let dir = scratch("every_command");
    let network = dir.join("network.safetensors");
    save(&small(Wiring::Keras, 7), &network);
    let [plot, weights] = [dir.join("plot.svg"), dir.join("weights.safetensors")];
    for path in [&plot, &weights] {
        fs::write(path, "old").unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }
    run(["summary".as_ref(), "--plot".as_ref(), plot.as_os_str()]).good();
    run(["convert".as_ref(), network.as_os_str(), weights.as_os_str()]).good();
    for path in [plot, weights] {
        let found = fs::metadata(&path).unwrap();
        assert!(found.len() > 500 && found.mode() & 0o7777 == 0o600, "{}", path.display());
    }
    assert_eq!(files(&dir), ["network.safetensors", "plot.svg", "weights.safetensors"]);
}
