//! What the columns of a table are: the first of two passes over it.

use super::cells::Cell;
use super::files::{Table, TableFile};
use super::sequences::{self, SeenSequences, SequenceLayout};
use crate::error::{Error, Result};
use crate::repository::{ReadSettings, TaskChoice};
use crate::trainer::dataset::collect::Split;
use crate::trainer::dataset::faults::{Faults, unusable};
use crate::trainer::dataset::names::{Names, listed};
use crate::trainer::dataset::picture;

/// Names that a column to be learned has when nobody says which it is.
const TARGETS: [&str; 3] = ["label", "target", "class"];

/// A column of which this part of the cells is numbers is one of numbers; the others are faults.
const MOSTLY: f64 = 0.9;

/// Columns with more different texts are left out.
pub(super) const MAX_CATEGORIES: usize = 256;

/// A target with more different whole numbers is a quantity and no class.
const MAX_NUMBERED_CLASSES: usize = 50;

/// From this side on, a square of columns of whole numbers from 0 to 255 is a picture whatever the names.
const SURE_SIDE: usize = 14;

/// The meaning of a table's columns.
#[derive(Debug)]
pub(super) struct Schema {
    /// The column to be learned.
    pub(super) target: usize,
    /// True if the target is a number rather than a class.
    pub(super) is_regression: bool,
    /// The column that says what a row is for.
    pub(super) split: Option<usize>,
    /// The rest.
    pub(super) layout: Layout,
    /// Notes on the decisions that were made.
    pub(super) notes: Vec<String>,
}

/// The parts of a sample.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::trainer::dataset) enum Layout {
    /// Columns of numbers and categories: each column, and whether it is of categories.
    Columns(Vec<(usize, bool)>),
    /// A column for each pixel of a square.
    Pixels { columns: Vec<usize>, side: usize },
    /// A column with a picture's file.
    Pictures { column: usize, width: u32, height: u32 },
    /// A column with a sequence.
    Sequences(SequenceLayout),
}

/// The statistics of a column.
#[derive(Debug, Default)]
struct Seen {
    missing: u64,
    numbers: u64,
    texts: u64,
    files: u64,
    lists: u64,
    is_fractional: bool,
    low: f64,
    high: f64,
    /// Different texts, one more than the limit at the most.
    names: Names,
}

impl Seen {
    fn add(&mut self, cell: &Cell<'_>, is_target: bool) {
        if let Cell::Bytes(_) = cell {
            self.files += 1;
        } else if let Some(number) = cell.number() {
            self.numbers += 1;
            self.is_fractional |= number.fract() != 0.0;
            (self.low, self.high) = (self.low.min(number), self.high.max(number));
        } else if let Cell::Text(_) = cell {
            self.texts += 1;
        } else {
            self.lists += u64::from(matches!(cell, Cell::List(_)));
            self.missing += u64::from(*cell == Cell::Missing);
            return;
        }
        let is_counted = is_target || cell.number().is_none();
        if is_counted
            && self.names.len() <= MAX_CATEGORIES
            && let Some(text) = cell.text()
        {
            self.names.code(&text);
        }
    }

    fn is_numeric(&self) -> bool {
        self.numbers as f64 > MOSTLY * (self.numbers + self.texts) as f64
    }

    fn is_pixel(&self) -> bool {
        self.texts == 0 && !self.is_fractional && self.low >= 0.0 && self.high <= 255.0
    }
}

