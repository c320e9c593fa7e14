//! The autoencoder that looks at the inputs of another model: what it adds, and what it cannot harm.

use std::collections::BTreeSet;
use std::fs;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use weir::config::{Callers, ServeOptions};
use weir::ids::{ModelName, Version};
use weir::repository::{DriftReference, publish_reference};
use weir::trainer::{Guard, REFERENCE_SEED, Taken, reference_of};

use crate::fixtures::{letters, mnist, pixels, png};
use crate::support::{TestApp, copy_folder, shipped_models, until};

const SIDE: usize = 28;

/// Samples of the reference; the guard takes most of the time to make it.
const SAMPLES: usize = 2000;

/// The reference of a bundled model with the scores of its guard.
fn reference(model: &'static str) -> &'static DriftReference {
    static MLP: OnceLock<DriftReference> = OnceLock::new();
    let make = || {
        let (folder, guarding) = (shipped_models().join(model).join("1"), shipped_models().join("mnist-vae/1"));
        let name: ModelName = "mnist-vae".parse().unwrap();
        let guard = Guard { model: &name, version: Version(1), folder: &guarding };
        reference_of(&folder, mnist(), Taken::Test(Some(SAMPLES)), Some(guard)).unwrap()
    };
    MLP.get_or_init(make)
}

/// A server with a model that names its guard, which serves beside it.
async fn start(model: &'static str, reference: &DriftReference, change: impl FnOnce(&mut ServeOptions)) -> TestApp {
    let models = TempDir::new().unwrap();
    for name in [model, "mnist-vae"] {
        copy_folder(&shipped_models().join(name), &models.path().join(name));
    }
    fs::write(models.path().join(model).join("model.toml"), "default = true\nguard = \"mnist-vae\"\n").unwrap();
    publish_reference(&models.path().join(model).join("1"), reference).unwrap();
    TestApp::with_temp(models, |options| {
        options.drift_learning_windows = Some(0);
        options.guard_samples_per_second = Some(1_000_000);
        options.admin = Some(Callers::All);
        change(options);
    })
    .await
}

/// Test digits that no reference holds.
fn unseen(count: usize) -> Vec<Vec<u8>> {
    let held: BTreeSet<usize> = mnist().test.sample(SAMPLES, REFERENCE_SEED).into_iter().collect();
    let rest = (0..mnist().test.len()).filter(|index| !held.contains(index));
    rest.take(count).map(|index| pixels(&mnist().test, index).to_vec()).collect()
}

/// Returns what the answers say of how unusual their pictures are.
async fn anomalies(app: &TestApp, pictures: &[Vec<u8>]) -> Vec<Value> {
    let mut found = Vec::new();
    for chunk in pictures.chunks(100) {
        let images: Vec<String> =
            chunk.iter().map(|picture| STANDARD.encode(png(SIDE as u32, SIDE as u32, picture))).collect();
        let answer = app.post_json("/predict?anomaly=true", &json!({"images": images})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        found.extend(answer.json()["predictions"].as_array().unwrap().iter().map(|one| one["anomaly"].clone()));
    }
    found
}

/// The share of pairs in which the stranger has the lower value; equal ones count half.
fn told_apart(strangers: &[f64], known: &[f64]) -> f64 {
    let pair = |stranger: f64, known: f64| match stranger.total_cmp(&known) {
        std::cmp::Ordering::Less => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Greater => 0.0,
    };
    let sum: f64 = strangers.iter().map(|one| known.iter().map(|other| pair(*one, *other)).sum::<f64>()).sum();
    sum / (strangers.len() * known.len()) as f64
}

/// Neither the score of the guard nor the energy of the model alone tells letters from digits as well as both together.
#[tokio::test(flavor = "multi_thread")]
async fn letters_are_told_from_digits() {
    let app = start("mnist-mlp", reference("mnist-mlp"), |options| options.request_timeout_seconds = Some(60.0)).await;
    let letters: Vec<Vec<u8>> = letters().into_iter().step_by(3).collect();
    let (letters, digits) = (anomalies(&app, &letters).await, anomalies(&app, &unseen(200)).await);
    let of = |name: &str, sign: f64| {
        let values = |all: &[Value]| all.iter().map(|one| sign * one[name].as_f64().unwrap()).collect::<Vec<f64>>();
        told_apart(&values(&letters), &values(&digits))
    };
    let (both, score, energy) = (of("p_value", 1.0), of("score", -1.0), of("energy", 1.0));
    eprintln!("AUROC {both:.4} together, {score:.4} by the score, {energy:.4} by the energy");
    assert!(both >= 0.95, "{both} of {score} and {energy}");
    assert!(both > score && both > energy, "{both} of {score} and {energy}");
    let usual = digits.iter().filter(|one| one["p_value"].as_f64().unwrap() > 0.01).count();
    assert!(usual >= 190, "unseen digits are usual: {usual} of 200");
}

async fn report(app: &TestApp) -> Value {
    app.get("/models/mnist-mlp/drift").await.json()
}

/// Sends pictures one by one until the guard has scored so many more, and returns the report.
async fn send_until_scored(app: &TestApp, pictures: &[Vec<u8>], wanted: u64) -> Value {
    let scored = |report: &Value| report["guard"]["scored"].as_u64().unwrap();
    let before = scored(&report(app).await);
    let mut pictures = pictures.iter().cycle();
    loop {
        for picture in pictures.by_ref().take(50) {
            assert_eq!(app.post("/predict", "image/png", png(28, 28, picture)).await.status, 200);
        }
        let found = report(app).await;
        if scored(&found) >= before + wanted {
            return found;
        }
    }
}

/// Nobody asks how unusual anything is; a share of what is asked goes to the guard all the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_guard_is_a_stream_that_sees_letters_and_no_change_in_digits() {
    let app = start("mnist-mlp", reference("mnist-mlp"), |_| {}).await;
    let quiet = send_until_scored(&app, &unseen(1000), 300).await;
    let guard = |report: &Value| {
        report["streams"].as_array().unwrap().iter().find(|stream| stream["stream"] == "guard").unwrap().clone()
    };
    assert_eq!((&quiet["guard"]["model"], &quiet["guard"]["version"]), (&json!("mnist-vae"), &json!(1)));
    assert_eq!((&guard(&quiet)["state"], quiet["guard"].get("problem")), (&json!("quiet"), None), "{quiet}");
    assert!(quiet["anomaly_share"].as_f64().unwrap() < 0.05, "{quiet}");
    let changed = send_until_scored(&app, &letters(), 500).await;
    assert!(guard(&changed)["evidence"].as_f64().unwrap() >= 1.0, "{changed}");
    let state = guard(&changed)["state"].as_str().unwrap().to_owned();
    assert!(["warning", "critical"].contains(&state.as_str()), "{changed}");
    assert!(changed["anomaly_share"].as_f64().unwrap() > 0.3, "{changed}");
    assert!(app.metric("weir_drift_state{model=\"mnist-mlp\",stream=\"guard\",version=\"1\"}") >= 2.0);
    assert!(app.metric("weir_inference_requests_total{model=\"mnist-vae\",outcome=\"guard\",version=\"1\"}") >= 1.0);
    let asked = "weir_inference_requests_total{model=\"mnist-vae\",outcome=\"success\",version=\"1\"}";
    assert_eq!(app.metric(asked), 0.0, "no client asked it");
}

/// Asks once, as a caller who wants to know and as one who does not; returns what the answer and the report say.
async fn problem(app: &TestApp) -> [String; 2] {
    let picture = &unseen(1)[0];
    let found = anomalies(app, std::slice::from_ref(picture)).await.remove(0);
    assert!(found["p_value"].is_number() && found.get("score").is_none(), "{found}");
    until("the guard is asked", || app.state.drift().of(&identity(app)).is_ok_and(|report| report.samples > 0)).await;
    loop {
        assert_eq!(app.post("/predict", "image/png", png(28, 28, picture)).await.status, 200);
        let report = report(app).await;
        if let Some(problem) = report["guard"]["problem"].as_str() {
            return [found["guard_problem"].as_str().unwrap().to_owned(), problem.to_owned()];
        }
    }
}

fn identity(app: &TestApp) -> std::sync::Arc<weir::serving::Identity> {
    let target =
        weir::ids::ModelRef { name: Some("mnist-mlp".parse().unwrap()), version: weir::ids::VersionSpec::Latest };
    app.state.predictor().resolve(&target).unwrap().identity.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_a_guard_is_said_and_answers_go_on() {
    let good = reference("mnist-mlp");
    let without = DriftReference { guard: None, ..good.clone() };
    let swapped = {
        let mut reference = good.clone();
        reference.guard.as_mut().unwrap().sha256 = "0".repeat(64);
        reference
    };
    for (reference, hint) in [(&without, "knows no scores"), (&swapped, "other files")] {
        let app = start("mnist-mlp", reference, |_| {}).await;
        let said = problem(&app).await;
        assert!(said.iter().all(|said| said.contains(hint) && said.contains("weir drift --reference")), "{said:?}");
    }
    let app = start("mnist-mlp", good, |_| {}).await;
    assert!(anomalies(&app, &unseen(1)).await[0]["score"].is_number());
    assert_eq!(app.post_json("/models/mnist-vae/unload", &json!({"version": 1})).await.status, 200);
    let said = problem(&app).await;
    assert!(said.iter().all(|said| said.contains("mnist-vae")), "{said:?}");
    assert_eq!(app.post_json("/models/mnist-vae/load", &json!({"version": 1})).await.status, 200);
    assert!(anomalies(&app, &unseen(1)).await[0]["score"].is_number(), "it is asked again");
    send_until_scored(&app, &unseen(1), 1).await;
    assert_eq!(report(&app).await["guard"].get("problem"), None);
    app.assert_unharmed().await;
}

/// A guard that takes something else, or is no autoencoder, is refused where the reference is made.
#[test]
fn a_guard_that_does_not_fit_is_refused() {
    let (models, name) = (shipped_models(), "mnist-cnn".parse().unwrap());
    let guard = Guard { model: &name, version: Version(1), folder: &models.join("mnist-cnn/1") };
    let made = reference_of(&models.join("mnist-mlp/1"), mnist(), Taken::Test(Some(100)), Some(guard));
    let problem = made.unwrap_err().to_string();
    assert!(problem.contains("expected an autoencoder"), "{problem}");
}
