//! Graphs of every kind against the same graphs by naive loops in `f64` (`model::graph::twin`), on every instruction set.

use kernels::reference::Planar;
use kernels::{Activation, ChannelOrder, Coordinates, Interpolation, Isa, Serial, Shape, Tensor, Window};
use model::Images;
use model::graph::{Conv, Graph, Input, Linear, Op, Passes, Program, Random, Size, Transposed, Value};
use model::graph::{twin, uniform};

use Activation::{None as Plain, Relu, Relu6};

/// A graph with one input.
struct Net(Graph);

impl Net {
    fn new(channels: usize) -> (Self, Value) {
        let mut graph = Graph::new();
        let image = graph.push(Op::Input { channels, size: None }, &[]).unwrap();
        (Self(graph), image)
    }

    fn push(&mut self, op: impl Into<Op>, inputs: &[Value]) -> Value {
        self.0.push(op, inputs).unwrap()
    }

    fn pointwise(&mut self, x: Value, oc: usize, activation: Activation) -> Value {
        self.push(Conv::new(oc, window(1, 1)).bias().batch_norm().activation(activation), &[x])
    }

    fn depthwise(&mut self, x: Value, stride: usize) -> Value {
        let channels = self.0.node(x).channels;
        self.push(Conv::new(channels, window(3, stride)).groups(channels).bias(), &[x])
    }
}

fn window(kernel: usize, stride: usize) -> Window {
    Window::new(kernel).stride(stride).pad(kernel / 2)
}

/// Runs `graph` with and without passes, on every instruction set, in every layout, alone and in a batch.
fn agrees(graph: &Graph, h: usize, w: usize) {
    let tensors = Random::default();
    let shapes = graph.shapes(h, w).unwrap();
    let n = 2;
    let inputs: Vec<(Shape, Vec<f32>)> = graph
        .inputs()
        .enumerate()
        .map(|(i, value)| {
            let shape = shapes[value.index()];
            let data =
                uniform(i as u64, n * shape.c * shape.pixels()).iter().map(|x| 2.0 * x - 1.0).collect();
            (shape, data)
        })
        .collect();
    let first = |(shape, data): &(Shape, Vec<f32>)| Planar::new(*shape, &data[..data.len() / n]);
    let planars: Vec<Planar> = inputs.iter().map(first).collect();
    let truth = twin::run(graph, &tensors, &planars).unwrap();
    for isa in Isa::available() {
        for passes in [Passes::All, Passes::None] {
            let program = Program::build(graph, &tensors, isa, passes).unwrap();
            let mut workspace = program.workspace();
            let mut outputs: Vec<Vec<f32>> = truth.iter().map(|out| vec![0.0; n * out.data.len()]).collect();
            let mut run = |inputs: &[(Shape, Vec<f32>)]| {
                let images: Vec<Images<'_>> =
                    inputs.iter().map(|(shape, data)| Images::nchw(data, n, shape.h, shape.w)).collect();
                let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
                program.run(&Serial, &images, &mut workspace, &mut slices);
            };
            // Memory full of NaN, which no result may depend on.
            run(&inputs.iter().map(|(shape, data)| (*shape, vec![f32::NAN; data.len()])).collect::<Vec<_>>());
            run(&inputs);
            for (found, expected) in outputs.iter().zip(&truth) {
                let off = twin::deviation(&found[..expected.data.len()], &expected.data);
                assert!(off < 2e-5, "{isa}, {passes:?}: {off:e}");
            }
            // The same bits from every layout.
            let interleaved: Vec<Vec<f32>> = inputs
                .iter()
                .map(|(shape, data)| {
                    let pixels = shape.pixels();
                    (0..shape.c * pixels).map(|i| data[i % shape.c * pixels + i / shape.c]).collect()
                })
                .collect();
            let blocked: Vec<Tensor> = inputs
                .iter()
                .map(|(shape, data)| Tensor::from_nchw(&data[..data.len() / n], *shape).unwrap())
                .collect();
            let nhwc: Vec<Input<'_>> = inputs
                .iter()
                .zip(&interleaved)
                .map(|((shape, _), data)| Input::Interleaved { data, h: shape.h, w: shape.w })
                .collect();
            let blocks: Vec<Input<'_>> = blocked.iter().map(|tensor| Input::Blocked(tensor.view())).collect();
            for images in [nhwc, blocks] {
                let mut ended = Vec::new();
                program.observe(&Serial, &images, &mut workspace, &mut |layer| ended.push(layer));
                assert!(ended.iter().copied().eq(0..program.layers().len()), "{ended:?}");
                for (i, found) in outputs.iter().enumerate() {
                    let output = program.output(&mut workspace, i);
                    let mut again = vec![0.0; found.len() / n];
                    kernels::layout::to_nchw(output.view, output.order, &mut again);
                    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                    assert!(bits(&again) == bits(&found[..again.len()]), "{isa}, {passes:?}: output {i}");
                }
            }
        }
    }
}

