//! A variational autoencoder from data to served answers.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use weir::engine::{EngineKind, Engines, Plan};
use weir::error::{Error, Result};
use weir::ids::Version;
use weir::repository::{GoldenAnswer, GoldenReconstruction, Manifest, Quality, Truth, VersionFiles, sha256_hex};
use weir::serving::State;
use weir::tensor::Tensor;
use weir::trainer::{
    EpochReport, FitSettings, Importance, Optimizer, RunDir, StepReport, TaskOptions, TaskReport, TrainOutcome,
    TrainRequest, Watch, evaluate_autoencoder, preset, train,
};
use weir::transform::{ImageLimits, decode};

use crate::engine::onnxruntime;
use crate::fixtures::{mnist, png, png_of_test_image, small_data};
use crate::support::{Answer, TestApp, bundled_models, copy_folder};

/// Lets a run go on for so many steps.
struct Steps(usize);

impl Watch for Steps {
    fn step(&mut self, _: &StepReport) -> bool {
        self.0 -= 1;
        self.0 > 0
    }

    fn epoch(&mut self, _: &EpochReport) -> Result<()> {
        Ok(())
    }
}

fn request(data: &Path, models: &Path, epochs: usize) -> TrainRequest {
    let preset = preset("mnist-vae").unwrap();
    let optimizer = Optimizer::adam(preset.learning_rate);
    TrainRequest {
        preset,
        data: data.to_owned(),
        validation: 100,
        train_samples: 0,
        task: TaskOptions::default(),
        fit: FitSettings { epochs, batch_size: 50, seed: 3, optimizer, regime: preset.regime },
        models: Some(models.to_owned()),
        tensorboard: true,
    }
}

/// A run on a few images: its outcome and where its version is.
fn trained() -> &'static (TrainOutcome, PathBuf) {
    static TRAINED: OnceLock<(TrainOutcome, PathBuf)> = OnceLock::new();
    TRAINED.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("autoencoder-{}", std::process::id()));
        let data = small_data(1100, 60);
        let run = RunDir::create(&folder.join("runs"), "mnist-vae", None).unwrap();
        let request = request(data.path(), &folder.join("models"), 3);
        let outcome = train(&request, &run, false, &mut |_, _| {}, &mut Steps(usize::MAX)).unwrap();
        let version = outcome.published.clone().unwrap().1;
        (outcome, version)
    })
}

/// A repository with a copy of that version.
fn repository() -> TempDir {
    let root = TempDir::new().unwrap();
    copy_folder(&trained().1, &root.path().join("mnist-vae/1"));
    root
}

async fn served() -> TestApp {
    TestApp::with_temp(repository(), |_| {}).await
}

#[test]
fn a_run_leaves_graphs_figures_and_pictures() {
    let (outcome, folder) = trained();
    let TaskReport::Reconstruction(report) = &outcome.report else { panic!("no autoencoder") };
    let first = report.history[0].validation.unwrap().loss;
    let last = report.history[2].validation.unwrap().loss;
    // 544 nats are what pixels cost of which nothing is known: 784 ln 2.
    assert!(last < first && last < 300.0, "{first} {last}");
    let files = VersionFiles::read(folder, 1 << 30).unwrap();
    let manifest = files.manifest.unwrap();
    let likelihood = manifest.reconstruction().unwrap().test.as_ref().unwrap();
    let parts = likelihood.reconstruction + likelihood.divergence;
    assert!((likelihood.negative_elbo - parts).abs() < 1e-9 && likelihood.samples == 60);
    let estimate = likelihood.importance.unwrap();
    assert_eq!((estimate.draws, estimate.samples), (500, 60));
    assert!(estimate.negative_log_likelihood < likelihood.negative_elbo, "{likelihood:?}");
    assert_eq!(manifest.reconstruction().unwrap().scores.as_ref().unwrap().samples, 100);
    assert_eq!((files.companions.len(), manifest.golden.len(), files.probe.len()), (2, 4, 60));
    assert!(
        matches!(manifest.golden[0].answer, GoldenAnswer::Reconstruction(_)) && files.probe[0].truth == Truth::Unknown
    );
    let parity = manifest.parity.unwrap();
    assert!(parity.samples >= 1500 && parity.max_relative_score_difference.unwrap() <= 1e-4);
    let page = fs::read_to_string(outcome.run.join("report.html")).unwrap();
    assert_eq!(page.matches("data:image/png;base64,").count(), 5);
    let text = fs::read_to_string(outcome.run.join("report.md")).unwrap();
    assert!(text.contains("500 draws, 60 images, dynamic binarisation"), "{text}");
    assert!(fs::read_to_string(folder.join("card.md")).unwrap().contains("nats"));
}

