//! The sizes and colours of pictures, pictures that are nearly the same, and a contact sheet.

use std::collections::{BTreeMap, HashMap};

use image::ExtendedColorType;
use serde::Serialize;

use super::{Duplicate, EXAMPLES, origin};
use crate::error::Result;
use crate::trainer::dataset::{Dataset, SeenPictures, Split};
use crate::trainer::images::{encode, pixels};

/// Sizes that are told one by one.
const SHOWN_SIZES: usize = 6;

/// Rows and columns of the brightness of a picture, of which neighbours in a row are compared: 64 signs.
const ROWS: usize = 8;
const COLUMNS: usize = 9;

/// Signs in which pictures that are nearly the same may differ, and the parts of them of which one is then equal.
const DIFFERING: u32 = 3;
const BANDS: u32 = DIFFERING + 1;

/// Pictures of one look that are compared pixel by pixel, at most.
const MOST_ALIKE: usize = 64;

/// The root of the mean square by which pixels of nearly the same pictures differ, in levels of 255, at most.
const NEAR: f64 = 12.0;

/// Classes and pictures of each that a contact sheet shows, at most.
const SHEET_CLASSES: usize = 24;
const SHEET_COLUMNS: usize = 12;

/// The longer side of a picture on a contact sheet, and the gap around it.
const TILE: usize = 96;
const GAP: usize = 3;

/// The grey level of the gaps.
const PAPER: u8 = 96;

/// What the files of pictures are like.
#[derive(Debug, Serialize)]
pub struct PictureFigures {
    /// The most frequent sizes, height and width, with their counts.
    pub sizes: Vec<([u32; 2], u64)>,
    /// The number of different sizes.
    pub different_sizes: usize,
    /// The number of pictures with a pixel that is not grey; not counted of drawings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coloured: Option<u64>,
    /// The number of pictures.
    pub pictures: u64,
}

impl PictureFigures {
    /// Makes figures of what was seen while pictures were read.
    pub(super) fn of(seen: &SeenPictures) -> Self {
        let mut sizes: Vec<([u32; 2], u64)> = seen.sizes.iter().map(|(size, count)| (*size, *count)).collect();
        let different_sizes = sizes.len();
        sizes.sort_by_key(|(size, count)| (std::cmp::Reverse(*count), *size));
        sizes.truncate(SHOWN_SIZES);
        Self { sizes, different_sizes, coloured: seen.coloured, pictures: seen.count }
    }
}

/// A picture of a part, and how it looks.
struct Look<'p> {
    split: Split,
    part: &'p Dataset,
    index: usize,
    signs: u64,
}

/// Counts the pictures that nearly are those of an earlier part, as after another compression or size, and gives examples.
/// What is the very same is not counted.
///
/// # Errors
/// As [`Dataset::image`].
pub(super) fn near_duplicates(parts: &[(Split, &Dataset)]) -> Result<(u64, Vec<Duplicate>)> {
    let (mut found, mut examples) = (0, Vec::new());
    let mut earlier: Vec<Look<'_>> = Vec::new();
    let mut by_band: HashMap<(u32, u16), Vec<usize>> = HashMap::new();
    for (split, part) in parts {
        let mut looks = Vec::with_capacity(part.len());
        for index in 0..part.len() {
            let look = Look { split: *split, part, index, signs: signs(part, index)? };
            if let Some(first) = nearest(&look, &earlier, &by_band)? {
                found += 1;
                if examples.len() < EXAMPLES {
                    let contradicts = first.part.labels().get(first.index) != part.labels().get(index);
                    let [first, again] = [first, &look].map(|look| (look.split, origin(look.part, look.index)));
                    examples.push(Duplicate { first, again, contradicts });
                }
            }
            looks.push(look);
        }
        for look in looks {
            bands(look.signs).for_each(|band| by_band.entry(band).or_default().push(earlier.len()));
            earlier.push(look);
        }
    }
    Ok((found, examples))
}

/// Returns the earlier picture that a picture nearly is.
fn nearest<'l, 'p>(
    look: &Look<'p>,
    earlier: &'l [Look<'p>],
    by_band: &HashMap<(u32, u16), Vec<usize>>,
) -> Result<Option<&'l Look<'p>>> {
    // A plain picture looks like any other plain one.
    if look.signs == 0 || look.signs == u64::MAX {
        return Ok(None);
    }
    let picture = look.part.image(look.index)?;
    let mut compared = 0;
    for at in bands(look.signs).filter_map(|band| by_band.get(&band)).flatten() {
        let other = &earlier[*at];
        if (other.signs ^ look.signs).count_ones() > DIFFERING {
            continue;
        }
        let there = other.part.image(other.index)?;
        let difference = |(a, b): (&u8, &u8)| (f64::from(*a) - f64::from(*b)).powi(2);
        let square = picture.iter().zip(there.iter()).map(difference).sum::<f64>() / picture.len().max(1) as f64;
        if there.len() == picture.len() && square > 0.0 && square.sqrt() <= NEAR {
            return Ok(Some(other));
        }
        compared += 1;
        if compared >= MOST_ALIKE {
            break;
        }
    }
    Ok(None)
}

