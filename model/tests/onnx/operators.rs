//! Operators of single families: each runs in the graph, and makes what its formula says.

use crate::writer::{Attribute, Net};
use crate::{array, near, run, weights};
use kernels::reference::{self, Planar};
use kernels::{Coordinates, Interpolation, Padding, Shape, Window};
use model::onnx::{Fate, check_bytes};

const C: usize = 6;
const SHAPE: [usize; 4] = [1, 3, 5, 7];

/// A convolution, and what `spell` puts behind it (`c` to `y`), on one image: the map of the convolution, and what was found.
fn behind_a_convolution(spell: impl Fn(Net) -> Net) -> (Planar, Vec<f32>) {
    let x = array(&SHAPE);
    let net = spell(Net::of(18, &SHAPE).pointwise("x", "c", (3, C))).output("y");
    assert_eq!(check_bytes(&net.bytes()).unwrap().operators(Fate::Behind), []);
    let image = Planar::new(Shape::new(3, SHAPE[2], SHAPE[3]), &x.values);
    (reference::pointwise(&image, 1, &weights(C, 3 * C), None), run(&net, &x).remove(0).values)
}

#[test]
fn products_of_maps_vectors_and_planes() {
    let k = weights(3, C * C);
    let of = |map: &Planar, rows: usize| reference::pointwise(map, 1, &k[..rows * C], None);
    let conv = |net: Net, from: &str, to: &str, rows: usize| {
        net.floats(&format!("k{to}"), &[rows, C, 1, 1], &k[..rows * C]).node(
            &format!("Conv {from} k{to}"),
            to,
            &[],
        )
    };
    let mean = |net: Net| net.node("GlobalAveragePool c", "m", &[]);
    let means = |map: &Planar| Planar { shape: Shape::new(C, 1, 1), data: reference::global_average(map) };
    // Two maps; one number per channel, per pixel, for all; either way round.
    for product in ["Mul c b", "Mul b c"] {
        let (c, found) = behind_a_convolution(|net| conv(net, "c", "b", C).node(product, "y", &[]));
        near(&found, &reference::mul(&c, &of(&c, C)).data);
        let (c, found) = behind_a_convolution(|net| conv(mean(net), "m", "b", C).node(product, "y", &[]));
        near(&found, &reference::mul(&c, &of(&means(&c), C)).data);
        let (c, found) = behind_a_convolution(|net| conv(net, "c", "b", 1).node(product, "y", &[]));
        near(&found, &reference::mul(&c, &of(&c, 1)).data);
        let (c, found) = behind_a_convolution(|net| conv(mean(net), "m", "b", 1).node(product, "y", &[]));
        let factor = of(&means(&c), 1).data[0];
        near(&found, &c.data.iter().map(|x| x * factor).collect::<Vec<_>>());
    }
    // A value times itself, and an activation behind.
    let (c, found) = behind_a_convolution(|net| net.node("Mul c c", "s", &[]).node("HardSwish s", "y", &[]));
    let swish = |x: f64| x * (x / 6.0 + 0.5).clamp(0.0, 1.0);
    near(&found, &c.data.iter().map(|x| swish(x * x)).collect::<Vec<_>>());
}

#[test]
fn slopes_per_channel_and_curves() {
    let slopes = weights(4, C);
    let (c, found) =
        behind_a_convolution(|net| net.floats("s", &[C, 1, 1], &slopes).node("PRelu c s", "y", &[]));
    near(&found, &reference::prelu(&c, &slopes).data);
    let (c, found) = behind_a_convolution(|net| {
        net.floats("s", &[C, 1, 1], &slopes)
            .node("Concat c c", "d", &[("axis", 1.into())])
            .ints("at", &[3, 3 + C as i64])
            .ints("one", &[1])
            .ints("from", &[3])
            .ints("to", &[3 + C as i64])
            .node("Slice d from to one", "e", &[])
            .node("PRelu e s", "y", &[])
    });
    let turned = Planar::from_fn(c.shape, |i, y, x| c.get((i + 3) % C, y, x));
    near(&found, &reference::prelu(&turned, &slopes).data);
    let (c, found) = behind_a_convolution(|net| net.node("Tanh c", "y", &[]));
    near(&found, &c.data.iter().map(|x| x.tanh()).collect::<Vec<_>>());
    let (c, found) = behind_a_convolution(|net| net.node("Elu c", "y", &[("alpha", 0.5.into())]));
    let elu = |x: f64| if x > 0.0 { x } else { 0.5 * x.exp_m1() };
    near(&found, &c.data.iter().map(|&x| elu(x)).collect::<Vec<_>>());
}

