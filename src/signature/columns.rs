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
    /// One of these texts. The model takes its place in the list, from 0; -1 or NaN when it is missing
    /// or none of them.
    Category {
        /// The texts.
        values: Vec<String>,
    },
}

impl Column {
    /// The texts of a column of categories, none for one of numbers.
    pub fn values(&self) -> &[String] {
        match &self.kind {
            ColumnKind::Number => &[],
            ColumnKind::Category { values } => values,
        }
    }
}