#[test]
fn every_kind_of_node() {
    let (mut net, image) = Net::new(20);
    let a = net.pointwise(image, 33, Relu);
    let b = net.push(Conv::new(21, window(3, 1)).bias(), &[image]);
    let b = net.push(Op::Affine(Relu6), &[b]);
    let both = net.push(Op::Concat, &[b, a]);
    let shuffled = net.push(Op::Shuffle(3), &[both]);
    let part = net.push(Op::Channels(5..49), &[shuffled]);
    let pooled = net.push(Op::AveragePool { window: window(3, 2), count_pad: true }, &[part]);
    let moved = net.push(Op::Copy, &[pooled]);
    let c = net.depthwise(part, 2);
    let c = net.push(Conv::new(44, window(1, 1)).groups(4).bias(), &[c]);
    let sum = net.push(Op::Add(Plain), &[c, moved]);
    let x = net.push(Op::Activate(Relu), &[sum]);
    let x = net.push(Op::upsample(2), &[x]);
    let x = net.push(Op::MaxPool(window(3, 2)), &[x]);
    let x = net.push(Op::GlobalAverage, &[x]);
    let x = net.push(Op::Linear(Linear { oc: 19, bias: true, activation: Relu6 }), &[x]);
    net.push(Op::Linear(Linear { oc: 5, bias: false, activation: Plain }), &[x]);
    agrees(&net.0, 6, 5);
}

/// A squeeze-and-excitation behind a depthwise convolution: the gate is written in the lanes of what it gates, so nothing is
/// gathered.
#[test]
fn gates_lie_like_what_they_gate() {
    let (mut net, image) = Net::new(3);
    let x = net.pointwise(image, 40, Activation::HardSwish);
    // Two readers, so that its lanes are sorted.
    let (left, right) = net.0.split(x, 17).unwrap();
    let right = net.push(Op::Shuffle(23), &[right]);
    let x = net.push(Op::Concat, &[right, left]);
    let x = net.depthwise(x, 1);
    let x = net.push(Op::Activate(Activation::Silu), &[x]);
    let mean = net.push(Op::GlobalAverage, &[x]);
    let gate = net.pointwise(mean, 10, Relu);
    let sigmoid = Activation::HardSigmoid { slope: 1.0 / 6.0, offset: 0.5 };
    let gate = net.pointwise(gate, 40, sigmoid);
    let x = net.push(Op::Mul(Plain), &[x, gate]);
    net.pointwise(x, 12, Plain);
    agrees(&net.0, 7, 6);
    let program = Program::build(&net.0, &Random::default(), Isa::best(), Passes::All).unwrap();
    assert_eq!(program.layers().len(), 7);
    assert_eq!(program.gathered(), 0);
}

