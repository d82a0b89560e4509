//! Axes: along which something is done, and which come, go and change places.

use super::{Outputs, axes, axis, broadcast, one};
use crate::onnx::import::{Call, Imported, Importer, Numbers, Value, instead};
use crate::onnx::net::{Op, Reduce};
use crate::onnx::sizes::{Arith, Num, Sizes};
use crate::onnx::tensor::Array;
use std::sync::Arc;

pub(super) fn reduce<'a>(
    i: &mut Importer<'_, 'a>,
    c: &Call<'_, 'a>,
    reduce: Reduce,
    axes_are_input: i64,
) -> Outputs<'a> {
    let keep = c.int("keepdims")?.unwrap_or(1) != 0;
    let none = c.int("noop_with_empty_axes")?.unwrap_or(0) != 0;
    let x = c.input(0)?.clone();
    let shape = i.shape(&x)?;
    let told = match c.optional(1) {
        Some(value) if i.opset >= axes_are_input => i.ints(value, "the list of axes")?,
        Some(_) => return Err("an input too many".into()),
        None => c.ints("axes")?.unwrap_or_default(),
    };
    let list = match (told.is_empty(), none) {
        (false, _) => axes(&told, shape.len())?,
        (true, true) => return one(x),
        (true, false) => (0..shape.len()).collect(),
    };
    if let Value::Numbers(numbers) = &x {
        // The product of a shape, above all.
        let arith = match reduce {
            Reduce::Prod => Arith::Mul,
            Reduce::Sum => Arith::Add,
            Reduce::Max => Arith::Max,
            Reduce::Min => Arith::Min,
            _ => return Err("this operation on sizes is not supported".into()),
        };
        let Some((&first, rest)) = numbers.array.items.split_first().filter(|_| list.len() == shape.len())
        else {
            return Err("this operation on sizes is not supported".into());
        };
        let all = rest.iter().fold(first, |all, &num| i.net.sizes.of(arith, all, num));
        let lengths = if keep { vec![1; shape.len()] } else { vec![] };
        let array = Arc::new(Array::new(lengths, vec![all]));
        return one(Value::Numbers(Numbers { array, int: numbers.int }));
    }
    let only = i.net.sizes.int(1);
    let mut made = Vec::new();
    for (at, &len) in shape.iter().enumerate() {
        match (list.contains(&at), keep) {
            (false, _) => made.push(len),
            (true, true) => made.push(only),
            (true, false) => {}
        }
    }
    one(i.emit(Op::Reduce { reduce, axes: list, keep }, vec![x], made)?)
}

pub(super) fn concat<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let inputs = c.all_inputs()?;
    let first = inputs.first().ok_or("it reads nothing")?;
    let mut shape = i.shape(first)?;
    let told = c.int("axis")?.ok_or("axis is missing")?;
    let at = axis(told, shape.len())?;
    let of_first = shape.clone();
    for value in &inputs[1..] {
        let other = i.shape(value)?;
        if other.len() != shape.len() {
            return Err(format!("tensors of {} and of {} dimensions", shape.len(), other.len()).into());
        }
        for (axis, &len) in other.iter().enumerate() {
            if axis == at {
                shape[at] = i.net.sizes.of(Arith::Add, shape[at], len);
            } else if !i.net.sizes.require_same(shape[axis], len) {
                let (a, b) = (i.net.sizes.show_all(&of_first), i.net.sizes.show_all(&other));
                return Err(format!("{a} beside {b}, joined along axis {at}").into());
            }
        }
    }
    if inputs.len() == 1 { Ok(inputs) } else { one(i.emit(Op::Concat(at), inputs, shape)?) }
}

/// `count` indices of an axis.
pub(super) fn part<'a>(
    i: &mut Importer<'_, 'a>,
    x: &Value<'a>,
    axis: usize,
    (start, step, count): (Num, i64, Num),
) -> Imported<Value<'a>> {
    let mut shape = i.shape(x)?;
    let zero = i.net.sizes.int(0);
    if step == 1 && i.net.sizes.same(start, zero) && i.net.sizes.same(count, shape[axis]) {
        return Ok(x.clone());
    }
    shape[axis] = count;
    i.emit(Op::Slice { axis, start, step }, vec![x.clone()], shape)
}

