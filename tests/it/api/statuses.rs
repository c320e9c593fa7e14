//! One table of the statuses of every protocol: models and versions that cannot answer, inputs that do not fit, and
//! methods that a path does not take.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use tonic::Code;
use weir::api::grpc::pb::tensorflow::TensorProto;

use super::grpc::tfs::{FLOAT, predict, predictions, tensor};
use super::grpc::{ask, inference};
use crate::fixtures::{Edge, add_bare_model, bare_model, constant, half_plus_two, model, node};
use crate::support::TestApp;

const INT64: i32 = 7;

/// `half` serves, its version 2 does not; `broken` has none that does, `empty` has none at all.
async fn server() -> TestApp {
    let models = bare_model("half", &half_plus_two());
    add_bare_model(models.path(), "half", 2, b"no graph");
    add_bare_model(models.path(), "broken", 1, b"no graph");
    std::fs::create_dir_all(models.path().join("empty/v1")).unwrap();
    std::fs::write(models.path().join("empty/v1/model.onnx"), half_plus_two()).unwrap();
    TestApp::with_temp(models, |_| {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_answer_has_the_status_of_each_protocol() {
    let app = server().await;
    let mut tfs = predictions(&app);
    let mut oip = inference(&app);
    let rows = json!({"instances": [[1.0]]});
    let v2 = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]});
    for (name, version, weir, tf, triton, torch, tf_code, triton_code) in [
        ("half", 1, 200, 200, 200, 200, Code::Ok, Code::Ok),
        ("half", 2, 503, 404, 503, 503, Code::NotFound, Code::Unavailable),
        ("half", 3, 404, 404, 404, 404, Code::NotFound, Code::NotFound),
        ("broken", 1, 503, 404, 503, 503, Code::NotFound, Code::Unavailable),
        ("broken", 0, 503, 404, 404, 503, Code::NotFound, Code::NotFound),
        ("empty", 0, 503, 404, 404, 503, Code::NotFound, Code::NotFound),
        ("absent", 0, 404, 404, 404, 404, Code::NotFound, Code::NotFound),
    ] {
        let (versions, short) = match version {
            0 => (String::new(), String::new()),
            number => (format!("/versions/{number}"), format!("/{number}")),
        };
        for (path, body, status) in [
            (format!("/models/{name}{versions}/predict"), &rows, weir),
            (format!("/v1/models/{name}{versions}:predict"), &rows, tf),
            (format!("/v2/models/{name}{versions}/infer"), &v2, triton),
            (format!("/predictions/{name}{short}"), &json!([1.0]), torch),
        ] {
            let answer = app.post_json(&path, body).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
        }
        for (path, status) in [
            (format!("/v1/models/{name}{versions}/metadata"), tf),
            (format!("/v2/models/{name}{versions}"), triton),
            (format!("/v2/models/{name}{versions}/ready"), triton),
            (format!("/v2/models/{name}{versions}/config"), triton),
            (format!("/v2/models/{name}{versions}/stats"), triton),
        ] {
            let answer = app.get(&path).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
        }
        let number = |status: Result<(), tonic::Status>| status.map_or_else(|status| status.code(), |()| Code::Ok);
        let mut request = predict(name, "x", TensorProto { float_val: vec![1.0], ..tensor(FLOAT, &[1, 1]) });
        let spec = request.model_spec.as_mut().unwrap();
        spec.version_choice = (version > 0)
            .then_some(weir::api::grpc::pb::tensorflow::serving::model_spec::VersionChoice::Version(version));
        assert_eq!(number(tfs.predict(request).await.map(drop)), tf_code, "{name} {version}");
        let mut request = ask(name, "x", &[1, 1], &[1.0]);
        if version > 0 {
            request.model_version = version.to_string();
        }
        assert_eq!(number(oip.model_infer(request).await.map(drop)), triton_code, "{name} {version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_does_not_fit_is_422_in_our_own_api_and_400_elsewhere_whoever_notices() {
    let ids: [Edge<'_>; 1] = [("ids", INT64, Some(&["N", "L"]))];
    let output: [Edge<'_>; 1] = [("y", FLOAT, Some(&["N", "L", "2"]))];
    let table = vec![constant("e", &[5, 2], &[0.5; 10])];
    let embed = model(&ids, &output, vec![node("Gather", &["e", "ids"], "y")], table, 13);
    let app = TestApp::with_temp(bare_model("embed", &embed), |_| {}).await;
    let v2 = |shape: Value, data: Value| json!({"inputs": [{"name": "ids", "datatype": "INT64", "shape": shape, "data": data}]});
    // An index beyond the table, which the engine notices, and a shape, which we notice.
    for (rows, v2) in
        [(json!([[0, 5]]), v2(json!([1, 2]), json!([0, 5]))), (json!([0, 4]), v2(json!([2]), json!([0, 4])))]
    {
        for (path, body, status) in [
            ("/models/embed/predict", json!({"instances": rows}), 422),
            ("/models/embed/predict", json!({"inputs": {"ids": rows}}), 422),
            ("/v1/models/embed:predict", json!({"instances": rows}), 400),
            ("/v1/models/embed:predict", json!({"inputs": rows}), 400),
            ("/v2/models/embed/infer", v2, 400),
        ] {
            let answer = app.post_json(path, &body).await;
            assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        }
    }
    let answer = app.post_json("/predictions/embed", &json!([[0, 5]])).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_a_path_does_not_take_is_405_with_those_it_takes() {
    let app = TestApp::with_temp(bare_model("half", &half_plus_two()), |_| {}).await;
    let document = app.get("/openapi.json").await.json();
    let mut routes: Vec<(String, Vec<String>)> = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let mut methods: Vec<String> = operations.as_object().unwrap().keys().map(|key| key.to_uppercase()).collect();
        if methods.contains(&"GET".to_owned()) {
            methods.push("HEAD".into());
        }
        routes.push((path.replace("{model}", "half").replace("{version}", "1"), methods));
    }
    let owned = |methods: &[&str]| methods.iter().map(|method| (*method).to_owned()).collect::<Vec<_>>();
    for (path, methods) in [
        ("/v2/health/live", &["GET", "HEAD"][..]),
        ("/v2/models/half", &["GET", "HEAD"]),
        ("/v2/models/half/infer", &["POST"]),
        ("/v2/models/half/versions/1/infer", &["POST"]),
        ("/v2/models/half/trace/setting", &["GET", "HEAD", "POST"]),
        ("/v2/repository/index", &["POST"]),
        ("/v2/repository/models/half/load", &["POST"]),
        ("/v2/systemsharedmemory/status", &["GET", "HEAD"]),
        ("/predictions/half/1", &["POST", "PUT"]),
        ("/ping", &["GET", "HEAD"]),
        ("/monitoring/prometheus/metrics", &["GET", "HEAD"]),
    ] {
        routes.push((path.into(), owned(methods)));
    }
    // Where TorchServe's clients ask, records of predictions are shown and erased.
    let patched = Request::builder().method(Method::PATCH).uri("/predictions/half").body(Body::empty()).unwrap();
    let answer = app.send(patched).await;
    assert_eq!(answer.status, 405, "{}", answer.text());
    let mut listed: Vec<_> = answer.headers["allow"].to_str().unwrap().split(',').map(str::trim).collect();
    listed.sort_unstable();
    assert_eq!(listed, ["DELETE", "GET", "HEAD", "POST", "PUT"]);
    for (path, mut methods) in routes {
        methods.sort_unstable();
        let answer = app.send(Request::builder().method(Method::DELETE).uri(&path).body(Body::empty()).unwrap()).await;
        if methods.contains(&"DELETE".to_owned()) || path == "/" {
            continue;
        }
        assert_eq!(answer.status, 405, "{path}: {}", answer.text());
        let mut listed: Vec<_> = answer.headers["allow"].to_str().unwrap().split(',').map(str::trim).collect();
        listed.sort_unstable();
        assert_eq!(listed, methods, "{path}");
        assert!(answer.text().contains("is not allowed"), "{path}: {}", answer.text());
        if answer.headers["content-type"] == "application/problem+json" {
            let problem = answer.json();
            let named = (&problem["type"], &problem["title"]);
            let expected = (json!("about:blank#method_not_allowed"), json!("The path does not take this method"));
            assert_eq!(named, (&expected.0, &expected.1), "{path}");
        }
    }
}
