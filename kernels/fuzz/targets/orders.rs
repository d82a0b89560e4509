//! Programs of the channel-order algebra against lists of slots, and what reads through the orders that come of them.
#![no_main]

use kernels::reference::{self, Planar};
use kernels::{BLOCK, ChannelOrder, Isa, Materialize, Shape, Tensor, layout};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

/// A step makes one more value; `usize`s name earlier ones, modulo their number.
#[derive(Arbitrary, Debug)]
enum Step {
    Identity(u8),
    Slots(Vec<u32>),
    SmallSlots(Vec<u8>),
    Concat(Vec<u8>),
    Split(u8, usize),
    Range(u8, usize, usize),
    Shuffle(u8, usize),
    ShuffleSmall(u8, u8),
    Select(u8, u8),
    Inverse(u8),
    AfterBlocks(u8, u32),
}

/// Longer values and programs are cut short.
const MOST: usize = 600;

fuzz_target!(|steps: Vec<Step>| {
    let mut values = vec![(ChannelOrder::identity(0), Vec::new())];
    for step in steps.iter().take(40) {
        let made = apply(step, &values);
        values.extend(made.into_iter().filter(|(_, slots)| slots.len() <= MOST));
    }
    for (order, slots) in &values {
        check(order, slots);
    }
});

/// An order, and the list that it should be.
type Value = (ChannelOrder, Vec<u32>);

fn apply(step: &Step, values: &[Value]) -> Vec<Value> {
    let at = |index: u8| &values[usize::from(index) % values.len()];
    // What the algebra answers is compared with what the list allows.
    let same = |found: Result<ChannelOrder, kernels::Error>, expected: Option<Vec<u32>>| {
        assert_eq!(found.is_ok(), expected.is_some(), "{step:?}: {found:?}, expected {expected:?}");
        found.ok().zip(expected).into_iter().collect()
    };
    match step {
        Step::Identity(n) => {
            vec![(ChannelOrder::identity(usize::from(*n)), (0..u32::from(*n)).collect())]
        }
        Step::Slots(slots) => vec![(ChannelOrder::from_slots(slots.clone()), slots.clone())],
        Step::SmallSlots(slots) => {
            let slots: Vec<u32> = slots.iter().map(|&slot| slot.into()).collect();
            vec![(ChannelOrder::from_slots(slots.clone()), slots)]
        }
        Step::Concat(parts) => {
            let parts: Vec<&Value> = parts.iter().take(4).map(|&part| at(part)).collect();
            let orders: Vec<&ChannelOrder> = parts.iter().map(|(order, _)| order).collect();
            vec![(
                ChannelOrder::concat(&orders),
                parts.iter().flat_map(|(_, slots)| slots).copied().collect(),
            )]
        }
        Step::Split(of, cut) => {
            let (order, slots) = at(*of);
            match order.split(*cut) {
                Ok((left, right)) => {
                    let (expected_left, expected_right) = slots.split_at(*cut);
                    vec![(left, expected_left.to_vec()), (right, expected_right.to_vec())]
                }
                Err(_) => {
                    assert!(*cut > slots.len());
                    Vec::new()
                }
            }
        }
        Step::Range(of, start, end) => {
            let (order, slots) = at(*of);
            same(order.range(*start..*end), slots.get(*start..*end).map(<[u32]>::to_vec))
        }
        Step::Shuffle(of, groups) => {
            let (order, slots) = at(*of);
            same(order.shuffle(*groups), shuffled(slots, *groups))
        }
        Step::ShuffleSmall(of, groups) => {
            let ((order, slots), groups) = (at(*of), usize::from(*groups));
            same(order.shuffle(groups), shuffled(slots, groups))
        }
        Step::Select(of, by) => {
            let ((order, slots), (channels, by)) = (at(*of), at(*by));
            same(order.select(channels), by.iter().map(|&c| slots.get(c as usize).copied()).collect())
        }
        Step::Inverse(of) => {
            let (order, slots) = at(*of);
            let n = slots.len() as u32;
            let found = (0..n).map(|c| slots.iter().position(|&slot| slot == c).map(|at| at as u32));
            let found: Option<Vec<u32>> = found.collect();
            if let (Ok(inverse), Some(_)) = (order.inverse(), &found) {
                assert!(order.select(&inverse).unwrap().is_identity());
                assert!(inverse.select(order).unwrap().is_identity());
            }
            same(order.inverse(), found)
        }
        Step::AfterBlocks(of, blocks) => {
            let (order, slots) = at(*of);
            let moved = |&slot: &u32| slot.checked_add(blocks.checked_mul(BLOCK as u32)?);
            match slots.iter().map(moved).collect::<Option<Vec<u32>>>() {
                Some(moved) if blocks.checked_mul(BLOCK as u32).is_some() => {
                    vec![(order.after_blocks(*blocks as usize), moved)]
                }
                // It would panic, as documented.
                _ => Vec::new(),
            }
        }
    }
}

/// The definition: groups as rows of a matrix, read by columns.
fn shuffled(slots: &[u32], groups: usize) -> Option<Vec<u32>> {
    if groups == 0 || !slots.len().is_multiple_of(groups) {
        return None;
    }
    let each = slots.len() / groups;
    Some((0..each).flat_map(|i| (0..groups).map(move |j| slots[j * each + i])).collect())
}

fn check(order: &ChannelOrder, slots: &[u32]) {
    assert_eq!(order.slots(), slots);
    assert_eq!(order.channels(), slots.len());
    let width = slots.iter().max().map_or(0, |&slot| slot as usize + 1);
    assert_eq!(order.width(), width);
    assert_eq!(order.is_identity(), slots.iter().enumerate().all(|(c, &slot)| c == slot as usize));
    for (c, &slot) in slots.iter().enumerate() {
        assert_eq!(order.slot(c), slot as usize);
    }
    let built: Vec<Result<Materialize, _>> =
        Isa::available().map(|isa| Materialize::builder(order).isa(isa).build()).collect();
    if slots.is_empty() {
        assert!(built.iter().all(Result::is_err));
        return;
    }
    if width > 2 * MOST {
        assert!(built.iter().all(Result::is_ok));
        return;
    }
    let shape = Shape::new(width, 1, 3);
    let src = Planar::from_fn(shape, |c, _, x| (3 * c + x) as f64);
    let expected = reference::gather(&src, order).to_f32();
    let blocked = Tensor::from_nchw(&src.to_f32(), shape).unwrap();
    let mut planar = vec![f32::NAN; expected.len()];
    layout::to_nchw(blocked.view(), order, &mut planar);
    assert_eq!(planar, expected);
    for op in built {
        let mut dst = Tensor::zeros(Shape { c: slots.len(), ..shape });
        op.unwrap().run(blocked.view(), dst.view_mut());
        assert_eq!(dst.to_nchw(), expected);
    }
}
