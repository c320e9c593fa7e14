//! Versions come and go while requests run; and what the admin API makes of them.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tempfile::TempDir;
use weir::app::StopReason;
use weir::config::{Callers, Control};
use weir::serving::State;

use crate::fixtures::{add_bare_model, bare_model, constant, half_plus_two, node, onnx};
use crate::support::{Answer, TestApp, bundled_models, copy_folder};

/// y = x + version: the answer says which graph ran.
fn plus(number: f32) -> Vec<u8> {
    onnx(&[1], vec![node("Add", &["x", "c"], "y")], vec![constant("c", &[], &[number])])
}

/// A repository with versions 1..=count of model `m`, each adding its number.
fn versions(count: u64) -> TempDir {
    let root = TempDir::new().unwrap();
    (1..=count).for_each(|version| add_bare_model(root.path(), "m", version, &plus(version as f32)));
    root
}

fn count(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

impl TestApp {
    async fn admin(&self, action: &str, body: Value) -> Answer {
        self.post_json(&format!("/models/m/{action}"), &body).await
    }

    async fn done(&self, action: &str, body: Value) -> Value {
        let answer = self.admin(action, body).await;
        assert_eq!(answer.status, 200, "{action}: {}", answer.text());
        answer.json()
    }

    /// The version that answers at a path, and what it added.
    async fn answering(&self, path: &str) -> (u64, f64) {
        let answer = self.post_json(path, &json!({"instances": [[0.0]]})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let json = answer.json();
        (json["version"].as_u64().unwrap(), json["predictions"][0]["outputs"]["y"][0].as_f64().unwrap())
    }

    fn states(&self) -> Vec<(u64, State)> {
        let catalog = self.state.predictor().catalog();
        let Some(model) = catalog.models().get(&"m".parse().unwrap()) else { return Vec::new() };
        model.versions.iter().map(|(version, entry)| (version.0, entry.state)).collect()
    }
}

#[tokio::test]
async fn versions_appear_change_and_vanish() {
    let models = versions(1);
    let root = models.path().to_owned();
    let app = TestApp::with_temp(models, |_| {}).await;
    assert_eq!(app.answering("/predict").await, (1, 1.0));
    add_bare_model(&root, "m", 2, &plus(2.0));
    app.refresh().await;
    let (state, reason) = app.version_state("m", 2).unwrap();
    assert_eq!((state, reason.as_deref()), (State::Start, Some("its files are still changing")));
    app.refresh().await;
    assert_eq!(app.answering("/predict").await, (2, 2.0));
    // Changed files are loaded beside what serves, and then take its place.
    add_bare_model(&root, "m", 2, &plus(2.5));
    app.refresh().await;
    assert_eq!(app.answering("/predict").await, (2, 2.0));
    app.refresh().await;
    assert_eq!(app.answering("/predict").await, (2, 2.5));
    assert!(app.metric("weir_inference_requests_total{model=\"m\",outcome=\"success\",version=\"2\"}") >= 3.0);
    // A change that cannot be loaded leaves the earlier one.
    add_bare_model(&root, "m", 2, b"no model");
    app.refresh().await;
    app.refresh().await;
    let (state, reason) = app.version_state("m", 2).unwrap();
    assert_eq!(state, State::Available);
    assert!(reason.unwrap().contains("serve on"));
    assert_eq!(app.answering("/predict").await, (2, 2.5));
    fs::remove_dir_all(root.join("m/2")).unwrap();
    app.refresh().await;
    app.refresh().await;
    assert_eq!(app.states(), [(1, State::Available)]);
    app.post_json("/models/m/versions/2/predict", &json!({"instances": [[0.0]]})).await.assert_problem(404);
    let text = app.get("/metrics").await.text();
    assert!(!text.contains("version=\"2\""), "{text}");
    // A new model beside it, without a restart.
    add_bare_model(&root, "n", 7, &plus(7.0));
    app.refresh().await;
    app.refresh().await;
    assert_eq!(app.answering("/models/n/predict").await, (7, 7.0));
}

#[tokio::test]
async fn bare_files_that_were_changed_well_before_the_look_are_taken_at_once() {
    let models = versions(1);
    let root = models.path().to_owned();
    let app = TestApp::with_temp(models, |_| {}).await;
    let hour = Duration::from_secs(3600);
    let add = |version: u64, changed: SystemTime| {
        add_bare_model(&root, "m", version, &plus(version as f32));
        let file = root.join(format!("m/{version}/model.onnx"));
        fs::File::options().write(true).open(file).unwrap().set_modified(changed).unwrap();
    };
    add(2, SystemTime::now() - hour);
    app.refresh().await;
    assert_eq!(app.answering("/predict").await, (2, 2.0));
    // Young files, or those of a clock that runs ahead, may still be on their way.
    add(3, SystemTime::now());
    add(4, SystemTime::now() + hour);
    app.refresh().await;
    for version in [3, 4] {
        assert_eq!(app.version_state("m", version).unwrap().0, State::Start, "{version}");
    }
    app.refresh().await;
    assert_eq!(app.answering("/predict").await, (4, 4.0));
}

#[tokio::test]
async fn a_repository_that_is_emptied_or_gone_takes_nothing_away() {
    let models = versions(2);
    let root = models.path().to_owned();
    let app = TestApp::with_temp(models, |_| {}).await;
    let aside = TempDir::new().unwrap();
    fs::rename(root.join("m"), aside.path().join("m")).unwrap();
    app.refresh().await;
    assert_eq!(app.answering("/predict").await, (2, 2.0));
    assert_eq!(app.metric("weir_repository_usable"), 0.0);
    fs::remove_dir(&root).unwrap();
    app.refresh().await;
    assert_eq!(app.states(), [(1, State::Available), (2, State::Available)]);
    assert_eq!(app.metric("weir_repository_usable"), 0.0);
    fs::create_dir(&root).unwrap();
    fs::rename(aside.path().join("m"), root.join("m")).unwrap();
    app.refresh().await;
    assert_eq!(app.metric("weir_repository_usable"), 1.0);
    assert_eq!(app.answering("/predict").await, (2, 2.0));
}

#[tokio::test]
async fn the_last_version_of_a_model_stays_when_its_folder_vanishes() {
    let models = versions(1);
    let root = models.path().to_owned();
    add_bare_model(&root, "n", 1, &plus(1.0));
    let app = TestApp::with_temp(models, |_| {}).await;
    fs::remove_dir_all(root.join("m/1")).unwrap();
    app.refresh().await;
    assert_eq!(app.answering("/models/m/predict").await, (1, 1.0));
    assert!(app.version_state("m", 1).unwrap().1.unwrap().contains("gone"));
    // Removing the model as a whole is another matter.
    fs::remove_dir(root.join("m")).unwrap();
    app.refresh().await;
    app.get("/models/m").await.assert_problem(404);
}

#[tokio::test]
async fn a_copy_with_a_manifest_is_loaded_when_it_is_complete() {
    let models = TempDir::new().unwrap();
    let root = models.path().to_owned();
    let source = bundled_models().join("mnist-mlp/1");
    let place = root.join("mnist-mlp/1");
    fs::create_dir_all(&place).unwrap();
    let app = TestApp::with_temp(models, |_| {}).await;
    let state = |app: &TestApp| app.version_state("mnist-mlp", 1).unwrap();
    assert_eq!(state(&app).1.as_deref(), Some("model.onnx is missing"));
    fs::copy(source.join("manifest.json"), place.join("manifest.json")).unwrap();
    let onnx = fs::read(source.join("model.onnx")).unwrap();
    for part in [1, 2, 3] {
        fs::write(place.join("model.onnx"), &onnx[..onnx.len() * part / 4]).unwrap();
        app.refresh().await;
        app.refresh().await;
        let (state, reason) = state(&app);
        assert_eq!(state, State::Start);
        assert!(reason.as_ref().is_some_and(|reason| reason.contains("SHA-256")), "{reason:?}");
    }
    fs::write(place.join("model.onnx"), &onnx).unwrap();
    app.refresh().await;
    app.refresh().await;
    assert!(state(&app).1.unwrap().contains("probe.jsonl: is missing"));
    fs::copy(source.join("probe.jsonl"), place.join("probe.jsonl")).unwrap();
    app.refresh().await;
    app.refresh().await;
    assert_eq!(state(&app).0, State::Available);
    assert!(app.metric("weir_model_loads_total{model=\"mnist-mlp\",outcome=\"incomplete\"}") >= 4.0);
    assert_eq!(app.metric("weir_model_state{model=\"mnist-mlp\",version=\"1\"}"), 30.0);
}

#[tokio::test]
async fn a_model_says_which_versions_it_wants() {
    let models = versions(3);
    let root = models.path().to_owned();
    let settings = root.join("m/model.toml");
    fs::write(&settings, "[versions]\npolicy = \"latest\"\ncount = 2\n").unwrap();
    let app = TestApp::with_temp(models, |options| options.version_policy = Some("latest:1".parse().unwrap())).await;
    assert_eq!(app.states(), [(1, State::End), (2, State::Available), (3, State::Available)]);
    fs::write(&settings, "[versions]\npolicy = \"specific\"\nspecific = [1]\n").unwrap();
    app.refresh().await;
    assert_eq!(app.states(), [(1, State::Available), (2, State::End), (3, State::End)]);
    assert!(app.version_state("m", 2).unwrap().1.unwrap().contains("policy"));
    // What cannot be read changes nothing, and says so.
    fs::write(&settings, "[versions]\npolicy = \"all\"\nspeling = 1\n").unwrap();
    app.refresh().await;
    assert!(app.get("/models/m").await.json()["problem"].as_str().unwrap().contains("line 3"));
    assert_eq!(app.states()[0], (1, State::Available));
    fs::remove_file(&settings).unwrap();
    app.refresh().await;
    assert_eq!(app.states(), [(1, State::End), (2, State::End), (3, State::Available)]);
}

#[tokio::test]
async fn an_alias_moves_back_and_forth_and_keeps_its_version() {
    let models = versions(3);
    let root = models.path().to_owned();
    let app = TestApp::with_temp(models, |_| {}).await;
    assert_eq!(app.answering("/predict").await.0, 3);
    let stable = |version: u64| json!({"alias": "stable", "version": version});
    let answer = app.done("promote", stable(1)).await;
    assert_eq!((&answer["version"], &answer["generation"]), (&json!(1), &json!(1)));
    assert_eq!(app.answering("/predict").await, (1, 1.0));
    assert_eq!(app.answering("/models/m/predict").await, (1, 1.0));
    assert_eq!(app.answering("/models/m/versions/stable/predict").await, (1, 1.0));
    assert_eq!(app.answering("/models/m/versions/3/predict").await, (3, 3.0));
    assert_eq!(app.done("promote", stable(2)).await["previous"], 1);
    assert_eq!(app.done("rollback", json!({"alias": "stable"})).await["version"], 1);
    let detail = app.admin("rollback", json!({"alias": "stable"})).await.assert_problem(409);
    assert!(detail.contains("no earlier version"), "{detail}");
    // Compare and set.
    app.admin("promote", json!({"alias": "stable", "version": 3, "expected": 2})).await.assert_problem(409);
    app.done("promote", json!({"alias": "stable", "version": 3, "expected": 1})).await;
    app.admin("promote", json!({"alias": "stable", "version": 3, "expected": 0})).await.assert_problem(409);
    app.done("promote", json!({"alias": "canary", "version": 2, "expected": 0})).await;
    // What cannot be.
    app.admin("promote", stable(9)).await.assert_problem(404);
    app.admin("rollback", json!({"alias": "nobody"})).await.assert_problem(404);
    app.post_json("/models/nobody/promote", &stable(1)).await.assert_problem(404);
    app.admin("promote", json!({"alias": "12", "version": 1})).await.assert_problem(400);
    app.admin("promote", json!({"alias": "stable", "version": 1, "more": 1})).await.assert_problem(400);
    app.admin("unload", json!({"version": 3})).await.assert_problem(409);
    app.done("unload", json!({"version": 1})).await;
    app.admin("promote", stable(1)).await.assert_problem(409);
    app.post_json("/models/m/versions/nobody/predict", &json!({"instances": [[0.0]]})).await.assert_problem(404);
    // An alias wins over the policy.
    fs::write(root.join("m/model.toml"), "[versions]\npolicy = \"specific\"\nspecific = [1]\n").unwrap();
    app.refresh().await;
    assert_eq!(app.states(), [(1, State::End), (2, State::Available), (3, State::Available)]);
    let shown = app.get("/models/m").await.json();
    assert_eq!(shown["aliases"], json!({"canary": 2, "stable": 3}));
    assert_eq!(shown["default_version"], 3);
}

#[tokio::test]
async fn servers_that_share_a_repository_agree_and_a_damaged_file_changes_nothing() {
    let models = versions(2);
    let root = models.path().to_owned();
    let other = TestApp::with(&root, |_| {}).await;
    let app = TestApp::with_temp(models, |_| {}).await;
    app.done("promote", json!({"alias": "stable", "version": 1})).await;
    // The other server's watch may have told it already.
    other.refresh().await;
    assert_eq!(other.answering("/predict").await.0, 1);
    let stale = json!({"alias": "stable", "version": 2, "expected": 2});
    other.admin("promote", stale).await.assert_problem(409);
    let file = root.join("m/aliases.json");
    let good = fs::read(&file).unwrap();
    for bad in [&good[..good.len() / 2], b"garbage", b""] {
        fs::write(&file, bad).unwrap();
        app.refresh().await;
        assert_eq!(app.answering("/predict").await.0, 1, "the last known alias stands");
        assert!(app.get("/models/m").await.json()["problem"].as_str().unwrap().contains("aliases.json"));
        let detail = app.admin("promote", json!({"alias": "stable", "version": 2})).await.assert_problem(409);
        assert!(detail.contains("cannot be read"), "{detail}");
    }
    fs::write(&file, good).unwrap();
    app.done("promote", json!({"alias": "stable", "version": 2})).await;
    assert_eq!(app.answering("/predict").await.0, 2);
}

#[tokio::test]
async fn control_modes_limit_what_changes() {
    let models = versions(2);
    let root = models.path().to_owned();
    let none = TestApp::with(&root, |options| options.control = Some(Control::None)).await;
    none.admin("load", json!({})).await.assert_problem(409);
    none.admin("unload", json!({})).await.assert_problem(409);
    none.done("promote", json!({"alias": "canary", "version": 1})).await;
    let explicit = TestApp::with(&root, |options| options.control = Some(Control::Explicit)).await;
    assert_eq!(explicit.get("/readyz").await.status, 200, "the admin API must be reachable");
    assert_eq!(explicit.states(), [(1, State::End), (2, State::End)]);
    explicit.post_json("/models/m/predict", &json!({"instances": [[0.0]]})).await.assert_problem(503);
    explicit.done("load", json!({"version": 1})).await;
    assert_eq!(explicit.states(), [(1, State::Available), (2, State::End)]);
    let answer = explicit.done("load", json!({})).await;
    assert_eq!(answer["versions"], json!([1, 2]));
    add_bare_model(&root, "m", 3, &plus(3.0));
    for app in [&none, &explicit] {
        app.refresh().await;
        app.refresh().await;
        assert_eq!(app.states(), [(1, State::Available), (2, State::Available)]);
    }
    explicit.done("load", json!({"version": 3})).await;
    assert_eq!(explicit.answering("/models/m/predict").await, (3, 3.0));
    explicit.post_json("/models/nobody/load", &json!({})).await.assert_problem(404);
    explicit.admin("load", json!({"version": 9})).await.assert_problem(404);
    let named = TestApp::with(&root, |options| {
        options.control = Some(Control::Explicit);
        options.load_model = Some(vec!["m".into()]);
    })
    .await;
    assert_eq!(named.answering("/predict").await.0, 3);
}

#[tokio::test]
async fn a_load_that_cannot_be_is_a_conflict_with_the_reason() {
    let models = versions(1);
    add_bare_model(models.path(), "m", 2, b"no model");
    let app = TestApp::with_temp(models, |_| {}).await;
    let detail = app.admin("load", json!({"version": 2})).await.assert_problem(409);
    assert!(detail.contains("version 2 cannot be loaded"), "{detail}");
    app.done("load", json!({"version": 1})).await;
    app.done("unload", json!({})).await;
    app.done("unload", json!({})).await;
    app.get("/readyz").await.assert_problem(503);
    app.done("load", json!({"version": 1})).await;
    assert_eq!(app.answering("/predict").await, (1, 1.0));
}

#[tokio::test]
async fn what_is_done_leaves_a_trail() {
    let app = TestApp::with_temp(versions(2), |_| {}).await;
    app.done("promote", json!({"alias": "stable", "version": 1})).await;
    app.admin("unload", json!({"version": 1})).await.assert_problem(409);
    let entries = app.get("/audit?limit=10").await.json()["entries"].clone();
    assert_eq!(entries.as_array().unwrap().len(), 2);
    assert_eq!((&entries[0]["action"], &entries[1]["action"]), (&json!("unload"), &json!("promote")));
    assert_eq!((&entries[1]["outcome"], &entries[1]["version"]), (&json!("done"), &json!(1)));
    assert!(entries[0]["outcome"].as_str().unwrap().contains("alias"));
    assert!(!app.state_dir().join("audit.jsonl").exists(), "it is in the store");
    app.get("/audit?limit=0").await.assert_problem(400);
}

#[tokio::test]
async fn the_trail_outlives_the_server_its_files_and_a_store_that_is_away() {
    let (models, state) = (versions(2), tempfile::TempDir::new().unwrap());
    let entry = |number: u64| json!({"time": "2026-01-01T00:00:00Z", "request_id": number.to_string(), "action": "load", "model": "m", "outcome": "done"});
    fs::write(state.path().join("audit.jsonl"), format!("{}\n{}\n", entry(1), entry(2))).unwrap();
    let begin = |database: Option<String>| {
        let (models, state) = (models.path().to_owned(), state.path().to_owned());
        async move {
            TestApp::with(&models, |options| {
                options.state_dir = Some(state);
                options.database = database;
            })
            .await
        }
    };
    let trail = async |app: &TestApp| app.get("/audit?limit=10").await.json()["entries"].as_array().unwrap().clone();
    let app = begin(None).await;
    app.done("promote", json!({"alias": "stable", "version": 1})).await;
    let entries = trail(&app).await;
    assert_eq!(entries.len(), 3, "those of an older server are there: {entries:?}");
    assert_eq!((&entries[0]["action"], &entries[1]), (&json!("promote"), &entry(2)));
    app.stop(StopReason::Interrupt).await;
    // A store that is away: the entry waits in the file.
    let app = begin(Some("postgres://nobody@127.0.0.1:1/none".into())).await;
    app.done("promote", json!({"alias": "stable", "version": 2})).await;
    assert_eq!(fs::read_to_string(state.path().join("audit.jsonl")).unwrap().lines().count(), 1);
    app.stop(StopReason::Interrupt).await;
    let app = begin(None).await;
    let mut entries = trail(&app).await;
    entries.reverse();
    assert_eq!((entries.len(), &entries[3]["version"]), (4, &json!(2)), "{entries:?}");
}

#[tokio::test]
async fn the_admin_api_can_be_switched_off() {
    let app = TestApp::with_temp(versions(1), |options| options.admin = Some(Callers::Off)).await;
    let detail = app.admin("unload", json!({})).await.assert_problem(403);
    assert!(detail.contains("--admin"), "{detail}");
    app.get("/audit").await.assert_problem(403);
    assert_eq!(app.get("/models/m").await.status, 200);
    let app = TestApp::with_temp(versions(1), |_| {}).await;
    let answer = app
        .raw(b"POST /models/m/unload HTTP/1.1\r\nhost: 127.0.0.1\r\norigin: http://evil.example\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let answer = app
        .raw(b"POST /models/m/unload HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Requests run all the time; aliases move, versions load, unload and change. Every request for
/// `stable` is answered, by a version that was available, with that version's own arithmetic.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn swaps_under_load_lose_no_request() {
    let swaps = count("WEIR_TEST_SWAPS", 200);
    let app = Arc::new(TestApp::with_temp(versions(4), |options| options.load_threads = Some(2)).await);
    app.done("promote", json!({"alias": "stable", "version": 1})).await;
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (app, stop, answered) = (app.clone(), stop.clone(), answered.clone());
            tokio::spawn(async move {
                let paths = ["/models/m/predict", "/models/m/versions/stable/predict", "/predict"];
                while !stop.load(Ordering::Relaxed) {
                    let (version, added) = app.answering(paths[client % paths.len()]).await;
                    assert_eq!(version as f64, added, "the version that is named is the one that ran");
                    answered.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut conflicts = 0;
    for _ in 0..swaps {
        let version = random.random_range(1..=4u64);
        let answer = match random.random_range(0..4) {
            0 => app.admin("promote", json!({"alias": "stable", "version": version})).await,
            1 => app.admin("rollback", json!({"alias": "stable"})).await,
            2 => app.admin("load", json!({"version": version})).await,
            _ => app.admin("unload", json!({"version": version})).await,
        };
        assert!([200, 409].contains(&answer.status.as_u16()), "{}", answer.text());
        conflicts += usize::from(answer.status == 409);
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert!(conflicts < swaps, "something was done");
    assert!(answered.load(Ordering::Relaxed) > 0);
    for (version, state) in app.states() {
        assert!([State::Available, State::End].contains(&state), "{version} {state:?}");
    }
}

/// Loads and unloads of one model from many sides: each is done or is a conflict, and at the end the
/// model can be loaded and leaves no copy behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_load_and_unload_one_model() {
    let (sides, each) = (32, count("WEIR_TEST_LOADS", 32));
    let app = Arc::new(TestApp::with_temp(versions(1), |_| {}).await);
    let tasks: Vec<_> = (0..sides)
        .map(|side| {
            let app = app.clone();
            tokio::spawn(async move {
                for round in 0..each {
                    let action = if (side + round) % 2 == 0 { "load" } else { "unload" };
                    let answer = app.admin(action, json!({})).await;
                    assert!([200, 409].contains(&answer.status.as_u16()), "{}", answer.text());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    app.done("load", json!({})).await;
    assert_eq!(app.answering("/predict").await, (1, 1.0));
    app.done("unload", json!({})).await;
    let text = app.get("/metrics").await.text();
    assert!(!text.contains("weir_model_info{model=\"m\""), "{text}");
}

/// The last reference to a version that goes is dropped by the manager, not by a request.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_waits_for_its_requests_and_is_dropped_by_the_manager() {
    let app = Arc::new(TestApp::with_temp(versions(2), |_| {}).await);
    let info = "weir_model_info{model=\"m\",version=\"1\"}";
    let held =
        app.state.predictor().catalog().models()[&"m".parse().unwrap()].versions.values().next().unwrap().clone();
    let unload = tokio::spawn({
        let app = app.clone();
        async move { app.done("unload", json!({"version": 1})).await }
    });
    app.wait_for("m", 1, State::Unloading).await;
    assert_eq!(app.metric(info), 1.0, "its series live as long as it does");
    let weak = Arc::downgrade(held.servable.as_ref().unwrap());
    drop(held);
    unload.await.unwrap();
    assert_eq!(weak.strong_count(), 0, "the manager waited for whoever held it, and dropped it");
    assert_eq!(app.version_state("m", 1).unwrap().0, State::End);
    assert!(!app.get("/metrics").await.text().contains(info));
}

#[tokio::test]
async fn a_bare_third_party_model_needs_no_other_file() {
    let models = bare_model("foo", &half_plus_two());
    let names = |path: &Path| fs::read_dir(path).unwrap().count();
    assert_eq!((names(&models.path().join("foo")), names(&models.path().join("foo/1"))), (1, 1));
    let app = TestApp::with_temp(models, |_| {}).await;
    let answer = app.post_json("/models/foo/predict", &json!({"instances": [[2.0]]})).await;
    assert_eq!(answer.json()["predictions"][0]["outputs"]["y"], json!([3.0]));
}

#[tokio::test]
async fn a_whole_copied_folder_is_served() {
    let models = versions(1);
    let root = models.path().to_owned();
    let app = TestApp::with_temp(models, |_| {}).await;
    copy_folder(&bundled_models().join("mnist-mlp"), &root.join("mnist-mlp"));
    // Its manifest vouches for it: one look is enough.
    app.refresh().await;
    assert_eq!(app.version_state("mnist-mlp", 1).unwrap().0, State::Available);
}
