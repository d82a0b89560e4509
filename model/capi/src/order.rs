//! Channel shuffle, split and concat as algebra.

use crate::failure::{Failure, Status, guard};
use crate::memory::{check, hand_out, reference, slice, slice_mut, take_back};
use kernels::ChannelOrder;
use std::borrow::Cow;

/// In which slot of a blocked tensor each channel of a value lies. Slot s is lane s % 16 of block s / 16.
pub struct Order(pub(crate) ChannelOrder);

/// More channels than any tensor has.
const MAX_CHANNELS: usize = 1 << 24;

fn checked(order: ChannelOrder) -> Result<Order, Failure> {
    if order.channels() > MAX_CHANNELS || order.width() > MAX_CHANNELS {
        return Err(Failure::invalid(format!(
            "{} channels in {} slots: more than {MAX_CHANNELS}",
            order.channels(),
            order.width()
        )));
    }
    Ok(Order(order))
}

/// The order, or where there is none, that of channels in their own slots.
///
/// # Safety
/// As [`reference`].
pub(crate) unsafe fn order_or_identity<'a>(
    order: *const Order,
    channels: usize,
) -> Result<Cow<'a, ChannelOrder>, Failure> {
    if order.is_null() {
        return Ok(Cow::Owned(identity(channels)?.0));
    }
    // SAFETY: the caller's.
    Ok(Cow::Borrowed(unsafe { &reference("order", order)?.0 }))
}

fn identity(channels: usize) -> Result<Order, Failure> {
    if channels > MAX_CHANNELS {
        return Err(Failure::invalid(format!("{channels} channels: more than {MAX_CHANNELS}")));
    }
    Ok(Order(ChannelOrder::identity(channels)))
}

/// Channel c in slot c.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_order_identity(channels: usize, out: *mut *mut Order) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe { hand_out("out", out, || identity(channels)) })
}

/// Channel c in slot slots[c].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_order_from_slots(
    slots: *const u32,
    channels: usize,
    out: *mut *mut Order,
) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let slots = slice("slots", slots, channels)?;
        hand_out("out", out, || checked(ChannelOrder::from_slots(slots.to_vec())))
    })
}

/// Channel shuffle of `groups` groups: out[groups * i + j] = in[j * (channels / groups) + i].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_order_shuffle(
    order: *const Order,
    groups: usize,
    out: *mut *mut Order,
) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let order = reference("order", order)?;
        hand_out("out", out, || Ok(Order(order.0.shuffle(groups)?)))
    })
}

/// The first `at` channels, and the others.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_order_split(
    order: *const Order,
    at: usize,
    first: *mut *mut Order,
    others: *mut *mut Order,
) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let order = reference("order", order)?;
        check("first", first, 1)?;
        check("others", others, 1)?;
        let (left, right) = order.0.split(at)?;
        hand_out("first", first, || Ok(Order(left)))?;
        hand_out("others", others, || Ok(Order(right)))
    })
}

/// The channels of `count` values of one buffer, one value after the other.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_order_concat(
    parts: *const *const Order,
    count: usize,
    out: *mut *mut Order,
) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let parts = slice("parts", parts, count)?;
        let parts = parts.iter().map(|&part| Ok(&reference("part", part)?.0));
        let parts = parts.collect::<Result<Vec<_>, Failure>>()?;
        hand_out("out", out, || checked(ChannelOrder::concat(&parts)))
    })
}

/// The value in a buffer that begins `blocks` blocks further on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_order_after_blocks(
    order: *const Order,
    blocks: usize,
    out: *mut *mut Order,
) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let order = reference("order", order)?;
        if blocks > MAX_CHANNELS / kernels::BLOCK {
            return Err(Failure::invalid(format!("{blocks} blocks: more than {MAX_CHANNELS} slots")));
        }
        hand_out("out", out, || checked(order.0.after_blocks(blocks)))
    })
}

/// How many channels the value has; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_order_channels(order: *const Order) -> usize {
    // SAFETY: the caller's.
    unsafe { reference("order", order) }.map_or(0, |order| order.0.channels())
}

/// Copies the slot of every channel; `len` is the number of channels.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_order_slots(order: *const Order, slots: *mut u32, len: usize) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let order = reference("order", order)?;
        let slots = slice_mut("slots", slots, len)?;
        if len != order.0.channels() {
            return Err(Failure::invalid(format!(
                "slots: expected {} elements, found {len}",
                order.0.channels()
            )));
        }
        slots.copy_from_slice(order.0.slots());
        Ok(())
    })
}

/// Frees an order. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_order_free(order: *mut Order) {
    // SAFETY: the caller's.
    unsafe { take_back(order) }
}
