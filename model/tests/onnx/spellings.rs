//! What exporters spell out, against formulas.

use crate::writer::{Attribute, Net};
use crate::{array, near, run, weights};
use kernels::reference::{self, Planar};
use kernels::{Padding, Shape, Window};
use model::npy::Array;
use model::onnx::{Fate, check_bytes};

const C: usize = 6;
const SHAPE: [usize; 4] = [1, 3, 5, 7];

/// `x` through the convolution that [`Net::pointwise`] writes.
fn pointwise(x: &Array) -> Planar {
    let shape = Shape::new(3, x.shape[2], x.shape[3]);
    reference::pointwise(&Planar::new(shape, &x.values), 1, &weights(C, 3 * C), None)
}

fn mapped(map: &Planar, f: impl Fn(usize, f64) -> f64) -> Vec<f64> {
    let pixels = map.shape.pixels();
    map.data.iter().enumerate().map(|(at, &x)| f(at / pixels, x)).collect()
}

/// A convolution, and what `spell` puts behind it: `c` to `y`.
fn behind_a_convolution(opset: u64, spell: impl Fn(Net) -> Net) -> Net {
    spell(Net::of(opset, &SHAPE).pointwise("x", "c", (3, C))).output("y")
}

/// Every spelling makes the function of the convolution's sums, in one operator.
fn one_operator(spellings: &[(u64, &dyn Fn(Net) -> Net)], f: impl Fn(f64) -> f64) {
    let x = array(&SHAPE);
    for (i, (opset, spell)) in spellings.iter().enumerate() {
        let net = behind_a_convolution(*opset, spell);
        near(&run(&net, &x)[0].values, &mapped(&pointwise(&x), |_, x| f(x)));
        let report = check_bytes(&net.bytes()).unwrap();
        assert_eq!(report.layers, 1, "spelling {i}: {report:?}");
        assert_eq!(report.operators(Fate::Behind), [], "spelling {i}");
    }
}

#[test]
fn relu6() {
    one_operator(
        &[
            (9, &|net| net.node("Clip c", "y", &[("min", 0.0.into()), ("max", 6.0.into())])),
            (11, &|net| net.scalar("l", 0.0).scalar("h", 6.0).node("Clip c l h", "y", &[])),
            (13, &|net| net.node("Relu c", "r", &[]).scalar("h", 6.0).node("Clip r - h", "y", &[])),
            (13, &|net| net.node("Relu c", "r", &[]).scalar("h", 6.0).node("Min r h", "y", &[])),
            (13, &|net| {
                net.scalar("l", 0.0).scalar("h", 6.0).node("Max c l", "m", &[]).node("Min h m", "y", &[])
            }),
        ],
        |x| x.clamp(0.0, 6.0),
    );
}

#[test]
fn hard_swish() {
    let plus3 = |net: Net| net.scalar("three", 3.0).node("Add c three", "p", &[]);
    let clip =
        move |net: Net| plus3(net).scalar("zero", 0.0).scalar("six", 6.0).node("Clip p zero six", "k", &[]);
    one_operator(
        &[
            (14, &|net| net.node("HardSwish c", "y", &[])),
            (13, &|net| {
                net.node("HardSigmoid c", "s", &[("alpha", (1.0f32 / 6.0).into())]).node("Mul c s", "y", &[])
            }),
            (11, &|net| clip(net).node("Div k six", "d", &[]).node("Mul c d", "y", &[])),
            (11, &|net| clip(net).node("Mul c k", "m", &[]).node("Div m six", "y", &[])),
            (11, &|net| {
                clip(net).scalar("sixth", 1.0 / 6.0).node("Mul k c", "m", &[]).node("Mul m sixth", "y", &[])
            }),
            (11, &|net| {
                clip(net).scalar("sixth", 1.0 / 6.0).node("Mul c sixth", "m", &[]).node("Mul k m", "y", &[])
            }),
        ],
        |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
    );
}

