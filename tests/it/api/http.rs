//! Abuse of HTTP itself, mostly over real sockets: framing, limits, slowness, names, headers.
//!
//! The numbers in comments are those of the test catalogue. After every abuse the server must be
//! unharmed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixtures::png_of_test_image;
use crate::support::{TestApp, bundled_models, until};

/// A server that has not answered by then never will; no test waits for this to pass.
const PATIENCE: Duration = Duration::from_secs(60);

const SUCCESSES: &str = "weir_inference_requests_total{model=\"mnist-mlp\",outcome=\"success\",version=\"1\"}";

/// Writes and reads at the same time until the server closes, and never closes first.
async fn talk(address: SocketAddr, bytes: &[u8]) -> String {
    let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
    let mut answer = Vec::new();
    // The server may refuse and close before everything is written.
    let exchange = async { tokio::join!(write.write_all(bytes), read.read_to_end(&mut answer)) };
    drop(tokio::time::timeout(PATIENCE, exchange).await.expect("the server closes"));
    String::from_utf8_lossy(&answer).into_owned()
}

/// The statuses of all answers in a conversation.
fn statuses(conversation: &str) -> Vec<u16> {
    conversation.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].parse().unwrap()).collect()
}

fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n").as_bytes(), body].concat()
}

fn in_chunks(body: &[u8], size: usize) -> Vec<u8> {
    let mut chunks = Vec::new();
    for chunk in body.chunks(size) {
        chunks.extend(format!("{:x}\r\n", chunk.len()).bytes().chain(chunk.iter().copied()).chain(*b"\r\n"));
    }
    chunks.extend(b"0\r\n\r\n");
    chunks
}

/// The real binary in a process of its own, for what must be measured on a whole process.
struct Process {
    child: Child,
    address: SocketAddr,
    _log: BufReader<std::process::ChildStderr>,
    _state: tempfile::TempDir,
}

impl Process {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args([
            "serve",
            "--http",
            "127.0.0.1:0",
            "--grpc",
            "off",
            "--log-format",
            "json",
            "--probe-interval-seconds",
            "0",
            "--models",
        ]);
        let state = tempfile::TempDir::new().unwrap();
        command.arg(bundled_models()).arg("--state-dir").arg(state.path());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut address = None;
        let mut line = String::new();
        while log.read_line(&mut line).unwrap() > 0 && !line.contains("ready: open") {
            let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
            address = address.or_else(|| entry["address"].as_str()?.parse().ok());
            line.clear();
        }
        Self { child, address: address.expect("it listens"), _log: log, _state: state }
    }

    /// The most memory it ever held, in KiB.
    fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// 1: two readers must not disagree about where a request ends.
#[tokio::test]
async fn ambiguous_framing_never_yields_a_second_request() {
    let app = TestApp::start().await;
    let hidden = "GET /models HTTP/1.1\r\nhost: x\r\n\r\n";
    let chunked = format!("0\r\n\r\n{hidden}");
    let te = "transfer-encoding: chunked\r\n";
    let length = |body: &str| format!("content-length: {}\r\n", body.len());
    for (what, headers, body) in [
        ("length, then chunked", length(&chunked) + te, chunked.as_str()),
        ("chunked, then length", te.to_owned() + &length(&chunked), &chunked),
        ("two lengths", format!("content-length: 0\r\n{}", length(hidden)), hidden),
        ("two lengths in one line", format!("content-length: 0, {}\r\n", hidden.len()), hidden),
        ("an unknown coding", format!("transfer-encoding: xchunked\r\n{}", length(hidden)), hidden),
        ("chunked is not last", format!("transfer-encoding: chunked, identity\r\n{}", length(hidden)), &chunked),
        ("gzip without chunked", format!("transfer-encoding: gzip\r\n{}", length(hidden)), hidden),
        ("a length with a sign", format!("content-length: +{}\r\n", hidden.len()), hidden),
        ("a negative length", "content-length: -1\r\n".into(), hidden),
        ("a length in hexadecimal", "content-length: 0x0\r\n".into(), hidden),
        ("a folded line", format!("content-length: 0\r\nx-a: b\r\n {}", length(hidden)), hidden),
        ("a folded coding", format!("transfer-encoding:\r\n chunked\r\n{}", length(&chunked)), &chunked),
        ("a space before the colon", format!("content-length : {}\r\n", hidden.len()), hidden),
        ("a bare carriage return", format!("x-a: b\rcontent-length: {}\r\n", hidden.len()), hidden),
        ("a chunk size with a sign", te.into(), "+0\r\n\r\nGET /models HTTP/1.1\r\nhost: x\r\n\r\n"),
        ("a chunk size beyond 64 bits", te.into(), "10000000000000000\r\n\r\nGET /models HTTP/1.1\r\nhost: x\r\n\r\n"),
    ] {
        let request = format!("POST /predict HTTP/1.1\r\nhost: x\r\n{headers}\r\n{body}");
        let conversation = talk(app.addr, request.as_bytes()).await;
        let statuses = statuses(&conversation);
        assert!(
            statuses.len() <= 1 && statuses.iter().all(|status| (400..500).contains(status)),
            "{what}: {conversation}"
        );
    }
    app.assert_unharmed().await;
}

