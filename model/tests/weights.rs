//! Checkpoints as PyTorch, safetensors and Keras write them (recorded/make_fixtures.py).

mod torch_files;

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
        // As `zip` would pack it again.
        ("deflated.pth", Format::TorchZip),
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
fn names_are_the_way_from_the_root() {
    let names = |name: &str| -> Vec<String> {
        let checkpoint = Checkpoint::open(&fixture(name)).unwrap();
        checkpoint.names().map(str::to_owned).collect()
    };
    assert_eq!(
        names("training.pth"),
        ["state_dict.module.f32", "state_dict.module.scalar", "optimizer.state.0.momentum_buffer"]
    );
    assert_eq!(names("model_legacy.pth"), ["model.module.f32", "model.module.scalar"]);
    // A whole module has the names of its state_dict().
    assert_eq!(names("whole_module.pth"), ["weight", "bias"]);
    let checkpoint = Checkpoint::open(&fixture("training.pth")).unwrap();
    assert_eq!(checkpoint.read("state_dict.module.f32").unwrap(), ramp(1, 6));
}

#[test]
fn torch_files_that_are_refused() {
    let checkpoint = Checkpoint::open(&fixture("quantised.pth")).unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["q"]);
    assert_eq!((checkpoint.shape("q"), checkpoint.dtype("q")), (None, None));
    assert_eq!(
        checkpoint.read("q").unwrap_err().to_string(),
        "bad PyTorch file: tensor \"q\": it is quantised, which is not supported: save the float model's state_dict()"
    );
    assert_eq!(
        error("no_tensors.pth"),
        "bad PyTorch file: there is no tensor in it (the keys at its top: [\"epoch\"])"
    );
    assert_eq!(
        error("big_endian.pth"),
        "bad PyTorch file: the file was written on a big-endian machine, which is not supported"
    );
}

