//! What the columns of a table are: the first of two passes over it.

use super::files::{Table, TableFile};
use super::layout::Layout;
use super::look::{Look, named_pictures};
use super::numbers::Style;
use super::seen::{MAX_CATEGORIES, Seen};
use super::sequences::{self, SeenSequences};
use crate::error::{Error, Result};
use crate::repository::TaskChoice;
use crate::signature::Task;
use crate::trainer::dataset::faults::unusable;
use crate::trainer::dataset::names::listed;
use crate::trainer::dataset::{DataOptions, Expected};

/// Names that a column to be learned has when nobody says which it is.
const TARGETS: [&str; 3] = ["label", "target", "class"];

/// A target with more different whole numbers is a quantity and no class.
const MAX_NUMBERED_CLASSES: usize = 50;

/// The meaning of a table's columns.
#[derive(Debug)]
pub(super) struct Schema {
    /// The column to be learned, and what of it; none where nothing is to be learned.
    pub(super) target: Option<(usize, Learned)>,
    /// The column that says what a row is for.
    pub(super) split: Option<usize>,
    /// The rest.
    pub(super) layout: Layout,
    /// Notes on the decisions that were made.
    pub(super) notes: Vec<String>,
    /// Width and height of the pictures, as far as they were looked at.
    pub(super) sizes: Vec<(u32, u32)>,
}

/// What is learned of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Learned {
    /// Its texts are classes.
    Classes,
    /// Its numbers, which are written so.
    Numbers(Style),
}

/// Reads all rows of all files, which have the same columns.
///
/// # Errors
/// [`Error::Config`] for a column that is not there; [`Error::Data`] when there is nothing to learn, or to
/// learn from.
pub(super) fn schema(files: &[TableFile], options: &DataOptions) -> Result<Schema> {
    let (settings, columns) = (&options.reading, files[0].table.columns());
    let expected = options.expected.as_deref();
    let mut notes = files[0].table.notes().to_vec();
    for name in settings.ignore.iter().chain(&settings.keep).chain(&settings.texts).filter(|_| expected.is_none()) {
        place(columns, "ignore, keep or texts", name)?;
    }
    let may_guess = !matches!(files[0].table, Table::Csv(_));
    let sequence = sequences::column(columns, settings, [may_guess, options.takes_texts()])?;
    let named = named_pictures(files);
    let target = match &settings.target {
        Some(name) if expected.is_some_and(|expected| !expected.needs_target) => {
            columns.iter().position(|column| column == name)
        }
        Some(name) => Some(place(columns, "target", name)?),
        None if expected.is_some_and(|expected| !expected.needs_target) => None,
        None => Some(likely_target(columns, [sequence, named.as_ref().map(|(column, _)| *column)], &mut notes)),
    };
    let mut seen_sequences = sequence.map(|column| SeenSequences::new(column, settings, options.takes_texts()));
    let seen = columns.iter().map(|_| Seen::default()).collect();
    let image = options.image.clone();
    let mut look = Look { columns, settings, seen, features: Vec::new(), named, sizes: Vec::new(), notes, image };
    look.look(files, target, &mut seen_sequences)?;
    let split = look.split(target);
    let is_feature =
        |index: &usize| Some(*index) != target && Some(*index) != split && !settings.ignore.contains(&columns[*index]);
    look.features = (0..columns.len()).filter(is_feature).collect();
    let what = files[0].path.display().to_string();
    let layout = match (&seen_sequences, expected) {
        (Some(seen), _) => {
            let is_other = |index: &&usize| Some(**index) != sequence;
            let others: Vec<String> =
                look.features.iter().filter(is_other).map(|index| columns[*index].clone()).collect();
            if !others.is_empty() {
                look.notes.push(format!("what is learned from is the sequence alone; left out: {}", listed(&others)));
            }
            seen.layout(&mut look.notes).map(Layout::Sequences)
        }
        (None, Some(expected)) => Some(look.expected(&what, expected)?),
        (None, None) => look.layout()?,
    };
    let layout = layout.ok_or_else(|| {
        let why = if look.notes.is_empty() { String::new() } else { format!("; {}", look.notes.join("; ")) };
        unusable(&what, format!("has no column to learn from{why}"))
    })?;
    let learned = match (target, expected) {
        (None, _) => None,
        (Some(target), Some(expected)) => Some((target, look.learned_by(target, expected))),
        (Some(target), None) => Some((target, look.learned(target, &layout))),
    };
    Ok(Schema { target: learned, split, layout, notes: look.notes, sizes: look.sizes })
}

