//! What is not supported is refused in one sentence: the node, the operator, where it is from, why, and what comes near.

use crate::writer::{Attribute, Dim, Net};
use crate::{invalid, refused, weights};
use model::onnx::{Fate, OnnxError, check_bytes};

fn begin(opset: u64) -> Net {
    Net::of(opset, &[1, 3, 4, 4])
}

fn node(opset: u64, call: &str, attributes: &[(&str, Attribute)]) -> Net {
    begin(opset).node(call, "y", attributes).output("y")
}

#[track_caller]
fn says(net: &Net, parts: &[&str]) {
    let text = refused(net);
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    assert!(!text.contains('\n') && text.len() < 1000, "{text}");
}

#[test]
fn operators_that_are_not_known() {
    says(
        &node(18, "Mish x", &[]),
        &["Mish \"Mish_0\" (opset 18): the operator is not supported", "nearest: activations"],
    );
    says(&node(13, "InstanceNormalization x", &[]), &["BatchNormalization"]);
    says(&node(13, "DequantizeLinear x", &[]), &["float32", "8 bits are not supported"]);
    says(&node(13, "NonMaxSuppression x", &[]), &["post-processing"]);
    says(&node(13, "If x", &[]), &["control flow"]);
    says(&node(13, "NoSuchOperator x", &[]), &["NoSuchOperator", "not supported"]);
    let foreign = begin(13).node_of("com.microsoft", "FusedConv x", "y", &[]).output("y");
    says(&foreign, &["FusedConv \"FusedConv_0\" (domain com.microsoft)", "the one that the exporter wrote"]);
}

#[test]
fn numbers_that_do_not_fit_each_other() {
    let conv = |bias: usize, attributes: &[(&str, Attribute)]| {
        begin(13)
            .floats("k", &[8, 3, 3, 3], &weights(1, 216))
            .floats("b", &[bias], &weights(2, bias))
            .node("Conv x k b", "y", attributes)
            .output("y")
    };
    says(&conv(3, &[]), &["Conv \"Conv_0\" (opset 13): the bias has shape [3], expected [8]"]);
    says(
        &conv(8, &[("group", 3.into())]),
        &["weights of [8, 3, 3, 3] in 3 groups do not fit a map of 3 channels"],
    );
    says(&conv(8, &[("kernel_shape", [5, 5].into())]), &["kernel_shape [5, 5], but weights for [3, 3]"]);
    says(&conv(8, &[("strides", [0, 1].into())]), &["strides [0, 1]"]);
    says(&conv(8, &[("strides", [1].into())]), &["strides: expected two numbers"]);
    says(&conv(8, &[("pads", [1, 1].into())]), &["pads: expected four numbers"]);
    says(&conv(8, &[("dilations", [3, 3].into())]), &["a window of 7 does not fit into 4 pixels"]);
    says(&conv(8, &[("auto_pad", "SOMEHOW".into())]), &["auto_pad \"SOMEHOW\""]);
    says(&conv(8, &[("strides", 1.0.into())]), &["attribute strides is of another type"]);
    says(&conv(8, &[("twist", 1.into())]), &["attribute \"twist\" is not known"]);
    let ints = begin(13).ints("k", &[1; 4]).node("Conv x k", "y", &[]).output("y");
    says(&ints, &["the weights are int64, expected float32"]);
    let computed = begin(13).node("Conv x x", "y", &[]).output("y");
    says(&computed, &["the weights are computed when the network runs", "constants of the file"]);
    let flat = begin(13).node("Flatten x", "f", &[]).floats("w", &[2, 5], &weights(1, 10));
    says(
        &flat.node("Gemm f w", "y", &[("transB", 1.into())]).output("y"),
        &["weights for 5 inputs, found 48"],
    );
    let attention = begin(13).node("MatMul x x", "y", &[]).output("y");
    says(&attention, &["both matrices are computed, as in attention"]);
    let beside = begin(13).floats("k", &[2, 3, 2, 2], &weights(1, 24)).node("Conv x k", "c", &[]);
    says(
        &beside.node("Concat x c", "y", &[("axis", 1.into())]).output("y"),
        &["[1, 3, 4, 4] beside [1, 2, 3, 3]"],
    );
}

