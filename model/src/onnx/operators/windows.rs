//! Windows that slide over a map, and maps of another size.

use super::{Outputs, axis, counts, map, one, pair, scalar, vector, weights};
use crate::onnx::import::{Call, Imported, Importer, Reason, Value, instead};
use crate::onnx::net::{
    Conv, Coordinates, Nearest, Op, Order, Padding, Pool, PoolKind, Reduce, Resize, ResizeMode, Weights,
    Window,
};
use crate::onnx::sizes::{Arith, Num};
use std::sync::Arc;

/// `kernel_shape`, `strides`, `pads` and `auto_pad`, and the dilation.
pub(super) fn window(c: &Call<'_, '_>, kernel: Option<[usize; 2]>) -> Imported<(Window, [usize; 2])> {
    let told = c.ints("kernel_shape")?;
    let kernel = match (told, kernel) {
        (None, Some(kernel)) => kernel,
        (None, None) => return Err("kernel_shape is missing".into()),
        (told, expected) => {
            let told = pair(told, 1, "kernel_shape")?;
            if let Some(expected) = expected.filter(|expected| *expected != told) {
                return Err(format!("kernel_shape {told:?}, but weights for {expected:?}").into());
            }
            told
        }
    };
    let stride = pair(c.ints("strides")?, 1, "strides")?;
    let dilation = pair(c.ints("dilations")?, 1, "dilations")?;
    if [kernel, stride, dilation].concat().contains(&0) {
        return Err(format!("a window of {kernel:?}, strides {stride:?}, dilations {dilation:?}").into());
    }
    let pads = c.ints("pads")?;
    let padding = match c.text("auto_pad")?.unwrap_or("NOTSET") {
        "NOTSET" | "" => {
            let pads = pads.unwrap_or_else(|| vec![0; 4]);
            if pads.iter().any(|&pad| pad < 0) {
                return instead(format!("negative pads {pads:?}"), "a Slice before it cuts a map");
            }
            let counts = counts(&pads, "pads")?;
            let sides: [usize; 4] = counts[..].try_into().map_err(|_| {
                Reason::from(format!("pads: expected four numbers, of rows and columns, found {pads:?}"))
            })?;
            Padding::Sides(sides)
        }
        "VALID" => Padding::Sides([0; 4]),
        "SAME_UPPER" => Padding::SameUpper,
        "SAME_LOWER" => Padding::SameLower,
        other => return Err(format!("auto_pad {}", crate::onnx::quoted(other)).into()),
    };
    Ok((Window { kernel, stride, padding }, dilation))
}

/// How many positions a window has along one side of a map; at least one, or the size is impossible.
pub(super) fn slid(
    i: &mut Importer<'_, '_>,
    len: Num,
    side: usize,
    (window, dilation): (&Window, usize),
    ceil: bool,
) -> Imported<Num> {
    let (kernel, stride) = (window.kernel[side], window.stride[side]);
    let reach = (kernel - 1).saturating_mul(dilation) + 1;
    let s = i.net.sizes.len(stride);
    let Padding::Sides(pads) = window.padding else {
        // Rounded up.
        let more = i.net.sizes.add(len, stride as i64 - 1);
        return Ok(i.net.sizes.of(Arith::FloorDiv, more, s));
    };
    let (before, after) = (pads[side], pads[side + 2]);
    let room = i.net.sizes.add(len, (before + after) as i64 - reach as i64);
    if !i.net.sizes.require(&[room], |room| room[0] >= 0.0) {
        let found = i.net.sizes.show(len);
        return Err(format!(
            "a window of {reach} does not fit into {found} pixels padded by {before} and {after}"
        )
        .into());
    }
    if !ceil {
        let steps = i.net.sizes.of(Arith::FloorDiv, room, s);
        return Ok(i.net.sizes.add(steps, 1));
    }
    let more = i.net.sizes.add(room, stride as i64 - 1);
    let steps = i.net.sizes.of(Arith::FloorDiv, more, s);
    // The last window begins on the map or on the padding before it.
    let last = i.net.sizes.add(len, before as i64 - 1);
    let most = i.net.sizes.of(Arith::FloorDiv, last, s);
    let steps = i.net.sizes.of(Arith::Min, steps, most);
    Ok(i.net.sizes.add(steps, 1))
}

