//! What later traffic is compared with: how a version's inputs and answers are distributed on data that it was
//! not trained on.

use super::release::Parts;
use crate::repository::DriftReference;
use crate::stats::{Histogram, Predictions};

/// Bins of each histogram: twenty of 5 % tell a shift of the mean by a tenth of the deviation in a few thousand
/// samples.
const BINS: usize = 20;

/// The reference of a classifier, from the distributions over classes that it gives for the validation data, or
/// where nothing was held out for the test data.
pub(super) fn of_classifier(parts: &Parts<'_>, validation: &Predictions, test: &Predictions) -> DriftReference {
    let predictions = if validation.is_empty() { test } else { validation };
    let mut reference = of_inputs(parts);
    reference.predictions = vec![0; predictions.classes()];
    let mut confidences = Vec::with_capacity(predictions.len());
    for (_, row) in predictions.iter() {
        let class = crate::stats::argmax(row);
        reference.predictions[class] += 1;
        confidences.push(f64::from(row[class]));
    }
    reference.confidence = Some(Histogram::by_quantiles(confidences, BINS));
    reference
}

/// What is known of the inputs alone.
pub(super) fn of_inputs(parts: &Parts<'_>) -> DriftReference {
    let (source, data) =
        if parts.validation.is_empty() { ("test", &parts.source.test) } else { ("validation", parts.validation) };
    let (means, deviations): (Vec<f64>, Vec<f64>) =
        data.pixels.chunks_exact(data.image_len()).map(mean_and_deviation).unzip();
    DriftReference {
        source: source.to_owned(),
        samples: data.len(),
        input_mean: Histogram::by_quantiles(means, BINS),
        input_deviation: Histogram::by_quantiles(deviations, BINS),
        confidence: None,
        predictions: Vec::new(),
    }
}

fn mean_and_deviation(image: &[u8]) -> (f64, f64) {
    let count = image.len() as f64;
    let mean = image.iter().map(|pixel| f64::from(*pixel)).sum::<f64>() / count;
    let variance = image.iter().map(|pixel| (f64::from(*pixel) - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::trainer::dataset::{Dataset, Mnist};

    #[test]
    fn a_reference_counts_what_a_version_saw_and_said() {
        let data = |pixels, labels| Dataset { width: 2, height: 1, pixels, labels, classes: 2 };
        let (train, nothing) = (data(vec![1, 2], vec![0]), data(vec![], vec![]));
        let test = data(vec![7, 7], vec![1]);
        let source = Mnist { train: train.clone(), test, sha256: BTreeMap::new() };
        let validation = data(vec![0, 0, 10, 30, 255, 255], vec![0, 1, 1]);
        let said = |rows: &[[f32; 2]]| {
            let mut predictions = Predictions::new(2);
            rows.iter().for_each(|row| predictions.push(0, row));
            predictions
        };
        let (on_validation, on_test) = (said(&[[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]]), said(&[[0.5, 0.5]]));
        let parts = Parts { train: &train, validation: &validation, source: &source };
        let reference = of_classifier(&parts, &on_validation, &on_test);
        assert_eq!((reference.source.as_str(), reference.samples), ("validation", 3));
        assert_eq!(reference.predictions, [1, 2]);
        assert_eq!(reference.input_mean.edges, [20.0, 255.0]);
        assert_eq!((reference.input_deviation.edges, reference.input_deviation.counts), (vec![10.0], vec![2, 1]));
        assert_eq!(reference.confidence.unwrap().counts, [1, 1, 1]);
        let parts = Parts { validation: &nothing, ..parts };
        let reference = of_classifier(&parts, &said(&[]), &on_test);
        assert_eq!((reference.source.as_str(), reference.samples, reference.predictions), ("test", 1, vec![1, 0]));
    }
}
