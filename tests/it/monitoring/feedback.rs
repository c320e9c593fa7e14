//! Labels that clients send, and the figures that follow from them.

use std::collections::BTreeMap;
use std::path::Path;

use axum::body::Body;
use axum::http::Request;
use parquet::basic::Compression;
use serde_json::{Value, json};
use weir::stats::Evaluator;

use crate::fixtures::{bare_model, half_plus_two, mnist, pixels, png};
use crate::monitoring::{Database, databases};
use crate::support::{Answer, TestApp, bundled_models, until};
use crate::trainer::data_parquet::{Cells, write as write_parquet};

async fn post(app: &TestApp, path: &str, media: &str, body: impl Into<Body>) -> Answer {
    app.send(Request::post(path).header("content-type", media).body(body.into()).unwrap()).await
}

async fn say(app: &TestApp, feedback: &Value) -> Answer {
    post(app, "/feedback", "application/json", feedback.to_string()).await
}

async fn quality(app: &TestApp, model: &str, query: &str) -> Value {
    let answer = app.get(&format!("/models/{model}/quality{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// An answered digit: its identifier, its label, and all probabilities.
struct Asked {
    id: String,
    label: usize,
    probabilities: Vec<f32>,
    /// The set of classes of the level 0.9, and whether the answer had better be withheld at a rate of errors of 0.001.
    set: Vec<usize>,
    abstained: bool,
}

async fn ask(app: &TestApp, index: usize) -> Asked {
    let test = &mnist().test;
    let answer =
        post(app, "/predict?top_k=10&set_level=0.9&error_rate=0.001", "image/png", png(28, 28, pixels(test, index)))
            .await;
    assert_eq!(answer.status, 200);
    let mut probabilities = vec![0.0; 10];
    let prediction = &answer.json()["predictions"][0];
    for scored in prediction["top_k"].as_array().unwrap() {
        probabilities[scored["class"].as_u64().unwrap() as usize] = scored["confidence"].as_f64().unwrap() as f32;
    }
    let id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
    let set =
        prediction["set"].as_array().unwrap().iter().map(|class| class.as_str().unwrap().parse().unwrap()).collect();
    let abstained = prediction["abstained"].as_bool().unwrap();
    Asked { id, label: test.labels()[index] as usize, probabilities, set, abstained }
}

/// Figures as a client reads them, whose parser may miss the last digit that was written.
fn as_read(figures: &impl serde::Serialize) -> Value {
    serde_json::from_str(&serde_json::to_string(figures).unwrap()).unwrap()
}

/// A fixed order that looks like none.
fn shuffled<T>(mut things: Vec<T>) -> Vec<T> {
    let mut state = 7u64;
    for last in (1..things.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        things.swap(last, (state >> 33) as usize % (last + 1));
    }
    things
}

/// Returns a share and the ends of its interval, as a client reads them.
fn share(part: usize, whole: usize) -> [Value; 3] {
    let interval = weir::stats::wilson(part as u64, whole as u64);
    [as_read(&(part as f64 / whole as f64)), as_read(&interval.low), as_read(&interval.high)]
}

/// What clients were told of sets and of answers to be withheld is what the live figures are of.
fn assert_promises(live: &Value, asked: &[Asked]) {
    let (sets, abstentions) = (live["sets"].as_array().unwrap(), live["abstentions"].as_array().unwrap());
    let levels: Vec<f64> = sets.iter().map(|set| set["level"].as_f64().unwrap()).collect();
    let rates: Vec<f64> = abstentions.iter().map(|one| one["error_rate"].as_f64().unwrap()).collect();
    assert_eq!((levels, rates), (vec![0.9, 0.95, 0.99], vec![0.001, 0.005, 0.01]));
    let (set, covered) = (&sets[0], asked.iter().filter(|asked| asked.set.contains(&asked.label)).count());
    assert_eq!((&set["answers"], &set["judged"]), (&json!(asked.len()), &json!(asked.len())));
    assert_eq!(set["covered"], json!(covered));
    let mean_size = asked.iter().map(|asked| asked.set.len()).sum::<usize>() as f64 / asked.len() as f64;
    assert_eq!(set["mean_size"], as_read(&mean_size));
    assert_eq!([&set["coverage"], &set["low"], &set["high"]].map(Clone::clone), share(covered, asked.len()));
    let one = &abstentions[0];
    let given: Vec<&Asked> = asked.iter().filter(|asked| !asked.abstained).collect();
    let correct = given.iter().filter(|asked| weir::stats::argmax(&asked.probabilities) == asked.label).count();
    assert_eq!((&one["abstained"], &one["judged"]), (&json!(asked.len() - given.len()), &json!(given.len())));
    assert!(given.len() < asked.len() && one["correct"] == json!(correct), "{one}");
    assert_eq!([&one["accuracy"], &one["low"], &one["high"]].map(Clone::clone), share(correct, given.len()));
}

const CLIENTS: usize = 8;

/// All labels, of which one in twenty comes twice and one in fifty is wrong at first.
fn labels(asked: &[Asked]) -> Vec<Value> {
    let mut labels = Vec::new();
    for (index, Asked { id, label, .. }) in asked.iter().enumerate() {
        let right = json!({"request_id": id, "label": label, "labelled_at": "2026-01-02T00:00:00Z"});
        if index % 20 == 0 {
            labels.push(right.clone());
        }
        if index % 50 == 1 {
            let wrong = (label + 1) % 10;
            labels.push(json!({"request_id": id, "label": wrong.to_string(), "labelled_at": "2026-01-01T00:00:00Z"}));
        }
        labels.push(right);
    }
    shuffled(labels)
}

/// Sends feedback from eight clients at once: one by one, in arrays and in lines, to the servers in turn.
async fn send_all(apps: &[TestApp], pieces: &[Value]) -> BTreeMap<String, u64> {
    let client = |number: usize| {
        let own: Vec<&Value> = pieces.iter().skip(number).step_by(CLIENTS).collect();
        async move {
            let mut counts = BTreeMap::<String, u64>::new();
            for (turn, chunk) in own.chunks(40).enumerate() {
                let app = &apps[(number + turn) % apps.len()];
                let answer = match turn % 3 {
                    0 => {
                        let lines: Vec<String> = chunk.iter().map(ToString::to_string).collect();
                        post(app, "/feedback", "application/x-ndjson", lines.join("\n")).await
                    }
                    1 => say(app, &json!(chunk)).await,
                    _ => {
                        for piece in chunk {
                            let answer = say(app, piece).await;
                            assert_eq!(answer.status, 200, "{}", answer.text());
                            *counts.entry(answer.json()["state"].as_str().unwrap().to_owned()).or_default() += 1;
                        }
                        continue;
                    }
                };
                assert_eq!(answer.status, 200, "{}", answer.text());
                for (state, count) in answer.json().as_object().unwrap() {
                    if let Some(count) = count.as_u64() {
                        *counts.entry(state.clone()).or_default() += count;
                    } else {
                        assert_eq!(count, &json!([]), "no errors");
                    }
                }
            }
            counts
        }
    };
    let mut all = BTreeMap::new();
    for counts in futures_util::future::join_all((0..CLIENTS).map(client)).await {
        counts.into_iter().for_each(|(state, count)| *all.entry(state).or_default() += count);
    }
    all
}

/// The live figures of many labels, sent by many clients in any order, twice, or wrong at first, are those of an
/// evaluation of the same answers to the last digit; taking all back leaves nothing.
async fn live_figures_are_the_offline_figures(database: &Database, servers: usize, digits: usize) {
    let mut apps = Vec::new();
    for _ in 0..servers {
        apps.push(TestApp::with(&bundled_models(), |options| options.database = database.url()).await);
    }
    let mut asked = Vec::new();
    for start in (0..digits).step_by(CLIENTS) {
        let batch = (start..digits.min(start + CLIENTS)).map(|index| ask(&apps[index % servers], index));
        asked.extend(futures_util::future::join_all(batch).await);
    }
    if servers > 1 {
        // The other server's predictions are written by the time of a question to it.
        for app in &apps {
            quality(app, "mnist-mlp", "").await;
        }
    }
    let counts = send_all(&apps, &labels(&asked)).await;
    let (all, twice, corrected) = (digits as u64, digits as u64 / 20, digits as u64 / 50);
    assert_eq!(counts["duplicate"], twice, "{counts:?}");
    assert_eq!(counts["joined"] + counts.get("superseded").unwrap_or(&0), all + corrected, "{counts:?}");
    let mut evaluator = Evaluator::new(10);
    asked.iter().for_each(|asked| evaluator.add(asked.label, &asked.probabilities));
    let offline = evaluator.finish();
    for window in ["", "?window=24h", &format!("?window={digits}"), "?source=user"] {
        let live = quality(&apps[servers - 1], "mnist-mlp", window).await["versions"][0].clone();
        assert_eq!((live["version"].as_u64(), live["samples"].as_u64()), (Some(1), Some(all)), "{window}");
        assert_eq!(live["accuracy"]["value"], as_read(&offline.summary.accuracy));
        assert_eq!(live["loss"]["value"], as_read(&offline.summary.loss));
        assert_eq!(live["confusion"], as_read(&offline.confusion));
        assert_eq!(live["classes"], as_read(&offline.classes));
        let error = &live["accuracy"]["expected_calibration_error"];
        assert_eq!(*error, as_read(&offline.expected_calibration_error));
        assert_promises(&live, &asked);
    }
    let covered = asked.iter().filter(|asked| asked.set.contains(&asked.label)).count() as f64 / digits as f64;
    for app in &apps {
        let series = "weir_model_accuracy{model=\"mnist-mlp\",source=\"feedback\",version=\"1\"}";
        until("the gauge follows", || app.maybe_metric(series) == Some(offline.summary.accuracy)).await;
        let series = series.replace("accuracy", "loss");
        until("that of the loss too", || app.maybe_metric(&series) == Some(offline.summary.loss)).await;
        let series = "weir_conformal_coverage{level=\"0.9\",model=\"mnist-mlp\",version=\"1\"}";
        until("that of the coverage too", || app.maybe_metric(series) == Some(covered)).await;
    }
    let back: Vec<Value> = asked.iter().map(|asked| json!({"request_id": asked.id, "retract": true})).collect();
    assert_eq!(send_all(&apps, &shuffled(back)).await["retracted"], all);
    let live = quality(&apps[0], "mnist-mlp", "").await["versions"][0].clone();
    assert_eq!((live["samples"].as_u64(), &live["accuracy"], &live["loss"]), (Some(0), &Value::Null, &Value::Null));
    if let Some(confusion) = live.get("confusion") {
        panic!("nothing is left: {confusion}");
    }
    let set = &live["sets"][0];
    assert_eq!((&set["answers"], &set["judged"], set.get("coverage")), (&json!(all), &json!(0), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_of_one_server_are_exact() {
    for database in databases() {
        live_figures_are_the_offline_figures(&database, 1, 1000).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_of_two_servers_on_one_database_are_exact() {
    for database in databases().into_iter().filter(|database| database.url().is_some()) {
        live_figures_are_the_offline_figures(&database, 2, 1000).await;
    }
}

/// The same of all test digits.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes two minutes; .ci/run runs it"]
async fn the_figures_of_many_digits_are_exact() {
    for database in databases() {
        let servers = if database.url().is_some() { 2 } else { 1 };
        live_figures_are_the_offline_figures(&database, servers, 10_000).await;
    }
}

/// Of a share of requests the samples are kept and can be labelled; all are counted, and a receipt stands for any.
#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_predictions_is_kept_and_all_are_counted() {
    for database in databases() {
        let app = TestApp::with(&bundled_models(), |options| {
            options.database = database.url();
            options.keep_predictions_share = Some(0.5);
        })
        .await;
        let share = weir::store::KeptShare::new(0.5);
        let (mut kept, mut joined) = (0, 0);
        for index in 0..40 {
            let request = Request::post("/predict").header("content-type", "image/png").header("x-weir-receipt", "1");
            let request = match index % 2 {
                0 => request,
                _ => request.header("x-request-id", format!("order-{index}")),
            };
            let answer = app.send(request.body(png(28, 28, pixels(&mnist().test, index)).into()).unwrap()).await;
            let id = answer.headers["x-request-id"].to_str().unwrap();
            let is_kept = share.keeps(id);
            kept += u32::from(is_kept);
            let said = say(&app, &json!({"request_id": id, "label": mnist().test.labels()[index]})).await;
            match is_kept {
                true => assert_eq!(said.json()["state"], "joined", "{}", said.text()),
                false => {
                    let problem = said.assert_problem(410);
                    assert!(problem.contains("--keep-predictions-share") && problem.contains("receipt"), "{problem}");
                    let receipt = answer.headers["x-weir-receipt"].to_str().unwrap();
                    let said = say(&app, &json!({"receipt": receipt, "label": mnist().test.labels()[index]})).await;
                    assert_eq!(said.json()["state"], "joined", "{}", said.text());
                }
            }
            joined += 1;
        }
        assert!((5..35).contains(&kept), "{kept} of 40");
        let live = quality(&app, "mnist-mlp", "").await["versions"][0].clone();
        assert_eq!((&live["answered"], &live["samples"]), (&json!(40), &json!(joined)));
        assert_eq!(live["sets"][0]["answers"], 40);
        let records = |outcome| app.metric(&format!("weir_prediction_log_records_total{{outcome=\"{outcome}\"}}"));
        assert_eq!((records("written"), records("sampled_out")), (f64::from(kept), 40.0 - f64::from(kept)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_in_which_feedback_fails_says_why() {
    for database in databases() {
        each_way_in_which_feedback_fails_says_why_on(&database).await;
    }
}

async fn each_way_in_which_feedback_fails_says_why_on(database: &Database) {
    let app = TestApp::with(&bundled_models(), |options| options.database = database.url()).await;
    let Asked { id, label, .. } = ask(&app, 0).await;
    let right = json!({"request_id": id, "label": label});
    let first = say(&app, &right).await;
    assert_eq!(first.status, 200);
    let expected = json!({"state": "joined", "model": "mnist-mlp", "version": 1, "predicted": "7", "correct": true});
    assert_eq!(first.json(), expected);
    assert_eq!(say(&app, &right).await.json()["state"], "duplicate");
    let old = "01890000-0000-7000-8000-000000000000";
    for (body, status, hint) in [
        (json!({"request_id": id}), 422, "exactly one of label"),
        (json!({"request_id": id, "label": 1, "correct": true}), 422, "exactly one of label"),
        (json!({"request_id": id, "label": "seven"}), 422, "its labels: 0, 1, 2"),
        (json!({"request_id": id, "label": 10}), 422, "0 to 9"),
        (json!({"request_id": id, "value": 1.5}), 422, "send \"label\""),
        (json!({"request_id": id, "label": 1, "item": 1}), 422, "out of range"),
        (json!({"request_id": id, "label": 1, "model": "other"}), 422, "answered by model \"mnist-mlp\""),
        (json!({"request_id": id, "label": 1, "labelled_at": "yesterday"}), 422, "RFC 3339"),
        (json!({"request_id": "a b", "label": 1}), 422, "no identifier"),
        (json!({"request_id": old, "label": 1}), 410, "no longer kept"),
        (json!({"request_id": "unseen", "retract": true}), 404, "nothing to take back"),
        (json!({"request_id": id, "lable": 1}), 400, "lable"),
    ] {
        let detail = say(&app, &body).await.assert_problem(status);
        assert!(detail.contains(hint), "{body}: {detail}");
    }
    assert_eq!(post(&app, "/feedback", "application/json", "{").await.status, 400);
    for (body, hint) in [
        (format!("{{\"request_id\": \"{id}\", \"label\": 7, \"label\": 3}}"), "duplicate field"),
        (format!("{{\"request_id\": \"{id}\", \"item\": -1, \"label\": 3}}"), "a whole number from 0"),
        ("7".into(), "expected an object with request_id"),
        (String::new(), "expected an object with request_id"),
        ("[{}".into(), ""),
        ("[] 7".into(), "the end"),
    ] {
        let detail = post(&app, "/feedback", "application/json", body.clone()).await.assert_problem(400);
        assert!(detail.contains(hint), "{body}: {detail}");
    }
    let answer = post(&app, "/feedback", "application/json", format!("[[], 7, {right}, {{\"a\": 1}}]")).await.json();
    assert_eq!((&answer["duplicate"], &answer["rejected"]), (&json!(1), &json!(3)), "{answer}");
    assert!(answer["errors"][0]["detail"].as_str().unwrap().contains("expected an object"), "{answer}");
    let many: Vec<Value> = vec![right.clone(); 1001];
    assert_eq!(say(&app, &json!(many)).await.status, 413);
    let lines = format!("{right}\n\nnonsense\n{}\n", json!({"request_id": id, "label": "x"}));
    let answer = post(&app, "/feedback", "application/x-ndjson; charset=utf-8", lines).await.json();
    assert_eq!((&answer["duplicate"], &answer["rejected"]), (&json!(1), &json!(2)));
    assert_eq!((&answer["errors"][0]["line"], &answer["errors"][1]["line"]), (&json!(3), &json!(4)));
    assert_eq!(post(&app, "/feedback", "application/x-ndjson", "nonsense").await.status, 400);
    assert_eq!(app.get("/models/mnist-mlp/quality?window=1w").await.status, 422);
    assert_eq!(app.get("/models/nobody/quality").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_come_before_the_prediction_and_by_identifiers_of_the_callers_own() {
    for database in databases() {
        labels_come_before_the_prediction_and_by_identifiers_of_the_callers_own_on(&database).await;
    }
}

async fn labels_come_before_the_prediction_and_by_identifiers_of_the_callers_own_on(database: &Database) {
    let app =
        TestApp::with_temp(bare_model("half", &half_plus_two()), |options| options.database = database.url()).await;
    let early = json!({"request_id": "order-17", "correct": true});
    let held = say(&app, &early).await;
    assert_eq!((held.status.as_u16(), &held.json()["state"]), (202, &json!("held")));
    let request = |model: &str, id: &str| {
        let body = json!({"instances": [[1.0], [2.0]]}).to_string();
        app.send(
            Request::post(format!("/models/{model}/predict")).header("x-request-id", id).body(body.into()).unwrap(),
        )
    };
    assert_eq!(request("half", "order-17").await.status, 200);
    until("the held label is joined", || app.metric("weir_feedback_held") == 0.0).await;
    let known = say(&app, &json!({"request_id": "order-17", "item": 1, "correct": false})).await;
    assert_eq!(known.json()["state"], "joined", "{}", known.text());
    let live = quality(&app, "half", "").await["versions"][0].clone();
    assert_eq!((&live["accuracy"]["judged"], &live["accuracy"]["correct"]), (&json!(2), &json!(1)));
    assert_eq!((&live["answered"], &live["coverage"]), (&json!(2), &json!(1.0)));
    let detail = say(&app, &json!({"request_id": "order-17", "label": 1})).await.assert_problem(422);
    assert!(detail.contains("send \"correct\""), "{detail}");
    crate::fixtures::add_bare_model(&app.models(), "other", 1, &half_plus_two());
    app.refresh().await;
    app.refresh().await;
    assert_eq!(request("other", "order-17").await.status, 200);
    let detail = say(&app, &json!({"request_id": "order-17", "correct": false})).await.assert_problem(409);
    assert!(detail.contains("\"half\"") && detail.contains("\"other\""), "{detail}");
    let named = say(&app, &json!({"request_id": "order-17", "correct": false, "model": "other"})).await;
    assert_eq!((&named.json()["model"], &named.json()["state"]), (&json!("other"), &json!("joined")));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_protocols_answer_can_be_labelled() {
    for database in databases() {
        every_protocols_answer_can_be_labelled_on(&database).await;
    }
}

async fn every_protocols_answer_can_be_labelled_on(database: &Database) {
    let app = TestApp::with(&bundled_models(), |options| options.database = database.url()).await;
    let rows = json!(vec![vec![vec![vec![0.0; 28]; 28]; 1]; 1]);
    let v2 =
        json!({"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 1, 28, 28], "data": vec![0.0; 784]}]});
    let instances = json!({"instances": rows}).to_string();
    for (path, media, body) in [
        ("/predict", "application/json", instances.clone().into_bytes()),
        ("/v1/models/mnist-mlp:predict", "application/json", instances.into_bytes()),
        ("/v2/models/mnist-mlp/infer", "application/json", v2.to_string().into_bytes()),
        ("/predictions/mnist-mlp", "image/png", png(28, 28, &[0; 784])),
    ] {
        let answer = post(&app, path, media, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let id = answer.headers["x-request-id"].to_str().unwrap();
        let said = say(&app, &json!({"request_id": id, "label": 0})).await;
        assert_eq!((said.status.as_u16(), &said.json()["state"]), (200, &json!("joined")), "{path}: {}", said.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_more_trusted_label_decides() {
    for database in databases() {
        the_more_trusted_label_decides_on(&database).await;
    }
}

async fn the_more_trusted_label_decides_on(database: &Database) {
    let app = TestApp::with(&bundled_models(), |options| options.database = database.url()).await;
    let Asked { id, label, .. } = ask(&app, 0).await;
    let wrong = (label + 1) % 10;
    for (body, state, correct) in [
        (json!({"label": wrong, "annotator": "a"}), "joined", 0),
        (json!({"label": label, "annotator": "b"}), "outvoted", 0),
        (json!({"label": label, "annotator": "c"}), "joined", 1),
        (json!({"label": wrong, "source": "gold"}), "joined", 0),
        (json!({"label": label, "source": "weak"}), "outvoted", 0),
        (json!({"retract": true, "source": "gold"}), "retracted", 1),
    ] {
        let mut body = body;
        body["request_id"] = json!(id);
        assert_eq!(say(&app, &body).await.json()["state"], state, "{body}");
        let live = quality(&app, "mnist-mlp", "").await["versions"][0].clone();
        let figures = &live["accuracy"];
        let ties = state == "outvoted" && body["annotator"] == "b";
        assert_eq!(figures["correct"].as_u64().unwrap_or(0), correct, "{body}: {live}");
        assert_eq!(live["samples"].as_u64(), Some(u64::from(!ties)), "a tie counts for nothing: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_say_who_may_label_and_whether_anything_is_kept() {
    let app = TestApp::with(&bundled_models(), |options| options.feedback = Some(weir::config::Callers::Off)).await;
    let detail = say(&app, &json!({"request_id": "x", "label": 1})).await.assert_problem(403);
    assert!(detail.contains("--feedback"), "{detail}");
    let blind = TestApp::with(&bundled_models(), |options| options.monitoring = Some(false)).await;
    let detail = say(&blind, &json!({"request_id": "x", "label": 1})).await.assert_problem(403);
    assert!(detail.contains("--monitoring"), "{detail}");
    ask(&blind, 0).await;
    assert!(!blind.state_dir().join("weir.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_come_from_files() {
    let app = TestApp::start().await;
    let folder = tempfile::TempDir::new().unwrap();
    let (first, second) = (ask(&app, 0).await, ask(&app, 1).await);
    let csv = folder.path().join("labels.csv");
    std::fs::write(&csv, format!("request_id,label\n{},{}\n{},eleven\n", first.id, first.label, second.id)).unwrap();
    let jsonl = folder.path().join("labels.jsonl");
    let line = json!({"request_id": second.id, "label": second.label});
    std::fs::write(&jsonl, format!("{line}\n\n{line}\n")).unwrap();
    let server = format!("http://{}", app.addr);
    let import = |file: &Path| {
        let args = ["feedback", "import", file.to_str().unwrap(), "--server", &server].map(str::to_owned);
        tokio::task::spawn_blocking(move || crate::cli::output(&args.each_ref().map(String::as_str)))
    };
    let partly = import(&csv).await.unwrap();
    let said = crate::cli::text(&partly.stderr);
    assert_eq!(partly.status.code(), Some(1), "{said}");
    assert!(said.contains("labels.csv:3: ") && said.contains("eleven"), "{said}");
    assert_eq!(crate::cli::text(&partly.stdout), "2 labels: 1 joined, 1 rejected\n");
    let whole = import(&jsonl).await.unwrap();
    assert_eq!(crate::cli::text(&whole.stdout), "2 labels: 1 duplicate, 1 joined\n");
    assert!(whole.status.success());
    let wrong = import(&folder.path().join("labels.txt")).await.unwrap();
    assert_eq!(wrong.status.code(), Some(3));
    labels_come_from_parquet_files(&app, folder.path(), &import).await;
}

/// Columns as other programs write them: whole numbers with a missing one among them as real numbers.
async fn labels_come_from_parquet_files<F>(app: &TestApp, folder: &Path, import: &impl Fn(&Path) -> F)
where
    F: Future<Output = Result<std::process::Output, tokio::task::JoinError>>,
{
    let (asked, other) = (ask(app, 2).await, ask(app, 3).await);
    let path = folder.join("labels.parquet");
    let ids = [asked.id.clone(), asked.id.clone(), other.id.clone()].map(String::into_bytes);
    let columns = [
        Cells::Bytes(ids.to_vec()),
        Cells::Number(vec![asked.label as f64, f64::NAN, 11.0]),
        Cells::Number(vec![f64::NAN, 1.0, f64::NAN]),
        Cells::Bytes(["user", "gold", "user"].map(|source| source.as_bytes().to_vec()).to_vec()),
        Cells::Whole(vec![0, 0, 0]),
        Cells::Whole(vec![1_700_000_000_123_456_789; 3]),
    ];
    let schema = "message labels { required binary request_id (STRING); required double label; required double correct;
                  required binary source; required int64 item; required int64 labelled_at (TIMESTAMP(NANOS,true)); }";
    write_parquet(&path, Compression::SNAPPY, schema, &columns, "{}");
    let taken = import(&path).await.unwrap();
    let said = crate::cli::text(&taken.stderr);
    assert_eq!(taken.status.code(), Some(1), "{said}");
    assert!(said.contains("labels.parquet:3: ") && said.contains("11"), "{said}");
    assert_eq!(crate::cli::text(&taken.stdout), "3 labels: 2 joined, 1 rejected\n");
    std::fs::write(&path, "PAR1 and no more").unwrap();
    let damaged = import(&path).await.unwrap();
    assert!(crate::cli::text(&damaged.stderr).contains("no whole Parquet file"));
    assert_eq!(damaged.status.code(), Some(3));
    let columns = [Cells::Number(vec![1.0]), Cells::Lists(vec![vec![1.0, 2.0]])];
    let schema = "message labels { required double label; required group request_id (LIST) { repeated group list {
                  optional double element; } } }";
    write_parquet(&path, Compression::UNCOMPRESSED, schema, &columns, "{}");
    let said = import(&path).await.unwrap();
    assert!(crate::cli::text(&said.stderr).contains("row 1: request_id has several values"), "{said:?}");
}
