//! The pool's promises: exact limits, order, fairness, batches that mix nothing, threads that come
//! back, answers that are remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use tempfile::TempDir;
use weir::config::ServeOptions;

use crate::fixtures::{add_bare_model, bare_model, half_plus_two, mnist, panics_on_seven, row_sums, slow};
use crate::support::{Answer, TestApp, bundled_models, until};

fn series(family: &str, model: &str) -> String {
    format!("{family}{{model=\"{model}\",version=\"1\"}}")
}

fn through_the_pool(options: &mut ServeOptions) {
    options.inline_below_microseconds = Some(0);
}

async fn one_thread(models: TempDir) -> Arc<TestApp> {
    let change = |options: &mut ServeOptions| {
        through_the_pool(options);
        options.threads = Some(1);
        options.max_batch_size = Some(1);
        options.queue_capacity = Some(4);
    };
    Arc::new(TestApp::with_temp(models, change).await)
}

async fn ask(app: &TestApp, model: &str, priority: u8, value: f32) -> Answer {
    let request = Request::post(format!("/models/{model}/predict"))
        .header("content-type", "application/json")
        .header("x-priority", priority.to_string());
    let instances = if model == "slow" { json!([[[value]]]) } else { json!([[value]]) };
    app.send(request.body(Body::from(json!({"instances": instances}).to_string())).unwrap()).await
}

fn spawn(app: &Arc<TestApp>, model: &'static str, priority: u8) -> tokio::task::JoinHandle<Answer> {
    let app = app.clone();
    tokio::spawn(async move { ask(&app, model, priority, 1.0).await })
}

