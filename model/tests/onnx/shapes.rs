//! Shuffles, splits, layouts and heads in every spelling: nothing of it may run, or be computed wrongly.

use crate::writer::{Attribute, Dim, Net};
use crate::{array, near, numbers, run, weights};
use model::npy::Array;
use model::onnx::{Fate, Network, check_bytes};

const C: usize = 12;

/// `x` through the 1x1 convolution that [`Net::pointwise`] writes, `[n, oc, h, w]`.
fn pointwise(x: &Array, oc: usize) -> Vec<f64> {
    let &[n, ic, h, w] = &x.shape[..] else { panic!("{:?}", x.shape) };
    let (weights, pixels) = (weights(oc, oc * ic), h * w);
    let mut y = vec![0.0; n * oc * pixels];
    for (at, y) in y.iter_mut().enumerate() {
        let (image, o, pixel) = (at / (oc * pixels), at / pixels % oc, at % pixels);
        *y = (0..ic)
            .map(|i| f64::from(weights[o * ic + i]) * f64::from(x.values[(image * ic + i) * pixels + pixel]))
            .sum();
    }
    y
}

/// Channels of `[n, channels, pixels]` picked by `from`.
fn pick(y: &[f64], channels: usize, pixels: usize, from: &[usize]) -> Vec<f64> {
    y.chunks(channels * pixels)
        .flat_map(|image| {
            from.iter().flat_map(|&c| image[c * pixels..(c + 1) * pixels].to_vec()).collect::<Vec<_>>()
        })
        .collect()
}

fn shuffled(channels: usize, groups: usize) -> Vec<usize> {
    (0..channels).map(|c| c % groups * (channels / groups) + c / groups).collect()
}

/// Checks a network whose only operator that runs is the convolution it begins with.
fn renames(net: &Net, x: &Array, from: &[usize]) {
    let &[_, _, h, w] = &x.shape[..] else { panic!("{:?}", x.shape) };
    let outputs = run(net, x);
    near(&outputs[0].values, &pick(&pointwise(x, C), C, h * w, from));
    let report = check_bytes(&net.bytes()).unwrap();
    assert_eq!(report.layers, 1, "{report:?}");
    assert!(report.operators(Fate::Behind).is_empty(), "{report:?}");
}

