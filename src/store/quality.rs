//! Sums over answers whose truth is known. All are integers: they are exact in any order, and taking back gives 0.

use std::collections::{BTreeMap, HashMap};

use super::database::{Connection, Fields, Value};
use super::fault::Outcome;
use super::feedback::Origin;
use super::promise::{self, Promises};
use super::promised;
use super::truth::{ERROR_STEPS, Figures};
use super::version::{Answers, KnownVersion};
use crate::stats::{BinSums, CALIBRATION_BINS, Inclusion, WeightedSums, calibration_bin};

/// The greatest number of classes whose confusion is counted.
pub(super) const MAX_CONFUSED: i64 = 32;

/// The microseconds of a bucket: an hour.
pub(super) const BUCKET_US: i64 = 3_600_000_000;

/// Counts by true and predicted class.
pub type Confusion = BTreeMap<(u32, u32), i64>;

/// The part of a version's figures that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// The newest labels, this many.
    Labels(u32),
    /// The predictions of this hour and so many hours before.
    Hours(u32),
    /// Everything that is kept.
    All,
}

/// A question for figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QualityQuery {
    /// The model.
    pub model: String,
    /// One version of it, or all that predictions are kept of.
    pub version: Option<u64>,
    /// Which of the predictions.
    pub window: Window,
    /// Only where labels of this origin decided.
    pub source: Option<Origin>,
    /// Now, in microseconds since 1970.
    pub now: i64,
}

/// Sums over samples.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sums {
    /// Samples with a truth.
    pub samples: i64,
    /// Those of which it is known whether the answer was correct.
    pub judged: i64,
    /// Those whose answer was correct.
    pub correct: i64,
    /// Those with a loss: a class is known, and the probabilities were kept.
    pub scored: i64,
    /// The sum of losses, in billionths of a nat.
    pub loss_nano: i64,
    /// The sum of Brier scores, in billionths.
    pub brier_nano: i64,
    /// Samples with a number and a truth.
    pub valued: i64,
    /// The sum of predicted less true, in 1/2²⁰ of the unit.
    pub error: i64,
    /// The sum of the absolute errors, in the same steps.
    pub absolute: i64,
    /// The sum of the squared errors, in steps squared.
    pub square: i128,
    /// The sum of the times from predictions to labels, in microseconds.
    pub delay_us: i64,
    /// Counts by class.
    pub confusion: Confusion,
    /// Confidence against correctness.
    pub bins: [BinSums; CALIBRATION_BINS],
    /// Sets of classes and withheld answers.
    pub promises: Promises,
    /// Of the samples that were chosen with a known probability.
    pub weighted: WeightedSums,
}

/// The sums of one version.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionQuality {
    /// The version.
    pub version: KnownVersion,
    /// The sums.
    pub sums: Sums,
    /// The samples that were answered in the window; unknown where that is a number of labels.
    pub answered: Option<i64>,
    /// The beginning of the window, in microseconds since 1970, where that is one of time.
    pub since: Option<i64>,
}

impl Sums {
    /// Returns the mean error, the mean absolute error and the root of the mean squared error, in the unit of the
    /// numbers; `None` without numbers.
    pub fn errors(&self) -> Option<[f64; 3]> {
        let n = self.valued as f64;
        let steps = |sum: f64| sum / n / ERROR_STEPS;
        let square = (self.square as f64 / n).sqrt() / ERROR_STEPS;
        (self.valued > 0).then(|| [steps(self.error as f64), steps(self.absolute as f64), square])
    }

