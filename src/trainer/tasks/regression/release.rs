//! The part of a release that a regressor adds.

use super::Regressor;
use super::evaluate::{figures, values};
use super::report::RegressionReport;
use crate::engine::Plan;
use crate::error::{Error, Result};
use crate::repository::{Golden, GoldenAnswer, Quality, RegressionQuality};
use crate::signature::OutputTransform;
use crate::stats::{RegressionEvaluation, RegressionEvaluator};
use crate::tensor::Tensor;
use crate::trainer::dataset::Dataset;
use crate::trainer::evaluate::each_number;
use crate::trainer::examples::golden;
use crate::trainer::export::{VALUE, ensemble_to_onnx};
use crate::trainer::prepared::PreparedData;
use crate::trainer::reference::ReferenceData;
use crate::trainer::tabular::Moments;
use crate::trainer::tasks::{Finished, TaskRelease, TaskReport};
use crate::trainer::{parity, reference};

/// The difference from a golden answer that is allowed, as a part of the spread of the numbers.
const GOLDEN_SHARE: f64 = 1e-3;

/// Exports the network, checks the graph against it, and evaluates the graph.
///
/// # Errors
/// [`Error::GateMissed`](crate::error::Error::GateMissed) when the exported graph is not what was trained.
pub(super) fn release(regressor: &Regressor, run: &Finished<'_>) -> Result<TaskRelease> {
    let networks = regressor.members.networks();
    let features = run.data.features.as_ref();
    let onnx = match features {
        Some(features) => features.merged(regressor.network())?,
        None => ensemble_to_onnx(networks, run.model.as_str())?,
    };
    let plan = Plan::load(&onnx)?;
    let PreparedData { train, validation, test, source, .. } = run.data;
    let parity = parity::check(networks, &plan, [train, features.map_or(train, |features| &features.train)])?;
    let predictions = values(&plan, VALUE, test)?;
    let quality = Quality::Regression(RegressionQuality {
        training: evaluated(&plan, train)?,
        validation: if validation.is_empty() { None } else { Some(evaluated(&plan, validation)?) },
        test: figures(test.values(), &predictions),
    });
    let output = OutputTransform::Regression { value: VALUE.into() };
    let held_out = ReferenceData::held_out(validation, test);
    let mut report = RegressionReport::new(run.subject(&plan), test.values(), &predictions);
    report.history = run.history.to_vec();
    Ok(TaskRelease {
        signature: plan.signature().clone(),
        labels: source.labels.clone(),
        networks: (regressor.network().architecture().clone(), None),
        quality,
        reference: reference::of_graph(&plan, &run.data.transform(output.clone()), &held_out)?,
        parity,
        golden: toleranced(golden(&plan, (VALUE, answer), test, source.image.as_ref())?, train.values()),
        companions: Vec::new(),
        report: TaskReport::Regression(Box::new(report)),
        output,
        onnx,
    })
}

fn evaluated(plan: &Plan, data: &Dataset) -> Result<RegressionEvaluation> {
    let mut evaluator = RegressionEvaluator::default();
    each_number(plan, VALUE, data, |index, value| {
        evaluator.add(data.values()[index], value.to_f64());
        Ok(())
    })?;
    Ok(evaluator.finish())
}

fn answer(output: &Tensor) -> Result<GoldenAnswer> {
    let value = output.real(0).ok_or_else(|| Error::internal("the exported graph gives no single number", VALUE))?;
    Ok(GoldenAnswer::Regression { value: value.to_f64(), tolerance: None })
}

/// Says how far answers may be from the golden ones: a part of the spread of the numbers that were learned, which may be small
/// beside the numbers, or of the distance from their mean.
fn toleranced(golden: Vec<Golden>, values: &[f64]) -> Vec<Golden> {
    let mut moments = Moments::default();
    values.iter().for_each(|value| moments.add(*value));
    let with = |Golden { input, answer }| {
        let answer = match answer {
            GoldenAnswer::Regression { value, .. } => {
                let spread = moments.wide_deviation().max((value - moments.mean()).abs());
                GoldenAnswer::Regression { value, tolerance: Some(GOLDEN_SHARE * spread) }
            }
            other => other,
        };
        Golden { input, answer }
    };
    golden.into_iter().map(with).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::Example;

    #[test]
    fn what_is_allowed_is_a_part_of_the_spread() {
        let golden = |value| Golden {
            input: Example::Elements { values: Vec::new() },
            answer: GoldenAnswer::Regression { value, tolerance: None },
        };
        let found = toleranced(vec![golden(1e9 + 1.0), golden(1e9 + 5.0)], &[1e9 - 1.0, 1e9 + 1.0]);
        let allowed = |golden: &Golden| match golden.answer {
            GoldenAnswer::Regression { tolerance, .. } => tolerance.unwrap(),
            _ => f64::NAN,
        };
        assert_eq!([allowed(&found[0]), allowed(&found[1])], [1e-3, 5e-3]);
    }
}
