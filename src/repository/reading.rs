//! The settings that a data set was read with: enough to read it, or another one like it, again.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::signature::TokenSplit;

/// The format of the files of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DataFormat {
    /// The four IDX files of MNIST, or of a data set in its likeness
    Idx,
    /// PNG, JPEG, WebP, GIF, BMP and TIFF files in a folder for each class
    Images,
    /// CSV or TSV files
    Csv,
    /// Parquet files
    Parquet,
    /// JSON Lines: an object on every line
    Jsonl,
}

/// The choice of the task to learn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Task)]
pub enum TaskChoice {
    /// Numbers if the target is not of whole numbers or has more than 50 different ones, else classes
    #[default]
    Auto,
    /// Classes
    Classification,
    /// Numbers
    Regression,
}

/// Settings for reading a data set. A setting that is left out is found out from the data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadSettings {
    /// The format of its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<DataFormat>,
    /// The column of a table that holds the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The task to learn.
    #[serde(default, skip_serializing_if = "is_default")]
    pub task: TaskChoice,
    /// Height and width that images are brought to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_size: Option<[u32; 2]>,
    /// Columns of a table that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// The column that holds sequences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<String>,
    /// The number of last steps of a sequence that are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// The size of the vocabulary, which holds the most frequent tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<usize>,
    /// The way to split a text into tokens.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tokens: TokenSplit,
}

/// Parses height and width, as `28x28`.
///
/// # Errors
/// A message that says what was expected.
pub fn parse_size(text: &str) -> Result<[u32; 2], String> {
    let sides =
        text.split_once(['x', 'X']).and_then(|(height, width)| Some([height.parse().ok()?, width.parse().ok()?]));
    sides.ok_or_else(|| format!("expected height and width, as 28x28, got {text}"))
}

/// Tells whether a value is the default, which is not written.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