/// Reads all rows of all files, which have the same columns.
///
/// # Errors
/// [`Error::Config`] for a column that is not there; [`Error::Data`] when there is nothing to learn, or to
/// learn from.
pub(super) fn schema(files: &[TableFile], settings: &ReadSettings) -> Result<Schema> {
    let columns = files[0].table.columns();
    let mut notes = Vec::new();
    let sequence = sequences::column(columns, settings, !matches!(files[0].table, Table::Csv(_)))?;
    let target = match &settings.target {
        Some(name) => place(columns, "target", name)?,
        None => likely_target(columns, sequence, &mut notes),
    };
    for name in &settings.ignore {
        place(columns, "ignore", name)?;
    }
    let mut seen_sequences = sequence.map(|column| SeenSequences::new(column, settings));
    let mut seen: Vec<Seen> = columns.iter().map(|_| Seen::default()).collect();
    let mut sizes = Vec::new();
    let mut rows = 0u64;
    // Faults are reported in the second pass.
    let mut passed_over = Faults::listed(0);
    for file in files {
        file.table.each(&mut passed_over, &mut |_, cells, _| {
            rows += 1;
            if let (Some(seen), Some(column)) = (&mut seen_sequences, sequence) {
                seen.add(&cells[column]);
            }
            for (index, (seen, cell)) in seen.iter_mut().zip(cells).enumerate() {
                seen.add(cell, index == target);
                if let Cell::Bytes(bytes) = cell {
                    sizes.extend(picture::size(bytes));
                }
            }
            Ok(())
        })?;
    }
    let what = files[0].path.display().to_string();
    if rows == 0 {
        return Err(unusable(what, "holds no rows"));
    }
    let is_split = |index: &usize| {
        let names = seen[*index].names.list();
        columns[*index].eq_ignore_ascii_case("split")
            && !names.is_empty()
            && names.iter().all(|name| Split::named(name).is_some())
    };
    let split = (0..columns.len()).find(is_split).filter(|split| *split != target);
    let is_feature =
        |index: &usize| *index != target && Some(*index) != split && !settings.ignore.contains(&columns[*index]);
    let features: Vec<usize> = (0..columns.len()).filter(is_feature).collect();
    let layout = match &seen_sequences {
        Some(seen) => {
            let is_other = |index: &&usize| Some(**index) != sequence;
            let others: Vec<String> = features.iter().filter(is_other).map(|index| columns[*index].clone()).collect();
            if !others.is_empty() {
                notes.push(format!("what is learned from is the sequence alone; left out: {}", listed(&others)));
            }
            seen.layout(&mut notes).map(Layout::Sequences)
        }
        None => layout(columns, &seen, &features, settings, &sizes, &mut notes),
    };
    let layout = layout.ok_or_else(|| unusable(&what, "has no column to learn from"))?;
    Ok(Schema { target, is_regression: is_regression(&seen[target], settings.task), split, layout, notes })
}

/// Returns the place of the column that a setting names.
fn place(columns: &[String], setting: &str, name: &str) -> Result<usize> {
    columns.iter().position(|column| column == name).ok_or_else(|| Error::Config {
        setting: setting.into(),
        problem: format!("there is no column {}; there are: {}", crate::ids::quote(name), listed(columns)),
    })
}

/// Returns the column that is called as targets are, or else the last one.
fn likely_target(columns: &[String], sequence: Option<usize>, notes: &mut Vec<String>) -> usize {
    let known = |name: &&str| columns.iter().position(|column| column.eq_ignore_ascii_case(name));
    TARGETS.iter().find_map(known).unwrap_or_else(|| {
        let last = (0..columns.len()).rev().find(|place| Some(*place) != sequence).unwrap_or(0);
        notes.push(format!("the last column, {}, is to be learned; --target NAME says another", columns[last]));
        last
    })
}

fn is_regression(target: &Seen, task: TaskChoice) -> bool {
    match task {
        TaskChoice::Classification => false,
        TaskChoice::Regression => true,
        TaskChoice::Auto => target.is_numeric() && (target.is_fractional || target.names.len() > MAX_NUMBERED_CLASSES),
    }
}