pub(super) fn split<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let x = c.input(0)?.clone();
    let shape = i.shape(&x)?;
    let at = axis(c.int("axis")?.unwrap_or(0), shape.len())?;
    let outputs = c.node.outputs.len();
    let parts = c.int("num_outputs")?.unwrap_or(outputs as i64);
    let told = match c.optional(1) {
        Some(value) => Some(i.numbers(value, "the list of lengths")?),
        None => c.ints("split")?.map(|list| list.into_iter().map(|len| i.net.sizes.int(len)).collect()),
    };
    let lengths = match told {
        Some(lengths) => lengths,
        None if parts == outputs as i64 && parts > 0 => {
            // Rounded up; the last one gets what is left.
            let count = i.net.sizes.int(parts);
            let more = i.net.sizes.add(shape[at], parts - 1);
            let each = i.net.sizes.of(Arith::FloorDiv, more, count);
            let before = i.net.sizes.int(parts - 1);
            let before = i.net.sizes.mul(each, before);
            let last = i.net.sizes.of(Arith::Sub, shape[at], before);
            let mut lengths = vec![each; outputs];
            lengths[outputs - 1] = last;
            lengths
        }
        None => return Err(format!("{parts} parts for {outputs} outputs").into()),
    };
    if lengths.len() != outputs {
        return Err(format!("{} lengths for {outputs} outputs", lengths.len()).into());
    }
    let zero = i.net.sizes.int(0);
    let sum = lengths.iter().fold(zero, |sum, &len| i.net.sizes.of(Arith::Add, sum, len));
    if !i.net.sizes.require_same(sum, shape[at])
        || !i.net.sizes.require(&lengths, |l| l.iter().all(|&n| n >= 1.0))
    {
        let (parts, whole) = (i.net.sizes.show_all(&lengths), i.net.sizes.show(shape[at]));
        return Err(format!("parts of {parts} of {whole}").into());
    }
    let mut start = zero;
    let mut values = Vec::with_capacity(outputs);
    for len in lengths {
        values.push(part(i, &x, at, (start, 1, len))?);
        start = i.net.sizes.of(Arith::Add, start, len);
    }
    Ok(values)
}

/// A bound of a slice: counted from the end if negative, then clamped to what there is.
pub(super) fn bound(sizes: &mut Sizes, num: Num, len: Num, [low, high]: [i64; 2]) -> Imported<Num> {
    let negative = sizes.possible(num).all(|value| value < 0.0);
    if !negative && sizes.possible(num).any(|value| value < 0.0) {
        return Err("a bound that is negative for some sizes only".into());
    }
    let num = if negative { sizes.of(Arith::Add, num, len) } else { num };
    let (low, high) = (sizes.int(low), sizes.add(len, high));
    let num = sizes.of(Arith::Max, num, low);
    Ok(sizes.of(Arith::Min, num, high))
}

pub(super) fn slice<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let mut x = c.input(0)?.clone();
    let shape = i.shape(&x)?;
    let (starts, ends, told_axes, steps) = if i.opset < 10 {
        let mut list = |list: Vec<i64>| list.into_iter().map(|n| i.net.sizes.int(n)).collect::<Vec<_>>();
        let (starts, ends) = (c.ints("starts")?.unwrap_or_default(), c.ints("ends")?.unwrap_or_default());
        (list(starts), list(ends), c.ints("axes")?, None)
    } else {
        let starts = i.numbers(c.input(1)?, "where it starts")?;
        let ends = i.numbers(c.input(2)?, "where it ends")?;
        let axes = c.optional(3).map(|value| i.ints(value, "the list of axes")).transpose()?;
        (starts, ends, axes, c.optional(4).map(|value| i.ints(value, "the list of steps")).transpose()?)
    };
    let told_axes = told_axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || told_axes.len() != starts.len() || steps.len() != starts.len() {
        return Err("its lists are of different lengths".into());
    }
    axes(&told_axes, shape.len())?;
    for (n, &told) in told_axes.iter().enumerate() {
        let at = axis(told, shape.len())?;
        let (len, step) = (i.shape(&x)?[at], steps[n]);
        let zero = i.net.sizes.int(0);
        let sizes = &mut i.net.sizes;
        let (start, end) = match step {
            1.. => (bound(sizes, starts[n], len, [0, 0])?, bound(sizes, ends[n], len, [0, 0])?),
            0 => return Err("a step of 0".into()),
            // "Up to the beginning" is written as a number far below zero.
            _ => {
                let start = bound(sizes, starts[n], len, [0, -1])?;
                let far = sizes.add(len, 1);
                let end = sizes.of(Arith::Add, ends[n], far);
                let below = sizes.possible(end).all(|value| value <= 0.0);
                (start, if below { sizes.int(-1) } else { bound(sizes, ends[n], len, [-1, -1])? })
            }
        };
        let distance =
            if step > 0 { sizes.of(Arith::Sub, end, start) } else { sizes.of(Arith::Sub, start, end) };
        let more = sizes.add(distance, step.saturating_abs() - 1);
        let by = sizes.int(step.saturating_abs());
        let count = sizes.of(Arith::FloorDiv, more, by);
        let count = sizes.of(Arith::Max, count, zero);
        x = part(i, &x, at, (start, step, count))?;
    }
    one(x)
}

