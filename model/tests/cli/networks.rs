//! Networks from .onnx files: `shufflenet run` and `check`, and `--network` of `summary`, `profile` and `bench`.

#[allow(dead_code, reason = "the library's tests write more")]
#[path = "../onnx/writer.rs"]
mod writer;

use crate::{Ran, files, run, scratch};
use kernels::{Isa, Serial};
use model::npy::{self, Array};
use model::onnx::Network;
use std::path::Path;
use writer::Net;

/// A network of two outputs, one of which is called as nobody would.
fn two_outputs() -> Net {
    Net::new(13)
        .input("x", &["n".into(), 3.into(), "h".into(), "w".into()])
        .pointwise("x", "map", (3, 4))
        .node("Relu map", "a=b", &[])
        .node("GlobalAveragePool a=b", "mean", &[])
        .output("mean")
        .output("a=b")
}

fn refused() -> Net {
    two_outputs().node("Mish map", "mish", &[]).output("mish")
}

/// Writes a network and an image of `[2, 3, 5, 4]`.
fn set_up(dir: &Path, net: &Net) -> Array {
    let x = Array {
        shape: vec![2, 3, 5, 4],
        values: (0..120).map(|i| (i * 37 % 41) as f32 / 20.0 - 1.0).collect(),
    };
    std::fs::write(dir.join("net.onnx"), net.bytes()).unwrap();
    npy::write(&dir.join("x.npy"), &x.shape, &x.values).unwrap();
    x
}

/// `shufflenet` with file names in `dir` for those that begin with `@`, also behind an equals sign.
fn shufflenet(dir: &Path, line: &str) -> Ran {
    let place = format!("{}/", dir.display());
    run(line.split(' ').map(|word| word.replace('@', &place)))
}

#[test]
fn outputs_are_those_of_the_library_for_any_number_of_threads() {
    let dir = scratch("run");
    let x = set_up(&dir, &two_outputs());
    let network = Network::open(&dir.join("net.onnx"), Isa::best()).unwrap();
    let expected = network.run(&Serial, &[&x], &mut network.workspace()).unwrap();
    for threads in [1, 2, 5] {
        let line = format!(
            "run @net.onnx --input @x.npy --output mean=@m.npy --output a=b=@y.npy --threads {threads}"
        );
        assert_eq!(shufflenet(&dir, &line).good(), "");
        assert_eq!(npy::read(&dir.join("m.npy")).unwrap(), expected[0]);
        assert_eq!(npy::read(&dir.join("y.npy")).unwrap(), expected[1]);
    }
    std::fs::remove_file(dir.join("y.npy")).unwrap();
    shufflenet(&dir, "run @net.onnx --input x=@x.npy --output mean=@m.npy").good();
    assert_eq!(files(&dir), ["m.npy", "net.onnx", "x.npy"]);
    // One output needs no name.
    std::fs::write(
        dir.join("one.onnx"),
        Net::of(13, &[1, 3, 5, 4]).node("Relu x", "y", &[]).output("y").bytes(),
    )
    .unwrap();
    shufflenet(&dir, "run @one.onnx --input @x.npy --output @y.npy").good();
    let relu: Vec<f32> = x.values.iter().map(|x| x.max(0.0)).collect();
    assert_eq!(npy::read(&dir.join("y.npy")).unwrap(), Array { shape: vec![2, 3, 5, 4], values: relu });
}

#[test]
fn a_file_is_summed_up_profiled_and_measured() {
    let dir = scratch("network");
    set_up(&dir, &two_outputs());
    let fixed = Net::of(13, &[1, 3, 40, 48]).node("Relu x", "y", &[]).output("y");
    std::fs::write(dir.join("fixed.onnx"), fixed.bytes()).unwrap();

    let out = shufflenet(&dir, "summary --network @net.onnx --size 32x64").good();
    // 3 to 4 channels and a bias; 32 x 64 pixels.
    for part in ["net.onnx, 32x64", "conv1x1", "4x32x64", "24,576", "total"] {
        assert!(out.contains(part), "{part} in {out}");
    }
    assert!(shufflenet(&dir, "summary --network @fixed.onnx").good().contains("fixed.onnx, 40x48"));

    let out =
        shufflenet(&dir, "profile --network @net.onnx --size 32 --batch 2 --seconds 0.05 --json").good();
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(report["network"].as_str().unwrap().ends_with("net.onnx") && report["width"].is_null());
    assert_eq!(report["layers"].as_array().unwrap().len(), 2);
    assert_eq!(report["total"]["macs"], 12 * 32 * 32);

    let out =
        shufflenet(&dir, "bench --network @net.onnx --size 32 --batch 3 --seconds 0.05 --threads 2 --json")
            .good();
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["macs"], &report["batch"]), (&(12 * 32 * 32).into(), &3.into()));
    assert!(
        shufflenet(&dir, "bench --network @fixed.onnx --seconds 0.05")
            .good()
            .contains("fixed.onnx, 40x48, batch 1")
    );

    let usage = |line: &str, parts: &[&str]| shufflenet(&dir, line).failed(2, parts);
    usage("bench --network @net.onnx --width 0.5", &["cannot be used with"]);
    usage("bench --network @fixed.onnx --size 64", &["--size 64x64", "for images of 40x48 only"]);
    usage("summary --network @net.onnx --plot @net.svg", &["--plot draws ShuffleNetV2 only"]);
    shufflenet(&dir, "profile --network @absent.onnx").failed(1, &["absent.onnx"]);
}

