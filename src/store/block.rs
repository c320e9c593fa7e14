//! Predictions as they are kept: rows of bytes, in blocks of those that were asked at about the same time.

use uuid::Uuid;

use super::promise::{MAX_PROMISES, Promise};
use crate::error::{Error, Result};
use crate::tensor::Real;

/// The most rows of a block: a look-up reads one whole.
const MAX_ROWS: usize = 512;

/// The longest time between the first and the last identifier of a block, in milliseconds. It bounds where to look for
/// an identifier.
pub(super) const MAX_SPAN_MS: u64 = 2000;

/// All, in millionths.
const ALL: u32 = 1_000_000;

/// The shape of the rows.
const FORMAT: u8 = 1;

/// One sample that was asked about.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The server's own identifier of the request, a UUIDv7.
    pub id: Uuid,
    /// The place of the sample in the request.
    pub item: u32,
    /// The version, by its key in the database, which the store puts here.
    pub(crate) key: u32,
    /// When the request ended, in microseconds since 1970.
    pub at: i64,
    /// The time it took, in microseconds.
    pub total_us: u32,
    /// Set if it was answered.
    pub answered: bool,
    /// Set if the response cache had the answer.
    pub cached: bool,
    /// Of an image: whether black and white were exchanged.
    pub inverted: Option<bool>,
    /// Mean and standard deviation of what the model saw.
    pub input: Option<(f32, f32)>,
    /// The answer.
    pub kept: Kept,
    /// What was promised of it; at most six promises.
    pub promises: Vec<Promise>,
    /// The probability with which samples of its time were kept, in millionths.
    pub kept_ppm: u32,
}

/// The part of an answer that is kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Kept {
    /// Nothing.
    Nothing,
    /// A distribution over classes.
    Classified {
        /// The most probable class.
        class: u32,
        /// Its probability.
        confidence: f32,
        /// The distance to the second class.
        margin: f32,
        /// ln Σ exp(logit).
        energy: Option<f32>,
        /// The number of classes.
        classes: u32,
        /// The probabilities of all classes; empty if there are too many.
        probabilities: Vec<f32>,
    },
    /// A number.
    Value(Real),
    /// The score of an autoencoder.
    Score(f32),
}

impl Row {
    /// Makes a row; the database gives its version a key when it is written.
    pub fn new(id: Uuid, item: u32, at: i64, kept: Kept) -> Self {
        Self {
            id,
            item,
            key: 0,
            at,
            total_us: 0,
            answered: true,
            cached: false,
            inverted: None,
            input: None,
            kept,
            promises: Vec::new(),
            kept_ppm: ALL,
        }
    }
}

/// Rows that are written together.
#[derive(Debug, PartialEq)]
pub(super) struct Block {
    pub(super) first: Uuid,
    pub(super) last: Uuid,
    pub(super) first_at: i64,
    pub(super) last_at: i64,
    pub(super) data: Vec<u8>,
    pub(super) rows: usize,
}

/// Returns the milliseconds since 1970 that a UUIDv7 begins with.
pub(super) fn milliseconds(id: Uuid) -> u64 {
    (id.as_u128() >> 80) as u64
}

/// Returns the least identifier of a millisecond.
pub(super) fn least_id(milliseconds: u64) -> Uuid {
    Uuid::from_u128(u128::from(milliseconds.min((1 << 48) - 1)) << 80)
}

/// Puts rows into blocks.
pub(super) fn blocks(mut rows: Vec<Row>) -> Vec<Block> {
    rows.sort_by_key(|row| (row.id, row.item));
    let mut blocks = Vec::new();
    let mut rest = rows.as_slice();
    while let Some(first) = rest.first() {
        let limit = milliseconds(first.id) + MAX_SPAN_MS;
        let count = rest.iter().take(MAX_ROWS).take_while(|row| milliseconds(row.id) <= limit).count();
        let (head, tail) = rest.split_at(count);
        blocks.push(Block::of(head));
        rest = tail;
    }
    blocks
}

