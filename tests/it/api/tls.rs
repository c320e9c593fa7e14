//! TLS: what is spoken over it, certificates that change, clients that show one, and the plain port beside it.

use std::net::SocketAddr;
use std::path::Path;

use http::{Request, Uri};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::body::Body;
use tower::ServiceExt;
use weir::api::Shutdown;
use weir::api::grpc::pb::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use weir::app::{App, StopReason};
use weir::config::{ClientAuth, ServeOptions};
use weir::keys::Secret;

use super::grpc::{classes, digits, over};
use crate::certificates::{Authority, Issued, ask, connect, get, put};
use crate::fixtures::png_of_test_image;
use crate::support::{PATIENCE, TestApp, bundled_models, until};

const FAILED: &str = "weir_tls_handshake_failures_total";
const RELOADS_FAILED: &str = "weir_reload_failures_total{what=\"tls\"}";
const EXPIRY: &str = "weir_tls_certificate_expiry_timestamp_seconds";
const SHOP: &str = "spiffe://example.org/shop";

/// A server with TLS, the authority behind its certificate, and one for its clients.
struct Secured {
    app: TestApp,
    authority: Authority,
    clients: Authority,
    folder: TempDir,
}

impl Secured {
    async fn start(change: impl FnOnce(&mut ServeOptions, &Path)) -> Self {
        let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = authority.server(2090).write(folder.path());
        put(&folder.path().join("clients.pem"), &clients.pem());
        let app = TestApp::with(&bundled_models(), |options| {
            (options.tls_cert, options.tls_key) = (Some(certificate), Some(key));
            change(options, folder.path());
        })
        .await;
        Self { app, authority, clients, folder }
    }

    /// Starts one that asks clients for certificates.
    async fn asking(auth: ClientAuth) -> Self {
        Self::start(|options, folder| {
            options.tls_client_ca = Some(folder.join("clients.pem"));
            options.tls_client_auth = Some(auth);
        })
        .await
    }

    /// Sends one request on a connection of its own, and returns what comes back.
    async fn send(&self, shown: Option<&Issued>, request: &str) -> std::io::Result<String> {
        let config = self.authority.trusting(&["http/1.1"], shown);
        ask(&mut connect(self.app.addr, config).await?, request).await
    }

    /// Returns the certificate that a new connection sees.
    async fn seen(&self) -> Vec<u8> {
        let stream = connect(self.app.addr, self.authority.trusting(&[], None)).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }
}

/// Writes bytes to a port and returns what it answers until it closes.
async fn talk(addr: SocketAddr, words: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(words).await.unwrap();
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    // A reset is an end as well.
    drop(closed.expect("the server closes"));
    answer
}

#[tokio::test]
async fn https_answers_over_http1_and_http2() {
    let server = Secured::start(|options, _| options.hsts_seconds = Some(3600)).await;
    for protocols in [&["http/1.1"][..], &[]] {
        let mut stream = connect(server.app.addr, server.authority.trusting(protocols, None)).await.unwrap();
        for _ in 0..2 {
            let answer = ask(&mut stream, &get("/livez")).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(answer.contains("strict-transport-security: max-age=3600\r\n"), "{answer}");
        }
        // The peer's address is known: the admin API is for this machine.
        let audit = ask(&mut stream, &get("/audit")).await.unwrap();
        assert!(audit.starts_with("HTTP/1.1 200"), "{audit}");
    }
    assert!(server.app.get("/livez").await.headers.get("strict-transport-security").is_none(), "not without TLS");
    let stream = connect(server.app.addr, server.authority.trusting(&["h2", "http/1.1"], None)).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let image = http_body_util::Full::new(png_of_test_image(0).into());
    let predict = Request::post("https://localhost/predict").body(Body::new(image)).unwrap();
    let answer = over(stream).await.oneshot(predict).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
    assert!(answer.headers().contains_key("strict-transport-security"));
    assert_eq!(server.app.metric(FAILED), 0.0);
    assert!(server.app.metric(EXPIRY) > 3.8e9, "the end of 2090");
}

