//! Tables that line up.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

/// Text columns to the left, numbers to the right.
pub(crate) struct Columns {
    table: Table,
    width: usize,
}

impl Columns {
    /// A table with these column heads; the first `text` columns hold text.
    pub(crate) fn new(text: usize, heads: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('-').junction('-')));
        table.set_header(heads);
        for (index, column) in table.column_iter_mut().enumerate() {
            let first = index == 0;
            column.set_padding((if first { 0 } else { 2 }, 0));
            if index >= text {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self { table, width: heads.len() }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.width, "cells of a row");
        self.table.add_row(cells);
    }

    /// A line between parts of a table.
    pub(crate) fn gap(&mut self) {
        self.table.add_row(vec![""; self.width]);
    }
}

impl std::fmt::Display for Columns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in self.table.lines() {
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Channels, height and width.
pub(crate) fn shape([c, h, w]: [usize; 3]) -> String {
    format!("{c}x{h}x{w}")
}
