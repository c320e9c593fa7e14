//! A whole server on a port of its own, and ways to talk to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::ServiceExt;
use weir::api::grpc::Services;
use weir::api::{ApiState, HttpApi, Shutdown};
use weir::app::{App, Listeners, StopReason};
use weir::config::ServeOptions;
use weir::ids::Version;
use weir::serving::State;

/// A folder with the one model that the repository ships for tests to ask; the others take time to load.
pub(crate) fn bundled_models() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let copy = || {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("models-{}", std::process::id()));
        copy_folder(&shipped_models().join("mnist-mlp"), &folder.join("mnist-mlp"));
        folder
    };
    FOLDER.get_or_init(copy).clone()
}

/// The models that the repository ships.
pub(crate) fn shipped_models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

/// The data that the repository ships.
pub(crate) fn bundled_data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/mnist")
}

/// Copies a folder with everything in it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A running server; stops when dropped.
pub(crate) struct TestApp {
    pub(crate) addr: SocketAddr,
    pub(crate) grpc_addr: SocketAddr,
    /// The port for health and metrics alone, if the settings name one.
    pub(crate) ops_addr: Option<SocketAddr>,
    /// The services of gRPC, to be called without a socket.
    pub(crate) services: Services,
    pub(crate) state: ApiState,
    http: HttpApi,
    stop: Option<oneshot::Sender<StopReason>>,
    served: JoinHandle<weir::error::Result<Shutdown>>,
    models: Option<TempDir>,
    state_dir: TempDir,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The label of each prediction.
    pub(crate) fn labels(&self) -> Vec<String> {
        let predictions = self.json()["predictions"].as_array().cloned().unwrap_or_else(|| panic!("{}", self.text()));
        predictions.iter().map(|prediction| prediction["label"].as_str().unwrap().to_owned()).collect()
    }

