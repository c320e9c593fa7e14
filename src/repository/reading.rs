//! How a data set was read: enough to read it, or its likes, again.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::signature::TokenSplit;

/// What the files of a data set are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DataFormat {
    /// The four IDX files of MNIST, or of a data set in its likeness
    Idx,
    /// PNG and JPEG files in a folder for each class
    Images,
    /// CSV or TSV files
    Csv,
    /// Parquet files
    Parquet,
    /// JSON Lines: an object on every line
    Jsonl,
}

/// What is to be learned.
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

/// How a data set is read. What is not said is found out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadSettings {
    /// What its files are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<DataFormat>,
    /// The column of a table that is to be learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What is to be learned.
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
    /// Steps of a sequence that are kept at the most, the last ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Tokens that are told apart at the most, the most frequent ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<usize>,
    /// How a text is split into tokens.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tokens: TokenSplit,
}

/// Height and width in words, as `28x28`.
///
/// # Errors
/// What was expected.
pub fn parse_size(text: &str) -> Result<[u32; 2], String> {
    let sides =
        text.split_once(['x', 'X']).and_then(|(height, width)| Some([height.parse().ok()?, width.parse().ok()?]));
    sides.ok_or_else(|| format!("expected height and width, as 28x28, got {text}"))
}

/// Whether a setting is what it is without saying so.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
