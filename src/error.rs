//! The one error type of the library.
//!
//! The message of every variant says what was wrong, what was expected and what was found, and is safe to leave
//! the process. Causes that must not leave it (paths, messages of engines) are the `source` and reach only the
//! log. Each protocol maps [`Error::kind`] to its own status in one place.

use std::path::PathBuf;

use crate::ids::{AliasName, InvalidName, ModelName, Version};

/// A result with the [`enum@Error`] of the library.
pub type Result<T> = std::result::Result<T, Error>;

/// A cause that is logged and never shown to a client.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// The classes of errors, by the reaction of a caller. Protocols map this closed list to their statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The model, version or alias does not exist.
    NotFound,
    /// The path exists, but not for this method.
    WrongMethod,
    /// The request is malformed: syntax, encoding, unknown fields.
    Malformed,
    /// The request is well formed but does not fit the model.
    InvalidInput,
    /// The type of the content is not accepted.
    UnsupportedMedia,
    /// A documented limit was exceeded.
    TooLarge,
    /// There is no capacity now; the same request may succeed later.
    Overloaded,
    /// The caller has sent more than a caller may; the same request may succeed later.
    RateLimited,
    /// The answer was not ready in time.
    DeadlineExceeded,
    /// The client took too long to send its request.
    SlowClient,
    /// The model or the server is not ready or is shutting down.
    Unavailable,
    /// The client went away.
    Cancelled,
    /// The request conflicts with the current state.
    Conflict,
    /// What the request is about was there and is no longer kept.
    Gone,
    /// What should be kept cannot be written.
    StorageFull,
    /// The caller must show who they are, and did not.
    Unauthenticated,
    /// The settings do not permit this request to the caller.
    Forbidden,
    /// The protocol defines this feature, but the server does not support it.
    Unsupported,
    /// The server or the model is at fault.
    Internal,
}

/// Everything that can fail in Weir.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No model of this name is in the repository.
    #[error("no model is called \"{name}\"; GET /models lists the models there are")]
    ModelNotFound { name: ModelName },
    /// The model exists, the version does not.
    #[error("model \"{name}\" has no version {version}; GET /models/{name} lists its versions")]
    VersionNotFound { name: ModelName, version: Version },
    /// The model exists, the alias does not.
    #[error("model \"{name}\" has no alias \"{alias}\"; GET /models/{name} lists its aliases")]
    AliasNotFound { name: ModelName, alias: AliasName },
    /// Something that a request names does not exist; the text uses the terms of the protocol.
    #[error("{0}")]
    NotFound(String),
    /// The protocol defines a feature that this server does not support.
    #[error("{0}")]
    Unsupported(String),
    /// The request names no model and the server has no default.
    #[error(
        "the request names no model and there is no default; use /models/{{model}}/predict with one of: {available}, or start the server with --default-model"
    )]
    NoDefaultModel { available: String },
    /// The version exists but is not available.
    #[error("model \"{name}\" version {version} is not available: {reason}")]
    NotAvailable { name: ModelName, version: Version, reason: String },
    /// The model exists, but none of its versions is available.
    #[error("model \"{name}\" cannot answer: {reason}")]
    NoneAvailable { name: ModelName, reason: String },
    /// The request cannot be carried out in the current state.
    #[error("{0}")]
    Conflict(String),
    /// What the request is about was there and is no longer kept.
    #[error("{0}")]
    Gone(String),
    /// There is no room on disk for what should be kept.
    #[error("{}: {cause}", in_words(.kept))]
    StorageFull {
        /// The pieces of the request that are kept all the same.
        kept: u64,
        /// The reason, and what to do.
        cause: String,
    },
    /// The caller must show who they are, and did not.
    #[error("{0}")]
    Unauthenticated(String),
    /// The settings do not permit this request to the caller.
    #[error("{0}")]
    Forbidden(String),
    /// A name, version or setting is not valid.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// The request cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// The request is well formed but does not fit the model.
    #[error("{0}")]
    InvalidInput(String),
    /// The content type or the file format is not accepted.
    #[error("{0}")]
    UnsupportedMedia(String),
    /// A limit was exceeded.
    #[error("{what} is too large: the limit is {limit}, got {got}")]
    TooLarge { what: &'static str, limit: u64, got: String },
    /// The server is at capacity.
    #[error("the server is at capacity ({what}); try again in {retry_after_seconds} s")]
    Overloaded { what: &'static str, retry_after_seconds: u32 },
    /// The caller has sent more requests than a caller may.
    #[error("this caller has sent more requests than it may; try again in {retry_after_seconds} s")]
    RateLimited { retry_after_seconds: u32 },
    /// The caller has as many requests under way as a caller may.
    #[error(
        "this caller has {limit} requests under way, which is the most; try again when one of them has been answered"
    )]
    TooManyAtOnce { limit: u32, retry_after_seconds: u32 },
    /// The deadline passed before an answer was ready.
    #[error("no answer within {limit_ms} ms")]
    DeadlineExceeded { limit_ms: u64 },
    /// The server is not ready for traffic.
    #[error("not ready: {reason}")]
    NotReady { reason: String },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The client did not send its request in time.
    #[error("the request body did not arrive within {limit_seconds} s")]
    SlowClient { limit_seconds: f64 },
    /// The caller went away.
    #[error("the request was cancelled")]
    Cancelled,
    /// The model failed on this request; the reason is in words that may leave the process.
    #[error("model \"{name}\" version {version} failed on this request: {reason}")]
    ModelFailed {
        name: ModelName,
        version: Version,
        reason: String,
        #[source]
        source: Source,
    },
    /// The server is at fault.
    #[error("internal error: {message}")]
    Internal {
        message: &'static str,
        #[source]
        source: Source,
    },
    /// A model file, manifest or repository folder cannot be used.
    #[error("{what}: {problem}")]
    Repository { what: String, problem: String },
    /// The files of a version do not belong together yet, for instance while they are being copied.
    #[error("{what}: {problem}")]
    Incomplete { what: String, problem: String },
    /// Training or evaluation data cannot be used.
    #[error("{file}: {problem}")]
    Data { file: String, problem: String },
    /// A file cannot be read or written.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A setting cannot be used.
    #[error("setting {setting}: {problem}")]
    Config { setting: String, problem: String },
    /// The loss of a training run is not a finite number.
    #[error("training diverged: the loss is {loss} in epoch {epoch}, batch {batch}; try a smaller --learning-rate")]
    Diverged { loss: f64, epoch: usize, batch: usize },
    /// A trained model did not pass a gate and was not published.
    #[error("not published: {0}")]
    GateMissed(String),
    /// The user interrupted a training run; its state is saved in `run`.
    #[error("interrupted; the run is saved: continue it with `{command} --resume {run}`", run = run.display())]
    Interrupted { run: PathBuf, command: &'static str },
}

