//! Wire formats. A protocol module parses, calls the predictor and formats; what a second protocol
//! would need again lives in serving.

mod access;
mod activity;
mod audit;
mod body;
mod budget;
mod compression;
mod connection;
mod context;
mod dialect;
mod error;
mod exchange;
pub mod grpc;
pub mod http;
mod json;
mod offload;
mod oip;
mod patience;
mod peer;
mod problem;
mod proxy_protocol;
mod server;
mod shared_memory;
mod state;
mod stream;
mod text_answer;
mod tfs;
mod tls;
mod traces;
mod transport;
mod watched;

pub use access::KeyRing;
pub use connection::Wire;
pub use http::{HttpApi, openapi};
pub use server::{Port, Shutdown, serve, serve_page};
pub use state::{ApiParts, ApiSettings, ApiState, Health, Watch};
pub use tls::Tls;
