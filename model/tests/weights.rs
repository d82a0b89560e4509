//! Checkpoints as PyTorch, safetensors and Keras write them (recorded/make_fixtures.py).

use model::weights::{Checkpoint, DType, Format, WeightsError, convert, save_safetensors};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/weights").join(name)
}

/// The formula of the recording script: element i of tensor k is k + i / 4.
fn ramp(k: usize, elements: usize) -> Vec<f32> {
    (0..elements).map(|i| k as f32 + i as f32 / 4.0).collect()
}

fn error(name: &str) -> String {
    Checkpoint::open(&fixture(name)).expect_err(name).to_string()
}

/// What the script puts into all of its `.pth` files.
fn check_torch_tensors(checkpoint: &Checkpoint) {
    let read = |name| checkpoint.read(name).unwrap();
    assert_eq!(read("f32"), ramp(1, 6));
    assert_eq!(checkpoint.shape("f32"), Some(&[2, 3][..]));
    assert_eq!(read("scalar"), [2.0]);
    assert_eq!(checkpoint.shape("scalar"), Some(&[][..]));
    assert_eq!(read("empty"), [0f32; 0]);
    assert_eq!(read("f64"), ramp(3, 4));
    assert_eq!(checkpoint.dtype("f64"), Some(DType::F64));
    assert_eq!(read("f16"), ramp(4, 5));
    assert_eq!(checkpoint.dtype("f16"), Some(DType::F16));
    assert_eq!(read("bf16"), ramp(5, 5));
    assert_eq!(checkpoint.dtype("bf16"), Some(DType::BF16));

    // Views: a transposed 3x2, a channels-last 2x3x2x2, rows 1..3 and columns 2..5 of a 4x6, a repeated row.
    assert_eq!(checkpoint.shape("transposed"), Some(&[2, 3][..]));
    let t = ramp(6, 6);
    assert_eq!(read("transposed"), [t[0], t[2], t[4], t[1], t[3], t[5]]);
    assert_eq!(checkpoint.shape("channels_last"), Some(&[2, 3, 2, 2][..]));
    assert_eq!(read("channels_last"), ramp(7, 24));
    let whole = ramp(8, 24);
    assert_eq!(read("whole"), whole);
    assert_eq!(checkpoint.shape("window"), Some(&[2, 3][..]));
    assert_eq!(read("window"), [&whole[8..11], &whole[14..17]].concat());
    assert_eq!(checkpoint.shape("expanded"), Some(&[4, 3][..]));
    assert_eq!(read("expanded"), ramp(9, 3).repeat(4));

    // Listed, but not weights.
    assert_eq!(checkpoint.dtype("bn.num_batches_tracked"), Some(DType::I64));
    let refused = checkpoint.read("bn.num_batches_tracked").unwrap_err().to_string();
    assert_eq!(refused, "tensor \"bn.num_batches_tracked\" holds int64 values, expected floating point");
    let refused = checkpoint.read("mask").unwrap_err().to_string();
    assert_eq!(refused, "tensor \"mask\" holds bool values, expected floating point");
    assert_eq!(checkpoint.names().count(), 13);
}

#[test]
fn torch_containers() {
    for (name, format) in [
        ("zip.pth", Format::TorchZip),
        ("zip_protocol4.pth", Format::TorchZip),
        ("legacy.pth", Format::TorchLegacy),
        ("legacy_protocol4.pth", Format::TorchLegacy),
    ] {
        let checkpoint = Checkpoint::open(&fixture(name)).unwrap();
        assert_eq!(checkpoint.format(), format, "{name}");
        check_torch_tensors(&checkpoint);
        let in_memory = Checkpoint::from_bytes(std::fs::read(fixture(name)).unwrap()).unwrap();
        check_torch_tensors(&in_memory);
    }
}

#[test]
fn wrapped_and_prefixed() {
    for name in ["training.pth", "model_legacy.pth"] {
        let checkpoint = Checkpoint::open(&fixture(name)).unwrap();
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["f32", "scalar"], "{name}");
        assert_eq!(checkpoint.read("f32").unwrap(), ramp(1, 6), "{name}");
    }
}

#[test]
fn torch_files_that_are_refused() {
    assert_eq!(
        error("whole_module.pth"),
        "bad PyTorch file: the pickle asks to run \"torch.nn.modules.linear.Linear\", which is refused: only \
         tensors and dictionaries are read (save a model's state_dict(), not the model)"
    );
    assert_eq!(
        error("quantised.pth"),
        "bad PyTorch file: quantised tensors are not supported: save the float model's state_dict()"
    );
    assert_eq!(
        error("no_tensors.pth"),
        "bad PyTorch file: no tensors by name at the top level (its keys: [\"epoch\"])"
    );
    assert_eq!(
        error("big_endian.pth"),
        "bad PyTorch file: the file was written on a big-endian machine, which is not supported"
    );
    assert!(error("deflated.pth").ends_with("of the zip archive is compressed or encrypted"));
}

#[test]
fn safetensors_by_hugging_face() {
    let checkpoint = Checkpoint::open(&fixture("hugging_face.safetensors")).unwrap();
    assert_eq!(checkpoint.format(), Format::Safetensors);
    assert_eq!(checkpoint.read("f32").unwrap(), ramp(1, 6));
    assert_eq!(checkpoint.read("f64").unwrap(), ramp(3, 4));
    assert_eq!(checkpoint.read("f16").unwrap(), ramp(4, 5));
    assert_eq!(checkpoint.read("bf16").unwrap(), ramp(5, 5));
    assert_eq!(checkpoint.dtype("bn.num_batches_tracked"), Some(DType::I64));
}

