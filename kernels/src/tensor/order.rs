//! Channel shuffle, split and concat as algebra: where each channel lies, instead of moving it there.

use crate::error::{Error, invalid};
use crate::tensor::shape::BLOCK;
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// In which slot of a buffer each logical channel of a value lies.
///
/// Slot `s` of a blocked tensor is lane `s % 16` of block `s / 16`. Building a network composes orders; the
/// operator that finally reads the value does so through the order ([`crate::Pointwise`] by a table of offsets,
/// [`crate::Depthwise`] block by block), so a shuffle costs nothing at run time.
///
/// ```
/// use kernels::ChannelOrder;
/// let x = ChannelOrder::identity(8);
/// let shuffled = x.shuffle(2)?;
/// assert_eq!(shuffled.slots(), [0, 4, 1, 5, 2, 6, 3, 7]);
/// let (identity, main) = shuffled.split(4)?;
/// assert_eq!(main.slots(), [2, 6, 3, 7]);
/// assert_eq!(ChannelOrder::concat(&[&identity, &main]), shuffled);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChannelOrder {
    slots: Vec<u32>,
}

impl ChannelOrder {
    /// Channel `c` in slot `c`.
    ///
    /// # Panics
    /// Where `channels` does not fit 32 bits.
    pub fn identity(channels: usize) -> Self {
        let channels = u32::try_from(channels).expect("fewer than 2^32 channels");
        Self { slots: (0..channels).collect() }
    }

    /// Channel `c` in slot `slots[c]`. A slot may be named twice: the two channels are then the same data.
    pub fn from_slots(slots: Vec<u32>) -> Self {
        Self { slots }
    }

    /// The slot of every channel.
    pub fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// The slot of channel `c`.
    ///
    /// # Panics
    /// Where there is no such channel.
    pub fn slot(&self, c: usize) -> usize {
        self.slots[c] as usize
    }

    /// How many channels the value has.
    pub fn channels(&self) -> usize {
        self.slots.len()
    }

    /// The least number of slots a buffer must have to hold the value.
    pub fn width(&self) -> usize {
        // Where addresses have 32 bits, no buffer has the last slot either way.
        self.slots.iter().max().map_or(0, |&slot| (slot as usize).saturating_add(1))
    }

    /// True where channel `c` lies in slot `c`.
    pub fn is_identity(&self) -> bool {
        self.slots.iter().enumerate().all(|(c, &slot)| c == slot as usize)
    }

    /// The value in a buffer that begins `blocks` blocks further on.
    ///
    /// # Panics
    /// Where a slot would not fit 32 bits.
    pub fn after_blocks(&self, blocks: usize) -> Self {
        let by = u32::try_from(blocks.saturating_mul(BLOCK)).expect("fewer than 2^32 slots");
        let slots =
            self.slots.iter().map(|slot| slot.checked_add(by).expect("fewer than 2^32 slots")).collect();
        Self { slots }
    }

    /// The channels of several values of one buffer, one value after the other.
    pub fn concat(parts: &[&Self]) -> Self {
        Self { slots: parts.iter().flat_map(|part| part.slots.iter().copied()).collect() }
    }

    /// The first `at` channels, and the others.
    ///
    /// # Errors
    /// Where there are fewer than `at` channels.
    pub fn split(&self, at: usize) -> Result<(Self, Self), Error> {
        Ok((self.range(0..at)?, self.range(at..self.channels())?))
    }

    /// The channels of `range`.
    ///
    /// # Errors
    /// Where the range leaves the channels.
    pub fn range(&self, range: Range<usize>) -> Result<Self, Error> {
        match self.slots.get(range.clone()) {
            Some(slots) => Ok(Self { slots: slots.to_vec() }),
            None => Err(invalid("channel range", format_args!("{range:?} of {} channels", self.channels()))),
        }
    }

    /// Channel shuffle of `groups` groups: `out[groups * i + j] = in[j * (channels / groups) + i]`
    /// (ShuffleNet, arXiv 1707.01083, section 3.1).
    ///
    /// # Errors
    /// Where the channels do not divide into `groups`.
    pub fn shuffle(&self, groups: usize) -> Result<Self, Error> {
        if groups == 0 || !self.channels().is_multiple_of(groups) {
            return Err(invalid("shuffle", format_args!("{} channels in {groups} groups", self.channels())));
        }
        let each = self.channels() / groups;
        let slots = (0..self.channels()).map(|c| self.slots[c % groups * each + c / groups]).collect();
        Ok(Self { slots })
    }

    /// Channel `i` of the result is channel `channels[i]` of this value: the composition of two orders.
    ///
    /// # Errors
    /// Where a channel is named that the value does not have.
    pub fn select(&self, channels: &Self) -> Result<Self, Error> {
        let slots = channels.slots.iter().map(|&c| {
            self.slots
                .get(c as usize)
                .copied()
                .ok_or_else(|| invalid("select", format_args!("channel {c} of {} channels", self.channels())))
        });
        Ok(Self { slots: slots.collect::<Result<_, _>>()? })
    }

    /// For operators that keep lanes as they are: the blocks that hold a channel, and where each channel lies if these alone
    /// are kept, one after the other.
    ///
    /// # Errors
    /// Where a slot is named twice.
    pub(crate) fn kept_lanes(&self) -> Result<(Vec<u32>, Self), Error> {
        let mut sorted = self.slots.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(invalid("input order", "a slot is named twice"));
        }
        let block_of = |slot: u32| slot / BLOCK as u32;
        let mut blocks: Vec<u32> = sorted.into_iter().map(block_of).collect();
        blocks.dedup();
        let slots = self.slots.iter().map(|&slot| {
            let block = blocks.partition_point(|&block| block < block_of(slot));
            (block * BLOCK) as u32 + slot % BLOCK as u32
        });
        let slots = slots.collect();
        Ok((blocks, Self { slots }))
    }

    /// The order that undoes this one: `order.select(&order.inverse()?)` is the identity.
    ///
    /// # Errors
    /// Where this order is not a permutation of `0..channels`.
    pub fn inverse(&self) -> Result<Self, Error> {
        let mut inverse = vec![u32::MAX; self.channels()];
        for (c, &slot) in self.slots.iter().enumerate() {
            match inverse.get_mut(slot as usize) {
                Some(free) if *free == u32::MAX => *free = c as u32,
                _ => return Err(invalid("inverse", "the order is not a permutation")),
            }
        }
        Ok(Self { slots: inverse })
    }
}
