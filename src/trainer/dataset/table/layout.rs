//! The parts of a sample: what the columns of a table are for a network.

use std::path::PathBuf;

use super::look::Look;
use super::numbers::Style;
use super::seen::{MAX_CATEGORIES, Seen};
use super::sequences::SequenceLayout;
use crate::error::{Error, Result};
use crate::repository::{FitChoice, PixelColumns, ReadSettings};
use crate::signature::{ColumnKind, DateOrder};
use crate::trainer::dataset::faults::unusable;
use crate::trainer::dataset::names::listed;
use crate::trainer::dataset::picture::Chosen;
use crate::trainer::dataset::{DataOptions, Expected};

/// From this side on, a square of nameless columns of whole numbers from 0 to 255 is a picture.
const SURE_SIDE: usize = 14;

/// Columns that are called as pixels are, from which on it is said how a picture can be made of them.
const FEWEST_PIXELS: usize = 16;

/// The parts of a sample.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Columns of numbers and categories.
    Columns(Vec<Kept>),
    /// A column for each pixel of a picture of this height and width.
    Pixels { columns: Vec<usize>, size: [u32; 2] },
    /// A column with a picture's file, or its name in this folder; all are brought to this height and width.
    Pictures { column: usize, folder: Option<PathBuf>, size: [u32; 2], fit: FitChoice },
    /// A column with a sequence.
    Sequences(SequenceLayout),
}

/// A column to learn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) column: usize,
    pub(super) reads: Reads,
}

/// How the cells of a column become elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// They are numbers, which are written so.
    Numbers(Style),
    /// They are numbers, which are written so, less this one.
    Shifted(Style, i64),
    /// They are dates or times, which are written so, and the day that counts as 0.
    Moments(DateOrder, i32),
    /// They are texts, each of which has a number.
    Categories,
    /// They are texts, which are learned from by so many n-grams.
    Texts(usize),
}

