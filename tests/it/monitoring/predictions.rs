//! What is kept about one prediction, and its erasure.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::fixtures::{bare_model, half_plus_two, mnist, pixels, png};
use crate::monitoring::{Database, databases};
use crate::support::{Answer, TestApp, bundled_models};

async fn post(app: &TestApp, path: &str, id: Option<&str>, media: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(path).header("content-type", media);
    let request = id.into_iter().fold(request, |request, id| request.header("x-request-id", id));
    app.send(request.body(body.into()).unwrap()).await
}

async fn erase(app: &TestApp, path: &str) -> Answer {
    app.send(Request::delete(path).body(Body::empty()).unwrap()).await
}

async fn say(app: &TestApp, feedback: &Value) -> Answer {
    post(app, "/feedback", None, "application/json", feedback.to_string()).await
}

async fn live(app: &TestApp, model: &str) -> Value {
    app.get(&format!("/models/{model}/quality")).await.json()["versions"][0].clone()
}

/// Sends one digit; its identifier and label.
async fn ask(app: &TestApp, index: usize) -> (String, u8) {
    let test = &mnist().test;
    let answer = post(app, "/predict", None, "image/png", png(28, 28, pixels(test, index))).await;
    assert_eq!(answer.status, 200);
    (answer.headers["x-request-id"].to_str().unwrap().to_owned(), test.labels()[index] as u8)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prediction_is_shown_and_erased_with_its_figures() {
    for database in databases() {
        a_prediction_is_shown_and_erased_with_its_figures_on(&database).await;
    }
}

async fn a_prediction_is_shown_and_erased_with_its_figures_on(database: &Database) {
    let app = TestApp::with(&bundled_models(), |options| options.database = database.url()).await;
    let ((first, label), (second, other)) = (ask(&app, 0).await, ask(&app, 1).await);
    for (id, label, annotator) in [(&first, label, "planted-one"), (&first, label, "two"), (&second, other, "two")] {
        let said = say(&app, &json!({"request_id": id, "label": label, "annotator": annotator})).await;
        assert_eq!(said.json()["state"], "joined", "{}", said.text());
    }
    let path = format!("/predictions/{first}");
    let shown = app.get(&path).await;
    assert_eq!(shown.status, 200, "{}", shown.text());
    let item = &shown.json()["items"][0];
    assert_eq!((&item["model"], &item["version"], &item["item"]), (&json!("mnist-mlp"), &json!(1), &json!(0)));
    assert_eq!((&item["predicted"], &item["class"]), (&json!(label.to_string()), &json!(label)));
    assert_eq!(item["probabilities"].as_array().unwrap().len(), 10);
    assert_eq!(item["outcome"], json!({"class": label, "correct": true, "source": "user"}));
    let labels = item["labels"].as_array().unwrap();
    assert_eq!((labels.len(), &labels[0]["class"], &labels[1]["counts"]), (2, &json!(label), &json!(true)));
    let before = live(&app, "mnist-mlp").await;
    assert_eq!(before["samples"], 2);
    let gone = erase(&app, &path).await;
    assert_eq!(gone.json(), json!({"requests": 1, "samples": 1, "labels": 2, "inputs": 0}), "{}", gone.text());
    let after = live(&app, "mnist-mlp").await;
    assert_eq!((&after["samples"], &after["loss"]["scored"]), (&json!(1), &json!(1)));
    assert_eq!(after["answered"], 2, "that something was asked is no secret");
    for answer in
        [app.get(&path).await, erase(&app, &path).await, say(&app, &json!({"request_id": first, "label": 1})).await]
    {
        let detail = answer.assert_problem(410);
        assert!(detail.contains("erased"), "{detail}");
    }
    assert_eq!(app.get(&format!("/predictions/{second}")).await.status, 200, "its neighbour is there");
    if database.url().is_none() {
        let id = uuid::Uuid::parse_str(&first).unwrap();
        for file in ["weir.db", "weir.db-wal"] {
            let bytes = std::fs::read(app.state_dir().join(file)).unwrap_or_default();
            let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!has(id.as_bytes()) && !has(first.as_bytes()), "{file} still names it");
        }
    }
    assert_eq!(erase(&app, &format!("/predictions/{second}")).await.status, 200);
    let nothing = live(&app, "mnist-mlp").await;
    assert_eq!((&nothing["samples"], &nothing["accuracy"], &nothing["loss"]), (&json!(0), &Value::Null, &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_protocols_prediction_can_be_erased() {
    for database in databases() {
        every_protocols_prediction_can_be_erased_on(&database).await;
    }
}

async fn every_protocols_prediction_can_be_erased_on(database: &Database) {
    let app = TestApp::with(&bundled_models(), |options| options.database = database.url()).await;
    let tensors = |name: &str| json!({"inputs": [{"name": name, "datatype": "FP32", "shape": [2, 1, 28, 28], "data": vec![0.0; 1568]}]});
    let instances = json!({"instances": vec![vec![vec![vec![0.0; 28]; 28]; 1]; 2]}).to_string();
    for (own, path, media, body) in [
        (None, "/predict", "application/json", instances.clone().into_bytes()),
        (Some("order-1"), "/v1/models/mnist-mlp:predict", "application/json", instances.clone().into_bytes()),
        (None, "/v2/models/mnist-mlp/infer", "application/json", tensors("image").to_string().into_bytes()),
        (Some("order-2"), "/predictions/mnist-mlp", "image/png", png(28, 28, &[0; 784])),
    ] {
        let answer = post(&app, path, own, media, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let id = answer.headers["x-request-id"].to_str().unwrap();
        let shown = app.get(&format!("/predictions/{id}")).await.json();
        let samples = shown["items"].as_array().unwrap().len();
        assert_eq!(samples, if media == "image/png" { 1 } else { 2 }, "{path}: {shown}");
        assert_eq!(say(&app, &json!({"request_id": id, "label": 0})).await.status, 200, "{path}");
        let gone = erase(&app, &format!("/predictions/{id}")).await.json();
        assert_eq!(gone, json!({"requests": 1, "samples": samples, "labels": 1, "inputs": 0}), "{path}");
        assert_eq!(app.get(&format!("/predictions/{id}")).await.status, 410, "{path}");
    }
    assert_eq!(live(&app, "mnist-mlp").await["samples"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identifier_of_the_callers_own_means_the_newest_and_erases_all() {
    for database in databases() {
        an_identifier_of_the_callers_own_means_the_newest_and_erases_all_on(&database).await;
    }
}

async fn an_identifier_of_the_callers_own_means_the_newest_and_erases_all_on(database: &Database) {
    let models = bare_model("half", &half_plus_two());
    crate::fixtures::add_bare_model(models.path(), "other", 1, &half_plus_two());
    let app = TestApp::with_temp(models, |options| options.database = database.url()).await;
    let request = |model: &str| {
        let body = json!({"instances": [[1.0]]}).to_string();
        post(
            &app,
            Box::leak(format!("/models/{model}/predict").into_boxed_str()),
            Some("twice"),
            "application/json",
            body,
        )
    };
    for model in ["half", "half", "other"] {
        assert_eq!(request(model).await.status, 200);
    }
    let detail = app.get("/predictions/twice").await.assert_problem(409);
    assert!(detail.contains("\"half\"") && detail.contains("\"other\""), "{detail}");
    let shown = app.get("/predictions/twice?model=half").await.json();
    assert_eq!((&shown["items"][0]["model"], &shown["items"][0]["labels"]), (&json!("half"), &json!([])));
    let gone = erase(&app, "/predictions/twice?model=half").await.json();
    assert_eq!(gone, json!({"requests": 2, "samples": 2, "labels": 0, "inputs": 0}));
    assert_eq!(app.get("/predictions/twice").await.json()["items"][0]["model"], "other");
    // Labels that wait go as well.
    assert_eq!(say(&app, &json!({"request_id": "never", "correct": true})).await.status, 202);
    let gone = erase(&app, "/predictions/never").await.json();
    assert_eq!(gone, json!({"requests": 0, "samples": 0, "labels": 1, "inputs": 0}));
    assert_eq!(app.metric("weir_feedback_held"), 0.0);
    assert_eq!(erase(&app, "/predictions/twice").await.json()["samples"], 1);
    app.get("/predictions/twice").await.assert_problem(410);
    // The identifier may be used again.
    assert_eq!(request("half").await.status, 200);
    assert_eq!(app.get("/predictions/twice").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_or_not_allowed_is_said() {
    let app = TestApp::with_temp(bare_model("half", &half_plus_two()), |_| {}).await;
    let id = uuid::Uuid::now_v7();
    for (path, status, hint) in [
        ("/predictions/unseen".to_owned(), 404, "unseen"),
        (format!("/predictions/{id}"), 404, "has been seen"),
        ("/predictions/01890000-0000-7000-8000-000000000000".into(), 410, "no longer kept"),
        ("/predictions/a%20b".into(), 422, "identifier"),
        ("/predictions/unseen?model=a%20b".into(), 400, "a b"),
        ("/predictions/unseen?modle=a".into(), 400, "modle"),
    ] {
        for answer in [app.get(&path).await, erase(&app, &path).await] {
            let detail = answer.assert_problem(status);
            assert!(detail.contains(hint), "{path}: {detail}");
        }
    }
    let closed = TestApp::with(&bundled_models(), |options| options.feedback = Some(weir::config::Callers::Off)).await;
    let detail = closed.get("/predictions/unseen").await.assert_problem(403);
    assert!(detail.contains("--feedback"), "{detail}");
    let away = TestApp::with_temp(bare_model("half", &half_plus_two()), |options| {
        options.database = Some("postgres://nobody@127.0.0.1:1/none".into());
    })
    .await;
    away.get("/predictions/unseen").await.assert_problem(503);
    erase(&away, "/predictions/unseen").await.assert_problem(503);
}
