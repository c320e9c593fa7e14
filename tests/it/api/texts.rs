//! Texts by a `tokenizer.json`: through every protocol, to every kind of answer. The expected values are those of the Python
//! package `tokenizers` and of NumPy (`tests/fixtures/texts/texts.py`).

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use weir::api::grpc::pb::inference::model_infer_request::InferInputTensor;
use weir::api::grpc::pb::inference::{InferTensorContents, ModelInferRequest};
use weir::api::grpc::pb::tensorflow::TensorProto;
use weir::serving::State;

use super::grpc::inference;
use super::grpc::tfs::{FLOAT, predict, predictions, tensor};
use crate::support::{Answer, TestApp};

const LABELS: &str = r#"{"0": "O", "1": "B-PER", "2": "I-PER", "3": "B-LOC", "4": "I-LOC"}"#;
const CLASSES: &str = r#"{"0": "calm", "1": "high", "2": "flood"}"#;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/texts").join(name)
}

fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(fixture("expected.json")).unwrap()).unwrap()
}

/// Adds a graph of the fixtures with the tokenizer, a `config.json` and a `model.toml`.
fn add(models: &Path, name: &str, graph: &str, id2label: &str, toml: &str) {
    let folder = models.join(name).join("1");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(fixture(&format!("{graph}.onnx")), folder.join("model.onnx")).unwrap();
    std::fs::copy(fixture("wordpiece.json"), folder.join("tokenizer.json")).unwrap();
    let config = format!(r#"{{"max_position_embeddings": 24, "pad_token_id": 0, "id2label": {id2label}}}"#);
    std::fs::write(folder.join("config.json"), config).unwrap();
    std::fs::write(models.join(name).join("model.toml"), toml).unwrap();
}

async fn served(graph: &str, id2label: &str, toml: &str) -> TestApp {
    let models = TempDir::new().unwrap();
    add(models.path(), "m", graph, id2label, toml);
    TestApp::with_temp(models, |_| {}).await
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap_or_else(|| panic!("{value}")).iter().map(|number| number.as_f64().unwrap()).collect()
}

fn assert_near(found: &[f64], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len());
    let is_near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-4;
    assert!(found.iter().zip(wanted).all(is_near), "{found:?} {wanted:?}");
}

fn predicted(answer: &Answer) -> Vec<Value> {
    answer.json()["predictions"].as_array().unwrap_or_else(|| panic!("{}", answer.text())).clone()
}

/// The texts without pairs, and the mean vectors that NumPy gives for each.
fn embeddings() -> (Vec<String>, Vec<Vec<f64>>) {
    let all = expected()["wordpiece"].as_array().unwrap().clone();
    let single = all.iter().filter(|text| text["pair"].is_null());
    single.map(|text| (text["text"].as_str().unwrap().to_owned(), floats(&text["hidden"]))).unzip()
}

/// Returns the reason why a request does not fit the model.
fn refusal(answer: &Answer) -> String {
    answer.assert_problem(422)
}

#[tokio::test]
async fn embeddings_are_those_of_each_text_alone_whatever_pads_it() {
    let app = served("hidden", "{}", "").await;
    let (texts, wanted) = embeddings();
    let answer = app.post_json("/models/m/predict", &json!({"instances": texts})).await;
    assert!(texts.len() > 7 && predicted(&answer).len() == texts.len(), "{}", answer.text());
    for (found, wanted) in predicted(&answer).iter().zip(&wanted) {
        assert_near(&floats(&found["embedding"]), wanted);
    }
    assert_eq!(answer.json()["truncated"], json!([5, 7]), "the texts of more than 24 tokens");
    let described = app.get("/models/m").await.json();
    let version = &described["versions"][0];
    let texts_said = version["texts"].as_str().unwrap();
    for part in
        ["WordPiece", "input_ids, attention_mask, token_type_ids", "at most 24 tokens, by max_position_embeddings"]
    {
        assert!(texts_said.contains(part), "{texts_said}");
    }
    assert!(texts_said.contains("padded to the longest of a request, which changes answers by"), "{texts_said}");
    assert!(version["answer"].as_str().unwrap().contains("\"last_hidden_state\" is vectors, of which the mean"));
    assert_eq!(version["declared"]["transform"]["text"]["max_length"], 24);
    assert_eq!(app.metric("weir_texts_truncated_total{model=\"m\",version=\"1\"}"), 2.0);
    let plain = app.post("/models/m/predict", "text/plain", texts[1].clone()).await;
    assert_near(&floats(&predicted(&plain)[0]["embedding"]), &wanted[1]);
    let one = app.post_json("/models/m/predict", &json!({"text": texts[4]})).await;
    assert_near(&floats(&predicted(&one)[0]["embedding"]), &wanted[4]);
}