    /// Asserts that this is a well-formed problem of this status.
    pub(crate) fn assert_problem(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"].as_str().unwrap(), self.headers["x-request-id"].to_str().unwrap());
        for key in ["type", "title", "detail"] {
            assert!(problem[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {problem}");
        }
        problem["detail"].as_str().unwrap().to_owned()
    }
}

impl TestApp {
    /// Starts a server with the bundled models and default settings.
    pub(crate) async fn start() -> Self {
        Self::with(&bundled_models(), |_| {}).await
    }

    /// Starts a server with a folder of models and settings of the test's choice.
    pub(crate) async fn with(models: &Path, change: impl FnOnce(&mut ServeOptions)) -> Self {
        let mut options =
            ServeOptions { models: Some(models.to_owned()), grace_seconds: Some(0.0), ..ServeOptions::default() };
        let state_dir = TempDir::new().unwrap();
        options.state_dir = Some(state_dir.path().join("state"));
        options.probe_interval_seconds = Some(0.0);
        options.tune = Some(false);
        // The tests say when to look.
        options.poll_interval_seconds = Some(86_400.0);
        change(&mut options);
        let config = options.resolve().unwrap();
        let ops = match config.http.ops {
            Some(listen) => Some(TcpListener::bind(listen).await.unwrap()),
            None => None,
        };
        let app = App::new(config).unwrap();
        app.load().unwrap();
        // Files that were just written are read at the second look.
        for _ in 0..2 {
            app.state().manager().refresh().await.unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let grpc = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (stop, stopped) = oneshot::channel();
        Self {
            addr: listener.local_addr().unwrap(),
            grpc_addr: grpc.local_addr().unwrap(),
            ops_addr: ops.as_ref().map(|ops| ops.local_addr().unwrap()),
            services: app.grpc().unwrap(),
            state: app.state().clone(),
            http: app.http(),
            served: tokio::spawn(
                app.run(Listeners { http: listener, grpc: Some(grpc), torchserve_management: None, ops }, async move {
                    stopped.await.unwrap_or(StopReason::Interrupt)
                }),
            ),
            stop: Some(stop),
            models: None,
            state_dir,
        }
    }

    /// Starts a server with models in a folder that is removed with it.
    pub(crate) async fn with_temp(models: TempDir, change: impl FnOnce(&mut ServeOptions)) -> Self {
        let mut app = Self::with(models.path(), change).await;
        app.models = Some(models);
        app
    }

    /// Looks at the repository once more and waits until everything that follows is done. Bare files that changed a
    /// moment ago are read at the second look.
    pub(crate) async fn refresh(&self) {
        self.state.manager().refresh().await.unwrap();
    }

    /// Returns the state of a version and the reason for it.
    pub(crate) fn version_state(&self, model: &str, version: u64) -> Option<(State, Option<String>)> {
        let catalog = self.state.predictor().catalog();
        let entry = catalog.models().get(&model.parse().unwrap())?.versions.get(&Version(version))?;
        Some((entry.state, entry.reason.clone()))
    }

    /// Waits until a version is in the given state.
    pub(crate) async fn wait_for(&self, model: &str, version: u64, state: State) {
        let mut published = self.state.predictor().published();
        let reached = async {
            while self.version_state(model, version).is_none_or(|(present, _)| present != state) {
                published.changed().await.unwrap();
            }
        };
        let patient = tokio::time::timeout(PATIENCE, reached).await;
        patient
            .unwrap_or_else(|_| panic!("{model} {version} never {state:?}: {:?}", self.version_state(model, version)));
    }

    /// Returns the folder of the models that are removed with the server.
    pub(crate) fn models(&self) -> PathBuf {
        self.models.as_ref().expect("models of its own").path().to_owned()
    }

    /// Returns the folder that the server writes to.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.state_dir.path().join("state")
    }

    /// Sends a request through the production HTTP API, without a socket.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.http.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, content_type: &str, body: impl Into<Body>) -> Answer {
        let mut request = Request::post(path);
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn post_json(&self, path: &str, body: &serde_json::Value) -> Answer {
        self.post(path, "application/json", body.to_string()).await
    }

    /// Writes bytes to a fresh connection and reads until the server closes it.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        // The server may refuse and close before everything is written.
        drop(stream.write_all(bytes).await);
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Returns the value of one series, written as in the exposition.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        self.maybe_metric(series).unwrap_or_else(|| panic!("no series {series}"))
    }

    /// Returns the value of one series, if there is such a series.
    pub(crate) fn maybe_metric(&self, series: &str) -> Option<f64> {
        let text = String::from_utf8(self.state.metrics().encode().unwrap()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }

    /// Checks the invariants after any abuse: alive, ready, a known digit is known, nothing is left over.
    pub(crate) async fn assert_unharmed(&self) {
        assert_eq!(self.get("/livez").await.status, 200);
        assert_eq!(self.get("/readyz").await.status, 200);
        let seven = self.post("/predict", "image/png", crate::fixtures::png_of_test_image(0)).await;
        assert_eq!(seven.labels(), ["7"]);
        assert_eq!(self.metric("weir_inference_in_flight{model=\"mnist-mlp\",version=\"1\"}"), 0.0);
        assert_eq!(self.metric("weir_queue_depth{model=\"mnist-mlp\",version=\"1\"}"), 0.0);
    }

    /// Asks the server to stop and waits until it has.
    pub(crate) async fn stop(mut self, reason: StopReason) -> Shutdown {
        self.ask_to_stop(reason);
        (&mut self.served).await.unwrap().unwrap()
    }

    /// Asks the server to stop without waiting for it.
    pub(crate) fn ask_to_stop(&mut self, reason: StopReason) {
        if let Some(stop) = self.stop.take() {
            stop.send(reason).unwrap_or_else(|_| panic!("the server ended before it was asked to"));
        }
    }
}

/// Tells whether two answers are alike, with numbers as close as batches of different sizes are.
pub(crate) fn alike(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-4 * a.abs().max(1e-3)
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| alike(a, b)))
        }
        _ => a == b,
    }
}

/// The time after which a test gives up waiting: long, since a busy machine is no failure.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// Waits until a condition holds, however long that takes up to a generous limit.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let patience = std::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(std::time::Instant::now() < patience, "never: {what}");
        tokio::task::yield_now().await;
    }
}
