//! What a balancer in front of several servers relies on while one of them starts or goes away.

use axum::body::Body;
use axum::http::{Method, Request};
use http_body_util::BodyExt;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tower::ServiceExt;
use weir::api::grpc::pb::grpc::health::v1::HealthCheckRequest;
use weir::api::grpc::pb::grpc::health::v1::health_check_response::ServingStatus;
use weir::api::grpc::pb::grpc::health::v1::health_client::HealthClient;
use weir::api::grpc::pb::inference::ModelMetadataRequest;
use weir::api::grpc::pb::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use weir::app::{App, StopReason};
use weir::config::ServeOptions;
use weir::ids::{AliasName, Version};

use crate::api::grpc::connect;
use crate::support::{PATIENCE, TestApp, bundled_models, until};

/// The ways in which protocols ask for a model, all of one that does not exist.
const QUESTIONS: [(Method, &str); 8] = [
    (Method::POST, "/models/none/predict"),
    (Method::GET, "/models/none"),
    (Method::POST, "/v2/models/none/infer"),
    (Method::GET, "/v2/models/none"),
    (Method::POST, "/v1/models/none:predict"),
    (Method::GET, "/v1/models/none"),
    (Method::POST, "/predictions/none"),
    (Method::GET, "/models/none/drift"),
];

/// Asks all of them, and returns the statuses, each with the header `retry-after`.
async fn ask_all(app: &App) -> Vec<(u16, bool)> {
    let mut answers = Vec::new();
    for (method, path) in QUESTIONS {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let body = Body::from("{\"instances\": [[1.0]], \"inputs\": []}");
        let (parts, body) = app.http().oneshot(request.body(body).unwrap()).await.unwrap().into_parts();
        body.collect().await.unwrap();
        answers.push((parts.status.as_u16(), parts.headers.contains_key("retry-after")));
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn no_model_is_said_to_be_missing_before_the_first_look() {
    let state = TempDir::new().unwrap();
    let options = ServeOptions {
        models: Some(bundled_models()),
        state_dir: Some(state.path().to_owned()),
        probe_interval_seconds: Some(0.0),
        tune: Some(false),
        ..ServeOptions::default()
    };
    let app = App::new(options.resolve().unwrap()).unwrap();
    let mut client = GrpcInferenceServiceClient::new(app.grpc().unwrap());
    let mut health = HealthClient::new(app.grpc().unwrap());
    let none = || ModelMetadataRequest { name: "none".into(), version: String::new() };
    let service = || HealthCheckRequest { service: "none".into() };

    assert_eq!(ask_all(&app).await, [(503, true); QUESTIONS.len()]);
    assert_eq!(client.model_metadata(none()).await.unwrap_err().code(), Code::Unavailable);
    let status = health.check(service()).await.unwrap().into_inner().status();
    assert_eq!(status, ServingStatus::NotServing);

    app.load().unwrap();
    App::settled(app.state().predictor()).await;
    assert_eq!(ask_all(&app).await, [(404, false); QUESTIONS.len()]);
    assert_eq!(client.model_metadata(none()).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(health.check(service()).await.unwrap_err().code(), Code::NotFound);
    let alias: AliasName = "stable".parse().unwrap();
    let promoted = app.state().manager().promote("none".parse().unwrap(), alias, Version(1), None, false).await;
    assert_eq!(promoted.unwrap_err().kind(), weir::error::Kind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn during_the_grace_time_an_answer_ends_its_connection() {
    let mut app = TestApp::with(&bundled_models(), |options| options.grace_seconds = Some(600.0)).await;
    let mut kept = TcpStream::connect(app.addr).await.unwrap();
    kept.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        answer.push(kept.read_u8().await.unwrap());
    }
    assert!(!String::from_utf8_lossy(&answer).contains("connection: close"), "a server that stays keeps connections");

    app.ask_to_stop(StopReason::Terminate);
    until("readiness is false", || app.state.health().is_draining()).await;
    kept.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut last = String::new();
    kept.read_to_string(&mut last).await.unwrap();
    assert!(last.starts_with("HTTP/1.1 200") && last.contains("connection: close"), "{last}");
    let fresh = app.raw(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(fresh.starts_with("HTTP/1.1 200"), "new connections are still taken: {fresh}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_connection_ends_after_an_answer() {
    let app = TestApp::with(&bundled_models(), |options| options.max_connection_age_seconds = Some(1.0)).await;
    let asked = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut kept = TcpStream::connect(app.addr).await.unwrap();
    let ended = async {
        let mut answer = String::new();
        while !answer.contains("connection: close") {
            answer.clear();
            kept.write_all(asked).await.unwrap();
            while !answer.ends_with('}') {
                answer.push(char::from(kept.read_u8().await.unwrap()));
            }
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        kept.read_u8().await.unwrap_err()
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("the connection ends");

    let mut wire = connect(app.grpc_addr).await;
    let service = || HealthCheckRequest { service: String::new() };
    let mut health = HealthClient::with_origin(wire.clone(), http::Uri::from_static("http://localhost"));
    assert_eq!(health.check(service()).await.unwrap().into_inner().status(), ServingStatus::Serving);
    let gone = async {
        while ServiceExt::<Request<tonic::body::Body>>::ready(&mut wire).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("GOAWAY");
    until("no connection is left", || app.metric("weir_grpc_connections") == 0.0).await;
    assert_eq!(app.stop(StopReason::Interrupt).await, weir::api::Shutdown::Clean);
}