impl Look<'_> {
    /// Returns the parts of a sample that a model takes.
    ///
    /// # Errors
    /// [`Error::Data`] naming what it takes and the table does not have.
    pub(super) fn expected(&mut self, what: &str, expected: &Expected) -> Result<Layout> {
        if let Some(image) = &expected.transform.image {
            let (width, height) = (image.width(), image.height());
            if let Some(pictures) = self.pictures(Some([height, width])) {
                return Ok(pictures);
            }
            let columns = self.pixel_columns([height, width]).ok_or_else(|| {
                let problem =
                    format!("holds no pictures and no {width} × {height} columns of pixels, which the model takes");
                unusable(what, problem)
            })?;
            return Ok(Layout::Pixels { columns, size: [height, width] });
        }
        let mut kept = Vec::with_capacity(expected.transform.columns.len());
        for column in &expected.transform.columns {
            let name = crate::ids::quote(&column.name);
            let place = self.columns.iter().position(|other| *other == column.name);
            let place = place.ok_or_else(|| unusable(what, format!("has no column {name}, which the model takes")))?;
            let seen = &self.seen[place];
            let reads = match column.kind {
                ColumnKind::Number => Reads::Numbers(seen.style(self.settings.decimal).unwrap_or_default()),
                ColumnKind::Shifted { origin } => {
                    Reads::Shifted(seen.style(self.settings.decimal).unwrap_or_default(), origin)
                }
                ColumnKind::Moment { order, origin } => Reads::Moments(order, origin),
                ColumnKind::Category { .. } => Reads::Categories,
                ColumnKind::Text { grams } => Reads::Texts(grams),
            };
            if matches!(reads, Reads::Numbers(_) | Reads::Shifted(..))
                && seen.numbers == 0
                && seen.texts > 0
                && seen.style(self.settings.decimal).is_none()
            {
                return Err(unusable(what, format!("holds texts in column {name}, the model takes numbers there")));
            }
            kept.push(Kept { column: place, reads });
        }
        if kept.is_empty() {
            return Err(unusable(what, "is a table, which the model does not take"));
        }
        Ok(Layout::Columns(kept))
    }

    /// Returns the parts of a sample; `None` when there are none.
    ///
    /// # Errors
    /// [`Error::Config`] when the columns are not the picture that a setting says.
    pub(super) fn layout(&mut self) -> Result<Option<Layout>> {
        if let Some(pictures) = self.pictures(self.settings.image_size) {
            return Ok(Some(pictures));
        }
        let pixels = match self.settings.picture {
            Some(PixelColumns::Picture(size)) => Some(self.asked_picture(size)?),
            Some(PixelColumns::Table) => None,
            None => self.likely_picture(),
        };
        Ok(pixels.or_else(|| self.table()))
    }

    /// Returns the picture that a setting says, and says what is left out for it.
    fn asked_picture(&mut self, size: [u32; 2]) -> Result<Layout> {
        let refuse = |problem| Error::Config { setting: "picture".into(), problem };
        let columns = self.pixel_columns(size).ok_or_else(|| {
            let [height, width] = size;
            let pixels = u64::from(height) * u64::from(width);
            refuse(format!(
                "a picture of {height}x{width} has {pixels} pixels, and there are {} columns to learn from; --ignore leaves out others",
                self.features.len()
            ))
        })?;
        if let Some(other) = columns.iter().find(|index| !self.seen[**index].is_pixel()) {
            let name = crate::ids::quote(&self.columns[*other]);
            return Err(refuse(format!("column {name} does not hold whole numbers from 0 to 255, as pixels are")));
        }
        self.note_others(&columns);
        Ok(Layout::Pixels { columns, size })
    }

    /// Says which columns are left out where these, in their order, are all of a sample.
    fn note_others(&mut self, columns: &[usize]) {
        let others = self.features.iter().filter(|index| columns.binary_search(index).is_err());
        let others: Vec<String> = others.map(|index| self.columns[*index].clone()).collect();
        if !others.is_empty() {
            self.notes.push(format!("what is learned from is the picture alone; left out: {}", listed(&others)));
        }
    }

    /// Returns as many columns to learn from as a picture has pixels: all, or all but the index of the rows, or those that
    /// are called as pixels are.
    fn pixel_columns(&self, [height, width]: [u32; 2]) -> Option<Vec<usize>> {
        let is_called = |index: &usize| is_pixel_name(&self.columns[*index]);
        let called = self.features.iter().copied().filter(is_called).collect();
        let candidates = [self.features.clone(), self.without_index(), called];
        candidates.into_iter().find(|columns| columns.len() as u64 == u64::from(height) * u64::from(width))
    }

    fn without_index(&self) -> Vec<usize> {
        self.features.iter().copied().filter(|index| !self.is_index(*index)).collect()
    }

    /// Returns the square picture whose pixels the columns seem to be, and says so; of pixels that are no square it is said
    /// how to tell their picture.
    fn likely_picture(&mut self) -> Option<Layout> {
        let candidates = [self.features.clone(), self.without_index()];
        let found = candidates.iter().find_map(|features| {
            let side = pixels(self.columns, &self.seen, features)?;
            Some(Layout::Pixels { columns: features.clone(), size: [side as u32; 2] })
        });
        let count = candidates[1].len();
        if let Some(Layout::Pixels { columns, size: [side, _] }) = &found {
            self.notes.push(format!(
                "{} columns are taken for the pixels of pictures of {side}x{side}; --picture HxW says another size, --picture \
                 none that they are no picture",
                columns.len()
            ));
            self.note_others(columns);
        } else if count >= FEWEST_PIXELS && candidates[1].iter().all(|index| self.is_called_pixel(*index)) {
            self.notes.push(format!(
                "{count} columns are called as pixels are, and are no square; --picture HxW makes pictures of them"
            ));
        }
        found
    }

    /// Returns true if a column holds what a pixel does and is called so.
    fn is_called_pixel(&self, column: usize) -> bool {
        self.seen[column].is_pixel() && is_pixel_name(&self.columns[column])
    }

    /// Returns the columns that a row of a table is learned from; `None` when there are none.
    fn table(&mut self) -> Option<Layout> {
        let (mut kept, mut counting) = (Vec::new(), Vec::new());
        for index in self.features.clone() {
            let Some(column) = self.kept(index) else { continue };
            if self.is_index(index) { counting.push(column) } else { kept.push(column) }
        }
        if kept.is_empty() {
            // There is nothing else to learn from.
            return (!counting.is_empty()).then_some(Layout::Columns(counting));
        }
        for Kept { column, .. } in counting {
            let name = &self.columns[column];
            self.notes
                .push(format!("column {name} is left out: it is the index of the rows; --keep {name} learns from it"));
        }
        for Kept { column, reads } in &kept {
            let (name, seen) = (&self.columns[*column], &self.seen[*column]);
            match reads {
                Reads::Numbers(style) | Reads::Shifted(style, _) => {
                    self.notes.extend(seen.number_notes(name, *style, false));
                }
                Reads::Moments(order, _) => self.notes.push(seen.moment_note(name, *order)),
                Reads::Categories => self.notes.extend(seen.mixture(name)),
                Reads::Texts(_) => self.notes.push(format!(
                    "column {name} holds texts; what is learned from are their words and parts of words; --ignore {name} leaves it \
                     out, --sequence {name} learns from it alone"
                )),
            }
        }
        Some(Layout::Columns(kept))
    }

    /// Returns a column to learn from, or says why nothing is learned from it.
    fn kept(&mut self, column: usize) -> Option<Kept> {
        let (name, seen) = (&self.columns[column], &self.seen[column]);
        let style = seen.style(self.settings.decimal);
        let moments = seen.order().filter(|_| style.is_none());
        let is_said = self.settings.texts.contains(name);
        let problem = if seen.lists > 0 {
            format!("it holds lists; --sequence {name} learns from them")
        } else if seen.binaries > 0 {
            "it holds bytes that are no pictures and no text".into()
        } else if seen.numbers + seen.texts == 0 {
            "it has no values".into()
        } else if !is_said
            && style.is_none()
            && moments.is_none()
            && seen.names.len() > MAX_CATEGORIES
            && !seen.familiar.is_telling()
        {
            format!(
                "it has more than {MAX_CATEGORIES} different texts, of which few have words in common; --texts {name} learns from \
                 their parts all the same"
            )
        } else {
            let is_text = is_said || seen.names.len() > MAX_CATEGORIES;
            let reads = match (style, moments) {
                _ if is_said => Reads::Texts(seen.grams()),
                (None, None) if is_text => Reads::Texts(seen.grams()),
                (Some(style), _) => match seen.origin(style) {
                    Some(origin) => Reads::Shifted(style, origin),
                    None => Reads::Numbers(style),
                },
                (None, Some((order, origin))) => Reads::Moments(order, origin),
                (None, None) => Reads::Categories,
            };
            return Some(Kept { column, reads });
        };
        self.notes.push(format!("column {name} is left out: {problem}"));
        None
    }

    /// Returns true for a column that says which row a row is, as pandas writes its index.
    fn is_index(&self, column: usize) -> bool {
        let name = &self.columns[column];
        let is_nameless = name.starts_with("Unnamed: ") || name.starts_with("__index_level_");
        let is_whole = || self.seen[column].style(None).is_some_and(|style| !self.seen[column].has_fractions(style));
        (is_nameless && is_whole() || self.seen[column].counts_rows()) && !self.settings.keep.contains(name)
    }

    /// Returns the column of pictures, brought to this height and width or else the commonest.
    fn pictures(&mut self, asked: Option<[u32; 2]>) -> Option<Layout> {
        let files = self.features.iter().copied().find(|index| self.seen[*index].files > 0);
        let named = self.named.clone().filter(|(column, _)| self.features.contains(column));
        let (column, folder) = match (files, named) {
            (Some(column), _) => (column, None),
            (None, Some((column, folder))) => (column, Some(folder)),
            (None, None) => return None,
        };
        let reading = ReadSettings { image_size: asked, ..self.settings.clone() };
        let image = self.image.clone();
        let options = DataOptions { reading, image, ..DataOptions::default() };
        let Chosen { size, fit, note } = Chosen::of(&self.sizes, &options)?;
        let others: Vec<String> =
            self.features.iter().filter(|index| **index != column).map(|index| self.columns[*index].clone()).collect();
        let how = if folder.is_some() { "pictures are the files that column" } else { "pictures are in column" };
        let names = if folder.is_some() { " names" } else { "" };
        let left_out = if others.is_empty() { String::new() } else { format!("; left out: {}", listed(&others)) };
        self.notes.push(format!("{how} {}{names}{left_out}", self.columns[column]));
        self.notes.extend(note);
        Some(Layout::Pictures { column, folder, size, fit })
    }
}

