//! `weir database`, beside a server and without one.

use serde_json::{Value, json};

use crate::cli::{output, text};
use crate::fixtures::{mnist, pixels, png};
use crate::monitoring::{Database, databases};
use crate::support::{TestApp, bundled_models};

async fn run(app: &TestApp, database: &Database, args: &[&str]) -> std::process::Output {
    let folder = app.state_dir();
    let place = match database.url() {
        Some(url) => ["--database".to_owned(), url],
        None => ["--state-dir".to_owned(), folder.display().to_string()],
    };
    let args: Vec<String> =
        ["database".to_owned()].into_iter().chain(args.iter().map(|arg| (*arg).to_owned())).chain(place).collect();
    tokio::task::spawn_blocking(move || output(&args.iter().map(String::as_str).collect::<Vec<_>>())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_checked_and_exported_beside_its_server() {
    for database in databases() {
        a_database_is_checked_and_exported_beside_its_server_on(&database).await;
    }
}

async fn a_database_is_checked_and_exported_beside_its_server_on(database: &Database) {
    let app = TestApp::with(&bundled_models(), |options| options.database = database.url()).await;
    let test = &mnist().test;
    let mut ids = Vec::new();
    for index in 0..5 {
        let answer = app.post("/predict", "image/png", png(28, 28, pixels(test, index))).await;
        let id = answer.json()["request_id"].as_str().unwrap().to_owned();
        let said = app.post_json("/feedback", &json!({"request_id": id, "label": test.labels()[index]})).await;
        assert_eq!(said.json()["state"], "joined");
        ids.push(id);
    }
    assert_eq!(app.post_json("/feedback", &json!({"request_id": "later", "label": 1})).await.status, 202);
    let checked = run(&app, database, &["check", "--json"]).await;
    let found: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert!(checked.status.success(), "{found}");
    for (figure, number) in [("predictions", 5), ("feedback", 5), ("held", 1), ("outcomes", 5), ("versions", 1)] {
        assert_eq!(found[figure], number, "{figure}: {found}");
    }
    let lines = async |part: &str, more: &[&str]| -> Vec<Value> {
        let written = run(&app, database, &[&["export", part], more].concat()).await;
        assert!(written.status.success(), "{}", text(&written.stderr));
        text(&written.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let predictions = lines("predictions", &[]).await;
    let named: Vec<&str> = predictions.iter().map(|line| line["request_id"].as_str().unwrap()).collect();
    assert_eq!(named, ids);
    assert_eq!(
        (&predictions[0]["model"], predictions[0]["probabilities"].as_array().unwrap().len()),
        (&json!("mnist-mlp"), 10)
    );
    let labels = lines("feedback", &[]).await;
    assert_eq!((labels.len(), &labels[5]["state"], &labels[0]["label"]), (6, &json!("held"), &json!(test.labels()[0])));
    assert_eq!(lines("feedback", &["--model", "mnist-mlp"]).await.len(), 5);
    let outcomes = lines("outcomes", &["--model", "mnist-mlp"]).await;
    assert!(outcomes.len() == 5 && outcomes.iter().all(|line| line["loss"].is_number()), "{outcomes:?}");
    assert!(lines("outcomes", &["--model", "other"]).await.is_empty());
    let back = app.post_json("/feedback", &json!({"request_id": ids[0], "retract": true})).await;
    assert_eq!(back.json()["state"], "retracted");
    let labels = lines("feedback", &[]).await;
    let named: Vec<&str> = labels.iter().map(|line| line["request_id"].as_str().unwrap()).collect();
    assert!(labels.len() == 5 && !named.contains(&ids[0].as_str()), "what was taken back is gone: {named:?}");
    if database.url().is_none() {
        let refused = run(&app, database, &["vacuum"]).await;
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
        assert!(text(&refused.stderr).contains("another weir uses"), "{}", text(&refused.stderr));
    }
}

#[test]
fn a_damaged_or_absent_database_is_told_from_a_whole_one() {
    let folder = tempfile::TempDir::new().unwrap();
    let place = folder.path().to_str().unwrap();
    let run = |action: &str| output(&["database", action, "--state-dir", place]);
    let absent = run("check");
    assert_eq!(absent.status.code(), Some(2));
    assert!(text(&absent.stderr).contains("there is no database"), "{}", text(&absent.stderr));
    let file = folder.path().join("weir.db");
    std::fs::write(&file, b"").unwrap();
    let old = run("check");
    assert_eq!(old.status.code(), Some(1));
    assert!(text(&old.stdout).contains("run weir database migrate"), "{}", text(&old.stdout));
    assert!(text(&run("migrate").stdout).starts_with("the tables were made"));
    assert!(text(&run("migrate").stdout).starts_with("nothing to do"));
    let whole = run("check");
    assert!(whole.status.success() && text(&whole.stdout).contains("everything is whole"), "{}", text(&whole.stdout));
    assert!(text(&run("vacuum").stdout).contains("bytes after"));
    std::fs::write(&file, vec![0xAA; 8192]).unwrap();
    let damaged = run("check");
    assert_eq!(damaged.status.code(), Some(1), "{}", text(&damaged.stdout));
    assert!(text(&damaged.stderr).contains("damaged"), "{}", text(&damaged.stderr));
}
