//! Tokens of issuers in the place of keys: who may do what by which claims, over HTTP and gRPC, and public keys that come,
//! change and are away.

use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::{Code, Request as Call};
use weir::api::grpc::pb::inference::{ModelMetadataRequest, RepositoryIndexRequest, RepositoryModelLoadRequest};

use super::grpc::{digits, inference};
use crate::certificates::{Authority, put};
use crate::fixtures::png_of_test_image;
use crate::monitoring::sinks::axum_serve;
use crate::support::{Answer, TestApp, bundled_models, copy_folder, until};

const ISSUER: &str = "https://login.example.org";
const RULES: &str = r#"
[[issuer.rule]]
claim = "scope"
value = "weir:predict"
scopes = ["predict"]
[[issuer.rule]]
claim = "scope"
value = "weir:feedback"
scopes = ["feedback"]
[[issuer.rule]]
claim = "scope"
value = "weir:read"
scopes = ["read"]
[[issuer.rule]]
claim = "scope"
value = "weir:metrics"
scopes = ["metrics"]
[[issuer.rule]]
claim = "groups"
value = "operators"
scopes = ["admin"]
[[issuer.rule]]
claim = "groups"
value = "others"
scopes = ["predict"]
models = ["other-*"]
"#;

/// An issuer with one key.
struct Issuer {
    id: &'static str,
    pair: Ed25519KeyPair,
}

impl Issuer {
    fn new(id: &'static str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { id, pair: Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap() }
    }

    fn jwks(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": self.id, "x": x}]})
    }

    /// Signs usual claims with some changes.
    fn token(&self, changes: &Value) -> String {
        let mut claims =
            json!({"iss": ISSUER, "aud": "weir", "sub": "alice", "exp": Timestamp::now().as_second() + 3600});
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({"alg": "EdDSA", "kid": self.id})), part(&claims));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()).as_ref()))
    }
}

/// Writes a file of keys with one issuer, and returns its path.
fn keys_file(folder: &Path, jwks: &str, more: &str) -> std::path::PathBuf {
    let path = folder.join("keys.toml");
    let head = format!("name = \"corp\"\nissuer = \"{ISSUER}\"\naudience = [\"weir\"]\njwks = \"{jwks}\"\n{more}");
    put(&path, &format!("[[issuer]]\n{head}\n{RULES}"));
    path
}

async fn send(app: &TestApp, token: Option<&str>, method: &str, path: &str, body: impl Into<Body>) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    app.send(request.body(body.into()).unwrap()).await
}

/// A server whose issuer's public keys are in a file.
async fn guarded(issuer: &Issuer) -> (TestApp, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    put(&folder.path().join("jwks.json"), &issuer.jwks().to_string());
    let keys = keys_file(folder.path(), "jwks.json", "");
    // One of the tests moves an alias.
    let models = folder.path().join("models");
    copy_folder(&bundled_models(), &models);
    (TestApp::with(&models, |options| options.keys = Some(keys)).await, folder)
}

