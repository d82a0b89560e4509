//! `shufflenet logits`.

use crate::{Ran, command, files, finish, recorded, run, save, save_changed, scratch, small};
use kernels::{Isa, Serial};
use model::weights::Checkpoint;
use model::{Images, Layout, Network, Wiring, npy};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

fn logits(weights: &Path, input: &Path, output: &Path, more: &[&str]) -> Ran {
    let files = ["--weights".as_ref(), weights.as_os_str(), "--input".as_ref(), input.as_os_str()];
    let output = ["--output".as_ref(), output.as_os_str()];
    run(["logits".as_ref()].into_iter().chain(files).chain(output).chain(more.iter().map(AsRef::as_ref)))
}

/// Numbers that look like a photo's: none equal to its neighbours.
fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 7919 % 4001) as f32 / 1000.0 - 2.0).collect()
}

#[test]
fn are_those_of_the_library_in_both_layouts_at_any_size_batch_and_number_of_threads() {
    let dir = scratch("logits");
    let (weights, input, output) = (dir.join("w.safetensors"), dir.join("x.npy"), dir.join("y.npy"));
    for wiring in Wiring::ALL {
        save(&small(wiring, 10), &weights);
        let network = Network::load(&Checkpoint::open(&weights).unwrap(), Isa::best()).unwrap();
        for (n, h, w) in [(1, 32, 32), (3, 47, 64), (2, 100, 33)] {
            let data = numbers(n * 3 * h * w);
            for (name, layout, shape) in
                [("nchw", Layout::Nchw, [n, 3, h, w]), ("nhwc", Layout::Nhwc, [n, h, w, 3])]
            {
                let mut expected = vec![0.0; n * 10];
                let images = Images { data: &data, n, h, w, layout };
                network.run(&Serial, images, &mut network.workspace(), &mut expected);
                npy::write(&input, &shape, &data).unwrap();
                for threads in ["1", "2", "5"] {
                    let more = ["--layout", name, "--threads", threads];
                    assert_eq!(logits(&weights, &input, &output, &more).good(), "");
                    let found = npy::read(&output).unwrap();
                    assert_eq!(found, npy::Array { shape: vec![n, 10], values: expected.clone() });
                }
            }
        }
    }
    assert_eq!(files(&dir), ["w.safetensors", "x.npy", "y.npy"]);
}

#[test]
fn nchw_is_the_default_and_softmax_makes_probabilities() {
    let dir = scratch("softmax");
    let (weights, input, output) = (dir.join("w.safetensors"), dir.join("x.npy"), dir.join("y.npy"));
    save(&small(Wiring::Torchvision, 7), &weights);
    npy::write(&input, &[2, 3, 40, 40], &numbers(2 * 3 * 1600)).unwrap();
    logits(&weights, &input, &output, &[]).good();
    let plain = npy::read(&output).unwrap();
    logits(&weights, &input, &output, &["--softmax"]).good();
    let probabilities = npy::read(&output).unwrap();
    for (plain, found) in plain.values.chunks(7).zip(probabilities.values.chunks(7)) {
        let sum: f64 = plain.iter().map(|x| f64::from(*x).exp()).sum();
        for (x, p) in plain.iter().zip(found) {
            assert!((f64::from(*x).exp() / sum - f64::from(*p)).abs() < 1e-6);
        }
    }
}

/// A `.npy` file whose header says `descr`.
fn array_of(descr: &str, shape: &[usize], elements: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut header = Vec::new();
    npy::write_to(&mut header, shape, &vec![0.0; shape.iter().product()]).unwrap();
    header.truncate(128);
    let text = String::from_utf8_lossy(&header[10..]).replace("<f4", descr);
    [&header[..10], text.as_bytes(), &elements.flatten().collect::<Vec<_>>()].concat()
}

