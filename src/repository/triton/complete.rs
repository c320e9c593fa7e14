//! The configuration of a version that serves: what its file says, completed by what it is.

use super::config::{
    DynamicBatching, InstanceGroup, InstanceKind, ModelConfig, ModelInput, ModelOutput, ResponseCacheChoice,
    VersionChoice,
};
use super::map::MAX_PRIORITIES;
use crate::config::SchedulingSettings;
use crate::ids::ModelName;
use crate::signature::{Dim, Signature, TensorSpec};

/// The facts about a version that serves.
#[derive(Debug, Clone, Copy)]
pub struct Served<'s> {
    /// The model.
    pub name: &'s ModelName,
    /// The graph as clients see it.
    pub signature: &'s Signature,
    /// Set if samples may share a run.
    pub shares_runs: bool,
    /// Samples that a request may bring.
    pub max_samples: usize,
    /// The scheduling of its requests.
    pub settings: &'s SchedulingSettings,
    /// Requests share runs.
    pub joins: bool,
    /// Runs at the same time.
    pub concurrency: usize,
    /// The file in the version's folder.
    pub model_file: &'s str,
}

impl ModelConfig {
    /// The configuration of a version: `given`, with all that it leaves out.
    pub fn completed(given: Option<&Self>, served: Served<'_>) -> Self {
        let mut config = given.cloned().unwrap_or_default();
        config.name = served.name.to_string();
        if config.backend.is_empty() {
            config.backend = "onnxruntime".into();
        }
        if config.platform.is_empty() && config.backend == "onnxruntime" {
            config.platform = "onnxruntime_onnx".into();
        }
        if config.version_policy.is_none() && given.is_some() {
            config.version_policy = Some(VersionChoice::Latest { num_versions: 1 });
        }
        if config.default_model_filename.is_empty() {
            config.default_model_filename = served.model_file.into();
        }
        let says_nothing = config.input.is_empty() && config.output.is_empty();
        if config.max_batch_size == 0 && says_nothing && served.shares_runs {
            let most = served.settings.max_batch_size.unwrap_or(served.max_samples);
            config.max_batch_size = i32::try_from(most).unwrap_or(i32::MAX);
            if served.joins && config.dynamic_batching.is_none() {
                config.dynamic_batching = Some(batching(served.settings));
            }
        }
        let batched = config.max_batch_size > 0;
        config.follow(served);
        if config.input.is_empty() {
            config.input = served.signature.inputs.iter().map(|spec| input(spec, batched)).collect();
        }
        if config.output.is_empty() {
            config.output = served.signature.outputs.iter().map(|spec| output(spec, batched)).collect();
        }
        for (index, group) in config.instance_group.iter_mut().enumerate() {
            if group.name.is_empty() {
                group.name = format!("{}_{index}", served.name);
            }
        }
        config
    }
}

impl ModelConfig {
    /// `model.toml` and a load with settings of its own may say otherwise than the file; what is in
    /// force is shown.
    fn follow(&mut self, served: Served<'_>) {
        let settings = served.settings;
        if let Some(most) = settings.max_batch_size.filter(|_| self.max_batch_size > 0) {
            self.max_batch_size = i32::try_from(most).unwrap_or(i32::MAX);
        }
        if let Some(given) = &mut self.dynamic_batching {
            let DynamicBatching { preferred_batch_size, max_queue_delay_microseconds, .. } = batching(settings);
            given.preferred_batch_size = preferred_batch_size;
            given.max_queue_delay_microseconds = max_queue_delay_microseconds;
        }
        if self.response_cache.is_some() || settings.cache_bytes > 0 {
            self.response_cache = Some(ResponseCacheChoice { enable: settings.cache_bytes > 0 });
        }
        let counts = self.instance_group.iter().filter(|group| !group.passive).map(|group| group.count.max(1) as usize);
        if counts.sum::<usize>() != served.concurrency {
            let count = i32::try_from(served.concurrency).unwrap_or(i32::MAX);
            let group = InstanceGroup { kind: InstanceKind::KindCpu, count, ..InstanceGroup::default() };
            self.instance_group = vec![group];
        }
    }
}

/// Returns the batching that Weir does by itself. Requests always have the priorities from 1 to 9.
fn batching(settings: &SchedulingSettings) -> DynamicBatching {
    let sizes = settings.preferred_batch_sizes.iter().map(|size| i32::try_from(*size).unwrap_or(i32::MAX));
    DynamicBatching {
        preferred_batch_size: sizes.collect(),
        max_queue_delay_microseconds: u64::try_from(settings.max_queue_delay.as_micros()).unwrap_or(u64::MAX),
        priority_levels: MAX_PRIORITIES,
        default_priority_level: settings.default_priority.into(),
        ..DynamicBatching::default()
    }
}

fn input(spec: &TensorSpec, batched: bool) -> ModelInput {
    ModelInput {
        name: spec.name.clone(),
        data_type: spec.dtype.into(),
        dims: dims(spec, batched),
        ..ModelInput::default()
    }
}

fn output(spec: &TensorSpec, batched: bool) -> ModelOutput {
    ModelOutput {
        name: spec.name.clone(),
        data_type: spec.dtype.into(),
        dims: dims(spec, batched),
        ..ModelOutput::default()
    }
}

fn dims(spec: &TensorSpec, batched: bool) -> Vec<i64> {
    let size = |dim: &Dim| match dim {
        Dim::Fixed(size) => i64::try_from(*size).unwrap_or(i64::MAX),
        Dim::Symbol(_) => -1,
    };
    spec.shape.iter().skip(usize::from(batched)).map(size).collect()
}
