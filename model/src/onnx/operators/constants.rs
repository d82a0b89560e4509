//! What needs no image: constants, casts, and arithmetic on sizes.

use super::{Outputs, broadcast, one};
use crate::onnx::import::{Call, Imported, Importer, Numbers, Value, instead};
use crate::onnx::net::{Affine, Op};
use crate::onnx::sizes::{Arith, Num};
use crate::onnx::tensor::{Array, Constant, data_type};
use std::sync::Arc;

pub(super) fn dropout<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    c.ignore(&["ratio", "seed", "is_test"]);
    if let Some(value) = c.optional(2)
        && i.floats(value).map_or(true, |flag| flag.items != [0.0])
    {
        return instead("it is in training mode", "export the network after model.eval()");
    }
    if c.node.outputs.get(1).is_some_and(|name| !name.is_empty()) {
        return Err("its mask is asked for".into());
    }
    one(c.input(0)?.clone())
}

pub(super) fn cast<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    c.ignore(&["saturate", "round_mode"]);
    let to = c.int("to")?.ok_or("to is missing")?;
    cast_to(i, c.input(0)?, to)
}

pub(super) fn cast_to<'a>(i: &mut Importer<'_, 'a>, x: &Value<'a>, to: i64) -> Outputs<'a> {
    let float = matches!(to, 1 | 10 | 11 | 16);
    if !float && !matches!(to, 2..=7 | 9 | 12 | 13) {
        return Err(format!("to {}", data_type(to)).into());
    }
    match x {
        Value::Data(_) if float != i.is_int(x) => one(x.clone()),
        // From here on it is another tensor, of real numbers.
        Value::Data(node) if float => {
            let shape = i.net.nodes[*node].shape.clone();
            one(Value::Data(i.push(Op::Affine(Affine::uniform(1.0, 0.0)), vec![*node], shape)))
        }
        Value::Data(_) => instead(
            format!("computed numbers become {}", data_type(to)),
            "networks are run in float32; cut the file before its post-processing",
        ),
        Value::Constant(constant) if float && constant.dtype.is_float() => one(x.clone()),
        _ => {
            let Some(numbers) = i.small(x)? else { return Err("a large constant of integers".into()) };
            let zero = i.net.sizes.int(0);
            let one_only = i.net.sizes.int(1);
            let mut items = Vec::with_capacity(numbers.array.items.len());
            for &num in &numbers.array.items {
                items.push(match to {
                    9 => {
                        let is_zero = i.net.sizes.of(Arith::Equal, num, zero);
                        i.net.sizes.of(Arith::Sub, one_only, is_zero)
                    }
                    _ if float || numbers.int => num,
                    _ => i.net.sizes.of(Arith::Trunc, num, zero),
                });
            }
            let array = Arc::new(Array::new(numbers.array.shape.clone(), items));
            one(Value::Numbers(Numbers { array, int: !float }))
        }
    }
}

pub(super) fn cast_like<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    c.ignore(&["saturate", "round_mode"]);
    let to = if i.is_int(c.input(1)?) { 7 } else { 1 };
    cast_to(i, c.input(0)?, to)
}

pub(super) fn constant<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    if let Some(tensor) = c.tensor("value")? {
        return one(Value::Constant(Arc::new(Constant::of(&tensor, i.folder)?)));
    }
    let ints = match (c.int("value_int")?, c.ints("value_ints")?) {
        (Some(item), _) => Some(Array::scalar(item)),
        (None, items) => items.map(Array::vector),
    };
    if let Some(array) = ints {
        let items = array.items.iter().map(|&item| i.net.sizes.int(item)).collect();
        return one(Value::Numbers(Numbers { array: Arc::new(Array::new(array.shape, items)), int: true }));
    }
    let floats = match (c.float("value_float")?, c.floats("value_floats")?) {
        (Some(item), _) => Some(Array::scalar(item)),
        (None, items) => items.map(Array::vector),
    };
    match floats {
        Some(array) => one(Value::Constant(Arc::new(Constant::made(array)))),
        None => Err("neither a dense tensor nor numbers".into()),
    }
}