/// Says in words how many pieces of a request are kept.
fn in_words(kept: &u64) -> String {
    match kept {
        0 => "nothing was kept".into(),
        kept => kept_in_words(*kept),
    }
}

/// Says in words that so many pieces of a request are kept and the others are not.
pub fn kept_in_words(kept: u64) -> String {
    format!("{kept} pieces of this body are kept, and duplicates when they are sent again, and the others are not")
}

impl Error {
    /// Returns the class of the error.
    pub fn kind(&self) -> Kind {
        match self {
            Self::ModelNotFound { .. }
            | Self::VersionNotFound { .. }
            | Self::AliasNotFound { .. }
            | Self::NotFound(_) => Kind::NotFound,
            Self::Unsupported(_) => Kind::Unsupported,
            Self::InvalidName(_) | Self::Malformed(_) | Self::NoDefaultModel { .. } => Kind::Malformed,
            Self::InvalidInput(_) => Kind::InvalidInput,
            Self::UnsupportedMedia(_) => Kind::UnsupportedMedia,
            Self::TooLarge { .. } => Kind::TooLarge,
            Self::Overloaded { .. } => Kind::Overloaded,
            Self::RateLimited { .. } | Self::TooManyAtOnce { .. } => Kind::RateLimited,
            Self::DeadlineExceeded { .. } => Kind::DeadlineExceeded,
            Self::SlowClient { .. } => Kind::SlowClient,
            Self::NotAvailable { .. } | Self::NoneAvailable { .. } | Self::NotReady { .. } | Self::ShuttingDown => {
                Kind::Unavailable
            }
            Self::Cancelled | Self::Interrupted { .. } => Kind::Cancelled,
            Self::GateMissed(_) | Self::Conflict(_) => Kind::Conflict,
            Self::Gone(_) => Kind::Gone,
            Self::StorageFull { .. } => Kind::StorageFull,
            Self::Unauthenticated(_) => Kind::Unauthenticated,
            Self::Forbidden(_) => Kind::Forbidden,
            Self::ModelFailed { .. }
            | Self::Internal { .. }
            | Self::Repository { .. }
            | Self::Incomplete { .. }
            | Self::Data { .. }
            | Self::Io { .. }
            | Self::Config { .. }
            | Self::Diverged { .. } => Kind::Internal,
        }
    }

    /// Returns the message for readers outside this machine, which leaves out the path of an I/O error.
    pub fn without_path(&self) -> String {
        match self {
            Self::Io { action, source, .. } => format!("cannot {action} a file: {source}"),
            shown => shown.to_string(),
        }
    }

    /// Returns a function that wraps an I/O error with the action and the path.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// Returns the seconds after which the same request may succeed, where they are known.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        match self {
            Self::Overloaded { retry_after_seconds, .. }
            | Self::RateLimited { retry_after_seconds, .. }
            | Self::TooManyAtOnce { retry_after_seconds, .. } => Some(*retry_after_seconds),
            _ => None,
        }
    }

    /// Returns the error for a model that may exist: the repository was not read yet, so nobody knows.
    pub fn unread() -> Self {
        Self::NotReady { reason: "the model repository has not been read yet".into() }
    }

    /// Creates an internal error with a cause for the log.
    pub fn internal(message: &'static str, source: impl Into<Source>) -> Self {
        Self::Internal { message, source: source.into() }
    }
}