/// Occupies the only thread.
async fn occupied(app: &Arc<TestApp>) -> tokio::task::JoinHandle<Answer> {
    let first = spawn(app, "slow", 5);
    let (running, waiting) = (series("weir_inference_in_flight", "slow"), series("weir_queue_depth", "slow"));
    until("the first one runs", || app.metric(&running) == 1.0 && app.metric(&waiting) == 0.0).await;
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_overflow_is_refused_and_every_model_has_its_own_queue() {
    let models = bare_model("slow", &slow());
    add_bare_model(models.path(), "other", 1, &half_plus_two());
    let app = one_thread(models).await;
    let first = occupied(&app).await;
    let crowd: Vec<_> = (0..10).map(|_| spawn(&app, "slow", 5)).collect();
    let mut statuses = Vec::new();
    assert_eq!(ask(&app, "other", 5, 1.0).await.status, 200, "a full queue is no other model's business");
    for request in crowd {
        statuses.push(request.await.unwrap().status.as_u16());
    }
    let count = |status: u16| statuses.iter().filter(|&&other| other == status).count();
    assert!(count(503) <= 6 && count(200) >= 4 && count(200) + count(503) == 10, "{statuses:?}");
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(app.metric(&series("weir_queue_depth", "slow")), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn urgent_requests_run_first() {
    let app = one_thread(bare_model("slow", &slow())).await;
    let first = occupied(&app).await;
    let order = Arc::new(AtomicUsize::new(0));
    let mut places = Vec::new();
    for (waiting, priority) in [(1.0, 9), (2.0, 5), (3.0, 1)] {
        let (app, order, request) = (app.clone(), order.clone(), spawn(&app, "slow", priority));
        places.push(tokio::spawn(async move {
            assert_eq!(request.await.unwrap().status, 200);
            order.fetch_add(1, Ordering::SeqCst)
        }));
        until("it waits", || app.metric(&series("weir_queue_depth", "slow")) >= waiting).await;
    }
    first.await.unwrap();
    let [late, normal, urgent] = [places.remove(0), places.remove(0), places.remove(0)];
    assert_eq!([urgent.await.unwrap(), normal.await.unwrap(), late.await.unwrap()], [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flooded_model_does_not_starve_another() {
    let models = bare_model("slow", &slow());
    add_bare_model(models.path(), "other", 1, &half_plus_two());
    let change = |options: &mut ServeOptions| {
        through_the_pool(options);
        options.threads = Some(1);
        options.max_batch_size = Some(1);
        options.request_timeout_seconds = Some(300.0);
    };
    let app = Arc::new(TestApp::with_temp(models, change).await);
    let done = || app.metric("weir_inference_requests_total{model=\"slow\",outcome=\"success\",version=\"1\"}");
    let flood: Vec<_> = (0..40).map(|_| spawn(&app, "slow", 1)).collect();
    until("the flood waits", || app.metric(&series("weir_queue_depth", "slow")) > 30.0).await;
    let before = done();
    assert_eq!(ask(&app, "other", 9, 1.0).await.status, 200);
    assert!(done() - before <= 3.0, "it waited for {} others", done() - before);
    for request in flood {
        assert_eq!(request.await.unwrap().status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_says_about_its_time_and_place_is_obeyed_or_refused() {
    let app = one_thread(bare_model("slow", &slow())).await;
    let first = occupied(&app).await;
    let before = app.metric(&series("weir_inference_batch_size_count", "slow"));
    let request = Request::post("/predict").header("content-type", "application/json").header("x-timeout-ms", "1");
    let answer = app.send(request.body(Body::from(r#"{"instances":[[[1.0]]]}"#)).unwrap()).await;
    let detail = answer.assert_problem(504);
    assert!(detail.contains("within 1 ms"), "{detail}");
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(app.metric(&series("weir_inference_batch_size_count", "slow")), before, "expired work is never run");
    let body = json!({"instances": [[[1.0]]], "timeout_ms": 0});
    app.post_json("/predict", &body).await.assert_problem(400);
    for (header, value) in [("x-priority", "0"), ("x-priority", "10"), ("x-timeout-ms", "soon"), ("x-priority", "-1")] {
        let request = Request::post("/predict").header("content-type", "application/json").header(header, value);
        app.send(request.body(Body::from(r#"{"instances":[[[1.0]]]}"#)).unwrap()).await.assert_problem(400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_caller_gets_its_own_answer_whatever_is_batched() {
    let pixels = |index: usize| crate::fixtures::pixels(&mnist().test, index).to_vec();
    let single = TestApp::start().await;
    let body = |indices: &[usize]| {
        let instances: Vec<_> = indices.iter().map(|&index| pixels(index)).collect();
        json!({"instances": instances, "top_k": 10})
    };
    let mut expected = Vec::new();
    for index in 0..40 {
        expected.push(single.post_json("/predict", &body(&[index])).await.json()["predictions"][0].clone());
    }
    let change = |options: &mut ServeOptions| {
        through_the_pool(options);
        options.max_batch_size = Some(8);
        options.max_queue_delay_microseconds = Some(500);
        options.queue_capacity = Some(1000);
    };
    let app = Arc::new(TestApp::with(&bundled_models(), change).await);
    let count: usize = std::env::var("WEIR_TAGGED").map_or(600, |count| count.parse().unwrap());
    let places = Arc::new(tokio::sync::Semaphore::new(600));
    let requests: Vec<_> = (0..count)
        .map(|tag| {
            let indices: Vec<usize> = (0..1 + tag % 11).map(|offset| (tag * 7 + offset) % 40).collect();
            let (app, places) = (app.clone(), places.clone());
            let body: Vec<Vec<u8>> = indices.iter().map(|&index| pixels(index)).collect();
            tokio::spawn(async move {
                let _place = places.acquire_owned().await.unwrap();
                let body = json!({"instances": body, "top_k": 10});
                (indices, app.post_json("/predict", &body).await.json())
            })
        })
        .collect();
    for request in requests {
        let (indices, answer) = request.await.unwrap();
        let predictions = answer["predictions"].as_array().unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(predictions.len(), indices.len());
        for (prediction, index) in predictions.iter().zip(indices) {
            assert_close(prediction, &expected[index]);
        }
    }
    let runs = app.metric(&series("weir_inference_batch_size_count", "mnist-mlp"));
    let samples = app.metric(&series("weir_inference_batch_size_sum", "mnist-mlp"));
    assert!(samples / runs > 1.5 && samples / runs <= 8.0, "{samples} samples in {runs} runs");
}

fn assert_close(got: &Value, expected: &Value) {
    assert_eq!(got["class"], expected["class"]);
    for (a, b) in got["top_k"].as_array().unwrap().iter().zip(expected["top_k"].as_array().unwrap()) {
        let difference = a["confidence"].as_f64().unwrap() - b["confidence"].as_f64().unwrap();
        assert!(difference.abs() < 1e-5, "{got} {expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_of_different_shapes_never_share_a_run() {
    let change = |options: &mut ServeOptions| {
        through_the_pool(options);
        options.max_queue_delay_microseconds = Some(500);
        options.max_batch_size = Some(16);
        options.queue_capacity = Some(1000);
    };
    let app = Arc::new(TestApp::with_temp(bare_model("m", &row_sums()), change).await);
    let requests: Vec<_> = (0..300usize)
        .map(|tag| {
            let app = app.clone();
            tokio::spawn(async move {
                let length = 1 + tag % 3;
                let answer = app.post_json("/predict", &json!({"instances": [vec![tag; length]]})).await.json();
                assert_eq!(answer["predictions"][0]["outputs"]["y"][0], (tag * length) as f64, "{answer}");
            })
        })
        .collect();
    for request in requests {
        request.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_panics_cost_no_thread_and_no_neighbour() {
    let models = bare_model("fragile", &panics_on_seven());
    add_bare_model(models.path(), "other", 1, &half_plus_two());
    let app = Arc::new(TestApp::with_temp(models, through_the_pool).await);
    let threads = app.metric("weir_compute_threads");
    for _ in 0..50 {
        let requests: Vec<_> = (0..20)
            .map(|_| {
                let app = app.clone();
                tokio::spawn(async move { ask(&app, "fragile", 5, 7.0).await })
            })
            .collect();
        let good = ask(&app, "fragile", 5, 2.0).await;
        assert_eq!(good.json()["predictions"][0]["outputs"]["y"][0], 2.0);
        for request in requests {
            request.await.unwrap().assert_problem(422);
        }
    }
    assert_eq!(app.metric("weir_compute_threads"), threads);
    assert_eq!(ask(&app, "other", 5, 1.0).await.status, 200);
    assert_eq!(app.metric(&series("weir_inference_in_flight", "fragile")), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_run_is_answered_in_time_and_its_thread_replaced() {
    let models = bare_model("slow", &slow());
    // Nothing else lets so many samples be one run at first.
    let settings = "[batching]\nacross_requests = false\nmax_batch_size = 256\n";
    std::fs::write(models.path().join("slow/model.toml"), settings).unwrap();
    add_bare_model(models.path(), "other", 1, &half_plus_two());
    let change = |options: &mut ServeOptions| {
        through_the_pool(options);
        options.threads = Some(1);
        options.hang_seconds = Some(0.05);
        options.request_timeout_seconds = Some(0.2);
    };
    let app = TestApp::with_temp(models, change).await;
    // Seconds of work, which nothing can interrupt.
    let long = json!({"instances": vec![[[1.0]]; 256]});
    app.post_json("/models/slow/predict", &long).await.assert_problem(504);
    // It does not obey the brake.
    until("the run is given up", || app.metric("weir_hung_runs_total") == 1.0).await;
    assert_eq!(app.metric("weir_compute_threads"), 1.0);
    assert_eq!(ask(&app, "other", 5, 1.0).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn known_answers_are_given_without_a_run_and_only_by_their_own_version() {
    let models = bare_model("m", &half_plus_two());
    add_bare_model(models.path(), "m", 2, &row_sums_of_one());
    for inline in [0, 1_000_000] {
        let app = TestApp::with(models.path(), |options| {
            options.inline_below_microseconds = Some(inline);
            options.cache_bytes = Some(1 << 20);
        });
        let app = app.await;
        for _ in 0..3 {
            for (version, expected) in [(1, 3.0), (2, 2.0)] {
                let path = format!("/models/m/versions/{version}/predict");
                let answer = app.post_json(&path, &json!({"instances": [[2.0]]})).await.json();
                assert_eq!(answer["predictions"][0]["outputs"]["y"][0], expected);
            }
        }
        let requests = |outcome| {
            app.metric(&format!("weir_cache_requests_total{{model=\"m\",outcome=\"{outcome}\",version=\"1\"}}"))
        };
        assert_eq!((requests("hit"), requests("miss")), (2.0, 1.0));
        assert!(app.metric(&series("weir_cache_bytes", "m")) > 0.0);
    }
}

/// y = x, in another graph than [`half_plus_two`].
fn row_sums_of_one() -> Vec<u8> {
    crate::fixtures::onnx(&[1], vec![crate::fixtures::node("Identity", &["x"], "y")], vec![])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_measured_is_shown_and_remembered() {
    let state = TempDir::new().unwrap();
    let tuned = |options: &mut ServeOptions| {
        options.tune = Some(true);
        options.state_dir = Some(state.path().into());
    };
    let stage = |version: &Value| version["tuning"]["stage"].as_str().unwrap_or("none").to_owned();
    let app = TestApp::with(&bundled_models(), tuned).await;
    let version = loop {
        let version = app.get("/models/mnist-mlp").await.json()["versions"][0].clone();
        if stage(&version) != "loading" {
            break version;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(stage(&version), "measured");
    let sizes: Vec<_> =
        version["tuning"]["costs"].as_array().unwrap().iter().map(|cost| cost["batch"].clone()).collect();
    assert_eq!(sizes, [1, 2, 4, 8, 16, 32]);
    assert_eq!(version["tuning"]["engine"], "tract");
    assert!(app.metric(&series("weir_model_single_run_seconds", "mnist-mlp")) > 0.0);
    drop(app);
    let again = TestApp::with(&bundled_models(), tuned).await;
    let version = again.get("/models/mnist-mlp").await.json()["versions"][0].clone();
    assert_eq!(stage(&version), "remembered");
    let pinned = TestApp::with(&bundled_models(), |options| options.max_batch_size = Some(3)).await;
    let version = pinned.get("/models/mnist-mlp").await.json()["versions"][0].clone();
    assert_eq!(version["tuning"]["max_batch"], 3);
}
