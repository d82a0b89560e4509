//! The report; see [`bench_suite`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    bench_suite::main()
}
