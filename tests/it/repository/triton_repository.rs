//! Repositories as Triton has them: `config.pbtxt` obeyed, compared with the graph, watched.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use weir::config::CompatMetrics;
use weir::repository::triton::ModelConfig;
use weir::serving::State;

use crate::fixtures::{
    add_bare_model, bare_model, constant, half_plus_two, model, node, onnx, panics_on_seven, row_sums,
    sum_and_difference,
};
use crate::support::{TestApp, until};

const FLOAT: i32 = 1;

/// A repository with one model and its configuration.
fn configured(onnx: &[u8], config: &str) -> TempDir {
    let models = bare_model("m", onnx);
    fs::write(models.path().join("m/config.pbtxt"), config).unwrap();
    models
}

async fn serving(onnx: &[u8], config: &str) -> TestApp {
    let app = TestApp::with_temp(configured(onnx, config), |_| {}).await;
    assert_eq!(app.version_state("m", 1), Some((State::Available, None)), "{config}");
    app
}

/// Why the version of a model with this configuration does not serve.
async fn refusal(onnx: &[u8], config: &str) -> String {
    let app = TestApp::with_temp(configured(onnx, config), |_| {}).await;
    let (state, reason) = app.version_state("m", 1).unwrap();
    assert_eq!(state, State::End, "{config}");
    reason.unwrap()
}

async fn problem(app: &TestApp) -> Option<String> {
    app.get("/models/m").await.json()["problem"].as_str().map(str::to_owned)
}

impl TestApp {
    fn triton_config(&self) -> ModelConfig {
        let catalog = self.state.predictor().catalog();
        catalog.servables().next().unwrap().model_config(256)
    }

    async fn output(&self, input: Value) -> Value {
        let answer = self.post_json("/models/m/predict", &json!({"inputs": {"x": input}})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["predictions"].clone()
    }
}

/// x: [1, 2, 3] → y: [1, 3, 1, 1], three numbers that sum to one, as an old network ends.
fn of_a_batch_of_one() -> Vec<u8> {
    let x = ("x", FLOAT, Some(&["1", "2", "3"][..]));
    let y = ("y", FLOAT, Some(&["1", "3", "1", "1"][..]));
    let mut shape = constant("shape", &[4], &[]);
    shape.data_type = 7;
    shape.raw_data = [1i64, 3, 1, 1].iter().flat_map(|size| size.to_le_bytes()).collect();
    let mut axes = constant("axes", &[1], &[]);
    axes.data_type = 7;
    axes.raw_data = 1i64.to_le_bytes().into();
    let nodes = vec![
        node("ReduceSum", &["x", "axes"], "sum"),
        node("Softmax", &["sum"], "share"),
        node("Reshape", &["share", "shape"], "y"),
    ];
    model(&[x], &[y], nodes, vec![shape, axes], 18)
}

/// y = softmax(x) of `[N, 3]`.
fn distribution() -> Vec<u8> {
    onnx(&[3], vec![node("Softmax", &["x"], "y")], Vec::new())
}

#[tokio::test]
async fn the_shapes_of_an_old_image_classifier_hide_its_batch_of_one() {
    let config = r#"
        name: "m"
        platform: "onnxruntime_onnx"
        max_batch_size : 0
        input [ { name: "x" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 2, 3 ] reshape { shape: [ 1, 2, 3 ] } } ]
        output [ { name: "y" data_type: TYPE_FP32 dims: [ 3 ] reshape { shape: [ 1, 3, 1, 1 ] } } ]
    "#;
    let app = serving(&of_a_batch_of_one(), config).await;
    assert_eq!(problem(&app).await, None);
    let signature = app.get("/models/m").await.json()["versions"][0]["signature"].clone();
    assert_eq!((&signature["inputs"][0]["shape"], &signature["outputs"][0]["shape"]), (&json!([2, 3]), &json!([3])));
    let third = app.output(json!([[1, 1, 1], [2, 2, 2]])).await;
    for share in third[0]["outputs"]["y"].as_array().unwrap() {
        assert!((share.as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-6, "{third}");
    }
    let wrong = app.post_json("/models/m/predict", &json!({"inputs": {"x": [[[1, 1, 1], [2, 2, 2]]]}})).await;
    wrong.assert_problem(422);
    let input = json!({"name": "x", "datatype": "FP32", "shape": [2, 3], "data": [1, 1, 1, 2, 2, 2]});
    let answer = app.post_json("/v2/models/m/infer", &json!({"inputs": [input]})).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["outputs"][0]["shape"]),
        (200, &json!([3])),
        "{}",
        answer.text()
    );
    assert_eq!(app.get("/v2/models/m").await.json()["inputs"][0]["shape"], json!([2, 3]));
    let config = app.get("/v2/models/m/config").await.json();
    assert_eq!((&config["max_batch_size"], &config["input"][0]["dims"]), (&json!(0), &json!([2, 3])));
    assert_eq!(config["input"][0]["reshape"], json!({"shape": [1, 2, 3]}));
    assert!(config.get("dynamic_batching").is_none() && config.get("optimization").is_none(), "{config}");
}

