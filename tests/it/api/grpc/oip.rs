//! The Open Inference Protocol.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tonic::{Code, Request};
use weir::api::grpc::pb::inference::infer_parameter::ParameterChoice;
use weir::api::grpc::pb::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use weir::api::grpc::pb::inference::{
    CudaSharedMemoryStatusRequest, DataType, InferParameter, InferTensorContents, LogSettingsRequest,
    ModelConfigRequest, ModelInferRequest, ModelMetadataRequest, ModelReadyRequest, ModelStatistics,
    ModelStatisticsRequest, RepositoryIndexRequest, RepositoryModelLoadRequest, RepositoryModelUnloadRequest,
    ServerLiveRequest, ServerMetadataRequest, ServerReadyRequest, SystemSharedMemoryStatusRequest, TraceSettingRequest,
    grpc_inference_service_client, trace_setting_request,
};

use super::{ask, calls, classes, connect, digits, floats, inference};
use crate::fixtures::{add_bare_model, bare_model, half_plus_two, mnist, png_of_test_image, slow, sum_and_difference};
use crate::support::{TestApp, until};

type Client = grpc_inference_service_client::GrpcInferenceServiceClient<weir::api::grpc::Services>;

fn parameter(choice: ParameterChoice) -> InferParameter {
    InferParameter { parameter_choice: Some(choice) }
}

