//! A table of answers, written row by row beside its place and renamed into it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use tempfile::NamedTempFile;

use crate::error::{Error, Result};
use crate::signature::Task;

/// Rows of a group of a Parquet file.
const GROUP: usize = 65_536;

/// One answer.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) file: &'a str,
    /// The row of the file, from 1; none if the file is the sample.
    pub(super) row: Option<u64>,
    pub(super) prediction: String,
    pub(super) confidence: Option<f32>,
    pub(super) probabilities: Vec<f32>,
}

/// The columns of a group of a Parquet file.
#[derive(Debug, Default)]
struct Group {
    files: Vec<ByteArray>,
    rows: Vec<i64>,
    labels: Vec<ByteArray>,
    /// The prediction of a model of numbers, or the confidence, and the probabilities of the classes.
    numbers: Vec<Vec<f64>>,
}

/// A file in the making.
enum Format {
    Csv(Box<csv::Writer<BufWriter<File>>>),
    Jsonl(BufWriter<File>),
    Parquet(Box<SerializedFileWriter<File>>, Group),
}

/// Writes answers into a file, which appears when all are there.
pub(super) struct TableWriter {
    format: Format,
    staged: NamedTempFile,
    place: PathBuf,
    is_classifier: bool,
    /// The names of the classes whose probabilities are written.
    classes: Vec<String>,
}

impl TableWriter {
    /// Begins the table whose format the ending of its name says.
    ///
    /// # Errors
    /// [`Error::Config`] for another ending, [`Error::Io`].
    pub(super) fn create(place: &Path, task: Task, classes: Vec<String>) -> Result<Self> {
        let extension = place.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let staged = NamedTempFile::new_in(folder).map_err(Error::io("create", place))?;
        let file = staged.reopen().map_err(Error::io("create", place))?;
        let is_classifier = task == Task::Classification;
        let format = match extension.as_deref() {
            Some("csv") => {
                let mut writer = csv::Writer::from_writer(BufWriter::new(file));
                let names = names(is_classifier, &classes);
                writer.write_record(&names).map_err(|error| failed(place, error))?;
                Format::Csv(Box::new(writer))
            }
            Some("jsonl" | "ndjson") => Format::Jsonl(BufWriter::new(file)),
            Some("parquet") => {
                Format::Parquet(Box::new(parquet(place, file, is_classifier, &classes)?), Group::default())
            }
            _ => {
                let problem = format!("must end in .csv, .jsonl or .parquet, got {}", place.display());
                return Err(Error::Config { setting: "out".into(), problem });
            }
        };
        Ok(Self { format, staged, place: place.to_owned(), is_classifier, classes })
    }

