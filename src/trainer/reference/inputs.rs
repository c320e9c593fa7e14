//! The inputs of data held out: their statistics, columns, tokens and polarities.

use super::{BINS, ReferenceData, unfit};
use crate::error::Result;
use crate::repository::{ColumnReference, DriftReference};
use crate::signature::{Column, ColumnKind, ImageTransform, Transform};
use crate::stats::{Histogram, Moments};
use crate::trainer::dataset::Dataset;
use crate::transform::{InputParts, Luma, PolarityChoice, prepare};

/// Returns the reference of the inputs alone.
///
/// # Errors
/// [`Error::Data`](crate::error::Error::Data) without any sample; as [`Dataset::image`].
pub(in crate::trainer) fn of_inputs(data: &ReferenceData, transform: &Transform) -> Result<DriftReference> {
    if data.len() == 0 {
        return Err(unfit("hold no sample to make a reference of".into()));
    }
    let (mut means, mut deviations) = (Vec::with_capacity(data.len()), Vec::with_capacity(data.len()));
    let (mut elements, mut inverted) = (Vec::new(), None);
    let (watched, mut parts) = (InputParts::of(transform), Vec::<Vec<f64>>::new());
    for part in &data.parts {
        for index in 0..part.len() {
            if part.is_texts() {
                // Of the numbers of tokens none means anything; a server keeps nothing of them either.
                break;
            }
            elements.clear();
            part.append(index, &mut elements)?;
            if let Some(moments) = Moments::of(&elements) {
                means.push(f64::from(moments.mean));
                deviations.push(f64::from(moments.deviation));
            }
            for (place, value) in watched.take(&elements).iter().flatten().enumerate() {
                if place == parts.len() {
                    parts.push(Vec::with_capacity(data.len()));
                }
                parts[place].push(f64::from(*value));
            }
        }
        if let Some(image) = transform.image.as_ref().filter(|_| part.is_images()) {
            *inverted.get_or_insert(0) += seemingly_inverted(part, image)?;
        }
    }
    let tokens = if watched == InputParts::Tokens { parts.as_slice() } else { &[] };
    let histogram = |values: &Vec<f64>| Histogram::by_quantiles(values.iter().copied(), BINS);
    let columns = transform.columns.iter().zip(&parts).map(|(column, values)| column_reference(column, values));
    Ok(DriftReference {
        source: data.source.clone(),
        samples: data.len(),
        input_mean: Histogram::by_quantiles(means, BINS),
        input_deviation: Histogram::by_quantiles(deviations, BINS),
        confidence: None,
        predictions: Vec::new(),
        inverted,
        margin: None,
        energy: None,
        unusual: None,
        value: None,
        columns: columns.collect(),
        length: tokens.first().map(histogram),
        unknown_tokens: tokens.get(1).map(histogram),
        sets: Vec::new(),
        abstentions: Vec::new(),
        guard: None,
    })
}

/// Counts the cells of a column; those that are missing, or no known category, last.
fn column_reference(column: &Column, values: &[f64]) -> ColumnReference {
    let name = column.name.clone();
    match &column.kind {
        ColumnKind::Number | ColumnKind::Shifted { .. } | ColumnKind::Moment { .. } | ColumnKind::Text { .. } => {
            let Histogram { edges, mut counts } = Histogram::by_quantiles(values.iter().copied(), BINS);
            counts.push(values.iter().filter(|value| !value.is_finite()).count() as u64);
            ColumnReference { name, edges: Some(edges), counts }
        }
        ColumnKind::Category { values: categories } => {
            let mut counts = vec![0; categories.len() + 1];
            for value in values {
                let place = if *value >= 0.0 { *value as usize } else { usize::MAX };
                counts[place.min(categories.len())] += 1;
            }
            ColumnReference { name, edges: None, counts }
        }
    }
}

/// Returns how many pictures serving would take for ones of the other polarity; none where only drawings have one.
fn seemingly_inverted(data: &Dataset, image: &ImageTransform) -> Result<u64> {
    let Some(image) = image.drawing() else { return Ok(0) };
    let mut inverted = 0;
    for index in 0..data.len() {
        let pixels = data.image(index)?.into_owned();
        let picture = Luma { width: data.width as u32, height: data.height as u32, pixels };
        inverted += u64::from(prepare(picture, image, PolarityChoice::Auto)?.inverted);
    }
    Ok(inverted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::OutputTransform;

    fn data(pixels: Vec<u8>, labels: Vec<u32>) -> Dataset {
        Dataset::images(2, 1, pixels, labels, 2)
    }

    fn plain() -> Transform {
        Transform { image: None, columns: Vec::new(), sequence: None, text: None, output: OutputTransform::Raw }
    }

    #[test]
    fn columns_count_missing_cells_last() {
        let numbers = Column { name: "age".into(), kind: ColumnKind::Number };
        let found = column_reference(&numbers, &[1.0, f64::NAN, 2.0, 1.0]);
        assert_eq!((found.edges, found.counts), (Some(vec![1.5]), vec![2, 1, 1]));
        let kind = ColumnKind::Category { values: vec!["a".into(), "b".into()] };
        let found = column_reference(&Column { name: "kind".into(), kind }, &[1.0, -1.0, f64::NAN, 1.0, 0.0]);
        assert_eq!((found.edges, found.counts), (None, vec![1, 2, 2]));
    }

    #[test]
    fn inputs_are_counted_as_live_ones_are() {
        let (test, validation) = (data(vec![], vec![]), data(vec![0, 0, 10, 30, 255, 255], vec![0, 1, 1]));
        let reference = of_inputs(&ReferenceData::held_out(&validation, &test), &plain()).unwrap();
        assert_eq!((reference.source.as_str(), reference.samples), ("validation", 3));
        assert_eq!(reference.input_mean.edges, [10.0, 137.5]);
        assert_eq!((reference.input_deviation.edges, reference.input_deviation.counts), (vec![5.0], vec![2, 1]));
        assert_eq!(reference.inverted, None);
    }
}
