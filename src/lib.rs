//! Weir trains neural networks, serves them and any other ONNX model over HTTP, and watches how
//! well they do in production.
//!
//! The modules, from the bottom up; each imports only from layers below its own, and a test keeps
//! it so. See `ARCHITECTURE.md`.
#![recursion_limit = "512"]

// L0: words everything else is made of.
pub mod error;
pub mod external;
mod files;
pub mod ids;
pub mod keys;
pub mod layers;
pub mod signature;
pub mod signing;
mod simd;
pub mod stats;
pub mod tensor;
mod wire;

// L1: settings, metrics, logs, whom to trust.
pub mod config;
pub mod metrics;
pub mod telemetry;
pub mod trust;

// L2: engines, transforms, the repository on disk, what the server itself writes, pages and charts, a client.
pub mod engine;
mod outbound;
pub mod report;
pub mod repository;
pub mod store;
pub mod transform;

// L3: serving, training and the load generator never import each other.
pub mod bench;
pub mod serving;
pub mod trainer;

// L4: what is observed of the predictions of L3.
pub mod monitoring;

// L5: wire formats.
pub mod api;

// L6: composition; only these see everything.
pub mod app;
pub mod cli;