    /// Writes one answer.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn write(&mut self, row: Row<'_>) -> Result<()> {
        let Self { format, place, is_classifier, classes, .. } = self;
        match format {
            Format::Csv(writer) => {
                let number = row.row.map_or_else(String::new, |row| row.to_string());
                let mut cells = vec![row.file.to_owned(), number, row.prediction];
                cells.extend(row.confidence.map(|confidence| confidence.to_string()));
                cells.extend(row.probabilities.iter().take(classes.len()).map(f32::to_string));
                writer.write_record(&cells).map_err(|error| failed(place, error))
            }
            Format::Jsonl(writer) => {
                let prediction = match row.prediction.parse::<f64>() {
                    Ok(number) if !*is_classifier => serde_json::Number::from_f64(number).into(),
                    _ => serde_json::Value::String(row.prediction),
                };
                let mut line = serde_json::json!({ "file": row.file, "prediction": prediction });
                line["row"] = row.row.into();
                if let Some(confidence) = row.confidence {
                    line["confidence"] = confidence.into();
                }
                for (class, probability) in classes.iter().zip(&row.probabilities) {
                    line["probabilities"][class] = (*probability).into();
                }
                writeln!(writer, "{line}").map_err(Error::io("write", &*place))
            }
            Format::Parquet(writer, group) => {
                group.files.push(row.file.into());
                group.rows.push(row.row.and_then(|row| i64::try_from(row).ok()).unwrap_or(0));
                let mut numbers = Vec::with_capacity(1 + classes.len());
                match row.confidence {
                    Some(confidence) => {
                        group.labels.push(row.prediction.as_str().into());
                        numbers.push(f64::from(confidence));
                    }
                    None => numbers.push(row.prediction.parse().unwrap_or(f64::NAN)),
                }
                numbers.extend(row.probabilities.iter().take(classes.len()).map(|probability| f64::from(*probability)));
                group.numbers.resize(numbers.len(), Vec::new());
                group.numbers.iter_mut().zip(numbers).for_each(|(column, number)| column.push(number));
                if group.files.len() == GROUP { flush(place, writer, group) } else { Ok(()) }
            }
        }
    }

    /// Ends the file and puts it into its place.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn finish(self) -> Result<()> {
        let Self { format, staged, place, .. } = self;
        match format {
            Format::Csv(mut writer) => writer.flush().map_err(Error::io("write", &place))?,
            Format::Jsonl(mut writer) => writer.flush().map_err(Error::io("write", &place))?,
            Format::Parquet(mut writer, mut group) => {
                flush(&place, &mut writer, &mut group)?;
                writer.close().map_err(|error| failed(&place, error))?;
            }
        }
        staged.as_file().sync_all().map_err(Error::io("write", &place))?;
        staged.persist(&place).map_err(|error| Error::io("write", &place)(error.error))?;
        Ok(())
    }
}

fn names(is_classifier: bool, classes: &[String]) -> Vec<String> {
    let mut names = vec!["file".to_owned(), "row".into(), "prediction".into()];
    if is_classifier {
        names.push("confidence".into());
        names.extend(classes.iter().map(|class| format!("probability of {class}")));
    }
    names
}

fn parquet(place: &Path, file: File, is_classifier: bool, classes: &[String]) -> Result<SerializedFileWriter<File>> {
    let answer = if is_classifier {
        "REQUIRED BYTE_ARRAY prediction (UTF8); REQUIRED DOUBLE confidence;"
    } else {
        "REQUIRED DOUBLE prediction;"
    };
    // Names of classes may hold what a schema cannot: their columns are numbered, in the order of the classes.
    let probabilities: String =
        (0..classes.len()).map(|class| format!("REQUIRED DOUBLE probability_{class};")).collect();
    let schema =
        format!("message answers {{ REQUIRED BYTE_ARRAY file (UTF8); REQUIRED INT64 row; {answer} {probabilities} }}");
    let schema = parse_message_type(&schema).map_err(|error| failed(place, error))?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)).map_err(|error| failed(place, error))
}

/// Writes a group of rows.
fn flush(place: &Path, writer: &mut SerializedFileWriter<File>, group: &mut Group) -> Result<()> {
    if group.files.is_empty() {
        return Ok(());
    }
    let Group { files, rows, labels, numbers } = std::mem::take(group);
    let mut write = || -> parquet::errors::Result<()> {
        let mut to = writer.next_row_group()?;
        let (mut place, mut numbers) = (0, numbers.iter());
        while let Some(mut column) = to.next_column()? {
            match place {
                0 => column.typed::<ByteArrayType>().write_batch(&files, None, None)?,
                1 => column.typed::<Int64Type>().write_batch(&rows, None, None)?,
                2 if !labels.is_empty() => column.typed::<ByteArrayType>().write_batch(&labels, None, None)?,
                _ => column.typed::<DoubleType>().write_batch(numbers.next().map_or(&[], Vec::as_slice), None, None)?,
            };
            column.close()?;
            place += 1;
        }
        to.close().map(drop)
    };
    write().map_err(|error| failed(place, error))
}

fn failed(place: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::io("write", place)(std::io::Error::other(error))
}
