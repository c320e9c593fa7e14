//! How data are read and kept, and the model that they may be for.

use std::sync::Arc;

use crate::repository::ReadSettings;
use crate::signature::{Task, Transform};

/// Samples that take more than this are kept in a temporary file: 1 GiB.
pub const DEFAULT_DATA_MEMORY: u64 = 1 << 30;

/// Options for reading and keeping data.
#[derive(Debug, Clone, PartialEq)]
pub struct DataOptions {
    /// The settings for reading.
    pub reading: ReadSettings,
    /// Bytes of samples that may lie in memory.
    pub memory: u64,
    /// The model that the data are for; without one, what they are is found out.
    pub expected: Option<Arc<Expected>>,
}

/// What a model takes and tells apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// The transforms around it.
    pub transform: Transform,
    /// The names of its classes.
    pub labels: Vec<String>,
    /// False if nothing is to be learned or judged of the data: every row is a sample, for an answer.
    pub needs_target: bool,
}

impl DataOptions {
    /// Returns the classes of the model that the data are for: none of one that tells no classes apart.
    pub(super) fn expected_labels(&self) -> Option<&[String]> {
        self.expected.as_ref().map(|expected| match expected.transform.output.task() {
            Task::Classification => expected.labels.as_slice(),
            Task::Regression | Task::Reconstruction | Task::Raw => &[],
        })
    }
}

impl Default for DataOptions {
    fn default() -> Self {
        Self { reading: ReadSettings::default(), memory: DEFAULT_DATA_MEMORY, expected: None }
    }
}
