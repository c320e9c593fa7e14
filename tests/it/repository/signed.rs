//! Signed versions: what trusted keys vouch for serves, and what they do not is refused or marked, in words.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tempfile::TempDir;
use weir::config::Unsigned;
use weir::repository::{check_seal, seal};
use weir::serving::State;
use weir::signing::{SecretKey, TrustedKeys};

use crate::fixtures::{add_bare_model, half_plus_two, png_of_test_image};
use crate::support::{TestApp, bundled_models, copy_folder};

struct Keys {
    folder: TempDir,
    release: SecretKey,
    stranger: SecretKey,
}

impl Keys {
    fn new() -> Self {
        let make = || SecretKey::generate().unwrap().0;
        let keys = Self { folder: TempDir::new().unwrap(), release: make(), stranger: make() };
        keys.trust(&keys.release, "release");
        keys
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("trusted.keys")
    }

    fn trust(&self, key: &SecretKey, name: &str) {
        let staged = self.folder.path().join("staged");
        fs::write(&staged, key.public().called(name).unwrap().text()).unwrap();
        fs::rename(staged, self.file()).unwrap();
    }
}

/// A copy of the bundled model, signed.
fn signed(key: &SecretKey) -> (TempDir, PathBuf) {
    let models = TempDir::new().unwrap();
    let folder = models.path().join("mnist-mlp/1");
    copy_folder(&bundled_models().join("mnist-mlp/1"), &folder);
    let sealed = seal(&folder, key, Timestamp::now()).unwrap();
    assert_eq!(sealed.statement, "manifest.json");
    assert!(sealed.covered.contains(&"model.onnx".to_owned()) && sealed.outside.is_empty(), "{sealed:?}");
    (models, folder)
}

async fn serve(models: TempDir, keys: &Keys, unsigned: Option<Unsigned>) -> TestApp {
    TestApp::with_temp(models, |options| {
        options.trusted_keys = Some(keys.file());
        options.unsigned = unsigned;
    })
    .await
}

async fn version(app: &TestApp, model: &str) -> serde_json::Value {
    app.get(&format!("/models/{model}")).await.json()["versions"][0].clone()
}

/// A change that damages a signed version.
type Damage = fn(&Path, &Keys);

const FAILURES: [(&str, &str, Damage); 7] = [
    ("not signed", "is missing; `weir sign mnist-mlp@1", |folder, _| {
        fs::remove_file(folder.join("manifest.json.minisig")).unwrap();
    }),
    ("by a stranger", "not among the trusted", |folder, keys| {
        seal(folder, &keys.stranger, Timestamp::now()).unwrap();
    }),
    ("an altered manifest", "manifest.json is not what the key \"release\"", |folder, _| {
        let path = folder.join("manifest.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replacen("\"description\": \"", "\"description\": \"No: ", 1)).unwrap();
    }),
    ("a signature cut short", "is no signature", |folder, _| {
        let path = folder.join("manifest.json.minisig");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, &text[..text.len() - 30]).unwrap();
    }),
    ("a version in another's place", "signed as mnist-mlp@7 and lies in the place of mnist-mlp@1", |folder, keys| {
        let other = folder.with_file_name("7");
        fs::rename(folder, &other).unwrap();
        seal(&other, &keys.release, Timestamp::now()).unwrap();
        fs::rename(&other, folder).unwrap();
    }),
    ("another model's name", "signed as letters@1", |folder, keys| {
        let other = folder.parent().unwrap().with_file_name("letters");
        copy_folder(folder, &other.join("1"));
        seal(&other.join("1"), &keys.release, Timestamp::now()).unwrap();
        fs::copy(other.join("1/manifest.json.minisig"), folder.join("manifest.json.minisig")).unwrap();
        fs::remove_dir_all(other).unwrap();
    }),
    ("without its manifest", "neither manifest.json nor SHA256SUMS", |folder, _| {
        fs::remove_file(folder.join("manifest.json")).unwrap();
    }),
];

#[tokio::test]
async fn what_nobody_vouches_for_ends_with_the_reason() {
    for (name, reason, damage) in FAILURES {
        let keys = Keys::new();
        let (models, folder) = signed(&keys.release);
        damage(&folder, &keys);
        let app = serve(models, &keys, None).await;
        let version = version(&app, "mnist-mlp").await;
        assert_eq!(version["state"], "END", "{name}: {version}");
        assert!(version["reason"].as_str().unwrap().contains(reason), "{name}: {version}");
        app.post("/predict", "image/png", png_of_test_image(0)).await.assert_problem(503);
    }
}

