//! How data are read and kept, and the model that they may be for.

use std::sync::Arc;

use super::memory::Budget;
use crate::repository::ReadSettings;
use crate::signature::{ImageTransform, Task, Transform};

/// Samples that take more than this are kept in a temporary file: 1 GiB.
pub const DEFAULT_DATA_MEMORY: u64 = 1 << 30;

/// Options for reading and keeping data.
#[derive(Debug, Clone, PartialEq)]
pub struct DataOptions {
    /// The settings for reading.
    pub reading: ReadSettings,
    /// Bytes of samples that may lie in memory, those of all parts of the data together.
    pub memory: u64,
    /// The transform of pictures, where it is known before the data are.
    pub image: Option<Arc<ImageTransform>>,
    /// True if a column of texts is read for a tokenizer, which is known before the data are.
    pub takes_texts: bool,
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
    /// Returns the transform of pictures if it is known: that of the model that the data are for, or the given one.
    pub(super) fn known_image(&self) -> Option<ImageTransform> {
        let of_model = self.expected.as_ref().and_then(|expected| expected.transform.image.clone());
        of_model.or_else(|| self.image.as_deref().cloned())
    }

    /// Returns the memory of one data set.
    pub(super) fn budget(&self) -> Budget {
        Budget::new(self.memory)
    }

    /// Returns true if what is read is a column of texts for a tokenizer.
    pub(super) fn takes_texts(&self) -> bool {
        self.takes_texts || self.expected.as_ref().is_some_and(|expected| expected.transform.text.is_some())
    }

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
        let (reading, memory) = (ReadSettings::default(), DEFAULT_DATA_MEMORY);
        Self { reading, memory, image: None, takes_texts: false, expected: None }
    }
}