#[tokio::test]
async fn the_same_vectors_come_through_every_protocol() {
    let app = served("hidden", "{}", "").await;
    let (texts, wanted) = embeddings();
    let (texts, wanted) = (&texts[..2], wanted[..2].concat());
    let flat = |vectors: &[Value]| vectors.iter().flat_map(|vector| floats(&vector["embedding"])).collect::<Vec<_>>();
    for body in [json!({"instances": texts}), json!({"instances": [{"text": texts[0]}, {"text": texts[1]}]})] {
        let answer = app.post_json("/v1/models/m:predict", &body).await;
        assert_near(&flat(&predicted(&answer)), &wanted);
    }
    let columns = app.post_json("/v1/models/m:predict", &json!({"inputs": {"text": texts}})).await;
    assert_eq!(columns.json()["outputs"].as_array().unwrap().len(), 2, "columns are the graph's outputs");
    for name in ["text", "input_ids"] {
        let input = json!({"name": name, "shape": [2], "datatype": "BYTES", "data": texts});
        let answer = app.post_json("/v2/models/m/infer", &json!({"inputs": [input]})).await.json();
        let output = &answer["outputs"][0];
        assert_eq!((output["name"].as_str(), &output["shape"]), (Some("embedding"), &json!([2, 16])));
        assert_near(&floats(&output["data"]), &wanted);
    }
    let served = app.post_json("/predictions/m", &json!(texts)).await.json();
    assert_near(&flat(served.as_array().unwrap()), &wanted);
    let one = app.post_json("/predictions/m", &json!({"data": texts[0]})).await.json();
    assert_near(&floats(&one["embedding"]), &wanted[..16]);
    let plain = app.post("/predictions/m", "text/plain", texts[0].clone()).await.json();
    assert_near(&floats(&plain["embedding"]), &wanted[..16]);

    let bytes: Vec<Vec<u8>> = texts.iter().map(|text| text.clone().into_bytes()).collect();
    let contents = InferTensorContents {
        bytes_contents: bytes.iter().map(|text| text.clone().into()).collect(),
        ..InferTensorContents::default()
    };
    let input = InferInputTensor {
        name: "text".into(),
        datatype: "BYTES".into(),
        shape: vec![2, 1],
        contents: Some(contents),
        ..InferInputTensor::default()
    };
    let request = ModelInferRequest { model_name: "m".into(), inputs: vec![input], ..ModelInferRequest::default() };
    let answer = inference(&app).model_infer(request).await.unwrap().into_inner();
    assert_eq!((answer.outputs[0].name.as_str(), answer.outputs[0].shape.as_slice()), ("embedding", &[2, 16][..]));
    let raw = answer.raw_output_contents[0].chunks_exact(4);
    let found: Vec<f64> = raw.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()).into()).collect();
    assert_near(&found, &wanted);

    const STRING: i32 = 7;
    let strings = TensorProto { string_val: bytes.into_iter().map(Into::into).collect(), ..tensor(STRING, &[2]) };
    let answer = predictions(&app).predict(predict("m", "text", strings)).await.unwrap().into_inner();
    let embedding = &answer.outputs["embedding"];
    assert_eq!(embedding.dtype, FLOAT);
    let found: Vec<f64> = match embedding.float_val.as_slice() {
        [] => embedding
            .tensor_content
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()).into())
            .collect(),
        values => values.iter().map(|value| f64::from(*value)).collect(),
    };
    assert_near(&found, &wanted);
}

