//! Writes whole small networks in every format into the corpora: `seeds CORPUS`. What else the corpora begin with are
//! the files that the tests read.

#[path = "../../tests/onnx/networks.rs"]
mod networks;
#[allow(dead_code, reason = "the tests write more")]
#[path = "../../tests/onnx/writer.rs"]
mod writer;

use hdf5_pure::{AttrValue, FileBuilder};
use kernels::Isa;
use model::weights::{Checkpoint, save_safetensors};
use model::{Network, Synthetic, Weights, Wiring};
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let corpus = PathBuf::from(std::env::args_os().nth(1).expect("the folder of the corpora"));
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/recorded");
    for (folder, endings, target) in [
        ("weights", &["pth"][..], "torch"),
        ("weights", &["h5"], "hdf5"),
        ("weights", &["safetensors"], "safetensors"),
        ("images", &["png", "jpg"], "pictures"),
        ("arrays", &["npy"], "arrays"),
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
    fs::write(corpus.join("arrays/names.txt"), "tench\ngoldfish\r\n\u{e9}clair\n").unwrap();
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
        } else {
            write(format!("torch/{wiring}.zip.pth"), torch_zip(&tensors));
            write(format!("torch/{wiring}.legacy.pth"), torch_legacy(&tensors));
        }
        for file in files {
            Network::load(&Checkpoint::open(&file).unwrap(), Isa::best()).expect("a seed is a whole network");
        }
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

/// `{name: tensor}` as `torch.save` pickles it, every tensor in a storage of its own.
fn pickle(tensors: &[Tensor]) -> Vec<u8> {
    let string = |text: &str| [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let int = |n: usize| [&b"J"[..], &(n as u32).to_le_bytes()].concat();
    let ints =
        |ns: &[usize]| [b"(", &ns.iter().flat_map(|&n| int(n)).collect::<Vec<u8>>()[..], b"t"].concat();
    let mut bytes = b"}(".to_vec();
    for (key, (name, shape, values)) in tensors.iter().enumerate() {
        let strides: Vec<usize> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
        bytes.extend(string(name));
        bytes.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        bytes.extend(
            [string("storage"), b"ctorch\nFloatStorage\n".to_vec(), string(&key.to_string())].concat(),
        );
        bytes.extend([string("cpu"), int(values.len()), b"tQ".to_vec(), int(0)].concat());
        bytes.extend([ints(shape), ints(&strides), b"\x89}tR".to_vec()].concat());
    }
    bytes.push(b'u');
    bytes
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn torch_legacy(tensors: &[Tensor]) -> Vec<u8> {
    let keys: Vec<String> = (0..tensors.len()).map(|key| key.to_string()).collect();
    let keys =
        keys.iter().flat_map(|key| [&b"X"[..], &(key.len() as u32).to_le_bytes(), key.as_bytes()].concat());
    let pickles = [
        b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19".to_vec(),
        b"M\xe9\x03".to_vec(),
        b"}X\x0d\0\0\0little_endian\x88s".to_vec(),
        pickle(tensors),
        [b"](", &keys.collect::<Vec<u8>>()[..], b"e"].concat(),
    ];
    let mut file: Vec<u8> =
        pickles.iter().flat_map(|pickle| [b"\x80\x02", &pickle[..], b"."].concat()).collect();
    for (.., values) in tensors {
        file.extend((values.len() as u64).to_le_bytes());
        file.extend(little_endian(values));
    }
    file
}

/// A zip archive of uncompressed entries, without checksums.
fn torch_zip(tensors: &[Tensor]) -> Vec<u8> {
    let mut entries = vec![(String::from("a/data.pkl"), [b"\x80\x02", &pickle(tensors)[..], b"."].concat())];
    let storages = tensors.iter().enumerate();
    entries.extend(storages.map(|(key, (.., values))| (format!("a/data/{key}"), little_endian(values))));
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in &entries {
        let (offset, size) = ((file.len() as u32).to_le_bytes(), (data.len() as u32).to_le_bytes());
        // Version, flags, method, time, date, checksum; sizes; lengths of the name and of the extra field.
        let common =
            [&[20, 0][..], &[0; 12], &size, &size, &(name.len() as u16).to_le_bytes(), &[0; 2]].concat();
        file.extend([b"PK\x03\x04", &common[..], name.as_bytes(), data].concat());
        directory.extend([b"PK\x01\x02\x14\0", &common[..], &[0; 10], &offset, name.as_bytes()].concat());
    }
    let count = (entries.len() as u16).to_le_bytes();
    let (offset, size) = ((file.len() as u32).to_le_bytes(), (directory.len() as u32).to_le_bytes());
    [&file[..], &directory, b"PK\x05\x06\0\0\0\0", &count, &count, &size, &offset, &[0; 2]].concat()
}
