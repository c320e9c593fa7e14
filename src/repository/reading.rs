//! The settings that a data set was read with: enough to read it, or another one like it, again.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::signature::{Decoding, TokenSplit};

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

/// The choice of what is done with pictures before a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PictureTransform)]
pub enum PictureChoice {
    /// Drawings for the presets of MNIST, as they are for all others
    #[default]
    Auto,
    /// Grey pixels as they are
    AsIs,
    /// Drawings: black and white are exchanged in those that seem dark on bright
    Drawing,
    /// Photos: colours are kept, and sizes are met by scaling and cropping
    Photo,
}

/// The colours of photos that are learned from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColourChoice {
    /// Red, green and blue, unless no photo has a pixel that is not grey
    #[default]
    Auto,
    /// Red, green and blue
    Rgb,
    /// One channel of grey (ITU-R BT.601)
    #[serde(alias = "gray")]
    #[value(alias = "gray")]
    Grey,
}

/// The rule by which photos are brought to one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FitChoice {
    /// Scale both axes, ignoring the aspect ratio
    Stretch,
    /// Scale until the photo covers the size, and take the middle
    Crop,
    /// Scale until the photo fits, and pad around it in black
    Letterbox,
}

/// The picture that the columns of a table are, where it is said and not found out. Written as `none` or as height and width,
/// `28x28`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PixelColumns {
    /// No picture.
    Table,
    /// The pixels of a picture of this height and width, row by row.
    Picture([u32; 2]),
}

impl FromStr for PixelColumns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" { Ok(Self::Table) } else { parse_size(text).map(Self::Picture) }
    }
}

impl TryFrom<String> for PixelColumns {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<PixelColumns> for String {
    fn from(columns: PixelColumns) -> Self {
        columns.to_string()
    }
}

impl fmt::Display for PixelColumns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table => f.write_str("none"),
            Self::Picture([height, width]) => write!(f, "{height}x{width}"),
        }
    }
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
    /// The picture whose pixels the columns of a table are: `none`, or height and width as `28x28`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub picture: Option<PixelColumns>,
    /// The transform of pictures.
    #[serde(default, skip_serializing_if = "is_default")]
    pub transform: PictureChoice,
    /// The colours of photos.
    #[serde(default, skip_serializing_if = "is_default")]
    pub colour: ColourChoice,
    /// The rule by which photos are brought to one size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_fit: Option<FitChoice>,
    /// The size at which photos in JPEG are decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_decode: Option<Decoding>,
    /// The character between the cells of a text file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<char>,
    /// The mark around the cells of a text file that hold others of its signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<char>,
    /// The decimal mark of the numbers in a text file, a point or a comma.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimal: Option<char>,
    /// True if the first row of a text file holds the names of the columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// The encoding of a text file, as the web names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Further words for a missing value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Columns of a table that are learned from although they seem to count the rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<String>,
    /// Columns of a table that are learned from as texts, by their words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<String>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenSplit>,
}

/// Parses one character, by itself or as the word `tab`; nothing stands for none.
///
/// # Errors
/// A message that says what was expected.
pub fn parse_character(text: &str) -> Result<Option<char>, String> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        _ if text.eq_ignore_ascii_case("tab") || text == "\\t" => Ok(Some('\t')),
        (None, _) => Ok(None),
        (Some(one), None) if one.is_ascii() => Ok(Some(one)),
        _ => Err(format!("expected one character, as ; or tab, got {}", crate::ids::quote(text))),
    }
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
