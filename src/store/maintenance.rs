//! What can be done with a database beside serving from it: check it, export it, make it smaller, bring it up to date.

mod exported;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Serialize;

use self::exported::{exported, label, outcome, time};
use super::audit;
use super::block::{self, Row};
use super::database::{Connection, Fields, Place, Value};
use super::fault::{Fault, Outcome};
use super::join::figures_of;
use super::lock::FolderLock;
use super::promise::Promises;
use super::promised;
use super::quality::{BUCKET_US, Cell, Sums, weighted_of};
use super::schema;
use super::version::{KnownVersion, of_columns};
use super::writer::FILE;
use crate::error::{Error, Result};
use crate::stats::WeightedSums;

/// The blocks, or rows, that are read together.
const PAGE: i64 = 200;

/// The problems that are told.
const MAX_PROBLEMS: usize = 50;

/// The ways in which captured inputs may be damaged.
const LOST: [(&str, &str); 3] = [
    (
        "SELECT COUNT(*) FROM captured WHERE NOT EXISTS (SELECT 1 FROM input i WHERE i.sha256 = captured.sha256)",
        "captured samples have no input",
    ),
    (
        "SELECT COUNT(*) FROM input WHERE NOT EXISTS (SELECT 1 FROM captured c WHERE c.sha256 = input.sha256)",
        "inputs are of no sample",
    ),
    ("SELECT COUNT(*) FROM input WHERE LENGTH(data) <> size", "inputs are not as long as they should be"),
];

/// A database that is looked after by hand.
pub struct Maintenance {
    connection: Connection,
    place: Place,
    _lock: Option<FolderLock>,
}

impl std::fmt::Debug for Maintenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "maintenance of {:?}", self.connection)
    }
}

/// The state of a database.
#[derive(Debug, Default, Serialize)]
pub struct Checkup {
    /// The version of its schema.
    pub schema: i64,
    /// The version that this program makes.
    pub newest_schema: i64,
    /// Versions of models that something is kept of.
    pub versions: i64,
    /// Predictions, by samples.
    pub predictions: i64,
    /// The bytes of all predictions.
    pub prediction_bytes: i64,
    /// Samples whose inputs are kept.
    pub inputs: i64,
    /// The bytes of these inputs.
    pub input_bytes: i64,
    /// Pieces of feedback, without those that wait.
    pub feedback: i64,
    /// Pieces of feedback that wait for their prediction.
    pub held: i64,
    /// Samples whose truth is known.
    pub outcomes: i64,
    /// Entries of the audit trail.
    pub audit: i64,
    /// Everything that is wrong, at most the first 50 things; empty for a database that is whole.
    pub problems: Vec<String>,
}

/// A part of a database that can be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Every sample that was asked about.
    Predictions,
    /// Every label.
    Feedback,
    /// What is true of samples, with the figures that follow.
    Outcomes,
    /// The audit trail.
    Audit,
}

impl Maintenance {
    /// Opens the database of a state folder, or behind a URL, as it is. With `alone` no server may use the folder
    /// meanwhile.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none; [`Error::Config`] when a server uses it and may not; [`Error::Conflict`] when
    /// it cannot be opened.
    pub fn open(folder: &Path, url: Option<&str>, alone: bool) -> Result<Self> {
        let place = match url {
            Some(url) => Place::Postgres(url.to_owned()),
            None => Place::Sqlite(folder.join(FILE)),
        };
        if let Place::Sqlite(path) = &place
            && !path.is_file()
        {
            return Err(Error::NotFound(format!(
                "there is no database {}: expected the state folder of a server (--state-dir), or --database with a URL",
                path.display()
            )));
        }
        let lock = if alone && url.is_none() { FolderLock::take(folder)? } else { None };
        let connection = place.connect().map_err(unusable)?;
        Ok(Self { connection, place, _lock: lock })
    }

