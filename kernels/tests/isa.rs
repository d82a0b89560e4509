//! Which instruction sets the tests ran on, and how one is chosen.
//!
//! `KERNELS_REQUIRE_ISA=avx512,avx2,portable cargo test -p kernels` fails on a machine that lacks one of them, where
//! the other tests would pass without having tested it. With `KERNELS_REQUIRE_BEST=avx2`, that is what has to be chosen.
//! Under an emulator, `KERNELS_TEST_RUNNER` says how this executable is started once more.
#![cfg(feature = "std")]

use kernels::{Affine, Isa, Linear, Pointwise};
use std::io::Write;

/// Those names of a comma-separated list that are not available here.
fn missing(required: &str) -> Vec<&str> {
    let names = required.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.filter(|name| !Isa::available().any(|isa| isa.name() == *name)).collect()
}

#[test]
fn required_instruction_sets_are_tested() {
    let tested: Vec<&str> = Isa::available().map(Isa::name).collect();
    let lacking: Vec<&str> = Isa::ALL.into_iter().filter(|isa| !isa.is_available()).map(Isa::name).collect();
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
    assert_eq!(Isa::best().name(), required);
    assert_eq!(Isa::from_name("auto").map(Isa::name), Ok(&*required));
}

#[test]
fn a_missing_instruction_set_is_noticed() {
    assert_eq!(missing(""), [""; 0]);
    assert_eq!(missing("portable"), [""; 0]);
    assert_eq!(missing(" portable, avx9000,,sse2"), ["avx9000", "sse2"]);
}

#[test]
fn names() {
    assert_eq!(Isa::ALL.map(Isa::name), ["avx512", "avx2", "portable"]);
    for isa in Isa::ALL {
        assert_eq!(isa.to_string(), isa.name());
    }
    for isa in Isa::available() {
        assert_eq!(Isa::from_name(isa.name()), Ok(isa));
        assert!(isa.is_available());
        assert!([4, 8, 16].contains(&isa.lanes()), "{isa} has {} lanes", isa.lanes());
    }
    assert!(Isa::Portable.is_available(), "the portable kernels run everywhere");
    assert_eq!(Isa::from_name("auto"), Ok(Isa::best()));
    assert_eq!(Isa::available().next(), Some(Isa::best()));
}

#[test]
fn what_is_not_available_is_refused_with_what_is() {
    let available: Vec<&str> = ["auto"].into_iter().chain(Isa::available().map(Isa::name)).collect();
    let lacking = Isa::ALL.into_iter().filter(|isa| !isa.is_available()).map(Isa::name);
    for name in ["", "AVX2", "avx512 ", "neon", "\u{0}"].into_iter().chain(lacking) {
        let expected =
            format!("instruction set {name:?} is not available here (available: {})", available.join(", "));
        assert_eq!(Isa::from_name(name).unwrap_err().to_string(), expected);
    }
}

#[test]
fn operators_refuse_what_is_not_available() {
    for isa in Isa::ALL.into_iter().filter(|isa| !isa.is_available()) {
        let expected = Isa::from_name(isa.name()).unwrap_err();
        assert_eq!(Pointwise::builder(1, 1).isa(isa).build(&[1.0]).unwrap_err(), expected);
        assert_eq!(Affine::new(&[1.0], &[1.0], Default::default(), isa).unwrap_err(), expected);
        assert_eq!(Linear::new(1, 1, &[1.0], None, Default::default(), isa).unwrap_err(), expected);
        assert_eq!(isa.lanes(), 1);
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
        for (value, expected) in [(None, best.clone()), (Some("auto"), best)].into_iter().chain(named) {
            assert_eq!(child_says(value), expected, "KERNELS_ISA is {value:?}");
        }
    }

    #[test]
    fn a_bad_environment_is_an_error_for_every_builder() {
        for name in ["", "avx9000", "Portable"] {
            let error = Isa::from_name(name).unwrap_err();
            assert_eq!(child_says(Some(name)), format!("{error}|{error}"), "KERNELS_ISA is {name:?}");
        }
    }
}
