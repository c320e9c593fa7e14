//! What is sent elsewhere, received by a listener of the test.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use weir::api::Shutdown;
use weir::app::StopReason;
use weir::config::ServeOptions;

use crate::certificates::{Authority, Issued, put};
use crate::fixtures::{mnist, pixels, png, png_of_test_image};
use crate::support::{TestApp, bundled_models, until};

/// A server that keeps what it is sent, and answers as it was told to.
#[derive(Clone)]
pub(super) struct Receiver {
    address: SocketAddr,
    inner: Arc<Mutex<Received>>,
}

#[derive(Default)]
struct Received {
    /// The next answers; 200 once there are none.
    answers: Vec<u16>,
    requests: Vec<(HeaderMap, Bytes)>,
}

impl Receiver {
    pub(super) async fn start(answers: &[u16]) -> Self {
        Self::start_with(answers, None).await
    }

    /// Starts one that speaks TLS, if it has a certificate.
    async fn start_with(answers: &[u16], certificate: Option<&Issued>) -> Self {
        let tls = certificate.map(|certificate| TlsAcceptor::from(Arc::new(certificate.server())));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Received { answers: answers.iter().rev().copied().collect(), requests: Vec::new() };
        let receiver = Self { address, inner: Arc::new(Mutex::new(received)) };
        let take = |State(receiver): State<Self>, headers: HeaderMap, body: Bytes| async move {
            let mut received = receiver.inner.lock().unwrap();
            received.requests.push((headers, body));
            StatusCode::from_u16(received.answers.pop().unwrap_or(200)).unwrap()
        };
        let router = Router::new().fallback(take).with_state(receiver.clone());
        tokio::spawn(async move { axum_serve(listener, router, tls).await });
        receiver
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hook?token=1", self.address)
    }

    fn secured_url(&self) -> String {
        self.url().replace("http://", "https://")
    }

    pub(super) fn requests(&self) -> Vec<(HeaderMap, Bytes)> {
        self.inner.lock().unwrap().requests.clone()
    }
}

pub(crate) async fn axum_serve(listener: TcpListener, router: Router, tls: Option<TlsAcceptor>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        let tls = tls.clone();
        tokio::spawn(async move {
            let http = hyper::server::conn::http1::Builder::new();
            match tls {
                None => drop(http.serve_connection(TokioIo::new(stream), service).await),
                Some(tls) => {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    drop(http.serve_connection(TokioIo::new(stream), service).await);
                }
            }
        });
    }
}

fn with_webhook(url: String) -> impl FnOnce(&mut ServeOptions) {
    move |options| {
        options.alarm_webhook = Some(url);
        options.alarm_webhook_key = Some("secret".into());
        options.alarm_webhook_retry_seconds = Some(0.01);
        options.alarm_hold_seconds = Some(0.0);
        options.alarm_min_labels = Some(5);
    }
}

async fn raise_an_alarm(app: &TestApp) {
    for index in 0..6 {
        let answer = app.post("/predict", "image/png", png(28, 28, pixels(&mnist().test, index))).await;
        let id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
        assert_eq!(app.post_json("/feedback", &json!({"request_id": id, "correct": false})).await.status, 200);
    }
}