#[test]
fn whatever_type_the_numbers_have_they_are_taken_as_they_are() {
    let dir = scratch("types");
    let (weights, input, output) = (dir.join("w.safetensors"), dir.join("x.npy"), dir.join("y.npy"));
    save(&small(Wiring::Torchvision, 7), &weights);
    let shape = [2, 3, 40, 40];
    let bytes: Vec<u8> = (0..9600).map(|i| (i * 7919 % 251) as u8).collect();
    let plain: Vec<f32> = bytes.iter().map(|&byte| byte.into()).collect();
    npy::write(&input, &shape, &plain).unwrap();
    logits(&weights, &input, &output, &[]).good();
    let expected = npy::read(&output).unwrap();
    for (descr, element) in [
        ("|u1", (|x| vec![x]) as fn(u8) -> Vec<u8>),
        ("<i2", |x| i16::from(x).to_le_bytes().to_vec()),
        (">u4", |x| u32::from(x).to_be_bytes().to_vec()),
        ("<f8", |x| f64::from(x).to_le_bytes().to_vec()),
        (">f4", |x| f32::from(x).to_be_bytes().to_vec()),
    ] {
        std::fs::write(&input, array_of(descr, &shape, bytes.iter().map(|&byte| element(byte)))).unwrap();
        logits(&weights, &input, &output, &[]).good();
        assert_eq!(npy::read(&output).unwrap(), expected, "{descr}");
    }
}

#[test]
fn one_image_is_a_batch_and_one_channel_is_grey() {
    let dir = scratch("grey");
    let (weights, input, output) = (dir.join("w.safetensors"), dir.join("x.npy"), dir.join("y.npy"));
    save(&small(Wiring::Torchvision, 7), &weights);
    let run = |shape: &[usize], data: &[f32], more: &[&str]| {
        npy::write(&input, shape, data).unwrap();
        logits(&weights, &input, &output, more).good();
        npy::read(&output).unwrap()
    };
    let nhwc = ["--layout", "nhwc"];
    let (h, w) = (40, 33);
    let planes = numbers(2 * h * w);
    let colour: Vec<f32> = planes.chunks(h * w).flat_map(|plane| [plane; 3].concat()).collect();
    let expected = run(&[2, 3, h, w], &colour, &[]);
    assert_eq!(run(&[2, 1, h, w], &planes, &[]), expected);
    assert_eq!(run(&[2, h, w, 1], &planes, &nhwc), expected);

    let first = npy::Array { shape: vec![1, 7], values: expected.values[..7].to_vec() };
    assert_eq!(run(&[3, h, w], &colour[..3 * h * w], &[]), first);
    assert_eq!(run(&[1, h, w], &planes[..h * w], &[]), first);
    assert_eq!(run(&[h, w, 1], &planes[..h * w], &nhwc), first);
    assert_eq!(run(&[0, 1, h, w], &[], &[]).shape, [0, 7]);
}

#[test]
fn an_image_with_nan_does_not_spoil_the_others() {
    let dir = scratch("nan_input");
    let (weights, input, output) = (dir.join("w.safetensors"), dir.join("x.npy"), dir.join("y.npy"));
    save(&small(Wiring::Torchvision, 7), &weights);
    let mut data = numbers(3 * 3 * 1600);
    npy::write(&input, &[3, 3, 40, 40], &data).unwrap();
    logits(&weights, &input, &output, &[]).good();
    let clean = npy::read(&output).unwrap().values;
    data[4800 + 777] = f32::NAN;
    npy::write(&input, &[3, 3, 40, 40], &data).unwrap();
    logits(&weights, &input, &output, &[]).good();
    let found = npy::read(&output).unwrap().values;
    assert!(found[7..14].iter().all(|logit| logit.is_nan()));
    assert_eq!((&found[..7], &found[14..]), (&clean[..7], &clean[14..]));
}

