//! The audit trail: one JSON line for each administrative action, appended and flushed.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Result};

const FILE: &str = "audit.jsonl";
/// The name that a full file is renamed to, in place of the one before it.
const ROTATED: &str = "audit.1.jsonl";
const MAX_BYTES: u64 = 8 << 20;
/// Entries kept in memory for reading.
const MAX_RECENT: usize = 1000;

/// One administrative action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// When it ended, RFC 3339 in UTC.
    pub time: String,
    /// The request that asked for it.
    pub request_id: String,
    /// promote, rollback, load or unload.
    pub action: String,
    /// The model.
    pub model: String,
    /// The version, if one was named or chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The alias, if one was moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// "done", or why it was not.
    pub outcome: String,
}

/// The trail: the file for keeping, the last entries for reading.
#[derive(Debug)]
pub struct Audit {
    folder: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    file: Option<File>,
    recent: VecDeque<AuditEntry>,
}

impl Audit {
    /// The trail in a folder, with what is there already. The folder is made with the first entry.
    pub fn open(folder: &Path) -> Self {
        let mut recent = VecDeque::new();
        for name in [ROTATED, FILE] {
            let text = read_tail(&folder.join(name)).unwrap_or_default();
            // A line cut off by a crash, or by reading from the middle, is no entry.
            let entries = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            recent.extend(entries);
        }
        let surplus = recent.len().saturating_sub(MAX_RECENT);
        recent.drain(..surplus);
        Self { folder: folder.to_owned(), inner: Mutex::new(Inner { file: None, recent }) }
    }

    /// Appends an entry and flushes it to disk. It can be read even if that fails.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub fn record(&self, entry: AuditEntry) -> Result<()> {
        let mut line = serde_json::to_vec(&entry)
            .map_err(|error| Error::internal("an audit entry could not be written", error))?;
        line.push(b'\n');
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.recent.len() >= MAX_RECENT {
            inner.recent.pop_front();
        }
        inner.recent.push_back(entry);
        let file = inner.file.take();
        let file = self.append(file, &line)?;
        inner.file = Some(file);
        Ok(())
    }

    fn append(&self, file: Option<File>, line: &[u8]) -> Result<File> {
        let path = self.folder.join(FILE);
        let mut file = match file {
            Some(file) => file,
            None => self.reopen(&path)?,
        };
        let size = file.metadata().map_err(Error::io("read", &path))?.len();
        if size + line.len() as u64 > MAX_BYTES {
            fs::rename(&path, self.folder.join(ROTATED)).map_err(Error::io("rotate", &path))?;
            file = self.reopen(&path)?;
        }
        file.write_all(line).and_then(|()| file.sync_data()).map_err(Error::io("write", &path))?;
        Ok(file)
    }

    fn reopen(&self, path: &Path) -> Result<File> {
        fs::create_dir_all(&self.folder).map_err(Error::io("create", &self.folder))?;
        File::options().create(true).append(true).open(path).map_err(Error::io("open", path))
    }

    /// The last entries, newest first.
    pub fn last(&self, limit: usize) -> Vec<AuditEntry> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.recent.iter().rev().take(limit).cloned().collect()
    }
}

/// The end of a file, as much as [`MAX_RECENT`] entries can take.
fn read_tail(path: &Path) -> std::io::Result<String> {
    const TAIL: u64 = 1 << 20;
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64) -> AuditEntry {
        AuditEntry {
            time: "2026-01-01T00:00:00Z".into(),
            request_id: number.to_string(),
            action: "promote".into(),
            model: "m".into(),
            version: Some(number),
            alias: Some("stable".into()),
            outcome: "done".into(),
        }
    }

    #[test]
    fn entries_outlive_the_process_and_a_torn_line() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("state");
        let audit = Audit::open(&path);
        (1..=3).for_each(|number| audit.record(entry(number)).unwrap());
        drop(audit);
        let mut file = File::options().append(true).open(path.join(FILE)).unwrap();
        file.write_all(b"{\"time\": \"20").unwrap();
        let audit = Audit::open(&path);
        assert_eq!(audit.last(2), [entry(3), entry(2)]);
        assert_eq!(audit.last(100).len(), 3);
    }

    #[test]
    fn the_trail_is_bounded() {
        let folder = tempfile::TempDir::new().unwrap();
        let audit = Audit::open(folder.path());
        let long = AuditEntry { outcome: "x".repeat(1 << 20), ..entry(0) };
        (0..40).for_each(|_| audit.record(long.clone()).unwrap());
        let size = |name| fs::metadata(folder.path().join(name)).unwrap().len();
        assert!(size(FILE) <= MAX_BYTES && size(ROTATED) <= MAX_BYTES);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
