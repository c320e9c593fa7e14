//! What the store is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::block::Row;
use super::input::{CapturedInput, InputLimits};
use super::sampling::KeptShare;
use super::version::KnownVersion;

/// Where the store is and what it keeps.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// The state folder, which is locked.
    pub folder: PathBuf,
    /// The URL of a PostgreSQL database; a file in the folder otherwise.
    pub database: Option<String>,
    /// The time for which predictions are kept.
    pub keep_predictions: Duration,
    /// The share of requests whose predictions are kept.
    pub keep_share: KeptShare,
    /// The bytes that predictions may take.
    pub keep_bytes: u64,
    /// The time for which feedback and what follows from it are kept.
    pub keep_feedback: Duration,
    /// The limits of captured inputs.
    pub inputs: InputLimits,
}

/// A sample to be kept.
#[derive(Debug, Clone)]
pub struct Logged {
    /// The version that was asked.
    pub version: Arc<KnownVersion>,
    /// The identifier that the caller chose, if it did.
    pub client: Option<Arc<str>>,
    /// The rest.
    pub row: Row,
    /// False for one that is only counted.
    pub is_kept: bool,
    /// The input, if it is to be kept.
    pub captured: Option<CapturedInput>,
}
