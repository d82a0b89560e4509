//! Two reports: what became faster or slower, beyond the noise of both.

use std::fmt::Write;

use crate::tell::report::{Measurement, Report};
use crate::tell::stats::quantile;

/// Differences smaller than this are never believed.
const FLOOR: f64 = 0.02;

/// Lines of each kind that are printed.
const LINES: usize = 15;

/// What two reports say.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// Changes beyond the noise, the largest first.
    pub(crate) changes: Vec<Change>,
    /// Measurements compared.
    pub(crate) compared: usize,
    /// Measurements that only one report has, or that are of different work.
    pub(crate) unmatched: usize,
    /// Reasons why the two may not be comparable at all.
    pub(crate) cautions: Vec<String>,
}

/// A measurement that changed.
#[derive(Debug)]
pub(crate) struct Change {
    /// Its id.
    pub(crate) id: String,
    /// Fastest before and after, in seconds.
    pub(crate) min: [f64; 2],
    /// New time over old, the less extreme of minimum and median.
    pub(crate) ratio: f64,
    /// What either would have to exceed.
    pub(crate) noise: f64,
}

/// Compares two reports.
///
/// A measurement changed if its minimum and its median both moved the same way, each by more than the noise: the
/// larger distance, of both runs, from the minimum to the lower quartile, and 2 % at least.
pub(crate) fn compare(old: &Report, new: &Report) -> Comparison {
    let before = old.index();
    let mut comparison = Comparison {
        changes: vec![],
        compared: 0,
        unmatched: old.measurements.len(),
        cautions: cautions(old, new),
    };
    for after in &new.measurements {
        let same_work = |m: &&Measurement| (m.macs, m.batch) == (after.macs, after.batch);
        match before.get(after.id.as_str()).copied().filter(|m| same_work(m)) {
            Some(before) => {
                comparison.compared += 1;
                comparison.unmatched -= 1;
                comparison.changes.extend(change(before, after));
            }
            None => comparison.unmatched += 1,
        }
    }
    comparison.changes.sort_by(|a, b| b.ratio.ln().abs().total_cmp(&a.ratio.ln().abs()));
    comparison
}

fn change(before: &Measurement, after: &Measurement) -> Option<Change> {
    let (old, new) = (before.summary(), after.summary());
    let (min, median) = (new.min / old.min, new.median / old.median);
    let noise = lower_spread(before).max(lower_spread(after)).max(FLOOR);
    let ratio = if min > 1.0 { min.min(median) } else { min.max(median) };
    let beyond = if ratio > 1.0 { ratio > 1.0 + noise } else { 1.0 / ratio > 1.0 + noise };
    let same_way = (min > 1.0) == (median > 1.0);
    (same_way && beyond).then(|| Change { id: after.id.clone(), min: [old.min, new.min], ratio, noise })
}

/// From the minimum to the lower quartile, relative to the minimum: how well the minimum is known.
fn lower_spread(measurement: &Measurement) -> f64 {
    let mut sorted = measurement.seconds.clone();
    sorted.sort_by(f64::total_cmp);
    quantile(&sorted, 0.25) / sorted[0] - 1.0
}

fn cautions(old: &Report, new: &Report) -> Vec<String> {
    let mut cautions = Vec::new();
    let mut differs = |what: &str, before: &str, after: &str| {
        if before != after {
            cautions.push(format!("{what} differs: {before} before, {after} now"));
        }
    };
    differs("processor", &old.environment.cpu, &new.environment.cpu);
    differs("compiler", &old.environment.rustc, &new.environment.rustc);
    differs("RUSTFLAGS", &old.environment.rustflags, &new.environment.rustflags);
    differs("instruction set", &old.settings.isa, &new.settings.isa);
    differs("threads", &old.settings.threads.to_string(), &new.settings.threads.to_string());
    cautions
}

impl Comparison {
    /// Changes for the worse by more than `percent`.
    pub(crate) fn regressions(&self, percent: f64) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |c| c.ratio > 1.0 + percent / 100.0)
    }

    /// What to print.
    pub(crate) fn text(&self, percent: f64) -> String {
        let mut out = String::new();
        for caution in &self.cautions {
            writeln!(out, "! {caution}").expect("writing to a string cannot fail");
        }
        let (slower, faster): (Vec<&Change>, Vec<&Change>) = self.changes.iter().partition(|c| c.ratio > 1.0);
        for (name, changes) in [("slower", &slower), ("faster", &faster)] {
            if changes.is_empty() {
                continue;
            }
            out += &format!("{name}:\n");
            for change in changes.iter().take(LINES) {
                out += &format!(
                    "  {:>+7.1} %  {:>10.4} -> {:>10.4} ms  (noise {:.1} %)  {}\n",
                    100.0 * (change.ratio - 1.0),
                    1e3 * change.min[0],
                    1e3 * change.min[1],
                    100.0 * change.noise,
                    change.id
                );
            }
            if changes.len() > LINES {
                out += &format!("  and {} more\n", changes.len() - LINES);
            }
        }
        out += &format!(
            "{} compared: {} slower, {} faster, {} within the noise; {} have no counterpart.\n",
            self.compared,
            slower.len(),
            faster.len(),
            self.compared - self.changes.len(),
            self.unmatched
        );
        let regressions = self.regressions(percent).count();
        if regressions > 0 {
            out += &format!("{regressions} slower by more than {percent} %.\n");
        }
        out
    }
}
