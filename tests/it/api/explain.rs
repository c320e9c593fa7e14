//! Explanations over HTTP.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixtures::{bare_model, constant, node, onnx, png_of_test_image, slow};
use crate::support::{Answer, TestApp, bundled_models, copy_folder, shipped_models};

async fn explain(app: &TestApp, query: &str, index: usize) -> Answer {
    app.post(&format!("/models/mnist-mlp/explain?{query}"), "image/png", png_of_test_image(index)).await
}

fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_method_explains_digits_better_than_chance_and_says_so() {
    let app = TestApp::start().await;
    for (method, shape) in [("occlusion", [14, 14]), ("rise", [14, 14]), ("shap", [7, 7])] {
        let mut better = 0;
        for index in 0..5 {
            let answer = explain(&app, &format!("method={method}&samples=600"), index).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let explained = answer.json();
            assert_eq!((&explained["shape"], &explained["unit"]), (&json!(shape), &json!("cells")));
            let credits = numbers(&explained["attributions"]);
            assert_eq!(credits.len(), shape[0] * shape[1]);
            let predicted = app.post("/models/mnist-mlp/predict", "image/png", png_of_test_image(index)).await;
            let best = &predicted.json()["predictions"][0];
            assert_eq!(explained["label"], best["label"]);
            let confidence = best["confidence"].as_f64().unwrap();
            assert!((explained["value"].as_f64().unwrap() - confidence).abs() < 1e-5);
            better += usize::from(explained["score"]["better_than_random"] == true);
            if method == "shap" {
                assert!(explained["completeness_error"].as_f64().unwrap() < 1e-9);
            }
        }
        assert!(better >= 4, "{method}: {better} of 5");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_is_repeatable_and_of_the_class_that_is_asked_for() {
    let app = TestApp::start().await;
    let first = explain(&app, "method=rise&samples=50&seed=3&score=false", 0).await.json();
    let again = explain(&app, "method=rise&samples=50&seed=3&score=false", 0).await.json();
    assert_eq!(first["attributions"], again["attributions"]);
    assert!(first.get("score").is_none() && first["evaluations"] == 53, "{first}");
    let other = explain(&app, "method=rise&samples=50&seed=4&score=false", 0).await.json();
    assert_ne!(first["attributions"], other["attributions"]);
    let three = explain(&app, "class=3&score=false", 0).await.json();
    assert_eq!((&three["class"], &three["label"]), (&json!(3), &json!("3")));
    assert!(three["value"].as_f64().unwrap() < 0.5, "it is a seven: {three}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_drawn_and_nobody_is_told_of_masked_samples() {
    let app = TestApp::start().await;
    let request = Request::post("/models/mnist-mlp/versions/1/explain?score=false").header("accept", "image/png");
    let drawn = app.send(request.body(Body::from(png_of_test_image(0))).unwrap()).await;
    assert_eq!((drawn.status.as_u16(), &drawn.body[..4]), (200, &b"\x89PNG"[..]), "{}", drawn.text());
    let series = |outcome: &str| {
        format!("weir_inference_requests_total{{model=\"mnist-mlp\",outcome=\"{outcome}\",version=\"1\"}}")
    };
    assert!(app.metric(&series("explanation")) > 5.0);
    assert_eq!(app.metric(&series("success")), 0.0);
    let quality = app.get("/models/mnist-mlp/quality").await;
    assert!(!quality.text().contains("\"predictions\":1"), "{}", quality.text());
    app.assert_unharmed().await;
}

/// `y = x · [1, -2, 3, 0]`
fn weighted() -> Vec<u8> {
    let product = node("MatMul", &["x", "w"], "y");
    let weights = constant("w", &[4, 1], &[1.0, -2.0, 3.0, 0.0]);
    onnx(&[4], vec![product], vec![weights])
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_a_linear_model_are_credited_exactly() {
    let models = bare_model("sum", &weighted());
    std::fs::write(models.path().join("sum/model.toml"), "[transform.output]\nkind = \"regression\"\nvalue = \"y\"\n")
        .unwrap();
    let app = TestApp::with_temp(models, |_| {}).await;
    for (query, expected) in [("method=shap", [2.0, -4.0, 1.5, 0.0]), ("method=occlusion", [2.0, -4.0, 1.5, 0.0])] {
        let body = json!({"instances": [[2.0, 2.0, 0.5, 9.0]]});
        let answer = app.post_json(&format!("/models/sum/explain?{query}"), &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let found = numbers(&answer.json()["attributions"]);
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{query}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_explained_is_said() {
    let app = TestApp::start().await;
    for (query, words) in [
        ("method=magic", "unknown variant"),
        ("samples=9", "\"samples\" must be from 10 to 10000, got 9"),
        ("cells=33", "\"cells\" must be from 1 to 32"),
        ("depth=1", "unknown field"),
    ] {
        let problem = explain(&app, query, 0).await.assert_problem(400);
        assert!(problem.contains(words), "{query}: {problem}");
    }
    for (query, words) in [
        ("cells=28", "at most 512 parts, and this input has 784"),
        ("method=rise&cells=28&samples=10000", "10000 masks of 784 parts are too many"),
    ] {
        let problem = explain(&app, query, 0).await.assert_problem(422);
        assert!(problem.contains(words), "{query}: {problem}");
    }
    assert!(explain(&app, "class=cat", 0).await.assert_problem(422).contains("has no class \"cat\""));
    let two = json!({"instances": [vec![0.0; 784], vec![0.0; 784]]});
    let problem = app.post_json("/models/mnist-mlp/explain", &two).await.assert_problem(422);
    assert!(problem.contains("one sample is explained at a time, got 2"), "{problem}");
    app.post("/models/none/explain", "image/png", png_of_test_image(0)).await.assert_problem(404);
    let raw = TestApp::with_temp(bare_model("slow", &slow()), |_| {}).await;
    let problem = raw.post_json("/models/slow/explain", &json!({"instances": [[[1.0]]]})).await.assert_problem(422);
    assert!(problem.contains("only classes, numbers and scores are explained"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kserve_and_torchserve_explain_in_their_places() {
    let app = TestApp::start().await;
    let instances = json!({"instances": [vec![0.0; 784], vec![255.0; 784]]});
    let answer = app.post_json("/v1/models/mnist-mlp:explain", &instances).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let explanations = answer.json()["explanations"].as_array().unwrap().clone();
    assert_eq!(explanations.iter().map(|one| numbers(&one["attributions"]).len()).collect::<Vec<_>>(), [49, 49]);
    assert_ne!(explanations[0]["value"], explanations[1]["value"]);
    let many = json!({"instances": vec![vec![0.0; 784]; 17]});
    assert_eq!(app.post_json("/v1/models/mnist-mlp:explain", &many).await.status, 413);
    let own = explain(&app, "", 0).await.json();
    for path in ["/explanations/mnist-mlp", "/explanations/mnist-mlp/1.0"] {
        let answer = app.post(path, "image/png", png_of_test_image(0)).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["attributions"]), (200, &own["attributions"]), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_keeps_to_its_time_and_fills_no_cache() {
    let app = TestApp::with(&bundled_models(), |options| options.cache_bytes = Some(1 << 20)).await;
    let request = Request::post("/models/mnist-mlp/explain?samples=5000").header("x-timeout-ms", "1");
    let late = app.send(request.body(Body::from(png_of_test_image(0))).unwrap()).await;
    late.assert_problem(504);
    assert_eq!(explain(&app, "samples=50&score=false", 0).await.status, 200);
    assert_eq!(app.metric("weir_cache_bytes{model=\"mnist-mlp\",version=\"1\"}"), 0.0);
}

/// A server with the bundled network that ends in a global average pool, and the one that does not.
async fn with_maps() -> TestApp {
    let models = TempDir::new().unwrap();
    for name in ["mnist-cnn", "mnist-mlp"] {
        copy_folder(&shipped_models().join(name).join("1"), &models.path().join(name).join("1"));
    }
    TestApp::with_temp(models, |options| options.default_model = Some("mnist-mlp".parse().unwrap())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn class_activation_maps_add_up_to_the_logit() {
    let app = with_maps().await;
    let ask = async |query: &str, index: usize| {
        let path = format!("/models/mnist-cnn/explain?method=cam&{query}");
        let answer = app.post(&path, "image/png", png_of_test_image(index)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    for index in 0..3 {
        let explained = ask("score=false", index).await;
        assert_eq!((&explained["shape"], &explained["unit"]), (&json!([2, 2]), &json!("cells")), "{explained}");
        let credits = numbers(&explained["attributions"]);
        let number = |name: &str| explained[name].as_f64().unwrap();
        let error = (credits.iter().sum::<f64>() + number("bias") - number("logit")).abs();
        assert!(error < 1e-4 && (error - number("completeness_error")).abs() < 1e-9, "{explained}");
        assert!(number("logit") > 1.0 && explained["evaluations"] == 4, "{explained}");
    }
    // The logits of all classes, by their maps, make the confidences that the model gives.
    let mut logits = Vec::new();
    for class in 0..10 {
        logits.push(ask(&format!("score=false&class={class}"), 0).await["logit"].as_f64().unwrap());
    }
    let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
    let predicted = app.post("/models/mnist-cnn/predict?top_k=10", "image/png", png_of_test_image(0)).await.json();
    for scored in predicted["predictions"][0]["top_k"].as_array().unwrap() {
        let class = scored["class"].as_u64().unwrap() as usize;
        let confidence = scored["confidence"].as_f64().unwrap();
        assert!((logits[class].exp() / total - confidence).abs() < 1e-4, "{class}: {logits:?} {scored}");
    }
    let finer = ask("cells=14&class=7", 0).await;
    let credits = numbers(&finer["attributions"]);
    assert_eq!(credits.len(), 196);
    assert!((credits.iter().sum::<f64>() + finer["bias"].as_f64().unwrap() - logits[7]).abs() < 1e-4, "{finer}");
    assert!(finer["score"]["deletion"].is_number(), "it is tried as the others are: {finer}");
    let quarter = credits[0];
    assert!((0..7).all(|column| (credits[column] - quarter).abs() < 1e-12), "a place of the maps is even: {finer}");
    let series = "weir_inference_requests_total{model=\"mnist-cnn/class-maps\",outcome=\"explanation\",version=\"1\"}";
    assert_eq!(app.metric(series), 14.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_activation_map_is_drawn_and_refused_where_there_is_none() {
    let app = with_maps().await;
    let request = Request::post("/models/mnist-cnn/explain?method=cam&score=false").header("accept", "image/png");
    let drawn = app.send(request.body(Body::from(png_of_test_image(0))).unwrap()).await;
    assert_eq!((drawn.status.as_u16(), &drawn.body[..4]), (200, &b"\x89PNG"[..]), "{}", drawn.text());
    for _ in 0..2 {
        let problem = explain(&app, "method=cam", 0).await.assert_problem(422);
        assert!(problem.contains("no linear map of a global average pool"), "{problem}");
        assert!(problem.contains("take method=occlusion"), "{problem}");
    }
    // The file is read again for the maps: another one would have other maps.
    let replaced = with_maps().await;
    std::fs::write(replaced.models().join("mnist-cnn/1/model.onnx"), weighted()).unwrap();
    let path = "/models/mnist-cnn/explain?method=cam";
    let problem = replaced.post(path, "image/png", png_of_test_image(0)).await.assert_problem(409);
    assert!(problem.contains("has changed since it was loaded"), "{problem}");
    app.assert_unharmed().await;
}
