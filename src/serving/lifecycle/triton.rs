//! The part of a `config.pbtxt` in loading a version: the view of its graph, its labels, and the requests
//! that warm it up.

use std::collections::BTreeMap;

use super::warm::WarmGraph;
use crate::engine::{Plan, Session};
use crate::error::{Error, Result};
use crate::repository::FoundVersion;
use crate::repository::triton::{self, View};
use crate::signature::{Batching, DType, Dim, OutputTransform, Scores, TensorSpec, Transform};
use crate::tensor::Tensor;

/// The largest distance of a distribution's sum from 1.
const DISTRIBUTION_TOLERANCE: f32 = 1e-3;

/// Returns the view that clients have of a graph.
///
/// # Errors
/// [`Error::Repository`] when the configuration does not fit the graph.
pub(crate) fn view(found: &FoundVersion, plan: &Plan) -> Result<View> {
    let optional: Vec<TensorSpec> = plan.optional_inputs().iter().map(|optional| optional.spec.clone()).collect();
    match &found.settings.triton {
        Some(triton) => View::of(&triton.config, plan.signature(), &optional),
        None => Ok(View::plain(plan.signature())),
    }
}

fn to_graph(view: &View, tensors: Vec<Tensor>) -> Result<Vec<Tensor>> {
    match &view.adapter {
        Some(adapter) => adapter.to_graph(tensors),
        None => Ok(tensors),
    }
}

/// Runs the requests that the configuration names in every session.
///
/// # Errors
/// [`Error::Repository`] naming the request that cannot be made or that the model fails on.
pub(crate) fn warm_up(found: &FoundVersion, view: &View, sessions: &mut [Session]) -> Result<()> {
    let Some(triton) = &found.settings.triton else { return Ok(()) };
    for request in triton::requests(&triton.config, &found.model_files, &view.signature)? {
        let inputs = to_graph(view, request.inputs)?;
        for session in &mut *sessions {
            for _ in 0..request.runs {
                session.run(&inputs).map_err(|error| {
                    tracing::warn!(model = found.name.as_str(), request = request.name, error = %error, "warm-up");
                    Error::Repository {
                        what: triton::CONFIG_FILE.into(),
                        problem: format!("the model fails on model_warmup {}", crate::ids::quote(&request.name)),
                    }
                })?;
            }
        }
    }
    Ok(())
}

/// Returns the classes that files beside the versions name, by output.
///
/// # Errors
/// [`Error::Repository`] when such a file is missing or not text.
pub(crate) fn output_labels(found: &FoundVersion, view: &View) -> Result<BTreeMap<usize, Vec<String>>> {
    let Some(triton) = &found.settings.triton else { return Ok(BTreeMap::new()) };
    let place = |name: &str| view.signature.outputs.iter().position(|spec| spec.name == *name);
    let labels = triton.labels(&found.model_files)?;
    let labels: BTreeMap<_, _> =
        labels.into_iter().filter_map(|(name, labels)| Some((place(&name)?, labels))).collect();
    for (output, labels) in &labels {
        let spec = &view.signature.outputs[*output];
        let dims = if view.batching == Batching::Whole { &spec.shape[..] } else { spec.sample_dims() };
        let size = |dim: &Dim| if let Dim::Fixed(size) = dim { Some(*size) } else { None };
        let classes: Option<usize> = dims.iter().map(size).product();
        if let Some(classes) = classes.filter(|classes| *classes != labels.len()) {
            tracing::warn!(
                model = found.name.as_str(),
                version = found.version.0,
                output = spec.name,
                labels = labels.len(),
                classes,
                "label_filename has not one label for each class; classes without one are named by their number"
            );
        }
    }
    Ok(labels)
}

/// Returns a transform for the first output with labels that is a distribution over as many classes, judged by
/// what the model gives for an example.
///
/// # Errors
/// The failure of the model.
pub(super) fn classification(
    graph: &mut WarmGraph,
    labels: &BTreeMap<usize, Vec<String>>,
) -> Result<(Option<Transform>, Vec<String>)> {
    let view = &graph.view;
    let classes = |(output, labels): &(&usize, &Vec<String>)| {
        let spec = &view.signature.outputs[**output];
        spec.dtype == DType::Float32 && spec.sample_shape() == Some(vec![labels.len()])
    };
    let candidates: Vec<_> = labels.iter().filter(classes).collect();
    let Some(examples) = graph.examples.as_ref().filter(|_| !candidates.is_empty()) else {
        return Ok((None, Vec::new()));
    };
    if view.batching == crate::signature::Batching::Whole {
        return Ok((None, Vec::new()));
    }
    let outputs = graph.sessions[0].run(&examples.of(None)?)?;
    let outputs = match &view.adapter {
        Some(adapter) => adapter.to_client(outputs)?,
        None => outputs,
    };
    let is_distribution = |output: &Tensor| {
        let mut rows = output.float_rows()?;
        Ok::<_, Error>(rows.all(|row| {
            let sum: f32 = row.iter().sum();
            row.iter().all(|share| *share >= 0.0) && (sum - 1.0).abs() <= DISTRIBUTION_TOLERANCE
        }))
    };
    for (output, labels) in candidates {
        if is_distribution(&outputs[*output])? {
            let probabilities = view.signature.outputs[*output].name.clone();
            let output = OutputTransform::Classification { probabilities, scores: Scores::Probabilities };
            return Ok((
                Some(Transform { image: None, columns: Vec::new(), sequence: None, text: None, output }),
                labels.clone(),
            ));
        }
    }
    Ok((None, Vec::new()))
}
