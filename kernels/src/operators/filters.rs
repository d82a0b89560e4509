//! The weights of a convolution in panels, with the channels that each panel reads.
//!
//! Registers of output slots whose channels see the same groups of inputs form panels. A panel's inputs are its channels,
//! sorted by where they lie, once per tap: input `k` is tap `k / channels`, channel `k % channels`. They are found through a
//! table of offsets, so that the source may be split, concatenated and shuffled without having been moved.

use crate::error::{Error, expect_len, invalid};
use crate::operators::options::Options;
use crate::pack::{Packed, Packer};
use crate::tensor::{BLOCK, ChannelOrder, extent};
use alloc::vec::Vec;
use core::ops::Range;

/// How many channels a convolution has, which see which, and where they lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Channels<'a> {
    pub(crate) ic: usize,
    pub(crate) oc: usize,
    pub(crate) groups: usize,
    pub(crate) input: Option<&'a ChannelOrder>,
    pub(crate) output: Option<&'a ChannelOrder>,
}

/// Weights in panels.
#[derive(Debug)]
pub(crate) struct Filters {
    pub(crate) packed: Packed,
    /// Where the channels lie that panels read, list by list.
    slots: Vec<u32>,
    /// The list of each panel, in `slots`.
    lists: Vec<Range<usize>>,
}

/// No channel.
const NONE: u32 = u32::MAX;

impl<'a> Channels<'a> {
    /// Checks that the numbers fit each other, and `weights` of so many taps.
    ///
    /// # Errors
    /// Where they do not.
    pub(crate) fn new(
        ic: usize,
        oc: usize,
        options: &Options<'a>,
        taps: usize,
        weights: usize,
    ) -> Result<Self, Error> {
        let Options { groups, input_order: input, output_order: output, .. } = *options;
        let groups = groups.unwrap_or(1);
        if ic == 0 || oc == 0 {
            return Err(invalid("channels", format_args!("{ic} to {oc}: both must be at least 1")));
        }
        if groups == 0 || !ic.is_multiple_of(groups) || !oc.is_multiple_of(groups) {
            let why = format_args!("{ic} to {oc} channels do not divide into {groups} groups");
            return Err(invalid("groups", why));
        }
        expect_len("weights", (ic / groups).saturating_mul(oc).saturating_mul(taps), weights)?;
        expect_len("input order", ic, input.map_or(ic, ChannelOrder::channels))?;
        expect_len("output order", oc, output.map_or(oc, ChannelOrder::channels))?;
        Ok(Self { ic, oc, groups, input, output })
    }

    /// Slots that a source must have.
    pub(crate) fn src_slots(&self) -> usize {
        self.input.map_or(self.ic, ChannelOrder::width)
    }

    /// Slots that a destination must have.
    pub(crate) fn dst_slots(&self) -> usize {
        self.output.map_or(self.oc, ChannelOrder::width)
    }

    /// Where input channel `i` lies.
    fn input_slot(&self, i: usize) -> u32 {
        self.input.map_or(i as u32, |order| order.slots()[i])
    }

    /// Which channel lies in each slot of the destination, in whole blocks.
    fn by_slot(&self) -> Result<Vec<u32>, Error> {
        let (oc, slots) = (self.oc, self.dst_slots());
        if slots > oc.saturating_mul(64).saturating_add(1 << 20) {
            return Err(invalid("output order", format_args!("{oc} channels spread over {slots} slots")));
        }
        let len = extent::expect("output order", extent::product([slots.div_ceil(BLOCK), BLOCK]))?;
        let mut channels = alloc::vec![NONE; len];
        for o in 0..oc {
            let slot = self.output.map_or(o, |order| order.slot(o));
            if channels[slot] != NONE {
                return Err(invalid("output order", format_args!("slot {slot} is named twice")));
            }
            channels[slot] = o as u32;
        }
        Ok(channels)
    }
}