/// Products of maps, of a map and one channel, of a map that lies otherwise than its gate, and of one with itself.
#[test]
fn products() {
    let (mut net, image) = Net::new(9);
    let a = net.pointwise(image, 24, Activation::Gelu);
    let b = net.pointwise(image, 24, Plain);
    let odd = net.push(Op::Shuffle(3), &[b]);
    let whole = net.push(Op::Mul(Activation::Clamp { low: -1.0, high: 2.0 }), &[a, odd]);
    let one = net.push(Op::Channels(5..6), &[b]);
    let spatial = net.push(Op::Mul(Activation::Sigmoid), &[whole, one]);
    let mean = net.push(Op::GlobalAverage, &[odd]);
    let gated = net.push(Op::Mul(Plain), &[spatial, mean]);
    let square = net.push(Op::Mul(Plain), &[gated, gated]);
    let half = net.push(Op::Channels(2..9), &[square]);
    let twice = net.push(Op::Concat, &[half, half]);
    let gate = net.push(Op::GlobalAverage, &[twice]);
    net.push(Op::Mul(Plain), &[twice, gate]);
    agrees(&net.0, 5, 4);
    let refused = net.0.push(Op::Mul(Plain), &[a, half]).unwrap_err().to_string();
    assert!(refused.ends_with("24 channels cannot be multiplied by 7"), "{refused}");
}

/// What ConvNeXt, FasterNet, segmentation and detection heads need.
#[test]
fn operators_of_other_networks() {
    let (mut net, image) = Net::new(5);
    let x = net.push(Conv::new(24, Window::new(2).stride(2)).bias(), &[image]);
    let x = net.push(Op::Shuffle(4), &[x]);
    let norm = net.push(Op::LayerNorm { eps: 1e-6 }, &[x]);
    let dw = net.push(Conv::new(24, window(7, 1)).groups(24).bias(), &[norm]);
    let wide = net.pointwise(dw, 40, Activation::GeluTanh);
    let narrow = net.pointwise(wide, 24, Plain);
    let x = net.push(Op::Add(Plain), &[narrow, x]);
    let (part, rest) = net.0.split(x, 8).unwrap();
    let part = net.push(Conv::new(8, window(3, 1)), &[part]);
    let x = net.push(Op::Concat, &[part, rest]);
    let dilated = Window::new(3).dilation(2).pad(2);
    let grouped = net.push(Conv::new(24, dilated).groups(3).bias(), &[x]);
    let grouped = net.push(Op::Add(Activation::Silu), &[x, grouped]);
    let x = net.push(Op::PRelu, &[grouped]);
    let small = net.push(Op::MaxPool(Window::new(2).stride(2).ceil(true)), &[x]);
    let mean =
        net.push(Op::AveragePool { window: Window::new(2).stride(2).ceil(true), count_pad: false }, &[x]);
    let small = net.push(Op::Concat, &[small, mean]);
    let up = net.push(
        Transposed { bias: true, batch_norm: true, ..Transposed::new(20, Window::new(2).stride(2)) },
        &[small],
    );
    let up = net.push(Op::Activate(Activation::LeakyRelu { slope: 0.1 }), &[up]);
    let (interpolation, coordinates) = (Interpolation::Bilinear, Coordinates::HalfPixel);
    let like = net.push(Op::Resize { interpolation, coordinates, to: Size::Like }, &[up, x]);
    let all = net.push(Op::Concat, &[like, x]);
    let fixed = net.push(Op::Resize { interpolation, coordinates, to: Size::Of(3, 5) }, &[all]);
    net.0.set_outputs(&[all, fixed]);
    agrees(&net.0, 14, 10);
}

