//! The audit trail as the server sees it, wherever it is kept.

use std::path::Path;
use std::sync::Arc;

use super::audit::{AuditEntry, AuditFile};
use super::writer::Store;
use crate::error::{Error, Result};

/// The size of a file of the trail where no store takes its entries.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// The trail.
#[derive(Debug)]
pub struct Audit {
    file: Arc<AuditFile>,
    store: Option<Arc<Store>>,
}

impl Audit {
    /// Keeps the trail in a file of a folder, which is made with the first entry. A file of 8 MiB is renamed, in
    /// place of the one before it.
    pub fn in_file(folder: &Path) -> Self {
        Self { file: Arc::new(AuditFile::new(folder, Some(MAX_FILE_BYTES))), store: None }
    }

    /// Keeps the trail in a store.
    pub fn in_store(store: Arc<Store>) -> Self {
        Self { file: store.audit_file(), store: Some(store) }
    }

    /// Records an entry; returns once it is on disk. What the store cannot take goes to the file, from which the store
    /// takes it when it can.
    ///
    /// # Errors
    /// [`Error::Io`] when neither can be written.
    pub async fn record(&self, entry: AuditEntry) -> Result<()> {
        if let Some(store) = &self.store {
            match store.record(entry.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(%error, "an entry of the audit trail goes to its file"),
            }
        }
        let file = self.file.clone();
        let written = tokio::task::spawn_blocking(move || file.append(&entry)).await;
        written.unwrap_or_else(|error| Err(Error::internal("the audit trail cannot be written", error)))
    }

    /// Returns the last entries, newest first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn last(&self, limit: usize) -> Result<Vec<AuditEntry>> {
        let mut entries = self.file.entries();
        entries.reverse();
        if let Some(store) = &self.store {
            let kept = store.trail(limit).await?;
            // The store may have taken the file in since it was read.
            entries.retain(|entry| !kept.contains(entry));
            entries.extend(kept);
        }
        entries.truncate(limit);
        Ok(entries)
    }
}
