//! The cross-entropy of the softmax of logits, and its gradient.

use crate::stats::argmax;

/// Turns logits z into the gradient of the mean loss, in place; returns the sum of the losses and how
/// many samples are right.
///
/// The loss of a sample is its weight times the sparse categorical cross-entropy on the softmax of z,
/// whose gradient is dL/dz = weight · (softmax(z) − onehot) / N. Without weights all weigh 1.
pub(super) fn cross_entropy(logits: &mut [f32], labels: &[u32], weights: &[f32]) -> (f64, usize) {
    let classes = logits.len() / labels.len().max(1);
    let scale = 1.0 / labels.len() as f32;
    let (mut loss_sum, mut correct) = (0.0, 0);
    for (index, (row, label)) in logits.chunks_exact_mut(classes.max(1)).zip(labels).enumerate() {
        let label = *label as usize;
        correct += usize::from(argmax(row) == label);
        let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let truth = row[label] - greatest;
        let mut sum = 0.0;
        for value in row.iter_mut() {
            *value = (*value - greatest).exp();
            sum += *value;
        }
        let (weight, scale) = match weights.get(index) {
            Some(weight) => (f64::from(*weight), scale * weight),
            None => (1.0, scale),
        };
        loss_sum += weight * f64::from(sum.ln() - truth);
        row.iter_mut().for_each(|value| *value *= scale / sum);
        row[label] -= scale;
    }
    (loss_sum, correct)
}

/// The same for soft targets, the probability that each sample should be given of each class, row by row; a sample
/// counts as right if its label is what it is most probably given.
pub(super) fn soft_cross_entropy(logits: &mut [f32], labels: &[u32], weights: &[f32], targets: &[f32]) -> (f64, usize) {
    let classes = (logits.len() / labels.len().max(1)).max(1);
    let scale = 1.0 / labels.len() as f32;
    let (mut loss_sum, mut correct) = (0.0, 0);
    let rows = logits.chunks_exact_mut(classes).zip(targets.chunks_exact(classes));
    for (index, ((row, targets), label)) in rows.zip(labels).enumerate() {
        correct += usize::from(argmax(row) == *label as usize);
        let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let (mut sum, mut truth, mut mass) = (0.0f32, 0.0f32, 0.0f32);
        for (value, target) in row.iter_mut().zip(targets) {
            let shifted = *value - greatest;
            truth += target * shifted;
            mass += target;
            *value = shifted.exp();
            sum += *value;
        }
        let weight = weights.get(index).copied().unwrap_or(1.0);
        loss_sum += f64::from(weight * (mass * sum.ln() - truth));
        for (value, target) in row.iter_mut().zip(targets) {
            *value = (*value / sum * mass - target) * scale * weight;
        }
    }
    (loss_sum, correct)
}

/// The sum of the cross-entropies of samples, unweighted, and how many are right.
pub(super) fn of_classes(logits: &[f32], labels: &[u32]) -> (f64, usize) {
    let classes = logits.len() / labels.len().max(1);
    let (mut loss, mut correct) = (0.0, 0);
    for (row, label) in logits.chunks_exact(classes.max(1)).zip(labels) {
        let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|value| f64::from(value - greatest).exp()).sum();
        loss += sum.ln() - f64::from(row[*label as usize] - greatest);
        correct += usize::from(argmax(row) == *label as usize);
    }
    (loss, correct)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_weight_counts_a_sample_so_often() {
        let logits = [0.3f32, -1.0, 2.0, 0.1];
        let mut once = logits;
        let (loss, correct) = cross_entropy(&mut once, &[0, 1], &[3.0, 1.0]);
        let row = |row: &[f32], label| cross_entropy(&mut row.to_vec(), &[label], &[]).0;
        assert!((loss - (3.0 * row(&logits[..2], 0) + row(&logits[2..], 1))).abs() < 1e-6);
        assert_eq!(correct, 1);
        let mut plain = logits;
        cross_entropy(&mut plain, &[0, 1], &[]);
        assert!((once[0] - 3.0 * plain[0]).abs() < 1e-6 && once[2] == plain[2]);
        assert!((of_classes(&logits, &[0, 1]).0 - (row(&logits[..2], 0) + row(&logits[2..], 1))).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn one_hot_targets_give_what_labels_give(logits in prop::collection::vec(-20f32..20.0, 12), labels in prop::collection::vec(0u32..4, 3)) {
            let mut targets = vec![0.0; 12];
            labels.iter().enumerate().for_each(|(row, label)| targets[row * 4 + *label as usize] = 1.0);
            let (mut hard, mut soft) = (logits.clone(), logits);
            let expected = cross_entropy(&mut hard, &labels, &[]);
            let got = soft_cross_entropy(&mut soft, &labels, &[], &targets);
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
            soft_cross_entropy(&mut gradient, &labels, &[2.0, 1.0], &targets);
            for at in 0..8 {
                let loss = |by: f32| {
                    let mut moved = logits.clone();
                    moved[at] += by;
                    soft_cross_entropy(&mut moved, &labels, &[2.0, 1.0], &targets).0 / 2.0
                };
                let numeric = (loss(1e-2) - loss(-1e-2)) / 2e-2;
                prop_assert!((numeric - f64::from(gradient[at])).abs() < 1e-3, "{numeric} {}", gradient[at]);
            }
        }
    }
}