/// Whoever cannot read what it finds gets a copy: a dense convolution behind a shuffle, an addition of values that lie
/// otherwise, a depthwise convolution of a channel twice, a fully connected layer behind a shuffle.
#[test]
fn values_that_lie_otherwise_than_needed() {
    let (mut net, image) = Net::new(8);
    let a = net.pointwise(image, 24, Plain);
    let shuffled = net.push(Op::Shuffle(4), &[a]);
    let dense = net.push(Conv::new(24, window(3, 1)).bias(), &[shuffled]);
    let odd = net.push(Op::Shuffle(2), &[dense]);
    let sum = net.push(Op::Add(Relu), &[odd, shuffled]);
    let half = net.push(Op::Channels(3..17), &[sum]);
    let twice = net.push(Op::Concat, &[half, half]);
    let dw = net.depthwise(twice, 1);
    let added = net.push(Op::Add(Plain), &[twice, dw]);
    let pw = net.pointwise(twice, 28, Plain);
    let residual = net.push(Op::Add(Relu), &[twice, pw]);
    let all = net.push(Op::Concat, &[added, residual]);
    let mean = net.push(Op::GlobalAverage, &[all]);
    let mean = net.push(Op::Shuffle(7), &[mean]);
    let vector = net.push(Op::Linear(Linear { oc: 7, bias: true, activation: Plain }), &[mean]);
    net.0.set_outputs(&[vector, twice, added]);
    agrees(&net.0, 5, 4);
}

/// Element-wise operators overwrite what nobody else reads, and nothing else.
#[test]
fn what_others_read_is_not_overwritten() {
    let (mut net, image) = Net::new(16);
    let on_image = net.push(Op::Activate(Relu), &[image]);
    let a = net.pointwise(image, 40, Plain);
    let left = net.push(Op::Channels(0..20), &[a]);
    let left = net.push(Op::Activate(Relu), &[left]);
    let right = net.push(Op::Affine(Plain), &[a]);
    let right = net.push(Op::Activate(Relu6), &[right]);
    let all = net.push(Op::Concat, &[left, a, right, on_image]);
    let b = net.push(Op::Activate(Relu), &[all]);
    let b = net.push(Op::Activate(Relu6), &[b]);
    net.push(Op::Concat, &[b, all]);
    agrees(&net.0, 3, 3);
}

/// Stem, residual, activation and head at once, and a second output in the middle.
#[test]
fn fused_layers_are_told_by_their_nodes() {
    let (mut net, image) = Net::new(3);
    let mut named = |name: &str, op: Op, inputs: &[Value]| net.0.named(name, op, inputs).unwrap();
    let conv =
        |oc: usize, kernel: usize, stride: usize| Op::from(Conv::new(oc, window(kernel, stride)).bias());
    let x = named("conv1", conv(24, 3, 2), &[image]);
    let x = named("relu1", Op::Activate(Relu), &[x]);
    let pooled = named("pool1", Op::MaxPool(window(3, 2)), &[x]);
    let x = named("conv2", conv(24, 1, 1), &[pooled]);
    let x = named("add2", Op::Add(Plain), &[x, pooled]);
    let middle = named("relu2", Op::Activate(Relu6), &[x]);
    let x = named("conv3", conv(70, 1, 1), &[middle]);
    let x = named("mean", Op::GlobalAverage, &[x]);
    let x = named("fc", Op::Linear(Linear { oc: 10, bias: true, activation: Plain }), &[x]);
    net.0.set_outputs(&[x, middle]);
    agrees(&net.0, 37, 50);
    let program = Program::build(&net.0, &Random::default(), Isa::best(), Passes::All).unwrap();
    let names: Vec<&str> = program.layers().iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names, ["conv1 + relu1 + pool1", "conv2 + add2 + relu2", "conv3 + mean + fc"]);
    let apart = Program::build(&net.0, &Random::default(), Isa::best(), Passes::None).unwrap();
    assert_eq!(apart.layers().len(), 9);
    // The same work, but fewer bytes: what passes between the nodes of a layer is not touched.
    let sum = |program: &Program| model::graph::Cost::sum(&program.costs(37, 50).unwrap());
    let (fused, apart) = (sum(&program), sum(&apart));
    assert_eq!((fused.macs, fused.params), (apart.macs, apart.params));
    assert!(fused.mac_bytes < apart.mac_bytes);
}