#[test]
fn a_published_version_is_evaluated_to_the_figures_of_its_manifest() {
    let (_, folder) = trained();
    let data = crate::fixtures::head(&mnist().test, 60);
    let importance = Importance { draws: 0, images: 60 };
    let (report, manifest) = evaluate_autoencoder(folder, 1 << 30, (&data, "images".into()), importance).unwrap();
    let told = manifest.reconstruction().unwrap().test.clone().unwrap();
    // A number read from JSON may differ in its last bit.
    assert!((report.evaluation.negative_elbo - told.negative_elbo).abs() < 1e-9);
    assert_eq!((report.evaluation.importance, report.subject.version), (None, Some(Version(1))));
}

#[test]
fn the_same_seed_and_a_run_that_was_stopped_give_the_same_bytes() {
    let (data, folder) = (small_data(400, 40), TempDir::new().unwrap());
    let request = request(data.path(), &folder.path().join("models"), 2);
    let run = || RunDir::create(&folder.path().join("runs"), "mnist-vae", None).unwrap();
    let graphs = |folder: PathBuf| {
        ["model", "encoder", "decoder"].map(|name| fs::read(folder.join(format!("{name}.onnx"))).unwrap())
    };
    let whole = train(&request, &run(), false, &mut |_, _| {}, &mut Steps(usize::MAX)).unwrap();
    let whole = graphs(whole.published.unwrap().1);
    // Six steps an epoch: in the first, and at its end.
    for stop_after in [3, 6] {
        let run = run();
        let stopped = train(&request, &run, false, &mut |_, _| {}, &mut Steps(stop_after));
        assert!(matches!(stopped, Err(Error::Interrupted { .. })), "{stopped:?}");
        let request = TrainRequest::of_run(&run).unwrap();
        let resumed = train(&request, &run, true, &mut |_, _| {}, &mut Steps(usize::MAX)).unwrap();
        assert!(graphs(resumed.published.unwrap().1) == whole, "{stop_after}");
    }
}