#[test]
fn mistakes_are_told_in_a_line() {
    let dir = scratch("run_mistakes");
    set_up(&dir, &two_outputs());
    std::fs::write(dir.join("refused.onnx"), refused().bytes()).unwrap();
    std::fs::write(dir.join("text.onnx"), "no network").unwrap();
    npy::write(&dir.join("grey.npy"), &[1, 1, 5, 4], &[0.0; 20]).unwrap();
    let usage = |line: &str, parts: &[&str]| shufflenet(&dir, line).failed(2, parts);
    let other = |line: &str, parts: &[&str]| shufflenet(&dir, line).failed(1, parts);
    usage("run @net.onnx --input @x.npy", &["--output"]);
    usage("run @net.onnx --input @x.npy --output @y.npy", &["expected NAME=FILE", "\"mean\", \"a=b\""]);
    usage(
        "run @net.onnx --input @x.npy --output mean=@y.npy --output mean=@z.npy",
        &["\"mean\" is given twice"],
    );
    usage(
        "run @net.onnx --input @x.npy --input @x.npy --output mean=@y.npy",
        &["input \"x\" is given twice"],
    );
    usage(
        "run @net.onnx --input @x.npy --output mean=@y.npy --output a=b=@y.npy",
        &["two outputs would go to"],
    );
    usage("run @net.onnx --input @x.npy --output mean=@x.npy", &["would overwrite an input file"]);
    usage("run @net.onnx --input @x.npy --output mean=@net.onnx", &["would overwrite an input file"]);
    other("run @absent.onnx --input @x.npy --output @y.npy", &["absent.onnx"]);
    other("run @text.onnx --input @x.npy --output @y.npy", &["text.onnx: not an ONNX model"]);
    other(
        "run @refused.onnx --input @x.npy --output mean=@y.npy",
        &["refused.onnx: Mish \"Mish_", "not supported"],
    );
    other("run @net.onnx --input @absent.npy --output mean=@y.npy", &["absent.npy"]);
    other(
        "run @net.onnx --input @grey.npy --output mean=@y.npy",
        &["expected shape [n, 3, h, w], found [1, 1, 5, 4]"],
    );
    assert_eq!(files(&dir), ["grey.npy", "net.onnx", "refused.onnx", "text.onnx", "x.npy"]);
}

#[test]
fn check_tells_what_becomes_of_every_node() {
    let dir = scratch("check");
    set_up(&dir, &two_outputs());
    let out = shufflenet(&dir, "check @net.onnx --nodes").good();
    for part in [
        "net.onnx: tests 1, opset 13, 12 parameters",
        "input   x  [n, 3, h, w]",
        "output  mean  [n, 4, 1, 1]",
        "It runs, as 2 operators. Of 3 nodes in the file,",
        "     3 run: Conv 1, GlobalAveragePool 1, Relu 1",
        "Conv \"Conv_0\": runs",
    ] {
        assert!(out.contains(part), "{part:?} is not in:\n{out}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&shufflenet(&dir, "check @net.onnx --json").good()).unwrap();
    assert_eq!((&json["operators"], &json["parameters"]), (&2.into(), &12.into()));
    assert_eq!(json["inputs"][0]["name"], "x");
    assert_eq!(json["refused"], serde_json::json!([]));

    std::fs::write(dir.join("refused.onnx"), refused().bytes()).unwrap();
    let ran = shufflenet(&dir, "check @refused.onnx");
    assert_eq!(ran.status, 1);
    assert!(ran.err.contains("refused.onnx: 1 node is refused"), "{}", ran.err);
    assert!(
        ran.out.contains("It does not run.")
            && ran.out.contains("\nRefused:\n  Mish \"Mish_3\" (opset 13): "),
        "{}",
        ran.out
    );
    shufflenet(&dir, "check @absent.onnx").failed(1, &["absent.onnx"]);
    shufflenet(&dir, "check @x.npy").failed(1, &["x.npy: not an ONNX model"]);
}
