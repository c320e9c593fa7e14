//! Retention: everything goes by its age, predictions by their bytes too. Little is removed at a time, so that it holds
//! nobody up and a clock that jumps costs little.

use std::time::Duration;

use super::database::{Connection, Fields, Value};
use super::fault::Outcome;
use super::input::{self, Held};
use super::join::HOLD_US;
use super::quality::BUCKET_US;
use super::settings::StoreSettings;

/// The fewest blocks that one look may remove because of their age, and the most, as of those that take too much; a block
/// holds up to 512 samples.
const MIN_BLOCKS: i64 = 20;
const MAX_BLOCKS: i64 = 1000;

/// The most rows of other tables that one sweep removes of each.
const MAX_ROWS: i64 = 5000;

/// What a sweep found and did.
#[derive(Debug, Default)]
pub(super) struct Swept {
    /// When the oldest prediction was made, in microseconds since 1970; 0 without predictions.
    pub(super) oldest_us: i64,
    /// Feedback that waits.
    pub(super) held: i64,
    /// Feedback that waited for too long.
    pub(super) expired: u64,
    pub(super) has_removed_sums: bool,
    /// True if a table may have more rows that are too old than one sweep removes.
    pub(super) was_full: bool,
    /// Captured inputs.
    pub(super) inputs: Held,
}

fn ago(now: i64, age: Duration) -> i64 {
    now.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX))
}

/// Returns the bytes of all predictions.
pub(super) fn prediction_bytes(connection: &mut Connection) -> Outcome<i64> {
    let found = connection.query("SELECT bytes FROM prediction_bytes", &[])?;
    Ok(found.first().map_or(0, |row| row.int(0)))
}

/// Counts the bytes of all predictions anew, inside a transaction: whatever wrote them without noting it is mended.
pub(super) fn recount_bytes(connection: &mut Connection) -> Outcome<()> {
    let counted = "UPDATE prediction_bytes SET bytes = \
                   (SELECT CAST(COALESCE(SUM(LENGTH(data)), 0) AS BIGINT) FROM prediction)";
    connection.execute(counted, &[]).map(drop)
}

/// Notes that predictions take so many bytes more, inside the transaction that writes or removes them.
pub(super) fn note_bytes(connection: &mut Connection, more: i64) -> Outcome<()> {
    connection.execute("UPDATE prediction_bytes SET bytes = bytes + ?1", &[more.into()]).map(drop)
}

/// Returns true if there are predictions that are too old, or if they take too much.
pub(super) fn is_trim_due(connection: &mut Connection, settings: &StoreSettings, now: i64) -> Outcome<bool> {
    let oldest = connection.query("SELECT MIN(last_at) FROM prediction", &[])?;
    let oldest = oldest.first().and_then(|row| row.maybe_int(0));
    let too_old = ago(now, settings.keep_predictions);
    Ok(oldest.is_some_and(|oldest| oldest < too_old) || excess(connection, settings)? > 0)
}

/// Returns by how many bytes predictions exceed their limit.
fn excess(connection: &mut Connection, settings: &StoreSettings) -> Outcome<i64> {
    Ok(prediction_bytes(connection)? - i64::try_from(settings.keep_bytes).unwrap_or(i64::MAX))
}

/// Removes blocks of predictions that are too old, by their age, and then those that take too much, in the order in which
/// they were written. `written` blocks have come since the last look: twice as many may go because of their age. So removing
/// keeps up with any traffic, a clock that jumps costs no more than that, and a block that is dated ahead holds up none.
pub(super) fn trim(connection: &mut Connection, settings: &StoreSettings, now: i64, written: i64) -> Outcome<()> {
    let aged = written.saturating_mul(2).clamp(MIN_BLOCKS, MAX_BLOCKS);
    let too_old = ago(now, settings.keep_predictions);
    let old = connection.query(
        "SELECT block, LENGTH(data) FROM prediction WHERE last_at < ?1 ORDER BY last_at LIMIT ?2",
        &[too_old.into(), aged.into()],
    )?;
    let mut freed = remove_blocks(connection, &old, i64::MAX)?;
    let excess = excess(connection, settings)? - freed;
    if excess > 0 {
        let first = connection
            .query("SELECT block, LENGTH(data) FROM prediction ORDER BY block LIMIT ?1", &[MAX_BLOCKS.into()])?;
        freed += remove_blocks(connection, &first, excess)?;
    }
    note_bytes(connection, -freed)
}

