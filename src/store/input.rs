//! Captured inputs: what was asked, byte for byte, for those who label and train.
//!
//! Each content is kept once, by its SHA-256; the samples that had it are kept with their answers. A content goes with
//! the last of its samples.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::block::{self, Row};
use super::database::{Connection, Value};
use super::fault::Outcome;
use crate::error::{Error, Result};
use crate::stats::Inclusion;

/// The bytes of captured inputs that may wait to be written.
const MAX_WAITING: usize = 64 << 20;

/// The most samples whose inputs are removed together.
const MAX_REMOVED: i64 = 5000;

/// The share of a limit that is left once it was exceeded, so that not every write has to make room.
const LEFT: f64 = 0.95;

/// The limits of captured inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct InputLimits {
    /// The time for which they are kept.
    pub keep: Duration,
    /// The bytes that they may take.
    pub bytes: u64,
    /// The samples whose inputs are kept.
    pub count: u64,
}

impl Default for InputLimits {
    fn default() -> Self {
        Self { keep: Duration::from_secs(7 * 86_400), bytes: 1 << 30, count: 100_000 }
    }
}

/// An input that is to be kept.
#[derive(Debug, Clone)]
pub struct CapturedInput {
    /// The file of a picture, or the JSON of a row or sequence.
    pub bytes: Bytes,
    /// The probability with which it was captured.
    pub inclusion: Inclusion,
    /// Its share of the memory for inputs that wait.
    pub charge: Arc<Charge>,
}

/// The memory for inputs that wait to be written; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct InputBudget(Arc<AtomicUsize>);

/// A share of that memory, given back when it is dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<AtomicUsize>,
    bytes: usize,
}