#[tokio::test]
async fn dims_without_the_batch_are_those_of_a_batched_model() {
    let config = r#"
        backend: "onnxruntime"
        max_batch_size: 4
        input { name: "x" data_type: TYPE_FP32 dims: 1 }
        output { name: "y" data_type: TYPE_FP32 dims: 1 }
    "#;
    let app = serving(&half_plus_two(), config).await;
    let tuning = app.get("/models/m").await.json()["versions"][0]["tuning"].clone();
    assert_eq!((&tuning["max_batch"], &tuning["gather"]), (&json!(4), &json!(false)));
    // Without `dynamic_batching` requests are neither joined nor cut, and one of more samples is refused as in Triton.
    let most: Vec<[f64; 1]> = (0..4).map(|number| [f64::from(number)]).collect();
    let answer = app.post_json("/models/m/predict", &json!({"instances": most})).await.json();
    assert_eq!(answer["predictions"][3]["outputs"]["y"], json!([3.5]));
    assert_eq!(app.metric("weir_inference_batch_size_sum{model=\"m\",version=\"1\"}"), 4.0);
    assert_eq!(app.metric("weir_inference_batch_size_count{model=\"m\",version=\"1\"}"), 1.0);
    let more = json!({"instances": ([most.as_slice(), &[[4.0]]].concat())});
    let detail = app.post_json("/models/m/predict", &more).await.assert_problem(422);
    assert!(detail.contains("at most 4 samples") && detail.contains("max_batch_size"), "{detail}");
}

#[tokio::test]
async fn several_inputs_and_chosen_outputs_in_the_order_of_the_configuration() {
    let config = r#"
        max_batch_size: 8
        input [ { name: "a" data_type: TYPE_INT64 dims: [2] }, { name: "b" data_type: TYPE_INT64 dims: [2] } ]
        output { name: "difference" data_type: TYPE_INT64 dims: [2] }
    "#;
    let app = serving(&sum_and_difference(), config).await;
    let body = json!({"inputs": {"a": [[5, 6]], "b": [[1, 2]]}});
    let answer = app.post_json("/models/m/predict", &body).await.json();
    assert_eq!(answer["predictions"], json!([{"outputs": {"difference": [4, 4]}}]));
}