    /// Returns the version of the schema; 0 where there are no tables.
    fn schema(&mut self) -> i64 {
        let found = self.connection.query("SELECT version FROM weir_schema", &[]);
        found.ok().and_then(|rows| rows.first().map(|row| row.int(0))).unwrap_or(0)
    }

    /// Makes or completes the tables; returns the versions of the schema before and after.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the database fails, or is of a newer program.
    pub fn migrate(&mut self) -> Result<(i64, i64)> {
        let before = self.schema();
        self.place.open().map_err(unusable)?;
        Ok((before, self.schema()))
    }

    /// Gives back what deleted rows have left; returns the bytes before and after.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the database fails, for instance because the disk has no room for a copy of it.
    pub fn vacuum(&mut self) -> Result<(u64, u64)> {
        let before = self.bytes().map_err(unusable)?;
        let done = match &self.place {
            Place::Sqlite(_) => self.connection.batch("VACUUM").and_then(|()| self.connection.checkpoint()),
            // Each by itself: the command is not allowed in a transaction.
            Place::Postgres(_) => {
                schema::NAMES.iter().try_for_each(|table| self.connection.batch(&format!("VACUUM (ANALYZE) {table}")))
            }
        };
        done.map_err(unusable)?;
        Ok((before, self.bytes().map_err(unusable)?))
    }

    fn bytes(&mut self) -> Outcome<u64> {
        let size = |path: &PathBuf| std::fs::metadata(path).map(|found| found.len()).unwrap_or(0);
        match &self.place {
            Place::Sqlite(path) => Ok(size(path) + size(&path.with_extension("db-wal"))),
            Place::Postgres(_) => {
                let sum = "SELECT CAST(SUM(pg_total_relation_size(c.oid)) AS BIGINT) FROM pg_class c \
                           WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace";
                Ok(self.connection.query(sum, &[])?.first().map_or(0, |row| row.int(0)) as u64)
            }
        }
    }

    /// Checks the file, every block of predictions, and that the live sums are those of the outcomes.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the database cannot be read at all.
    pub fn check(&mut self) -> Result<Checkup> {
        let mut found = Checkup { schema: self.schema(), newest_schema: schema::VERSION, ..Checkup::default() };
        if found.schema != schema::VERSION {
            found.problems.push(format!(
                "its schema is of version {}, and this weir makes version {}: {}",
                found.schema,
                schema::VERSION,
                if found.schema < schema::VERSION { "run weir database migrate" } else { "use a newer weir" }
            ));
            return Ok(found);
        }
        self.connection.begin_reading().map_err(unusable)?;
        let checked = self.check_all(&mut found);
        self.connection.end(checked).map_err(unusable)?;
        found.problems.truncate(MAX_PROBLEMS);
        Ok(found)
    }