/// Returns the parts of a sample; `None` when there are none.
fn layout(
    columns: &[String],
    seen: &[Seen],
    features: &[usize],
    settings: &ReadSettings,
    sizes: &[(u32, u32)],
    notes: &mut Vec<String>,
) -> Option<Layout> {
    if let Some(&column) = features.iter().find(|index| seen[**index].files > 0) {
        let asked = settings.image_size.map(|[height, width]| (width, height));
        let (width, height) = asked.or_else(|| picture::commonest(sizes.iter().copied()))?;
        if features.len() > 1 {
            let others: Vec<String> =
                features.iter().filter(|index| **index != column).map(|index| columns[*index].clone()).collect();
            notes.push(format!("pictures are in {}; left out: {}", columns[column], listed(&others)));
        }
        if asked.is_none() {
            notes.push(format!(
                "pictures are brought to the commonest size, {height}x{width}; --image-size HxW says another"
            ));
        }
        return Some(Layout::Pictures { column, width, height });
    }
    if let Some(side) = pixels(columns, seen, features) {
        return Some(Layout::Pixels { columns: features.to_vec(), side });
    }
    let mut kept = Vec::new();
    for &index in features {
        let (name, seen) = (&columns[index], &seen[index]);
        if seen.lists > 0 {
            notes.push(format!("column {name} is left out: it holds lists; --sequence {name} learns from them"));
        } else if seen.numbers + seen.texts == 0 {
            notes.push(format!("column {name} is left out: it has no values"));
        } else if seen.is_numeric() {
            kept.push((index, false));
        } else if seen.names.len() > MAX_CATEGORIES {
            notes.push(format!("column {name} is left out: it has more than {MAX_CATEGORIES} different texts"));
        } else {
            kept.push((index, true));
        }
    }
    (!kept.is_empty()).then_some(Layout::Columns(kept))
}

/// The side of the picture whose pixels the columns are.
fn pixels(columns: &[String], seen: &[Seen], features: &[usize]) -> Option<usize> {
    let side = features.len().isqrt();
    if side < 2 || side * side != features.len() || !features.iter().all(|index| seen[*index].is_pixel()) {
        return None;
    }
    let is_named = |index: &usize| {
        let name = columns[*index].to_ascii_lowercase();
        let rest = name.trim_start_matches("pixel").trim_start_matches(['p', 'x', '_']);
        rest.len() < name.len() && rest.bytes().all(|byte| byte.is_ascii_digit())
            || rest.split_once('x').is_some_and(|(y, x)| y.parse::<u16>().is_ok() && x.parse::<u16>().is_ok())
    };
    (side >= SURE_SIDE || features.iter().all(is_named)).then_some(side)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(cells: &[&str]) -> Seen {
        let mut seen = Seen::default();
        cells.iter().for_each(|cell| seen.add(&Cell::of_text(cell), true));
        seen
    }

    #[test]
    fn a_target_of_fractions_or_many_numbers_is_a_quantity() {
        let many: Vec<String> = (0..60).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (cells, expected) in
            [(&["1", "2", "1"][..], false), (&["1", "2.5"], true), (&["red", "blue"], false), (&many, true)]
        {
            assert_eq!(is_regression(&seen(cells), TaskChoice::Auto), expected, "{cells:?}");
        }
        assert!(is_regression(&seen(&["1", "2"]), TaskChoice::Regression));
        assert!(!is_regression(&seen(&["0.5", "2"]), TaskChoice::Classification));
    }

    #[test]
    fn a_stray_text_among_numbers_does_not_make_categories_of_them() {
        let mut cells = vec!["3"; 30];
        cells.push("three");
        assert!(seen(&cells).is_numeric());
        assert!(!seen(&["3", "three"]).is_numeric());
        assert!(!seen(&["red", ""]).is_numeric());
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
        assert_eq!(check(named("column", 784), "255"), Some(28));
        assert_eq!(check(named("pixel", 4), "256"), None);
        assert_eq!(check(named("pixel", 4), "0.5"), None);
        assert_eq!(check(named("pixel", 5), "1"), None);
    }
}
