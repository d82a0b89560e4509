//! Indices that were computed by arithmetic: which element of a tensor is where, as a start and a step along each axis.

use super::net::{Binary, Net, Op};
use super::sizes::{Arith, Num, Sizes};
use super::tensor::Array;

/// `start + index[0] * steps[0] + index[1] * steps[1] + ..`
#[derive(Clone, Debug)]
pub(super) struct Grid {
    pub(super) shape: Vec<Num>,
    start: Num,
    steps: Vec<Num>,
}

impl Grid {
    /// Whether it is 0, 1, 2, .. up to `count`, in order.
    pub(super) fn counts_up(&self, sizes: &mut Sizes, count: Num) -> bool {
        let (zero, one) = (sizes.int(0), sizes.int(1));
        let mut inner = one;
        for (&len, &step) in self.shape.iter().zip(&self.steps).rev() {
            if !sizes.same(len, one) && !sizes.same(step, inner) {
                return false;
            }
            inner = sizes.mul(inner, len);
        }
        sizes.same(self.start, zero) && sizes.same(inner, count)
    }

    /// Longer by axes of one element in front.
    fn of_rank(&self, sizes: &mut Sizes, rank: usize) -> Self {
        let more = rank - self.shape.len();
        let lead = |list: &[Num], first: Num| [vec![first; more], list.to_vec()].concat();
        let (zero, one) = (sizes.int(0), sizes.int(1));
        Self { shape: lead(&self.shape, one), start: self.start, steps: lead(&self.steps, zero) }
    }

    fn plus(&self, other: &Self, sizes: &mut Sizes) -> Self {
        let rank = self.shape.len().max(other.shape.len());
        let (a, b) = (self.of_rank(sizes, rank), other.of_rank(sizes, rank));
        let one = sizes.int(1);
        let shape = a.shape.iter().zip(&b.shape).map(|(&x, &y)| if sizes.same(x, one) { y } else { x });
        let shape = shape.collect();
        let steps = a.steps.iter().zip(&b.steps).map(|(&x, &y)| sizes.of(Arith::Add, x, y)).collect();
        Self { shape, start: sizes.of(Arith::Add, a.start, b.start), steps }
    }

    fn times(&self, factor: Num, sizes: &mut Sizes) -> Self {
        Self {
            shape: self.shape.clone(),
            start: sizes.mul(self.start, factor),
            steps: self.steps.iter().map(|&step| sizes.mul(step, factor)).collect(),
        }
    }
}

/// The grid that a node makes, if it is one. How deep this looks is bounded, and at how many nodes: a file can make a
/// few of them say a lot.
pub(super) fn of(net: &mut Net<'_>, node: usize) -> Option<Grid> {
    look(net, node, 32, &mut 256)
}

fn look(net: &mut Net<'_>, node: usize, depth: usize, nodes: &mut usize) -> Option<Grid> {
    let depth = depth.checked_sub(1)?;
    *nodes = nodes.checked_sub(1)?;
    let (op, inputs, shape) = {
        let node = &net.nodes[node];
        (node.op.clone(), node.inputs.clone(), node.shape.clone())
    };
    let zero = net.sizes.int(0);
    match op {
        Op::Range { start, step } => Some(Grid { shape, start, steps: vec![step] }),
        Op::Numbers(items) => {
            let lengths: Option<Vec<usize>> = shape.iter().map(|&len| net.sizes.count(len)).collect();
            progression(&mut net.sizes, &Array::new(lengths?, items.to_vec()))
        }
        Op::Affine(affine) => {
            let (scale, shift) = affine.as_uniform()?;
            let inner = look(net, inputs[0], depth, nodes)?;
            let (scale, shift) = (net.sizes.known(scale), net.sizes.known(shift));
            let scaled = inner.times(scale, &mut net.sizes);
            Some(Grid { start: net.sizes.of(Arith::Add, scaled.start, shift), ..scaled })
        }
        Op::WithArray { binary: Binary::Add, array, .. } => {
            let inner = look(net, inputs[0], depth, nodes)?;
            let items = array.items.iter().map(|&item| net.sizes.known(item.into())).collect();
            let other = progression(&mut net.sizes, &Array::new(array.shape.clone(), items))?;
            Some(inner.plus(&other, &mut net.sizes))
        }
        Op::Binary(binary) => {
            let (a, b) = (look(net, inputs[0], depth, nodes)?, look(net, inputs[1], depth, nodes)?);
            let number = |grid: &Grid| grid.shape.is_empty().then_some(grid.start);
            match (binary, number(&a), number(&b)) {
                (Binary::Add, ..) => Some(a.plus(&b, &mut net.sizes)),
                (Binary::Mul, _, Some(factor)) => Some(a.times(factor, &mut net.sizes)),
                (Binary::Mul, Some(factor), None) => Some(b.times(factor, &mut net.sizes)),
                _ => None,
            }
        }
        Op::Reshape => {
            // Axes of one element come and go.
            let inner = look(net, inputs[0], depth, nodes)?;
            let one = net.sizes.int(1);
            let mut rest =
                inner.shape.iter().zip(&inner.steps).filter(|(len, _)| !net.sizes.same(**len, one));
            let mut steps = Vec::new();
            for &len in &shape {
                if net.sizes.same(len, one) {
                    steps.push(zero);
                } else {
                    let (&before, &step) = rest.next()?;
                    net.sizes.same(before, len).then(|| steps.push(step))?;
                }
            }
            rest.next().is_none().then_some(())?;
            Some(Grid { shape, start: inner.start, steps })
        }
        Op::Expand => {
            let inner = look(net, inputs[0], depth, nodes)?;
            let inner = inner.of_rank(&mut net.sizes, shape.len());
            Some(Grid { shape, ..inner })
        }
        _ => None,
    }
}

/// Numbers as a grid, if they rise evenly along each axis.
fn progression(sizes: &mut Sizes, array: &Array<Num>) -> Option<Grid> {
    let (&start, zero) = (array.items.first()?, sizes.int(0));
    let mut stride = 1;
    let mut steps = vec![zero; array.shape.len()];
    for (axis, &len) in array.shape.iter().enumerate().rev() {
        if len > 1 {
            steps[axis] = sizes.of(Arith::Sub, array.items[stride], start);
        }
        stride *= len;
    }
    for (at, &item) in array.items.iter().enumerate() {
        let (mut rest, mut expected) = (at, start);
        for (axis, &len) in array.shape.iter().enumerate().rev() {
            let index = sizes.len(rest % len);
            let part = sizes.mul(index, steps[axis]);
            expected = sizes.of(Arith::Add, expected, part);
            rest /= len;
        }
        sizes.same(expected, item).then_some(())?;
    }
    let shape = array.shape.iter().map(|&len| sizes.len(len)).collect();
    Some(Grid { shape, start, steps })
}