pub(super) fn conv<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let (shape, ic) = map(i, c.input(0)?)?;
    let tensor = weights(c.input(1)?, "the weights")?;
    let &[oc, group_ic, kh, kw] = &tensor.shape[..] else {
        return Err(format!("expected weights of four dimensions, found {:?}", tensor.shape).into());
    };
    let groups = counts(&[c.int("group")?.unwrap_or(1)], "group")?[0];
    if groups == 0 || oc == 0 || group_ic.checked_mul(groups) != Some(ic) || oc % groups != 0 {
        return Err(format!(
            "weights of {:?} in {groups} groups do not fit a map of {ic} channels",
            tensor.shape
        )
        .into());
    }
    let (window, dilation) = window(c, Some([kh, kw]))?;
    let bias = bias(i, c.optional(2), oc)?;
    let h = slid(i, shape[2], 0, (&window, dilation[0]), false)?;
    let w = slid(i, shape[3], 1, (&window, dilation[1]), false)?;
    let weights = Weights { tensor: i.keep(tensor), order: Order::Rows, oc, scale: None, bias, input: None };
    let made = vec![shape[0], i.net.sizes.len(oc), h, w];
    let op = Op::Conv(Conv { weights, groups, window, dilation, transposed: None });
    one(i.emit(op, vec![c.input(0)?.clone()], made)?)
}

/// One number per output channel. Exporters have been seen that write another number.
pub(super) fn bias<'a>(
    i: &mut Importer<'_, 'a>,
    value: Option<&Value<'a>>,
    oc: usize,
) -> Imported<Option<Arc<[f64]>>> {
    let Some(value) = value else { return Ok(None) };
    Ok(Some(vector(i, value, oc, "the bias")?.into()))
}

pub(super) fn conv_transpose<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let (shape, ic) = map(i, c.input(0)?)?;
    let tensor = weights(c.input(1)?, "the weights")?;
    let &[weights_ic, group_oc, kh, kw] = &tensor.shape[..] else {
        return Err(format!("expected weights of four dimensions, found {:?}", tensor.shape).into());
    };
    let groups = counts(&[c.int("group")?.unwrap_or(1)], "group")?[0];
    if groups == 0 || group_oc == 0 || weights_ic != ic || ic % groups != 0 {
        return Err(format!(
            "weights of {:?} in {groups} groups do not fit a map of {ic} channels",
            tensor.shape
        )
        .into());
    }
    let oc = group_oc.checked_mul(groups).ok_or("too many output channels")?;
    let (window, dilation) = window(c, Some([kh, kw]))?;
    let extra = pair(c.ints("output_padding")?, 0, "output_padding")?;
    if c.ints("output_shape")?.is_some() {
        return instead("output_shape is given", "pads and output_padding say the same");
    }
    let Padding::Sides(pads) = window.padding else {
        return instead("auto_pad is SAME", "pads say the same");
    };
    let bias = bias(i, c.optional(2), oc)?;
    let mut sides = [shape[2]; 2];
    for side in 0..2 {
        let less = i.net.sizes.add(shape[2 + side], -1);
        let stride = i.net.sizes.len(window.stride[side]);
        let steps = i.net.sizes.mul(less, stride);
        let reach = (window.kernel[side] - 1) * dilation[side] + 1 + extra[side];
        sides[side] = i.net.sizes.add(steps, reach as i64 - (pads[side] + pads[side + 2]) as i64);
        if !i.net.sizes.require(&[sides[side]], |len| len[0] >= 1.0) {
            return Err("nothing is left of the map".into());
        }
    }
    let weights =
        Weights { tensor: i.keep(tensor), order: Order::Columns, oc, scale: None, bias, input: None };
    let made = vec![shape[0], i.net.sizes.len(oc), sides[0], sides[1]];
    let op = Op::Conv(Conv { weights, groups, window, dilation, transposed: Some(extra) });
    one(i.emit(op, vec![c.input(0)?.clone()], made)?)
}