#[tokio::test]
async fn a_configuration_that_does_not_fit_the_graph_ends_with_a_reason() {
    let tensors = |input: &str, output: &str| format!("input {{ {input} }} output {{ {output} }}");
    let (x, y) = ("name: \"x\" data_type: TYPE_FP32 dims: 1", "name: \"y\" data_type: TYPE_FP32 dims: 1");
    for (config, expected) in [
        (tensors(x, y), "input \"x\" has shape [N, 1] in the graph, the configuration says [1]"),
        (
            format!("max_batch_size: 4 {}", tensors("name: \"x\" data_type: TYPE_FP32 dims: 3", y)),
            "the configuration says [-1, 3]",
        ),
        (format!("max_batch_size: 4 {}", tensors("name: \"x\" data_type: TYPE_FP64 dims: 1", y)), "TYPE_FP64"),
        (format!("max_batch_size: 4 {}", tensors("name: \"i\" data_type: TYPE_FP32 dims: 1", y)), "no input \"i\""),
        ("platform: \"tensorrt_plan\"".into(), "platform \"tensorrt_plan\" is not supported"),
        ("sequence_batching {}".into(), "line 1, column 1: sequence_batching is not supported"),
        ("max_batch_size: ".into(), "line 1, column 17: expected a value"),
        ("max_batch_size: 2 output { name: \"y\" data_type: TYPE_FP32 dims: 1 label_filename: \"l.txt\" }".into(), {
            "label_filename \"l.txt\" is missing"
        }),
        ("default_model_filename: \"other.onnx\"".into(), "other.onnx"),
    ] {
        let models = configured(&half_plus_two(), &config);
        let app = TestApp::with_temp(models, |_| {}).await;
        let (state, reason) = app.version_state("m", 1).unwrap();
        assert_ne!(state, State::Available, "{config}");
        let reason = reason.unwrap();
        assert!(reason.contains(expected), "{config}: {reason}");
    }
}

#[tokio::test]
async fn a_model_of_another_framework_ends_and_says_so_and_the_rest_serves() {
    let models = bare_model("good", &half_plus_two());
    let other = models.path().join("resnet");
    fs::create_dir_all(other.join("1")).unwrap();
    fs::write(other.join("1/model.plan"), "x").unwrap();
    fs::write(other.join("config.pbtxt"), "platform: \"tensorrt_plan\"\nmax_batch_size: 8\n").unwrap();
    let app = TestApp::with_temp(models, |_| {}).await;
    assert_eq!(app.get("/readyz").await.status, 200);
    assert_eq!(app.version_state("good", 1).unwrap().0, State::Available);
    let (state, reason) = app.version_state("resnet", 1).unwrap();
    assert_eq!(state, State::End);
    assert!(reason.unwrap().contains("tensorrt_plan"));
}

#[tokio::test]
async fn what_has_no_effect_is_shown() {
    let config = "optimization { graph { level: 1 } }\nwhatever: 3\ninstance_group [ { kind: KIND_GPU count: 1 } ]";
    let app = serving(&half_plus_two(), config).await;
    let problem = problem(&app).await.unwrap();
    for named in ["config.pbtxt: ", "optimization (line 1)", "whatever (line 2)", "KIND_GPU"] {
        assert!(problem.contains(named), "{named}: {problem}");
    }
}

