//! How numbers lie in files: every element type, every way to list them, and other files beside the model.

use crate::writer::{Message, Net, tensor};
use crate::{array, near};
use half::{bf16, f16};
use kernels::{Isa, Serial};
use model::onnx::{Network, OnnxError};
use std::path::PathBuf;

const WEIGHTS: [f32; 6] = [0.5, -1.25, 2.0, 0.125, -3.0, 0.75];

/// A network that scales three channels to two by a constant.
fn net(constant: &Message) -> Net {
    Net::of(13, &[1, 3, 1, 2]).tensor(constant).node("Conv x k", "y", &[]).output("y")
}

fn right(network: &Network) {
    let x = array(&[1, 3, 1, 2]);
    let y = network.run(&Serial, &[&x], &mut network.workspace()).unwrap();
    let expected: Vec<f64> = (0..4)
        .map(|at| {
            (0..3).map(|i| f64::from(WEIGHTS[at / 2 * 3 + i]) * f64::from(x.values[i * 2 + at % 2])).sum()
        })
        .collect();
    near(&y[0].values, &expected);
}

fn k(data_type: u64) -> Message {
    tensor("k", &[2, 3, 1, 1], data_type)
}

fn raw(bytes: impl Iterator<Item = u8>) -> Vec<u8> {
    bytes.collect()
}

#[test]
fn every_float_type_in_every_list() {
    let packed = |bytes: Vec<u8>, field| move |message: Message| message.bytes(field, &bytes);
    let f32s = raw(WEIGHTS.iter().flat_map(|w| w.to_le_bytes()));
    let f64s = raw(WEIGHTS.iter().flat_map(|w| f64::from(*w).to_le_bytes()));
    let halves = raw(WEIGHTS.iter().flat_map(|w| f16::from_f32(*w).to_le_bytes()));
    let brains = raw(WEIGHTS.iter().flat_map(|w| bf16::from_f32(*w).to_le_bytes()));
    let each = |message: Message, bits: &dyn Fn(f32) -> u64| {
        WEIGHTS.iter().fold(message, |m, w| m.varint(5, bits(*w)))
    };
    let constants = [
        packed(f32s.clone(), 9)(k(1)),
        packed(f32s, 4)(k(1)),
        WEIGHTS.iter().fold(k(1), |message, &w| message.float(4, w)),
        packed(f64s.clone(), 9)(k(11)),
        packed(f64s, 10)(k(11)),
        packed(halves, 9)(k(10)),
        packed(brains, 9)(k(16)),
        each(k(10), &|w| f16::from_f32(w).to_bits().into()),
        each(k(16), &|w| bf16::from_f32(w).to_bits().into()),
    ];
    for constant in constants {
        right(&Network::from_bytes(&net(&constant).bytes(), Isa::best()).unwrap());
    }
}

#[test]
fn every_integer_type_in_every_list() {
    let shape = [1i64, 6];
    let varints = |field: u32, data_type: u64| {
        shape.iter().fold(tensor("s", &[2], data_type), |message, &n| message.varint(field, n as u64))
    };
    let bytes = |data_type: u64, size: usize| {
        let raw: Vec<u8> = shape.iter().flat_map(|n| n.to_le_bytes()[..size].to_vec()).collect();
        tensor("s", &[2], data_type).bytes(9, &raw)
    };
    let constants = [
        bytes(7, 8),
        bytes(6, 4),
        bytes(5, 2),
        bytes(4, 2),
        bytes(3, 1),
        bytes(2, 1),
        bytes(12, 4),
        bytes(13, 8),
        varints(7, 7),
        varints(5, 6),
        varints(5, 5),
        varints(5, 3),
        varints(5, 2),
        varints(11, 12),
        varints(11, 13),
    ];
    for constant in constants {
        let net = Net::of(13, &[1, 3, 1, 2]).tensor(&constant).node("Reshape x s", "y", &[]).output("y");
        let network = Network::from_bytes(&net.bytes(), Isa::best()).unwrap();
        let x = array(&[1, 3, 1, 2]);
        let y = network.run(&Serial, &[&x], &mut network.workspace()).unwrap();
        assert_eq!((&y[0].shape[..], &y[0].values), (&[1, 6][..], &x.values));
    }
}

