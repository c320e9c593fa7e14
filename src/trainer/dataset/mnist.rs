//! A folder with the four files of MNIST, or of a data set in its likeness.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::collect::Parts;
use super::faults::{Faults, unusable};
use super::idx::{self, Idx};
use super::memory::Budget;
use super::origins::Origins;
use super::picture::Pictures;
use super::store::{Element, Store};
use super::{DataOptions, Dataset, SampleKind, Targets};
use crate::error::Result;
use crate::repository::{ColourChoice, FitChoice, sha256_hex};
use crate::signature::{Fit, ImageTransform};

/// Checksums of the files beside them, in the format of `sha256sum`.
const CHECKSUMS: &str = "SHA256SUMS";

/// The beginnings of the names of the four files.
const STEMS: [&str; 4] =
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

/// The result of reading.
pub(super) struct Read {
    pub(super) parts: Parts,
    pub(super) transform: ImageTransform,
    /// The SHA-256 of each file by its name.
    pub(super) sha256: BTreeMap<String, String>,
}

/// Returns true if one of the four files is there.
pub(super) fn is_here(folder: &Path) -> bool {
    STEMS.iter().any(|stem| folder.join(stem).exists() || folder.join(format!("{stem}.gz")).exists())
}

/// Reads `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
/// `t10k-labels-idx1-ubyte`, each plain or with `.gz`, and checks them against `SHA256SUMS` if
/// that file is there.
///
/// # Errors
/// [`crate::error::Error::Data`] naming the file and what is wrong with it.
pub(super) fn read(folder: &Path, options: &DataOptions, faults: &mut Faults) -> Result<Read> {
    let expected = checksums(folder)?;
    let budget = options.budget();
    let mut reader = Reader { folder, options, budget, expected, sha256: BTreeMap::new(), pictures: None };
    let (label_file, mut train) = reader.part(STEMS[0], STEMS[1])?;
    let (test_label_file, mut test) = reader.part(STEMS[2], STEMS[3])?;
    let classes = match &options.expected {
        None => check_classes(&label_file, train.labels())?,
        // A model tells what classes there are.
        Some(_) => train.labels().iter().chain(test.labels()).max().map_or(0, |greatest| *greatest as usize + 1),
    };
    (train.classes, test.classes) = (classes, classes);
    test = of_known(test, classes, &test_label_file, faults)?;
    let labels = (0..classes).map(|class| class.to_string()).collect();
    let Reader { sha256, pictures, .. } = reader;
    let pictures = match pictures {
        Some((_, pictures)) => pictures,
        None => grey(options, [train.height, train.width])?,
    };
    let notes = pictures.note().into_iter().collect();
    let parts = Parts { train, validation: None, test, labels, is_parted: true, notes };
    Ok(Read { parts, transform: pictures.transform(), sha256 })
}

/// Reads the four files.
struct Reader<'a> {
    folder: &'a Path,
    options: &'a DataOptions,
    budget: Budget,
    expected: BTreeMap<String, String>,
    sha256: BTreeMap<String, String>,
    /// Height and width of the pictures of the first part, and what makes pixels of all.
    pictures: Option<([usize; 2], Pictures)>,
}

impl Reader<'_> {
    /// Reads one part: its label file and samples.
    fn part(&mut self, images: &str, labels: &str) -> Result<(String, Dataset)> {
        let (image_file, images) = read_idx(self.folder, images, 3, &self.expected, &mut self.sha256)?;
        let (label_file, labels) = read_idx(self.folder, labels, 1, &self.expected, &mut self.sha256)?;
        let [count, height, width] = images.dims[..] else {
            return Err(unusable(&image_file, "must have 3 dimensions"));
        };
        if labels.dims[0] != count {
            let problem = format!("holds {} labels for the {count} images of {image_file}", labels.dims[0]);
            return Err(unusable(&label_file, problem));
        }
        if count == 0 || height * width == 0 {
            return Err(unusable(&image_file, "holds no images"));
        }
        let (size, pictures) = match &mut self.pictures {
            Some(first) => first,
            none => none.insert(([height, width], grey(self.options, [height, width])?)),
        };
        if *size != [height, width] {
            return Err(unusable(&label_file, "belongs to images of another size than the training images"));
        }
        let pixels = drawn(&images.data, *size, pictures)?;
        let [channels, height, width] = pictures.shape();
        let record = channels * height * width;
        let store = Store::keep(Element::Pixel, record, pixels, &self.budget)?;
        let targets = Targets::Classes(labels.data.into_iter().map(u32::from).collect());
        let origins = Origins::Rows(image_file);
        let levels = pictures.levels().map(Arc::new);
        let shape = [channels, height, width];
        let all = Dataset::of_store(store, SampleKind::Images, shape, (targets, 0), origins);
        Ok((label_file, Dataset { levels, ..all }))
    }
}

