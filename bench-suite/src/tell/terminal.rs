//! A summary that fits one screen.

use crate::tell::document::Document;

/// Columns to fill; narrower terminals wrap.
const WIDTH: usize = 96;

/// The findings and the numbers to remember, for a terminal.
pub(crate) fn summary(document: &Document) -> String {
    let mut text = format!("{}\n{}\n\n", document.title, wrap(&document.subtitle, 0));
    let widest = document.figures.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
    for (what, value) in &document.figures {
        text += &format!("  {what:widest$}  {value:>12}\n");
    }
    text.push('\n');
    for warning in &document.warnings {
        text += &format!("! {}\n", wrap(warning, 2));
    }
    for finding in &document.findings {
        text += &format!("* {}\n", wrap(finding, 2));
    }
    text
}

/// Breaks a text into lines, all but the first indented.
fn wrap(text: &str, indent: usize) -> String {
    let mut wrapped = String::new();
    let mut column = indent;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > indent && column + 1 + length > WIDTH {
            wrapped += &format!("\n{:indent$}", "");
            column = indent;
        } else if column > indent {
            wrapped.push(' ');
            column += 1;
        }
        wrapped += word;
        column += length;
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_between_words() {
        let wrapped = wrap(&"word ".repeat(60), 2);
        assert!(wrapped.lines().all(|line| line.chars().count() <= WIDTH));
        assert!(wrapped.lines().skip(1).all(|line| line.starts_with("  word")));
        assert_eq!(wrapped.split_whitespace().count(), 60);
    }
}
