//! Limits of callers, proxies in front, and the trail of who did what.

use axum::http::Request;
use serde_json::json;
use tonic::Code;
use tower::{Service as _, ServiceExt as _};
use weir::api::grpc::pb::inference::ServerMetadataRequest;
use weir::api::grpc::pb::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use weir::config::Callers;

use super::grpc::connect;
use crate::support::{TestApp, bundled_models};

/// An answer off the wire: the status, and the whole text.
struct Told(u16, String);

/// Sends a request over a connection of its own, as from a proxy if `forwarded` names a client.
async fn ask(app: &TestApp, method: &str, path: &str, forwarded: Option<&str>, body: &str) -> Told {
    let forwarded = forwarded.map_or_else(String::new, |client| format!("x-forwarded-for: {client}\r\n"));
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\n{forwarded}content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    let text = app.raw(format!("{head}{body}").as_bytes()).await;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Told(status, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_sends_too_much_is_told_when_to_come_again_in_every_protocol() {
    let app = TestApp::with(&bundled_models(), |options| {
        options.rate_per_second = Some(0.001);
        options.rate_burst = Some(3);
        options.trusted_proxies = Some(vec!["127.0.0.0/8".parse().unwrap()]);
    })
    .await;
    for path in ["/models", "/v2", "/v1/models/mnist-mlp"] {
        assert_eq!(ask(&app, "GET", path, None, "").await.0, 200, "{path}");
    }
    for path in ["/models", "/v2", "/v1/models/mnist-mlp", "/metrics", "/no/such/path"] {
        let Told(status, text) = ask(&app, "GET", path, None, "").await;
        assert_eq!(status, 429, "{path}: {text}");
        let seconds: u32 = text.split("retry-after: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
        assert!((900..=1001).contains(&seconds), "{text}");
    }
    for path in ["/livez", "/readyz", "/v2/health/ready"] {
        assert_eq!(ask(&app, "GET", path, None, "").await.0, 200, "health has no limit: {path}");
    }
    let mut oip = GrpcInferenceServiceClient::with_origin(connect(app.grpc_addr).await, "http://x".parse().unwrap());
    let refused = oip.server_metadata(ServerMetadataRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "the bucket is one for HTTP and gRPC: {refused}");
    assert!(refused.metadata().contains_key("grpc-retry-pushback-ms"));
    // Behind a trusted proxy each client has a bucket, whatever it claims itself.
    for _ in 0..3 {
        assert_eq!(ask(&app, "GET", "/models", Some("198.51.100.7"), "").await.0, 200);
    }
    assert_eq!(ask(&app, "GET", "/models", Some("198.51.100.7"), "").await.0, 429);
    assert_eq!(ask(&app, "GET", "/models", Some("192.0.2.9, 198.51.100.7"), "").await.0, 429);
    assert_eq!(ask(&app, "GET", "/models", Some("198.51.100.8"), "").await.0, 200);
    assert_eq!(app.get("/models").await.status, 200, "this process is no caller");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_on_this_machine_makes_nobody_an_administrator() {
    let app = TestApp::with(&bundled_models(), |_| {}).await;
    assert_eq!(ask(&app, "GET", "/audit", None, "").await.0, 200);
    for forwarded in ["198.51.100.7", "127.0.0.1", ""] {
        let Told(status, text) = ask(&app, "GET", "/audit", Some(forwarded), "").await;
        assert_eq!(status, 403, "{forwarded}: {text}");
    }
    let trusting = TestApp::with(&bundled_models(), |options| {
        options.trusted_proxies = Some(vec!["127.0.0.1/32".parse().unwrap()]);
    })
    .await;
    assert_eq!(ask(&trusting, "GET", "/audit", Some("198.51.100.7"), "").await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_names_who_asked() {
    let app = TestApp::with(&bundled_models(), |options| {
        options.admin = Some(Callers::All);
        options.trusted_proxies = Some(vec!["127.0.0.1/32".parse().unwrap()]);
    })
    .await;
    // Nothing changes: the version serves already.
    let load = json!({"version": 1}).to_string();
    assert_eq!(ask(&app, "POST", "/models/mnist-mlp/load", None, &load).await.0, 200);
    assert_eq!(ask(&app, "POST", "/models/mnist-mlp/load", Some("198.51.100.7"), &load).await.0, 200);
    assert_eq!(app.post_json("/models/mnist-mlp/load", &json!({"version": 1})).await.status, 200);
    let trail = app.get("/audit").await.json();
    let by: Vec<&str> =
        trail["entries"].as_array().unwrap().iter().map(|entry| entry["by"].as_str().unwrap()).collect();
    assert_eq!(by, ["this process", "198.51.100.7", "127.0.0.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_this_server_is_known_over_both_versions_of_http() {
    let app = TestApp::with(&bundled_models(), |_| {}).await;
    let address = app.addr.to_string();
    let page = |origin: &str| {
        Request::get(format!("http://{address}/audit"))
            .header("origin", origin)
            .body(tonic::body::Body::empty())
            .unwrap()
    };
    let mut wire = connect(app.addr).await;
    for (origin, status) in [(format!("http://{address}"), 200), ("http://evil.example".to_owned(), 403)] {
        let answer = wire.ready().await.unwrap().call(page(&origin)).await.unwrap();
        assert_eq!(answer.status(), status, "{origin}");
        let head = format!("GET /audit HTTP/1.1\r\nhost: {address}\r\norigin: {origin}\r\nconnection: close\r\n\r\n");
        let text = app.raw(head.as_bytes()).await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{origin}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_keys_is_limited_too() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.toml");
    std::fs::write(&keys, "").unwrap();
    let app = TestApp::with(&bundled_models(), |options| {
        options.keys = Some(keys);
        options.rate_per_second = Some(0.001);
        options.rate_burst = Some(2);
    })
    .await;
    let statuses = [401, 401, 429];
    for status in statuses {
        assert_eq!(ask(&app, "GET", "/models", None, "").await.0, status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_to_other_machines_is_told() {
    let open = |app: &TestApp, what: &str| app.metric(&format!("weir_open_to_network{{what=\"{what}\"}}"));
    let here = TestApp::start().await;
    assert_eq!(["predictions", "feedback", "admin"].map(|what| open(&here, what)), [0.0; 3]);
    let elsewhere = TestApp::with(&bundled_models(), |options| {
        options.http = Some("0.0.0.0:8080".parse().unwrap());
        options.admin = Some(Callers::All);
        options.insecure = Some(true);
    })
    .await;
    assert_eq!(["predictions", "feedback", "admin"].map(|what| open(&elsewhere, what)), [1.0, 0.0, 1.0]);
}
