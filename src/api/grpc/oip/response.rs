//! Turns the answers of the Open Inference Protocol into messages.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::api::grpc::pb::inference::infer_parameter::ParameterChoice;
use crate::api::grpc::pb::inference::model_infer_response::InferOutputTensor;
use crate::api::grpc::pb::inference::model_metadata_response::TensorMetadata;
use crate::api::grpc::pb::inference::repository_index_response::ModelIndex;
use crate::api::grpc::pb::inference::{
    InferBatchStatistics, InferParameter, InferStatistics, ModelInferResponse, ModelMetadataResponse, ModelStatistics,
    StatisticDuration,
};
use crate::api::oip::{self, InferOutput, InferResponse, RegionSlice};
use crate::serving::Timed;

/// The message of an answer. The elements are always raw: it is what clients read.
pub(super) fn infer(response: &InferResponse) -> ModelInferResponse {
    let tensor = |output: &InferOutput| {
        let tensor = output.tensor();
        InferOutputTensor {
            name: response.name(output).to_owned(),
            datatype: oip::datatype(tensor.dtype()).to_owned(),
            shape: tensor.shape().iter().map(|dim| *dim as i64).collect(),
            parameters: output.region.as_ref().map(region).unwrap_or_default(),
            contents: None,
        }
    };
    let raw = |output: &InferOutput| {
        // What lies in shared memory has its place here all the same, so that places and outputs agree.
        let mut bytes = Vec::new();
        if output.region.is_none() {
            oip::write_elements(output.tensor().data(), &mut bytes);
        }
        Bytes::from(bytes)
    };
    ModelInferResponse {
        model_name: response.servable.name.to_string(),
        model_version: response.servable.version.to_string(),
        id: response.id.clone().unwrap_or_default(),
        parameters: BTreeMap::new(),
        outputs: response.outputs.iter().map(tensor).collect(),
        raw_output_contents: response.outputs.iter().map(raw).collect(),
    }
}

fn region(slice: &RegionSlice) -> BTreeMap<String, InferParameter> {
    let value = |choice| InferParameter { parameter_choice: Some(choice) };
    let number = |number: usize| value(ParameterChoice::Uint64Param(number as u64));
    [
        ("shared_memory_region".to_owned(), value(ParameterChoice::StringParam(slice.region.clone()))),
        ("shared_memory_offset".to_owned(), number(slice.offset)),
        ("shared_memory_byte_size".to_owned(), number(slice.byte_size)),
    ]
    .into()
}

/// The message of what a model is.
pub(super) fn metadata(metadata: oip::ModelMetadata) -> ModelMetadataResponse {
    let tensor = |tensor: oip::TensorMetadata| TensorMetadata {
        name: tensor.name,
        datatype: tensor.datatype.to_owned(),
        shape: tensor.shape,
    };
    ModelMetadataResponse {
        name: metadata.name,
        versions: metadata.versions,
        platform: metadata.platform.to_owned(),
        inputs: metadata.inputs.into_iter().map(tensor).collect(),
        outputs: metadata.outputs.into_iter().map(tensor).collect(),
    }
}

/// The message of one version in the index.
pub(super) fn index_entry(entry: oip::IndexEntry) -> ModelIndex {
    ModelIndex {
        name: entry.name,
        version: entry.version,
        state: entry.state.to_owned(),
        reason: entry.reason.unwrap_or_default(),
    }
}

/// The message of what a version did.
pub(super) fn statistics(statistics: oip::ModelStatistics) -> ModelStatistics {
    let stages = &statistics.inference_stats;
    ModelStatistics {
        inference_stats: Some(InferStatistics {
            success: duration(stages.success),
            fail: duration(stages.fail),
            queue: duration(stages.queue),
            compute_input: duration(stages.compute_input),
            compute_infer: duration(stages.compute_infer),
            compute_output: duration(stages.compute_output),
            cache_hit: duration(stages.cache_hit),
            cache_miss: duration(stages.cache_miss),
        }),
        batch_stats: statistics.batch_stats.iter().map(batch).collect(),
        name: statistics.name,
        version: statistics.version,
        last_inference: statistics.last_inference,
        inference_count: statistics.inference_count,
        execution_count: statistics.execution_count,
        memory_usage: Vec::new(),
        response_stats: BTreeMap::new(),
    }
}

fn batch(batch: &oip::BatchStatistics) -> InferBatchStatistics {
    InferBatchStatistics {
        batch_size: batch.batch_size,
        compute_input: duration(batch.compute_input),
        compute_infer: duration(batch.compute_infer),
        compute_output: duration(batch.compute_output),
    }
}

fn duration(timed: Timed) -> Option<StatisticDuration> {
    Some(StatisticDuration { count: timed.count, ns: timed.ns })
}