/// Removes the first of these blocks, until so many bytes are free, and returns how many are.
fn remove_blocks(connection: &mut Connection, blocks: &[Fields], enough: i64) -> Outcome<i64> {
    let mut freed = 0;
    for block in blocks {
        if freed >= enough {
            break;
        }
        connection.execute("DELETE FROM prediction WHERE block = ?1", &[block.int(0).into()])?;
        freed += block.int(1);
    }
    Ok(freed)
}

/// Removes what is too old, or too much, of everything but predictions. Only the oldest rows of each table are looked at,
/// so that a sweep takes the same time however many there are; whether there may be more of them is said. Sums of whole hours go where `has_new_hour`.
pub(super) fn sweep(
    connection: &mut Connection,
    settings: &StoreSettings,
    now: i64,
    has_new_hour: bool,
) -> Outcome<Swept> {
    let labels = ago(now, settings.keep_feedback);
    let oldest = connection.query("SELECT MIN(first_at) FROM prediction", &[])?;
    let oldest_us = oldest.first().and_then(|row| row.maybe_int(0)).unwrap_or(0);
    // An identifier is of use only while its prediction is there, or a captured input of it.
    let limit = Value::from(MAX_ROWS);
    let captured = connection.query("SELECT MIN(at) FROM captured", &[])?;
    let captured = captured.first().and_then(|row| row.maybe_int(0)).unwrap_or(i64::MAX);
    let first = if oldest_us > 0 { oldest_us } else { ago(now, settings.keep_predictions) };
    let mut most = connection.execute(
        "DELETE FROM client_id WHERE (client, id) IN (SELECT client, id FROM client_id WHERE at < ?1 ORDER BY at LIMIT ?2)",
        &[first.min(captured).into(), limit.clone()],
    )?;
    let expired = connection.execute(
        "DELETE FROM feedback WHERE seq IN \
         (SELECT seq FROM feedback WHERE state = 2 AND received < ?1 ORDER BY seq LIMIT ?2)",
        &[(now - HOLD_US).into(), limit.clone()],
    )?;
    let held = connection.query("SELECT COUNT(*) FROM feedback WHERE state = 2", &[])?;
    most = most.max(expired);
    let old = [labels.into(), limit];
    for statement in [
        "DELETE FROM feedback WHERE seq IN (SELECT seq FROM \
         (SELECT seq, received FROM feedback ORDER BY seq LIMIT ?2) AS oldest WHERE received < ?1)",
        "DELETE FROM outcome WHERE (id, item, key) IN (SELECT id, item, key FROM \
         (SELECT id, item, key, at FROM outcome ORDER BY id LIMIT ?2) AS oldest WHERE at < ?1)",
        "DELETE FROM promised WHERE (id, item, key) IN (SELECT id, item, key FROM \
         (SELECT id, item, key, at FROM promised ORDER BY id LIMIT ?2) AS oldest WHERE at < ?1)",
        "DELETE FROM erased WHERE digest IN (SELECT digest FROM erased WHERE at < ?1 ORDER BY at LIMIT ?2)",
        "DELETE FROM audit WHERE seq IN (SELECT seq FROM \
         (SELECT seq, at FROM audit ORDER BY seq LIMIT ?2) AS oldest WHERE at < ?1)",
    ] {
        most = most.max(connection.execute(statement, &old)?);
    }
    let removed = if has_new_hour { remove_sums(connection, labels.div_euclid(BUCKET_US))? } else { 0 };
    let held = held.first().map_or(0, |row| row.int(0));
    let inputs = input::sweep(connection, &settings.inputs, now)?;
    Ok(Swept { oldest_us, held, expired, has_removed_sums: removed > 0, was_full: most >= MAX_ROWS as u64, inputs })
}