#[test]
fn keras_weights_and_models() {
    let expected: [(&str, &[usize]); 11] = [
        ("conv1/kernel:0", &[3, 3, 3, 4]),
        ("stage2/block1/1x1conv_1/kernel:0", &[1, 1, 4, 2]),
        ("stage2/block1/1x1conv_1/bias:0", &[2]),
        ("stage2/block1/bn_1x1conv_1/gamma:0", &[2]),
        ("stage2/block1/bn_1x1conv_1/beta:0", &[2]),
        ("stage2/block1/bn_1x1conv_1/moving_mean:0", &[2]),
        ("stage2/block1/bn_1x1conv_1/moving_variance:0", &[2]),
        ("stage2/block1/3x3dwconv/depthwise_kernel:0", &[3, 3, 2, 1]),
        ("stage2/block1/3x3dwconv/bias:0", &[2]),
        ("fc/kernel:0", &[2, 5]),
        ("fc/bias:0", &[5]),
    ];
    for file in ["keras_weights.h5", "keras_model.h5"] {
        let checkpoint = Checkpoint::open(&fixture(file)).unwrap();
        assert_eq!(checkpoint.format(), Format::KerasHdf5);
        assert_eq!(checkpoint.names().count(), expected.len(), "{file}");
        for (k, (name, shape)) in expected.into_iter().enumerate() {
            assert_eq!(checkpoint.shape(name), Some(shape), "{file}: {name}");
            assert_eq!(checkpoint.read(name).unwrap(), ramp(k, shape.iter().product()), "{file}: {name}");
        }
    }
}

#[test]
fn hdf5_types_and_refusals() {
    let checkpoint = Checkpoint::open(&fixture("keras_types.h5")).unwrap();
    assert_eq!(checkpoint.dtype("a/b/bias:0"), Some(DType::F16));
    assert_eq!(checkpoint.read("a/b/bias:0").unwrap(), ramp(2, 5));
    assert_eq!(checkpoint.dtype("c/beta:0"), Some(DType::F64));
    assert_eq!(checkpoint.read("c/beta:0").unwrap(), ramp(4, 5));
    assert_eq!(checkpoint.read("c/empty:0").unwrap(), [0f32; 0]);
    assert!(matches!(checkpoint.read("c/steps:0"), Err(WeightsError::NotFloat { dtype: DType::I64, .. })));

    assert!(error("not_keras.h5").starts_with("bad Keras HDF5 file: no layer_names"));
    assert!(error("cycle.h5").starts_with("bad Keras HDF5 file: tensor \"a/kernel:0\": "));
    for (file, reason) in [
        ("chunked.h5", "it is stored in chunks or compressed"),
        ("bomb.h5", "it is stored in chunks or compressed"),
        ("big_endian.h5", "elements of type"),
        ("unwritten.h5", "its values were never written"),
    ] {
        let expected = format!("bad Keras HDF5 file: tensor \"kernel:0\": {reason}");
        assert!(error(file).starts_with(&expected), "{}", error(file));
    }
}

#[test]
fn names_that_are_not_there() {
    let checkpoint = Checkpoint::open(&fixture("zip.pth")).unwrap();
    assert_eq!(checkpoint.shape("f33"), None);
    assert_eq!(checkpoint.read("f33").unwrap_err().to_string(), "the checkpoint has no tensor \"f33\"");
    let error = Checkpoint::open("/nowhere/x.pth".as_ref()).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/x.pth: "), "{error}");
    let error = Checkpoint::open(&scratch("names_that_are_not_there")).unwrap_err().to_string();
    assert!(error.ends_with("not a regular file"), "{error}");
}

#[test]
fn writing_and_converting() {
    let dir = scratch("writing_and_converting");
    let path = dir.join("out.safetensors");
    let values = [1.0, f32::NAN, 3.0, f32::INFINITY];
    let tensors =
        [("z", &[2, 1][..], &values[..2]), ("a", &[1, 2], &values[2..]), ("ok", &[1], &values[..1])];
    save_safetensors(&path, tensors).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "ok", "z"]);
    assert_eq!(checkpoint.non_finite(), [""; 0]);
    assert_eq!(checkpoint.read("a").unwrap(), values[2..]);
    assert!(checkpoint.read("z").unwrap()[1].is_nan());
    assert_eq!(checkpoint.read("ok").unwrap(), [1.0]);
    assert_eq!(checkpoint.non_finite(), ["a", "z"]);

    // Over a file that is already there, and from every format.
    for (file, names) in
        [("zip.pth", 13), ("legacy.pth", 13), ("keras_types.h5", 4), ("hugging_face.safetensors", 5)]
    {
        convert(&fixture(file), &path).unwrap();
        let (from, to) = (Checkpoint::open(&fixture(file)).unwrap(), Checkpoint::open(&path).unwrap());
        assert_eq!(to.names().count(), names, "{file}");
        for name in from.names() {
            assert_eq!(from.dtype(name), to.dtype(name), "{file}: {name}");
            assert_eq!(from.shape(name), to.shape(name), "{file}: {name}");
            if from.dtype(name).unwrap().is_float() {
                assert_eq!(from.read(name).unwrap(), to.read(name).unwrap(), "{file}: {name}");
            }
        }
    }

    // A failed conversion leaves the old file, and nothing else.
    let before = std::fs::read(&path).unwrap();
    convert(&fixture("whole_module.pth"), &path).unwrap_err();
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);

    let error = convert(&fixture("zip.pth"), &dir).unwrap_err().to_string();
    assert!(error.contains("Is a directory"), "{error}");
    let error = convert(&fixture("zip.pth"), &dir.join("no/folder")).unwrap_err().to_string();
    assert!(error.contains("no/folder"), "{error}");
    std::fs::remove_dir_all(&dir).unwrap();
}

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
