//! The same graph by `kernels::reference`: naive loops in `f64`, node by node, nothing fused, placed or packed. Its answer
//! is what a program's is held against.

use super::fuse::is_pointwise;
use super::{Graph, Op, Size, Tensors};
use crate::Error;
use kernels::ChannelOrder;
use kernels::reference::{self, Planar};

/// The outputs of `graph` for these inputs.
///
/// # Errors
/// Where numbers are missing, or the graph cannot run on inputs of this size.
///
/// # Panics
/// Where there are not as many inputs as the graph has, or one has another number of channels.
pub fn run(graph: &Graph, tensors: &dyn Tensors, inputs: &[Planar]) -> Result<Vec<Planar>, Error> {
    let mut given = inputs.iter();
    let mut values: Vec<Planar> = Vec::with_capacity(graph.nodes().len());
    for value in graph.values() {
        let node = graph.node(value);
        let input = |i: usize| &values[node.inputs[i].index()];
        let made = match &node.op {
            &Op::Input { channels, .. } => {
                let image = given.next().expect("an input for each of the graph's");
                assert_eq!(image.shape.c, channels, "channels of an input");
                image.clone()
            }
            Op::Conv(conv) => {
                let (src, parameters) = (input(0), tensors.of(graph, value)?);
                let (weights, bias) = (&parameters.weights, parameters.bias.as_deref());
                let sum = if is_pointwise(conv.window) {
                    reference::pointwise(src, conv.groups, weights, bias)
                } else {
                    reference::convolution(src, conv.window, conv.groups, weights, bias)
                };
                let sum = match &parameters.batch_norm {
                    Some(statistics) => reference::batch_norm(&sum, &statistics.batch_norm()),
                    None => sum,
                };
                reference::activate(&sum, conv.activation)
            }
            Op::Linear(linear) => {
                let parameters = tensors.of(graph, value)?;
                let sums = reference::linear(&input(0).data, &parameters.weights, parameters.bias.as_deref());
                reference::activate(&vector(&sums), linear.activation)
            }
            Op::Affine(activation) => {
                let parameters = tensors.of(graph, value)?;
                let shift = parameters.bias.as_deref().unwrap_or_default();
                reference::activate(&reference::affine(input(0), &parameters.weights, shift), *activation)
            }
            Op::MaxPool(window) => reference::max_pool(input(0), *window),
            Op::AveragePool { window, count_pad } => reference::average_pool(input(0), *window, *count_pad),
            Op::GlobalAverage => vector(&reference::global_average(input(0))),
            Op::Transposed(transposed) => {
                let (parameters, window) = (tensors.of(graph, value)?, transposed.window);
                let (weights, bias) = (&parameters.weights, parameters.bias.as_deref());
                let (more, groups) = (transposed.output_padding, transposed.groups);
                let sum = reference::transposed(input(0), window, more, groups, weights, bias);
                let sum = match &parameters.batch_norm {
                    Some(statistics) => reference::batch_norm(&sum, &statistics.batch_norm()),
                    None => sum,
                };
                reference::activate(&sum, transposed.activation)
            }
            &Op::Resize { interpolation, coordinates, to } => {
                let src = input(0);
                let size = match to {
                    Size::Times(h, w) => (src.shape.h * h, src.shape.w * w),
                    Size::Of(h, w) => (h, w),
                    Size::Like => (input(1).shape.h, input(1).shape.w),
                };
                reference::resize(src, size, interpolation, coordinates)
            }
            Op::Mul(activation) => reference::activate(&reference::mul(input(0), input(1)), *activation),
            Op::PRelu => reference::prelu(input(0), &tensors.of(graph, value)?.weights),
            Op::LayerNorm { eps } => {
                let parameters = tensors.of(graph, value)?;
                let beta = parameters.bias.as_deref().unwrap_or_default();
                reference::layer_norm(input(0), &parameters.weights, beta, *eps)
            }
            Op::Add(activation) => reference::activate(&reference::add(input(0), input(1)), *activation),
            Op::Activate(activation) => reference::activate(input(0), *activation),
            Op::Concat => {
                let mut all = Planar { shape: input(0).shape, data: Vec::new() };
                all.shape.c = node.channels;
                (0..node.inputs.len()).for_each(|i| all.data.extend(&input(i).data));
                all
            }
            Op::Channels(range) => {
                let slots = range.clone().map(|c| c as u32).collect();
                reference::gather(input(0), &ChannelOrder::from_slots(slots))
            }
            Op::Shuffle(groups) => reference::shuffle(input(0), *groups),
            Op::Copy => input(0).clone(),
        };
        values.push(made);
    }
    Ok(graph.outputs().iter().map(|output| values[output.index()].clone()).collect())
}

/// How far `found` is from `expected`: the greatest difference, relative to the greatest number expected. NaN where there
/// is one.
///
/// # Panics
/// Where the two differ in length.
pub fn deviation(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len(), "numbers to compare");
    let greatest = expected.iter().fold(f64::MIN_POSITIVE, |greatest, x| greatest.max(x.abs()));
    let off =
        found.iter().zip(expected).map(|(found, expected)| (f64::from(*found) - expected).abs() / greatest);
    off.fold(0.0, |worst: f64, off| if off > worst || off.is_nan() { off } else { worst })
}

fn vector(data: &[f64]) -> Planar {
    Planar::new(kernels::Shape::new(data.len(), 1, 1), data)
}
