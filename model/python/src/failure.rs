//! Errors as Python's exceptions, with the sentences of the command.

use kernels::Isa;
use model::weights::WeightsError;
use pyo3::create_exception;
use pyo3::exceptions::{
    PyFileNotFoundError, PyIsADirectoryError, PyOSError, PyPermissionError, PyValueError,
};
use pyo3::prelude::*;
use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::path::Path;

create_exception!(
    shufflenet,
    Error,
    PyValueError,
    "A file is not what it should be: a checkpoint, a photo, a list of labels."
);

/// An argument that cannot be.
pub(crate) fn invalid(why: impl Display) -> PyErr {
    PyValueError::new_err(why.to_string())
}

/// What an operator refused.
pub(crate) fn refused(error: kernels::Error) -> PyErr {
    invalid(error)
}

/// What the file system said, under the class that Python has for it.
fn system(kind: ErrorKind, sentence: String) -> PyErr {
    match kind {
        ErrorKind::NotFound => PyFileNotFoundError::new_err(sentence),
        ErrorKind::PermissionDenied => PyPermissionError::new_err(sentence),
        ErrorKind::IsADirectory => PyIsADirectoryError::new_err(sentence),
        _ => PyOSError::new_err(sentence),
    }
}

/// What is wrong with a checkpoint; the sentence names the file.
pub(crate) fn checkpoint(path: &Path, error: &model::Error) -> PyErr {
    let sentence = match error {
        model::Error::Weights(WeightsError::Io { path: Some(_), .. }) => error.to_string(),
        _ => format!("{}: {error}", path.display()),
    };
    match error {
        model::Error::Weights(WeightsError::Io { source, .. }) => system(source.kind(), sentence),
        model::Error::Config(_) | model::Error::NotThere(_) => invalid(sentence),
        _ => Error::new_err(sentence),
    }
}

/// Why a file cannot be used: kept as data until it is known whether it is raised.
pub(crate) struct Unread {
    /// None: the file is there, and is not what it should be.
    pub(crate) system: Option<ErrorKind>,
    pub(crate) sentence: String,
}

impl Unread {
    pub(crate) fn content(why: impl Display) -> Self {
        Self { system: None, sentence: why.to_string() }
    }

    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        Self { system: Some(error.kind()), sentence: format!("{}: {error}", path.display()) }
    }

    pub(crate) fn raise(self) -> PyErr {
        match self.system {
            Some(kind) => system(kind, self.sentence),
            None => Error::new_err(self.sentence),
        }
    }
}

/// The instruction set of that name, else what KERNELS_ISA says.
pub(crate) fn isa(name: Option<&str>) -> PyResult<Isa> {
    match name {
        Some(name) => Isa::from_name(name).map_err(|e| invalid(format!("isa: {e}"))),
        None => Isa::from_env().map_err(|e| invalid(format!("KERNELS_ISA: {e}"))),
    }
}
