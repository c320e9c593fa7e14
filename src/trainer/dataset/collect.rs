//! Samples as they are read, made into the parts of a data set once all are there.

use std::sync::Arc;

use serde::Serialize;

use super::faults::{Faults, unusable};
use super::names::{self, Names};
use super::store::StoreWriter;
use super::{DataOptions, Dataset, MAX_CLASSES, SampleKind, Targets};
use crate::error::Result;
use crate::transform::LevelTables;

/// The part of the data that is held out for the test when none is marked so.
const TEST_PART: f64 = 0.1;

/// The seed of that draw. It is always the same, so that runs of any seed are judged by the same samples.
const TEST_SEED: u64 = 0;

/// The use of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// To learn from.
    Train,
    /// To choose by.
    Validation,
    /// To be judged by, once.
    Test,
}

impl Split {
    /// Returns the use of the samples in a folder, file or cell of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "train" | "training" => Some(Self::Train),
            "validation" | "val" | "valid" | "dev" => Some(Self::Validation),
            "test" | "testing" => Some(Self::Test),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// Where samples come from.
#[derive(Debug, Clone)]
pub(super) enum Origins {
    /// Each is a row of the file, counted from 0.
    Rows(String),
    /// By record: a file of the list, and a row counted from 1, or 0 for the whole file.
    Listed { files: Vec<String>, places: Vec<(u32, u32)> },
}

impl Origins {
    /// The file, and the row if the file has several.
    pub(super) fn of(&self, record: u32) -> (&str, Option<u64>) {
        match self {
            Self::Rows(file) => (file, Some(u64::from(record))),
            Self::Listed { files, places } => {
                let (file, row) = places[record as usize];
                (&files[file as usize], (row > 0).then_some(u64::from(row)))
            }
        }
    }

    /// Adds those of others behind these.
    pub(super) fn extend(&mut self, others: Self) {
        let (Self::Listed { files, places }, Self::Listed { files: more, places: further }) = (self, others) else {
            return;
        };
        let shift = files.len() as u32;
        files.extend(more);
        places.extend(further.into_iter().map(|(file, row)| (file + shift, row)));
    }

    /// The origins of some records, in this order.
    pub(super) fn select(&self, records: &[u32]) -> Self {
        let (files, places) = match self {
            Self::Rows(file) => (vec![file.clone()], records.iter().map(|record| (0, record + 1)).collect()),
            Self::Listed { files, places } => {
                (files.clone(), records.iter().map(|record| places[*record as usize]).collect())
            }
        };
        Self::Listed { files, places }
    }
}

/// The target of a sample, as it is read.
#[derive(Debug)]
pub(super) enum Target<'a> {
    Class(&'a str),
    Value(f64),
}

/// Samples as they are read.
#[derive(Debug)]
pub(super) struct Collector {
    pub(super) writer: StoreWriter,
    kind: SampleKind,
    /// Channels, rows and columns.
    shape: [usize; 3],
    /// The elements of the levels of pictures; none if the levels are the elements.
    levels: Option<Arc<LevelTables>>,
    splits: Vec<Split>,
    names: Names,
    codes: Vec<u32>,
    values: Vec<f64>,
    files: Vec<String>,
    places: Vec<(u32, u32)>,
}

/// The parts of a data set.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) train: Dataset,
    pub(super) validation: Option<Dataset>,
    pub(super) test: Dataset,
    pub(super) labels: Vec<String>,
    /// True if the data say which samples are the test part.
    pub(super) is_parted: bool,
    /// Notes on decisions that were made while reading.
    pub(super) notes: Vec<String>,
}

impl Collector {
    /// None yet, of so many channels, rows and columns.
    pub(super) fn new(writer: StoreWriter, kind: SampleKind, shape: [usize; 3]) -> Self {
        Self {
            writer,
            kind,
            shape,
            levels: None,
            splits: Vec::new(),
            names: Names::default(),
            codes: Vec::new(),
            values: Vec::new(),
            files: Vec::new(),
            places: Vec::new(),
        }
    }

    /// The samples to come are of this file.
    pub(super) fn file(&mut self, file: String) {
        self.files.push(file);
    }

    /// Keeps the first channel of every picture alone.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`] when a temporary file is needed and cannot be used.
    pub(super) fn keep_first_channel(&mut self) -> Result<()> {
        let [_, height, width] = self.shape;
        self.shape = [1, height, width];
        self.writer.narrow(self.splits.len(), height * width)
    }