#[test]
fn standard_input_and_output() {
    let dir = scratch("standard");
    let (weights, input, output) = (dir.join("w.safetensors"), dir.join("x.npy"), dir.join("y.npy"));
    save(&small(Wiring::Torchvision, 7), &weights);
    npy::write(&input, &[2, 3, 40, 40], &numbers(9600)).unwrap();
    logits(&weights, &input, &output, &[]).good();
    let expected = std::fs::read(&output).unwrap();

    let piped = |input: &[u8]| {
        let mut command = command(["logits", "--input", "-", "--output", "-", "--weights"]);
        command.arg(&weights).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that has seen enough reads no further.
        let _ = stdin.write_all(input);
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        (output.status.code(), output.stdout, String::from_utf8(output.stderr).unwrap())
    };
    let whole = std::fs::read(&input).unwrap();
    assert_eq!(piped(&whole), (Some(0), expected, String::new()));
    for (input, said) in [
        (&whole[..whole.len() - 1], "takes 38400 bytes, found less"),
        (&[&whole[..], b"more"].concat(), "takes 38400 bytes, found more"),
        (b"", "not a .npy file, but an empty file"),
    ] {
        let (status, out, err) = piped(input);
        assert_eq!((status, out.len(), err.lines().count()), (Some(1), 0, 1), "{err}");
        assert!(err.starts_with("shufflenet: error: standard input: ") && err.contains(said), "{err}");
    }
    // A file of that name.
    std::fs::rename(&input, dir.join("-")).unwrap();
    let mut dashes = command(["logits", "--input", "./-", "--output", "./--", "--weights"]);
    dashes.arg(&weights).current_dir(&dir);
    finish(dashes).good();
    assert_eq!(files(&dir), ["-", "--", "w.safetensors", "y.npy"]);

    // Who reads no further is no error.
    for name in ["-", "/dev/stdout"] {
        if cfg!(unix) || name == "-" {
            let mut command = command(["logits", "--output", name, "--weights"]);
            command.arg(&weights).arg("--input").arg(dir.join("-"));
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            drop(child.stdout.take());
            let output = child.wait_with_output().unwrap();
            assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{name}");
        }
    }
}

#[test]
fn no_image_has_no_logits() {
    let dir = scratch("no_image");
    let (weights, input, output) = (dir.join("w.safetensors"), dir.join("x.npy"), dir.join("y.npy"));
    save(&small(Wiring::Megvii, 7), &weights);
    npy::write(&input, &[0, 3, 40, 40], &[]).unwrap();
    logits(&weights, &input, &output, &[]).good();
    assert_eq!(npy::read(&output).unwrap(), npy::Array { shape: vec![0, 7], values: vec![] });
}

#[test]
fn wrong_arrays_are_refused() {
    let dir = scratch("wrong_arrays");
    let (weights, input, output) = (dir.join("w.safetensors"), dir.join("x.npy"), dir.join("y.npy"));
    save(&small(Wiring::Torchvision, 7), &weights);
    let shapes: [(&[usize], &[&str], &str); 12] = [
        (&[40, 40], &[], "expected shape (batch, 3, height, width), found [40, 40]"),
        (&[40, 40, 3], &[], "found [40, 40, 3]; is it --layout nhwc?"),
        (&[40, 40, 1], &[], "found [40, 40, 1]; is it --layout nhwc?"),
        (&[1, 40, 40], &["--layout", "nhwc"], "found [1, 40, 40]; is it --layout nchw?"),
        (&[1, 40, 40, 3], &[], "found [1, 40, 40, 3]; is it --layout nhwc?"),
        (&[1, 3, 40, 40], &["--layout", "nhwc"], "expected shape (batch, height, width, 3)"),
        (&[1, 3, 40, 40], &["--layout", "nhwc"], "is it --layout nchw?"),
        (&[1, 4, 40, 40], &[], "found [1, 4, 40, 40]"),
        (&[1, 3, 31, 40], &[], "expected a height and width of at least 32, found 31 and 40"),
        (&[1, 3, 40, 0], &[], "found 40 and 0"),
        (&[], &[], "found []"),
        (&[1, 1, 3, 40, 40], &[], "found [1, 1, 3, 40, 40]"),
    ];
    for (shape, more, said) in shapes {
        npy::write(&input, shape, &numbers(shape.iter().product())).unwrap();
        logits(&weights, &input, &output, more).failed(1, &["x.npy", said]);
    }
    for (name, said) in [
        ("complex.npy", "complex numbers"),
        ("objects.npy", "Python objects"),
        ("structured.npy", "structured"),
        ("archive.npz", "a zip archive (as .npz"),
    ] {
        let array = recorded("arrays").join(name);
        logits(&weights, &array, &output, &[]).failed(1, &[name, said]);
    }
    npy::write(&input, &[1, 3, 40, 40], &numbers(4800)).unwrap();
    let whole = std::fs::read(&input).unwrap();
    for (len, said) in
        [(0, "not a .npy file"), (5, "not a .npy file"), (60, "truncated"), (4000, "found 3872")]
    {
        std::fs::write(&input, &whole[..len]).unwrap();
        logits(&weights, &input, &output, &[]).failed(1, &["x.npy", said]);
    }
    logits(&weights, &dir.join("no.npy"), &output, &[]).failed(1, &["no.npy", "No such file"]);
    logits(&weights, &dir, &output, &[]).failed(1, &["wrong_arrays", "Is a directory"]);
    assert_eq!(files(&dir), ["w.safetensors", "x.npy"]);
}

