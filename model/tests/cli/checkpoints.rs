//! Which network of a checkpoint is taken, and what is said of it.

use crate::{Ran, recorded, run, save_changed, scratch, small};
use model::weights::{Checkpoint, save_safetensors};
use model::{Config, Images, Network, Synthetic, Weights, Wiring, npy};
use std::path::Path;

/// Saves random weights for `config` under several prefixes; those of the second and the following are halved.
fn save_under(config: &Config, prefixes: &[&str], more: &[(&str, &[f32])], path: &Path) {
    let weights = Synthetic::new(config).expect("a network");
    let mut tensors = Vec::new();
    for (index, prefix) in prefixes.iter().enumerate() {
        for name in weights.names() {
            let scale = 0.5f32.powi(index as i32);
            let values: Vec<f32> =
                weights.read(&name).expect("its own").iter().map(|value| value * scale).collect();
            tensors.push((format!("{prefix}{name}"), weights.shape(&name).expect("its own"), values));
        }
    }
    tensors
        .extend(more.iter().map(|(name, values)| ((*name).to_owned(), vec![values.len()], values.to_vec())));
    let borrowed = tensors.iter().map(|(name, shape, values)| (name.as_str(), &shape[..], &values[..]));
    save_safetensors(path, borrowed).expect("a file");
}

fn logits(weights: &Path, more: &[&str]) -> (Ran, Option<Vec<f32>>) {
    let dir = weights.parent().expect("a folder");
    let (input, output) = (dir.join("x.npy"), dir.join("y.npy"));
    let _ = std::fs::remove_file(&output);
    let image: Vec<f32> = (0..3 * 32 * 32).map(|i| (i % 13) as f32 / 6.5 - 1.0).collect();
    npy::write(&input, &[1, 3, 32, 32], &image).unwrap();
    let files = ["--weights".as_ref(), weights.as_os_str(), "--input".as_ref(), input.as_os_str()];
    let ran = run([
        &["logits".as_ref()][..],
        &files,
        &["--output".as_ref(), output.as_os_str()],
        &more.iter().map(|m| m.as_ref()).collect::<Vec<&std::ffi::OsStr>>(),
    ]
    .concat());
    let values = npy::read(&output).ok().map(|array| array.values);
    (ran, values)
}

/// What a file of nothing else says.
fn expected(path: &Path) -> Vec<f32> {
    let network = Network::load(&Checkpoint::open(path).unwrap(), kernels::Isa::from_env().unwrap()).unwrap();
    let image: Vec<f32> = (0..3 * 32 * 32).map(|i| (i % 13) as f32 / 6.5 - 1.0).collect();
    let mut logits = vec![0.0; network.config().classes];
    network.run(&kernels::Serial, Images::nchw(&image, 1, 32, 32), &mut network.workspace(), &mut logits);
    logits
}

#[test]
fn key_and_ema_choose() {
    let dir = scratch("key_and_ema");
    let config = small(Wiring::Torchvision, 5);
    let (both, plain, average) =
        (dir.join("both.safetensors"), dir.join("plain.safetensors"), dir.join("average.safetensors"));
    save_under(&config, &["model.", "model_ema.module."], &[("loss", &[0.5])], &both);
    let chosen = |key: &str, path: &Path| {
        let ran =
            run(["convert".as_ref(), both.as_os_str(), path.as_os_str(), "--key".as_ref(), key.as_ref()]);
        assert_eq!(ran.status, 0, "{}", ran.err);
        assert!(ran.out.contains("ShuffleNetV2"), "{}", ran.out);
    };
    chosen("model", &plain);
    chosen("model_ema", &average);
    // A conversion leaves the network's own names.
    let written = Checkpoint::open(&plain).unwrap();
    let weights = Synthetic::new(&config).unwrap();
    assert_eq!(written.names().count(), weights.names().len());
    for name in weights.names() {
        assert_eq!(written.read(&name).unwrap(), weights.read(&name).unwrap(), "{name}");
    }
    let (plain, average) = (expected(&plain), expected(&average));
    assert_ne!(plain, average);

    let (ran, values) = logits(&both, &[]);
    assert_eq!((ran.status, values), (0, Some(plain.clone())));
    let said: Vec<&str> = ran.err.lines().collect();
    assert!(
        said[0].contains("note: ") && said[0].contains("took \"model\"; \"model_ema\" would fit, too"),
        "{said:?}"
    );
    assert!(said[0].contains("--key"), "{said:?}");
    assert!(said[1].contains("tensor \"loss\" is no part of the network"), "{said:?}");
    assert_eq!(said.len(), 2);
    for more in [
        &["--ema"][..],
        &["--key", "model_ema"],
        &["--key", "model_ema.module"],
        &["--ema", "--key", "model_ema"],
    ] {
        let (ran, values) = logits(&both, more);
        assert_eq!((ran.status, values), (0, Some(average.clone())), "{more:?} {}", ran.err);
    }
    let (ran, values) = logits(&both, &["--key", "model"]);
    assert_eq!((ran.status, values), (0, Some(plain)), "{}", ran.err);

    let fails = |more: &[&str], said: &[&str]| logits(&both, more).0.failed(1, said);
    fails(&["--key", "modle"], &["both.safetensors", "under the key \"modle\"", "\"model\", \"model_ema\""]);
    fails(&["--key", "model", "--ema"], &["no averaged weights", "\"model\""]);
    let output = dir.join("no.safetensors");
    run(["convert".as_ref(), both.as_os_str(), output.as_os_str(), "--key".as_ref(), "loss".as_ref()])
        .failed(1, &["under the key \"loss\""]);
    assert!(!output.exists());
}

