//! gRPC inferences of `mnist-mlp`, one image each, beside the yardstick: the same service over the same
//! connections, answering a constant of the same size. Both run in processes of their own; this one
//! keeps 32 calls under way and asks one after the other, several times, so that both see the same
//! machine.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::server::UnaryService;
use tonic_prost::ProstCodec;
use tower::Service;
use weir::api::grpc::pb::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use weir::api::grpc::pb::inference::model_infer_request::InferInputTensor;
use weir::api::grpc::pb::inference::model_infer_response::InferOutputTensor;
use weir::api::grpc::pb::inference::{ModelInferRequest, ModelInferResponse};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: grpc WEIR_BINARY [SECONDS [ROUNDS]]; see benches/README.md";
const IN_FLIGHT: usize = 32;
const CONNECTIONS: usize = 4;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match arguments.first().map(String::as_str) {
        // `cargo bench` starts every bench without arguments, and means no harm.
        None => Ok(writeln!(std::io::stdout(), "{USAGE}")?),
        Some("constant") => runtime.block_on(constant()),
        Some(weir) => {
            let number = |index: usize, default: u64| arguments.get(index).map_or(Ok(default), |text| text.parse());
            runtime.block_on(compare(weir, Duration::from_secs(number(1, 5)?), number(2, 5)?))
        }
    }
}

/// A child that is stopped with this.
struct Server(Child, SocketAddr);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

async fn compare(weir: &str, duration: Duration, rounds: u64) -> Result<()> {
    let weir = start(Command::new(weir).args([
        "serve",
        "--models",
        "models",
        "--default-model",
        "mnist-mlp",
        "--http",
        "127.0.0.1:0",
        "--grpc",
        "127.0.0.1:0",
        "--log-format",
        "json",
        "--probe-interval-seconds",
        "0",
    ]))?;
    let constant = start(Command::new(std::env::current_exe()?).arg("constant"))?;
    let mut out = std::io::stdout();
    for server in [&weir, &constant] {
        rate(server.1, Duration::from_secs(1)).await?;
    }
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let (weir, constant) = (rate(weir.1, duration).await?, rate(constant.1, duration).await?);
        ratios.push(weir / constant);
        writeln!(out, "weir {weir:.0}/s  constant {constant:.0}/s  ratio {:.3}", weir / constant)?;
    }
    ratios.sort_by(f64::total_cmp);
    writeln!(out, "median ratio {:.3}", ratios[ratios.len() / 2])?;
    Ok(())
}

/// Starts a server and reads from its log where it listens, until it is ready.
fn start(command: &mut Command) -> Result<Server> {
    let mut child = command.stderr(Stdio::piped()).spawn()?;
    let mut address = None;
    let mut lines = BufReader::new(child.stderr.take().ok_or("no log")?).lines();
    for line in lines.by_ref() {
        let line: serde_json::Value = serde_json::from_str(&line?)?;
        if let Some(grpc) = line["grpc"].as_str() {
            address = Some(grpc.parse()?);
        }
        if line["message"].as_str().is_some_and(|message| message.starts_with("ready")) {
            // A full pipe would block the server.
            std::thread::spawn(move || lines.for_each(drop));
            return Ok(Server(child, address.ok_or("no address in the log")?));
        }
    }
    Err("the server ended before it was ready".into())
}

/// Answers a second with `IN_FLIGHT` calls under way.
async fn rate(address: SocketAddr, duration: Duration) -> Result<f64> {
    let request = Arc::new(request());
    let answered = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    let start = Instant::now();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await?;
        tokio::spawn(connection);
        for _ in 0..IN_FLIGHT / CONNECTIONS {
            let origin = Uri::from_static("http://localhost");
            let mut client = GrpcInferenceServiceClient::with_origin(Sender(sender.clone()), origin);
            let (request, answered) = (request.clone(), answered.clone());
            tasks.push(tokio::spawn(async move {
                while start.elapsed() < duration {
                    client.model_infer(ModelInferRequest::clone(&request)).await?;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, Status>(())
            }));
        }
    }
    for task in tasks {
        task.await??;
    }
    Ok(answered.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64())
}

fn request() -> ModelInferRequest {
    let pixels: Vec<u8> = (0..784u16).flat_map(|index| f32::from(index % 256).to_le_bytes()).collect();
    let input = InferInputTensor {
        name: "image".into(),
        datatype: "FP32".into(),
        shape: vec![1, 1, 28, 28],
        ..InferInputTensor::default()
    };
    ModelInferRequest {
        model_name: "mnist-mlp".into(),
        inputs: vec![input],
        raw_input_contents: vec![pixels.into()],
        ..ModelInferRequest::default()
    }
}

#[derive(Clone)]
struct Sender(SendRequest<Body>);

impl Service<Request<Body>> for Sender {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// The yardstick: tonic over hyper, with a service that decodes the request and encodes a constant.
async fn constant() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    writeln!(std::io::stderr(), r#"{{"message":"ready","grpc":"{address}"}}"#)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = service_fn(|request: Request<Incoming>| async {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<ModelInferResponse, ModelInferRequest>::default());
            Ok::<_, std::convert::Infallible>(grpc.unary(Constant, request).await)
        });
        // A client that goes away is no failure.
        let connection = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move { connection.await.ok() });
    }
}

struct Constant;

impl UnaryService<ModelInferRequest> for Constant {
    type Response = ModelInferResponse;
    type Future = BoxFuture<tonic::Response<ModelInferResponse>, Status>;

    fn call(&mut self, _: tonic::Request<ModelInferRequest>) -> Self::Future {
        let output = |name: &str| InferOutputTensor {
            name: name.into(),
            datatype: "FP32".into(),
            shape: vec![1, 10],
            ..InferOutputTensor::default()
        };
        let response = ModelInferResponse {
            model_name: "mnist-mlp".into(),
            model_version: "1".into(),
            outputs: vec![output("logits"), output("probabilities")],
            raw_output_contents: vec![Bytes::from_static(&[7; 40]); 2],
            ..ModelInferResponse::default()
        };
        Box::pin(async move { Ok(tonic::Response::new(response)) })
    }
}
