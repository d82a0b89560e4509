//! The report's sections, each computed from the measurements alone.

mod guidelines;
mod latency;
mod layers;
mod machine;
mod method;
mod peers;
mod splits;
mod sweeps;

use std::collections::HashMap;

use crate::document::Document;
use crate::report::{Measurement, Report};

/// A report with its measurements by id.
struct Context<'a> {
    report: &'a Report,
    by_id: HashMap<&'a str, &'a Measurement>,
}

impl<'a> Context<'a> {
    fn get(&self, id: &str) -> Option<&'a Measurement> {
        self.by_id.get(id).copied()
    }

    /// The multiply-add peak of the instruction set and threads that everything ran on.
    fn peak(&self) -> Option<f64> {
        self.report.peak(&self.report.settings.isa, self.report.settings.threads)
    }
}

/// Writes all sections.
pub fn document(report: &Report) -> Document {
    let context = Context { report, by_id: report.index() };
    let (guidelines, verdicts) = guidelines::section(&context);
    let (latency, latency_findings) = latency::section(&context);
    let (layers, layer_finding) = layers::section(&context);
    let mut findings = latency_findings;
    findings.extend(verdicts);
    findings.extend(layer_finding);
    Document {
        title: "FLOPs against memory access: lightweight networks on this CPU".into(),
        subtitle: machine::subtitle(report),
        figures: machine::cards(&context),
        findings,
        warnings: method::warnings(report),
        sections: vec![
            machine::section(report),
            guidelines,
            latency,
            splits::section(&context),
            layers,
            sweeps::section(&context),
            peers::section(&context),
            method::section(report),
        ],
    }
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
