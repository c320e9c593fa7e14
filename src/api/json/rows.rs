//! Rows of a table: objects by column name, or lists in the order of the columns, read straight into the elements of
//! the input.

use std::ops::Range;

use super::cursor::Cursor;
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::signature::{Column, ColumnKind, places, row_width};
use crate::tensor::Tensor;
use crate::transform::{days, single, text_elements};

/// Category names that a message lists at most.
const MAX_LISTED: usize = 20;

/// The elements of rows or sequences, one after the other.
#[derive(Debug, Default, PartialEq)]
pub(in crate::api) struct Rows {
    /// The number of rows that were sent.
    pub(in crate::api) count: usize,
    /// The elements of those that were kept.
    pub(in crate::api) elements: Vec<f32>,
    /// The first category that the model does not know, in words; it counts as missing, as in an evaluation.
    pub(in crate::api) unknown: Option<String>,
}

impl Rows {
    /// Returns the input of a model whose samples are of this shape.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when there are no rows.
    pub(in crate::api) fn into_tensor(self, sample: &[usize]) -> Result<Tensor> {
        if self.count == 0 {
            return Err(Error::InvalidInput("\"instances\" is empty; expected at least one".into()));
        }
        Tensor::new(std::iter::once(self.count).chain(sample.iter().copied()).collect(), self.elements)
    }
}

/// Reads a list of rows. More than `most` are counted and not kept: an empty object makes as many elements as there
/// are columns.
pub(in crate::api) fn read_rows(cursor: &mut Cursor<'_>, columns: &[Column], most: usize) -> Result<Rows> {
    let mut rows = Rows::default();
    let places: Vec<Range<usize>> = places(columns).collect();
    cursor.begins_with(b'[', "a list of rows")?;
    cursor.list(|cursor| {
        let Rows { count, elements, unknown } = &mut rows;
        if *count < most {
            read_row(cursor, &mut Row { columns, places: &places, index: *count, unknown }, elements)?;
        } else {
            cursor.skip()?;
        }
        *count += 1;
        Ok(())
    })?;
    Ok(rows)
}

/// The row that is read.
struct Row<'a> {
    columns: &'a [Column],
    /// The elements of each column.
    places: &'a [Range<usize>],
    index: usize,
    /// The first category of all rows that the model does not know.
    unknown: &'a mut Option<String>,
}

fn read_row(cursor: &mut Cursor<'_>, row: &mut Row<'_>, elements: &mut Vec<f32>) -> Result<()> {
    match cursor.peek() {
        Some(b'{') => read_named(cursor, row, elements),
        Some(b'[') => read_ordered(cursor, row, elements),
        _ => {
            let (index, count) = (row.index, row.columns.len());
            Err(cursor.mismatch(&format!("row {index}: an object by column name, or a list of {count} values")))
        }
    }
}

/// Reads a row by column name. What is not named is missing.
fn read_named(cursor: &mut Cursor<'_>, row: &mut Row<'_>, elements: &mut Vec<f32>) -> Result<()> {
    let Row { columns, places, index, .. } = *row;
    let elements = appended(columns, elements);
    let mut is_given = vec![false; columns.len()];
    let mut next = 0;
    cursor.object(|cursor, name| {
        // Most clients name the columns in their order.
        let is_next = columns.get(next).is_some_and(|column| column.name == name);
        let place = if is_next { Some(next) } else { columns.iter().position(|column| column.name == name) };
        let Some(place) = place else {
            let known = listed(columns.iter().map(|column| column.name.as_str()));
            let name = quote(name);
            return Err(cursor.fault(format_args!("row {index}: there is no column {name}; there are: {known}")));
        };
        if std::mem::replace(&mut is_given[place], true) {
            return Err(cursor.fault(format_args!("row {index}: column {} is given twice", quote(name))));
        }
        read_cell(cursor, &columns[place], row, true, &mut elements[places[place].clone()])?;
        next = place + 1;
        Ok(())
    })
}