#[tokio::test]
async fn numbers_of_tokens_still_work_for_those_who_tokenise_themselves() {
    let app = served("hidden", "{}", "").await;
    let text = &expected()["wordpiece"][0];
    let (mut ids, mut types) = (text["ids"].clone(), text["types"].clone());
    let count = ids.as_array().unwrap().len();
    let mut mask = vec![1; count];
    for padding in 0..3 {
        ids.as_array_mut().unwrap().push(json!(padding));
        types.as_array_mut().unwrap().push(json!(0));
        mask.push(0);
    }
    let inputs = json!({"input_ids": [ids], "attention_mask": [mask], "token_type_ids": [types]});
    let answer = app.post_json("/models/m/predict", &json!({"inputs": inputs})).await;
    assert_near(&floats(&predicted(&answer)[0]["embedding"]), &floats(&text["hidden"]));
    let tensors = ["input_ids", "attention_mask", "token_type_ids"]
        .map(|name| json!({"name": name, "shape": [1, count + 3], "datatype": "INT64", "data": inputs[name][0]}));
    let answer = app.post_json("/v2/models/m/infer", &json!({"inputs": tensors})).await.json();
    assert_eq!(
        (&answer["outputs"][0]["name"], &answer["outputs"][0]["shape"]),
        (&json!("last_hidden_state"), &json!([1, count + 3, 16]))
    );
    let masked = json!({"input_ids": [[2, 3]], "attention_mask": [[0, 0]], "token_type_ids": [[0, 0]]});
    let refused = refusal(&app.post_json("/models/m/predict", &json!({"inputs": masked})).await);
    assert!(refused.contains("row 0: attention_mask keeps no token"), "{refused}");
    let mixed = json!([tensors[1], {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}]);
    let refused = app.post_json("/v2/models/m/infer", &json!({"inputs": mixed})).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("cannot stand beside texts"), "{}", refused.text());
}

#[tokio::test]
async fn classes_come_by_the_labels_of_the_configuration() {
    let app = served("sequence", CLASSES, "").await;
    let texts = expected()["wordpiece"].clone();
    let instances: Vec<&Value> = (0..3).map(|at| &texts[at]["text"]).collect();
    let answer = app.post_json("/models/m/predict?top_k=3", &json!({"instances": instances})).await;
    assert_eq!(predicted(&answer).len(), 3);
    for (at, prediction) in predicted(&answer).iter().enumerate() {
        let logits = floats(&texts[at]["sequence"]);
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        assert_eq!(prediction["top_k"].as_array().map(Vec::len), Some(3));
        for scored in prediction["top_k"].as_array().unwrap() {
            let class = scored["class"].as_u64().unwrap() as usize;
            assert_eq!(scored["label"], ["calm", "high", "flood"][class]);
            assert_near(&[scored["confidence"].as_f64().unwrap()], &[logits[class].exp() / sum]);
        }
    }
    let served = app.post_json("/predictions/m", &json!(instances[0])).await.json();
    assert!(served["flood"].is_number() && served["calm"].is_number(), "{served}");
    let logits = app.post_json("/v1/models/m:predict", &json!({"instances": [instances[0]]})).await;
    assert_near(&floats(&predicted(&logits)[0]), &floats(&texts[0]["sequence"]));
}

