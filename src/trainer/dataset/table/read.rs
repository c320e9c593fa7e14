//! The samples of a table: the second of two passes over it.

use std::collections::BTreeMap;
use std::path::Path;

use super::cells::Cell;
use super::files::open;
use super::infer::{Layout, MAX_CATEGORIES, Schema, schema};
use super::sequences::SequenceReader;
use crate::error::Result;
use crate::repository::{DataFormat, ReadSettings, sha256_of_file};
use crate::signature::{Column, ColumnKind, SequenceTransform};
use crate::trainer::dataset::SampleKind;
use crate::trainer::dataset::collect::{Collector, Parts, Split, Target};
use crate::trainer::dataset::faults::{Faults, unusable};
use crate::trainer::dataset::names::Names;
use crate::trainer::dataset::picture;
use crate::trainer::dataset::store::{Element, StoreWriter};

/// The result of reading.
#[derive(Debug)]
pub(in crate::trainer::dataset) struct Read {
    pub(in crate::trainer::dataset) parts: Parts,
    pub(in crate::trainer::dataset) layout: Layout,
    /// The columns of a table; none of pictures and sequences.
    pub(in crate::trainer::dataset) columns: Vec<Column>,
    /// The elements of sequences.
    pub(in crate::trainer::dataset) sequence: Option<SequenceTransform>,
    /// The name of the column to be learned.
    pub(in crate::trainer::dataset) target: String,
    pub(in crate::trainer::dataset) sha256: BTreeMap<String, String>,
}

/// Reads tables of one format.
///
/// # Errors
/// [`crate::error::Error::Data`] naming file and row; [`crate::error::Error::Config`] for settings that name
/// columns which are not there.
pub(in crate::trainer::dataset) fn read(
    path: &Path,
    format: DataFormat,
    settings: &ReadSettings,
    memory: u64,
    faults: &mut Faults,
) -> Result<Read> {
    let files = open(path, format)?;
    let schema = schema(&files, settings)?;
    let columns = files[0].table.columns();
    let target = columns[schema.target].clone();
    let mut reader = Reader::new(&schema, columns, memory);
    let mut sha256 = BTreeMap::new();
    for file in &files {
        let name = file.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        sha256.insert(name, sha256_of_file(&file.path)?);
        let name = file.path.display().to_string();
        reader.collector.file(name.clone());
        file.table.each(faults, &mut |row, cells, faults| {
            if let Err(problem) = reader.row(file.split, row, cells)? {
                faults.report(&name, Some(u64::from(row)), problem)?;
            }
            Ok(())
        })?;
    }
    let Reader { collector, names, sequences, .. } = reader;
    if let Layout::Columns(kept) = &schema.layout
        && let Some((&(index, _), names)) = kept.iter().zip(&names).find(|(_, names)| names.len() > MAX_CATEGORIES)
    {
        // Texts were counted in the first pass, the numbers among them were not.
        let problem = format!(
            "column {} holds texts and numbers, {} different ones; --ignore leaves it out",
            columns[index],
            names.len()
        );
        return Err(unusable(path.display(), problem));
    }
    let titles = files[0].table.class_names(&target);
    let mut parts = collector.finish(&path.display().to_string(), &titles, faults)?;
    parts.notes.splice(0..0, schema.notes);
    let column = |(&(index, is_category), names): (&(usize, bool), &Names)| Column {
        name: columns[index].clone(),
        kind: match is_category {
            true => ColumnKind::Category { values: names.list().to_vec() },
            false => ColumnKind::Number,
        },
    };
    let columns = match &schema.layout {
        Layout::Columns(kept) => kept.iter().zip(&names).map(column).collect(),
        Layout::Pixels { .. } | Layout::Pictures { .. } | Layout::Sequences(_) => Vec::new(),
    };
    let sequence = sequences.map(SequenceReader::finish);
    Ok(Read { parts, layout: schema.layout, columns, sequence, target, sha256 })
}

