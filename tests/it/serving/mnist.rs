//! The bundled models on all test images, one of them through the whole server.

use weir::signature::Task;
use weir::stats::Evaluator;
use weir::trainer::{Importance, evaluate_autoencoder, evaluate_version, task_of};

use crate::fixtures::{mnist, png_of_test_image};
use crate::support::{TestApp, bundled_models, shipped_models};

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_images_as_png_give_the_manifest_s_evaluation_to_the_last_image() {
    let app = TestApp::start().await;
    let test = &mnist().test;
    let mut evaluator = Evaluator::new(10);
    for index in 0..test.len() {
        let answer = app.post("/predict?top_k=10", "image/png", png_of_test_image(index)).await.json();
        let mut probabilities = [0.0; 10];
        for scored in answer["predictions"][0]["top_k"].as_array().unwrap() {
            probabilities[scored["class"].as_u64().unwrap() as usize] = scored["confidence"].as_f64().unwrap() as f32;
        }
        evaluator.add(test.labels()[index] as usize, &probabilities);
    }
    let served = evaluator.finish();
    let evaluated = evaluate_version(&bundled_models().join("mnist-mlp/1"), 1 << 30, test).unwrap();
    let reported = evaluated.manifest.unwrap().classification().unwrap().test.clone().unwrap();
    assert_eq!(served.confusion, reported.confusion);
    assert_eq!(evaluated.predictions.evaluate().confusion, reported.confusion);
    assert!((served.summary.loss - reported.summary.loss).abs() < 1e-5);
}

#[test]
fn every_shipped_model_is_as_good_as_its_manifest_says() {
    let mut seen = 0;
    for model in std::fs::read_dir(shipped_models()).unwrap() {
        for version in std::fs::read_dir(model.unwrap().path()).unwrap() {
            let folder = version.unwrap().path();
            if folder.is_dir() && task_of(&folder, 1 << 30).unwrap() == Task::Reconstruction {
                let importance = Importance { draws: 0, images: 0 };
                let images = (&mnist().test, "test images".to_owned());
                let (report, manifest) = evaluate_autoencoder(&folder, 1 << 30, images, importance).unwrap();
                let (found, reported) =
                    (report.evaluation.negative_elbo, manifest.reconstruction().unwrap().test.clone().unwrap());
                assert!((found - reported.negative_elbo).abs() < 0.01, "{}: {found}", folder.display());
                seen += 1;
            } else if folder.is_dir() {
                let evaluated = evaluate_version(&folder, 1 << 30, &mnist().test).unwrap();
                let reported = evaluated.manifest.unwrap().classification().unwrap().test.clone().unwrap();
                assert_eq!(evaluated.predictions.evaluate().confusion, reported.confusion, "{}", folder.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 0);
}