#[test]
fn both_engines_agree_on_every_graph() {
    let Some(library) = onnxruntime() else { return };
    let engines = Engines::new(Some(library));
    let VersionFiles { onnx, companions, .. } = VersionFiles::read(trained().1.as_path(), 1 << 30).unwrap();
    let whole = fs::metadata(trained().1.join("model.onnx")).unwrap().len();
    let graphs = companions.into_iter().map(|companion| (companion.name, companion.onnx));
    for (file, onnx) in graphs.chain([("model.onnx".to_owned(), onnx)]) {
        let bytes = fs::metadata(trained().1.join(&file)).unwrap().len();
        assert!(file == "model.onnx" || bytes < whole / 50, "{file} has weights of its own: {bytes} bytes");
        let plans: [Plan; 2] =
            [EngineKind::Tract, EngineKind::OnnxRuntime].map(|kind| engines.load(kind, &onnx).unwrap());
        assert_eq!(plans[0].signature(), plans[1].signature());
        for size in [1, 7, 64] {
            let mut inputs = Vec::new();
            for input in &plans[0].signature().inputs {
                let sample = input.sample_shape().unwrap();
                let count = size * sample.iter().product::<usize>();
                let values: Vec<f32> = match input.name.as_str() {
                    "image" => mnist().test.inputs(0..size).unwrap(),
                    _ => (0..count).map(|i| ((i * 7919) % 1009) as f32 / 250.0 - 2.0).collect(),
                };
                inputs.push(Tensor::new([&[size], sample.as_slice()].concat(), values).unwrap());
            }
            let [ours, theirs] = plans.each_ref().map(|plan| plan.session().unwrap().run(&inputs).unwrap());
            for ((a, b), output) in ours.iter().zip(&theirs).zip(&plans[0].signature().outputs) {
                assert_eq!(a.shape(), b.shape());
                for (a, b) in a.floats().unwrap().iter().zip(b.floats().unwrap()) {
                    // A score is a sum over 784 pixels.
                    assert!((a - b).abs() <= 1e-4 * a.abs().max(1.0), "{file} {} at {size}: {a} {b}", output.name);
                }
            }
        }
    }
}

#[tokio::test]
async fn an_image_gets_a_reconstruction_a_code_and_a_score() {
    let app = served().await;
    let answer = app.post("/models/mnist-vae/predict", "image/png", png_of_test_image(0)).await;
    let prediction = &answer.json()["predictions"][0];
    let again = STANDARD.decode(prediction["reconstruction"].as_str().unwrap()).unwrap();
    assert!(again.starts_with(b"\x89PNG"));
    let latent = prediction["latent"].as_array().unwrap();
    assert_eq!((latent.len(), prediction["inverted"].as_bool()), (40, Some(false)));
    let quantile = prediction["quantile"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&quantile) && prediction["score"].as_f64().unwrap() > 20.0, "{prediction}");

    // Noise is what a digit is least like.
    let noise: Vec<u8> = (0..784u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let odd = app.post("/models/mnist-vae/predict?polarity=light_on_dark", "image/png", png(28, 28, &noise)).await;
    let odd = &odd.json()["predictions"][0];
    assert_eq!(odd["quantile"].as_f64(), Some(1.0), "{odd}");

    // The same image as numbers, alone and with the noise said.
    let pixels: Vec<u8> = mnist().test.image(0).unwrap().into_owned();
    let alone = app.post_json("/models/mnist-vae/predict", &json!({"instances": [pixels]})).await.json();
    assert_eq!(alone["predictions"][0]["score"], prediction["score"]);
    let zero = json!({"inputs": {"image": [pixels], "noise": [vec![0.0; 40]]}});
    let zero = app.post_json("/models/mnist-vae/predict", &zero).await.json();
    assert_eq!(zero["predictions"][0]["latent"], prediction["latent"]);
    let image_only = app.post_json("/models/mnist-vae/predict", &json!({"inputs": {"image": [pixels]}})).await.json();
    assert_eq!(image_only["predictions"][0]["score"], prediction["score"]);
    let noisy = json!({"inputs": {"image": [pixels], "noise": [vec![1.5; 40]]}});
    let noisy = app.post_json("/models/mnist-vae/predict", &noisy).await.json();
    assert_ne!(noisy["predictions"][0]["score"], prediction["score"]);
    let short = json!({"inputs": {"image": [pixels], "noise": [vec![1.5; 39]]}});
    app.post_json("/models/mnist-vae/predict", &short).await.assert_problem(422);
    app.post_json("/models/mnist-vae/predict", &json!({"inputs": {"noise": [vec![0.0; 40]]}}))
        .await
        .assert_problem(422);

    let both = app.get("/v2/models/mnist-vae").await.json();
    assert_eq!(both["inputs"].as_array().unwrap().len(), 2, "an ordinary model of two inputs");
}