/// Makes samples of rows.
struct Reader<'a> {
    schema: &'a Schema,
    columns: &'a [String],
    collector: Collector,
    /// By kept column: the texts of a column of categories.
    names: Vec<Names>,
    sequences: Option<SequenceReader>,
    transform: Option<crate::signature::DrawingTransform>,
    floats: Vec<f32>,
    pixels: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn new(schema: &'a Schema, columns: &'a [String], memory: u64) -> Self {
        let mut transform = None;
        let mut sequences = None;
        let (kind, [height, width]) = match &schema.layout {
            Layout::Columns(kept) => (SampleKind::Rows, [1, kept.len()]),
            Layout::Pixels { side, .. } => (SampleKind::Images, [*side, *side]),
            Layout::Pictures { width, height, .. } => {
                transform = Some(picture::transform(*width, *height));
                (SampleKind::Images, [*height as usize, *width as usize])
            }
            Layout::Sequences(layout) => (SampleKind::Sequences, sequences.insert(SequenceReader::new(layout)).size()),
        };
        let element = if kind == SampleKind::Images { Element::Pixel } else { Element::Float };
        let kept = if let Layout::Columns(kept) = &schema.layout { kept.len() } else { 0 };
        Self {
            schema,
            columns,
            collector: Collector::new(StoreWriter::new(element, height * width, memory), kind, [height, width]),
            names: vec![Names::default(); kept],
            sequences,
            transform,
            floats: Vec::new(),
            pixels: Vec::new(),
        }
    }

    /// Keeps a row, or says what is wrong with it.
    fn row(&mut self, split: Split, row: u32, cells: &[Cell<'_>]) -> Result<std::result::Result<(), String>> {
        let made = self.sample(cells).and_then(|()| {
            let split = self.split(split, cells)?;
            Ok((split, self.target(cells)?))
        });
        let (split, target) = match made {
            Ok(made) => made,
            Err(problem) => return Ok(Err(problem)),
        };
        match self.schema.layout {
            Layout::Columns(_) | Layout::Sequences(_) => self.collector.writer.floats(&self.floats)?,
            Layout::Pixels { .. } | Layout::Pictures { .. } => self.collector.writer.pixels(&self.pixels)?,
        }
        match &target {
            TargetCell::Name(name) => self.collector.sample(split, row, &Target::Class(name)),
            TargetCell::Value(value) => self.collector.sample(split, row, &Target::Value(*value)),
        }
        Ok(Ok(()))
    }

    fn split(&self, split: Split, cells: &[Cell<'_>]) -> std::result::Result<Split, String> {
        let Some(column) = self.schema.split else { return Ok(split) };
        let text = cells[column].text();
        text.as_deref().and_then(Split::named).ok_or_else(|| {
            format!("column {} must be train, validation or test, got {}", self.columns[column], cells[column].words())
        })
    }

    fn target(&self, cells: &[Cell<'_>]) -> std::result::Result<TargetCell, String> {
        let cell = &cells[self.schema.target];
        let refuse = |expected: &str| {
            format!("column {} must be {expected}, got {}", self.columns[self.schema.target], cell.words())
        };
        if self.schema.is_regression {
            let number = cell.number().filter(|number| number.is_finite() && number.abs() < f64::from(f32::MAX));
            return number.map(TargetCell::Value).ok_or_else(|| refuse("a finite number"));
        }
        match cell.number() {
            Some(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
                Ok(TargetCell::Name((number as i64).to_string()))
            }
            Some(number) if !number.is_finite() => Err(refuse("a class")),
            _ => cell.text().map(|text| TargetCell::Name(text.into_owned())).ok_or_else(|| refuse("a class")),
        }
    }

    /// Makes the elements of a sample.
    fn sample(&mut self, cells: &[Cell<'_>]) -> std::result::Result<(), String> {
        let columns = self.columns;
        let refuse = |index: usize, expected: &str| {
            format!("column {} must be {expected}, got {}", columns[index], cells[index].words())
        };
        match &self.schema.layout {
            Layout::Columns(kept) => {
                self.floats.clear();
                for (&(index, is_category), names) in kept.iter().zip(&mut self.names) {
                    let cell = &cells[index];
                    let element = match (cell, is_category) {
                        (Cell::Missing, true) => -1.0,
                        (Cell::Missing, false) => f32::NAN,
                        (_, true) => {
                            let text = cell.text().ok_or_else(|| refuse(index, "text"))?;
                            names.code(&text) as f32
                        }
                        (_, false) => {
                            let number = cell.number().map(|number| number as f32).filter(|number| number.is_finite());
                            number.ok_or_else(|| refuse(index, "a finite number"))?
                        }
                    };
                    self.floats.push(element);
                }
            }
            Layout::Pixels { columns, .. } => {
                self.pixels.clear();
                for &index in columns {
                    let number = cells[index].number().filter(|number| (0.0..=255.0).contains(number));
                    self.pixels.push(number.ok_or_else(|| refuse(index, "a pixel from 0 to 255"))? as u8);
                }
            }
            Layout::Sequences(layout) => {
                self.floats.clear();
                if let Some(sequences) = &mut self.sequences {
                    sequences.read(&columns[layout.column], &cells[layout.column], &mut self.floats)?;
                }
            }
            Layout::Pictures { column, .. } => {
                let Cell::Bytes(bytes) = cells[*column] else { return Err(refuse(*column, "a picture")) };
                if let Some(transform) = &self.transform {
                    self.pixels = picture::pixels(bytes, transform)
                        .map_err(|problem| format!("column {}: {problem}", columns[*column]))?;
                }
            }
        }
        Ok(())
    }
}

enum TargetCell {
    Name(String),
    Value(f64),
}
