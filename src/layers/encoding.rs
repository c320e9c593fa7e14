//! The encoding of table columns as numbers for a network.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The encoding of one column of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "encoding", rename_all = "snake_case", deny_unknown_fields)]
pub enum Encoding {
    /// `(x − mean) / deviation`. A missing number, NaN, becomes 0, the same as the mean.
    Standard {
        /// The mean of the training data.
        mean: f32,
        /// The standard deviation of the training data, above 0.
        deviation: f32,
        /// True if an additional number says whether this one is missing (1) or not (0).
        tells_missing: bool,
        /// A further number for columns with far outliers, in which these do not drown the rest; absent for others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bent: Option<Bend>,
    },
    /// A date or time in days: `(x − mean) / deviation`, then whether it is missing, then sine and cosine of its phase in
    /// each period. A missing one, NaN, becomes 0 in all of these.
    Moment {
        /// The mean of the training data.
        mean: f32,
        /// The standard deviation of the training data, above 0.
        deviation: f32,
        /// The lengths of the periods in days, as 7 for a week.
        periods: Vec<f32>,
    },
    /// The mean of the rows of a trained table for the numbers of a text's n-grams, padding left out, as that of
    /// [`EmbeddingBag`](super::LayerSpec::EmbeddingBag).
    Bag {
        /// The elements of the column, of which 0 pads.
        grams: usize,
        /// The rows of the table.
        tokens: usize,
        /// The size of a row.
        units: usize,
    },
    /// One number per category: 1 for the category of the element, a whole number from 0, and 0 for all others.
    OneHot {
        /// The number of categories.
        categories: usize,
    },
}

/// A scale that outliers hardly move: z = (x − median) / spread, bent to `z / (1 + |z|/3)`, which lies between −3 and 3.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bend {
    /// The median of the training data.
    pub median: f32,
    /// The standard deviation that a normal distribution with their quartiles has, above 0.
    pub spread: f32,
}

impl Bend {
    /// One over the greatest bent number.
    pub const SHARE: f32 = 1.0 / 3.0;

    /// Returns the bent number; 0 for a missing one, NaN.
    pub fn of(self, number: f32) -> f32 {
        let z = if number.is_nan() { 0.0 } else { (number - self.median) / self.spread };
        z / (1.0 + z.abs() * Self::SHARE)
    }
}

impl Encoding {
    /// Returns the count of numbers that encode the column.
    pub fn width(&self) -> usize {
        match self {
            Self::Standard { tells_missing, bent, .. } => 1 + usize::from(*tells_missing) + usize::from(bent.is_some()),
            Self::Moment { periods, .. } => 2 + 2 * periods.len(),
            Self::OneHot { categories } => *categories,
            Self::Bag { units, .. } => *units,
        }
    }

    /// Returns the number of elements of the column.
    pub fn elements(&self) -> usize {
        match self {
            Self::Standard { .. } | Self::Moment { .. } | Self::OneHot { .. } => 1,
            Self::Bag { grams, .. } => *grams,
        }
    }

    /// Returns the rows of the trained table and their size, if there is one.
    pub fn table(&self) -> Option<[usize; 2]> {
        if let Self::Bag { tokens, units, .. } = self { Some([*tokens, *units]) } else { None }
    }
}
