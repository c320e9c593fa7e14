//! Samples with what is to be learned of them, and how they are split.
//!
//! Every format ends in a [`Dataset`], a view of records that lie in memory or in a temporary file;
//! a split is another view of the same records.

mod collect;
mod faults;
mod folder;
mod idx;
mod memory;
mod mnist;
mod names;
mod options;
mod origins;
mod picture;
mod sequence;
mod source;
mod store;
mod stratified;
mod table;
mod texts;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

pub use collect::Split;
pub use faults::{Fault, FaultKind, Faults};
pub use options::{DEFAULT_DATA_MEMORY, DataOptions, Expected};
pub use picture::SeenPictures;
pub use sequence::{fitted, refitted};
pub use source::{DataSource, PartChoice};
pub use table::{recoded, seen_vocabulary};

use self::origins::{Origins, Places};
use self::store::{Element, Store, StoreWriter};
use self::stratified::stratified;
use self::texts::Texts;
use crate::error::{Error, Result};
use crate::transform::LevelTables;

/// More classes than this are refused: the confusion matrix of an evaluation has their square.
pub const MAX_CLASSES: usize = 1000;

/// The targets: a value for each sample.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// Its class.
    Classes(Vec<u32>),
    /// A number.
    Values(Vec<f64>),
}

impl Targets {
    /// Returns the number of targets.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes(labels) => labels.len(),
            Self::Values(values) => values.len(),
        }
    }

    /// Returns true if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn extend(&mut self, others: &Self) {
        match (self, others) {
            (Self::Classes(labels), Self::Classes(others)) => labels.extend(others),
            (Self::Values(values), Self::Values(others)) => values.extend(others),
            // All parts of a data set have targets of one kind.
            (Self::Classes(_), Self::Values(_)) | (Self::Values(_), Self::Classes(_)) => {}
        }
    }

    fn select(&self, indices: impl Iterator<Item = usize>) -> Self {
        match self {
            Self::Classes(labels) => Self::Classes(indices.map(|index| labels[index]).collect()),
            Self::Values(values) => Self::Values(indices.map(|index| values[index]).collect()),
        }
    }

    /// Keeps those at the places for which `is_kept`.
    fn retain(&mut self, is_kept: impl Fn(usize) -> bool) {
        match self {
            Self::Classes(labels) => retain(labels, is_kept),
            Self::Values(values) => retain(values, is_kept),
        }
    }
}

/// Keeps the elements at the places for which `is_kept`.
fn retain<T>(list: &mut Vec<T>, is_kept: impl Fn(usize) -> bool) {
    let mut place = 0;
    list.retain(|_| {
        place += 1;
        is_kept(place - 1)
    });
}

/// The kind of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleKind {
    /// Images, grey or in colour.
    Images,
    /// Rows of a table.
    Rows,
    /// Sequences of numbers or tokens.
    Sequences,
    /// Texts for a tokenizer.
    Texts,
}

impl SampleKind {
    /// Several of them, in a word.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Rows => "rows",
            Self::Sequences => "sequences",
            Self::Texts => "texts",
        }
    }

    /// Returns the name of their elements.
    pub fn elements(self) -> &'static str {
        match self {
            Self::Images => "pixels",
            Self::Rows => "columns",
            Self::Sequences => "channels",
            Self::Texts => "texts",
        }
    }
}

/// Images of one size, rows of a table or sequences, with their classes or values.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The kind of the samples.
    pub kind: SampleKind,
    /// Pixels in a row of an image; columns of a table; numbers in a step of a sequence.
    pub width: usize,
    /// Rows of an image; 1 for a table; steps of a sequence.
    pub height: usize,
    /// The channels of an image, 1 or 3, which lie one after the other; 1 for anything else.
    pub channels: usize,
    /// The number of classes; 1 when numbers are to be learned.
    pub classes: usize,
    /// The weight of each class in the loss; empty when all weigh 1.
    pub class_weights: Vec<f32>,
    store: Arc<Store>,
    /// The elements of the levels of images; none if the levels are the elements.
    levels: Option<Arc<LevelTables>>,
    /// The texts whose places the samples are; none of anything but texts.
    texts: Option<Arc<Texts>>,
    /// The rule that makes a sample of the elements of a record; none if they are its elements.
    view: Option<View>,
    /// The record of each sample.
    records: Arc<Vec<u32>>,
    targets: Arc<Targets>,
    origins: Arc<Origins>,
}

