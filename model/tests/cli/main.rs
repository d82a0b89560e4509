//! The command `shufflenet` from outside: what it prints, writes and returns.

mod arrays;
mod checkpoints;
mod files;
mod many;
mod measured;
mod networks;
#[cfg(target_os = "linux")]
mod outputs;
mod photos;
mod usage;

use model::weights::save_safetensors;
use model::{Config, Synthetic, Weights, Wiring};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a run of the command left.
struct Ran {
    status: i32,
    out: String,
    err: String,
}

fn command<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shufflenet"));
    command.args(args).env_remove("KERNELS_ISA").stdin(Stdio::null());
    command
}

fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Ran {
    finish(command(args))
}

fn finish(mut command: Command) -> Ran {
    let output = command.output().expect("the command starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ran {
        status: output.status.code().expect("no signal ended it"),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

impl Ran {
    /// Checks that it went well and had nothing to complain about.
    fn good(self) -> String {
        assert_eq!((self.status, self.err.as_str()), (0, ""));
        self.out
    }

    /// Checks that it failed with this status and one line that says all of `parts`.
    fn failed(&self, status: i32, parts: &[&str]) {
        let Self { status: found, out, err } = self;
        assert_eq!(*found, status, "{err}");
        assert_eq!(out, "", "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(err.ends_with('\n') && err.starts_with("shufflenet: error: "), "{err}");
        for part in parts {
            assert!(err.contains(part), "{part:?} is not in: {err}");
        }
        assert!(!err.contains("internal error") && !err.contains("panicked"), "{err}");
    }
}

/// A folder for the files of one test.
fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli").join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("a folder");
    dir
}

/// A file recorded for the tests of the library.
fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded").join(name)
}

/// A small network.
fn small(wiring: Wiring, classes: usize) -> Config {
    Config {
        wiring,
        stage_repeats: [1, 2, 1],
        stage_channels: [8, 24, 48, 72, 40],
        bottleneck_ratio: 1.0,
        classes,
    }
}

/// Saves random weights for `config`, each tensor as `change` leaves it.
fn save_changed(config: &Config, path: &Path, change: impl Fn(&str, &mut Vec<f32>)) {
    let weights = Synthetic::new(config).expect("a network");
    let tensors: Vec<_> = weights
        .names()
        .into_iter()
        .map(|name| {
            let mut values = weights.read(&name).expect("its own tensor");
            change(&name, &mut values);
            let shape = weights.shape(&name).expect("its own tensor");
            (name, shape, values)
        })
        .collect();
    let borrowed = tensors.iter().map(|(name, shape, values)| (name.as_str(), &shape[..], &values[..]));
    save_safetensors(path, borrowed).expect("a file");
}

fn save(config: &Config, path: &Path) {
    save_changed(config, path, |_, _| ());
}

/// The names of all files in a folder.
fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
