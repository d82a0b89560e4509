//! What stands behind the last map: the outputs of detectors.

use crate::writer::Net;
use crate::{array, near, run, weights};
use kernels::Shape;
use kernels::reference::{self, Planar};
use model::npy::Array;
use model::onnx::{Fate, Network, check_bytes};

/// Two maps of scores, joined pixel by pixel, with the likeliest of two classes.
fn detector(batch: crate::writer::Dim) -> Net {
    let level = |net: Net, from: &str, name: &str| {
        net.pointwise(from, &format!("{name}c"), (3, 4))
            .node(&format!("Transpose {name}c"), &format!("{name}t"), &[("perm", [0, 2, 3, 1].into())])
            .node(&format!("Reshape {name}t shape"), name, &[])
    };
    let net =
        Net::new(13).input("x", &[batch, 3.into(), 4.into(), 6.into()]).ints("shape", &[0, -1, 2]).node(
            "MaxPool x",
            "small",
            &[("kernel_shape", [3, 3].into()), ("strides", [2, 2].into()), ("pads", [1; 4].into())],
        );
    level(level(net, "x", "a"), "small", "b")
        .node("Concat a b", "both", &[("axis", 1.into())])
        .node("Softmax both", "scores", &[("axis", 2.into())])
        .ints("zero", &[0])
        .ints("one", &[1])
        .ints("two", &[2])
        .node("Slice both zero one two", "left", &[])
        .node("Exp left", "size", &[])
        .floats("anchors", &[1, 60, 1], &(0..60).map(|i| i as f32).collect::<Vec<_>>())
        .node("Mul size anchors", "boxes", &[])
        .output("scores")
        .output("boxes")
}

fn expected(image: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let src = Planar::new(Shape::new(3, 4, 6), image);
    let window = kernels::Window::new(3).stride(2).pad(1);
    let small = reference::max_pool(&src, window);
    let mut pairs: Vec<[f64; 2]> = Vec::new();
    for map in [src, small] {
        let scores = reference::pointwise(&map, 1, &weights(4, 12), None);
        let pixels = map.shape.pixels();
        for pixel in 0..pixels {
            for anchor in 0..2 {
                pairs.push([0, 1].map(|i| scores.data[(2 * anchor + i) * pixels + pixel]));
            }
        }
    }
    let scores = pairs.iter().flat_map(|[a, b]| [1.0 / (1.0 + (b - a).exp()), 1.0 / (1.0 + (a - b).exp())]);
    let boxes = pairs.iter().enumerate().map(|(i, [a, _])| a.exp() * i as f64);
    (scores.collect(), boxes.collect())
}

#[test]
fn a_detector_is_decoded_for_any_batch() {
    for batch in ["n".into(), 1.into()] {
        let net = detector(batch);
        for n in [1, 3] {
            let x = array(&[n, 3, 4, 6]);
            let outputs = run(&net, &x);
            assert_eq!((&outputs[0].shape, &outputs[1].shape), (&vec![n, 60, 2], &vec![n, 60, 1]));
            let (mut scores, mut boxes) = (vec![], vec![]);
            for image in x.values.chunks(72) {
                let (s, b) = expected(image);
                scores.extend(s);
                boxes.extend(b);
            }
            near(&outputs[0].values, &scores);
            near(&outputs[1].values, &boxes);
        }
        let report = check_bytes(&net.bytes()).unwrap();
        let behind: Vec<&str> = report.operators(Fate::Behind).into_iter().map(|(name, _)| name).collect();
        for name in ["Concat", "Softmax", "Slice", "Exp", "Mul"] {
            assert!(behind.contains(&name), "{name}: {behind:?}");
        }
        // Turning maps around costs nothing.
        assert!(!behind.contains(&"Transpose") && !behind.contains(&"Reshape"), "{behind:?}");
    }
}

/// Outputs keep the file's names and order, also where one is another's source or the same.
#[test]
fn outputs_are_those_of_the_file() {
    let net = Net::of(13, &[2, 3, 4, 5])
        .pointwise("x", "late", (3, 2))
        .node("Relu late", "early", &[])
        .node("Identity early", "again", &[])
        .node("Flatten late", "flat", &[])
        .output("again")
        .output("late")
        .output("early")
        .output("flat")
        .output("x");
    let network = Network::from_bytes(&net.bytes(), kernels::Isa::best()).unwrap();
    assert_eq!(network.outputs(), ["again", "late", "early", "flat", "x"]);
    let x = array(&[2, 3, 4, 5]);
    let y = run(&net, &x);
    let relu = |array: &Array| array.values.iter().map(|x| x.max(0.0)).collect::<Vec<_>>();
    assert_eq!(y[0], y[2]);
    assert_eq!(y[0].values, relu(&y[1]));
    assert_eq!((y[3].shape.clone(), &y[3].values), (vec![2, 40], &y[1].values));
    assert_eq!(y[4], x);
}

/// Numbers that depend on the size of the image, in an output.
#[test]
fn sizes_can_be_computed_with() {
    let net = Net::new(13)
        .input("x", &["n".into(), 3.into(), "h".into(), "w".into()])
        .pointwise("x", "c", (3, 1))
        .node("Shape x", "shape", &[])
        .tensor(&crate::writer::ints("three", &[], &[3]))
        .tensor(&crate::writer::ints("zero", &[], &[0]))
        .tensor(&crate::writer::ints("one", &[], &[1]))
        .node("Gather shape three", "w", &[("axis", 0.into())])
        .node("Range zero w one", "columns", &[])
        .node("Cast columns", "float", &[("to", 1.into())])
        .scalar("half", 0.5)
        .node("Add float half", "centres", &[])
        .node("Add c centres", "y", &[])
        .output("y");
    for (h, w) in [(2, 5), (3, 1)] {
        let x = array(&[1, 3, h, w]);
        let c = reference::pointwise(&Planar::new(Shape::new(3, h, w), &x.values), 1, &weights(1, 3), None);
        let expected: Vec<f64> = c.data.iter().enumerate().map(|(at, c)| c + (at % w) as f64 + 0.5).collect();
        near(&run(&net, &x)[0].values, &expected);
    }
}

/// A batch of one that was melted into another axis has no place for more images.
#[test]
fn a_batch_without_an_axis_is_one() {
    let net = Net::of(13, &[1, 3, 2, 2])
        .pointwise("x", "c", (3, 2))
        .ints("flat", &[-1])
        .node("Reshape c flat", "y", &[])
        .output("y");
    let network = Network::from_bytes(&net.bytes(), kernels::Isa::best()).unwrap();
    let run = |n| {
        let x = array(&[n, 3, 2, 2]);
        network.run(&kernels::Serial, &[&x], &mut network.workspace()).map(|y| y[0].shape.clone())
    };
    assert_eq!(run(1).unwrap(), [8]);
    let error = run(2).unwrap_err().to_string();
    assert!(error.contains("output \"y\" of shape [8] has no axis for more than 1 images"), "{error}");
}
