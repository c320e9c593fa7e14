//! Files that the server keeps for itself are data from outside: what is no plain file there, or damaged, is said and
//! never waited for.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::fixtures::{bare_model, half_plus_two};
use crate::support::TestApp;

/// Puts something that is no plain file in the place of a path.
fn plant(kind: &str, path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    match kind {
        "pipe" => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
        "link" => symlink("/etc/hostname", path).unwrap(),
        "folder" => fs::create_dir(path).unwrap(),
        "socket" => drop(UnixListener::bind(path).unwrap()),
        other => panic!("{other}"),
    }
}

const KINDS: [&str; 4] = ["pipe", "link", "folder", "socket"];

async fn predict(app: &TestApp) -> u16 {
    app.post_json("/models/m/predict", &json!({"instances": [[2.0]]})).await.status.as_u16()
}

#[tokio::test]
async fn what_stands_in_the_place_of_an_aliases_file_or_its_lock_is_refused_and_nobody_waits() {
    for kind in KINDS {
        for file in [".aliases.lock", ".aliases.json.new", "aliases.json"] {
            let models = bare_model("m", &half_plus_two());
            plant(kind, &models.path().join("m").join(file));
            let app = TestApp::with_temp(models, |_| {}).await;
            let promoted = app.post_json("/models/m/promote", &json!({"alias": "stable", "version": 1})).await;
            let (status, text) = (promoted.status.as_u16(), promoted.text());
            // Nobody can know the name under which a file is staged.
            let is_fine = file == ".aliases.json.new";
            assert_eq!(status == 200, is_fine, "{kind} {file}: {text}");
            assert!(status == 200 || status == 409 || status == 500, "{kind} {file}: {status} {text}");
            assert!(!text.contains('/') || !text.contains("tmp"), "{text}");
            assert_eq!(predict(&app).await, 200, "{kind} {file}");
            let read = app.get("/models/m").await;
            assert_eq!(read.status, 200, "{kind} {file}");
        }
    }
    assert!(!fs::read_to_string("/etc/hostname").unwrap_or_default().contains("generation"));
}

#[tokio::test]
async fn a_counter_at_its_end_is_a_conflict_and_the_manager_lives() {
    let models = bare_model("m", &half_plus_two());
    let aliases = json!({"generation": u64::MAX, "aliases": {"stable": {"version": 1, "history": [0, u64::MAX]}}});
    fs::write(models.path().join("m/aliases.json"), aliases.to_string()).unwrap();
    let app = TestApp::with_temp(models, |_| {}).await;
    for _ in 0..2 {
        let promoted = app.post_json("/models/m/promote", &json!({"alias": "other", "version": 1})).await;
        assert!(promoted.assert_problem(409).contains("last generation"), "{}", promoted.text());
        app.refresh().await;
        assert_eq!(predict(&app).await, 200);
    }
    assert_eq!(app.metric("weir_thread_faults_total{thread=\"manager\"}"), 0.0);
}

#[tokio::test]
async fn a_state_folder_full_of_traps_costs_what_is_kept_and_nothing_else() {
    for kind in KINDS {
        let state = TempDir::new().unwrap();
        for file in ["alarms.json", "receipt.key", "weir.db", "audit.jsonl", "weir.lock", "tuning", "checked", "drift"]
        {
            plant(kind, &state.path().join(file));
        }
        let app = TestApp::with_temp(bare_model("m", &half_plus_two()), |options| {
            options.state_dir = Some(state.path().to_owned());
        })
        .await;
        assert_eq!(predict(&app).await, 200, "{kind}");
        let feedback = json!({"request_id": "0195d0a4-0000-7000-8000-000000000000", "label": 1});
        let refused = app.post_json("/feedback", &feedback).await;
        assert_eq!(refused.status, 503, "{kind}: {}", refused.text());
        assert_eq!(app.get("/alarms").await.status, 200, "{kind}");
        assert_eq!(app.get("/readyz").await.status, 200, "{kind}");
    }
    assert!(!Path::new("/etc/hostname-journal").exists());
}
