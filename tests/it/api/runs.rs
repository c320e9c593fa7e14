//! Training runs over HTTP: what is shown, to whom, and what never is.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use tempfile::TempDir;
use weir::app::App;
use weir::config::ServeOptions;
use weir::keys::{Scope, Secret, Table, with_key};
use weir::trainer::RunDir;

use crate::support::{Answer, TestApp, bundled_models};

const ARGUMENTS: &str = "preset = \"mnist-mlp\"\nepochs = 3\nmodel = \"<b>digits</b>\"\n";

fn epoch(number: usize, loss: f64) -> String {
    json!({"epoch": number, "loss": loss, "accuracy": 0.5, "validation": {"samples": 9, "loss": loss / 2.0, "accuracy": 0.75},
        "learning_rate": 0.01, "images_per_second": 1000.0, "duration_seconds": 0.5})
    .to_string()
        + "\n"
}

fn made(root: &Path, preset: &str, files: &[(&str, &str)]) -> RunDir {
    let run = RunDir::create(root, preset, None).unwrap();
    files.iter().for_each(|(name, text)| run.write(name, text).unwrap());
    run
}

async fn showing(folder: &Path) -> TestApp {
    let folder = folder.to_owned();
    TestApp::with(&bundled_models(), |options| options.runs = Some(folder)).await
}

