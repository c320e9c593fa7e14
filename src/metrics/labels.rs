//! The words that the labels of a version's metrics have: closed sets.

use std::time::Duration;

/// The outcome of a prediction request. Every request has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The request was answered.
    Success,
    /// The input was refused.
    InvalidInput,
    /// The request was refused for lack of capacity.
    Overloaded,
    /// The answer was not ready in time.
    DeadlineExceeded,
    /// The caller left before the answer.
    Cancelled,
    /// The model or the server failed.
    Error,
    /// The request was a sample of the probe set, which the server replays itself.
    Probe,
    /// The request was a masked sample, which an explanation asks about.
    Explanation,
    /// The request was an input of another model, which this one guards.
    Guard,
}

impl Outcome {
    pub(super) const ALL: [(Self, &'static str); 9] = [
        (Self::Success, "success"),
        (Self::InvalidInput, "invalid_input"),
        (Self::Overloaded, "overloaded"),
        (Self::DeadlineExceeded, "deadline_exceeded"),
        (Self::Cancelled, "cancelled"),
        (Self::Error, "error"),
        (Self::Probe, "probe"),
        (Self::Explanation, "explanation"),
        (Self::Guard, "guard"),
    ];

    /// Returns the name, as metrics have it.
    pub fn label(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// A stage of a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Bytes to tensor.
    Decode,
    /// Waiting for a compute thread.
    Queue,
    /// The model itself.
    Infer,
    /// Tensor to response body.
    Encode,
}

impl Stage {
    pub(super) const ALL: [(Self, &'static str); 4] =
        [(Self::Decode, "decode"), (Self::Queue, "queue"), (Self::Infer, "infer"), (Self::Encode, "encode")];
}

/// The durations of the stages before encoding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stages {
    /// Bytes to tensor.
    pub decode: Duration,
    /// Waiting for a compute thread; zero if the calling thread did the work.
    pub queue: Duration,
    /// The model itself.
    pub infer: Duration,
}

/// The origin of a quality figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The training data, according to the manifest.
    Training,
    /// The validation data, according to the manifest.
    Validation,
    /// The test data, according to the manifest.
    Test,
    /// The probe set of the version, replayed through the live path.
    Probe,
    /// Labels that clients sent for its answers.
    Feedback,
    /// The same, corrected for how the labelled samples were chosen.
    FeedbackAdjusted,
}

impl Source {
    /// Returns the name, as metrics have it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Validation => "validation",
            Self::Test => "test",
            Self::Probe => "probe",
            Self::Feedback => "feedback",
            Self::FeedbackAdjusted => "feedback_adjusted",
        }
    }

    pub(super) const ALL: [Self; 6] =
        [Self::Training, Self::Validation, Self::Test, Self::Probe, Self::Feedback, Self::FeedbackAdjusted];
}
