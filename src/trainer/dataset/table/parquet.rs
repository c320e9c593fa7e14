//! Parquet files: plain columns, and pictures as the datasets of Hugging Face keep them, a struct `{bytes, path}`.

use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::basic::{ConvertedType, Repetition};
use parquet::data_type::Decimal;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, List, Row};
use parquet::schema::types::Type;

use super::cells::{Cell, TakeRow};
use crate::error::Result;
use crate::repository::ReadSettings;
use crate::telemetry::contain;
use crate::trainer::dataset::faults::{Faults, unusable};
use crate::transform::{Parsed, SequenceBuilder, media_type};

/// The key under which Hugging Face describes the columns.
const FEATURES: &str = "huggingface";

/// A file whose schema was read.
#[derive(Debug)]
pub(super) struct ParquetFile {
    path: PathBuf,
    /// The columns; those of a struct are called after it, a point and themselves.
    pub(super) columns: Vec<String>,
    missing: Vec<String>,
    features: Option<serde_json::Value>,
}

impl ParquetFile {
    /// Reads the schema.
    ///
    /// # Errors
    /// [`crate::error::Error::Data`] when the file is damaged or has no columns.
    pub(super) fn open(path: &Path, settings: &ReadSettings) -> Result<Self> {
        let reader = reader(path)?;
        let metadata = reader.metadata().file_metadata();
        let mut columns = Vec::new();
        metadata.schema().get_fields().iter().for_each(|field| name_columns("", field, &mut columns));
        if columns.is_empty() {
            return Err(unusable(path.display(), "has no columns"));
        }
        let entry =
            metadata.key_value_metadata().and_then(|entries| entries.iter().find(|entry| entry.key == FEATURES));
        let features = entry.and_then(|entry| serde_json::from_str(entry.value.as_deref()?).ok());
        Ok(Self { path: path.into(), columns, missing: settings.missing.clone(), features })
    }

    /// The names of the classes that a column's whole numbers stand for, if the file says so.
    pub(super) fn class_names(&self, column: &str) -> Vec<String> {
        let names = self.features.as_ref().map(|features| &features["info"]["features"][column]["names"]);
        let names = names.and_then(serde_json::Value::as_array);
        names.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
    }

    /// Calls `take` with each row, counted from 1.
    ///
    /// # Errors
    /// What `take` returns, and [`crate::error::Error::Data`] when the file cannot be read on.
    pub(super) fn each(&self, faults: &mut Faults, take: &mut TakeRow<'_>) -> Result<()> {
        let reader = reader(&self.path)?;
        let damaged = |row: u32, said| unusable(self.path.display(), format!("row {row}: cannot be read: {said}"));
        let mut rows = whole(|| reader.get_row_iter(None)).map_err(|said| damaged(1, said))?;
        let kinds = reader.metadata().file_metadata().schema().get_fields().to_vec();
        let mut number = 0;
        loop {
            number += 1;
            let row: Option<Row> = whole(|| rows.next().transpose()).map_err(|said| damaged(number, said))?;
            let Some(row) = row else { break };
            let mut cells = Vec::with_capacity(self.columns.len());
            for ((_, field), kind) in row.get_column_iter().zip(&kinds) {
                add(field, kind, &self.missing, &mut cells);
            }
            take(number, &cells, faults)?;
        }
        Ok(())
    }
}

fn reader(path: &Path) -> Result<SerializedFileReader<File>> {
    let file = File::open(path).map_err(|error| unusable(path.display(), error))?;
    whole(|| SerializedFileReader::new(file))
        .map_err(|said| unusable(path.display(), format!("is no whole Parquet file: {said}")))
}

/// Reads a part of a file, and says in words why it cannot be read: the library panics on some damaged files.
fn whole<T>(read: impl FnOnce() -> parquet::errors::Result<T>) -> std::result::Result<T, String> {
    let read = contain(read).map_err(|_| "its parts contradict one another; is it damaged?".to_owned())?;
    read.map_err(|error| error.to_string())
}

/// Returns true for a struct that is a table of its own, and no picture of Hugging Face.
fn is_struct(kind: &Type) -> bool {
    let info = kind.get_basic_info();
    let is_list_or_map = info.logical_type_ref().is_some() || info.converted_type() != ConvertedType::NONE;
    kind.is_group()
        && !is_list_or_map
        && (info.has_repetition() && info.repetition() != Repetition::REPEATED)
        && !kind.get_fields().iter().any(|field| field.name() == "bytes")
}

/// Adds the name of a column, or those of a struct.
fn name_columns(before: &str, kind: &Type, names: &mut Vec<String>) {
    let name = format!("{before}{}", kind.name());
    if is_struct(kind) {
        kind.get_fields().iter().for_each(|field| name_columns(&format!("{name}."), field, names));
    } else {
        names.push(name);
    }
}

