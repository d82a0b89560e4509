//! What can go wrong, in one line and an exit status.

use clap::error::ErrorKind;
use std::fmt;
use std::io::{self, Write};

/// What a command returns.
pub(crate) type Result<T = ()> = std::result::Result<T, Failure>;

/// Where a command writes: the standard output, of which only writing can fail.
pub(crate) type Output = dyn Write + Send;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line asks for what cannot be: exit status 2.
    Usage(String),
    /// Everything else: exit status 1.
    Other(String),
    /// The same, where it has been told already.
    Told,
    /// Whoever read the output has seen enough: no error at all.
    BrokenPipe,
}

impl Failure {
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Other(_) | Self::Told => 1,
            Self::BrokenPipe => 0,
        }
    }

    /// `clap` explains itself in several paragraphs; the first says what is wrong, the second often what would be
    /// right, and the rest is in `--help`.
    pub(crate) fn of_usage(error: &clap::Error, command: clap::Command) -> Self {
        if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            let names: Vec<_> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
            return Self::Usage(format!("expected a command: {}; see --help", names.join(", ")));
        }
        let text = error.render().to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let paragraphs = text.split("\n\n").map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "));
        let wrong =
            paragraphs.take_while(|p| !p.starts_with("Usage:") && !p.starts_with("For more information"));
        let line: Vec<_> = wrong.filter(|p| !p.is_empty()).collect();
        Self::Usage(line.join("; "))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(why) | Self::Other(why) => f.write_str(why),
            Self::Told => Ok(()),
            Self::BrokenPipe => f.write_str("broken pipe"),
        }
    }
}

impl From<model::Error> for Failure {
    fn from(error: model::Error) -> Self {
        Self::Other(error.to_string())
    }
}

/// Of writing to the standard output; who works with files says which file.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Other(format!("standard output: {error}")),
        }
    }
}

/// Writes one line to the standard error.
pub(crate) fn say(what: &str, text: &str) {
    // Where even this cannot be written, nobody is listening.
    let _ = writeln!(io::stderr(), "shufflenet: {what}: {}", printable(text.trim_end()));
}

/// Text that stays on its line, whatever characters the name of a file or a tensor brought in.
pub(crate) fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}
