//! Parquet files: plain columns, and pictures as the datasets of Hugging Face keep them, a struct `{bytes, path}`.

use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, List, Row};

use super::cells::{Cell, TakeRow};
use crate::error::Result;
use crate::trainer::dataset::faults::{Faults, unusable};
use crate::transform::{Parsed, SequenceBuilder};

/// The key under which Hugging Face describes the columns.
const FEATURES: &str = "huggingface";

/// A file whose schema was read.
#[derive(Debug)]
pub(super) struct ParquetFile {
    path: PathBuf,
    pub(super) columns: Vec<String>,
    features: Option<serde_json::Value>,
}

impl ParquetFile {
    /// Reads the schema.
    ///
    /// # Errors
    /// [`crate::error::Error::Data`] when the file is damaged or has no columns.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let reader = reader(path)?;
        let metadata = reader.metadata().file_metadata();
        let columns: Vec<String> = metadata.schema().get_fields().iter().map(|field| field.name().to_owned()).collect();
        if columns.is_empty() {
            return Err(unusable(path.display(), "has no columns"));
        }
        let entry =
            metadata.key_value_metadata().and_then(|entries| entries.iter().find(|entry| entry.key == FEATURES));
        let features = entry.and_then(|entry| serde_json::from_str(entry.value.as_deref()?).ok());
        Ok(Self { path: path.into(), columns, features })
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
        let damaged = |row: u32, error| unusable(self.path.display(), format!("row {row}: cannot be read: {error}"));
        let rows = reader.get_row_iter(None).map_err(|error| damaged(1, error))?;
        let mut number = 0;
        for row in rows {
            number += 1;
            let row: Row = row.map_err(|error| damaged(number, error))?;
            let cells: Vec<Cell<'_>> = row.get_column_iter().map(|(_, field)| cell(field)).collect();
            take(number, &cells, faults)?;
        }
        Ok(())
    }
}

fn reader(path: &Path) -> Result<SerializedFileReader<File>> {
    let file = File::open(path).map_err(|error| unusable(path.display(), error))?;
    SerializedFileReader::new(file)
        .map_err(|error| unusable(path.display(), format!("is no whole Parquet file: {error}")))
}

fn cell(field: &Field) -> Cell<'_> {
    match field {
        Field::Null => Cell::Missing,
        Field::Bool(true) => Cell::Text("true"),
        Field::Bool(false) => Cell::Text("false"),
        Field::Byte(number) => Cell::Number(f64::from(*number)),
        Field::Short(number) => Cell::Number(f64::from(*number)),
        Field::Int(number) | Field::Date(number) | Field::TimeMillis(number) => Cell::Number(f64::from(*number)),
        Field::Long(number)
        | Field::TimestampMillis(number)
        | Field::TimestampMicros(number)
        | Field::TimeMicros(number) => Cell::Number(*number as f64),
        Field::UByte(number) => Cell::Number(f64::from(*number)),
        Field::UShort(number) => Cell::Number(f64::from(*number)),
        Field::UInt(number) => Cell::Number(f64::from(*number)),
        Field::ULong(number) => Cell::Number(*number as f64),
        Field::Float16(number) => Cell::of_number(f64::from(*number)),
        Field::Float(number) => Cell::of_number(f64::from(*number)),
        Field::Double(number) => Cell::of_number(*number),
        Field::Str(text) => Cell::of_text(text),
        Field::Bytes(bytes) => Cell::Bytes(bytes.data()),
        Field::Group(row) => match row.get_column_iter().find(|(name, _)| *name == "bytes") {
            Some((_, Field::Bytes(bytes))) => Cell::Bytes(bytes.data()),
            Some((_, Field::Null)) => Cell::Broken("a picture without bytes"),
            _ => Cell::Broken("a struct without bytes"),
        },
        Field::ListInternal(list) => Cell::List(Cow::Owned(sequence(list))),
        _ => Cell::Broken("a map or a decimal"),
    }
}

/// A list of numbers, of lists of numbers, or of texts.
fn sequence(list: &List) -> Parsed {
    let mut steps = SequenceBuilder::default();
    for step in list.elements() {
        match (step, cell(step)) {
            (Field::ListInternal(numbers), _) => {
                let number = |field| match cell(field) {
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
