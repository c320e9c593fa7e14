//! What is kept for how long. A sweep removes little at a time, so that it holds nobody up and a clock that jumps costs
//! little.

use super::database::{Connection, Value};
use super::fault::Outcome;
use super::join::HOLD_US;
use super::quality::BUCKET_US;
use super::settings::StoreSettings;

/// The most blocks that one sweep removes; they hold up to half a million samples.
const MAX_BLOCKS: i64 = 1000;

/// The most rows of other tables that one sweep removes of each.
const MAX_ROWS: i64 = 5000;

/// What a sweep found and did.
#[derive(Debug, Default)]
pub(super) struct Swept {
    /// When the oldest prediction was made, in microseconds since 1970; 0 without predictions.
    pub(super) oldest_us: i64,
    /// The bytes of all predictions.
    pub(super) bytes: i64,
    /// Feedback that waits.
    pub(super) held: i64,
    /// Feedback that waited for too long.
    pub(super) expired: u64,
    pub(super) has_removed_sums: bool,
}

/// Removes what is too old, or too much.
pub(super) fn sweep(connection: &mut Connection, settings: &StoreSettings, now: i64) -> Outcome<Swept> {
    let ago = |age: std::time::Duration| now.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
    let (predictions, labels) = (ago(settings.keep_predictions), ago(settings.keep_feedback));
    connection.execute(
        "DELETE FROM prediction WHERE block IN \
         (SELECT block FROM prediction WHERE last_at < ?1 ORDER BY block LIMIT ?2)",
        &[predictions.into(), MAX_BLOCKS.into()],
    )?;
    let size = |connection: &mut Connection| -> Outcome<i64> {
        let found = connection.query("SELECT CAST(SUM(LENGTH(data)) AS BIGINT) FROM prediction", &[])?;
        Ok(found.first().map_or(0, |row| row.int(0)))
    };
    let mut bytes = size(connection)?;
    let excess = bytes - i64::try_from(settings.keep_bytes).unwrap_or(i64::MAX);
    if excess > 0 {
        remove_oldest(connection, excess)?;
        bytes = size(connection)?;
    }
    let oldest = connection.query("SELECT first_at FROM prediction ORDER BY block LIMIT 1", &[])?;
    let oldest_us = oldest.first().map_or(0, |row| row.int(0));
    // An identifier is of use only while its prediction is there.
    let limit = Value::from(MAX_ROWS);
    let client = [if oldest_us > 0 { oldest_us } else { predictions }.into(), limit.clone()];
    connection.execute(
        "DELETE FROM client_id WHERE (client, id) IN (SELECT client, id FROM client_id WHERE at < ?1 ORDER BY at LIMIT ?2)",
        &client,
    )?;
    let expired = connection.execute(
        "DELETE FROM feedback WHERE seq IN \
         (SELECT seq FROM feedback WHERE state = 2 AND received < ?1 ORDER BY seq LIMIT ?2)",
        &[(now - HOLD_US).into(), limit.clone()],
    )?;
    let held = connection.query("SELECT COUNT(*) FROM feedback WHERE state = 2", &[])?;
    let old = [labels.into(), limit];
    for statement in [
        "DELETE FROM feedback WHERE seq IN (SELECT seq FROM feedback WHERE received < ?1 ORDER BY seq LIMIT ?2)",
        "DELETE FROM outcome WHERE (id, item, key) IN \
         (SELECT id, item, key FROM outcome WHERE at < ?1 ORDER BY id LIMIT ?2)",
        "DELETE FROM erased WHERE digest IN (SELECT digest FROM erased WHERE at < ?1 ORDER BY at LIMIT ?2)",
        "DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE at < ?1 ORDER BY seq LIMIT ?2)",
    ] {
        connection.execute(statement, &old)?;
    }
    let bucket: [Value; 1] = [labels.div_euclid(BUCKET_US).into()];
    let mut removed = 0;
    for statement in [
        "DELETE FROM quality WHERE bucket < ?1",
        "DELETE FROM confusion WHERE bucket < ?1",
        "DELETE FROM calibration WHERE bucket < ?1",
        "DELETE FROM traffic WHERE bucket < ?1",
    ] {
        removed += connection.execute(statement, &bucket)?;
    }
    let held = held.first().map_or(0, |row| row.int(0));
    Ok(Swept { oldest_us, bytes, held, expired, has_removed_sums: removed > 0 })
}

