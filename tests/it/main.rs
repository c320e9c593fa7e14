//! All tests from outside, in one binary. Each folder mirrors an area of `src`.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod api;
mod bench;
mod certificates;
mod cli;
mod engine;
mod fixtures;
#[path = "../../fuzz/mod.rs"]
mod fuzz;
mod guards;
mod monitoring;
mod repository;
mod serving;
mod support;
mod trainer;
