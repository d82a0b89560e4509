//! What can be wrong with the data that an operator is built from, or run on.

use alloc::string::{String, ToString};
use core::fmt;

/// Why an operator, a view or an order could not be built, or an operator not be run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A slice has the wrong number of elements.
    Length {
        /// Which slice: `"weights"`, `"bias"`, ...
        what: &'static str,
        /// Elements the shape asks for.
        expected: usize,
        /// Elements given.
        found: usize,
    },
    /// A parameter has a value that no tensor or operator can have.
    Invalid {
        /// Which parameter.
        what: &'static str,
        /// One sentence.
        why: String,
    },
    /// Shapes or lengths handed to an operator's run do not fit it: one sentence.
    Mismatch(String),
    /// The instruction set is unknown, or this processor lacks it.
    Isa {
        /// The name that was asked for.
        asked: String,
        /// The names that would be accepted here.
        available: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { what, expected, found } => {
                write!(f, "{what}: expected {expected} elements, found {found}")
            }
            Self::Invalid { what, why } => write!(f, "{what}: {why}"),
            Self::Mismatch(why) => f.write_str(why),
            Self::Isa { asked, available } => {
                write!(f, "instruction set {asked:?} is not available here (available: {available})")
            }
        }
    }
}

impl core::error::Error for Error {}

/// An error unless a slice has as many elements as it should.
pub(crate) fn expect_len(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Length { what, expected, found }) }
}

/// A refused parameter.
pub(crate) fn invalid(what: &'static str, why: impl fmt::Display) -> Error {
    Error::Invalid { what, why: why.to_string() }
}

/// Shapes or lengths that do not fit.
pub(crate) fn mismatch(why: impl fmt::Display) -> Error {
    Error::Mismatch(why.to_string())
}

/// An error of [`mismatch`] unless all fits.
pub(crate) fn expect_fit(fits: bool, why: impl FnOnce() -> String) -> Result<(), Error> {
    if fits { Ok(()) } else { Err(Error::Mismatch(why())) }
}
