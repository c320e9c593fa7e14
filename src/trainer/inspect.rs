//! The contents of a data set, and its faults.

mod pictures;
mod sequences;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};

pub use self::pictures::PictureFigures;
pub use self::sequences::{Lengths, SequenceFigures, TokenFigures};
use super::dataset::{DataOptions, DataSource, Dataset, Fault, FaultKind, Faults, SampleKind, Split, Targets};
use super::tabular::Moments;
use crate::error::Result;
use crate::repository::{DataFormat, PictureChoice};
use crate::signature::{Column, ColumnKind, places};

/// Duplicates that are shown as examples.
const EXAMPLES: usize = 10;

/// Samples that are all remembered by their SHA-256; of more, only those that seem to occur again.
const MOST_HASHED: usize = 1_000_000;

/// Texts of a column that are counted one by one.
const SHOWN_TEXTS: usize = 8;

/// A data set, looked through.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// The format of the files.
    pub format: DataFormat,
    /// The column of a table that is to be learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The shape of a sample: height and width of an image, and 3 if it has colour, the number of columns of a table, the steps of a sequence
    /// and, of numbers, its channels.
    pub shape: Vec<usize>,
    /// The names of the classes; none when numbers are to be learned.
    pub labels: Vec<String>,
    /// The contents of each part.
    pub parts: Vec<Part>,
    /// The columns of a table, over all parts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnFigures>,
    /// Of sequences, over all parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequences: Option<SequenceFigures>,
    /// The pixels of images, over all parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixels: Option<Figures>,
    /// The files of pictures, over all parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pictures: Option<PictureFigures>,
    /// Some pictures of each class, as a PNG file.
    #[serde(skip)]
    pub contact_sheet: Option<Vec<u8>>,
    /// Samples that occur more than once.
    pub duplicates: Duplicates,
    /// The faults of single files and rows, as many as were asked for.
    pub faults: Vec<Fault>,
    /// The kinds of faults, with how many there are of each and where the first ones are.
    pub fault_kinds: Vec<FaultKind>,
    /// The total number of faults.
    pub fault_count: u64,
    /// Notes on decisions that were made while reading.
    pub notes: Vec<String>,
}

/// One part of a data set.
#[derive(Debug, Serialize)]
pub struct Part {
    /// The use of its samples.
    pub split: Split,
    /// The number of samples.
    pub samples: usize,
    /// The number of samples of each class, in the order of the labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<u64>,
    /// The numbers to be learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Figures>,
}

/// Figures of numbers.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Figures {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
}

/// Figures of one column.
#[derive(Debug, Serialize)]
pub struct ColumnFigures {
    /// Its name.
    pub name: String,
    /// Cells without a value.
    pub missing: u64,
    /// Of a column of numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numbers: Option<Figures>,
    /// Of a column of categories: how many there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub categories: Option<usize>,
    /// Of a column of texts: the n-grams of each that are learned from, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grams: Option<usize>,
    /// The most frequent ones with their counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub frequent: Vec<(String, u64)>,
}

/// Samples whose elements are the same, by their SHA-256.
#[derive(Debug, Default, Serialize)]
pub struct Duplicates {
    /// Samples that occurred before in the same part.
    pub within: u64,
    /// Samples that occurred before in another part: what is trained on should not be in the test.
    pub across: u64,
    /// Pictures that are nearly the same as one in another part, but not quite.
    pub nearly_across: u64,
    /// Of those within and across parts those with another class or number than before.
    pub contradicting: u64,
    /// Some of them, those across parts first.
    pub examples: Vec<Duplicate>,
    /// Some of those that are nearly the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub near_examples: Vec<Duplicate>,
}

/// A sample that is the same as an earlier one.
#[derive(Debug, Serialize)]
pub struct Duplicate {
    /// The part and place of the earlier one.
    pub first: (Split, String),
    /// Its own.
    pub again: (Split, String),
    /// Whether something else is to be learned of it.
    pub contradicts: bool,
}