#[tokio::test]
async fn spans_are_told_in_characters_of_the_text() {
    let toml = "[answer]\nkind = \"spans\"\naggregation = \"none\"";
    let app = served("tokens", LABELS, toml).await;
    let text = expected()["wordpiece"][1].clone();
    let answer = app.post_json("/models/m/predict", &json!({"instances": [text["text"], "a"]})).await;
    let spans = predicted(&answer)[0]["spans"].as_array().unwrap().clone();
    let labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"];
    let mut wanted = Vec::new();
    for (logits, offsets) in text["tokens"].as_array().unwrap().iter().zip(text["offsets"].as_array().unwrap()) {
        let logits = floats(logits);
        let best = (0..5).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
        if best > 0 && offsets[1].as_u64() > Some(0) {
            wanted.push(json!({"start": offsets[0], "end": offsets[1], "label": labels[best]}));
        }
    }
    let place = |span: &Value| json!({"start": span["start"], "end": span["end"], "label": span["label"]});
    assert!(wanted.len() > 3, "{wanted:?}");
    assert_eq!(spans.iter().map(place).collect::<Vec<_>>(), wanted);
    // "Zürich" is at these characters, whose bytes lie further behind.
    let zurich: String = text["text"].as_str().unwrap().chars().skip(20).take(6).collect();
    assert_eq!(zurich, "Zürich");
    let input = json!({"name": "text", "shape": [1], "datatype": "BYTES", "data": [text["text"]]});
    let told = app.post_json("/v2/models/m/infer", &json!({"inputs": [input]})).await.json();
    let told: Value = serde_json::from_str(told["outputs"][0]["data"][0].as_str().unwrap()).unwrap();
    assert_eq!(told.as_array().unwrap().len(), spans.len());
    let inputs = json!({"input_ids": [[2, 3]], "attention_mask": [[1, 1]], "token_type_ids": [[0, 0]]});
    let refused = refusal(&app.post_json("/models/m/predict", &json!({"inputs": inputs})).await);
    assert!(refused.contains("send the text itself"), "{refused}");
}

