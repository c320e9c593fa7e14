//! Every prediction that ends, in whatever way, passes the tap once, under the identifier that its client has.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir::metrics::Outcome;
use weir::serving::{Caller, Finished, Observer, Part, Protocol};

use crate::api::grpc::{ask, inference};
use crate::fixtures::{bare_model, half_plus_two, panics_on_seven, png_of_test_image, slow};
use crate::support::{TestApp, until};

#[derive(Debug, Clone, PartialEq)]
struct Seen {
    protocol: Protocol,
    caller: Caller,
    outcome: Outcome,
    samples: usize,
    cached: bool,
    /// The elements of all inputs and outputs.
    elements: Option<(usize, usize)>,
    has_error: bool,
}

/// Keeps what it sees by request id.
#[derive(Debug, Default)]
struct Keeper(Mutex<BTreeMap<String, Vec<Seen>>>);

impl Observer for Keeper {
    fn finished(&self, prediction: &Finished<'_>) {
        assert_eq!(prediction.part, Part::Model);
        // The pieces of a request that is cut run side by side, and their times add up.
        assert!(prediction.samples > 1 || prediction.total >= prediction.stages.infer);
        let elements = prediction.inputs.zip(prediction.outputs).map(|(inputs, outputs)| {
            let of = |tensors: &[weir::tensor::Tensor]| tensors.iter().map(|tensor| tensor.data().len()).sum();
            (of(inputs), of(outputs))
        });
        let seen = Seen {
            protocol: prediction.context.protocol,
            caller: prediction.context.caller,
            outcome: prediction.outcome,
            samples: prediction.samples,
            cached: prediction.cached,
            elements,
            has_error: prediction.error.is_some(),
        };
        let id = prediction.context.request_id.as_str().to_owned();
        self.0.lock().unwrap().entry(id).or_default().push(seen);
    }
}

impl Keeper {
    fn install(app: &TestApp) -> Arc<Self> {
        let keeper = Arc::new(Self::default());
        app.state.predictor().observe(keeper.clone()).unwrap();
        assert!(app.state.predictor().observe(keeper.clone()).is_err(), "there is one observer");
        keeper
    }

    /// What was seen under an id, which must be one prediction.
    fn only(&self, id: &str) -> Seen {
        match self.0.lock().unwrap().get(id).map(Vec::as_slice) {
            Some([seen]) => seen.clone(),
            other => panic!("{id}: {other:?}"),
        }
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().values().map(Vec::len).sum()
    }
}

async fn post(app: &TestApp, path: &str, id: &str, body: impl Into<Body>) -> u16 {
    let request = Request::post(path).header("x-request-id", id).header("content-type", "application/json");
    app.send(request.body(body.into()).unwrap()).await.status.as_u16()
}

