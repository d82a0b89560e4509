//! The report's sections, each computed from the measurements alone.

mod guidelines;
mod latency;
mod layers;
mod machine;
mod merged;
mod method;
mod own;
mod peers;
mod splits;
mod sweeps;

pub(crate) use merged::merged;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use super::document::Document;
use super::report::{Measurement, Report};

/// A report with its measurements by id.
struct Context<'a> {
    report: &'a Report,
    by_id: HashMap<&'a str, &'a Measurement>,
    /// Those that a section has asked for.
    drawn: RefCell<HashSet<&'a str>>,
}

impl<'a> Context<'a> {
    fn new(report: &'a Report) -> Self {
        Self { report, by_id: report.index(), drawn: RefCell::default() }
    }

    fn get(&self, id: &str) -> Option<&'a Measurement> {
        let measurement = self.by_id.get(id).copied();
        self.drawn.borrow_mut().extend(measurement.map(|m| m.id.as_str()));
        measurement
    }

    /// The measurements of a sweep, whose ids are `sweep/value/of`: the value, what was measured, and how long it took.
    fn sweep(&self, sweep: &str) -> Vec<(&'a str, &'a str, &'a Measurement)> {
        let parts = |m: &'a Measurement| {
            let (value, of) = m.id.strip_prefix(sweep)?.strip_prefix('/')?.split_once('/')?;
            Some((value, of, self.get(&m.id)?))
        };
        self.report.measurements.iter().filter_map(parts).collect()
    }

    /// What measurements no section has drawn.
    fn not_drawn(&self) -> Option<String> {
        let drawn = self.drawn.borrow();
        let ids = self.report.measurements.iter().map(|m| m.id.as_str()).filter(|id| !drawn.contains(id));
        let ids: Vec<&str> = ids.collect();
        let first = ids.first()?;
        Some(format!(
            "{} of {} measurements are not drawn, {first} for one: the report does not say what they are, or this \
             version no longer shows them.",
            ids.len(),
            self.report.measurements.len()
        ))
    }

    /// The multiply-add peak of the instruction set and threads that everything ran on.
    fn peak(&self) -> Option<f64> {
        self.report.peak(&self.report.settings.isa, self.report.settings.threads)
    }
}

/// Writes all sections.
pub(crate) fn document(report: &Report) -> Document {
    let context = Context::new(report);
    let (guidelines, verdicts) = guidelines::section(&context);
    let (latency, latency_findings) = latency::section(&context);
    let (layers, layer_finding) = layers::section(&context);
    let mut findings = latency_findings;
    findings.extend(verdicts);
    findings.extend(layer_finding);
    let own = own::sections(&context);
    // A run of networks only has none of the rest.
    let whole = report.measurements.iter().any(|m| !["net", "given", "width"].contains(&of_section(&m.id)));
    let mut sections = vec![machine::section(report)];
    sections.extend(whole.then_some(guidelines));
    sections.push(latency);
    sections.extend(own);
    sections.push(splits::section(&context));
    if whole {
        sections.extend([layers, sweeps::section(&context)]);
    }
    sections.extend([peers::section(&context), method::section(report)]);
    Document {
        title: "FLOPs against memory access: lightweight networks on this CPU".into(),
        subtitle: machine::subtitle(report),
        figures: machine::cards(&context),
        findings,
        warnings: method::warnings(report).into_iter().chain(context.not_drawn()).collect(),
        sections,
        data: vec!["report.json".into()],
    }
}

/// How an id begins.
fn of_section(id: &str) -> &str {
    id.split('/').next().unwrap_or_default()
}

/// Values in the order of their first appearance.
fn distinct<T: PartialEq>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut distinct = Vec::new();
    values.into_iter().for_each(|value| {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    });
    distinct
}

/// `a`, `b` and `c`.
fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// The mean of ratios.
fn geometric_mean(ratios: &[f64]) -> Option<f64> {
    let mean = (ratios.iter().map(|r| r.ln()).sum::<f64>() / ratios.len() as f64).exp();
    mean.is_finite().then_some(mean)
}
