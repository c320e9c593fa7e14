//! The tables of what was promised: by outcome, and in sums.

use std::collections::BTreeMap;

use super::database::{Connection, Value};
use super::fault::Outcome;
use super::feedback::Origin;
use super::promise::{PromiseSums, Promises, SettledAll, Term, to_bytes};

/// The place of sums: the version, the hour, and the origin of the labels.
type Place = (i64, i64, i64);

/// Adds changes of the sums over all answers of a version in an hour to the table.
pub(super) fn write_traffic(
    connection: &mut Connection,
    (key, bucket): (u32, i64),
    promises: &Promises,
) -> Outcome<()> {
    for (term, sums) in promises {
        let columns = [key.into(), bucket.into(), i64::from(term.code()).into()];
        let values = [columns.as_slice(), &[sums.all_samples.into(), sums.all_given.into()]].concat();
        connection.execute(ADD_TRAFFIC, &values)?;
    }
    Ok(())
}

/// Adds changes of sums to the table.
pub(super) fn write(connection: &mut Connection, (key, bucket, source): Place, promises: &Promises) -> Outcome<()> {
    for (term, sums) in promises {
        let columns = [key.into(), bucket.into(), source.into(), i64::from(term.code()).into()];
        let values = [columns.as_slice(), &[sums.samples, sums.given, sums.kept].map(Value::Int)].concat();
        connection.execute(ADD, &values)?;
    }
    Ok(())
}

/// Returns the sums of a version from an hour on.
pub(super) fn of_version(
    connection: &mut Connection,
    bounds: &[Value; 2],
    wanted: Option<Origin>,
) -> Outcome<Promises> {
    let mut promises = Promises::new();
    let is_wanted = |source: i64| wanted.is_none_or(|wanted| wanted.code() == source);
    let labelled = "SELECT source, code, samples, given, kept FROM promise WHERE key = ?1 AND bucket >= ?2";
    for row in connection.query(labelled, bounds)?.iter().filter(|row| is_wanted(row.int(0))) {
        let sums = promises.entry(Term::of_code(row.int(1) as u16)).or_default();
        sums.samples += row.int(2);
        sums.given += row.int(3);
        sums.kept += row.int(4);
    }
    let all = "SELECT code, samples, given FROM promise_traffic WHERE key = ?1 AND bucket >= ?2";
    for row in connection.query(all, bounds)? {
        let sums = promises.entry(Term::of_code(row.int(0) as u16)).or_default();
        sums.all_samples += row.int(1);
        sums.all_given += row.int(2);
    }
    // What was taken back altogether leaves zeros.
    promises.retain(|_, sums| *sums != PromiseSums::default());
    Ok(promises)
}

/// Returns the sums by cell, of labelled answers alone.
pub(super) fn by_cell(connection: &mut Connection) -> Outcome<BTreeMap<Place, Promises>> {
    let mut cells: BTreeMap<Place, Promises> = BTreeMap::new();
    for row in connection.query("SELECT key, bucket, source, code, samples, given, kept FROM promise", &[])? {
        let sums = PromiseSums { samples: row.int(4), given: row.int(5), kept: row.int(6), ..PromiseSums::default() };
        if sums != PromiseSums::default() {
            let cell = (row.int(0), row.int(1), row.int(2));
            cells.entry(cell).or_default().insert(Term::of_code(row.int(3) as u16), sums);
        }
    }
    Ok(cells)
}

/// Notes the promises of an outcome, or forgets what was noted.
pub(super) fn note(connection: &mut Connection, place: &[Value; 3], at: i64, settled: &SettledAll) -> Outcome<()> {
    let bytes = to_bytes(settled);
    if bytes.is_empty() {
        return connection.execute("DELETE FROM promised WHERE id = ?1 AND item = ?2 AND key = ?3", place).map(drop);
    }
    let values = [place.as_slice(), &[at.into(), Value::Bytes(bytes)]].concat();
    connection.execute(NOTE, &values).map(drop)
}

const ADD: &str = "INSERT INTO promise (key, bucket, source, code, samples, given, kept) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (key, bucket, source, code) DO UPDATE SET \
    samples = promise.samples + excluded.samples, given = promise.given + excluded.given, \
    kept = promise.kept + excluded.kept";

const ADD_TRAFFIC: &str = "INSERT INTO promise_traffic (key, bucket, code, samples, given) VALUES (?1, ?2, ?3, ?4, ?5) \
    ON CONFLICT (key, bucket, code) DO UPDATE SET samples = promise_traffic.samples + excluded.samples, \
    given = promise_traffic.given + excluded.given";

const NOTE: &str = "INSERT INTO promised (id, item, key, at, settled) VALUES (?1, ?2, ?3, ?4, ?5) \
    ON CONFLICT (id, item, key) DO UPDATE SET at = excluded.at, settled = excluded.settled";