impl Dataset {
    /// Grey images in memory: the pixels of all, row by row, 0 to 255, and the class of each.
    ///
    /// # Panics
    /// When there is another number of pixels than `labels` and the size say.
    pub fn images(width: usize, height: usize, pixels: Vec<u8>, labels: Vec<u32>, classes: usize) -> Self {
        Self::pictures([1, height, width], pixels, labels, classes)
    }

    /// Images in memory of so many channels, rows and columns, channel by channel, and the class of each.
    ///
    /// # Panics
    /// When there is another number of pixels than `labels` and the shape say.
    pub fn pictures(shape: [usize; 3], pixels: Vec<u8>, labels: Vec<u32>, classes: usize) -> Self {
        let [channels, height, width] = shape;
        let record = channels * height * width;
        assert_eq!(pixels.len(), record * labels.len(), "one image for each label");
        let store = Store::in_memory(Element::Pixel, record, pixels);
        let origins = Origins::Rows("memory".into());
        Self::of_store(store, SampleKind::Images, shape, (Targets::Classes(labels), classes), origins)
    }

    /// All records of a store, which have this shape, with a target for each.
    fn of_store(
        store: Store,
        kind: SampleKind,
        [channels, height, width]: [usize; 3],
        (targets, classes): (Targets, usize),
        origins: Origins,
    ) -> Self {
        let records = Arc::new((0..targets.len() as u32).collect());
        let (store, targets, origins) = (Arc::new(store), Arc::new(targets), Arc::new(origins));
        let (class_weights, levels, texts, view) = (Vec::new(), None, None, None);
        Self {
            kind,
            width,
            height,
            channels,
            classes,
            class_weights,
            store,
            levels,
            texts,
            view,
            records,
            targets,
            origins,
        }
    }

    /// Returns the number of samples.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns true if it holds no samples.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Elements of one sample: the pixels of an image, the columns of a row, the numbers of all steps.
    pub fn image_len(&self) -> usize {
        self.channels * self.width * self.height
    }

    /// Returns true if the samples are images.
    pub fn is_images(&self) -> bool {
        self.kind == SampleKind::Images
    }

    /// Returns true if the channels of the images are blue, green and red.
    pub(super) fn is_bgr(&self) -> bool {
        self.levels.as_ref().is_some_and(|levels| levels.is_bgr())
    }

    /// Returns true if the samples did not fit into memory and are in a temporary file.
    pub fn is_spilled(&self) -> bool {
        self.store.is_spilled()
    }

    /// Returns the most bytes that the samples of the data set took at once in memory, and what of them is this part's store.
    #[cfg(test)]
    pub(super) fn most_taken(&self) -> (u64, *const ()) {
        (self.store.budget().most_taken(), Arc::as_ptr(&self.store).cast())
    }

    /// Returns the targets.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The class of each sample; empty when numbers are to be learned.
    pub fn labels(&self) -> &[u32] {
        if let Targets::Classes(labels) = &*self.targets { labels } else { &[] }
    }

    /// The number to be learned of each sample; empty when classes are.
    pub fn values(&self) -> &[f64] {
        if let Targets::Values(values) = &*self.targets { values } else { &[] }
    }