/// Reads a row of one value for each column.
fn read_ordered(cursor: &mut Cursor<'_>, row: &mut Row<'_>, elements: &mut Vec<f32>) -> Result<()> {
    let Row { columns, places, index, .. } = *row;
    let elements = appended(columns, elements);
    let mut given = 0;
    cursor.list(|cursor| {
        let Some(column) = columns.get(given) else {
            let count = columns.len();
            return Err(cursor.fault(format_args!("row {index} has more than {count} values, one for each column")));
        };
        read_cell(cursor, column, row, false, &mut elements[places[given].clone()])?;
        given += 1;
        Ok(())
    })?;
    if given < columns.len() {
        let count = columns.len();
        let problem = format_args!("row {index} has {given} values, expected one for each of {count} columns");
        return Err(cursor.fault(problem));
    }
    Ok(())
}

/// Appends a row of missing values and returns its elements.
fn appended<'e>(columns: &[Column], elements: &'e mut Vec<f32>) -> &'e mut [f32] {
    let start = elements.len();
    elements.reserve(row_width(columns));
    columns.iter().for_each(|column| elements.extend(std::iter::repeat_n(column.missing(), column.width())));
    &mut elements[start..]
}

/// Reads the value of a column into its elements, which are those of a missing one. In an object (`is_named`) a number in a
/// column of categories or texts is its text, in a list an index of categories.
fn read_cell(
    cursor: &mut Cursor<'_>,
    column: &Column,
    row: &mut Row<'_>,
    is_named: bool,
    to: &mut [f32],
) -> Result<()> {
    let index = row.index;
    let mut text_cell = |text: &str| match column.kind {
        ColumnKind::Text { .. } => {
            text_elements(text, to);
            Ok(None)
        }
        _ => text_cell(column, text, row).map(Some),
    };
    let cell = match cursor.peek() {
        Some(b'n') if cursor.null() => Ok(None),
        Some(b't' | b'f') => text_cell(if cursor.boolean()? { "true" } else { "false" }),
        Some(b'"') => text_cell(&cursor.string()?),
        Some(b'-' | b'0'..=b'9') => {
            let number = cursor.number()?.nearest();
            match column.kind {
                ColumnKind::Number => single(number).map(Some),
                ColumnKind::Shifted { origin } => single(number - origin as f64).map(Some),
                ColumnKind::Moment { order, .. } => Err(format!("expected {}, got {number}", order.words())),
                ColumnKind::Category { .. } | ColumnKind::Text { .. } if is_named => text_cell(&number.to_string()),
                ColumnKind::Category { .. } => index_cell(column, number).map(Some),
                ColumnKind::Text { .. } => Err(format!("expected a text, got {number}")),
            }
        }
        _ => {
            let what = match column.kind {
                ColumnKind::Number | ColumnKind::Shifted { .. } => "a number",
                ColumnKind::Moment { order, .. } => order.words(),
                ColumnKind::Category { .. } | ColumnKind::Text { .. } => "a text",
            };
            return Err(cursor.mismatch(&format!("row {index}, column {}: {what} or null", quote(&column.name))));
        }
    };
    let fault = |problem| cursor.fault(format_args!("row {index}, column {}: {problem}", quote(&column.name)));
    if let Some(element) = cell.map_err(fault)? {
        to[0] = element;
    }
    Ok(())
}

/// The element for a value, or what is wrong with it.
type Cell = std::result::Result<f32, String>;

/// Returns the element of a text: the index of a category, or that of a missing one for what is none.
fn text_cell(column: &Column, text: &str, row: &mut Row<'_>) -> Cell {
    let values = match &column.kind {
        ColumnKind::Number | ColumnKind::Shifted { .. } => {
            return Err(format!("expected a number, got {}", quote(text)));
        }
        ColumnKind::Moment { order, origin } => {
            let days = days(text, *order).ok_or_else(|| format!("expected {}, got {}", order.words(), quote(text)))?;
            return Ok((days - f64::from(*origin)) as f32);
        }
        ColumnKind::Category { values } => values,
        ColumnKind::Text { .. } => return Ok(column.missing()),
    };
    let place = values.iter().position(|value| value == text);
    if place.is_none() && row.unknown.is_none() {
        let (known, name) = (listed(values.iter().map(String::as_str)), quote(&column.name));
        *row.unknown = Some(format!("row {}, column {name}: {} is none of: {known}", row.index, quote(text)));
    }
    Ok(place.map_or_else(|| column.missing(), |place| place as f32))
}

