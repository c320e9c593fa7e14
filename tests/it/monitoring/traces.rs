//! Spans of predictions, received by a listener of the test and read back from their bytes.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::Request;
use prost::Message;
use weir::app::StopReason;
use weir::config::OtelVariables;

use super::sinks::Receiver;
use crate::fixtures::png_of_test_image;
use crate::support::{Answer, TestApp, bundled_models};

#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(fixed64, tag = "7")]
    start: u64,
    #[prost(fixed64, tag = "8")]
    end: u64,
    #[prost(bytes = "vec", optional, tag = "15")]
    status: Option<Vec<u8>>,
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn spans(receiver: &Receiver) -> Vec<Span> {
    let mut spans = Vec::new();
    for (headers, body) in receiver.requests() {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        assert_eq!(headers["x-key"], "a b");
        let export = Export::decode(body).unwrap();
        spans.extend(export.resource_spans.into_iter().flat_map(|one| one.scope_spans).flat_map(|one| one.spans));
    }
    spans
}

async fn start(receiver: &Receiver, more: &[(&str, &str)]) -> TestApp {
    let endpoint = receiver.url();
    let all =
        [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b")];
    let variables: OtelVariables =
        all.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    TestApp::with(&bundled_models(), |options| options.otel = Some(variables)).await
}

async fn ask(app: &TestApp, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let request =
        headers.iter().fold(Request::post("/predict").header("content-type", "image/png"), |request, (name, value)| {
            request.header(*name, *value)
        });
    app.send(request.body(Body::from(body)).unwrap()).await
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test(flavor = "multi_thread")]
async fn a_prediction_continues_the_caller_s_trace_and_names_its_span() {
    let receiver = Receiver::start(&[503]).await;
    let app = start(&receiver, &[]).await;
    let png = png_of_test_image(0);
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let answer = ask(&app, &[("traceparent", &parent)], png.clone()).await;
    let named = answer.headers["traceresponse"].to_str().unwrap().to_owned();
    let unsampled = format!("00-{TRACE}-00f067aa0ba902b8-00");
    assert!(!ask(&app, &[("traceparent", &unsampled)], png.clone()).await.headers.contains_key("traceresponse"));
    let own = ask(&app, &[], png.clone()).await;
    assert!(!ask(&app, &[("x-request-id", "mine")], png).await.headers.contains_key("traceresponse"));
    assert!(!app.get("/models").await.headers.contains_key("traceresponse"));
    crate::support::until("sent", || app.metric("weir_sink_events_total{kind=\"traces\",outcome=\"sent\"}") >= 3.0)
        .await;
    app.stop(StopReason::Interrupt).await;

    // The first request was answered by 503 and sent again.
    let by_id: BTreeMap<Vec<u8>, Span> =
        spans(&receiver).into_iter().map(|span| (span.span_id.clone(), span)).collect();
    let spans: Vec<Span> = by_id.into_values().collect();
    let predictions: Vec<&Span> = spans.iter().filter(|span| span.name == "predict mnist-mlp").collect();
    assert_eq!(predictions.len(), 3, "{spans:?}");
    let first = predictions.iter().find(|span| digits(&span.trace_id) == TRACE).unwrap();
    assert_eq!(named, format!("00-{TRACE}-{}-01", digits(&first.span_id)));
    assert_eq!((digits(&first.parent_span_id).as_str(), first.status.is_none()), ("00f067aa0ba902b7", true));
    let stages: Vec<&Span> = spans.iter().filter(|span| span.parent_span_id == first.span_id).collect();
    assert!(
        stages.iter().any(|span| span.name == "decode") && stages.iter().any(|span| span.name == "infer"),
        "{stages:?}"
    );
    for stage in stages {
        assert_eq!(stage.trace_id, first.trace_id);
        assert!(first.start <= stage.start && stage.start <= stage.end && stage.end <= first.end);
    }
    // A trace that begins here has the identifier of the request.
    let id = own.headers["x-request-id"].to_str().unwrap().replace('-', "");
    assert!(predictions.iter().any(|span| digits(&span.trace_id) == id && span.parent_span_id.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_chosen_is_not_sent() {
    let receiver = Receiver::start(&[]).await;
    let app = start(&receiver, &[("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")]).await;
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    for headers in [&[][..], &[("traceparent", parent.as_str())]] {
        let answer = ask(&app, headers, png_of_test_image(0)).await;
        assert!(answer.status == 200 && !answer.headers.contains_key("traceresponse"));
    }
    app.stop(StopReason::Interrupt).await;
    assert!(receiver.requests().is_empty());
}
