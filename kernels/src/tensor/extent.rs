//! Sizes that `unsafe` code relies on. Shapes come from the callers of safe functions: a product that wrapped would let a
//! short slice pass a check, so every product and sum behind a check, an allocation or an offset is made here.

use crate::error::{Error, invalid, mismatch};
use core::fmt::Display;

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

/// `size` elements of `what`, or an error where memory cannot hold them.
pub(crate) fn expect(what: &'static str, size: Option<usize>) -> Result<usize, Error> {
    size.ok_or_else(|| invalid(what, "too many for memory"))
}

/// Checks that a table of offsets, whose entries have 32 bits, reaches `reach` elements far in a tensor of `shape`.
///
/// # Errors
/// Where it does not; `None` lies beyond what memory can hold.
pub(crate) fn expect_offsets(reach: Option<usize>, shape: impl Display) -> Result<(), Error> {
    if reach.is_some_and(|reach| u32::try_from(reach).is_ok()) {
        return Ok(());
    }
    Err(mismatch(format_args!(
        "a tensor of {shape} is too large: what is read together lies 2^32 elements or more apart"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_memory_cannot_hold_is_none() {
        let half = 1 << (usize::BITS / 2);
        assert_eq!(product([MOST, 1]), Some(MOST));
        assert_eq!(product([MOST / 2 + 1, 2]), None);
        assert_eq!(product([half, half]), None);
        assert_eq!(product([usize::MAX, usize::MAX]), None);
        assert_eq!(product([]), Some(1));
        assert_eq!(sum([MOST - 1, 1]), Some(MOST));
        assert_eq!(sum([MOST, 1]), None);
        assert_eq!(sum([usize::MAX, 1]), None);
        expect_offsets(product([u32::MAX as usize / 4]), "1x1").expect("an offset");
        expect_offsets(product([1 << 16, 1 << 16]), "1x1").expect_err("33 bits");
        expect_offsets(None, "1x1").expect_err("beyond memory");
    }
}
