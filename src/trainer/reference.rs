//! What later traffic is compared with: how a version's inputs and answers are distributed on data that it was
//! not trained on.

use super::dataset::Dataset;
use crate::repository::DriftReference;
use crate::stats::{Histogram, Predictions};

/// Bins of each histogram: twenty of 5 % tell a shift of the mean by a tenth of the deviation in a few thousand
/// samples.
const BINS: usize = 20;

/// The reference from images and the distributions over classes that a version gives for them.
pub(super) fn of_classifier(source: &str, data: &Dataset, predictions: &Predictions) -> DriftReference {
    let (means, deviations): (Vec<f64>, Vec<f64>) =
        data.pixels.chunks_exact(data.image_len()).map(mean_and_deviation).unzip();
    let mut by_class = vec![0; data.classes];
    let mut confidences = Vec::with_capacity(data.len());
    for (_, row) in predictions.iter() {
        let class = crate::stats::argmax(row);
        by_class[class] += 1;
        confidences.push(f64::from(row[class]));
    }
    DriftReference {
        source: source.to_owned(),
        samples: data.len(),
        input_mean: Histogram::by_quantiles(means, BINS),
        input_deviation: Histogram::by_quantiles(deviations, BINS),
        confidence: Some(Histogram::by_quantiles(confidences, BINS)),
        predictions: by_class,
        score: None,
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
    use super::*;

    #[test]
    fn a_reference_counts_what_a_version_saw_and_said() {
        let data =
            Dataset { width: 2, height: 1, pixels: vec![0, 0, 10, 30, 255, 255], labels: vec![0, 1, 1], classes: 2 };
        let mut predictions = Predictions::new(2);
        for (truth, row) in [(0, [0.9, 0.1]), (1, [0.4, 0.6]), (1, [0.3, 0.7])] {
            predictions.push(truth, &row);
        }
        let reference = of_classifier("validation", &data, &predictions);
        assert_eq!((reference.samples, reference.predictions.as_slice()), (3, [1, 2].as_slice()));
        assert_eq!(reference.input_mean.edges, [20.0, 255.0]);
        assert_eq!((reference.input_deviation.edges, reference.input_deviation.counts), (vec![10.0], vec![2, 1]));
        assert_eq!(reference.confidence.unwrap().counts, [1, 1, 1]);
    }
}
