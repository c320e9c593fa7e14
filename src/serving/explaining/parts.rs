//! The parts of an input that an explanation credits, and what stands for them where they are hidden.

use super::{Baseline, UnitKind};
use crate::error::{Error, Result};
use crate::serving::servable::Servable;
use crate::signature::{Column, ColumnKind, Dim, ImageTransform, Layout, row_width};
use crate::stats::attribution::Units;

/// The elements of a raw tensor that are units of their own.
const MOST_UNITS: usize = 64;

/// Returns the units of a sample of so many elements, and what they are; `grid` is that over a picture.
pub(super) fn units_of(servable: &Servable, shape: &[usize], elements: usize, grid: [usize; 2]) -> (UnitKind, Units) {
    let columns = servable.columns();
    if let Some(transform) = servable.image_transform() {
        let (height, width) = (transform.height() as usize, transform.width() as usize);
        let channels = channels(transform);
        let is_mixed = is_mixed(transform);
        let pixel = |element| if is_mixed { element / channels } else { element % (height * width) };
        return (UnitKind::Cells, Units::cells(elements, [height, width], grid, pixel));
    }
    if !columns.is_empty() && row_width(columns) == elements {
        let names = columns.iter().map(|column| column.name.clone()).collect();
        return (UnitKind::Columns(names), Units::groups(columns.iter().map(Column::width)));
    }
    match (servable.sequences(), shape) {
        (Some(_), [_, steps, ..]) => (UnitKind::Steps, Units::line(elements, (*steps).min(4 * MOST_UNITS))),
        _ => (UnitKind::Elements, Units::line(elements, elements.min(MOST_UNITS))),
    }
}

fn channels(transform: &ImageTransform) -> usize {
    match transform {
        ImageTransform::Drawing(_) => 1,
        ImageTransform::Picture(picture) => picture.colour.channels(),
    }
}

/// Returns true if the channels of each pixel stand side by side.
fn is_mixed(transform: &ImageTransform) -> bool {
    matches!(transform, ImageTransform::Picture(picture) if picture.layout == Layout::Nhwc)
}

/// Returns the elements of a picture pixel by pixel, each with its channels side by side.
pub(super) fn mixed(transform: &ImageTransform, sample: &[f32]) -> Vec<f32> {
    let channels = channels(transform);
    if is_mixed(transform) || channels == 1 {
        return sample.to_vec();
    }
    let pixels = sample.len() / channels;
    (0..sample.len()).map(|place| sample[place % channels * pixels + place / channels]).collect()
}

/// Returns the baseline that is taken, and its elements.
///
/// # Errors
/// [`Error::InvalidInput`] when a mean of what is no picture and no sequence is wanted.
pub(super) fn baseline_of(
    servable: &Servable,
    kind: &UnitKind,
    sample: &[f32],
    wanted: Baseline,
) -> Result<(Baseline, Vec<f32>)> {
    let is_drawing = matches!(servable.image_transform(), Some(ImageTransform::Drawing(_)));
    let chosen = match (wanted, kind) {
        (Baseline::Auto, UnitKind::Cells) if is_drawing => Baseline::Zero,
        (Baseline::Auto, UnitKind::Cells | UnitKind::Steps) => Baseline::Mean,
        (Baseline::Auto, UnitKind::Columns(_)) if servable.manifest.is_some() => Baseline::Missing,
        (Baseline::Auto, _) => Baseline::Zero,
        (Baseline::Mean, UnitKind::Columns(_) | UnitKind::Elements) => {
            return Err(Error::InvalidInput(
                "the baseline \"mean\" is for pictures and sequences; take \"zero\"".into(),
            ));
        }
        (stated, _) => stated,
    };
    let elements = match chosen {
        Baseline::Auto | Baseline::Zero => vec![0.0; sample.len()],
        Baseline::Missing => missing(servable.columns(), sample.len()),
        Baseline::Mean => means(servable, sample),
    };
    Ok((chosen, elements))
}

/// Returns the elements of a sample of which nothing is known.
fn missing(columns: &[Column], elements: usize) -> Vec<f32> {
    if row_width(columns) != elements {
        return vec![f32::NAN; elements];
    }
    columns.iter().flat_map(|column| std::iter::repeat_n(hidden(column), column.width())).collect()
}

/// Returns the element that hides a column: no number, but of a text, whose elements are numbers of n-grams, none of these.
fn hidden(column: &Column) -> f32 {
    if matches!(column.kind, ColumnKind::Text { .. }) { column.missing() } else { f32::NAN }
}

/// Returns for each element the mean of its channel or feature.
fn means(servable: &Servable, sample: &[f32]) -> Vec<f32> {
    let (groups, is_mixed) = match servable.image_transform() {
        Some(transform) => (channels(transform), is_mixed(transform)),
        // The features of a step stand side by side.
        None => (servable.sample_dims().next().map_or(1, features), true),
    };
    let groups = groups.max(1);
    let group = |element: usize| if is_mixed { element % groups } else { element * groups / sample.len() };
    let (mut sums, mut counts) = (vec![0.0; groups], vec![0.0; groups]);
    for (element, value) in sample.iter().enumerate().filter(|(_, value)| value.is_finite()) {
        sums[group(element)] += f64::from(*value);
        counts[group(element)] += 1.0;
    }
    (0..sample.len()).map(|element| (sums[group(element)] / f64::max(counts[group(element)], 1.0)) as f32).collect()
}

/// Returns the features of each step of a sequence of this shape.
fn features(dims: &[Dim]) -> usize {
    match dims {
        [_, Dim::Fixed(features)] => *features,
        _ => 1,
    }
}