#[test]
fn transposed_convolutions() {
    let sides = |top, left, bottom, right| Padding::Sides { top, bottom, left, right };
    for (kernel, stride, pads, more, groups, oc) in [
        ([2, 2], [2, 2], [0, 0, 0, 0], [0, 0], 1, 4),
        ([3, 3], [2, 2], [1, 1, 1, 1], [1, 1], 1, 5),
        ([4, 4], [2, 2], [1, 1, 1, 1], [0, 0], 6, 6),
        ([3, 2], [1, 2], [0, 0, 1, 0], [0, 1], 2, 8),
    ] {
        let [kh, kw] = kernel;
        let (k, bias, scale) = (weights(7, C * oc / groups * kh * kw), weights(2, oc), weights(5, oc));
        let int = |list: [i64; 2]| Attribute::from(list);
        let (c, found) = behind_a_convolution(|net| {
            net.floats("k", &[C, oc / groups, kh, kw], &k)
                .floats("b", &[oc], &bias)
                .floats("s", &[oc, 1, 1], &scale)
                .node(
                    "ConvTranspose c k b",
                    "t",
                    &[
                        ("strides", int(stride.map(|n: usize| n as i64))),
                        ("pads", pads.map(|n: usize| n as i64).into()),
                        ("output_padding", int(more.map(|n: usize| n as i64))),
                        ("group", (groups as i64).into()),
                    ],
                )
                // A scale behind it becomes its own.
                .node("Mul t s", "y", &[])
        });
        let [top, left, bottom, right] = pads;
        let window = Window { stride, ..Window::rectangle(kh, kw) }.padding(sides(top, left, bottom, right));
        let sums = reference::transposed(&c, window, more, groups, &k, Some(&bias));
        near(&found, &reference::affine(&sums, &scale, &vec![0.0; oc]).data);
    }
}

/// Any window, one channel a group; and one that hangs over by its whole length.
#[test]
fn depthwise_windows() {
    for (kernel, stride, pads, dilation) in [
        ([1, 1], [2, 2], [0, 0, 0, 0], [1, 1]),
        ([1, 7], [1, 1], [0, 3, 0, 3], [1, 1]),
        ([5, 1], [1, 1], [2, 0, 2, 0], [1, 1]),
        ([7, 7], [1, 1], [3, 3, 3, 3], [1, 1]),
        ([3, 3], [2, 1], [1, 1, 1, 1], [1, 1]),
        ([3, 3], [1, 1], [2, 2, 2, 2], [2, 2]),
        ([2, 2], [3, 2], [2, 3, 1, 0], [1, 1]),
    ] {
        let [kh, kw] = kernel;
        let k = weights(9, C * kh * kw);
        let ints = |list: [usize; 2]| Attribute::from(list.map(|n| n as i64));
        let (c, found) = behind_a_convolution(|net| {
            net.floats("k", &[C, 1, kh, kw], &k).node(
                "Conv c k",
                "y",
                &[
                    ("strides", ints(stride)),
                    ("dilations", ints(dilation)),
                    ("pads", pads.map(|n: usize| n as i64).into()),
                    ("group", (C as i64).into()),
                ],
            )
        });
        let [top, left, bottom, right] = pads;
        let padding = Padding::Sides { top, bottom, left, right };
        let window = Window { stride, dilation, ..Window::rectangle(kh, kw) }.padding(padding);
        near(&found, &reference::depthwise(&c, window, &k, None).data);
    }
}

