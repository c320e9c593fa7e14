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

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use complete::Served;
pub use config::{
    DataType, DynamicBatching, InputFormat, InstanceGroup, InstanceKind, ModelConfig, ModelInput, ModelOutput,
    Parameter, QueuePolicy, Reshape, ResponseCacheChoice, TimeoutAction, TransactionPolicy, VersionChoice, Warmup,
    WarmupData, WarmupInput,
};
pub use view::{Facing, View};
pub use warmup::{WarmupRequest, requests};

use super::settings::ModelSettings;
use super::version::read_file;
use crate::error::{Error, Result};
use crate::ids::quote;

/// The configuration of a model in Triton's repositories.
pub const CONFIG_FILE: &str = "config.pbtxt";

/// The folder beside the versions that holds the data of requests for warming up.
pub(super) const WARMUP_FOLDER: &str = "warmup";

/// Larger files are a mistake.
const MAX_BYTES: u64 = 1 << 20;
const MAX_LABEL_BYTES: u64 = 16 << 20;

/// What a `config.pbtxt` says.
#[derive(Debug, Clone, PartialEq)]
pub struct TritonModel {
    /// The configuration, as far as it is obeyed.
    pub config: ModelConfig,
    /// What of it has no effect, and why; each once.
    pub warnings: Vec<String>,
}

/// The classes of an output, by its name.
pub type Labels = Vec<(String, Vec<String>)>;

impl TritonModel {
    /// The same, and a further remark.
    pub(super) fn with_note(&self, note: String) -> Self {
        let mut with = self.clone();
        with.warnings.push(note);
        with
    }

    /// The files beside the version folders that matter, relative to the model's folder.
    pub(super) fn side_files(&self) -> Vec<PathBuf> {
        let labels = self.label_files().map(|(_, file)| PathBuf::from(file));
        let inputs = self.config.model_warmup.iter().flat_map(|warmup| warmup.inputs.values());
        let data = inputs.filter_map(|input| match &input.data {
            Some(WarmupData::InputDataFile(file)) => Some(Path::new(WARMUP_FOLDER).join(file)),
            _ => None,
        });
        labels.chain(data).collect()
    }

    fn label_files(&self) -> impl Iterator<Item = (&str, &str)> {
        let outputs = self.config.output.iter().filter(|output| !output.label_filename.is_empty());
        outputs.map(|output| (output.name.as_str(), output.label_filename.as_str()))
    }

    /// The classes of each output that has a file of them.
    ///
    /// # Errors
    /// [`Error::Repository`] when such a file is missing, too large or not text, [`Error::Io`].
    pub fn labels(&self, model: &Path) -> Result<Labels> {
        let read = |(output, file): (&str, &str)| {
            let bytes = read_file(model, file, MAX_LABEL_BYTES)?;
            let bytes = bytes.ok_or_else(|| refuse(format!("label_filename {} is missing", quote(file))))?;
            let text = String::from_utf8(bytes);
            let text = text.map_err(|_| refuse(format!("label_filename {} is not UTF-8", quote(file))))?;
            Ok((output.to_owned(), text.lines().map(str::to_owned).collect()))
        };
        self.label_files().map(read).collect()
    }
}

/// The settings that a model's `config.pbtxt` amounts to, or `None` if there is no such file.
///
/// # Errors
/// [`Error::Repository`] with line and column of what is wrong or not supported, [`Error::Io`].
pub(super) fn read(model: &Path) -> Result<Option<ModelSettings>> {
    let Some(bytes) = read_file(model, CONFIG_FILE, MAX_BYTES)? else { return Ok(None) };
    let folder = model.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let text = String::from_utf8(bytes).map_err(|_| refuse("it is not UTF-8".into()))?;
    settings(&folder, &text).map(Some).map_err(refuse)
}

fn settings(folder: &str, text: &str) -> std::result::Result<ModelSettings, String> {
    let decode::Decoded { config, mut warnings } = decode::decode(text)?;
    map::check(&config, folder)?;
    warnings.extend(map::warnings(&config));
    let mut settings = map::tables(&config);
    settings.triton = Some(Arc::new(TritonModel { config, warnings }));
    Ok(settings)
}

/// A configuration that cannot be obeyed.
fn refuse(problem: String) -> Error {
    Error::Repository { what: CONFIG_FILE.into(), problem }
}

#[cfg(test)]
mod tests;