#[test]
fn wrong_weights_are_refused() {
    let dir = scratch("wrong_weights");
    let (weights, input, output) = (dir.join("w.safetensors"), dir.join("x.npy"), dir.join("y.npy"));
    npy::write(&input, &[1, 3, 32, 32], &numbers(3072)).unwrap();
    let whole = {
        save(&small(Wiring::Torchvision, 7), &weights);
        std::fs::read(&weights).unwrap()
    };
    for (bytes, said) in [
        (&[][..], "an empty file"),
        (&b"no checkpoint at all"[..], "not a checkpoint in a known format"),
        (&whole[..100], "bad safetensors file"),
        (&whole[..whole.len() - 1], "bad safetensors file"),
    ] {
        std::fs::write(&weights, bytes).unwrap();
        logits(&weights, &input, &output, &[]).failed(1, &["w.safetensors", said]);
    }
    // One value short in a tensor of an otherwise good file, and a file of another network.
    save_changed(&small(Wiring::Torchvision, 7), &weights, |_, _| ());
    let other = recorded("weights/hugging_face.safetensors");
    logits(&other, &input, &output, &[]).failed(1, &["hugging_face.safetensors", "not a ShuffleNetV2"]);
    logits(&dir.join("no.pth"), &input, &output, &[]).failed(1, &["no.pth", "No such file"]);
    logits(&dir, &input, &output, &[]).failed(1, &["wrong_weights", "not a regular file"]);
    for name in ["cycle.h5", "not_keras.h5", "no_tensors.pth", "training.pth"] {
        logits(&recorded("weights").join(name), &input, &output, &[]).failed(1, &[name]);
    }
    assert_eq!(files(&dir), ["w.safetensors", "x.npy"]);
}

#[test]
fn nan_in_weights_is_told_and_zero_variance_is_nothing_special() {
    let dir = scratch("nan");
    let (weights, input, output) = (dir.join("w.safetensors"), dir.join("x.npy"), dir.join("y.npy"));
    npy::write(&input, &[1, 3, 32, 32], &numbers(3072)).unwrap();
    let config = small(Wiring::Torchvision, 7);
    save_changed(&config, &weights, |name, values| {
        if name == "fc.bias" {
            values[3] = f32::NAN;
        }
        if name == "conv5.1.running_var" {
            values.fill(0.0);
        }
    });
    let ran = logits(&weights, &input, &output, &[]);
    assert_eq!(ran.status, 0);
    assert_eq!(ran.err.lines().count(), 1);
    assert!(ran.err.starts_with("shufflenet: warning: ") && ran.err.contains("NaN"), "{}", ran.err);
    assert!(ran.err.contains("\"fc.bias\""), "{}", ran.err);
    let found = npy::read(&output).unwrap().values;
    assert!(found.iter().enumerate().all(|(class, logit)| logit.is_nan() == (class == 3)));
}

#[test]
fn what_cannot_be_written_leaves_everything_as_it_was() {
    let dir = scratch("unwritable");
    let (weights, input) = (dir.join("w.safetensors"), dir.join("x.npy"));
    save(&small(Wiring::Torchvision, 7), &weights);
    npy::write(&input, &[1, 3, 32, 32], &numbers(3072)).unwrap();
    let before = [std::fs::read(&weights).unwrap(), std::fs::read(&input).unwrap()];
    for over in [&input, &weights, &dir.join("../unwritable/x.npy")] {
        logits(&weights, &input, over, &[]).failed(2, &["would overwrite an input file"]);
    }
    logits(&weights, &input, &dir, &[]).failed(1, &["unwritable: Is a directory"]);
    logits(&weights, &input, &dir.join("no folder/y.npy"), &[]).failed(1, &["y.npy", "No such file"]);
    logits(&weights, &input, &input.join("y.npy"), &[]).failed(1, &["y.npy", "Not a directory"]);
    assert_eq!(before, [std::fs::read(&weights).unwrap(), std::fs::read(&input).unwrap()]);
    assert_eq!(files(&dir), ["w.safetensors", "x.npy"]);
}
