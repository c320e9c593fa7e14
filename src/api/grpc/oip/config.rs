//! The configuration of a model as a message.

use crate::api::grpc::pb::inference::model_config::SchedulingChoice;
use crate::api::grpc::pb::inference::model_input::Format;
use crate::api::grpc::pb::inference::model_instance_group::Kind;
use crate::api::grpc::pb::inference::model_queue_policy::TimeoutAction;
use crate::api::grpc::pb::inference::model_version_policy::{All, Latest, PolicyChoice, Specific};
use crate::api::grpc::pb::inference::model_warmup::{Input as WarmupInput, input::InputDataType};
use crate::api::grpc::pb::inference::{
    ModelConfig, ModelDynamicBatching, ModelInput, ModelInstanceGroup, ModelOutput, ModelParameter, ModelQueuePolicy,
    ModelResponseCache, ModelTensorReshape, ModelTransactionPolicy, ModelVersionPolicy, ModelWarmup,
};
use crate::repository::triton;

/// The message of a configuration. Enumerations are numbered as in the protocol.
pub(super) fn config(config: triton::ModelConfig) -> ModelConfig {
    let parameter = |(key, value): (String, triton::Parameter)| {
        let string_value = value.string_value;
        (key, ModelParameter { string_value })
    };
    ModelConfig {
        name: config.name,
        platform: config.platform,
        backend: config.backend,
        runtime: config.runtime,
        version_policy: config.version_policy.map(version_policy),
        max_batch_size: config.max_batch_size,
        input: config.input.into_iter().map(input).collect(),
        output: config.output.into_iter().map(output).collect(),
        scheduling_choice: config.dynamic_batching.map(|given| SchedulingChoice::DynamicBatching(batching(given))),
        instance_group: config.instance_group.into_iter().map(group).collect(),
        default_model_filename: config.default_model_filename,
        metric_tags: config.metric_tags,
        parameters: config.parameters.into_iter().map(parameter).collect(),
        model_warmup: config.model_warmup.into_iter().map(warmup).collect(),
        model_transaction_policy: config
            .model_transaction_policy
            .map(|policy| ModelTransactionPolicy { decoupled: policy.decoupled }),
        response_cache: config.response_cache.map(|cache| ModelResponseCache { enable: cache.enable }),
    }
}

fn version_policy(choice: triton::VersionChoice) -> ModelVersionPolicy {
    let policy_choice = match choice {
        triton::VersionChoice::Latest { num_versions } => PolicyChoice::Latest(Latest { num_versions }),
        triton::VersionChoice::All {} => PolicyChoice::All(All {}),
        triton::VersionChoice::Specific { versions } => PolicyChoice::Specific(Specific { versions }),
    };
    ModelVersionPolicy { policy_choice: Some(policy_choice) }
}

fn input(input: triton::ModelInput) -> ModelInput {
    let format = match input.format {
        triton::InputFormat::None => Format::None,
        triton::InputFormat::Nhwc => Format::Nhwc,
        triton::InputFormat::Nchw => Format::Nchw,
    };
    ModelInput {
        name: input.name,
        data_type: input.data_type as i32,
        format: format.into(),
        dims: input.dims,
        reshape: input.reshape.map(reshape),
        is_shape_tensor: input.is_shape_tensor,
        allow_ragged_batch: input.allow_ragged_batch,
        optional: input.optional,
        is_non_linear_format_io: input.is_non_linear_format_io,
    }
}

fn output(output: triton::ModelOutput) -> ModelOutput {
    ModelOutput {
        name: output.name,
        data_type: output.data_type as i32,
        dims: output.dims,
        reshape: output.reshape.map(reshape),
        label_filename: output.label_filename,
        is_shape_tensor: output.is_shape_tensor,
        is_non_linear_format_io: output.is_non_linear_format_io,
    }
}

fn reshape(reshape: triton::Reshape) -> ModelTensorReshape {
    ModelTensorReshape { shape: reshape.shape }
}

fn batching(batching: triton::DynamicBatching) -> ModelDynamicBatching {
    let by_priority = batching.priority_queue_policy.into_iter();
    ModelDynamicBatching {
        preferred_batch_size: batching.preferred_batch_size,
        max_queue_delay_microseconds: batching.max_queue_delay_microseconds,
        preserve_ordering: batching.preserve_ordering,
        priority_levels: batching.priority_levels,
        default_priority_level: batching.default_priority_level,
        default_queue_policy: batching.default_queue_policy.map(queue_policy),
        priority_queue_policy: by_priority.map(|(level, policy)| (level, queue_policy(policy))).collect(),
    }
}

fn queue_policy(policy: triton::QueuePolicy) -> ModelQueuePolicy {
    let timeout_action = match policy.timeout_action {
        triton::TimeoutAction::Reject => TimeoutAction::Reject,
        triton::TimeoutAction::Delay => TimeoutAction::Delay,
    };
    ModelQueuePolicy {
        timeout_action: timeout_action.into(),
        default_timeout_microseconds: policy.default_timeout_microseconds,
        allow_timeout_override: policy.allow_timeout_override,
        max_queue_size: policy.max_queue_size,
    }
}

fn group(group: triton::InstanceGroup) -> ModelInstanceGroup {
    let kind = match group.kind {
        triton::InstanceKind::KindAuto => Kind::Auto,
        triton::InstanceKind::KindGpu => Kind::Gpu,
        triton::InstanceKind::KindCpu => Kind::Cpu,
        triton::InstanceKind::KindModel => Kind::Model,
    };
    ModelInstanceGroup {
        name: group.name,
        kind: kind.into(),
        count: group.count,
        gpus: group.gpus,
        profile: group.profile,
        passive: group.passive,
        host_policy: group.host_policy,
    }
}

fn warmup(warmup: triton::Warmup) -> ModelWarmup {
    let input = |(name, input): (String, triton::WarmupInput)| {
        let data = input.data.map(|data| match data {
            triton::WarmupData::ZeroData(zero) => InputDataType::ZeroData(zero),
            triton::WarmupData::RandomData(random) => InputDataType::RandomData(random),
            triton::WarmupData::InputDataFile(file) => InputDataType::InputDataFile(file),
        });
        (name, WarmupInput { data_type: input.data_type as i32, dims: input.dims, input_data_type: data })
    };
    ModelWarmup {
        name: warmup.name,
        batch_size: warmup.batch_size,
        inputs: warmup.inputs.into_iter().map(input).collect(),
        count: warmup.count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::grpc::pb::inference::DataType;
    use crate::signature::DType;

    /// The numbers of the types are those of the protocol, as the order of the enumeration says.
    #[test]
    fn element_types_have_the_protocol_s_numbers() {
        for dtype in
            [DType::Bool, DType::Uint64, DType::Int8, DType::Float16, DType::Float64, DType::String, DType::Bfloat16]
        {
            let ours = triton::DataType::from(dtype);
            assert_eq!(DataType::from_str_name(ours.name()).map(i32::from), Some(ours as i32), "{dtype}");
        }
    }
}
