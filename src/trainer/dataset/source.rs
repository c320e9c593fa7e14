//! A data set, whatever its format.

use std::collections::BTreeMap;
use std::path::Path;

use super::collect::Parts;
use super::faults::{Faults, unusable};
use super::table::{self, Layout};
use super::{Dataset, folder, mnist};
use crate::error::{Error, Result};
use crate::repository::{DataFormat, ReadSettings};
use crate::signature::{Column, DrawingTransform, Fit, ImageTransform, Polarity, SequenceTransform};

/// Samples that take more than this are kept in a temporary file: 1 GiB.
pub const DEFAULT_DATA_MEMORY: u64 = 1 << 30;

/// Options for reading and keeping data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataOptions {
    /// The settings for reading.
    pub reading: ReadSettings,
    /// Bytes of samples that may lie in memory.
    pub memory: u64,
}

impl Default for DataOptions {
    fn default() -> Self {
        Self { reading: ReadSettings::default(), memory: DEFAULT_DATA_MEMORY }
    }
}

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
    /// The column of a table that is to be learned.
    pub target: Option<String>,
    /// The format of the files.
    pub format: DataFormat,
    /// SHA-256 by file name; of a folder of pictures that of the list of all files with theirs.
    pub sha256: BTreeMap<String, String>,
    /// Notes for people on decisions that were made while reading.
    pub notes: Vec<String>,
}

impl DataSource {
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
        let DataOptions { reading, memory } = options;
        if reading.image_size.is_some_and(|size| size.iter().any(|side| !(1..=4096).contains(side))) {
            return Err(Error::Config { setting: "image-size".into(), problem: "sides must be from 1 to 4096".into() });
        }
        if reading.target.as_ref().is_some_and(|target| reading.ignore.contains(target)) {
            return Err(Error::Config { setting: "ignore".into(), problem: "names the target".into() });
        }
        let format = reading.format.map_or_else(|| detect(path), Ok)?;
        match format {
            DataFormat::Idx => {
                let (parts, sha256) = mnist::read(path, *memory, faults)?;
                let (width, height) = (parts.train.width as u32, parts.train.height as u32);
                Ok(Self::of(parts, format, sha256, Some(drawing(width, height).into())))
            }
            DataFormat::Images => {
                let folder::Read { parts, transform, sha256 } = folder::read(path, reading, *memory, faults)?;
                let sha256 = BTreeMap::from([("*".to_owned(), sha256)]);
                Ok(Self::of(parts, format, sha256, Some(transform.into())))
            }
            DataFormat::Csv | DataFormat::Parquet | DataFormat::Jsonl => {
                let table::Read { parts, layout, columns, sequence, target, sha256 } =
                    table::read(path, format, reading, *memory, faults)?;
                let image = match layout {
                    Layout::Columns(_) | Layout::Sequences(_) => None,
                    Layout::Pixels { side, .. } => Some(drawing(side as u32, side as u32).into()),
                    Layout::Pictures { width, height, .. } => Some(super::picture::transform(width, height).into()),
                };
                Ok(Self { columns, sequence, target: Some(target), ..Self::of(parts, format, sha256, image) })
            }
        }
    }

    fn of(parts: Parts, format: DataFormat, sha256: BTreeMap<String, String>, image: Option<ImageTransform>) -> Self {
        let Parts { train, validation, test, labels, notes } = parts;
        let (columns, sequence, target) = (Vec::new(), None, None);
        Self { train, validation, test, labels, columns, sequence, image, target, format, sha256, notes }
    }
}

/// Returns the transform of pictures for data that come as pixels: the one that made MNIST.
fn drawing(width: u32, height: u32) -> DrawingTransform {
    DrawingTransform { width, height, polarity: Polarity::LightOnDark, fit: Fit::CentreOfMass }
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
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("csv" | "tsv") => return Ok(DataFormat::Csv),
            Some("parquet") => return Ok(DataFormat::Parquet),
            Some("jsonl" | "ndjson") => return Ok(DataFormat::Jsonl),
            _ => {}
        }
    }
    let expected = "expected four IDX files, a folder of image files (PNG, JPEG, WebP, GIF, BMP, TIFF) for each class, or a CSV, \
                    TSV, Parquet or JSON Lines file";
    Err(unusable(path.display(), format!("is no data set that is known: {expected}; --format says what it is")))
}
