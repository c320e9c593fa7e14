//! Transfer: a head on a frozen network learns from few pictures, and one graph of both is published.

use weir::error::Error;
use weir::repository::VersionFiles;
use weir::trainer::{
    Augment, BackboneChoice, DataOptions, Dataset, Pool, Solver, TaskOptions, TaskReport, evaluate_version, preset,
    read_for,
};

use super::data::Workshop;
use super::photos::write_tinted;
use crate::fixtures::{constant, mnist, model, node, write_idx};
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
    let backbone = BackboneChoice {
        path,
        at: at.map(str::to_owned),
        cache: shop.path("features"),
        solver: Solver::Steps,
        ..BackboneChoice::default()
    };
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
        "features of each picture were computed",
        "the head is trained in steps",
    ] {
        assert!(notes.iter().any(|said| said.contains(note)), "{note}: {notes:?}");
    }
    let (_, folder) = outcome.published.unwrap();
    let manifest = VersionFiles::read(&folder, 1 << 30).unwrap().manifest.unwrap();
    assert!(manifest.description.contains("features of mnist-cnn version 1: "), "{}", manifest.description);
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

/// A convolution that leaves pictures as they are and the mean of each channel: where something is, its features do not tell.
fn looks_at_means() -> Vec<u8> {
    let nodes = vec![
        node("Conv", &["x", "kernels"], "maps"),
        node("Relu", &["maps"], "active"),
        node("GlobalAveragePool", &["active"], "pooled"),
        node("Flatten", &["pooled"], "means"),
        node("Gemm", &["means", "weight"], "logits"),
    ];
    let identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    let constants = vec![constant("kernels", &[3, 3, 1, 1], &identity), constant("weight", &[3, 3], &identity)];
    let edges = (&["N", "3", "24", "24"][..], &["N", "3"][..]);
    model(&[("x", 1, Some(edges.0))], &[("logits", 1, Some(edges.1))], nodes, constants, 18)
}

/// Pictures of a bright square in one of the four corners, each in a folder.
fn write_corners(shop: &Workshop, each: usize) {
    for (index, corner) in (0..4 * each).map(|index| (index, index % 4)) {
        let mut picture = image::RgbImage::from_pixel(24, 24, image::Rgb([40, 60, 50]));
        let [left, top] = [corner % 2 * 12 + index % 5, corner / 2 * 12 + index % 3];
        for (x, y) in (0..36).map(|at| (left + at % 6, top + at / 6)) {
            picture.put_pixel(x as u32, y as u32, image::Rgb([200, 220, 190 + (index % 9) as u8]));
        }
        let mut file = std::io::Cursor::new(Vec::new());
        image::DynamicImage::ImageRgb8(picture).write_to(&mut file, image::ImageFormat::Png).unwrap();
        shop.write(&format!("corners/{corner}/{index}.png"), file.into_inner());
    }
}

/// Trains with the settings of the preset, and returns the outcome and what was noted.
fn train_as_preset(shop: &Workshop, data: &str, task: TaskOptions) -> (weir::trainer::TrainOutcome, Vec<String>) {
    let mut request = shop.request(data, 1, task);
    request.fit = weir::trainer::TrainRequest::of_preset(request.preset).fit;
    let run = weir::trainer::RunDir::create(&shop.path("runs"), "head", None).unwrap();
    let mut notes = Vec::new();
    let begin = &mut |_: &[&weir::trainer::Network], data: &weir::trainer::PreparedData| {
        notes.clone_from(&data.source.notes);
    };
    let outcome = weir::trainer::train(&request, &run, false, begin, &mut super::data::Quiet).unwrap();
    (outcome, notes)
}