/// Checks the index of a category.
fn index_cell(column: &Column, index: f64) -> Cell {
    let count = if let ColumnKind::Category { values } = &column.kind { values.len() } else { 0 };
    let is_index = index.fract() == 0.0 && (-1.0..count as f64).contains(&index);
    let last = count as i64 - 1;
    is_index.then_some(index as f32).ok_or_else(|| format!("expected an index from 0 to {last}, or -1, got {index}"))
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.take(MAX_LISTED).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        let category =
            |values: &[&str]| ColumnKind::Category { values: values.iter().map(|v| (*v).to_owned()).collect() };
        vec![
            Column { name: "age".into(), kind: ColumnKind::Number },
            Column { name: "color".into(), kind: category(&["blue", "red"]) },
            Column { name: "class".into(), kind: category(&["1", "2"]) },
        ]
    }

    fn read(json: &str) -> std::result::Result<Vec<f32>, String> {
        let columns = columns();
        let rows = read_rows(&mut Cursor::new(json.as_bytes()), &columns, 9);
        rows.map(|rows| rows.elements).map_err(|error| error.to_string())
    }

    #[test]
    fn names_come_in_any_order_and_what_is_not_named_is_missing() {
        let rows = read(r#"[{"color": "red", "age": 3}, {"class": 2}, ["4", "blue", 1], [4.5, "blue", 1]]"#);
        assert!(rows.unwrap_err().contains("row 2, column \"age\""));
        let rows = read(r#"[{"color": "red", "age": 3}, {"class": 2, "age": null}, [4.5, "blue", 1], [1, -1, null]]"#)
            .unwrap();
        assert_eq!(rows[..3], [3.0, 1.0, -1.0]);
        assert!(rows[3].is_nan());
        assert_eq!(rows[4..], [-1.0, 1.0, 4.5, 0.0, 1.0, 1.0, -1.0, -1.0]);
    }

    #[test]
    fn unknown_categories_are_missing_and_the_first_is_told() {
        let columns = columns();
        let rows = |json: &str| read_rows(&mut Cursor::new(json.as_bytes()), &columns, 9).unwrap();
        let strange = rows(r#"[[1, "red", null], {"color": "pink", "class": 3}, [1, "grey", null]]"#);
        assert_eq!(strange.unknown.as_deref(), Some("row 1, column \"color\": \"pink\" is none of: blue, red"));
        assert_eq!(strange.elements[4..], [-1.0, -1.0, 1.0, -1.0, -1.0]);
        assert_eq!(rows(r#"[{"color": "red", "class": null}]"#).unknown, None);
    }

    #[test]
    fn more_than_may_be_are_counted_and_not_kept() {
        let rows = read_rows(&mut Cursor::new(b"[{}, {}, {}, 7]"), &columns(), 2).unwrap();
        assert_eq!((rows.count, rows.elements.len()), (4, 6));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_row_and_column() {
        for (json, expected) in [
            (r#"[{"colour": "red"}]"#, "row 0: there is no column \"colour\"; there are: age, color, class"),
            (r#"[{"age": "old"}]"#, "row 0, column \"age\": expected a number"),
            (r#"[{"age": 1e300}]"#, "row 0, column \"age\""),
            (r#"[{"age": [1]}]"#, "row 0, column \"age\""),
            (r#"[{"age": 1, "age": 2}]"#, "given twice"),
            ("[[1, 0]]", "row 0 has 2 values"),
            ("[[1, 0, 0, 0]]", "row 0 has more than 3 values"),
            ("[[1, 2, 0]]", "row 0, column \"color\": expected an index from 0 to 1"),
            ("[[1, 0.5, 0]]", "row 0, column \"color\""),
            ("[7]", "row 0: an object"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }
}
