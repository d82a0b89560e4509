//! Telling: a report becomes a document of sections, and that a page, files and a summary.

pub(crate) mod compare;
mod document;
pub(crate) mod estimate;
mod html;
pub(crate) mod output;
#[cfg(test)]
mod page;
pub(crate) mod peers;
pub(crate) mod report;
mod sections;
mod stats;
mod terminal;
mod upgrade;

pub(crate) use sections::document;
pub(crate) use terminal::summary;
