//! Operations on dense tensors, as plain loops: for constants, for arithmetic on sizes, and for what stands behind the
//! last map of a network, where detectors rearrange and decode some thousand numbers.

use super::net::{Affine, Binary, Coordinates, Nearest, Op, Order, Reduce, Resize, ResizeMode};
use super::sizes::Num;
use super::tensor::Array;

/// Where one of the tensors is read while a broadcast result is written in order: for each axis of the result, how far
/// a step along it goes.
fn steps(shape: &[usize], to: &[usize]) -> Option<Vec<usize>> {
    let missing = to.len().checked_sub(shape.len())?;
    let mut steps = vec![0; to.len()];
    let mut stride = 1;
    for (axis, &len) in shape.iter().enumerate().rev() {
        match len {
            1 => {}
            len if len == to[missing + axis] => steps[missing + axis] = stride,
            _ => return None,
        }
        stride *= len;
    }
    Some(steps)
}

/// Calls `visit` for every index of `shape` in order, with the positions that `steps` make of it.
fn walk<const N: usize>(shape: &[usize], steps: [&[usize]; N], mut visit: impl FnMut([usize; N])) {
    let count: usize = shape.iter().product();
    let mut index = vec![0; shape.len()];
    let mut at = [0; N];
    for _ in 0..count {
        visit(at);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            for (at, steps) in at.iter_mut().zip(steps) {
                *at = at.wrapping_add(steps[axis]);
            }
            if index[axis] < shape[axis] {
                break;
            }
            for (at, steps) in at.iter_mut().zip(steps) {
                *at = at.wrapping_sub(steps[axis].wrapping_mul(shape[axis]));
            }
            index[axis] = 0;
        }
    }
}

/// A function of two tensors, repeated to one shape.
pub(crate) fn broadcast<A, B, T>(
    a: &Array<A>,
    b: &Array<B>,
    mut f: impl FnMut(&A, &B) -> T,
) -> Option<Array<T>> {
    let rank = a.shape.len().max(b.shape.len());
    let of = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    let longer = |axis| match (of(&a.shape, axis), of(&b.shape, axis)) {
        (1, len) | (len, 1) => len,
        (len, _) => len,
    };
    let shape: Vec<usize> = (0..rank).map(longer).collect();
    let (from_a, from_b) = (steps(&a.shape, &shape)?, steps(&b.shape, &shape)?);
    let mut items = Vec::with_capacity(shape.iter().product());
    walk(&shape, [&from_a, &from_b], |[x, y]| items.push(f(&a.items[x], &b.items[y])));
    Some(Array::new(shape, items))
}

/// Distances between neighbours along each axis.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// What moves elements and computes nothing: to a tensor of the given shape. `start` is where a slice begins.
pub(crate) fn rearrange<T: Copy>(
    op: &Op,
    shape: &[usize],
    start: usize,
    inputs: &[&Array<T>],
) -> Option<Array<T>> {
    let x = *inputs.first()?;
    let count: usize = shape.iter().product();
    let mut items = Vec::with_capacity(count);
    // Reads `x` from `first` on, by so many elements along each axis of the result.
    let mut read =
        |first: usize, by: &[usize]| walk(shape, [by], |[at]| items.push(x.items[first.wrapping_add(at)]));
    match op {
        Op::Reshape => {
            return (x.items.len() == count).then(|| Array::new(shape.to_vec(), x.items.clone()));
        }
        Op::Transpose(perm) => {
            let from = strides(&x.shape);
            read(0, &perm.iter().map(|&axis| from[axis]).collect::<Vec<_>>());
        }
        Op::Expand => read(0, &steps(&x.shape, shape)?),
        &Op::Slice { axis, step, .. } => {
            let mut by = strides(&x.shape);
            let (stride, len) = (by[axis], *x.shape.get(axis)?);
            if shape[axis] > 0 {
                // Both ends lie on the axis, and so does all between them.
                let last =
                    i64::try_from(shape[axis] - 1).ok()?.checked_mul(step)?.checked_add(start as i64)?;
                (start < len && usize::try_from(last).is_ok_and(|last| last < len)).then_some(())?;
            }
            by[axis] = stride.wrapping_mul(step as usize);
            read(start * stride, &by);
        }
        Op::Gather { axis, indices } => {
            let (outer, inner) =
                (x.shape[..*axis].iter().product::<usize>(), x.shape[axis + 1..].iter().product::<usize>());
            let len = x.shape[*axis];
            indices.iter().all(|&index| index < len).then_some(())?;
            for block in 0..outer {
                for &index in indices.iter() {
                    let at = (block * len + index) * inner;
                    items.extend_from_slice(&x.items[at..at + inner]);
                }
            }
        }
        &Op::Concat(axis) => {
            let outer: usize = shape[..axis].iter().product();
            for block in 0..outer {
                for input in inputs {
                    let len: usize = input.shape[axis..].iter().product();
                    items.extend_from_slice(input.items.get(block * len..(block + 1) * len)?);
                }
            }
        }
        _ => return None,
    }
    (items.len() == count).then(|| Array::new(shape.to_vec(), items))
}

