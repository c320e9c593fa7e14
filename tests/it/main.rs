//! Everything that is tested from outside, in one binary.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod autoencoder;
mod batching;
mod bench;
mod check;
mod cli;
mod engines;
mod evaluation;
mod families;
mod fixtures;
mod grpc;
mod http;
mod images;
mod inputs;
mod layers;
mod lifecycle;
mod mnist;
mod oip_infer;
mod oip_server;
mod openapi;
mod photos;
mod predict;
mod repository;
mod resuming;
mod scheduling;
mod support;
mod swaps;
mod tensors;
mod tfs_errors;
mod tfs_models;
mod tfs_predict;
mod torchserve;
mod training;
mod triton_repository;
mod tuning;