/// 1: a body that no handler reads is still a body.
#[tokio::test]
async fn an_unread_body_is_not_taken_for_a_request() {
    let app = TestApp::start().await;
    let hidden = "GET /models HTTP/1.1\r\nhost: x\r\n\r\n";
    for (head, status) in
        [("GET /livez", 200), ("POST /livez", 405), ("POST /nothing", 404), ("POST /models/..%2f/predict", 400)]
    {
        let request = format!("{head} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{hidden}", hidden.len());
        let conversation =
            talk(app.addr, (request + "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await;
        assert!(matches!(statuses(&conversation)[..], [first] | [first, 200] if first == status), "{conversation}");
        assert!(!conversation.contains("default_model"), "{conversation}");
    }
    app.assert_unharmed().await;
}

/// 3
#[tokio::test]
async fn a_head_beyond_its_limits_is_refused() {
    let app = TestApp::start().await;
    let get =
        |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    let lines = |count: usize| (0..count).map(|index| format!("x-{index}: y\r\n")).collect::<String>();
    for (what, request, allowed) in [
        ("a request line of 64 KiB", get(&format!("/{}", "x".repeat(64 << 10)), ""), &[414][..]),
        ("a request line of 1 MB", get(&format!("/{}", "x".repeat(1_000_000)), ""), &[414, 431]),
        ("100 header lines", get("/livez", &lines(98)), &[200]),
        ("101 header lines", get("/livez", &lines(99)), &[431]),
        ("a header line of 1 MB", get("/livez", &format!("x: {}\r\n", "y".repeat(1_000_000))), &[431]),
        ("a header name of 1 MB", get("/livez", &format!("{}: y\r\n", "x".repeat(1_000_000))), &[431]),
        ("no HTTP at all", "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n".into(), &[400]),
    ] {
        let conversation = talk(app.addr, request.as_bytes()).await;
        let statuses = statuses(&conversation);
        assert!(
            statuses.len() == allowed.len().min(1) && statuses.iter().all(|status| allowed.contains(status)),
            "{what}: {conversation}"
        );
    }
    app.assert_unharmed().await;
}

/// 3 and 79: whoever does not send is cut off, and with a word when it has sent a head.
#[tokio::test]
async fn slow_clients_are_cut_off() {
    let app = TestApp::with(&bundled_models(), |options| {
        options.header_timeout_seconds = Some(0.05);
        options.body_timeout_seconds = Some(0.05);
    })
    .await;
    for head in ["", "GET /livez HT", "GET /livez HTTP/1.1\r\nhost: x\r\n"] {
        let conversation = talk(app.addr, head.as_bytes()).await;
        assert!(matches!(statuses(&conversation)[..], [] | [408]), "{conversation}");
    }
    for body in ["content-length: 100\r\n\r\nsome", "transfer-encoding: chunked\r\n\r\n5\r\nsome"] {
        let conversation = talk(app.addr, format!("POST /predict HTTP/1.1\r\nhost: x\r\n{body}").as_bytes()).await;
        assert_eq!(statuses(&conversation), [408], "{conversation}");
        assert!(
            conversation.contains("application/problem+json") && conversation.contains("slow_client"),
            "{conversation}"
        );
    }
    assert_eq!(app.metric(SUCCESSES), 0.0);
    app.assert_unharmed().await;
}

/// What stands in front of a server keeps connections for a minute and more, and is not to find them closed.
#[tokio::test]
async fn an_idle_connection_has_more_time_than_the_head_of_a_request() {
    let app = TestApp::with(&bundled_models(), |options| {
        options.header_timeout_seconds = Some(0.05);
        options.idle_timeout_seconds = Some(2.0);
    })
    .await;
    let request = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    let (mut read, mut write) = TcpStream::connect(app.addr).await.unwrap().into_split();
    // Room enough for whole answers at once.
    let mut seen = Vec::with_capacity(4096);
    for count in 1..=3 {
        write.write_all(request.as_bytes()).await.unwrap();
        while statuses(&String::from_utf8_lossy(&seen)).len() < count {
            assert!(read.read_buf(&mut seen).await.unwrap() > 0, "closed after {count} requests");
        }
        // Others are cut off over their heads meanwhile.
        assert_eq!(talk(app.addr, b"GET /livez HT").await, "");
    }
    let closed = tokio::time::timeout(PATIENCE, read.read_to_end(&mut seen)).await.expect("it is closed in the end");
    closed.unwrap();
    assert_eq!(statuses(&String::from_utf8_lossy(&seen)), [200; 3]);
}

/// hyper undoes `chunked` and passes the rest on as it is.
#[tokio::test]
async fn a_body_that_is_packed_for_the_transfer_is_refused_in_words() {
    let app = TestApp::start().await;
    let image = png_of_test_image(0);
    for (codings, status) in [
        ("transfer-encoding: gzip, chunked\r\n", 501),
        ("transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n", 501),
        ("transfer-encoding: Chunked\r\n", 200),
    ] {
        let conversation = talk(app.addr, &post("/predict", codings, &in_chunks(&image, 100))).await;
        assert_eq!(statuses(&conversation), [status], "{codings}: {conversation}");
        assert!(status == 200 || conversation.contains("content-encoding"), "{conversation}");
    }
    app.assert_unharmed().await;
}

/// 4
#[tokio::test]
async fn every_method_on_every_route_is_defined() {
    let app = TestApp::start().await;
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"];
    for (path, allowed) in [
        ("/", &["GET", "HEAD", "OPTIONS"][..]),
        ("/livez", &["GET", "HEAD"]),
        ("/healthz", &["GET", "HEAD"]),
        ("/readyz", &["GET", "HEAD"]),
        ("/metrics", &["GET", "HEAD"]),
        ("/models", &["GET", "HEAD"]),
        ("/models/mnist-mlp", &["GET", "HEAD"]),
        ("/openapi.json", &["GET", "HEAD"]),
        ("/predict", &["POST"]),
        ("/models/mnist-mlp/predict", &["POST"]),
        ("/models/mnist-mlp/versions/1/predict", &["POST"]),
    ] {
        for method in methods {
            let request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
            let answer = app.send(request.body(Body::from(png_of_test_image(0))).unwrap()).await;
            if allowed.contains(&method) {
                assert_eq!(answer.status, 200, "{method} {path}");
                assert_eq!(answer.body.is_empty(), method == "HEAD", "{method} {path}");
            } else {
                assert_eq!(answer.status, 405, "{method} {path}");
                if method != "HEAD" {
                    answer.assert_problem(405);
                    assert_eq!(answer.json()["type"], "about:blank#method_not_allowed");
                }
                let mut listed: Vec<_> = answer.headers["allow"].to_str().unwrap().split(',').map(str::trim).collect();
                listed.sort_unstable();
                assert_eq!(listed, allowed, "{method} {path}");
            }
        }
    }
    for path in ["/nothing", "/predict/", "//predict", "/models/", "/models/a/b", "/livez/x", "/metrics%2f"] {
        for method in [Method::GET, Method::POST, Method::OPTIONS] {
            app.send(Request::builder().method(method).uri(path).body(Body::empty()).unwrap())
                .await
                .assert_problem(404);
        }
    }
    for request in [
        "CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        "TRACE / HTTP/1.1\r\nhost: x\r\nx-secret: s\r\nconnection: close\r\n\r\n",
    ] {
        let conversation = talk(app.addr, request.as_bytes()).await;
        assert!(matches!(statuses(&conversation)[..], [400..500]), "{conversation}");
        assert!(!conversation.contains("x-secret"), "{conversation}");
    }
    app.assert_unharmed().await;
}

/// 5
#[tokio::test]
async fn a_body_may_be_as_large_as_the_limit_and_no_larger() {
    let exact = png_of_test_image(0);
    let limit = exact.len();
    let app = TestApp::with(&bundled_models(), |options| options.max_body_bytes = Some(limit)).await;
    let larger = [&exact[..], b"!"].concat();
    let chunked = "transfer-encoding: chunked\r\n";
    let length = |body: &[u8]| format!("content-length: {}\r\n", body.len());
    for (what, request, status) in [
        ("at the limit, with a length", post("/predict", &length(&exact), &exact), 200),
        ("at the limit, in one chunk", post("/predict", chunked, &in_chunks(&exact, limit)), 200),
        ("at the limit, in many chunks", post("/predict", chunked, &in_chunks(&exact, 7)), 200),
        ("a byte more, with a length", post("/predict", &length(&larger), &larger), 413),
        ("a byte more, in chunks", post("/predict", chunked, &in_chunks(&larger, 7)), 413),
        ("a declared length of 2^63", post("/predict", "content-length: 9223372036854775808\r\n", b""), 413),
        ("a declared length of 2^64", post("/predict", "content-length: 18446744073709551616\r\n", b""), 400),
        (
            "a declared chunk of 2^62 bytes",
            post("/predict", chunked, &[b"4000000000000000\r\n", &larger[..]].concat()),
            413,
        ),
    ] {
        let conversation = talk(app.addr, &request).await;
        assert_eq!(statuses(&conversation), [status], "{what}: {conversation}");
    }
    app.assert_unharmed().await;
}

/// 6: what comes in crumbs is refused before it costs memory, whatever the route.
#[tokio::test(flavor = "multi_thread")]
async fn a_million_tiny_chunks_cost_no_memory() {
    let process = Process::start();
    let image = png_of_test_image(0);
    let known = post("/predict", &format!("content-length: {}\r\n", image.len()), &image);
    assert_eq!(statuses(&talk(process.address, &known).await), [200]);
    let before = process.peak_kib();
    let crumbs = in_chunks(&vec![b'a'; 1_000_000], 1);
    let extension = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(1_000_000)).into_bytes();
    for (what, request, expected) in [
        ("predict", post("/predict", "transfer-encoding: chunked\r\n", &crumbs), 413),
        ("predict, by name", post("/models/mnist-mlp/predict", "transfer-encoding: chunked\r\n", &crumbs), 413),
        (
            "a route without a body",
            [&b"GET /livez HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"[..], &crumbs].concat(),
            200,
        ),
        ("no route", post("/nothing", "transfer-encoding: chunked\r\n", &crumbs), 404),
        ("a chunk extension of 1 MB", post("/predict", "transfer-encoding: chunked\r\n", &extension), 400),
    ] {
        let conversation = talk(process.address, &request).await;
        assert_eq!(statuses(&conversation), [expected], "{what}: {conversation}");
    }
    // Each thread that serves takes some MiB for its allocator; keeping the chunks would take hundreds.
    let grown = process.peak_kib() - before;
    assert!(grown < 32 << 10, "the peak grew by {grown} KiB");
    assert_eq!(statuses(&talk(process.address, &known).await), [200]);
}

/// 7
#[tokio::test]
async fn a_request_that_breaks_off_is_never_answered_as_a_success() {
    let app = TestApp::start().await;
    let image = png_of_test_image(0);
    let declared = post("/predict", &format!("content-length: {}\r\n", image.len() + 1), &image);
    let mut chunks = in_chunks(&image, 50);
    chunks.truncate(chunks.len() - 5);
    for request in [declared, post("/predict", "transfer-encoding: chunked\r\n", &chunks)] {
        // Half closed, the client could still read an answer; closed, nobody could.
        let mut stream = TcpStream::connect(app.addr).await.unwrap();
        stream.write_all(&request).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut conversation = String::new();
        stream.read_to_string(&mut conversation).await.unwrap();
        assert!(matches!(statuses(&conversation)[..], [] | [400..500]), "{conversation}");
        let mut stream = TcpStream::connect(app.addr).await.unwrap();
        stream.write_all(&request).await.unwrap();
        drop(stream);
        until("the connection is gone", || app.metric("weir_http_connections") == 0.0).await;
    }
    assert_eq!(app.metric(SUCCESSES), 0.0);
    app.assert_unharmed().await;
}

/// 9
#[tokio::test]
async fn an_oversize_body_is_refused_before_it_is_asked_for() {
    let app = TestApp::start().await;
    let refused =
        talk(app.addr, &post("/predict", "expect: 100-continue\r\ncontent-length: 999999999999\r\n", b"")).await;
    assert_eq!(statuses(&refused), [413]);
    let png = png_of_test_image(0);
    let asked =
        talk(app.addr, &post("/predict", &format!("expect: 100-continue\r\ncontent-length: {}\r\n", png.len()), &png))
            .await;
    assert_eq!(statuses(&asked), [100, 200]);
    app.assert_unharmed().await;
}

/// 82
#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let app = TestApp::start().await;
    let request = |index: usize| format!("GET /livez HTTP/1.1\r\nhost: x\r\nx-request-id: {index}\r\n\r\n");
    let all: String = (0..1000).map(request).collect();
    let conversation = talk(
        app.addr,
        (all + "GET /livez HTTP/1.1\r\nhost: x\r\nx-request-id: 1000\r\nconnection: close\r\n\r\n").as_bytes(),
    )
    .await;
    let ids: Vec<usize> =
        conversation.lines().filter_map(|line| line.strip_prefix("x-request-id: ")?.parse().ok()).collect();
    assert_eq!(ids, (0..=1000).collect::<Vec<_>>());
    app.assert_unharmed().await;
}

