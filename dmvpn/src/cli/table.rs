//! Plain tables for people: no borders, two spaces between columns. Scripts have `--json`.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// A column's title and on which side its cells stand.
pub(super) enum Column {
    /// Words: on the left.
    Words(&'static str),
    /// Numbers and times: on the right.
    Number(&'static str),
}

/// The table as lines of text, with a newline at the end of each.
pub(super) fn render(columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    // Never wrapped to the terminal's width: a line is a row.
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| match column {
        Column::Words(title) | Column::Number(title) => *title,
    }));
    table.add_rows(rows);
    for (column, kind) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        if let Column::Number(_) = kind {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt() + "\n"
}