/// The result of an operation, of the given shape; `None` where it is none of those that are computed here.
pub(crate) fn eval(
    op: &Op,
    shape: &[usize],
    inputs: &[&Array<f32>],
    values: &dyn Fn(Num) -> f64,
) -> Option<Array<f32>> {
    let first = || inputs.first().copied();
    let each = |x: &Array<f32>, f: &dyn Fn(f64) -> f64| {
        Array::new(x.shape.clone(), x.items.iter().map(|&item| f(item.into()) as f32).collect())
    };
    let result = match op {
        Op::Unary(unary) => each(first()?, &|x| unary.of(x)),
        Op::Affine(a) => affine(first()?, a)?,
        Op::PRelu { axis, slopes } => {
            let scaled = along(first()?, *axis, slopes.len())?;
            let x = first()?;
            let items = x.items.iter().zip(scaled).map(|(&x, at)| if x < 0.0 { slopes[at] * x } else { x });
            Array::new(x.shape.clone(), items.collect())
        }
        Op::Binary(binary) => {
            let &[a, b] = inputs else { return None };
            broadcast(a, b, |&a, &b| binary.of(a.into(), b.into()) as f32)?
        }
        Op::WithArray { binary, array, reversed } => {
            let of = |a: &f32, b: &f32| binary.of((*a).into(), (*b).into()) as f32;
            if *reversed { broadcast(array, first()?, of)? } else { broadcast(first()?, array, of)? }
        }
        Op::Reduce { reduce, axes, .. } => reduced(first()?, *reduce, axes, shape)?,
        &Op::Softmax { axis, log } => softmax(first()?, axis, log)?,
        Op::LayerNorm { axis, epsilon, affine: a } => affine(&normalised(first()?, *axis, *epsilon)?, a)?,
        Op::Pad { before, value, .. } => {
            let before: Vec<i64> = before.iter().map(|&num| values(num) as i64).collect();
            padded(first()?, &before, *value, shape)?
        }
        Op::Resize(resize) => resized(first()?, resize, shape)?,
        Op::Numbers(nums) => Array::new(shape.to_vec(), nums.iter().map(|&num| values(num) as f32).collect()),
        Op::Constant(array) => Array::clone(array),
        &Op::Range { start, step } => {
            let &[count] = shape else { return None };
            let (start, step) = (values(start), values(step));
            Array::vector((0..count).map(|at| (start + at as f64 * step) as f32).collect())
        }
        &Op::Slice { start, .. } => {
            let start = values(start);
            (start >= 0.0).then_some(())?;
            rearrange(op, shape, start as usize, inputs)?
        }
        _ => rearrange(op, shape, 0, inputs)?,
    };
    (result.shape == shape).then_some(result)
}

/// Whether [`eval`] computes an operation.
pub(crate) fn computes(op: &Op) -> bool {
    !matches!(op, Op::Input | Op::Conv(_) | Op::Linear(_) | Op::Pool(_) | Op::Refused)
}

/// For every element in order, its index along an axis, or 0 where there is one number for all.
fn along<T>(x: &Array<T>, axis: usize, len: usize) -> Option<impl Iterator<Item = usize>> {
    let (inner, extent) = match len {
        1 => (1, 1),
        _ => (x.shape.get(axis + 1..)?.iter().product::<usize>(), x.shape[axis]),
    };
    (extent == len).then(|| (0..x.items.len()).map(move |at| at / inner % extent))
}