/// 92
#[tokio::test]
async fn no_client_can_make_a_metric_series() {
    let app = TestApp::start().await;
    let text = |app: &TestApp| String::from_utf8(app.state.metrics().encode().unwrap()).unwrap();
    let series = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
    };
    app.assert_unharmed().await;
    // The first answer of a version begins its series of drift, once the monitor has seen it.
    until("a record", || app.maybe_metric("weir_drift_learning_windows{model=\"mnist-mlp\",version=\"1\"}").is_some())
        .await;
    let before = series(&text(&app));
    for index in 0..2000u32 {
        let random = index.wrapping_mul(2_654_435_761);
        app.get(&format!("/path-{random:x}")).await.assert_problem(404);
        app.post(&format!("/models/name-{random:x}/predict"), "image/png", "x").await.assert_problem(404);
        let request = Request::builder().method(format!("M{random}").as_str()).uri("/livez");
        assert_eq!(app.send(request.body(Body::empty()).unwrap()).await.status, 405);
    }
    let after = text(&app);
    assert_eq!(series(&after), before);
    assert!(!after.contains("path-") && !after.contains("name-"));
    app.assert_unharmed().await;
}

/// 93: a request id is echoed in head and body, unless it could forge a line.
#[tokio::test]
async fn request_ids_are_echoed_only_when_harmless() {
    let app = TestApp::start().await;
    for (id, echoed) in [
        ("abc-1:2_3.Z", true),
        (&"x".repeat(64), true),
        (&"x".repeat(65), false),
        (&"x".repeat(60_000), false),
        ("a b", false),
        ("a\tb", false),
        ("\x1b[31mred", false),
        ("a\0b", false),
        ("\u{202e}abc", false),
        ("{\"level\":\"ERROR\"}", false),
        ("<script>", false),
        ("", false),
    ] {
        for path in ["/livez", "/nothing"] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-request-id: {id}\r\n\r\n");
            let conversation = talk(app.addr, request.as_bytes()).await;
            assert_eq!(statuses(&conversation).len(), 1);
            let heard = conversation.matches(&format!("x-request-id: {id}\r\n")).count();
            assert_eq!(heard, usize::from(echoed), "{id:?}: {conversation}");
            let in_body = conversation.contains(&format!("\"request_id\":\"{id}\""));
            assert_eq!(in_body, echoed && path == "/nothing", "{id:?}: {conversation}");
        }
    }
    let (first, second) = (app.get("/livez").await, app.get("/livez").await);
    assert_ne!(first.headers["x-request-id"], second.headers["x-request-id"]);
    app.assert_unharmed().await;
}

