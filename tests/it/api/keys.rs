//! Servers that ask for keys: every protocol, who may do what, and keys that come and go.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use tempfile::TempDir;
use tonic::{Code, Request as Call};
use weir::api::grpc::pb::grpc::health::v1::HealthCheckRequest;
use weir::api::grpc::pb::grpc::health::v1::health_client::HealthClient;
use weir::api::grpc::pb::inference::{
    ModelMetadataRequest, RepositoryIndexRequest, RepositoryModelLoadRequest, ServerLiveRequest,
};
use weir::api::grpc::pb::tensorflow::serving::{
    GetModelStatusRequest, ModelSpec, model_service_client::ModelServiceClient,
};
use weir::keys::{Scope, Secret, Table, with_key, without_key};

use super::grpc::{digits, inference};
use crate::fixtures::png_of_test_image;
use crate::support::{Answer, TestApp, bundled_models, copy_folder, until};

/// A server with one key for each scope, and one for other models.
struct Guarded {
    app: TestApp,
    folder: TempDir,
    secrets: Vec<(&'static str, String)>,
}

/// The names of the keys; `nobody` shows none, `stranger` one that is not in the file.
const CALLERS: [&str; 8] = ["nobody", "stranger", "predict", "feedback", "read", "metrics", "admin", "other"];

impl Guarded {
    async fn start(anonymous: &[Scope]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut secrets = vec![("stranger", Secret::new().text)];
        let (mut text, others) = (String::new(), ["other-*".to_owned()]);
        for name in &CALLERS[2..] {
            let secret = Secret::new();
            let (scope, models) = match name.parse() {
                Ok(scope) => (scope, None),
                Err(_) => (Scope::Predict, Some(&others[..])),
            };
            let key = Table {
                name,
                sha256: &secret.sha256,
                scopes: &[scope],
                models,
                expires: None,
                per_second: None,
                burst: None,
                concurrency: None,
            };
            text = with_key(&text, &key).unwrap();
            secrets.push((name, secret.text));
        }
        let path = folder.path().join("keys.toml");
        std::fs::write(&path, text).unwrap();
        // One of the tests moves an alias.
        let models = folder.path().join("models");
        copy_folder(&bundled_models(), &models);
        let app = TestApp::with(&models, |options| {
            options.keys = Some(path);
            options.anonymous = Some(anonymous.to_vec());
        })
        .await;
        Self { app, folder, secrets }
    }

    fn secret(&self, caller: &str) -> Option<&str> {
        self.secrets.iter().find(|(name, _)| *name == caller).map(|(_, secret)| secret.as_str())
    }

    async fn send(&self, caller: &str, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        if let Some(secret) = self.secret(caller) {
            request = request.header("authorization", format!("Bearer {secret}"));
        }
        self.app.send(request.body(body.into()).unwrap()).await
    }

