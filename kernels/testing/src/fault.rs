//! What can be wrong with a result, and where.

use kernels::Shape;
use std::fmt;
use std::ops::RangeInclusive;

/// What is wrong with a result, in one sentence that says where.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The result has another number of elements.
    Length {
        /// Elements that it should have.
        expected: usize,
        /// Elements that it has.
        found: usize,
    },
    /// Something was written outside the buffer.
    Outside {
        /// What was found in place of a sentinel.
        found: f32,
        /// Where, counted in elements from the beginning of the buffer.
        at: isize,
        /// Elements of the buffer.
        len: usize,
    },
    /// Something was written outside a tensor that is part of a larger one.
    Around {
        /// What was found in place of a sentinel.
        found: f32,
        /// Where, counted in elements from the beginning of the larger tensor.
        at: usize,
        /// Channels, rows and columns of the larger tensor.
        outer: Shape,
    },
    /// Elements differ from what they should be.
    Values(Box<Difference>),
}

/// The first element that differs, and where all others lie that do.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Channels, rows and columns of the result.
    pub shape: Shape,
    /// Channel, row and column of the first difference, in the order of NCHW.
    pub at: [usize; 3],
    /// What it should be.
    pub expected: f64,
    /// What it is.
    pub found: f32,
    /// By how much the two may differ.
    pub allowed: f64,
    /// How many elements differ.
    pub count: usize,
    /// The channels, rows and columns between which all of them lie.
    pub within: [RangeInclusive<usize>; 3],
    /// How many of them still hold the sentinel that a destination is filled with.
    pub unwritten: usize,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, found } => write!(f, "{found} elements, expected {expected}"),
            Self::Outside { found, at, len } => {
                write!(f, "wrote {found} outside, at index {at} of a buffer of {len}")
            }
            Self::Around { found, at, outer } => {
                write!(
                    f,
                    "wrote {found} outside the tensor, at index {at} of the {outer} that it is a part of"
                )
            }
            Self::Values(difference) => difference.fmt(f),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shape, at: [c, y, x], expected, found, allowed, count, within, unwritten } = self;
        write!(f, "channel {c}, row {y}, column {x} of {shape}: expected {expected}, found {found}")?;
        if *allowed > 0.0 {
            write!(f, ", {allowed:e} apart are allowed")?;
        }
        let all = shape.c * shape.pixels();
        write!(f, "; {count} of {all} elements differ")?;
        if *count > 1 {
            let span = |range: &RangeInclusive<usize>| match (range.start(), range.end()) {
                (a, b) if a == b => format!(" {a}"),
                (a, b) => format!("s {a} to {b}"),
            };
            let [c, y, x] = within.each_ref().map(span);
            write!(f, ", all in channel{c}, row{y}, column{x}")?;
        }
        match unwritten {
            0 => Ok(()),
            n if n == count => write!(f, "; never written, or added to"),
            n => write!(f, "; {n} of them never written, or added to"),
        }
    }
}

impl std::error::Error for Fault {}
