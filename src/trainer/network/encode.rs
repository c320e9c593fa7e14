//! Rows of a table and steps of a sequence as the numbers that the next layer takes; in training only, for the
//! exported graph does the same by itself.

use std::borrow::Cow;

use crate::layers::{Encoding, LayerSpec, PlannedLayer};

/// The samples as the layer after the encoding takes them; as they are if the network has no encoding.
pub(super) fn encoded<'s>(layers: &[PlannedLayer], samples: impl Into<Cow<'s, [f32]>>) -> Cow<'s, [f32]> {
    let samples = samples.into();
    let Some(first) = layers.first() else { return samples };
    match &first.spec {
        LayerSpec::Encode { columns } => encode(columns, &samples).into(),
        LayerSpec::Standardize { mean, deviation } => standardize(mean, deviation, samples),
        LayerSpec::Rescale { .. }
        | LayerSpec::Flatten
        | LayerSpec::Dense { .. }
        | LayerSpec::Relu
        | LayerSpec::Silu
        | LayerSpec::Dropout { .. }
        | LayerSpec::Conv2d { .. }
        | LayerSpec::BatchNorm
        | LayerSpec::GroupNorm { .. }
        | LayerSpec::MaxPool { .. }
        | LayerSpec::AveragePool { .. }
        | LayerSpec::GlobalAveragePool
        | LayerSpec::Add { .. }
        | LayerSpec::Unflatten { .. }
        | LayerSpec::PixelShuffle { .. }
        | LayerSpec::Rows
        | LayerSpec::Series
        | LayerSpec::Conv1d { .. }
        | LayerSpec::Lstm { .. }
        | LayerSpec::Gru { .. }
        | LayerSpec::Embedding { .. }
        | LayerSpec::EmbeddingBag { .. }
        | LayerSpec::Recall
        | LayerSpec::Destandardize { .. } => samples,
    }
}

/// Steps of as many numbers as there are means.
fn standardize<'s>(mean: &[f32], deviation: &[f32], samples: Cow<'s, [f32]>) -> Cow<'s, [f32]> {
    let mut samples = samples.into_owned();
    for step in samples.chunks_exact_mut(mean.len()) {
        for ((number, mean), deviation) in step.iter_mut().zip(mean).zip(deviation) {
            *number = if number.is_nan() { 0.0 } else { (*number - mean) / deviation };
        }
    }
    samples.into()
}

/// Numbers first, then which of them are missing, then the bent ones, then moments, then categories, then the tokens of
/// texts, of which the first dense step makes means: each in the order of the columns.
fn encode(columns: &[Encoding], samples: &[f32]) -> Vec<f32> {
    let elements: usize = columns.iter().map(Encoding::elements).sum();
    let width = |column: &Encoding| if column.table().is_some() { column.elements() } else { column.width() };
    let mut encoded = Vec::with_capacity(samples.len() / elements.max(1) * columns.iter().map(width).sum::<usize>());
    // The first element of each column; only those of texts have more.
    let starts: Vec<usize> = columns
        .iter()
        .scan(0, |next, column| {
            let start = *next;
            *next += column.elements();
            Some(start)
        })
        .collect();
    let mut firsts = Vec::with_capacity(columns.len());
    for elements in samples.chunks_exact(elements.max(1)) {
        firsts.clear();
        firsts.extend(starts.iter().map(|start| elements[*start]));
        let row = firsts.as_slice();
        for (element, column) in row.iter().zip(columns) {
            if let Encoding::Standard { mean, deviation, .. } = column {
                encoded.push(if element.is_nan() { 0.0 } else { (element - mean) / deviation });
            }
        }
        for (element, column) in row.iter().zip(columns) {
            if let Encoding::Standard { tells_missing: true, .. } = column {
                encoded.push(if element.is_nan() { 1.0 } else { 0.0 });
            }
        }
        for (element, column) in row.iter().zip(columns) {
            if let Encoding::Standard { bent: Some(bend), .. } = column {
                encoded.push(bend.of(*element));
            }
        }
        for (element, column) in row.iter().zip(columns) {
            if let Encoding::Moment { mean, deviation, periods } = column {
                encode_moment(*element, (*mean, *deviation), periods, &mut encoded);
            }
        }
        for (element, column) in row.iter().zip(columns) {
            if let Encoding::OneHot { categories } = column {
                encoded.extend((0..*categories).map(|category| if *element == category as f32 { 1.0 } else { 0.0 }));
            }
        }
        for (start, column) in starts.iter().zip(columns) {
            if let Encoding::Bag { grams, .. } = column {
                encoded.extend_from_slice(&elements[*start..][..*grams]);
            }
        }
    }
    encoded
}