/// The claims of each caller, and a name for it.
fn callers() -> Vec<(&'static str, Value)> {
    let scope = |scope: &str| json!({"scope": format!("openid {scope}")});
    vec![
        ("predict", scope("weir:predict")),
        ("feedback", scope("weir:feedback")),
        ("read", scope("weir:read")),
        ("metrics", scope("weir:metrics")),
        ("admin", json!({"groups": ["staff", "operators"]})),
        ("other", json!({"groups": ["others"]})),
        ("nobody", json!({"scope": "weir:Predict predict admin", "groups": "operator"})),
        ("expired", json!({"scope": "weir:predict", "exp": 1_700_000_000})),
        ("elsewhere", json!({"scope": "weir:predict", "aud": "shop"})),
        ("foreign", json!({"scope": "weir:predict", "iss": "https://login.example.com"})),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_say_who_may_do_what_over_http() {
    let issuer = Issuer::new("one");
    let (app, _folder) = guarded(&issuer).await;
    for (method, path, who) in [
        ("GET", "/models", &["predict", "read", "admin"][..]),
        ("GET", "/models/mnist-mlp", &["predict", "read", "admin"]),
        ("GET", "/v2/models/mnist-mlp", &["predict", "read", "admin"]),
        ("GET", "/v1/models/mnist-mlp", &["predict", "read", "admin"]),
        ("POST", "/predict", &["predict", "admin"]),
        ("POST", "/models/mnist-mlp/predict", &["predict", "admin"]),
        ("POST", "/models/other-one/predict", &["predict", "admin", "other"]),
        ("POST", "/v2/models/mnist-mlp/infer", &["predict", "admin"]),
        ("POST", "/v1/models/mnist-mlp:predict", &["predict", "admin"]),
        ("POST", "/predictions/mnist-mlp", &["predict", "admin"]),
        ("POST", "/feedback", &["feedback", "admin"]),
        ("GET", "/metrics", &["metrics", "admin"]),
        ("POST", "/models/mnist-mlp/promote", &["admin"]),
        ("GET", "/audit", &["admin"]),
        ("POST", "/v2/logging", &["admin"]),
    ] {
        for (caller, claims) in callers() {
            let token = issuer.token(&claims);
            let answer = send(&app, Some(&token), method, path, "").await;
            let is_believed = !matches!(caller, "expired" | "elsewhere" | "foreign");
            let case = format!("{caller}: {method} {path}: {} {}", answer.status, answer.text());
            match (who.contains(&caller), is_believed) {
                (true, _) => assert!(!matches!(answer.status.as_u16(), 401 | 403), "{case}"),
                (false, true) => assert_eq!(answer.status, 403, "{case}"),
                (false, false) => {
                    assert_eq!(answer.status, 401, "{case}");
                    assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"weir\"", "{case}");
                }
            }
            assert!(!answer.text().contains(&token), "{case}");
        }
    }
    for path in ["/livez", "/readyz"] {
        assert_eq!(send(&app, Some("a.b.c"), "GET", path, "").await.status, 200, "health asks for nothing");
    }
    let good = issuer.token(&json!({"scope": "weir:read"}));
    let twice = Request::get("/models").header("authorization", format!("Bearer {good}")).header("x-api-key", &good);
    assert_eq!(app.send(twice.body(Body::empty()).unwrap()).await.status, 400);
    let mut forged = good.clone();
    forged.replace_range(
        good.len() - 20..good.len() - 19,
        if good.as_bytes()[good.len() - 20] == b'A' { "B" } else { "A" },
    );
    assert_eq!(send(&app, Some(&forged), "GET", "/models", "").await.status, 401);
    let stranger = Issuer::new("one").token(&json!({"scope": "weir:read"}));
    assert_eq!(send(&app, Some(&stranger), "GET", "/models", "").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_say_who_may_do_what_over_grpc() {
    let issuer = Issuer::new("one");
    let (app, _folder) = guarded(&issuer).await;
    let mut client = inference(&app);
    for (caller, claims) in callers() {
        let token = issuer.token(&claims);
        let refusal = match caller {
            "expired" | "elsewhere" | "foreign" => Code::Unauthenticated,
            _ => Code::PermissionDenied,
        };
        let metadata = |name: &'static str, value: String| (name, value.parse().unwrap());
        fn call<T>(
            message: T,
            (name, value): (&'static str, tonic::metadata::MetadataValue<tonic::metadata::Ascii>),
        ) -> Call<T> {
            let mut call = Call::new(message);
            call.metadata_mut().insert(name, value);
            call
        }
        let bearer = || metadata("authorization", format!("Bearer {token}"));
        let named = ModelMetadataRequest { name: "mnist-mlp".into(), version: String::new() };
        let load =
            RepositoryModelLoadRequest { model_name: "mnist-mlp".into(), ..RepositoryModelLoadRequest::default() };
        let asked = [
            ("infer", client.model_infer(call(digits(1), bearer())).await.err(), &["predict", "admin"][..]),
            ("metadata", client.model_metadata(call(named, bearer())).await.err(), &["predict", "read", "admin"]),
            (
                "index",
                client
                    .repository_index(call(RepositoryIndexRequest::default(), metadata("x-api-key", token.clone())))
                    .await
                    .err(),
                &["predict", "read", "admin"],
            ),
            ("load", client.repository_model_load(call(load, bearer())).await.err(), &["admin"]),
        ];
        for (method, error, who) in asked {
            let code = error.as_ref().map(tonic::Status::code);
            let expected = if who.contains(&caller) { None } else { Some(refusal) };
            assert_eq!(code, expected, "{caller}: {method}: {error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_and_the_limits_know_the_subject() {
    let issuer = Issuer::new("one");
    let (app, folder) = guarded(&issuer).await;
    let token = issuer.token(&json!({"groups": ["operators"], "sub": "alice@example.org"}));
    let promote = json!({"alias": "stable", "version": 1}).to_string();
    assert_eq!(send(&app, Some(&token), "POST", "/models/mnist-mlp/promote", promote).await.status, 200);
    let trail = send(&app, Some(&token), "GET", "/audit", "").await.json();
    assert_eq!(trail["entries"][0]["by"], "token corp:alice@example.org");
    // A rule has limits as a key has; each subject has its own, whatever token shows it.
    let path = folder.path().join("keys.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    put(&path, &text.replace("scopes = [\"read\"]", "scopes = [\"read\"]\nper_second = 0.001\nburst = 2"));
    app.state.keys().unwrap().look();
    let token = |subject: &str, more: u64| issuer.token(&json!({"scope": "weir:read", "sub": subject, "jti": more}));
    for (subject, status) in [("bob", 200_u16), ("bob", 200), ("bob", 429), ("carol", 200)] {
        let answer = send(&app, Some(&token(subject, u64::from(status))), "GET", "/models", "").await;
        assert_eq!(answer.status, status, "{subject}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn public_keys_in_a_file_are_followed_and_a_broken_one_changes_nothing() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let (app, folder) = guarded(&old).await;
    let path = folder.path().join("jwks.json");
    let read = json!({"scope": "weir:read"});
    let status = async |issuer: &Issuer| {
        let answer = send(&app, Some(&issuer.token(&read)), "GET", "/models", "").await;
        (answer.status.as_u16(), answer.text())
    };
    assert_eq!(status(&old).await.0, 200);
    let (code, text) = status(&new).await;
    assert!(code == 401 && text.contains("\\\"new\\\"") && text.contains("not among the issuer's"), "{text}");
    put(&path, "{");
    app.state.keys().unwrap().look();
    assert_eq!(status(&old).await.0, 200);
    assert_eq!(app.metric("weir_reload_failures_total{what=\"jwks\"}"), 1.0);
    put(&path, &new.jwks().to_string());
    app.state.keys().unwrap().look();
    assert_eq!((status(&old).await.0, status(&new).await.0), (401, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn public_keys_are_fetched_over_tls_and_the_server_waits_for_an_issuer_that_is_away() {
    let (folder, authority, issuer) = (tempfile::tempdir().unwrap(), Authority::new("issuers"), Issuer::new("one"));
    put(&folder.path().join("ca.pem"), &authority.pem());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/keys", listener.local_addr().unwrap());
    let (said, is_there) = (issuer.jwks().to_string(), Arc::new(Mutex::new(false)));
    let there = is_there.clone();
    let answer = move || {
        let status = if *there.lock().unwrap() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        std::future::ready((status, said.clone()))
    };
    let tls = TlsAcceptor::from(Arc::new(authority.server(2090).server()));
    tokio::spawn(axum_serve(listener, Router::new().fallback(answer), Some(tls)));
    let keys = keys_file(folder.path(), &url, "ca = \"ca.pem\"");
    let app = TestApp::with(&bundled_models(), |options| options.keys = Some(keys)).await;
    let token = issuer.token(&json!({"scope": "weir:predict"}));
    let answer = send(&app, Some(&token), "GET", "/models", "").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.headers.contains_key("retry-after") && answer.text().contains("corp"), "{}", answer.text());
    until("the first attempt failed", || app.metric("weir_reload_failures_total{what=\"jwks\"}") >= 1.0).await;
    *is_there.lock().unwrap() = true;
    let patience = std::time::Instant::now() + crate::support::PATIENCE;
    while send(&app, Some(&token), "GET", "/models", "").await.status != 200 {
        assert!(std::time::Instant::now() < patience, "the keys are never fetched");
        tokio::task::yield_now().await;
    }
    assert_eq!(send(&app, Some(&token), "POST", "/predict", png_of_test_image(0)).await.labels(), ["7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn public_keys_are_discovered_and_another_issuers_document_is_not_believed() {
    let (folder, issuer) = (tempfile::tempdir().unwrap(), Issuer::new("one"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/realm", listener.local_addr().unwrap());
    let document = |issuer: &str| json!({"issuer": issuer, "jwks_uri": format!("{base}/certs")}).to_string();
    let said = Arc::new(Mutex::new(document("https://evil.example")));
    let (discovery, jwks) = (said.clone(), issuer.jwks().to_string());
    let router = Router::new()
        .route(
            "/realm/.well-known/openid-configuration",
            axum::routing::get(move || std::future::ready(discovery.lock().unwrap().clone())),
        )
        .route("/realm/certs", axum::routing::get(move || std::future::ready(jwks.clone())));
    tokio::spawn(axum_serve(listener, router, None));
    let path = folder.path().join("keys.toml");
    put(&path, &format!("[[issuer]]\nname = \"corp\"\nissuer = \"{base}\"\naudience = [\"weir\"]\n{RULES}"));
    let app = TestApp::with(&bundled_models(), |options| options.keys = Some(path)).await;
    let token = issuer.token(&json!({"scope": "weir:predict", "iss": base}));
    let status = async || send(&app, Some(&token), "GET", "/models", "").await.status.as_u16();
    until("a document of another issuer was refused", || {
        app.metric("weir_reload_failures_total{what=\"jwks\"}") >= 1.0
    })
    .await;
    assert_eq!(status().await, 503);
    *said.lock().unwrap() = document(&base);
    let patience = std::time::Instant::now() + crate::support::PATIENCE;
    while status().await != 200 {
        assert!(std::time::Instant::now() < patience, "the keys are never discovered");
        tokio::task::yield_now().await;
    }
}
