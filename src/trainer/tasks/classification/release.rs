//! The part of a release that a classifier adds.

use super::evaluate::{evaluate, predict};
use super::report::ClassificationReport;
use super::{Classifier, answer};
use crate::engine::Plan;
use crate::error::Result;
use crate::repository::{ClassificationQuality, Quality};
use crate::signature::{OutputTransform, Scores};
use crate::trainer::examples::golden;
use crate::trainer::export::{PROBABILITIES, ensemble_to_onnx};
use crate::trainer::prepared::PreparedData;
use crate::trainer::reference::ReferenceData;
use crate::trainer::tasks::{Finished, TaskRelease, TaskReport};
use crate::trainer::{parity, reference};

/// Exports the network, checks the graph against it, and evaluates the graph.
///
/// # Errors
/// [`Error::GateMissed`](crate::error::Error::GateMissed) when the exported graph is not what was trained.
pub(super) fn release(classifier: &Classifier, run: &Finished<'_>) -> Result<TaskRelease> {
    let networks = classifier.members.networks();
    let features = run.data.features.as_ref();
    let onnx = match features {
        Some(features) => features.merged(classifier.network())?,
        None => ensemble_to_onnx(networks, run.model.as_str())?,
    };
    let plan = Plan::load(&onnx)?;
    let PreparedData { train, validation, test, source, .. } = run.data;
    let parity = parity::check(networks, &plan, [train, features.map_or(train, |features| &features.train)])?;
    let predictions = predict(&plan, PROBABILITIES, test)?;
    let held_out = predict(&plan, PROBABILITIES, validation)?;
    let quality = Quality::Classification(ClassificationQuality {
        training: Some(evaluate(&plan, PROBABILITIES, train)?.summary),
        validation: (!held_out.is_empty()).then(|| held_out.evaluate().summary),
        test: Some(predictions.evaluate()),
    });
    let output = OutputTransform::Classification { probabilities: PROBABILITIES.into(), scores: Scores::Probabilities };
    let held_out_data = ReferenceData::held_out(validation, test);
    let mut report = ClassificationReport::new(run.subject(&plan), &source.labels, &predictions, test)?;
    report.history = run.history.to_vec();
    Ok(TaskRelease {
        signature: plan.signature().clone(),
        labels: source.labels.clone(),
        networks: (classifier.network().architecture().clone(), None),
        quality,
        reference: reference::of_graph(&plan, &run.data.transform(output.clone()), &held_out_data)?,
        parity,
        golden: golden(&plan, (PROBABILITIES, answer), test, source.image.as_ref())?,
        companions: Vec::new(),
        report: TaskReport::Classification(Box::new(report)),
        output,
        onnx,
    })
}
