//! Digits that change are found, by the stream that shows it, and unchanged ones are not.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use weir::app::StopReason;
use weir::ids::{ModelRef, VersionSpec};
use weir::repository::{DriftReference, publish_reference};
use weir::serving::Servable;
use weir::trainer::{REFERENCE_SAMPLES, REFERENCE_SEED, Taken, reference_of};

use crate::fixtures::{bare_model, half_plus_two, letters, mnist, pixels, png};
use crate::support::{TestApp, copy_folder, shipped_models, until};

const SIDE: usize = 28;

/// References of bundled models, from a part of the test digits.
fn reference(model: &'static str) -> &'static DriftReference {
    static MLP: OnceLock<DriftReference> = OnceLock::new();
    static LSTM: OnceLock<DriftReference> = OnceLock::new();
    let make = || {
        let folder = shipped_models().join(model).join("1");
        reference_of(&folder, mnist(), Taken::Test(Some(REFERENCE_SAMPLES)), None).unwrap()
    };
    if model == "mnist-mlp" { MLP.get_or_init(make) } else { LSTM.get_or_init(make) }
}

/// The test digits that no reference holds, again and again in an order of their own.
fn unseen(count: usize) -> Vec<usize> {
    let mut held = vec![false; mnist().test.len()];
    mnist().test.sample(REFERENCE_SAMPLES, REFERENCE_SEED).into_iter().for_each(|index| held[index] = true);
    let rest: Vec<usize> = (0..held.len()).filter(|index| !held[*index]).collect();
    // A step that shares no factor with their number visits all of them before it repeats one.
    (0..count).map(|place| rest[place * 1009 % rest.len()]).collect()
}

fn digit(index: usize) -> Vec<u8> {
    pixels(&mnist().test, index).to_vec()
}

/// The picture turned by so many degrees about its middle, with the grey between pixels.
fn rotated(picture: &[u8], degrees: f64) -> Vec<u8> {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let middle = (SIDE as f64 - 1.0) / 2.0;
    let at = |x: i64, y: i64| {
        let inside = (0..SIDE as i64).contains(&x) && (0..SIDE as i64).contains(&y);
        if inside { f64::from(picture[y as usize * SIDE + x as usize]) } else { 0.0 }
    };
    let turned = |place: usize| {
        let (x, y) = ((place % SIDE) as f64 - middle, (place / SIDE) as f64 - middle);
        let (x, y) = (cos * x - sin * y + middle, sin * x + cos * y + middle);
        let (left, top) = (x.floor(), y.floor());
        let (right, below) = (x - left, y - top);
        let (left, top) = (left as i64, top as i64);
        let upper = at(left, top) * (1.0 - right) + at(left + 1, top) * right;
        let lower = at(left, top + 1) * (1.0 - right) + at(left + 1, top + 1) * right;
        (upper * (1.0 - below) + lower * below).round() as u8
    };
    (0..SIDE * SIDE).map(turned).collect()
}

/// The mean over a square of five by five pixels.
fn blurred(picture: &[u8]) -> Vec<u8> {
    let mean = |place: usize| {
        let (x, y) = ((place % SIDE) as i64, (place / SIDE) as i64);
        let side = 0..SIDE as i64;
        let mut sum = 0;
        for (dx, dy) in (-2..=2).flat_map(|dx| (-2..=2).map(move |dy| (dx, dy))) {
            if side.contains(&(x + dx)) && side.contains(&(y + dy)) {
                sum += u32::from(picture[((y + dy) * SIDE as i64 + x + dx) as usize]);
            }
        }
        (sum / 25) as u8
    };
    (0..SIDE * SIDE).map(mean).collect()
}

/// Grey levels moved by up to 80 either way, in a pattern that depends on the place alone.
fn noisy(picture: &[u8]) -> Vec<u8> {
    let noise = |place: usize| (place as u32).wrapping_mul(2_654_435_761) >> 16;
    let moved =
        |(place, level): (usize, &u8)| (i32::from(*level) + (noise(place) % 161) as i32 - 80).clamp(0, 255) as u8;
    picture.iter().enumerate().map(moved).collect()
}

fn inverted(picture: &[u8]) -> Vec<u8> {
    picture.iter().map(|level| 255 - level).collect()
}

/// A server with one of the bundled models and a reference beside it.
async fn start(model: &'static str, learning_windows: usize) -> TestApp {
    let models = TempDir::new().unwrap();
    let folder = models.path().join(model);
    copy_folder(&shipped_models().join(model), &folder);
    publish_reference(&folder.join("1"), reference(model)).unwrap();
    TestApp::with_temp(models, |options| {
        options.drift_learning_windows = Some(learning_windows);
        // However fast this machine is.
        options.drift_samples_per_second = Some(0);
    })
    .await
}

fn servable(app: &TestApp, model: &str) -> Arc<Servable> {
    let target = ModelRef { name: Some(model.parse().unwrap()), version: VersionSpec::Latest };
    app.state.predictor().resolve(&target).unwrap()
}

/// Sends pictures and returns the drift once all were taken in, as after every 250 of them.
async fn send(app: &TestApp, model: &str, pictures: &[Vec<u8>]) -> Vec<Value> {
    let mut reports = Vec::new();
    let servable = servable(app, model);
    for chunk in pictures.chunks(250) {
        let before = app.state.drift().of(&servable.identity).unwrap().samples;
        let images: Vec<String> =
            chunk.iter().map(|picture| STANDARD.encode(png(SIDE as u32, SIDE as u32, picture))).collect();
        let answer = app.post_json(&format!("/models/{model}/predict"), &json!({"images": images})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let seen = before + chunk.len() as u64;
        until("the monitor to take them in", || app.state.drift().of(&servable.identity).unwrap().samples >= seen)
            .await;
        reports.push(app.get(&format!("/models/{model}/drift")).await.json());
    }
    reports
}

fn stream<'r>(report: &'r Value, name: &str) -> &'r Value {
    let streams = report["streams"].as_array().unwrap();
    streams.iter().find(|stream| stream["stream"] == name).unwrap_or_else(|| panic!("{name}: {report}"))
}