fn count(app: &TestApp, kind: &str, outcome: &str) -> f64 {
    app.metric(&format!("weir_sink_events_total{{kind=\"{kind}\",outcome=\"{outcome}\"}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_is_posted_signed_and_tried_again() {
    let receiver = Receiver::start(&[503, 429]).await;
    let app = TestApp::with(&bundled_models(), with_webhook(receiver.url())).await;
    raise_an_alarm(&app).await;
    until("delivered", || count(&app, "webhook", "sent") == 1.0).await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), 3);
    let (headers, body) = &requests[2];
    let alarm: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(
        (&alarm["turn"], &alarm["kind"], &alarm["model"]),
        (&json!("raised"), &json!("accuracy"), &json!("mnist-mlp"))
    );
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"secret").unwrap();
    mac.update(headers["x-weir-timestamp"].as_bytes());
    mac.update(b".");
    mac.update(body);
    let digits: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(headers["x-weir-signature"].to_str().unwrap(), format!("sha256={digits}"));
    assert!(requests.iter().all(|(other, _)| other["x-weir-delivery"] == headers["x-weir-delivery"]));
    assert_eq!(app.stop(StopReason::Interrupt).await, Shutdown::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_alarm_is_not_tried_again_and_a_receiver_that_hangs_holds_nothing_up() {
    let receiver = Receiver::start(&[400]).await;
    let app = TestApp::with(&bundled_models(), with_webhook(receiver.url())).await;
    raise_an_alarm(&app).await;
    until("refused", || count(&app, "webhook", "failed") == 1.0).await;
    assert_eq!(receiver.requests().len(), 1);
    app.stop(StopReason::Interrupt).await;

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = TestApp::with(&bundled_models(), with_webhook(format!("http://{}", silent.local_addr().unwrap()))).await;
    raise_an_alarm(&app).await;
    let (held, _) = silent.accept().await.unwrap();
    app.assert_unharmed().await;
    assert_eq!(app.stop(StopReason::Interrupt).await, Shutdown::Clean);
    drop(held);
}

/// A receiver behind TLS gets alarms and predictions if an authority that is named vouches for its name and its time.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_behind_https_must_be_vouched_for() {
    let (folder, authority) = (TempDir::new().unwrap(), Authority::new("sinks"));
    let ca = folder.path().join("ca.pem");
    put(&ca, &authority.pem());
    let good = Receiver::start_with(&[503], Some(&authority.server(2090))).await;
    let app = TestApp::with(&bundled_models(), |options| {
        with_webhook(good.secured_url())(options);
        options.prediction_sink = Some(good.secured_url());
        options.sink_ca = Some(ca.clone());
    })
    .await;
    raise_an_alarm(&app).await;
    until("alarm and predictions are there", || {
        count(&app, "webhook", "sent") == 1.0 && count(&app, "predictions", "sent") == 6.0
    })
    .await;
    assert!(good.requests().iter().any(|(headers, _)| headers.contains_key("x-weir-signature")));

    let expired = Receiver::start_with(&[], Some(&authority.server(2020))).await;
    let stranger = Receiver::start_with(&[], Some(&Authority::new("other").server(2090))).await;
    let elsewhere = Receiver::start_with(&[], Some(&authority.server_elsewhere())).await;
    let plain = Receiver::start(&[]).await;
    for receiver in [expired, stranger, elsewhere, plain] {
        let url = receiver.secured_url();
        let app = TestApp::with(&bundled_models(), |options| {
            options.prediction_sink = Some(url);
            options.sink_ca = Some(ca.clone());
        })
        .await;
        assert_eq!(app.post("/predict", "image/png", png_of_test_image(0)).await.status, 200);
        until("given up", || count(&app, "predictions", "failed") == 1.0).await;
        assert!(receiver.requests().is_empty(), "nothing is said to who is not trusted");
        app.assert_unharmed().await;
    }
}

/// The address is the operator's choice: a receiver that sends elsewhere is not followed.
#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed() {
    let receiver = Receiver::start(&[307]).await;
    let app = TestApp::with(&bundled_models(), with_webhook(receiver.url())).await;
    raise_an_alarm(&app).await;
    until("refused", || count(&app, "webhook", "failed") == 1.0).await;
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answered_sample_is_an_event_of_its_own() {
    let receiver = Receiver::start(&[]).await;
    let url = receiver.url();
    let app = TestApp::with(&bundled_models(), |options| options.prediction_sink = Some(url)).await;
    for index in 0..5 {
        let answer = app.post("/predict", "image/png", png(28, 28, pixels(&mnist().test, index))).await;
        assert_eq!(answer.status, 200);
    }
    let rows = json!({"instances": [vec![0.0; 784], vec![0.5; 784]]});
    assert_eq!(app.post_json("/v1/models/mnist-mlp:predict", &rows).await.status, 200);
    // One that is refused is no answer.
    assert_eq!(app.post("/predict", "image/png", "no picture").await.status, 415);
    // What waits is sent before the end.
    app.stop(StopReason::Interrupt).await;
    let (mut ids, mut labels) = (BTreeSet::new(), Vec::new());
    for (headers, body) in receiver.requests().iter() {
        assert_eq!(headers["content-type"], "application/cloudevents-batch+json");
        for event in serde_json::from_slice::<Vec<Value>>(body).unwrap() {
            assert_eq!(
                (&event["specversion"], &event["source"]),
                (&json!("1.0"), &json!("/models/mnist-mlp/versions/1"))
            );
            assert_eq!(event["type"], "org.kubeflow.serving.inference.response");
            assert_eq!(event["data"]["probabilities"].as_array().unwrap().len(), 10);
            assert!(event["time"].as_str().unwrap().ends_with('Z'));
            labels.push(event["data"]["label"].as_str().unwrap().to_owned());
            ids.insert(event["id"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!((ids.len(), labels.len()), (7, 7), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_down_costs_events_and_no_answers() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{nobody}/");
    let app = TestApp::with(&bundled_models(), |options| options.prediction_sink = Some(url)).await;
    for _ in 0..3 {
        assert_eq!(app.post("/predict", "image/png", png_of_test_image(0)).await.status, 200);
    }
    until("given up", || count(&app, "predictions", "failed") == 3.0).await;
    app.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_predictions_is_sent() {
    let receiver = Receiver::start(&[]).await;
    let url = receiver.url();
    let app = TestApp::with(&bundled_models(), |options| {
        options.prediction_sink = Some(url);
        options.prediction_sink_rate = Some(0.0);
    })
    .await;
    assert_eq!(app.post("/predict", "image/png", png_of_test_image(0)).await.status, 200);
    app.stop(StopReason::Interrupt).await;
    assert!(receiver.requests().is_empty());
}