    /// The bytes of one sample: the pixels of an image, 32-bit little-endian floats of anything else, as they were read.
    ///
    /// # Errors
    /// [`Error::Io`] when samples lie in a temporary file that cannot be read.
    ///
    /// # Panics
    /// When `index` is not below [`Dataset::len`].
    pub fn image(&self, index: usize) -> Result<Cow<'_, [u8]>> {
        self.store.record(self.records[index] as usize)
    }

    /// The file that a sample comes from, and its row if the file has several: from 0 in IDX files, from 1 in
    /// tables.
    ///
    /// # Panics
    /// As [`Dataset::image`].
    pub fn origin(&self, index: usize) -> (&str, Option<u64>) {
        self.origins.of(self.records[index])
    }

    /// Appends the elements of one sample as floats, as serving would make them of the same picture or row.
    ///
    /// # Errors
    /// As [`Dataset::image`].
    ///
    /// # Panics
    /// As [`Dataset::image`].
    pub fn append(&self, index: usize, to: &mut Vec<f32>) -> Result<()> {
        let record = self.records[index] as usize;
        match (&self.levels, &self.view) {
            (Some(levels), _) => levels.append(&self.image(index)?, to),
            (None, Some(View(view))) => {
                let mut elements = Vec::with_capacity(self.image_len());
                self.store.append(record, &mut elements)?;
                view(&elements, to);
            }
            (None, None) => self.store.append(record, to)?,
        }
        Ok(())
    }

    /// The elements of consecutive samples.
    ///
    /// # Errors
    /// As [`Dataset::image`].
    pub fn inputs(&self, samples: Range<usize>) -> Result<Vec<f32>> {
        let mut elements = Vec::with_capacity(samples.len() * self.image_len());
        for index in samples {
            self.append(index, &mut elements)?;
        }
        Ok(elements)
    }

    /// Ranges of at most `size` consecutive samples that cover all.
    pub fn chunks(&self, size: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let len = self.len();
        (0..len).step_by(size.max(1)).map(move |start| start..len.min(start + size.max(1)))
    }

    /// The samples at these places, in this order.
    pub fn select(&self, indices: &[usize]) -> Self {
        self.chosen(indices.iter().copied())
    }

    /// The samples at the places for which `is_wanted`, in their order. Of very many samples, no list of places is made.
    fn select_where(&self, is_wanted: impl Fn(usize) -> bool + Copy) -> Self {
        let wanted = (0..self.len()).filter(|index| is_wanted(*index));
        let count = wanted.clone().count();
        // An iterator that knows its length is collected without room to grow.
        self.chosen(Counted { places: wanted, left: count })
    }

    fn chosen(&self, indices: impl Iterator<Item = usize> + Clone) -> Self {
        Self {
            class_weights: self.class_weights.clone(),
            store: self.store.clone(),
            levels: self.levels.clone(),
            texts: self.texts.clone(),
            view: self.view.clone(),
            records: Arc::new(indices.clone().map(|index| self.records[index]).collect()),
            targets: Arc::new(self.targets.select(indices)),
            origins: self.origins.clone(),
            ..*self
        }
    }

    /// The same pictures or texts as another kind of samples: so many numbers each, which are in memory.
    ///
    /// # Panics
    /// When there is another number of them.
    pub(super) fn with_features(&self, width: usize, numbers: &[f32]) -> Self {
        assert_eq!(numbers.len(), width * self.len(), "so many numbers for each sample");
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let store = Arc::new(Store::in_memory(Element::Float, 4 * width, bytes));
        let origins = Arc::new(self.origins.select(&self.records));
        let records = Arc::new((0..self.len() as u32).collect());
        let (kind, levels, texts, view) = (SampleKind::Rows, None, None, None);
        Self { kind, width, height: 1, channels: 1, store, levels, texts, view, records, origins, ..self.clone() }
    }

    /// The same samples with other targets.
    ///
    /// # Panics
    /// When there is another number of them.
    pub fn with_targets(&self, targets: Targets, classes: usize) -> Self {
        assert_eq!(targets.len(), self.len(), "a target for each sample");
        Self { targets: Arc::new(targets), classes, ..self.clone() }
    }

    /// The samples of floats, each made into another of this height and width by `change` whenever it is asked for: they take
    /// no memory of their own.
    fn changed(
        &self,
        [height, width]: [usize; 2],
        change: impl Fn(&[f32], &mut Vec<f32>) + Send + Sync + 'static,
    ) -> Self {
        let view: View = match self.view.clone() {
            None => View(Arc::new(change)),
            Some(View(earlier)) => View(Arc::new(move |before, after| {
                let mut between = Vec::new();
                earlier(before, &mut between);
                change(&between, after);
            })),
        };
        Self { width, height, view: Some(view), ..self.clone() }
    }

    /// The samples of several parts of one data set as one, in the order of the data where they lie together.
    ///
    /// # Errors
    /// As [`Dataset::image`], and [`Error::Io`] when a temporary file is needed and cannot be used.
    fn joined(parts: &[&Self]) -> Result<Self> {
        let first = parts[0];
        if let [alone] = parts {
            return Ok((*alone).clone());
        }
        let mut targets = first.targets.select(std::iter::empty());
        parts.iter().for_each(|part| targets.extend(&part.targets));
        if parts.iter().all(|part| Arc::ptr_eq(&part.store, &first.store)) {
            let all: Vec<u32> = parts.iter().flat_map(|part| part.records.iter().copied()).collect();
            let mut order: Vec<u32> = (0..all.len() as u32).collect();
            order.sort_unstable_by_key(|index| all[*index as usize]);
            let together = Self { records: Arc::new(all), targets: Arc::new(targets), ..first.clone() };
            return Ok(together.chosen(order.iter().map(|index| *index as usize)));
        }
        let element = if first.is_images() { Element::Pixel } else { Element::Float };
        let mut writer = StoreWriter::new(element, first.image_len(), first.store.budget());
        let mut origins = Origins::Listed { files: Vec::new(), places: Places::default() };
        let mut sample = Vec::new();
        for part in parts {
            for index in 0..part.len() {
                if first.is_images() {
                    writer.record(&part.image(index)?)?;
                } else {
                    sample.clear();
                    part.append(index, &mut sample)?;
                    writer.floats(&sample)?;
                }
            }
            origins.extend(part.origins.select(&part.records));
        }
        let (class_weights, levels, texts) = (first.class_weights.clone(), first.levels.clone(), first.texts.clone());
        let shape = [first.channels, first.height, first.width];
        let all = Self::of_store(writer.finish()?, first.kind, shape, (targets, first.classes), origins);
        Ok(Self { class_weights, levels, texts, ..all })
    }

    /// Splits off `count` samples with every class represented in proportion; both parts keep the
    /// original order. The same seed gives the same split.
    ///
    /// # Errors
    /// [`Error::Config`] when `count` leaves nothing to train on.
    pub fn split_off(self, count: usize, seed: u64) -> Result<(Self, Self)> {
        if count >= self.len() {
            let problem = format!("{count} of {} samples would leave none to train on", self.len());
            return Err(Error::Config { setting: "validation".into(), problem });
        }
        let held_out = self.drawn(count, seed, "split");
        Ok(self.part(&held_out))
    }

    /// Splits off the samples at these places; both parts keep the original order. What is left lies where all of them lay,
    /// unless they are used elsewhere.
    fn part(mut self, held_out: &[usize]) -> (Self, Self) {
        let mut is_held_out = vec![false; self.len()];
        held_out.iter().for_each(|&index| is_held_out[index] = true);
        let is_held_out = is_held_out.as_slice();
        let out = self.select_where(|index| is_held_out[index]);
        retain(Arc::make_mut(&mut self.records), |index| !is_held_out[index]);
        Arc::make_mut(&mut self.targets).retain(|index| !is_held_out[index]);
        (self, out)
    }

    /// The places of `count` samples, every class in proportion, drawn by the seed; ascending.
    pub fn sample(&self, count: usize, seed: u64) -> Vec<usize> {
        let mut indices = self.drawn(count.min(self.len()), seed, "split");
        indices.sort_unstable();
        indices
    }

    fn drawn(&self, count: usize, seed: u64, purpose: &str) -> Vec<usize> {
        match &*self.targets {
            Targets::Classes(labels) => {
                let class = |index: usize| labels[index] as usize;
                stratified((self.len(), class), self.classes, count, seed, purpose)
            }
            Targets::Values(_) => stratified((self.len(), |_| 0), 1, count, seed, purpose),
        }
    }
}

