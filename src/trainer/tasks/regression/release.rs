//! The part of a release that a regressor adds.

use super::Regressor;
use super::evaluate::{figures, values};
use super::report::RegressionReport;
use crate::engine::Plan;
use crate::error::{Error, Result};
use crate::repository::{GoldenAnswer, Quality, RegressionQuality};
use crate::signature::OutputTransform;
use crate::stats::RegressionEvaluation;
use crate::tensor::Tensor;
use crate::trainer::dataset::Dataset;
use crate::trainer::examples::golden;
use crate::trainer::export::{VALUE, ensemble_to_onnx};
use crate::trainer::prepared::PreparedData;
use crate::trainer::reference::ReferenceData;
use crate::trainer::tasks::{Finished, TaskRelease, TaskReport};
use crate::trainer::{parity, reference};

/// Exports the network, checks the graph against it, and evaluates the graph.
///
/// # Errors
/// [`Error::GateMissed`](crate::error::Error::GateMissed) when the exported graph is not what was trained.
pub(super) fn release(regressor: &Regressor, run: &Finished<'_>) -> Result<TaskRelease> {
    let networks = regressor.members.networks();
    let onnx = ensemble_to_onnx(networks, run.model.as_str())?;
    let plan = Plan::load(&onnx)?;
    let PreparedData { train, validation, test, source, .. } = run.data;
    let parity = parity::check(networks, &plan, [train, train])?;
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
        golden: golden(&plan, (VALUE, answer), test, source.image.as_ref())?,
        companions: Vec::new(),
        report: TaskReport::Regression(Box::new(report)),
        output,
        onnx,
    })
}

fn evaluated(plan: &Plan, data: &Dataset) -> Result<RegressionEvaluation> {
    Ok(figures(data.values(), &values(plan, VALUE, data)?))
}

fn answer(output: &Tensor) -> Result<GoldenAnswer> {
    let value = output.real(0).ok_or_else(|| Error::internal("the exported graph gives no single number", VALUE))?;
    Ok(GoldenAnswer::Regression { value: value.to_f64() as f32 })
}