impl InputBudget {
    /// Takes so many bytes; `None` when too many wait already.
    pub fn take(&self, bytes: usize) -> Option<Charge> {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        let charge = Charge { budget: self.0.clone(), bytes };
        (before.saturating_add(bytes) <= MAX_WAITING).then_some(charge)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The inputs that are kept, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Held {
    /// Samples with an input.
    pub(super) count: i64,
    /// The bytes of all inputs.
    pub(super) bytes: i64,
}

impl Held {
    /// Counts what is kept.
    pub(super) fn read(connection: &mut Connection) -> Outcome<Self> {
        let mut one = |statement: &'static str| -> Outcome<i64> {
            Ok(connection.query(statement, &[])?.first().map_or(0, |row| row.int(0)))
        };
        Ok(Self {
            count: one("SELECT COUNT(*) FROM captured")?,
            bytes: one("SELECT CAST(SUM(size) AS BIGINT) FROM input")?,
        })
    }

    /// Writes the input of a sample, whose row has its key already.
    pub(super) fn add(&mut self, connection: &mut Connection, row: &Row, input: &CapturedInput) -> Outcome<()> {
        let digest = Sha256::digest(&input.bytes);
        let size = input.bytes.len() as i64;
        let is_new = connection.execute(
            "INSERT INTO input (sha256, size, data) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            &[digest.as_slice().into(), size.into(), Value::from(&*input.bytes)],
        )?;
        self.bytes += size * is_new as i64;
        let mut data = Vec::new();
        block::write(row, &mut data);
        self.count += connection.execute(
            "INSERT INTO captured (id, item, key, at, sha256, inclusion_ppb, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
             ON CONFLICT DO NOTHING",
            &[
                row.id.into(),
                row.item.into(),
                row.key.into(),
                row.at.into(),
                digest.as_slice().into(),
                input.inclusion.billionths().into(),
                Value::Bytes(data),
            ],
        )? as i64;
        Ok(())
    }

    /// Removes the oldest where there are more than the limits allow.
    pub(super) fn trim(&mut self, connection: &mut Connection, limits: &InputLimits) -> Outcome<()> {
        let (most, room) = (whole(limits.count), whole(limits.bytes));
        if self.count <= most && self.bytes <= room {
            return Ok(());
        }
        let excess = |held: i64, limit: i64| if held > limit { held - (limit as f64 * LEFT) as i64 } else { 0 };
        let (count, bytes) = (excess(self.count, most), excess(self.bytes, room));
        let oldest = connection.query(
            "SELECT c.at, i.size FROM captured c JOIN input i ON i.sha256 = c.sha256 ORDER BY c.at LIMIT ?1",
            &[MAX_REMOVED.into()],
        )?;
        let (mut until, mut removed, mut freed) = (i64::MIN, 0, 0);
        for row in &oldest {
            if removed >= count && freed >= bytes {
                break;
            }
            (until, removed, freed) = (row.int(0), removed + 1, freed + row.int(1));
        }
        remove_until(connection, until)?;
        *self = Self::read(connection)?;
        Ok(())
    }
}

fn whole(limit: u64) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Removes the inputs of samples that were asked about up to a moment.
fn remove_until(connection: &mut Connection, at: i64) -> Outcome<()> {
    for statement in [
        "DELETE FROM input WHERE sha256 IN (SELECT sha256 FROM captured WHERE at <= ?1) \
         AND NOT EXISTS (SELECT 1 FROM captured c WHERE c.sha256 = input.sha256 AND c.at > ?1)",
        "DELETE FROM captured WHERE at <= ?1",
    ] {
        connection.execute(statement, &[at.into()])?;
    }
    Ok(())
}

/// Removes what is too old, a limited number at a time, and what is too much.
pub(super) fn sweep(connection: &mut Connection, limits: &InputLimits, now: i64) -> Outcome<Held> {
    let oldest = now.saturating_sub(i64::try_from(limits.keep.as_micros()).unwrap_or(i64::MAX));
    let old = connection
        .query("SELECT at FROM captured WHERE at < ?1 ORDER BY at LIMIT ?2", &[oldest.into(), MAX_REMOVED.into()])?;
    if let Some(last) = old.last() {
        remove_until(connection, last.int(0))?;
    }
    let mut held = Held::read(connection)?;
    held.trim(connection, limits)?;
    Ok(held)
}

/// Removes the inputs of a request, unless other requests had the same; returns the number of its samples that had one.
pub(super) fn remove(connection: &mut Connection, id: Uuid) -> Outcome<u64> {
    connection.execute(
        "DELETE FROM input WHERE sha256 IN (SELECT sha256 FROM captured WHERE id = ?1) \
         AND NOT EXISTS (SELECT 1 FROM captured c WHERE c.sha256 = input.sha256 AND c.id <> ?1)",
        &[id.into()],
    )?;
    connection.execute("DELETE FROM captured WHERE id = ?1", &[id.into()])
}

/// Returns the samples of a request that were captured, as their answers are kept with their inputs.
pub(super) fn rows_of(connection: &mut Connection, id: Uuid) -> Outcome<Vec<Row>> {
    let found = connection.query("SELECT data FROM captured WHERE id = ?1 ORDER BY item, key", &[id.into()])?;
    let mut rows = Vec::with_capacity(found.len());
    for fields in &found {
        rows.extend(row(fields.bytes(0))?);
    }
    Ok(rows)
}

/// Reads the answer that is kept with an input.
pub(super) fn row(data: &[u8]) -> Result<Option<Row>> {
    let damaged = || Error::internal("the answer of a captured input is damaged", "its bytes are no row");
    block::rows(data).ok_or_else(damaged).map(|rows| rows.into_iter().next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::block::Kept;
    use crate::store::database::Place;

    const DAY_US: i64 = 86_400_000_000;
    const NOW: i64 = 20_000 * DAY_US;

    fn captured(bytes: &'static [u8]) -> CapturedInput {
        let charge = Arc::new(InputBudget::default().take(bytes.len()).unwrap());
        CapturedInput { bytes: Bytes::from_static(bytes), inclusion: Inclusion::CERTAIN, charge }
    }

    fn keep(held: &mut Held, connection: &mut Connection, id: u128, at: i64, bytes: &'static [u8]) {
        let row = Row { key: 1, ..Row::new(Uuid::from_u128(id), 0, at, Kept::Nothing) };
        held.add(connection, &row, &captured(bytes)).unwrap();
    }

    fn contents(connection: &mut Connection) -> Vec<Vec<u8>> {
        let rows = connection.query("SELECT data FROM input ORDER BY data", &[]).unwrap();
        rows.iter().map(|row| row.bytes(0).to_vec()).collect()
    }

    #[test]
    fn a_content_is_kept_once_and_goes_with_the_last_of_its_samples() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut connection = Place::Sqlite(folder.path().join("weir.db")).open().unwrap();
        let mut held = Held::default();
        for (id, bytes) in [(1, b"one"), (2, b"two"), (3, b"one")] {
            keep(&mut held, &mut connection, id, NOW, bytes);
        }
        assert_eq!((held, held), (Held { count: 3, bytes: 6 }, Held::read(&mut connection).unwrap()));
        assert_eq!(remove(&mut connection, Uuid::from_u128(1)).unwrap(), 1);
        assert_eq!(contents(&mut connection), [b"one", b"two"]);
        assert_eq!(remove(&mut connection, Uuid::from_u128(3)).unwrap(), 1);
        assert_eq!(contents(&mut connection), [b"two"]);
        assert_eq!(rows_of(&mut connection, Uuid::from_u128(2)).unwrap().len(), 1);
        assert_eq!(remove(&mut connection, Uuid::from_u128(9)).unwrap(), 0);
    }

    #[test]
    fn the_oldest_go_when_they_are_too_old_too_many_or_too_large() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut connection = Place::Sqlite(folder.path().join("weir.db")).open().unwrap();
        let mut held = Held::default();
        let limits = |count, bytes| InputLimits { keep: Duration::from_secs(7 * 86_400), bytes, count };
        for (id, age, bytes) in [(1, 8, b"old "), (2, 6, b"same"), (3, 2, b"same"), (4, 1, b"new1"), (5, 0, b"new2")] {
            keep(&mut held, &mut connection, id, NOW - age * DAY_US, bytes);
        }
        let swept = sweep(&mut connection, &limits(100, 100), NOW).unwrap();
        assert_eq!(swept, Held { count: 4, bytes: 12 });
        held = swept;
        held.trim(&mut connection, &limits(3, 100)).unwrap();
        assert_eq!((held.count, contents(&mut connection).len()), (2, 2));
        held.trim(&mut connection, &limits(100, 7)).unwrap();
        assert_eq!(contents(&mut connection), [b"new2"]);
        held.trim(&mut connection, &limits(100, 0)).unwrap();
        assert_eq!(held, Held::default());
    }

    #[test]
    fn a_clock_that_jumps_costs_no_more_than_one_sweep() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut connection = Place::Sqlite(folder.path().join("weir.db")).open().unwrap();
        connection.begin().unwrap();
        let mut held = Held::default();
        (0..MAX_REMOVED + 7).for_each(|n| keep(&mut held, &mut connection, n as u128, NOW + n, b"same"));
        connection.end(Ok(())).unwrap();
        let swept = sweep(&mut connection, &InputLimits::default(), NOW + 30 * DAY_US).unwrap();
        assert_eq!(swept, Held { count: 7, bytes: 4 });
    }

    #[test]
    fn what_waits_is_bounded() {
        let budget = InputBudget::default();
        let first = budget.take(MAX_WAITING - 1).unwrap();
        assert!(budget.take(2).is_none(), "and gives back what it took");
        let second = budget.take(1).unwrap();
        assert!(budget.take(1).is_none());
        drop((first, second));
        assert!(budget.take(MAX_WAITING).is_some());
    }
}