pub(super) fn shape<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let all = i.shape(c.input(0)?)?;
    let rank = all.len() as i64;
    let bound = |told: Option<i64>, default: i64| {
        let told = told.unwrap_or(default);
        (if told < 0 { told + rank } else { told }).clamp(0, rank) as usize
    };
    let (start, end) = (bound(c.int("start")?, 0), bound(c.int("end")?, rank));
    let items = all.get(start..end).unwrap_or(&[]).to_vec();
    one(Value::Numbers(Numbers { array: Arc::new(Array::vector(items)), int: true }))
}

pub(super) fn size<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let all = i.shape(c.input(0)?)?;
    let product = i.net.sizes.product(&all);
    one(Value::Numbers(Numbers { array: Arc::new(Array::scalar(product)), int: true }))
}

/// The only number of a value.
pub(super) fn number<'a>(i: &mut Importer<'_, 'a>, value: &Value<'a>, what: &str) -> Imported<Num> {
    match &i.numbers(value, what)?[..] {
        &[num] => Ok(num),
        list => Err(format!("{what}: expected one number, found {}", list.len()).into()),
    }
}

pub(super) fn range<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let int = i.is_int(c.input(0)?);
    let start = number(i, c.input(0)?, "the start")?;
    let limit = number(i, c.input(1)?, "the limit")?;
    let step = number(i, c.input(2)?, "the step")?;
    let zero = i.net.sizes.int(0);
    let distance = i.net.sizes.of(Arith::Sub, limit, start);
    let steps = i.net.sizes.of(Arith::Div, distance, step);
    let steps = i.net.sizes.of(Arith::Ceil, steps, zero);
    let count = i.net.sizes.of(Arith::Max, steps, zero);
    let Some(count) = i.net.sizes.count(count).filter(|&count| count <= 1 << 14) else {
        let node = i.push(Op::Range { start, step }, vec![], vec![count]);
        if int {
            i.mark_int(node);
        }
        return one(Value::Data(node));
    };
    let mut items = Vec::with_capacity(count);
    let mut next = start;
    for _ in 0..count {
        items.push(next);
        next = i.net.sizes.of(Arith::Add, next, step);
    }
    one(Value::Numbers(Numbers { array: Arc::new(Array::vector(items)), int }))
}

pub(super) fn constant_of_shape<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let (value, int) = match c.tensor("value")? {
        None => (0.0, false),
        Some(tensor) => {
            let constant = Constant::of(&tensor, i.folder)?;
            let value = constant.doubles(i.folder)?;
            (*value.first().ok_or("an empty value")?, !constant.dtype.is_float())
        }
    };
    let shape = i.numbers(c.input(0)?, "the shape")?;
    let scalar = if int {
        let num = i.net.sizes.known(value);
        Value::Numbers(Numbers { array: Arc::new(Array::scalar(num)), int })
    } else {
        Value::Constant(Arc::new(Constant::made(Array::scalar(value as f32))))
    };
    one(i.emit(Op::Expand, vec![scalar], shape)?)
}

/// Two tensors of numbers, element by element.
pub(super) fn on_numbers<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>, arith: Arith) -> Imported<Numbers> {
    let (a, b) = (i.small(c.input(0)?)?, i.small(c.input(1)?)?);
    let (Some(a), Some(b)) = (a, b) else {
        return instead(
            "it compares computed numbers",
            "arithmetic on sizes is supported; cut the file before its post-processing",
        );
    };
    let sizes = &mut i.net.sizes;
    let array = crate::onnx::array::broadcast(&a.array, &b.array, |&a, &b| sizes.of(arith, a, b));
    let array = array.ok_or("shapes that do not fit each other")?;
    Ok(Numbers { array: Arc::new(array), int: a.int && b.int })
}