/// Twenty windows to learn from, and fifty more.
async fn unchanged_digits_alarm_nobody(model: &'static str) {
    let app = start(model, 20).await;
    let pictures: Vec<Vec<u8>> = unseen((20 + 50) * 500).into_iter().map(digit).collect();
    for report in send(&app, model, &pictures).await {
        assert_eq!(report["state"], "quiet", "{report}");
        assert!(report["anomaly_share"].as_f64().unwrap() < 0.05, "{report}");
        assert_eq!(report["estimate"]["valid"], true, "{report}");
    }
    let series = format!("weir_drift_state{{model=\"{model}\",stream=\"margin\",version=\"1\"}}");
    assert_eq!(app.metric(&series), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn unchanged_digits_do_not_alarm_the_dense_network() {
    unchanged_digits_alarm_nobody("mnist-mlp").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unchanged_digits_do_not_alarm_the_recurrent_network() {
    unchanged_digits_alarm_nobody("mnist-lstm").await;
}

/// Five hundred digits that are changed, after unchanged ones.
async fn changed(change: impl Fn(&[u8]) -> Vec<u8>) -> (TestApp, Value) {
    after_digits(unseen(2000)[1500..].iter().map(|index| change(&digit(*index))).collect()).await
}

/// Two windows of unchanged digits to learn from and one more, then these five hundred pictures.
async fn after_digits(pictures: Vec<Vec<u8>>) -> (TestApp, Value) {
    assert_eq!(pictures.len(), 500);
    let app = start("mnist-mlp", 2).await;
    let quiet: Vec<Vec<u8>> = unseen(1500).into_iter().map(digit).collect();
    assert!(send(&app, "mnist-mlp", &quiet).await.iter().all(|report| report["state"] == "quiet"));
    let report = send(&app, "mnist-mlp", &pictures).await.pop().unwrap();
    (app, report)
}

#[tokio::test(flavor = "multi_thread")]
async fn turned_digits_are_found_by_their_margins() {
    let (app, report) = changed(|picture| rotated(picture, 30.0)).await;
    for name in ["margin", "energy"] {
        let stream = stream(&report, name);
        assert_eq!((&stream["state"], &stream["moved"]), (&json!("warning"), &json!(true)), "{report}");
        assert!(stream["evidence"].as_f64().unwrap() >= 1.0 && stream["effect"]["low"].as_f64().unwrap() > 0.05);
    }
    assert_eq!(stream(&report, "input_mean")["state"], "quiet", "a turned picture is as bright: {report}");
    assert_eq!(report["estimate"]["valid"], false, "margins have moved too far: {report}");
    let labels = "model=\"mnist-mlp\",stream=\"margin\",version=\"1\"";
    assert_eq!(app.metric(&format!("weir_drift_state{{{labels}}}")), 2.0);
    assert!(app.metric(&format!("weir_drift_evidence{{{labels}}}")) >= 1.0);
    assert_eq!(app.metric("weir_model_estimate_valid{model=\"mnist-mlp\",version=\"1\"}"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn blurred_digits_are_found_by_their_deviation() {
    let (_app, report) = changed(blurred).await;
    assert_eq!(stream(&report, "input_deviation")["state"], "warning", "{report}");
    assert!(report["anomaly_share"].as_f64().unwrap() > 0.05, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn noisy_digits_are_found_by_their_brightness() {
    let (_app, report) = changed(noisy).await;
    assert_eq!(stream(&report, "input_mean")["state"], "warning", "{report}");
    assert_eq!(report["estimate"]["valid"], false, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn inverted_digits_are_found_though_the_model_never_sees_them() {
    let (_app, report) = changed(inverted).await;
    assert_eq!(stream(&report, "inverted")["state"], "info", "no harm is done: {report}");
    assert_eq!(report["estimate"]["valid"], true, "{report}");
    assert_eq!(stream(&report, "margin")["state"], "quiet", "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_found_by_their_energies() {
    let (_app, report) = after_digits(letters().into_iter().cycle().take(500).collect()).await;
    let energy = stream(&report, "energy");
    assert!(["warning", "critical"].contains(&energy["state"].as_str().unwrap()), "{report}");
    assert!(energy["evidence"].as_f64().unwrap() >= 1.0 && energy["moved"] == true, "{report}");
    assert!(report["anomaly_share"].as_f64().unwrap() > 0.05, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slight_turn_is_told_and_alarms_nobody() {
    let (_app, report) = changed(|picture| rotated(picture, 5.0)).await;
    assert!(["quiet", "info"].contains(&report["state"].as_str().unwrap()), "{report}");
    let estimate = &report["estimate"];
    assert_eq!(estimate["valid"], true, "{report}");
    assert!(estimate["low"].as_f64().unwrap() < 0.974 && estimate["high"].as_f64().unwrap() > 0.96, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_without_a_reference_says_so_or_learns_one() {
    let model = || bare_model("half", &half_plus_two());
    let app = TestApp::with_temp(model(), |_| {}).await;
    let problem = app.get("/models/half/drift").await.assert_problem(409);
    assert!(problem.contains("weir drift --reference"), "{problem}");
    app.get("/models/none/drift").await.assert_problem(404);
    app.get("/models/half/drift?version=7").await.assert_problem(404);
    app.get("/models/half/drift?windows=7").await.assert_problem(400);
    let app = TestApp::with_temp(model(), |options| options.monitoring = Some(false)).await;
    let problem = app.get("/models/half/drift").await.assert_problem(409);
    assert!(problem.contains("off"), "{problem}");
    let app = TestApp::with_temp(model(), |options| options.drift_learn_samples = Some(600)).await;
    let problem = app.get("/models/half/drift").await.assert_problem(409);
    assert!(problem.contains("600"), "{problem}");
    let servable = servable(&app, "half");
    for batch in 0..4 {
        let instances: Vec<[f32; 1]> = (0..200).map(|place| [(place * 7 % 200 + batch) as f32]).collect();
        assert_eq!(app.post_json("/predict", &json!({"instances": instances})).await.status, 200);
    }
    until("the reference to be learnt", || app.state.drift().of(&servable.identity).is_ok()).await;
    until("the rest to be watched", || app.state.drift().of(&servable.identity).unwrap().samples == 200).await;
    let report = app.get("/models/half/drift").await.json();
    assert_eq!((&report["source"], &report["reference_samples"]), (&json!("traffic"), &json!(600)));
    assert_eq!(stream(&report, "input_mean")["state"], "quiet", "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_say_how_sure_they_are_when_asked() {
    let app = start("mnist-mlp", 20).await;
    let ask = |query: &str, picture: Vec<u8>| {
        let path = format!("/predict{query}");
        let app = &app;
        async move { app.post(&path, "image/png", png(SIDE as u32, SIDE as u32, &picture)).await }
    };
    let plain = ask("", digit(0)).await.json();
    for field in ["anomaly", "set", "set_level", "abstained"] {
        assert!(plain["predictions"][0].get(field).is_none(), "{field}: {plain}");
    }
    let all = "?anomaly=true&set_level=0.99&error_rate=0.01";
    let sure = ask(all, digit(0)).await.json()["predictions"][0].clone();
    assert_eq!((&sure["set"], &sure["set_level"], &sure["abstained"]), (&json!(["7"]), &json!(0.99), &json!(false)));
    assert!(sure["anomaly"]["p_value"].as_f64().unwrap() > 0.05, "{sure}");
    let unusual = ask(all, rotated(&digit(0), 90.0)).await.json()["predictions"][0].clone();
    assert!(unusual["anomaly"]["p_value"].as_f64() < sure["anomaly"]["p_value"].as_f64(), "{unusual}");
    let problem = ask("?set_level=0.97", digit(0)).await.assert_problem(422);
    assert!(problem.contains("0.9, 0.95, 0.99"), "{problem}");
    ask("?error_rate=1", digit(0)).await.assert_problem(400);
    let bare = TestApp::with_temp(bare_model("half", &half_plus_two()), |_| {}).await;
    let problem = bare.post_json("/predict?anomaly=true", &json!({"instances": [[1.0]]})).await.assert_problem(422);
    assert!(problem.contains("no classifier"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_cover_and_answers_given_are_right_as_often_as_stated() {
    let app = start("mnist-mlp", 20).await;
    let (mut covered, mut given, mut wrong) = (0, 0, 0);
    let digits = unseen(3000);
    for chunk in digits.chunks(250) {
        let images: Vec<String> =
            chunk.iter().map(|index| STANDARD.encode(png(SIDE as u32, SIDE as u32, &digit(*index)))).collect();
        let answer = app.post_json("/predict?set_level=0.99&error_rate=0.01", &json!({"images": images})).await.json();
        for (prediction, index) in answer["predictions"].as_array().unwrap().iter().zip(chunk) {
            let truth = json!(mnist().test.labels()[*index].to_string());
            covered += i32::from(prediction["set"].as_array().unwrap().contains(&truth));
            if prediction["abstained"] == false {
                given += 1;
                wrong += i32::from(prediction["label"] != truth);
            }
        }
    }
    // Binomial bounds of 99.9 % at the stated rates.
    assert!(covered >= 2953, "{covered} of 3000 at 0.99");
    assert!(given > 2000 && f64::from(wrong) < 0.01 * f64::from(given) + 17.0, "{wrong} wrong of {given}");
}

#[test]
fn a_reference_that_contradicts_itself_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    copy_folder(&shipped_models().join("mnist-mlp"), &folder.path().join("mnist-mlp"));
    let version = folder.path().join("mnist-mlp/1");
    let mut broken = reference("mnist-mlp").clone();
    broken.input_mean.counts.pop();
    publish_reference(&version, &broken).unwrap();
    let read = |folder: &Path| weir::repository::VersionFiles::read(folder, 1 << 30);
    let problem = read(&version).unwrap_err().to_string();
    assert!(problem.contains("reference.json") && problem.contains("input_mean"), "{problem}");
    // Ranks of nothing, and of more samples than there are.
    for rank in [0, u64::MAX] {
        let mut broken = reference("mnist-mlp").clone();
        broken.unusual.as_mut().unwrap().ranks[0] = rank;
        publish_reference(&version, &broken).unwrap();
        let problem = read(&version).unwrap_err().to_string();
        assert!(problem.contains("ranks of energies"), "{problem}");
    }
    publish_reference(&version, reference("mnist-mlp")).unwrap();
    let (found, written) = (read(&version).unwrap().reference.unwrap(), reference("mnist-mlp"));
    assert_eq!((found.samples, &found.predictions, &found.source), (5000, &written.predictions, &written.source));
    std::fs::remove_file(version.join("reference.json")).unwrap();
    assert_eq!(read(&version).unwrap().reference.unwrap().samples, 1000, "that of the manifest");
}

/// Turned digits, in part before and in part after a restart of the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_the_server_was() {
    let (models, state) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let folder = models.path().join("mnist-mlp");
    copy_folder(&shipped_models().join("mnist-mlp"), &folder);
    publish_reference(&folder.join("1"), reference("mnist-mlp")).unwrap();
    let begin = |window: usize| {
        let (models, state) = (models.path().to_owned(), state.path().to_owned());
        async move {
            TestApp::with(&models, |options| {
                options.state_dir = Some(state);
                options.drift_learning_windows = Some(2);
                options.drift_window = Some(window);
            })
            .await
        }
    };
    let digits = unseen(1500);
    let quiet: Vec<Vec<u8>> = digits[..1000].iter().map(|index| digit(*index)).collect();
    let turned: Vec<Vec<u8>> = digits[1000..].iter().map(|index| rotated(&digit(*index), 30.0)).collect();
    let mut app = begin(500).await;
    send(&app, "mnist-mlp", &quiet).await;
    let before = send(&app, "mnist-mlp", &turned[..250]).await.pop().unwrap();
    assert!(stream(&before, "margin")["evidence"].as_f64().unwrap() > 0.2, "{before}");
    app.stop(StopReason::Interrupt).await;
    app = begin(500).await;
    let restored = app.get("/models/mnist-mlp/drift").await.json();
    assert_eq!((&restored["samples"], &restored["learning_windows"]), (&json!(1250), &before["learning_windows"]));
    assert!(crate::support::alike(&restored, &before), "{restored}\n{before}");
    let after = send(&app, "mnist-mlp", &turned[250..]).await.pop().unwrap();
    assert_eq!((&after["samples"], &after["state"]), (&json!(1500), &json!("warning")), "{after}");
    app.stop(StopReason::Interrupt).await;
    // What was measured in other windows is of no use.
    let app = begin(400).await;
    assert_eq!(app.get("/models/mnist-mlp/drift").await.json()["samples"], 0);
    let mut files = std::fs::read_dir(state.path().join("drift")).unwrap();
    std::fs::write(files.next().unwrap().unwrap().path(), "{}").unwrap();
    assert_eq!(app.get("/models/mnist-mlp/drift").await.json()["samples"], 0);
    assert_eq!(send(&app, "mnist-mlp", &turned[..250]).await[0]["samples"], 250);
}