#[tokio::test]
async fn the_server_and_its_models_describe_themselves() {
    let app = TestApp::start().await;
    let mut client = inference(&app);
    assert!(client.server_live(ServerLiveRequest {}).await.unwrap().into_inner().live);
    assert!(client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready);
    let ready = ModelReadyRequest { name: "mnist-mlp".into(), version: String::new() };
    assert!(client.model_ready(ready).await.unwrap().into_inner().ready);
    let server = client.server_metadata(ServerMetadataRequest {}).await.unwrap().into_inner();
    assert_eq!(server.name, "weir");
    assert!(server.extensions.iter().any(|extension| extension == "statistics"));
    let which = ModelMetadataRequest { name: "mnist-mlp".into(), version: "1".into() };
    let model = client.model_metadata(which).await.unwrap().into_inner();
    assert_eq!((model.versions, model.inputs[0].shape.clone()), (vec!["1".to_owned()], vec![-1, 1, 28, 28]));
    assert_eq!(model.outputs[0].datatype, "FP32");
    let which = ModelConfigRequest { name: "mnist-mlp".into(), version: String::new() };
    let config = client.model_config(which).await.unwrap().into_inner().config.unwrap();
    assert_eq!((config.input[0].data_type(), config.input[0].dims.clone()), (DataType::TypeFp32, vec![1, 28, 28]));
    assert!(config.max_batch_size > 0);
    let index = RepositoryIndexRequest::default();
    let index = client.repository_index(index).await.unwrap().into_inner().models;
    assert_eq!((index[0].name.as_str(), index[0].state.as_str()), ("mnist-mlp", "READY"));
    let nameless = RepositoryIndexRequest { repository_name: "other".into(), ready: false };
    assert_eq!(client.repository_index(nameless).await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn the_latest_version_may_be_called_minus_one() {
    let app = TestApp::start().await;
    let mut client = inference(&app);
    let latest = ModelInferRequest { model_version: "-1".into(), ..digits(2) };
    let answer = client.model_infer(latest).await.unwrap().into_inner();
    assert_eq!((classes(&answer), answer.model_version.as_str()), (vec![7, 2], "1"));
    let ready = ModelReadyRequest { name: "mnist-mlp".into(), version: "-1".into() };
    assert!(client.model_ready(ready).await.unwrap().into_inner().ready);
    let before = ModelInferRequest { model_version: "-2".into(), ..digits(2) };
    assert_eq!(client.model_infer(before).await.unwrap_err().code(), Code::InvalidArgument);
}

/// Whatever is wrong is quoted as far as it takes to know it again.
#[tokio::test]
async fn refusals_are_short_however_long_the_fault_is() {
    let app = TestApp::start().await;
    let mut client = inference(&app);
    let long = || "A".repeat(300_000);
    let input = || digits(1).inputs.remove(0);
    let good = || ModelInferRequest { raw_input_contents: Vec::new(), ..digits(1) };
    let raw = digits(1).raw_input_contents;
    let output = InferRequestedOutputTensor { name: long(), ..InferRequestedOutputTensor::default() };
    let priority = [("priority".to_owned(), parameter(ParameterChoice::StringParam(long())))];
    let reserved = [(format!("triton_{}", long()), parameter(ParameterChoice::BoolParam(true)))];
    for request in [
        ModelInferRequest { model_name: long(), ..digits(1) },
        ModelInferRequest { model_version: long(), ..digits(1) },
        ModelInferRequest { inputs: vec![InferInputTensor { name: long(), ..input() }], ..digits(1) },
        ModelInferRequest { inputs: vec![InferInputTensor { name: long(), ..input() }], ..good() },
        ModelInferRequest { inputs: vec![InferInputTensor { datatype: long(), ..input() }], ..digits(1) },
        ModelInferRequest { inputs: vec![InferInputTensor { shape: vec![-1; 10_000], ..input() }], ..digits(1) },
        ModelInferRequest { inputs: vec![InferInputTensor { shape: vec![1; 10_000], ..input() }], ..digits(1) },
        ModelInferRequest { inputs: vec![input(); 1000], raw_input_contents: vec![raw[0].clone(); 2], ..digits(1) },
        ModelInferRequest { outputs: vec![output], ..digits(1) },
        ModelInferRequest { parameters: priority.into(), ..digits(1) },
        ModelInferRequest { parameters: reserved.into(), ..digits(1) },
    ] {
        let status = client.model_infer(request).await.unwrap_err();
        assert_ne!(status.code(), Code::Internal, "{status}");
        assert!(status.message().len() < 1000, "{} bytes: {}", status.message().len(), &status.message()[..200]);
    }
}

#[tokio::test]
async fn digits_are_known_raw_typed_and_as_images() {
    let app = TestApp::start().await;
    let mut client = inference(&app);
    let raw = digits(8);
    let expected: Vec<usize> = mnist().test.labels()[..8].iter().map(|label| *label as usize).collect();
    let from_raw = client.model_infer(raw.clone()).await.unwrap().into_inner();
    assert_eq!((from_raw.model_name.as_str(), from_raw.model_version.as_str()), ("mnist-mlp", "1"));
    assert_eq!(from_raw.raw_output_contents.len(), from_raw.outputs.len());
    assert_eq!(classes(&from_raw), expected);
    let mut typed = raw.clone();
    let contents = InferTensorContents { fp32_contents: floats(&raw.raw_input_contents[0]), ..Default::default() };
    typed.raw_input_contents.clear();
    typed.inputs[0].contents = Some(contents);
    assert_eq!(client.model_infer(typed).await.unwrap().into_inner().raw_output_contents, from_raw.raw_output_contents);
    let input = InferInputTensor {
        name: "image".into(),
        datatype: "BYTES".into(),
        shape: vec![1],
        contents: Some(InferTensorContents { bytes_contents: vec![png_of_test_image(0).into()], ..Default::default() }),
        ..InferInputTensor::default()
    };
    let images = ModelInferRequest { inputs: vec![input], raw_input_contents: vec![], id: "mine".into(), ..raw };
    let from_image = client.model_infer(images).await.unwrap().into_inner();
    assert_eq!((classes(&from_image), from_image.id.as_str()), (vec![7], "mine"));
    assert_eq!(calls(&app, "oip", "ok"), 3.0);
}

#[tokio::test]
async fn outputs_are_answered_as_they_are_asked_for() {
    let app = TestApp::with_temp(bare_model("pair", &sum_and_difference()), |_| {}).await;
    let mut client = inference(&app);
    let input = |name: &str, numbers: [i64; 2]| InferInputTensor {
        name: name.into(),
        datatype: "INT64".into(),
        shape: vec![1, 2],
        contents: Some(InferTensorContents { int64_contents: numbers.into(), ..Default::default() }),
        ..InferInputTensor::default()
    };
    let output = |name: &str, classification: Option<i64>| InferRequestedOutputTensor {
        name: name.into(),
        parameters: classification
            .map(|count| [("classification".to_owned(), parameter(ParameterChoice::Int64Param(count)))].into())
            .unwrap_or_default(),
    };
    let request = ModelInferRequest {
        model_name: "pair".into(),
        // In another order than the model's.
        inputs: vec![input("b", [1, 2]), input("a", [10, 20])],
        outputs: vec![output("difference", None), output("sum", Some(1))],
        ..ModelInferRequest::default()
    };
    let response = client.model_infer(request).await.unwrap().into_inner();
    let names: Vec<&str> = response.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["difference", "sum"]);
    let difference = [9i64, 18].map(i64::to_le_bytes).concat();
    assert_eq!(response.raw_output_contents[0], difference);
    assert_eq!((response.outputs[1].datatype.as_str(), &response.outputs[1].shape[..]), ("BYTES", &[1, 1][..]));
    assert_eq!(response.raw_output_contents[1], &b"\x04\0\0\x0022:1"[..]);
}

#[tokio::test]
async fn what_is_wrong_is_said_and_harms_nothing() {
    let app = TestApp::start().await;
    let mut client = inference(&app);
    let change = |change: fn(&mut ModelInferRequest)| {
        let mut request = digits(1);
        change(&mut request);
        request
    };
    for (request, code, word) in [
        (change(|request| request.model_name = "nobody".into()), Code::NotFound, "nobody"),
        (change(|request| request.model_name = "../x".into()), Code::InvalidArgument, "model name"),
        (change(|request| request.model_version = "9".into()), Code::NotFound, "9"),
        (change(|request| request.model_version = "nowhere".into()), Code::NotFound, "nowhere"),
        (change(|request| request.inputs.clear()), Code::InvalidArgument, "raw_input_contents"),
        (change(|request| request.inputs[0].name = "y".into()), Code::InvalidArgument, "no input"),
        (change(|request| request.inputs[0].datatype = "FP8".into()), Code::InvalidArgument, "FP8"),
        (change(|request| request.inputs[0].datatype = "INT32".into()), Code::InvalidArgument, "FP32"),
        (change(|request| request.inputs[0].shape = vec![1, 784]), Code::InvalidArgument, ""),
        (change(|request| request.inputs[0].shape = vec![-1, 1, 28, 28]), Code::InvalidArgument, "negative"),
        (change(|request| request.inputs[0].shape = vec![1 << 60, 1 << 60]), Code::InvalidArgument, "too large"),
        (change(|request| request.raw_input_contents[0] = vec![0; 7].into()), Code::InvalidArgument, "7 bytes"),
        (change(|request| request.raw_input_contents.push(vec![].into())), Code::InvalidArgument, "2 entries"),
        (change(|request| request.inputs[0].contents = Some(Default::default())), Code::InvalidArgument, "mixed"),
        (change(|request| request.outputs = vec![Default::default()]), Code::InvalidArgument, "no output"),
        (
            change(|request| {
                let sequence = parameter(ParameterChoice::Uint64Param(3));
                request.parameters.insert("sequence_id".into(), sequence);
            }),
            Code::InvalidArgument,
            "sequence",
        ),
        (
            change(|request| drop(request.parameters.insert("priority".into(), InferParameter::default()))),
            Code::InvalidArgument,
            "no value",
        ),
    ] {
        let status = client.model_infer(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(word), "{word}: {status}");
        assert!(status.metadata().get("x-request-id").is_some(), "{status:?}");
    }
    assert_eq!((calls(&app, "oip", "invalid_argument"), calls(&app, "oip", "not_found")), (14.0, 3.0));
    app.assert_unharmed().await;
}

#[tokio::test]
async fn a_stream_answers_in_order_and_outlives_a_refusal() {
    let app = TestApp::with_temp(bare_model("half", &half_plus_two()), |_| {}).await;
    let mut client = inference(&app);
    let requests = (0..40).map(|number: u16| {
        let mut request = ask("half", if number == 20 { "nothing" } else { "x" }, &[1, 1], &[f32::from(number)]);
        request.id = if number == 39 { String::new() } else { number.to_string() };
        request
    });
    let requests: Vec<_> = requests.collect();
    let mut stream = tonic::Request::new(futures_util::stream::iter(requests));
    stream.metadata_mut().insert("x-request-id", "of-a-client".parse().unwrap());
    let mut answers = client.model_stream_infer(stream).await.unwrap().into_inner();
    for number in 0..40u16 {
        let answer = answers.message().await.unwrap().unwrap();
        let response = answer.infer_response.unwrap();
        let own = format!("of-a-client.{}", number + 1);
        let parameter = Some(ParameterChoice::StringParam(own.clone()));
        assert_eq!(response.parameters["request_id"].parameter_choice, parameter);
        assert_eq!(response.id, if number == 39 { own } else { number.to_string() });
        if number == 20 {
            assert!(answer.error_message.contains("nothing"), "{}", answer.error_message);
        } else {
            assert_eq!(floats(&response.raw_output_contents[0]), [f32::from(number) / 2.0 + 2.0]);
        }
    }
    assert!(answers.message().await.unwrap().is_none());
    drop(answers);
    until("the stream is counted", || calls(&app, "oip", "ok") == 1.0).await;
}

#[tokio::test]
async fn statistics_count_what_was_inferred() {
    let app = TestApp::start().await;
    let mut client = inference(&app);
    let which = || ModelStatisticsRequest { name: "mnist-mlp".into(), version: String::new() };
    let before = client.model_statistics(which()).await.unwrap().into_inner().model_stats.remove(0);
    client.model_infer(digits(3)).await.unwrap();
    let after = client.model_statistics(which()).await.unwrap().into_inner().model_stats.remove(0);
    assert_eq!(after.inference_count - before.inference_count, 3);
    let success = |statistics: &ModelStatistics| statistics.inference_stats.unwrap().success.unwrap().count;
    assert_eq!(success(&after) - success(&before), 1);
}

async fn loaded(client: &mut Client) -> Vec<String> {
    let index = client.repository_index(RepositoryIndexRequest { ready: true, ..Default::default() }).await.unwrap();
    index.into_inner().models.into_iter().map(|model| model.name).collect()
}

#[tokio::test]
async fn models_are_unloaded_and_loaded_and_the_trail_says_who() {
    let models = bare_model("a", &half_plus_two());
    add_bare_model(models.path(), "b", 1, &half_plus_two());
    let app = TestApp::with_temp(models, |_| {}).await;
    let mut client = inference(&app);
    let unload = RepositoryModelUnloadRequest { model_name: "a".into(), ..Default::default() };
    let mut request = Request::new(unload);
    request.metadata_mut().insert("x-request-id", "unload-1".parse().unwrap());
    client.repository_model_unload(request).await.unwrap();
    assert_eq!(loaded(&mut client).await, ["b"]);
    let ready = ModelReadyRequest { name: "a".into(), version: String::new() };
    assert!(!client.model_ready(ready).await.unwrap().into_inner().ready);
    let load = RepositoryModelLoadRequest { model_name: "a".into(), ..Default::default() };
    client.repository_model_load(load).await.unwrap();
    assert_eq!(loaded(&mut client).await, ["a", "b"]);
    let trail = app.get("/audit?limit=2").await.json();
    assert_eq!(trail["entries"][1]["request_id"], "unload-1");
    assert_eq!(trail["entries"][0]["action"], "load");
}

#[tokio::test]
async fn what_is_for_administrators_is_refused_to_others() {
    let app = TestApp::with(&crate::support::bundled_models(), |options| {
        options.admin = Some(weir::config::Callers::Off);
    })
    .await;
    let mut client = inference(&app);
    let load = RepositoryModelLoadRequest { model_name: "mnist-mlp".into(), ..Default::default() };
    assert_eq!(client.repository_model_load(load).await.unwrap_err().code(), Code::PermissionDenied);
    let value = trace_setting_request::SettingValue { value: vec!["TIMESTAMPS".into()] };
    let change = TraceSettingRequest { settings: [("trace_level".to_owned(), value)].into(), ..Default::default() };
    assert_eq!(client.trace_setting(change).await.unwrap_err().code(), Code::PermissionDenied);
    let seen = client.trace_setting(TraceSettingRequest::default()).await.unwrap().into_inner();
    assert_eq!(seen.settings["trace_level"].value, ["OFF"]);
    let status = client.system_shared_memory_status(SystemSharedMemoryStatusRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let cuda = client.cuda_shared_memory_status(CudaSharedMemoryStatusRequest::default()).await.unwrap_err();
    assert_eq!(cuda.code(), Code::Unimplemented);
    assert!(client.log_settings(LogSettingsRequest::default()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_ends_the_call_and_its_work() {
    let app = TestApp::with_temp(bare_model("slow", &slow()), |options| {
        options.threads = Some(1);
        options.max_batch_size = Some(1);
    })
    .await;
    let mut client = inference(&app);
    for timeout in [Duration::ZERO, Duration::from_millis(1)] {
        let mut request = Request::new(ask("slow", "x", &[3, 1, 1], &[1.0; 3]));
        request.set_timeout(timeout);
        assert_eq!(client.model_infer(request).await.unwrap_err().code(), Code::DeadlineExceeded);
    }
    let mut malformed = Request::new(ask("slow", "x", &[1, 1, 1], &[1.0]));
    malformed.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
    assert_eq!(client.model_infer(malformed).await.unwrap_err().code(), Code::InvalidArgument);
    until("nothing waits", || app.metric("weir_queue_depth{model=\"slow\",version=\"1\"}") == 0.0).await;
    assert_eq!(calls(&app, "oip", "deadline_exceeded"), 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_cancelled_is_not_computed() {
    let app = TestApp::with_temp(bare_model("slow", &slow()), |options| {
        options.threads = Some(1);
        options.max_batch_size = Some(1);
    })
    .await;
    let app = Arc::new(app);
    let executed = || app.metric("weir_inference_batch_size_count{model=\"slow\",version=\"1\"}");
    let before = executed();
    let wire = connect(app.grpc_addr).await;
    let origin = http::Uri::from_static("http://localhost");
    let calls_under_way: Vec<_> = (0..6)
        .map(|_| {
            let client =
                grpc_inference_service_client::GrpcInferenceServiceClient::with_origin(wire.clone(), origin.clone());
            tokio::spawn(async move { { client }.model_infer(ask("slow", "x", &[1, 1, 1], &[1.0])).await.map(drop) })
        })
        .collect();
    let depth = || app.metric("weir_queue_depth{model=\"slow\",version=\"1\"}");
    // However late the last of them come, several wait while one runs.
    until("one runs and three wait", || depth() >= 3.0).await;
    calls_under_way.iter().for_each(tokio::task::JoinHandle::abort);
    until("nobody waits", || depth() == 0.0).await;
    let in_flight = || app.metric("weir_inference_in_flight{model=\"slow\",version=\"1\"}");
    until("those that waited are counted", || calls(&app, "oip", "cancelled") >= 3.0 && in_flight() == 0.0).await;
    assert!(executed() - before <= calls(&app, "oip", "ok") + 1.0, "those that waited were not run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_says_when_to_come_again() {
    let app = TestApp::with_temp(bare_model("slow", &slow()), |options| {
        options.threads = Some(1);
        options.queue_capacity = Some(1);
        options.max_batch_size = Some(1);
    })
    .await;
    let calls_under_way: Vec<_> = (0..8)
        .map(|_| {
            let mut client = inference(&app);
            tokio::spawn(async move { client.model_infer(ask("slow", "x", &[1, 1, 1], &[1.0])).await })
        })
        .collect();
    let mut refused = 0;
    for call in calls_under_way {
        if let Err(status) = call.await.unwrap() {
            assert_eq!(status.code(), Code::Unavailable);
            let pause: u32 =
                status.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap().parse().unwrap();
            assert!(pause >= 1000);
            refused += 1;
        }
    }
    assert!(refused >= 1);
    assert_eq!(app.post_json("/predict", &json!({"instances": [[[1.0]]]})).await.status, 200);
}
