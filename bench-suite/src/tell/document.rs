//! The report as sections of text, figures and tables: what pages, files and the terminal are made from.

use crate::plot::{Plot, grouped};

pub(crate) struct Document {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    /// The numbers to remember: what, and how much.
    pub(crate) figures: Vec<(String, String)>,
    /// The findings, a sentence or two each.
    pub(crate) findings: Vec<String>,
    /// What a reader must know before believing a number.
    pub(crate) warnings: Vec<String>,
    /// The sections.
    pub(crate) sections: Vec<Section>,
    /// The files that everything was made from, as they lie beside the page.
    pub(crate) data: Vec<String>,
}

pub(crate) struct Section {
    /// Stable anchor.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) blocks: Vec<Block>,
}

pub(crate) enum Block {
    /// A smaller heading with an anchor.
    Heading(String, String),
    Text(String),
    /// A conclusion, set apart.
    Verdict(String),
    Figure(Figure),
    Table(Table),
}

pub(crate) struct Figure {
    /// Stable name, also of its file.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) caption: String,
    pub(crate) plot: Box<dyn Plot>,
}

pub(crate) struct Table {
    /// Stable name, also of its file.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) columns: Vec<Column>,
    /// Rows, in groups that are set apart.
    pub(crate) groups: Vec<Group>,
}

/// Rows that belong together.
pub(crate) struct Group {
    pub(crate) title: String,
    pub(crate) rows: Vec<Vec<Cell>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) title: String,
    /// In which unit; may be empty.
    pub(crate) unit: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    /// Words, flush left.
    Text(String),
    /// A number with so many digits after the point, flush right.
    Number(f64, usize),
    Empty,
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn maybe(value: Option<f64>, digits: usize) -> Self {
        value.filter(|v| v.is_finite()).map_or(Self::Empty, |v| Self::Number(v, digits))
    }

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
    pub(crate) fn new(id: impl Into<String>, title: impl Into<String>) -> Self {
        Self { id: id.into(), title: title.into(), columns: vec![], groups: vec![] }
    }

    /// Appends a row, each cell with the head of its column: `title|unit`.
    pub(crate) fn row<'a>(&mut self, cells: impl IntoIterator<Item = (&'a str, Cell)>) {
        let column = |head: &str| {
            let (title, unit) = head.split_once('|').unwrap_or((head, ""));
            Column { title: title.to_owned(), unit: unit.to_owned() }
        };
        let (columns, cells): (Vec<Column>, Vec<Cell>) =
            cells.into_iter().map(|(head, cell)| (column(head), cell)).unzip();
        if self.columns.is_empty() {
            self.columns = columns;
        }
        assert_eq!(cells.len(), self.columns.len(), "a row of table {}", self.id);
        if self.groups.is_empty() {
            self.group("");
        }
        self.groups.last_mut().expect("there is a group").rows.push(cells);
    }

    pub(crate) fn group(&mut self, title: impl Into<String>) {
        self.groups.push(Group { title: title.into(), rows: vec![] });
    }

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
    pub(crate) fn plots(&self) -> impl Iterator<Item = &Figure> {
        self.blocks().filter_map(|block| if let Block::Figure(figure) = block { Some(figure) } else { None })
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Table> {
        self.blocks().filter_map(|block| match block {
            Block::Table(table) if !table.columns.is_empty() => Some(table),
            _ => None,
        })
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
        let mut table = Table::new("t", "title");
        table.row([("name", Cell::text("a, \"b\"")), ("time|ms", Cell::Number(1.5, 1))]);
        assert_eq!(table.csv(), "name,time (ms)\r\n\"a, \"\"b\"\"\",1.5000\r\n");
        table.group("others");
        table.row([("name", Cell::text("c")), ("time|ms", Cell::Empty)]);
        assert!(table.csv().ends_with("\r\nothers,c,\r\n") && table.csv().starts_with("group,name,"));
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(Cell::Number(12345.678, 1).shown(), "12\u{202f}345.7");
        assert_eq!(Cell::maybe(Some(f64::NAN), 1), Cell::Empty);
    }
}
