//! Inputs by name in every protocol: unknown ones, those that may be left out, and none at all.

use serde_json::{Value, json};
use tonic::Code;
use weir::api::grpc::pb::tensorflow::TensorProto;

use super::grpc::tfs::{FLOAT, predict, predictions, tensor};
use crate::fixtures::{Edge, add_bare_model, bare_model, constant, model, node, png_of_test_image};
use crate::support::TestApp;

/// `shifted`: y = x + shift, where shift is [1, 2, 3] unless it is given. `fixed`: y = [1, 2, 3], without inputs.
async fn server() -> TestApp {
    fn floats<'e>(name: &'e str, dims: &'e [&'e str]) -> Edge<'e> {
        (name, FLOAT, Some(dims))
    }
    let inputs: [Edge<'_>; 2] = [floats("x", &["N", "3"]), floats("shift", &["3"])];
    let output: [Edge<'_>; 1] = [floats("y", &["N", "3"])];
    let default = constant("shift", &[3], &[1.0, 2.0, 3.0]);
    let shifted = model(&inputs, &output, vec![node("Add", &["x", "shift"], "y")], vec![default], 13);
    let nodes = vec![node("Identity", &["c"], "y")];
    let fixed = model(&[], &[floats("y", &["3"])], nodes, vec![constant("c", &[3], &[1.0, 2.0, 3.0])], 13);
    let repository = bare_model("shifted", &shifted);
    add_bare_model(repository.path(), "fixed", 1, &fixed);
    TestApp::with_temp(repository, |_| {}).await
}

async fn ask(app: &TestApp, path: &str, body: &Value) -> (u16, Value) {
    let answer = app.post_json(path, body).await;
    (answer.status.as_u16(), answer.json())
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_that_may_be_left_out_are_given_by_name_in_every_protocol() {
    let app = server().await;
    let predict = |outputs: &Value| {
        let rows = outputs.as_array().unwrap().iter();
        json!(rows.map(|row| json!({"outputs": {"y": row}})).collect::<Vec<_>>())
    };
    let left_out = json!([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]]);
    let given = json!([[7.0, 8.0, 9.0], [8.0, 9.0, 10.0]]);
    let x = json!([[0, 0, 0], [1, 1, 1]]);
    let shift = json!([7, 8, 9]);
    let rows = |shift: Option<&Value>| {
        let row = |x: &Value| match shift {
            Some(shift) => json!({"x": x, "shift": shift}),
            None => json!({"x": x}),
        };
        json!({"instances": x.as_array().unwrap().iter().map(row).collect::<Vec<_>>()})
    };
    let columns = json!({"inputs": {"x": x, "shift": shift}});
    for (path, body, key, expected) in [
        ("/v1/models/shifted:predict", json!({"instances": x}), "predictions", left_out.clone()),
        ("/v1/models/shifted:predict", json!({"inputs": x}), "outputs", left_out.clone()),
        ("/v1/models/shifted:predict", rows(None), "predictions", left_out.clone()),
        ("/v1/models/shifted:predict", rows(Some(&shift)), "predictions", given.clone()),
        ("/v1/models/shifted:predict", columns.clone(), "outputs", given.clone()),
        ("/models/shifted/predict", json!({"instances": x}), "predictions", predict(&left_out)),
        ("/models/shifted/predict", rows(None), "predictions", predict(&left_out)),
        ("/models/shifted/predict", rows(Some(&shift)), "predictions", predict(&given)),
        ("/models/shifted/predict", columns.clone(), "predictions", predict(&given)),
    ] {
        let (status, answer) = ask(&app, path, &body).await;
        assert_eq!((status, &answer[key]), (200, &expected), "{path} {body}: {answer}");
    }
    for (body, expected) in [
        (json!({"x": x}), left_out),
        (json!({"x": x, "shift": shift}), given),
        (json!({"x": x[0], "shift": shift}), json!([7.0, 8.0, 9.0])),
    ] {
        let (status, answer) = ask(&app, "/predictions/shifted", &body).await;
        assert_eq!((status, &answer), (200, &expected), "{body}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_takes_them_as_well() {
    let app = server().await;
    let mut client = predictions(&app);
    let x = TensorProto { float_val: vec![0.0; 3], ..tensor(FLOAT, &[1, 3]) };
    let shift = TensorProto { float_val: vec![7.0, 8.0, 9.0], ..tensor(FLOAT, &[3]) };
    let mut request = predict("shifted", "x", x);
    let answer = client.predict(request.clone()).await.unwrap().into_inner();
    assert_eq!(answer.outputs["y"].float_val, [1.0, 2.0, 3.0]);
    request.inputs.insert("shift".into(), shift.clone());
    let answer = client.predict(request.clone()).await.unwrap().into_inner();
    assert_eq!(answer.outputs["y"].float_val, [7.0, 8.0, 9.0]);
    request.inputs.insert("shfit".into(), shift);
    let refused = client.predict(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("Sent extra: {shfit}. Missing but required: {}."), "{refused}");
    let mut nothing = predict("fixed", "x", tensor(FLOAT, &[0]));
    nothing.inputs.clear();
    assert_eq!(client.predict(nothing).await.unwrap().into_inner().outputs["y"].float_val, [1.0, 2.0, 3.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_input_has_is_refused_with_those_there_are() {
    let app = server().await;
    let x = json!([[0, 0, 0]]);
    for (path, body, status) in [
        ("/v1/models/shifted:predict", json!({"inputs": {"x": x, "shfit": [1, 2, 3]}}), 400),
        ("/v1/models/shifted:predict", json!({"instances": [{"x": x[0], "shfit": [1, 2, 3]}]}), 400),
        ("/models/shifted/predict", json!({"inputs": {"x": x, "shfit": [1, 2, 3]}}), 422),
        ("/models/shifted/predict", json!({"instances": [{"x": x[0], "shfit": [1, 2, 3]}]}), 400),
        ("/predictions/shifted", json!({"x": x, "shfit": [1, 2, 3]}), 400),
        (
            "/v2/models/shifted/infer",
            json!({"inputs": [{"name": "shfit", "datatype": "FP32", "shape": [1], "data": [1]}]}),
            400,
        ),
    ] {
        let (got, answer) = ask(&app, path, &body).await;
        let text = answer.to_string();
        assert_eq!(got, status, "{path} {body}: {text}");
        assert!(text.contains("shfit") && text.contains("x, shift"), "{path} {body}: {text}");
    }
    for (path, instances, words) in [
        (
            "/v1/models/shifted:predict",
            json!([{"x": x[0]}, {"x": x[0], "shift": [1, 2, 3]}]),
            "by all instances or by none",
        ),
        (
            "/v1/models/shifted:predict",
            json!([{"x": x[0], "shift": [1, 2, 3]}, {"x": x[0]}]),
            "by all instances or by none",
        ),
        (
            "/v1/models/shifted:predict",
            json!([{"x": x[0], "shift": [1, 2, 3]}, {"x": x[0], "shift": [1, 2, 4]}]),
            "instances 0 and 1",
        ),
        ("/v1/models/shifted:predict", json!([{"x": x[0], "shift": [1, 2]}]), "shift"),
        ("/v1/models/shifted:predict", json!([{"shift": [1, 2, 3]}]), "keys must be equal to: x"),
    ] {
        let (status, answer) = ask(&app, path, &json!({"instances": instances})).await;
        assert_eq!(status, 400, "{instances}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(words), "{instances}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_inputs_gives_one_answer_to_one_empty_instance() {
    let app = server().await;
    let whole = json!([1.0, 2.0, 3.0]);
    for (path, body, key, expected) in [
        ("/v1/models/fixed:predict", json!({"instances": [{}]}), "predictions", json!([whole])),
        ("/v1/models/fixed:predict", json!({"inputs": {}}), "outputs", whole.clone()),
        ("/models/fixed/predict", json!({"instances": [{}]}), "predictions", json!([{"outputs": {"y": whole}}])),
        ("/models/fixed/predict", json!({"inputs": {}}), "predictions", json!([{"outputs": {"y": whole}}])),
    ] {
        let (status, answer) = ask(&app, path, &body).await;
        assert_eq!((status, &answer[key]), (200, &expected), "{path} {body}: {answer}");
    }
    let (status, answer) = ask(&app, "/predictions/fixed", &json!({})).await;
    assert_eq!((status, &answer), (200, &whole), "{answer}");
    for (path, instances, status, words) in [
        ("/v1/models/fixed:predict", json!([{}, {}]), 400, "expected one empty object, got 2 instances"),
        ("/v1/models/fixed:predict", json!([5]), 400, "the model has no inputs"),
        ("/v1/models/fixed:predict", json!([{"x": 1}]), 400, "the model has none"),
        ("/models/fixed/predict", json!([{}, {}]), 422, "expected one empty object, got 2 instances"),
        ("/models/fixed/predict", json!([5]), 422, "the model has no inputs"),
        ("/models/fixed/predict", json!([]), 422, "the model has no inputs"),
    ] {
        let (got, answer) = ask(&app, path, &json!({"instances": instances})).await;
        assert_eq!(got, status, "{path} {instances}: {answer}");
        assert!(answer.to_string().contains(words), "{path} {instances}: {answer}");
    }
    for path in ["/models/fixed/predict", "/predictions/fixed"] {
        let answer = app.post(path, "image/png", png_of_test_image(0)).await;
        assert_eq!(answer.status, 415, "{path}: {}", answer.text());
        assert!(answer.text().contains("no inputs"), "{path}: {}", answer.text());
    }
}
