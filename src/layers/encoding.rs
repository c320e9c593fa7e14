//! Columns of a table as numbers that a network can take.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How one column of a table is encoded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "encoding", rename_all = "snake_case", deny_unknown_fields)]
pub enum Encoding {
    /// `(x − mean) / deviation`; a missing number, NaN, becomes 0, as if it were the mean.
    Standard {
        /// The mean of the training data.
        mean: f32,
        /// Their standard deviation, above 0.
        deviation: f32,
        /// Whether a further number says that this one is missing (1) or not (0).
        tells_missing: bool,
    },
    /// A number for each category: 1 for the one that the element, a whole number from 0, says, else 0.
    OneHot {
        /// How many categories there are.
        categories: usize,
    },
}

impl Encoding {
    /// How many numbers come of the column.
    pub fn width(&self) -> usize {
        match self {
            Self::Standard { tells_missing, .. } => 1 + usize::from(*tells_missing),
            Self::OneHot { categories } => *categories,
        }
    }
}