#[tokio::test]
async fn what_nobody_vouches_for_serves_marked_where_that_is_the_rule() {
    for (name, reason, damage) in &FAILURES[..6] {
        for unsigned in [Unsigned::Mark, Unsigned::Allow] {
            let keys = Keys::new();
            let (models, folder) = signed(&keys.release);
            damage(&folder, &keys);
            let app = serve(models, &keys, Some(unsigned)).await;
            let version = version(&app, "mnist-mlp").await;
            assert_eq!(version["state"], "AVAILABLE", "{name}: {version}");
            assert!(version["signed"]["problem"].as_str().unwrap().contains(reason), "{name}: {version}");
            let note = version["reason"].as_str().unwrap_or_default();
            assert_eq!(note.contains(reason), unsigned == Unsigned::Mark, "{name}: {version}");
        }
    }
}

#[tokio::test]
async fn an_altered_file_never_serves_whatever_the_rule() {
    for unsigned in [Unsigned::Refuse, Unsigned::Mark, Unsigned::Allow] {
        let keys = Keys::new();
        let (models, folder) = signed(&keys.release);
        let path = folder.join("model.onnx");
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
        let app = serve(models, &keys, Some(unsigned)).await;
        let version = version(&app, "mnist-mlp").await;
        assert_ne!(version["state"], "AVAILABLE", "{version}");
        assert!(version["reason"].as_str().unwrap().contains("SHA-256"), "{version}");
    }
}

#[tokio::test]
async fn a_signed_version_serves_and_a_key_that_is_withdrawn_takes_it_out_of_service() {
    let keys = Keys::new();
    let (models, folder) = signed(&keys.release);
    let app = serve(models, &keys, None).await;
    let shown = version(&app, "mnist-mlp").await;
    assert_eq!((&shown["state"], &shown["signed"]["by"]), (&"AVAILABLE".into(), &"release".into()), "{shown}");
    assert_eq!(shown["signed"]["key"], keys.release.public().id().to_string());
    let looked = || async {
        for _ in 0..2 {
            app.refresh().await;
        }
        version(&app, "mnist-mlp").await
    };
    let failures = || app.metric("weir_reload_failures_total{what=\"trusted_keys\"}");
    assert_eq!(failures(), 0.0);
    fs::write(keys.file(), "no key").unwrap();
    assert_eq!(looked().await["state"], "AVAILABLE", "a slip of the pen takes nothing out of service");
    assert_eq!(failures(), 1.0, "a state is counted once, however often it is looked at");
    fs::write(keys.file(), "").unwrap();
    assert_eq!(looked().await["state"], "AVAILABLE", "a file that is about to be written takes nothing out of service");
    assert_eq!(failures(), 2.0);
    keys.trust(&keys.stranger, "another");
    let shown = looked().await;
    assert_eq!(shown["state"], "END", "{shown}");
    assert!(shown["reason"].as_str().unwrap().contains("not among the trusted"), "{shown}");
    app.post("/predict", "image/png", png_of_test_image(0)).await.assert_problem(503);
    seal(&folder, &keys.stranger, Timestamp::now()).unwrap();
    let shown = looked().await;
    assert_eq!((&shown["state"], &shown["signed"]["by"]), (&"AVAILABLE".into(), &"another".into()), "{shown}");
}

#[tokio::test]
async fn a_key_that_is_withdrawn_takes_out_what_cannot_be_loaded_again() {
    // Whoever can write into the repository must not keep a version in service whose key is gone.
    let remove: [fn(&Path); 3] = [
        |folder| fs::remove_dir_all(folder).unwrap(),
        |folder| fs::remove_file(folder.join("model.onnx")).unwrap(),
        |folder| fs::remove_dir_all(folder.parent().unwrap()).unwrap(),
    ];
    for remove in remove {
        let keys = Keys::new();
        let (models, folder) = signed(&keys.release);
        let app = serve(models, &keys, None).await;
        remove(&folder);
        app.refresh().await;
        assert_eq!(
            app.post("/models/mnist-mlp/predict", "image/png", png_of_test_image(0)).await.status,
            200,
            "it serves on"
        );
        fs::write(keys.file(), "# nobody\n").unwrap();
        for _ in 0..2 {
            app.refresh().await;
        }
        let answer = app.post("/models/mnist-mlp/predict", "image/png", png_of_test_image(0)).await;
        assert!([404, 503].contains(&answer.status.as_u16()), "{}", answer.status);
    }
}

