//! Statuses, messages, and the place where panics end.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char};
use std::fmt::Display;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// How a call ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Well.
    Ok = 0,
    /// A pointer is NULL that must not be.
    NullPointer = 1,
    /// A length, shape or parameter does not fit the others, or this processor lacks the instruction set.
    InvalidArgument = 2,
    /// A checkpoint cannot be read, or is not what it should be.
    Checkpoint = 3,
    /// An error in this library.
    Internal = 4,
    /// A photo cannot be read.
    Photo = 5,
}

/// A status that is not `Ok`, and a sentence about it.
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    message: String,
}

impl Failure {
    pub(crate) fn null(what: &str) -> Self {
        Self { status: Status::NullPointer, message: format!("{what} is NULL") }
    }

    pub(crate) fn invalid(message: impl Display) -> Self {
        Self { status: Status::InvalidArgument, message: message.to_string() }
    }

    pub(crate) fn photo(message: impl Display) -> Self {
        Self { status: Status::Photo, message: message.to_string() }
    }

    pub(crate) fn checkpoint(message: impl Display) -> Self {
        Self { status: Status::Checkpoint, message: message.to_string() }
    }
}

impl From<kernels::Error> for Failure {
    fn from(error: kernels::Error) -> Self {
        Self::invalid(error)
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
    /// How many guards this thread is inside of.
    static GUARDS: Cell<u32> = const { Cell::new(0) };
}

/// Lets panics that end in a guard pass without a word: the standard error is the caller's.
fn keep_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if GUARDS.try_with(Cell::get).unwrap_or(0) == 0 {
                before(panic);
            }
        }));
    });
}

/// Runs `work`, keeps the message of its failure, and lets no panic through.
pub(crate) fn guard(work: impl FnOnce() -> Result<(), Failure>) -> Status {
    keep_quiet();
    let count = |step: u32| GUARDS.try_with(|guards| guards.set(guards.get().wrapping_add(step)));
    let _ = count(1);
    let result = catch_unwind(AssertUnwindSafe(work));
    let _ = count(u32::MAX);
    let failure = match result {
        Ok(Ok(())) => return Status::Ok,
        Ok(Err(failure)) => failure,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic");
            Failure { status: Status::Internal, message: text.to_owned() }
        }
    };
    let message = CString::new(failure.message.replace('\0', " ")).expect("zero bytes were replaced");
    // A thread that is ending has no place left for it.
    let _ = LAST.try_with(|last| last.replace(message));
    failure.status
}

/// The message of this thread's last failure, "" if there was none. The string lives until the thread's next failure.
#[unsafe(no_mangle)]
pub extern "C" fn kernels_last_error() -> *const c_char {
    LAST.try_with(|last| last.borrow().as_ptr()).unwrap_or(CStr::as_ptr(c""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_here() {
        let status = guard(|| panic!("number {}", 7));
        assert_eq!(status, Status::Internal);
        // SAFETY: the string lives until this thread's next failure.
        let message = unsafe { CStr::from_ptr(kernels_last_error()) };
        assert_eq!(message, c"number 7");
        assert_eq!(guard(|| Err(Failure::invalid("a\0b"))), Status::InvalidArgument);
        // SAFETY: as above.
        let message = unsafe { CStr::from_ptr(kernels_last_error()) };
        assert_eq!(message, c"a b");
    }

    #[test]
    fn a_panic_that_ends_here_is_not_heard() {
        let own = std::env::current_exe().expect("the tests");
        let mut test = std::process::Command::new(own);
        let ran = test.args(["--exact", "failure::tests::a_panic_ends_here", "--nocapture"]).output();
        let ran = ran.expect("the tests run again");
        let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(out.contains("1 passed") && !err.contains("panicked"), "{out}{err}");
    }
}