fn bands(signs: u64) -> impl Iterator<Item = (u32, u16)> {
    (0..BANDS).map(move |band| (band, (signs >> (16 * band)) as u16))
}

/// Returns the signs of a picture: whether its brightness falls from each of 8 × 9 fields to the next one in its row.
fn signs(part: &Dataset, index: usize) -> Result<u64> {
    let planes = part.image(index)?;
    let (width, height) = (part.width, part.height);
    let mut sums = [[0u64; COLUMNS]; ROWS];
    for plane in planes.chunks_exact((width * height).max(1)) {
        for (y, row) in plane.chunks_exact(width.max(1)).enumerate() {
            for (x, level) in row.iter().enumerate() {
                sums[y * ROWS / height][x * COLUMNS / width] += u64::from(*level);
            }
        }
    }
    // Fields of different sizes are compared by their means.
    let widths: Vec<u64> =
        (0..COLUMNS).map(|field| (0..width).filter(|x| x * COLUMNS / width == field).count().max(1) as u64).collect();
    let mut signs = 0;
    for row in &sums {
        for field in 0..COLUMNS - 1 {
            let falls = row[field] * widths[field + 1] > row[field + 1] * widths[field];
            signs = signs << 1 | u64::from(falls);
        }
    }
    Ok(signs)
}

/// Draws the first pictures of each class, a class in a row, as a PNG file.
///
/// # Errors
/// As [`Dataset::image`], and [`crate::error::Error::Internal`] when the encoder fails.
pub(super) fn contact_sheet(part: &Dataset) -> Result<Vec<u8>> {
    let step = part.width.max(part.height).div_ceil(TILE).max(1);
    let (width, height) = (part.width.div_ceil(step), part.height.div_ceil(step));
    let mut rows: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for index in 0..part.len() {
        let class = part.labels().get(index).copied().unwrap_or_default();
        if rows.len() < SHEET_CLASSES || rows.contains_key(&class) {
            let row = rows.entry(class).or_default();
            if row.len() < SHEET_COLUMNS {
                row.push(index);
            }
        }
    }
    let columns = rows.values().map(Vec::len).max().unwrap_or_default();
    let (wide, high) = (columns * (width + GAP) + GAP, rows.len() * (height + GAP) + GAP);
    let mut sheet = vec![PAPER; wide * high * 3];
    for (row, indices) in rows.values().enumerate() {
        for (column, index) in indices.iter().enumerate() {
            let picture = pixels(part, *index)?;
            let (left, top) = (GAP + column * (width + GAP), GAP + row * (height + GAP));
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                let from = (y * step * part.width + x * step) * part.channels;
                let pixel = &picture[from..from + part.channels];
                let to = ((top + y) * wide + left + x) * 3;
                let levels = if let &[red, green, blue] = pixel { [red, green, blue] } else { [pixel[0]; 3] };
                sheet[to..to + 3].copy_from_slice(&levels);
            }
        }
    }
    encode(&sheet, wide, high, ExtendedColorType::Rgb8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A colourful picture of 3 × 20 × 30 pixels that differs with its number.
    fn picture(number: usize) -> Vec<u8> {
        (0..1800).map(|at| ((at * (number * 2 + 3) / 7 + at / 30 * number * 11) % 200) as u8).collect()
    }

    fn part(pictures: &[Vec<u8>]) -> Dataset {
        Dataset::pictures([3, 20, 30], pictures.concat(), (0..pictures.len() as u32).collect(), pictures.len())
    }

    #[test]
    fn what_is_nearly_the_same_in_another_part_is_found_and_nothing_else() {
        let train = part(&(0..6).map(picture).collect::<Vec<_>>());
        let softer: Vec<u8> = picture(4).iter().enumerate().map(|(at, level)| level + (at % 3) as u8).collect();
        let test = part(&[picture(9), softer, picture(2), vec![40; 1800]]);
        let (count, examples) = near_duplicates(&[(Split::Train, &train), (Split::Test, &test)]).unwrap();
        assert_eq!(count, 1, "{examples:?}");
        assert_eq!((examples[0].first.0, examples[0].again.0), (Split::Train, Split::Test));
        assert!(examples[0].first.1.ends_with("row 4") && examples[0].again.1.ends_with("row 1"), "{examples:?}");
        assert!(examples[0].contradicts);
    }

    #[test]
    fn a_contact_sheet_has_a_row_for_each_class() {
        let sheet = contact_sheet(&part(&[picture(0), picture(1)])).unwrap();
        let size = |at: usize| u32::from_be_bytes([sheet[at], sheet[at + 1], sheet[at + 2], sheet[at + 3]]);
        assert_eq!((size(16), size(20)), (36, 49));
        let large = Dataset::images(500, 300, vec![7; 150_000], vec![0], 1);
        let sheet = contact_sheet(&large).unwrap();
        assert!(sheet.len() < 20_000);
    }
}