pub(super) fn gather<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let x = c.input(0)?.clone();
    let shape = i.shape(&x)?;
    let at = axis(c.int("axis")?.unwrap_or(0), shape.len())?;
    let Some(indices) = i.small(c.input(1)?)? else {
        // PyTorch's `as_strided`: each element once, in order.
        if let (Value::Data(node), 1) = (c.input(1)?, shape.len())
            && let Some(grid) = crate::onnx::grid::of(&mut i.net, *node)
            && grid.counts_up(&mut i.net.sizes, shape[0])
        {
            return one(i.emit(Op::Reshape, vec![x], grid.shape)?);
        }
        return instead("the indices are computed when the network runs", "indices must be constants");
    };
    let list_shape = indices.array.shape.clone();
    if list_shape.len() > 1 {
        return Err(format!("indices of {} dimensions", list_shape.len()).into());
    }
    let mut list = Vec::with_capacity(indices.array.items.len());
    for &num in &indices.array.items {
        let Some(value) = i.net.sizes.value(num) else {
            return Err("an index that depends on the size".into());
        };
        let len = shape[at];
        let fits = |values: &[f64]| (-values[0]..values[0]).contains(&value);
        if !i.net.sizes.require(&[len], fits) {
            return Err(format!("index {value} of {}", i.net.sizes.show(len)).into());
        }
        list.push(value as i64);
    }
    // An index from the end of an open axis is a number that depends on the size.
    let known = i.net.sizes.count(shape[at]);
    let mut positions = Vec::with_capacity(list.len());
    for &index in &list {
        positions.push(match (index, known) {
            (0.., _) => i.net.sizes.int(index),
            (_, Some(len)) => i.net.sizes.int(index + len as i64),
            _ => i.net.sizes.add(shape[at], index),
        });
    }
    let lengths: Option<Vec<usize>> = positions.iter().map(|&num| i.net.sizes.count(num)).collect();
    let value = match (&positions[..], lengths) {
        ([], _) => return Err("no index".into()),
        (&[start], _) => {
            let count = i.net.sizes.int(1);
            part(i, &x, at, (start, 1, count))?
        }
        (&[first, ..], Some(list)) => {
            let step = list[1] as i64 - list[0] as i64;
            let count = i.net.sizes.len(list.len());
            if step != 0 && list.windows(2).all(|pair| pair[1] as i64 - pair[0] as i64 == step) {
                part(i, &x, at, (first, step, count))?
            } else {
                let mut made = shape.clone();
                made[at] = count;
                i.emit(Op::Gather { axis: at, indices: list.into() }, vec![x], made)?
            }
        }
        _ => return Err("indices that depend on the size".into()),
    };
    if list_shape.is_empty() {
        let mut made = shape;
        made.remove(at);
        return one(i.emit(Op::Reshape, vec![value], made)?);
    }
    one(value)
}

pub(super) fn reshape_to<'a>(i: &mut Importer<'_, 'a>, x: &Value<'a>, shape: Vec<Num>) -> Outputs<'a> {
    let from = i.shape(x)?;
    let same = from.len() == shape.len() && from.iter().zip(&shape).all(|(&a, &b)| i.net.sizes.same(a, b));
    if same { one(x.clone()) } else { one(i.emit(Op::Reshape, vec![x.clone()], shape)?) }
}

pub(super) fn reshape<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let x = c.input(0)?.clone();
    let from = i.shape(&x)?;
    let copies = c.int("allowzero")?.unwrap_or(0) == 0;
    let told = i.numbers(c.input(1)?, "the shape")?;
    if told.len() > crate::onnx::proto::MAX_RANK {
        return Err(format!("a shape of {} dimensions", told.len()).into());
    }
    let mut shape = Vec::with_capacity(told.len());
    let mut open = None;
    for (at, &num) in told.iter().enumerate() {
        match i.net.sizes.value(num) {
            Some(0.0) if copies => {
                shape.push(*from.get(at).ok_or("a 0 stands for a dimension that the input does not have")?);
            }
            Some(-1.0) if open.is_none() => {
                open = Some(at);
                let only = i.net.sizes.int(1);
                shape.push(only);
            }
            _ if i.net.sizes.possible(num).all(|value| value >= 1.0) => shape.push(num),
            _ => return Err(format!("shape {}", i.net.sizes.show_all(&told)).into()),
        }
    }
    let (have, mut need) = (i.net.sizes.product(&from), i.net.sizes.product(&shape));
    if let Some(at) = open {
        shape[at] = i.net.sizes.of(Arith::FloorDiv, have, need);
        need = i.net.sizes.mul(need, shape[at]);
    }
    if !i.net.sizes.require_same(have, need) {
        let (from, to) = (i.net.sizes.show_all(&from), i.net.sizes.show_all(&told));
        return instead(
            format!("{from} cannot become {to} for any size of the image"),
            "where the file says that a size is open but a shape was fixed by tracing, export with that size fixed",
        );
    }
    reshape_to(i, &x, shape)
}

