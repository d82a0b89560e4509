//! Weights and images by formula, and the outputs PyTorch and Keras gave for them.
//!
//! `../truth/record.py` fills a network's tensors by the same formula, to the same bits, runs it in float64 and
//! records the logits; a test fills the tensors listed here, builds the network from them and compares.

#![allow(dead_code, reason = "each test binary that includes this module uses a part of it")]

use std::path::{Path, PathBuf};

/// `torchvision`, `megvii` and `keras`, as `shufflenet --wiring` spells them.
pub(crate) const WIRINGS: [&str; 3] = ["torchvision", "megvii", "keras"];

/// The standard widths; a fifth network, `custom`, has few channels, odd halves and 10 classes.
pub(crate) const WIDTHS: [&str; 4] = ["0.5", "1.0", "1.5", "2.0"];

/// Units per stage of the network `custom`.
pub(crate) const CUSTOM_REPEATS: [usize; 3] = [2, 3, 2];

/// Output channels of conv1, the three stages and conv5 in the network `custom`.
pub(crate) fn custom_channels(wiring: &str) -> [usize; 5] {
    match wiring {
        "megvii" => [16, 40, 72, 136, 200],
        _ => [16, 42, 74, 138, 200],
    }
}

/// `len` values in `[lo, hi)`, in the order the framework's checkpoint stores the tensor called `name`.
pub(crate) fn fill(name: &str, len: usize, lo: f64, hi: f64) -> Vec<f32> {
    let seed = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3));
    (0..len as u64)
        .map(|i| {
            let mut z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            let u = (z >> 40) as f64 / f64::from(1 << 24);
            (lo + (hi - lo) * u) as f32
        })
        .collect()
}

/// The bounds of the tensor called `name`; they keep activations of order 1 from the image to the logits.
pub(crate) fn range(wiring: &str, name: &str, shape: &[usize]) -> (f64, f64) {
    let keras = wiring == "keras";
    if name == "input" {
        return if wiring == "megvii" { (0.0, 255.0) } else { (-2.0, 2.0) };
    }
    if shape.len() == 1 {
        let scales = ["running_var", "moving_variance:0", "gamma:0"];
        let scale = scales.iter().any(|end| name.ends_with(end)) || (!keras && name.ends_with(".weight"));
        return if scale { (0.5, 1.5) } else { (-0.3, 0.3) };
    }
    let depthwise =
        if keras { name.ends_with("depthwise_kernel:0") } else { shape.len() == 4 && shape[1] == 1 };
    let inputs = match (keras, depthwise) {
        (false, _) => &shape[1..],
        (true, true) => &shape[..2],
        (true, false) => &shape[..shape.len() - 1],
    };
    let fan_in: usize = inputs.iter().product();
    let gain = if depthwise || shape.len() == 2 { 3.0 } else { 4.0 };
    let mut bound = (gain / fan_in as f64).sqrt();
    if name == "first_conv.0.weight" {
        bound /= 128.0;
    }
    (-bound, bound)
}

/// One tensor of a network, by its name in the framework's checkpoint.
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<f32>,
}

/// Every float tensor of `network` (a width or `custom`), names and shapes as the framework itself has them.
///
/// PyTorch's checkpoints also hold an integer `num_batches_tracked` per batch normalisation, left out here.
pub(crate) fn tensors(wiring: &str, network: &str) -> Vec<Tensor> {
    let path = folder().join(format!("{wiring}.tensors.txt"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let tables = text.split("\n\n").map(|table| table.trim_end().split('\n'));
    for mut lines in tables {
        let header = lines.next().expect("a table has a header");
        let Some(column) = header.split(' ').position(|name| name == network) else { continue };
        return lines
            .map(|line| {
                let fields: Vec<&str> = line.split(' ').collect();
                let shape: Vec<usize> =
                    fields[column].split('x').map(|n| n.parse().expect("a size")).collect();
                let (lo, hi) = range(wiring, fields[0], &shape);
                let data = fill(fields[0], shape.iter().product(), lo, hi);
                Tensor { name: fields[0].to_owned(), shape, data }
            })
            .collect();
    }
    panic!("{}: no network {network}", path.display());
}

/// One recorded run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) wiring: &'static str,
    pub(crate) network: &'static str,
    pub(crate) ih: usize,
    pub(crate) iw: usize,
    pub(crate) batch: usize,
}

/// Every recorded run.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for wiring in WIRINGS {
        for network in WIDTHS {
            for (ih, iw, batch) in [(224, 224, 1), (193, 257, 2), (64, 96, 5)] {
                cases.push(Case { wiring, network, ih, iw, batch });
            }
        }
        for (ih, iw, batch) in [(97, 64, 3), (32, 32, 1)] {
            cases.push(Case { wiring, network: "custom", ih, iw, batch });
        }
    }
    cases
}

impl Case {
    /// Classes of the network.
    pub(crate) fn classes(&self) -> usize {
        if self.network == "custom" { 10 } else { 1000 }
    }

    /// The classes whose outputs were recorded, ascending.
    pub(crate) fn kept(&self) -> impl Iterator<Item = usize> {
        (0..self.classes()).step_by(if self.classes() == 1000 && self.ih != 224 { 8 } else { 1 })
    }

    /// The batch of images, (batch, 3, ih, iw).
    pub(crate) fn input(&self) -> Vec<f32> {
        let shape = [self.batch, 3, self.ih, self.iw];
        let (lo, hi) = range(self.wiring, "input", &shape);
        fill("input", shape.iter().product(), lo, hi)
    }

    /// The recorded logits: for each image those of the kept classes.
    pub(crate) fn logits(&self) -> Vec<Vec<f64>> {
        self.load("")
    }

    /// The recorded output of the Keras network's softmax, like `logits`.
    pub(crate) fn softmax(&self) -> Vec<Vec<f64>> {
        assert_eq!(self.wiring, "keras", "only the Keras network ends in a softmax");
        self.load("_softmax")
    }

    fn load(&self, suffix: &str) -> Vec<Vec<f64>> {
        let Case { wiring, network, ih, iw, batch } = self;
        let path = folder().join(format!("{wiring}_{network}_{ih}x{iw}_b{batch}{suffix}.npy"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        read_npy(&path, &bytes, *batch, self.kept().count())
    }
}

/// A `.npy` file (version 1, float64, C order) of exactly `rows` x `columns` numbers.
fn read_npy(path: &Path, bytes: &[u8], rows: usize, columns: usize) -> Vec<Vec<f64>> {
    let path = path.display();
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"), "{path}: not a version 1 .npy file");
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..start]);
    let expected = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    assert_eq!(header.trim_end(), expected, "{path}");
    let numbers: Vec<f64> =
        bytes[start..].chunks_exact(8).map(|n| f64::from_le_bytes(n.try_into().expect("8 bytes"))).collect();
    assert_eq!(numbers.len(), rows * columns, "{path}");
    numbers.chunks_exact(columns).map(<[f64]>::to_vec).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/truth")
}
