//! Writes whole small networks in every format into the corpora: `seeds CORPUS`. What else the corpora begin with are
//! the files that the tests read.

#[path = "../../tests/onnx/networks.rs"]
mod networks;
#[path = "../../tests/torch_files/mod.rs"]
mod torch_files;
#[allow(dead_code, reason = "the tests write more")]
#[path = "../../tests/onnx/writer.rs"]
mod writer;

use hdf5_pure::{AttrValue, FileBuilder};
use kernels::Isa;
use model::weights::{Checkpoint, save_safetensors};
use model::{Network, Synthetic, Weights, Wiring};
use std::fs;
use std::path::{Path, PathBuf};
use torch_files::{Storages, object, ordered_dict, string};

fn main() {
    let corpus = PathBuf::from(std::env::args_os().nth(1).expect("the folder of the corpora"));
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/recorded");
    for (folder, endings, target) in [
        ("weights", &["pth"][..], "torch"),
        ("weights", &["h5", "keras"], "hdf5"),
        ("weights", &["safetensors"], "safetensors"),
        ("images", &["png", "jpg", "webp"], "pictures"),
        ("images/jpeg", &["jpg"], "pictures"),
        ("arrays", &["npy", "npz"], "arrays"),
    ] {
        let to = corpus.join(target);
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(recorded.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| endings.iter().any(|wanted| ending == *wanted)) {
                fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    fs::create_dir_all(corpus.join("onnx")).unwrap();
    for (i, bytes) in networks::networks().into_iter().enumerate() {
        model::onnx::Network::from_bytes(&bytes, Isa::best()).expect("a seed is a whole network");
        fs::write(corpus.join(format!("onnx/{i}.onnx")), bytes).unwrap();
    }
    fs::create_dir_all(corpus.join("pickle")).unwrap();
    pickles(&corpus.join("pickle"));
    for (name, text) in [
        ("names.txt", "tench\ngoldfish\r\n\u{e9}clair\n\n"),
        ("utf16.txt", "\u{feff}tench\rgoldfish"),
        ("list.json", r#"["tench", "goldfish"]"#),
        ("class_index.json", r#"{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}"#),
        ("class_to_idx.json", r#"{"goldfish": 1, "tench": 0}"#),
        ("config.json", r#"{"id2label": {"0": "tench"}}"#),
    ] {
        let in_utf16 = || text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let bytes = if name == "utf16.txt" { in_utf16() } else { text.as_bytes().to_vec() };
        fs::write(corpus.join("arrays").join(name), bytes).unwrap();
    }
    for wiring in Wiring::ALL {
        let network = Synthetic::new(&model_fuzz::tiny(wiring)).unwrap();
        let tensors: Vec<Tensor> = network
            .names()
            .into_iter()
            .map(|name| {
                let (shape, values) = (network.shape(&name).unwrap(), network.read(&name).unwrap());
                (name, shape, values)
            })
            .collect();
        let safetensors = corpus.join(format!("safetensors/{wiring}.safetensors"));
        let slices = tensors.iter().map(|(name, shape, values)| (&**name, &**shape, &**values));
        save_safetensors(&safetensors, slices).unwrap();
        let mut files = vec![safetensors];
        let mut write = |name: String, bytes: Vec<u8>| {
            files.push(corpus.join(name));
            fs::write(&files[files.len() - 1], bytes).unwrap();
        };
        if wiring == Wiring::Keras {
            write("hdf5/keras.h5".into(), keras(&tensors));
            let config = br#"{"config": {"layers": [{"class_name": "BatchNormalization", "config": {"name":
                "stage2/block1/bn_1x1conv_1", "epsilon": 0.1}}]}}"#;
            let archive = [("config.json", &config[..]), ("model.weights.h5", &keras(&tensors))];
            write("hdf5/archive.keras".into(), torch_files::zip(&archive));
        } else {
            let mut storages = Storages::default();
            let entries: Vec<(&String, Vec<u8>)> =
                tensors.iter().map(|(name, shape, values)| (name, storages.tensor(shape, values))).collect();
            let weights = ordered_dict(&entries);
            write(format!("torch/{wiring}.zip.pth"), storages.zip(&weights));
            write(format!("torch/{wiring}.legacy.pth"), storages.legacy(&weights));
            let script = [("a/constants.pkl", &b"\x80\x02)."[..])];
            let module = object("my", "Net", &[("_modules", weights)]);
            write(format!("torch/{wiring}.script.pt"), storages.zip_with(&module, &script));
        }
        for file in files {
            Network::load(&Checkpoint::open(&file).unwrap(), Isa::best()).expect("a seed is a whole network");
        }
    }
}

/// Small pickles with everything that the reader knows.
fn pickles(folder: &Path) {
    let mut storages = Storages::default();
    let tensor = storages.tensor(&[2, 3], &[0.0; 6]);
    let array = torch_files::call("numpy.core.multiarray", "_reconstruct", &[]);
    let dtype = torch_files::call("numpy", "dtype", &[string("f4")]);
    let shape = torch_files::tuple(&[torch_files::int(1)]);
    let values = torch_files::byte_string(&[0; 4]);
    let state = torch_files::tuple(&[torch_files::int(1), shape, dtype, b"\x89".to_vec(), values]);
    let array = [&array[..], &state, b"b"].concat();
    let within = Storages::default().storage("FloatStorage", 4, vec![0; 4]);
    let within = torch_files::byte_string(&storages.legacy(&within));
    let loaded = torch_files::call("torch.storage", "_load_from_bytes", &[within]);
    let module = object("my", "Net", &[("_parameters", ordered_dict(&[("weight", tensor.clone())]))]);
    let text = b"(I12\nI01\nF0.5\nVx\n(lp7\n0g7\nt".to_vec();
    for (name, object) in
        [("tensor", tensor), ("array", array), ("loaded", loaded), ("module", module), ("text", text)]
    {
        let file = [b"\x80\x02", &torch_files::dict(&[("a", object)])[..], b"."].concat();
        fs::write(folder.join(name), file).unwrap();
    }
}

/// Name, shape, values.
type Tensor = (String, Vec<usize>, Vec<f32>);

/// One group, so that the file stays small.
fn keras(tensors: &[Tensor]) -> Vec<u8> {
    let mut file = FileBuilder::new();
    file.set_attr("layer_names", AttrValue::StringArray(vec!["all".into()]));
    let mut all = file.create_group("all");
    all.set_attr(
        "weight_names",
        AttrValue::StringArray(tensors.iter().map(|(name, ..)| name.clone()).collect()),
    );
    group(&mut all, "", tensors);
    file.add_group(all.finish());
    file.finish().unwrap()
}

/// The datasets and groups below `prefix`.
fn group(to: &mut hdf5_pure::GroupBuilder, prefix: &str, tensors: &[Tensor]) {
    let mut groups: Vec<&str> = Vec::new();
    for (name, shape, values) in tensors {
        let Some(rest) = name.strip_prefix(prefix) else { continue };
        match rest.split_once('/') {
            Some((first, _)) if groups.contains(&first) => {}
            Some((first, _)) => groups.push(first),
            None => {
                let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
                to.create_dataset(rest).with_f32_data(values).with_shape(&shape);
            }
        }
    }
    for name in groups {
        let mut inner = to.create_group(name);
        group(&mut inner, &format!("{prefix}{name}/"), tensors);
        to.add_group(inner.finish());
    }
}