#[test]
fn safetensors_by_hugging_face() {
    let checkpoint = Checkpoint::open(&fixture("hugging_face.safetensors")).unwrap();
    assert_eq!(checkpoint.format(), Format::Safetensors);
    assert_eq!(checkpoint.read("module.f32").unwrap(), ramp(1, 6));
    assert_eq!(checkpoint.read("module.f64").unwrap(), ramp(3, 4));
    assert_eq!(checkpoint.read("module.f16").unwrap(), ramp(4, 5));
    assert_eq!(checkpoint.read("module.bf16").unwrap(), ramp(5, 5));
    assert_eq!(checkpoint.dtype("module.bn.num_batches_tracked"), Some(DType::I64));
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
fn keras_3() {
    let expected: [(&str, &[usize]); 11] = [
        ("conv1/kernel", &[3, 3, 3, 4]),
        ("stage2_block1_1x1conv_1/kernel", &[1, 1, 4, 2]),
        ("stage2_block1_1x1conv_1/bias", &[2]),
        ("stage2_block1_bn_1x1conv_1/gamma", &[2]),
        ("stage2_block1_bn_1x1conv_1/beta", &[2]),
        ("stage2_block1_bn_1x1conv_1/moving_mean", &[2]),
        ("stage2_block1_bn_1x1conv_1/moving_variance", &[2]),
        ("stage2_block1_3x3dwconv/kernel", &[3, 3, 2, 1]),
        ("stage2_block1_3x3dwconv/bias", &[2]),
        ("fc/kernel", &[2, 5]),
        ("fc/bias", &[5]),
    ];
    for (file, format, epsilon) in [
        ("keras3.weights.h5", Format::KerasHdf5, None),
        ("keras3.keras", Format::KerasZip, Some(1e-5)),
        ("keras3_legacy.h5", Format::KerasHdf5, Some(1e-5)),
    ] {
        let checkpoint = Checkpoint::open(&fixture(file)).unwrap();
        assert_eq!(checkpoint.format(), format, "{file}");
        for (k, (name, shape)) in expected.into_iter().enumerate() {
            assert_eq!(checkpoint.shape(name), Some(shape), "{file}: {name}");
            assert_eq!(checkpoint.read(name).unwrap(), ramp(k, shape.iter().product()), "{file}: {name}");
            let of_norm = name.contains("bn_1x1conv_1");
            assert_eq!(checkpoint.epsilon(name), epsilon.filter(|_| of_norm), "{file}: {name}");
        }
    }
}

#[test]
fn hdf5_chunks_filters_and_byte_orders() {
    for file in ["codecs.h5", "codecs_latest.h5", "user_block.h5"] {
        let checkpoint = Checkpoint::open(&fixture(file)).unwrap();
        let names = ["plain", "big", "chunks", "one_chunk", "gzip", "shuffle", "checksum", "all", "row"];
        assert_eq!(checkpoint.names().count(), names.len());
        for (k, name) in names.into_iter().enumerate() {
            let shape: &[usize] = if name == "row" { &[7] } else { &[7, 5] };
            assert_eq!(checkpoint.shape(name), Some(shape), "{file}: {name}");
            assert_eq!(checkpoint.read(name).unwrap(), ramp(k, shape.iter().product()), "{file}: {name}");
        }
    }
    let damaged = Checkpoint::open(&fixture("checksum.h5")).unwrap();
    assert_eq!(
        damaged.read("checksum").unwrap_err().to_string(),
        "bad HDF5 file: tensor \"checksum\": a chunk's checksum does not fit its bytes"
    );
    assert_eq!(damaged.read("all").unwrap(), ramp(7, 35));
    let other = Checkpoint::open(&fixture("lzf.h5")).unwrap();
    let error = other.read("lzf").unwrap_err().to_string();
    assert!(error.contains("its filter 32000 is not supported"), "{error}");
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

    let read = |file: &str, name: &str| Checkpoint::open(&fixture(file)).unwrap().read(name);
    // Names that say nothing of their layer get its name before them.
    assert_eq!(read("chunked.h5", "a/kernel:0").unwrap(), ramp(1, 24));
    assert_eq!(read("big_endian.h5", "a/kernel:0").unwrap(), ramp(3, 5));
    assert_eq!(read("not_keras.h5", "x").unwrap(), ramp(1, 3));
    for (file, reason) in
        [("bomb.h5", "its values were never written"), ("unwritten.h5", "its values were never written")]
    {
        let expected = format!("bad HDF5 file: tensor \"a/kernel:0\": {reason}");
        let error = read(file, "a/kernel:0").unwrap_err().to_string();
        assert!(error.starts_with(&expected), "{error}");
    }
    assert!(read("cycle.h5", "a/kernel:0").is_err());
}

/// The values of another kind of file are no values of weights; it is told which kind, and what to do.
#[test]
fn files_that_are_something_else() {
    // Names are all that is looked at.
    let zip =
        |names: &[&str]| torch_files::zip(&names.iter().map(|&name| (name, &b""[..])).collect::<Vec<_>>());
    let mut tar = vec![0; 1024];
    tar[..5].copy_from_slice(b"x.pth");
    tar[257..262].copy_from_slice(b"ustar");
    let cases: [(&[u8], &str, &str); 27] = [
        (b"", "an empty file", "cut off"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
            "a Git LFS pointer",
            "git lfs pull",
        ),
        (b"<!DOCTYPE html>\n<html><head></head></html>\n", "a web page (HTML)", "download"),
        (b"\n\n  <HTML lang=\"en\">", "a web page (HTML)", "download"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "a gzip file", "gunzip"),
        (&tar, "a tar archive", "unpack"),
        (b"\xfd7zXZ\0\0", "an xz file", "unpack"),
        (&zip(&["weights.pth"]), "a zip archive with files in it", "unpack"),
        (&zip(&["conv1.0.weight.npy"]), ".npz", "safetensors.numpy"),
        (
            &zip(&["w/data/sample_inputs/model.pt", "w/data/weights/weight_0"]),
            "a torch.export archive (.pt2)",
            "state_dict()",
        ),
        (b"(dp0\nVconv1.0.weight\n", "a Python pickle of protocol 0", "protocol=4"),
        (b"}q\0X\x0e\0\0\0conv1.0.weight", "a Python pickle of protocol 1", "protocol=4"),
        (b"\xef\xbb\xbf<!doctype html>", "a web page (HTML)", "download"),
        (b"\0\0\0\x18ftypheic\0\0\0\0heic", "a HEIC picture", "another file"),
        (&zip(&["a.txt"]), "a zip archive without weights", "torch.save"),
        (b"\x93NUMPY\x01\0", "a NumPy array", ".safetensors"),
        (b"\x1c\0\0\0TFL3\0\0", "a TensorFlow Lite model", ".h5"),
        (b"\x08\x08\x12\x07pytorch\x1a\x052.0.0", "an ONNX network", ".onnx"),
        (b"\x08\x07:\xff\x01", "an ONNX network", ".onnx"),
        (b"GGUF\x03\0\0\0", "a GGUF file", "safetensors"),
        (b"7767517\n75 83\n", "an ncnn network", "checkpoint"),
        (b"<?xml version=\"1.0\"?>\n<net name=\"x\">", "an OpenVINO network", "checkpoint"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG picture", "another file"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture", "another file"),
        (b"%PDF-1.7\n", "a PDF document", "another file"),
        (b"{\"metadata\": {}, \"weight_map\": {}}", "the index of a checkpoint", ".safetensors"),
        (b"{\"error\": \"no such file\"}", "a JSON file", "torch.save"),
    ];
    for (bytes, what, advice) in cases {
        let error = Checkpoint::from_bytes(bytes.to_vec()).expect_err(what).to_string();
        assert!(error.contains(what) && error.contains(advice) && !error.contains('\n'), "{what}: {error}");
    }
    for bytes in [&b"nothing that anybody knows"[..], b"PK", &[0; 100]] {
        let error = Checkpoint::from_bytes(bytes.to_vec()).expect_err("no format").to_string();
        assert!(error.starts_with("not a checkpoint in a known format"), "{error}");
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
    let convert = |file: &str, output: &Path| {
        let checkpoint = Checkpoint::open(&fixture(file)).unwrap();
        convert(&checkpoint, checkpoint.names().map(|name| (name, name)), output)
    };
    for (file, names) in [
        ("zip.pth", 13),
        ("legacy.pth", 13),
        ("keras_types.h5", 4),
        ("hugging_face.safetensors", 5),
        ("codecs.h5", 9),
        ("keras3.keras", 11),
    ] {
        convert(file, &path).unwrap();
        let (from, to) = (Checkpoint::open(&fixture(file)).unwrap(), Checkpoint::open(&path).unwrap());
        assert_eq!(to.names().count(), names, "{file}");
        for name in from.names() {
            assert_eq!(from.dtype(name), to.dtype(name), "{file}: {name}");
            assert_eq!(from.shape(name), to.shape(name), "{file}: {name}");
            assert_eq!(from.epsilon(name), to.epsilon(name), "{file}: {name}");
            if from.dtype(name).unwrap().is_float() {
                assert_eq!(from.read(name).unwrap(), to.read(name).unwrap(), "{file}: {name}");
            }
        }
    }

    // A failed conversion leaves the old file, and nothing else.
    let before = std::fs::read(&path).unwrap();
    convert("checksum.h5", &path).unwrap_err();
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);

    let error = convert("zip.pth", &dir).unwrap_err().to_string();
    assert!(error.contains("Is a directory"), "{error}");
    let error = convert("zip.pth", &dir.join("no/folder")).unwrap_err().to_string();
    assert!(error.contains("no/folder"), "{error}");
    std::fs::remove_dir_all(&dir).unwrap();
}

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
