//! Rows of a table as samples.

use std::fs;

use crate::error::Result;
use crate::repository::{FitChoice, sha256_hex};
use crate::signature::{DateOrder, Fit, PADDING};
use crate::trainer::dataset::collect::{Collector, Split, Target};
use crate::trainer::dataset::names::Names;
use crate::trainer::dataset::picture::Pictures;
use crate::trainer::dataset::store::{Element, StoreWriter};
use crate::trainer::dataset::table::cells::{Cell, is_dash};
use crate::trainer::dataset::table::infer::{Learned, Schema};
use crate::trainer::dataset::table::layout::{Kept, Layout, Reads};
use crate::trainer::dataset::table::seen::MAX_CATEGORIES;
use crate::trainer::dataset::table::sequences::SequenceReader;
use crate::trainer::dataset::{DataOptions, SampleKind};
use crate::transform::{days, text_elements};

/// A result, or what is wrong with a row.
type Made<T> = std::result::Result<T, String>;

/// Makes samples of rows.
pub(super) struct Reader<'a> {
    schema: &'a Schema,
    columns: &'a [String],
    pub(super) collector: Collector,
    /// By kept column: the texts of a column of categories.
    pub(super) names: Vec<Names>,
    /// By kept column: the number of texts that a model knows, and how many cells held others.
    known: Option<Vec<(usize, u64)>>,
    /// By kept column: a text that the model does not know.
    unknown: Vec<Option<String>>,
    pub(super) sequences: Option<SequenceReader>,
    pub(super) pictures: Option<Pictures>,
    /// The SHA-256 of each picture file.
    pub(super) sums: String,
    /// True if every row is a sample, whatever it may be learned for.
    has_no_target: bool,
    floats: Vec<f32>,
    pixels: Vec<u8>,
}

enum TargetCell {
    Name(String),
    Value(f64),
}

impl<'a> Reader<'a> {
    /// Prepares for the rows of a table.
    ///
    /// # Errors
    /// As [`Pictures::new`].
    pub(super) fn new(schema: &'a Schema, columns: &'a [String], options: &DataOptions) -> Result<Self> {
        let (mut pictures, mut sequences) = (None, None);
        let (kind, shape) = match &schema.layout {
            Layout::Columns(kept) => {
                let width = |kept: &Kept| if let Reads::Texts(grams) = kept.reads { grams } else { 1 };
                (SampleKind::Rows, [1, 1, kept.iter().map(width).sum()])
            }
            Layout::Pixels { size, .. } => {
                let made = Pictures::new(options, *size, Fit::CentreOfMass, FitChoice::Stretch)?;
                (SampleKind::Images, pictures.insert(made).shape())
            }
            Layout::Pictures { size, fit, .. } => {
                let made = Pictures::new(options, *size, Fit::Stretch, *fit)?;
                (SampleKind::Images, pictures.insert(made).shape())
            }
            Layout::Sequences(layout) => {
                let [steps, channels] = sequences.insert(SequenceReader::new(layout)).size();
                (SampleKind::Sequences, [1, steps, channels])
            }
        };
        let element = if kind == SampleKind::Images { Element::Pixel } else { Element::Float };
        let kept = if let Layout::Columns(kept) = &schema.layout { kept.len() } else { 0 };
        let mut names = vec![Names::default(); kept];
        let expected = options.expected.as_ref();
        let mut known = None;
        if let Some(expected) = expected.filter(|_| kept > 0) {
            for (column, names) in expected.transform.columns.iter().zip(&mut names) {
                column.values().iter().for_each(|value| _ = names.code(value));
            }
            known = Some(names.iter().map(|names| (names.len(), 0)).collect());
        }
        let writer = StoreWriter::new(element, shape.iter().product(), &options.budget());
        Ok(Self {
            schema,
            columns,
            collector: Collector::new(writer, kind, shape),
            names,
            known,
            unknown: vec![None; kept],
            sequences,
            pictures,
            sums: String::new(),
            has_no_target: expected.is_some_and(|expected| !expected.needs_target),
            floats: Vec::new(),
            pixels: Vec::new(),
        })
    }

    /// Keeps a row, or says what is wrong with it.
    pub(super) fn row(&mut self, split: Split, row: u32, cells: &[Cell<'_>]) -> Result<Made<()>> {
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
            TargetCell::Name(name) => self.collector.sample(split, row, &Target::Class(name))?,
            TargetCell::Value(value) => self.collector.sample(split, row, &Target::Value(*value))?,
        }
        Ok(Ok(()))
    }

