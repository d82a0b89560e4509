//! From C's pointers to Rust's references, and back.

use crate::failure::Failure;
use std::ffi::{CStr, c_char};

/// Numbers to read; {NULL, 0} where a function asks for none.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Floats {
    /// The first.
    pub data: *const f32,
    /// How many.
    pub len: usize,
}

/// Numbers to write.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FloatsMut {
    /// The first.
    pub data: *mut f32,
    /// How many.
    pub len: usize,
}

/// Whether `data` and `len` can be a slice at all.
pub(crate) fn check<T>(what: &str, data: *const T, len: usize) -> Result<(), Failure> {
    if data.is_null() {
        return Err(Failure::null(what));
    }
    if !data.is_aligned() {
        return Err(Failure::invalid(format!("{what} is not aligned to {} bytes", align_of::<T>())));
    }
    let bytes = len.checked_mul(size_of::<T>()).filter(|&bytes| isize::try_from(bytes).is_ok());
    match bytes.and_then(|bytes| data.addr().checked_add(bytes)) {
        Some(_) => Ok(()),
        None => Err(Failure::invalid(format!("{what} cannot have {len} elements"))),
    }
}

/// # Safety
/// `data` is NULL or points at `len` elements that nobody writes for as long as `'a`.
pub(crate) unsafe fn slice<'a, T>(what: &str, data: *const T, len: usize) -> Result<&'a [T], Failure> {
    check(what, data, len)?;
    // SAFETY: neither null nor misaligned nor too long; the rest is the caller's.
    Ok(unsafe { std::slice::from_raw_parts(data, len) })
}

/// # Safety
/// `data` is NULL or points at `len` elements that nobody else uses for as long as `'a`.
pub(crate) unsafe fn slice_mut<'a, T>(what: &str, data: *mut T, len: usize) -> Result<&'a mut [T], Failure> {
    check(what, data, len)?;
    // SAFETY: neither null nor misaligned nor too long; the rest is the caller's.
    Ok(unsafe { std::slice::from_raw_parts_mut(data, len) })
}

/// An error where what is read and what is written have an element in common.
pub(crate) fn expect_apart(
    (what, read, read_len): (&str, *const f32, usize),
    (other, write, write_len): (&str, *const f32, usize),
) -> Result<(), Failure> {
    let end = |start: *const f32, len: usize| start.addr().saturating_add(len.saturating_mul(4));
    let some = read_len > 0 && write_len > 0;
    if some && read.addr() < end(write, write_len) && write.addr() < end(read, read_len) {
        return Err(Failure::invalid(format!("{what} and {other} overlap")));
    }
    Ok(())
}

impl Floats {
    /// # Safety
    /// As [`slice`].
    pub(crate) unsafe fn read<'a>(self, what: &str) -> Result<&'a [f32], Failure> {
        // SAFETY: the caller's.
        unsafe { slice(what, self.data, self.len) }
    }

    /// As [`read`](Self::read), or nothing where there is nothing.
    ///
    /// # Safety
    /// As [`slice`].
    pub(crate) unsafe fn read_if_any<'a>(self, what: &str) -> Result<Option<&'a [f32]>, Failure> {
        if self.data.is_null() && self.len == 0 {
            return Ok(None);
        }
        // SAFETY: the caller's.
        unsafe { self.read(what) }.map(Some)
    }
}

/// # Safety
/// `at` is NULL or points at a value that nobody changes for as long as `'a`.
pub(crate) unsafe fn reference<'a, T>(what: &str, at: *const T) -> Result<&'a T, Failure> {
    check(what, at, 1)?;
    // SAFETY: neither null nor misaligned; the rest is the caller's.
    Ok(unsafe { &*at })
}

/// # Safety
/// `at` is NULL or a zero-terminated string that nobody changes for as long as `'a`.
pub(crate) unsafe fn string<'a>(what: &str, at: *const c_char) -> Result<&'a str, Failure> {
    if at.is_null() {
        return Err(Failure::null(what));
    }
    // SAFETY: not null; the rest is the caller's.
    let text = unsafe { CStr::from_ptr(at) };
    text.to_str().map_err(|_| Failure::invalid(format!("{what} is not UTF-8")))
}

/// Stores what the caller is to own from now on.
///
/// # Safety
/// `out` is NULL or may be written.
pub(crate) unsafe fn hand_out<T>(
    what: &str,
    out: *mut *mut T,
    make: impl FnOnce() -> Result<T, Failure>,
) -> Result<(), Failure> {
    check(what, out, 1)?;
    let made = Box::into_raw(Box::new(make()?));
    // SAFETY: neither null nor misaligned; the rest is the caller's.
    unsafe { out.write(made) };
    Ok(())
}

/// Takes back what [`hand_out`] gave, and drops it.
///
/// # Safety
/// `handle` is NULL or was handed out and not taken back.
pub(crate) unsafe fn take_back<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: it was handed out by `Box::into_raw`.
        drop(unsafe { Box::from_raw(handle) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_slice_is_refused() {
        let numbers = [0.0f32; 4];
        let start = numbers.as_ptr();
        check("numbers", start, 4).expect("a slice");
        check("numbers", std::ptr::null::<f32>(), 0).unwrap_err();
        check("numbers", start.wrapping_byte_add(1), 1).unwrap_err();
        for len in [usize::MAX, usize::MAX / 4, isize::MAX as usize / 4 + 1] {
            check("numbers", start, len).unwrap_err();
        }
        check("numbers", std::ptr::without_provenance::<f32>(usize::MAX - 3), 2).unwrap_err();
    }

    #[test]
    fn overlap_is_any_common_element() {
        let numbers = [0.0f32; 8].as_ptr();
        let apart = |from: usize, len, to: usize, other| {
            expect_apart(("a", numbers.wrapping_add(from), len), ("b", numbers.wrapping_add(to), other))
                .is_ok()
        };
        assert!(apart(0, 4, 4, 4) && apart(4, 4, 0, 4) && apart(2, 0, 0, 8));
        assert!(!apart(0, 5, 4, 4) && !apart(4, 4, 0, 5) && !apart(0, 8, 3, 1) && !apart(3, 1, 0, 8));
        assert!(!apart(0, usize::MAX, 4, 1));
    }
}