/// A comparison, with its sides exchanged or its answer negated.
pub(super) fn compare<'a>(
    i: &mut Importer<'_, 'a>,
    c: &Call<'_, 'a>,
    arith: Arith,
    exchanged: bool,
    negated: bool,
) -> Outputs<'a> {
    let mut numbers = if exchanged {
        let inputs = vec![c.optional(1).cloned(), c.optional(0).cloned()];
        on_numbers(i, &c.with_inputs(inputs), arith)?
    } else {
        on_numbers(i, c, arith)?
    };
    numbers.int = true;
    if negated { negate(i, &numbers) } else { one(Value::Numbers(numbers)) }
}

pub(super) fn negate<'a>(i: &mut Importer<'_, 'a>, numbers: &Numbers) -> Outputs<'a> {
    let only = i.net.sizes.int(1);
    let items = numbers.array.items.iter().map(|&num| i.net.sizes.of(Arith::Sub, only, num)).collect();
    let array = Arc::new(Array::new(numbers.array.shape.clone(), items));
    one(Value::Numbers(Numbers { array, int: true }))
}

pub(super) fn not<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    match i.small(c.input(0)?)? {
        Some(numbers) => negate(i, &numbers),
        None => Err("it negates computed numbers".into()),
    }
}

pub(super) fn modulo<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    if c.int("fmod")?.unwrap_or(0) != 0 {
        return Err("fmod is set".into());
    }
    one(Value::Numbers(on_numbers(i, c, Arith::Mod)?))
}

pub(super) fn select<'a>(i: &mut Importer<'_, 'a>, c: &Call<'_, 'a>) -> Outputs<'a> {
    let Some(condition) = i.small(c.input(0)?)? else {
        return instead("its condition is computed from the image", "Clip and Relu say the usual conditions");
    };
    // The same everywhere: one of the two, if that has the shape of the result.
    let first = condition.array.items.first().and_then(|&num| i.net.sizes.value(num));
    let same = |num: &Num| i.net.sizes.value(*num).is_some() && i.net.sizes.value(*num) == first;
    if condition.array.items.iter().all(same) {
        let chosen = c.input(if first == Some(0.0) { 2 } else { 1 })?.clone();
        let (a, b) = (i.shape(c.input(1)?)?, i.shape(c.input(2)?)?);
        let shape = broadcast(i, &a, &b)?;
        let of_condition: Vec<Num> = condition.array.shape.iter().map(|&len| i.net.sizes.len(len)).collect();
        let shape = broadcast(i, &shape, &of_condition)?;
        let found = i.shape(&chosen)?;
        if found.len() == shape.len() && found.iter().zip(&shape).all(|(&a, &b)| i.net.sizes.same(a, b)) {
            return one(chosen);
        }
        return one(i.emit(Op::Expand, vec![chosen], shape)?);
    }
    let (a, b) = (i.small(c.input(1)?)?, i.small(c.input(2)?)?);
    let (Some(a), Some(b)) = (a, b) else {
        return Err("it chooses between computed tensors element by element".into());
    };
    // c a + (1 - c) b
    let sizes = &mut i.net.sizes;
    let only = sizes.int(1);
    let first =
        crate::onnx::array::broadcast(&condition.array, &a.array, |&c, &a| sizes.of(Arith::Mul, c, a));
    let second = crate::onnx::array::broadcast(&condition.array, &b.array, |&c, &b| {
        let not = sizes.of(Arith::Sub, only, c);
        sizes.of(Arith::Mul, not, b)
    });
    let both = first
        .zip(second)
        .and_then(|(a, b)| crate::onnx::array::broadcast(&a, &b, |&a, &b| sizes.of(Arith::Add, a, b)));
    let array = both.ok_or("shapes that do not fit each other")?;
    one(Value::Numbers(Numbers { array: Arc::new(array), int: a.int && b.int }))
}
