//! Indices that must lie inside their table.

use crate::engine::faults::{IndexFault, place_in};

use super::super::build::input;
use super::call::{Call, Outcome, ensure};

/// Checks that each index of an input lies in a table of `size` places, of which a negative one counts from the end.
fn inside(call: &Call<'_>, at: usize, axis: usize, size: usize) -> Outcome {
    let Some(indices) = call.integers(at) else { return Ok(()) };
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    let Some(place) = indices.iter().position(|index| !(-size..size).contains(index)) else { return Ok(()) };
    Err(words(call, at, place, axis, indices[place], size))
}

fn words(call: &Call<'_>, at: usize, place: usize, axis: usize, index: i64, size: i64) -> String {
    let name = |at: usize| input(call.node, at).unwrap_or_default();
    let place = Some(place_in(place, call.shape(at).unwrap_or_default()));
    let (axis, range) = (i64::try_from(axis).ok(), Some((-size, size - 1)));
    IndexFault { indices: name(at), index, place, table: name(0), axis, range }.to_string()
}

/// `Gather`.
pub(super) fn along_axis(call: &Call<'_>) -> Outcome {
    let Some(table) = call.shape(0) else { return Ok(()) };
    let axis = call.axis(call.integer("axis", 0), table.len())?;
    inside(call, 1, axis, table[axis])
}

/// `GatherElements` and `ScatterElements`: indices have as many dimensions as the table, and no larger ones besides the
/// axis.
pub(super) fn elements(call: &Call<'_>) -> Outcome {
    let (Some(table), Some(indices)) = (call.shape(0), call.shape(1)) else { return Ok(()) };
    let axis = call.axis(call.integer("axis", 0), table.len())?;
    let fits = indices.len() == table.len()
        && indices.iter().zip(table).enumerate().all(|(at, (size, most))| at == axis || size <= most);
    ensure(fits, || call.says(&format!("{} of {indices:?} does not fit {} of {table:?}", call.name(1), call.name(0))))?;
    if let Some(updates) = call.shape(2) {
        ensure(updates == indices, || {
            call.says(&format!(
                "{} of {updates:?} and {} of {indices:?} must be of one shape",
                call.name(2),
                call.name(1)
            ))
        })?;
    }
    inside(call, 1, axis, table[axis])
}

/// `GatherND` and `ScatterND`: the last dimension of the indices holds one place.
pub(super) fn places(call: &Call<'_>) -> Outcome {
    let (Some(table), Some(indices)) = (call.shape(0), call.shape(1)) else { return Ok(()) };
    let skipped = usize::try_from(call.integer("batch_dims", 0)).unwrap_or(0);
    let misfit = || call.says(&format!("{} of {indices:?} does not fit {} of {table:?}", call.name(1), call.name(0)));
    let Some((&width, outer)) = indices.split_last() else { return Err(misfit()) };
    let fits = skipped + width <= table.len()
        && skipped <= outer.len()
        && outer[..skipped.min(outer.len())] == table[..skipped.min(outer.len())];
    ensure(fits, misfit)?;
    if let Some(updates) = call.shape(2) {
        let expected = [outer, &table[width..]].concat();
        ensure(updates == expected, || {
            call.says(&format!("{} is of {updates:?}, expected {expected:?}", call.name(2)))
        })?;
    }
    let Some(values) = call.integers(1) else { return Ok(()) };
    for (place, index) in values.iter().enumerate() {
        let axis = skipped + place % width.max(1);
        let size = i64::try_from(table[axis]).unwrap_or(i64::MAX);
        if !(-size..size).contains(index) {
            return Err(words(call, 1, place, axis, *index, size));
        }
    }
    Ok(())
}