#[test]
fn a_shuffle_in_every_spelling() {
    let x = array(&[2, 3, 4, 5]);
    let (n, g, each, h, w) = (2i64, 3i64, 4i64, 4i64, 5i64);
    let five = |net: Net| {
        net.node("Reshape c cut", "a", &[])
            .node("Transpose a", "b", &[("perm", [0, 2, 1, 3, 4].into())])
            .node("Reshape b whole", "y", &[])
            .output("y")
    };
    let begin = |opset| Net::of(opset, &[2, 3, 4, 5]).pointwise("x", "c", (3, C));
    let open = |opset| {
        Net::new(opset).input("x", &["n".into(), 3.into(), "h".into(), "w".into()]).pointwise(
            "x",
            "c",
            (3, C),
        )
    };
    // Numbers, zeros that copy, and -1, at every place.
    for (cut, whole) in [
        (vec![n, g, each, h, w], vec![n, 12, h, w]),
        (vec![0, g, each, h, w], vec![0, -1, h, w]),
        (vec![-1, g, each, h, w], vec![-1, 12, h, w]),
        (vec![n, g, -1, h, w], vec![n, 12, h, -1]),
    ] {
        let net = five(begin(13).ints("cut", &cut).ints("whole", &whole));
        renames(&net, &x, &shuffled(C, 3));
    }
    // Pixels as one axis.
    let net = begin(13)
        .ints("cut", &[n, g, each, h * w])
        .ints("whole", &[n, 12, h, w])
        .node("Reshape c cut", "a", &[])
        .node("Transpose a", "b", &[("perm", [0, 2, 1, 3].into())])
        .node("Reshape b whole", "y", &[])
        .output("y");
    renames(&net, &x, &shuffled(C, 3));
    // The batch and the groups as one axis, as in Megvii's code: two halves of every other channel.
    let halves = begin(11)
        .ints("cut", &[n * 6, 2, h * w])
        .ints("whole", &[2, -1, 6, h, w])
        .node("Reshape c cut", "a", &[])
        .node("Transpose a", "b", &[("perm", [1, 0, 2].into())])
        .node("Reshape b whole", "d", &[]);
    let both = halves
        .tensor(&crate::writer::ints("zero", &[], &[0]))
        .tensor(&crate::writer::ints("one", &[], &[1]))
        .node("Gather d zero", "even", &[("axis", 0.into())])
        .node("Gather d one", "odd", &[("axis", 0.into())])
        .node("Concat even odd", "y", &[("axis", 1.into())])
        .output("y");
    let from: Vec<usize> = (0..6).map(|i| 2 * i).chain((0..6).map(|i| 2 * i + 1)).collect();
    renames(&both, &x, &from);
    // Sizes asked for at run time: one by one, as TorchScript does.
    let dim = |net: Net, i: i64| {
        net.node("Shape c", &format!("s{i}"), &[])
            .tensor(&crate::writer::ints(&format!("i{i}"), &[], &[i]))
            .node(&format!("Gather s{i} i{i}"), &format!("g{i}"), &[("axis", 0.into())])
    };
    for opset in [9, 11, 13, 18] {
        let mut net = open(opset);
        for i in 0..4 {
            net = dim(net, i);
            net = if opset < 13 {
                net.node(&format!("Unsqueeze g{i}"), &format!("d{i}"), &[("axes", [0].into())])
            } else {
                net.ints(&format!("axes{i}"), &[0]).node(
                    &format!("Unsqueeze g{i} axes{i}"),
                    &format!("d{i}"),
                    &[],
                )
            };
        }
        let net = net
            .tensor(&crate::writer::ints("three", &[], &[3]))
            .node("Div g1 three", "q", &[])
            .node("Cast q", "qi", &[("to", 7.into())])
            .ints("groups", &[3]);
        let net = if opset < 13 {
            net.node("Unsqueeze qi", "qd", &[("axes", [0].into())])
        } else {
            net.ints("axes", &[0]).node("Unsqueeze qi axes", "qd", &[])
        };
        let net = net
            .node("Concat d0 groups qd d2 d3", "cut", &[("axis", 0.into())])
            .ints("minus", &[-1])
            .node("Concat d0 minus d2 d3", "whole", &[("axis", 0.into())]);
        let net = five(net);
        renames(&net, &x, &shuffled(C, 3));
        renames(&net, &array(&[1, 3, 7, 2]), &shuffled(C, 3));
    }
    // Or in slices of the shape, as newer exporters do.
    let net = open(18)
        .node("Shape c", "n", &[("start", 0.into()), ("end", 1.into())])
        .node("Shape c", "hw", &[("start", (-2).into())])
        .ints("groups", &[3, 4])
        .ints("all", &[12])
        .node("Concat n groups hw", "cut", &[("axis", 0.into())])
        .node("Concat n all hw", "whole", &[("axis", (-1).into())]);
    renames(&five(net), &x, &shuffled(C, 3));
    // With the channels last.
    let net = begin(13)
        .node("Transpose c", "last", &[("perm", [0, 2, 3, 1].into())])
        .ints("cut", &[n, h, w, g, each])
        .ints("whole", &[n, h, w, 12])
        .node("Reshape last cut", "a", &[])
        .node("Transpose a", "b", &[("perm", [0, 1, 2, 4, 3].into())])
        .node("Reshape b whole", "d", &[])
        .node("Transpose d", "y", &[("perm", [0, 3, 1, 2].into())])
        .output("y");
    renames(&net, &x, &shuffled(C, 3));
}

