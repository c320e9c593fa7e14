//! Triton's model repositories: `config.pbtxt` beside the version folders, read and obeyed.
//!
//! The text becomes a [`ModelConfig`] by one table of fields, that becomes the tables of `model.toml`
//! and, once the graph is known, the [`View`] of it that clients have. Knows nothing of protocols.

mod complete;
mod config;
mod decode;
#[cfg(test)]
mod document;
mod lexer;
mod map;
mod schema;
mod text;
mod view;
mod warmup;

pub use complete::Served;
pub use config::{
    DataType, DynamicBatching, InputFormat, InstanceGroup, InstanceKind, ModelConfig, ModelInput, ModelOutput,
    Parameter, QueuePolicy, Reshape, ResponseCacheChoice, TimeoutAction, TransactionPolicy, VersionChoice, Warmup,
    WarmupData, WarmupInput,
};
pub use view::{ShapeAdapter, View};
pub use warmup::{WarmupRequest, requests};

use super::storage::Files;
use super::tables::Tables;
use crate::error::{Error, Result};
use crate::ids::{ModelName, quote};

/// The configuration of a model in Triton's repositories.
pub const CONFIG_FILE: &str = "config.pbtxt";

/// The folder beside the versions that holds the data of requests for warming up.
pub(super) const WARMUP_FOLDER: &str = "warmup";

/// Larger files are a mistake.
const MAX_BYTES: u64 = 1 << 20;
pub(super) const MAX_LABEL_BYTES: u64 = 16 << 20;

/// What some editors write before a text in UTF-8.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The content of a `config.pbtxt`.
#[derive(Debug, Clone, PartialEq)]
pub struct TritonModel {
    /// The configuration, as far as it is obeyed.
    pub config: ModelConfig,
    /// Settings without an effect, each once and with the reason.
    pub warnings: Vec<String>,
}

/// The classes of an output, by its name.
pub type Labels = Vec<(String, Vec<String>)>;

impl TritonModel {
    /// Adds a remark to the warnings.
    pub(super) fn with_note(mut self, note: String) -> Self {
        self.warnings.push(note);
        self
    }

    /// Returns the files beside the version folders that the configuration names.
    pub(super) fn side_files(&self) -> Vec<String> {
        let labels = self.label_files().map(|(_, file)| file.to_owned());
        let inputs = self.config.model_warmup.iter().flat_map(|warmup| warmup.inputs.values());
        let data = inputs.filter_map(|input| match &input.data {
            Some(WarmupData::InputDataFile(file)) => Some(format!("{WARMUP_FOLDER}/{file}")),
            _ => None,
        });
        labels.chain(data).collect()
    }

    fn label_files(&self) -> impl Iterator<Item = (&str, &str)> {
        let outputs = self.config.output.iter().filter(|output| !output.label_filename.is_empty());
        outputs.map(|output| (output.name.as_str(), output.label_filename.as_str()))
    }

    /// Returns the classes of each output that has a file of them.
    ///
    /// # Errors
    /// [`Error::Repository`] when such a file is missing, too large or not text, [`Error::Io`].
    pub fn labels(&self, model: &Files) -> Result<Labels> {
        let read = |(output, file): (&str, &str)| {
            let bytes = model.read(file, MAX_LABEL_BYTES)?;
            let bytes = bytes.ok_or_else(|| refuse(format!("label_filename {} is missing", quote(file))))?;
            let text = String::from_utf8(bytes);
            let text = text.map_err(|_| refuse(format!("label_filename {} is not UTF-8", quote(file))))?;
            Ok((output.to_owned(), label_lines(&text)))
        };
        self.label_files().map(read).collect()
    }
}

/// Returns the labels in a text, one a line. A byte order mark is no part of the first, and blank lines at the end are
/// none; those before are classes without a name.
pub(super) fn label_lines(text: &str) -> Vec<String> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    text.trim_end().lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Reads the `config.pbtxt` of a model, if there is one, and returns the tables that it amounts to as well.
///
/// # Errors
/// [`Error::Repository`] with line and column of what is wrong or not supported, [`Error::Io`].
pub(super) fn read(model: &ModelName, files: &Files) -> Result<Option<(Tables, TritonModel)>> {
    let Some(bytes) = files.read(CONFIG_FILE, MAX_BYTES)? else { return Ok(None) };
    let text = String::from_utf8(bytes).map_err(|_| refuse("it is not UTF-8".into()))?;
    parse(model.as_str(), text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text)).map(Some).map_err(refuse)
}

fn parse(model: &str, text: &str) -> std::result::Result<(Tables, TritonModel), String> {
    let decode::Decoded { config, mut warnings } = decode::decode(text)?;
    map::check(&config, model)?;
    warnings.extend(map::warnings(&config));
    Ok((map::tables(&config), TritonModel { config, warnings }))
}

/// A configuration that cannot be obeyed.
fn refuse(problem: String) -> Error {
    Error::Repository { what: CONFIG_FILE.into(), problem }
}

#[cfg(test)]
mod tests;