fn affine(x: &Array<f32>, affine: &Affine) -> Option<Array<f32>> {
    let len = affine.scale.len().max(affine.shift.len());
    let (scale, shift) = affine.spread(len);
    let items = x.items.iter().zip(along(x, affine.axis, len)?);
    let items = items.map(|(&x, at)| (f64::from(x) * scale[at] + shift[at]) as f32).collect();
    Some(Array::new(x.shape.clone(), items))
}

fn reduced(x: &Array<f32>, reduce: Reduce, axes: &[usize], shape: &[usize]) -> Option<Array<f32>> {
    let kept: Vec<usize> =
        x.shape.iter().enumerate().map(|(axis, &len)| if axes.contains(&axis) { 1 } else { len }).collect();
    let mut results = vec![
        match reduce {
            Reduce::Max => f64::NEG_INFINITY,
            Reduce::Min => f64::INFINITY,
            Reduce::Prod => 1.0,
            _ => 0.0,
        };
        kept.iter().product()
    ];
    let (from, to) = (strides(&x.shape), steps(&kept, &x.shape)?);
    walk(&x.shape, [&from, &to], |[at, into]| {
        let (x, result) = (f64::from(x.items[at]), &mut results[into]);
        *result = match reduce {
            Reduce::Mean | Reduce::Sum => *result + x,
            Reduce::L2 => *result + x * x,
            Reduce::Max => Binary::Max.of(*result, x),
            Reduce::Min => Binary::Min.of(*result, x),
            Reduce::Prod => *result * x,
        };
    });
    let count = x.items.len() as f64 / results.len() as f64;
    let last = |result: f64| match reduce {
        Reduce::Mean => result / count,
        Reduce::L2 => result.sqrt(),
        _ => result,
    };
    (results.len() == shape.iter().product::<usize>())
        .then(|| Array::new(shape.to_vec(), results.into_iter().map(|result| last(result) as f32).collect()))
}

/// Each line along an axis replaced by what `f` makes of it.
fn lines(x: &Array<f32>, axis: usize, mut f: impl FnMut(&mut [f64])) -> Option<Array<f32>> {
    let (len, inner) = (*x.shape.get(axis)?, x.shape[axis + 1..].iter().product::<usize>());
    let mut result = x.clone();
    let mut line = vec![0.0; len];
    for block in result.items.chunks_exact_mut((len * inner).max(1)) {
        for offset in 0..inner {
            line.iter_mut().enumerate().for_each(|(i, to)| *to = block[i * inner + offset].into());
            f(&mut line);
            line.iter().enumerate().for_each(|(i, &from)| block[i * inner + offset] = from as f32);
        }
    }
    Some(result)
}

fn softmax(x: &Array<f32>, axis: usize, log: bool) -> Option<Array<f32>> {
    lines(x, axis, |line| {
        let largest = line.iter().fold(f64::NEG_INFINITY, |a, &b| Binary::Max.of(a, b));
        let sum: f64 = line.iter().map(|x| (x - largest).exp()).sum();
        line.iter_mut()
            .for_each(|x| *x = if log { *x - largest - sum.ln() } else { (*x - largest).exp() / sum });
    })
}

fn normalised(x: &Array<f32>, axis: usize, epsilon: f32) -> Option<Array<f32>> {
    lines(x, axis, |line| {
        let count = line.len() as f64;
        let mean = line.iter().sum::<f64>() / count;
        let variance = line.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        let deviation = (variance + f64::from(epsilon)).sqrt();
        line.iter_mut().for_each(|x| *x = (*x - mean) / deviation);
    })
}

fn padded(x: &Array<f32>, before: &[i64], value: f32, shape: &[usize]) -> Option<Array<f32>> {
    let from = strides(&x.shape);
    let mut items = Vec::with_capacity(shape.iter().product());
    let mut index = vec![0i64; shape.len()];
    for _ in 0..shape.iter().product::<usize>() {
        let mut at = Some(0usize);
        for axis in 0..shape.len() {
            let inside = usize::try_from(index[axis] - before[axis]).ok().filter(|&i| i < x.shape[axis]);
            at = at.zip(inside).map(|(at, i)| at + i * from[axis]);
        }
        items.push(at.map_or(value, |at| x.items[at]));
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] as i64 {
                break;
            }
            index[axis] = 0;
        }
    }
    Some(Array::new(shape.to_vec(), items))
}

