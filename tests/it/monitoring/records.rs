//! Every sample that a client asks about leaves a record, whatever protocol it came by and however it ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use weir::metrics::Outcome;
use weir::monitoring::{Answer, Consumer, Monitor, Record};
use weir::serving::{Places, Protocol};

use crate::api::grpc::{ask, inference};
use crate::fixtures::{bare_model, half_plus_two, panics_on_seven, png_of_test_image};
use crate::support::{TestApp, bundled_models};

#[derive(Debug, Default, Clone)]
struct Keeper(Arc<Mutex<Vec<Record>>>);

impl Consumer for Keeper {
    fn consume(&mut self, records: &[Record]) {
        self.0.lock().unwrap().extend_from_slice(records);
    }
}

impl Keeper {
    fn install(app: &TestApp) -> (Self, Monitor) {
        let keeper = Self::default();
        let monitor = Monitor::start(vec![Box::new(keeper.clone())], None, None).unwrap();
        app.state.predictor().observe(monitor.observer()).unwrap();
        (keeper, monitor)
    }

    /// The records by the identifier of the caller.
    fn by_client(&self) -> BTreeMap<String, Vec<Record>> {
        let mut by_client = BTreeMap::<String, Vec<Record>>::new();
        for record in self.0.lock().unwrap().iter() {
            let client = record.client.as_deref().unwrap_or("none");
            by_client.entry(client.to_owned()).or_default().push(record.clone());
        }
        by_client
    }
}

async fn post(app: &TestApp, path: &str, id: Option<&str>, body: impl Into<Body>) -> crate::support::Answer {
    let mut request = Request::post(path).header("content-type", "application/json");
    if let Some(id) = id {
        request = request.header("x-request-id", id);
    }
    app.send(request.body(body.into()).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_protocol_leaves_a_record_for_each_sample() {
    let app =
        TestApp::with_temp(bare_model("half", &half_plus_two()), |options| options.monitoring = Some(false)).await;
    let (keeper, monitor) = Keeper::install(&app);
    let v2 = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 1], "data": [1.0, 2.0]}]});
    let instances = json!({"instances": [[1.0], [2.0]]});
    for (path, id, body) in [
        ("/predict", "weir", &instances),
        ("/v1/models/half:predict", "tfs", &instances),
        ("/v2/models/half/infer", "oip", &v2),
        ("/predictions/half", "torchserve", &json!([[1.0], [2.0]])),
    ] {
        assert_eq!(post(&app, path, Some(id), body.to_string()).await.status, 200, "{id}");
    }
    let mut request = tonic::Request::new(ask("half", "x", &[2, 1], &[1.0, 2.0]));
    request.metadata_mut().insert("x-request-id", "grpc".parse().unwrap());
    inference(&app).model_infer(request).await.unwrap();
    monitor.flush().await.unwrap();
    let records = keeper.by_client();
    for (id, protocol) in [
        ("weir", Protocol::Weir),
        ("tfs", Protocol::TfServing),
        ("oip", Protocol::Oip),
        ("torchserve", Protocol::TorchServe),
        ("grpc", Protocol::OipGrpc),
    ] {
        let [first, second] = records[id].as_slice() else { panic!("{id}: {:?}", records[id]) };
        assert_eq!((first.item, second.item, first.id), (0, 1, second.id), "{id}");
        assert_eq!((first.protocol, first.outcome, first.answer), (protocol, Outcome::Success, Answer::None), "{id}");
        assert_eq!((first.input.unwrap().mean, second.input.unwrap().mean), (1.0, 2.0), "{id}");
        assert_eq!((first.version.model.as_str(), first.version.places), ("half", Places::Outputs));
    }
    assert_eq!(records.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_failures_and_cached_answers_leave_records() {
    let app = TestApp::with(&bundled_models(), |options| {
        options.monitoring = Some(false);
        options.cache_bytes = Some(1 << 20);
        options.max_samples = Some(64);
    })
    .await;
    let (keeper, monitor) = Keeper::install(&app);
    let mut asked = Vec::new();
    for index in [0, 1, 1] {
        let answer = post(&app, "/predict?top_k=10", None, png_of_test_image(index)).await;
        assert_eq!(answer.status, 200);
        let id: uuid::Uuid = answer.headers["x-request-id"].to_str().unwrap().parse().unwrap();
        asked.push((id, answer.json()["predictions"][0].clone()));
    }
    let rows = vec![vec![vec![vec![0.0; 28]; 28]; 1]; 65];
    let large = post(&app, "/predict", Some("large"), json!({"instances": rows}).to_string()).await;
    assert_eq!(large.status, 413);
    monitor.flush().await.unwrap();
    let records = keeper.by_client();
    assert_eq!((records["none"].len(), records["large"].len()), (3, 1));
    assert_eq!((records["large"][0].outcome, records["large"][0].answer), (Outcome::InvalidInput, Answer::None));
    for ((id, answer), record) in asked.iter().zip(&records["none"]) {
        assert_eq!((record.id, record.inverted), (*id, Some(false)));
        let Answer::Classified { class, confidence, margin, energy, .. } = record.answer else {
            panic!("{:?}", record.answer)
        };
        let share = |value: &Value| value.as_f64().unwrap() as f32;
        assert_eq!((u64::from(class), confidence), (answer["class"].as_u64().unwrap(), share(&answer["confidence"])));
        assert!(margin > 0.0 && energy.unwrap() > margin);
        let scored = answer["top_k"].as_array().unwrap();
        for scored in scored {
            let class = scored["class"].as_u64().unwrap() as usize;
            assert_eq!(record.probabilities().unwrap()[class], share(&scored["confidence"]));
        }
    }
    // Inline answers pass no cache, so this may be either; the figures are the same.
    assert_eq!(records["none"][1].answer, records["none"][2].answer);
    let text = String::from_utf8(app.state.metrics().encode().unwrap()).unwrap();
    let observed = "weir_monitor_records_total{model=\"mnist-mlp\",outcome=\"observed\",version=\"1\"} 4";
    assert!(text.contains(observed), "{text}");
}

#[derive(Debug)]
struct Broken;

impl Consumer for Broken {
    fn consume(&mut self, records: &[Record]) {
        assert!(records.is_empty(), "a fault of its own");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_fails_harms_no_other() {
    let app = TestApp::with_temp(bare_model("m", &panics_on_seven()), |options| options.monitoring = Some(false)).await;
    let keeper = Keeper::default();
    let monitor = Monitor::start(vec![Box::new(Broken), Box::new(keeper.clone())], None, None).unwrap();
    app.state.predictor().observe(monitor.observer()).unwrap();
    for value in [1.0, 7.0, 2.0] {
        post(&app, "/predict", None, json!({"instances": [[value]]}).to_string()).await;
        monitor.flush().await.unwrap();
    }
    let outcomes: Vec<Outcome> = keeper.0.lock().unwrap().iter().map(|record| record.outcome).collect();
    assert_eq!(outcomes, [Outcome::Success, Outcome::InvalidInput, Outcome::Success]);
    monitor.close();
    assert!(monitor.flush().await.is_err());
    // What ends later is counted as dropped, and answered all the same.
    assert_eq!(post(&app, "/predict", None, json!({"instances": [[1.0]]}).to_string()).await.status, 200);
    assert_eq!(app.metric("weir_monitor_records_total{model=\"m\",outcome=\"dropped\",version=\"1\"}"), 1.0);
}