#[test]
fn shapes_that_cannot_be() {
    let reshape = begin(13).ints("s", &[1, 5, -1]).node("Reshape x s", "y", &[]).output("y");
    says(&reshape, &["[1, 3, 4, 4] cannot become [1, 5, -1]"]);
    // Open by name, but a size was baked in.
    let baked = Net::new(13)
        .input("x", &["n".into(), 3.into(), "h".into(), "w".into()])
        .ints("s", &[-1, 3, 1009])
        .node("Reshape x s", "y", &[])
        .output("y");
    says(&baked, &["[n, 3, h, w] cannot become [-1, 3, 1009] for any size", "export with that size fixed"]);
    says(&node(13, "Transpose x", &[("perm", [0, 1, 1, 2].into())]), &["perm [0, 1, 1, 2]"]);
    says(&node(13, "Concat x x", &[("axis", 4.into())]), &["axis 4 of a tensor of 4 dimensions"]);
    says(&node(11, "Squeeze x", &[("axes", [1].into())]), &["axis 1 has 3, not 1"]);
    says(&node(11, "Split x", &[("split", [1, 1].into())]), &["2 lengths for 1 outputs"]);
    let gather = begin(13).ints("i", &[3]).node("Gather x i", "y", &[("axis", 1.into())]).output("y");
    says(&gather, &["index 3 of 3"]);
}

/// A detector's post-processing may be computed by loops; a convolution behind it may not.
#[test]
fn a_convolution_behind_what_is_no_map() {
    let net = begin(13).node("Softmax x", "s", &[("axis", 3.into())]).pointwise("s", "y", (3, 2)).output("y");
    says(&net, &["Softmax \"Softmax_0\" (opset 13)"]);
    let net = begin(13)
        .node("Transpose x", "t", &[("perm", [0, 2, 1, 3].into())])
        .pointwise("t", "y", (4, 2))
        .output("y");
    says(&net, &["Conv", "expected [batch, channels, height, width], found [1, 4, 3, 4] of other axes"]);
}

/// All of them are told, not the first alone.
#[test]
fn every_refusal_is_found() {
    let net = begin(18)
        .node("Mish x", "a", &[])
        .pointwise("a", "b", (3, 4))
        .node("InstanceNormalization b", "c", &[])
        .floats("k", &[2, 4, 9, 9], &weights(1, 648))
        .node("Conv c k", "d", &[])
        .node("Relu d", "e", &[])
        .node("NoSuch e", "y", &[])
        .output("y");
    let report = check_bytes(&net.bytes()).unwrap();
    let operators: Vec<&str> = report.refusals.iter().map(|refusal| &refusal.operator[..]).collect();
    assert_eq!(operators, ["Mish", "InstanceNormalization", "Conv", "NoSuch"], "{:?}", report.refusals);
    assert_eq!(report.operators(Fate::Unseen), [("Relu", 1)]);
    assert_eq!(report.layers, 0);
    let Err(error @ OnnxError::Refused(_)) = model::onnx::Model::from_bytes(&net.bytes()) else { panic!() };
    let text = error.to_string();
    assert!(
        text.starts_with("Mish \"Mish_0\"") && text.ends_with("and 3 more that `shufflenet check` lists"),
        "{text}"
    );
}

#[test]
fn files_that_contradict_themselves() {
    let output = |net: Net| net.output("y").bytes();
    let relu = |net: Net| net.node("Relu x", "y", &[]);
    for (bytes, part) in [
        (relu(begin(13)).bytes(), "the network has no output"),
        (output(begin(13)), "output \"y\": no node makes it"),
        (output(begin(13).node("Relu z", "y", &[]).node("Relu x", "z", &[])), "Relu \"Relu_0\" reads \"z\""),
        (output(begin(13).node("Relu y", "y", &[])), "reads \"y\", which no node before it makes"),
        (output(relu(relu(begin(13)))), "two nodes make \"y\""),
        (output(relu(begin(13)).scalar("s", 1.0).scalar("s", 2.0)), "two tensors are called \"s\""),
        (relu(begin(13)).output("y").output("y").bytes(), "two outputs are called \"y\""),
        (output(relu(begin(6))), "operator set 6 is not known, only 7 to"),
        (output(relu(begin(99))), "operator set 99 is not known"),
        (
            output(relu(Net::new(13).typed_input("x", &[Dim::Is(1)], 8))),
            "input \"x\": expected float32, found string",
        ),
        (
            output(Net::new(13).floats("x", &[2], &[1.0, 2.0]).node("Relu x", "y", &[])),
            "the network has no input",
        ),
        (vec![], "it has no graph"),
        (b"not a model at all".to_vec(), "not an ONNX model"),
    ] {
        let text = invalid(&bytes);
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    // A function of the file's own is told from an operator that nobody knows.
    let image = Net::new(13).input("x", &[1.into(), 3.into()]).node("Relu x", "y", &[]).output("y");
    assert!(refused(&image.node("Relu y", "z", &[]).output("z")).contains("expected an image"));
}