    /// Returns notes on texts that the model does not know.
    pub(super) fn notes(&self) -> Vec<String> {
        let Layout::Columns(kept) = &self.schema.layout else { return Vec::new() };
        let known = self.known.as_deref().unwrap_or_default();
        let of = |((kept, (_, count)), text): ((&_, &(usize, u64)), &Option<String>)| {
            let Kept { column, .. } = kept;
            text.as_ref().map(|text| {
                format!(
                    "column {}: {count} cells hold texts that the model does not know, as {}; they count as missing",
                    self.columns[*column],
                    crate::ids::quote(text)
                )
            })
        };
        kept.iter().zip(known).zip(&self.unknown).filter_map(of).collect()
    }

    fn split(&self, split: Split, cells: &[Cell<'_>]) -> Made<Split> {
        let Some(column) = self.schema.split.filter(|_| !self.has_no_target) else { return Ok(split) };
        let text = cells[column].text();
        text.as_deref().and_then(Split::named).ok_or_else(|| {
            format!("column {} must be train, validation or test, got {}", self.columns[column], cells[column].words())
        })
    }

    fn target(&self, cells: &[Cell<'_>]) -> Made<TargetCell> {
        let Some((target, learned)) = self.schema.target.filter(|_| !self.has_no_target) else {
            return Ok(TargetCell::Value(0.0));
        };
        let cell = &cells[target];
        let refuse =
            |expected: &str| format!("column {} must be {expected}, got {}", self.columns[target], cell.words());
        if let Learned::Numbers(style) = learned {
            let number = style.number(cell).filter(|number| number.is_finite() && number.abs() < f64::from(f32::MAX));
            return number.map(TargetCell::Value).ok_or_else(|| refuse("a finite number"));
        }
        match cell {
            _ if cell.number().is_some_and(|number| !number.is_finite()) => Err(refuse("a class")),
            Cell::Number(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
                Ok(TargetCell::Name((*number as i64).to_string()))
            }
            Cell::Text(text) => Ok(TargetCell::Name(class(text).to_owned())),
            _ => cell.text().map(|text| TargetCell::Name(text.into_owned())).ok_or_else(|| refuse("a class")),
        }
    }

    /// Makes the elements of a sample.
    fn sample(&mut self, cells: &[Cell<'_>]) -> Made<()> {
        let schema = self.schema;
        match &schema.layout {
            Layout::Columns(kept) => {
                self.floats.clear();
                for (place, kept) in kept.iter().enumerate() {
                    let cell = &cells[kept.column];
                    let element = match kept.reads {
                        Reads::Numbers(style) => self.number(style.number(cell), kept.column, cells)?,
                        Reads::Shifted(style, origin) => {
                            let number = style.number(cell).map(|number| number - origin as f64);
                            self.number(number, kept.column, cells)?
                        }
                        Reads::Moments(order, origin) => {
                            let day = moment(cell, order);
                            let day = day.ok_or_else(|| self.refuse(kept.column, cells, order.words()))?;
                            (day - f64::from(origin)) as f32
                        }
                        Reads::Categories => self.category(place, kept.column, cells)?,
                        Reads::Texts(grams) => {
                            self.text(kept.column, cells, grams)?;
                            continue;
                        }
                    };
                    self.floats.push(element);
                }
                Ok(())
            }
            Layout::Pixels { columns, .. } => self.pixels(columns, cells),
            Layout::Sequences(layout) => {
                self.floats.clear();
                let Some(sequences) = &mut self.sequences else { return Ok(()) };
                sequences.read(&self.columns[layout.column], &cells[layout.column], &mut self.floats)
            }
            Layout::Pictures { column, folder, .. } => {
                let file = match (&cells[*column], folder) {
                    (Cell::Bytes(bytes), None) => bytes.to_vec(),
                    (Cell::Text(name), Some(folder)) => fs::read(folder.join(name))
                        .map_err(|error| self.refuse(*column, cells, &format!("a picture file ({error})")))?,
                    _ => return Err(self.refuse(*column, cells, "a picture")),
                };
                if folder.is_some() {
                    self.sums.push_str(&format!("{}\n", sha256_hex(&file)));
                }
                let Some(pictures) = &mut self.pictures else { return Ok(()) };
                let picture = pictures.read(&file);
                let picture = picture.map_err(|problem| format!("column {}: {problem}", self.columns[*column]))?;
                self.pixels = pictures.counted(picture);
                Ok(())
            }
        }
    }

    /// Returns a number as an element: NaN of a missing one.
    fn number(&self, number: Option<f64>, column: usize, cells: &[Cell<'_>]) -> Made<f32> {
        let number = number.map(|number| number as f32).filter(|number| !number.is_infinite());
        number.ok_or_else(|| self.refuse(column, cells, "a finite number"))
    }

    fn refuse(&self, column: usize, cells: &[Cell<'_>], expected: &str) -> String {
        format!("column {} must be {expected}, got {}", self.columns[column], cells[column].words())
    }

    /// Returns the number of a category: -1 of a missing one, and of one that the model does not know.
    fn category(&mut self, place: usize, column: usize, cells: &[Cell<'_>]) -> Made<f32> {
        if cells[column] == Cell::Missing {
            return Ok(-1.0);
        }
        let text = cells[column].text().ok_or_else(|| self.refuse(column, cells, "text"))?;
        let found = self.names[place].place(&text);
        let Some(known) = &mut self.known else {
            return match found {
                Some(code) => Ok(code as f32),
                // Texts were counted in the first pass, the numbers among them were not.
                None if self.names[place].len() >= MAX_CATEGORIES => Err(format!(
                    "column {} holds texts and numbers, more than {MAX_CATEGORIES} different ones; --ignore leaves it out",
                    self.columns[column]
                )),
                None => Ok(self.names[place].code(&text) as f32),
            };
        };
        if found.is_none() {
            known[place].1 += 1;
            self.unknown[place].get_or_insert_with(|| text.clone().into_owned());
        }
        Ok(found.map_or(-1.0, |code| code as f32))
    }

    /// Appends the n-grams of a text.
    fn text(&mut self, column: usize, cells: &[Cell<'_>], grams: usize) -> Made<()> {
        let start = self.floats.len();
        self.floats.resize(start + grams, PADDING as f32);
        if cells[column] != Cell::Missing {
            let text = cells[column].text().ok_or_else(|| self.refuse(column, cells, "text"))?;
            text_elements(&text, &mut self.floats[start..]);
        }
        Ok(())
    }

    fn pixels(&mut self, columns: &[usize], cells: &[Cell<'_>]) -> Made<()> {
        let mut pixels = std::mem::take(&mut self.pixels);
        pixels.clear();
        for &index in columns {
            let number = cells[index].number().filter(|number| (0.0..=255.0).contains(number));
            pixels.push(number.ok_or_else(|| self.refuse(index, cells, "a pixel from 0 to 255"))? as u8);
        }
        if let Some(pictures) = &mut self.pictures {
            let size = [pictures.shape()[1], pictures.shape()[2]];
            let picture = pictures.drawn(pixels, size).map_err(|error| error.to_string())?;
            pixels = pictures.counted(picture);
        }
        self.pixels = pixels;
        Ok(())
    }
}

/// Returns the days that a cell says: NaN of a missing one, `None` of what is no such date.
fn moment(cell: &Cell<'_>, order: DateOrder) -> Option<f64> {
    match cell {
        Cell::Missing => Some(f64::NAN),
        Cell::Text(text) if is_dash(text) => Some(f64::NAN),
        Cell::Text(text) => days(text, order),
        Cell::Days(days) => Some(*days),
        _ => None,
    }
}

/// Returns the class that a text is: itself as it is written, but for the `.0` that programs add to whole numbers.
fn class(text: &str) -> &str {
    let whole = text.split_once('.').filter(|(_, zeros)| !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0'));
    let is_plain = |whole: &str| whole.parse::<i64>().is_ok_and(|number| number.to_string() == whole);
    whole.map(|(whole, _)| whole).filter(|whole| is_plain(whole)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::class;

    #[test]
    fn classes_stay_as_they_are_written() {
        for (text, expected) in [
            ("007", "007"),
            ("07", "07"),
            ("1e5", "1e5"),
            ("2.0", "2"),
            ("-1.00", "-1"),
            ("2.5", "2.5"),
            ("1.", "1."),
            ("01.0", "01.0"),
            ("v1.0", "v1.0"),
        ] {
            assert_eq!(class(text), expected);
        }
    }
}