#[test]
fn hard_sigmoid() {
    one_operator(
        &[
            (9, &|net| net.node("HardSigmoid c", "y", &[])),
            (13, &|net| net.node("HardSigmoid c", "y", &[("alpha", 0.2.into()), ("beta", 0.5.into())])),
            (11, &|net| {
                net.scalar("b", 2.5)
                    .scalar("zero", 0.0)
                    .scalar("five", 5.0)
                    .node("Add b c", "p", &[])
                    .node("Clip p zero five", "k", &[])
                    .node("Div k five", "y", &[])
            }),
        ],
        |x| (0.2 * x + 0.5).clamp(0.0, 1.0),
    );
}

#[test]
fn silu_and_sigmoid() {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    one_operator(&[(13, &|net| net.node("Sigmoid c", "y", &[]))], sigmoid);
    one_operator(
        &[
            (13, &|net| net.node("Sigmoid c", "s", &[]).node("Mul c s", "y", &[])),
            (13, &|net| net.node("Sigmoid c", "s", &[]).node("Mul s c", "y", &[])),
            (24, &|net| net.node("Swish c", "y", &[])),
        ],
        |x| x * sigmoid(x),
    );
}

#[test]
fn gelu() {
    let erf = |net: Net| {
        net.scalar("root", std::f32::consts::SQRT_2)
            .scalar("one", 1.0)
            .scalar("half", 0.5)
            .node("Div c root", "d", &[])
            .node("Erf d", "e", &[])
            .node("Add e one", "p", &[])
    };
    // Abramowitz and Stegun's 7.1.5, summed in another way than the importer's.
    let normal = |x: f64| {
        let (mut sum, mut term) = (x, x);
        for n in 1..200 {
            term *= -x * x / (2.0 * f64::from(n));
            sum += term / f64::from(2 * n + 1);
        }
        0.5 + sum / (2.0 * std::f64::consts::PI).sqrt()
    };
    one_operator(
        &[
            (20, &|net| net.node("Gelu c", "y", &[])),
            (13, &|net| erf(net).node("Mul c p", "m", &[]).node("Mul m half", "y", &[])),
            (13, &|net| erf(net).node("Mul half p", "m", &[]).node("Mul c m", "y", &[])),
            (13, &|net| erf(net).node("Mul c half", "m", &[]).node("Mul p m", "y", &[])),
            (13, &|net| {
                net.scalar("r", std::f32::consts::FRAC_1_SQRT_2)
                    .scalar("half", 0.5)
                    .node("Mul c r", "d", &[])
                    .node("Erf d", "e", &[])
                    .node("Mul e half", "h", &[])
                    .node("Add h half", "p", &[])
                    .node("Mul p c", "y", &[])
            }),
        ],
        |x| x * normal(x),
    );
    let tanh = |x: f64| {
        let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
        0.5 * x * (1.0 + inner.tanh())
    };
    let spelled = |net: Net, cube: &dyn Fn(Net) -> Net| {
        cube(net.scalar("three", 3.0).scalar("a", 0.044715).scalar("half", 0.5).scalar("one", 1.0))
            .scalar("root", 0.797_884_6)
            .node("Mul cube a", "q", &[])
            .node("Add c q", "i", &[])
            .node("Mul i root", "j", &[])
            .node("Tanh j", "t", &[])
            .node("Add t one", "p", &[])
            .node("Mul c half", "m", &[])
            .node("Mul m p", "y", &[])
    };
    one_operator(
        &[
            (20, &|net| net.node("Gelu c", "y", &[("approximate", "tanh".into())])),
            (13, &|net| spelled(net, &|net| net.node("Pow c three", "cube", &[]))),
            (13, &|net| {
                spelled(net, &|net| net.node("Mul c c", "square", &[]).node("Mul square c", "cube", &[]))
            }),
        ],
        tanh,
    );
}

#[test]
fn leaky_relu() {
    one_operator(
        &[
            (9, &|net| net.node("LeakyRelu c", "y", &[("alpha", 0.1.into())])),
            (13, &|net| net.floats("s", &[1], &[0.1]).node("PRelu c s", "y", &[])),
            (13, &|net| net.scalar("s", 0.1).node("Mul c s", "m", &[]).node("Max c m", "y", &[])),
        ],
        |x| if x > 0.0 { x } else { 0.1 * x },
    );
}