async fn post_json(app: &TestApp, path: &str, id: &str, body: Value) -> u16 {
    post(app, path, id, body.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_protocol_brings_its_request_id() {
    let app =
        TestApp::with_temp(bare_model("half", &half_plus_two()), |options| options.monitoring = Some(false)).await;
    let keeper = Keeper::install(&app);
    let v2 = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 1], "data": [1.0, 2.0]}]});
    let instances = json!({"instances": [[1.0], [2.0]]});
    for (path, id, body, protocol) in [
        ("/predict", "weir", &instances, Protocol::Weir),
        ("/models/half/versions/1/predict", "weir-version", &instances, Protocol::Weir),
        ("/v1/models/half:predict", "tfs", &instances, Protocol::TfServing),
        ("/v2/models/half/infer", "oip", &v2, Protocol::Oip),
        ("/predictions/half", "torchserve", &json!([[1.0], [2.0]]), Protocol::TorchServe),
    ] {
        assert_eq!(post_json(&app, path, id, body.clone()).await, 200, "{id}");
        let seen = keeper.only(id);
        let expected = Seen {
            protocol,
            caller: Caller::Client(None),
            outcome: Outcome::Success,
            samples: 2,
            cached: false,
            elements: Some((2, 2)),
            has_error: false,
        };
        assert_eq!(seen, expected, "{id}");
    }
    let mut request = tonic::Request::new(ask("half", "x", &[2, 1], &[1.0, 2.0]));
    request.metadata_mut().insert("x-request-id", "grpc".parse().unwrap());
    inference(&app).model_infer(request).await.unwrap();
    assert_eq!((keeper.only("grpc").protocol, keeper.only("grpc").samples), (Protocol::OipGrpc, 2));
    let mut stream = tonic::Request::new(futures_util::stream::iter((0..2).map(|_| ask("half", "x", &[1, 1], &[1.0]))));
    stream.metadata_mut().insert("x-request-id", "stream".parse().unwrap());
    let mut answers = inference(&app).model_stream_infer(stream).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    assert!(["stream.1", "stream.2"].iter().all(|id| keeper.only(id).samples == 1));

    // Over a socket, the caller has an address.
    let body = instances.to_string();
    let head = format!(
        "POST /predict HTTP/1.1\r\nhost: x\r\nx-request-id: socket\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    assert!(app.raw(head.as_bytes()).await.starts_with("HTTP/1.1 200"));
    assert_eq!(keeper.only("socket").caller, Caller::Client(Some(IpAddr::V4(Ipv4Addr::LOCALHOST))));

    // What never reaches a version is no prediction.
    assert_eq!(post_json(&app, "/models/other/predict", "unknown", instances.clone()).await, 404);
    assert_eq!(post(&app, "/predict", "malformed", "{").await, 400);
    assert_eq!(keeper.count(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_failures_and_cached_answers_are_seen_as_well() {
    let app = TestApp::with_temp(bare_model("m", &panics_on_seven()), |options| {
        options.monitoring = Some(false);
        options.cache_bytes = Some(1 << 20);
        options.max_samples = Some(4);
    })
    .await;
    let keeper = Keeper::install(&app);
    let instances = |value: f32| json!({"instances": [[value]]});
    for (id, body, status, outcome, cached) in [
        ("first", instances(1.0), 200, Outcome::Success, false),
        ("again", instances(1.0), 200, Outcome::Success, true),
        ("failed", instances(7.0), 422, Outcome::InvalidInput, false),
        ("pair", json!({"instances": [[2.0], [3.0]], "timeout_ms": 60_000}), 200, Outcome::Success, false),
    ] {
        assert_eq!(post_json(&app, "/predict", id, body).await, status, "{id}");
        let seen = keeper.only(id);
        assert_eq!((seen.outcome, seen.cached, seen.has_error), (outcome, cached, status != 200), "{id}");
        assert_eq!(seen.elements.is_some(), status == 200, "{id}: where the model ran, inputs and outputs are known");
    }
    let v2 = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [5, 1], "data": [0, 0, 0, 0, 0]}]});
    assert!(post_json(&app, "/v2/models/m/infer", "large", v2).await >= 400);
    let large = keeper.only("large");
    assert_eq!((large.outcome, large.samples, large.elements), (Outcome::InvalidInput, 5, None));
    assert_eq!(keeper.count(), 5);
}

