//! Telling: a report becomes a document of sections, and that a page, files and a summary.

pub(crate) mod compare;
pub(crate) mod document;
pub(crate) mod estimate;
mod html;
mod latex;
pub(crate) mod output;
#[cfg(test)]
mod page;
pub(crate) mod peers;
mod predict;
pub(crate) mod report;
mod sections;
mod stats;
mod terminal;
pub(crate) mod upgrade;

pub(crate) use sections::{document, merged};
pub(crate) use terminal::summary;