/// Returns the place of the column that a setting names.
fn place(columns: &[String], setting: &str, name: &str) -> Result<usize> {
    columns.iter().position(|column| column == name).ok_or_else(|| Error::Config {
        setting: setting.into(),
        problem: format!("there is no column {}; there are: {}", crate::ids::quote(name), listed(columns)),
    })
}

/// Returns the column that is called as targets are, or else the last one that is no sequence and no picture.
fn likely_target(columns: &[String], others: [Option<usize>; 2], notes: &mut Vec<String>) -> usize {
    let known = |name: &&str| columns.iter().position(|column| column.eq_ignore_ascii_case(name));
    TARGETS.iter().find_map(known).unwrap_or_else(|| {
        let last = (0..columns.len()).rev().find(|place| !others.contains(&Some(*place))).unwrap_or(0);
        notes.push(format!("the last column, {}, is to be learned; --target NAME says another", columns[last]));
        last
    })
}

impl Look<'_> {
    /// Returns what is learned of the target, and says so.
    fn learned(&mut self, target: usize, layout: &Layout) -> Learned {
        let (seen, name) = (&self.seen[target], &self.columns[target]);
        let style = seen.style(self.settings.decimal);
        let learned = learned(seen, self.settings.task, style);
        let count = seen.names.len();
        let classes = if count > MAX_CATEGORIES { format!("more than {MAX_CATEGORIES}") } else { count.to_string() };
        let how = match (learned, style) {
            (Learned::Numbers(_), _) => "a number".to_owned(),
            (Learned::Classes, Some(_)) => {
                format!("one of {classes} classes, which are numbers; --task regression learns the number itself")
            }
            (Learned::Classes, None) => format!("one of {classes} classes"),
        };
        let from = match layout {
            Layout::Columns(kept) if kept.len() == 1 => format!(" from column {}", self.columns[kept[0].column]),
            Layout::Columns(kept) => format!(" from {} columns", kept.len()),
            Layout::Pixels { .. } | Layout::Pictures { .. } => " from pictures".into(),
            Layout::Sequences(sequences) => format!(" from {}", sequences.plural()),
        };
        self.notes.push(format!("learning {name}{from}: {how}"));
        if let Learned::Numbers(style) = learned {
            let notes = self.seen[target].number_notes(name, style, true);
            self.notes.extend(notes);
        }
        learned
    }

    /// Returns what a model has learned of the target.
    fn learned_by(&self, target: usize, expected: &Expected) -> Learned {
        match expected.transform.output.task() {
            Task::Regression => Learned::Numbers(self.seen[target].style(self.settings.decimal).unwrap_or_default()),
            Task::Classification | Task::Reconstruction => Learned::Classes,
            Task::Raw => {
                learned(&self.seen[target], self.settings.task, self.seen[target].style(self.settings.decimal))
            }
        }
    }
}

fn learned(target: &Seen, task: TaskChoice, style: Option<Style>) -> Learned {
    let numbers = Learned::Numbers(style.unwrap_or_default());
    match task {
        TaskChoice::Classification => Learned::Classes,
        TaskChoice::Regression => numbers,
        TaskChoice::Auto => match style {
            Some(style) if target.has_fractions(style) || target.names.len() > MAX_NUMBERED_CLASSES => numbers,
            _ => Learned::Classes,
        },
    }
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

    fn is_regression(cells: &[&str], task: TaskChoice) -> bool {
        let seen = seen(cells);
        matches!(learned(&seen, task, seen.style(None)), Learned::Numbers(_))
    }

    #[test]
    fn a_target_of_fractions_or_many_numbers_is_a_quantity() {
        let many: Vec<String> = (0..60).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (cells, expected) in [
            (&["1", "2", "1"][..], false),
            (&["1", "2.5"], true),
            (&["1", "2,5"], true),
            (&["red", "blue"], false),
            (&many, true),
        ] {
            assert_eq!(is_regression(cells, TaskChoice::Auto), expected, "{cells:?}");
        }
        assert!(is_regression(&["1", "2"], TaskChoice::Regression));
        assert!(!is_regression(&["0.5", "2"], TaskChoice::Classification));
    }

    #[test]
    fn a_stray_text_among_numbers_does_not_make_categories_of_them() {
        let mut cells = vec!["3"; 30];
        cells.push("three");
        assert_eq!(seen(&cells).style(None), Some(Style::default()));
        assert_eq!(seen(&["3", "three"]).style(None), None);
        assert_eq!(seen(&["red", ""]).style(None), None);
    }
}