#[tokio::test]
async fn grpc_has_tls_on_its_port_and_offers_nothing_else() {
    let server = Secured::start(|_, _| {}).await;
    let stream = connect(server.app.grpc_addr, server.authority.trusting(&["h2"], None)).await.unwrap();
    let mut client = GrpcInferenceServiceClient::with_origin(over(stream).await, Uri::from_static("https://localhost"));
    assert_eq!(classes(&client.model_infer(digits(2)).await.unwrap().into_inner()), [7, 2]);
    let refused = connect(server.app.grpc_addr, server.authority.trusting(&["http/1.1"], None)).await;
    assert!(refused.unwrap_err().to_string().contains("NoApplicationProtocol"));
}

#[tokio::test]
async fn what_is_not_tls_is_refused_and_does_no_harm() {
    let server = Secured::start(|_, _| {}).await;
    let told = talk(server.app.addr, get("/livez").as_bytes()).await;
    let told = String::from_utf8(told).unwrap();
    assert!(told.starts_with("HTTP/1.1 400") && told.ends_with("ask for https:// instead\n"), "{told}");
    let length = told.split_once("\r\n\r\n").unwrap().1.len();
    assert!(told.contains(&format!("content-length: {length}\r\n")), "{told}");
    // A hello of TLS 1.1, and one of SSL 2.
    let mut old = b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x02".to_vec();
    old.extend([7; 32]);
    old.extend(b"\x00\x00\x02\x00\x2f\x01\x00");
    let alert = talk(server.app.addr, &old).await;
    assert_eq!((alert.first(), alert.len()), (Some(&0x15), 7), "an alert and no more: {alert:?}");
    talk(server.app.addr, b"\x80\x2e\x01\x00\x02").await;
    talk(server.app.grpc_addr, &[0xff; 300]).await;
    until("each is counted", || server.app.metric(FAILED) == 4.0).await;
    // Whoever says nothing, as a probe of TCP, has not failed.
    drop(TcpStream::connect(server.app.addr).await.unwrap());
    until("all are gone", || server.app.metric("weir_http_connections") == 0.0).await;
    assert_eq!(server.app.metric(FAILED), 4.0);
    server.app.assert_unharmed().await;
}