/// Returns the test samples whose class is among those of the training samples; the others are reported.
fn of_known(test: Dataset, classes: usize, file: &str, faults: &mut Faults) -> Result<Dataset> {
    let mut known = Vec::with_capacity(test.len());
    for (row, label) in test.labels().iter().enumerate() {
        if *label as usize >= classes {
            let problem = format!("label {label} in row {row}; the training labels stop at {}", classes - 1);
            faults.report(file, None, problem)?;
        } else {
            known.push(row);
        }
    }
    Ok(if known.len() < test.len() { test.select(&known) } else { test })
}

/// Returns what makes pixels of pictures that are grey, as levels in IDX files are.
///
/// # Errors
/// As [`Pictures::new`].
fn grey(options: &DataOptions, size: [usize; 2]) -> Result<Pictures> {
    let mut options = options.clone();
    options.reading.image_size = None;
    if options.reading.colour == ColourChoice::Auto {
        options.reading.colour = ColourChoice::Grey;
    }
    let fit = options.reading.image_fit.unwrap_or(FitChoice::Stretch);
    Pictures::new(&options, size.map(|side| side as u32), Fit::CentreOfMass, fit)
}

/// Returns the pixels of all pictures as serving would take them.
///
/// # Errors
/// As [`Pictures::drawn`].
fn drawn(pixels: &[u8], [height, width]: [usize; 2], pictures: &mut Pictures) -> Result<Vec<u8>> {
    let mut all = Vec::with_capacity(pixels.len());
    for picture in pixels.chunks_exact(height * width) {
        let picture = pictures.drawn(picture.to_vec(), [height, width])?;
        all.extend(pictures.counted(picture));
    }
    Ok(all)
}

/// The number of classes: one more than the greatest label, each of which must occur.
fn check_classes(file: &str, labels: &[u32]) -> Result<usize> {
    let classes = labels.iter().max().map_or(0, |greatest| *greatest as usize + 1);
    if classes < 2 {
        return Err(unusable(file, "holds one class only; there is nothing to tell apart"));
    }
    let mut seen = vec![false; classes];
    labels.iter().for_each(|label| seen[*label as usize] = true);
    match seen.iter().position(|seen| !seen) {
        Some(class) => Err(unusable(file, format!("has labels up to {} but none of class {class}", classes - 1))),
        None => Ok(classes),
    }
}

fn checksums(folder: &Path) -> Result<BTreeMap<String, String>> {
    let path = folder.join(CHECKSUMS);
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let text = fs::read_to_string(&path).map_err(|error| unusable(path.display(), error))?;
    let parse = |line: &str| {
        line.split_once(char::is_whitespace)
            .map(|(sum, name)| (name.trim_start_matches([' ', '*']).to_owned(), sum.to_owned()))
    };
    Ok(text.lines().filter_map(parse).collect())
}

fn read_idx(
    folder: &Path,
    stem: &str,
    rank: u8,
    expected: &BTreeMap<String, String>,
    sha256: &mut BTreeMap<String, String>,
) -> Result<(String, Idx)> {
    let names = [format!("{stem}.gz"), stem.to_owned()];
    let name = names.iter().find(|name| folder.join(name).exists()).ok_or_else(|| {
        unusable(folder.join(&names[0]).display(), "does not exist; four files make up a data set of IDX files")
    })?;
    let file = folder.join(name).display().to_string();
    let bytes = fs::read(folder.join(name)).map_err(|error| unusable(&file, error))?;
    let sum = sha256_hex(&bytes);
    if let Some(expected) = expected.get(name).filter(|expected| **expected != sum) {
        let problem = format!("has SHA-256 {sum}, {CHECKSUMS} says {expected}; the copy is damaged");
        return Err(unusable(&file, problem));
    }
    sha256.insert(name.clone(), sum);
    let parsed = idx::parse(&bytes, rank).map_err(|problem| unusable(&file, problem))?;
    Ok((file, parsed))
}