#[test]
fn one_class_is_yes_or_no() {
    let dir = scratch("one_class");
    let path = dir.join("one.safetensors");
    for wiring in Wiring::ALL {
        // A small last layer leaves the network undecided.
        save_changed(&small(wiring, 1), &path, |name, values| {
            if name.starts_with("fc") || name.starts_with("classifier") {
                values.iter_mut().for_each(|value| *value *= 1e-3);
            }
        });
        let logit = expected(&path)[0];
        let (ran, values) = logits(&path, &["--softmax"]);
        ran.good();
        let probability = values.unwrap()[0];
        assert!(
            (probability - 1.0 / (1.0 + (-logit).exp())).abs() < 1e-6,
            "{probability} for a logit of {logit}"
        );
        assert!(probability < 0.99, "{probability}");
        let photo = recorded("images/rgb.png");
        let ran = run([
            "classify".as_ref(),
            photo.as_os_str(),
            "--weights".as_ref(),
            path.as_os_str(),
            "--json".as_ref(),
        ]);
        let said = ran.good();
        let answers: serde_json::Value = serde_json::from_str(&said).unwrap();
        let probability = answers[0]["top"][0]["probability"].as_f64().unwrap();
        assert!(probability > 0.0 && probability < 0.99, "{said}");
    }
}

#[test]
fn without_a_head_nothing_is_classified() {
    let dir = scratch("no_head");
    let (whole, body) = (dir.join("whole.safetensors"), dir.join("body.safetensors"));
    save_under(&small(Wiring::Torchvision, 5), &[""], &[], &whole);
    let checkpoint = Checkpoint::open(&whole).unwrap();
    let names = checkpoint.names().filter(|name| !name.starts_with("fc."));
    model::weights::convert(&checkpoint, names.map(|name| (name, name)), &body).unwrap();
    let (ran, values) = logits(&body, &[]);
    assert_eq!((ran.status, ran.err.lines().count()), (0, 1), "{}", ran.err);
    assert!(ran.err.contains("ends in the averaged features of conv5"), "{}", ran.err);
    // The last layer by hand gives the logits of the whole.
    let (features, weight, bias) =
        (values.unwrap(), checkpoint.read("fc.weight").unwrap(), checkpoint.read("fc.bias").unwrap());
    assert_eq!(features.len(), 40);
    for (class, logit) in expected(&whole).into_iter().enumerate() {
        let row = &weight[class * 40..][..40];
        let sum: f32 = row.iter().zip(&features).map(|(w, x)| w * x).sum::<f32>() + bias[class];
        assert!((sum - logit).abs() <= 1e-4 * logit.abs().max(1.0), "{sum} {logit}");
    }
    let photo = recorded("images/rgb.png");
    let ran = run(["classify".as_ref(), photo.as_os_str(), "--weights".as_ref(), body.as_os_str()]);
    assert!(ran.status == 1 && ran.err.contains("the network ends in features"), "{}", ran.err);
}

#[test]
fn what_else_a_file_is() {
    let dir = scratch("what_else");
    for (name, bytes, said) in [
        ("lfs.pth", &b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"[..], "a Git LFS pointer"),
        ("page.pth", b"<!DOCTYPE html><html></html>", "a web page (HTML)"),
        ("empty.pth", b"", "an empty file"),
    ] {
        std::fs::write(dir.join(name), bytes).unwrap();
        logits(&dir.join(name), &[]).0.failed(1, &[name, said]);
    }
}