/// Adds the cell of a column, or those of a struct.
fn add<'f>(field: &'f Field, kind: &Type, missing: &[String], cells: &mut Vec<Cell<'f>>) {
    match field {
        _ if !is_struct(kind) => cells.push(match cell(field, missing) {
            Cell::Number(number) if missing.iter().any(|word| word.parse() == Ok(number)) => Cell::Missing,
            cell => cell,
        }),
        Field::Group(row) => {
            row.get_column_iter()
                .zip(kind.get_fields())
                .for_each(|((_, field), kind)| add(field, kind, missing, cells));
        }
        _ => {
            let mut names = Vec::new();
            name_columns("", kind, &mut names);
            cells.extend(names.iter().map(|_| Cell::Missing));
        }
    }
}

/// Returns the number that a decimal is, as near as a float can be.
fn decimal(decimal: &Decimal) -> Cell<'static> {
    // Two's complement, the highest byte first, of up to 16 bytes in practice.
    let bytes = decimal.data();
    if bytes.len() > 16 {
        return Cell::Broken("a decimal of more than 38 digits");
    }
    let sign = if bytes.first().is_some_and(|byte| *byte >= 0x80) { -1i128 } else { 0 };
    let whole = bytes.iter().fold(sign, |number, byte| number << 8 | i128::from(*byte));
    // Through its digits, which are rounded once.
    format!("{whole}e-{}", decimal.scale()).parse().map_or(Cell::Broken("a decimal"), Cell::Number)
}

fn cell<'f>(field: &'f Field, missing: &[String]) -> Cell<'f> {
    match field {
        Field::Null => Cell::Missing,
        Field::Bool(true) => Cell::Text("true"),
        Field::Bool(false) => Cell::Text("false"),
        Field::Byte(number) => Cell::Number(f64::from(*number)),
        Field::Short(number) => Cell::Number(f64::from(*number)),
        Field::Int(number) => Cell::Number(f64::from(*number)),
        Field::Long(number) => Cell::Number(*number as f64),
        Field::Date(days) => Cell::Days(f64::from(*days)),
        Field::TimestampMillis(number) => Cell::Days(*number as f64 / 86_400e3),
        Field::TimestampMicros(number) => Cell::Days(*number as f64 / 86_400e6),
        Field::TimeMillis(number) => Cell::Days(f64::from(*number) / 86_400e3),
        Field::TimeMicros(number) => Cell::Days(*number as f64 / 86_400e6),
        Field::UByte(number) => Cell::Number(f64::from(*number)),
        Field::UShort(number) => Cell::Number(f64::from(*number)),
        Field::UInt(number) => Cell::Number(f64::from(*number)),
        Field::ULong(number) => Cell::Number(*number as f64),
        Field::Float16(number) => Cell::of_number(f64::from(*number)),
        Field::Float(number) => Cell::of_number(f64::from(*number)),
        Field::Double(number) => Cell::of_number(*number),
        Field::Str(text) => Cell::of_text(text, missing),
        Field::Decimal(number) => decimal(number),
        // Some writers do not say that bytes are texts.
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) if media_type(bytes.data()).is_none() => Cell::of_text(text, missing),
            _ => Cell::Bytes(bytes.data()),
        },
        Field::Group(row) => match row.get_column_iter().find(|(name, _)| *name == "bytes") {
            Some((_, Field::Bytes(bytes))) => Cell::Bytes(bytes.data()),
            Some((_, Field::Null)) => Cell::Broken("a picture without bytes"),
            _ => Cell::Broken("a struct without bytes"),
        },
        Field::ListInternal(list) => Cell::List(Cow::Owned(sequence(list))),
        _ => Cell::Broken("a map"),
    }
}

/// A list of numbers, of lists of numbers, or of texts.
fn sequence(list: &List) -> Parsed {
    let mut steps = SequenceBuilder::default();
    for step in list.elements() {
        match (step, cell(step, &[])) {
            (Field::ListInternal(numbers), _) => {
                let number = |field| match cell(field, &[]) {
                    Cell::Missing => Ok(f32::NAN),
                    other => {
                        let number = other.number().map(|number| number as f32).filter(|number| number.is_finite());
                        number.ok_or_else(|| format!("expected numbers, got {}", other.words()))
                    }
                };
                steps.list(&numbers.elements().iter().map(number).collect::<Vec<_>>())
            }
            // The text as it is, which a cell would take for a missing value if it says so.
            (Field::Str(text), _) => steps.text(text),
            (_, Cell::Text(text)) => steps.text(text),
            (_, Cell::Missing) => steps.number(None),
            (_, Cell::Number(number)) => steps.number(Some(number)),
            (_, other) => Err(format!("expected numbers, lists of numbers or texts, got {}", other.words())),
        }?;
    }
    steps.finish()
}