#[test]
fn a_split_in_every_spelling() {
    let x = array(&[2, 3, 4, 5]);
    let begin = |opset| Net::of(opset, &[2, 3, 4, 5]).pointwise("x", "c", (3, C));
    let end = |net: Net| net.node("Concat b a", "y", &[("axis", 1.into())]).output("y");
    let from: Vec<usize> = (5..12).chain(0..5).collect();
    let nets = [
        begin(11).node("Split c", "a b", &[("axis", 1.into()), ("split", [5, 7].into())]),
        begin(13).ints("parts", &[5, 7]).node("Split c parts", "a b", &[("axis", (-3).into())]),
        begin(9)
            .node("Slice c", "a", &[("axes", [1].into()), ("starts", [0].into()), ("ends", [5].into())])
            .node(
                "Slice c",
                "b",
                &[("axes", [1].into()), ("starts", [-7].into()), ("ends", [i64::MAX].into())],
            ),
        begin(13)
            .ints("zero", &[0])
            .ints("five", &[5])
            .ints("axis", &[1])
            .ints("end", &[i64::MAX])
            .ints("one", &[1])
            .node("Slice c zero five axis", "a", &[])
            .node("Slice c five end axis one", "b", &[]),
        begin(13)
            .ints("first", &[0, 1, 2, 3, 4])
            .ints("rest", &[5, 6, 7, 8, 9, 10, -1])
            .node("Gather c first", "a", &[("axis", 1.into())])
            .node("Gather c rest", "b", &[("axis", 1.into())]),
    ];
    for net in nets {
        renames(&end(net), &x, &from);
    }
    // Equal parts, told by the number of outputs.
    let from: Vec<usize> = (6..12).chain(0..6).collect();
    renames(&end(begin(13).node("Split c", "a b", &[("axis", 1.into())])), &x, &from);
    let split = begin(18).node("Split c", "a b", &[("axis", 1.into()), ("num_outputs", 2.into())]);
    renames(&end(split), &x, &from);
    // Not of one length.
    let split = begin(18).node("Split c", "a b d", &[("axis", 1.into()), ("num_outputs", 3.into())]);
    let split = split.node("Concat d a b", "y", &[("axis", 1.into())]).output("y");
    renames(&split, &x, &(8..12).chain(0..8).collect::<Vec<_>>());
    // Every third channel; backwards; in no order.
    let stepped = begin(13)
        .ints("start", &[1])
        .ints("end", &[12])
        .ints("axis", &[1])
        .ints("step", &[3])
        .node("Slice c start end axis step", "y", &[])
        .output("y");
    renames(&stepped, &x, &[1, 4, 7, 10]);
    let backwards = begin(13)
        .ints("start", &[-1])
        .ints("end", &[i64::MIN])
        .ints("axis", &[1])
        .ints("step", &[-1])
        .node("Slice c start end axis step", "y", &[])
        .output("y");
    renames(&backwards, &x, &(0..12).rev().collect::<Vec<_>>());
    let picked = begin(13).ints("list", &[7, 0, 3, 3]).node("Gather c list", "y", &[("axis", 1.into())]);
    renames(&picked.output("y"), &x, &[7, 0, 3, 3]);
}