/// Looks through a data set; `cap` faults of single files and rows are listed.
///
/// # Errors
/// [`crate::error::Error::Data`] when nothing of it can be used, [`crate::error::Error::Config`] for
/// settings that do not fit it.
pub fn inspect(path: &Path, options: &DataOptions, cap: usize) -> Result<Inspection> {
    let mut faults = Faults::listed(cap);
    let mut options = options.clone();
    if options.reading.transform == PictureChoice::Auto {
        // What colours there are is to be seen.
        options.reading.transform = PictureChoice::Photo;
    }
    let source = DataSource::inspect(path, &options, &mut faults)?;
    let mut parts = vec![(Split::Train, &source.train)];
    parts.extend(source.validation.as_ref().map(|part| (Split::Validation, part)));
    parts.push((Split::Test, &source.test));
    let (mut columns, mut pixels, mut sequences) = (Vec::new(), None, None);
    let Dataset { kind, width, height, channels, .. } = source.train;
    let mut shape = if channels > 1 { vec![height, width, channels] } else { vec![height, width] };
    match (kind, &source.sequence) {
        (SampleKind::Sequences, Some(transform)) => {
            shape = transform.shape();
            sequences = Some(self::sequences::figures(&parts, transform, options.reading.vocabulary)?);
        }
        (SampleKind::Rows | SampleKind::Sequences | SampleKind::Texts, _) => {
            shape = vec![if source.columns.is_empty() { width } else { source.columns.len() }];
            let mut seen = vec![Seen::default(); source.columns.len()];
            parts.iter().try_for_each(|(_, part)| add_rows(part, &source.columns, &mut seen))?;
            columns = source.columns.iter().zip(&seen).map(|(column, seen)| seen.figures(column)).collect();
        }
        (SampleKind::Images, _) => {
            let mut seen = Seen::default();
            parts.iter().try_for_each(|(_, part)| add_pixels(part, &mut seen))?;
            pixels = Some(seen.numbers());
        }
    }
    Ok(Inspection {
        format: source.format,
        target: source.target.clone(),
        shape,
        parts: parts.iter().map(|(split, part)| summary(*split, part)).collect(),
        columns,
        sequences,
        pixels,
        pictures: source.pictures.as_ref().map(PictureFigures::of),
        contact_sheet: (kind == SampleKind::Images).then(|| pictures::contact_sheet(&source.train)).transpose()?,
        duplicates: duplicates(&parts)?,
        labels: source.labels,
        fault_count: faults.count(),
        faults: faults.list().to_vec(),
        fault_kinds: faults.kinds().to_vec(),
        notes: source.notes,
    })
}

fn summary(split: Split, part: &Dataset) -> Part {
    let mut classes = vec![0; part.classes];
    part.labels().iter().for_each(|label| classes[*label as usize] += 1);
    let values = match part.targets() {
        Targets::Classes(_) => None,
        Targets::Values(values) => {
            let mut seen = Seen::default();
            values.iter().for_each(|value| seen.add(*value));
            Some(seen.numbers())
        }
    };
    Part { split, samples: part.len(), classes: if values.is_some() { Vec::new() } else { classes }, values }
}

/// Statistics of a column, or of all pixels.
#[derive(Debug, Clone, Default)]
struct Seen {
    moments: Moments,
    bounds: Option<(f64, f64)>,
    missing: u64,
    /// The number of occurrences of each whole number from 0, for categories.
    counts: Vec<u64>,
}

impl Seen {
    fn add(&mut self, number: f64) {
        self.moments.add(number);
        let (least, greatest) = self.bounds.unwrap_or((number, number));
        self.bounds = Some((least.min(number), greatest.max(number)));
    }

    fn numbers(&self) -> Figures {
        let (least, greatest) = self.bounds.unwrap_or_default();
        let deviation = if least == greatest { 0.0 } else { self.moments.wide_deviation() };
        Figures { mean: self.moments.mean(), deviation, least, greatest }
    }

    fn figures(&self, column: &Column) -> ColumnFigures {
        let (name, missing) = (column.name.clone(), self.missing);
        let none = ColumnFigures { name, missing, numbers: None, categories: None, grams: None, frequent: Vec::new() };
        let values = match &column.kind {
            ColumnKind::Category { values } => values,
            ColumnKind::Text { grams } => return ColumnFigures { grams: Some(*grams), ..none },
            ColumnKind::Number | ColumnKind::Moment { .. } => {
                return ColumnFigures { numbers: Some(self.numbers()), ..none };
            }
            ColumnKind::Shifted { origin } => {
                let mut figures = self.numbers();
                let absolute = [&mut figures.mean, &mut figures.least, &mut figures.greatest];
                absolute.into_iter().for_each(|figure| *figure += *origin as f64);
                return ColumnFigures { numbers: Some(figures), ..none };
            }
        };
        let count = |place: usize| self.counts.get(place).copied().unwrap_or(0);
        let mut frequent: Vec<(String, u64)> =
            values.iter().enumerate().map(|(place, value)| (value.clone(), count(place))).collect();
        frequent.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        frequent.truncate(SHOWN_TEXTS);
        ColumnFigures { categories: Some(values.len()), frequent, ..none }
    }
}