/// Scales and shifts in every shape, behind a convolution and before one.
#[test]
fn scales_and_shifts_become_weights() {
    let x = array(&SHAPE);
    let scale: Vec<f32> = (0..C).map(|c| 0.5 + 0.25 * c as f32).collect();
    let shift: Vec<f32> = (0..C).map(|c| c as f32 - 2.0).collect();
    let (mean, variance) = (weights(1, C), (0..C).map(|c| 0.25 + c as f32).collect::<Vec<f32>>());
    let c = pointwise(&x);
    let linear = mapped(&c, |c, x| f64::from(scale[c]) * x + f64::from(shift[c]));
    let normal = mapped(&c, |c, x| {
        let deviation = (f64::from(variance[c]) + 1e-3).sqrt();
        f64::from(scale[c]) * (x - f64::from(mean[c])) / deviation + f64::from(shift[c])
    });
    let batch_norm = |net: Net| {
        net.floats("s", &[C], &scale)
            .floats("t", &[C], &shift)
            .floats("m", &[C], &mean)
            .floats("v", &[C], &variance)
            .node("BatchNormalization c s t m v", "y", &[("epsilon", 1e-3.into()), ("momentum", 0.9.into())])
    };
    let inverse: Vec<f32> = scale.iter().map(|s| 1.0 / s).collect();
    let negative: Vec<f32> = shift.iter().map(|t| -t).collect();
    let by = |shape: &[usize]| {
        let shape = shape.to_vec();
        let (scale, shift) = (scale.clone(), shift.clone());
        move |net: Net| {
            net.floats("s", &shape, &scale).floats("t", &shape, &shift).node("Mul s c", "m", &[]).node(
                "Add m t",
                "y",
                &[],
            )
        }
    };
    type Spelling<'a> = (u64, Box<dyn Fn(Net) -> Net + 'a>, &'a [f64]);
    let spellings: Vec<Spelling<'_>> = vec![
        (7, Box::new(batch_norm), &normal),
        (9, Box::new(batch_norm), &normal),
        (15, Box::new(batch_norm), &normal),
        (13, Box::new(by(&[1, C, 1, 1])), &linear),
        (13, Box::new(by(&[C, 1, 1])), &linear),
        (
            13,
            Box::new(|net| {
                net.floats("s", &[C, 1, 1], &inverse)
                    .floats("t", &[C, 1, 1], &negative)
                    .node("Div c s", "m", &[])
                    .node("Sub m t", "y", &[])
            }),
            &linear,
        ),
        (
            13,
            // With the channels last.
            Box::new(|net| {
                net.floats("s", &[C], &scale)
                    .floats("t", &[C], &shift)
                    .node("Transpose c", "l", &[("perm", [0, 2, 3, 1].into())])
                    .node("Mul l s", "m", &[])
                    .node("Add t m", "a", &[])
                    .node("Transpose a", "y", &[("perm", [0, 3, 1, 2].into())])
            }),
            &linear,
        ),
    ];
    for (i, (opset, spell, expected)) in spellings.iter().enumerate() {
        let net = behind_a_convolution(*opset, spell);
        near(&run(&net, &x)[0].values, expected);
        // The last spelling is behind a transposition, and stays an operator.
        let layers = check_bytes(&net.bytes()).unwrap().layers;
        assert!(layers == 1 || i == 6 && layers == 2, "spelling {i}: {layers} operators");
    }
    // Before an unpadded convolution, and before a padded one, whose padding is zero all the same.
    for (pad, layers) in [(0, 2), (1, 3)] {
        let net = Net::of(13, &SHAPE).pointwise("x", "r", (3, C)).node("Relu r", "c", &[]);
        let net = batch_norm(net)
            .floats("k", &[4, C, 3, 3], &weights(9, 4 * C * 9))
            .node("Conv y k", "z", &[("pads", [pad; 4].into())])
            .output("z");
        let scaled = Planar::new(
            c.shape,
            &mapped(&reference::activate(&c, kernels::Activation::Relu), |c, x| {
                let deviation = (f64::from(variance[c]) + 1e-3).sqrt();
                f64::from(scale[c]) * (x - f64::from(mean[c])) / deviation + f64::from(shift[c])
            }),
        );
        let window = window(3, 1, Padding::all(pad as usize));
        let expected = reference::convolution(&scaled, window, 1, &weights(9, 4 * C * 9), None);
        near(&run(&net, &x)[0].values, &expected.data);
        assert_eq!(check_bytes(&net.bytes()).unwrap().layers, layers, "pad {pad}");
    }
}

