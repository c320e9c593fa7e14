//! Inputs that a server chose to be labelled, and how the files of an export call what they say of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::transform::media_type;

/// The words that stand before the columns of an export that are no columns of the input.
pub(super) const PREFIX: &str = "weir_";

/// The names of the files in the folder.
pub(super) const TABLE: &str = "labels.csv";
pub(super) const LINES: &str = "labels.jsonl";
pub(super) const PICTURES: &str = "pictures";
pub(super) const TASKS: &str = "tasks.json";
pub(super) const INTERFACE: &str = "interface.xml";

/// The answer of the server.
#[derive(Debug, Deserialize)]
pub(super) struct Chosen {
    pub(super) model: String,
    pub(super) version: u64,
    pub(super) inputs: u64,
    pub(super) labels: Vec<String>,
    pub(super) answers: String,
    pub(super) columns: Vec<String>,
    pub(super) items: Vec<Item>,
}

/// One input, as the server tells of it.
#[derive(Debug, Deserialize)]
pub(super) struct Item {
    pub(super) request_id: String,
    pub(super) item: u32,
    pub(super) predicted: Option<String>,
    pub(super) confidence: Option<f32>,
    pub(super) selection: String,
    pub(super) inclusion: f64,
    pub(super) input: String,
}

/// An input with what it is about.
pub(super) struct Exported {
    pub(super) item: Item,
    pub(super) input: Input,
}

/// An input.
pub(super) enum Input {
    /// A picture.
    Picture(Picture),
    /// A row of a table: its values by column.
    Row(Vec<(String, Value)>),
    /// A sequence.
    Sequence(Value),
}

/// A picture.
pub(super) struct Picture {
    /// Its path in the folder of the export.
    pub(super) name: String,
    /// Its media type.
    pub(super) media: &'static str,
    /// The file.
    pub(super) bytes: Vec<u8>,
}

impl Input {
    /// Reads what the server sent as an input, whose values have these names if they are a list of as many.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is neither a picture nor JSON.
    pub(super) fn read(item: &Item, bytes: &[u8], columns: &[String]) -> Result<Self> {
        if let Some(media) = media_type(bytes) {
            let name = format!("{PICTURES}/{}-{}.{}", item.request_id, item.item, &media["image/".len()..]);
            return Ok(Self::Picture(Picture { name, media, bytes: bytes.to_vec() }));
        }
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| Error::Conflict(format!("an input of the server is no JSON: {error}")))?;
        Ok(match value {
            Value::Object(row) => Self::Row(row.into_iter().collect()),
            Value::Array(cells) if !columns.is_empty() && cells.len() == columns.len() => {
                Self::Row(columns.iter().cloned().zip(cells).collect())
            }
            other => Self::Sequence(other),
        })
    }
}

/// Returns bytes in base64.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
