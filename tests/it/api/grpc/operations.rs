//! Health, reflection, and how the server goes away.

use tonic::Code;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use weir::api::Shutdown;
use weir::api::grpc::pb::grpc::health::v1::HealthCheckRequest;
use weir::api::grpc::pb::grpc::health::v1::health_check_response::ServingStatus;
use weir::api::grpc::pb::grpc::health::v1::health_client::HealthClient;
use weir::api::grpc::pb::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use weir::api::grpc::pb::inference::{ModelStreamInferResponse, RepositoryModelUnloadRequest};
use weir::app::{App, StopReason};
use weir::config::ServeOptions;

use super::{ask, connect, inference};
use crate::fixtures::{bare_model, half_plus_two};
use crate::support::{TestApp, bundled_models};

fn service(name: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: name.into() }
}

#[tokio::test]
async fn health_is_that_of_the_server_and_of_each_model() {
    let app = TestApp::with_temp(bare_model("half", &half_plus_two()), |_| {}).await;
    let mut client = HealthClient::new(app.services.clone());
    for name in ["", "inference.GRPCInferenceService", "tensorflow.serving.PredictionService", "half"] {
        let status = client.check(service(name)).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{name}");
    }
    assert_eq!(client.check(service("nobody")).await.unwrap_err().code(), Code::NotFound);
    let mut half = client.watch(service("half")).await.unwrap().into_inner();
    let mut nobody = client.watch(service("nobody")).await.unwrap().into_inner();
    assert_eq!(half.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    assert_eq!(nobody.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    let unload = RepositoryModelUnloadRequest { model_name: "half".into(), ..Default::default() };
    inference(&app).repository_model_unload(unload).await.unwrap();
    assert_eq!(half.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
}

/// Streams that nobody would end do not hold the server, and who watches hears of it first.
#[tokio::test]
async fn the_server_goes_away_with_streams_open() {
    let mut app = TestApp::with_temp(bare_model("half", &half_plus_two()), |_| {}).await;
    let wire = connect(app.grpc_addr).await;
    let origin = http::Uri::from_static("http://localhost");
    let mut health = HealthClient::with_origin(wire.clone(), origin.clone());
    let mut watched = health.watch(service("")).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let (requests, source) = tokio::sync::mpsc::channel(1);
    let source = futures_util::stream::unfold(source, async |mut source| Some((source.recv().await?, source)));
    let mut streams = GrpcInferenceServiceClient::with_origin(wire.clone(), origin.clone());
    requests.send(ask("half", "x", &[1, 1], &[4.0])).await.unwrap();
    let mut answers = streams.model_stream_infer(source).await.unwrap().into_inner();
    let answer: ModelStreamInferResponse = answers.message().await.unwrap().unwrap();
    assert_eq!(answer.error_message, "");
    let mut reflection = ServerReflectionClient::with_origin(wire, origin);
    let mut described = reflection.server_reflection_info(futures_util::stream::pending()).await.unwrap().into_inner();
    app.ask_to_stop(StopReason::Terminate);
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(watched.message().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(answers.message().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(described.message().await.unwrap_err().code(), Code::Unavailable);
    drop(requests);
    assert_eq!(app.stop(StopReason::Terminate).await, Shutdown::Clean);
}

async fn reflect(app: &TestApp, request: MessageRequest) -> ServerReflectionResponse {
    let mut client = ServerReflectionClient::new(app.services.clone());
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let requests = futures_util::stream::iter([request]);
    client.server_reflection_info(requests).await.unwrap().into_inner().message().await.unwrap().unwrap()
}

#[tokio::test]
async fn reflection_lists_and_describes_every_service() {
    let app = TestApp::start().await;
    let listed = reflect(&app, MessageRequest::ListServices(String::new())).await;
    let Some(MessageResponse::ListServicesResponse(list)) = listed.message_response else { panic!("{listed:?}") };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in [
        "inference.GRPCInferenceService",
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.ModelService",
        "grpc.health.v1.Health",
    ] {
        assert!(names.contains(&name), "{names:?}");
        let described = reflect(&app, MessageRequest::FileContainingSymbol(name.into())).await;
        assert!(
            matches!(described.message_response, Some(MessageResponse::FileDescriptorResponse(_))),
            "{name}: {described:?}"
        );
    }
    // Whatever a file imports can be asked for.
    for file in ["model_config.proto", "tensorflow/core/framework/tensor.proto", "google/protobuf/any.proto"] {
        let described = reflect(&app, MessageRequest::FileByFilename(file.into())).await;
        assert!(matches!(described.message_response, Some(MessageResponse::FileDescriptorResponse(_))), "{file}");
    }
}

#[test]
fn the_series_of_grpc_are_exported_only_where_it_is_spoken() {
    let state_dir = tempfile::TempDir::new().unwrap();
    let options = ServeOptions {
        models: Some(bundled_models()),
        state_dir: Some(state_dir.path().to_owned()),
        tune: Some(false),
        ..ServeOptions::default()
    };
    let app = App::new(options.resolve().unwrap()).unwrap();
    let exported = || String::from_utf8(app.state().metrics().encode().unwrap()).unwrap();
    assert!(exported().contains("weir_http_requests_total") && !exported().contains("weir_grpc_"));
    let services = app.grpc().unwrap();
    for family in ["weir_grpc_connections", "weir_grpc_requests_total", "weir_grpc_request_duration_seconds"] {
        assert!(exported().contains(family), "{family}");
    }
    drop(services);
}