fn window(kernel: usize, stride: usize, padding: Padding) -> Window {
    Window::new(kernel).stride(stride).padding(padding)
}

/// Windows that no exporter of today would write: one tap that is padded, and one tap per channel.
#[test]
fn windows_of_one_tap() {
    let x = array(&SHAPE);
    let c = pointwise(&x);
    let kernel = weights(6, 4 * C);
    let padded = behind_a_convolution(13, |net| {
        net.floats("k", &[4, C, 1, 1], &kernel).floats("b", &[4], &weights(7, 4)).node(
            "Conv c k b",
            "y",
            &[("pads", [1, 1, 1, 1].into())],
        )
    });
    let (h, w) = (SHAPE[2] + 2, SHAPE[3] + 2);
    let inner = |y: usize, x: usize| (1..h - 1).contains(&y) && (1..w - 1).contains(&x);
    let map = Planar::from_fn(
        Shape::new(C, h, w),
        |i, y, x| if inner(y, x) { c.get(i, y - 1, x - 1) } else { 0.0 },
    );
    let expected = reference::pointwise(&map, 1, &kernel, Some(&weights(7, 4)));
    let found = run(&padded, &x);
    assert_eq!(found[0].shape, [1, 4, h, w]);
    near(&found[0].values, &expected.data);
    let scale = weights(5, C);
    let scaled = behind_a_convolution(13, |net| {
        net.floats("k", &[C, 1, 1, 1], &scale).node("Conv c k", "y", &[("group", (C as i64).into())])
    });
    near(&run(&scaled, &x)[0].values, &mapped(&c, |c, x| f64::from(scale[c]) * x));
}

/// Padding as attributes, as inputs, as a node of its own, and as a rule.
#[test]
fn padding_in_every_spelling() {
    let x = array(&[1, 3, 6, 9]);
    let src = Planar::new(Shape::new(3, 6, 9), &x.values);
    let kernel = weights(3, 4 * 3 * 9);
    let sides = |top, left, bottom, right| Padding::Sides { top, bottom, left, right };
    let begin = |opset| Net::of(opset, &[1, 3, 6, 9]).floats("k", &[4, 3, 3, 3], &kernel);
    let conv = |net: Net, from: &str, attributes: &[(&str, Attribute)]| {
        let stride = ("strides", [2, 2].into());
        net.node(&format!("Conv {from} k"), "y", &[attributes, &[stride]].concat()).output("y")
    };
    let auto = |rule: &'static str| conv(begin(11), "x", &[("auto_pad", rule.into())]);
    let cases = [
        (conv(begin(11), "x", &[("pads", [1, 2, 0, 1].into())]), sides(1, 2, 0, 1)),
        (conv(begin(11), "x", &[("kernel_shape", [3, 3].into())]), sides(0, 0, 0, 0)),
        (
            conv(begin(9).node("Pad x", "p", &[("pads", [0, 0, 1, 0, 0, 0, 2, 1].into())]), "p", &[]),
            sides(1, 0, 2, 1),
        ),
        (
            conv(
                begin(13).ints("a", &[0, 0, 1, 0, 0, 0, 1, 1]).scalar("v", 0.0).node("Pad x a v", "p", &[]),
                "p",
                &[("pads", [0, 1, 0, 1].into())],
            ),
            sides(1, 1, 1, 2),
        ),
        (
            conv(
                begin(18).ints("a", &[1, 2, 0, 1]).ints("axes", &[-1, 2]).node("Pad x a - axes", "p", &[]),
                "p",
                &[],
            ),
            sides(2, 1, 1, 0),
        ),
        // Six rows at stride 2 hang over by one, nine columns by two.
        (auto("SAME_UPPER"), sides(0, 1, 1, 1)),
        (auto("SAME_LOWER"), sides(1, 1, 0, 1)),
        (auto("VALID"), sides(0, 0, 0, 0)),
        (auto("NOTSET"), sides(0, 0, 0, 0)),
    ];
    for (i, (net, padding)) in cases.into_iter().enumerate() {
        let expected = reference::convolution(&src, window(3, 2, padding), 1, &kernel, None);
        let found = run(&net, &x);
        assert_eq!(found[0].shape, [1, 4, expected.shape.h, expected.shape.w], "case {i}");
        near(&found[0].values, &expected.data);
        assert_eq!(check_bytes(&net.bytes()).unwrap().layers, 1, "case {i}");
    }
    // At an open size the rule stays one.
    let net = Net::new(13)
        .input("x", &["n".into(), 3.into(), "h".into(), "w".into()])
        .floats("k", &[4, 3, 3, 3], &kernel)
        .node("Conv x k", "y", &[("auto_pad", "SAME_UPPER".into()), ("strides", [2, 2].into())])
        .output("y");
    for (h, w) in [(6, 9), (5, 4), (1, 1)] {
        let x = array(&[1, 3, h, w]);
        let src = Planar::new(Shape::new(3, h, w), &x.values);
        let expected = reference::convolution(&src, window(3, 2, Padding::Same), 1, &kernel, None);
        near(&run(&net, &x)[0].values, &expected.data);
    }
}

