//! Rows of a table in the columns and with the categories of a model.

use std::collections::HashMap;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::signature::{Column, ColumnKind, places, row_width};
use crate::trainer::dataset::{Dataset, names};

/// The columns with those texts alone that occur in a part of the data, sorted: what may be learned from it.
///
/// # Errors
/// [`Error::Io`] when samples lie in a temporary file that cannot be read.
pub fn seen_vocabulary(data: &Dataset, columns: &[Column]) -> Result<Vec<Column>> {
    let mut is_seen: Vec<Vec<bool>> = columns.iter().map(|column| vec![false; column.values().len()]).collect();
    let starts: Vec<usize> = places(columns).map(|place| place.start).collect();
    let mut row = Vec::new();
    for index in 0..data.len() {
        row.clear();
        data.append(index, &mut row)?;
        for (start, is_seen) in starts.iter().zip(&mut is_seen) {
            if let Some(is_seen) = place(row[*start]).and_then(|place| is_seen.get_mut(place)) {
                *is_seen = true;
            }
        }
    }
    let seen = |(column, is_seen): (&Column, Vec<bool>)| {
        let kind = match &column.kind {
            ColumnKind::Number => ColumnKind::Number,
            ColumnKind::Shifted { origin } => ColumnKind::Shifted { origin: *origin },
            ColumnKind::Moment { order, origin } => ColumnKind::Moment { order: *order, origin: *origin },
            ColumnKind::Text { grams } => ColumnKind::Text { grams: *grams },
            ColumnKind::Category { values } => {
                let values = values.iter().zip(is_seen).filter(|(_, is_seen)| *is_seen);
                let mut values: Vec<String> = values.map(|(value, _)| value.clone()).collect();
                names::sort(&mut values);
                ColumnKind::Category { values }
            }
        };
        Column { name: column.name.clone(), kind }
    };
    Ok(columns.iter().zip(is_seen).map(seen).collect())
}

/// Rows of the columns `from` as rows of the columns `to`. A text that `to` does not have counts as missing.
///
/// # Errors
/// [`Error::Data`] naming a column that `from` lacks or has of another kind.
pub fn recoded(data: &Dataset, from: &[Column], to: &[Column]) -> Result<Dataset> {
    let misfit = |problem: String| Error::Data { file: "the table".into(), problem };
    let mut sources: Vec<Source> = Vec::with_capacity(to.len());
    let elements: Vec<Range<usize>> = places(from).collect();
    for column in to {
        let name = crate::ids::quote(&column.name);
        let index = from.iter().position(|other| other.name == column.name);
        let index = index.ok_or_else(|| misfit(format!("has no column {name}, which the model takes")))?;
        let codes = match (&from[index].kind, &column.kind) {
            (ColumnKind::Number, ColumnKind::Number) => None,
            (ColumnKind::Moment { .. } | ColumnKind::Shifted { .. } | ColumnKind::Text { .. }, _)
                if from[index].kind == column.kind =>
            {
                None
            }
            (ColumnKind::Category { values: from }, ColumnKind::Category { values: to }) => {
                let places: HashMap<&String, usize> =
                    to.iter().enumerate().map(|(place, value)| (value, place)).collect();
                Some(from.iter().map(|value| places.get(value).map_or(-1.0, |place| *place as f32)).collect())
            }
            // A column of categories that are all numbers here, such as "1" and "2".
            (ColumnKind::Number, ColumnKind::Category { .. }) => {
                return Err(misfit(format!("holds numbers in column {name}, the model takes texts there")));
            }
            (ColumnKind::Moment { .. } | ColumnKind::Shifted { .. } | ColumnKind::Text { .. }, _)
            | (_, ColumnKind::Moment { .. } | ColumnKind::Shifted { .. } | ColumnKind::Text { .. }) => {
                return Err(misfit(format!("holds something else in column {name} than the model takes there")));
            }
            (ColumnKind::Category { .. }, ColumnKind::Number) => {
                return Err(misfit(format!("holds texts in column {name}, the model takes numbers there")));
            }
        };
        sources.push((elements[index].clone(), codes));
    }
    let width = row_width(to);
    let is_changed = |(source, at): (&Source, &mut usize)| {
        let (elements, codes) = source;
        let is_moved = elements.start != *at;
        *at += elements.len();
        is_moved
            || codes.as_ref().is_some_and(|codes| codes.iter().zip(0u32..).any(|(code, place)| *code != place as f32))
    };
    let mut at = 0;
    if width == row_width(from) && !sources.iter().any(|source| is_changed((source, &mut at))) {
        return Ok(data.clone());
    }
    Ok(data.changed([1, width], move |before, after| {
        for (elements, codes) in &sources {
            match codes {
                None => after.extend_from_slice(&before[elements.clone()]),
                Some(codes) => after.push(place(before[elements.start]).map_or(-1.0, |place| codes[place])),
            }
        }
    }))
}

/// The elements of a column, and of categories what they become.
type Source = (Range<usize>, Option<Vec<f32>>);

/// The place in a vocabulary that an element says, if it is not missing.
fn place(element: f32) -> Option<usize> {
    (element >= 0.0).then_some(element as usize)
}
