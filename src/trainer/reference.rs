//! What later traffic is compared with: how a version's inputs and answers are distributed on data that it was
//! not trained on.

use super::dataset::Dataset;
use crate::error::Result;
use crate::repository::DriftReference;
use crate::stats::{Histogram, Predictions};

/// Bins of each histogram: twenty of 5 % tell a shift of the mean by a tenth of the deviation in a few thousand
/// samples.
const BINS: usize = 20;

/// The reference of a classifier, from the distributions over classes that it gives for the validation data, or
/// where nothing was held out for the test data.
///
/// # Errors
/// As [`Dataset::image`].
pub(super) fn of_classifier(
    validation: (&Dataset, &Predictions),
    test: (&Dataset, &Predictions),
) -> Result<DriftReference> {
    let predictions = if validation.0.is_empty() { test.1 } else { validation.1 };
    let mut reference = of_inputs(validation.0, test.0)?;
    reference.predictions = vec![0; predictions.classes()];
    let mut confidences = Vec::with_capacity(predictions.len());
    for (_, row) in predictions.iter() {
        let class = crate::stats::argmax(row);
        reference.predictions[class] += 1;
        confidences.push(f64::from(row[class]));
    }
    reference.confidence = Some(Histogram::by_quantiles(confidences, BINS));
    Ok(reference)
}

/// Returns the reference of the inputs alone.
///
/// # Errors
/// As [`Dataset::image`].
pub(super) fn of_inputs(validation: &Dataset, test: &Dataset) -> Result<DriftReference> {
    let (source, data) = if validation.is_empty() { ("test", test) } else { ("validation", validation) };
    let (mut means, mut deviations) = (Vec::with_capacity(data.len()), Vec::with_capacity(data.len()));
    let mut elements = Vec::new();
    for index in 0..data.len() {
        elements.clear();
        data.append(index, &mut elements)?;
        let (mean, deviation) = mean_and_deviation(&elements);
        means.push(mean);
        deviations.push(deviation);
    }
    Ok(DriftReference {
        source: source.to_owned(),
        samples: data.len(),
        input_mean: Histogram::by_quantiles(means, BINS),
        input_deviation: Histogram::by_quantiles(deviations, BINS),
        confidence: None,
        predictions: Vec::new(),
    })
}

/// Of the elements that are numbers.
fn mean_and_deviation(elements: &[f32]) -> (f64, f64) {
    let numbers = || elements.iter().filter(|element| element.is_finite()).map(|element| f64::from(*element));
    let count = numbers().count() as f64;
    let mean = numbers().sum::<f64>() / count;
    let variance = numbers().map(|number| (number - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_counts_what_a_version_saw_and_said() {
        let data = |pixels, labels| Dataset::images(2, 1, pixels, labels, 2);
        let (test, nothing) = (data(vec![7, 7], vec![1]), data(vec![], vec![]));
        let validation = data(vec![0, 0, 10, 30, 255, 255], vec![0, 1, 1]);
        let said = |rows: &[[f32; 2]]| {
            let mut predictions = Predictions::new(2);
            rows.iter().for_each(|row| predictions.push(0, row));
            predictions
        };
        let (on_validation, on_test) = (said(&[[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]]), said(&[[0.5, 0.5]]));
        let reference = of_classifier((&validation, &on_validation), (&test, &on_test)).unwrap();
        assert_eq!((reference.source.as_str(), reference.samples), ("validation", 3));
        assert_eq!(reference.predictions, [1, 2]);
        assert_eq!(reference.input_mean.edges, [20.0, 255.0]);
        assert_eq!((reference.input_deviation.edges, reference.input_deviation.counts), (vec![10.0], vec![2, 1]));
        assert_eq!(reference.confidence.unwrap().counts, [1, 1, 1]);
        let reference = of_classifier((&nothing, &said(&[])), (&test, &on_test)).unwrap();
        assert_eq!((reference.source.as_str(), reference.samples, reference.predictions), ("test", 1, vec![1, 0]));
        assert_eq!(mean_and_deviation(&[1.0, f32::NAN, 3.0]), (2.0, 1.0));
    }
}
