//! Alarms from the condition to the end, and those who listen.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use weir::app::StopReason;
use weir::config::{Callers, ServeOptions};

use crate::fixtures::{mnist, pixels, png, png_of_test_image};
use crate::support::{PATIENCE, TestApp, bundled_models};

/// A client that listens to events on a connection of its own.
struct Ear {
    lines: tokio::io::Lines<BufReader<OwnedReadHalf>>,
    _open: OwnedWriteHalf,
}

/// An event as it came.
#[derive(Debug)]
struct Heard {
    id: String,
    kind: String,
    data: Value,
}

impl Ear {
    async fn open(app: &TestApp, path: &str, headers: &str) -> Self {
        let (read, mut write) = TcpStream::connect(app.addr).await.unwrap().into_split();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        write.write_all(request.as_bytes()).await.unwrap();
        let mut ear = Self { lines: BufReader::new(read).lines(), _open: write };
        assert!(ear.line().await.unwrap().starts_with("HTTP/1.1 200"));
        // From here on nothing is missed.
        while ear.line().await.unwrap() != "retry: 3000" {}
        ear
    }

    async fn line(&mut self) -> Option<String> {
        tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("a line in time").unwrap()
    }

    /// Returns the next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Heard> {
        let (mut id, mut kind) = (String::new(), String::new());
        loop {
            let line = self.line().await?;
            match line.split_once(": ") {
                Some(("id", value)) => value.clone_into(&mut id),
                Some(("event", value)) => value.clone_into(&mut kind),
                Some(("data", value)) => return Some(Heard { id, kind, data: serde_json::from_str(value).unwrap() }),
                _ => {}
            }
        }
    }

    /// Returns the next event that a test waits for.
    async fn find(&mut self, wanted: impl Fn(&Heard) -> bool) -> Heard {
        loop {
            let heard = self.next().await.expect("the stream goes on");
            if wanted(&heard) {
                return heard;
            }
        }
    }
}

fn quick(options: &mut ServeOptions) {
    options.alarm_hold_seconds = Some(0.0);
    options.alarm_min_labels = Some(10);
}