#[test]
fn pooling_in_every_spelling() {
    let (h, w) = (7, 8);
    let x = array(&[1, 3, h, w]);
    let src = Planar::new(Shape::new(3, h, w), &x.values);
    let relu = reference::activate(&src, kernels::Activation::Relu);
    let sides = |top, left, bottom, right| Padding::Sides { top, bottom, left, right };
    let node = |opset, call: &str, attributes: &[(&str, Attribute)]| {
        let three = [("kernel_shape", [3, 3].into()), ("strides", [2, 2].into())];
        Net::of(opset, &[1, 3, h, w]).node(call, "y", &[&three[..], attributes].concat()).output("y")
    };
    let all = [("pads", [1, 1, 1, 1].into())];
    let ceil = |pads: [i64; 4]| [("ceil_mode", 1.into()), ("pads", pads.into())];
    let count = ("count_include_pad", Attribute::from(1));
    let padded = |opset, call: &str, pads: [i64; 4], value: f32| {
        let [top, left, bottom, right] = pads;
        Net::of(opset, &[1, 3, h, w])
            .node("Relu x", "r", &[])
            .ints("pads", &[0, 0, top, left, 0, 0, bottom, right])
            .scalar("v", value)
            .node("Pad r pads v", "p", &[])
            .node(call, "y", &[("kernel_shape", [3, 3].into()), ("strides", [2, 2].into())])
            .output("y")
    };
    let max = |src: &Planar, padding| reference::max_pool(src, window(3, 2, padding));
    let mean = |src: &Planar, padding, count| reference::average_pool(src, window(3, 2, padding), count);
    for (i, (net, expected)) in [
        (node(8, "MaxPool x", &all), max(&src, Padding::all(1))),
        (node(12, "MaxPool x", &[("auto_pad", "SAME_UPPER".into())]), max(&src, Padding::Same)),
        (node(12, "MaxPool x", &ceil([0; 4])), max(&src, sides(0, 0, 0, 1))),
        (node(7, "AveragePool x", &all), mean(&src, Padding::all(1), false)),
        (node(11, "AveragePool x", &[all[0].clone(), count.clone()]), mean(&src, Padding::all(1), true)),
        // What hangs over without padding is divided by what there is, counted or not.
        (node(19, "AveragePool x", &ceil([0; 4])), mean(&src, sides(0, 0, 0, 1), false)),
        (
            node(19, "AveragePool x", &[&ceil([0; 4])[..], std::slice::from_ref(&count)].concat()),
            mean(&src, sides(0, 0, 0, 1), false),
        ),
        (padded(13, "AveragePool p", [1, 0, 1, 1], 0.0), mean(&relu, sides(1, 0, 1, 1), true)),
        (padded(13, "MaxPool p", [1, 0, 1, 1], 0.0), max(&relu, sides(1, 0, 1, 1))),
        (padded(13, "MaxPool p", [1, 0, 1, 1], f32::NEG_INFINITY), max(&relu, sides(1, 0, 1, 1))),
    ]
    .into_iter()
    .enumerate()
    {
        let found = run(&net, &x);
        assert_eq!(found[0].shape, [1, 3, expected.shape.h, expected.shape.w], "case {i}");
        near(&found[0].values, &expected.data);
    }
}