#[tokio::test]
async fn files_that_change_behind_a_version_do_not_take_out_what_was_signed() {
    let keys = Keys::new();
    let (models, folder) = signed(&keys.release);
    let app = serve(models, &keys, None).await;
    fs::remove_file(folder.join("manifest.json.minisig")).unwrap();
    for _ in 0..2 {
        app.refresh().await;
    }
    let shown = version(&app, "mnist-mlp").await;
    assert_eq!((&shown["state"], &shown["signed"]["by"]), (&"AVAILABLE".into(), &"release".into()), "{shown}");
    assert!(shown["reason"].as_str().unwrap().contains("the earlier ones serve on"), "{shown}");
}

#[tokio::test]
async fn a_version_without_a_manifest_is_signed_by_the_hashes_of_its_files() {
    let keys = Keys::new();
    let models = TempDir::new().unwrap();
    add_bare_model(models.path(), "half", 1, &half_plus_two());
    let folder = models.path().join("half/1");
    fs::write(folder.join("notes.txt"), "ours").unwrap();
    let sealed = seal(&folder, &keys.release, Timestamp::now()).unwrap();
    assert_eq!(
        (sealed.statement, sealed.covered),
        ("SHA256SUMS", vec!["model.onnx".to_owned(), "notes.txt".to_owned()])
    );
    let trusted = TrustedKeys::read(&keys.file()).unwrap();
    assert_eq!(check_seal(&folder, &trusted).unwrap().0.name(), "release");
    let app = serve(models, &keys, None).await;
    assert_eq!(app.version_state("half", 1).unwrap().0, State::Available);
    let reason = |app: &TestApp| app.version_state("half", 1).unwrap().1.unwrap_or_default();
    fs::write(folder.join("tokenizer.json"), "{}").unwrap();
    app.refresh().await;
    app.refresh().await;
    assert!(reason(&app).contains("does not list tokenizer.json"), "{}", reason(&app));
    fs::remove_file(folder.join("tokenizer.json")).unwrap();
    fs::write(folder.join("model.onnx"), crate::fixtures::row_sums()).unwrap();
    app.refresh().await;
    app.refresh().await;
    assert!(reason(&app).contains("SHA256SUMS says"), "{}", reason(&app));
    let why = check_seal(&folder, &trusted).unwrap_err().to_string();
    assert!(why.contains("model.onnx") && why.contains("was changed"), "{why}");
}

#[tokio::test]
async fn a_reference_for_drift_is_signed_as_it_was() {
    for change in [(|path| fs::write(path, "{}").unwrap()) as fn(&Path), |path| fs::remove_file(path).unwrap()] {
        let keys = Keys::new();
        let (models, folder) = signed(&keys.release);
        change(&folder.join("reference.json"));
        let app = serve(models, &keys, None).await;
        let shown = version(&app, "mnist-mlp").await;
        assert_eq!(shown["state"], "END", "{shown}");
        assert!(shown["reason"].as_str().unwrap().starts_with("reference.json: is "), "{shown}");
    }
}

#[test]
fn a_version_whose_files_are_not_what_its_manifest_says_is_not_signed() {
    let keys = Keys::new();
    let (_models, folder) = signed(&keys.release);
    fs::write(folder.join("card.md"), "altered").unwrap();
    let why = seal(&folder, &keys.release, Timestamp::now()).unwrap_err().to_string();
    assert!(why.contains("card.md") && why.contains("was changed"), "{why}");
    let trusted = TrustedKeys::read(&keys.file()).unwrap();
    let why = check_seal(&folder, &trusted).unwrap_err().to_string();
    assert!(why.contains("card.md"), "{why}");
    fs::remove_file(folder.join("card.md")).unwrap();
    assert!(check_seal(&folder, &trusted).unwrap_err().to_string().contains("is missing"));
}
