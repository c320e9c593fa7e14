//! Rows of a table in the JSON body of `/predict`: objects by column name, or lists in the order of the
//! columns, read straight into the elements of the input.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::Result;
use crate::ids::quote;
use crate::signature::{Column, ColumnKind};
use crate::tensor::Tensor;

/// The elements of rows or sequences, one after the other.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Rows {
    /// How many were sent.
    pub(super) count: usize,
    /// Of as many as may be sent.
    pub(super) elements: Vec<f32>,
}

impl Rows {
    /// As the input of a model whose samples are of this shape.
    ///
    /// # Errors
    /// [`crate::error::Error::Internal`] when there are no rows.
    pub(super) fn into_tensor(self, sample: &[usize]) -> Result<Tensor> {
        Tensor::new(std::iter::once(self.count).chain(sample.iter().copied()).collect(), self.elements)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Reads a list of rows.
pub(super) struct RowsSeed<'a> {
    pub(super) columns: &'a [Column],
    /// More are counted and not kept: an empty object makes as many elements as there are columns.
    pub(super) most: usize,
}

impl<'de> DeserializeSeed<'de> for RowsSeed<'_> {
    type Value = Rows;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Rows, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for RowsSeed<'_> {
    type Value = Rows;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Rows, A::Error> {
        let mut rows = Rows::default();
        loop {
            let is_kept = rows.count < self.most;
            let row = RowSeed { columns: self.columns, row: rows.count, elements: &mut rows.elements };
            let next =
                if is_kept { list.next_element_seed(row)? } else { list.next_element::<IgnoredAny>()?.map(|_| ()) };
            if next.is_none() {
                return Ok(rows);
            }
            rows.count += 1;
        }
    }
}

struct RowSeed<'a> {
    columns: &'a [Column],
    row: usize,
    elements: &'a mut Vec<f32>,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {}: an object by column name, or a list of {} values", self.row, self.columns.len())
    }

    /// What is not named is missing.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let Self { columns, row, elements } = self;
        let start = elements.len();
        elements.extend(columns.iter().map(missing));
        let mut is_given = vec![false; columns.len()];
        let mut next = 0;
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            // Most clients name the columns in their order.
            let is_next = columns.get(next).is_some_and(|column| column.name == name);
            let index = if is_next { Some(next) } else { columns.iter().position(|column| column.name == name) };
            let Some(index) = index else {
                let known: Vec<&str> = columns.iter().map(|column| column.name.as_str()).take(20).collect();
                let known = known.join(", ");
                return Err(A::Error::custom(format_args!(
                    "row {row}: there is no column {}; there are: {known}",
                    quote(&name)
                )));
            };
            if std::mem::replace(&mut is_given[index], true) {
                return Err(A::Error::custom(format_args!("row {row}: column {} is given twice", quote(&name))));
            }
            elements[start + index] = map.next_value_seed(CellSeed { column: &columns[index], row, is_named: true })?;
            next = index + 1;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        let Self { columns, row, elements } = self;
        for (index, column) in columns.iter().enumerate() {
            let cell = list.next_element_seed(CellSeed { column, row, is_named: false })?;
            let count = columns.len();
            elements.push(cell.ok_or_else(|| {
                A::Error::custom(format_args!("row {row} has {index} values, expected one for each of {count} columns"))
            })?);
        }
        if list.next_element::<IgnoredAny>()?.is_some() {
            let count = columns.len();
            return Err(A::Error::custom(format_args!("row {row} has more than {count} values, one for each column")));
        }
        Ok(())
    }
}

/// The element that stands for a missing value.
fn missing(column: &Column) -> f32 {
    match column.kind {
        ColumnKind::Number => f32::NAN,
        ColumnKind::Category { .. } => -1.0,
    }
}

struct CellSeed<'a> {
    column: &'a Column,
    row: usize,
    /// In an object a number in a column of categories is its text, in a list its place.
    is_named: bool,
}