#[test]
fn layer_norm_over_channels() {
    let x = array(&SHAPE);
    let c = pointwise(&x);
    let (gamma, beta) = (weights(2, C), weights(4, C));
    let pixels = c.shape.pixels();
    let mut expected = c.data.clone();
    for pixel in 0..pixels {
        let line: Vec<f64> = (0..C).map(|i| c.data[i * pixels + pixel]).collect();
        let mean = line.iter().sum::<f64>() / C as f64;
        let variance = line.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / C as f64;
        for (i, x) in line.iter().enumerate() {
            expected[i * pixels + pixel] =
                (x - mean) / (variance + 1e-3).sqrt() * f64::from(gamma[i]) + f64::from(beta[i]);
        }
    }
    let last = |net: Net| net.node("Transpose c", "l", &[("perm", [0, 2, 3, 1].into())]);
    let first = |net: Net| net.node("Transpose n", "y", &[("perm", [0, 3, 1, 2].into())]);
    let numbers = |net: Net, shape: &[usize]| net.floats("g", shape, &gamma).floats("b", shape, &beta);
    let decomposed = |net: Net, opset: u64, axis: i64, from: &str, square: &dyn Fn(Net) -> Net| {
        let mean = |net: Net, from: &str, to: &str| {
            if opset < 18 {
                net.node(&format!("ReduceMean {from}"), to, &[("axes", [axis].into())])
            } else {
                net.node(&format!("ReduceMean {from} axes"), to, &[])
            }
        };
        let net = net.ints("axes", &[axis]).scalar("two", 2.0).scalar("e", 1e-3);
        let net = mean(net, from, "mean").node(&format!("Sub {from} mean"), "d", &[]);
        mean(square(net), "q", "v")
            .node("Add v e", "ve", &[])
            .node("Sqrt ve", "s", &[])
            .node("Div d s", "z", &[])
            .node("Mul z g", "zg", &[])
    };
    let pow = |net: Net| net.node("Pow d two", "q", &[]);
    let product = |net: Net| net.node("Mul d d", "q", &[]);
    let nets: Vec<Net> = vec![
        behind_a_convolution(17, |net| {
            first(numbers(last(net), &[C]).node(
                "LayerNormalization l g b",
                "n",
                &[("axis", (-1).into()), ("epsilon", 1e-3.into())],
            ))
        }),
        behind_a_convolution(13, |net| {
            first(decomposed(numbers(last(net), &[C]), 13, -1, "l", &pow).node("Add zg b", "n", &[]))
        }),
        behind_a_convolution(18, |net| {
            first(decomposed(numbers(last(net), &[C]), 18, 3, "l", &product).node("Add zg b", "n", &[]))
        }),
        // Over the second axis of [batch, channels, height, width].
        behind_a_convolution(13, |net| {
            decomposed(numbers(net, &[C, 1, 1]), 13, 1, "c", &pow).node("Add b zg", "y", &[])
        }),
    ];
    for net in nets {
        near(&run(&net, &x)[0].values, &expected);
    }
}

