//! Inputs that are kept: when, for how long, for whom; and the way from them to labels and the next version.

use std::collections::HashMap;
use std::path::Path;

use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use weir::config::{Callers, CaptureMode, ServeOptions};

use crate::cli::{output, text};
use crate::fixtures::{bare_model, half_plus_two, mnist, pixels, png, png_of_test_image};
use crate::monitoring::{Database, databases};
use crate::support::{Answer, TestApp, bundled_models};

fn captures(database: &Database) -> impl FnOnce(&mut ServeOptions) {
    let database = database.url();
    move |options| {
        options.database = database;
        options.capture = Some(CaptureMode::All);
    }
}

async fn erase(app: &TestApp, path: &str) -> Answer {
    app.send(Request::delete(path).body(Body::empty()).unwrap()).await
}

/// Sends a picture; returns the identifier.
async fn ask(app: &TestApp, picture: Vec<u8>) -> String {
    let answer = app.post("/predict", "image/png", picture).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.headers["x-request-id"].to_str().unwrap().to_owned()
}

fn captured(app: &TestApp, outcome: &str) -> f64 {
    app.metric(&format!("weir_captured_inputs_total{{outcome=\"{outcome}\"}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_unless_it_is_switched_on() {
    let app = TestApp::start().await;
    let id = ask(&app, png_of_test_image(0)).await;
    let detail = app.get(&format!("/predictions/{id}/input")).await.assert_problem(404);
    assert!(detail.contains("--capture"), "{detail}");
    let detail = app.get("/models/mnist-mlp/labelling").await.assert_problem(404);
    assert!(detail.contains("--capture"), "{detail}");
    assert_eq!((captured(&app, "kept"), app.metric("weir_captured_inputs")), (0.0, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_comes_back_as_it_came_and_is_erased_with_its_prediction() {
    for database in databases() {
        a_picture_comes_back_as_it_came_and_is_erased_with_its_prediction_on(&database).await;
    }
}

async fn a_picture_comes_back_as_it_came_and_is_erased_with_its_prediction_on(database: &Database) {
    let app = TestApp::with(&bundled_models(), captures(database)).await;
    let (seven, other) = (png_of_test_image(0), png_of_test_image(1));
    let images: Vec<String> = [&seven, &other].map(|picture| STANDARD.encode(picture)).to_vec();
    let both = app.post_json("/predict", &json!({ "images": images })).await.json();
    let both = both["request_id"].as_str().unwrap();
    let alone = ask(&app, seven.clone()).await;
    for (path, picture) in [
        (format!("/predictions/{both}/input?item=1"), &other),
        (format!("/predictions/{both}/input"), &seven),
        (format!("/predictions/{alone}/input?model=mnist-mlp"), &seven),
    ] {
        let answer = app.get(&path).await;
        assert_eq!((answer.status.as_u16(), &answer.body), (200, picture), "{path}");
        assert_eq!(answer.headers["content-type"], "image/png");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    assert!(app.get(&format!("/predictions/{both}/input?item=2")).await.assert_problem(404).contains("item 2"));
    let bytes = (seven.len() + other.len()) as f64;
    assert_eq!((captured(&app, "kept"), app.metric("weir_captured_input_bytes")), (3.0, bytes), "equal ones once");
    let gone = erase(&app, &format!("/predictions/{both}")).await.json();
    assert_eq!((&gone["samples"], &gone["inputs"]), (&json!(2), &json!(2)));
    app.get(&format!("/predictions/{both}/input")).await.assert_problem(410);
    assert_eq!(app.get(&format!("/predictions/{alone}/input")).await.body, seven, "another prediction had it too");
    assert_eq!(erase(&app, &format!("/predictions/{alone}")).await.json()["inputs"], 1);
    assert_eq!((app.metric("weir_captured_inputs"), app.metric("weir_captured_input_bytes")), (0.0, 0.0));
    if database.url().is_none() {
        for file in ["weir.db", "weir.db-wal"] {
            let stored = std::fs::read(app.state_dir().join(file)).unwrap_or_default();
            let has = |needle: &[u8]| stored.windows(needle.len()).any(|window| window == needle);
            assert!(!has(&seven[40..72]) && !has(&other[40..72]), "{file} still holds a picture");
        }
    }
}

/// Of requests whose records are not kept, what was captured is found, labelled and erased by the caller's own identifier.
#[tokio::test(flavor = "multi_thread")]
async fn a_captured_input_of_a_request_that_is_not_kept_is_erased_by_the_callers_identifier() {
    for database in databases() {
        let app = TestApp::with(&bundled_models(), |options| {
            captures(&database)(options);
            options.keep_predictions_share = Some(0.0);
        })
        .await;
        let request = Request::post("/predict").header("content-type", "image/png").header("x-request-id", "order-7");
        let picture = png_of_test_image(0);
        assert_eq!(app.send(request.body(Body::from(picture.clone())).unwrap()).await.status, 200);
        assert_eq!(app.get("/predictions/order-7/input").await.body, picture);
        let label = json!({"request_id": "order-7", "label": 7});
        let taken = app.post_json("/feedback", &label).await;
        assert_eq!(taken.status, 200, "{}", taken.text());
        assert_eq!(erase(&app, "/predictions/order-7").await.json()["inputs"], 1);
        app.get("/predictions/order-7/input").await.assert_problem(410);
        assert_eq!(app.metric("weir_captured_inputs"), 0.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_protocol_that_takes_pictures_leaves_them() {
    let app = TestApp::with(&bundled_models(), captures(&Database::File)).await;
    let picture = png_of_test_image(2);
    let encoded = STANDARD.encode(&picture);
    let tfs = json!({ "instances": [{ "b64": encoded }] }).to_string().into_bytes();
    let form = [
        b"--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\n".as_slice(),
        &picture,
        b"\r\n--x--\r\n",
    ]
    .concat();
    for (path, media, body) in [
        ("/v1/models/mnist-mlp:predict", "application/json", tfs),
        ("/predictions/mnist-mlp", "image/png", picture.clone()),
        ("/predict", "multipart/form-data; boundary=x", form),
    ] {
        let answer = app.post(path, media, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let id = answer.headers["x-request-id"].to_str().unwrap();
        assert_eq!(app.get(&format!("/predictions/{id}/input")).await.body, picture, "{path}");
    }
    let tensors = json!({ "instances": vec![vec![vec![vec![0.0; 28]; 28]; 1]; 2] });
    assert_eq!(app.post_json("/predict", &tensors).await.status, 200);
    assert_eq!(captured(&app, "not_kept"), 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_has_limits() {
    let small = |options: &mut ServeOptions| {
        options.capture = Some(CaptureMode::All);
        options.capture_max_bytes = Some(100);
    };
    let app = TestApp::with(&bundled_models(), small).await;
    let id = ask(&app, png_of_test_image(0)).await;
    app.get(&format!("/predictions/{id}/input")).await.assert_problem(404);
    assert_eq!((captured(&app, "too_large"), captured(&app, "kept")), (1.0, 0.0));

    let few = |options: &mut ServeOptions| {
        options.capture = Some(CaptureMode::All);
        options.keep_inputs_count = Some(4);
    };
    let app = TestApp::with(&bundled_models(), few).await;
    let mut ids = Vec::new();
    for index in 0..8 {
        ids.push(ask(&app, png_of_test_image(index)).await);
        assert_eq!(app.get(&format!("/predictions/{}/input", ids[index])).await.status, 200);
    }
    assert!(app.metric("weir_captured_inputs") <= 4.0);
    app.get(&format!("/predictions/{}/input", ids[0])).await.assert_problem(404);
    assert_eq!(app.get(&format!("/predictions/{}", ids[0])).await.status, 200, "the prediction is still there");

    let others = |options: &mut ServeOptions| {
        options.capture = Some(CaptureMode::All);
        options.capture_models = Some(vec!["other".into()]);
    };
    let app = TestApp::with(&bundled_models(), others).await;
    let id = ask(&app, png_of_test_image(0)).await;
    app.get(&format!("/predictions/{id}/input")).await.assert_problem(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_unsure_answers_are_kept_where_that_is_wanted() {
    let unsure = |options: &mut ServeOptions| {
        options.capture = Some(CaptureMode::Unsure);
        options.capture_rate = Some(0.0);
    };
    let app = TestApp::with(&bundled_models(), unsure).await;
    let sure = ask(&app, png_of_test_image(0)).await;
    // Noise is nothing that the model knows.
    let noise: Vec<u8> = (0..784u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let strange = ask(&app, png(28, 28, &noise)).await;
    app.get(&format!("/predictions/{sure}/input")).await.assert_problem(404);
    assert_eq!(app.get(&format!("/predictions/{strange}/input")).await.status, 200);
    let chosen = app.get("/models/mnist-mlp/labelling").await.json();
    assert_eq!((&chosen["predictions"], &chosen["items"][0]["inclusion"]), (&json!(1), &json!(1.0)));
}

/// Of a request whose record is not kept, one picture of two is captured: its label is taken, that of the other is not
/// without a receipt, and the caller's own identifier erases what is there.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_request_in_part_captured_each_sample_is_told_apart() {
    for database in databases() {
        let app = TestApp::with(&bundled_models(), |options| {
            options.database = database.url();
            options.capture = Some(CaptureMode::Unsure);
            options.capture_rate = Some(0.0);
            options.keep_predictions_share = Some(0.0);
        })
        .await;
        let noise: Vec<u8> = (0..784u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let images = [png_of_test_image(0), png(28, 28, &noise)].map(|picture| STANDARD.encode(picture));
        let request = Request::post("/predict")
            .header("content-type", "application/json")
            .header("x-request-id", "pair-1")
            .header("x-weir-receipt", "1");
        let answer = app.send(request.body(json!({"images": images}).to_string().into()).unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        app.get("/predictions/pair-1/input?item=0").await.assert_problem(404);
        assert_eq!(app.get("/predictions/pair-1/input?item=1").await.status, 200);
        let say = |body: Value| {
            let app = &app;
            async move { app.post_json("/feedback", &body).await }
        };
        let detail = say(json!({"request_id": "pair-1", "item": 0, "label": 7})).await.assert_problem(410);
        assert!(detail.contains("item 0") && detail.contains("receipt"), "{detail}");
        let receipt = answer.headers["x-weir-receipt"].to_str().unwrap();
        let joined = say(json!({"receipt": receipt, "item": 0, "label": 7})).await;
        assert_eq!(joined.json()["state"], "joined", "{}", joined.text());
        let joined = say(json!({"request_id": "pair-1", "item": 1, "label": 1})).await;
        assert_eq!(joined.json()["state"], "joined", "{}", joined.text());
        let detail = say(json!({"receipt": receipt, "item": 2, "label": 1})).await.assert_problem(422);
        assert!(detail.contains("out of range"), "{detail}");
        let erased = erase(&app, "/predictions/pair-1").await.json();
        assert_eq!((&erased["inputs"], &erased["labels"]), (&json!(1), &json!(2)), "{erased}");
        assert_eq!(live(&app).await["samples"], 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_are_for_administrators() {
    let closed = |options: &mut ServeOptions| {
        options.capture = Some(CaptureMode::All);
        options.admin = Some(Callers::Off);
    };
    let app = TestApp::with(&bundled_models(), closed).await;
    let id = ask(&app, png_of_test_image(0)).await;
    for path in [format!("/predictions/{id}/input"), "/models/mnist-mlp/labelling".into()] {
        let detail = app.get(&path).await.assert_problem(403);
        assert!(detail.contains("--admin"), "{detail}");
    }
    assert_eq!(app.get(&format!("/predictions/{id}")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_make_no_sense_are_refused() {
    let app = TestApp::with_temp(bare_model("half", &half_plus_two()), |_| {}).await;
    for (path, status, hint) in [
        ("/predictions/a%20b/input", 422, "identifier"),
        ("/predictions/unseen/input", 404, "unseen"),
        ("/predictions/unseen/input?item=x", 400, "item"),
        ("/models/half/labelling?count=0", 422, "count"),
        ("/models/half/labelling?count=99999", 422, "10000"),
        ("/models/half/labelling?since=yesterday", 422, "RFC 3339"),
        ("/models/half/labelling?sort=up", 400, "sort"),
        ("/models/none/labelling", 404, "none"),
    ] {
        let detail = app.get(path).await.assert_problem(status);
        assert!(detail.contains(hint), "{path}: {detail}");
    }
    for inclusion in [0.0, 1.5, -1.0] {
        let said =
            app.post_json("/feedback", &json!({"request_id": "a", "correct": true, "inclusion": inclusion})).await;
        assert!(said.assert_problem(422).contains("inclusion"));
    }
}

/// Runs the program beside the server.
async fn weir(args: &[&str]) -> std::process::Output {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let run = move || output(&args.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn done(args: &[&str]) -> String {
    let output = weir(args).await;
    assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

const DIGITS: usize = 400;

/// Sends digits; returns the true label by the bytes of the picture, and the share of right answers.
async fn send_digits(app: &TestApp) -> (HashMap<Vec<u8>, String>, f64) {
    let test = &mnist().test;
    let (mut truths, mut right) = (HashMap::new(), 0);
    for index in 0..DIGITS {
        let (picture, label) = (png(28, 28, pixels(test, index)), test.labels()[index].to_string());
        let answer = app.post("/predict", "image/png", picture.clone()).await;
        right += usize::from(answer.labels() == [label.clone()]);
        truths.insert(picture, label);
    }
    (truths, right as f64 / DIGITS as f64)
}

/// Fills the column of labels in, as a person would, but for every seventh row.
fn fill_in(folder: &Path, truths: &HashMap<Vec<u8>, String>) -> usize {
    let table = folder.join("labels.csv");
    let mut reader = csv::Reader::from_path(&table).unwrap();
    let head = reader.headers().unwrap().clone();
    assert_eq!(head.iter().take(3).collect::<Vec<_>>(), ["file", "label", "weir_request_id"]);
    let (mut rows, mut filled) = (Vec::new(), 0);
    for (number, record) in reader.records().enumerate() {
        let mut cells: Vec<String> = record.unwrap().iter().map(str::to_owned).collect();
        let picture = std::fs::read(folder.join(&cells[0])).unwrap();
        if number % 7 != 6 {
            cells[1] = truths[&picture].clone();
            filled += 1;
        }
        rows.push(cells);
    }
    let mut writer = csv::Writer::from_path(&table).unwrap();
    writer.write_record(&head).unwrap();
    rows.iter().for_each(|row| writer.write_record(row).unwrap());
    writer.flush().unwrap();
    filled
}

async fn live(app: &TestApp) -> Value {
    app.get("/models/mnist-mlp/quality").await.json()["versions"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn captured_digits_become_labels_a_true_accuracy_and_the_next_version() {
    for database in databases() {
        captured_digits_become_labels_a_true_accuracy_and_the_next_version_on(&database).await;
    }
}

async fn captured_digits_become_labels_a_true_accuracy_and_the_next_version_on(database: &Database) {
    let app = TestApp::with(&bundled_models(), captures(database)).await;
    let (truths, truth) = send_digits(&app).await;
    let server = format!("http://{}", app.addr);
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("to-label");
    let at = out.to_str().unwrap();
    let said = done(&["feedback", "export", "mnist-mlp", "--count", "80", "--out", at, "--server", &server]).await;
    assert!(said.contains("80 of 400 inputs of mnist-mlp/1 (40 uncertain, 24 unusual, 16 random)"), "{said}");
    let twice = weir(&["feedback", "export", "mnist-mlp", "--out", at, "--server", &server]).await;
    assert_eq!((twice.status.code(), text(&twice.stderr).contains("not empty")), (Some(2), true));
    let filled = fill_in(&out, &truths);
    let table = out.join("labels.csv");
    let import = ["feedback", "import", table.to_str().unwrap(), "--dataset", at, "--server", &server];
    let said = done(&import).await;
    assert!(said.contains(&format!("{filled} joined")) && said.contains("11 inputs have none yet"), "{said}");
    // What is labelled is harder than most; the corrected accuracy is right nevertheless.
    let quality = live(&app).await;
    let (plain, adjusted) = (&quality["accuracy"], &quality["adjusted"]);
    assert_eq!((&plain["judged"], &adjusted["judged"]), (&json!(filled), &json!(filled)));
    let number = |value: &Value| value.as_f64().unwrap();
    assert!(number(&plain["high"]) < truth, "{quality}, of {truth}");
    assert!(number(&adjusted["low"]) <= truth && truth <= number(&adjusted["high"]), "{quality}, of {truth}");
    assert!(number(&adjusted["accuracy"]) > number(&plain["value"]), "{quality}");
    // The same again changes nothing, and all sums are those of the labels.
    assert!(done(&import).await.contains(&format!("{filled} duplicate")));
    assert_eq!(live(&app).await, quality);
    if database.url().is_none() {
        let state = app.state_dir();
        done(&["database", "check", "--state-dir", state.to_str().unwrap()]).await;
    }
    let (models, runs) = (folder.path().join("models"), folder.path().join("runs"));
    let data = out.join("train.csv");
    assert_eq!(std::fs::read_to_string(&data).unwrap().lines().count(), filled + 1);
    let train = [
        "train",
        "dense",
        "--data",
        data.to_str().unwrap(),
        "--epochs",
        "1",
        "--model",
        "next",
        "--models",
        models.to_str().unwrap(),
        "--runs",
        runs.to_str().unwrap(),
    ];
    done(&train).await;
    assert!(models.join("next/1/model.onnx").is_file());
    // Erasing every labelled prediction takes its weight back.
    let mut labelled = csv::Reader::from_path(&table).unwrap();
    for record in labelled.records() {
        assert_eq!(erase(&app, &format!("/predictions/{}", &record.unwrap()[2])).await.status, 200);
    }
    let nothing = live(&app).await;
    assert_eq!((&nothing["samples"], &nothing["adjusted"]), (&json!(0), &Value::Null), "{nothing}");
}

/// What Label Studio exports of tasks that were labelled: every field of its own, and some that say nothing.
fn labelled_in_label_studio(tasks: &Value, truths: &HashMap<Vec<u8>, String>) -> Value {
    let task = |(number, task): (usize, &Value)| {
        let encoded = task["data"]["image"].as_str().unwrap().strip_prefix("data:image/png;base64,").unwrap();
        let label = &truths[&STANDARD.decode(encoded).unwrap()];
        let annotation = json!({
            "id": number, "completed_by": 1, "was_cancelled": number == 3, "ground_truth": number == 4,
            "created_at": "2026-11-28T10:00:00.000000Z", "updated_at": "2026-11-28T10:00:00.000000Z", "lead_time": 1.5,
            "result": [{"id": "x", "from_name": "label", "to_name": "image", "type": "choices", "origin": "manual",
                        "value": {"choices": [label]}}],
        });
        json!({"id": number, "data": task["data"], "annotations": [annotation], "predictions": [], "project": 1})
    };
    tasks.as_array().unwrap().iter().enumerate().map(task).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn label_studio_gets_tasks_and_gives_labels_back() {
    let app = TestApp::with(&bundled_models(), captures(&Database::File)).await;
    let (truths, _) = send_digits(&app).await;
    let server = format!("http://{}", app.addr);
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("to-label");
    let export = ["feedback", "export", "mnist-mlp", "--count", "20", "--format", "label-studio"];
    done(&[&export[..], &["--out", out.to_str().unwrap(), "--server", &server]].concat()).await;
    let tasks: Value = serde_json::from_slice(&std::fs::read(out.join("tasks.json")).unwrap()).unwrap();
    let (first, tasks_count) = (&tasks[0], tasks.as_array().unwrap().len());
    let predicted = &first["predictions"][0];
    assert_eq!((tasks_count, &predicted["model_version"]), (20, &json!("mnist-mlp/1")));
    assert_eq!(predicted["result"][0]["to_name"], "image");
    let interface = std::fs::read_to_string(out.join("interface.xml")).unwrap();
    assert!(interface.contains("<Choice value=\"7\"/>") && interface.contains("<Image name=\"image\""), "{interface}");
    let exported = folder.path().join("project-1.json");
    std::fs::write(&exported, labelled_in_label_studio(&tasks, &truths).to_string()).unwrap();
    let import = ["feedback", "import", exported.to_str().unwrap(), "--dataset", out.to_str().unwrap()];
    let said = done(&[&import[..], &["--server", &server]].concat()).await;
    assert!(said.contains("19 joined") && said.contains("1 inputs have none yet"), "{said}");
    assert!(said.contains("19 labelled inputs in"), "{said}");
    let quality = app.get("/models/mnist-mlp/quality?source=gold").await.json()["versions"][0].clone();
    assert_eq!((&quality["samples"], &quality["adjusted"]["judged"]), (&json!(1), &json!(1)));
    // Pictures by address, for a server of files.
    let linked = folder.path().join("linked");
    let link = ["--link", "/data/local-files/?d=digits/", "--out", linked.to_str().unwrap(), "--server", &server];
    done(&[&export[..], &link].concat()).await;
    let tasks: Value = serde_json::from_slice(&std::fs::read(linked.join("tasks.json")).unwrap()).unwrap();
    let address = tasks[0]["data"]["image"].as_str().unwrap();
    let name = address.strip_prefix("/data/local-files/?d=digits/").unwrap();
    assert!(linked.join(name).is_file(), "{address}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_table_are_kept_as_they_came_and_become_a_table() {
    let folder = TempDir::new().unwrap();
    let (data, models) = (folder.path().join("people.csv"), folder.path().join("models"));
    let mut table = "age,color,label\n".to_owned();
    (0..120).for_each(|n| table.push_str(&format!("{},{},{}\n", n % 60, ["red", "blue"][n % 2], ["no", "yes"][n % 2])));
    std::fs::write(&data, table).unwrap();
    let runs = folder.path().join("runs");
    let args = ["train", "dense", "--data", data.to_str().unwrap(), "--epochs", "1", "--model", "people", "--models"];
    done(&[&args[..], &[models.to_str().unwrap(), "--runs", runs.to_str().unwrap()]].concat()).await;
    let app = TestApp::with(&models, captures(&Database::File)).await;
    let rows = br#" {"instances": [ {"color": "pink", "age": 3.50} , [41, "red"],[7, null] ]}"#;
    let answer = app.post("/models/people/predict", "application/json", rows.to_vec()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = answer.json()["request_id"].as_str().unwrap().to_owned();
    for (item, row) in [r#"{"color": "pink", "age": 3.50}"#, r#"[41, "red"]"#, "[7, null]"].iter().enumerate() {
        let answer = app.get(&format!("/predictions/{id}/input?item={item}")).await;
        assert_eq!(
            (answer.text().as_str(), &answer.headers["content-type"]),
            (*row, &"application/json".parse().unwrap())
        );
    }
    let (server, out) = (format!("http://{}", app.addr), folder.path().join("to-label"));
    done(&["feedback", "export", "people", "--out", out.to_str().unwrap(), "--server", &server]).await;
    let path = out.join("labels.csv");
    let table = std::fs::read_to_string(&path).unwrap();
    assert!(table.contains("41,red,,") || table.contains("red,41,,"), "{table}");
    let labelled = table.replace("41,red,,", "41,red,yes,").replace("red,41,,", "red,41,yes,");
    std::fs::write(&path, labelled).unwrap();
    let import =
        ["feedback", "import", path.to_str().unwrap(), "--dataset", out.to_str().unwrap(), "--server", &server];
    let said = done(&import).await;
    assert!(said.contains("1 joined") && said.contains("2 inputs have none yet"), "{said}");
    let written = std::fs::read_to_string(out.join("train.csv")).unwrap();
    assert!(written == "age,color,label\n41,red,yes\n" || written == "color,age,label\nred,41,yes\n", "{written}");
}