impl Block {
    /// Makes a block of sorted rows, of which there is at least one.
    pub(super) fn of(rows: &[Row]) -> Self {
        let mut data = vec![FORMAT];
        rows.iter().for_each(|row| write(row, &mut data));
        let ats = || rows.iter().map(|row| row.at);
        Self {
            first: rows.first().map_or(Uuid::nil(), |row| row.id),
            last: rows.last().map_or(Uuid::nil(), |row| row.id),
            first_at: ats().min().unwrap_or_default(),
            last_at: ats().max().unwrap_or_default(),
            data,
            rows: rows.len(),
        }
    }
}

/// Appends the bytes of a row.
pub(super) fn write(row: &Row, out: &mut Vec<u8>) {
    out.extend_from_slice(row.id.as_bytes());
    out.extend_from_slice(&row.item.to_le_bytes());
    out.extend_from_slice(&row.key.to_le_bytes());
    out.extend_from_slice(&row.at.to_le_bytes());
    out.extend_from_slice(&row.total_us.to_le_bytes());
    let inverted = row.inverted.map_or(0, |inverted| 1 + u8::from(inverted));
    let (kind, energy) = match &row.kept {
        Kept::Nothing => (0, None),
        Kept::Classified { energy, .. } => (1, *energy),
        Kept::Value(Real::Single(_)) => (2, None),
        Kept::Score(_) => (3, None),
        Kept::Value(Real::Double(_)) => (4, None),
    };
    out.extend_from_slice(&[
        u8::from(row.answered)
            | u8::from(row.cached) << 1
            | inverted << 2
            | u8::from(row.input.is_some()) << 4
            | u8::from(energy.is_some()) << 5
            | u8::from(!row.promises.is_empty()) << 6
            | u8::from(row.kept_ppm != ALL) << 7,
        kind,
    ]);
    let mut floats = |values: &[f32]| values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
    if let Some((mean, deviation)) = row.input {
        floats(&[mean, deviation]);
    }
    match &row.kept {
        Kept::Nothing => {}
        Kept::Value(Real::Single(value)) | Kept::Score(value) => floats(&[*value]),
        Kept::Value(Real::Double(value)) => out.extend_from_slice(&value.to_le_bytes()),
        Kept::Classified { class, confidence, margin, energy, classes, probabilities } => {
            floats(&[*confidence, *margin]);
            floats(energy.as_slice());
            for number in [*class, *classes, probabilities.len() as u32] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            probabilities.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
        }
    }
    if !row.promises.is_empty() {
        let promises = &row.promises[..row.promises.len().min(MAX_PROMISES)];
        out.push(promises.len() as u8);
        promises.iter().for_each(|promise| promise.write(out));
    }
    if row.kept_ppm != ALL {
        out.extend_from_slice(&row.kept_ppm.to_le_bytes());
    }
}

/// Reads the rows of a block.
///
/// # Errors
/// [`Error::Internal`] when the bytes are no rows.
pub(super) fn read(data: &[u8]) -> Result<Vec<Row>> {
    let damaged = || Error::internal("a block of predictions is damaged", "its bytes are no rows");
    let Some((&FORMAT, rest)) = data.split_first() else { return Err(damaged()) };
    rows(rest).ok_or_else(damaged)
}

