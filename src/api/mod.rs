//! Wire formats. A protocol module parses, calls the predictor and formats; what a second protocol
//! would need again lives in serving.

mod audit;
mod body;
mod budget;
mod compression;
mod connection;
mod dialect;
mod error;
pub mod grpc;
pub mod http;
mod observe;
mod offload;
mod oip;
mod patience;
mod server;
mod state;
mod tfs;

pub use connection::Wire;
pub use http::{openapi, router, torchserve_management};
pub use server::{Shutdown, serve, serve_page};
pub use state::{ApiParts, ApiSettings, ApiState, Health};