    fn check_all(&mut self, found: &mut Checkup) -> Outcome<()> {
        if matches!(self.place, Place::Sqlite(_)) {
            let rows = self.connection.query("PRAGMA integrity_check(20)", &[])?;
            found.problems.extend(rows.iter().map(|row| row.text(0).to_owned()).filter(|text| text != "ok"));
        }
        let mut count = |statement: &'static str| -> Outcome<i64> {
            Ok(self.connection.query(statement, &[])?.first().map_or(0, |row| row.int(0)))
        };
        found.versions = count("SELECT COUNT(*) FROM version_key")?;
        found.feedback = count("SELECT COUNT(*) FROM feedback WHERE state <> 2")?;
        found.held = count("SELECT COUNT(*) FROM feedback WHERE state = 2")?;
        found.outcomes = count("SELECT COUNT(*) FROM outcome")?;
        found.prediction_bytes = count("SELECT CAST(SUM(LENGTH(data)) AS BIGINT) FROM prediction")?;
        let noted = count("SELECT bytes FROM prediction_bytes")?;
        if noted != found.prediction_bytes {
            let bytes = found.prediction_bytes;
            found
                .problems
                .push(format!(
                    "predictions take {bytes} bytes, and {noted} are noted, by which retention goes; a server mends that when it \
                     starts"
                ));
        }
        found.inputs = count("SELECT COUNT(*) FROM captured")?;
        found.input_bytes = count("SELECT CAST(SUM(size) AS BIGINT) FROM input")?;
        for (statement, problem) in LOST {
            let lost = count(statement)?;
            if lost > 0 {
                found.problems.push(format!("{lost} {problem}"));
            }
        }
        self.check_blocks(found)?;
        self.check_audit(found)?;
        self.check_sums(found)
    }

    fn check_blocks(&mut self, found: &mut Checkup) -> Outcome<()> {
        let keys = self.versions()?;
        let mut problems = Vec::new();
        let mut samples = 0;
        self.each_block(|number, columns, rows| {
            let Ok(rows) = rows else {
                problems.push(format!("block {number} of predictions is damaged"));
                return Ok(());
            };
            samples += rows.len() as i64;
            let (first, last) = (columns.bytes(2), columns.bytes(3));
            let is_inside = |row: &Row| first <= row.id.as_bytes().as_slice() && row.id.as_bytes().as_slice() <= last;
            if rows.len() as i64 != columns.int(4) || !rows.iter().all(is_inside) {
                problems.push(format!("block {number} of predictions does not hold what its row says"));
            }
            if let Some(row) = rows.iter().find(|row| !keys.contains_key(&i64::from(row.key))) {
                problems.push(format!("block {number} names a version that is not known (key {})", row.key));
            }
            Ok(())
        })?;
        found.predictions = samples;
        found.problems.append(&mut problems);
        Ok(())
    }

    /// Adds all outcomes up once more and compares the sums with those that are kept.
    fn check_sums(&mut self, found: &mut Checkup) -> Outcome<()> {
        let mut sums: BTreeMap<Cell, Sums> = BTreeMap::new();
        self.each_outcome(|row| {
            let (figures, source, delay) = figures_of(row, 13);
            let cell = (row.int(9), row.int(10).div_euclid(BUCKET_US), source);
            sums.entry(cell).or_default().add(&figures, delay, 1);
            Ok(())
        })?;
        let kept = self.connection.query(
            "SELECT key, bucket, source, samples, judged, correct, scored, loss_nano, brier_nano, valued, error, \
             absolute, square_high, square_low, delay_us FROM quality ORDER BY bucket",
            &[],
        )?;
        let mut weighted = self.weighted()?;
        // Retention removes outcomes one by one and sums by the hour: of the oldest hour a part may be gone, and outcomes
        // of an hour before all sums go with the next sweep.
        let oldest = sums.keys().map(|cell| cell.1).min().unwrap_or(i64::MAX);
        let oldest_sums = kept.first().map_or(i64::MAX, |row| row.int(1));
        let promises = promised::by_cell(&mut self.connection)?;
        for row in &kept {
            let cell: Cell = (row.int(0), row.int(1), row.int(2));
            let sum = sums.remove(&cell).unwrap_or_default();
            let square = (i128::from(row.int(12)) << 40) + i128::from(row.int(13));
            let is = [sum.samples, sum.judged, sum.correct, sum.scored, sum.loss_nano, sum.brier_nano, sum.valued];
            let is_equal = is.iter().zip(3..).all(|(number, column)| *number == row.int(column))
                && (sum.error, sum.absolute, sum.square, sum.delay_us)
                    == (row.int(10), row.int(11), square, row.int(14))
                && promises.get(&cell).unwrap_or(&Promises::new()) == &sum.promises
                && sum.weighted == weighted.remove(&cell).unwrap_or_default();
            let is_thinned = cell.1 <= oldest && row.int(3) > sum.samples;
            if !is_equal && !is_thinned {
                found.problems.push(format!(
                    "the live sums of version key {} in the hour {} are not those of its {} outcomes",
                    cell.0,
                    hour(cell.1),
                    sum.samples
                ));
            }
        }
        for (cell, sum) in sums.into_iter().filter(|(cell, _)| cell.1 >= oldest_sums) {
            let hour = hour(cell.1);
            found
                .problems
                .push(format!("{} outcomes of version key {} in the hour {hour} have no sums", sum.samples, cell.0));
        }
        Ok(())
    }

    /// Returns the sums of samples that were chosen with a known probability.
    fn weighted(&mut self) -> Outcome<BTreeMap<Cell, WeightedSums>> {
        let rows = self.connection.query(
            "SELECT source, judged, weight, correct, square_high, square_low, correct_square_high, correct_square_low, \
             scored, loss_high, loss_low, key, bucket FROM weighted",
            &[],
        )?;
        Ok(rows.iter().map(|row| ((row.int(11), row.int(12), row.int(0)), weighted_of(row))).collect())
    }

    /// Writes a part, one JSON object on each line, oldest first; returns the number of lines.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the database fails or its schema is old; that of `write`.
    pub fn export(
        &mut self,
        part: Part,
        model: Option<&str>,
        write: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<u64> {
        let schema = self.schema();
        if schema != schema::VERSION {
            return Err(unusable(Fault::Unusable(format!(
                "its schema is of version {schema}, expected {}: run weir database migrate",
                schema::VERSION
            ))));
        }
        let versions = self.versions().map_err(unusable)?;
        let (mut lines, mut failed) = (0, None);
        let mut line = |version: Option<&KnownVersion>, text: serde_json::Result<String>| -> Outcome<()> {
            let is_about_models = part != Part::Audit;
            if is_about_models && model.is_some_and(|model| version.is_none_or(|version| version.model != model)) {
                return Ok(());
            }
            let text = text.map_err(|error| Fault::Unusable(error.to_string()))?;
            lines += 1;
            write(&text).map_err(|error| {
                failed = Some(error);
                Fault::Unusable("it cannot be written out".into())
            })
        };
        let done = match part {
            Part::Predictions => self.each_block(|_, _, rows| {
                for row in rows? {
                    let Some(version) = versions.get(&i64::from(row.key)) else { continue };
                    line(Some(version), serde_json::to_string(&exported(&row, version)))?;
                }
                Ok(())
            }),
            Part::Feedback => self.each_label(|row| {
                let key = row.maybe_int(9);
                line(key.and_then(|key| versions.get(&key)), serde_json::to_string(&label(row)))
            }),
            Part::Outcomes => self.each_outcome(|row| {
                let version = versions.get(&row.int(9));
                line(version, serde_json::to_string(&outcome(row, version)))
            }),
            Part::Audit => self.each_entry(|row| line(None, Ok(row.text(1).to_owned()))),
        };
        match (done, failed) {
            (_, Some(error)) => Err(error),
            (Err(fault), None) => Err(unusable(fault)),
            (Ok(()), None) => Ok(lines),
        }
    }

    /// Checks that each entry of the audit trail follows the one before it, unaltered.
    fn check_audit(&mut self, found: &mut Checkup) -> Outcome<()> {
        let (mut before, mut entries, mut broken) = (None::<Vec<u8>>, 0, Vec::new());
        self.each_entry(|row| {
            let is_linked = audit::link(row.bytes(2), row.text(1)) == row.bytes(3)
                && before.as_ref().is_none_or(|before| before.as_slice() == row.bytes(2));
            if !is_linked {
                broken
                    .push(format!("entry {} of the audit trail was altered, or one before it was removed", row.int(0)));
            }
            before = Some(row.bytes(3).to_vec());
            entries += 1;
            Ok(())
        })?;
        found.audit = entries;
        found.problems.append(&mut broken);
        Ok(())
    }

    /// Calls a function with the number, the entry, the previous and the own hash of each row of the audit trail.
    fn each_entry(&mut self, mut each: impl FnMut(&Fields) -> Outcome<()>) -> Outcome<()> {
        let mut after = 0;
        loop {
            let found = self.connection.query(
                "SELECT seq, entry, previous, hash FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2",
                &[after.into(), PAGE.into()],
            )?;
            found.iter().try_for_each(&mut each)?;
            let Some(last) = found.last().filter(|_| found.len() == PAGE as usize) else { return Ok(()) };
            after = last.int(0);
        }
    }

    fn versions(&mut self) -> Outcome<HashMap<i64, KnownVersion>> {
        let rows =
            self.connection.query("SELECT key, model, version, digest, labels, answers FROM version_key", &[])?;
        let known = |row: &Fields| of_columns(row.text(1), row.int(2) as u64, row.bytes(3), row.text(4), row.int(5));
        Ok(rows.iter().map(|row| (row.int(0), known(row))).collect())
    }

    /// Calls a function with the number, the columns and the rows of each block.
    fn each_block(&mut self, mut each: impl FnMut(i64, &Fields, Result<Vec<Row>>) -> Outcome<()>) -> Outcome<()> {
        let mut after = 0;
        loop {
            let found = self.connection.query(
                "SELECT block, data, first_id, last_id, samples FROM prediction WHERE block > ?1 ORDER BY block LIMIT ?2",
                &[after.into(), PAGE.into()],
            )?;
            for columns in &found {
                after = columns.int(0);
                each(after, columns, block::read(columns.bytes(1)))?;
            }
            if found.len() < PAGE as usize {
                return Ok(());
            }
        }
    }

    /// Calls a function with the columns of each outcome: its figures, its version's key, its time and its place.
    fn each_outcome(&mut self, mut each: impl FnMut(&Fields) -> Outcome<()>) -> Outcome<()> {
        let mut after: [Value; 3] = [Value::Bytes(Vec::new()), (-1i64).into(), (-1i64).into()];
        loop {
            let values = [after.as_slice(), &[PAGE.into()]].concat();
            let found = self.connection.query(
                "SELECT source, delay_us, truth, predicted, correct, confidence_nano, loss_nano, brier_nano, error, \
                 key, at, id, item, \
                 (SELECT settled FROM promised p WHERE p.id = outcome.id AND p.item = outcome.item \
                 AND p.key = outcome.key), inclusion_ppb FROM outcome WHERE (id, item, key) > (?1, ?2, ?3) \
                 ORDER BY id, item, key LIMIT ?4",
                &values,
            )?;
            found.iter().try_for_each(&mut each)?;
            let Some(last) = found.last().filter(|_| found.len() == PAGE as usize) else { return Ok(()) };
            after = [Value::Bytes(last.bytes(11).to_vec()), last.int(12).into(), last.int(9).into()];
        }
    }

    /// Calls a function with the columns of each label, and the key of the version it is about.
    fn each_label(&mut self, mut each: impl FnMut(&Fields) -> Outcome<()>) -> Outcome<()> {
        let mut after = 0;
        loop {
            let found = self.connection.query(
                "SELECT f.seq, f.target, f.item, f.content, f.source, f.annotator, f.labelled_at, f.received, f.state, \
                 (SELECT MIN(o.key) FROM outcome o WHERE o.id = f.id AND o.item = f.item), f.inclusion_ppb \
                 FROM feedback f WHERE f.seq > ?1 ORDER BY f.seq LIMIT ?2",
                &[after.into(), PAGE.into()],
            )?;
            found.iter().try_for_each(&mut each)?;
            let Some(last) = found.last().filter(|_| found.len() == PAGE as usize) else { return Ok(()) };
            after = last.int(0);
        }
    }
}

