//! The model configuration extension: what is known of a version, in the words of Triton's
//! `ModelConfig`. Scalars are always there; messages where they say something.

use serde::Serialize;

use super::metadata::{dims, resolve};
use crate::api::state::ApiState;
use crate::error::Result;
use crate::serving::Servable;
use crate::signature::{Batching, DType, TensorSpec};

/// The configuration of a version.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ModelConfig {
    /// The model.
    pub(crate) name: String,
    /// What would run it in Triton.
    pub(crate) platform: &'static str,
    /// Likewise.
    pub(crate) backend: &'static str,
    /// Samples that a request may bring; 0 for a model whose inputs have no batch.
    pub(crate) max_batch_size: usize,
    /// What it takes, without the batch.
    pub(crate) input: Vec<ConfigInput>,
    /// What it gives, without the batch.
    pub(crate) output: Vec<ConfigOutput>,
    /// How requests are put together, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dynamic_batching: Option<DynamicBatching>,
    /// Runs at the same time.
    pub(crate) instance_group: Vec<InstanceGroup>,
    /// The file of the graph.
    pub(crate) default_model_filename: &'static str,
    /// Whether answers are remembered, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) response_cache: Option<ResponseCache>,
}

/// An input.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ConfigInput {
    pub(crate) name: String,
    pub(crate) data_type: &'static str,
    pub(crate) format: &'static str,
    pub(crate) dims: Vec<i64>,
    pub(crate) is_shape_tensor: bool,
    pub(crate) allow_ragged_batch: bool,
    pub(crate) optional: bool,
}

/// An output.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ConfigOutput {
    pub(crate) name: String,
    pub(crate) data_type: &'static str,
    pub(crate) dims: Vec<i64>,
    pub(crate) label_filename: &'static str,
    pub(crate) is_shape_tensor: bool,
}

/// How requests are put together.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DynamicBatching {
    pub(crate) preferred_batch_size: Vec<usize>,
    pub(crate) max_queue_delay_microseconds: u64,
    pub(crate) preserve_ordering: bool,
    pub(crate) priority_levels: u64,
    pub(crate) default_priority_level: u64,
}

/// Runs at the same time.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct InstanceGroup {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) count: usize,
    pub(crate) passive: bool,
}

/// Whether answers are remembered.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ResponseCache {
    pub(crate) enable: bool,
}

/// The configuration of a version.
///
/// # Errors
/// As [`resolve`].
pub(crate) fn model_config(state: &ApiState, name: &str, version: &str) -> Result<ModelConfig> {
    let servable = resolve(state, name, version)?;
    Ok(of(&servable, state.settings().max_samples))
}

fn of(servable: &Servable, max_samples: usize) -> ModelConfig {
    let settings = servable.scheduling();
    let is_batched = servable.batching() == Batching::Any;
    let is_joined = is_batched && servable.tuning().max_batch > 1;
    let skipped = usize::from(is_batched);
    let input = |spec: &TensorSpec| ConfigInput {
        name: spec.name.clone(),
        data_type: type_name(spec.dtype),
        format: "FORMAT_NONE",
        dims: dims(&spec.shape[skipped..]),
        is_shape_tensor: false,
        allow_ragged_batch: false,
        optional: false,
    };
    let output = |spec: &TensorSpec| ConfigOutput {
        name: spec.name.clone(),
        data_type: type_name(spec.dtype),
        dims: dims(&spec.shape[skipped..]),
        label_filename: "",
        is_shape_tensor: false,
    };
    ModelConfig {
        name: servable.name.to_string(),
        platform: "onnxruntime_onnx",
        backend: "onnxruntime",
        max_batch_size: if is_batched { settings.max_batch_size.unwrap_or(max_samples) } else { 0 },
        input: servable.signature().inputs.iter().map(input).collect(),
        output: servable.signature().outputs.iter().map(output).collect(),
        dynamic_batching: is_joined.then(|| DynamicBatching {
            preferred_batch_size: settings.preferred_batch_sizes.clone(),
            max_queue_delay_microseconds: u64::try_from(settings.max_queue_delay.as_micros()).unwrap_or(u64::MAX),
            preserve_ordering: false,
            priority_levels: 9,
            default_priority_level: u64::from(crate::serving::DEFAULT_PRIORITY),
        }),
        instance_group: vec![InstanceGroup {
            name: format!("{}_0", servable.name),
            kind: "KIND_CPU",
            count: settings.concurrency.unwrap_or_else(|| servable.compute_threads()),
            passive: false,
        }],
        default_model_filename: "model.onnx",
        response_cache: (settings.cache_bytes > 0).then_some(ResponseCache { enable: true }),
    }
}

/// The name of an element type in configurations.
fn type_name(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "TYPE_BOOL",
        DType::Uint8 => "TYPE_UINT8",
        DType::Uint16 => "TYPE_UINT16",
        DType::Uint32 => "TYPE_UINT32",
        DType::Uint64 => "TYPE_UINT64",
        DType::Int8 => "TYPE_INT8",
        DType::Int16 => "TYPE_INT16",
        DType::Int32 => "TYPE_INT32",
        DType::Int64 => "TYPE_INT64",
        DType::Float16 => "TYPE_FP16",
        DType::Bfloat16 => "TYPE_BF16",
        DType::Float32 => "TYPE_FP32",
        DType::Float64 => "TYPE_FP64",
        DType::String => "TYPE_STRING",
    }
}
