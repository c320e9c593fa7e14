//! Measures of agreement between answers and truth beyond chance, computed from a confusion matrix.

/// Matthews' correlation coefficient for any number of classes, Gorodkin 2004, "Comparing two
/// K-category assignments by a K-category correlation coefficient":
/// (c·s − Σ pₖtₖ) / √((s² − Σ pₖ²)(s² − Σ tₖ²)), with s samples, c of them correct, and class k
/// predicted pₖ and true tₖ times. 0 when all answers or all truths are of one class.
pub(super) fn matthews_correlation(confusion: &[Vec<u64>]) -> f64 {
    let Totals { samples, correct, truths, answers } = Totals::of(confusion);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let spread = (samples * samples - dot(&answers, &answers)) * (samples * samples - dot(&truths, &truths));
    if spread > 0.0 { (correct * samples - dot(&answers, &truths)) / spread.sqrt() } else { 0.0 }
}

/// Cohen's κ, Cohen 1960, "A Coefficient of Agreement for Nominal Scales": (pₒ − pₑ) / (1 − pₑ), with
/// the share pₒ of correct answers and the share pₑ expected by chance. 0 when chance explains all.
pub(super) fn cohen_kappa(confusion: &[Vec<u64>]) -> f64 {
    let Totals { samples, correct, truths, answers } = Totals::of(confusion);
    let chance: f64 = truths.iter().zip(&answers).map(|(t, p)| t * p).sum();
    let rest = samples * samples - chance;
    if rest > 0.0 { (correct * samples - chance) / rest } else { 0.0 }
}

struct Totals {
    samples: f64,
    correct: f64,
    truths: Vec<f64>,
    answers: Vec<f64>,
}

impl Totals {
    fn of(confusion: &[Vec<u64>]) -> Self {
        let classes = confusion.len();
        let truths: Vec<f64> = confusion.iter().map(|row| row.iter().sum::<u64>() as f64).collect();
        let answers = (0..classes).map(|class| confusion.iter().map(|row| row[class]).sum::<u64>() as f64).collect();
        let correct = (0..classes).map(|class| confusion[class][class]).sum::<u64>() as f64;
        Self { samples: truths.iter().sum(), correct, truths, answers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values: scikit-learn's `matthews_corrcoef` and `cohen_kappa_score` on the samples
    /// that these matrices count.
    #[test]
    fn both_agree_with_scikit_learn() {
        let matrices: [(&[&[u64]], f64, f64); 3] = [
            (&[&[3, 1], &[2, 4]], 0.408248290463863, 0.4),
            (&[&[1, 1, 0], &[0, 2, 0], &[1, 0, 1]], 0.5222329678670935, 0.4999999999999999),
            (&[&[50, 3, 0, 2], &[4, 40, 6, 0], &[0, 5, 30, 5], &[1, 0, 2, 60]], 0.8188646150346371, 0.8185556732506698),
        ];
        for (matrix, correlation, kappa) in matrices {
            let matrix: Vec<Vec<u64>> = matrix.iter().map(|row| row.to_vec()).collect();
            assert!((matthews_correlation(&matrix) - correlation).abs() < 1e-12, "{matrix:?}");
            assert!((cohen_kappa(&matrix) - kappa).abs() < 1e-12, "{matrix:?}");
        }
    }

    #[test]
    fn perfect_answers_give_one_and_constant_ones_zero() {
        let perfect = vec![vec![3, 0], vec![0, 5]];
        assert!((matthews_correlation(&perfect) - 1.0).abs() < 1e-12 && (cohen_kappa(&perfect) - 1.0).abs() < 1e-12);
        for constant in [vec![vec![3, 0], vec![5, 0]], vec![vec![0; 2]; 2]] {
            assert_eq!((matthews_correlation(&constant), cohen_kappa(&constant)), (0.0, 0.0));
        }
    }
}