fn images(answer: &Answer) -> Vec<String> {
    let images = answer.json()["images"].as_array().cloned().unwrap_or_else(|| panic!("{}", answer.text()));
    images.iter().map(|image| image["image"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn images_are_made_by_seed_or_by_code() {
    let app = served().await;
    let generate = "/models/mnist-vae/generate";
    let four = app.post_json(generate, &json!({"seed": 7, "count": 4})).await;
    let made = images(&four);
    assert_eq!((four.status.as_u16(), made.len()), (200, 4));
    assert_eq!(images(&app.post_json(generate, &json!({"seed": 7, "count": 2})).await), made[..2]);
    assert_ne!(images(&app.post_json(generate, &json!({"seed": 8})).await), made[..1]);
    assert_eq!(images(&app.post(generate, "", "").await), images(&app.post_json(generate, &json!({"seed": 0})).await));
    assert_eq!(made.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);

    // The codes that the answer names make the same images again, whichever way the version is named.
    let codes: Vec<Value> = four.json()["images"].as_array().unwrap().iter().map(|i| i["latent"].clone()).collect();
    let by_code = app.post_json("/models/mnist-vae/versions/1/generate", &json!({"latent": codes})).await;
    assert_eq!(images(&by_code), made);

    let picture = |count: usize| {
        let request = Request::post(generate).header("accept", "image/png");
        app.send(request.body(Body::from(json!({"seed": 7, "count": count}).to_string())).unwrap())
    };
    let one = picture(1).await;
    assert_eq!(
        (one.headers["content-type"].to_str().unwrap(), STANDARD.encode(&one.body)),
        ("image/png", made[0].clone())
    );
    let sheet = decode(&picture(4).await.body, ImageLimits { max_pixels: 10_000 }).unwrap();
    assert_eq!((sheet.width, sheet.height), (62, 62));
    let requests = "weir_inference_requests_total{model=\"mnist-vae/decoder\",outcome=\"success\",version=\"1\"}";
    assert_eq!(app.metric(requests), 8.0);
}

#[tokio::test]
async fn what_cannot_be_made_is_refused_with_a_reason() {
    let models = repository();
    copy_folder(&bundled_models().join("mnist-mlp/1"), &models.path().join("mnist-mlp/1"));
    let app = TestApp::with_temp(models, |options| options.max_samples = Some(8)).await;
    for (model, body, status, reason) in [
        ("mnist-vae", json!({"latent": [vec![0.0; 39]]}), 422, "latent[0] must be a code of 40 numbers, got 39"),
        ("mnist-vae", json!({"latent": []}), 422, "no image"),
        ("mnist-vae", json!({"count": 0}), 422, "no image"),
        ("mnist-vae", json!({"count": 9}), 413, "limit is 8"),
        ("mnist-vae", json!({"latent": [vec![1e39; 40]]}), 422, "finite"),
        ("mnist-vae", json!({"latent": [vec![0.0; 40]], "seed": 1}), 400, "excludes"),
        ("mnist-vae", json!({"seeds": 1}), 400, "unknown field"),
        ("mnist-vae", json!({"timeout_ms": 0}), 400, "at least 1 ms"),
        ("mnist-vae", json!({"priority": 10}), 400, "priority"),
        ("mnist-mlp", json!({}), 422, "makes no images"),
        ("nobody", json!({}), 404, "nobody"),
    ] {
        let problem = app.post_json(&format!("/models/{model}/generate"), &body).await.assert_problem(status);
        assert!(problem.contains(reason), "{body}: {problem}");
    }
    assert_eq!(app.post_json("/models/mnist-vae/generate", &json!({"count": 8})).await.status, 200);
    assert_eq!(app.metric("weir_inference_in_flight{model=\"mnist-vae/decoder\",version=\"1\"}"), 0.0);
}

/// Serves a version after its files were changed; why it does not load.
async fn refusal(change: impl FnOnce(&Path, &mut Manifest)) -> String {
    let models = repository();
    let folder = models.path().join("mnist-vae/1");
    let path = folder.join("manifest.json");
    let mut manifest: Manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&folder, &mut manifest);
    fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    let app = TestApp::with_temp(models, |_| {}).await;
    let (state, reason) = app.version_state("mnist-vae", 1).unwrap();
    assert_ne!(state, State::Available);
    reason.unwrap_or_default()
}

fn recorded(manifest: &mut Manifest, example: usize) -> &mut GoldenReconstruction {
    match &mut manifest.golden[example].answer {
        GoldenAnswer::Reconstruction(recorded) => recorded,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_version_that_is_not_what_it_says_is_not_served() {
    let damaged = refusal(|folder, _| {
        let mut decoder = fs::read(folder.join("decoder.onnx")).unwrap();
        *decoder.last_mut().unwrap() ^= 1;
        fs::write(folder.join("decoder.onnx"), decoder).unwrap();
    });
    let missing = refusal(|folder, _| fs::remove_file(folder.join("decoder.onnx")).unwrap());
    let elsewhere = refusal(|_, manifest| {
        let decoder = manifest.companions.remove("decoder.onnx").unwrap();
        manifest.companions.insert("../decoder.onnx".into(), decoder);
    });
    // A graph that is sound, and another one than the manifest promises.
    let other = refusal(|folder, manifest| {
        let encoder = fs::read(folder.join("encoder.onnx")).unwrap();
        manifest.files.get_mut("decoder.onnx").unwrap().sha256 = sha256_hex(&encoder);
        fs::write(folder.join("decoder.onnx"), encoder).unwrap();
    });
    let score = refusal(|_, manifest| recorded(manifest, 1).score += 2.0);
    let code = refusal(|_, manifest| recorded(manifest, 0).code[3] += 0.1);
    let picture = refusal(|_, manifest| {
        let image = recorded(manifest, 1).image.clone();
        recorded(manifest, 0).image = image;
    });
    let quantiles = refusal(|_, manifest| {
        let Some(Quality::Reconstruction(quality)) = &mut manifest.metrics else { panic!("no autoencoder") };
        quality.scores.as_mut().unwrap().quantiles.reverse();
    });
    for (reason, expected) in [
        (damaged.await, "decoder.onnx: has SHA-256"),
        (missing.await, "decoder.onnx: is missing"),
        (elsewhere.await, "which is no file"),
        (other.await, "is not the manifest's"),
        (score.await, "golden example 1: the score is"),
        (code.await, "golden example 0: the code is"),
        (picture.await, "golden example 0: the reconstruction is another image"),
        (quantiles.await, "no quantiles"),
    ] {
        assert!(reason.contains(expected), "{expected} in {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_reports_a_score_and_no_accuracy() {
    let app = TestApp::with_temp(repository(), |options| options.probe_interval_seconds = Some(3600.0)).await;
    let live = || {
        let catalog = app.state.predictor().catalog();
        let servable = catalog.servables().find(|servable| servable.name.as_str() == "mnist-vae").cloned();
        servable.and_then(|servable| servable.live_quality())
    };
    crate::support::until("the probe set is replayed", || live().is_some()).await;
    let live = live().unwrap();
    assert_eq!((live.samples, live.accuracy), (60, None));
    let loss =
        |source: &str| app.metric(&format!("weir_model_loss{{model=\"mnist-vae\",source=\"{source}\",version=\"1\"}}"));
    // The probe set is the whole of a small test set.
    assert!((loss("probe") - loss("test")).abs() < 1e-3 * loss("test"), "{} {}", loss("probe"), loss("test"));
    assert!(loss("validation") > 20.0);
    let page = String::from_utf8(app.state.metrics().encode().unwrap()).unwrap();
    assert!(!page.contains("weir_model_accuracy{model=\"mnist-vae\""), "{page}");
    assert!(app.get("/").await.text().contains("nats"));
}
