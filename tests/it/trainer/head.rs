//! Transfer: a head on a frozen network learns from few pictures, and one graph of both is published.

use weir::error::Error;
use weir::repository::VersionFiles;
use weir::trainer::{
    Augment, BackboneChoice, DataOptions, Dataset, TaskOptions, TaskReport, evaluate_version, preset, read_for,
};

use super::data::Workshop;
use super::photos::write_tinted;
use crate::fixtures::{mnist, write_idx};
use crate::support::{TestApp, shipped_models};

/// The first so many samples of each class.
fn of_each(data: &Dataset, count: usize) -> Dataset {
    let mut left = vec![count; data.classes];
    let chosen: Vec<usize> = (0..data.len())
        .filter(|index| {
            let left = &mut left[data.labels()[*index] as usize];
            let is_wanted = *left > 0;
            *left -= usize::from(is_wanted);
            is_wanted
        })
        .collect();
    data.select(&chosen)
}

fn on(shop: &Workshop, path: std::path::PathBuf, at: Option<&str>) -> TaskOptions {
    let backbone = BackboneChoice { path, at: at.map(str::to_owned), cache: shop.path("features") };
    TaskOptions { backbone: Some(backbone), ..TaskOptions::default() }
}

fn accuracy(report: &TaskReport) -> f64 {
    let TaskReport::Classification(report) = report else { panic!("classes are learned") };
    report.full.evaluation.summary.accuracy
}

/// Two hundred digits to learn from and two hundred to be judged by.
fn digits(shop: &Workshop) {
    std::fs::create_dir(shop.path("digits")).unwrap();
    write_idx(&shop.path("digits"), "train", &of_each(&mnist().train, 20));
    write_idx(&shop.path("digits"), "t10k", &of_each(&mnist().test, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_pictures_a_class_teach_a_head_and_one_graph_serves() {
    let shop = Workshop::of("head");
    digits(&shop);
    let mut request = shop.request("digits", 30, on(&shop, shipped_models().join("mnist-cnn/1"), None));
    request.train_samples = 100;
    let run = weir::trainer::RunDir::create(&shop.path("runs"), "head", None).unwrap();
    let mut notes = Vec::new();
    let outcome = weir::trainer::train(
        &request,
        &run,
        false,
        &mut |_, data| notes.clone_from(&data.source.notes),
        &mut super::data::Quiet,
    )
    .unwrap();
    assert!(accuracy(&outcome.report) > 0.9, "{}", accuracy(&outcome.report));
    for note in [
        "backbone mnist-cnn version 1, frozen",
        "the input of the last Gemm",
        "64 features of each picture were computed",
    ] {
        assert!(notes.iter().any(|said| said.contains(note)), "{note}: {notes:?}");
    }
    let (_, folder) = outcome.published.unwrap();
    let manifest = VersionFiles::read(&folder, 1 << 30).unwrap().manifest.unwrap();
    assert!(manifest.description.contains("64 features of mnist-cnn version 1"), "{}", manifest.description);
    assert_eq!(manifest.parity.as_ref().unwrap().argmax_mismatches, 0);
    let backbone =
        VersionFiles::read(shipped_models().join("mnist-cnn/1").as_path(), 1 << 30).unwrap().manifest.unwrap();
    assert_eq!(manifest.transform.image, backbone.transform.image, "the transform is inherited");

    let data = read_for(&folder, &shop.path("digits"), DataOptions::default()).unwrap();
    let evaluated = evaluate_version(&folder, 1 << 30, &data.test).unwrap();
    let TaskReport::Classification(report) = &outcome.report else { panic!("classes are learned") };
    assert_eq!(evaluated.predictions.evaluate(), report.full.evaluation);
    let app = TestApp::with(&shop.path("models"), |_| {}).await;
    let png = crate::fixtures::png(28, 28, crate::fixtures::pixels(&mnist().test, 0));
    let answer = app.post("/models/mine/predict", "image/png", png).await;
    assert_eq!(answer.labels(), ["7"]);

    let again = weir::trainer::RunDir::create(&shop.path("runs"), "head", None).unwrap();
    let told = &mut |_: &[&weir::trainer::Network], data: &weir::trainer::PreparedData| {
        notes.clone_from(&data.source.notes);
    };
    let second = weir::trainer::train(&request, &again, false, told, &mut super::data::Quiet).unwrap();
    assert!(notes.iter().any(|said| said.contains("features of each picture were read from")), "{notes:?}");
    let model = |folder: &std::path::Path| std::fs::read(folder.join("model.onnx")).unwrap();
    assert_eq!(model(&folder), model(&second.published.unwrap().1), "the same seed gives the same bytes");
}

#[test]
fn a_bare_file_is_a_backbone_by_the_settings_beside_it() {
    let shop = Workshop::of("head");
    write_tinted(&shop, 120);
    let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vision/colours.onnx");
    let file = shop.write("backbone/colours.onnx", std::fs::read(fixture).unwrap());
    shop.write("backbone/model.toml", "[image]\ncolour = \"rgb\"\nscale = 0.00392156862745098\n");
    for at in [None, Some("images"), Some("logits")] {
        let trained = shop.train("tints", 20, on(&shop, file.clone(), at));
        match at {
            // An input is no tensor that a layer gives.
            Some("images") => {
                let refused = trained.unwrap_err().to_string();
                assert!(refused.contains("has no tensor") && refused.contains("mean, logits"), "{refused}");
            }
            _ => assert!(accuracy(&trained.unwrap().report) > 0.99),
        }
    }
}

#[test]
fn what_a_head_cannot_do_is_refused_before_anything_is_trained() {
    let shop = Workshop::of("head");
    digits(&shop);
    let cnn = || on(&shop, shipped_models().join("mnist-cnn/1"), None);
    let refused = |shop: &Workshop, data: &str, task: TaskOptions| shop.train(data, 1, task).unwrap_err().to_string();
    assert!(refused(&shop, "digits", TaskOptions::default()).contains("--backbone"));
    let other = Workshop::of("dense");
    digits(&other);
    assert!(
        refused(&other, "digits", on(&other, shipped_models().join("mnist-cnn/1"), None)).contains("weir train head")
    );
    shop.write("table.csv", "a,b,label\n".to_owned() + &"1,2,x\n3,4,y\n".repeat(30));
    assert!(refused(&shop, "table.csv", cnn()).contains("from pictures"));
    let mut asking = cnn();
    asking.data.reading.image_size = Some([14, 14]);
    assert!(refused(&shop, "digits", asking).contains("--image-size"));
    let no_model = shop.write("nothing.onnx", b"hello");
    assert!(matches!(shop.train("digits", 1, on(&shop, no_model, None)).unwrap_err(), Error::Repository { .. }));
    let mut request = shop.request("digits", 1, cnn());
    request.fit.regime.augment = Augment { flip_probability: 0.5, ..Augment::NONE };
    let run = weir::trainer::RunDir::create(&shop.path("runs"), "head", None).unwrap();
    let failed = weir::trainer::train(&request, &run, false, &mut |_, _| {}, &mut super::data::Quiet).unwrap_err();
    assert!(failed.to_string().contains("computed once"), "{failed}");
    assert_eq!(preset("head").unwrap().name, "head");
}
