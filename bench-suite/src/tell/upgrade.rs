//! Reports of the first version did not say what was measured. Where today's experiments, networks and layers have the same
//! ids, they say it; the rest is told as not drawn.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::work::{guidelines, networks, sweeps};

/// Version of the layout of `report.json`. Earlier ones are read too: version 1 did not say what was measured, version 2 had
/// no sentinel.
pub(crate) const SCHEMA: u32 = 3;

/// The classes of work that a first-version split had, in its order.
const CLASSES: [&str; 6] = ["1x1", "depthwise", "dense", "element-wise", "data movement", "pool and fc"];

/// Brings a report of an earlier version into today's form.
pub(crate) fn upgrade(mut report: Value) -> Value {
    if report["schema"] == 1 {
        report = from_1(report);
    }
    if report["schema"] == 2 {
        report = from_2(report);
    }
    if report["schema"].is_u64() {
        report["schema"] = SCHEMA.into();
    }
    report
}

/// Adds the layers of the networks that are still defined.
fn from_2(mut report: Value) -> Value {
    let steps: HashMap<_, _> = networks::all().into_iter().map(|of| (of.id, of.steps)).collect();
    each(&mut report["networks"], |network| {
        let id = network["id"].as_str().unwrap_or_default();
        let steps = steps.get(id).cloned().unwrap_or_default();
        network["steps"] = json!(steps);
    });
    report
}

/// Adds what reports of the first version did not say.
fn from_1(mut report: Value) -> Value {
    let lanes = if report["settings"]["isa"] == "avx512" { 16 } else { 8 };
    let experiments = guidelines::all();
    let mut padded = HashMap::new();
    for experiment in &experiments {
        for column in &experiment.columns {
            for case in &column.cases {
                padded.insert(experiment.case_id(column, case), case.work.padded_macs(lanes));
            }
        }
    }
    let layers: HashMap<_, _> = sweeps::layers().into_iter().map(|layer| (layer.id(), layer)).collect();
    report["experiments"] = json!(experiments);
    report["networks"] = json!(networks::all());
    each(&mut report["measurements"], |measurement| {
        let id = measurement["id"].as_str().unwrap_or_default();
        let (padded, layer) = (json!(padded.get(id)), json!(layers.get(id)));
        measurement["padded_macs"] = padded;
        measurement["layer"] = layer;
    });
    each(&mut report["splits"], |split| {
        let parts = CLASSES.iter().zip(split["seconds"].as_array().into_iter().flatten());
        split["parts"] =
            parts.map(|(class, seconds)| json!({ "class": class, "seconds": seconds, "macs": 0 })).collect();
    });
    each(&mut report["cold"], |cold| {
        cold["id"] = format!("net/shufflenet_v2_{}", cold["width"].as_str().unwrap_or_default()).into();
    });
    report
}

/// Changes every object of a list; what is none is left for the reader to refuse.
fn each(list: &mut Value, change: impl Fn(&mut Value)) {
    list.as_array_mut().into_iter().flatten().filter(|item| item.is_object()).for_each(change);
}