/// Each way from a map to a fully connected layer.
#[test]
fn a_head_in_every_spelling() {
    let x = array(&[3, 3, 4, 4]);
    let fc = weights(5, 4 * C);
    let expected: Vec<f64> = pointwise(&x, C)
        .chunks(16)
        .map(|channel| channel.iter().sum::<f64>() / 16.0)
        .collect::<Vec<_>>()
        .chunks(C)
        .flat_map(|means| {
            fc.chunks(C)
                .enumerate()
                .map(|(o, row)| {
                    let sum: f64 = row.iter().zip(means).map(|(w, m)| f64::from(*w) * m).sum();
                    sum + 0.25 * o as f64
                })
                .collect::<Vec<_>>()
        })
        .collect();
    let bias: Vec<f32> = (0..4).map(|o| 0.25 * o as f32).collect();
    let columns: Vec<f32> = (0..C * 4).map(|at| fc[at % 4 * C + at / 4]).collect();
    let begin = |opset| {
        Net::new(opset)
            .input("x", &["n".into(), 3.into(), "h".into(), "w".into()])
            .pointwise("x", "c", (3, C))
            .floats("rows", &[4, C], &fc)
            .floats("columns", &[C, 4], &columns)
            .floats("bias", &[4], &bias)
    };
    let gemm = |net: Net| net.node("Gemm v rows bias", "y", &[("transB", 1.into())]).output("y");
    let mean = |net: Net| net.node("GlobalAveragePool c", "m", &[]);
    let axes = |axes: Attribute| [("axes", axes), ("keepdims", 0.into())];
    let mut nets = vec![
        gemm(mean(begin(9)).node("Flatten m", "v", &[])),
        gemm(mean(begin(13)).node("Flatten m", "v", &[("axis", (-3).into())])),
        gemm(mean(begin(13)).ints("s", &[0, -1]).node("Reshape m s", "v", &[])),
        gemm(mean(begin(13)).ints("s", &[-1, C as i64]).node("Reshape m s", "v", &[])),
        gemm(mean(begin(11)).node("Squeeze m", "v", &[("axes", [2, 3].into())])),
        gemm(mean(begin(13)).ints("a", &[-1, -2]).node("Squeeze m a", "v", &[])),
        gemm(mean(begin(13)).node("Squeeze m", "v", &[])),
        gemm(begin(13).node("ReduceMean c", "v", &axes([2, 3].into()))),
        gemm(begin(13).node("ReduceMean c", "v", &axes([-1, -2].into()))),
        gemm(begin(18).ints("a", &[2, 3]).node("ReduceMean c a", "v", &[("keepdims", 0.into())])),
        gemm(begin(18).ints("a", &[3, 2]).node("ReduceMean c a", "m", &[]).node("Flatten m", "v", &[])),
    ];
    // The size asked for at run time.
    let sized = mean(begin(13))
        .node("Shape m", "s", &[])
        .ints("zero", &[0])
        .ints("one", &[1])
        .node("Slice s zero one zero", "n", &[])
        .ints("rest", &[-1])
        .node("Concat n rest", "t", &[("axis", 0.into())])
        .node("Reshape m t", "v", &[]);
    nets.push(gemm(sized));
    let v = |opset| mean(begin(opset)).node("Flatten m", "v", &[]);
    nets.push(v(13).node("MatMul v columns", "p", &[]).node("Add p bias", "y", &[]).output("y"));
    nets.push(v(13).node("MatMul v columns", "p", &[]).node("Add bias p", "y", &[]).output("y"));
    nets.push(v(13).node("Gemm v columns bias", "y", &[]).output("y"));
    let halved: Vec<f32> = fc.iter().map(|w| w * 0.5).collect();
    let quartered: Vec<f32> = bias.iter().map(|b| b * 4.0).collect();
    nets.push(
        v(13)
            .floats("half", &[4, C], &halved)
            .floats("four", &[1, 4], &quartered)
            .node(
                "Gemm v half four",
                "y",
                &[("transB", 1.into()), ("alpha", 2.0.into()), ("beta", 0.25.into())],
            )
            .output("y"),
    );
    // A 1x1 convolution, flattened behind.
    nets.push(
        mean(begin(13))
            .floats("kernel", &[4, C, 1, 1], &fc)
            .node("Conv m kernel bias", "p", &[])
            .node("Flatten p", "y", &[])
            .output("y"),
    );
    // With the channels last.
    nets.push(
        begin(13)
            .node("Transpose c", "last", &[("perm", [0, 2, 3, 1].into())])
            .node("ReduceMean last", "v", &axes([1, 2].into()))
            .node("MatMul v columns", "p", &[])
            .node("Add p bias", "y", &[])
            .output("y"),
    );
    for net in nets {
        let found = run(&net, &x);
        assert_eq!(found[0].shape, [3, 4]);
        near(&found[0].values, &expected);
        assert!(check_bytes(&net.bytes()).unwrap().operators(Fate::Behind).is_empty());
    }
    // A window as large as the map, where its size is known.
    let fixed = Net::of(13, &[3, 3, 4, 4])
        .pointwise("x", "c", (3, C))
        .floats("rows", &[4, C], &fc)
        .floats("bias", &[4], &bias)
        .node("AveragePool c", "m", &[("kernel_shape", [4, 4].into())])
        .node("Flatten m", "v", &[]);
    near(&run(&gemm(fixed), &x)[0].values, &expected);
}

/// A whole map into a fully connected layer, in both orders.
#[test]
fn a_flattened_map_is_a_convolution_as_large_as_it() {
    let x = array(&[2, 3, 3, 3]);
    let fc = weights(7, 5 * C * 9);
    let expected = |index: &dyn Fn(usize, usize) -> usize| -> Vec<f64> {
        let c = pointwise(&x, C);
        c.chunks(C * 9)
            .flat_map(|map| {
                fc.chunks(C * 9)
                    .map(|row| {
                        (0..C * 9).map(|at| f64::from(row[index(at / 9, at % 9)]) * map[at]).sum::<f64>()
                    })
                    .collect::<Vec<_>>()
            })
            .collect()
    };
    let begin = || Net::of(13, &[2, 3, 3, 3]).pointwise("x", "c", (3, C)).floats("w", &[5, C * 9], &fc);
    let end = |net: Net| net.node("Gemm v w", "y", &[("transB", 1.into())]).output("y");
    let first = end(begin().node("Flatten c", "v", &[]));
    near(&run(&first, &x)[0].values, &expected(&|c, pixel| c * 9 + pixel));
    let last =
        end(begin().node("Transpose c", "t", &[("perm", [0, 2, 3, 1].into())]).node("Flatten t", "v", &[]));
    near(&run(&last, &x)[0].values, &expected(&|c, pixel| pixel * C + c));
}

