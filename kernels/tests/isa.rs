//! Which instruction sets the tests ran on, and how one is chosen.
//!
//! `KERNELS_REQUIRE_ISA=avx512,avx2,portable cargo test -p kernels` fails on a machine that lacks one of them, where
//! the other tests would pass without having tested it. With `KERNELS_REQUIRE_BEST=avx2`, that is what has to be chosen.
//! Under an emulator, `KERNELS_TEST_RUNNER` says how this executable is started once more.
#![cfg(feature = "std")]

use kernels::{Isa, Pointwise};
use std::io::Write;

/// Those names of a comma-separated list that are not available here.
fn missing(required: &str) -> Vec<&str> {
    let names = required.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.filter(|name| Isa::from_name(name).is_err()).collect()
}

#[test]
fn required_instruction_sets_are_tested() {
    let tested: Vec<&str> = Isa::available().map(Isa::name).collect();
    let lacking: Vec<&str> = Isa::names().filter(|name| Isa::from_name(name).is_err()).collect();
    // Past the harness, which shows what is printed only of tests that fail.
    let lacking = if lacking.is_empty() { "none".to_string() } else { lacking.join(", ") };
    let report = format!("instruction sets tested: {}; not available here: {lacking}\n", tested.join(", "));
    std::io::stderr().write_all(report.as_bytes()).unwrap();
    let required = std::env::var("KERNELS_REQUIRE_ISA").unwrap_or_default();
    assert_eq!(missing(&required), [""; 0], "KERNELS_REQUIRE_ISA is {required:?}, but {report}");
}

#[test]
fn the_required_one_is_chosen() {
    let Ok(required) = std::env::var("KERNELS_REQUIRE_BEST") else { return };
    assert_eq!(Ok(Isa::best()), Isa::from_name(&required));
    assert_eq!(Isa::from_name("auto"), Ok(Isa::best()));
}

#[test]
fn a_missing_instruction_set_is_noticed() {
    assert_eq!(missing(""), [""; 0]);
    assert_eq!(missing("portable"), [""; 0]);
    assert_eq!(missing(" portable, avx9000,,sse9"), ["avx9000", "sse9"]);
}

#[test]
fn names() {
    let all: Vec<&str> = Isa::names().collect();
    if cfg!(all(target_arch = "x86_64", not(target_feature = "avx"))) {
        assert_eq!(all, ["avx512", "avx2", "sse2"]);
    }
    for isa in Isa::available() {
        assert_eq!(isa.to_string(), isa.name());
        assert_eq!(Isa::from_name(isa.name()), Ok(isa));
        assert!(all.contains(&isa.name()));
        assert!([4, 8, 16].contains(&isa.lanes()), "{isa} has {} lanes", isa.lanes());
    }
    assert_eq!(Isa::from_name("portable"), Ok(Isa::portable()));
    assert_eq!(Isa::available().last(), Some(Isa::portable()), "the portable kernels run everywhere");
    assert_eq!(all.last(), Some(&Isa::portable().name()));
    assert_eq!(Isa::from_name("auto"), Ok(Isa::best()));
    assert_eq!(Isa::available().next(), Some(Isa::best()));
}

#[test]
fn what_is_not_available_is_refused_with_what_is() {
    let available: Vec<&str> = ["auto"].into_iter().chain(Isa::available().map(Isa::name)).collect();
    let lacking = Isa::names().filter(|name| !available.contains(name));
    for name in ["", "AVX2", "avx512 ", "sve", "\u{0}"].into_iter().chain(lacking) {
        let expected =
            format!("instruction set {name:?} is not available here (available: {})", available.join(", "));
        assert_eq!(Isa::from_name(name).unwrap_err().to_string(), expected);
    }
}

#[test]
fn bursts_count_their_operations() {
    for isa in Isa::available() {
        let once = isa.fma_burst(1);
        assert!(once > 0 && once.is_multiple_of(2 * isa.lanes() as u64), "{isa}: {once} operations");
        assert_eq!(isa.fma_burst(100), 100 * once, "{isa}");
        assert_eq!(isa.fma_burst(0), 0, "{isa}");
    }
}

/// What the environment chooses, seen by starting this executable once more. WebAssembly starts no processes.
#[cfg(not(target_family = "wasm"))]
mod environment {
    use super::*;
    use std::ffi::OsString;
    use std::process::Command;

    /// Prints what this process' environment chooses, and what a builder says to it.
    #[test]
    #[ignore = "run by the tests below, in an environment of their making"]
    fn child() {
        let chosen = Isa::from_env().map_or_else(|error| error.to_string(), |isa| isa.to_string());
        let built = Pointwise::builder(1, 1).build(&[1.0]);
        let built = built.map_or_else(|error| error.to_string(), |_| "built".to_string());
        println!("<{chosen}|{built}>");
    }

    /// What [`child`] prints where `KERNELS_ISA` is `value`.
    fn child_says(value: Option<&str>) -> String {
        let runner = std::env::var("KERNELS_TEST_RUNNER").unwrap_or_default();
        let words = runner.split_whitespace().map(OsString::from);
        let mut words = words.chain([std::env::current_exe().unwrap().into()]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(["--exact", "environment::child", "--ignored", "--nocapture"]);
        command.env_remove("KERNELS_ISA").envs(value.map(|value| ("KERNELS_ISA", value)));
        let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let answer = output.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
        answer.unwrap_or_else(|| panic!("no answer in {output:?}")).0.to_string()
    }

    #[test]
    fn the_environment_overrides_the_choice() {
        let best = format!("{}|built", Isa::best());
        let named = Isa::available().map(|isa| (Some(isa.name()), format!("{isa}|built")));
        let best = [None, Some(""), Some("auto")].map(|value| (value, best.clone()));
        let portable = (Some("portable"), format!("{}|built", Isa::portable()));
        for (value, expected) in best.into_iter().chain([portable]).chain(named) {
            assert_eq!(child_says(value), expected, "KERNELS_ISA is {value:?}");
        }
    }

    #[test]
    fn a_bad_environment_is_an_error_for_every_builder() {
        for name in [" ", "avx9000", "Portable"] {
            let error = Isa::from_name(name).unwrap_err();
            assert_eq!(child_says(Some(name)), format!("{error}|{error}"), "KERNELS_ISA is {name:?}");
        }
    }
}