/// Appends the sample that the elements of a record make.
type Rule = dyn Fn(&[f32], &mut Vec<f32>) + Send + Sync;

/// The rule that makes a sample of the elements of a record.
#[derive(Clone)]
struct View(Arc<Rule>);

impl std::fmt::Debug for View {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("View")
    }
}

/// Places, of which so many are left.
#[derive(Clone)]
struct Counted<I> {
    places: I,
    left: usize,
}

impl<I: Iterator<Item = usize>> Iterator for Counted<I> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.saturating_sub(1);
        self.places.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::Augment;
    use crate::trainer::batches::BatchPlan;
    use crate::trainer::dataset::memory::Budget;
    use proptest::prelude::*;

    fn dataset(labels: Vec<u32>) -> Dataset {
        Dataset::images(1, 1, (0..labels.len()).map(|i| i as u8).collect(), labels, 3)
    }

    #[test]
    fn a_split_that_leaves_nothing_is_refused() {
        assert!(dataset(vec![0, 1, 2]).split_off(3, 0).is_err());
    }

    #[test]
    fn chunks_cover_every_sample_once() {
        let data = dataset(vec![0; 7]);
        assert_eq!(data.chunks(3).collect::<Vec<_>>(), [0..3, 3..6, 6..7]);
        assert_eq!(data.inputs(5..7).unwrap(), [5.0, 6.0]);
        assert_eq!(data.select(&[]).chunks(3).count(), 0);
    }

    proptest! {
        #[test]
        fn batches_are_the_same_bit_for_bit_wherever_the_samples_lie(
            pixels in prop::collection::vec(any::<u8>(), 6..240), seed: u64, epoch in 0usize..3, batch_size in 1usize..9, moved: bool,
        ) {
            let samples = pixels.len() / 6;
            let labels = (0..samples as u32).map(|sample| sample % 3).collect();
            let memory = Dataset::images(3, 2, pixels[..samples * 6].to_vec(), labels, 3);
            let store = Store::keep(Element::Pixel, 6, pixels[..samples * 6].to_vec(), &Budget::new(0)).unwrap();
            let spilled = Dataset { store: Arc::new(store), ..memory.clone() };
            prop_assert!(spilled.is_spilled() && !memory.is_spilled());
            let (memory, spilled) = (memory.split_off(samples / 4, seed).unwrap().0, spilled.split_off(samples / 4, seed).unwrap().0);
            let augment = if moved { Augment::moves(5.0, 1.0, 0.1) } else { Augment::NONE };
            let plan = BatchPlan {
                seed, epoch, batch_size, min_steps: 0, dropout: vec![(2, 0.5)], augment, mixup: 0.0, cutmix: 0.0, label_smoothing: 0.0, noise: None,
            };
            let order = plan.order(memory.len());
            for step in 0..plan.steps(memory.len()) {
                prop_assert_eq!(plan.batch(&memory, &order, step).unwrap(), plan.batch(&spilled, &order, step).unwrap());
            }
        }

        #[test]
        fn a_split_parts_the_data_and_keeps_the_proportions(labels in prop::collection::vec(0u32..3, 2..200), part in 0.0f64..0.9, seed: u64) {
            let all = dataset(labels);
            let count = (all.len() as f64 * part) as usize;
            let (rest, out) = all.clone().split_off(count, seed).unwrap();
            prop_assert_eq!((rest.len(), out.len()), (all.len() - count, count));
            let pixels = |data: &Dataset| data.inputs(0..data.len()).unwrap();
            let mut joined = [pixels(&rest), pixels(&out)].concat();
            joined.sort_unstable_by(f32::total_cmp);
            prop_assert_eq!(joined, pixels(&all));
            for class in 0..3u32 {
                let of = |data: &Dataset| data.labels().iter().filter(|label| **label == class).count() as f64;
                prop_assert!((of(&out) - of(&all) * count as f64 / all.len() as f64).abs() <= 1.0);
            }
            let again = all.clone().split_off(count, seed).unwrap();
            prop_assert_eq!((pixels(&again.0), pixels(&again.1)), (pixels(&rest), pixels(&out)));
        }
    }
}