#[tokio::test]
async fn inline_batches_and_split_requests_are_seen_one_by_one() {
    let app = TestApp::with(&crate::support::bundled_models(), |options| options.monitoring = Some(false)).await;
    let keeper = Keeper::install(&app);
    let requests = (0..24).map(|index| {
        let app = &app;
        async move { post(app, "/predict", &format!("r{index}"), png_of_test_image(index)).await }
    });
    let statuses = futures_util::future::join_all(requests).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    for index in 0..24 {
        let seen = keeper.only(&format!("r{index}"));
        // Two outputs: logits and probabilities.
        assert_eq!((seen.outcome, seen.elements), (Outcome::Success, Some((784, 20))));
    }
    let rows = vec![vec![vec![vec![0.0; 28]; 28]; 1]; 70];
    assert_eq!(post_json(&app, "/predict", "split", json!({"instances": rows})).await, 200);
    assert_eq!((keeper.only("split").samples, keeper.only("split").elements), (70, Some((70 * 784, 1400))));
    assert_eq!(keeper.count(), 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_leave_wait_too_long_or_find_no_room_are_seen() {
    let app = TestApp::with_temp(bare_model("half", &half_plus_two()), |options| {
        options.monitoring = Some(false);
        options.threads = Some(1);
        options.queue_capacity = Some(1);
        options.inline_below_microseconds = Some(0);
        options.max_batch_size = Some(8);
        // A batch that nobody completes keeps the only place.
        options.max_queue_delay_microseconds = Some(60_000_000);
        options.request_timeout_seconds = Some(60.0);
    })
    .await;
    let keeper = Keeper::install(&app);
    let app = Arc::new(app);
    assert_eq!(post_json(&app, "/predict", "late", json!({"instances": [[1.0]], "timeout_ms": 20})).await, 504);
    assert_eq!(keeper.only("late").outcome, Outcome::DeadlineExceeded);
    let waiting = {
        let app = app.clone();
        tokio::spawn(async move { post_json(&app, "/predict", "left", json!({"instances": [[1.0]]})).await })
    };
    until("one waits", || app.metric("weir_queue_depth{model=\"half\",version=\"1\"}") == 1.0).await;
    assert_eq!(post_json(&app, "/predict", "full", json!({"instances": [[1.0]]})).await, 503);
    assert_eq!((keeper.only("full").outcome, keeper.only("full").samples), (Outcome::Overloaded, 1));
    let mut stream = TcpStream::connect(app.addr).await.unwrap();
    let head = "POST /predict HTTP/1.1\r\nhost: x\r\nx-request-id: unread\r\ncontent-length: 1000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503");
    assert_eq!((keeper.only("unread").outcome, keeper.only("unread").samples), (Outcome::Overloaded, 0));
    waiting.abort();
    until("its end is seen", || keeper.count() == 4).await;
    let left = keeper.only("left");
    assert_eq!((left.outcome, left.has_error, left.elements), (Outcome::Cancelled, false, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_is_seen_and_is_no_client_in_the_statistics() {
    let app = TestApp::with(&crate::support::bundled_models(), |options| {
        options.monitoring = Some(false);
        options.probe_interval_seconds = Some(3600.0);
    })
    .await;
    until("the probe was replayed", || {
        app.state.predictor().catalog().servables().all(|servable| servable.live_quality().is_some())
    })
    .await;
    let keeper = Keeper::install(&app);
    let servable = app.state.predictor().catalog().servables().next().unwrap().clone();
    let before = servable.statistics().snapshot();
    assert_eq!((before.execution_count, before.inference_count, before.success.count), (0, 0, 0));
    assert!(before.runs.is_empty());
    assert_eq!(post(&app, "/predict", "client", png_of_test_image(0)).await, 200);
    let after = servable.statistics().snapshot();
    assert_eq!((after.execution_count, after.inference_count, after.success.count), (1, 1, 1));
    assert!(keeper.only("client").caller == Caller::Client(None));
    let context = weir::serving::RequestContext::internal(Caller::Probe, 9);
    let input = weir::serving::Input::Images(vec![png_of_test_image(0).into()]);
    let options = weir::serving::Options::default();
    app.state.predictor().predict(&context, servable.clone(), input, options).await.unwrap();
    let probe = keeper.only(context.request_id.as_str());
    assert_eq!((probe.caller, probe.protocol, probe.outcome), (Caller::Probe, Protocol::Internal, Outcome::Probe));
    assert_eq!(servable.statistics().snapshot().execution_count, 1);
}

/// A model that takes its time keeps the version that it belongs to in memory until its run is done, also when
/// nobody waits for the answer any more.
#[tokio::test(flavor = "multi_thread")]
async fn an_unload_waits_for_a_run_whose_caller_left() {
    let app = TestApp::with_temp(bare_model("slow", &slow()), |options| options.threads = Some(1)).await;
    let app = Arc::new(app);
    let running = {
        let app = app.clone();
        tokio::spawn(async move { post_json(&app, "/predict", "left", json!({"instances": [[[1.0]]]})).await })
    };
    let in_flight = || app.metric("weir_inference_in_flight{model=\"slow\",version=\"1\"}");
    let queued = || app.metric("weir_queue_depth{model=\"slow\",version=\"1\"}");
    until("it runs", || in_flight() == 1.0 && queued() == 0.0).await;
    running.abort();
    let unload = app.state.manager().unload("slow".parse().unwrap(), None);
    tokio::time::timeout(crate::support::PATIENCE, unload).await.unwrap().unwrap();
    let text = String::from_utf8(app.state.metrics().encode().unwrap()).unwrap();
    assert!(!text.contains("weir_inference_batch_size_count{model=\"slow\""), "its series went with it");
}