/// Which point of `from` pixels pixel `at` of `to` is.
fn coordinate(coordinates: Coordinates, at: usize, from: usize, to: usize, scale: Option<f32>) -> f64 {
    let scale = scale.map_or(to as f64 / from as f64, f64::from);
    let at = at as f64;
    match coordinates {
        Coordinates::HalfPixel => (at + 0.5) / scale - 0.5,
        Coordinates::PytorchHalfPixel => {
            if to > 1 {
                (at + 0.5) / scale - 0.5
            } else {
                0.0
            }
        }
        Coordinates::AlignCorners => {
            if to > 1 {
                at * (from - 1) as f64 / (to - 1) as f64
            } else {
                0.0
            }
        }
        Coordinates::Asymmetric => at / scale,
        Coordinates::TfHalfPixelForNn => (at + 0.5) / scale,
    }
}

fn resized(x: &Array<f32>, resize: &Resize, shape: &[usize]) -> Option<Array<f32>> {
    let (&[n, c, ih, iw], &[_, _, oh, ow]) = (&x.shape[..], shape) else { return None };
    // The two pixels that each pixel lies between, and the share of the second.
    let taps = |from: usize, to: usize, side: usize| -> Vec<(usize, usize, f64)> {
        let of = |at| {
            let exact =
                coordinate(resize.coordinates, at, from, to, resize.scales.map(|scales| scales[side]));
            let last = (from - 1) as f64;
            match resize.mode {
                ResizeMode::Nearest(nearest) => {
                    let at = match nearest {
                        Nearest::Floor => exact.floor(),
                        Nearest::Ceil => exact.ceil(),
                        Nearest::RoundPreferFloor => (exact - 0.5).ceil(),
                        Nearest::RoundPreferCeil => (exact + 0.5).floor(),
                    };
                    let at = at.clamp(0.0, last) as usize;
                    (at, at, 0.0)
                }
                ResizeMode::Linear => {
                    let exact = exact.clamp(0.0, last);
                    let low = exact.floor();
                    (low as usize, (low + 1.0).min(last) as usize, exact - low)
                }
            }
        };
        (0..to).map(of).collect()
    };
    if ih == 0 || iw == 0 {
        return None;
    }
    let (rows, columns) = (taps(ih, oh, 0), taps(iw, ow, 1));
    let mut items = Vec::with_capacity(n * c * oh * ow);
    for map in x.items.chunks_exact(ih * iw) {
        for &(top, bottom, down) in &rows {
            for &(left, right, across) in &columns {
                let pixel = |y: usize, x: usize| f64::from(map[y * iw + x]);
                let upper = pixel(top, left) * (1.0 - across) + pixel(top, right) * across;
                let lower = pixel(bottom, left) * (1.0 - across) + pixel(bottom, right) * across;
                items.push((upper * (1.0 - down) + lower * down) as f32);
            }
        }
    }
    Some(Array::new(shape.to_vec(), items))
}

/// Weights in the order in which they are packed: the output channel first.
pub(crate) fn rows_first(array: Array<f32>, order: Order, groups: usize) -> Array<f32> {
    match (order, &array.shape[..]) {
        (Order::Rows, _) => array,
        (Order::Columns, &[ic, oc]) => {
            let perm = Op::Transpose(vec![1, 0]);
            rearrange(&perm, &[oc, ic], 0, &[&array]).expect("a matrix can be transposed")
        }
        (Order::Columns, &[ic, group_oc, kh, kw]) => {
            let group_ic = ic / groups;
            let cut = Array::new(vec![groups, group_ic, group_oc, kh, kw], array.items);
            let perm = Op::Transpose(vec![0, 2, 1, 3, 4]);
            let turned = rearrange(&perm, &[groups, group_oc, group_ic, kh, kw], 0, &[&cut]);
            let turned = turned.expect("axes can be permuted");
            Array::new(vec![groups * group_oc, group_ic, kh, kw], turned.items)
        }
        (Order::Columns, other) => unreachable!("weights of shape {other:?}"),
    }
}
