//! Triton's `ModelConfig`, as far as Weir obeys it, printed as Triton prints it: names in snake_case,
//! scalars and lists also where they are empty, messages only where they are set.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::signature::DType;

/// The configuration of a model in Triton's terms.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelConfig {
    /// The model; the name of its folder.
    pub name: String,
    /// An older word for the backend.
    pub platform: String,
    /// The backend that runs the model in Triton.
    pub backend: String,
    /// The library of the backend.
    pub runtime: String,
    /// The versions that are served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_policy: Option<VersionChoice>,
    /// The largest batch in samples; 0 for a model whose tensors have no batch dimension, or where
    /// the shapes below name it.
    pub max_batch_size: i32,
    /// The inputs of the model; the shapes leave the batch out.
    pub input: Vec<ModelInput>,
    /// The outputs of the model.
    pub output: Vec<ModelOutput>,
    /// Always empty: models that need such inputs are refused.
    pub batch_input: [(); 0],
    /// Always empty, likewise.
    pub batch_output: [(); 0],
    /// The batching of requests; absent if they are not batched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamic_batching: Option<DynamicBatching>,
    /// The instances, which are runs at the same time.
    pub instance_group: Vec<InstanceGroup>,
    /// The file in a version's folder.
    pub default_model_filename: String,
    /// Files for particular GPUs; of no effect.
    pub cc_model_filenames: BTreeMap<String, String>,
    /// Labels for Triton's metrics; of no effect.
    pub metric_tags: BTreeMap<String, String>,
    /// Settings of the backend.
    pub parameters: BTreeMap<String, Parameter>,
    /// Requests that are run before the model serves.
    pub model_warmup: Vec<Warmup>,
    /// The number of answers of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_transaction_policy: Option<TransactionPolicy>,
    /// The response cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_cache: Option<ResponseCacheChoice>,
}

/// The element type of a tensor, by Triton's name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum DataType {
    #[default]
    #[serde(rename = "TYPE_INVALID")]
    Invalid,
    #[serde(rename = "TYPE_BOOL")]
    Bool,
    #[serde(rename = "TYPE_UINT8")]
    Uint8,
    #[serde(rename = "TYPE_UINT16")]
    Uint16,
    #[serde(rename = "TYPE_UINT32")]
    Uint32,
    #[serde(rename = "TYPE_UINT64")]
    Uint64,
    #[serde(rename = "TYPE_INT8")]
    Int8,
    #[serde(rename = "TYPE_INT16")]
    Int16,
    #[serde(rename = "TYPE_INT32")]
    Int32,
    #[serde(rename = "TYPE_INT64")]
    Int64,
    #[serde(rename = "TYPE_FP16")]
    Fp16,
    #[serde(rename = "TYPE_FP32")]
    Fp32,
    #[serde(rename = "TYPE_FP64")]
    Fp64,
    #[serde(rename = "TYPE_STRING")]
    String,
    #[serde(rename = "TYPE_BF16")]
    Bf16,
}

impl DataType {
    /// Every type beside its name, in the order of their numbers in Triton's protobuf.
    pub(super) const NAMES: &'static [&'static str] = &[
        "TYPE_INVALID",
        "TYPE_BOOL",
        "TYPE_UINT8",
        "TYPE_UINT16",
        "TYPE_UINT32",
        "TYPE_UINT64",
        "TYPE_INT8",
        "TYPE_INT16",
        "TYPE_INT32",
        "TYPE_INT64",
        "TYPE_FP16",
        "TYPE_FP32",
        "TYPE_FP64",
        "TYPE_STRING",
        "TYPE_BF16",
    ];

    /// The name in configurations; the number in Triton's protobuf is `self as i32`.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The type in Weir's words; `None` for [`DataType::Invalid`].
    pub fn dtype(self) -> Option<DType> {
        Some(match self {
            Self::Invalid => return None,
            Self::Bool => DType::Bool,
            Self::Uint8 => DType::Uint8,
            Self::Uint16 => DType::Uint16,
            Self::Uint32 => DType::Uint32,
            Self::Uint64 => DType::Uint64,
            Self::Int8 => DType::Int8,
            Self::Int16 => DType::Int16,
            Self::Int32 => DType::Int32,
            Self::Int64 => DType::Int64,
            Self::Fp16 => DType::Float16,
            Self::Fp32 => DType::Float32,
            Self::Fp64 => DType::Float64,
            Self::String => DType::String,
            Self::Bf16 => DType::Bfloat16,
        })
    }
}

impl From<DType> for DataType {
    fn from(dtype: DType) -> Self {
        match dtype {
            DType::Bool => Self::Bool,
            DType::Uint8 => Self::Uint8,
            DType::Uint16 => Self::Uint16,
            DType::Uint32 => Self::Uint32,
            DType::Uint64 => Self::Uint64,
            DType::Int8 => Self::Int8,
            DType::Int16 => Self::Int16,
            DType::Int32 => Self::Int32,
            DType::Int64 => Self::Int64,
            DType::Float16 => Self::Fp16,
            DType::Bfloat16 => Self::Bf16,
            DType::Float32 => Self::Fp32,
            DType::Float64 => Self::Fp64,
            DType::String => Self::String,
        }
    }
}

