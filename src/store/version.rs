//! Versions as the database knows them.

use super::database::{Connection, Value};
use super::fault::Outcome;
use crate::ids::quote;

/// What the answers of a version are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// Classes.
    Classes,
    /// Numbers.
    Numbers,
    /// Something whose truth is only that it was correct or not.
    Others,
}

impl Answers {
    pub(super) fn code(self) -> i64 {
        match self {
            Self::Classes => 1,
            Self::Numbers => 2,
            Self::Others => 0,
        }
    }

    pub(super) fn of_code(code: i64) -> Self {
        match code {
            1 => Self::Classes,
            2 => Self::Numbers,
            _ => Self::Others,
        }
    }
}

/// A version that predictions are kept of; told from one of the same number by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownVersion {
    /// The model.
    pub model: String,
    /// The version.
    pub version: u64,
    /// A hash of all that decides what it answers.
    pub digest: [u8; 32],
    /// The labels by class; empty where classes have no names.
    pub labels: Vec<String>,
    /// What it answers.
    pub answers: Answers,
}

impl KnownVersion {
    /// Returns the class that a text names: a label, or an index where no label is like it.
    pub(super) fn class_named(&self, text: &str) -> Result<u32, String> {
        let by_name = self.labels.iter().position(|label| label == text);
        let class = by_name.or_else(|| text.parse().ok()).and_then(|class: usize| u32::try_from(class).ok());
        class.ok_or_else(|| {
            let some: Vec<&str> = self.labels.iter().take(10).map(String::as_str).collect();
            let known = if some.is_empty() { "class indexes".to_owned() } else { some.join(", ") };
            format!("model \"{}\" has no label {}; its labels: {known}", self.model, quote(text))
        })
    }
}

/// Makes a version known to the database, unless it is.
pub(super) fn insert(connection: &mut Connection, version: &KnownVersion) -> Outcome<()> {
    let labels = serde_json::to_string(&version.labels).unwrap_or_default();
    let values = [
        version.model.as_str().into(),
        Value::Int(version.version as i64),
        Value::from(version.digest.as_slice()),
        labels.as_str().into(),
        version.answers.code().into(),
    ];
    connection
        .execute(
            "INSERT INTO version_key (model, version, digest, labels, answers) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT DO NOTHING",
            &values,
        )
        .map(drop)
}

/// Returns a version as its columns have it.
pub(super) fn of_columns(model: &str, version: u64, digest: &[u8], labels: &str, answers: i64) -> KnownVersion {
    KnownVersion {
        model: model.to_owned(),
        version,
        digest: digest.try_into().unwrap_or_default(),
        // They were written by this code; what cannot be read leaves classes without names.
        labels: serde_json::from_str(labels).unwrap_or_default(),
        answers: Answers::of_code(answers),
    }
}