/// A squeeze-excite gate over a map, in the shapes that exporters give it.
#[test]
fn a_gate_on_a_map() {
    let x = array(&SHAPE);
    let c = pointwise(&x);
    let means = reference::global_average(&c);
    let fc = weights(8, C * C);
    let gates: Vec<f64> = fc
        .chunks(C)
        .map(|row| {
            let sum: f64 = row.iter().zip(&means).map(|(w, m)| f64::from(*w) * m).sum();
            (sum / 6.0 + 0.5).clamp(0.0, 1.0)
        })
        .collect();
    let expected = mapped(&c, |c, x| x * gates[c]);
    let sixth = [("alpha", (1.0f32 / 6.0).into())];
    let gate = |net: Net| {
        net.floats("k", &[C, C, 1, 1], &fc)
            .node("GlobalAveragePool c", "m", &[])
            .node("Conv m k", "f", &[])
            .node("HardSigmoid f", "g", &sixth)
    };
    let nets = [
        behind_a_convolution(13, |net| gate(net).node("Mul c g", "y", &[])),
        behind_a_convolution(13, |net| gate(net).node("Mul g c", "y", &[])),
        behind_a_convolution(13, |net| {
            gate(net).node("Shape c", "s", &[]).node("Expand g s", "e", &[]).node("Mul c e", "y", &[])
        }),
        // Through vectors, as fully connected layers.
        behind_a_convolution(13, |net| {
            net.floats("k", &[C, C], &fc)
                .node("ReduceMean c", "m", &[("axes", [2, 3].into()), ("keepdims", 0.into())])
                .node("Gemm m k", "f", &[("transB", 1.into())])
                .node("HardSigmoid f", "h", &sixth)
                .ints("four", &[0, -1, 1, 1])
                .node("Reshape h four", "g", &[])
                .node("Mul c g", "y", &[])
        }),
    ];
    for net in nets {
        near(&run(&net, &x)[0].values, &expected);
    }
}

/// Twice as large by nearest neighbours, as each operator set writes it; and half as large, between the pixels.
#[test]
fn resizing_in_every_spelling() {
    let x = array(&[1, 3, 4, 6]);
    let src = Planar::new(Shape::new(3, 4, 6), &x.values);
    let twice = Planar::from_fn(Shape::new(3, 8, 12), |c, y, x| src.get(c, y / 2, x / 2));
    let half = reference::average_pool(&src, window(2, 2, Padding::all(0)), true);
    let open = |opset| Net::new(opset).input("x", &["n".into(), 3.into(), "h".into(), "w".into()]);
    let scaled = |opset, scale: f32| open(opset).floats("s", &[4], &[1.0, 1.0, scale, scale]);
    let floor = [("coordinate_transformation_mode", "asymmetric".into()), ("nearest_mode", "floor".into())];
    let linear = [("mode", "linear".into())];
    let cases = [
        (scaled(9, 2.0).node("Upsample x s", "y", &[("mode", "nearest".into())]), &twice),
        (scaled(10, 2.0).node("Resize x s", "y", &[]), &twice),
        (scaled(11, 2.0).node("Resize x - s", "y", &floor), &twice),
        (scaled(13, 2.0).node("Resize x - s", "y", &[]), &twice),
        (scaled(19, 2.0).node("Resize x - s", "y", &[("antialias", 0.into())]), &twice),
        (
            open(18)
                .ints("axes", &[2, 3])
                .ints("two", &[2])
                .node("Shape x", "hw", &[("start", 2.into())])
                .node("Mul hw two", "to", &[])
                .node("Resize x - - to", "y", &[&floor[..], &[("axes", [2, 3].into())]].concat()),
            &twice,
        ),
        (
            // The size of another map, in the older way.
            open(11)
                .floats("s", &[4], &[1.0, 1.0, 2.0, 2.0])
                .node("Resize x - s", "large", &floor)
                .node("Shape x", "nchw", &[])
                .node("Shape large", "large_nchw", &[])
                .ints("zero", &[0])
                .ints("two", &[2])
                .ints("four", &[4])
                .node("Slice nchw zero two", "nc", &[])
                .node("Slice large_nchw two four", "hw", &[])
                .node("Concat nc hw", "to", &[("axis", 0.into())])
                .node("Resize x - - to", "y", &floor),
            &twice,
        ),
        (scaled(13, 0.5).node("Resize x - s", "y", &linear), &half),
    ];
    for (i, (net, expected)) in cases.into_iter().enumerate() {
        let net = net.output("y");
        let found = run(&net, &x);
        assert_eq!(found[0].shape, [1, 3, expected.shape.h, expected.shape.w], "case {i}");
        near(&found[0].values, &expected.data);
        assert_eq!(check_bytes(&net.bytes()).unwrap().operators(Fate::Behind), [], "case {i}");
    }
}
