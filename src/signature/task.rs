//! The tasks that a model can be for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::OutputTransform;

/// The task of a model. The set is closed: loss, evaluation, golden examples and quality figures follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Gives a distribution over classes.
    Classification,
    /// Gives one number.
    Regression,
    /// Gives the sample again, by way of a latent code, and a score.
    Reconstruction,
    /// Gives tensors, of whose meaning nothing is known.
    Raw,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classification => "classification",
            Self::Regression => "regression",
            Self::Reconstruction => "reconstruction",
            Self::Raw => "raw",
        })
    }
}

impl OutputTransform {
    /// The task of a model with this output.
    pub fn task(&self) -> Task {
        match self {
            Self::Classification { .. } => Task::Classification,
            Self::Regression { .. } => Task::Regression,
            Self::Reconstruction { .. } => Task::Reconstruction,
            Self::Labels { .. }
            | Self::Detections(_)
            | Self::Segmentation(_)
            | Self::Embedding(_)
            | Self::Image(_)
            | Self::Spans(_)
            | Self::Score(_)
            | Self::Raw => Task::Raw,
        }
    }
}