/// Removes the oldest blocks, as many as make up so many bytes.
fn remove_oldest(connection: &mut Connection, bytes: i64) -> Outcome<()> {
    let oldest =
        connection.query("SELECT block, LENGTH(data) FROM prediction ORDER BY block LIMIT ?1", &[MAX_BLOCKS.into()])?;
    let mut freed = 0;
    let mut last = 0;
    for block in oldest {
        if freed >= bytes {
            break;
        }
        freed += block.int(1);
        last = block.int(0);
    }
    connection.execute("DELETE FROM prediction WHERE block <= ?1", &[last.into()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::database::Place;
    use crate::store::fault::Fault;

    const DAY_US: i64 = 24 * BUCKET_US;
    const NOW: i64 = 20_000 * DAY_US;

    fn settings(folder: &std::path::Path) -> StoreSettings {
        StoreSettings {
            folder: folder.to_owned(),
            database: None,
            keep_predictions: Duration::from_secs(14 * 86_400),
            keep_bytes: 1 << 20,
            keep_feedback: Duration::from_secs(400 * 86_400),
        }
    }

    fn keep(connection: &mut Connection, at: i64, bytes: usize) {
        let id = Value::from(uuid::Uuid::from_u128(at as u128));
        let values = [id.clone(), id, at.into(), at.into(), 1i64.into(), Value::Bytes(vec![1; bytes])];
        connection
            .execute(
                "INSERT INTO prediction (first_id, last_id, first_at, last_at, samples, data) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                &values,
            )
            .unwrap();
    }

    fn hold(connection: &mut Connection, received: i64) {
        let values = [Value::Bytes(received.to_le_bytes().to_vec()), received.into()];
        connection
            .execute(
                "INSERT INTO feedback (digest, target, item, content, source, annotator, received, state) \
                 VALUES (?1, 'x', 0, '\"retract\"', 1, '', ?2, 2)",
                &values,
            )
            .unwrap();
    }

    #[test]
    fn what_is_too_old_or_too_much_goes_and_the_rest_stays() {
        let folder = tempfile::TempDir::new().unwrap();
        let (settings, place) = (settings(folder.path()), Place::Sqlite(folder.path().join("weir.db")));
        let mut connection = place.open().unwrap();
        for age in [20, 15, 13, 1] {
            keep(&mut connection, NOW - age * DAY_US, 1000);
        }
        hold(&mut connection, NOW - 2 * DAY_US);
        hold(&mut connection, NOW - DAY_US / 2);
        let swept = sweep(&mut connection, &settings, NOW).unwrap();
        assert_eq!((swept.oldest_us, swept.bytes), (NOW - 13 * DAY_US, 2000));
        assert_eq!((swept.expired, swept.held), (1, 1));
        // More than there is room for: the oldest go, and no more than must.
        keep(&mut connection, NOW, 1 << 20);
        let swept = sweep(&mut connection, &settings, NOW).unwrap();
        assert_eq!((swept.oldest_us, swept.bytes), (NOW, 1 << 20));
    }

    #[test]
    fn a_clock_that_jumps_costs_no_more_than_one_sweep() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut connection = Place::Sqlite(folder.path().join("weir.db")).open().unwrap();
        connection.begin().unwrap();
        (0..MAX_BLOCKS + 7).for_each(|number| keep(&mut connection, NOW + number, 1));
        connection.end(Ok(())).unwrap();
        let swept = sweep(&mut connection, &settings(folder.path()), NOW + 30 * DAY_US).unwrap();
        assert_eq!(swept.bytes, 7);
    }

    #[test]
    fn a_database_of_a_newer_weir_is_left_alone() {
        let folder = tempfile::TempDir::new().unwrap();
        let place = Place::Sqlite(folder.path().join("weir.db"));
        place.open().unwrap().batch("UPDATE weir_schema SET version = 99").unwrap();
        assert!(matches!(place.open(), Err(Fault::Unusable(problem)) if problem.contains("99")));
    }
}
