//! The probe, and how the server goes away.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir::api::Shutdown;
use weir::app::StopReason;

use crate::fixtures::{bare_model, png_of_test_image, slow};
use crate::support::{TestApp, bundled_models, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_reports_live_loss_and_accuracy() {
    let app = TestApp::with(&bundled_models(), |options| options.probe_interval_seconds = Some(3600.0)).await;
    let probed = "weir_inference_requests_total{model=\"mnist-mlp\",outcome=\"probe\",version=\"1\"}";
    let time = "weir_probe_last_success_timestamp_seconds{model=\"mnist-mlp\",version=\"1\"}";
    until("the probe was replayed", || app.metric(time) > 0.0).await;
    assert_eq!(app.metric(probed), 250.0);
    for source in ["training", "validation", "test", "probe"] {
        let of =
            |family: &str| app.metric(&format!("{family}{{model=\"mnist-mlp\",source=\"{source}\",version=\"1\"}}"));
        let (accuracy, loss) = (of("weir_model_accuracy"), of("weir_model_loss"));
        assert!((0.94..=1.0).contains(&accuracy), "{source} {accuracy}");
        assert!((0.0..0.25).contains(&loss), "{source} {loss}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_requests_are_answered_through_a_shutdown() {
    let mut app = TestApp::with_temp(bare_model("slow", &slow()), |options| options.threads = Some(1)).await;
    let body = json!({"instances": [[[1.0]]]}).to_string();
    let request = format!("POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut stream = TcpStream::connect(app.addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    // The first may have been answered before the last has come.
    let under_way = || app.metric("weir_inference_in_flight{model=\"slow\",version=\"1\"}");
    let answered = || app.metric("weir_inference_requests_total{model=\"slow\",outcome=\"success\",version=\"1\"}");
    until("all five are in", || answered() + under_way() == 5.0).await;
    let address = app.addr;
    app.ask_to_stop(StopReason::Terminate);
    until("readiness is false", || app.state.health().is_draining()).await;
    app.get("/readyz").await.assert_problem(503);
    assert_eq!(app.get("/livez").await.status, 200);
    for mut stream in streams {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(app.stop(StopReason::Terminate).await, Shutdown::Clean);
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_does_not_hold_up_a_shutdown() {
    let app = TestApp::start().await;
    let mut idle = TcpStream::connect(app.addr).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut head = [0; 15];
    idle.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    assert_eq!(app.stop(StopReason::Interrupt).await, Shutdown::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_takes_too_long_is_cut_off_and_said_to_be() {
    let app = TestApp::with_temp(bare_model("slow", &slow()), |options| {
        options.threads = Some(1);
        options.drain_seconds = Some(0.001);
    })
    .await;
    let rows: Vec<_> = (0..100).map(|_| [[1.0]]).collect();
    let body = json!({"instances": rows}).to_string();
    let mut stream = TcpStream::connect(app.addr).await.unwrap();
    let request = format!("POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    until("it runs", || app.metric("weir_inference_in_flight{model=\"slow\",version=\"1\"}") == 1.0).await;
    assert_eq!(app.stop(StopReason::Terminate).await, Shutdown::Forced);
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let app = TestApp::start().await;
    let image = png_of_test_image(0);
    let head = format!("POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", image.len());
    let mut bytes = Vec::new();
    for _ in 0..50 {
        bytes.extend(head.as_bytes());
        bytes.extend(&image);
    }
    bytes.extend(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let answer = app.raw(&bytes).await;
    assert_eq!(
        answer.matches("\"label\":\"7\",\"confidence\":0.99").count(),
        100,
        "the class and the head of top_k, fifty times"
    );
}