/// 47, 94, 95: names that are none, paths that lead out; each failure is a problem that says nothing
/// of the inside.
#[tokio::test]
async fn hostile_paths_are_problems_that_give_nothing_away() {
    let app = TestApp::start().await;
    let long = "x".repeat(300);
    let hostile = [
        "%20",
        ".",
        "..",
        "%2e%2e",
        "%252e%252e",
        "%5c",
        "..%2f..%2fetc%2fpasswd",
        "a%00",
        "%ff",
        &long,
        "%e2%80%aex",
        "caf%c3%a9",
        "a%0d%0ab",
        "-x",
    ];
    let bad_versions = ["00", "01", "-2", "+1", "1.0", "1e3", "%00", "%31%20", "18446744073709551616", "%ff", &long];
    let mut answers = Vec::new();
    for name in hostile {
        answers.push((400, app.get(&format!("/models/{name}")).await));
        for path in [format!("/models/{name}/predict"), format!("/models/{name}/versions/1/predict")] {
            answers.push((400, app.post(&path, "image/png", png_of_test_image(0)).await));
        }
    }
    answers.push((404, app.post("/models/mnist-mlp/versions/latest/predict", "image/png", png_of_test_image(0)).await));
    answers.push((400, app.post("/models//predict", "image/png", png_of_test_image(0)).await));
    for version in bad_versions {
        answers.push((
            400,
            app.post(&format!("/models/mnist-mlp/versions/{version}/predict"), "image/png", png_of_test_image(0)).await,
        ));
    }
    for twin in ["MNIST-MLP", "mnist-mlp.", "mnist_mlp", "mnist-mlp%2e"] {
        answers.push((404, app.get(&format!("/models/{twin}")).await));
    }
    for path in [
        "../../Cargo.toml",
        "..%2f..%2fCargo.toml",
        "%2e%2e/Cargo.toml",
        "..\\Cargo.toml",
        "a%00.html",
        "/etc/passwd",
        "....//Cargo.toml",
    ] {
        let path = path.replace('\\', "%5c");
        answers.push((404, app.get(&format!("/docs/{path}")).await));
    }
    answers.push((400, app.get("/docs/%ff").await));
    answers.push((404, app.get("/../../../etc/passwd?%3Cscript%3E").await));
    answers.push((422, app.post("/predict", "image/png", png_of_test_image(0)[..80].to_vec()).await));
    answers.push((400, app.post("/predict?top_k=%ff", "image/png", png_of_test_image(0)).await));
    for (status, answer) in answers {
        answer.assert_problem(status);
        let text = answer.text();
        for inside in [
            env!("CARGO_MANIFEST_DIR"),
            ".rs",
            "panicked",
            "backtrace",
            "\x1b",
            "tract",
            "axum",
            "hyper",
            "serde",
            "[package]",
            "root:",
        ] {
            assert!(!text.contains(inside), "{inside:?} in {text}");
        }
        assert_eq!(answer.json().as_object().unwrap().len(), 5, "{text}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
    app.assert_unharmed().await;
}