/// Appends what stands for a date or time, computed as the exported graph does it.
fn encode_moment(days: f32, (mean, deviation): (f32, f32), periods: &[f32], to: &mut Vec<f32>) {
    if days.is_nan() {
        to.extend([0.0, 1.0]);
        to.extend(periods.iter().flat_map(|_| [0.0, 0.0]));
        return;
    }
    to.extend([(days - mean) / deviation, 0.0]);
    for period in periods {
        // The days since the last whole turn are subtracted before anything is divided: of a thousand turns, the last bit
        // of a quotient is a visible part of one, and engines divide differently there. One turn more or less is the same
        // phase.
        let since = days - (days / period).floor() * period;
        let phase = since / period * std::f32::consts::TAU;
        to.extend([phase.sin(), phase.cos()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Bend;

    #[test]
    fn each_channel_is_standardised_and_what_is_missing_is_its_mean() {
        let samples = [1.0, f32::NAN, 3.0, 30.0, f32::NAN, 10.0];
        let standardized = standardize(&[1.0, 20.0], &[2.0, 10.0], samples.as_slice().into());
        assert_eq!(*standardized, [0.0, 0.0, 1.0, 1.0, 0.0, -1.0]);
    }

    #[test]
    fn a_moment_is_its_distance_and_its_phases() {
        let columns = [Encoding::Moment { mean: 7.0, deviation: 7.0, periods: vec![7.0, 1.0] }];
        let encoded = encode(&columns, &[14.0, 1.75, f32::NAN]);
        let near = |found: &[f32], expected: [f32; 6]| found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(&encoded[..6], [1.0, 0.0, 0.0, 1.0, 0.0, 1.0]), "{encoded:?}");
        assert!(near(&encoded[6..12], [-0.75, 0.0, 1.0, 0.0, -1.0, 0.0]), "{encoded:?}");
        assert_eq!(encoded[12..], [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn numbers_come_first_then_what_is_missing_then_categories() {
        let columns = [
            Encoding::OneHot { categories: 3 },
            Encoding::Standard { mean: 10.0, deviation: 2.0, tells_missing: true, bent: None },
            Encoding::Standard { mean: 0.0, deviation: 1.0, tells_missing: false, bent: None },
        ];
        let samples = [1.0, 14.0, 5.0, -1.0, f32::NAN, 0.5, f32::NAN, 10.0, f32::NAN];
        let expected = [2.0, 5.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(encode(&columns, &samples), expected);
        let bend = Some(Bend { median: 1.0, spread: 2.0 });
        let columns = [
            Encoding::Standard { mean: 0.0, deviation: 10.0, tells_missing: true, bent: bend },
            Encoding::OneHot { categories: 1 },
        ];
        let samples = [1.0, 0.0, 9.0, -1.0, f32::NAN, 0.0];
        let expected = [0.1, 0.0, 0.0, 1.0, 0.9, 0.0, 4.0 / (1.0 + 4.0 * Bend::SHARE), 0.0, 0.0, 1.0, 0.0, 1.0];
        assert_eq!(encode(&columns, &samples), expected);
    }
}
