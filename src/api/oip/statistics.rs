//! The statistics extension.

use serde::Serialize;

use super::metadata::{find, target};
use crate::api::state::ApiState;
use crate::error::Result;
use crate::ids::VersionSpec;
use crate::serving::{Catalog, RunStatistics, Servable, Snapshot, Timed};

/// The work of a version since it was loaded. Every figure is always there: clients read them without
/// asking.
#[derive(Debug, Serialize)]
pub(crate) struct ModelStatistics {
    /// The model.
    pub(crate) name: String,
    /// The version.
    pub(crate) version: String,
    /// When the last request was answered, in milliseconds of Unix time.
    pub(crate) last_inference: u64,
    /// Samples that the model computed.
    pub(crate) inference_count: u64,
    /// Runs of the model.
    pub(crate) execution_count: u64,
    /// Requests, by how they ended and by stage.
    pub(crate) inference_stats: InferenceStatistics,
    /// Of models that answer a request several times, which none here does.
    pub(crate) response_stats: NoResponses,
    /// Runs by size.
    pub(crate) batch_stats: Vec<BatchStatistics>,
    /// Memory that a device reports, of which there is none.
    pub(crate) memory_usage: [(); 0],
}

/// An object without members.
#[derive(Debug, Default, Serialize)]
pub(crate) struct NoResponses {}

/// Requests, by how they ended and by stage.
#[derive(Debug, Serialize)]
pub(crate) struct InferenceStatistics {
    /// Answered.
    pub(crate) success: Timed,
    /// Not answered.
    pub(crate) fail: Timed,
    /// Waiting.
    pub(crate) queue: Timed,
    /// Bytes to tensor.
    pub(crate) compute_input: Timed,
    /// The model itself.
    pub(crate) compute_infer: Timed,
    /// Tensor to answer.
    pub(crate) compute_output: Timed,
    /// Answers found in the response cache.
    pub(crate) cache_hit: Timed,
    /// Answers not found there.
    pub(crate) cache_miss: Timed,
}

/// The runs of one size.
#[derive(Debug, Serialize)]
pub(crate) struct BatchStatistics {
    /// Samples in each.
    pub(crate) batch_size: u64,
    /// Joining requests.
    pub(crate) compute_input: Timed,
    /// The model itself.
    pub(crate) compute_infer: Timed,
    /// Taking the outputs apart.
    pub(crate) compute_output: Timed,
}

/// The statistics of the versions that serve: of all models for no name, of all its versions for no
/// version.
///
/// # Errors
/// As [`super::resolve`].
pub(crate) fn model_statistics(state: &ApiState, name: &str, version: &str) -> Result<Vec<ModelStatistics>> {
    let catalog: &Catalog = &state.predictor().catalog();
    if name.is_empty() {
        return Ok(catalog.servables().map(|servable| of(servable)).collect());
    }
    let target = target(name, version)?;
    let servable = find(catalog, &target)?;
    match target.version {
        VersionSpec::Latest => {
            let versions = catalog.model(&servable.name)?.versions.values();
            Ok(versions.filter_map(|entry| entry.servable.as_deref()).map(of).collect())
        }
        VersionSpec::Specific(_) | VersionSpec::Alias(_) => Ok(vec![of(servable)]),
    }
}

fn of(servable: &Servable) -> ModelStatistics {
    let now: Snapshot = servable.statistics().snapshot();
    let runs = |run: &RunStatistics| BatchStatistics {
        batch_size: run.batch_size as u64,
        compute_input: run.compute_input,
        compute_infer: run.compute_infer,
        compute_output: run.compute_output,
    };
    ModelStatistics {
        name: servable.name.to_string(),
        version: servable.version.to_string(),
        last_inference: now.last_inference_ms,
        inference_count: now.inference_count,
        execution_count: now.execution_count,
        inference_stats: InferenceStatistics {
            success: now.success,
            fail: now.fail,
            queue: now.queue,
            compute_input: now.compute_input,
            compute_infer: now.compute_infer,
            compute_output: now.compute_output,
            cache_hit: now.cache_hit,
            cache_miss: now.cache_miss,
        },
        response_stats: NoResponses::default(),
        batch_stats: now.runs.iter().map(runs).collect(),
        memory_usage: [],
    }
}
