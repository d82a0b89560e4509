//! The algebra of channel orders, and the channels that are really moved.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::reference::{self, Planar};
use kernels::{BLOCK, ChannelOrder, Shape};
use kernels_testing::blocked::{Order, divisor, orders};
use kernels_testing::operators::Shuffle;
use kernels_testing::{Problem, Random, shuffle};

/// A value of which channel `c` holds the number of its slot.
fn slots_of(order: &ChannelOrder) -> Vec<f64> {
    let width = order.width();
    let numbered: Vec<f64> = (0..width).map(|slot| slot as f64).collect();
    reference::gather(&Planar::new(Shape::new(width, 1, 1), &numbered), order).data
}

/// What an operation on data does to the data that lie in `order`.
fn data(order: &ChannelOrder) -> Planar {
    Planar::new(Shape::new(order.channels(), 1, 1), &slots_of(order))
}

proptest! {
    #![proptest_config(config(256))]

    /// Orders say what the operations on data do.
    #[test]
    fn algebra_is_what_happens_to_data(
        (kind, n) in (orders(), CHANNELS), at in 0..=130usize, seed in any::<u64>(),
    ) {
        let rng = &mut Random::new(seed);
        let order = kind.of(n, rng);
        prop_assert_eq!(order.channels(), n);
        prop_assert!(order.slots().iter().all(|&slot| (slot as usize) < order.width()));
        prop_assert!(order.slots().iter().any(|&slot| slot as usize + 1 == order.width()));

        let groups = divisor(n, rng);
        prop_assert_eq!(slots_of(&order.shuffle(groups).unwrap()), reference::shuffle(&data(&order), groups).data);

        let at = at % (n + 1);
        let (left, right) = order.split(at).unwrap();
        let whole = slots_of(&order);
        prop_assert_eq!(slots_of(&left), &whole[..at]);
        prop_assert_eq!(slots_of(&right), &whole[at..]);
        prop_assert_eq!(&order.range(at..n).unwrap(), &right);
        prop_assert_eq!(ChannelOrder::concat(&[&left, &right]), order.clone());

        let other = Order::Permuted.of(n, rng);
        let selected = order.select(&other).unwrap();
        prop_assert_eq!(slots_of(&selected), reference::gather(&data(&order), &other).data);

        let moved = order.after_blocks(3);
        let expected: Vec<u32> = order.slots().iter().map(|slot| slot + 3 * BLOCK as u32).collect();
        prop_assert_eq!(moved.slots(), expected);
        for c in 0..n {
            prop_assert_eq!(moved.slot(c), order.slot(c) + 3 * BLOCK);
        }
    }

    #[test]
    fn laws(n in CHANNELS, kind in orders(), seed in any::<u64>()) {
        let rng = &mut Random::new(seed);
        let (order, identity) = (kind.of(n, rng), ChannelOrder::identity(n));
        let [p, q] = [0; 2].map(|_| Order::Permuted.of(n, rng));
        prop_assert!(identity.is_identity());
        prop_assert_eq!(identity.width(), n);
        // The identity is neutral, and selecting is associative.
        prop_assert_eq!(&order.select(&identity).unwrap(), &order);
        prop_assert_eq!(&identity.select(&p).unwrap(), &p);
        prop_assert_eq!(order.select(&p).unwrap().select(&q).unwrap(), order.select(&p.select(&q).unwrap()).unwrap());
        // Inverses, from both sides, of a product too.
        let inverse = p.inverse().unwrap();
        prop_assert!(p.select(&inverse).unwrap().is_identity());
        prop_assert!(inverse.select(&p).unwrap().is_identity());
        prop_assert_eq!(&inverse.inverse().unwrap(), &p);
        let product = p.select(&q).unwrap();
        prop_assert_eq!(product.inverse().unwrap(), q.inverse().unwrap().select(&inverse).unwrap());
        // A shuffle of g groups is undone by one of n / g, and is itself a selection.
        let groups = divisor(n, rng);
        let shuffled = order.shuffle(groups).unwrap();
        prop_assert_eq!(&shuffled.shuffle(n / groups).unwrap(), &order);
        prop_assert_eq!(&order.select(&identity.shuffle(groups).unwrap()).unwrap(), &shuffled);
        prop_assert_eq!(&order.shuffle(1).unwrap(), &order);
        prop_assert_eq!(&order.shuffle(n).unwrap(), &order);
        // Concatenation is associative.
        let (a, b) = (ChannelOrder::concat(&[&p, &q]), ChannelOrder::concat(&[&q, &order]));
        prop_assert_eq!(ChannelOrder::concat(&[&a, &order]), ChannelOrder::concat(&[&p, &b]));
    }

    #[test]
    fn materialize_computes_its_definition((p, how) in ordered(shuffle(), false)) {
        check_shuffle(&p, &how);
    }
}

/// Nothing but a copy of what lies in `order`.
fn check_copy(order: ChannelOrder, h: usize, w: usize) {
    let op = Shuffle { src: Shape::new(order.channels(), h, w), groups: 1 };
    let p = Problem::new(op, Data::Reals, 1).read_through(&order);
    check_shuffle(&p, &How { spare: [3, 0], ..How::through(order) });
}

#[test]
fn materialize_every_channel_count() {
    let rng = &mut Random::new(1);
    for n in CHANNELS {
        let kind = [Order::Shuffled, Order::Scattered, Order::Concatenated, Order::Split][n % 4];
        check_copy(kind.of(n, rng), 2, 3);
    }
}

/// One channel many times, and one channel from every block.
#[test]
fn materialize_extremes() {
    check_copy(ChannelOrder::from_slots(vec![37; 50]), 3, 3);
    check_copy(ChannelOrder::from_slots((0..40).map(|block| block * 16 + block % 16).collect()), 3, 3);
}

/// Section 3.1 of the ShuffleNet paper, by hand.
#[test]
fn shuffle_by_hand() {
    let shuffled = ChannelOrder::identity(6).shuffle(3).unwrap();
    assert_eq!(shuffled.slots(), [0, 2, 4, 1, 3, 5]);
    assert_eq!(ChannelOrder::identity(6).shuffle(2).unwrap().slots(), [0, 3, 1, 4, 2, 5]);
    assert_eq!(shuffled.inverse().unwrap(), ChannelOrder::identity(6).shuffle(2).unwrap());
}

#[test]
fn an_order_of_nothing() {
    let empty = ChannelOrder::identity(0);
    assert_eq!((empty.channels(), empty.width()), (0, 0));
    assert!(empty.is_identity());
    assert_eq!(ChannelOrder::concat(&[]), empty);
    assert_eq!(empty.inverse().unwrap(), empty);
    assert_eq!(empty.split(0).unwrap(), (empty.clone(), empty.clone()));
    assert_eq!(empty.shuffle(3).unwrap(), empty);
}