/// Two images of different sizes, one of them always the same, and an output that is an input.
#[test]
fn several_inputs() {
    let mut graph = Graph::new();
    let image = graph.push(Op::Input { channels: 5, size: None }, &[]).unwrap();
    let small = graph.push(Op::Input { channels: 6, size: Some((3, 4)) }, &[]).unwrap();
    let a = graph.push(Conv::new(6, window(3, 2)).bias(), &[image]).unwrap();
    let sum = graph.push(Op::Add(Plain), &[a, small]).unwrap();
    let joined = graph.push(Op::Concat, &[sum, small]).unwrap();
    let x = graph.push(Conv::new(9, window(1, 1)).bias(), &[joined]).unwrap();
    graph.set_outputs(&[x, small]);
    agrees(&graph, 6, 8);
    let error = graph.shapes(9, 8).unwrap_err().to_string();
    assert_eq!(error, "Add 3: 5x4 pixels beside 3x4");
}

/// A node that no output depends on does not run, and needs no weights.
#[test]
fn dead_nodes_do_not_run() {
    let (mut net, image) = Net::new(4);
    let a = net.pointwise(image, 6, Relu);
    net.push(Conv::new(7, window(9, 3)).bias(), &[a]);
    net.0.set_outputs(&[a]);
    agrees(&net.0, 4, 4);
}

#[test]
fn bad_nodes_are_refused_in_one_line() {
    let (mut net, image) = Net::new(12);
    let vector = net.push(Op::GlobalAverage, &[image]);
    let before = net.0.nodes().len();
    let graph = &mut net.0;
    let mut refused = |op: Op, inputs: &[Value]| {
        let error = graph.named("x", op, inputs).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    };
    assert_eq!(
        refused(Conv::new(8, window(1, 1)).groups(5).into(), &[image]),
        "x: 12 to 8 channels do not divide into 5 groups"
    );
    assert_eq!(
        refused(Conv::new(0, window(1, 1)).into(), &[image]),
        "x: output channels: expected at least 1, found 0"
    );
    assert_eq!(refused(Op::Shuffle(5), &[image]), "x: 12 channels do not divide into 5 groups");
    assert_eq!(refused(Op::Channels(4..13), &[image]), "x: channels 4..13 of 12");
    assert_eq!(refused(Op::Concat, &[]), "x: cannot read 0 values");
    assert_eq!(
        refused(Op::Input { channels: 0, size: None }, &[]),
        "x: channels: expected at least 1, found 0"
    );
    let huge = refused(Op::Input { channels: usize::MAX, size: None }, &[]);
    assert_eq!(huge, "x: the nodes have more than 8388608 channels together");
    assert_eq!(graph.nodes().len(), before);

    let (mut other, image) = Net::new(7);
    let error = other.0.push(Op::Add(Plain), &[image, vector]).unwrap_err().to_string();
    assert_eq!(error, "Add 1: reads node 1, of 1 before it");
    let wide = other.push(Conv::new(3, Window::new(5)), &[image]);
    other.push(Op::Linear(Linear { oc: 3, bias: false, activation: Plain }), &[wide]);
    let shapes = |h, w| other.0.shapes(h, w).unwrap_err().to_string();
    assert_eq!(shapes(4, 9), "Conv 1: a window of 5x5 does not fit an image of 4x9");
    assert_eq!(shapes(6, 9), "Linear 2: a fully connected layer reads one pixel, not 2x5");
    assert!(shapes(usize::MAX, 3).starts_with("Input 0: shape: 7x"));
    assert!(shapes(1 << 40, 1 << 40).ends_with("does not fit into memory"));
}

/// An output that lies out of order is put in order.
#[test]
fn outputs_come_in_order() {
    let (mut net, image) = Net::new(6);
    net.push(Op::Shuffle(2), &[image]);
    let program = Program::build(&net.0, &Random::default(), Isa::best(), Passes::All).unwrap();
    let data: Vec<f32> = (0..6).map(|x| x as f32).collect();
    let mut found = [0.0; 6];
    program.run(&Serial, &[Images::nchw(&data, 1, 1, 1)], &mut program.workspace(), &mut [&mut found]);
    assert_eq!(found, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(*ChannelOrder::identity(6).shuffle(2).unwrap().slots(), [0, 3, 1, 4, 2, 5]);
}
