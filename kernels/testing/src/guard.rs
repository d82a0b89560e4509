//! Memory with sentinels around it, for what somebody's kernel reads and writes.

use crate::fault::Fault;
use std::ops::{Deref, DerefMut, Range};

/// What memory around a buffer, and a destination before it is written, is filled with: a NaN, so that it shows
/// wherever it is read, with bits of its own, so that it is known again.
pub const SENTINEL: f32 = f32::from_bits(0x7fc5_e171);

/// Whether `x` is the [`SENTINEL`] and not some other NaN.
pub fn is_sentinel(x: f32) -> bool {
    x.to_bits() == SENTINEL.to_bits()
}

/// Sentinels on each side.
const MARGIN: usize = 128;

/// A slice of `f32` with 128 [sentinels](SENTINEL) before and behind it.
///
/// It begins somewhere within a cache line, as a slice may, and mostly not where vectors are aligned. A destination is
/// filled with sentinels itself: what a kernel leaves out, or adds to, stays NaN. Reading beyond a source yields NaN, which
/// shows wherever it reaches a result.
///
/// ```
/// use kernels_testing::{Guarded, is_sentinel};
///
/// let mut dst = Guarded::new(10, 3);
/// dst.as_mut_slice()[..9].fill(1.0);
/// assert!(dst.intact().is_ok());
/// assert!(is_sentinel(dst[9]), "never written");
/// ```
#[derive(Clone, Debug)]
pub struct Guarded {
    memory: Vec<f32>,
    inner: Range<usize>,
}

impl Guarded {
    /// `len` sentinels, beginning `shift % 16` elements behind a multiple of 64 bytes.
    pub fn new(len: usize, shift: usize) -> Self {
        let memory = vec![SENTINEL; len + 2 * MARGIN + 32];
        let first = memory.as_ptr().align_offset(64).min(16) + MARGIN + shift % 16;
        Self { memory, inner: first..first + len }
    }

    /// A copy of `data`, placed likewise.
    pub fn holding(data: &[f32], shift: usize) -> Self {
        let mut guarded = Self::new(data.len(), shift);
        guarded.copy_from_slice(data);
        guarded
    }

    /// The elements.
    pub fn as_slice(&self) -> &[f32] {
        &self.memory[self.inner.clone()]
    }

    /// The elements, to write.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.memory[self.inner.clone()]
    }

    /// Whether all sentinels around the elements are still there.
    ///
    /// # Errors
    /// [`Fault::Outside`] of the first that is not.
    pub fn intact(&self) -> Result<(), Fault> {
        let mut around = (0..self.inner.start).chain(self.inner.end..self.memory.len());
        match around.find(|&i| !is_sentinel(self.memory[i])) {
            None => Ok(()),
            Some(i) => Err(Fault::Outside {
                found: self.memory[i],
                at: i as isize - self.inner.start as isize,
                len: self.inner.len(),
            }),
        }
    }
}

impl Deref for Guarded {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.as_slice()
    }
}

impl DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut [f32] {
        self.as_mut_slice()
    }
}

/// What a kernel has written: a [`Guarded`] buffer, or any slice of `f32` where a library returns memory of its own.
pub trait Written {
    /// The elements.
    fn elements(&self) -> &[f32];

    /// Whether nothing else was written, as far as can be told.
    ///
    /// # Errors
    /// [`Fault::Outside`] where something was.
    fn intact(&self) -> Result<(), Fault> {
        Ok(())
    }
}

impl Written for Guarded {
    fn elements(&self) -> &[f32] {
        self.as_slice()
    }

    fn intact(&self) -> Result<(), Fault> {
        Self::intact(self)
    }
}

impl Written for [f32] {
    fn elements(&self) -> &[f32] {
        self
    }
}

impl Written for Vec<f32> {
    fn elements(&self) -> &[f32] {
        self
    }
}

impl<const N: usize> Written for [f32; N] {
    fn elements(&self) -> &[f32] {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written here through the memory itself: beyond a slice only a pointer gets, which would be undefined behaviour.
    #[test]
    fn what_is_written_outside_is_found() {
        for at in [-1, -128, 10, 137] {
            let sentence = format!("wrote 7 outside, at index {at} of a buffer of 10");
            for shift in 0..16 {
                let mut guarded = Guarded::holding(&[1.0; 10], shift);
                assert_eq!(guarded.as_ptr().addr() % 64, 4 * shift);
                assert_eq!(guarded.intact(), Ok(()));
                let i = guarded.inner.start.wrapping_add_signed(at);
                guarded.memory[i] = 7.0;
                assert_eq!(guarded.intact().unwrap_err().to_string(), sentence);
                // Another NaN is not the sentinel.
                guarded.memory[i] = f32::NAN;
                assert!(guarded.intact().is_err());
            }
        }
    }
}
