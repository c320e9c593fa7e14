//! The Open Inference Protocol, version 2, with Triton's extensions, whatever carries it: REST and gRPC
//! both parse into these types, call these functions and write what comes back.

mod binary;
mod classification;
mod config;
mod datatype;
mod infer;
mod input;
mod logging;
mod metadata;
mod overrides;
mod parameters;
mod repository;
mod request;
mod response;
mod statistics;
mod texts;

pub(crate) use crate::api::shared_memory::{RegionSlice, RegionStatus, cuda_is_absent};
pub(crate) use crate::api::traces::{TraceChange, TraceSettings};
pub(crate) use binary::{byte_size, element_count, read_elements, read_strings, write_elements};
pub(crate) use config::{ModelConfig, model_config};
pub(crate) use datatype::{datatype, parse_datatype};
pub(crate) use infer::infer;
pub(crate) use input::{Content, InferInput};
pub(crate) use logging::{LogSettings, change_logging, logging_settings};
pub(crate) use metadata::{ModelMetadata, ServerMetadata, TensorMetadata, model_metadata, resolve, server_metadata};
pub(crate) use parameters::{Parameter, RequestParameters};
pub(crate) use repository::{IndexEntry, load, repository_index, unload};
pub(crate) use request::{InferRequest, MAX_RANK, MAX_TENSORS, RequestedOutput};
pub(crate) use response::{InferOutput, InferResponse};
pub(crate) use statistics::{BatchStatistics, ModelStatistics, model_statistics};
pub(crate) use texts::{SentTexts, is_texts, strings};