pub(super) fn pool<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>, kind: PoolKind) -> Outputs<'a> {
    let (shape, _) = map(i, c.input(0)?)?;
    let (window, dilation) = window(c, None)?;
    if dilation != [1, 1] {
        return instead(format!("dilations {dilation:?}"), "pooling with dilations of 1 is supported");
    }
    let ceil = c.int("ceil_mode")?.unwrap_or(0) != 0;
    if let Padding::Sides(pads) = window.padding {
        let [kh, kw] = window.kernel;
        if pads[0].max(pads[2]) >= kh || pads[1].max(pads[3]) >= kw {
            return Err(format!("pads {pads:?} are as large as the window, {kh}x{kw}").into());
        }
    }
    let h = slid(i, shape[2], 0, (&window, 1), ceil)?;
    let w = slid(i, shape[3], 1, (&window, 1), ceil)?;
    one(i.emit(
        Op::Pool(Pool { window, kind, ceil }),
        vec![c.input(0)?.clone()],
        vec![shape[0], shape[1], h, w],
    )?)
}

pub(super) fn max_pool<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    c.ignore(&["storage_order"]);
    if c.node.outputs.get(1).is_some_and(|name| !name.is_empty()) {
        return instead("the indices of the maxima are asked for", "the values alone are computed");
    }
    pool(i, c, PoolKind::Max)
}

pub(super) fn average_pool<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let count_pad = c.int("count_include_pad")?.unwrap_or(0) != 0;
    pool(i, c, PoolKind::Average { count_pad })
}

pub(super) fn global_pool<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>, reduce: Reduce) -> Outputs<'a> {
    let (shape, _) = map(i, c.input(0)?)?;
    let one_pixel = i.net.sizes.int(1);
    let op = Op::Reduce { reduce, axes: vec![2, 3], keep: true };
    one(i.emit(op, vec![c.input(0)?.clone()], vec![shape[0], shape[1], one_pixel, one_pixel])?)
}

pub(super) fn pad<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let x = c.input(0)?.clone();
    let mut shape = i.shape(&x)?;
    let rank = shape.len();
    let (pads, value, list) = if i.opset < 11 {
        let pads = c.ints("pads")?.ok_or("pads are missing")?;
        let pads = pads.into_iter().map(|pad| i.net.sizes.int(pad)).collect();
        (pads, c.float("value")?.unwrap_or(0.0), None)
    } else {
        let pads = i.numbers(c.input(1)?, "the list of pads")?;
        let value = c.optional(2).map(|value| scalar(i, value, "the padded number")).transpose()?;
        let list = c.optional(3).map(|value| i.ints(value, "the list of axes")).transpose()?;
        (pads, value.unwrap_or(0.0), list)
    };
    let pads: Vec<Num> = pads;
    let zero = i.net.sizes.int(0);
    let nothing = pads.iter().all(|&pad| i.net.sizes.same(pad, zero));
    let mode = c.text("mode")?.unwrap_or("constant");
    if mode != "constant" && !nothing {
        return instead(format!("mode {}", crate::onnx::quoted(mode)), "padding with zeros is supported");
    }
    let list = match list {
        Some(list) => list.iter().map(|&at| axis(at, rank)).collect::<Imported<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * list.len() || !i.net.sizes.require(&pads, |pads| pads.iter().all(|p| p.abs() < 1e6))
    {
        return Err(format!("pads {} for {} axes", i.net.sizes.show_all(&pads), list.len()).into());
    }
    let (mut before, mut after) = (vec![zero; rank], vec![zero; rank]);
    for (n, &at) in list.iter().enumerate() {
        (before[at], after[at]) = (pads[n], pads[n + list.len()]);
        let longer = i.net.sizes.of(Arith::Add, shape[at], before[at]);
        shape[at] = i.net.sizes.of(Arith::Add, longer, after[at]);
        if !i.net.sizes.require(&[shape[at]], |len| len[0] >= 1.0) {
            return Err("nothing is left of the tensor".into());
        }
    }
    if nothing {
        return one(x);
    }
    one(i.emit(Op::Pad { before, after, value }, vec![x], shape)?)
}

