//! Records what the compiler was told, for the report's environment.

use std::env::var;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let rustc = var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().ok();
    let version = version.and_then(|o| String::from_utf8(o.stdout).ok()).unwrap_or_default();
    let get = |name: &str| var(name).unwrap_or_default();
    let record = |name: &str, value: &str| println!("cargo:rustc-env=BENCH_SUITE_{name}={}", value.trim());
    record("RUSTC", &version);
    record("TARGET", &get("TARGET"));
    record("OPT_LEVEL", &get("OPT_LEVEL"));
    record("RUSTFLAGS", &get("CARGO_ENCODED_RUSTFLAGS").replace('\x1f', " "));
    record("TARGET_FEATURES", &get("CARGO_CFG_TARGET_FEATURE"));
}