/// To sizes that are no whole multiple, given as numbers, as factors, and as the size of another map.
#[test]
fn resizing_by_any_rule() {
    use Coordinates::{AlignCorners, Asymmetric, HalfPixel};
    use Interpolation::{Bilinear, Nearest};
    let rules = [
        ("linear", "half_pixel", "floor", Bilinear, HalfPixel),
        ("linear", "pytorch_half_pixel", "floor", Bilinear, HalfPixel),
        ("linear", "align_corners", "floor", Bilinear, AlignCorners),
        ("linear", "asymmetric", "floor", Bilinear, Asymmetric),
        ("nearest", "half_pixel", "round_prefer_floor", Nearest, HalfPixel),
        ("nearest", "align_corners", "round_prefer_floor", Nearest, AlignCorners),
        ("nearest", "asymmetric", "floor", Nearest, Asymmetric),
    ];
    for (mode, coordinates, rounding, interpolation, place) in rules {
        let attributes = [
            ("mode", mode.into()),
            ("coordinate_transformation_mode", coordinates.into()),
            ("nearest_mode", rounding.into()),
        ];
        for to in [[8, 11], [10, 14], [3, 7], [15, 7]] {
            let (c, found) = behind_a_convolution(|net| {
                net.ints("to", &[1, C as i64, to[0] as i64, to[1] as i64]).node(
                    "Resize c - - to",
                    "y",
                    &attributes,
                )
            });
            near(&found, &reference::resize(&c, (to[0], to[1]), interpolation, place).data);
        }
        let (c, found) = behind_a_convolution(|net| {
            net.floats("by", &[4], &[1.0, 1.0, 3.0, 2.0]).node("Resize c - by", "y", &attributes)
        });
        near(&found, &reference::resize(&c, (15, 14), interpolation, place).data);
        // A pyramid of open size: the map is brought to that of the image, whatever that is.
        let net = Net::new(18)
            .input("x", &["n".into(), 3.into(), "h".into(), "w".into()])
            .pointwise("x", "c", (3, C))
            .node("MaxPool c", "p", &[("kernel_shape", [3, 3].into()), ("strides", [2, 2].into())])
            .node("Shape c", "hw", &[("start", 2.into())])
            .node("Resize p - - hw", "q", &[&attributes[..], &[("axes", [2, 3].into())]].concat())
            .node("Add q c", "y", &[])
            .output("y");
        let x = array(&[1, 3, 6, 9]);
        let c =
            reference::pointwise(&Planar::new(Shape::new(3, 6, 9), &x.values), 1, &weights(C, 3 * C), None);
        let small = reference::max_pool(&c, Window::new(3).stride(2));
        let large = reference::resize(&small, (6, 9), interpolation, place);
        near(&run(&net, &x)[0].values, &reference::add(&c, &large).data);
    }
}

/// Zeros around a map that an addition reads, and the greatest or the mean of rows.
#[test]
fn rims_and_lines() {
    let (c, found) = behind_a_convolution(|net| {
        net.ints("pads", &[0, 0, 1, 2, 0, 0, 0, 1]).node("Pad c pads", "p", &[]).node("Relu p", "y", &[])
    });
    let padded =
        Planar::from_fn(Shape::new(C, 6, 10), |i, y, x| match (y.checked_sub(1), x.checked_sub(2)) {
            (Some(y), Some(x)) if x < 7 => c.get(i, y, x).max(0.0),
            _ => 0.0,
        });
    near(&found, &padded.data);
    type Line = fn(&mut dyn Iterator<Item = f64>) -> f64;
    let lines: [(&str, Line); 2] = [
        ("ReduceMax", |line| line.fold(f64::NEG_INFINITY, f64::max)),
        ("ReduceMean", |line| line.sum::<f64>() / SHAPE[3] as f64),
    ];
    for (call, of) in lines {
        let (c, found) = behind_a_convolution(|net| {
            net.ints("axes", &[3]).node(&format!("{call} c axes"), "r", &[]).node("Relu r", "y", &[])
        });
        let expected: Vec<f64> = (0..C * SHAPE[2])
            .map(|at| of(&mut (0..SHAPE[3]).map(|x| c.get(at / SHAPE[2], at % SHAPE[2], x))).max(0.0))
            .collect();
        near(&found, &expected);
    }
}