async fn alarms(app: &TestApp, query: &str) -> Vec<Value> {
    let answer = app.get(&format!("/alarms{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["alarms"].as_array().unwrap().clone()
}

/// Asks for digits and says of each whether the answer was right.
async fn label(app: &TestApp, digits: std::ops::Range<usize>, correct: bool) {
    for index in digits {
        let answer = app.post("/predict", "image/png", png(28, 28, pixels(&mnist().test, index))).await;
        let id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
        let told = app.post_json("/feedback", &json!({"request_id": id, "correct": correct})).await;
        assert_eq!(told.status, 200, "{}", told.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_answers_raise_an_alarm_that_is_acknowledged_kept_and_cleared() {
    let state = TempDir::new().unwrap();
    let models = bundled_models();
    let start = || {
        let folder = state.path().join("state");
        TestApp::with(&models, move |options| {
            quick(options);
            options.state_dir = Some(folder);
        })
    };
    let app = start().await;
    assert_eq!(alarms(&app, "").await, Vec::<Value>::new());
    let mut ear = Ear::open(&app, "/events?types=alarm,quality&model=mnist-mlp", "").await;
    label(&app, 0..12, false).await;
    let quality = ear.find(|heard| heard.kind == "quality" && heard.data["samples"] == 12).await;
    assert_eq!((&quality.data["accuracy"], &quality.data["version"]), (&json!(0.0), &json!(1)));
    let raised = ear.find(|heard| heard.kind == "alarm").await;
    assert_eq!((&raised.data["turn"], &raised.data["severity"]), (&json!("raised"), &json!("critical")), "{raised:?}");
    let open = alarms(&app, "?state=raised&kind=accuracy&model=mnist-mlp").await;
    assert_eq!((open.len(), &open[0]["id"], &open[0]["model"]), (1, &raised.data["id"], &json!("mnist-mlp")));
    assert_eq!(app.metric("weir_alarms{kind=\"accuracy\",state=\"raised\"}"), 1.0);

    let path = format!("/alarms/{}/acknowledge", raised.data["id"].as_str().unwrap());
    let known = app.post_json(&path, &json!({"who": " ann ", "why": "the labels are a test"})).await.json();
    assert_eq!((&known["state"], &known["acknowledged"]["who"]), (&json!("acknowledged"), &json!("ann")));
    assert_eq!(ear.find(|heard| heard.kind == "alarm").await.data["turn"], "acknowledged");
    let late = app.post_json("/alarms/nobody/acknowledge", &json!({"who": "bob", "why": "x"})).await;
    late.assert_problem(404);
    let trail = app.get("/audit").await.json();
    let entry = &trail["entries"][1];
    assert_eq!(
        (&entry["action"], &entry["model"], &entry["outcome"]),
        (&json!("acknowledge"), &json!("mnist-mlp"), &json!("done"))
    );
    let said = json!({"id": raised.data["id"], "kind": "accuracy", "who": "ann", "why": "the labels are a test"});
    assert_eq!(entry["alarm"], said);
    assert_eq!(entry["by"], "this process", "who asked, whatever they call themselves");
    let refused = &trail["entries"][0];
    assert_eq!((&refused["alarm"]["who"], refused["outcome"].as_str() == Some("done")), (&json!("bob"), false));
    assert_eq!(app.metric("weir_alarms{kind=\"accuracy\",state=\"acknowledged\"}"), 1.0);
    app.stop(StopReason::Interrupt).await;
    assert!(ear.next().await.is_none(), "the stream ends with the server");

    let app = start().await;
    let kept = alarms(&app, "").await;
    assert_eq!((kept.len(), &kept[0]), (1, &known));
    let mut ear = Ear::open(&app, "/events?types=alarm", "").await;
    // Four hundred right answers: the upper end of the interval is above the lower gate.
    label(&app, 100..500, true).await;
    let cleared = ear.find(|heard| heard.data["turn"] == "cleared").await;
    assert_eq!(cleared.data["id"], known["id"]);
    let recent = alarms(&app, "?state=cleared").await;
    assert_eq!((recent.len(), recent[0]["cleared_at"].is_string()), (1, true));
    let problem = app.post_json(&path, &json!({"who": "ann", "why": "late"})).await.assert_problem(409);
    assert!(problem.contains("cleared"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_told_and_a_listener_resumes_where_it_was() {
    let app = TestApp::with(&bundled_models(), |options| options.admin = Some(Callers::All)).await;
    let mut ear = Ear::open(&app, "/events?types=version", "").await;
    assert_eq!(app.post_json("/models/mnist-mlp/unload", &json!({"version": 1})).await.status, 200);
    let gone = ear.find(|heard| heard.data["state"] == "END").await;
    assert_eq!((gone.kind.as_str(), &gone.data["model"]), ("version", &json!("mnist-mlp")));
    assert_eq!(app.post_json("/models/mnist-mlp/load", &json!({"version": 1})).await.status, 200);
    let back = ear.find(|heard| heard.data["state"] == "AVAILABLE").await;
    drop(ear);
    let mut again = Ear::open(&app, "/events?types=version", &format!("last-event-id: {}\r\n", gone.id)).await;
    assert_eq!(again.find(|heard| heard.data["state"] == "AVAILABLE").await.id, back.id);
    let mut stranger = Ear::open(&app, "/events", "last-event-id: 1-1\r\n").await;
    assert_eq!(stranger.next().await.unwrap().kind, "missed");
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_are_bounded_and_their_places_are_given_back() {
    let app = TestApp::start().await;
    let open = |app: &TestApp| {
        let (state, request) = (app.state.clone(), Request::get("/events").body(Body::empty()).unwrap());
        async move { tower::ServiceExt::oneshot(weir::api::HttpApi::new(state), request).await.unwrap() }
    };
    let mut ears = Vec::new();
    for _ in 0..64 {
        let response = open(&app).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        ears.push(response);
    }
    let refused = app.get("/events").await;
    refused.assert_problem(503);
    assert!(refused.headers.contains_key("retry-after"));
    // Those who listen do not hinder those who ask.
    assert_eq!(app.post("/predict", "image/png", png_of_test_image(0)).await.status, 200);
    ears.pop();
    let mut response = open(&app).await;
    assert!(response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap().starts_with(b"retry"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_s_words_are_refused() {
    let app = TestApp::start().await;
    for path in
        ["/alarms?state=open", "/alarms?x=1", "/alarms?kind=", "/alarms?model=a%20b", "/events?types=x", "/events?y=1"]
    {
        app.get(path).await.assert_problem(400);
    }
    let request = Request::get("/events").header("last-event-id", "\u{e9}").body(Body::empty()).unwrap();
    app.send(request).await.assert_problem(400);
    let known = json!({"who": "ann", "why": "known"});
    for (id, body, status) in [
        ("x", known.clone(), 404),
        ("%2e%2e", known.clone(), 404),
        ("01980000-0000-7000-8000-000000000000", known.clone(), 404),
        ("x", json!({"who": "", "why": "known"}), 422),
        ("x", json!({"who": "ann", "why": " "}), 422),
        ("x", json!({"who": "a".repeat(201), "why": "known"}), 422),
        ("x", json!({"who": "ann"}), 400),
        ("x", json!({"who": 1, "why": "known"}), 400),
        ("x", json!([]), 400),
    ] {
        app.post_json(&format!("/alarms/{id}/acknowledge"), &body).await.assert_problem(status);
    }
    let page = Request::post("/alarms/x/acknowledge").header("origin", "http://evil.example");
    app.send(page.body(Body::from(known.to_string())).unwrap()).await.assert_problem(403);
    let closed = TestApp::with(&bundled_models(), |options| options.admin = Some(Callers::Off)).await;
    closed.post_json("/alarms/x/acknowledge", &known).await.assert_problem(403);
    app.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_outlives_the_silence_that_a_connection_may_keep() {
    let app = TestApp::with(&bundled_models(), |options| options.idle_timeout_seconds = Some(0.4)).await;
    let mut ear = Ear::open(&app, "/events?types=alarm", "").await;
    for _ in 0..6 {
        while ear.line().await.expect("the stream goes on") != ": still here" {}
    }
}