#[tokio::test]
async fn a_slow_handshake_ends_and_gives_its_place_back() {
    let server = Secured::start(|options, _| {
        options.header_timeout_seconds = Some(0.2);
        options.max_connections = Some(1);
    })
    .await;
    for beginning in [&b"\x16\x03\x01\x02\x00\x01"[..], b"\x16"] {
        assert_eq!(talk(server.app.addr, beginning).await, b"");
    }
    let mut mute = TcpStream::connect(server.app.addr).await.unwrap();
    assert!(matches!(mute.read(&mut [0; 8]).await, Ok(0) | Err(_)), "no byte at all");
    assert_eq!(server.app.metric(FAILED), 3.0);
    assert!(server.send(None, &get("/livez")).await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn files_that_do_not_fit_are_refused_at_the_start() {
    let (authority, folder) = (Authority::new("ours"), tempfile::tempdir().unwrap());
    let (one, other) = (authority.server(2090), authority.server(2090));
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        put(&path, text);
        path
    };
    let certificate = file("certificate", &one.certificate_pem());
    let key = file("key", &one.key_pem());
    let absent = folder.path().join("absent");
    let start = |certificate: &Path, key: &Path, clients: Option<&Path>| {
        let options = ServeOptions {
            tls_cert: Some(certificate.to_owned()),
            tls_key: Some(key.to_owned()),
            tls_client_ca: clients.map(Path::to_owned),
            state_dir: Some(folder.path().join("state")),
            ..ServeOptions::default()
        };
        App::new(options.resolve().unwrap()).map(drop).map_err(|error| error.to_string())
    };
    let wrong = file("other", &other.key_pem());
    let encrypted = file("encrypted", &one.key_pem().replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"));
    let broken = file("broken", &one.certificate_pem().replace("MII", "AII"));
    let empty = file("empty", "");
    for (setting, hint, refused) in [
        ("tls-key", "the key of another certificate", start(&certificate, &wrong, None)),
        ("tls-key", "an unencrypted private key", start(&certificate, &encrypted, None)),
        ("tls-key", "an unencrypted private key", start(&certificate, &certificate, None)),
        ("tls-key", "cannot be read", start(&certificate, &absent, None)),
        ("tls-cert", "expected certificates", start(&key, &key, None)),
        ("tls-cert", "cannot be read", start(&broken, &key, None)),
        ("tls-cert", "plain file", start(folder.path(), &key, None)),
        ("tls-client-ca", "expected certificates", start(&certificate, &key, Some(empty.as_path()))),
    ] {
        let refused = refused.unwrap_err();
        assert!(refused.contains(setting) && refused.contains(hint), "{hint}: {refused}");
        let folder = folder.path().display().to_string();
        assert!(!refused.contains(&folder), "{refused}");
    }
}

#[tokio::test]
async fn a_new_certificate_counts_for_new_connections_and_a_bad_one_does_not() {
    let server = Secured::start(|_, _| {}).await;
    let first = server.seen().await;
    let mut open = connect(server.app.addr, server.authority.trusting(&[], None)).await.unwrap();
    assert!(ask(&mut open, &get("/livez")).await.unwrap().starts_with("HTTP/1.1 200"));
    // First the key alone, which fits no more; then its certificate.
    let next = server.authority.server(2095);
    put(&server.folder.path().join("tls.key"), &next.key_pem());
    until("the mismatch is counted", || server.app.metric(RELOADS_FAILED) >= 1.0).await;
    assert_eq!(server.seen().await, first);
    let before = server.app.metric(EXPIRY);
    next.write(server.folder.path());
    until("the new one is in use", || server.app.metric(EXPIRY) > before).await;
    assert_eq!(server.seen().await, next.certificate.to_vec());
    let failures = server.app.metric(RELOADS_FAILED);
    for bad in ["", "-----BEGIN CERTIFICATE-----\n", "words"] {
        put(&server.folder.path().join("tls.crt"), bad);
        let before = server.app.metric(RELOADS_FAILED);
        until("a bad one is counted", || server.app.metric(RELOADS_FAILED) > before).await;
    }
    assert_eq!(server.app.metric(RELOADS_FAILED), failures + 3.0);
    assert_eq!(server.seen().await, next.certificate.to_vec());
    assert!(ask(&mut open, &get("/livez")).await.unwrap().starts_with("HTTP/1.1 200"), "it went on all the time");
}

#[tokio::test]
async fn clients_show_certificates_where_they_must() {
    let required = Secured::asking(ClientAuth::Required).await;
    let optional = Secured::asking(ClientAuth::Optional).await;
    for server in [&required, &optional] {
        let good = server.clients.client(SHOP, 2090);
        let expired = server.clients.client(SHOP, 2020);
        let foreign = Authority::new("clients").client(SHOP, 2090);
        let livez = get("/livez");
        assert!(server.send(Some(&good), &livez).await.unwrap().starts_with("HTTP/1.1 200"));
        assert!(server.send(Some(&expired), &livez).await.is_err());
        assert!(server.send(Some(&foreign), &livez).await.is_err());
        let own = server.authority.client(SHOP, 2090);
        assert!(server.send(Some(&own), &livez).await.is_err(), "who signs servers does not sign clients");
    }
    assert!(required.send(None, &get("/livez")).await.is_err());
    assert!(optional.send(None, &get("/livez")).await.unwrap().starts_with("HTTP/1.1 200"));
    until("failures are counted", || required.app.metric(FAILED) == 4.0).await;
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_from_the_next_connection_on() {
    let (good, bad) = (0, 1);
    let server = Secured::start(|options, folder| {
        options.tls_client_ca = Some(folder.join("clients.pem"));
        options.tls_client_auth = Some(ClientAuth::Optional);
        options.tls_client_crl = Some(folder.join("crl.pem"));
        // Read before there is an authority to make one of its own.
        put(&folder.join("crl.pem"), &Authority::new("elsewhere").revoked(&[], 2090));
    })
    .await;
    let clients = [server.clients.client(SHOP, 2090), server.clients.client(SHOP, 2090)];
    let livez = get("/livez");
    let is_taken = async |who: usize| server.send(Some(&clients[who]), &livez).await.is_ok();
    let list = |text: &str| put(&server.folder.path().join("crl.pem"), text);
    let becomes = async |who: usize, taken: bool| {
        let patience = std::time::Instant::now() + PATIENCE;
        while is_taken(who).await != taken {
            assert!(std::time::Instant::now() < patience, "the list is never read");
        }
    };
    assert!(!is_taken(good).await && !is_taken(bad).await, "nothing is known of an authority without a list");
    assert!(server.send(None, &livez).await.is_ok(), "who shows none is not asked");
    list(&server.clients.revoked(&[], 2090));
    becomes(good, true).await;
    assert!(is_taken(bad).await);
    let mut open = connect(server.app.addr, server.authority.trusting(&[], Some(&clients[bad]))).await.unwrap();
    assert!(ask(&mut open, &livez).await.is_ok());
    // Out of date, and used all the same.
    list(&server.clients.revoked(&[&clients[bad]], 2021));
    becomes(bad, false).await;
    assert!(is_taken(good).await);
    assert!(ask(&mut open, &livez).await.is_ok(), "a connection keeps what it began with");
    let failures = server.app.metric(RELOADS_FAILED);
    list("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
    until("a bad list is counted", || server.app.metric(RELOADS_FAILED) > failures).await;
    assert!(is_taken(good).await && !is_taken(bad).await, "the lists stay as they were");
    let made_up = Authority::new("clients").revoked(&[&clients[bad]], 2090);
    list(&made_up);
    becomes(good, false).await;
    assert!(!is_taken(bad).await, "a list that the authority did not sign lets nobody in");
}

#[tokio::test]
async fn a_certificate_has_the_scopes_of_the_key_that_names_it() {
    let secret = Secret::new();
    let server = Secured::start(|options, folder| {
        let keys = folder.join("keys.toml");
        let shop = format!("[[key]]\nname = \"shop\"\ncertificate = \"URI:{SHOP}\"\nscopes = [\"predict\"]\n");
        let scraper = format!("[[key]]\nname = \"s\"\nsha256 = \"{}\"\nscopes = [\"metrics\"]\n", secret.sha256);
        let old = "[[key]]\nname = \"old\"\ncertificate = \"URI:spiffe://old\"\nscopes = [\"admin\"]\nexpires = 2020-01-01T00:00:00Z\n";
        put(&keys, &(shop + &scraper + old));
        options.keys = Some(keys);
        options.tls_client_ca = Some(folder.join("clients.pem"));
        options.tls_client_auth = Some(ClientAuth::Optional);
    })
    .await;
    let status = async |shown: Option<&Issued>, path: &str, headers: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
        let answer = server.send(shown, &request).await.unwrap();
        (answer.get(9..12).unwrap().to_owned(), answer)
    };
    let key = format!("authorization: Bearer {}\r\n", secret.text);
    let shop = server.clients.client(SHOP, 2090);
    let stranger = server.clients.client("spiffe://example.org/stranger", 2090);
    let old = server.clients.client("spiffe://old", 2090);
    let foreign = "origin: https://evil.example\r\n";
    for (shown, path, headers, expected, hint) in [
        (Some(&shop), "/models", "", "200", ""),
        (Some(&shop), "/metrics", "", "403", "the key \\\"shop\\\" has the scope predict"),
        (Some(&shop), "/metrics", key.as_str(), "200", ""),
        (Some(&shop), "/models", key.as_str(), "403", "metrics"),
        (Some(&shop), "/models", foreign, "403", "pages of other sites"),
        (Some(&shop), "/models", "origin: https://localhost\r\n", "200", ""),
        (
            Some(&stranger),
            "/models",
            "",
            "401",
            "no key names the client certificate of URI:spiffe://example.org/stranger",
        ),
        (Some(&old), "/models", "", "401", "has expired"),
        (Some(&stranger), "/livez", "", "200", ""),
        (None, "/models", "", "401", "asks for a key"),
        (None, "/metrics", key.as_str(), "200", ""),
    ] {
        let (got, answer) = status(shown, path, headers).await;
        assert!(got == expected && answer.contains(hint), "{path} {headers}: {answer}");
    }
    let stream = connect(server.app.grpc_addr, server.authority.trusting(&["h2"], Some(&shop))).await.unwrap();
    let mut client = GrpcInferenceServiceClient::with_origin(over(stream).await, Uri::from_static("https://localhost"));
    assert_eq!(classes(&client.model_infer(digits(1)).await.unwrap().into_inner()), [7]);
}

#[tokio::test]
async fn the_port_for_health_answers_while_all_connections_are_taken() {
    let server = Secured::start(|options, _| {
        options.max_connections = Some(1);
        options.ops = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        options.hsts_seconds = Some(60);
    })
    .await;
    let ops = server.app.ops_addr.unwrap();
    let mut only = connect(server.app.addr, server.authority.trusting(&[], None)).await.unwrap();
    assert!(ask(&mut only, &get("/livez")).await.unwrap().starts_with("HTTP/1.1 200"));
    // It waits in the backlog.
    let livez = get("/livez");
    let mut waiting = std::pin::pin!(server.send(None, &livez));
    let mut plain = TcpStream::connect(ops).await.unwrap();
    for (path, status) in [
        ("/livez", "200"),
        ("/healthz", "200"),
        ("/readyz", "200"),
        ("/metrics", "200"),
        ("/models", "404"),
        ("/predict", "404"),
        ("/docs/", "404"),
    ] {
        let request = get(path);
        let answer = tokio::select! {
            answer = ask(&mut plain, &request) => answer.unwrap(),
            early = &mut waiting => panic!("there was no room for it: {early:?}"),
        };
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
        assert!(!answer.contains("strict-transport-security"));
    }
    drop(only);
    assert!(waiting.await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_server_that_stops_says_goodbye_over_tls() {
    let server = Secured::start(|_, _| {}).await;
    let mut first = connect(server.app.addr, server.authority.trusting(&[], None)).await.unwrap();
    assert!(ask(&mut first, &get("/livez")).await.unwrap().starts_with("HTTP/1.1 200"));
    let stream = connect(server.app.addr, server.authority.trusting(&["h2"], None)).await.unwrap();
    let (mut sender, connection) =
        http2::handshake::<_, _, Body>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let livez = Request::get("https://localhost/livez").body(Body::empty()).unwrap();
    assert_eq!(sender.send_request(livez).await.unwrap().status(), 200);
    // A handshake that has begun does not hold the server up.
    let mut begun = TcpStream::connect(server.app.addr).await.unwrap();
    begun.write_all(b"\x16\x03\x01").await.unwrap();
    assert_eq!(server.app.stop(StopReason::Interrupt).await, Shutdown::Clean);
    assert_eq!(first.read(&mut [0; 8]).await.unwrap(), 0, "closed with a word, not cut");
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_certificate_that_is_made_serves_a_try() {
    let app = TestApp::with(&bundled_models(), |options| options.tls_self_signed = Some(true)).await;
    let refused = connect(app.addr, Authority::new("another").trusting(&[], None)).await.unwrap_err();
    assert!(refused.to_string().contains("UnknownIssuer"), "{refused}");
    let year = 366.0 * 86_400.0;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now..now + year).contains(&app.metric(EXPIRY)));
}