    fn call<T>(&self, caller: &str, message: T) -> Call<T> {
        let mut call = Call::new(message);
        if let Some(secret) = self.secret(caller) {
            call.metadata_mut().insert("x-api-key", secret.parse().unwrap());
        }
        call
    }
}

/// Returns the statuses that mean that a caller was let in: whatever the operation itself says.
fn let_in(status: u16) -> bool {
    !matches!(status, 401 | 403)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_is_for_those_with_its_scope() {
    let guarded = Guarded::start(&[]).await;
    let everybody = &CALLERS[..];
    for (method, path, who) in [
        ("GET", "/livez", everybody),
        ("GET", "/readyz", everybody),
        ("GET", "/healthz", everybody),
        ("GET", "/ping", everybody),
        ("GET", "/v2/health/live", everybody),
        ("GET", "/v2/health/ready", everybody),
        ("GET", "/", everybody),
        ("GET", "/console/main.js", everybody),
        ("OPTIONS", "/", &["predict", "read", "admin"]),
        ("GET", "/openapi.json", &["predict", "read", "admin"]),
        ("GET", "/docs/", &["predict", "read", "admin"]),
        ("GET", "/models", &["predict", "read", "admin"]),
        ("GET", "/models/mnist-mlp", &["predict", "read", "admin"]),
        ("GET", "/models/mnist-mlp/quality", &["predict", "read", "admin"]),
        ("GET", "/models/mnist-mlp/drift", &["predict", "read", "admin"]),
        ("GET", "/v2", &["predict", "read", "admin"]),
        ("GET", "/v2/models/mnist-mlp", &["predict", "read", "admin"]),
        ("GET", "/v2/models/mnist-mlp/stats", &["predict", "read", "admin"]),
        ("POST", "/v2/repository/index", &["predict", "read", "admin"]),
        ("GET", "/v1/models/mnist-mlp", &["predict", "read", "admin"]),
        ("GET", "/no/such/path", &["predict", "read", "admin"]),
        ("POST", "/no/such/path", &["admin"]),
        ("GET", "/metrics", &["metrics", "admin"]),
        ("GET", "/monitoring/prometheus/metrics", &["metrics", "admin"]),
        ("POST", "/predict", &["predict", "admin"]),
        ("POST", "/models/mnist-mlp/predict", &["predict", "admin"]),
        ("POST", "/models/mnist-mlp/versions/1/predict", &["predict", "admin"]),
        ("POST", "/models/mnist-mlp/generate", &["predict", "admin"]),
        ("POST", "/v2/models/mnist-mlp/infer", &["predict", "admin"]),
        ("POST", "/v1/models/mnist-mlp:predict", &["predict", "admin"]),
        ("POST", "/predictions/mnist-mlp", &["predict", "admin"]),
        ("POST", "/feedback", &["feedback", "admin"]),
        ("GET", "/predictions/some-id", &["feedback", "admin"]),
        ("DELETE", "/predictions/some-id", &["feedback", "admin"]),
        ("POST", "/models/mnist-mlp/promote", &["admin"]),
        ("POST", "/models/mnist-mlp/load", &["admin"]),
        ("GET", "/audit", &["admin"]),
        ("POST", "/v2/repository/models/mnist-mlp/load", &["admin"]),
        ("POST", "/v2/logging", &["admin"]),
        ("POST", "/v2/trace/setting", &["admin"]),
    ] {
        for caller in CALLERS {
            let answer = guarded.send(caller, method, path, "{}").await;
            let status = answer.status.as_u16();
            assert_eq!(let_in(status), who.contains(&caller), "{caller}: {method} {path}: {}", answer.text());
            if !let_in(status) {
                let unknown = ["nobody", "stranger"].contains(&caller);
                assert_eq!(status, if unknown { 401 } else { 403 }, "{caller}: {method} {path}");
                assert_eq!(answer.headers.contains_key("www-authenticate"), unknown, "{method} {path}");
                assert!(!guarded.secrets.iter().any(|(_, secret)| answer.text().contains(secret)));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_say_what_is_missing_in_the_shape_of_their_protocol() {
    let guarded = Guarded::start(&[]).await;
    let picture = png_of_test_image(0);
    let answer = guarded.send("predict", "POST", "/predict", picture.clone()).await;
    assert_eq!(answer.labels(), ["7"]);
    let refused = guarded.send("nobody", "POST", "/predict", picture.clone()).await;
    assert!(refused.assert_problem(401).contains("Authorization: Bearer KEY"));
    let refused = guarded.send("metrics", "POST", "/predict", picture.clone()).await;
    assert!(refused.assert_problem(403).contains("the key \"metrics\" has the scope metrics; this needs predict"));
    let refused = guarded.send("other", "POST", "/predict", picture.clone()).await;
    assert!(refused.assert_problem(403).contains("for some models only"));
    let refused = guarded.send("other", "POST", "/models/mnist-mlp/predict", picture.clone()).await;
    assert!(refused.assert_problem(403).contains("is not for the model \"mnist-mlp\""));
    let absent = guarded.send("other", "POST", "/models/other-one/predict", picture.clone()).await;
    assert_eq!(absent.status, 404, "the key is for it, but there is none");
    let refused = guarded.send("nobody", "POST", "/v2/models/mnist-mlp/infer", "{}").await;
    assert_eq!(refused.status, 401);
    assert!(refused.json()["error"].as_str().unwrap().contains("asks for a key"));
    let twice = Request::post("/predict").header("x-api-key", "k").header("authorization", "Bearer k");
    let refused = guarded.app.send(twice.body(Body::empty()).unwrap()).await;
    assert!(refused.assert_problem(400).contains("more than one key"));
    let bad = guarded.send("stranger", "GET", "/livez", "").await;
    assert_eq!(bad.status, 200, "health asks nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_asks_for_the_same_keys() {
    let guarded = Guarded::start(&[]).await;
    let mut oip = inference(&guarded.app);
    let mut models = ModelServiceClient::new(guarded.app.services.clone());
    let mut health = HealthClient::new(guarded.app.services.clone());
    let code = |outcome: Result<(), tonic::Status>| outcome.map_or_else(|status| status.code(), |()| Code::Ok);
    let spec = || Some(ModelSpec { name: "mnist-mlp".into(), ..ModelSpec::default() });
    for caller in CALLERS {
        let unknown = ["nobody", "stranger"].contains(&caller);
        let expected = |who: &[&str]| match who.contains(&caller) {
            true => Code::Ok,
            false if unknown => Code::Unauthenticated,
            false => Code::PermissionDenied,
        };
        let live = oip.server_live(guarded.call(caller, ServerLiveRequest {})).await;
        assert_eq!(code(live.map(drop)), Code::Ok, "{caller}");
        let checked = health.check(guarded.call(caller, HealthCheckRequest::default())).await;
        assert_eq!(code(checked.map(drop)), Code::Ok, "{caller}");
        let asked = oip.model_infer(guarded.call(caller, digits(1))).await;
        assert_eq!(code(asked.map(drop)), expected(&["predict", "admin"]), "{caller}");
        let name = "mnist-mlp".to_owned();
        let metadata = ModelMetadataRequest { name: name.clone(), version: String::new() };
        let seen = oip.model_metadata(guarded.call(caller, metadata)).await;
        assert_eq!(code(seen.map(drop)), expected(&["predict", "read", "admin"]), "{caller}");
        let seen = oip.repository_index(guarded.call(caller, RepositoryIndexRequest::default())).await;
        assert_eq!(code(seen.map(drop)), expected(&["predict", "read", "admin"]), "{caller}");
        let status = GetModelStatusRequest { model_spec: spec() };
        let seen = models.get_model_status(guarded.call(caller, status)).await;
        assert_eq!(code(seen.map(drop)), expected(&["predict", "read", "admin"]), "{caller}");
        let load = RepositoryModelLoadRequest { model_name: name, ..RepositoryModelLoadRequest::default() };
        let loaded = code(oip.repository_model_load(guarded.call(caller, load)).await.map(drop));
        match caller {
            "admin" => assert!(![Code::Unauthenticated, Code::PermissionDenied].contains(&loaded), "{loaded:?}"),
            _ => assert_eq!(loaded, expected(&[]), "{caller}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_without_a_key_may_what_the_setting_says() {
    let guarded = Guarded::start(&[Scope::Predict, Scope::Metrics]).await;
    for (method, path, status) in [
        ("POST", "/predict", 200),
        ("GET", "/models", 200),
        ("GET", "/metrics", 200),
        ("POST", "/feedback", 401),
        ("POST", "/models/mnist-mlp/promote", 401),
    ] {
        let answer = guarded.send("nobody", method, path, png_of_test_image(0)).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        let shown = guarded.send("stranger", method, path, png_of_test_image(0)).await;
        assert_eq!(shown.status, 401, "a wrong key is never as good as none: {method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_ends_and_a_broken_file_changes_nothing() {
    let guarded = Guarded::start(&[]).await;
    let path = guarded.folder.path().join("keys.toml");
    let replace = |text: &str| {
        std::fs::write(path.with_extension("new"), text).unwrap();
        std::fs::rename(path.with_extension("new"), &path).unwrap();
        guarded.app.state.keys().unwrap().look();
    };
    let text = std::fs::read_to_string(&path).unwrap();
    replace("[[key]]\nname = 7");
    assert_eq!(guarded.send("read", "GET", "/models", "").await.status, 200);
    assert_eq!(guarded.app.metric("weir_reload_failures_total{what=\"keys\"}"), 1.0);
    replace(&without_key(&text, "read").unwrap());
    assert_eq!(guarded.send("read", "GET", "/models", "").await.status, 401);
    assert_eq!(guarded.send("admin", "GET", "/models", "").await.status, 200);
    // The server looks by itself as well.
    std::fs::write(path.with_extension("new"), &text).unwrap();
    std::fs::rename(path.with_extension("new"), &path).unwrap();
    let ring = guarded.app.state.keys().unwrap();
    until("the key is back", || ring.knows(guarded.secret("read").unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_an_admin_works_from_anywhere_unless_the_api_is_off() {
    let guarded = Guarded::start(&[]).await;
    let promote = json!({"alias": "stable", "version": 1}).to_string();
    let request = Request::post("/models/mnist-mlp/promote")
        .header("content-type", "application/json")
        .header("x-api-key", guarded.secret("admin").unwrap())
        .header("host", "weir.example")
        .header("origin", "https://console.example")
        .body(Body::from(promote.clone()));
    assert_eq!(guarded.app.send(request.unwrap()).await.status, 200);
    let trail = guarded.send("admin", "GET", "/audit", "").await.json();
    assert_eq!(trail["entries"][0]["by"], "key admin");
    let page = Request::post("/models/mnist-mlp/promote").header("origin", "https://console.example");
    assert_eq!(guarded.app.send(page.body(Body::from(promote)).unwrap()).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_of_a_browser_needs_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    std::fs::write(&path, "").unwrap();
    let app = TestApp::with(&bundled_models(), |options| {
        options.keys = Some(path);
        options.cors = Some(true);
    })
    .await;
    let preflight = Request::options("/v1/models/mnist-mlp:predict")
        .header("origin", "https://page.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization")
        .body(Body::empty());
    let answer = app.send(preflight.unwrap()).await;
    assert!(answer.status.is_success(), "{}", answer.status);
    let headers = answer.headers.get("access-control-allow-headers").unwrap().to_str().unwrap().to_lowercase();
    assert!(headers.contains("authorization") && headers.contains("x-api-key"), "{headers}");
}
