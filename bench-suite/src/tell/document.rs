//! The report as sections of text, figures and tables: what pages, files and the terminal are made from.

use crate::plot::{Plot, grouped};

/// The whole report.
pub(crate) struct Document {
    /// What was measured, in a line.
    pub(crate) title: String,
    /// Where, in a line.
    pub(crate) subtitle: String,
    /// The numbers to remember: what, and how much.
    pub(crate) figures: Vec<(String, String)>,
    /// The findings, a sentence or two each.
    pub(crate) findings: Vec<String>,
    /// What a reader must know before believing a number.
    pub(crate) warnings: Vec<String>,
    /// The sections.
    pub(crate) sections: Vec<Section>,
}

/// One section.
pub(crate) struct Section {
    /// Stable anchor.
    pub(crate) id: &'static str,
    /// Heading.
    pub(crate) title: String,
    /// Content.
    pub(crate) blocks: Vec<Block>,
}

/// A piece of a section.
pub(crate) enum Block {
    /// A smaller heading with an anchor.
    Heading(String, String),
    /// A paragraph.
    Text(String),
    /// A conclusion, set apart.
    Verdict(String),
    /// A plot.
    Figure(Figure),
    /// A table.
    Table(Table),
}

/// A plot with its words.
pub(crate) struct Figure {
    /// Stable name, also of its file.
    pub(crate) id: String,
    /// What it shows.
    pub(crate) title: String,
    /// How to read it.
    pub(crate) caption: String,
    /// The plot.
    pub(crate) plot: Box<dyn Plot>,
}

/// A table.
pub(crate) struct Table {
    /// Stable name, also of its file.
    pub(crate) id: String,
    /// What it shows.
    pub(crate) title: String,
    /// Columns.
    pub(crate) columns: Vec<Column>,
    /// Rows, in groups that are set apart.
    pub(crate) groups: Vec<Group>,
}

/// Rows that belong together.
pub(crate) struct Group {
    /// Their name; may be empty.
    pub(crate) title: String,
    /// The rows.
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// Head of a column.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// What.
    pub(crate) title: String,
    /// In which unit; may be empty.
    pub(crate) unit: String,
}

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    /// Words, flush left.
    Text(String),
    /// A number with so many digits after the point, flush right.
    Number(f64, usize),
    /// Nothing to say.
    Empty,
}

impl Cell {
    /// Words.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A number, or nothing.
    pub(crate) fn maybe(value: Option<f64>, digits: usize) -> Self {
        value.filter(|v| v.is_finite()).map_or(Self::Empty, |v| Self::Number(v, digits))
    }

    /// As shown to people.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(value, digits) => grouped(&format!("{value:.digits$}")),
            Self::Empty => String::new(),
        }
    }

    fn csv(&self) -> String {
        match self {
            Self::Text(text) => csv_field(text),
            // A few digits more than shown.
            Self::Number(value, digits) => format!("{value:.*}", digits + 3),
            Self::Empty => String::new(),
        }
    }
}

impl Table {
    /// An empty table; columns are `title|unit`.
    pub(crate) fn new(id: impl Into<String>, title: impl Into<String>, columns: &[&str]) -> Self {
        let column = |head: &&str| {
            let (title, unit) = head.split_once('|').unwrap_or((head, ""));
            Column { title: title.to_owned(), unit: unit.to_owned() }
        };
        Self {
            id: id.into(),
            title: title.into(),
            columns: columns.iter().map(column).collect(),
            groups: vec![],
        }
    }

    /// Appends a row.
    ///
    /// # Panics
    /// If it has not as many cells as there are columns.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        assert_eq!(cells.len(), self.columns.len(), "a row of table {}", self.id);
        if self.groups.is_empty() {
            self.group("");
        }
        self.groups.last_mut().expect("there is a group").rows.push(cells);
    }

    /// Begins a group of rows.
    pub(crate) fn group(&mut self, title: impl Into<String>) {
        self.groups.push(Group { title: title.into(), rows: vec![] });
    }

    /// All rows.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Vec<Cell>> {
        self.groups.iter().flat_map(|group| &group.rows)
    }

    /// The table as comma-separated values. Groups with names become a first column.
    pub(crate) fn csv(&self) -> String {
        let named = self.groups.iter().any(|group| !group.title.is_empty());
        let head = self.columns.iter().map(|c| {
            let unit = if c.unit.is_empty() { String::new() } else { format!(" ({})", c.unit) };
            csv_field(&format!("{}{unit}", c.title))
        });
        let line = |cells: Vec<String>| cells.join(",") + "\r\n";
        let mut text = line(named.then(|| "group".to_owned()).into_iter().chain(head).collect());
        for group in &self.groups {
            for row in &group.rows {
                let title = named.then(|| csv_field(&group.title));
                text += &line(title.into_iter().chain(row.iter().map(Cell::csv)).collect());
            }
        }
        text
    }
}

fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

impl Document {
    /// All figures, in order.
    pub(crate) fn plots(&self) -> impl Iterator<Item = &Figure> {
        self.blocks().filter_map(|block| if let Block::Figure(figure) = block { Some(figure) } else { None })
    }

    /// All tables, in order.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &Table> {
        self.blocks().filter_map(|block| if let Block::Table(table) = block { Some(table) } else { None })
    }

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.sections.iter().flat_map(|section| &section.blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_has_units_and_quotes() {
        let mut table = Table::new("t", "title", &["name", "time|ms"]);
        table.row(vec![Cell::text("a, \"b\""), Cell::Number(1.5, 1)]);
        assert_eq!(table.csv(), "name,time (ms)\r\n\"a, \"\"b\"\"\",1.5000\r\n");
        table.group("others");
        table.row(vec![Cell::text("c"), Cell::Empty]);
        assert!(table.csv().ends_with("\r\nothers,c,\r\n") && table.csv().starts_with("group,name,"));
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(Cell::Number(12345.678, 1).shown(), "12\u{202f}345.7");
        assert_eq!(Cell::maybe(Some(f64::NAN), 1), Cell::Empty);
    }
}
