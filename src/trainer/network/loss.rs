//! The loss of a batch and its gradient by the logits.

/// Turns logits into the gradient of the mean loss, in place; returns the sum of the losses and how
/// many samples are right.
pub(super) fn cross_entropy(logits: &mut [f32], labels: &[u8]) -> (f64, usize) {
    let classes = logits.len() / labels.len().max(1);
    let scale = 1.0 / labels.len() as f32;
    let (mut loss_sum, mut correct) = (0.0, 0);
    for (row, label) in logits.chunks_exact_mut(classes.max(1)).zip(labels) {
        let label = usize::from(*label);
        correct += usize::from(crate::stats::argmax(row) == label);
        let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let truth = row[label] - greatest;
        let mut sum = 0.0;
        for value in row.iter_mut() {
            *value = (*value - greatest).exp();
            sum += *value;
        }
        loss_sum += f64::from(sum.ln() - truth);
        row.iter_mut().for_each(|value| *value *= scale / sum);
        row[label] -= scale;
    }
    (loss_sum, correct)
}

/// The same for soft targets, the probability that each sample should be given of each class, row by row; a sample
/// counts as right if its label is what it is most probably given.
pub(super) fn soft_cross_entropy(logits: &mut [f32], labels: &[u8], targets: &[f32]) -> (f64, usize) {
    let classes = (logits.len() / labels.len().max(1)).max(1);
    let scale = 1.0 / labels.len() as f32;
    let (mut loss_sum, mut correct) = (0.0, 0);
    let rows = logits.chunks_exact_mut(classes).zip(targets.chunks_exact(classes));
    for ((row, targets), label) in rows.zip(labels) {
        correct += usize::from(crate::stats::argmax(row) == usize::from(*label));
        let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let (mut sum, mut truth, mut mass) = (0.0f32, 0.0f32, 0.0f32);
        for (value, target) in row.iter_mut().zip(targets) {
            let shifted = *value - greatest;
            truth += target * shifted;
            mass += target;
            *value = shifted.exp();
            sum += *value;
        }
        loss_sum += f64::from(mass * sum.ln() - truth);
        for (value, target) in row.iter_mut().zip(targets) {
            *value = (*value / sum * mass - target) * scale;
        }
    }
    (loss_sum, correct)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn one_hot_targets_give_what_labels_give(logits in prop::collection::vec(-20f32..20.0, 12), labels in prop::collection::vec(0u8..4, 3)) {
            let mut targets = vec![0.0; 12];
            labels.iter().enumerate().for_each(|(row, label)| targets[row * 4 + usize::from(*label)] = 1.0);
            let (mut hard, mut soft) = (logits.clone(), logits);
            let expected = cross_entropy(&mut hard, &labels);
            let got = soft_cross_entropy(&mut soft, &labels, &targets);
            prop_assert!((got.0 - expected.0).abs() < 1e-4 * (1.0 + expected.0) && got.1 == expected.1);
            prop_assert!(soft.iter().zip(&hard).all(|(a, b)| (a - b).abs() < 1e-6));
        }

        #[test]
        fn the_gradient_agrees_with_finite_differences(
            logits in prop::collection::vec(-3f32..3.0, 8), weights in prop::collection::vec(0.01f32..1.0, 8),
        ) {
            let labels = [0, 3];
            let targets: Vec<f32> = weights
                .chunks_exact(4)
                .flat_map(|row| row.iter().map(|weight| weight / row.iter().sum::<f32>()))
                .collect();
            let mut gradient = logits.clone();
            soft_cross_entropy(&mut gradient, &labels, &targets);
            for at in 0..8 {
                let loss = |by: f32| {
                    let mut moved = logits.clone();
                    moved[at] += by;
                    soft_cross_entropy(&mut moved, &labels, &targets).0 / 2.0
                };
                let numeric = (loss(1e-2) - loss(-1e-2)) / 2e-2;
                prop_assert!((numeric - f64::from(gradient[at])).abs() < 1e-3, "{numeric} {}", gradient[at]);
            }
        }
    }
}