fn unusable(fault: Fault) -> Error {
    match fault {
        Fault::Unusable(problem) => Error::Conflict(format!("the database cannot be used: {problem}")),
        fault => Error::Conflict(format!("the database cannot be used: {fault}")),
    }
}

fn hour(bucket: i64) -> String {
    time(bucket.saturating_mul(BUCKET_US))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::AuditEntry;
    use crate::store::block::Block;
    use crate::store::block::Kept;
    use crate::store::quality::Changes;
    use crate::store::truth::Figures;

    const NOW: i64 = 1_800_000_000_000_000;

    /// A database with one prediction, one label's outcome with its sums, and two entries of the audit trail.
    fn filled(folder: &Path) -> Connection {
        let mut connection = Place::Sqlite(folder.join(FILE)).open().unwrap();
        let version = of_columns("m", 1, &[7; 32], "[\"a\",\"b\"]", 1);
        crate::store::version::insert(&mut connection, &version).unwrap();
        let id = uuid::Uuid::now_v7();
        let block = Block::of(&[Row { key: 1, ..Row::new(id, 0, NOW, Kept::Value(1f32.into())) }]);
        let values =
            [block.first.into(), block.last.into(), NOW.into(), NOW.into(), 1i64.into(), Value::Bytes(block.data)];
        let insert = "INSERT INTO prediction (first_id, last_id, first_at, last_at, samples, data) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        connection.execute(insert, &values).unwrap();
        connection.batch("UPDATE prediction_bytes SET bytes = (SELECT SUM(LENGTH(data)) FROM prediction)").unwrap();
        let figures = Figures { truth: Some(1), predicted: Some(1), correct: Some(true), ..Figures::default() };
        let values = [id.into(), NOW.into()];
        let insert = "INSERT INTO outcome (id, item, key, at, seq, source, truth, predicted, correct, delay_us) \
                      VALUES (?1, 0, 1, ?2, 1, 1, 1, 1, 1, 5)";
        connection.execute(insert, &values).unwrap();
        let mut changes = Changes::default();
        changes.at((1, NOW.div_euclid(BUCKET_US), 1)).add(&figures, 5, 1);
        changes.write(&mut connection).unwrap();
        for number in 0..2 {
            let entry = AuditEntry {
                time: "2026-01-01T00:00:00Z".into(),
                request_id: number.to_string(),
                by: None,
                action: "load".into(),
                model: "m".into(),
                version: None,
                alias: None,
                alarm: None,
                outcome: "done".into(),
            };
            audit::append(&mut connection, &entry).unwrap();
        }
        connection
    }

    #[test]
    fn what_was_altered_is_found() {
        let check = |harm: &str| {
            let folder = tempfile::TempDir::new().unwrap();
            filled(folder.path()).batch(harm).unwrap();
            Maintenance::open(folder.path(), None, true).unwrap().check().unwrap().problems.join("\n")
        };
        assert_eq!(check(""), "");
        for (harm, hint) in [
            ("UPDATE quality SET correct = correct - 1", "live sums"),
            ("UPDATE quality SET delay_us = 6", "live sums"),
            ("UPDATE quality SET samples = 0", "live sums"),
            ("INSERT INTO weighted VALUES (1, 500000, 1, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0)", "live sums"),
            ("UPDATE audit SET entry = '{}' WHERE seq = 1", "entry 1 of the audit trail"),
            ("UPDATE audit SET previous = hash WHERE seq = 2", "entry 2 of the audit trail"),
            ("UPDATE prediction SET data = substr(data, 1, length(data) - 1)", "block 1 of predictions is damaged"),
            ("UPDATE prediction SET samples = 2", "does not hold what its row says"),
            ("UPDATE prediction_bytes SET bytes = bytes - 1", "by which retention goes"),
            ("DELETE FROM version_key", "a version that is not known"),
            ("INSERT INTO input VALUES (x'01', 2, x'02')", "inputs are of no sample"),
            ("INSERT INTO input VALUES (x'01', 2, x'02')", "not as long"),
            ("INSERT INTO captured VALUES (x'01', 0, 1, 0, x'02', 1000, x'')", "have no input"),
            ("UPDATE weir_schema SET version = 1", "run weir database migrate"),
        ] {
            let problems = check(harm);
            assert!(problems.contains(hint), "{harm}: {problems}");
        }
    }
}
