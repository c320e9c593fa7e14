//! Labels in Parquet files, which mean what the same table means as CSV.

use std::fs::File;
use std::path::Path;

use parquet::basic::{LogicalType, TimeUnit};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::Map;

use super::labels::{Columns, Labels};
use crate::telemetry::contain;

/// Reads the labels of a file.
///
/// # Errors
/// A problem of the file, or of one of its rows, which are counted from 1.
pub(super) fn labels(path: &Path) -> Result<Labels, String> {
    // The library panics on some damaged files.
    contain(|| rows(path)).unwrap_or_else(|_| Err("its parts contradict one another; is it damaged?".into()))
}

fn rows(path: &Path) -> Result<Labels, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let reader = SerializedFileReader::new(file).map_err(|error| format!("is no whole Parquet file: {error}"))?;
    let fields = reader.metadata().file_metadata().schema().get_fields();
    let names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
    let columns = Columns::of(&names)?;
    // The rows have such moments as whole numbers.
    let are_nanoseconds: Vec<bool> = fields
        .iter()
        .map(|field| match field.get_basic_info().logical_type_ref() {
            Some(LogicalType::Timestamp(moment)) => moment.unit == TimeUnit::NANOS,
            _ => false,
        })
        .collect();
    let mut labels = Labels::default();
    let rows = reader.get_row_iter(None).map_err(|error| format!("cannot be read: {error}"))?;
    for (row, number) in rows.zip(1..) {
        let row = row.map_err(|error| format!("row {number} cannot be read: {error}"))?;
        let mut piece = Map::new();
        for ((name, field), is_nanoseconds) in row.get_column_iter().zip(&are_nanoseconds) {
            if columns.is_of_the_input(name) {
                continue;
            }
            let cell = cell(field, *is_nanoseconds).map_err(|problem| format!("row {number}: {name} {problem}"))?;
            let Some(cell) = cell.filter(|cell| !cell.is_empty()) else { continue };
            columns.read(name, &cell, &mut piece).map_err(|problem| format!("row {number}: {problem}"))?;
        }
        labels.take(number, &columns, piece);
    }
    Ok(labels)
}

/// Returns a cell as a CSV file would have it; `None` where it is missing, for which other programs write NaN.
fn cell(field: &Field, is_nanoseconds: bool) -> Result<Option<String>, &'static str> {
    let is_nan = match field {
        Field::Float(number) => number.is_nan(),
        Field::Double(number) => number.is_nan(),
        _ => false,
    };
    let moment = |moment: Result<jiff::Timestamp, jiff::Error>| {
        moment.map(|moment| Some(moment.to_string())).map_err(|_| "is no moment of our calendar")
    };
    match field {
        Field::Null => Ok(None),
        _ if is_nan => Ok(None),
        Field::Bool(value) => Ok(Some(value.to_string())),
        Field::Byte(number) => Ok(Some(number.to_string())),
        Field::Short(number) => Ok(Some(number.to_string())),
        Field::Int(number) => Ok(Some(number.to_string())),
        Field::Long(number) if is_nanoseconds => moment(jiff::Timestamp::from_nanosecond(i128::from(*number))),
        Field::Long(number) => Ok(Some(number.to_string())),
        Field::UByte(number) => Ok(Some(number.to_string())),
        Field::UShort(number) => Ok(Some(number.to_string())),
        Field::UInt(number) => Ok(Some(number.to_string())),
        Field::ULong(number) => Ok(Some(number.to_string())),
        // A column of whole numbers of which some are missing is one of these in other programs: 7 for 7.0.
        Field::Float(number) => Ok(Some(number.to_string())),
        Field::Double(number) => Ok(Some(number.to_string())),
        Field::Str(text) => Ok(Some(text.clone())),
        // Some writers do not say that bytes are texts.
        Field::Bytes(bytes) => {
            std::str::from_utf8(bytes.data()).map(|text| Some(text.to_owned())).map_err(|_| "is no text")
        }
        Field::TimestampMillis(number) => moment(jiff::Timestamp::from_millisecond(*number)),
        Field::TimestampMicros(number) => moment(jiff::Timestamp::from_microsecond(*number)),
        Field::Date(days) => moment(jiff::Timestamp::from_second(i64::from(*days) * 86_400)),
        Field::Float16(_) | Field::Decimal(_) | Field::TimeMillis(_) | Field::TimeMicros(_) => {
            Err("has a type that no label is of: expected a text, a number or a moment")
        }
        Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => {
            Err("has several values in a cell: expected one")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_by_the_calendar_in_every_unit() {
        let told = |field: Field, is_nanoseconds| cell(&field, is_nanoseconds).unwrap().unwrap();
        let nanoseconds = 1_700_000_000_123_456_789;
        assert_eq!(told(Field::Long(nanoseconds), true), "2023-11-14T22:13:20.123456789Z");
        assert_eq!(told(Field::Long(nanoseconds), false), nanoseconds.to_string());
        assert_eq!(told(Field::TimestampMicros(nanoseconds / 1000), false), "2023-11-14T22:13:20.123456Z");
        assert_eq!(told(Field::TimestampMillis(nanoseconds / 1_000_000), false), "2023-11-14T22:13:20.123Z");
        assert_eq!(cell(&Field::Null, true), Ok(None));
    }
}
