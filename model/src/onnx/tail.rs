//! What a network computes behind its last map: detectors permute, join, decode and normalise some thousand numbers.
//! Plain loops over dense tensors; none of it is worth more.

use super::array;
use super::net::{Net, Op};
use super::sizes::{Num, Sizes};
use super::tensor::Array;
use super::view::{Piece, View};

/// Elements that all tensors may have here at a time, beside a multiple of what the graph made: what a file repeats must
/// not fill the memory.
const MAX_ELEMENTS: f64 = (1 << 22) as f64;

/// From the graph's outputs to the file's.
#[derive(Debug)]
pub(super) struct Tail {
    sizes: Sizes,
    sources: Vec<Source>,
    steps: Vec<Step>,
    outputs: Vec<At>,
}

/// An output of the graph, looked at as the file does.
#[derive(Debug)]
struct Source {
    output: usize,
    view: View,
    shape: Vec<Num>,
}

#[derive(Debug)]
struct Step {
    op: Op,
    inputs: Vec<At>,
    shape: Vec<Num>,
}

/// Where a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Source(usize),
    Step(usize),
}

/// A map of the graph: image, channel, row, column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Map<'a> {
    pub(super) data: &'a [f32],
    pub(super) shape: [usize; 4],
}

impl Tail {
    /// Collects the nodes that were left to it. `view` says which output of the graph a node is, if it is in the graph.
    pub(super) fn new(net: &Net<'_>, view: &mut dyn FnMut(usize) -> Option<(usize, View)>) -> Self {
        let mut tail = Self { sizes: net.sizes.clone(), sources: vec![], steps: vec![], outputs: vec![] };
        let mut at: Vec<Option<At>> = vec![None; net.nodes.len()];
        // Backwards, what is needed; forwards, in order.
        let mut wanted = vec![false; net.nodes.len()];
        net.outputs.iter().for_each(|&(_, node)| wanted[node] = true);
        for index in (0..net.nodes.len()).rev() {
            if !wanted[index] {
                continue;
            }
            if let Some((output, view)) = view(index) {
                at[index] = Some(At::Source(tail.sources.len()));
                let shape = net.nodes[index].shape.clone();
                tail.sources.push(Source { output, view, shape });
            } else {
                net.nodes[index].inputs.iter().for_each(|&input| wanted[input] = true);
            }
        }
        for (index, node) in net.nodes.iter().enumerate().filter(|(index, _)| wanted[*index]) {
            if at[index].is_none() {
                let inputs = node.inputs.iter().filter_map(|&input| at[input]).collect();
                at[index] = Some(At::Step(tail.steps.len()));
                tail.steps.push(Step { op: node.op.clone(), inputs, shape: node.shape.clone() });
            }
        }
        tail.outputs = net.outputs.iter().filter_map(|&(_, node)| at[node]).collect();
        tail
    }

    /// Numbers that depend on the size of the images.
    pub(super) fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// The outputs, in the file's order, for given values of the open extents.
    pub(super) fn run(&self, maps: &[Map<'_>], open: &[f64]) -> Result<Vec<Array<f32>>, String> {
        let values = self.sizes.at(open);
        let mut room = maps.iter().fold(MAX_ELEMENTS, |room, map| room + 16.0 * map.data.len() as f64);
        let mut lengths = |shape: &[Num]| -> Result<Vec<usize>, String> {
            let lengths: Vec<f64> = shape.iter().map(|num| values[num.index()]).collect();
            // Also what stands beside a zero is bounded.
            room -= lengths.iter().map(|len| len.max(1.0)).product::<f64>();
            let whole = lengths.iter().all(|len| *len >= 0.0 && len.fract() == 0.0);
            if !whole || room.is_nan() || room < 0.0 {
                return Err(format!("a tensor of {lengths:?} cannot be had at this size of the image"));
            }
            Ok(lengths.into_iter().map(|len| len as usize).collect())
        };
        let mut sources = Vec::with_capacity(self.sources.len());
        for Source { output, view, shape } in &self.sources {
            sources.push(arrange(maps[*output], view, lengths(shape)?)?);
        }
        let mut steps: Vec<Array<f32>> = Vec::with_capacity(self.steps.len());
        for Step { op, inputs, shape } in &self.steps {
            let shape = lengths(shape)?;
            let inputs: Vec<&Array<f32>> = inputs
                .iter()
                .map(|&at| match at {
                    At::Source(index) => &sources[index],
                    At::Step(index) => &steps[index],
                })
                .collect();
            let made = array::eval(op, &shape, &inputs, &|num| values[num.index()]);
            steps
                .push(made.ok_or_else(|| format!("{op:?} cannot make {shape:?} at this size of the image"))?);
        }
        let mut outputs = Vec::with_capacity(self.outputs.len());
        for (index, &at) in self.outputs.iter().enumerate() {
            let again = self.outputs[index + 1..].contains(&at);
            let array = match at {
                At::Source(index) => &mut sources[index],
                At::Step(index) => &mut steps[index],
            };
            outputs.push(if again { array.clone() } else { std::mem::replace(array, Array::vector(vec![])) });
        }
        Ok(outputs)
    }
}

/// A map as a tensor of the file's axes.
fn arrange(map: Map<'_>, view: &View, shape: Vec<usize>) -> Result<Array<f32>, String> {
    let [n, c, h, w] = map.shape;
    let pieces: Vec<Piece> = view.axes.iter().flatten().copied().collect();
    // The pieces in the order in which they lie in memory.
    let mut channels: Vec<Piece> =
        pieces.iter().copied().filter(|piece| matches!(piece, Piece::Channel { .. })).collect();
    channels.sort_by_key(|piece| match piece {
        Piece::Channel { stride, .. } => std::cmp::Reverse(*stride),
        _ => std::cmp::Reverse(0),
    });
    let mut memory = vec![Piece::Batch];
    memory.extend(channels);
    memory.extend([Piece::Row, Piece::Column]);
    let len = |piece: &Piece| match piece {
        Piece::Batch => n,
        Piece::Channel { len, .. } => *len,
        Piece::Row => h,
        Piece::Column => w,
    };
    let lengths: Vec<usize> = memory.iter().map(len).collect();
    let fits = lengths.iter().product::<usize>() == map.data.len() && map.data.len() == n * c * h * w;
    let mut perm: Vec<usize> =
        pieces.iter().filter_map(|piece| memory.iter().position(|other| other == piece)).collect();
    // Those that the axes do not name have one element.
    let unnamed: Vec<usize> = (0..memory.len()).filter(|at| !perm.contains(at)).collect();
    perm.extend(&unnamed);
    if !fits
        || unnamed.iter().any(|&at| lengths[at] != 1)
        || shape.iter().product::<usize>() != map.data.len()
    {
        return Err(format!("a map of {:?} is no tensor of {shape:?}", map.shape));
    }
    let ones_aside: Vec<usize> = perm.iter().copied().filter(|&at| lengths[at] != 1).collect();
    if ones_aside.is_sorted() {
        return Ok(Array::new(shape, map.data.to_vec()));
    }
    let moved: Vec<usize> = perm.iter().map(|&at| lengths[at]).collect();
    let source = Array::new(lengths, map.data.to_vec());
    let turned = array::rearrange(&Op::Transpose(perm), &moved, 0, &[&source]);
    let turned = turned.ok_or("axes that cannot be permuted")?;
    Ok(Array::new(shape, turned.items))
}
