//! The parts of a sample: what the columns of a table are for a network.

use std::path::PathBuf;

use super::look::Look;
use super::numbers::Style;
use super::seen::{MAX_CATEGORIES, Seen};
use super::sequences::SequenceLayout;
use crate::error::Result;
use crate::repository::{FitChoice, ReadSettings};
use crate::signature::{ColumnKind, DateOrder};
use crate::trainer::dataset::faults::unusable;
use crate::trainer::dataset::names::listed;
use crate::trainer::dataset::picture::Chosen;
use crate::trainer::dataset::{DataOptions, Expected};

/// From this side on, a square of nameless columns of whole numbers from 0 to 255 is a picture.
const SURE_SIDE: usize = 14;

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
            if self.features.len() != width as usize * height as usize {
                let problem =
                    format!("holds no pictures and no {width} × {height} columns of pixels, which the model takes");
                return Err(unusable(what, problem));
            }
            return Ok(Layout::Pixels { columns: self.features.clone(), size: [height, width] });
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
    pub(super) fn layout(&mut self) -> Option<Layout> {
        if let Some(pictures) = self.pictures(self.settings.image_size) {
            return Some(pictures);
        }
        if let Some(side) = pixels(self.columns, &self.seen, &self.features) {
            let count = self.features.len();
            self.notes.push(format!("{count} columns are the pixels of pictures of {side} × {side}"));
            return Some(Layout::Pixels { columns: self.features.clone(), size: [side as u32; 2] });
        }
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
            }
        }
        Some(Layout::Columns(kept))
    }

    /// Returns a column to learn from, or says why nothing is learned from it.
    fn kept(&mut self, column: usize) -> Option<Kept> {
        let (name, seen) = (&self.columns[column], &self.seen[column]);
        let style = seen.style(self.settings.decimal);
        let moments = seen.order().filter(|_| style.is_none());
        let problem = if seen.lists > 0 {
            format!("it holds lists; --sequence {name} learns from them")
        } else if seen.binaries > 0 {
            "it holds bytes that are no pictures and no text".into()
        } else if seen.numbers + seen.texts == 0 {
            "it has no values".into()
        } else if style.is_none() && moments.is_none() && seen.names.len() > MAX_CATEGORIES {
            format!("it has more than {MAX_CATEGORIES} different texts; --sequence {name} learns from them alone")
        } else {
            let reads = match (style, moments) {
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
    let numbered = |prefixes: &[&str], index: &usize| {
        let name = columns[*index].to_ascii_lowercase();
        let rest = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
        rest.map(|rest| rest.trim_start_matches('_'))
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let is_place = |index: &usize| {
        let place = columns[*index].to_ascii_lowercase();
        place.split_once('x').is_some_and(|(y, x)| y.parse::<u16>().is_ok() && x.parse::<u16>().is_ok())
    };
    let is_named = |index: &usize| numbered(&["pixel", "px"], index) || is_place(index);
    let is_nameless = |index: &usize| numbered(&["column", ""], index);
    let is_picture = features.iter().all(is_named) || side >= SURE_SIDE && features.iter().all(is_nameless);
    is_picture.then_some(side)
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