#[tokio::test]
async fn labels_beside_the_versions_name_the_classes_of_a_distribution_and_of_nothing_else() {
    let config = "max_batch_size: 4 output { name: \"y\" data_type: TYPE_FP32 dims: 3 label_filename: \"labels.txt\" }";
    let models = configured(&distribution(), config);
    fs::write(models.path().join("m/labels.txt"), "cat\ndog\r\nfox\n").unwrap();
    let app = TestApp::with_temp(models, |_| {}).await;
    let answer = app.post_json("/models/m/predict", &json!({"instances": [[0.0, 0.0, 9.0]]})).await;
    assert_eq!(answer.labels(), ["fox"]);
    let input = json!({"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [0, 9, 1]});
    let output = json!({"name": "y", "parameters": {"classification": 2}});
    let answer = app.post_json("/v2/models/m/infer", &json!({"inputs": [input], "outputs": [output]})).await.json();
    let classes: Vec<&str> =
        answer["outputs"][0]["data"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(classes[0].ends_with(":1:dog") && classes[1].ends_with(":2:fox"), "{answer}");

    let one = "max_batch_size: 4 output { name: \"y\" data_type: TYPE_FP32 dims: 1 label_filename: \"labels.txt\" }";
    let models = configured(&half_plus_two(), one);
    fs::write(models.path().join("m/labels.txt"), "only\n").unwrap();
    let app = TestApp::with_temp(models, |_| {}).await;
    let numbers = app.post_json("/models/m/predict", &json!({"instances": [[2.0]]})).await.json();
    assert_eq!(numbers["predictions"][0]["outputs"]["y"], json!([3.0]), "2 is no distribution");
    let catalog = app.state.predictor().catalog();
    assert_eq!(catalog.servables().next().unwrap().output_labels(0, 1), ["only"]);
}

#[tokio::test]
async fn warm_up_requests_are_run_before_the_version_serves() {
    let warmup = |input: &str| {
        format!(
            "max_batch_size: 4 model_warmup {{ name: \"w\" batch_size: 2 count: 3 \
             inputs {{ key: \"x\" value: {{ data_type: TYPE_FP32 dims: 1 {input} }} }} }}"
        )
    };
    for input in ["zero_data: true", "random_data: true"] {
        serving(&half_plus_two(), &warmup(input)).await;
    }
    for (config, expected) in [
        (warmup(""), "needs zero_data, random_data or input_data_file"),
        (warmup("input_data_file: \"../x\""), "needs the name of a file in the folder warmup"),
        (warmup("input_data_file: \"x\""), "needs warmup/\"x\", which is missing"),
        (warmup("zero_data: true").replace("\"x\"", "\"z\""), "the model has no input \"z\""),
        (warmup("zero_data: true").replace("dims: 1", "dims: 2"), "is of shape [N, 1], got [2, 2]"),
        (warmup("zero_data: true").replace("FP32", "INT32"), "is of float32, got TYPE_INT32"),
        ("max_batch_size: 4 model_warmup { name: \"w\" batch_size: 2 }".into(), "input \"x\" is missing"),
    ] {
        let reason = refusal(&half_plus_two(), &config).await;
        assert!(reason.contains(expected), "{config}: {reason}");
    }
    // The graph fails on 7 and on nothing else that loading runs, so this shows that the data is used.
    for (number, serves) in [(1f32, true), (7.0, false)] {
        let models = configured(&panics_on_seven(), &warmup("input_data_file: \"raw\""));
        fs::create_dir(models.path().join("m/warmup")).unwrap();
        fs::write(models.path().join("m/warmup/raw"), number.to_le_bytes()).unwrap();
        let app = TestApp::with_temp(models, |_| {}).await;
        let (state, reason) = app.version_state("m", 1).unwrap();
        assert_eq!(state == State::Available, serves, "{number}: {reason:?}");
        if !serves {
            assert!(reason.unwrap().contains("fails on model_warmup \"w\""));
        }
    }
    let models = configured(&half_plus_two(), &warmup("input_data_file: \"raw\""));
    fs::create_dir(models.path().join("m/warmup")).unwrap();
    fs::write(models.path().join("m/warmup/raw"), [0; 8]).unwrap();
    let app = TestApp::with_temp(models, |_| {}).await;
    let reason = app.version_state("m", 1).unwrap().1.unwrap();
    assert!(reason.contains("needs 1 elements of float32, warmup/\"raw\" holds 8 bytes"), "{reason}");
}

#[tokio::test]
async fn another_file_name_and_the_latest_version_only() {
    let models = configured(&half_plus_two(), "default_model_filename: \"net.onnx\"");
    for version in ["1", "2"] {
        let folder = models.path().join("m").join(version);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("net.onnx"), half_plus_two()).unwrap();
    }
    fs::remove_file(models.path().join("m/1/model.onnx")).unwrap();
    let app = TestApp::with_temp(models, |_| {}).await;
    assert_eq!(app.version_state("m", 2).unwrap().0, State::Available);
    assert_eq!(app.version_state("m", 1).unwrap().0, State::End, "Triton serves the latest by default");
    assert_eq!(app.triton_config().default_model_filename, "net.onnx");
}

async fn change(app: &TestApp, path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    for _ in 0..2 {
        app.refresh().await;
    }
}

#[tokio::test]
async fn a_change_of_the_configuration_reloads_and_a_bad_one_leaves_what_serves() {
    let models = configured(&half_plus_two(), "max_batch_size: 4");
    let config = models.path().join("m/config.pbtxt");
    let app = TestApp::with_temp(models, |_| {}).await;
    assert_eq!(app.triton_config().max_batch_size, 4);
    change(&app, &config, "max_batch_size: 16 # more").await;
    assert_eq!(app.triton_config().max_batch_size, 16);
    change(&app, &config, "max_batch_size: ").await;
    assert!(problem(&app).await.unwrap().contains("config.pbtxt: line 1"));
    assert_eq!(app.triton_config().max_batch_size, 16, "the last one stands");
    change(&app, &config, "max_batch_size: 2 input { name: \"x\" data_type: TYPE_FP32 dims: 9 }").await;
    let (state, note) = app.version_state("m", 1).unwrap();
    assert_eq!((state, app.triton_config().max_batch_size), (State::Available, 16));
    assert!(note.unwrap().contains("the configuration says [-1, 9]"));
    change(&app, &config, "max_batch_size: 3").await;
    assert_eq!(app.version_state("m", 1), Some((State::Available, None)));
    assert_eq!(app.triton_config().max_batch_size, 3);
    fs::remove_file(&config).unwrap();
    app.refresh().await;
    app.refresh().await;
    assert_eq!(app.triton_config().max_batch_size, 256, "completed from the graph");
}

#[tokio::test]
async fn a_change_of_the_labels_reloads() {
    let config = "max_batch_size: 4 output { name: \"y\" data_type: TYPE_FP32 dims: 3 label_filename: \"labels.txt\" }";
    let models = configured(&distribution(), config);
    let labels = models.path().join("m/labels.txt");
    fs::write(&labels, "a\nb\nc\n").unwrap();
    let app = TestApp::with_temp(models, |_| {}).await;
    change(&app, &labels, "new a\nnew b\nnew c\n").await;
    let answer = app.post_json("/models/m/predict", &json!({"instances": [[9.0, 0.0, 0.0]]})).await;
    assert_eq!(answer.labels(), ["new a"]);
}

#[tokio::test]
async fn an_open_dimension_and_a_reshape_with_one() {
    let config = "max_batch_size: 4 input { name: \"x\" data_type: TYPE_FP32 dims: [1, -1] reshape { shape: [-1] } }";
    let app = serving(&row_sums(), config).await;
    let body = json!({"instances": [[[1, 2, 3, 4, 5, 6]], [[1, 1, 1, 1, 1, 1]]]});
    let answer = app.post_json("/models/m/predict", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["predictions"][0]["outputs"]["y"], json!([21.0]), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_share_runs_only_where_the_configuration_says_so() {
    for (config, joined) in [
        ("max_batch_size: 8", false),
        ("max_batch_size: 8 dynamic_batching { preferred_batch_size: 4 max_queue_delay_microseconds: 30000000 }", true),
    ] {
        let app = TestApp::with_temp(configured(&half_plus_two(), config), |options| {
            options.inline_below_microseconds = Some(0);
            options.threads = Some(1);
        });
        let app = Arc::new(app.await);
        let count = || app.metric("weir_inference_batch_size_count{model=\"m\",version=\"1\"}");
        let before = count();
        let ask = |app: Arc<TestApp>| async move {
            app.post_json("/models/m/predict", &json!({"instances": [[2.0]]})).await.status
        };
        let asked: Vec<_> = (0..4).map(|_| tokio::spawn(ask(app.clone()))).collect();
        for answer in asked {
            assert_eq!(answer.await.unwrap(), 200);
        }
        assert_eq!(count() - before, if joined { 1.0 } else { 4.0 }, "{config}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_default_timeout_is_that_of_requests_that_state_none() {
    let config = "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 30000000 \
                  default_queue_policy { default_timeout_microseconds: 20000 } }";
    let app = TestApp::with_temp(configured(&half_plus_two(), config), |options| {
        options.inline_below_microseconds = Some(0);
        options.compat_metrics = Some(CompatMetrics::Triton);
    })
    .await;
    // Alone it waits half a minute for others, so its time is over first.
    let late = app.post_json("/models/m/predict", &json!({"instances": [[2.0]]})).await;
    assert_eq!(late.assert_problem(504), "no answer within 20 ms");
    let rejected = "nv_inference_request_failure{model=\"m\",reason=\"REJECTED\",version=\"1\"} 1\n";
    assert!(app.get("/metrics").await.text().contains(rejected));
}

#[tokio::test]
async fn triton_s_counters_stand_beside_ours_where_they_are_wished_for() {
    let models = || {
        let models = configured(&half_plus_two(), "max_batch_size: 4 response_cache { enable: true }");
        add_bare_model(models.path(), "other", 1, &half_plus_two());
        models
    };
    let plain = TestApp::with_temp(models(), |_| {}).await;
    assert!(!plain.get("/metrics").await.text().contains("nv_"));
    let app = TestApp::with_temp(models(), |options| options.compat_metrics = Some(CompatMetrics::Triton)).await;
    for value in [1.0, 1.0, 2.0] {
        app.post_json("/models/m/predict", &json!({"instances": [[value], [value]]})).await;
    }
    let text = app.get("/metrics").await.text();
    let value = |series: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} in\n{text}")).parse().unwrap()
    };
    let of = |family: &str| value(&format!("{family}{{model=\"m\",version=\"1\"}}"));
    assert_eq!(of("nv_inference_request_success"), 3);
    assert_eq!((of("nv_inference_count"), of("nv_inference_exec_count")), (4, 2), "the cache answered one");
    assert_eq!((of("nv_cache_num_hits_per_model"), of("nv_cache_num_misses_per_model")), (1, 2));
    assert_eq!(of("nv_inference_pending_request_count"), 0);
    let parts = ["queue", "compute_input", "compute_infer", "compute_output"];
    let sum: u64 = parts.iter().map(|part| of(&format!("nv_inference_{part}_duration_us"))).sum();
    assert!(sum > 0 && of("nv_inference_request_duration_us") > 0);
    assert_eq!(value("nv_inference_request_success{model=\"other\",version=\"1\"}"), 0);
    for reason in ["BACKEND", "CANCELED", "OTHER", "REJECTED"] {
        value(&format!("nv_inference_request_failure{{model=\"m\",reason=\"{reason}\",version=\"1\"}}"));
    }
    // Every family is declared once, before its series.
    for family in text.lines().filter_map(|line| line.strip_prefix("# TYPE nv_")) {
        let name = family.split(' ').next().unwrap();
        assert_eq!(text.matches(&format!("# TYPE nv_{name} ")).count(), 1, "{name}");
        assert_eq!(text.matches(&format!("# HELP nv_{name} ")).count(), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn priorities_and_queues_are_those_of_the_configuration() {
    let config = "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 30000000 priority_levels: 2 \
                  default_priority_level: 2 default_queue_policy { max_queue_size: 2 } }";
    let app = TestApp::with_temp(configured(&half_plus_two(), config), |options| {
        options.inline_below_microseconds = Some(0);
        options.threads = Some(1);
    });
    let app = Arc::new(app.await);
    let ask =
        |app: Arc<TestApp>| async move { app.post_json("/models/m/predict", &json!({"instances": [[2.0]]})).await };
    let waiting: Vec<_> = (0..2).map(|_| tokio::spawn(ask(app.clone()))).collect();
    until("both wait", || app.metric("weir_queue_depth{model=\"m\",version=\"1\"}") == 2.0).await;
    assert_eq!(ask(app.clone()).await.status, 503, "two may wait");
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}