/// The side of the picture whose pixels the columns are, by their names, or by their number if they have none.
fn pixels(columns: &[String], seen: &[Seen], features: &[usize]) -> Option<usize> {
    let side = features.len().isqrt();
    if side < 2 || side * side != features.len() || !features.iter().all(|index| seen[*index].is_pixel()) {
        return None;
    }
    let is_named = |index: &usize| is_pixel_name(&columns[*index]);
    let is_nameless = |index: &usize| is_numbered(&columns[*index], &["column", ""]);
    let is_picture = features.iter().all(is_named) || side >= SURE_SIDE && features.iter().all(is_nameless);
    is_picture.then_some(side)
}

/// Returns true for names of pixels: `pixel7`, `px_7`, `3x4`.
fn is_pixel_name(name: &str) -> bool {
    let place = name.to_ascii_lowercase();
    let is_place = place.split_once('x').is_some_and(|(y, x)| y.parse::<u16>().is_ok() && x.parse::<u16>().is_ok());
    is_place || is_numbered(name, &["pixel", "px"])
}

/// Returns true for a name that is one of these words and a number.
fn is_numbered(name: &str, words: &[&str]) -> bool {
    let name = name.to_ascii_lowercase();
    let rest = words.iter().find_map(|word| name.strip_prefix(word));
    rest.map(|rest| rest.trim_start_matches('_'))
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::dataset::table::cells::Cell;

    fn seen(cells: &[&str]) -> Seen {
        let mut seen = Seen::default();
        cells.iter().for_each(|cell| seen.add(&Cell::of_text(cell, &[]), true, &mut Vec::new()));
        seen
    }

    #[test]
    fn squares_of_pixels_are_known_by_name_or_by_their_size() {
        let check = |names: Vec<String>, value: &str| {
            let all: Vec<Seen> = names.iter().map(|_| seen(&["0", value])).collect();
            pixels(&names, &all, &(0..names.len()).collect::<Vec<_>>())
        };
        let named = |prefix: &str, count: usize| (0..count).map(|index| format!("{prefix}{index}")).collect();
        assert_eq!(check(named("pixel", 4), "255"), Some(2));
        assert_eq!(check(named("px_", 9), "255"), Some(3));
        assert_eq!(check(["1x1", "1x2", "2x1", "2x2"].map(str::to_owned).to_vec(), "7"), Some(2));
        assert_eq!(check(named("feature", 4), "255"), None);
        assert_eq!(check(named("x", 4), "255"), None, "a table of whole numbers is no picture");
        assert_eq!(check(named("f", 784), "255"), None);
        assert_eq!(check(named("column", 784), "255"), Some(28));
        assert_eq!(check(named("pixel", 4), "256"), None);
        assert_eq!(check(named("pixel", 4), "0.5"), None);
        assert_eq!(check(named("pixel", 5), "1"), None);
    }
}
