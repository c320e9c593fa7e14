//! The audit trail: an entry for each administrative action, chained by hashes, in the store; and in a file as long as the
//! store cannot take it.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::database::{Connection, Value};
use super::fault::{Fault, Outcome};
use crate::error::{Error, Result};
use crate::files;

/// The file for entries that are not in the store.
const FILE: &str = "audit.jsonl";

/// The name of a full file; and of those of older servers.
const ROTATED: &str = "audit.1.jsonl";

/// The name of a file whose entries are being taken into the store.
const TAKEN: &str = "audit.taken.jsonl";

/// One administrative action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// When it ended, RFC 3339 in UTC.
    pub time: String,
    /// The request that asked for it.
    pub request_id: String,
    /// Who asked: "key" and the name of the key; without one the address; absent from entries of older servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// promote, rollback, load, unload or acknowledge.
    pub action: String,
    /// The model; empty where it is about none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// The version, if one was named or chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The alias, if one was moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Of an acknowledgement: the alarm, and what was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<AuditedAlarm>,
    /// "done", or why it was not.
    pub outcome: String,
}

/// An alarm that somebody acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditedAlarm {
    /// Its identifier.
    pub id: String,
    /// What it was about; absent for one that is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Who knows of it, as they call themselves; `by` is who they showed to be.
    pub who: String,
    /// Why it may go on.
    pub why: String,
}

/// The file of entries that are not in the store.
#[derive(Debug)]
pub(super) struct AuditFile {
    folder: PathBuf,
    /// The size at which the file is renamed, in place of the full one before it; `None` if all is to be kept.
    max_bytes: Option<u64>,
    /// Held while the file is written or renamed.
    lock: Mutex<()>,
}

impl AuditFile {
    pub(super) fn new(folder: &Path, max_bytes: Option<u64>) -> Self {
        Self { folder: folder.to_owned(), max_bytes, lock: Mutex::new(()) }
    }

    /// Appends an entry and flushes it to disk.
    pub(super) fn append(&self, entry: &AuditEntry) -> Result<()> {
        let mut line =
            serde_json::to_vec(entry).map_err(|error| Error::internal("an audit entry could not be written", error))?;
        line.push(b'\n');
        let _held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        fs::create_dir_all(&self.folder).map_err(Error::io("create", &self.folder))?;
        let path = self.folder.join(FILE);
        let is_full = |max: u64| fs::metadata(&path).is_ok_and(|found| found.len() + line.len() as u64 > max);
        if self.max_bytes.is_some_and(is_full) {
            fs::rename(&path, self.folder.join(ROTATED)).map_err(Error::io("rename", &path))?;
        }
        let opened = files::open_own(&path, File::options().create(true).read(true).append(true));
        let mut file = opened.map_err(Error::io("open", &path))?;
        let mut last = [b'\n'];
        // An empty file has no last byte.
        if file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last)).is_ok() && last != [b'\n'] {
            // A crash has cut the last line off.
            line.insert(0, b'\n');
        }
        file.write_all(&line).and_then(|()| file.sync_data()).map_err(Error::io("write", &path))
    }

    /// Returns the entries in the file, oldest first.
    pub(super) fn entries(&self) -> Vec<AuditEntry> {
        let read = |name| match self.read(&[name]) {
            Ok((entries, _)) => entries,
            Err(error) => {
                tracing::error!(folder = %self.folder.display(), name, %error, "an audit file cannot be read");
                Vec::new()
            }
        };
        [ROTATED, TAKEN, FILE].into_iter().flat_map(read).collect()
    }

    /// Returns the entries in these files, and how many lines are none. A file that is not there has none.
    ///
    /// # Errors
    /// Those of [`files::read`].
    fn read(&self, names: &[&str]) -> io::Result<(Vec<AuditEntry>, usize)> {
        let (mut entries, mut damaged) = (Vec::new(), 0);
        for name in names {
            let bytes = match files::read(&self.folder.join(name), u64::MAX) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            // A crash cuts a line off, also inside a character.
            for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                match serde_json::from_slice(line) {
                    Ok(entry) => entries.push(entry),
                    Err(_) => damaged += 1,
                }
            }
        }
        Ok((entries, damaged))
    }

    /// Returns true if there is something that the store should take.
    pub(super) fn is_waiting(&self) -> bool {
        [ROTATED, TAKEN, FILE].iter().any(|name| self.folder.join(name).exists())
    }

    /// Gives `take` all entries, and renames the files when it has taken them: they can still be read.
    pub(super) fn hand_over(&self, take: impl FnOnce(&[AuditEntry]) -> Outcome<()>) -> Outcome<()> {
        let path = |name: &str| self.folder.join(name);
        {
            let _held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            if !path(TAKEN).exists() {
                // Where it cannot be renamed it is taken again next time, which does no harm.
                fs::rename(path(FILE), path(TAKEN)).ok();
            }
        }
        let read = self.read(&[ROTATED, TAKEN]);
        let (entries, damaged) =
            read.map_err(|error| Fault::Io(format!("an audit file cannot be read: {error}").into()))?;
        take(&entries)?;
        if damaged > 0 {
            tracing::error!(
                folder = %self.folder.display(), damaged, taken = entries.len(),
                "lines of the audit file are no entries; the file is kept"
            );
        }
        let now = jiff::Timestamp::now().as_microsecond();
        for (name, number) in [(ROTATED, 1), (TAKEN, 2)] {
            fs::rename(path(name), path(&format!("audit.in-the-store-{now}-{number}.jsonl"))).ok();
        }
        Ok(())
    }
}