pub(super) fn flatten<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let x = c.input(0)?.clone();
    let shape = i.shape(&x)?;
    let at = match c.int("axis")?.unwrap_or(1) {
        end if end == shape.len() as i64 => shape.len(),
        other => axis(other, shape.len())?,
    };
    let made = vec![i.net.sizes.product(&shape[..at]), i.net.sizes.product(&shape[at..])];
    reshape_to(i, &x, made)
}

/// Axes from an input since operator set 13, before from an attribute.
pub(super) fn listed_axes<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Imported<Option<Vec<i64>>> {
    match c.optional(1) {
        Some(value) => i.ints(value, "the list of axes").map(Some),
        None => c.ints("axes"),
    }
}

pub(super) fn squeeze<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let x = c.input(0)?.clone();
    let shape = i.shape(&x)?;
    let only = i.net.sizes.int(1);
    let list = match listed_axes(i, c)? {
        Some(list) => axes(&list, shape.len())?,
        None => (0..shape.len()).filter(|&at| i.net.sizes.same(shape[at], only)).collect(),
    };
    let mut made = Vec::new();
    for (at, &len) in shape.iter().enumerate() {
        if !list.contains(&at) {
            made.push(len);
        } else if !i.net.sizes.require_same(len, only) {
            return Err(format!("axis {at} has {}, not 1", i.net.sizes.show(len)).into());
        }
    }
    reshape_to(i, &x, made)
}

pub(super) fn unsqueeze<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let x = c.input(0)?.clone();
    let shape = i.shape(&x)?;
    let list = listed_axes(i, c)?.ok_or("axes are missing")?;
    let rank = shape.len() + list.len();
    if rank > crate::onnx::proto::MAX_RANK {
        return Err(format!("a shape of {rank} dimensions").into());
    }
    let list = axes(&list, rank)?;
    let only = i.net.sizes.int(1);
    let mut rest = shape.into_iter();
    let made =
        (0..rank).map(|at| if list.contains(&at) { only } else { rest.next().unwrap_or(only) }).collect();
    reshape_to(i, &x, made)
}

pub(super) fn transpose<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let x = c.input(0)?.clone();
    let shape = i.shape(&x)?;
    let perm = match c.ints("perm")? {
        Some(perm) => perm.iter().map(|&at| axis(at, shape.len())).collect::<Imported<Vec<_>>>()?,
        None => (0..shape.len()).rev().collect(),
    };
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..shape.len()) {
        return Err(format!("perm {perm:?} for {} dimensions", shape.len()).into());
    }
    if perm.iter().copied().eq(0..shape.len()) {
        return one(x);
    }
    let made = perm.iter().map(|&at| shape[at]).collect();
    one(i.emit(Op::Transpose(perm), vec![x], made)?)
}

pub(super) fn expand<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let x = c.input(0)?.clone();
    let from = i.shape(&x)?;
    let told = i.numbers(c.input(1)?, "the shape")?;
    let shape = broadcast(i, &from, &told)?;
    if shape.len() == from.len() && shape.iter().zip(&from).all(|(&a, &b)| i.net.sizes.same(a, b)) {
        return one(x);
    }
    one(i.emit(Op::Expand, vec![x], shape)?)
}

pub(super) fn tile<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let x = c.input(0)?.clone();
    let mut shape = i.shape(&x)?;
    let times = i.numbers(c.input(1)?, "the number of repeats")?;
    if times.len() != shape.len() {
        return Err(format!("{} repeats for {} dimensions", times.len(), shape.len()).into());
    }
    let only = i.net.sizes.int(1);
    for (len, &times) in shape.iter_mut().zip(&times) {
        if i.net.sizes.same(*len, only) {
            *len = times;
        } else if !i.net.sizes.same(times, only) {
            return instead("it repeats more than one element", "a Concat says the same");
        }
    }
    one(i.emit(Op::Expand, vec![x], shape)?)
}
