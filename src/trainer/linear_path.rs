//! The choice between a network for the numbers of a small table and its linear path alone, which is solved at once.

use super::dataset::Dataset;
use super::learner::Learner;
use super::ridge::{Linear, linear};
use super::tasks::Model;
use crate::error::Result;

/// The most rows and columns that the linear path is solved for: some tenths of a second.
const MOST_ROWS: usize = 2000;
const MOST_COLUMNS: usize = 256;

/// Validation samples that go through the network together.
const AT_ONCE: usize = 1024;

/// Validation samples from which on a standard error says something.
const FEWEST: usize = 5;

/// The most that the squared error of the linear path may exceed that of the network, whatever the standard error: a single
/// number far outside makes any difference doubtful.
const MOST_EXCESS: f64 = 1.5;

/// Takes the linear path alone, fitted by ridge regression, where the network is not better on the validation data by a
/// standard error of the difference (the rule of Breiman et al. 1984: of two that chance may explain, the simpler one), and
/// a mean of both where it is not better by two. Returns that in words if so.
///
/// A few dozen validation samples choose among epochs by chance; that the network is better than a line is more than they
/// can often tell.
///
/// # Errors
/// As [`Learner::validate`].
pub(super) fn prefer_linear(model: &mut Model, train: &Dataset, validation: &Dataset) -> Result<Option<String>> {
    let Model::Regression(regressor) = &*model else { return Ok(None) };
    let network = regressor.network();
    let fits = |width: &usize| *width <= MOST_COLUMNS;
    let Some(width) = network.linear_columns().filter(fits) else { return Ok(None) };
    if train.len() > MOST_ROWS || validation.len() < FEWEST {
        return Ok(None);
    }
    let samples = train.inputs(0..train.len())?;
    let Some(line) = linear(&network.encoded(&samples), width, train.values()) else { return Ok(None) };
    let (mut of_line, mut of_network) = (Vec::new(), Vec::new());
    for start in (0..validation.len()).step_by(AT_ONCE) {
        let rows = start..(start + AT_ONCE).min(validation.len());
        let (samples, values) = (validation.inputs(rows.clone())?, &validation.values()[rows]);
        let by_line = network.encoded(&samples).chunks_exact(width).map(|sample| line.of(sample)).collect::<Vec<f64>>();
        let by_network = regressor.numbers(&samples)?.into_iter().map(f64::from);
        of_line.extend(by_line.iter().zip(values).map(|(answer, value)| (answer - value).powi(2)));
        of_network.extend(by_network.zip(values).map(|(answer, value)| (answer - value).powi(2)));
    }
    let share = share(&of_line, &of_network);
    if share >= 1.0 {
        return Ok(None);
    }
    model.networks_mut().into_iter().for_each(|network| network.blend_linear(&line.weights, line.bias, share));
    Ok(Some(words(&line, share, validation.len())))
}

/// Returns the share of the more complex of two models in the answer, by their losses on the same samples: 0 if those of the
/// simpler one are not above them by more than a standard error, and 1 from two of them on.
fn share(simpler: &[f64], other: &[f64]) -> f64 {
    let count = simpler.len() as f64;
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / count;
    let differences: Vec<f64> = simpler.iter().zip(other).map(|(simpler, other)| simpler - other).collect();
    let excess = mean(&differences);
    let variance = differences.iter().map(|difference| (difference - excess).powi(2)).sum::<f64>() / (count - 1.0);
    let standard_error = (variance / count).sqrt();
    let is_doubtful = mean(simpler) <= MOST_EXCESS * mean(other);
    match excess <= 0.0 {
        true => 0.0,
        false if is_doubtful => (excess / standard_error - 1.0).clamp(0.0, 1.0),
        false => 1.0,
    }
}

fn words(line: &Linear, share: f64, samples: usize) -> String {
    let (what, errors) = match share > 0.0 {
        true => (format!("with the linear path and {share:.2} parts of the network"), "two standard errors"),
        false => ("with the linear path alone".to_owned(), "a standard error"),
    };
    format!(
        "{what}, the path solved at once by ridge regression (penalty {} a sample): on the {samples} validation samples the \
         network is not better by {errors}; --set prefer_linear=false takes the network",
        line.penalty
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simpler_one_is_taken_unless_the_other_is_surely_better() {
        let losses = |offset: f64| -> Vec<f64> { (0..20).map(|at| 1.0 + offset + f64::from(at % 5)).collect() };
        let worse = |by: f64| -> Vec<f64> {
            losses(by).iter().enumerate().map(|(at, loss)| loss + [1.0, -1.0][at % 2]).collect()
        };
        assert_eq!([0.0, -0.1].map(|by| share(&losses(by), &losses(0.0))), [0.0, 0.0]);
        assert_eq!(share(&worse(0.1), &losses(0.0)), 0.0, "of a standard error of 0.23");
        let between = share(&worse(0.35), &losses(0.0));
        assert!((0.4..0.7).contains(&between), "{between}");
        assert_eq!(share(&worse(0.6), &losses(0.0)), 1.0);
        assert_eq!(share(&losses(0.1), &losses(0.0)), 1.0, "a tenth worse each time");
        let mut outlier = losses(0.0);
        outlier[3] = 1e6;
        assert_eq!(share(&outlier, &losses(0.0)), 1.0, "one far outside is no excuse");
        assert_eq!(share(&losses(0.0), &outlier), 0.0);
        assert_eq!(share(&[f64::NAN; 9], &[1.0; 9]), 1.0);
    }
}
