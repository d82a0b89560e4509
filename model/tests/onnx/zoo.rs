//! Exported networks, where the environment variable ONNX_ZOO names a folder of them.
//!
//! Each `*.json` of the folder is a list of cases: `{"model": FILE, "input": {NAME: X.npy}, "outputs": {NAME: Y.npy}}`, the
//! outputs being those of another engine. ONNX_ZOO_ONLY runs the files whose names begin with its value.

use kernels::{Isa, Serial};
use model::npy::{self, Array};
use model::onnx::Network;
use std::path::Path;

/// Of the largest output.
const TOLERANCE: f64 = 2e-5;

#[test]
fn exported_networks_agree_with_another_engine() {
    let Some(folder) = std::env::var_os("ONNX_ZOO") else {
        eprintln!("skipped: ONNX_ZOO names no folder of exported networks");
        return;
    };
    let only = std::env::var("ONNX_ZOO_ONLY").unwrap_or_default();
    let isa = Isa::from_env().expect("an instruction set of this processor");
    let folder = Path::new(&folder);
    let mut manifests: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    manifests.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    manifests.sort();
    let (mut ran, mut failures) = (0, Vec::new());
    for manifest in manifests {
        let cases: serde_json::Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
        for case in cases.as_array().unwrap() {
            let model = case["model"].as_str().unwrap();
            if !model.starts_with(&only) {
                continue;
            }
            ran += 1;
            match Network::open(&folder.join(model), isa) {
                Err(error) => failures.push(format!("{model}: {error}")),
                Ok(network) => {
                    let error = worst(folder, &network, case);
                    println!("{model} {:?}: {error:?}", case["outputs"]);
                    if error.as_ref().is_ok_and(|&error| error <= TOLERANCE) {
                        continue;
                    }
                    failures.push(format!("{model}: {error:?}"));
                }
            }
        }
    }
    assert!(ran > 0, "no case in {}", folder.display());
    assert!(failures.is_empty(), "{} of {ran} cases:\n{}", failures.len(), failures.join("\n"));
}

/// The largest difference, relative to the largest output.
fn worst(folder: &Path, network: &Network, case: &serde_json::Value) -> Result<f64, String> {
    let read = |file: &serde_json::Value| npy::read(&folder.join(file.as_str().unwrap())).unwrap();
    let inputs: Vec<Array> = network.inputs().iter().map(|input| read(&case["input"][&input.name])).collect();
    let inputs: Vec<&Array> = inputs.iter().collect();
    let found = network.run(&Serial, &inputs, &mut network.workspace()).map_err(|error| error.to_string())?;
    let mut worst = 0.0f64;
    for (found, name) in found.iter().zip(network.outputs()) {
        let expected = read(&case["outputs"][name]);
        if found.shape != expected.shape {
            return Err(format!("output {name} of shape {:?}, not {:?}", found.shape, expected.shape));
        }
        let largest = expected.values.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        for (found, expected) in found.values.iter().zip(&expected.values) {
            let error = f64::from((found - expected).abs()) / f64::from(largest);
            // A NaN must not pass for zero.
            worst = if error > worst || error.is_nan() { error } else { worst };
        }
    }
    Ok(worst)
}