/// Removes the sums of hours before this one, and returns how many rows they were.
fn remove_sums(connection: &mut Connection, bucket: i64) -> Outcome<u64> {
    let bucket: [Value; 1] = [bucket.into()];
    let mut removed = 0;
    for statement in [
        "DELETE FROM quality WHERE bucket < ?1",
        "DELETE FROM confusion WHERE bucket < ?1",
        "DELETE FROM calibration WHERE bucket < ?1",
        "DELETE FROM promise WHERE bucket < ?1",
        "DELETE FROM promise_traffic WHERE bucket < ?1",
        "DELETE FROM weighted WHERE bucket < ?1",
        "DELETE FROM traffic WHERE bucket < ?1",
    ] {
        removed += connection.execute(statement, &bucket)?;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::InputLimits;
    use crate::store::database::Place;
    use crate::store::fault::Fault;
    use crate::store::sampling::KeptShare;

    const DAY_US: i64 = 24 * BUCKET_US;
    const NOW: i64 = 20_000 * DAY_US;

    fn settings(folder: &std::path::Path) -> StoreSettings {
        StoreSettings {
            folder: folder.to_owned(),
            database: None,
            keep_predictions: Duration::from_secs(14 * 86_400),
            keep_share: KeptShare::ALL,
            keep_bytes: 1 << 20,
            keep_feedback: Duration::from_secs(400 * 86_400),
            inputs: InputLimits::default(),
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
        note_bytes(connection, bytes as i64).unwrap();
    }

    /// Returns the bytes of predictions, which must be those that are noted.
    fn bytes(connection: &mut Connection) -> i64 {
        let found = connection.query("SELECT SUM(LENGTH(data)) FROM prediction", &[]).unwrap();
        assert_eq!(prediction_bytes(connection).unwrap(), found[0].int(0));
        found[0].int(0)
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
        let trimmed = |connection: &mut Connection| {
            assert!(is_trim_due(connection, &settings, NOW).unwrap());
            trim(connection, &settings, NOW, 0).unwrap();
            assert!(!is_trim_due(connection, &settings, NOW).unwrap());
            let swept = sweep(connection, &settings, NOW, true).unwrap();
            (swept.oldest_us, bytes(connection), swept.expired, swept.held)
        };
        assert_eq!(trimmed(&mut connection), (NOW - 13 * DAY_US, 2000, 1, 1));
        // More than there is room for: the oldest go, and no more than must.
        keep(&mut connection, NOW, 1 << 20);
        assert_eq!(trimmed(&mut connection), (NOW, 1 << 20, 0, 1));
        keep(&mut connection, NOW, 1);
        assert_eq!(trimmed(&mut connection), (NOW, 1, 0, 1));
    }

    /// Whoever asked can erase a captured input by their own identifier for as long as it is kept.
    #[test]
    fn an_identifier_stays_as_long_as_a_captured_input() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut settings = settings(folder.path());
        settings.inputs.keep = Duration::from_secs(30 * 86_400);
        let mut connection = Place::Sqlite(folder.path().join("weir.db")).open().unwrap();
        keep(&mut connection, NOW, 1000);
        for age in [25, 20, 15] {
            let id = Value::from(uuid::Uuid::from_u128(age as u128));
            connection
                .execute(
                    "INSERT INTO client_id (client, id, at) VALUES ('mine', ?1, ?2)",
                    &[id, (NOW - age * DAY_US).into()],
                )
                .unwrap();
        }
        let id = Value::from(uuid::Uuid::from_u128(20));
        connection
            .execute("INSERT INTO input (sha256, size, data) VALUES (?1, 1, ?1)", &[Value::Bytes(vec![1])])
            .unwrap();
        connection
            .execute(
                "INSERT INTO captured (id, item, key, at, sha256, inclusion_ppb, data) VALUES (?1, 0, 1, ?2, ?3, 1, ?3)",
                &[id, (NOW - 20 * DAY_US).into(), Value::Bytes(vec![1])],
            )
            .unwrap();
        let left =
            |connection: &mut Connection| connection.query("SELECT COUNT(*) FROM client_id", &[]).unwrap()[0].int(0);
        sweep(&mut connection, &settings, NOW, true).unwrap();
        assert_eq!(left(&mut connection), 2);
        connection.batch("DELETE FROM captured").unwrap();
        sweep(&mut connection, &settings, NOW, true).unwrap();
        assert_eq!(left(&mut connection), 0);
    }

    /// Writes blocks second by second and removes what is due, as the writer does; returns the most bytes of predictions
    /// after any second, and the size of the file at the end.
    fn seconds(count: i64, blocks: i64, block: usize, settings: &StoreSettings) -> (i64, u64) {
        let place = settings.folder.join("weir.db");
        let mut connection = Place::Sqlite(place.clone()).open().unwrap();
        let (second, mut most) = (BUCKET_US / 3600, 0);
        for number in 0..count {
            let now = NOW + number * second;
            connection.begin().unwrap();
            (0..blocks).for_each(|block_number| keep(&mut connection, now + block_number, block));
            connection.end(Ok(())).unwrap();
            if is_trim_due(&mut connection, settings, now).unwrap() {
                connection.begin().unwrap();
                let trimmed = trim(&mut connection, settings, now, blocks);
                connection.end(trimmed).unwrap();
            }
            if number % 60 == 0 {
                connection.begin().unwrap();
                let swept = sweep(&mut connection, settings, now, number % 3600 == 0);
                connection.end(swept).unwrap();
                connection.give_back().unwrap();
            }
            most = most.max(prediction_bytes(&mut connection).unwrap());
        }
        assert_eq!(bytes(&mut connection), prediction_bytes(&mut connection).unwrap());
        connection.checkpoint().unwrap();
        (most, std::fs::metadata(&place).unwrap().len())
    }

    /// At 41,000 samples a second eighty full blocks come each second: removing keeps up from the first second on.
    #[test]
    fn full_load_stays_within_the_limit() {
        let folder = tempfile::TempDir::new().unwrap();
        let settings = settings(folder.path());
        let (most, file) = seconds(300, 80, 2000, &settings);
        assert!(most <= 1 << 20, "{most}");
        assert!(file < 4 << 20, "{file}");
    }

    /// Where age is the limit, as many blocks are there as it allows, and a second's more.
    #[test]
    fn an_age_is_kept_to_at_any_rate() {
        let folder = tempfile::TempDir::new().unwrap();
        for (place, blocks) in [1, 22, 80].into_iter().enumerate() {
            let folder = folder.path().join(place.to_string());
            let keep = Duration::from_secs(60);
            let settings = StoreSettings { keep_predictions: keep, keep_bytes: u64::MAX, ..settings(&folder) };
            let (most, _) = seconds(200, blocks, 100, &settings);
            assert!(most <= 62 * blocks * 100, "{blocks} blocks a second: {most} bytes");
        }
    }

    /// A tenth of a week of a hundred predictions a second, which the writer is handed twenty times a second. Blocks are a
    /// tenth of their size, and the limit is a hundredth: 2 GiB would hold 1.7 days of seven, and 20 MiB hold 0.17 of 0.7.
    #[test]
    #[ignore = "takes some minutes; run by hand"]
    fn many_seconds_of_a_week_stay_within_the_limit() {
        let folder = tempfile::TempDir::new().unwrap();
        let settings = StoreSettings { keep_bytes: 20 << 20, ..settings(folder.path()) };
        let (most, file) = seconds(7 * 8_640, 20, 75, &settings);
        assert!((19 << 20..=20 << 20).contains(&most), "{most}");
        // Blocks so small have more beside their data than in it.
        assert!(file < 4 * (20 << 20), "{file}");
    }

    #[test]
    fn a_clock_that_jumps_costs_no_more_than_a_few_blocks() {
        let folder = tempfile::TempDir::new().unwrap();
        let settings = settings(folder.path());
        let mut connection = Place::Sqlite(folder.path().join("weir.db")).open().unwrap();
        connection.begin().unwrap();
        (0..500).for_each(|number| keep(&mut connection, NOW + number, 1));
        connection.end(Ok(())).unwrap();
        trim(&mut connection, &settings, NOW + 30 * DAY_US, 0).unwrap();
        assert_eq!(bytes(&mut connection), 500 - MIN_BLOCKS);
        trim(&mut connection, &settings, NOW + 30 * DAY_US, 50).unwrap();
        assert_eq!(bytes(&mut connection), 500 - MIN_BLOCKS - 100);
    }

    /// Blocks that a clock gone wrong has dated ahead go in their time; the oldest prediction is that of the oldest block.
    #[test]
    fn blocks_that_are_dated_ahead_hold_up_nothing_behind_them() {
        let folder = tempfile::TempDir::new().unwrap();
        let settings = settings(folder.path());
        let mut connection = Place::Sqlite(folder.path().join("weir.db")).open().unwrap();
        (0..30).for_each(|number| keep(&mut connection, NOW + 400 * DAY_US + number, 1));
        (0..50).for_each(|number| keep(&mut connection, NOW - 20 * DAY_US + number, 1));
        keep(&mut connection, NOW - DAY_US, 1);
        for _ in 0..3 {
            assert!(is_trim_due(&mut connection, &settings, NOW).unwrap());
            trim(&mut connection, &settings, NOW, 0).unwrap();
        }
        assert!(!is_trim_due(&mut connection, &settings, NOW).unwrap());
        assert_eq!(bytes(&mut connection), 31);
        assert_eq!(sweep(&mut connection, &settings, NOW, true).unwrap().oldest_us, NOW - DAY_US);
    }

    #[test]
    fn bytes_that_were_not_noted_are_counted_anew() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut connection = Place::Sqlite(folder.path().join("weir.db")).open().unwrap();
        keep(&mut connection, NOW, 9);
        note_bytes(&mut connection, 1 << 40).unwrap();
        recount_bytes(&mut connection).unwrap();
        assert_eq!((bytes(&mut connection), prediction_bytes(&mut connection).unwrap()), (9, 9));
        connection.batch("DELETE FROM prediction").unwrap();
        recount_bytes(&mut connection).unwrap();
        assert_eq!(prediction_bytes(&mut connection).unwrap(), 0);
    }

    /// Two hundred identifiers a second are too many for a sweep a minute: one that was full is repeated at the next tick.
    #[test]
    fn identifiers_go_at_the_rate_at_which_they_come() {
        let folder = tempfile::TempDir::new().unwrap();
        let settings = settings(folder.path());
        let mut connection = Place::Sqlite(folder.path().join("weir.db")).open().unwrap();
        let (second, rate, mut next, mut most) = (BUCKET_US / 3600, 200, 0, 0);
        for number in 0..200 {
            connection.begin().unwrap();
            for place in 0..rate {
                let id = Value::from(uuid::Uuid::from_u128((number * rate + place) as u128));
                let at = NOW - 30 * DAY_US + number * second;
                connection
                    .execute("INSERT INTO client_id (client, id, at) VALUES ('mine', ?1, ?2)", &[id, at.into()])
                    .unwrap();
            }
            if number >= next {
                let swept = sweep(&mut connection, &settings, NOW, false).unwrap();
                next = if swept.was_full { number + 1 } else { number + 60 };
            }
            connection.end(Ok(())).unwrap();
            most = most.max(connection.query("SELECT COUNT(*) FROM client_id", &[]).unwrap()[0].int(0));
        }
        assert!(most <= 61 * rate, "{most}");
    }

    /// Labels and what follows from them go by their age, however many younger ones there are.
    #[test]
    fn old_rows_of_every_table_go() {
        let folder = tempfile::TempDir::new().unwrap();
        let settings = settings(folder.path());
        let mut connection = Place::Sqlite(folder.path().join("weir.db")).open().unwrap();
        for (number, age) in [500, 401, 399].into_iter().enumerate() {
            let at = NOW - age * DAY_US;
            let (bucket, number) = (at.div_euclid(BUCKET_US), number as i64);
            let statements = [
                format!(
                    "INSERT INTO feedback VALUES ({number}, x'0{number}', 'x', NULL, 0, NULL, '', 1, '', NULL, {at}, 0, NULL)"
                ),
                format!(
                    "INSERT INTO outcome (id, item, key, at, seq, source, delay_us) VALUES (x'0{number}', 0, 1, {at}, 1, 1, 1)"
                ),
                format!("INSERT INTO promised VALUES (x'0{number}', 0, 1, {at}, x'')"),
                format!("INSERT INTO erased VALUES (x'0{number}', {at})"),
                format!("INSERT INTO audit VALUES ({number}, x'0{number}', {at}, '', x'', x'')"),
                format!("INSERT INTO traffic VALUES (1, {bucket}, 1, 1)"),
                format!("INSERT INTO confusion VALUES (1, {bucket}, 1, 1, 1, 1)"),
            ];
            statements.iter().for_each(|statement| connection.batch(statement).unwrap());
        }
        let mut left = |has_new_hour: bool| {
            sweep(&mut connection, &settings, NOW, has_new_hour).unwrap();
            let count = |table: &&str| {
                let statement = String::leak(format!("SELECT COUNT(*) FROM {table}"));
                connection.query(statement, &[]).unwrap()[0].int(0)
            };
            ["feedback", "outcome", "promised", "erased", "audit", "traffic", "confusion"].iter().map(count).collect()
        };
        let (same_hour, new_hour): (Vec<i64>, Vec<i64>) = (left(false), left(true));
        assert_eq!(same_hour, [1, 1, 1, 1, 1, 3, 3]);
        assert_eq!(new_hour, [1; 7]);
    }

    #[test]
    fn a_database_of_the_former_schema_gets_what_it_lacks() {
        let folder = tempfile::TempDir::new().unwrap();
        let place = Place::Sqlite(folder.path().join("weir.db"));
        let mut connection = place.open().unwrap();
        hold(&mut connection, NOW);
        keep(&mut connection, NOW, 7);
        connection
            .batch(
                "ALTER TABLE feedback DROP COLUMN inclusion_ppb; ALTER TABLE outcome DROP COLUMN inclusion_ppb; \
                 DROP TABLE weighted; DROP TABLE captured; DROP TABLE input; DROP TABLE promised; DROP TABLE promise; \
                 DROP TABLE promise_traffic; DROP TABLE prediction_bytes; UPDATE weir_schema SET version = 2",
            )
            .unwrap();
        drop(connection);
        for _ in 0..2 {
            let mut connection = place.open().unwrap();
            let found = connection.query("SELECT received, inclusion_ppb FROM feedback", &[]).unwrap();
            assert_eq!((found[0].int(0), found[0].maybe_int(1), bytes(&mut connection)), (NOW, None, 7));
            connection
                .batch(
                    "UPDATE outcome SET inclusion_ppb = 1; DELETE FROM captured; DELETE FROM weighted; \
                     DELETE FROM promised; DELETE FROM promise; DELETE FROM promise_traffic",
                )
                .unwrap();
        }
    }

    #[test]
    fn a_database_of_a_newer_weir_is_left_alone() {
        let folder = tempfile::TempDir::new().unwrap();
        let place = Place::Sqlite(folder.path().join("weir.db"));
        place.open().unwrap().batch("UPDATE weir_schema SET version = 99").unwrap();
        assert!(matches!(place.open(), Err(Fault::Unusable(problem)) if problem.contains("99")));
    }
}