    /// Adds the figures of an answer, or with −1 takes them back.
    pub(super) fn add(&mut self, figures: &Figures, delay_us: i64, sign: i64) {
        self.samples += sign;
        self.delay_us += sign * delay_us;
        promise::add(&mut self.promises, &figures.promises, sign);
        if let Some(inclusion) = figures.inclusion {
            self.weighted.add(inclusion, figures.correct, figures.loss_nano, sign);
        }
        if let Some(correct) = figures.correct {
            self.judged += sign;
            self.correct += sign * i64::from(correct);
            if let Some(confidence_nano) = figures.confidence_nano {
                let bin = &mut self.bins[calibration_bin(confidence_nano)];
                // Counts of a change may be below zero; they wrap, and so do the sums that they are added to.
                bin.samples = bin.samples.wrapping_add_signed(sign);
                bin.correct = bin.correct.wrapping_add_signed(sign * i64::from(correct));
                bin.confidence_nano += sign * confidence_nano;
            }
        }
        if let (Some(loss), Some(brier)) = (figures.loss_nano, figures.brier_nano) {
            self.scored += sign;
            self.loss_nano += sign * loss;
            self.brier_nano += sign * brier;
        }
        if let Some(error) = figures.error {
            self.valued += sign;
            self.error += sign * error;
            self.absolute += sign * error.abs();
            self.square += i128::from(sign) * i128::from(error) * i128::from(error);
        }
        if let (Some(truth), Some(predicted)) = (figures.truth, figures.predicted)
            && let (Ok(truth), Ok(predicted)) = (u32::try_from(truth), u32::try_from(predicted))
            && i64::from(truth.max(predicted)) < MAX_CONFUSED
        {
            *self.confusion.entry((truth, predicted)).or_default() += sign;
        }
    }
}

/// The place of sums: the version, the hour, and the origin of the labels.
pub(super) type Cell = (i64, i64, i64);

/// Changes of sums, to be written at the end of a transaction.
#[derive(Debug, Default)]
pub(super) struct Changes(HashMap<Cell, Sums>);

impl Changes {
    pub(super) fn at(&mut self, cell: Cell) -> &mut Sums {
        self.0.entry(cell).or_default()
    }

    /// Adds the changes to the tables.
    pub(super) fn write(&mut self, connection: &mut Connection) -> Outcome<()> {
        for ((key, bucket, source), sums) in self.0.drain() {
            let cell = || -> [Value; 3] { [key.into(), bucket.into(), source.into()] };
            let (high, low) = split(sums.square);
            let numbers = [
                sums.samples,
                sums.judged,
                sums.correct,
                sums.scored,
                sums.loss_nano,
                sums.brier_nano,
                sums.valued,
                sums.error,
                sums.absolute,
                high,
                low,
                sums.delay_us,
            ];
            let values: Vec<Value> = cell().into_iter().chain(numbers.map(Value::Int)).collect();
            connection.execute(ADD_QUALITY, &values)?;
            promised::write(connection, (key, bucket, source), &sums.promises)?;
            for ((truth, predicted), samples) in sums.confusion {
                let values: Vec<Value> =
                    cell().into_iter().chain([truth.into(), predicted.into(), samples.into()]).collect();
                connection.execute(ADD_CONFUSION, &values)?;
            }
            for (index, bin) in sums.bins.iter().enumerate().filter(|(_, bin)| **bin != BinSums::default()) {
                let numbers = [index as i64, bin.samples as i64, bin.correct as i64, bin.confidence_nano];
                let values: Vec<Value> = cell().into_iter().chain(numbers.map(Value::Int)).collect();
                connection.execute(ADD_CALIBRATION, &values)?;
            }
            if sums.weighted != WeightedSums::default() {
                let WeightedSums { judged, weight, correct, square, correct_square, scored, loss } = sums.weighted;
                let [(square, square_low), (right, right_low), (loss, loss_low)] =
                    [square, correct_square, loss].map(split);
                let numbers = [judged, weight, correct, square, square_low, right, right_low, scored, loss, loss_low];
                let values: Vec<Value> = cell().into_iter().chain(numbers.map(Value::Int)).collect();
                connection.execute(ADD_WEIGHTED, &values)?;
            }
        }
        Ok(())
    }
}

const ADD_QUALITY: &str = "INSERT INTO quality (key, bucket, source, samples, judged, correct, scored, loss_nano, \
    brier_nano, valued, error, absolute, square_high, square_low, delay_us) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) \
    ON CONFLICT (key, bucket, source) DO UPDATE SET samples = quality.samples + excluded.samples, \
    judged = quality.judged + excluded.judged, correct = quality.correct + excluded.correct, \
    scored = quality.scored + excluded.scored, loss_nano = quality.loss_nano + excluded.loss_nano, \
    brier_nano = quality.brier_nano + excluded.brier_nano, valued = quality.valued + excluded.valued, \
    error = quality.error + excluded.error, absolute = quality.absolute + excluded.absolute, \
    square_high = quality.square_high + excluded.square_high, square_low = quality.square_low + excluded.square_low, \
    delay_us = quality.delay_us + excluded.delay_us";

const ADD_CONFUSION: &str = "INSERT INTO confusion (key, bucket, source, truth, predicted, samples) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (key, bucket, source, truth, predicted) \
    DO UPDATE SET samples = confusion.samples + excluded.samples";