/// Adds the cells of rows to the statistics of their columns.
fn add_rows(part: &Dataset, columns: &[Column], seen: &mut [Seen]) -> Result<()> {
    // Of a text the last element, which is padding alone where there is none.
    let places: Vec<usize> = places(columns).map(|place| place.end.saturating_sub(1)).collect();
    let mut elements = Vec::new();
    for index in 0..part.len() {
        elements.clear();
        part.append(index, &mut elements)?;
        for ((column, place), seen) in columns.iter().zip(&places).zip(seen.iter_mut()) {
            let element = elements[*place];
            match column.kind {
                _ if element.is_nan() => seen.missing += 1,
                ColumnKind::Category { .. } if element < 0.0 => seen.missing += 1,
                ColumnKind::Text { .. } => seen.missing += u64::from(element == column.missing()),
                ColumnKind::Category { .. } => {
                    let place = element as usize;
                    seen.counts.resize(seen.counts.len().max(place + 1), 0);
                    seen.counts[place] += 1;
                }
                ColumnKind::Number | ColumnKind::Shifted { .. } | ColumnKind::Moment { .. } => {
                    seen.add(f64::from(element));
                }
            }
        }
    }
    Ok(())
}

/// Adds the pixels of images to their statistics.
fn add_pixels(part: &Dataset, seen: &mut Seen) -> Result<()> {
    let mut elements = Vec::new();
    for index in 0..part.len() {
        elements.clear();
        part.append(index, &mut elements)?;
        elements.iter().for_each(|element| seen.add(f64::from(*element)));
    }
    Ok(())
}

/// Returns the quick hashes that occur more than once, sorted: of very many samples, only these are remembered one by one.
fn repeated(parts: &[(Split, &Dataset)], samples: usize) -> Result<Vec<u64>> {
    let mut hashes = Vec::with_capacity(samples);
    for (_, part) in parts {
        for index in 0..part.len() {
            hashes.push(quick_hash(&part.image(index)?));
        }
    }
    hashes.sort_unstable();
    let mut repeated = Vec::new();
    for pair in hashes.windows(2).filter(|pair| pair[0] == pair[1]) {
        if repeated.last() != Some(&pair[0]) {
            repeated.push(pair[0]);
        }
    }
    Ok(repeated)
}

fn quick_hash(sample: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(sample);
    hasher.finish()
}

fn duplicates(parts: &[(Split, &Dataset)]) -> Result<Duplicates> {
    let mut first: HashMap<[u8; 32], (usize, usize)> = HashMap::new();
    let mut found = Duplicates::default();
    let samples: usize = parts.iter().map(|(_, part)| part.len()).sum();
    let candidates = if samples > MOST_HASHED { Some(repeated(parts, samples)?) } else { None };
    for (place, (split, part)) in parts.iter().enumerate() {
        for index in 0..part.len() {
            let sample = part.image(index)?;
            if candidates.as_ref().is_some_and(|repeated| repeated.binary_search(&quick_hash(&sample)).is_err()) {
                continue;
            }
            let hash: [u8; 32] = Sha256::digest(&sample).into();
            let (earlier, earlier_index) = *first.entry(hash).or_insert((place, index));
            if (earlier, earlier_index) == (place, index) {
                continue;
            }
            let (earlier_split, earlier_part) = parts[earlier];
            let contradicts = match (earlier_part.targets(), part.targets()) {
                (Targets::Classes(a), Targets::Classes(b)) => a[earlier_index] != b[index],
                (Targets::Values(a), Targets::Values(b)) => a[earlier_index] != b[index],
                _ => false,
            };
            let is_across = earlier != place;
            found.within += u64::from(!is_across);
            found.across += u64::from(is_across);
            found.contradicting += u64::from(contradicts);
            let example = || Duplicate {
                first: (earlier_split, origin(earlier_part, earlier_index)),
                again: (*split, origin(part, index)),
                contradicts,
            };
            if found.examples.len() < EXAMPLES {
                found.examples.push(example());
            } else if is_across
                && let Some(within) = found.examples.iter().position(|other| other.first.0 == other.again.0)
            {
                found.examples[within] = example();
            }
        }
    }
    found.examples.sort_by_key(|example| example.first.0 == example.again.0);
    if parts.iter().all(|(_, part)| part.is_images()) {
        (found.nearly_across, found.near_examples) = pictures::near_duplicates(parts)?;
    }
    Ok(found)
}

fn origin(part: &Dataset, index: usize) -> String {
    match part.origin(index) {
        (file, Some(row)) => format!("{file} row {row}"),
        (file, None) => file.to_owned(),
    }
}