async fn ask(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn without_a_folder_there_are_no_runs_and_that_is_said() {
    let app = TestApp::start().await;
    assert_eq!(app.get("/runs").await.json(), json!({"folder": null, "runs": [], "left_out": 0, "incomplete": false}));
    for path in ["/runs/mnist-mlp/1", "/runs/mnist-mlp/1/report"] {
        let problem = app.get(path).await.assert_problem(404);
        assert!(problem.contains("start it with --runs DIR"), "{problem}");
    }
    let none = showing(Path::new("/nowhere/at/all")).await;
    let nothing = json!({"folder": "/nowhere/at/all", "runs": [], "left_out": 0, "incomplete": false});
    assert_eq!(none.get("/runs").await.json(), nothing);
}

#[tokio::test]
async fn a_run_is_shown_while_it_trains_and_afterwards() {
    let root = TempDir::new().unwrap();
    let app = showing(root.path()).await;
    let run = made(root.path(), "mnist-mlp", &[("args.toml", ARGUMENTS), ("metrics.jsonl", &epoch(1, 0.5))]);
    let listed = app.get("/runs").await.json();
    let first = &listed["runs"][0];
    assert_eq!(
        (&first["name"], &first["state"], &first["kind"]),
        (&json!("mnist-mlp/1"), &json!("running"), &json!("train"))
    );
    assert_eq!(
        (&first["epochs"], &first["planned_epochs"], &first["has_report"]),
        (&json!(1), &json!(3), &json!(false))
    );
    run.write("metrics.jsonl", &(epoch(1, 0.5) + &epoch(2, 0.25) + "{\"epoch\":3,\"lo")).unwrap();
    let shown = app.get("/runs/mnist-mlp/1").await.json();
    assert_eq!(shown["curves"].as_array().unwrap().len(), 2, "{shown}");
    assert_eq!(shown["curves"][1]["validation_loss"], 0.125);
    assert_eq!(shown["best"], json!({"epoch": 2, "loss": 0.125, "accuracy": 0.75, "validated": true}));
    assert_eq!(shown["settings"]["model"], "<b>digits</b>");
    app.get("/runs/mnist-mlp/1/report").await.assert_problem(404);
    run.write("card.md", "done").unwrap();
    run.write("published.json", "{\"model\":\"digits\",\"version\":7}").unwrap();
    run.write("report.html", "<script>hacked()</script>").unwrap();
    drop(run);
    let first = app.get("/runs").await.json()["runs"][0].clone();
    assert_eq!((&first["state"], &first["published"]), (&json!("finished"), &json!({"model": "digits", "version": 7})));
    let report = app.get("/runs/mnist-mlp/1/report").await;
    assert_eq!((report.status.as_u16(), report.text().as_str()), (200, "<script>hacked()</script>"));
    let header = |name: &str| report.headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert!(
        header("content-security-policy").starts_with("sandbox; default-src 'none';"),
        "{}",
        header("content-security-policy")
    );
    assert_eq!(header("x-content-type-options"), "nosniff");
    // Long curves are packed for those who accept it.
    let long = (1..=200).map(|number| epoch(number, 0.5)).collect::<String>();
    drop(made(root.path(), "mnist-cnn", &[("args.toml", ARGUMENTS), ("metrics.jsonl", &long)]));
    let packed = ask(&app, "/runs/mnist-cnn/1", &[("accept-encoding", "gzip")]).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
}

#[tokio::test]
async fn a_file_is_no_folder_of_runs_at_the_start_or_later() {
    let root = TempDir::new().unwrap();
    let folder = root.path().join("runs");
    drop(made(&folder, "own", &[("args.toml", ARGUMENTS)]));
    let app = showing(&folder).await;
    assert_eq!(app.get("/runs/own/1").await.status, 200);
    fs::rename(&folder, root.path().join("moved")).unwrap();
    assert_eq!(app.get("/runs").await.json()["runs"], json!([]));
    app.get("/runs/own/1").await.assert_problem(404);
    fs::write(&folder, "").unwrap();
    let listed = app.get("/runs").await;
    assert_eq!(listed.status, 200, "{}", listed.text());
    assert!(listed.json()["problem"].as_str().unwrap().contains("cannot be read"), "{}", listed.text());
    for path in ["/runs/own/1", "/runs/own/1/report"] {
        let problem = app.get(path).await.assert_problem(404);
        assert!(problem.contains("cannot be read"), "{problem}");
    }
    let options = ServeOptions {
        models: Some(bundled_models()),
        state_dir: Some(root.path().join("state")),
        runs: Some(folder),
        ..ServeOptions::default()
    };
    let refused = App::new(options.resolve().unwrap()).err().unwrap().to_string();
    assert!(refused.starts_with("setting runs: ") && refused.contains("expected the folder"), "{refused}");
}

#[tokio::test]
async fn nothing_outside_the_folder_is_shown() {
    let (root, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    drop(made(outside.path(), "secret", &[("args.toml", ARGUMENTS), ("report.html", "secret")]));
    drop(made(root.path(), "own", &[("args.toml", ARGUMENTS)]));
    symlink(outside.path().join("secret"), root.path().join("linked")).unwrap();
    symlink(outside.path().join("secret/1"), root.path().join("own/2")).unwrap();
    symlink(outside.path().join("secret/1/report.html"), root.path().join("own/1/report.html")).unwrap();
    let app = showing(root.path()).await;
    let listed = app.get("/runs").await.json();
    assert_eq!(listed["runs"].as_array().unwrap().len(), 1, "{listed}");
    let escaping = "..%2F".repeat(9) + "etc";
    for path in
        ["linked/1", "own/2", "own/1%2F..%2F..%2Flinked", "../x", "own/.", &format!("{escaping}/passwd"), "own/%00"]
    {
        for path in [format!("/runs/{path}"), format!("/runs/{path}/report")] {
            let answer = app.get(&path).await;
            assert!([400, 404].contains(&answer.status.as_u16()), "{path}: {}", answer.text());
            assert!(!answer.text().contains("secret\""), "{path}: {}", answer.text());
        }
    }
    app.get("/runs/own/1/report").await.assert_problem(404);
}

#[tokio::test]
async fn a_list_has_as_many_runs_as_are_asked_for() {
    let root = TempDir::new().unwrap();
    (0..3).for_each(|_| drop(made(root.path(), "a", &[("args.toml", ARGUMENTS)])));
    fs::write(root.path().join("a/3/args.toml"), "\u{0}").unwrap();
    let app = showing(root.path()).await;
    let listed = app.get("/runs?limit=2").await.json();
    assert_eq!((listed["runs"].as_array().unwrap().len(), &listed["left_out"]), (2, &json!(1)));
    assert_eq!(app.get("/runs?limit=500").await.json()["runs"].as_array().unwrap().len(), 3);
    for query in ["limit=0", "limit=501", "limit=x", "depth=1"] {
        app.get(&format!("/runs?{query}")).await.assert_problem(400);
    }
}

#[tokio::test]
async fn only_an_administrator_sees_runs() {
    let root = TempDir::new().unwrap();
    drop(made(root.path(), "a", &[("args.toml", ARGUMENTS), ("report.html", "<p>")]));
    let (reader, admin) = (Secret::new(), Secret::new());
    let mut text = String::new();
    for (name, secret, scope) in [("reader", &reader, Scope::Read), ("admin", &admin, Scope::Admin)] {
        let scopes = &[scope];
        let key = Table {
            name,
            sha256: &secret.sha256,
            scopes,
            models: None,
            expires: None,
            per_second: None,
            burst: None,
            concurrency: None,
        };
        text = with_key(&text, &key).unwrap();
    }
    let file = root.path().join("keys.toml");
    fs::write(&file, text).unwrap();
    let folder = root.path().to_owned();
    let app = TestApp::with(&bundled_models(), |options| {
        options.keys = Some(file);
        options.runs = Some(folder);
    })
    .await;
    for path in ["/runs", "/runs/a/1", "/runs/a/1/report"] {
        app.get(path).await.assert_problem(401);
        let with = async |secret: &Secret| ask(&app, path, &[("x-api-key", &secret.text)]).await;
        with(&reader).await.assert_problem(403);
        assert_eq!(with(&admin).await.status, 200, "{path}");
    }
    let folder = root.path().to_owned();
    let closed = TestApp::with(&bundled_models(), |options| {
        options.runs = Some(folder);
        options.admin = Some(weir::config::Callers::Off);
    })
    .await;
    let problem = closed.get("/runs").await.assert_problem(403);
    assert!(problem.contains("--admin"), "{problem}");
}
