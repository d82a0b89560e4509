//! Small networks of much that the importer knows, to be damaged, and for fuzzing to begin with.

use super::writer::{Net, ints, weights};

/// Small networks of everything that the importer knows.
pub(crate) fn networks() -> Vec<Vec<u8>> {
    let open = |opset: u64| Net::new(opset).input("x", &["n".into(), 3.into(), "h".into(), "w".into()]);
    let backbone = open(13)
        .floats("k", &[4, 3, 3, 3], &weights(1, 108))
        .floats("b", &[4], &weights(2, 4))
        .node("Conv x k b", "a", &[("pads", [1; 4].into()), ("strides", [2, 2].into())])
        .node("Relu a", "r", &[])
        .ints("two", &[2, 2])
        .node("Split r two", "left right", &[("axis", 1.into())])
        .node("Concat right left", "c", &[("axis", 1.into())])
        .node("Shape c", "s", &[])
        .ints("zero", &[0])
        .ints("one", &[1])
        .node("Slice s zero one", "n", &[])
        .ints("cut", &[2, 2, -1, 1])
        .node("Concat n cut", "cuts", &[("axis", 0.into())])
        .node("Reshape c cuts", "t", &[])
        .node("Transpose t", "u", &[("perm", [0, 2, 1, 3, 4].into())])
        .node("Reshape u s", "v", &[])
        .node(
            "MaxPool v",
            "p",
            &[("kernel_shape", [3, 3].into()), ("pads", [1; 4].into()), ("ceil_mode", 1.into())],
        )
        .node("GlobalAveragePool p", "g", &[])
        .node("Flatten g", "f", &[])
        .floats("w", &[2, 4], &weights(3, 8))
        .node("Gemm f w", "y", &[("transB", 1.into())])
        .output("y");
    let detector = open(11)
        .pointwise("x", "c", (3, 4))
        .node("Transpose c", "t", &[("perm", [0, 2, 3, 1].into())])
        .ints("shape", &[0, -1, 2])
        .node("Reshape t shape", "b", &[])
        .node("Softmax b", "s", &[("axis", 2.into())])
        .node("Shape x", "sx", &[])
        .tensor(&ints("two", &[], &[2]))
        .tensor(&ints("none", &[], &[0]))
        .tensor(&ints("one", &[], &[1]))
        .node("Gather sx two", "h", &[])
        .node("Range none h one", "rows", &[])
        .node("Cast rows", "float", &[("to", 1.into())])
        .node("Exp float", "e", &[])
        .node("Sigmoid c", "q", &[])
        .node("Mul c q", "z", &[])
        .output("s")
        .output("e")
        .output("z");
    let rest = open(18)
        .ints("a", &[0, 0, 1, 1, 0, 0, 1, 1])
        .node("Pad x a", "p", &[])
        .node("AveragePool p", "m", &[("kernel_shape", [3, 3].into())])
        .floats("sizes", &[4], &[1.0, 1.0, 2.0, 2.0])
        .node("Resize m - sizes", "z", &[("mode", "nearest".into())])
        .node("Sub z z", "d", &[])
        .floats("s", &[3, 1, 1], &[1.0, 2.0, 3.0])
        .node("Mul d s", "n", &[])
        .ints("axes", &[2, 3])
        .node("ReduceMean n axes", "y", &[("keepdims", 0.into())])
        .node("DepthToSpace x", "never", &[("blocksize", 1.into())])
        .output("y");
    [backbone, detector, rest].iter().map(Net::bytes).collect()
}