#[test]
fn sizes_that_do_not_fit_the_numbers() {
    for (constant, part) in [
        (k(1).bytes(9, &[0; 23]), "tensor \"k\": shape [2, 3, 1, 1] of float32 takes 24 bytes, found 23"),
        (k(1).float(4, 1.0), "shape [2, 3, 1, 1] has 6 elements, found 1"),
        (k(1), "has 6 elements, found 0"),
        (WEIGHTS.iter().fold(k(1).float(4, 0.0), |m, &w| m.float(4, w)), "found 7 or more"),
        (k(8), "element type string"),
        (k(77), "element type number 77"),
        (tensor("k", &[usize::MAX, 3, 1, 1], 1), "shape [-1, 3, 1, 1]"),
        (tensor("k", &[1 << 40, 1 << 40, 1, 1], 1), "shape [1099511627776, 1099511627776, 1, 1]"),
        (tensor("k", &[1; 9], 1), "more than 8 dimensions"),
    ] {
        let text = crate::invalid(&net(&constant).bytes());
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

fn scratch(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("onnx").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join("model/deep")).unwrap();
    folder
}

fn entry(key: &str, value: &str) -> Message {
    Message::default().text(1, key).text(2, value)
}

fn external(location: &str, more: &[(&str, &str)]) -> Net {
    let constant = k(1).message(13, &entry("location", location));
    let constant =
        more.iter().fold(constant, |message, (key, value)| message.message(13, &entry(key, value)));
    net(&constant.varint(14, 1))
}

#[test]
fn weights_may_lie_beside_the_model() {
    let folder = scratch("beside");
    let raw: Vec<u8> = WEIGHTS.iter().flat_map(|w| w.to_le_bytes()).collect();
    let padded = [&[9; 12][..], &raw, &[9; 5]].concat();
    std::fs::write(folder.join("model/w.data"), &raw).unwrap();
    std::fs::write(folder.join("model/deep/w.data"), &padded).unwrap();
    let path = folder.join("model/net.onnx");
    for net in [
        external("w.data", &[]),
        external("w.data", &[("offset", "0"), ("length", "24")]),
        external("deep/w.data", &[("offset", "12"), ("length", "24"), ("checksum", "whatever")]),
    ] {
        std::fs::write(&path, net.bytes()).unwrap();
        right(&Network::open(&path, Isa::best()).unwrap());
    }
    let text = crate::invalid(&external("w.data", &[]).bytes());
    assert!(text.contains("external data \"w.data\" lies in another file"), "{text}");
}

#[test]
fn and_nowhere_else() {
    let folder = scratch("elsewhere");
    let raw = [0u8; 24];
    let (inside, outside) = (folder.join("model"), folder.join("secret.data"));
    std::fs::write(&outside, raw).unwrap();
    std::fs::write(inside.join("w.data"), raw).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&outside, inside.join("link.data")).unwrap();
        std::os::unix::fs::symlink(&folder, inside.join("up")).unwrap();
    }
    let path = inside.join("net.onnx");
    let mut cases = vec![
        (external("../secret.data", &[]), "expected a plain file name below the model's folder"),
        (external(outside.to_str().unwrap(), &[]), "expected a plain file name below the model's folder"),
        (external("deep/../../secret.data", &[]), "expected a plain file name"),
        (external("", &[]), "expected a plain file name"),
        (external("..\\secret.data", &[]), "expected a plain file name"),
        (external("C:secret.data", &[]), "expected a plain file name"),
        (external("absent.data", &[]), "external data \"absent.data\": "),
        (external("deep", &[]), "external data \"deep\" is not a regular file"),
        (external("w.data", &[("offset", "1")]), "has 24 bytes, 24 from 1 on were expected"),
        (external("w.data", &[("offset", "18446744073709551615")]), "24 from 18446744073709551615 on"),
        (external("w.data", &[("offset", "-1")]), "offset is \"-1\""),
        (external("w.data", &[("length", "23")]), "takes 24 bytes, found 23"),
    ];
    if cfg!(unix) {
        cases.push((external("link.data", &[]), "is a link out of the model's folder"));
        cases.push((external("up/secret.data", &[]), "is a link out of the model's folder"));
    }
    for (net, part) in cases {
        std::fs::write(&path, net.bytes()).unwrap();
        match Network::open(&path, Isa::best()) {
            Err(error @ OnnxError::Invalid(_)) => {
                assert!(error.to_string().contains(part), "{part:?} is not in: {error}");
            }
            other => panic!("{part}: {other:?}"),
        }
    }
    assert!(matches!(Network::open(&folder.join("absent.onnx"), Isa::best()), Err(OnnxError::Io { .. })));
    assert!(matches!(Network::open(&folder, Isa::best()), Err(OnnxError::Io { .. })));
}