const ADD_CALIBRATION: &str = "INSERT INTO calibration (key, bucket, source, bin, samples, correct, confidence_nano) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (key, bucket, source, bin) \
    DO UPDATE SET samples = calibration.samples + excluded.samples, \
    correct = calibration.correct + excluded.correct, \
    confidence_nano = calibration.confidence_nano + excluded.confidence_nano";

const ADD_WEIGHTED: &str = "INSERT INTO weighted (key, bucket, source, judged, weight, correct, square_high, square_low, \
    correct_square_high, correct_square_low, scored, loss_high, loss_low) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) \
    ON CONFLICT (key, bucket, source) DO UPDATE SET judged = weighted.judged + excluded.judged, \
    weight = weighted.weight + excluded.weight, correct = weighted.correct + excluded.correct, \
    square_high = weighted.square_high + excluded.square_high, square_low = weighted.square_low + excluded.square_low, \
    correct_square_high = weighted.correct_square_high + excluded.correct_square_high, \
    correct_square_low = weighted.correct_square_low + excluded.correct_square_low, \
    scored = weighted.scored + excluded.scored, loss_high = weighted.loss_high + excluded.loss_high, \
    loss_low = weighted.loss_low + excluded.loss_low";

/// Splits a sum into two columns.
fn split(sum: i128) -> (i64, i64) {
    ((sum >> 40) as i64, (sum & ((1 << 40) - 1)) as i64)
}

/// Puts a sum of two columns together.
fn joined(row: &Fields, high: usize) -> i128 {
    (i128::from(row.int(high)) << 40) + i128::from(row.int(high + 1))
}

/// Reads weighted sums from the columns behind that of the source.
pub(super) fn weighted_of(row: &Fields) -> WeightedSums {
    WeightedSums {
        judged: row.int(1),
        weight: row.int(2),
        correct: row.int(3),
        square: joined(row, 4),
        correct_square: joined(row, 6),
        scored: row.int(8),
        loss: joined(row, 9),
    }
}

/// Reads the probability with which a sample was chosen.
pub(super) fn inclusion_of(row: &Fields, column: usize) -> Option<Inclusion> {
    row.maybe_int(column).and_then(Inclusion::of_billionths)
}

/// Returns the sums that a question asks for, by version, newest first. Of a version whose number was published again
/// they are those of its last files.
pub(super) fn answer(connection: &mut Connection, query: &QualityQuery) -> Outcome<Vec<VersionQuality>> {
    let known = connection.query(
        "SELECT key, version, digest, labels, answers FROM version_key WHERE model = ?1 ORDER BY version DESC, key DESC",
        &[query.model.as_str().into()],
    )?;
    let mut found: Vec<VersionQuality> = Vec::new();
    for row in known {
        let (key, number) = (row.int(0), row.int(1) as u64);
        let is_wanted = query.version.is_none_or(|version| version == number);
        if !is_wanted || found.last().is_some_and(|last| last.version.version == number) {
            continue;
        }
        let version = super::version::of_columns(&query.model, number, row.bytes(2), row.text(3), row.int(4));
        found.push(of_version(connection, key, version, query)?);
    }
    Ok(found)
}