/// Appends an entry to the chain, unless it is there.
pub(super) fn append(connection: &mut Connection, entry: &AuditEntry) -> Outcome<()> {
    let text = serde_json::to_string(entry).unwrap_or_default();
    let digest = Sha256::digest(&text);
    let at = entry.time.parse::<jiff::Timestamp>().map_or(0, |time| time.as_microsecond());
    let last = connection.query("SELECT hash FROM audit ORDER BY seq DESC LIMIT 1", &[])?;
    let previous = last.first().map_or(Vec::new(), |row| row.bytes(0).to_vec());
    let hash = link(&previous, &text);
    connection
        .execute(
            "INSERT INTO audit (digest, at, entry, previous, hash) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
            &[digest.as_slice().into(), at.into(), text.as_str().into(), Value::Bytes(previous), Value::Bytes(hash)],
        )
        .map(drop)
}

/// Returns the last entries, newest first.
pub(super) fn last(connection: &mut Connection, limit: usize) -> Outcome<Vec<AuditEntry>> {
    let rows = connection.query("SELECT entry FROM audit ORDER BY seq DESC LIMIT ?1", &[Value::Int(limit as i64)])?;
    Ok(rows.iter().filter_map(|row| serde_json::from_str(row.text(0)).ok()).collect())
}

/// Returns the hash of an entry behind another one: a change of any entry breaks the chain behind it.
pub(super) fn link(previous: &[u8], entry: &str) -> Vec<u8> {
    Sha256::new().chain_update(previous).chain_update(entry).finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::database::Place;

    fn entry(number: u64) -> AuditEntry {
        AuditEntry {
            time: "2026-01-01T00:00:00Z".into(),
            request_id: number.to_string(),
            by: Some("key shop".into()),
            action: "promote".into(),
            model: "m".into(),
            version: Some(number),
            alias: Some("stable".into()),
            alarm: None,
            outcome: "done".into(),
        }
    }

    #[test]
    fn a_trail_without_a_store_is_bounded_and_loses_the_oldest() {
        let folder = tempfile::TempDir::new().unwrap();
        let line = serde_json::to_vec(&entry(10)).unwrap().len() as u64 + 1;
        let file = AuditFile::new(folder.path(), Some(3 * line));
        for number in 10..18 {
            file.append(&entry(number)).unwrap();
        }
        let numbers: Vec<_> = file.entries().iter().map(|entry| entry.version.unwrap()).collect();
        assert_eq!(numbers, [13, 14, 15, 16, 17]);
        let sizes = [ROTATED, FILE].map(|name| fs::metadata(folder.path().join(name)).unwrap().len());
        assert_eq!(sizes, [3 * line, 2 * line]);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_taken_as_empty() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = AuditFile::new(folder.path(), None);
        file.append(&entry(1)).unwrap();
        fs::create_dir(folder.path().join(ROTATED)).unwrap();
        assert!(file.hand_over(|_| panic!("nothing is taken")).is_err());
        assert!(file.is_waiting());
        assert_eq!(file.entries().len(), 1, "the others are shown");
        fs::remove_dir(folder.path().join(ROTATED)).unwrap();
        let mut taken = 0;
        file.hand_over(|entries| {
            taken = entries.len();
            Ok(())
        })
        .unwrap();
        assert_eq!(taken, 1);
        assert!(!file.is_waiting());
    }

    #[test]
    fn the_store_takes_what_older_servers_and_full_disks_have_left_in_files() {
        let folder = tempfile::TempDir::new().unwrap();
        let lines = |numbers: &[u64]| {
            numbers.iter().map(|number| serde_json::to_string(&entry(*number)).unwrap() + "\n").collect::<String>()
        };
        fs::write(folder.path().join(ROTATED), lines(&[1, 2])).unwrap();
        fs::write(folder.path().join(FILE), lines(&[3, 4]) + "{\"time\": \"20").unwrap();
        let file = AuditFile::new(folder.path(), None);
        let mut connection = Place::Sqlite(folder.path().join("weir.db")).open().unwrap();
        assert!(file.is_waiting());
        assert!(file.hand_over(|_| Err(Error::Cancelled.into())).is_err(), "nothing is lost by a failure");
        file.append(&entry(5)).unwrap();
        assert_eq!(file.entries().len(), 5);
        for _ in 0..2 {
            file.hand_over(|entries| entries.iter().try_for_each(|entry| append(&mut connection, entry))).unwrap();
        }
        assert!(!file.is_waiting() && file.entries().is_empty());
        let numbers = last(&mut connection, 10).unwrap().into_iter().map(|entry| entry.version.unwrap());
        assert_eq!(numbers.collect::<Vec<_>>(), [5, 4, 3, 2, 1]);
        append(&mut connection, &entry(5)).unwrap();
        assert_eq!(last(&mut connection, 10).unwrap().len(), 5, "the same entry comes once");
        let rows = connection.query("SELECT previous, entry, hash FROM audit ORDER BY seq", &[]).unwrap();
        let is_linked = |row: &crate::store::database::Fields| link(row.bytes(0), row.text(1)) == row.bytes(2);
        assert!(rows.iter().all(is_linked) && rows.windows(2).all(|pair| pair[0].bytes(2) == pair[1].bytes(0)));
    }
}
