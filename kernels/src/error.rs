//! What can be wrong with the data an operator is built from.

use alloc::string::String;
use core::fmt;

/// Why an operator, a view or an order could not be built.
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
            Self::Isa { asked, available } => {
                write!(f, "instruction set {asked:?} is not available here (available: {available})")
            }
        }
    }
}

impl core::error::Error for Error {}

/// Shorthand for the check at the head of every constructor.
pub(crate) fn expect_len(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Length { what, expected, found }) }
}

/// Shorthand for a refused parameter.
pub(crate) fn invalid(what: &'static str, why: impl Into<String>) -> Error {
    Error::Invalid { what, why: why.into() }
}
