//! A reader for pickles that runs nothing.
//!
//! A pickle is a program for a stack machine, and Python's machine will call any function it names. This
//! one knows dictionaries, lists, tuples, strings and integers, and the few calls that rebuild tensors.
//! Whatever else the pickle asks to call becomes an [`Instance`]: a note of what was named, with the items
//! and attributes that it was given. Objects live in an arena and refer to each other by index, so that
//! sharing and cycles cost nothing, nothing recurses, and memory grows by a constant per byte of pickle.

mod machine;
mod object;
mod rebuild;

pub(super) use machine::{read, read_five};
pub(super) use object::{Element, Error, Id, Object, Pickle, Tensor};
