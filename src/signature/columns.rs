//! The columns of a table that a model takes, in the order of its input's elements.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::sequence::PADDING;

/// The most columns of a table that are watched for drift, the first ones.
pub const MOST_WATCHED_COLUMNS: usize = 48;

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Column {
    /// Its name in the table's header.
    pub name: String,
    /// The kind of its cells.
    #[serde(flatten)]
    pub kind: ColumnKind,
}

/// The kind of the cells of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ColumnKind {
    /// A number; NaN when it is missing.
    Number,
    /// A number of a size at which 32 bits do not tell the values apart. The model takes its difference from `origin`; NaN
    /// when it is missing.
    Shifted {
        /// The number that counts as 0.
        origin: i64,
    },
    /// One of these texts. The model takes its place in the list, from 0; -1 or NaN when it is missing
    /// or none of them.
    Category {
        /// The texts.
        values: Vec<String>,
    },
    /// A text. The model takes the numbers of its n-grams: words, pairs of words and runs of characters, each by a hash; of
    /// a longer text the last `grams`, of a shorter one 0 in front of them, of a missing one 0 alone.
    Text {
        /// The elements that the column has in the input.
        grams: usize,
    },
    /// A date, with a time or not, or a time. The model takes the days, with the part of the last one, from `origin` on;
    /// NaN when it is missing.
    Moment {
        /// How it is written.
        order: DateOrder,
        /// The day that counts as 0, in days since 1970-01-01.
        origin: i32,
    },
}

/// How a date is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DateOrder {
    /// 2024-01-31, with a time behind it or not.
    YearFirst,
    /// 31.1.2024
    DayFirst,
    /// 1/31/2024
    MonthFirst,
    /// 23:59, without a date.
    Time,
}

impl DateOrder {
    /// Returns the form in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::YearFirst => "a date, as 2024-01-31 or 2024-01-31T18:30",
            Self::DayFirst => "a date, the day first, as 31.1.2024",
            Self::MonthFirst => "a date, the month first, as 1/31/2024",
            Self::Time => "a time of day, as 18:30",
        }
    }
}

impl Column {
    /// The texts of a column of categories, none for any other.
    pub fn values(&self) -> &[String] {
        match &self.kind {
            ColumnKind::Category { values } => values,
            ColumnKind::Number | ColumnKind::Shifted { .. } | ColumnKind::Moment { .. } | ColumnKind::Text { .. } => {
                &[]
            }
        }
    }

    /// Returns the number of elements that the column has in the input: one, but for a text.
    pub fn width(&self) -> usize {
        match self.kind {
            ColumnKind::Text { grams } => grams,
            ColumnKind::Number
            | ColumnKind::Shifted { .. }
            | ColumnKind::Moment { .. }
            | ColumnKind::Category { .. } => 1,
        }
    }

    /// Returns the element that stands for a missing value.
    pub fn missing(&self) -> f32 {
        match self.kind {
            ColumnKind::Number | ColumnKind::Shifted { .. } | ColumnKind::Moment { .. } => f32::NAN,
            ColumnKind::Category { .. } => -1.0,
            ColumnKind::Text { .. } => PADDING as f32,
        }
    }
}

/// Returns the number of elements that a row of these columns has.
pub fn row_width(columns: &[Column]) -> usize {
    columns.iter().fold(0, |sum: usize, column| sum.saturating_add(column.width()))
}

/// Returns the elements of each column in the input, in the order of the columns.
pub fn places(columns: &[Column]) -> impl Iterator<Item = Range<usize>> {
    columns.iter().scan(0usize, |next, column| {
        let start = *next;
        *next = start.saturating_add(column.width());
        Some(start..*next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_as_many_elements_as_it_says_and_others_one() {
        let column = |kind| Column { name: String::new(), kind };
        let columns = [
            column(ColumnKind::Number),
            column(ColumnKind::Text { grams: 5 }),
            column(ColumnKind::Category { values: Vec::new() }),
        ];
        assert_eq!(places(&columns).collect::<Vec<_>>(), [0..1, 1..6, 6..7]);
        assert_eq!(row_width(&columns), 7);
        assert!(columns[0].missing().is_nan());
        assert_eq!([columns[1].missing(), columns[2].missing()], [0.0, -1.0]);
        let json = r#"{"name":"","kind":"text","grams":5}"#;
        assert_eq!(serde_json::to_string(&columns[1]).unwrap(), json);
        assert_eq!(serde_json::from_str::<Column>(json).unwrap(), columns[1]);
    }
}
