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
        | LayerSpec::Unflatten { .. }
        | LayerSpec::PixelShuffle { .. }
        | LayerSpec::Rows
        | LayerSpec::Lstm { .. }
        | LayerSpec::Gru { .. }
        | LayerSpec::Embedding { .. }
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

/// Numbers first, then which of them are missing, then categories: each in the order of the columns.
fn encode(columns: &[Encoding], samples: &[f32]) -> Vec<f32> {
    let width: usize = columns.iter().map(Encoding::width).sum();
    let mut encoded = Vec::with_capacity(samples.len() / columns.len().max(1) * width);
    for row in samples.chunks_exact(columns.len().max(1)) {
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
            if let Encoding::OneHot { categories } = column {
                encoded.extend((0..*categories).map(|category| if *element == category as f32 { 1.0 } else { 0.0 }));
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_is_standardised_and_what_is_missing_is_its_mean() {
        let samples = [1.0, f32::NAN, 3.0, 30.0, f32::NAN, 10.0];
        let standardized = standardize(&[1.0, 20.0], &[2.0, 10.0], samples.as_slice().into());
        assert_eq!(*standardized, [0.0, 0.0, 1.0, 1.0, 0.0, -1.0]);
    }

    #[test]
    fn numbers_come_first_then_what_is_missing_then_categories() {
        let columns = [
            Encoding::OneHot { categories: 3 },
            Encoding::Standard { mean: 10.0, deviation: 2.0, tells_missing: true },
            Encoding::Standard { mean: 0.0, deviation: 1.0, tells_missing: false },
        ];
        let samples = [1.0, 14.0, 5.0, -1.0, f32::NAN, 0.5, f32::NAN, 10.0, f32::NAN];
        let expected = [2.0, 5.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(encode(&columns, &samples), expected);
    }
}