#[tokio::test]
async fn pairs_get_a_score() {
    let app = served("pair", "{}", "").await;
    let all = expected()["wordpiece"].as_array().unwrap().clone();
    let pair = all.iter().find(|text| text["pair"].is_string()).unwrap();
    let (text, other, wanted) = (&pair["text"], &pair["pair"], floats(&pair["score"]));
    for body in [
        json!({"text": text, "pair": other}),
        json!({"instances": [{"text": text, "pair": other}]}),
        json!({"instances": [[text, other]]}),
    ] {
        let answer = app.post_json("/models/m/predict", &body).await;
        assert_near(&[predicted(&answer)[0]["value"].as_f64().unwrap()], &wanted);
    }
    let inputs = json!([{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]},
        {"name": "pair", "shape": [1], "datatype": "BYTES", "data": [other]}]);
    let answer = app.post_json("/v2/models/m/infer", &json!({"inputs": inputs})).await.json();
    assert_eq!(answer["outputs"][0]["name"], "score");
    assert_near(&floats(&answer["outputs"][0]["data"]), &wanted);
    let columns = json!({"inputs": {"text": [text], "pair": [other, other]}});
    let refused = app.post_json("/v1/models/m:predict", &columns).await;
    assert!(refused.text().contains("1 texts and 2 pairs"), "{}", refused.text());
    let either = [r#"{"inputs": {"text": ["a"], "pair": ["b"]}}"#, r#"{"inputs": {"pair": ["b"], "text": ["a"]}}"#];
    let mut answers = Vec::new();
    for body in either {
        let answer = app.post("/v1/models/m:predict", "application/json", body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answers.push(answer.json());
    }
    assert_eq!(answers[0], answers[1], "the order of keys says nothing");
    let ignored = app.post_json("/predictions/m", &json!({"data": text, "pair": other})).await;
    assert!(ignored.status == 400 && ignored.text().contains("beside a text"), "{}", ignored.text());
}

#[tokio::test]
async fn settings_override_what_was_found_and_faults_are_load_failures_in_words() {
    let models = TempDir::new().unwrap();
    for (name, graph, toml) in [
        (
            "short",
            "hidden",
            "[text]\nmax_length = 6\npad_to_multiple_of = 4\n[answer]\nkind = \"embedding\"\npool = \"first\"\nnormalise = true",
        ),
        ("sigmoid", "pair", "[answer]\nkind = \"score\"\nscores = \"sigmoid\""),
        ("unmasked", "unmasked", ""),
        ("long", "hidden", "[text]\nmax_length = 64"),
        ("tiny", "hidden", "[text]\nmax_length = 3"),
        ("odd", "hidden", "[text]\ninput_ids = \"ids\""),
        ("rounded", "unmasked", "[text]\npad_to_multiple_of = 64"),
        ("damaged", "hidden", "[text]"),
        ("hollow", "hidden", "[text]"),
        ("spans", "tokens", "[answer]\nkind = \"spans\""),
    ] {
        add(models.path(), name, graph, "{}", toml);
    }
    std::fs::write(models.path().join("damaged/1/tokenizer.json"), "{\"version\": \"1.0\"").unwrap();
    std::fs::write(models.path().join("hollow/1/config.json"), "not JSON").unwrap();
    let app = TestApp::with_temp(models, |_| {}).await;
    let short = app.post_json("/models/short/predict", &json!({"text": "the water rises behind the weir"})).await;
    let vector = floats(&predicted(&short)[0]["embedding"]);
    assert_near(&[vector.iter().map(|number| number * number).sum()], &[1.0]);
    assert_eq!(short.json()["truncated"], json!([0]));
    let all = expected()["wordpiece"].as_array().unwrap().clone();
    let pair = all.iter().find(|text| text["pair"].is_string()).unwrap();
    let score = app.post_json("/models/sigmoid/predict", &json!({"text": pair["text"], "pair": pair["pair"]})).await;
    let wanted = 1.0 / (1.0 + (-floats(&pair["score"])[0]).exp());
    assert_near(&[predicted(&score)[0]["value"].as_f64().unwrap()], &[wanted]);
    let rounded = app.post_json("/models/rounded/predict", &json!({"text": "a"})).await;
    let alone = app.post_json("/models/unmasked/predict", &json!({"text": "a"})).await;
    let vector = |answer: &Answer| floats(&predicted(answer)[0]["embedding"]);
    assert_near(&vector(&rounded), &vector(&alone));
    let unmasked = app.get("/models/unmasked").await.json();
    assert!(unmasked["versions"][0]["texts"].as_str().unwrap().contains("never padded, as padding changes answers"));
    let mixed = app.post_json("/models/unmasked/predict", &json!({"instances": ["a", "the river rises"]})).await;
    assert!(refusal(&mixed).contains("different lengths cannot share a request"));
    assert_eq!(app.post_json("/models/unmasked/predict", &json!({"instances": ["a", "a"]})).await.status, 200);
    for (name, reason) in [
        ("long", "[text]: max_length is 64, and the graph fails beyond 40 tokens"),
        ("tiny", "the tokenizer adds 3 special tokens to a pair"),
        ("odd", "the graph has no input \"ids\"; it has: input_ids"),
        ("spans", "5 labels for each token, and 0 are named"),
        ("damaged", "tokenizer.json: cannot be used: "),
        ("hollow", "config.json is not JSON at line 1"),
    ] {
        let (state, said) = app.version_state(name, 1).unwrap();
        assert_eq!(state, State::End, "{name}");
        assert!(said.as_deref().unwrap_or_default().contains(reason), "{name}: {said:?}");
    }
}

/// What nobody wrote may not keep a version from serving.
#[tokio::test]
async fn a_guess_that_does_not_hold_is_passed_over_in_words() {
    let models = TempDir::new().unwrap();
    for name in ["damaged", "hollow"] {
        add(models.path(), name, "hidden", "{}", "");
    }
    add(models.path(), "unnamed", "tokens", "{}", "");
    add(models.path(), "misnamed", "sequence", r#"{"0": "calm", "1": "high"}"#, "");
    std::fs::write(models.path().join("damaged/1/tokenizer.json"), "{\"version\": \"1.0\"").unwrap();
    std::fs::write(models.path().join("hollow/1/config.json"), "not JSON").unwrap();
    let app = TestApp::with_temp(models, |_| {}).await;
    let inputs = json!({"input_ids": [[2, 3]], "attention_mask": [[1, 1]], "token_type_ids": [[0, 0]]});
    for (name, reason) in
        [("damaged", "tokenizer.json: cannot be used: "), ("hollow", "config.json is not JSON at line 1")]
    {
        let described = app.get(&format!("/models/{name}")).await.json();
        let said = described["versions"][0]["texts"].as_str().unwrap_or_else(|| panic!("{described}"));
        assert!(said.contains("is passed over") && said.contains(reason), "{said}");
        let answer = app.post_json(&format!("/models/{name}/predict"), &json!({"inputs": inputs})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let refused = refusal(&app.post_json(&format!("/models/{name}/predict"), &json!({"text": "a"})).await);
        assert!(refused.contains(reason), "{refused}");
    }
    // Without names of labels the outputs are answered as they are.
    for name in ["unnamed", "misnamed"] {
        let answer = app.post_json(&format!("/models/{name}/predict"), &json!({"text": "a"})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let described = app.get(&format!("/models/{name}")).await.json();
        let said = described["versions"][0]["texts"].as_str().unwrap();
        assert!(said.contains("answers are the graph's outputs"), "{said}");
    }
}

#[tokio::test]
async fn a_graph_without_a_tokenizer_says_which_file_to_put_where() {
    let models = TempDir::new().unwrap();
    add(models.path(), "m", "hidden", "{}", "");
    std::fs::remove_file(models.path().join("m/1/tokenizer.json")).unwrap();
    let app = TestApp::with_temp(models, |_| {}).await;
    let said = refusal(&app.post_json("/models/m/predict", &json!({"text": "a"})).await);
    assert!(said.contains("put the model's tokenizer.json") && said.contains("into m/1"), "{said}");
    let input = json!({"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]});
    let refused = app.post_json("/v2/models/m/infer", &json!({"inputs": [input]})).await;
    assert!(refused.status == 400 && refused.text().contains("into m/1"), "{}", refused.text());
    // The version is loaded anew with the file.
    std::fs::copy(fixture("wordpiece.json"), app.models().join("m/1/tokenizer.json")).unwrap();
    // The look that finds the change waits for the file to settle.
    let patience = std::time::Instant::now() + crate::support::PATIENCE;
    while app.post_json("/models/m/predict", &json!({"text": "a"})).await.status != 200 {
        assert!(std::time::Instant::now() < patience, "the version is never loaded anew");
        app.refresh().await;
    }
    // Settings of texts alone are no texts.
    std::fs::remove_file(app.models().join("m/1/tokenizer.json")).unwrap();
    std::fs::write(app.models().join("m/model.toml"), "[text]\nmax_length = 9").unwrap();
    app.refresh().await;
    app.refresh().await;
    let catalog = app.state.predictor().catalog();
    let entry = &catalog.models()[&"m".parse().unwrap()].versions[&weir::ids::Version(1)];
    assert!(
        entry.reason.as_deref().unwrap_or_default().contains("needs the model's tokenizer.json in m/1"),
        "{entry:?}"
    );
}

#[tokio::test]
async fn what_is_no_text_is_refused_in_words() {
    let app = served("hidden", "{}", "").await;
    let mut statuses = Vec::new();
    for (body, expected) in [
        (json!({"instances": ["a", 7]}), "a text, a list of two texts"),
        (json!({"instances": []}), "empty"),
        (json!({"pair": "a"}), "beside \"text\""),
        (json!({"text": "a", "instances": ["b"]}), "exclude each other"),
        (json!({"instances": [["a", "b", "c"]]}), "a pair is a list of two texts"),
    ] {
        let answer = app.post_json("/models/m/predict", &body).await;
        let said = answer.assert_problem(answer.status.as_u16());
        assert!(said.contains(expected), "{body}: {} {said}", answer.status);
        statuses.push(answer.status.as_u16());
    }
    assert_eq!(statuses, [400, 422, 422, 400, 400], "what cannot be read, and what does not fit");
    let bytes = refusal(&app.post("/models/m/predict", "text/plain", vec![b'a', 0xff]).await);
    assert!(bytes.contains("not UTF-8 at byte 1"), "{bytes}");
    let huge = app.post_json("/models/m/predict", &json!({"text": "a".repeat((1 << 20) + 1)})).await;
    let said = huge.assert_problem(413);
    assert!(said.contains("the text is too large: the limit is 1048576, got 1048577 bytes"), "{said}");
    let long = "water ".repeat(20_000);
    let answer = app.post_json("/models/m/predict", &json!({"text": long})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["truncated"]), (200, &json!([0])));
}