impl Filters {
    /// Packs what `weight` gives for an output channel, a channel of its group, and a tap; what comes behind the sum
    /// is folded in.
    ///
    /// # Errors
    /// Where orders do not fit, there is too much for memory, or the options are wrong. (The channels were checked.)
    pub(crate) fn pack(
        channels: &Channels<'_>,
        taps: usize,
        options: &Options<'_>,
        weight: impl Fn(usize, usize, usize) -> f32,
    ) -> Result<Self, Error> {
        let (group_ic, group_oc) = (channels.ic / channels.groups, channels.oc / channels.groups);
        let kernels = options.kernels()?;
        let (scale, bias) = options.fold(channels.oc)?;
        let by_slot = channels.by_slot()?;

        // Registers of slots, with the groups that each needs; neighbours with the same needs form panels.
        let lanes = kernels.lanes;
        let groups_of = |register: &[u32]| {
            let named = register.iter().filter(|&&channel| channel != NONE);
            let mut groups: Vec<usize> = named.map(|&channel| channel as usize / group_oc).collect();
            groups.dedup();
            groups.sort_unstable();
            groups.dedup();
            groups
        };
        let registers: Vec<Vec<usize>> = by_slot.chunks(lanes).map(groups_of).collect();
        let mut packer = Packer::new(kernels, true);
        // Slot and channel of each input, panels with the same needs one after the other.
        let (mut inputs, mut lists): (Vec<(u32, u32)>, Vec<Range<usize>>) = Default::default();
        let mut previous: &[usize] = &[];
        let (mut start, mut register) = (0, 0);
        for alike in registers.chunk_by(|a, b| a == b) {
            let (needs, end) = (&alike[0], register + alike.len());
            if !needs.is_empty() {
                if previous != needs.as_slice() {
                    start = inputs.len();
                    // Each input has a register of weights for each tap at least.
                    let more = extent::product([needs.len(), group_ic]);
                    let all = more.and_then(|more| extent::sum([start, more]));
                    extent::expect("weights", all.and_then(|all| extent::product([all, taps, lanes])))?;
                    let of_group = |group: &usize| group * group_ic..(group + 1) * group_ic;
                    let slot = |i: usize| (channels.input_slot(i), i as u32);
                    inputs.extend(needs.iter().flat_map(of_group).map(slot));
                    inputs[start..].sort_unstable();
                    previous = needs;
                }
                let last = &by_slot[(end - 1) * lanes..][..lanes];
                let ragged = last[lanes / 2..].iter().all(|&channel| channel == NONE);
                packer.cut(register..end, ragged, start * taps..inputs.len() * taps)?;
                lists.resize(packer.panels(), start..inputs.len());
            }
            register = end;
        }
        // Channel and tap of each k.
        let mut ks: Vec<(u32, u32)> = Vec::with_capacity(inputs.len() * taps);
        let mut distinct = lists.clone();
        distinct.dedup();
        for list in distinct {
            let of_tap = |tap| inputs[list.clone()].iter().map(move |&(_, channel)| (channel, tap as u32));
            ks.extend((0..taps).flat_map(of_tap));
        }
        let channel = |slot: usize| by_slot.get(slot).filter(|&&c| c != NONE).map(|&c| c as usize);
        let packed = packer.pack(channel, &bias, |o| {
            let (first, scale) = (o / group_oc * group_ic, scale[o]);
            let (ks, weight) = (&ks, &weight);
            move |k| {
                let (channel, tap) = ks[k];
                match (channel as usize).checked_sub(first) {
                    Some(i) if i < group_ic => (f64::from(weight(o, i, tap as usize)) * scale) as f32,
                    // An input of another group that shares the register.
                    _ => 0.0,
                }
            }
        });
        let slots = inputs.into_iter().map(|(slot, _)| slot).collect();
        Ok(Self { packed, slots, lists })
    }

    /// The slots of the channels that a panel reads.
    pub(crate) fn slots(&self, panel: usize) -> &[u32] {
        &self.slots[self.lists[panel].clone()]
    }

    /// Cuts panels into runs of those that read the same channels.
    pub(crate) fn alike(&self, panels: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let mut start = panels.start;
        self.lists[panels].chunk_by(|a, b| a == b).map(move |run| {
            start += run.len();
            start - run.len()..start
        })
    }
}
