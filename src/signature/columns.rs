//! The columns of a table that a model takes, in the order of its input's elements.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    /// The texts of a column of categories, none for one of numbers.
    pub fn values(&self) -> &[String] {
        match &self.kind {
            ColumnKind::Number | ColumnKind::Shifted { .. } | ColumnKind::Moment { .. } => &[],
            ColumnKind::Category { values } => values,
        }
    }
}
