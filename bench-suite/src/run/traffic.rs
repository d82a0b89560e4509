//! Bytes that really move between caches, as valgrind's simulation counts them, beside `mac_bytes`, which counts what
//! must move at least.

use std::process::{Command, Stdio};

use kernels::{Isa, Serial};

use super::check::Ready;
use super::environment::Environment;
use crate::tell::report::Traffic;
use crate::work::Work;
use crate::work::guidelines;

/// Bytes of a cache line.
const LINE: u64 = 64;

/// The columns whose traffic is simulated: small enough for a simulation.
const COLUMNS: [(&str, &str); 2] = [("g1", "arm/x1"), ("g2", "arm/x1")];

/// Ids and work of the cases that are simulated.
fn cases() -> Vec<(String, Work)> {
    let mut cases = Vec::new();
    for experiment in guidelines::all() {
        for column in experiment.columns.iter().filter(|c| COLUMNS.contains(&(&*experiment.id, &*c.id))) {
            cases.extend(
                column.cases.iter().map(|case| (experiment.case_id(column, case), case.work.clone())),
            );
        }
    }
    cases
}

/// Runs one case `runs` times: what valgrind watches.
///
/// # Errors
/// One line, if there is no such case.
pub(crate) fn probe(id: &str, runs: usize) -> Result<(), String> {
    let (_, work) =
        cases().into_iter().find(|(of, _)| of == id).ok_or_else(|| format!("{id}: no such case"))?;
    let ready = Ready::new(id.to_owned(), work, Isa::best(), false)?;
    let mut runner = ready.runner();
    (0..runs).for_each(|_| runner.run(&Serial));
    Ok(())
}

/// Simulates all cases; empty if there is no valgrind. `tick` is called after each.
///
/// # Errors
/// One line, if valgrind is there and fails.
pub(crate) fn simulate(environment: &Environment, mut tick: impl FnMut()) -> Result<Vec<Traffic>, String> {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err()
    {
        return Ok(Vec::new());
    }
    let mut traffic = Vec::new();
    for (id, _) in cases() {
        // Start-up and packing are the same in both and cancel.
        let (one, three) = (misses(&id, 1, environment)?, misses(&id, 3, environment)?);
        let per_run = |which: usize| three[which].saturating_sub(one[which]) / 2 * LINE;
        traffic.push(Traffic { id, first_level: per_run(0), last_level: per_run(1) });
        tick();
    }
    Ok(traffic)
}

/// Misses of data in the first level, and in a second level of this machine's size.
fn misses(id: &str, runs: usize, environment: &Environment) -> Result<[u64; 2], String> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    // The simulation wants powers of two; sizes that are not are rounded down.
    let cache = |level: u8, otherwise: u64| {
        let bytes = environment.cache(level).unwrap_or(otherwise);
        1u64 << bytes.max(1 << 12).ilog2()
    };
    let output = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=yes", "--cachegrind-out-file=/dev/null"])
        .arg(format!("--D1={},8,{LINE}", cache(1, 32 << 10)))
        .arg(format!("--LL={},16,{LINE}", cache(2, 1 << 20)))
        .arg(own)
        .args(["probe", id, "--runs", &runs.to_string()])
        .output()
        .map_err(|e| format!("valgrind: {e}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let first = parse(&text, "D1  misses:");
    let last = parse(&text, "LLd misses:");
    match (output.status.success(), first, last) {
        (true, Some(first), Some(last)) => Ok([first, last]),
        _ => Err(format!("valgrind: {id}: {}", text.lines().last().unwrap_or("no output"))),
    }
}

/// The first number behind `label` in cachegrind's summary.
fn parse(summary: &str, label: &str) -> Option<u64> {
    let line = summary.lines().find_map(|line| line.split_once(label))?.1;
    line.split_whitespace().next()?.replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_read() {
        let text = "==7== D1  misses:     1,234,567  (  1,000,000 rd   +   234,567 wr)\n==7== LLd misses:  89 ( 1 rd )";
        assert_eq!(parse(text, "D1  misses:"), Some(1_234_567));
        assert_eq!(parse(text, "LLd misses:"), Some(89));
        assert_eq!(parse(text, "I1  misses:"), None);
    }

    #[test]
    fn cases_are_found_by_id() {
        assert_eq!(cases().len(), 8);
        assert!(probe("g1/arm/x1/1-12", 1).is_ok());
        assert_eq!(probe("g9", 1), Err("g9: no such case".into()));
    }
}
