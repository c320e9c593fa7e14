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
    if bytes > i64::try_from(settings.keep_bytes).unwrap_or(i64::MAX) {
        connection.execute(
            "DELETE FROM prediction WHERE block IN (SELECT block FROM prediction ORDER BY block LIMIT ?1)",
            &[MAX_BLOCKS.into()],
        )?;
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
    let old = [labels.into(), limit.clone()];
    connection.execute(
        "DELETE FROM feedback WHERE seq IN (SELECT seq FROM feedback WHERE received < ?1 ORDER BY seq LIMIT ?2)",
        &old,
    )?;
    connection.execute(
        "DELETE FROM outcome WHERE (id, item, key) IN (SELECT id, item, key FROM outcome WHERE at < ?1 ORDER BY id LIMIT ?2)",
        &old,
    )?;
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
