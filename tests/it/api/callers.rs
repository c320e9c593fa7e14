//! Limits of callers, proxies in front, and the trail of who did what.

use axum::http::Request;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tonic::Code;
use tower::{Service as _, ServiceExt as _};
use weir::api::grpc::pb::inference::ServerMetadataRequest;
use weir::api::grpc::pb::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use weir::config::Callers;

use super::grpc::{connect, digits, over};
use crate::support::{PATIENCE, TestApp, bundled_models};

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

/// Asks again and again until the answer has a status.
async fn until_told(app: &TestApp, path: &str, status: u16) -> String {
    let patience = std::time::Instant::now() + PATIENCE;
    loop {
        let Told(got, text) = ask(app, "GET", path, None, "").await;
        if got == status {
            return text;
        }
        assert!(std::time::Instant::now() < patience, "never {status}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_has_so_many_requests_under_way_over_both_protocols_together() {
    let app = TestApp::with(&bundled_models(), |options| options.caller_concurrency = Some(1)).await;
    let origin: http::Uri = "http://x".parse().unwrap();
    let mut oip = GrpcInferenceServiceClient::with_origin(connect(app.grpc_addr).await, origin);
    // A request whose body is still to come.
    let mut slow = TcpStream::connect(app.addr).await.unwrap();
    slow.write_all(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{").await.unwrap();
    let text = until_told(&app, "/models", 429).await;
    assert!(text.contains("retry-after: 1\r\n") && text.contains("has 1 requests under way"), "{text}");
    for path in ["/v2", "/v1/models/mnist-mlp", "/ping", "/livez"] {
        let open = matches!(path, "/ping" | "/livez");
        assert_eq!(ask(&app, "GET", path, None, "").await.0, if open { 200 } else { 429 }, "{path}");
    }
    let refused = oip.server_metadata(ServerMetadataRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert_eq!(refused.metadata().get("grpc-retry-pushback-ms").unwrap(), "1000");
    assert_eq!(app.get("/models").await.status, 200, "this process is no caller");
    drop(slow);
    until_told(&app, "/models", 200).await;
    // A stream is under way until it ends.
    let (requests, source) = tokio::sync::mpsc::channel(1);
    let source = futures_util::stream::unfold(source, async |mut source| Some((source.recv().await?, source)));
    requests.send(digits(1)).await.unwrap();
    let mut answers = oip.model_stream_infer(source).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().error_message, "");
    assert_eq!(ask(&app, "GET", "/models", None, "").await.0, 429);
    drop(requests);
    assert!(answers.message().await.unwrap().is_none());
    until_told(&app, "/models", 200).await;
    oip.server_metadata(ServerMetadataRequest {}).await.unwrap();
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
        options.trusted_proxies = Some(vec!["127.0.0.1".parse().unwrap()]);
    })
    .await;
    assert_eq!(ask(&trusting, "GET", "/audit", Some("198.51.100.7"), "").await.0, 403);
}

/// Returns the header by which a proxy names a client, and a port of it.
fn proxied(client: [u8; 4]) -> Vec<u8> {
    let addresses = [&client[..], &[10, 0, 0, 1], &4711_u16.to_be_bytes(), &80_u16.to_be_bytes()].concat();
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &addresses].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_names_clients_by_the_proxy_protocol() {
    let app = TestApp::with(&bundled_models(), |options| {
        options.rate_per_second = Some(0.001);
        options.rate_burst = Some(2);
        options.trusted_proxies = Some(vec!["127.0.0.1".parse().unwrap()]);
        options.proxy_protocol = Some(true);
    })
    .await;
    let ask = async |client: [u8; 4], path: &str, more: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{more}connection: close\r\n\r\n");
        app.raw(&[&proxied(client)[..], head.as_bytes()].concat()).await
    };
    let status = |text: &str| text.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()).unwrap_or_default();
    let (one, two) = ([198, 51, 100, 7], [198, 51, 100, 8]);
    // What a client says of itself counts for nothing: it is no proxy.
    for (client, more, expected) in
        [(one, "", 200), (one, "", 200), (one, "", 429), (one, "x-forwarded-for: 192.0.2.1\r\n", 429), (two, "", 200)]
    {
        let text = ask(client, "/models", more).await;
        assert_eq!(status(&text), expected, "{client:?} {more}: {text}");
    }
    let text = ask([127, 0, 0, 1], "/audit", "").await;
    assert_eq!(status(&text), 403, "this machine of the proxy's is not this one: {text}");
    let mut stream = TcpStream::connect(app.grpc_addr).await.unwrap();
    stream.write_all(&proxied(one)).await.unwrap();
    let mut oip = GrpcInferenceServiceClient::with_origin(over(stream).await, "http://x".parse().unwrap());
    let refused = oip.server_metadata(ServerMetadataRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    // A proxy that does not speak it is not served, and neither is one that says something else.
    for bytes in
        [&b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"[..], b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"]
    {
        assert_eq!(app.raw(bytes).await, "");
    }
    let untrusting = TestApp::with(&bundled_models(), |options| {
        options.trusted_proxies = Some(vec!["192.0.2.1".parse().unwrap()]);
        options.proxy_protocol = Some(true);
    })
    .await;
    let text = untrusting.raw(&[&proxied(one)[..], b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"].concat()).await;
    assert!(!text.contains("200 OK"), "nobody else may claim an address: {text}");
    assert_eq!(
        untrusting.raw(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.get(9..12),
        Some("200")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whom_a_proxy_does_not_name_is_not_on_this_machine() {
    let app = TestApp::with(&bundled_models(), |options| {
        options.trusted_proxies = Some(vec!["127.0.0.1".parse().unwrap()]);
        options.proxy_protocol = Some(true);
    })
    .await;
    // Of no kind, of a Unix socket, and of the proxy's own.
    for (nobody, addresses) in [([0x21, 0x00], 0), ([0x21, 0x31], 216), ([0x20, 0x00], 0)] {
        let header = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &nobody, &[0, addresses], &vec![0; addresses.into()]].concat();
        for (path, expected) in [("/audit", "403"), ("/models", "200")] {
            let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            let text = app.raw(&[&header[..], head.as_bytes()].concat()).await;
            assert_eq!(text.get(9..12), Some(expected), "{nobody:?} {path}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_names_who_asked() {
    let app = TestApp::with(&bundled_models(), |options| {
        options.admin = Some(Callers::All);
        options.trusted_proxies = Some(vec!["127.0.0.1".parse().unwrap()]);
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
