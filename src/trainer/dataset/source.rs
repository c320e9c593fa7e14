//! A data set, whatever its format.

use std::collections::BTreeMap;
use std::path::Path;

use clap::ValueEnum;

use super::collect::Parts;
use super::faults::{Faults, unusable};
use super::options::DataOptions;
use super::picture::SeenPictures;
use super::table;
use super::{Dataset, folder, mnist};
use crate::error::{Error, Result};
use crate::repository::{DataFormat, PixelColumns};
use crate::signature::{Column, ImageTransform, SequenceTransform};

/// A data set.
#[derive(Debug)]
pub struct DataSource {
    /// To learn from.
    pub train: Dataset,
    /// To choose by, if the data say so.
    pub validation: Option<Dataset>,
    /// To be judged by, once.
    pub test: Dataset,
    /// The names of the classes; none when numbers are to be learned.
    pub labels: Vec<String>,
    /// The columns of a table; none of pictures and sequences.
    pub columns: Vec<Column>,
    /// The elements of sequences.
    pub sequence: Option<SequenceTransform>,
    /// The transform from a picture to a sample; `None` for anything else.
    pub image: Option<ImageTransform>,
    /// The files of pictures; `None` of anything else, and of arrays of pixels.
    pub pictures: Option<SeenPictures>,
    /// True if the data say which samples are the test part.
    pub is_parted: bool,
    /// True if these are the very files that the model they are read for was trained on.
    pub is_trained_on: bool,
    /// The column of a table that is to be learned.
    pub target: Option<String>,
    /// The format of the files.
    pub format: DataFormat,
    /// SHA-256 by file name; of a folder of pictures that of the list of all files with theirs.
    pub sha256: BTreeMap<String, String>,
    /// Notes for people on decisions that were made while reading.
    pub notes: Vec<String>,
}

/// The choice of the samples that a model is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PartChoice {
    /// Every sample
    All,
    /// Those to learn from
    Train,
    /// Those to choose by
    Validation,
    /// Those to be judged by
    Test,
}

impl DataSource {
    /// Takes the samples to learn from, to choose by and to be judged by out, so that nothing but who takes them holds them.
    pub(in crate::trainer) fn take_parts(&mut self) -> (Dataset, Option<Dataset>, Dataset) {
        let none = self.train.select(&[]);
        let train = std::mem::replace(&mut self.train, none.clone());
        (train, self.validation.take(), std::mem::replace(&mut self.test, none))
    }

    /// Returns the samples that a model is judged by, and what they are: those of the part that is asked for, else the test
    /// part, else what training on the same files held out, else all.
    ///
    /// # Errors
    /// [`Error::Config`] for a part that the data do not have, and as [`Dataset::image`].
    pub fn judged(&self, asked: Option<PartChoice>) -> Result<(Dataset, &'static str)> {
        let holds_out = self.is_parted || self.is_trained_on;
        let choice = asked.unwrap_or(if holds_out { PartChoice::Test } else { PartChoice::All });
        let missing = |part: &str| {
            let problem = format!("the data have no {part} part; --split all takes every sample");
            Err(Error::Config { setting: "split".into(), problem })
        };
        let part = match choice {
            PartChoice::All => {
                let parts: Vec<&Dataset> = [Some(&self.train), self.validation.as_ref(), Some(&self.test)]
                    .into_iter()
                    .flatten()
                    .filter(|part| !part.is_empty())
                    .collect();
                (if parts.is_empty() { self.test.clone() } else { Dataset::joined(&parts)? }, "all")
            }
            PartChoice::Train => (self.train.clone(), "training"),
            PartChoice::Validation => match &self.validation {
                Some(validation) => (validation.clone(), "validation"),
                None => return missing("validation"),
            },
            PartChoice::Test if !holds_out => return missing("test"),
            PartChoice::Test => (self.test.clone(), "test"),
        };
        if part.0.is_empty() {
            return missing(part.1);
        }
        Ok(part)
    }

    /// Reads a data set in which nothing may be wrong.
    ///
    /// # Errors
    /// [`Error::Data`] naming the file, the row and what is wrong; [`Error::Config`] for settings that do
    /// not fit.
    pub fn read(path: &Path, options: &DataOptions) -> Result<Self> {
        Self::inspect(path, options, &mut Faults::none_allowed())
    }