/// As tf2onnx writes networks: the image comes and goes with the channels last.
#[test]
fn channels_may_come_last() {
    let net = Net::new(13)
        .input("x", &["n".into(), "h".into(), "w".into(), 3.into()])
        .node("Transpose x", "t", &[("perm", [0, 3, 1, 2].into())])
        .pointwise("t", "c", (3, C))
        .node("Relu c", "r", &[])
        .node("Transpose r", "y", &[("perm", [0, 2, 3, 1].into())])
        .output("y");
    let network = Network::from_bytes(&net.bytes(), kernels::Isa::best()).unwrap();
    assert_eq!(network.inputs()[0].layout, model::Layout::Nhwc);
    let (n, h, w) = (2, 4, 5);
    let planar = array(&[n, 3, h, w]);
    let mut values = vec![0.0; n * h * w * 3];
    for (at, value) in values.iter_mut().enumerate() {
        let (image, pixel, c) = (at / (h * w * 3), at / 3 % (h * w), at % 3);
        *value = planar.values[(image * 3 + c) * h * w + pixel];
    }
    let found = run(&net, &Array { shape: vec![n, h, w, 3], values });
    assert_eq!(found[0].shape, [n, h, w, C]);
    let expected = pointwise(&planar, C);
    let expected: Vec<f64> = (0..n * h * w * C)
        .map(|at| expected[(at / (h * w * C) * C + at % C) * h * w + at / C % (h * w)].max(0.0))
        .collect();
    near(&found[0].values, &expected);
    // Normalised before it is turned around.
    let net = Net::new(13)
        .input("x", &[1.into(), 4.into(), 5.into(), 3.into()])
        .floats("mean", &[3], &[0.5, 0.25, 0.125])
        .node("Sub x mean", "s", &[])
        .node("Transpose s", "t", &[("perm", [0, 3, 1, 2].into())])
        .pointwise("t", "y", (3, C))
        .output("y");
    let x = Array { shape: vec![1, 4, 5, 3], values: numbers(60) };
    let shifted = (0..60).map(|at| x.values[at % 20 * 3 + at / 20] - [0.5, 0.25, 0.125][at / 20]).collect();
    let shifted = Array { shape: vec![1, 3, 4, 5], values: shifted };
    near(&run(&net, &x)[0].values, &pointwise(&shifted, C));
}

#[test]
fn open_extents_take_any_size_and_fixed_ones_take_theirs() {
    let named = |shape: &[Dim]| {
        let net = Net::new(13).input("x", shape).pointwise("x", "y", (3, 2)).output("y");
        Network::from_bytes(&net.bytes(), kernels::Isa::best()).unwrap()
    };
    let run = |network: &Network, shape: &[usize]| {
        let x = array(shape);
        network.run(&kernels::Serial, &[&x], &mut network.workspace()).map(|y| y[0].shape.clone())
    };
    let open = named(&["n".into(), 3.into(), "h".into(), "w".into()]);
    for shape in [[1, 3, 1, 1], [5, 3, 7, 2], [0, 3, 4, 4]] {
        assert_eq!(run(&open, &shape).unwrap(), [shape[0], 2, shape[2], shape[3]]);
    }
    let fixed = named(&[1.into(), 3.into(), 4.into(), 6.into()]);
    assert_eq!(fixed.inputs()[0].size, Some((4, 6)));
    for n in [1, 4] {
        assert_eq!(run(&fixed, &[n, 3, 4, 6]).unwrap(), [n, 2, 4, 6]);
    }
    let square = named(&["n".into(), 3.into(), "s".into(), "s".into()]);
    assert_eq!(run(&square, &[1, 3, 5, 5]).unwrap(), [1, 2, 5, 5]);
    for (network, shape, why) in [
        (&fixed, vec![1, 3, 6, 4], "input \"x\": expected shape [1, 3, 4, 6], found [1, 3, 6, 4]"),
        (&fixed, vec![3, 4, 6], "expected shape [1, 3, 4, 6], found [3, 4, 6]"),
        (&open, vec![1, 4, 4, 4], "expected shape [n, 3, h, w], found [1, 4, 4, 4]"),
        (&open, vec![1, 3, 0, 4], "expected shape [n, 3, h, w], found [1, 3, 0, 4]"),
        (&square, vec![1, 3, 5, 6], "expected shape [n, 3, s, s], found [1, 3, 5, 6]"),
    ] {
        let error = run(network, &shape).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
