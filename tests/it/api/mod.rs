//! The protocols: `/predict`, the Open Inference Protocol, TensorFlow Serving, TorchServe and gRPC.

mod callers;
mod clients;
mod console;
mod explain;
pub(crate) mod grpc;
mod http;
mod image_formats;
mod images;
mod inputs;
mod keys;
mod named_inputs;
mod oip_infer;
mod oip_server;
mod openapi;
mod photos;
mod pictures;
mod predict;
mod statuses;
mod tensors;
mod tfs_errors;
mod tfs_models;
mod tfs_predict;
mod tls;
mod torchserve;
mod vision;