fn of_version(
    connection: &mut Connection,
    key: i64,
    version: KnownVersion,
    query: &QualityQuery,
) -> Outcome<VersionQuality> {
    let since = match query.window {
        Window::Labels(count) => {
            let sums = of_newest(connection, key, count, query.source)?;
            return Ok(VersionQuality { version, sums, answered: None, since: None });
        }
        Window::Hours(hours) => Some(query.now.div_euclid(BUCKET_US) - i64::from(hours)),
        Window::All => None,
    };
    let bounds: [Value; 2] = [key.into(), since.unwrap_or(i64::MIN).into()];
    let is_wanted = |source: i64| query.source.is_none_or(|wanted| wanted.code() == source);
    let mut sums = Sums::default();
    for row in connection.query(READ_QUALITY, &bounds)?.iter().filter(|row| is_wanted(row.int(0))) {
        sums.samples += row.int(1);
        sums.judged += row.int(2);
        sums.correct += row.int(3);
        sums.scored += row.int(4);
        sums.loss_nano += row.int(5);
        sums.brier_nano += row.int(6);
        sums.valued += row.int(7);
        sums.error += row.int(8);
        sums.absolute += row.int(9);
        sums.square += joined(row, 10);
        sums.delay_us += row.int(12);
    }
    for row in connection.query(READ_WEIGHTED, &bounds)?.iter().filter(|row| is_wanted(row.int(0))) {
        sums.weighted.merge(&weighted_of(row));
    }
    for row in connection.query(READ_CONFUSION, &bounds)?.iter().filter(|row| is_wanted(row.int(0))) {
        *sums.confusion.entry((row.int(1) as u32, row.int(2) as u32)).or_default() += row.int(3);
    }
    for row in connection.query(READ_CALIBRATION, &bounds)?.iter().filter(|row| is_wanted(row.int(0))) {
        if let Some(bin) = usize::try_from(row.int(1)).ok().and_then(|bin| sums.bins.get_mut(bin)) {
            bin.samples += row.int(2).max(0) as u64;
            bin.correct += row.int(3).max(0) as u64;
            bin.confidence_nano += row.int(4);
        }
    }
    sums.promises = promised::of_version(connection, &bounds, query.source)?;
    let traffic = connection
        .query("SELECT CAST(SUM(answered) AS BIGINT) FROM traffic WHERE key = ?1 AND bucket >= ?2", &bounds)?;
    let answered = traffic.first().map_or(0, |row| row.int(0));
    Ok(VersionQuality { version, sums, answered: Some(answered), since: since.map(|bucket| bucket * BUCKET_US) })
}

const READ_QUALITY: &str = "SELECT source, samples, judged, correct, scored, loss_nano, brier_nano, valued, error, \
    absolute, square_high, square_low, delay_us FROM quality WHERE key = ?1 AND bucket >= ?2";

const READ_WEIGHTED: &str = "SELECT source, judged, weight, correct, square_high, square_low, correct_square_high, \
    correct_square_low, scored, loss_high, loss_low FROM weighted WHERE key = ?1 AND bucket >= ?2";

const READ_CONFUSION: &str = "SELECT source, truth, predicted, samples FROM confusion WHERE key = ?1 AND bucket >= ?2";

const READ_CALIBRATION: &str =
    "SELECT source, bin, samples, correct, confidence_nano FROM calibration WHERE key = ?1 AND bucket >= ?2";

fn of_newest(connection: &mut Connection, key: i64, count: u32, source: Option<Origin>) -> Outcome<Sums> {
    let rows = connection.query(
        "SELECT truth, predicted, correct, confidence_nano, loss_nano, brier_nano, error, delay_us, \
         (SELECT settled FROM promised p WHERE p.id = outcome.id AND p.item = outcome.item AND p.key = outcome.key), \
         inclusion_ppb FROM outcome WHERE key = ?1 AND source >= ?2 AND source <= ?3 ORDER BY seq DESC LIMIT ?4",
        &[
            key.into(),
            source.map_or(i64::MIN, Origin::code).into(),
            source.map_or(i64::MAX, Origin::code).into(),
            count.into(),
        ],
    )?;
    let mut sums = Sums::default();
    for row in rows {
        let figures = Figures {
            truth: row.maybe_int(0),
            predicted: row.maybe_int(1),
            correct: row.maybe_int(2).map(|correct| correct == 1),
            confidence_nano: row.maybe_int(3),
            loss_nano: row.maybe_int(4),
            brier_nano: row.maybe_int(5),
            error: row.maybe_int(6),
            promises: promise::of_bytes(row.bytes(8)),
            inclusion: inclusion_of(&row, 9),
        };
        sums.add(&figures, row.int(7), 1);
    }
    Ok(sums)
}

impl VersionQuality {
    /// Returns `confusion[truth][predicted]`; `None` where it is not counted.
    pub fn confusion(&self) -> Option<Vec<Vec<u64>>> {
        let seen = self.sums.confusion.keys().map(|(truth, predicted)| truth.max(predicted) + 1).max().unwrap_or(0);
        let classes = (self.version.labels.len() as i64).max(i64::from(seen));
        if self.version.answers != Answers::Classes || classes == 0 || classes > MAX_CONFUSED {
            return None;
        }
        let mut matrix = vec![vec![0; classes as usize]; classes as usize];
        for ((truth, predicted), samples) in &self.sums.confusion {
            matrix[*truth as usize][*predicted as usize] = u64::try_from(*samples).unwrap_or_default();
        }
        Some(matrix)
    }
}