    /// Reads a data set, without the samples that `faults` takes note of.
    ///
    /// # Errors
    /// As [`DataSource::read`], of what concerns more than single samples.
    pub fn inspect(path: &Path, options: &DataOptions, faults: &mut Faults) -> Result<Self> {
        let reading = &options.reading;
        let picture = reading.picture.and_then(|picture| match picture {
            PixelColumns::Picture(size) => Some(size),
            PixelColumns::Table => None,
        });
        for (setting, size) in [("image-size", reading.image_size), ("picture", picture)] {
            if size.is_some_and(|size| size.iter().any(|side| !(1..=4096).contains(side))) {
                let problem = "sides must be from 1 to 4096".into();
                return Err(Error::Config { setting: setting.into(), problem });
            }
        }
        if reading.target.as_ref().is_some_and(|target| reading.ignore.contains(target)) {
            return Err(Error::Config { setting: "ignore".into(), problem: "names the target".into() });
        }
        let format = reading.format.map_or_else(|| detect(path), Ok)?;
        match format {
            DataFormat::Idx => {
                let mnist::Read { parts, transform, sha256 } = mnist::read(path, options, faults)?;
                Ok(Self::of(parts, format, sha256, Some(transform)))
            }
            DataFormat::Images => {
                let folder::Read { parts, transform, sha256, seen } = folder::read(path, options, faults)?;
                let sha256 = BTreeMap::from([("*".to_owned(), sha256)]);
                Ok(Self { pictures: Some(seen), ..Self::of(parts, format, sha256, Some(transform)) })
            }
            DataFormat::Csv | DataFormat::Parquet | DataFormat::Jsonl => {
                let table::Read { parts, image, columns, sequence, target, sha256, seen } =
                    table::read(path, format, options, faults)?;
                let mut source =
                    Self { columns, sequence, target, pictures: seen, ..Self::of(parts, format, sha256, image) };
                if reading.format.is_none() && source.image.is_none() && is_beside_folders(path, format) {
                    source.notes.push(
                        "a table is read although there are folders beside it; --format images reads these as pictures by class"
                            .into(),
                    );
                }
                Ok(source)
            }
        }
    }

    fn of(parts: Parts, format: DataFormat, sha256: BTreeMap<String, String>, image: Option<ImageTransform>) -> Self {
        let Parts { train, validation, test, labels, is_parted, notes } = parts;
        let (columns, sequence, target, is_trained_on) = (Vec::new(), None, None, false);
        Self {
            train,
            validation,
            test,
            labels,
            columns,
            sequence,
            image,
            pictures: None,
            is_parted,
            is_trained_on,
            target,
            format,
            sha256,
            notes,
        }
    }
}

/// Returns true if the tables at a path lie beside folders.
fn is_beside_folders(path: &Path, format: DataFormat) -> bool {
    let is_here = |table: &std::path::PathBuf| table.parent() == Some(path);
    path.is_dir() && folder::is_here(path) && table::files(path, format).iter().any(is_here)
}

/// Returns the format of the files at a path.
fn detect(path: &Path) -> Result<DataFormat> {
    if !path.exists() {
        return Err(unusable(path.display(), "does not exist"));
    }
    if path.is_dir() && mnist::is_here(path) {
        return Ok(DataFormat::Idx);
    }
    if path.is_dir() {
        let tables = [DataFormat::Csv, DataFormat::Parquet, DataFormat::Jsonl];
        if let Some(format) = tables.into_iter().find(|format| !table::files(path, *format).is_empty()) {
            return Ok(format);
        }
        if folder::is_here(path) {
            return Ok(DataFormat::Images);
        }
    } else {
        if let Some(format) = table::format_of(path) {
            return Ok(format);
        }
    }
    let expected = "expected four IDX files, a folder of image files (PNG, JPEG, WebP, GIF, BMP, TIFF) for each class, or a CSV, \
                    TSV, Parquet or JSON Lines file, as it is or packed (.gz, .zst)";
    Err(unusable(path.display(), format!("is no data set that is known: {expected}; --format says what it is")))
}