    /// The levels of pictures are to be made elements by these tables.
    pub(super) fn levels(&mut self, levels: Option<LevelTables>) {
        self.levels = levels.map(Arc::new);
    }

    /// Takes note of the sample that was just written.
    pub(super) fn sample(&mut self, split: Split, row: u32, target: &Target<'_>) {
        self.splits.push(split);
        self.places.push((self.files.len().saturating_sub(1) as u32, row));
        match target {
            Target::Class(name) => {
                let code = self.names.code(name);
                self.codes.push(code);
            }
            Target::Value(value) => self.values.push(*value),
        }
    }

    /// Sorts classes, checks them, and parts the samples. `titles` are other names of the classes, by
    /// the number that their name is. The classes of a model that the data are for are the classes, and nothing has to be
    /// there to be told apart; of a model without, any are.
    ///
    /// # Errors
    /// [`crate::error::Error::Data`] when a part is empty, there is nothing to tell apart, or a class is
    /// not among the training samples or those of the model.
    pub(super) fn finish(
        self,
        what: &str,
        options: &DataOptions,
        titles: &[String],
        faults: &mut Faults,
    ) -> Result<Parts> {
        let model = options.expected_labels();
        let is_whole = options.expected.as_ref().is_some_and(|expected| !expected.needs_target);
        let [channels, height, width] = self.shape;
        let is_regression = self.codes.is_empty() && !self.values.is_empty();
        let origins = Origins::Listed { files: self.files, places: self.places };
        let mut notes = Vec::new();
        let (targets, labels) = match model {
            _ if is_regression => (Targets::Values(self.values), Vec::new()),
            None => classes(&self.codes, &self.names, &self.splits, Some(Split::Train)),
            Some([]) => classes(&self.codes, &self.names, &self.splits, None),
            Some(labels) => (of_model(&self.codes, &self.names, labels, titles), labels.to_vec()),
        };
        let all = Dataset {
            kind: self.kind,
            width,
            height,
            channels,
            classes: if is_regression { 1 } else { labels.len() },
            class_weights: Vec::new(),
            store: Arc::new(self.writer.finish()?),
            levels: self.levels,
            records: (0..self.splits.len() as u32).collect(),
            targets,
            origins: Arc::new(origins),
        };
        let class_of = |index: usize| self.names.list()[self.codes[index] as usize].as_str();
        let whose = if model.is_some() { "those of the model" } else { "the training samples" };
        let places = places(&all, &self.splits, (labels.len(), whose), class_of, faults)?;
        let [train, validation, test] = places.map(|part| all.select(&part));
        let is_parted = self.splits.contains(&Split::Test);
        if model.is_none() {
            check_parts(what, [&train, &test], is_parted, &labels, faults)?;
        } else if all.is_empty() {
            return Err(unusable(what, faults.with_first("holds no samples")));
        }
        let (train, test) = match is_parted || is_whole {
            true => (train, test),
            // What is there is judged as a whole.
            false => carve(&train, what, &mut notes).or_else(|error| match model {
                Some(_) => Ok((train.clone(), train.select(&[]))),
                None => Err(error),
            })?,
        };
        if model.is_some() {
            notes.clear();
        }
        if train.is_spilled() {
            notes.push("the samples take more than --data-memory and lie in a temporary file".into());
        }
        let labels = if model.is_some() { labels } else { titled(labels, titles) };
        let validation = (!validation.is_empty()).then_some(validation);
        Ok(Parts { train, validation, test, labels, is_parted, notes })
    }
}

/// Returns the labels by the titles that they have.
fn titled(labels: Vec<String>, titles: &[String]) -> Vec<String> {
    labels.into_iter().map(|name| title(&name, titles).cloned().unwrap_or(name)).collect()
}