/// The versions that are served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionChoice {
    /// The newest versions.
    Latest {
        /// The number of versions.
        #[serde(default)]
        num_versions: u32,
    },
    /// All versions.
    All {},
    /// The versions with these numbers.
    Specific {
        /// Their numbers.
        #[serde(default)]
        versions: Vec<i64>,
    },
}

/// The layout of an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum InputFormat {
    #[default]
    #[serde(rename = "FORMAT_NONE")]
    None,
    #[serde(rename = "FORMAT_NHWC")]
    Nhwc,
    #[serde(rename = "FORMAT_NCHW")]
    Nchw,
}

/// An input of the model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelInput {
    /// Its name in the graph.
    pub name: String,
    /// Its element type.
    pub data_type: DataType,
    /// The layout, for people.
    pub format: InputFormat,
    /// The shape that a request must bring; -1 for any size.
    pub dims: Vec<i64>,
    /// The shape that the graph takes, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reshape: Option<Reshape>,
    /// Of other backends.
    pub is_shape_tensor: bool,
    /// Of no effect.
    pub allow_ragged_batch: bool,
    /// Set if a request may leave it out, for people: the graph decides.
    pub optional: bool,
    /// Of other backends.
    pub is_non_linear_format_io: bool,
}

/// An output of the model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelOutput {
    /// Its name in the graph.
    pub name: String,
    /// Its element type.
    pub data_type: DataType,
    /// The shape of an answer; -1 for any size.
    pub dims: Vec<i64>,
    /// The shape that the graph gives, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reshape: Option<Reshape>,
    /// A file in the model's folder with a class on each line.
    pub label_filename: String,
    /// Of other backends.
    pub is_shape_tensor: bool,
    /// Of other backends.
    pub is_non_linear_format_io: bool,
}

/// The shape on the side of the graph.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reshape {
    /// -1 for any size.
    pub shape: Vec<i64>,
}

/// The batching of requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DynamicBatching {
    /// Batch sizes that are run at once instead of waiting for more.
    pub preferred_batch_size: Vec<i32>,
    /// The longest time that a request waits for others.
    pub max_queue_delay_microseconds: u64,
    /// Of no effect: every answer goes to its own request.
    pub preserve_ordering: bool,
    /// The number of priorities that requests may have; 1 runs first.
    pub priority_levels: u64,
    /// The priority of requests that state none.
    pub default_priority_level: u64,
    /// Limits of the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_queue_policy: Option<QueuePolicy>,
    /// Always empty: limits for each priority have no effect.
    pub priority_queue_policy: BTreeMap<u64, QueuePolicy>,
}

/// The end of a request whose time is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TimeoutAction {
    /// It is refused.
    #[default]
    Reject,
    /// It waits on, behind all others.
    Delay,
}

/// Limits of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueuePolicy {
    /// The end of a request whose time is over.
    pub timeout_action: TimeoutAction,
    /// The time limit of a request that states none; 0 for no limit.
    pub default_timeout_microseconds: u64,
    /// Let a request ask for less.
    pub allow_timeout_override: bool,
    /// The number of requests that may wait; 0 for the server's limit.
    pub max_queue_size: u32,
}

/// Where instances run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InstanceKind {
    /// Wherever there is room.
    #[default]
    KindAuto,
    /// On a GPU.
    KindGpu,
    /// On the CPU.
    KindCpu,
    /// Wherever the backend puts them.
    KindModel,
}

/// Some instances of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceGroup {
    /// Its name.
    pub name: String,
    /// Where they run.
    pub kind: InstanceKind,
    /// The number of instances; 0 for one.
    pub count: i32,
    /// Of no effect.
    pub gpus: Vec<i32>,
    /// Always empty: of other backends.
    pub secondary_devices: [(); 0],
    /// Of other backends.
    pub profile: Vec<String>,
    /// Instances that get no requests; they are not counted.
    pub passive: bool,
    /// Of no effect.
    pub host_policy: String,
}

/// A setting of the backend.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parameter {
    /// Its value.
    pub string_value: String,
}

/// A request that is run before the model serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Warmup {
    /// For messages.
    pub name: String,
    /// Its samples; 0 for a model without a batch.
    pub batch_size: u32,
    /// Its tensors by name.
    pub inputs: BTreeMap<String, WarmupInput>,
    /// The number of runs; 0 for one.
    pub count: u32,
}

/// A tensor of a request for warming up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WarmupInput {
    /// Its element type.
    pub data_type: DataType,
    /// The shape of one sample.
    pub dims: Vec<i64>,
    /// The content; `None` if the file does not say.
    #[serde(flatten)]
    pub data: Option<WarmupData>,
}

/// The content of a tensor for warming up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarmupData {
    /// Zeros, or empty strings.
    ZeroData(bool),
    /// Made-up numbers.
    RandomData(bool),
    /// The bytes of a file in the folder `warmup`.
    InputDataFile(String),
}

/// The number of answers of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TransactionPolicy {
    /// Any number of them; such models are refused.
    pub decoupled: bool,
}

/// The response cache.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResponseCacheChoice {
    /// The cache is on.
    pub enable: bool,
}
