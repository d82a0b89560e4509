//! The tensors of `kernels`: channels in blocks of sixteen, part of a larger buffer, in an order that is not theirs.
//!
//! For those who write operators on [`View`] and [`ViewMut`]. Everything around a tensor is a [sentinel](SENTINEL), the lanes
//! beyond its last channel too: what reads or writes there is found.

use crate::data::Random;
use crate::expected::Layout;
use crate::fault::Fault;
use crate::guard::{Guarded, is_sentinel};
use crate::problem::{Operator, Problem};
use kernels::reference::{self, Planar};
use kernels::{BLOCK, ChannelOrder, Shape, View, ViewMut};
use proptest::prelude::*;
use std::ops::Range;

#[cfg(doc)]
use crate::guard::SENTINEL;

/// How much of a larger buffer lies around a tensor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frame {
    /// Elements by which the buffer begins behind a multiple of 64 bytes.
    pub shift: usize,
    /// Blocks before and behind; those behind only where the tensor ends with a whole block.
    pub blocks: [usize; 2],
    /// Rows above and below.
    pub rows: [usize; 2],
}

impl Frame {
    /// Something on every side, and nothing aligned.
    pub const WIDE: Self = Self { shift: 3, blocks: [1, 1], rows: [1, 2] };
}

/// Frames of all kinds.
pub fn frames() -> impl Strategy<Value = Frame> {
    let some = || [0..=2usize, 0..=2];
    (0..BLOCK, some(), some()).prop_map(|(shift, blocks, rows)| Frame { shift, blocks, rows })
}

/// A tensor that is part of a larger buffer, of which everything else is a sentinel.
#[derive(Clone, Debug)]
pub struct Framed {
    memory: Guarded,
    outer: Shape,
    shape: Shape,
    blocks: Range<usize>,
    rows: Range<usize>,
}

impl Framed {
    /// A tensor that holds nothing but sentinels itself.
    pub fn new(shape: Shape, frame: Frame) -> Self {
        let [before, behind] = frame.blocks;
        let behind = if shape.c.is_multiple_of(BLOCK) { behind } else { 0 };
        let outer = Shape {
            c: (before + behind) * BLOCK + shape.c,
            h: frame.rows[0] + shape.h + frame.rows[1],
            w: shape.w,
        };
        Self {
            memory: Guarded::new(outer.len(), frame.shift),
            outer,
            shape,
            blocks: before..before + shape.blocks(),
            rows: frame.rows[0]..frame.rows[0] + shape.h,
        }
    }

    /// A tensor that holds `image`.
    pub fn holding(image: &Planar, frame: Frame) -> Self {
        Self::through(image, &ChannelOrder::identity(image.shape.c), image.shape.c, frame)
    }

    /// A tensor of `slots` slots that holds the channels of `image` where `order` says, and sentinels in the other slots.
    ///
    /// # Panics
    /// Where `order` has other channels, or needs more slots.
    pub fn through(image: &Planar, order: &ChannelOrder, slots: usize, frame: Frame) -> Self {
        assert!(order.channels() == image.shape.c && order.width() <= slots, "{order:?} in {slots} slots");
        let mut framed = Self::new(Shape { c: slots, ..image.shape }, frame);
        for (c, &slot) in order.slots().iter().enumerate() {
            for p in 0..image.shape.pixels() {
                let i = framed.index(slot as usize, p);
                framed.memory[i] = image.data[c * image.shape.pixels() + p] as f32;
            }
        }
        framed
    }

    /// Where a slot's pixel lies in the buffer: the layout, written once more.
    fn index(&self, slot: usize, pixel: usize) -> usize {
        let Shape { h, w, .. } = self.outer;
        let block = slot / 16 + self.blocks.start;
        block * 16 * ((h * w) | 1) + (self.rows.start * w + pixel) * 16 + slot % 16
    }