impl<'de> DeserializeSeed<'de> for CellSeed<'_> {
    type Value = f32;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<f32, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl CellSeed<'_> {
    fn text<E: serde::de::Error>(&self, text: &str) -> std::result::Result<f32, E> {
        let (row, name) = (self.row, quote(&self.column.name));
        let ColumnKind::Category { values } = &self.column.kind else {
            return Err(E::custom(format_args!("row {row}, column {name}: expected a number, got {}", quote(text))));
        };
        values.iter().position(|value| value == text).map(|place| place as f32).ok_or_else(|| {
            let known: Vec<&str> = values.iter().map(String::as_str).take(20).collect();
            let (known, text) = (known.join(", "), quote(text));
            E::custom(format_args!(
                "row {row}, column {name}: {text} is none of: {known}; null stands for a missing value"
            ))
        })
    }

    fn number<E: serde::de::Error>(&self, number: f64) -> std::result::Result<f32, E> {
        let (row, name) = (self.row, quote(&self.column.name));
        match &self.column.kind {
            ColumnKind::Number if (number as f32).is_finite() => Ok(number as f32),
            ColumnKind::Number => {
                Err(E::custom(format_args!("row {row}, column {name}: {number} does not fit a 32-bit float")))
            }
            ColumnKind::Category { .. } if self.is_named => self.text(&number.to_string()),
            ColumnKind::Category { values } => {
                let is_place = number.fract() == 0.0 && (-1.0..values.len() as f64).contains(&number);
                let last = values.len() as i64 - 1;
                is_place.then_some(number as f32).ok_or_else(|| {
                    E::custom(format_args!(
                        "row {row}, column {name}: expected a place from 0 to {last}, or -1, got {number}"
                    ))
                })
            }
        }
    }
}

impl Visitor<'_> for CellSeed<'_> {
    type Value = f32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.column.kind {
            ColumnKind::Number => "a number",
            ColumnKind::Category { .. } => "a text",
        };
        write!(f, "row {}, column {}: {what} or null", self.row, quote(&self.column.name))
    }

    fn visit_unit<E: serde::de::Error>(self) -> std::result::Result<f32, E> {
        Ok(missing(self.column))
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> std::result::Result<f32, E> {
        self.text(if value { "true" } else { "false" })
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> std::result::Result<f32, E> {
        self.number(value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> std::result::Result<f32, E> {
        self.number(value as f64)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> std::result::Result<f32, E> {
        self.number(value as f64)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> std::result::Result<f32, E> {
        self.text(value)
    }
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
        let rows = RowsSeed { columns: &columns, most: 9 }.deserialize(&mut serde_json::Deserializer::from_str(json));
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
    fn more_than_may_be_are_counted_and_not_kept() {
        let (columns, mut json) = (columns(), serde_json::Deserializer::from_str("[{}, {}, {}, 7]"));
        let rows = RowsSeed { columns: &columns, most: 2 }.deserialize(&mut json).unwrap();
        assert_eq!((rows.count, rows.elements.len()), (4, 6));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_row_and_column() {
        for (json, expected) in [
            (r#"[{"colour": "red"}]"#, "row 0: there is no column \"colour\"; there are: age, color, class"),
            (r#"[{}, {"color": "pink"}]"#, "row 1, column \"color\": \"pink\" is none of: blue, red"),
            (r#"[{"age": "old"}]"#, "row 0, column \"age\": expected a number"),
            (r#"[{"age": 1e300}]"#, "row 0, column \"age\""),
            (r#"[{"age": [1]}]"#, "row 0, column \"age\""),
            (r#"[{"age": 1, "age": 2}]"#, "given twice"),
            (r#"[{"class": 3}]"#, "row 0, column \"class\""),
            ("[[1, 0]]", "row 0 has 2 values"),
            ("[[1, 0, 0, 0]]", "row 0 has more than 3 values"),
            ("[[1, 2, 0]]", "row 0, column \"color\": expected a place from 0 to 1"),
            ("[[1, 0.5, 0]]", "row 0, column \"color\""),
            ("[7]", "row 0: an object"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }
}
