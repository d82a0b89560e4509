//! Sizes that `unsafe` code relies on. Shapes come from the callers of safe functions: a product that wrapped would let a
//! short slice pass a check, so every product and sum behind a check, an allocation or an offset is made here.

use crate::error::{Error, invalid};
use crate::view::{BLOCK, Shape};

/// The most elements that one slice of `f32` can have.
pub(crate) const MOST: usize = isize::MAX as usize / size_of::<f32>();

/// The product of `factors`, if memory can hold so many elements.
pub(crate) fn product<const N: usize>(factors: [usize; N]) -> Option<usize> {
    let product = factors.into_iter().try_fold(1, usize::checked_mul)?;
    (product <= MOST).then_some(product)
}

/// The sum of `terms`, if memory can hold so many elements.
pub(crate) fn sum<const N: usize>(terms: [usize; N]) -> Option<usize> {
    let sum = terms.into_iter().try_fold(0, usize::checked_add)?;
    (sum <= MOST).then_some(sum)
}

/// As [`product`]; `what` would be too large otherwise.
pub(crate) fn expect_product<const N: usize>(
    what: &'static str,
    factors: [usize; N],
) -> Result<usize, Error> {
    product(factors).ok_or_else(|| invalid(what, "too many for memory"))
}

/// Elements of the blocked storage of `shape`, if memory can hold so many.
pub(crate) fn blocked(shape: Shape) -> Option<usize> {
    product([shape.blocks(), product([shape.h, shape.w])? | 1, BLOCK])
}

/// Elements of the planar or interleaved storage of `shape`, if memory can hold so many.
pub(crate) fn plain(shape: Shape) -> Option<usize> {
    product([shape.c, shape.h, shape.w])
}

/// The greatest offset in a table for a window of `kernel` x `kernel` over rows of `w` pixels, `step` elements each, with
/// the last channel `channel` elements behind the first: the reach of its last tap. Taps on padding count, for they are in
/// the table too.
pub(crate) fn reach(kernel: usize, w: usize, step: usize, channel: usize) -> Option<usize> {
    let last = kernel.checked_sub(1)?;
    sum([product([sum([product([last, w])?, last])?, step])?, channel])
}

/// Entries of offset tables have 32 bits.
///
/// # Panics
/// Where an entry of `reach` would not fit, `reach` being `None` where memory itself is shorter.
#[track_caller]
pub(crate) fn expect_offsets(reach: Option<usize>, shape: Shape) {
    assert!(
        reach.is_some_and(|reach| u32::try_from(reach).is_ok()),
        "a tensor of {shape} is too large: what is read together lies 2^32 elements or more apart"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_memory_cannot_hold_is_none() {
        assert_eq!(product([MOST, 1]), Some(MOST));
        assert_eq!(product([MOST / 2 + 1, 2]), None);
        assert_eq!(product([1 << (usize::BITS / 2), 1 << (usize::BITS / 2)]), None);
        assert_eq!(product([usize::MAX, usize::MAX]), None);
        assert_eq!(sum([MOST - 1, 1]), Some(MOST));
        assert_eq!(sum([MOST, 1]), None);
        assert_eq!(sum([usize::MAX, 1]), None);
        let half = 1 << (usize::BITS / 2);
        let most = usize::MAX;
        for shape in [
            Shape::new(1, half, half),
            Shape::new(most, 4, 4),
            Shape::new(1, 1, most),
            Shape::new(1, most, 1),
        ] {
            assert_eq!(blocked(shape), None, "{shape}");
        }
        assert_eq!(plain(Shape::new(half, half, 1)), None);
        assert_eq!(blocked(Shape::new(17, 2, 3)), Some(2 * 7 * 16));
        assert_eq!(plain(Shape::new(17, 2, 3)), Some(17 * 6));
    }

    #[test]
    fn a_window_reaches_to_its_last_tap() {
        assert_eq!(reach(1, 100, 16, 5), Some(5));
        assert_eq!(reach(3, 10, 16, 0), Some((2 * 10 + 2) * 16));
        assert_eq!(reach(7, usize::MAX, 16, 0), None);
        assert_eq!(reach(2, MOST, 1, MOST), None);
    }
}