    /// To read from.
    pub fn view(&self) -> View<'_> {
        let outer = View::new(&self.memory, self.outer).expect("a buffer of the outer shape");
        outer.blocks(self.blocks.clone()).rows(self.rows.clone())
    }

    /// To write to.
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        let outer = ViewMut::new(&mut self.memory, self.outer).expect("a buffer of the outer shape");
        outer.blocks(self.blocks.clone()).rows(self.rows.clone())
    }

    /// The channels of `order`, channel by channel.
    pub fn read(&self, order: &ChannelOrder) -> Vec<f32> {
        let pixels = self.shape.pixels();
        let channel = |&slot: &u32| (0..pixels).map(move |p| self.memory[self.index(slot as usize, p)]);
        order.slots().iter().flat_map(channel).collect()
    }

    /// Whether all sentinels around the tensor are still there. (Its pad lanes may hold anything.)
    ///
    /// # Errors
    /// [`Fault::Outside`] of the first that is not.
    pub fn intact(&self) -> Result<(), Fault> {
        self.memory.intact()?;
        let mut inside = vec![false; self.memory.len()];
        for block in 0..self.shape.blocks() {
            inside[self.index(block * BLOCK, 0)..][..self.shape.pixels() * BLOCK].fill(true);
        }
        match (0..self.memory.len()).find(|&i| !inside[i] && !is_sentinel(self.memory[i])) {
            None => Ok(()),
            Some(i) => Err(Fault::Around { found: self.memory[i], at: i, outer: self.outer }),
        }
    }
}

impl<O: Operator> Problem<O> {
    /// The source within a larger buffer.
    pub fn src_framed(&self, frame: Frame) -> Framed {
        Framed::holding(self.src(), frame)
    }

    /// The same problem with equal numbers in channels that `order` puts into one slot.
    #[must_use]
    pub fn read_through(self, order: &ChannelOrder) -> Self {
        let slots = order.slots().to_vec();
        if (1..slots.len()).all(|c| !slots[..c].contains(&slots[c])) {
            return self;
        }
        let first = |c: usize| slots.iter().position(|&slot| slot == slots[c]).expect("itself") as u32;
        let firsts = ChannelOrder::from_slots((0..slots.len()).map(first).collect());
        self.edited(|src, _| *src = reference::gather(src, &firsts))
    }

    /// Compares the channels of `order` in a tensor that was written.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn compare_framed(&self, written: &Framed, order: &ChannelOrder) -> Result<(), Fault> {
        written.intact()?;
        self.compare(&written.read(order), Layout::Nchw)
    }
}

/// Ways in which a network comes to read a value that does not lie in its logical order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// It does.
    Identity,
    /// Any other one.
    Permuted,
    /// Into a wider buffer.
    Scattered,
    /// Behind a channel shuffle.
    Shuffled,
    /// One half of a shuffled value of twice the channels.
    Split,
    /// Two tensors of one buffer, each beginning with a block; then shuffled.
    Concatenated,
    /// The same slot several times.
    Repeated,
}

impl Order {
    /// Such an order of so many channels.
    pub fn of(self, channels: usize, rng: &mut Random) -> ChannelOrder {
        let identity = ChannelOrder::identity(channels);
        let shuffled = |order: &ChannelOrder, groups| order.shuffle(groups).expect("groups divide channels");
        match self {
            Self::Identity => identity,
            Self::Permuted => scattered(channels, channels, rng),
            Self::Scattered => scattered(channels, channels + 1 + rng.below(40), rng),
            Self::Shuffled => shuffled(&identity, divisor(channels, rng)),
            Self::Split => {
                let both = shuffled(&ChannelOrder::identity(2 * channels), 2);
                let (left, right) = both.split(channels).expect("twice the channels");
                if rng.below(2) == 0 { left } else { right }
            }
            Self::Concatenated => {
                let left = rng.below(channels + 1);
                let gap = left.div_ceil(BLOCK) + rng.below(2);
                let right = ChannelOrder::identity(channels - left).after_blocks(gap);
                let both = ChannelOrder::concat(&[&ChannelOrder::identity(left), &right]);
                shuffled(&both, divisor(channels, rng))
            }
            Self::Repeated => {
                ChannelOrder::from_slots((0..channels).map(|_| rng.below(channels) as u32).collect())
            }
        }
    }
}

fn scattered(channels: usize, width: usize, rng: &mut Random) -> ChannelOrder {
    let mut slots: Vec<u32> = (0..width as u32).collect();
    for last in (1..width).rev() {
        slots.swap(last, rng.below(last + 1));
    }
    slots.truncate(channels);
    ChannelOrder::from_slots(slots)
}

/// One of the divisors of `n`.
pub fn divisor(n: usize, rng: &mut Random) -> usize {
    let divisors: Vec<usize> = (1..=n).filter(|&d| n.is_multiple_of(d)).collect();
    rng.pick(&divisors)
}

/// Orders in which every channel has a slot of its own.
pub fn unique_orders() -> impl Strategy<Value = Order> {
    use Order::*;
    prop::sample::select(&[Identity, Permuted, Scattered, Shuffled, Split, Concatenated])
}

/// Orders to read through.
pub fn orders() -> impl Strategy<Value = Order> {
    prop_oneof![6 => unique_orders(), 1 => Just(Order::Repeated)]
}