pub(super) fn resize<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let (shape, _) = map(i, c.input(0)?)?;
    // Ten and before, and Upsample: scales alone, nearest neighbours rounded down, no shift of half a pixel.
    let old = c.node.op_type == "Upsample" || i.opset < 11;
    let mode = c.text("mode")?.unwrap_or("nearest");
    let told = c.text("coordinate_transformation_mode")?;
    let coordinates = match told.unwrap_or(if old { "asymmetric" } else { "half_pixel" }) {
        "half_pixel" => Coordinates::HalfPixel,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        "tf_half_pixel_for_nn" => Coordinates::TfHalfPixelForNn,
        other => {
            return instead(
                format!("coordinate_transformation_mode {}", crate::onnx::quoted(other)),
                "half_pixel, pytorch_half_pixel, align_corners and asymmetric are supported",
            );
        }
    };
    let rounding = c.text("nearest_mode")?.unwrap_or(if old { "floor" } else { "round_prefer_floor" });
    let mode = match (mode, rounding) {
        ("nearest", "floor") => ResizeMode::Nearest(Nearest::Floor),
        ("nearest", "ceil") => ResizeMode::Nearest(Nearest::Ceil),
        ("nearest", "round_prefer_floor") => ResizeMode::Nearest(Nearest::RoundPreferFloor),
        ("nearest", "round_prefer_ceil") => ResizeMode::Nearest(Nearest::RoundPreferCeil),
        ("linear" | "bilinear", _) => ResizeMode::Linear,
        (other, _) => {
            return instead(
                format!("mode {}", crate::onnx::quoted(other)),
                "nearest and linear are supported",
            );
        }
    };
    c.ignore(&["cubic_coeff_a", "extrapolation_value", "exclude_outside"]);
    if c.int("antialias")?.unwrap_or(0) != 0 {
        return instead("antialias is set", "resizing without it is supported");
    }
    if c.text("keep_aspect_ratio_policy")?.is_some_and(|policy| policy != "stretch") {
        return instead("keep_aspect_ratio_policy is set", "sizes given outright are supported");
    }
    let list = c.ints("axes")?.unwrap_or_else(|| (0..4).collect());
    let list = list.iter().map(|&at| axis(at, 4)).collect::<Imported<Vec<_>>>()?;
    let (scales, sizes) = if old { (1, 4) } else { (2, 3) };
    let present = |value: &&Value<'a>| match value {
        Value::Constant(constant) => constant.count() > 0,
        Value::Numbers(numbers) => !numbers.array.items.is_empty(),
        _ => true,
    };
    let attribute = c.floats("scales")?;
    let scales = match (attribute, c.optional(scales).filter(present)) {
        (Some(list), _) => Some(list.into_iter().map(|scale| i.net.sizes.known(scale.into())).collect()),
        (None, Some(value)) => Some(i.numbers(&value.clone(), "the scale")?),
        (None, None) => None,
    };
    let mut made = shape.clone();
    let mut known_scales = None;
    if let Some(scales) = scales {
        let scales: Vec<Num> = scales;
        if scales.len() != list.len() {
            return Err(format!("{} scales for {} axes", scales.len(), list.len()).into());
        }
        let mut told = [1.0f32; 4];
        for (&at, &scale) in list.iter().zip(&scales) {
            told[at] = i.net.sizes.value(scale).unwrap_or(f64::NAN) as f32;
            let zero = i.net.sizes.int(0);
            let exact = i.net.sizes.mul(shape[at], scale);
            made[at] = i.net.sizes.of(Arith::Floor, exact, zero);
        }
        known_scales = Some([told[2], told[3]]).filter(|scales| scales.iter().all(|scale| !scale.is_nan()));
    } else {
        let Some(value) = c.optional(sizes).filter(present) else {
            return Err("neither scales nor sizes are given".into());
        };
        let told = i.numbers(&value.clone(), "the size")?;
        if told.len() != list.len() {
            return Err(format!("{} sizes for {} axes", told.len(), list.len()).into());
        }
        list.iter().zip(told).for_each(|(&at, len)| made[at] = len);
    }
    if !i.net.sizes.same(made[0], shape[0]) || !i.net.sizes.same(made[1], shape[1]) {
        return Err("it resizes the batch or the channels".into());
    }
    if !i.net.sizes.require(&made[2..], |sides| sides.iter().all(|&side| side >= 1.0)) {
        return Err("nothing is left of the map".into());
    }
    if i.net.sizes.same(made[2], shape[2]) && i.net.sizes.same(made[3], shape[3]) {
        return one(c.input(0)?.clone());
    }
    let resize = Resize { mode, coordinates, scales: known_scales };
    one(i.emit(Op::Resize(resize), vec![c.input(0)?.clone()], made)?)
}

