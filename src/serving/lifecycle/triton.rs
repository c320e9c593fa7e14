//! What a `config.pbtxt` means for a version that is being loaded: the view of its graph, its labels,
//! the requests that warm it up.

use std::collections::BTreeMap;

use crate::engine::{self, Session};
use crate::error::{Error, Result};
use crate::repository::FoundVersion;
use crate::repository::triton::{self, ModelConfig, Served, View};
use crate::serving::servable::Servable;
use crate::signature::{DType, OutputTransform, Signature, Transform};
use crate::tensor::Tensor;

/// How far the sum of a distribution may be from 1.
const DISTRIBUTION_TOLERANCE: f32 = 1e-3;

/// What clients see of a graph.
///
/// # Errors
/// [`Error::Repository`] when the configuration does not fit the graph.
pub(crate) fn view(found: &FoundVersion, graph: &Signature) -> Result<View> {
    match &found.settings.triton {
        Some(triton) => View::of(&triton.config, graph),
        None => Ok(View::plain(graph)),
    }
}

/// Inputs of zeros in the shapes of the graph.
///
/// # Errors
/// [`Error::InvalidInput`] when an input would be too large to be counted.
pub(crate) fn zeros(view: &View, batch: usize) -> Result<Vec<Tensor>> {
    to_graph(view, engine::zeros(&view.signature, batch)?)
}

fn to_graph(view: &View, tensors: Vec<Tensor>) -> Result<Vec<Tensor>> {
    match &view.facing {
        Some(facing) => facing.to_graph(tensors),
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

/// The classes that files beside the versions name, by output.
///
/// # Errors
/// [`Error::Repository`] when such a file is missing or not text.
pub(crate) fn output_labels(found: &FoundVersion, view: &View) -> Result<BTreeMap<usize, Vec<String>>> {
    let Some(triton) = &found.settings.triton else { return Ok(BTreeMap::new()) };
    let place = |name: &str| view.signature.outputs.iter().position(|spec| spec.name == *name);
    let labels = triton.labels(&found.model_files)?;
    Ok(labels.into_iter().filter_map(|(name, labels)| Some((place(&name)?, labels))).collect())
}

/// A transform for the first output with labels that is a distribution over as many classes. Whether
/// it is one shows in what the model gives for zeros.
///
/// # Errors
/// What the model fails with.
pub(crate) fn classification(
    view: &View,
    labels: &BTreeMap<usize, Vec<String>>,
    session: &mut Session,
) -> Result<(Option<Transform>, Vec<String>)> {
    let classes = |(output, labels): &(&usize, &Vec<String>)| {
        let spec = &view.signature.outputs[**output];
        spec.dtype == DType::Float32 && spec.sample_shape() == Some(vec![labels.len()])
    };
    let candidates: Vec<_> = labels.iter().filter(classes).collect();
    if candidates.is_empty() || view.batching == crate::signature::Batching::Whole {
        return Ok((None, Vec::new()));
    }
    let outputs = session.run(&zeros(view, 1)?)?;
    let outputs = match &view.facing {
        Some(facing) => facing.to_client(outputs)?,
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
            let output = OutputTransform::Classification { probabilities };
            return Ok((Some(Transform { image: None, columns: Vec::new(), sequence: None, output }), labels.clone()));
        }
    }
    Ok((None, Vec::new()))
}

impl Servable {
    /// The version in Triton's words: what its `config.pbtxt` says, completed by what it is. A request
    /// may bring `max_samples`.
    pub fn model_config(&self, max_samples: usize) -> ModelConfig {
        let served = Served {
            name: &self.name,
            signature: &self.signature,
            batching: self.batching,
            max_samples,
            settings: &self.settings,
            joins: self.settings.across_requests && self.tuning().max_batch > 1,
            concurrency: self.settings.concurrency.unwrap_or_else(|| self.compute_threads()),
            model_file: &self.model_file,
        };
        ModelConfig::completed(self.triton.as_ref().map(|triton| &triton.config), served)
    }
}
