//! A folder with the four files of MNIST, or of a data set in its likeness.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::Dataset;
use super::idx::{self, Idx};
use crate::error::{Error, Result};
use crate::repository::sha256_hex;

/// Checksums of the files beside them, in the format of `sha256sum`.
const CHECKSUMS: &str = "SHA256SUMS";

/// Training and test images, and the SHA-256 of each file they came from.
#[derive(Debug)]
pub struct Mnist {
    /// To learn from.
    pub train: Dataset,
    /// To be judged by, once.
    pub test: Dataset,
    /// SHA-256 by file name.
    pub sha256: BTreeMap<String, String>,
}

impl Mnist {
    /// Reads `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
    /// `t10k-labels-idx1-ubyte`, each plain or with `.gz`, and checks them against `SHA256SUMS` if
    /// that file is there.
    ///
    /// # Errors
    /// [`Error::Data`] naming the file and what is wrong with it.
    pub fn read(folder: &Path) -> Result<Self> {
        let expected = checksums(folder)?;
        let mut sha256 = BTreeMap::new();
        let mut part = |prefix: &str| {
            let (image_file, images) =
                read_idx(folder, &format!("{prefix}-images-idx3-ubyte"), 3, &expected, &mut sha256)?;
            let (label_file, labels) =
                read_idx(folder, &format!("{prefix}-labels-idx1-ubyte"), 1, &expected, &mut sha256)?;
            let [count, height, width] = images.dims[..] else {
                return Err(data(&image_file, "must have 3 dimensions"));
            };
            if labels.dims[0] != count {
                return Err(data(
                    &label_file,
                    &format!("holds {} labels for the {count} images of {image_file}", labels.dims[0]),
                ));
            }
            if count == 0 || height * width == 0 {
                return Err(data(&image_file, "holds no images"));
            }
            let dataset = Dataset { width, height, pixels: images.data, labels: labels.data, classes: 0 };
            Ok((label_file, dataset))
        };
        let (label_file, mut train) = part("train")?;
        let (test_label_file, mut test) = part("t10k")?;
        train.classes = check_classes(&label_file, &train.labels)?;
        test.classes = train.classes;
        if let Some(row) = test.labels.iter().position(|label| usize::from(*label) >= train.classes) {
            let problem =
                format!("label {} in row {row}; the training labels stop at {}", test.labels[row], train.classes - 1);
            return Err(data(&test_label_file, &problem));
        }
        if (train.width, train.height) != (test.width, test.height) {
            return Err(data(&test_label_file, "belongs to images of another size than the training images"));
        }
        Ok(Self { train, test, sha256 })
    }
}

/// The number of classes: one more than the greatest label, each of which must occur.
fn check_classes(file: &str, labels: &[u8]) -> Result<usize> {
    let classes = labels.iter().max().map_or(0, |greatest| usize::from(*greatest) + 1);
    if classes < 2 {
        return Err(data(file, "holds one class only; there is nothing to tell apart"));
    }
    let mut seen = vec![false; classes];
    labels.iter().for_each(|label| seen[usize::from(*label)] = true);
    match seen.iter().position(|seen| !seen) {
        Some(class) => Err(data(file, &format!("has labels up to {} but none of class {class}", classes - 1))),
        None => Ok(classes),
    }
}

fn checksums(folder: &Path) -> Result<BTreeMap<String, String>> {
    let path = folder.join(CHECKSUMS);
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let text = fs::read_to_string(&path).map_err(|error| data(&path.display().to_string(), &error.to_string()))?;
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
        data(
            &folder.join(&names[0]).display().to_string(),
            "does not exist; --data names a folder with the four MNIST files",
        )
    })?;
    let file = folder.join(name).display().to_string();
    let bytes = fs::read(folder.join(name)).map_err(|error| data(&file, &error.to_string()))?;
    let sum = sha256_hex(&bytes);
    if let Some(expected) = expected.get(name).filter(|expected| **expected != sum) {
        return Err(data(&file, &format!("has SHA-256 {sum}, {CHECKSUMS} says {expected}; the copy is damaged")));
    }
    sha256.insert(name.clone(), sum);
    let parsed = idx::parse(&bytes, rank).map_err(|problem| data(&file, &problem))?;
    Ok((file, parsed))
}

fn data(file: &str, problem: &str) -> Error {
    Error::Data { file: file.to_owned(), problem: problem.to_owned() }
}