/// `[N, C, H, W]` cut into pieces, their axes permuted, and put together again.
pub(super) fn shuffle_pixels<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>, up: bool) -> Outputs<'a> {
    let (shape, channels) = map(i, c.input(0)?)?;
    let block = counts(&[c.int("blocksize")?.ok_or("blocksize is missing")?], "blocksize")?[0];
    let columns_first = match c.text("mode")?.unwrap_or("DCR") {
        "DCR" => true,
        "CRD" => false,
        other => return Err(format!("mode {}", crate::onnx::quoted(other)).into()),
    };
    let by = i.net.sizes.len(block);
    let square = block.saturating_mul(block);
    if block == 0 || up && channels % square != 0 {
        return Err(format!("blocks of {block}x{block} in {channels} channels").into());
    }
    let [n, _, h, w] = shape[..] else { unreachable!("map checked the dimensions") };
    let x = c.input(0)?.clone();
    if up {
        let less = i.net.sizes.len(channels / square);
        let (cut, perm) = if columns_first {
            (vec![n, by, by, less, h, w], vec![0, 3, 4, 1, 5, 2])
        } else {
            (vec![n, less, by, by, h, w], vec![0, 1, 4, 2, 5, 3])
        };
        let cut_up = i.emit(Op::Reshape, vec![x], cut.clone())?;
        let moved = perm.iter().map(|&at| cut[at]).collect();
        let turned = i.emit(Op::Transpose(perm), vec![cut_up], moved)?;
        let made = vec![n, less, i.net.sizes.mul(h, by), i.net.sizes.mul(w, by)];
        return one(i.emit(Op::Reshape, vec![turned], made)?);
    }
    if !i.net.sizes.require(&[h, w, by], |v| v[0] % v[2] == 0.0 && v[1] % v[2] == 0.0) {
        return Err(format!("blocks of {block}x{block} in {}", i.net.sizes.show_all(&shape[2..])).into());
    }
    let (rows, columns) = (i.net.sizes.of(Arith::FloorDiv, h, by), i.net.sizes.of(Arith::FloorDiv, w, by));
    let cut = vec![n, shape[1], rows, by, columns, by];
    let cut_up = i.emit(Op::Reshape, vec![x], cut.clone())?;
    let perm = vec![0, 3, 5, 1, 2, 4];
    let moved = perm.iter().map(|&at| cut[at]).collect();
    let turned = i.emit(Op::Transpose(perm), vec![cut_up], moved)?;
    let more = i.net.sizes.len(channels.saturating_mul(square));
    one(i.emit(Op::Reshape, vec![turned], vec![n, more, rows, columns])?)
}

pub(super) fn depth_to_space<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    shuffle_pixels(i, c, true)
}

pub(super) fn space_to_depth<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    shuffle_pixels(i, c, false)
}
