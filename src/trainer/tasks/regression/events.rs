//! The part of a regressor's results that TensorBoard shows.

use super::report::RegressionReport;
use crate::trainer::events::TestResults;

/// Returns the figures of the errors.
pub(in crate::trainer::tasks) fn results(report: &RegressionReport) -> TestResults {
    let figures = &report.evaluation;
    let mut scalars = vec![
        ("mean absolute error/test", figures.mean_absolute_error),
        ("root mean squared error/test", figures.root_mean_squared_error),
    ];
    scalars.extend(figures.r_squared.map(|r_squared| ("r squared/test", r_squared)));
    TestResults { scalars, pictures: Vec::new() }
}
