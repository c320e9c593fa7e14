//! Everything that is tested from outside, in one binary.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod bench;
mod cli;
mod fixtures;
mod http;
mod images;
mod layers;
mod lifecycle;
mod mnist;
mod openapi;
mod photos;
mod predict;
mod repository;
mod scheduling;
mod support;
mod tensors;
mod training;