#[tokio::test(flavor = "multi_thread")]
async fn where_something_is_windows_of_maps_tell_and_their_mean_does_not() {
    let shop = Workshop::of("head");
    write_corners(&shop, 40);
    let file = shop.write("backbone/means.onnx", looks_at_means());
    shop.write("backbone/model.toml", "[image]\ncolour = \"rgb\"\nscale = 0.00392156862745098\n");
    let with = |pool: Pool, solver: Solver| {
        let mut task = on(&shop, file.clone(), None);
        task.backbone = task.backbone.map(|backbone| BackboneChoice { pool, solver, ..backbone });
        task
    };
    let (outcome, notes) = train_as_preset(&shop, "corners", with(Pool::Auto, Solver::Auto));
    assert!(accuracy(&outcome.report) > 0.99, "{}", accuracy(&outcome.report));
    for said in ["was chosen: of", "ridge regression solved at once", "--solver steps"] {
        assert!(notes.iter().any(|note| note.contains(said)), "{said}: {notes:?}");
    }
    let (_, folder) = outcome.published.unwrap();
    let manifest = VersionFiles::read(&folder, 1 << 30).unwrap().manifest.unwrap();
    assert!(manifest.description.contains("maps averaged over"), "{}", manifest.description);
    let training = manifest.training.unwrap();
    assert!(training.epochs == 0 && training.optimizer.contains("ridge"), "{training:?}");
    let app = TestApp::with(&shop.path("models"), |_| {}).await;
    let answer =
        app.post("/models/mine/predict", "image/png", std::fs::read(shop.path("corners/2/6.png")).unwrap()).await;
    assert_eq!(answer.labels(), ["2"]);

    let (blind, _) = train_as_preset(&shop, "corners", with(Pool::None, Solver::Ridge));
    assert!(accuracy(&blind.report) < 0.8, "{}", accuracy(&blind.report));
    let (stepped, notes) = train_as_preset(&shop, "corners", with(Pool::Windows(2), Solver::Steps));
    assert!(accuracy(&stepped.report) > 0.99, "{}", accuracy(&stepped.report));
    assert!(notes.iter().any(|note| note.contains("15 features of each picture")), "{notes:?}");
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

/// Pictures whose number is their share of red, listed in a table.
fn write_reds(shop: &Workshop, count: u32) {
    let mut csv = "path,red\n".to_owned();
    for index in 0..count {
        let red = index * 83 % 256;
        let picture = image::RgbImage::from_pixel(20, 20 + index % 3, image::Rgb([red as u8, 90, 40]));
        let mut file = std::io::Cursor::new(Vec::new());
        image::DynamicImage::ImageRgb8(picture).write_to(&mut file, image::ImageFormat::Png).unwrap();
        shop.write(&format!("reds/{index}.png"), file.into_inner());
        csv.push_str(&format!("{index}.png,{:.3}\n", f64::from(red) / 255.0));
    }
    shop.write("reds/list.csv", csv);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_in_a_table_of_paths_are_learned_and_answered_in_their_own_unit() {
    let shop = Workshop::of("head");
    write_reds(&shop, 150);
    let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vision/colours.onnx");
    let file = shop.write("backbone/colours.onnx", std::fs::read(fixture).unwrap());
    shop.write("backbone/model.toml", "[image]\ncolour = \"rgb\"\nscale = 0.00392156862745098\n");
    let mut request = shop.request("reds/list.csv", 60, on(&shop, file, None));
    request.fit.optimizer = weir::trainer::Optimizer::adam(3e-2);
    let run = weir::trainer::RunDir::create(&shop.path("runs"), "head", None).unwrap();
    let outcome = weir::trainer::train(&request, &run, false, &mut |_, _| {}, &mut super::data::Quiet).unwrap();
    let TaskReport::Regression(report) = &outcome.report else { panic!("numbers are learned") };
    assert!(report.evaluation.mean_absolute_error < 0.02, "{:?}", report.evaluation);
    let (_, folder) = outcome.published.unwrap();
    let manifest = VersionFiles::read(&folder, 1 << 30).unwrap().manifest.unwrap();
    assert_eq!(manifest.transform.output.task(), weir::signature::Task::Regression);
    assert!(manifest.description.contains("A dense layer on"), "{}", manifest.description);
    let optimizer = manifest.training.unwrap().optimizer;
    assert!(!optimizer.contains("smoothed"), "the preset's smoothing is for classes: {optimizer}");
    let data = read_for(&folder, &shop.path("reds/list.csv"), DataOptions::default()).unwrap();
    let evaluated = weir::trainer::evaluate_numbers(&folder, 1 << 30, &data.test).unwrap();
    let app = TestApp::with(&shop.path("models"), |_| {}).await;
    for (index, expected) in evaluated.predictions.iter().enumerate() {
        let row = data.test.origin(index).1.unwrap();
        let png = std::fs::read(shop.path(&format!("reds/{}.png", row - 1))).unwrap();
        let answer = app.post("/models/mine/predict", "image/png", png).await;
        let value = answer.json()["predictions"][0]["value"].as_f64().unwrap();
        assert!((value - expected).abs() < 1e-5, "{value} {expected}");
        assert!((value - data.test.values()[index]).abs() < 0.1, "{value} {}", data.test.values()[index]);
    }
}

/// Of numbers, too, the penalty is chosen by the training samples alone: none need be held out.
#[test]
fn numbers_are_solved_at_once_with_and_without_validation_samples() {
    let shop = Workshop::of("head");
    write_reds(&shop, 150);
    let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vision/colours.onnx");
    let file = shop.write("backbone/colours.onnx", std::fs::read(fixture).unwrap());
    shop.write("backbone/model.toml", "[image]\ncolour = \"rgb\"\nscale = 0.00392156862745098\n");
    for (validation, solver) in [(20, Solver::Ridge), (0, Solver::Ridge), (0, Solver::Auto)] {
        let mut task = on(&shop, file.clone(), None);
        task.backbone = task.backbone.map(|backbone| BackboneChoice { solver, ..backbone });
        let mut request = shop.request("reds/list.csv", 1, task);
        request.validation = validation;
        let run = weir::trainer::RunDir::create(&shop.path("runs"), "head", None).unwrap();
        let outcome = weir::trainer::train(&request, &run, false, &mut |_, _| {}, &mut super::data::Quiet).unwrap();
        let TaskReport::Regression(report) = &outcome.report else { panic!("numbers are learned") };
        assert!(report.evaluation.mean_absolute_error < 0.02, "{:?}", report.evaluation);
        let (_, folder) = outcome.published.unwrap();
        let training = VersionFiles::read(&folder, 1 << 30).unwrap().manifest.unwrap().training.unwrap();
        assert!(training.epochs == 0 && training.optimizer.contains("ridge"), "{training:?}");
        let arguments = std::fs::read_to_string(run.path().join("args.toml")).unwrap();
        assert!(arguments.contains("solver = \"ridge\""), "the decision is kept: {arguments}");
    }
}

#[test]
fn photos_teach_a_network_numbers() {
    let shop = Workshop::of("cnn-tiny");
    write_reds(&shop, 200);
    let outcome = shop.train("reds/list.csv", 10, TaskOptions::default()).unwrap();
    let TaskReport::Regression(report) = &outcome.report else { panic!("numbers are learned") };
    assert!(report.evaluation.r_squared.unwrap() > 0.5, "{:?}", report.evaluation);
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
    let mut windows = on(&shop, shipped_models().join("mnist-mlp/1"), None);
    windows.backbone = windows.backbone.map(|backbone| BackboneChoice { pool: Pool::Windows(2), ..backbone });
    assert!(refused(&shop, "digits", windows).contains("averages maps"), "dense layers have none");
    assert_eq!(preset("head").unwrap().name, "head");
}
