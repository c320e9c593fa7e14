//! gRPC: through all services as they serve in production, without a socket where none is needed.

mod limits;
mod oip;
mod operations;
mod ports;
pub(crate) mod tfs;

use std::net::SocketAddr;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tonic::body::Body;
use tower::Service;
use tower::util::BoxCloneService;
use weir::api::grpc::Services;
use weir::api::grpc::pb::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use weir::api::grpc::pb::inference::model_infer_request::InferInputTensor;
use weir::api::grpc::pb::inference::{ModelInferRequest, ModelInferResponse};

use crate::fixtures::mnist;
use crate::support::TestApp;

pub(crate) type Wire = BoxCloneService<Request<Body>, Response<Incoming>, hyper::Error>;

/// A client of the Open Inference Protocol, in this process.
pub(crate) fn inference(app: &TestApp) -> GrpcInferenceServiceClient<Services> {
    GrpcInferenceServiceClient::new(app.services.clone())
}

/// A connection of HTTP/2 to a port.
pub(crate) async fn connect(addr: SocketAddr) -> Wire {
    over(TcpStream::connect(addr).await.unwrap()).await
}

/// HTTP/2 over a connection that is there.
pub(crate) async fn over<S>(stream: S) -> Wire
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    // It ends when the last sender is gone.
    tokio::spawn(connection);
    BoxCloneService::new(Sender(sender))
}

/// Any request over that connection.
#[derive(Clone)]
struct Sender(SendRequest<Body>);

impl Service<Request<Body>> for Sender {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Incoming>, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// Floats as the bytes of a tensor.
pub(crate) fn le_bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// A request for a model with one input of floats.
pub(crate) fn ask(model: &str, input: &str, shape: &[i64], numbers: &[f32]) -> ModelInferRequest {
    let tensor = InferInputTensor {
        name: input.into(),
        datatype: "FP32".into(),
        shape: shape.into(),
        ..InferInputTensor::default()
    };
    ModelInferRequest {
        model_name: model.into(),
        inputs: vec![tensor],
        raw_input_contents: vec![le_bytes(numbers).into()],
        ..ModelInferRequest::default()
    }
}

/// Some test images, for the bundled model.
pub(crate) fn digits(count: usize) -> ModelInferRequest {
    let images = &mnist().test;
    let pixels: Vec<f32> = images.inputs(0..count).unwrap();
    ask("mnist-mlp", "image", &[count as i64, 1, 28, 28], &pixels)
}

/// The class that each row of the first output favours.
pub(crate) fn classes(response: &ModelInferResponse) -> Vec<usize> {
    let columns = *response.outputs[0].shape.last().unwrap() as usize;
    let largest = |row: &[f32]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
    floats(&response.raw_output_contents[0]).chunks(columns).map(largest).collect()
}

/// The value of a counter of calls.
pub(crate) fn calls(app: &TestApp, protocol: &str, outcome: &str) -> f64 {
    app.metric(&format!("weir_grpc_requests_total{{outcome=\"{outcome}\",protocol=\"{protocol}\"}}"))
}
