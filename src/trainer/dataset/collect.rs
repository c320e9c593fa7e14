//! Samples as they are read, made into the parts of a data set once all are there.

use std::sync::Arc;

use serde::Serialize;

use super::faults::{Faults, unusable};
use super::names::{self, Names};
use super::origins::{Origins, Places};
use super::store::StoreWriter;
use super::{DataOptions, Dataset, MAX_CLASSES, SampleKind, Targets};
use crate::error::Result;
use crate::transform::LevelTables;

/// The part of the data that is held out for the test when none is marked so.
const TEST_PART: f64 = 0.1;

/// The seed of that draw. It is always the same, so that runs of any seed are judged by the same samples.
const TEST_SEED: u64 = 0;

/// Different classes after which reading ends: far more than can be told apart, and few enough to be kept.
const MOST_NAMES: usize = 100_000;

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
    places: Places,
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
            places: Places::default(),
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
    ///
    /// # Errors
    /// [`crate::error::Error::Data`] when there are so many classes that they are none.
    pub(super) fn sample(&mut self, split: Split, row: u32, target: &Target<'_>) -> Result<()> {
        self.splits.push(split);
        self.places.push((self.files.len().saturating_sub(1) as u32, row));
        match target {
            Target::Class(name) => self.codes.push(self.names.code(name)),
            Target::Value(value) => self.values.push(*value),
        }
        if self.names.len() > MOST_NAMES {
            let problem = format!("holds more than {MOST_NAMES} classes; up to {MAX_CLASSES} can be told apart");
            return Err(unusable(self.files.last().map_or("the data", String::as_str), problem));
        }
        Ok(())
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
        let Self { writer, kind, shape, levels, splits, names, codes, values, files, places } = self;
        let origins = Origins::Listed { files, places };
        let mut notes = Vec::new();
        let is_regression = codes.is_empty() && !values.is_empty();
        let (targets, labels) = if is_regression {
            (Targets::Values(values), Vec::new())
        } else {
            let (class_of, labels) = match model {
                None => classes(&codes, &names, &splits, Some(Split::Train)),
                Some([]) => classes(&codes, &names, &splits, None),
                Some(labels) => (of_model(&names, labels, titles), labels.to_vec()),
            };
            let whose = if model.is_some() { "those of the model" } else { "the training samples" };
            let unknown =
                |code: u32| (class_of[code as usize] as usize >= labels.len()).then(|| &names.list()[code as usize]);
            report_unknown(&codes, unknown, whose, &origins, faults)?;
            let mut codes = codes;
            codes.iter_mut().for_each(|code| *code = class_of[*code as usize]);
            (Targets::Classes(codes), labels)
        };
        drop(names);
        let classes = if is_regression { 1 } else { labels.len() };
        let is_empty = targets.is_empty();
        let all = Dataset { levels, ..Dataset::of_store(writer.finish()?, kind, shape, (targets, classes), origins) };
        let is_parted = splits.contains(&Split::Test);
        let (train, validation, test) = parted(all, &splits);
        drop(splits);
        if model.is_none() {
            check_parts(what, [&train, &test], is_parted, &labels, faults)?;
        } else if is_empty {
            return Err(unusable(what, faults.with_first("holds no samples")));
        }
        let (train, test) = match is_parted || is_whole {
            true => (train, test),
            false => carved(train, what, model.is_some(), &mut notes)?,
        };
        if train.is_spilled() {
            notes.push("the samples take more than --data-memory and lie in a temporary file".into());
        }
        let labels = if model.is_some() { labels } else { titled(labels, titles) };
        let validation = (!validation.is_empty()).then_some(validation);
        Ok(Parts { train, validation, test, labels, is_parted, notes })
    }
}

/// Returns the samples of each split. Those of classes beyond the list are in none.
fn parted(all: Dataset, splits: &[Split]) -> (Dataset, Dataset, Dataset) {
    let is_known = |index: usize| all.labels().get(index).is_none_or(|label| (*label as usize) < all.classes);
    if (0..all.len()).all(|index| splits[index] == Split::Train && is_known(index)) {
        let none = all.select(&[]);
        return (all, none.clone(), none);
    }
    let part = |wanted| all.select_where(|index| splits[index] == wanted && is_known(index));
    (part(Split::Train), part(Split::Validation), part(Split::Test))
}

/// Parts samples in training and test samples. Of those for a model that is there, what is there is judged as a whole where
/// it cannot be parted.
fn carved(train: Dataset, what: &str, has_model: bool, notes: &mut Vec<String>) -> Result<(Dataset, Dataset)> {
    match held_out(&train, what, notes) {
        Ok(places) => {
            if has_model {
                notes.clear();
            }
            Ok(train.part(&places))
        }
        Err(_) if has_model => {
            let none = train.select(&[]);
            Ok((train, none))
        }
        Err(error) => Err(error),
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

/// Returns the class of each name in a model's numbering; of one that it does not know it is beyond its list.
fn of_model(names: &Names, labels: &[String], titles: &[String]) -> Vec<u32> {
    let class = |name: &String| {
        let place = |name: &String| labels.iter().position(|label| label == name);
        let place = title(name, titles).and_then(place).or_else(|| place(name));
        place.map_or(u32::MAX, |place| place as u32)
    };
    names.list().iter().map(class).collect()
}

/// Reports samples of classes that are not trained on.
fn report_unknown<'n>(
    codes: &[u32],
    unknown: impl Fn(u32) -> Option<&'n String>,
    whose: &str,
    origins: &Origins,
    faults: &mut Faults,
) -> Result<()> {
    for (index, code) in codes.iter().enumerate() {
        let Some(class) = unknown(*code) else { continue };
        let (file, row) = origins.of(index as u32);
        faults.report(file, row, format!("class {} is not among {whose}", crate::ids::quote(class)))?;
    }
    Ok(())
}

/// The names of the classes in a part, or in all, sorted, and the class of each name; that of a name which
/// only others have is beyond the list.
fn classes(codes: &[u32], names: &Names, splits: &[Split], part: Option<Split>) -> (Vec<u32>, Vec<String>) {
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
    (class, labels)
}

/// Returns the places of a tenth to be held out for the test, every class in proportion; a class keeps at least one sample to
/// learn from.
fn held_out(all: &Dataset, what: &str, notes: &mut Vec<String>) -> Result<Vec<usize>> {
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
    if drawn.is_empty() {
        return Err(unusable(what, "holds one sample of each class; that is too few to train and to test"));
    }
    let every = if all.labels().is_empty() { "" } else { ", every class in proportion" };
    notes.push(format!("no test part is marked: {} of {} samples are held out for it{every}", drawn.len(), all.len()));
    Ok(drawn)
}