/// Reads rows that follow each other; `None` for bytes that are no rows.
pub(super) fn rows(bytes: &[u8]) -> Option<Vec<Row>> {
    let mut cursor = Cursor(bytes);
    let mut rows = Vec::new();
    while !cursor.0.is_empty() {
        rows.push(cursor.row()?);
    }
    Some(rows)
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn number(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn float(&mut self) -> Option<f32> {
        self.take().map(f32::from_le_bytes)
    }

    fn row(&mut self) -> Option<Row> {
        let (id, item, key) = (Uuid::from_bytes(self.take()?), self.number()?, self.number()?);
        let (at, total_us) = (i64::from_le_bytes(self.take()?), self.number()?);
        let [flags, kind] = self.take()?;
        let inverted = match flags >> 2 & 3 {
            0 => None,
            inverted => Some(inverted == 2),
        };
        let input = if flags >> 4 & 1 == 1 { Some((self.float()?, self.float()?)) } else { None };
        let kept = match kind {
            0 => Kept::Nothing,
            1 => self.classified(flags >> 5 & 1 == 1)?,
            2 => Kept::Value(self.float()?.into()),
            3 => Kept::Score(self.float()?),
            4 => Kept::Value(self.take().map(f64::from_le_bytes)?.into()),
            _ => return None,
        };
        let promises = if flags >> 6 & 1 == 1 { self.promises()? } else { Vec::new() };
        let kept_ppm = if flags >> 7 & 1 == 1 { self.number()? } else { ALL };
        let (answered, cached) = (flags & 1 == 1, flags >> 1 & 1 == 1);
        Some(Row { id, item, key, at, total_us, answered, cached, inverted, input, kept, promises, kept_ppm })
    }

    fn promises(&mut self) -> Option<Vec<Promise>> {
        let [count] = self.take()?;
        (0..count).map(|_| Promise::read(self.take().map(u16::from_le_bytes)?, || self.number())).collect()
    }

    fn classified(&mut self, has_energy: bool) -> Option<Kept> {
        let (confidence, margin) = (self.float()?, self.float()?);
        let energy = if has_energy { Some(self.float()?) } else { None };
        let (class, classes, count) = (self.number()?, self.number()?, self.number()? as usize);
        // What is left bounds what a damaged count may ask for.
        let mut probabilities = Vec::with_capacity(count.min(self.0.len() / 4));
        for _ in 0..count {
            probabilities.push(self.float()?);
        }
        Some(Kept::Classified { class, confidence, margin, energy, classes, probabilities })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::promise::Level;
    use proptest::prelude::*;

    fn kept() -> impl Strategy<Value = Kept> {
        prop_oneof![
            Just(Kept::Nothing),
            (-5f32..5.0).prop_map(|value| Kept::Value(value.into())),
            (-5e9..5e9).prop_map(|value: f64| Kept::Value(value.into())),
            (-5f32..5.0).prop_map(Kept::Score),
            (0u32..9, 0f32..1.0, 0f32..9.0, prop::option::of(0f32..9.0), prop::collection::vec(0f32..1.0, 0..12))
                .prop_map(|(class, confidence, margin, energy, probabilities)| Kept::Classified {
                    class,
                    confidence,
                    margin,
                    energy,
                    classes: 9,
                    probabilities
                }),
        ]
    }

    fn promise() -> impl Strategy<Value = Promise> {
        let level = || (1u32..10_000).prop_map(|steps| Level::of(f64::from(steps) / 1e4).unwrap());
        prop_oneof![
            (level(), any::<u32>()).prop_map(|(level, classes)| Promise::Set { level, classes }),
            (level(), any::<bool>()).prop_map(|(rate, is_withheld)| Promise::Answer { rate, is_withheld }),
        ]
    }

    prop_compose! {
        fn row()(
            ms in 0u64..9000, low in any::<u64>(), item in 0u32..3, at in any::<i64>(), kept in kept(),
            flags in any::<(bool, bool)>(), inverted in any::<Option<bool>>(), mean in prop::option::of((0f32..1.0, 0f32..1.0)),
            promises in prop::collection::vec(promise(), 0..=MAX_PROMISES), kept_ppm in prop_oneof![Just(ALL), 1..ALL]
        ) -> Row {
            let id = Uuid::from_u128(least_id(1_800_000_000_000 + ms).as_u128() | u128::from(low));
            let row = Row::new(id, item, at, kept);
            let (answered, cached) = flags;
            Row { answered, cached, inverted, input: mean, key: item, total_us: 7, promises, kept_ppm, ..row }
        }
    }

    proptest! {
        #[test]
        fn blocks_hold_what_was_put_in_within_their_bounds(rows in prop::collection::vec(row(), 0..40)) {
            let mut found = Vec::new();
            for block in blocks(rows.clone()) {
                prop_assert!(milliseconds(block.last) - milliseconds(block.first) <= MAX_SPAN_MS);
                let read = read(&block.data).unwrap();
                prop_assert_eq!(read.len(), block.rows);
                prop_assert!(read.iter().all(|row| block.first <= row.id && row.id <= block.last));
                prop_assert!(read.iter().all(|row| block.first_at <= row.at && row.at <= block.last_at));
                found.extend(read);
            }
            let mut expected = rows;
            expected.sort_by_key(|row| (row.id, row.item));
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn damage_is_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(read(&bytes));
            let mut data = blocks(vec![Row::new(Uuid::from_u128(1), 0, 1, Kept::Value(1f32.into()))])[0].data.clone();
            data.pop();
            prop_assert!(read(&data).is_err());
        }
    }
}