/// Checks that there is something to learn, and something to judge by.
///
/// # Errors
/// [`crate::error::Error::Data`] saying what is missing.
fn check_parts(
    what: &str,
    [train, test]: [&Dataset; 2],
    is_parted: bool,
    labels: &[String],
    faults: &Faults,
) -> Result<()> {
    if labels.len() > MAX_CLASSES {
        let problem = format!("holds {} classes; up to {MAX_CLASSES} can be told apart", labels.len());
        return Err(unusable(what, problem));
    }
    if train.is_empty() {
        return Err(unusable(what, faults.with_first("holds no training samples")));
    }
    if !train.labels().is_empty() && labels.len() < 2 {
        return Err(unusable(what, faults.with_first("holds one class only; there is nothing to tell apart")));
    }
    if is_parted && test.is_empty() {
        return Err(unusable(what, faults.with_first("holds a test part, but no sample in it can be used")));
    }
    Ok(())
}

/// Returns the other name of a class that is a number.
fn title<'t>(name: &str, titles: &'t [String]) -> Option<&'t String> {
    name.parse().ok().and_then(|index: usize| titles.get(index))
}

/// Returns the classes of the samples in a model's numbering; one that it does not know is beyond its list.
fn of_model(codes: &[u32], names: &Names, labels: &[String], titles: &[String]) -> Targets {
    let class = |name: &String| {
        let place = |name: &String| labels.iter().position(|label| label == name);
        let place = title(name, titles).and_then(place).or_else(|| place(name));
        place.map_or(u32::MAX, |place| place as u32)
    };
    let classes: Vec<u32> = names.list().iter().map(class).collect();
    Targets::Classes(codes.iter().map(|code| classes[*code as usize]).collect())
}

/// Returns the places of the samples of each part; those of classes that are not trained on are reported and left out.
fn places<'n>(
    all: &Dataset,
    splits: &[Split],
    (known, whose): (usize, &str),
    class_of: impl Fn(usize) -> &'n str,
    faults: &mut Faults,
) -> Result<[Vec<usize>; 3]> {
    let mut parts = [Vec::new(), Vec::new(), Vec::new()];
    for (index, split) in splits.iter().enumerate() {
        if all.labels().get(index).is_some_and(|label| *label as usize >= known) {
            let (file, row) = all.origin(index);
            let class = crate::ids::quote(class_of(index));
            faults.report(file, row, format!("class {class} is not among {whose}"))?;
            continue;
        }
        parts[*split as usize].push(index);
    }
    Ok(parts)
}

/// The names of the classes in a part, or in all, sorted, and the class of each sample; that of a name which
/// only others have is beyond the list.
fn classes(codes: &[u32], names: &Names, splits: &[Split], part: Option<Split>) -> (Targets, Vec<String>) {
    let mut is_trained = vec![false; names.len()];
    for (code, split) in codes.iter().zip(splits) {
        is_trained[*code as usize] |= part.is_none_or(|part| *split == part);
    }
    let trained = names.list().iter().zip(&is_trained).filter(|(_, is_trained)| **is_trained);
    let mut labels: Vec<String> = trained.map(|(name, _)| name.clone()).collect();
    names::sort(&mut labels);
    let mut class = vec![u32::MAX; names.len()];
    let mut known = names.clone();
    for (index, label) in labels.iter().enumerate() {
        class[known.code(label) as usize] = index as u32;
    }
    (Targets::Classes(codes.iter().map(|code| class[*code as usize]).collect()), labels)
}

/// Holds a tenth out for the test, every class in proportion; a class keeps at least one sample to learn from.
fn carve(all: &Dataset, what: &str, notes: &mut Vec<String>) -> Result<(Dataset, Dataset)> {
    let count = ((all.len() as f64 * TEST_PART).round() as usize).max(1);
    if count >= all.len() {
        return Err(unusable(what, "holds one sample; that is too few to train and to test"));
    }
    let mut left = vec![0usize; all.classes];
    all.labels().iter().for_each(|label| left[*label as usize] += 1);
    let mut drawn = all.drawn(count, TEST_SEED, "test");
    drawn.retain(|&index| {
        let Some(label) = all.labels().get(index) else { return true };
        let left = &mut left[*label as usize];
        let is_spare = *left > 1;
        *left -= usize::from(is_spare);
        is_spare
    });
    let (train, test) = all.part(&drawn);
    if test.is_empty() {
        return Err(unusable(what, "holds one sample of each class; that is too few to train and to test"));
    }
    let every = if all.labels().is_empty() { "" } else { ", every class in proportion" };
    notes.push(format!("no test part is marked: {} of {} samples are held out for it{every}", test.len(), all.len()));
    Ok((train, test))
}
